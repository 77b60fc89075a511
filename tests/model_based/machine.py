"""Random steps on a real database, each held against the oracle."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from baas.clock import VirtualClock
from baas.database import index_builder
from baas.database.aggregation import wanted_queries
from baas.database.database import Database
from baas.database.indexes import IndexKind
from baas.database.listeners import DocumentsTarget, QueryTarget
from baas.database.names import DatabaseName
from baas.database.past import PastSnapshot
from baas.database.planner import CollectionScan, plan_query
from baas.database.read_snapshot import ReadSnapshot
from baas.database.transaction import CommitResult, Transaction
from baas.encoding.documents import StoredDocument, encode_fields
from baas.errors import AlreadyExists, BaasError, QuotaExceeded, ResumeTokenExpired
from baas.model.aggregates import Aggregation, aggregated_query
from baas.model.documents import Document
from baas.model.paths import DocumentPath, FieldPath
from baas.model.queries import Query
from baas.model.tallies import Group, PageBounds
from baas.model.timestamps import Timestamp
from baas.model.values import Value
from baas.model.writes import SetWrite, Write, WriteResult
from baas.settings import Limits, Settings
from baas.storage.engine import StorageEngine
from tests.model_based.generate import Generator
from tests.model_based.mirror import Mirror, check_answer, check_same
from tests.model_based.oracle import Oracle, State, answer, collection_ids, groups, same

OpenEngine = Callable[[], Awaitable[StorageEngine]]

STEPS = 60
SNAPSHOTS_MAX = 2
MIRRORS_MAX = 5
TRANSACTIONS_MAX = 6  # at the same time
ALL = PageBounds(1_000, 1 << 30)
_RESERVED = "__indexes__"


class Mismatch(AssertionError):
    """The database and the oracle do not agree."""


@dataclass(slots=True)
class _Attempt:
    """A transaction among others: what its last run read, and what became of it."""

    paths: Sequence[DocumentPath]
    query: Query | None
    aggregation: Aggregation | None
    fixed: Sequence[Write]
    request_id: str
    writes: list[Write] = field(default_factory=list)
    documents: list[StoredDocument | None] = field(default_factory=list)
    answer: list[StoredDocument] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    result: CommitResult[None] | None = None
    error: BaasError | None = None


@dataclass(frozen=True, slots=True)
class Focus:
    """What a run does more of than chance would have it."""

    weights: Mapping[str, float] = field(default_factory=dict)  # by the name of the step
    pool: tuple[Value, ...] | None = None  # what most values are of
    time_stands_still: bool = False
    places: int | None = None  # collections
    windows: float = 0.3  # of the listeners, those to the first few documents of a collection


class Machine:
    """One run. `cases` counts what was compared, by kind of step."""

    def __init__(self, open_engine: OpenEngine, seed: int, focus: Focus | None = None) -> None:
        self.seed = seed
        self.cases: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._open_engine = open_engine
        self._clock = VirtualClock()
        # Few indexes a collection: some queries stay without.
        limits = Limits(collection_indexes_max=self._chance.choice((2, 64)))
        self._settings = Settings(limits=limits)
        self._oracle = Oracle(limits)
        focus = focus or Focus()
        self._make = Generator(self._chance, limits, pool=focus.pool, places=focus.places)
        # Some runs do little of one thing and much of another; in some, time stands still.
        self._weights = [
            weight * focus.weights.get(name, self._chance.choice((0.3, 1, 3)))
            for name, weight, _ in _TABLE
        ]
        self._ticks = self._chance.choice(((0.0,), (0.0, 0.000001, 0.001, 1.5, -0.3)))
        self._windows = focus.windows
        if focus.time_stands_still:
            self._ticks = (0.0,)
        self._wants_two = self._chance.random() < 0.4
        self._engine: StorageEngine
        self._nodes: list[Database] = []
        self._database: Database  # of the node that does the next step
        self._snapshots: list[ReadSnapshot] = []
        self._mirrors: list[Mirror] = []
        self._requests: list[tuple[str, int, list[WriteResult]]] = []
        self._request_count = 0
        self._oldest = 0

    async def run(self, steps: int = STEPS) -> None:
        """Raises Mismatch, with the seed and the step."""
        await self._open()
        number, name = 0, "open"
        try:
            while number < steps:
                number += 1
                name, step = self._chance.choices(_STEPS, self._weights)[0]
                self.cases[name] += 1
                self._database = self._chance.choice(self._nodes)
                await step(self)
            name = "end"
            await self._settle()
        except Exception as error:
            raise Mismatch(
                f"seed {self.seed}, step {number} ({name}): {error}\nrepeat with SEED={self.seed}"
            ) from error
        finally:
            await self._close()

    async def _open(self) -> None:
        """As one node, or as two where the engine may be shared."""
        self._engine = await self._open_engine()
        await self._add_node(self._engine)
        if self._wants_two and self._engine.is_shared:
            await self._add_node(await self._open_engine())
            self.cases["two nodes"] += 1
        # One node knows at once what it has dropped.
        grace = index_builder.DROP_GRACE_SECONDS
        index_builder.DROP_GRACE_SECONDS = 0.0 if len(self._nodes) == 1 else max(grace, 600.0)

    async def _add_node(self, engine: StorageEngine) -> None:
        self._database = await Database.open(
            DatabaseName("demo"), engine, clock=self._clock, settings=self._settings
        )
        self._nodes.append(self._database)
        assert self._database.version >= self._oracle.version

    async def _close(self) -> None:
        for snapshot in self._snapshots:
            await snapshot.close()
        self._snapshots.clear()
        for mirror in self._mirrors:
            mirror.stop()
        for node in self._nodes:
            await node.close()
        self._nodes.clear()

    async def _catch_up(self) -> None:
        """Each node has heard of what the other has committed."""
        for node in self._nodes:
            await node.catch_up()

    @property
    def _now(self) -> State:
        return self._oracle.now

    def _request_time(self) -> Timestamp:
        # Mostly forwards, and back as clocks are set.
        self._clock.advance(self._chance.choice(self._ticks))
        return Timestamp(self._clock.now_microseconds())

    # Writing --------------------------------------------------------------------------------------

    async def _commit(self) -> None:
        """Some writes, as a client sends them; now and then with a request id."""
        writes = self._make.writes(self._now)
        time = self._request_time()
        request_id = self._new_request_id() if self._chance.random() < 0.3 else None
        wanted: BaasError | None = None
        try:
            evaluation = self._oracle.evaluate(writes, time, self._now)
        except BaasError as error:
            wanted = error
        before = self._database.version
        result = await self._run_refused(writes, time, request_id, wanted)
        if result is None:
            return
        if not evaluation.changed() and request_id is None:
            assert result.version >= self._oracle.version
            self._check_results(result, evaluation.results(result.version))
            return
        assert result.version > before
        self._check_results(result, self._oracle.commit(evaluation, result.version))
        if request_id is not None:
            self._requests.append((request_id, result.version, result.write_results))

    async def _run_refused(
        self,
        writes: Sequence[Write],
        time: Timestamp,
        request_id: str | None,
        wanted: BaasError | None,
    ) -> CommitResult[None] | None:
        """Runs them as a transaction, which is refused with the wanted error, if there is one."""

        async def body(transaction: Transaction) -> None:
            await transaction.write(writes)

        error: BaasError | None = None
        try:
            result = await self._database.run_transaction(
                body, request_time=time, request_id=request_id
            )
        except BaasError as raised:
            error = raised
        told = f"{writes}: {error!r}, not {wanted!r}"
        assert type(error) is type(wanted), told
        if error is None or wanted is None:
            return result
        assert error.reason == wanted.reason, told
        return None

    async def _repeat(self) -> None:
        """A request that was answered before is answered alike, and writes nothing."""
        if not self._requests:
            return
        request_id, version, results = self._chance.choice(self._requests)
        writes = self._make.writes(self._now)

        async def body(transaction: Transaction) -> None:
            await transaction.write(writes)

        result = await self._database.run_transaction(
            body, request_time=self._request_time(), request_id=request_id
        )
        assert result.replayed
        assert result.version == version
        self._check_results(result, results)

    async def _compete(self) -> None:
        """Transactions at the same time: as if they had come one after another, by version."""
        count = self._chance.randint(2, TRANSACTIONS_MAX)
        attempts = [self._new_attempt() for _ in range(count)]
        time = self._request_time()
        before = len(self._oracle.versions) - 1
        await asyncio.gather(*[self._attempt(attempt, time) for attempt in attempts])
        done = [(one.result.version, one) for one in attempts if one.result is not None]
        for version, attempt in sorted(done, key=lambda item: item[0]):
            assert attempt.result is not None
            told = f"transaction at {version}"
            state = self._now
            check_same(told, attempt.documents, [state.get(path) for path in attempt.paths])
            if attempt.query is not None:
                check_answer(told, attempt.query, attempt.answer, state)
            if attempt.aggregation is not None:
                _check_groups(told, attempt.aggregation, attempt.groups, state)
            evaluation = self._oracle.evaluate(attempt.writes, time, state)
            self._check_results(attempt.result, self._oracle.commit(evaluation, version))
            self._requests.append((attempt.request_id, version, attempt.result.write_results))
        states = [self._oracle.at(version) for version in self._oracle.versions[before:]]
        for attempt in attempts:
            if attempt.error is not None:
                self._check_refusal(attempt, attempt.error, time, states)

    def _new_attempt(self) -> _Attempt:
        chance = self._chance
        return _Attempt(
            [self._make.path() for _ in range(chance.randint(0, 2))],
            self._make.query(self._now) if chance.random() < 0.4 else None,
            self._make.aggregation(self._now) if chance.random() < 0.2 else None,
            self._make.writes(self._now),
            self._new_request_id(),
        )

    async def _attempt(self, attempt: _Attempt, time: Timestamp) -> None:
        async def body(transaction: Transaction) -> None:
            attempt.documents = await transaction.get_documents(attempt.paths)
            if attempt.query is not None:
                attempt.answer = (await transaction.run_query(attempt.query)).documents
            if attempt.aggregation is not None:
                attempt.groups = (await transaction.aggregate(attempt.aggregation, ALL)).groups
            seen = len(attempt.answer) + sum(one is not None for one in attempt.documents)
            # What is written rests on what was read.
            noted = SetWrite(DocumentPath(("c", "b")), {"a": seen}, mask=(FieldPath(("a",)),))
            attempt.writes = [*attempt.fixed, noted]
            await transaction.write(attempt.writes)

        node = self._chance.choice(self._nodes)
        try:
            attempt.result = await node.run_transaction(
                body, request_time=time, request_id=attempt.request_id
            )
        except BaasError as error:
            attempt.error = error

    def _check_refusal(
        self, attempt: _Attempt, error: BaasError, time: Timestamp, states: Sequence[State]
    ) -> None:
        for state in states:
            try:
                self._oracle.evaluate(attempt.writes, time, state)
            except BaasError as wanted:
                if type(wanted) is type(error):
                    return
        raise AssertionError(
            f"{attempt.writes} refused for nothing: {error!r} ({error.__cause__!r})"
        )

    def _check_results(self, result: CommitResult[None], wanted: Sequence[WriteResult]) -> None:
        # repr: NaN is no NaN's equal, and 1 is 1.0's.
        assert repr(result.write_results) == repr(list(wanted)), (
            f"told {result.write_results}, wanted {list(wanted)}"
        )

    def _new_request_id(self) -> str:
        self._request_count += 1
        return f"request{self._request_count}"

    # Reading --------------------------------------------------------------------------------------

    async def _get(self) -> None:
        paths = [self._make.path() for _ in range(self._chance.choice((1, 1, 3, 10)))]
        wanted = [self._now.get(path) for path in paths]
        check_same("get", await self._database.get_documents(paths), wanted)

    async def _query(self) -> None:
        query = self._make.query(self._now, searches=True)
        async with self._database.snapshot() as snapshot:
            await self._check_query(query, snapshot, self._now)

    async def _query_indexed(self) -> None:
        """A query with the indexes that it wants, made for it if there may be so many."""
        query = self._make.query(self._now, searches=True)
        for _ in range(2):  # for one that comes again
            async with self._database.snapshot() as snapshot:
                missing = await snapshot.find_missing(query)
        await self._database.wait_indexed(missing)
        self.cases["indexes made"] += len(missing)
        async with self._database.snapshot() as snapshot:
            await self._check_query(query, snapshot, self._now)

    async def _check_query(self, query: Query, snapshot: ReadSnapshot, state: State) -> None:
        told = f"{query} at {snapshot.version}"
        found = (await snapshot.run_query(query)).documents
        wanted = check_answer(told, query, found, state)
        self.cases["documents found"] += len(wanted)
        for kind in ("near", "search"):
            self.cases[f"{kind}: found"] += len(wanted) if getattr(query, kind) else 0
        way = self._chance.randrange(4)
        if way == 0:
            streamed = [one async for batch in snapshot.stream_query(query) for one in batch]
            check_same(f"stream of {told}", streamed, wanted)
        elif way == 1:
            most = self._chance.choice((None, 0, 1, 3))
            count = await snapshot.count(query, up_to=most)
            assert count == (len(wanted) if most is None else min(most, len(wanted))), (
                f"count of {told} up to {most} is {count}, not that of {wanted}"
            )
        elif way == 2:
            first, is_cut = await snapshot.read_first(query, bytes_max=100)
            assert is_cut == (len(first) < len(wanted))
            check_same(f"first of {told}", first, wanted[: max(len(first), min(1, len(wanted)))])

    async def _aggregate(self) -> None:
        """In one way or another, by which indexes there happen to be."""
        aggregation = self._make.aggregation(self._now)
        async with self._database.snapshot() as snapshot:
            if self._chance.random() < 0.5:
                missing = await snapshot.find_missing(*wanted_queries(aggregation, is_page=True))
                await self._database.wait_indexed(missing)
        async with self._database.snapshot() as snapshot:
            page = await snapshot.aggregate(aggregation, ALL)
            _check_groups("whole", aggregation, page.groups, self._now)
            if not aggregation.group_by:
                return
            found: list[Group] = []
            most, size, after = self._chance.randint(1, 4), self._chance.choice((1, 1 << 30)), None
            while True:
                page = await snapshot.aggregate(aggregation, PageBounds(most, size, after))
                assert len(page.groups) <= most
                found += page.groups
                if not page.more:
                    break
                after = page.groups[-1].values
        _check_groups("in pages", aggregation, found, self._now)

    async def _build_index(self) -> None:
        """One as an administrator might: with what is held equal in another sequence, or in another
        direction."""
        query = self._make.query(self._now, searches=True)
        plan = plan_query(query, self._database.indexes, self._database.indexes.generation)
        if not isinstance(plan, CollectionScan):
            return
        for definition in plan.missing:
            plain = [one for one in definition.fields if one.kind is IndexKind.PLAIN]
            last = [one for one in definition.fields if one.kind is not IndexKind.PLAIN]
            turned = [
                replace(one, descending=self._chance.random() < 0.3)
                for one in self._chance.sample(plain, len(plain))
            ]
            wanted = replace(definition, fields=(*turned, *last))
            with suppress(AlreadyExists, QuotaExceeded):
                await self._database.index_keeper.build(wanted)
                await self._database.wait_indexed([wanted])
                self.cases["indexes built"] += 1
        async with self._database.snapshot() as snapshot:
            await self._check_query(query, snapshot, self._now)

    async def _drop_index(self) -> None:
        """While snapshots, listeners and the back-filling of others may be at work."""
        indexes = list(self._database.indexes)
        if indexes:
            self.cases["indexes dropped"] += 1
            await self._database.index_keeper.drop(self._chance.choice(indexes))
        await self._database.index_keeper.tidy()

    async def _list_collections(self) -> None:
        parent = self._make.path() if self._chance.random() < 0.6 else None
        found = await self._database.list_collection_ids(parent)
        assert found == collection_ids(parent, self._now), f"collections below {parent}"

    async def _read_the_past(self) -> None:
        """A snapshot that was opened earlier, or is now for later."""
        if len(self._snapshots) < SNAPSHOTS_MAX:
            self._snapshots.append(await self._database.snapshot().open())
        snapshot = self._chance.choice(self._snapshots)
        state = self._oracle.at(snapshot.version)
        paths = [self._make.path() for _ in range(3)]
        found = await snapshot.get_documents(paths)
        check_same(f"get at {snapshot.version}", found, [state.get(path) for path in paths])
        await self._check_query(self._make.query(state, searches=True), snapshot, state)
        if self._chance.random() < 0.4:
            self._snapshots.remove(snapshot)
            await snapshot.close()

    async def _query_the_past(self) -> None:
        """A version by what has changed since."""
        version = self._chance.choice(self._oracle.versions)
        state = self._oracle.at(version)
        query, aggregation = self._make.query(state), self._make.aggregation(state)
        told = f"of {version}"
        async with self._database.snapshot() as snapshot:
            past = PastSnapshot(snapshot, version)
            try:
                found = (await past.run_query(query)).documents
                wanted = check_answer(f"{query} {told}", query, found, state)
                first, is_cut = await past.read_first(query, bytes_max=100)
                # What is behind a document that is larger by itself is not looked at.
                assert is_cut == (len(first) < len(wanted)) or (is_cut and len(first) == 1)
                check_same(f"first of {query} {told}", first, wanted[: len(first)])
                if aggregation.query.search is None:
                    page = await past.aggregate(aggregation, ALL)
                    _check_groups(told, aggregation, page.groups, state)
            except ResumeTokenExpired:
                assert version < self._oldest

    async def _read_changes(self) -> None:
        """What happened since a version: one change per document, and commit by commit."""
        after = self._chance.choice(self._oracle.versions)
        old, new = self._oracle.at(after), self._now
        async with self._database.snapshot() as snapshot:
            try:
                changes = await snapshot.read_net_changes(after)
                commits = await snapshot.read_commits(after, limit=self._chance.choice((1, 5, 500)))
            except ResumeTokenExpired:
                assert after < self._oldest
                return
        net = {one.path: one for one in changes if one.path.segments[0] != _RESERVED}
        for path in old.keys() | new.keys() | net.keys():
            before, behind = old.get(path), new.get(path)
            if path in net:
                check_same(
                    f"change since {after}", [net[path].old, net[path].new], [before, behind]
                )
            else:
                assert _are_same(before, behind), (
                    f"{path} changed since {after}, and nobody says so"
                )
        for event in commits:
            state, later = self._oracle.at(event.version - 1), self._oracle.at(event.version)
            for change in event.changes:
                if change.path.segments[0] != _RESERVED:
                    images = [state.get(change.path), later.get(change.path)]
                    check_same(f"commit {event.version}", [change.old, change.new], images)

    # Listening ------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """A new listener, or one that goes on after a pause."""
        paused = [mirror for mirror in self._mirrors if not mirror.is_listening]
        if paused and self._chance.random() < 0.6:
            await self._chance.choice(paused).listen(self._database.listeners)
            return
        if len(self._mirrors) >= MIRRORS_MAX:
            gone = self._mirrors.pop(self._chance.randrange(len(self._mirrors)))
            gone.stop()
        if self._chance.random() < 0.2:
            paths = tuple(self._make.path() for _ in range(self._chance.randint(1, 4)))
            mirror = Mirror(DocumentsTarget(paths))
        elif self._chance.random() < self._windows:
            mirror = Mirror(QueryTarget(self._make.window()))
        else:
            mirror = Mirror(QueryTarget(self._make.query(self._now)))
        self._mirrors.append(mirror)
        await mirror.listen(self._database.listeners)

    async def _pause(self) -> None:
        if self._mirrors:
            mirror = self._chance.choice(self._mirrors)
            if self._chance.random() < 0.6:
                await self._catch_up()
                await mirror.settle(self._oracle)  # it has heard of the latest version
            mirror.stop()

    async def _settle(self) -> None:
        await self._catch_up()
        for mirror in self._mirrors:
            await mirror.settle(self._oracle)

    # Housekeeping ---------------------------------------------------------------------------------

    async def _reopen(self) -> None:
        await self._settle()
        await self._close()
        await self._open()
        self._clock.advance(1.0)

    async def _forget(self) -> None:
        """Retention: what lies below a version can be resumed from no more."""
        before = self._chance.choice(self._oracle.versions)
        for snapshot in self._snapshots:
            await snapshot.close()
        self._snapshots.clear()
        await self._engine.trim(before, limit=self._chance.choice((3, 1_000)))
        self._oldest = max(self._oldest, before)
        self._requests = [one for one in self._requests if one[1] >= self._oldest]
        assert await self._database.read_oldest_version() == self._oldest


def _check_groups(
    told: str, aggregation: Aggregation, found: Sequence[Group], state: State
) -> None:
    wanted = groups(aggregation, answer(aggregated_query(aggregation), state))
    # Stored forms: NaN is no NaN's equal, and 1 is 1.0's.
    shown, right = [
        [encode_fields({"by": list(one.values), **one.results}) for one in some]
        for some in (found, wanted)
    ]
    assert shown == right, f"{told}: {aggregation}: {shown}, not {right}"


def _are_same(a: Document | None, b: Document | None) -> bool:
    if a is None or b is None:
        return a is b
    return same(a, b)


_Step = Callable[[Machine], Awaitable[None]]
_TABLE: tuple[tuple[str, int, _Step], ...] = (
    ("commit", 30, Machine._commit),
    ("repeat", 2, Machine._repeat),
    ("compete", 8, Machine._compete),
    ("get", 4, Machine._get),
    ("query", 20, Machine._query),
    ("query indexed", 15, Machine._query_indexed),
    ("aggregate", 8, Machine._aggregate),
    ("build index", 3, Machine._build_index),
    ("drop index", 4, Machine._drop_index),
    ("list collections", 2, Machine._list_collections),
    ("read the past", 4, Machine._read_the_past),
    ("query the past", 4, Machine._query_the_past),
    ("read changes", 3, Machine._read_changes),
    ("listen", 6, Machine._listen),
    ("pause", 2, Machine._pause),
    ("settle", 3, Machine._settle),
    ("reopen", 1, Machine._reopen),
    ("forget", 1, Machine._forget),
)
_STEPS = [(name, step) for name, _, step in _TABLE]
