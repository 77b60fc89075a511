"""Use cases on aggregations: numbers of a query's answer, and of groups of it.

They take the same right as listing the query: who may see all of its documents may count them.
"""

from __future__ import annotations

from asyncio import Semaphore, sleep, timeout
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from baas.database.aggregation import wanted_queries
from baas.database.database import Database
from baas.database.explain import Explanation
from baas.database.names import DatabaseName
from baas.database.read_snapshot import ReadSnapshot
from baas.errors import InvalidArgument, OutOfRange, QuotaExceeded, ResourceExhausted
from baas.model.aggregates import Aggregate, AggregateOperator, Aggregation, check_aggregation
from baas.model.queries import Query
from baas.model.query_checks import check_query, refuse_search
from baas.model.tallies import Group, GroupPage, PageBounds, Results
from baas.model.timestamps import Timestamp
from baas.model.values import Value
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.documents import open_database, read_time
from baas.services.page_tokens import PagePosition, PageTokens
from baas.services.queries import PageRequest, check_may_explain, open_allowed, settle_search
from baas.settings import Limits

T = TypeVar("T")
COUNTED_AT_ONCE_MAX = 1_000  # keys: about what an answer of documents costs
_COUNT = (Aggregate("count", AggregateOperator.COUNT),)


@dataclass(frozen=True, slots=True)
class QueryCount:
    count: int
    read_time: Timestamp


@dataclass(frozen=True, slots=True)
class Aggregated:
    """Groups of a query's answer, all of one instant; `next_token` leads on to further ones."""

    groups: list[Group]
    read_time: Timestamp
    next_token: str | None = None
    explanation: Explanation | None = None

    @property
    def results(self) -> Results:
        """By alias, of an aggregation that groups by nothing."""
        return self.groups[0].results


async def aggregate(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    aggregation: Aggregation,
    wanted: PageRequest | None = None,
) -> Aggregated:
    """The first `aggregation_groups_max` groups at most, or those behind a token. Pages are of
    different instants. What takes looking at more than a few keys waits for one of a few places,
    and holds nothing meanwhile: memory does not grow with the callers.

    Raises PermissionDenied, InvalidQuery, ResourceExhausted (`TooManyAggregations`),
    DeadlineExceeded; InvalidArgument (`InvalidPageToken`) and OutOfRange (`PageTokenExpired`).
    """
    wanted = wanted or PageRequest()
    check(context, aggregation)
    if wanted.explain:
        check_may_explain(context, caller)
    database = await open_database(context, name)
    tokens = PageTokens(context.secret, incarnation=database.incarnation, query=aggregation)
    position = None if wanted.token is None else _read_token(tokens, wanted.token, aggregation)
    settled = await settle_search(context, caller, name, aggregation.query)
    asked = aggregation
    if settled is not aggregation.query:
        asked = replace(aggregation, query=settled)

    async def read(snapshot: ReadSnapshot) -> Aggregated:
        after = None if position is None else await _values_at(asked, position, snapshot)
        if wanted.explain:
            snapshot.meter()
        started = context.clock.monotonic_seconds()
        page = await snapshot.aggregate(asked, bounds(context.settings.limits, wanted.size, after))
        seconds = context.clock.monotonic_seconds() - started
        explanation = None
        if wanted.explain:
            explanation = snapshot.explain(asked, returned=len(page.groups), seconds=seconds)
        token = _next_token(tokens, page, snapshot.version)
        return Aggregated(page.groups, read_time(context, snapshot.version), token, explanation)

    is_page = position is not None
    return await read_in_turn(context, caller, name, asked, read, is_page=is_page)


async def read_in_turn(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    aggregation: Aggregation,
    read: Callable[[ReadSnapshot], Awaitable[T]],
    *,
    is_page: bool = False,
) -> T:
    """What `read` gives, in a snapshot in which the caller may run the query: at once if it is
    small, else in a place for it."""
    query = aggregation.query
    planned = wanted_queries(aggregation, is_page=is_page)
    snapshot = await open_allowed(context, caller, name, query, planned=planned)
    try:
        if await snapshot.is_small(aggregation, COUNTED_AT_ONCE_MAX):
            return await read(snapshot)
    finally:
        await snapshot.close()
    async with place(await open_database(context, name), context):
        snapshot = await open_allowed(context, caller, name, query, waited=True)
        try:
            return await read(snapshot)
        finally:
            await snapshot.close()


async def count(context: Context, caller: Caller, name: DatabaseName, query: Query) -> QueryCount:
    """How many documents the query has; else as `aggregate`."""
    found = await aggregate(context, caller, name, Aggregation(query, _COUNT))
    number = found.results["count"]
    assert isinstance(number, int)
    return QueryCount(number, found.read_time)


def check(context: Context, aggregation: Aggregation) -> None:
    """Raises InvalidQuery."""
    check_query(aggregation.query, context.settings.limits)
    check_aggregation(aggregation)
    if aggregation.fields:
        refuse_search(aggregation.query, "with aggregations other than `count`")


def check_all_groups(context: Context, page: GroupPage) -> None:
    """Raises QuotaExceeded (`AnswerTooLarge`) where there is one page only."""
    if page.more:
        limits = context.settings.limits
        raise QuotaExceeded(
            "an aggregation in a transaction or of an earlier moment has at most"
            f" {limits.aggregation_groups_max} groups and {limits.answer_bytes_max} bytes; narrow"
            " its query",
            reason="AnswerTooLarge",
            details={
                "groups_max": limits.aggregation_groups_max,
                "answer_bytes_max": limits.answer_bytes_max,
            },
        )


def bounds(
    limits: Limits, size: int | None = None, after: tuple[Value, ...] | None = None
) -> PageBounds:
    """Of one answer."""
    most = limits.aggregation_groups_max
    return PageBounds(min(size or most, most), limits.answer_bytes_max, after)


@asynccontextmanager
async def place(database: Database, context: Context) -> AsyncGenerator[None]:
    """One of the places of a database for what is large. Raises ResourceExhausted."""
    await sleep(0)  # What is at once is asked outside of a task, where nothing can time out.
    gate: Semaphore = database.count_gate
    try:
        async with timeout(context.settings.limits.query_seconds_max):
            await gate.acquire()
    except TimeoutError:
        raise ResourceExhausted(
            "many large aggregations run already; try again later", reason="TooManyAggregations"
        ) from None
    try:
        yield
    finally:
        gate.release()


async def are_small(database: Database, aggregations: Sequence[Aggregation]) -> bool:
    """Whether none of them needs a place."""
    async with database.snapshot() as snapshot:
        for aggregation in aggregations:
            if not await snapshot.is_small(aggregation, COUNTED_AT_ONCE_MAX):
                return False
    return True


def _read_token(tokens: PageTokens, token: str, aggregation: Aggregation) -> PagePosition:
    if not aggregation.group_by:
        raise InvalidArgument(
            "`page_token` goes with `group_by`: without it there is one page",
            reason="InvalidPageToken",
        )
    return tokens.read(token)


def _next_token(tokens: PageTokens, page: GroupPage, version: int) -> str | None:
    """It names a document of the last group, whose values lead to the next one."""
    if not page.more:
        return None
    first = page.groups[-1].first
    assert first is not None
    return tokens.make(PagePosition(first, version, None))


async def _values_at(
    aggregation: Aggregation, position: PagePosition, snapshot: ReadSnapshot
) -> tuple[Value, ...]:
    try:
        (image,) = await snapshot.get_documents_at([position.path], position.version)
        if image is None:
            raise OutOfRange("the document is not kept")
        return aggregation.values_of(image)
    except (OutOfRange, KeyError) as error:
        raise OutOfRange(
            "what the aggregation showed then is not kept any more; begin with the first page",
            reason="PageTokenExpired",
        ) from error
