"""What the blocking and the asyncio objects share: everything but the sending.

Each method here builds a `Call` or a changed copy; the twins in `client` and `async_client` send
it. `R` is the class of document references, `Q` of queries, that a family of objects belongs to.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import uuid4

from baas_sdk import _jobs, _paths, _requests, _writes
from baas_sdk._aggregations import (
    AggregationExplanation,
    BaseAggregations,
    Group,
    QueryExplanation,
)
from baas_sdk._jobs import JobTold
from baas_sdk._listen import Change, State
from baas_sdk._options import Options
from baas_sdk._paths import DatabaseName, FieldPath
from baas_sdk._queries import (
    ASCENDING,
    DESCENDING,
    CursorSource,
    Filter,
    QuerySpec,
    field_filter,
    selected_names,
)
from baas_sdk._requests import Call, StreamCall
from baas_sdk._session import Session, User
from baas_sdk._snapshots import (
    AggregationResult,
    ChangeType,
    DocumentChange,
    DocumentSnapshot,
    QuerySnapshot,
)
from baas_sdk._values import (
    ForeignReference,
    GeoPoint,
    Reference,
    Tree,
    decode_value,
    parse_time,
    split_reference,
)
from baas_sdk._writes import CommitResult, Updates, WriteOption, WriteResult
from baas_sdk.errors import FailedPrecondition, InvalidArgument, InvalidPath, InvalidQuery

R = TypeVar("R", bound="BaseDocumentReference")
Q = TypeVar("Q")


class BaseClient(Generic[R]):
    """The names, the session and the codec of one client."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._session = Session()

    @property
    def project(self) -> str:
        """The project's id."""
        return self._options.home.project

    @property
    def database(self) -> str:
        """The database's id, `(default)` unless another was named."""
        return self._options.home.database

    @abstractmethod
    def document(self, *document_path: str) -> R: ...

    @staticmethod
    def field_path(*field_names: str) -> str:
        """The text of a field path whose parts may hold any characters:
        `client.field_path("address", "zip.code")`."""
        return str(FieldPath(*field_names))

    @staticmethod
    def write_option(
        *, exists: bool | None = None, last_update_time: datetime | str | None = None
    ) -> WriteOption:
        """A condition for `update` and `delete`: exactly one of the two. A write whose condition
        does not hold fails with FailedPrecondition, NotFound or AlreadyExists, and its batch with
        it."""
        return _writes.write_option(exists=exists, last_update_time=last_update_time)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._options.base_url} {self.project}/{self.database}>"

    def _get_all_call(
        self,
        references: Iterable[R],
        field_paths: Iterable[str | FieldPath] | None,
        read_time: datetime | None = None,
    ) -> Call[list[DocumentSnapshot[R]]]:
        listed = self._check_references(references)
        paths = list(dict.fromkeys(reference.path for reference in listed))
        select = selected_names(field_paths, "get_all()")
        call = _requests.batch_get(self._options.home, paths, select, read_time)
        return call.then(lambda found: _in_order(listed, dict(found[0]), found[1]))

    def _check_references(self, references: Iterable[R]) -> list[R]:
        """Raises InvalidArgument for anything else than references of this database."""
        listed = list(references)
        for reference in listed:
            if not isinstance(reference, BaseDocumentReference):
                raise InvalidArgument(
                    f'`{reference!r}` is no document reference; one is client.document("a/b")'
                )
            self._check_is_home(reference.database_name, reference.path)
        return listed

    def _start_deletion_call(
        self, reference: BaseDocumentReference | BaseCollection
    ) -> Call[JobTold]:
        if isinstance(reference, BaseDocumentReference):
            home = reference.database_name
        elif isinstance(reference, BaseCollection):
            home = reference._spec.home
        else:
            raise InvalidArgument(
                "recursive_delete() takes a reference of a document or a collection, not"
                f" `{reference!r}`"
            )
        self._check_is_home(home, reference.path)
        return _jobs.start_deletion(home, reference.path)

    def _start_update_call(self, query: BaseQuery[Any, Any], updates: Updates) -> Call[JobTold]:
        if not isinstance(query, BaseQuery):
            raise InvalidArgument(f"start_update_by_query() takes a query, not `{query!r}`")
        self._check_is_home(query._spec.home, query._spec.collection)
        return _jobs.start_update(query._spec.home, query._spec.encode(), updates)

    def _check_is_home(self, home: DatabaseName, path: str) -> None:
        if home != self._options.home:
            raise InvalidArgument(f"`{path}` belongs to another database")

    def _snapshot(self, tree: Tree) -> DocumentSnapshot[R]:
        return DocumentSnapshot(self.document(tree["path"]), tree)

    def _decode(self, tree: Tree) -> Any:
        return decode_value(tree, self._reference_value)

    def _reference_value(self, text: str) -> Any:
        home, path = split_reference(text, self._options.home)
        if home != self._options.home:
            return ForeignReference(home, path)
        return self.document(path)


def _in_order(
    references: Sequence[R], trees: Mapping[str, Tree | None], read_time: datetime
) -> list[DocumentSnapshot[R]]:
    return [DocumentSnapshot(item, trees[item.path], read_time) for item in references]


class BaseDocumentReference(Reference):
    """The name of a document, which may or may not exist. Two references to the same document of
    the same database are equal."""

    __slots__ = ("_client", "_path")

    _client: BaseClient[Any]

    def __init__(self, client: BaseClient[Any], path: str) -> None:
        self._client = client
        self._path = path

    @property
    def path(self) -> str:
        """The path within the database, such as `cities/zurich`."""
        return self._path

    @property
    def id(self) -> str:
        """The last segment of the path."""
        return self._path.rpartition("/")[2]

    @property
    def database_name(self) -> DatabaseName:
        """The project and database it belongs to."""
        return self._client._options.home

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BaseDocumentReference) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._path}>"

    def _key(self) -> tuple[DatabaseName, str]:
        return self.database_name, self._path

    def _reference_value(self, text: str) -> Any:
        return self._client._reference_value(text)

    def _snapshot(self: R, tree: Tree | None) -> DocumentSnapshot[R]:
        return DocumentSnapshot(self, tree)

    def _get_call(
        self: R, field_paths: Iterable[str | FieldPath] | None, read_time: datetime | None
    ) -> Call[DocumentSnapshot[R]]:
        select = selected_names(field_paths, "get()")
        call = _requests.get_document(self.database_name, self._path, read_time, select)
        return call.then(self._snapshot)

    def _commit_call(self, write: Tree) -> Call[CommitResult]:
        return _requests.commit(self.database_name, [write], self._client._decode)

    def _set_call(
        self, data: Mapping[str, Any], merge: bool | Iterable[str | FieldPath]
    ) -> Call[WriteResult]:
        write = _writes.set_write(self.database_name, self._path, data, merge)
        return self._commit_call(write).then(_only_result)

    def _create_call(self, data: Mapping[str, Any]) -> Call[WriteResult]:
        write = _writes.create_write(self.database_name, self._path, data)
        return self._commit_call(write).then(_only_result)

    def _update_call(self, updates: Updates, option: WriteOption | None) -> Call[WriteResult]:
        write = _writes.update_write(self.database_name, self._path, updates, option)
        return self._commit_call(write).then(_only_result)

    def _delete_call(self, option: WriteOption | None) -> Call[datetime]:
        call = self._commit_call(_writes.delete_write(self._path, option))
        return call.then(lambda result: result.commit_time)

    def _listen_request(self) -> Tree:
        return {"documents": [self._path]}

    def _present(self: R, state: State[DocumentSnapshot[R]]) -> DocumentSnapshot[R]:
        tree = state.documents[0]._tree if state.documents else None
        return DocumentSnapshot(self, tree, parse_time(state.read_time))


class BaseQuery(Generic[R, Q]):
    """A question to a collection or a collection group. Immutable: each method returns a new
    query."""

    ASCENDING = ASCENDING
    DESCENDING = DESCENDING

    __slots__ = ("_client", "_spec")

    _client: BaseClient[R]

    def __init__(self, client: BaseClient[Any], spec: QuerySpec) -> None:
        self._client = client
        self._spec = spec

    @abstractmethod
    def _derive(self, spec: QuerySpec) -> Q: ...

    def where(
        self,
        field_path: str | FieldPath | None = None,
        op_string: str | None = None,
        value: Any = None,
        *,
        filter: Filter | None = None,
    ) -> Q:
        """Only the documents that match: `where(filter=FieldFilter("country", "==", "CH"))`, with
        And and Or to combine, or short `where("country", "==", "CH")`. Several calls must all
        hold."""
        if filter is None:
            filter = field_filter(field_path, op_string, value)
        elif field_path is not None:
            raise InvalidQuery("where() takes `filter`, or field, operator and value, not both")
        return self._derive(self._spec.with_filter(filter))

    def search(self, text: str, *, fields: Iterable[str | FieldPath]) -> Q:
        """Only the documents that have all words of the text in these fields, which hold strings or
        arrays of strings; the best first: `search("red app*", fields=["title", "body"])`. A word
        right before `*` stands for all words that begin with it; words between `"` have to stand
        one after the other. Filters, limit, offset, select and count go with it; an order and
        positions do not, nor listeners and transactions."""
        return self._derive(self._spec.with_search(text, fields))

    def order_by(self, field_path: str | FieldPath, direction: str = ASCENDING) -> Q:
        """Sorted by the field, after any earlier order_by; documents without the field are left
        out."""
        return self._derive(self._spec.with_order(field_path, direction))

    def limit(self, count: int) -> Q:
        """At most the first `count` documents."""
        return self._derive(self._spec.with_limit(count, to_last=False))

    def limit_to_last(self, count: int) -> Q:
        """At most the last `count` documents, in the query's order; needs an order_by. Not for
        stream()."""
        return self._derive(self._spec.with_limit(count, to_last=True))

    def offset(self, num_to_skip: int) -> Q:
        """Skips the first documents. Costs as much as reading them: for pages, prefer
        start_after."""
        return self._derive(self._spec.with_offset(num_to_skip))

    def select(self, field_paths: Iterable[str | FieldPath]) -> Q:
        """Only these fields of each document; none for ids alone."""
        return self._derive(self._spec.with_select(field_paths))

    def near(
        self,
        field_path: str | FieldPath,
        center: GeoPoint,
        radius_meters: float | None = None,
    ) -> Q:
        """The documents whose field is a GeoPoint within the radius, or anywhere, nearest first:
        `near("location", GeoPoint(48.2, 16.4), radius_meters=5_000)`. Each snapshot tells its
        `distance_meters`. Goes with where, limit, offset and select, and not with order_by and
        positions."""
        return self._derive(self._spec.with_near(field_path, center, radius_meters))

    def start_at(self, document_fields: CursorSource) -> Q:
        """From this position on, which is included: a snapshot, a dict by order_by field, or a
        list of values in the order of the order_by calls."""
        return self._derive(self._spec.with_start(document_fields, before=True))

    def start_after(self, document_fields: CursorSource) -> Q:
        """From behind this position; as start_at."""
        return self._derive(self._spec.with_start(document_fields, before=False))

    def end_before(self, document_fields: CursorSource) -> Q:
        """Up to this position, which is left out; as start_at."""
        return self._derive(self._spec.with_end(document_fields, before=True))

    def end_at(self, document_fields: CursorSource) -> Q:
        """Up to this position, which is included; as start_at."""
        return self._derive(self._spec.with_end(document_fields, before=False))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, BaseQuery)
            and self._spec == other._spec
            and self._client is other._client
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._spec.collection}>"

    def _query_call(self) -> StreamCall[DocumentSnapshot[R]]:
        call = _requests.query(self._spec.home, self._spec.encode())
        return call.then(self._client._snapshot)

    def _past_call(self, read_time: datetime) -> Call[list[DocumentSnapshot[R]]]:
        call = _requests.query_at(self._spec.home, self._spec.encode(), read_time)

        def present(found: tuple[list[Tree], datetime]) -> list[DocumentSnapshot[R]]:
            trees, time = found
            client = self._client
            return [DocumentSnapshot(client.document(one["path"]), one, time) for one in trees]

        return call.then(present).then(self._facing)

    def _stream_call(self) -> StreamCall[DocumentSnapshot[R]]:
        if self._spec.is_flipped:
            raise InvalidQuery("a query with limit_to_last() cannot be streamed; use get()")
        return self._query_call()

    def _facing(self, documents: list[DocumentSnapshot[R]]) -> list[DocumentSnapshot[R]]:
        return documents[::-1] if self._spec.is_flipped else documents

    def _groups_call(
        self,
        wanted: BaseAggregations,
        page_token: str | None = None,
        read_time: datetime | None = None,
    ) -> Call[_requests.Groups]:
        spec, decode = self._spec, self._client._decode
        return _requests.aggregate(
            spec.home, spec.encode(), wanted._encode(), decode, page_token, read_time
        )

    def _aggregate_call(
        self, wanted: BaseAggregations, read_time: datetime | None = None
    ) -> Call[list[list[AggregationResult]]]:
        call = self._groups_call(wanted, read_time=read_time)
        return call.then(lambda found: as_row(wanted, found))

    def _explain_aggregation_call(self, wanted: BaseAggregations) -> Call[AggregationExplanation]:
        call = _requests.explain_aggregation(self._spec.home, self._spec.encode(), wanted._encode())
        return call.then(
            lambda told: AggregationExplanation(
                told["scans"],
                told["missing_indexes"],
                told["entries_scanned"],
                told["keys_counted"],
                told["documents_read"],
                told["returned"],
                told["seconds"],
                told["hints"],
            )
        )

    def _explain_call(self) -> Call[QueryExplanation[R]]:
        return _requests.explain(self._spec.home, self._spec.encode()).then(self._explanation)

    def _explanation(self, tree: Tree) -> QueryExplanation[R]:
        told = tree["explain"]
        found = [self._client._snapshot(item) for item in tree["documents"]]
        return QueryExplanation(
            self._facing(found),
            told["scans"],
            told["missing_indexes"],
            told["entries_scanned"],
            told["documents_read"],
            told["returned"],
            told["seconds"],
            told.get("hints", ()),
        )

    def _listen_request(self) -> Tree:
        return {"query": self._spec.encode()}

    def _present(self, state: State[DocumentSnapshot[R]]) -> QuerySnapshot[R]:
        changes = [_public_change(change) for change in state.changes]
        return QuerySnapshot(list(state.documents), changes, parse_time(state.read_time))


class BaseCollection:
    """The names of a collection; it is also the query for all of its documents."""

    __slots__ = ()

    _spec: QuerySpec

    @property
    def path(self) -> str:
        """The path within the database, such as `cities` or `cities/zurich/districts`."""
        return self._spec.collection

    @property
    def id(self) -> str:
        """The last segment of the path."""
        return self._spec.collection.rpartition("/")[2]

    def _document_path(self, document_id: str | None) -> str:
        if document_id is None:
            document_id = _paths.new_document_id()
        elif isinstance(document_id, str) and "/" in document_id:
            raise InvalidPath(f"a document's id has no `/`: `{document_id}`")
        return _paths.document_path(self._spec.collection, document_id)


class BaseWriteBatch:
    """Writes that are committed together: all or none, in order. Takes no more writes once
    committed; a commit that failed may be repeated, and is applied at most once however often it
    is."""

    def __init__(self, client: BaseClient[Any]) -> None:
        self._client = client
        self._writes: list[Tree] = []
        self._is_committed = False
        self._request_id = uuid4().hex
        self.write_results: list[WriteResult] | None = None
        self.commit_time: datetime | None = None

    def __len__(self) -> int:
        return len(self._writes)

    def set(
        self,
        reference: BaseDocumentReference,
        document_data: Mapping[str, Any],
        merge: bool | Iterable[str | FieldPath] = False,
    ) -> None:
        """Adds a write as `DocumentReference.set`."""
        home, path = self._check(reference)
        self._writes.append(_writes.set_write(home, path, document_data, merge))

    def create(self, reference: BaseDocumentReference, document_data: Mapping[str, Any]) -> None:
        """Adds a write as `DocumentReference.create`."""
        home, path = self._check(reference)
        self._writes.append(_writes.create_write(home, path, document_data))

    def update(
        self,
        reference: BaseDocumentReference,
        field_updates: Updates,
        option: WriteOption | None = None,
    ) -> None:
        """Adds a write as `DocumentReference.update`."""
        home, path = self._check(reference)
        self._writes.append(_writes.update_write(home, path, field_updates, option))

    def delete(self, reference: BaseDocumentReference, option: WriteOption | None = None) -> None:
        """Adds a write as `DocumentReference.delete`."""
        _, path = self._check(reference)
        self._writes.append(_writes.delete_write(path, option))

    def _check(self, reference: BaseDocumentReference) -> tuple[DatabaseName, str]:
        if self._is_committed:
            raise FailedPrecondition("the batch has been committed; begin a new one")
        if not isinstance(reference, BaseDocumentReference):
            raise InvalidArgument(f"a write needs a document reference, not `{reference!r}`")
        if reference.database_name != self._client._options.home:
            raise InvalidArgument(f"`{reference.path}` belongs to another database")
        self._request_id = uuid4().hex  # another batch than one that may have been sent before
        return reference.database_name, reference.path

    def _commit_call(self) -> Call[list[WriteResult]]:
        if self._is_committed:
            raise FailedPrecondition("the batch has been committed; begin a new one")
        home, decode = self._client._options.home, self._client._decode
        call = _requests.commit(home, self._writes, decode, request_id=self._request_id)
        return call.then(self._committed)

    def _committed(self, result: CommitResult) -> list[WriteResult]:
        self._is_committed = True
        self.commit_time = result.commit_time
        self.write_results = list(result.write_results)
        return self.write_results


class BaseAuth:
    """The account calls of one client."""

    def __init__(self, options: Options, session: Session) -> None:
        self._options = options
        self._session = session

    @property
    def current_user(self) -> User | None:
        """Who is signed in on this client; None for nobody."""
        return self._session.user

    def _sign_up_call(self, email: str, password: str) -> Call[User]:
        call = _requests.sign_up(self._options.home, email, password, time.monotonic())
        return call.then(self._session.sign_in)

    def _sign_in_call(self, email: str, password: str) -> Call[User]:
        call = _requests.sign_in(self._options.home, email, password, time.monotonic())
        return call.then(self._session.sign_in)

    def _sign_out_call(self) -> Call[None] | None:
        tokens = self._session.tokens
        self._session.clear()
        if tokens is None:
            return None
        return _requests.sign_out(self._options.home, tokens.refresh_token)


def check_one_time(transaction: object | None, read_time: datetime | None) -> None:
    """Raises InvalidArgument if a read is to be of two moments."""
    if transaction is not None and read_time is not None:
        raise InvalidArgument("a transaction has a read_time of its own")


def _public_change(change: Change[DocumentSnapshot[R]]) -> DocumentChange[R]:
    return DocumentChange(
        ChangeType(change.type), change.document, change.old_index, change.new_index
    )


def _only_result(result: CommitResult) -> WriteResult:
    return result.write_results[0]


def as_row(wanted: BaseAggregations, found: _requests.Groups) -> list[list[AggregationResult]]:
    """One row, as google-cloud-firestore has it, of an aggregation that groups by nothing."""
    ((_, results),) = found.groups
    return [[AggregationResult(alias, results[alias], found.time) for alias in wanted._aliases]]


def as_groups(found: _requests.Groups) -> list[Group]:
    return [Group(values, results, found.time) for values, results in found.groups]
