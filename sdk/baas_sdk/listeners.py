"""Listeners of the blocking client: to loop over, or to be called back by."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from baas_sdk._listener import ThreadMailbox
from baas_sdk._snapshots import DocumentSnapshot, QuerySnapshot
from baas_sdk._values import Tree

if TYPE_CHECKING:
    from baas_sdk.client import Client, DocumentReference

S = TypeVar("S")
_log = logging.getLogger("baas_sdk")


class Listener(Generic[S]):
    """Snapshots to loop over, each the state at one moment; the loop waits for the next one.

    Ends with `close`, by leaving a `with`, when the client is closed or when nobody holds it any
    more. An error that ends it, such as PermissionDenied, is raised out of the loop.
    """

    def __init__(
        self,
        client: Client,
        request: Tree,
        parse: Callable[[Tree], DocumentSnapshot[DocumentReference]],
        present: Callable[[Any], S],
        *,
        flipped: bool = False,
    ) -> None:
        self._mailbox: ThreadMailbox[DocumentSnapshot[DocumentReference]] = ThreadMailbox()
        self._present = present
        self._thread = client._listening
        self._thread.add(self._mailbox, request, parse, flipped=flipped)

    def __iter__(self) -> Listener[S]:
        return self

    def __next__(self) -> S:
        state = self._mailbox.get()
        if state is None:
            raise StopIteration
        return self._present(state)

    def __enter__(self) -> Listener[S]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the loop; harmless when it has ended."""
        self._mailbox.end()
        self._thread.remove(self._mailbox)

    def __del__(self) -> None:
        with suppress(AttributeError):  # it was refused, and never began
            self.close()


class Watch:
    """A listener that calls back. Hold it or not: it lives until `unsubscribe`, an error, or the
    client's end."""

    def __init__(
        self,
        listener: Listener[QuerySnapshot[DocumentReference]],
        callback: Callable[..., object],
        on_error: Callable[[Exception], object] | None,
    ) -> None:
        self._listener = listener
        self._callback = callback
        self._on_error = on_error
        self._lock = threading.Lock()
        self._is_active = True
        self.error: Exception | None = None
        threading.Thread(target=self._run, name="baas-sdk-watch", daemon=True).start()

    @property
    def is_active(self) -> bool:
        """False once it has ended."""
        return self._is_active

    def unsubscribe(self) -> None:
        """Ends it; may be called within the callback. No call starts after this has returned,
        though one that is running is not waited for."""
        with self._lock:
            self._is_active = False
        self._listener.close()

    def _run(self) -> None:
        try:
            for snapshot in self._listener:
                with self._lock:
                    if not self._is_active:
                        return
                self._callback(snapshot.documents, snapshot.changes, snapshot.read_time)
        except Exception as error:
            self._fail(error)
        finally:
            self.unsubscribe()

    def _fail(self, error: Exception) -> None:
        self.error = error
        with self._lock:
            was_active, self._is_active = self._is_active, False
        if not was_active:
            return
        if self._on_error is None:
            _log.error("a listener ended with an error", exc_info=error)
        else:
            self._on_error(error)
