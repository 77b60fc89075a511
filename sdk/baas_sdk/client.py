"""The blocking client. Its twin `async_client` has the same methods, to be awaited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from baas_sdk import _jobs, _paths, _requests
from baas_sdk._aggregations import (
    Aggregation,
    AggregationExplanation,
    AvgAggregation,
    BaseAggregations,
    CountAggregation,
    Group,
    MaximumAggregation,
    MinimumAggregation,
    QueryExplanation,
    SumAggregation,
)
from baas_sdk._bulk import BulkWriterOptions
from baas_sdk._flow import RetryPolicy
from baas_sdk._http import SyncHttp
from baas_sdk._listener import ListenThread
from baas_sdk._options import TIMEOUT_SECONDS, make_options
from baas_sdk._paths import FieldPath
from baas_sdk._queries import QuerySpec
from baas_sdk._references import (
    BaseAuth,
    BaseClient,
    BaseCollection,
    BaseDocumentReference,
    BaseQuery,
    BaseWriteBatch,
    as_groups,
    as_row,
    check_one_time,
)
from baas_sdk._session import User
from baas_sdk._snapshots import (
    AggregationResult,
    DocumentChange,
    DocumentSnapshot,
    QuerySnapshot,
)
from baas_sdk._transactions import ATTEMPTS_MAX
from baas_sdk._transport import Transport
from baas_sdk._values import Tree
from baas_sdk._writes import Updates, WriteOption, WriteResult
from baas_sdk.bulk_writer import BulkWriter
from baas_sdk.errors import InvalidQuery
from baas_sdk.jobs import Job
from baas_sdk.listeners import Listener, Watch
from baas_sdk.objects import Bucket
from baas_sdk.transactions import Transaction, Work, transactional

T = TypeVar("T")
_COLLECTIONS_PAGE = 1_000


class DocumentReference(BaseDocumentReference):
    """The name of a document, and what can be done with it."""

    __slots__ = ()

    _client: Client

    @property
    def parent(self) -> CollectionReference:
        """The collection that the document is in."""
        return self._client.collection(self._path.rpartition("/")[0])

    def collection(self, collection_id: str) -> CollectionReference:
        """A collection below the document."""
        return self._client.collection(self._path, collection_id)

    def get(
        self,
        field_paths: Iterable[str | FieldPath] | None = None,
        *,
        transaction: Transaction | None = None,
        timeout: float | None = None,
        read_time: datetime | None = None,
    ) -> DocumentSnapshot[DocumentReference]:
        """The document as it is now, as of the transaction's moment, or as it was at `read_time`,
        which takes the right to read it both as it is and as it was; one that is missing gives a
        snapshot with `exists` False. With `field_paths` no more than these fields are sent."""
        check_one_time(transaction, read_time)
        if transaction is not None:
            call = transaction._get_all_call([self], field_paths)
            return self._client._http.run(call, timeout)[0]
        return self._client._http.run(self._get_call(field_paths, read_time), timeout)

    def set(
        self,
        document_data: Mapping[str, Any],
        merge: bool | Iterable[str | FieldPath] = False,
        *,
        timeout: float | None = None,
    ) -> WriteResult:
        """Writes the document, in place of what was there. With `merge=True` only the fields given
        are written and the others stay; with a list, only the fields that it names."""
        return self._client._http.run(self._set_call(document_data, merge), timeout)

    def create(
        self, document_data: Mapping[str, Any], *, timeout: float | None = None
    ) -> WriteResult:
        """Writes a new document. Raises AlreadyExists if there is one."""
        return self._client._http.run(self._create_call(document_data), timeout)

    def update(
        self,
        field_updates: Updates,
        option: WriteOption | None = None,
        *,
        timeout: float | None = None,
    ) -> WriteResult:
        """Changes the named fields and no others; keys are field paths such as `"a.b"`. Raises
        NotFound if the document does not exist."""
        return self._client._http.run(self._update_call(field_updates, option), timeout)

    def delete(
        self, option: WriteOption | None = None, *, timeout: float | None = None
    ) -> datetime:
        """Deletes the document, but not what lies below it; returns the commit's time. A missing
        one is no error unless the option says so."""
        return self._client._http.run(self._delete_call(option), timeout)

    def collections(self, *, timeout: float | None = None) -> Iterator[CollectionReference]:
        """The collections below the document, by id, read page by page. For secret keys."""
        page_token: str | None = None
        while True:
            call = _requests.list_collections(
                self.database_name, self._path, page_size=_COLLECTIONS_PAGE, page_token=page_token
            )
            ids, page_token = self._client._http.run(call, timeout)
            for collection_id in ids:
                yield self.collection(collection_id)
            if page_token is None:
                return

    def listen(self) -> Listener[DocumentSnapshot[DocumentReference]]:
        """The document now and after every change, one snapshot at a time, to loop over."""
        return Listener(self._client, self._listen_request(), self._snapshot_of, self._present)

    def on_snapshot(
        self,
        callback: Callable[
            [
                Sequence[DocumentSnapshot[DocumentReference]],
                Sequence[DocumentChange[DocumentReference]],
                datetime,
            ],
            object,
        ],
        on_error: Callable[[Exception], object] | None = None,
    ) -> Watch:
        """Calls back with the document now and after every change, as Query.on_snapshot; the list
        of documents is empty while it does not exist."""
        query = self.parent._present
        return Watch(
            Listener(self._client, self._listen_request(), self._snapshot_of, query),
            callback,
            on_error,
        )

    def _snapshot_of(self, tree: Tree) -> DocumentSnapshot[DocumentReference]:
        return DocumentSnapshot(self, tree)


class Query(BaseQuery[DocumentReference, "Query"]):
    """A question to a collection or a collection group. Immutable: each method returns a new
    query."""

    __slots__ = ()

    _client: Client

    def get(
        self,
        *,
        transaction: Transaction | None = None,
        timeout: float | None = None,
        read_time: datetime | None = None,
    ) -> list[DocumentSnapshot[DocumentReference]]:
        """All documents that match, of one moment, in the query's order. In a transaction at most
        5,000, and so as of an earlier `read_time`, which is for secret keys."""
        check_one_time(transaction, read_time)
        if read_time is not None:
            return self._client._http.run(self._past_call(read_time), timeout)
        if transaction is not None:
            return self._client._http.run(transaction._read_call(self), timeout)
        return self._facing(list(self._client._http.stream(self._query_call(), timeout)))

    def stream(
        self, *, timeout: float | None = None
    ) -> Iterator[DocumentSnapshot[DocumentReference]]:
        """The same, one by one as they arrive, so that a result of any size needs little memory.
        `timeout` bounds each wait. A connection that breaks midway raises Unavailable."""
        return self._client._http.stream(self._stream_call(), timeout)

    def count(self, alias: str = "count") -> AggregationQuery:
        """How many documents match, without reading them: `query.count().get()[0][0].value`."""
        return AggregationQuery(self, [CountAggregation(alias)])

    def sum(self, field_ref: str | FieldPath, alias: str | None = None) -> AggregationQuery:
        """The sum of a field's numbers. Several numbers at once:
        `query.sum("population", "people").avg("area").count("cities")`."""
        return AggregationQuery(self, [SumAggregation(field_ref, alias)])

    def avg(self, field_ref: str | FieldPath, alias: str | None = None) -> AggregationQuery:
        """The average of a field's numbers; None of no numbers."""
        return AggregationQuery(self, [AvgAggregation(field_ref, alias)])

    def minimum(self, field_ref: str | FieldPath, alias: str | None = None) -> AggregationQuery:
        """A field's least value, of whatever type, null aside; None of none but null."""
        return AggregationQuery(self, [MinimumAggregation(field_ref, alias)])

    def maximum(self, field_ref: str | FieldPath, alias: str | None = None) -> AggregationQuery:
        """A field's greatest value, of whatever type, null aside; None of none but null."""
        return AggregationQuery(self, [MaximumAggregation(field_ref, alias)])

    def group_by(self, *field_refs: str | FieldPath) -> GroupQuery:
        """Groups of documents with equal values in one to five fields, and numbers of each:
        `query.group_by("country").count("cities").sum("people", "people").get()`."""
        if not field_refs:
            raise InvalidQuery("group_by() takes at least one field")
        return GroupQuery(self, field_refs)

    def distinct(self, *field_refs: str | FieldPath) -> GroupQuery:
        """The distinct values of one to five fields: groups of which no number is wanted."""
        return self.group_by(*field_refs)

    def explain(self, *, timeout: float | None = None) -> QueryExplanation[DocumentReference]:
        """Runs the query and tells how: indexes, entries scanned, documents read. For secret keys,
        and in development mode."""
        return self._client._http.run(self._explain_call(), timeout)

    def listen(self) -> Listener[QuerySnapshot[DocumentReference]]:
        """The result now and after every change, one QuerySnapshot at a time, to loop over."""
        return Listener(
            self._client,
            self._listen_request(),
            self._client._snapshot,
            self._present,
            flipped=self._spec.is_flipped,
        )

    def on_snapshot(
        self,
        callback: Callable[
            [
                Sequence[DocumentSnapshot[DocumentReference]],
                Sequence[DocumentChange[DocumentReference]],
                datetime,
            ],
            object,
        ],
        on_error: Callable[[Exception], object] | None = None,
    ) -> Watch:
        """Calls `callback(documents, changes, read_time)` with the result now and after every
        change, in a thread of its own, one call at a time, in order.

        Each call shows the result at one moment. Lost connections are made again and nothing is
        lost or repeated; a callback slower than the changes skips states, and its `changes` then
        lead over the skipped ones. An error that ends the listener, such as PermissionDenied or an
        exception out of the callback, goes to `on_error`, else to the log.
        """
        return Watch(self.listen(), callback, on_error)

    def _derive(self, spec: QuerySpec) -> Query:
        return Query(self._client, spec)


class CollectionReference(BaseCollection, Query):
    """The name of a collection; as a query, all of its documents."""

    __slots__ = ()

    @property
    def parent(self) -> DocumentReference | None:
        """The document that the collection is below; None at the top."""
        path = self.path.rpartition("/")[0]
        return self._client.document(path) if path else None

    def document(self, document_id: str | None = None) -> DocumentReference:
        """A document of the collection; without an id, one with a fresh random id."""
        return DocumentReference(self._client, self._document_path(document_id))

    def add(
        self,
        document_data: Mapping[str, Any],
        document_id: str | None = None,
        *,
        timeout: float | None = None,
    ) -> tuple[datetime | None, DocumentReference]:
        """Creates a document, by default under a fresh random id; its update time and reference."""
        reference = self.document(document_id)
        return reference.create(document_data, timeout=timeout).update_time, reference

    def list_documents(
        self,
        page_size: int = 300,
        *,
        show_missing: bool = False,
        timeout: float | None = None,
    ) -> Iterator[DocumentReference]:
        """The references of all documents by name, read page by page, each page of its own moment.
        With `show_missing` also those that do not exist and have documents below, for secret
        keys."""
        page_token: str | None = None
        while True:
            call = _requests.list_documents(
                self._spec.home,
                self.path,
                page_size=page_size,
                page_token=page_token,
                show_missing=show_missing,
            )
            trees, page_token = self._client._http.run(call, timeout)
            yield from (self._client.document(tree["path"]) for tree in trees)
            if page_token is None:
                return


class CollectionGroup(Query):
    """All collections of one id, wherever they are, as a query."""

    __slots__ = ()


class AggregationQuery(BaseAggregations):
    """A query of which only numbers are wanted, all of one moment."""

    __slots__ = ("_query",)

    def __init__(self, query: Query, aggregations: Sequence[Aggregation]) -> None:
        super().__init__(aggregations)
        self._query = query

    def get(
        self,
        *,
        transaction: Transaction | None = None,
        timeout: float | None = None,
        read_time: datetime | None = None,
    ) -> list[list[AggregationResult]]:
        """One row, with a result for each number in the order asked. In a transaction as of its
        moment; it is committed only if the numbers are still the same. As of an earlier `read_time`
        for secret keys."""
        check_one_time(transaction, read_time)
        query = self._query
        if transaction is None:
            return query._client._http.run(query._aggregate_call(self, read_time), timeout)
        call = transaction._aggregate_call(query._spec, self)
        return as_row(self, query._client._http.run(call, timeout))

    def explain(self, *, timeout: float | None = None) -> AggregationExplanation:
        """Runs it and tells how. For secret keys, and in development mode."""
        query = self._query
        return query._client._http.run(query._explain_aggregation_call(self), timeout)


class GroupQuery(BaseAggregations):
    """A query of which groups of documents with equal values are wanted, and numbers of each."""

    __slots__ = ("_query",)

    def __init__(self, query: Query, group_by: Sequence[str | FieldPath]) -> None:
        super().__init__((), group_by)
        self._query = query

    def get(
        self,
        *,
        transaction: Transaction | None = None,
        timeout: float | None = None,
        read_time: datetime | None = None,
    ) -> list[Group]:
        """All groups in the order of their values. More than 1,000 come in pages, each of its own
        moment; in a transaction there may be no more, nor as of an earlier `read_time`, which is
        for secret keys."""
        check_one_time(transaction, read_time)
        query = self._query
        if read_time is not None:
            call = query._groups_call(self, read_time=read_time)
            return as_groups(query._client._http.run(call, timeout))
        if transaction is None:
            return list(self.stream(timeout=timeout))
        call = transaction._aggregate_call(query._spec, self)
        return as_groups(query._client._http.run(call, timeout))

    def stream(self, *, timeout: float | None = None) -> Iterator[Group]:
        """The same, page by page as they are wanted; `timeout` is of each page."""
        query = self._query
        page_token: str | None = None
        while True:
            call = query._groups_call(self, page_token)
            found = query._client._http.run(call, timeout)
            yield from as_groups(found)
            page_token = found.next_page_token
            if page_token is None:
                return

    def explain(self, *, timeout: float | None = None) -> AggregationExplanation:
        """Runs the first page and tells how. For secret keys, and in development mode."""
        query = self._query
        return query._client._http.run(query._explain_aggregation_call(self), timeout)


class WriteBatch(BaseWriteBatch):
    """Writes that are committed together: all or none, in order."""

    _client: Client

    def commit(self, *, timeout: float | None = None) -> list[WriteResult]:
        """Applies all writes at one time, or none of them and raises. One result per write, in
        order. Repeated after a failure, it is applied at most once."""
        return self._client._http.run(self._commit_call(), timeout)

    def __enter__(self) -> WriteBatch:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.commit()


class Auth(BaseAuth):
    """Accounts: who uses this client. The tokens live in memory and are refreshed by themselves."""

    def __init__(self, client: Client) -> None:
        super().__init__(client._options, client._session)
        self._client = client

    def sign_up(self, email: str, password: str, *, timeout: float | None = None) -> User:
        """Makes an account and signs in. Raises AlreadyExists, or InvalidArgument for a weak
        password."""
        return self._client._http.run(self._sign_up_call(email, password), timeout)

    def sign_in(self, email: str, password: str, *, timeout: float | None = None) -> User:
        """Signs in, in place of whoever was. Raises Unauthenticated, the same for an unknown
        e-mail and a wrong password."""
        return self._client._http.run(self._sign_in_call(email, password), timeout)

    def sign_out(self, *, timeout: float | None = None) -> None:
        """Forgets the user, even if the server cannot be told to end the session and this
        raises."""
        call = self._sign_out_call()
        return None if call is None else self._client._http.run(call, timeout)

    def reload(self, *, timeout: float | None = None) -> User:
        """The signed-in user as the server knows it now."""
        return self._client._http.run(_requests.get_me(self._options.home), timeout)

    def id_token(self, *, force_refresh: bool = False) -> str | None:
        """The user's id token, good for at least a little while, to show to another server."""
        stale = self._session.id_token if force_refresh else None
        return self._client._http.id_token(stale)


class Client(BaseClient[DocumentReference]):
    """A database of a baas server: `Client("http://127.0.0.1:8080", project="demo",
    api_key="baas_pk_…")`.

    - `api_key`: the project's publishable key for apps, which sign users in and live under the
      security rules; or a secret key (`baas_sk_…`) for servers, which the rules do not bind.
    - `token`: a bearer token to send while nobody is signed in, such as a user's id token that a
      server acts on.
    - `timeout`: seconds for a call, retries included; connecting takes at most 10 of them.
    - `retry`: when calls are tried again. Reads and commits are, since a commit carries an id by
      which the server applies it once.
    - `transport`: how requests are sent instead of over HTTP, for tests.

    May be used from several threads at once. Close it, or use it in a `with`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        project: str,
        database: str = "(default)",
        api_key: str | None = None,
        token: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        retry: RetryPolicy | None = None,
        transport: Transport | None = None,
    ) -> None:
        options = make_options(
            base_url,
            project=project,
            database=database,
            api_key=api_key,
            token=token,
            timeout=timeout,
            retry=retry,
        )
        super().__init__(options)
        self._http = SyncHttp(options, self._session, transport)
        self._listening = ListenThread(options, self._session, self._http.id_token)
        self._session.on_change = self._listening.token_changed
        self.auth = Auth(self)

    def collection(self, *collection_path: str) -> CollectionReference:
        """`client.collection("cities")`, `client.collection("cities/zurich/districts")` or the
        same in parts."""
        path = _paths.collection_path(*collection_path)
        return CollectionReference(self, QuerySpec(self._options.home, path))

    def collections(self, *, timeout: float | None = None) -> Iterator[CollectionReference]:
        """The collections at the top of the database, by id, read page by page. For secret keys."""
        page_token: str | None = None
        while True:
            call = _requests.list_collections(
                self._options.home, None, page_size=_COLLECTIONS_PAGE, page_token=page_token
            )
            ids, page_token = self._http.run(call, timeout)
            for collection_id in ids:
                yield self.collection(collection_id)
            if page_token is None:
                return

    def collection_group(self, collection_id: str) -> CollectionGroup:
        """All collections of this id, wherever they are."""
        group = _paths.collection_id(collection_id)
        return CollectionGroup(self, QuerySpec(self._options.home, group, group=True))

    def document(self, *document_path: str) -> DocumentReference:
        """`client.document("cities/zurich")`, or the same in parts."""
        return DocumentReference(self, _paths.document_path(*document_path))

    def get_all(
        self,
        references: Iterable[DocumentReference],
        field_paths: Iterable[str | FieldPath] | None = None,
        *,
        transaction: Transaction | None = None,
        timeout: float | None = None,
        read_time: datetime | None = None,
    ) -> Iterator[DocumentSnapshot[DocumentReference]]:
        """The documents in the order given, all of one moment, now or `read_time`; at most 1,000 in
        one call. With `field_paths` no more than these fields of each are sent. An earlier moment
        takes the right to read each both as it is and as it was."""
        check_one_time(transaction, read_time)
        if transaction is None:
            call = self._get_all_call(references, field_paths, read_time)
        else:
            call = transaction._get_all_call(references, field_paths)
        yield from self._http.run(call, timeout)

    def bucket(self, bucket_name: str = "default") -> Bucket:
        """A bucket of the project, by its id."""
        return Bucket(self, bucket_name)

    def batch(self) -> WriteBatch:
        """A batch of writes that are committed together; at most 500 in one commit."""
        return WriteBatch(self)

    def bulk_writer(self, options: BulkWriterOptions | None = None) -> BulkWriter:
        """A writer of many documents, each write of which succeeds or fails alone."""
        return BulkWriter(self, options)

    def transaction(
        self,
        max_attempts: int = ATTEMPTS_MAX,
        *,
        read_only: bool = False,
        read_time: datetime | None = None,
    ) -> Transaction:
        """A transaction, for a function under `@transactional`. `read_only` ones are never
        aborted; with `read_time` they read the database as it was then."""
        return Transaction(self, max_attempts, read_only=read_only, read_time=read_time)

    def run_transaction(
        self,
        work: Work[T],
        max_attempts: int = ATTEMPTS_MAX,
        *,
        read_only: bool = False,
        read_time: datetime | None = None,
    ) -> T:
        """Runs `work(transaction)` as `@transactional` does, and gives back what it gives."""
        transaction = self.transaction(max_attempts, read_only=read_only, read_time=read_time)
        return transactional(work)(transaction)

    def recursive_delete(
        self,
        reference: DocumentReference | CollectionReference,
        *,
        progress: Callable[[Job], object] | None = None,
        timeout: float | None = None,
    ) -> int:
        """Deletes a document or a collection with everything below, and returns how many documents
        that were: as a job of the server's own, waited for as `Job.wait` does. Not atomic. For
        secret keys."""
        job = self.start_recursive_delete(reference)
        return job.wait(progress=progress, timeout=timeout).progress.written

    def start_recursive_delete(
        self,
        reference: DocumentReference | CollectionReference,
        *,
        timeout: float | None = None,
    ) -> Job:
        """The same, without waiting for it."""
        told = self._http.run(self._start_deletion_call(reference), timeout)
        return Job(self, told)

    def start_update_by_query(
        self, query: Query, field_updates: Updates, *, timeout: float | None = None
    ) -> Job:
        """Begins a job of the server's own that updates every document of a query, each as
        `DocumentReference.update` does. Not atomic. The query has a collection or a group, and
        filters alone. For secret keys."""
        told = self._http.run(self._start_update_call(query, field_updates), timeout)
        return Job(self, told)

    def get_job(self, job_id: str, *, timeout: float | None = None) -> Job:
        """A job of the project by its id. Raises NotFound. Secret keys find those that such a key
        has begun."""
        return Job(self, self._http.run(_jobs.get_job(self._options.home, job_id), timeout))

    def list_jobs(self, *, timeout: float | None = None) -> list[Job]:
        """The jobs of the project that `get_job` finds, newest first: the last hundred."""
        found = self._http.run(_jobs.list_jobs(self._options.home), timeout)
        return [Job(self, told) for told in found]

    def close(self) -> None:
        """Ends all listeners and connections. Calls after it raise FailedPrecondition."""
        self._listening.close()
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
