"""A listener that keeps what it is told, and remembers every answer that it has had."""

from __future__ import annotations

from collections.abc import Sequence

from baas.database.listeners import (
    Listeners,
    QueryTarget,
    Subscription,
    Target,
    Update,
)
from baas.database.views import ChangeKind
from baas.encoding.documents import StoredDocument
from baas.errors import BaasError
from baas.model.documents import Document
from baas.model.near import compile_distance
from baas.model.queries import Query
from tests.model_based.oracle import Oracle, State, answer, same


def check_same(
    told: str, found: Sequence[StoredDocument | None], wanted: Sequence[Document | None]
) -> None:
    """Both are the same documents, types and times included."""
    shown = [None if one is None else one.decode() for one in found]
    are_same = len(shown) == len(wanted) and all(
        (a is None and b is None) or (a is not None and b is not None and same(a, b))
        for a, b in zip(shown, wanted, strict=True)
    )
    assert are_same, f"{told}:\n  found  {shown}\n  wanted {list(wanted)}"


def check_answer(
    told: str, query: Query, found: Sequence[StoredDocument], state: State
) -> list[Document]:
    """It is the answer that the model gives, distances included; gives that."""
    wanted = answer(query, state)
    check_same(told, found, wanted)
    if query.near is not None:
        distance_of = compile_distance(query.near)
        distances = [distance_of(state[one.path]) for one in wanted]
        assert None not in distances, told
        assert [one.distance_meters for one in found] == distances, told
    return wanted


class Mirror:
    """One listener, across several subscriptions: it resumes where it was."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.documents: list[StoredDocument] = []
        self.version = -1
        self.failure: BaasError | None = None
        self._subscription: Subscription | None = None
        self._is_first = True
        self._had: list[tuple[int, list[StoredDocument]]] = []

    @property
    def is_listening(self) -> bool:
        return self._subscription is not None

    async def listen(self, listeners: Listeners) -> None:
        """Begins, or goes on where it was."""
        resume_from = None if self.version < 0 else self.version
        self._is_first = True
        self._subscription = await listeners.listen(
            self.target, self._take, self._fail, resume_from=resume_from
        )

    def stop(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
        self._subscription = None

    async def settle(self, oracle: Oracle) -> None:
        """Everything that was told so far was right, and the latest is there."""
        assert self.failure is None
        for version, documents in self._had:
            self._check(f"{self.target} at {version}", documents, oracle.at(version))
        self._had.clear()
        if self._subscription is None:
            return
        update = await self._subscription.full_update()
        self.version = update.version
        told = f"{self.target}, whole, at {update.version}"
        whole = [change.document for change in update.changes]
        self._check(told, whole, oracle.at(update.version))
        assert update.version >= oracle.version
        self._check(f"{self.target}, gathered", self.documents, oracle.now)

    def _check(self, told: str, documents: list[StoredDocument], state: State) -> None:
        if isinstance(self.target, QueryTarget):
            check_answer(told, self.target.query, documents, state)
            return
        paths = dict.fromkeys(self.target.paths)
        check_same(told, documents, [state[path] for path in paths if path in state])

    def _take(self, update: Update) -> None:
        # The first update of a subscription may say that nothing has happened.
        assert update.version >= self.version + (0 if self._is_first else 1)
        self._is_first = False
        self.version = update.version
        if update.reset:
            self.documents.clear()
        for change in update.changes:
            if change.kind is not ChangeKind.ADDED:
                gone = self.documents.pop(change.old_index)
                assert gone.path == change.document.path
            if change.kind is not ChangeKind.REMOVED:
                self.documents.insert(change.new_index, change.document)
        assert update.count == len(self.documents)
        self._had.append((update.version, list(self.documents)))

    def _fail(self, error: BaasError) -> None:
        self.failure = error
