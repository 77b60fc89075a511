from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baas.database import listeners, views
from baas.database.database import SCANS_MAX, Database
from baas.database.executor import QueryExecutor
from baas.database.listeners import (
    DocumentsTarget,
    QueryTarget,
    Subscription,
    Target,
    Update,
)
from baas.database.views import ChangeKind
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.errors import BaasError, Code, Unavailable
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import FieldFilter, Operator, Order, Query
from baas.model.values import Fields
from baas.storage.engine import EngineUnavailable
from baas.storage.sqlite_reads import SqliteSnapshot
from tests.baas.database import arbitrary
from tests.baas.database.store import Store
from tests.effort import examples
from tests.waiting import until

CITIES = CollectionPath(("cities",))
SIZE = FieldPath(("size",))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path)
    yield store
    await store.close()


class Client:
    """Applies every update to its list, and checks it against the truth at that version."""

    def __init__(self, store: Store, target: Target) -> None:
        self.store = store
        self.target = target
        self.documents: list[StoredDocument] = []
        self.version = -1
        self.updates: list[Update] = []
        self.errors: list[BaasError] = []
        self.has_moved = asyncio.Event()
        self.has_failed = asyncio.Event()
        self.subscription: Subscription | None = None

    async def connect(self) -> None:
        resume_from = None if self.version < 0 else self.version
        self.is_first = True
        self.subscription = await self.store.listeners.listen(
            self.target, self.receive, self.fail, resume_from=resume_from
        )

    def fail(self, error: BaasError) -> None:
        self.errors.append(error)
        self.has_failed.set()

    async def wait_for(self, version: int) -> None:
        """Returns once the client is at this version."""
        while self.version < version:
            self.has_moved.clear()
            await self.has_moved.wait()

    def disconnect(self) -> None:
        if self.subscription is not None:
            self.subscription.close()
            self.subscription = None

    def receive(self, update: Update) -> None:
        self.updates.append(update)
        if update.reset:
            self.documents = []
        for change in update.changes:
            if change.kind is not ChangeKind.ADDED:
                taken = self.documents.pop(change.old_index)
                assert taken.path == change.document.path
            else:
                assert change.old_index == -1
            if change.kind is not ChangeKind.REMOVED:
                self.documents.insert(change.new_index, change.document)
            else:
                assert change.new_index == -1
        # Only the first update of a resumption may tell nothing new.
        assert update.version > self.version or (self.is_first and update.version == self.version)
        self.is_first = False
        self.version = update.version
        self.has_moved.set()
        assert update.count == len(self.documents)
        assert self._shown(self.documents) == self._shown(self.expected(update.version))

    def expected(self, version: int) -> list[StoredDocument]:
        if isinstance(self.target, QueryTarget):
            return self.store.expected(self.target.query, version)
        state = self.store.states[version]
        return [state[path] for path in self.target.paths if path in state]

    def _shown(self, documents: list[StoredDocument]) -> list[tuple[DocumentPath, int]]:
        return [(document.path, document.version) for document in documents]


def city(name: str) -> DocumentPath:
    return CITIES.document(name)


def by_size(**more: Any) -> QueryTarget:
    return QueryTarget(Query(CITIES, order_by=(Order(SIZE),), **more))


async def test_the_first_update_is_the_whole_answer(store: Store) -> None:
    await store.commit({city("b"): {"size": 2}, city("a"): {"size": 3}})
    client = Client(store, by_size())
    await client.connect()
    assert [document.path.id for document in client.documents] == ["b", "a"]
    assert client.version == 1
    assert not client.updates[0].reset


async def test_one_commit_is_one_update(store: Store) -> None:
    client = Client(store, by_size())
    await client.connect()
    await store.commit({city("a"): {"size": 1}, city("b"): {"size": 2}, city("c"): {"size": 0}})
    await store.commit({city("a"): {"size": 5}, city("b"): None, city("d"): {"size": 1}})
    store.deliver()
    assert [update.version for update in client.updates] == [0, 1, 2]
    kinds = [(change.kind.value, change.document.path.id) for change in client.updates[2].changes]
    assert kinds == [("removed", "b"), ("added", "d"), ("modified", "a")]


async def test_commits_between_snapshot_and_feed_are_neither_lost_nor_repeated(
    store: Store,
) -> None:
    await store.commit({city("a"): {"size": 1}})
    await store.commit({city("b"): {"size": 2}})
    client = Client(store, by_size())
    await client.connect()  # its snapshot is at 2, the feed at 0
    await store.commit({city("a"): {"size": 3}})
    store.deliver()
    assert [update.version for update in client.updates] == [2, 3]


async def test_commits_that_the_snapshot_has_already_do_not_turn_back_the_view(
    store: Store,
) -> None:
    await store.commit({city("a"): {"size": 1}})
    await store.commit({city("a"): {"size": 2}})
    await Client(store, by_size()).connect()  # its snapshot is at 2, the feed at 0
    store.deliver(1)
    late = Client(store, by_size())
    await late.connect()  # checks that it gets the state at 2
    assert late.version == 2


async def test_resuming_while_the_view_goes_on(store: Store) -> None:
    await store.commit({city("a"): {"size": 1}})
    store.deliver()
    watching, client = Client(store, by_size()), Client(store, by_size())
    await watching.connect()
    await client.connect()
    client.disconnect()
    await store.commit({city("b"): {"size": 2}})
    store.deliver()
    read_at_once = store.engine.read_oldest_version

    async def commit_meanwhile() -> int:
        store.engine.read_oldest_version = read_at_once  # type: ignore[method-assign]
        await store.commit({city("a"): {"size": 3}, city("c"): {"size": 0}})
        store.deliver()
        return await read_at_once()

    store.engine.read_oldest_version = commit_meanwhile  # type: ignore[method-assign]
    await client.connect()
    assert not client.updates[-1].reset
    assert client.version == 3


async def test_equal_targets_are_computed_once(store: Store) -> None:
    clients = [Client(store, by_size()) for _ in range(3)]
    for client in clients:
        await client.connect()
    assert store.listeners.target_count == 1
    await store.commit({city("a"): {"size": 1}})
    store.deliver()
    assert clients[0].updates[1] is clients[2].updates[1]
    for client in clients:
        client.disconnect()
    assert store.listeners.is_idle


async def test_targets_that_differ_by_little_hold_the_same_documents(store: Store) -> None:
    """Each held a copy: forty targets on a collection of 20 MB took 1.6 GB."""
    await store.commit({city("a"): {"size": 1}, city("b"): {"size": 2}})
    above = FieldFilter(SIZE, Operator.GREATER, 0)
    targets = (by_size(), by_size(where=above), DocumentsTarget((city("a"), city("b"))))
    clients = [Client(store, target) for target in targets]
    for client in clients:
        await client.connect()
    for index in range(2):
        assert len({id(client.documents[index]) for client in clients}) == 1
    await store.commit({city("b"): {"size": 3}})
    late = Client(store, by_size(limit=5))
    await late.connect()
    assert late.documents[0] is clients[0].documents[0]
    assert [one.fields["size"] for one in late.documents] == [1, 3]


async def test_loads_take_turns_where_no_index_serves(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As all that read a whole collection do: each gathers what it has to sort."""
    gather, now, most = QueryExecutor._gather, 0, 0
    may_go = asyncio.Event()

    async def counted(executor: QueryExecutor, *rest: Any) -> Any:
        nonlocal now, most
        now += 1
        most = max(now, most)
        await may_go.wait()
        try:
            return await gather(executor, *rest)
        finally:
            now -= 1

    monkeypatch.setattr(QueryExecutor, "_gather", counted)
    asked = [by_size(where=FieldFilter(SIZE, Operator.GREATER, at)) for at in range(6)]
    told: list[Any] = []
    loads = asyncio.gather(
        *[database.listeners.listen(one, told.append, told.append) for one in asked]
    )
    await until(lambda: now + len(database._scan_gate._waiters or ()) == len(asked))
    assert now == SCANS_MAX
    may_go.set()
    found = await loads
    assert (len(told), most) == (6, SCANS_MAX)
    for subscription in found:
        subscription.close()


async def test_a_window_is_refilled_from_what_lies_behind_it(store: Store) -> None:
    await store.commit({city(f"c{number:03}"): {"size": number} for number in range(100)})
    store.deliver()
    client = Client(store, by_size(limit=3))
    await client.connect()
    for number in range(60):
        await store.commit({city(f"c{number:03}"): None})
        store.deliver()
        await asyncio.sleep(0)
    await client.wait_for(60 + 1)
    assert [document.path.id for document in client.documents] == ["c060", "c061", "c062"]


async def test_a_commit_elsewhere_tells_nothing(store: Store) -> None:
    client = Client(store, by_size(where=FieldFilter(SIZE, Operator.EQUAL, 7)))
    await client.connect()
    await store.commit({city("a"): {"size": 8}})
    await store.commit({CollectionPath(("towns",)).document("a"): {"size": 7}})
    store.deliver()
    assert len(client.updates) == 1
    assert client.subscription is not None
    progress = client.subscription.progress()
    assert progress is not None
    assert (progress.version, list(progress.changes), progress.count) == (2, [], 0)
    assert client.subscription.progress() is None


async def test_documents_are_listed_in_the_order_of_their_paths(store: Store) -> None:
    await store.commit({city("a"): {"size": 1}, city("b"): {}})
    client = Client(store, DocumentsTarget((city("b"), city("x"), city("a"))))
    await client.connect()
    await store.commit({city("x"): {}, city("b"): None, city("y"): {}})
    store.deliver()
    assert [document.path.id for document in client.documents] == ["x", "a"]


async def test_resuming_tells_only_what_changed(store: Store) -> None:
    await store.commit({city(name): {"size": 1} for name in "abc"})
    client = Client(store, by_size())
    await client.connect()
    client.disconnect()
    await store.commit({city("a"): {"size": 2}})
    await store.commit({city("b"): None, city("d"): {"size": 0}})
    await store.commit({city("e"): {"size": 0}})
    await store.commit({city("e"): None})
    await client.connect()
    update = client.updates[-1]
    assert not update.reset
    assert sorted(change.document.path.id for change in update.changes) == ["a", "b", "d"]


async def test_resuming_from_what_the_log_has_forgotten_resets(store: Store) -> None:
    await store.commit({city("a"): {"size": 1}})
    client = Client(store, by_size())
    await client.connect()
    client.disconnect()
    await store.commit({city("b"): {"size": 1}})
    await store.commit({city("c"): {"size": 1}})
    while await store.engine.trim(3, limit=100):
        pass
    await client.connect()
    assert client.updates[-1].reset
    assert len(client.updates[-1].changes) == 3


async def test_resuming_over_what_was_erased_resets(store: Store) -> None:
    """Told as new, or not at all, it would stay where it is."""
    await store.commit({city("a"): {"size": 1}, city("b"): {"size": 2}})
    client = Client(store, by_size())
    await client.connect()
    client.disconnect()
    await store.commit({city("a"): None})
    await store.engine.erase([keys.document_key(city("a"))])
    await client.connect()
    assert client.updates[-1].reset
    assert [change.document.path.id for change in client.updates[-1].changes] == ["b"]
    client.disconnect()
    await store.commit({city("b"): {"size": 3}})
    await client.connect()
    assert not client.updates[-1].reset


async def test_a_listener_that_missed_updates_gets_everything(store: Store) -> None:
    client = Client(store, by_size())
    await client.connect()
    assert client.subscription is not None
    await store.commit({city("a"): {"size": 1}})
    store.deliver()
    await store.commit({city("b"): {"size": 1}})
    store.deliver()
    client.documents = []
    client.version = 0
    client.receive(await client.subscription.full_update())
    assert client.updates[-1].reset


async def test_a_view_that_lost_its_place_is_made_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(store, by_size())
    await client.connect()

    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    await store.commit({city("a"): {"size": 1}})
    with monkeypatch.context() as broken:
        broken.setattr(views.View, "apply", fail)
        store.deliver()
    await store.commit({city("b"): {"size": 2}})
    store.deliver()
    await client.wait_for(2)
    assert client.updates[1].reset
    assert [document.path.id for document in client.documents] == ["a", "b"]


async def test_a_reload_is_tried_again_and_given_up(
    store: Store, monkeypatch: pytest.MonkeyPatch, no_slack: None
) -> None:
    await store.commit({city(f"c{number}"): {"size": number} for number in range(9)})
    store.deliver()
    open_snapshot = store.engine.open_snapshot
    failures = [1]

    async def fail_sometimes() -> SqliteSnapshot:
        if failures[0]:
            failures[0] -= 1
            raise EngineUnavailable("busy")
        return await open_snapshot()

    client = Client(store, by_size(limit=1))
    await client.connect()
    monkeypatch.setattr(store.engine, "open_snapshot", fail_sometimes)
    await store.commit({city("c0"): None, city("c1"): None})
    store.deliver()
    await client.wait_for(2)
    assert [document.path.id for document in client.documents] == ["c2"]
    failures[0] = 99
    monkeypatch.setattr(listeners, "RELOAD_ATTEMPTS", 2)
    await store.commit({city("c2"): None, city("c3"): None})
    store.deliver()
    await client.has_failed.wait()
    assert [error.code for error in client.errors] == [Code.UNAVAILABLE]
    assert store.listeners.is_idle


async def test_selected_fields_only(store: Store) -> None:
    await store.commit({city("a"): {"size": 1, "name": "A"}})
    client = Client(store, by_size(select=(FieldPath(("name",)),)))
    await client.connect()
    await store.commit({city("b"): {"size": 0, "name": "B"}})
    store.deliver()
    assert [document.fields for document in client.documents] == [{"name": "B"}, {"name": "A"}]


async def test_watches_are_told_before_listeners(store: Store) -> None:
    told: list[str] = []
    await store.listeners.listen(by_size(), lambda _: told.append("update"), fail=print)
    watch = store.listeners.watch([city("a")], lambda version: told.append(f"watch {version}"))
    await store.commit({city("a"): {"size": 1}})
    store.deliver()
    watch.close()
    watch.close()
    await store.commit({city("a"): {"size": 2}})
    store.deliver()
    assert told == ["update", "watch 1", "update", "update"]


async def test_closing_ends_every_listener_with_the_error(store: Store) -> None:
    client = Client(store, by_size())
    await client.connect()
    store.listeners.close(Unavailable("the database is closed"))
    assert [error.message for error in client.errors] == ["the database is closed"]
    assert store.listeners.is_idle


async def test_a_broken_engine_fails_the_listener_that_starts(store: Store) -> None:
    await store.engine.close()
    with pytest.raises(Unavailable):
        await Client(store, by_size()).connect()
    assert store.listeners.is_idle


targets: st.SearchStrategy[Target] = st.one_of(
    arbitrary.queries().map(QueryTarget),
    arbitrary.queries().map(QueryTarget),
    st.lists(arbitrary.paths, min_size=1, max_size=3, unique=True).map(
        lambda paths: DocumentsTarget(tuple(paths))
    ),
)
commits: st.SearchStrategy[dict[DocumentPath, Fields | None]] = st.dictionaries(
    arbitrary.paths,
    st.one_of(st.none(), arbitrary.fields, arbitrary.fields),
    min_size=1,
    max_size=4,
)
steps = st.lists(
    st.one_of(
        commits,
        commits,
        commits,
        st.tuples(st.sampled_from(("connect", "disconnect")), st.integers(0, 3)),
        st.tuples(st.sampled_from(("deliver", "wait")), st.integers(1, 3)),
    ),
    min_size=4,
    max_size=30,
)


@pytest.fixture
def no_slack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows run short at once."""
    monkeypatch.setattr(views, "SLACK_MIN", 1)
    monkeypatch.setattr(views, "SLACK_MAX", 1)


@pytest.mark.slow
@pytest.mark.usefixtures("no_slack")
@given(targets=st.lists(targets, min_size=1, max_size=4), steps=steps)
@settings(max_examples=examples(120), deadline=None, suppress_health_check=list(HealthCheck))
async def test_every_update_leads_to_the_answer_at_its_version(
    targets: list[Target], steps: list[Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        clients = [Client(store, target) for target in targets]
        tasks: list[asyncio.Task[None]] = []
        for step in steps:
            if isinstance(step, dict):
                await store.commit(step)
                continue
            word, number = step
            client = clients[number % len(clients)]
            if word == "deliver":
                store.deliver(number)
            elif word == "wait":
                for _ in range(number):
                    await asyncio.sleep(0)
            elif word == "disconnect":
                client.disconnect()
            elif client.subscription is None and all(task.done() for task in tasks):
                tasks.append(asyncio.create_task(client.connect()))
        await asyncio.gather(*tasks)
        store.deliver()
        for client in clients:
            if client.subscription is None:
                await client.connect()
        # A last word to everybody, so that all are at the end of the log.
        for client in clients:
            await client.wait_for(client_end(client))
        assert not any(client.errors for client in clients)
        for client in clients:
            client.disconnect()
        assert store.listeners.is_idle
        await store.close()


def client_end(client: Client) -> int:
    """The last version at which the client's answer changed."""
    shown = client._shown(client.expected(client.store.version))
    version = client.store.version
    while version and client._shown(client.expected(version - 1)) == shown:
        version -= 1
    return version
