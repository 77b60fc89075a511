"""Projects on their way between engines, in one process, while they are written to."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from baas.app import App
from baas.backups import writing
from baas.backups.manifest import SectionKind
from baas.backups.tasks import TaskState
from baas.backups.writing import BackupWriter
from baas.database.names import DatabaseName
from baas.errors import (
    BaasError,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    TransactionConflict,
)
from baas.model.paths import CollectionPath, FieldPath
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite, FieldTransform, Increment, SetWrite
from baas.moves import copying, mover, tasks
from baas.moves.copying import DatabaseCopy
from baas.moves.mover import Mover
from baas.moves.tasks import Move, MoveState
from baas.projects.jobs import JobState
from baas.services import (
    accounts,
    backups,
    documents,
    erasures,
    jobs,
    move_runner,
    moves,
    projects,
    queries,
    transactions,
)
from baas.services.context import Context
from baas.storage.placed_store import Place
from baas.storage.sqlite_store import SqliteStore
from baas.storage.store import StoreName
from baas.testing import app_client, make_settings, started_app
from tests.baas.backups.test_drill import over as backup_over
from tests.baas.http.test_description import DescribedClient
from tests.baas.services.worlds import ADA, OPERATOR, path, query
from tests.stored_bytes import bytes_below

SHOP = DatabaseName("shop")
SECONDS = 60
COPY_ALL = Mover._copy_all


@pytest.fixture
def settings(mongodb_uri: str, tmp_path: Path) -> dict[str, Any]:
    name = f"t{secrets.token_hex(6)}"
    return {"mongodb_uri": mongodb_uri, "mongodb_database": name, "data": tmp_path / "data"}


@asynccontextmanager
async def server(settings: dict[str, Any]) -> AsyncIterator[App]:
    async with started_app(make_settings(**settings)) as app:
        yield app


async def put(context: Context, text: str, **fields: Any) -> None:
    await documents.commit(context, OPERATOR, SHOP, [SetWrite(path(text), fields)])


async def get(context: Context, text: str) -> dict[str, Any] | None:
    found = await documents.get_document(context, OPERATOR, SHOP, path(text))
    return None if found is None else dict(found.fields)


async def over(context: Context, identifier: str) -> Move:
    async with asyncio.timeout(SECONDS):
        while True:
            move = await context.moves.get(identifier)
            if move.is_over:
                return move
            await asyncio.sleep(0.02)


async def move_to(context: Context, engine: str) -> Move:
    move = await moves.start_move(context, OPERATOR, "shop", engine, here=False)
    found = await over(context, move.id)
    assert (found.state, found.error) == (MoveState.DONE, None), found
    return found


class Writers:
    """Count, create and delete until told to stop; what was acknowledged is remembered."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._is_stopped = False
        self.counts = [0, 0]
        self.kept: dict[str, int] = {}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(self._count(number))
            group.create_task(self._come_and_go())

    def stop(self) -> None:
        self._is_stopped = True

    async def _count(self, number: int) -> None:
        write = SetWrite(
            path(f"counters/{number}"),
            {},
            mask=(),
            transforms=(FieldTransform(FieldPath.parse("n"), Increment(1)),),
        )
        while not self._is_stopped:
            await documents.commit(
                self._context,
                OPERATOR,
                SHOP,
                [write],
                request_id=f"count-{number}-{self.counts[number]}",
            )
            self.counts[number] += 1

    async def _come_and_go(self) -> None:
        number = 0
        while not self._is_stopped:
            name = f"n{number * 7 % 400}"
            await put(self._context, f"notes/{name}", number=number, filling="x" * 200)
            self.kept[name] = number
            if number % 3 == 0:
                gone = f"n{number % 400}"
                await documents.commit(
                    self._context, OPERATOR, SHOP, [DeleteWrite(path(f"notes/{gone}"))]
                )
                self.kept.pop(gone, None)
            number += 1

    async def check(self) -> None:
        for number, count in enumerate(self.counts):
            assert await get(self._context, f"counters/{number}") == {"n": count}
        found = await queries.run_query(self._context, OPERATOR, SHOP, query("notes"))
        assert {one.path.id: one.fields["number"] for one in found.documents} == self.kept


async def fill(context: Context, count: int = 300) -> None:
    for number in range(2):
        await put(context, f"counters/{number}", n=0)
    for start in range(0, count, 100):
        writes = [
            SetWrite(path(f"old/o{number}"), {"number": number, "even": number % 2 == 0})
            for number in range(start, start + 100)
        ]
        await documents.commit(context, OPERATOR, SHOP, writes)


async def test_there_and_back_while_it_is_written_to(
    settings: dict[str, Any], record_property: Callable[[str, object], None]
) -> None:
    async with server(settings) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop")
        await fill(context)
        found = await queries.run_query(context, OPERATOR, SHOP, query("old", ("even", "==", True)))
        assert len(found.documents) == 150
        writers = Writers(context)
        writing = asyncio.create_task(writers.run())
        for engine in ("mongodb", "sqlite"):
            before = list(writers.counts)
            move = await move_to(context, engine)
            record_property(f"pause to {engine}, ms", move.progress.pause_milliseconds)
            assert move.progress.pause_milliseconds is not None
            database = await context.databases.open(SHOP)
            assert database.is_near == (engine == "sqlite")
            project = await context.projects.read_project("shop")
            assert project.moving is None
            assert (settings["data"] / "projects" / "shop").exists() == (engine == "sqlite")
            assert all(now > then for now, then in zip(writers.counts, before, strict=True))
        writers.stop()
        await writing
        await writers.check()
        found = await queries.run_query(context, OPERATOR, SHOP, query("old", ("even", "==", True)))
        assert len(found.documents) == 150
    async with server(settings) as app:
        assert await get(app.context, "old/o7") == {"number": 7, "even": False}


# Cut off ------------------------------------------------------------------------------------------


class Stopper:
    """Lets moves come as far as a step, and no further."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.reached = asyncio.Event()

    def stop_at(self, method: str, *, after: bool = False) -> None:
        """Just before, or just after, a step of a mover, it stands still until the server ends."""
        original = getattr(Mover, method)
        reached = self.reached = asyncio.Event()

        async def stand_still(mover: Mover, *arguments: Any) -> Any:
            result = await original(mover, *arguments) if after else None
            reached.set()
            await asyncio.Event().wait()
            return result

        self._monkeypatch.setattr(Mover, method, stand_still)

    def go_on(self) -> None:
        self._monkeypatch.undo()


async def stopped_move(
    context: Context, stopper: Stopper, method: str, *, after: bool = False
) -> Move:
    """A project with a hundred documents, on its way to MongoDB as far as this step."""
    await projects.create_project(context, OPERATOR, "shop")
    await fill(context, 100)
    stopper.stop_at(method, after=after)
    move = await moves.start_move(context, OPERATOR, "shop", "mongodb", here=False)
    await asyncio.wait_for(stopper.reached.wait(), SECONDS)
    return move


@pytest.fixture
def stopper(monkeypatch: pytest.MonkeyPatch) -> Stopper:
    return Stopper(monkeypatch)


STEPS = (
    ("_copy_all", False),
    ("_copy_all", True),
    ("_follow_all", True),
    ("_switch", False),
    ("_switch", True),
    ("_clean", False),
)


@pytest.mark.parametrize(("method", "after"), STEPS)
async def test_a_move_that_was_cut_off_goes_on(
    settings: dict[str, Any], stopper: Stopper, method: str, after: bool
) -> None:
    async with server(settings) as app:
        context = app.context
        move = await stopped_move(context, stopper, method, after=after)
        if method != "_switch":
            await put(context, "old/o1", number="late")
    stopper.go_on()
    async with server(settings) as app:
        context = app.context
        await put(context, "counters/0", n=1)
        found = await over(context, move.id)
        assert (found.state, found.error) == (MoveState.DONE, None)
        project = await context.projects.read_project("shop")
        assert (project.place, project.moving) == (Place("mongodb"), None)
        assert await get(context, "counters/0") == {"n": 1}
        if method != "_switch":
            assert await get(context, "old/o1") == {"number": "late"}
        count = await queries.run_query(context, OPERATOR, SHOP, query("old"))
        assert len(count.documents) == 100
        assert not (settings["data"] / "projects" / "shop").exists()


@pytest.mark.parametrize("method", ["_copy_all", "_follow_all", "_switch"])
async def test_a_move_that_is_cancelled_leaves_the_project_and_nothing_else(
    settings: dict[str, Any], stopper: Stopper, method: str
) -> None:
    async with server(settings) as app:
        context = app.context
        move = await stopped_move(context, stopper, method)
        await moves.cancel_move(context, OPERATOR, move.id)
        found = await over(context, move.id)
        assert (found.state, found.error) == (MoveState.CANCELLED, None)
        project = await context.projects.read_project("shop")
        assert (project.place, project.moving) == (None, None)
        await put(context, "counters/0", n=1)
        with pytest.raises(FailedPrecondition) as raised:
            await moves.cancel_move(context, OPERATOR, move.id)
        assert raised.value.reason == "MoveIsOver"
        stopper.go_on()
        await move_to(context, "mongodb")  # finds nothing of the first one
        assert await get(context, "counters/0") == {"n": 1}


async def test_a_project_that_has_moved_cannot_be_cancelled(
    settings: dict[str, Any], stopper: Stopper
) -> None:
    async with server(settings) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop")
        stopper.stop_at("_clean")
        move = await moves.start_move(context, OPERATOR, "shop", "mongodb", here=False)
        await asyncio.wait_for(stopper.reached.wait(), SECONDS)
        with pytest.raises(FailedPrecondition) as raised:
            await moves.cancel_move(context, OPERATOR, move.id)
        assert raised.value.reason == "MoveIsOver"
        with pytest.raises(FailedPrecondition) as moving:
            await projects.delete_project(context, OPERATOR, "shop")
        assert moving.value.reason == "ProjectMoving"


async def test_writes_go_on_where_a_move_is_cancelled_whose_node_is_gone(
    settings: dict[str, Any], stopper: Stopper, tmp_path: Path
) -> None:
    own = {**settings, "engine": "mongodb"}
    async with server(own) as one:
        await projects.create_project(one.context, OPERATOR, "shop")
        await put(one.context, "counters/0", n=1)
        stopper.stop_at("_switch")
        move = await moves.start_move(one.context, OPERATOR, "shop", "sqlite", here=True)
        await asyncio.wait_for(stopper.reached.wait(), SECONDS)
        secret = (settings["data"] / "secret.key").read_bytes()
    stopper.go_on()
    (tmp_path / "two").mkdir(mode=0o700)
    (tmp_path / "two" / "secret.key").write_bytes(secret)
    async with server({**own, "data": tmp_path / "two"}) as two:
        writing = asyncio.create_task(put(two.context, "counters/0", n=2))
        await asyncio.wait([writing], timeout=0.3)
        assert not writing.done()
        await moves.cancel_move(two.context, OPERATOR, move.id)
        await asyncio.wait_for(writing, SECONDS)
        assert (await two.context.moves.get(move.id)).state is MoveState.UNDOING
    async with server(own) as one:
        assert (await over(one.context, move.id)).state is MoveState.CANCELLED
        assert await get(one.context, "counters/0") == {"n": 2}
        assert not (settings["data"] / "projects" / "shop").exists()


async def test_writes_go_on_where_a_project_has_moved_and_the_node_is_gone_then(
    settings: dict[str, Any], stopper: Stopper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {**settings, "engine": "mongodb"}
    async with server(own) as one:
        await projects.create_project(one.context, OPERATOR, "shop", engine="sqlite")
        await put(one.context, "counters/0", n=1)
        stopper.stop_at("_end_pause")
        move = await moves.start_move(one.context, OPERATOR, "shop", "mongodb", here=False)
        await asyncio.wait_for(stopper.reached.wait(), SECONDS)
        secret = (settings["data"] / "secret.key").read_bytes()
    stopper.go_on()
    (tmp_path / "two").mkdir(mode=0o700)
    (tmp_path / "two" / "secret.key").write_bytes(secret)
    monkeypatch.setattr(move_runner, "LOOK_SECONDS", 0.1)
    async with server({**own, "data": tmp_path / "two"}) as two:
        assert await get(two.context, "counters/0") == {"n": 1}
        writing = asyncio.create_task(put(two.context, "counters/0", n=2))
        await asyncio.wait([writing], timeout=0.3)
        assert not writing.done()
        monkeypatch.setattr(tasks, "HELD_UP_SECONDS", 0.0)
        await asyncio.wait_for(writing, SECONDS)
    be_quick(monkeypatch)
    async with server(own) as one:
        assert (await over(one.context, move.id)).state is MoveState.DONE
        assert await get(one.context, "counters/0") == {"n": 2}
        assert not (settings["data"] / "projects" / "shop").exists()


def be_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no others who have to hear of the switch."""
    monkeypatch.setattr(mover, "NOTICE_SECONDS", 0.0)
    monkeypatch.setattr(mover, "CLEAN_SECONDS", 0.0)


async def test_a_move_that_is_cut_off_when_its_copies_are_held_goes_on(
    settings: dict[str, Any], stopper: Stopper, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {**settings, "engine": "mongodb"}
    async with server(own) as app:
        await projects.create_project(app.context, OPERATOR, "shop", engine="sqlite")
        await put(app.context, "counters/0", n=1)
        stopper.stop_at("_switch")
        move = await moves.start_move(app.context, OPERATOR, "shop", "mongodb", here=False)
        await asyncio.wait_for(stopper.reached.wait(), SECONDS)
    stopper.go_on()
    be_quick(monkeypatch)
    async with server(own) as app:
        await put(app.context, "counters/0", n=2)
        assert (await over(app.context, move.id)).state is MoveState.DONE
        await put(app.context, "counters/1", n=3)
        assert await get(app.context, "counters/0") == {"n": 2}


async def test_a_long_round_is_taken_in_several_snapshots(
    settings: dict[str, Any], stopper: Stopper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_SNAPSHOT_CHANGES", 20)
    monkeypatch.setattr(copying, "_LOG_RECORDS", 10)
    async with server(settings) as app:
        context = app.context
        move = await stopped_move(context, stopper, "_copy_all", after=True)
        for number in range(150):
            await put(context, f"old/o{number % 110}", number=-number)
        for number in range(5):
            await documents.commit(context, OPERATOR, SHOP, [DeleteWrite(path(f"old/o{number}"))])
    monkeypatch.setattr(Mover, "_copy_all", COPY_ALL)
    async with server(settings) as app:
        context = app.context
        found = await over(context, move.id)
        assert (found.state, found.error) == (MoveState.DONE, None)
        left = await queries.run_query(context, OPERATOR, SHOP, query("old"))
        wanted = {f"o{number % 110}": -number for number in range(150)}
        assert {one.path.id: one.fields["number"] for one in left.documents} == {
            name: number
            for name, number in wanted.items()
            if name not in {f"o{n}" for n in range(5)}
        }


# Refused ------------------------------------------------------------------------------------------


async def test_what_cannot_be_is_refused_at_once(
    settings: dict[str, Any], stopper: Stopper
) -> None:
    async with server(settings) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop")
        await projects.create_project(context, OPERATOR, "other")

        async def refusal(project: str, engine: str) -> str:
            with pytest.raises(BaasError) as raised:
                await moves.start_move(context, OPERATOR, project, engine, here=False)
            return raised.value.reason

        assert await refusal("nowhere", "mongodb") == "ProjectNotFound"
        assert await refusal("shop", "sqlite") == "ProjectAlreadyThere"
        assert await refusal("shop", "redis") == "InvalidEngine"
        with pytest.raises(PermissionDenied):
            await moves.start_move(context, ADA, "shop", "mongodb", here=False)
        stopper.stop_at("_copy_all")
        move = await moves.start_move(context, OPERATOR, "shop", "mongodb", here=False)
        await asyncio.wait_for(stopper.reached.wait(), SECONDS)
        assert await refusal("shop", "mongodb") == "MoveRunning"
        assert await refusal("other", "mongodb") == "MoveRunning"
        for refused in (
            projects.delete_project(context, OPERATOR, "shop"),
            projects.create_database(context, OPERATOR, "shop", "second"),
            projects.start_incarnations(context, OPERATOR),
        ):
            with pytest.raises(FailedPrecondition) as raised:
                await refused
            assert raised.value.reason == "ProjectMoving"
            assert raised.value.details == {"move": move.id}
        with pytest.raises(NotFound):
            await moves.get_move(context, OPERATOR, "nothing")


async def test_what_is_at_the_target_already_is_left_alone(settings: dict[str, Any]) -> None:
    async with server(settings) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop", engine="mongodb")
        store = SqliteStore(settings["data"], context.clock)
        engine = await store.open(StoreName("shop", "(default)"), create=True)
        await engine.close()
        move = await moves.start_move(context, OPERATOR, "shop", "sqlite", here=False)
        found = await over(context, move.id)
        assert (found.state, found.reason) == (MoveState.FAILED, "TargetNotEmpty")
        assert await store.list_databases("shop") == ["(default)"]
        await put(context, "counters/0", n=1)


async def test_a_server_on_mongodb_is_asked_twice(settings: dict[str, Any]) -> None:
    async with server({**settings, "engine": "mongodb"}) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop")
        with pytest.raises(FailedPrecondition) as raised:
            await moves.start_move(context, OPERATOR, "shop", "sqlite", here=False)
        assert raised.value.reason == "MoveNeedsNode"


# Carried ------------------------------------------------------------------------------------------


async def test_answers_transactions_and_pages_are_good_after_a_move(
    settings: dict[str, Any],
) -> None:
    async with server(settings) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop")
        await fill(context, 100)
        write = SetWrite(path("counters/0"), {"n": 5})
        first = await documents.commit(context, OPERATOR, SHOP, [write], request_id="once")
        begun = await transactions.begin(context, OPERATOR, SHOP)
        before = await documents.get_document(context, OPERATOR, SHOP, path("counters/0"))
        assert before is not None
        users = await accounts.create_user(context, OPERATOR, "shop", "a@b.example", "secret words")
        await move_to(context, "mongodb")
        again = await documents.commit(context, OPERATOR, SHOP, [write], request_id="once")
        assert again.version == first.version
        after = await documents.get_document(context, OPERATOR, SHOP, path("counters/0"))
        assert after is not None
        assert (after.created, after.version) == (before.created, before.version)
        seen = transactions.ReadsSeen(
            [transactions.DocumentSeen(path("counters/0"), Timestamp(before.version))]
        )
        write = SetWrite(path("counters/0"), {"n": 6})
        await transactions.commit(context, OPERATOR, SHOP, [write], seen, begun.token)
        with pytest.raises(TransactionConflict):
            await transactions.commit(context, OPERATOR, SHOP, [write], seen, begun.token)
        found = await accounts.get_user(context, OPERATOR, "shop", users.uid)
        assert found.email == "a@b.example"
        assert await get(context, "counters/0") == {"n": 6}


async def test_a_job_goes_on_at_the_other_engine(
    settings: dict[str, Any], stopper: Stopper
) -> None:
    async with server(settings) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop")
        await fill(context, 300)
        stopper.stop_at("_switch")
        move = await moves.start_move(context, OPERATOR, "shop", "mongodb", here=False)
        await asyncio.wait_for(stopper.reached.wait(), SECONDS)
        job = await jobs.start_deletion(context, OPERATOR, SHOP, CollectionPath(("old",)))
    stopper.go_on()
    async with server(settings) as app:
        context = app.context
        assert (await over(context, move.id)).state is MoveState.DONE
        async with asyncio.timeout(SECONDS):
            while True:
                job = await context.jobs.get("shop", job.id)
                if job.state is not JobState.RUNNING:
                    break
                await asyncio.sleep(0.02)
        assert job.state is JobState.DONE
        assert (await queries.run_query(context, OPERATOR, SHOP, query("old"))).documents == []


async def test_a_backup_during_which_a_project_moves_holds_all_of_it(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "PART_BYTES", 10_000)
    add, moved = BackupWriter._add_documents, False

    async def add_and_move(writer: BackupWriter, *found: Any) -> None:
        nonlocal moved
        await add(writer, *found)
        if not moved:
            moved = True
            await move_to(app.context, "mongodb")

    monkeypatch.setattr(BackupWriter, "_add_documents", add_and_move)
    async with server(settings) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop")
        await fill(context)
        task = await backup_over(app, await backups.start_backup(context, OPERATOR, "shop"))
        assert (moved, task.state, task.error) == (True, TaskState.DONE, None)
        verified = await backups.start_verification(context, OPERATOR, task.backup)
        assert (await backup_over(app, verified)).state is TaskState.DONE
        manifest = (await backups.get_backup(context, OPERATOR, task.backup)).manifest
        assert manifest is not None
        (section,) = manifest.of_project("shop", SectionKind.DATABASE)
        assert section.count == 300 + 2
        (system,) = manifest.of_project("shop", SectionKind.SYSTEM)
        assert task.progress.lines == section.count + system.count


async def test_what_was_erased_stays_erased(settings: dict[str, Any], stopper: Stopper) -> None:
    async with server(settings) as app:
        context = app.context
        move = await stopped_move(context, stopper, "_copy_all", after=True)
        await put(context, "old/o1", number="secret")
        await documents.commit(context, OPERATOR, SHOP, [DeleteWrite(path("old/o1"))])
        await (await context.databases.open(SHOP)).eraser.erase([path("old/o1")])
    stopper.go_on()
    async with server(settings) as app:
        context = app.context
        assert (await over(context, move.id)).state is MoveState.DONE
        assert await get(context, "old/o1") is None
        await put(context, "old/o1", number="anew")
        assert await get(context, "old/o1") == {"number": "anew"}


async def test_what_was_erased_on_the_way_leaves_no_byte_in_files_of_the_copy(
    settings: dict[str, Any], stopper: Stopper
) -> None:
    names = [f"old/{number:03}" for number in range(600)]
    async with server(settings) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop", engine="mongodb")
        for start in range(0, 600, 200):
            texts = [(one, f"s3cret-{one[4:]}-" * 40) for one in names[start : start + 200]]
            writes = [SetWrite(path(one), {"text": text}) for one, text in texts]
            await documents.commit(context, OPERATOR, SHOP, writes)
        stopper.stop_at("_copy_all", after=True)
        move = await moves.start_move(context, OPERATOR, "shop", "sqlite", here=False)
        await asyncio.wait_for(stopper.reached.wait(), SECONDS)
        gone = [path(one) for one in names if int(one[4:]) % 5]
        for start in range(0, len(gone), 100):
            await erasures.erase_documents(
                context, OPERATOR, SHOP, gone[start : start + 100], present=True
            )
    stopper.go_on()
    folder = settings["data"] / "projects" / "shop"

    def left() -> list[int]:
        data = bytes_below(folder)
        return [number for number in range(600) if number % 5 and b"s3cret-%03d" % number in data]

    async with server(settings) as app:
        assert (await over(app.context, move.id)).state is MoveState.DONE
        assert await get(app.context, "old/000") is not None
        async with asyncio.timeout(SECONDS):
            while left():  # noqa: ASYNC110 - they are files
                await asyncio.sleep(0.05)


class ErasedMeanwhile:
    """Erases a document each time that both sides are about to be read whole: another one each
    time, of those that were copied, as long as `is_on`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, context: Context) -> None:
        self.is_on = True
        self.erased: list[str] = []
        self._context = context
        self._read_whole = DatabaseCopy.read_whole
        monkeypatch.setattr(DatabaseCopy, "read_whole", lambda copy: self._erase(copy))

    async def _erase(self, copy: DatabaseCopy) -> None:
        if self.is_on and copy.name == SHOP:
            self.erased.append(f"old/o{len(self.erased)}")
            gone = [path(self.erased[-1])]
            await erasures.erase_documents(self._context, OPERATOR, SHOP, gone, present=True)
        await self._read_whole(copy)


async def test_copies_are_compared_again_where_documents_were_erased_meanwhile(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mover, "ERASED_SECONDS", 0)
    async with server(settings) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop")
        await fill(context, 100)
        erased = ErasedMeanwhile(monkeypatch, context)
        move = await moves.start_move(context, OPERATOR, "shop", "mongodb", here=False)

        def waits(found: Move) -> bool:
            return found.is_over or (found.error or "").startswith("what documents")

        async with asyncio.timeout(SECONDS):
            while not waits(found := await context.moves.get(move.id)):  # noqa: ASYNC110 - no more is told of it
                await asyncio.sleep(0.01)
        assert (found.state, found.reason) == (MoveState.RUNNING, None)
        assert len(erased.erased) >= mover.TRIES_MAX  # more, where it was tried again by now
        erased.is_on = False
        context.moves.wake()
        found = await over(context, move.id)
        assert (found.state, found.error) == (MoveState.DONE, None)
        left = await queries.run_query(context, OPERATOR, SHOP, query("old"))
        assert len(left.documents) == 100 - len(erased.erased)


# Caught -------------------------------------------------------------------------------------------


async def test_a_copy_that_is_not_equal_is_not_switched_to(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round that is left out, as a defect would."""

    async def skip(copy: DatabaseCopy, *arguments: Any) -> None:
        return

    async with server(settings) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop")
        await fill(context, 100)
        original = Mover._follow_all

        async def write_unseen(mover: Mover) -> None:
            monkeypatch.setattr(DatabaseCopy, "_take_all", skip)
            await put(context, "old/o1", number="unseen")
            await original(mover)

        monkeypatch.setattr(Mover, "_follow_all", write_unseen)
        move = await moves.start_move(context, OPERATOR, "shop", "mongodb", here=False)
        found = await over(context, move.id)
        assert (found.state, found.reason) == (MoveState.FAILED, "CopyDiffers")
        assert (await context.projects.read_project("shop")).place is None
        assert await get(context, "old/o1") == {"number": "unseen"}
        await put(context, "old/o1", number="on")


# Faces --------------------------------------------------------------------------------------------


async def test_moves_over_http_are_as_described(settings: dict[str, Any]) -> None:
    described, base = DescribedClient(), "/api/v1/admin"
    async with server(settings) as app, app_client(app, app.operator_token) as operator:
        await projects.create_project(app.context, OPERATOR, "shop")
        body = {"to": "mongodb"}
        move = await described.send(operator, "POST", f"{base}/projects/shop:move", json=body)
        assert (move["from"], move["to"], move["state"]) == ("sqlite", "mongodb", "running")
        await over(app.context, move["id"])
        found = await described.send(operator, "GET", f"{base}/moves/{move['id']}")
        assert (found["state"], found["step"]) == ("done", "clean")
        assert found["pause_milliseconds"] > 0
        assert (await described.send(operator, "GET", f"{base}/moves"))["moves"] == [found]
        project = await described.send(operator, "GET", f"{base}/projects/shop")
        assert (project["engine"], project["moving"]) == ("mongodb", None)
        again = await described.send(operator, "POST", f"{base}/moves/{move['id']}:cancel")
        assert again["error"]["reason"] == "MoveIsOver"
        wrong = await described.send(operator, "POST", f"{base}/projects/shop:move", json={})
        assert wrong["error"]["code"] == "INVALID_ARGUMENT"
