"""Transactions: what is read and written, and what the commit says of it. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Generic, TypeVar

from baas_sdk import _requests
from baas_sdk._aggregations import BaseAggregations
from baas_sdk._paths import FieldPath
from baas_sdk._queries import QuerySpec, selected_names
from baas_sdk._references import BaseClient, BaseDocumentReference, BaseQuery, BaseWriteBatch
from baas_sdk._requests import Begun, Call, Groups, Read
from baas_sdk._snapshots import DocumentSnapshot
from baas_sdk._values import Tree, past_time
from baas_sdk._writes import CommitResult, WriteResult
from baas_sdk.errors import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    TransactionConflict,
)

ATTEMPTS_MAX = 5
R = TypeVar("R", bound=BaseDocumentReference)


class BaseTransaction(BaseWriteBatch, Generic[R]):
    """Reads of one moment, and writes that are committed if nothing that was read has changed.

    All reads come before the first write; none of them shows the transaction's own writes.
    """

    _client: BaseClient[R]

    def __init__(
        self,
        client: BaseClient[R],
        max_attempts: int = ATTEMPTS_MAX,
        *,
        read_only: bool = False,
        read_time: datetime | None = None,
    ) -> None:
        super().__init__(client)
        if isinstance(max_attempts, bool) or not isinstance(max_attempts, int) or max_attempts < 1:
            raise InvalidArgument(f"`max_attempts` is a number from 1, not `{max_attempts!r}`")
        if read_time is not None and not read_only:
            raise InvalidArgument("`read_time` is for transactions that are `read_only`")
        self.max_attempts = max_attempts
        self.read_only = read_only
        self._asked_time = None if read_time is None else past_time(read_time)
        self._token: str | None = None
        self._aborted: str | None = None  # the token of the attempt before
        self._reads: dict[str, str | None] = {}
        self._queries: list[Tree] = []
        self._aggregations: list[Tree] = []
        self.read_time: datetime | None = None

    @property
    def in_progress(self) -> bool:
        """Whether it has begun and not ended."""
        return self._token is not None

    @property
    def id(self) -> str | None:
        """The server's name for it; changes with every step. None before it begins."""
        return self._token

    def _begin_call(self) -> Call[None]:
        if self._token is not None:
            raise FailedPrecondition("the transaction has begun already")
        members: dict[str, Tree] = {}
        if self.read_only:
            members["read_only"] = True
        if self._asked_time is not None:
            members["read_time"] = self._asked_time
        if self._aborted is not None:
            members["retry"] = self._aborted
        return _requests.begin(self._client._options.home, members).then(self._begun)

    def _begun(self, begun: Begun) -> None:
        self._forget()
        self._is_committed = False
        self.write_results = self.commit_time = None
        self._token, self.read_time = begun.token, begun.read_time

    def _get_all_call(
        self, references: Iterable[R], field_paths: Iterable[str | FieldPath] | None = None
    ) -> Call[list[DocumentSnapshot[R]]]:
        token = self._check_reading()
        listed = self._client._check_references(references)
        paths = list(dict.fromkeys(reference.path for reference in listed))
        select = selected_names(field_paths, "get_all()")
        call = _requests.read_documents(self._client._options.home, paths, token, select)

        def keep(read: Read[dict[str, Tree | None]]) -> list[DocumentSnapshot[R]]:
            self._token = read.token
            for path, tree in read.found.items():
                self._reads[path] = None if tree is None else tree["update_time"]
            return [DocumentSnapshot(one, read.found[one.path], read.time) for one in listed]

        return call.then(keep)

    def _query_call(self, spec: QuerySpec) -> Call[list[DocumentSnapshot[R]]]:
        token = self._check_reading()
        if spec.home != self._client._options.home:
            raise InvalidArgument("the query is of another database")
        asked = spec.encode()
        call = _requests.read_query(spec.home, asked, token)

        def keep(read: Read[tuple[list[Tree], str]]) -> list[DocumentSnapshot[R]]:
            trees, seen = read.found
            self._token = read.token
            self._queries.append({"query": asked, "seen": seen})
            return [self._client._snapshot(tree) for tree in trees]

        return call.then(keep)

    def _aggregate_call(self, spec: QuerySpec, wanted: BaseAggregations) -> Call[Groups]:
        token = self._check_reading()
        if spec.home != self._client._options.home:
            raise InvalidArgument("the query is of another database")
        asked, members = spec.encode(), wanted._encode()
        call = _requests.read_aggregation(spec.home, asked, members, self._client._decode, token)

        def keep(read: Read[tuple[Groups, str]]) -> Groups:
            groups, seen = read.found
            self._token = read.token
            self._aggregations.append({"query": asked, **members, "seen": seen})
            return groups

        return call.then(keep)

    def _read_call(self, what: object) -> Call[list[DocumentSnapshot[R]]]:
        """The documents of a reference or a query."""
        if isinstance(what, BaseDocumentReference):
            return self._get_all_call([what])  # type: ignore[list-item]
        if isinstance(what, BaseQuery):
            return self._query_call(what._spec).then(what._facing)
        raise InvalidArgument(f"get() takes a document reference or a query, not `{what!r}`")

    def _end_call(self) -> Call[CommitResult | None] | None:
        """The commit. Without writes there is nothing to commit, since what was read was of one
        moment: then a rollback if others may be waiting for it, else None."""
        token = self._check_open()
        home = self._client._options.home
        if not self._writes:
            if self._aborted is None:
                return None
            return _requests.roll_back(home, token).then(lambda nothing: None)
        call = _requests.commit(
            home,
            self._writes,
            self._client._decode,
            request_id=self._request_id,
            transaction={
                "transaction": token,
                "reads": [{"path": p, "update_time": time} for p, time in self._reads.items()],
                "queries": self._queries,
                "aggregations": self._aggregations,
            },
        )
        return call.then(lambda result: result)

    def _ended(self, result: CommitResult | None) -> list[WriteResult]:
        self._token = self._aborted = None
        self._is_committed = True
        return [] if result is None else self._committed(result)

    def _retry_after(self, error: BaseException, attempt: int) -> float | None:
        """The pause in seconds before it is tried again; None if it is not to be."""
        if attempt >= self.max_attempts or not isinstance(error, Aborted):
            return None
        self._aborted, self._token = self._token or self._aborted, None
        if attempt == 1 and isinstance(error, TransactionConflict):
            return 0.0  # the server has it wait in line, for no longer than it takes
        return self._client._options.retry.pause_seconds(attempt, random.random())

    def _rollback_call(self) -> Call[None] | None:
        """Gives up what the server knows of it: at most, that it is its turn."""
        token, self._token = self._token, None
        had_turn, self._aborted = self._aborted is not None, None
        self._forget()
        if token is None or not had_turn:
            return None
        return _requests.roll_back(self._client._options.home, token)

    def _forget(self) -> None:
        self._writes.clear()
        self._reads.clear()
        self._queries.clear()
        self._aggregations.clear()

    def _check_open(self) -> str:
        if self._token is None:
            raise FailedPrecondition("the transaction has not begun, or has ended")
        return self._token

    def _check_reading(self) -> str:
        if self._writes:
            raise FailedPrecondition(
                "a transaction reads first and writes then", reason="ReadAfterWrite"
            )
        return self._check_open()

    def _check(self, reference: BaseDocumentReference) -> Any:
        self._check_open()
        if self.read_only:
            raise FailedPrecondition(
                "a read-only transaction cannot write", reason="ReadOnlyTransaction"
            )
        return super()._check(reference)
