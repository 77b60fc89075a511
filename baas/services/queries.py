"""Use cases on queries: run, stream, list. A query is allowed or denied as a whole, by proof
from its constraints; its results are never filtered by rules."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

from baas.database.database import Database
from baas.database.explain import Explanation
from baas.database.index_demand import TRUSTED
from baas.database.names import DatabaseName
from baas.database.read_snapshot import ReadSnapshot
from baas.encoding.documents import StoredDocument
from baas.errors import (
    OutOfRange,
    PermissionDenied,
)
from baas.model.paths import CollectionPath
from baas.model.queries import NAME, Cursor, Order, Query, number_query, searched_query
from baas.model.query_checks import check_query
from baas.model.query_order import position_of
from baas.model.search import Search, Standing, count_terms, count_words
from baas.model.timestamps import Timestamp
from baas.model.values import Reference
from baas.services.authorizer import Authorizer, DocumentReader
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.documents import make_authorizer, open_database, read_time, request_time
from baas.services.names import make_name_token, read_name_token
from baas.services.page_tokens import PagePosition, PageTokens

T = TypeVar("T")
_BY_NAME = (Order(NAME),)
_FIRST_PAGES_KEPT = 1_024


@dataclass(frozen=True, slots=True)
class QueryPage:
    """`more`: documents beyond the page limit were left out; `next_token` leads on to them."""

    documents: list[StoredDocument]
    read_time: Timestamp
    more: bool = False
    next_token: str | None = None
    total: int | None = None
    explanation: Explanation | None = None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page of a query's answer is wanted, of how many documents at most."""

    size: int | None = None
    token: str | None = None
    explain: bool = False


@dataclass(frozen=True, slots=True)
class DocumentStream:
    """All documents of a query in batches, of one instant. Must be read to its end or closed."""

    batches: AsyncGenerator[list[StoredDocument]]
    read_time: Timestamp


async def run_query(
    context: Context, caller: Caller, name: DatabaseName, query: Query
) -> QueryPage:
    """The first `query_page_documents_max` documents at most, about `answer_bytes_max` bytes of
    them. Raises PermissionDenied, InvalidQuery."""
    limits = context.settings.limits
    maximum = limits.query_page_documents_max
    check_query(query, limits)
    database = None if query.search else _find_allowed(context, caller, name, query)
    if database is not None:
        page = database.first_pages.read_nowait(query, bytes_max=limits.answer_bytes_max)
        if page is not None and len(page.documents) <= maximum:
            return QueryPage(page.documents, read_time(context, page.version))
    return await _read_page(context, caller, name, query, PageRequest())


async def run_query_page(
    context: Context, caller: Caller, name: DatabaseName, query: Query, wanted: PageRequest
) -> QueryPage:
    """A page of a query's answer. Pages are of different instants: each begins behind the place
    that the last document of the one before had then. With `explain`, also how it was answered.

    Raises also InvalidArgument (`InvalidPageToken`), OutOfRange (`PageTokenExpired`) for a token
    from before the retention, and PermissionDenied (`ExplainNotAllowed`) unless the caller is an
    administrator, a secret key, or the server is in development mode.
    """
    check_query(query, context.settings.limits)
    if wanted.explain:
        check_may_explain(context, caller)
    return await _read_page(context, caller, name, query, wanted)


def check_may_explain(context: Context, caller: Caller) -> None:
    """Raises PermissionDenied (`ExplainNotAllowed`)."""
    if not (caller.bypasses_rules or context.settings.dev):
        raise PermissionDenied(
            "queries are explained to administrators and secret keys, and in development mode",
            reason="ExplainNotAllowed",
        )


async def _read_page(
    context: Context, caller: Caller, name: DatabaseName, query: Query, wanted: PageRequest
) -> QueryPage:
    limits = context.settings.limits
    maximum = min(wanted.size or limits.query_page_documents_max, limits.query_page_documents_max)
    database = await open_database(context, name)
    tokens = PageTokens(context.secret, incarnation=database.incarnation, query=query)
    position = None if wanted.token is None else tokens.read(wanted.token)
    query = await settle_search(context, caller, name, query)
    first = _bounded(query, query.limit, maximum) if position is None else None

    async def read(snapshot: ReadSnapshot) -> QueryPage:
        rest, left = query, query.limit
        if position is not None:
            rest, left = await _go_on(query, position, snapshot), position.left
        if wanted.explain:
            snapshot.meter()
        bounded = first or _bounded(rest, left, maximum)
        started = context.clock.monotonic_seconds()
        found, is_cut = await snapshot.read_first(bounded, bytes_max=limits.answer_bytes_max)
        seconds = context.clock.monotonic_seconds() - started
        documents = found[:maximum]
        token = None
        if is_cut or len(found) > maximum:
            left = None if left is None else left - len(documents)
            last = PagePosition(documents[-1].path, snapshot.version, left)
            token = tokens.make(last)
        explanation = None
        if wanted.explain:
            explanation = snapshot.explain(bounded, returned=len(documents), seconds=seconds)
        time = read_time(context, snapshot.version)
        return QueryPage(
            documents,
            time,
            more=token is not None,
            next_token=token,
            explanation=explanation,
        )

    return await _read_allowed(context, caller, name, query, read, first=first)


def _bounded(query: Query, left: int | None, maximum: int) -> Query:
    """The query for one page: one document more than fits tells whether there is more."""
    if left is not None and left <= maximum:
        return query if left == query.limit else replace(query, limit=left)
    return replace(query, limit=maximum + 1)


async def _go_on(query: Query, position: PagePosition, snapshot: ReadSnapshot) -> Query:
    """The rest of a query behind a position."""
    try:
        (image,) = await snapshot.get_documents_at([position.path], position.version)
        if image is None:
            raise OutOfRange("the document is not kept")
        if query.search is not None:
            return replace(query, search=_behind(query.search, image), offset=0)
        values = position_of(query, image)
    except (OutOfRange, KeyError) as error:
        raise OutOfRange(
            "what the query showed then is not kept any more; begin with the first page",
            reason="PageTokenExpired",
        ) from error
    return replace(query, start=Cursor(values, before=False), offset=0)


def _behind(search: Search, last: StoredDocument) -> Search:
    """What comes after a document, which need not stand there any more."""
    words, length = count_words(last.fields, search.paths)
    return replace(search, after=Standing(last.path, count_terms(words, search.terms), length))


async def stream_query(
    context: Context, caller: Caller, name: DatabaseName, query: Query
) -> DocumentStream:
    """Every document of the query, however many, from one snapshot that is held until the stream is
    closed. The caller is checked before this returns."""
    check_query(query, context.settings.limits)
    query = await settle_search(context, caller, name, query)
    stack = AsyncExitStack()
    snapshot = await open_allowed(context, caller, name, query)
    stack.push_async_callback(snapshot.close)
    return DocumentStream(_batches(stack, snapshot, query), read_time(context, snapshot.version))


async def list_documents(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    collection: CollectionPath,
    *,
    page_size: int,
    page_token: str | None = None,
    with_total: bool = False,
) -> QueryPage:
    """A page of a collection by name. Pages are of different instants: `next_token` names the last
    document, and the next page starts behind it. `with_total` also says how many documents the
    collection has, which takes the right to list all of them. Raises InvalidArgument for a bad
    token."""
    if page_token is None:
        listing = _first_page(collection, page_size)
    else:
        listing = _Listing.make(collection, page_size, _after(collection, page_token))
    total = None
    page = _list_nowait(context, caller, name, listing, with_total=with_total)
    if page is not None:
        return page
    database = await open_database(context, name)
    async with database.snapshot(listing.read) as snapshot:
        await _check_list(context, caller, name, listing.asked, snapshot)
        if with_total:
            await _check_list(context, caller, name, listing.whole, snapshot)
            total = await snapshot.count(listing.whole)
        found, is_cut = await snapshot.read_first(
            listing.read, bytes_max=context.settings.limits.answer_bytes_max
        )
        time = read_time(context, snapshot.version)
    return _list_page(found, page_size, time, is_cut=is_cut, total=total)


@dataclass(frozen=True, slots=True)
class _Listing:
    """A page of a collection: what is `asked`, limit and all, as the rules see it; what is `read`,
    where one document more tells whether there are more; and the `whole`, for the total."""

    asked: Query
    read: Query
    whole: Query
    page_size: int

    @classmethod
    def make(cls, collection: CollectionPath, page_size: int, start: Cursor | None) -> _Listing:
        asked = Query(collection=collection, order_by=_BY_NAME, start=start, limit=page_size)
        read = Query(collection=collection, order_by=_BY_NAME, start=start, limit=page_size + 1)
        return cls(asked, read, Query(collection=collection), page_size)


@lru_cache(maxsize=_FIRST_PAGES_KEPT)
def _first_page(collection: CollectionPath, page_size: int) -> _Listing:
    """Asked for again and again, so that what is found out about it can be remembered."""
    listing = _Listing.make(collection, page_size, None)
    for query in (listing.asked, listing.read, listing.whole):
        number_query(query)
    return listing


def _list_nowait(
    context: Context, caller: Caller, name: DatabaseName, listing: _Listing, *, with_total: bool
) -> QueryPage | None:
    """The page, if all of it can be told at once. None says nothing. Raises PermissionDenied."""
    asked = (listing.asked, listing.whole) if with_total else (listing.asked,)
    database = _find_allowed(context, caller, name, *asked)
    if database is None:
        return None
    bytes_max = context.settings.limits.answer_bytes_max
    page = database.first_pages.read_nowait(listing.read, bytes_max=bytes_max)
    if page is None:
        return None
    total = None
    if with_total:
        total = database.totals.known(listing.whole.collection.segments, page.version)
        if total is None:
            return None
    time = read_time(context, page.version)
    return _list_page(page.documents, listing.page_size, time, total=total)


def _list_page(
    found: list[StoredDocument],
    page_size: int,
    time: Timestamp,
    *,
    is_cut: bool = False,
    total: int | None = None,
) -> QueryPage:
    documents = found[:page_size]
    token = make_name_token(documents[-1].path.id) if is_cut or len(found) > page_size else None
    return QueryPage(documents, time, next_token=token, total=total)


def _find_allowed(
    context: Context, caller: Caller, name: DatabaseName, *asked: Query
) -> Database | None:
    """The database, if it is open and near, and the caller may list all that is asked whatever is
    stored: of most lists. None says nothing. Raises PermissionDenied."""
    ruleset = context.projects.find_ruleset(name)
    database = None if ruleset is None else context.databases.find(name)
    if ruleset is None or database is None or not database.is_near:
        return None
    if not caller.bypasses_rules:
        authorizer = Authorizer(context, caller, name, ruleset, request_time(context))
        if not all(map(authorizer.check_list_nowait, asked)):
            return None
    return database


async def _read_allowed(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    query: Query,
    read: Callable[[ReadSnapshot], Awaitable[T]],
    *,
    first: Query | None = None,
) -> T:
    """What `read` gives, in a snapshot in which the caller may run the query. `first` as in
    `Database.snapshot`."""
    snapshot = await open_allowed(context, caller, name, query, first)
    try:
        return await read(snapshot)
    finally:
        await snapshot.close()


async def open_allowed(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    query: Query,
    first: Query | None = None,
    *,
    waited: bool = False,
    planned: Sequence[Query] = (),
) -> ReadSnapshot:
    """A snapshot in which the caller may run the query, and in which it is cheap: an index that is
    being made for it is waited for. Nothing is made for callers who may not ask. To be closed.
    `waited`: by an earlier try of the same request. `planned`: what is run in place of the query,
    of which the caller sees less."""
    database = await open_database(context, name)
    asker = TRUSTED if caller.bypasses_rules else (caller.kind, caller.uid)
    while True:
        snapshot = await database.snapshot(first, asker).open()
        try:
            await _check_list(context, caller, name, query, snapshot)
            if waited:
                snapshot.ignore_missing()
                return snapshot
            missing = await snapshot.find_missing(*(planned or (query,)))
        except BaseException:
            await snapshot.close()
            raise
        if not missing:
            return snapshot
        await snapshot.close()
        await database.wait_indexed(missing)
        waited = True


async def settle_search(
    context: Context, caller: Caller, name: DatabaseName, query: Query
) -> Query:
    """The search as it is to be run for the caller: an order tells of all documents among which
    words were counted, so the caller has to be allowed to list them. Who may list what the filter
    holds, and no more, searches among that. Raises PermissionDenied."""
    if query.search is None or caller.bypasses_rules:
        return query
    database = await open_database(context, name)
    async with database.snapshot() as snapshot:
        authorizer = await make_authorizer(context, caller, name)
        await authorizer.check_list(query, snapshot)
        if await authorizer.allows_list(searched_query(query), snapshot):
            return query
    return replace(query, search=replace(query.search, is_narrow=True))


async def _check_list(
    context: Context, caller: Caller, name: DatabaseName, query: Query, reader: DocumentReader
) -> None:
    if not caller.bypasses_rules:
        authorizer = await make_authorizer(context, caller, name)
        await authorizer.check_list(query, reader)
        if query.search is not None:
            await authorizer.check_list(searched_query(query), reader)


async def _batches(
    stack: AsyncExitStack, snapshot: ReadSnapshot, query: Query
) -> AsyncGenerator[list[StoredDocument]]:
    async with stack:
        async for batch in snapshot.stream_query(query):
            yield batch


def _after(collection: CollectionPath, token: str) -> Cursor:
    return Cursor((Reference(read_name_token(collection, token)),), before=False)
