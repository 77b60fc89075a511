"""What can go wrong with backups, and what is kept of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from baas.app import App
from baas.backups.lines import encode_document
from baas.backups.schedules import Schedule, not_kept
from baas.backups.tasks import CLAIM_SECONDS, Task, TaskKind, Tasks, TaskState
from baas.buckets.names import BucketName
from baas.buckets.objects import Declared
from baas.clock import VirtualClock
from baas.database.database import Database
from baas.database.names import DatabaseName
from baas.database.past_scan import PastScan
from baas.encoding.documents import StoredDocument
from baas.errors import BaasError, DataLoss, FailedPrecondition, NotFound, PermissionDenied
from baas.model.paths import DocumentPath
from baas.model.writes import DeleteWrite, SetWrite
from baas.services import backup_runner, backups, documents, objects, projects
from baas.services.caller import ANONYMOUS
from baas.testing import app_client, make_settings, started_app
from tests.baas.backups.test_drill import chunks, over, present, read, restore
from tests.baas.services.worlds import OPERATOR, SECRET, user

NAME = DatabaseName("demo")
FILES = BucketName("demo", "files")


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with started_app(make_settings(tmp_path / "data", object_grace_seconds=0)) as opened:
        await projects.create_project(opened.context, OPERATOR, "demo")
        await objects.create_bucket(opened.context, OPERATOR, "demo", "files")
        await put(opened, 300)
        yield opened


async def put(app: App, count: int) -> None:
    writes = [SetWrite(DocumentPath.parse(f"c/{n:04}"), {"n": n}) for n in range(count)]
    await documents.commit(app.context, OPERATOR, NAME, writes)


async def put_object(app: App, name: str, data: bytes) -> None:
    await objects.put_object(app.context, OPERATOR, FILES, name, chunks(data), Declared())


async def back_up(app: App, project: str | None = None) -> Task:
    task = await over(app, await backups.start_backup(app.context, OPERATOR, project))
    assert task.state is TaskState.DONE, task.error
    return task


async def until(ready: Callable[[], Awaitable[bool]]) -> None:
    while True:
        if await ready():
            return
        await asyncio.sleep(0.005)


def files(app: App, prefix: str) -> list[Path]:
    folder = app.settings.data / "backups"
    return sorted(one for one in folder.glob(f"{prefix}*/*/*") if one.is_file())


@pytest.mark.parametrize("damage", ["changed", "cut", "missing"])
@pytest.mark.parametrize("what", ["part", "object"])
async def test_what_is_damaged_is_found_and_leaves_nothing_behind(
    app: App, damage: str, what: str
) -> None:
    await put_object(app, "a", b"some bytes")
    task = await back_up(app)
    (file, *_) = files(app, "sets" if what == "part" else "objects-")
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(data[:-1] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    verified = await backups.start_verification(app.context, OPERATOR, task.backup)
    assert (await over(app, verified)).reason == "BackupDamaged"
    started = await backups.start_restore(
        app.context, OPERATOR, task.backup, project="demo", target="copy", new_keys=False
    )
    assert (await over(app, started)).reason == "BackupDamaged"
    with pytest.raises(NotFound):
        await app.context.projects.get_project("copy")
    # The id is free, and nothing of the first try is in what comes.
    file.write_bytes(data)
    await restore(app, task.backup, project="demo", target="copy")
    assert len(await present(app, DatabaseName("copy"))) == 300


@pytest.mark.parametrize("when", ["there", "deleted meanwhile"])
async def test_large_documents_are_in_parts_that_can_be_read_again(
    app: App, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """A part that held more than PART_LINES_BYTES_MAX was taken for a damaged one."""
    monkeypatch.setattr("baas.backups.place.PART_LINES_BYTES_MAX", 64_000)
    monkeypatch.setattr("baas.backups.writing.PART_BYTES", 8_000)
    paths = [DocumentPath.parse(f"large/{n:03}") for n in range(60)]
    large = [SetWrite(path, {"text": "x" * 7_000}) for path in paths]
    await documents.commit(app.context, OPERATOR, NAME, large)
    if when == "deleted meanwhile":
        monkeypatch.setattr("baas.backups.writing.PastScan", _deleting(app, paths))
    task = await back_up(app)
    verified = await backups.start_verification(app.context, OPERATOR, task.backup)
    assert (await over(app, verified)).error is None
    await restore(app, task.backup, project="demo", target="copy")
    assert len(await present(app, DatabaseName("copy"))) == 360


async def test_what_is_erased_while_a_backup_is_made_is_not_in_it(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was there without a value: the backup could be verified and not restored."""
    gone = DocumentPath.parse("c/0200")
    monkeypatch.setattr("baas.backups.writing.PastScan", _deleting(app, [gone], is_erased=True))
    task = await back_up(app)
    await restore(app, task.backup, project="demo", target="copy")
    there = await present(app, DatabaseName("copy"))
    assert len(there) == 298
    assert not {"c/0200", "c/0201"} & set(there)


def _deleting(app: App, paths: list[DocumentPath], *, is_erased: bool = False) -> type[PastScan]:
    """Deletes documents after the first window, or erases what they were, and what another was."""

    class Scan(PastScan):
        async def read_window(self, database: Database, bytes_max: int) -> list[StoredDocument]:
            is_first = self.version is None and database.name == NAME
            found = await super().read_window(database, 1 if is_first else bytes_max)
            if is_first:
                gone = [DeleteWrite(path) for path in paths]
                changed = SetWrite(DocumentPath.parse("c/0201"), {"n": -1})
                await documents.commit(app.context, OPERATOR, NAME, [*gone, changed])
                if is_erased:
                    await database.eraser.erase([*paths, changed.path])
            return found

    return Scan


async def test_a_restore_that_fails_deletes_no_project_of_others(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id may be taken while it waits for its turn, or after another node gave it up."""
    task = await back_up(app)

    @asynccontextmanager
    async def fail(identifier: str, task: str) -> AsyncIterator[tuple[int, bool]]:
        await projects.create_project(app.context, OPERATOR, identifier)
        await documents.commit(
            app.context,
            OPERATOR,
            DatabaseName(identifier),
            [SetWrite(DocumentPath.parse("theirs/a"), {})],
        )
        if identifier == "copy":
            raise DataLoss("it is not certain what became of it", reason="Any")
        yield 0, False

    monkeypatch.setattr(app.context.projects.restores, "begin", fail)
    started = await backups.start_restore(
        app.context, OPERATOR, task.backup, project="demo", target="copy", new_keys=False
    )
    assert (await over(app, started)).reason == "Any"
    assert len(await present(app, DatabaseName("copy"))) == 1


@pytest.mark.parametrize(
    ("path", "data", "told"),
    [
        ("c/a", b'{"b":1,"a":2}', "canonical form"),
        ("c/a", b'{"a": 1}', "canonical form"),
        ("c/a", b'{"a":{"$timestamp":"yesterday"}}', "cannot be read"),
        ("c/a", b'{"a":[[1]]}', "array"),
        ("c/a", b'{"__a__":1}', "reserved"),
        ("c/a", b'{"a":' + b'{"a":' * 21 + b"1" + b"}" * 22, "deep"),
        ("c/a", b'{"a":"' + b"x" * 1_048_500 + b'"}', "longer than"),
        ("c/a", b'{"a":"' + b"x" * 600_000 + b'","b":"' + b"y" * 600_000 + b'"}', "at most"),
        ("c/__a__", b'{"a":1}', "reserved"),
        ("c/a", b"[]", "no JSON object"),
    ],
)
async def test_verification_finds_documents_that_could_not_have_been_stored(
    app: App, monkeypatch: pytest.MonkeyPatch, path: str, data: bytes, told: str
) -> None:
    """Though all checksums are right: whatever wrote the backup wrote this."""

    def encode(document: StoredDocument) -> bytes:
        if document.name == "c/0123":
            document = StoredDocument(path, data, document.created, document.version)
        return encode_document(document)

    with monkeypatch.context() as patched:
        patched.setattr("baas.backups.writing.encode_document", encode)
        task = await back_up(app)
    verified = await backups.start_verification(app.context, OPERATOR, task.backup)
    done = await over(app, verified)
    assert done.reason == "BackupDamaged"
    assert done.error is not None
    assert told in done.error
    assert path in done.error


async def test_without_a_manifest_there_is_no_backup(app: App) -> None:
    task = await back_up(app)
    for file in files(app, "sets"):
        if file.name.endswith("manifest"):
            file.unlink()
    assert await app.context.backups.list_backups(after=None, limit=9) == []
    with pytest.raises(NotFound):
        await backups.start_restore(
            app.context, OPERATOR, task.backup, project=None, target=None, new_keys=False
        )


async def test_a_restore_that_was_cancelled_can_be_repeated(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_runner, "SAVE_SECONDS", 0.02)
    reached = asyncio.Event()

    async def never(*_: object) -> list[str]:
        reached.set()
        await asyncio.Event().wait()
        return []

    # All is written, and the project is about to be shown.
    monkeypatch.setattr("baas.backups.reading.Restorer._finish", never)
    task = await back_up(app)
    options = {"project": "demo", "target": "copy", "new_keys": False}
    started = await backups.start_restore(app.context, OPERATOR, task.backup, **options)  # type: ignore[arg-type]
    with pytest.raises(FailedPrecondition, match="one thing with backups at a time"):
        await backups.start_backup(app.context, OPERATOR, None)
    async with asyncio.timeout(60):
        await reached.wait()
    with pytest.raises(BaasError):  # nobody sees it yet
        await app.context.projects.get_project("copy")
    await backups.cancel_task(app.context, OPERATOR, started.id)
    monkeypatch.undo()
    async with asyncio.timeout(60):
        while True:
            try:
                await restore(app, task.backup, project="demo", target="copy")
                break
            except BaasError:
                await asyncio.sleep(0.02)
    assert len(await present(app, DatabaseName("copy"))) == 300


async def test_backup_goes_on_after_the_server_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("baas.backups.writing.PART_BYTES", 100)
    settings = make_settings(tmp_path / "data")
    async with started_app(settings) as app:
        for project in ("demo", "second"):
            await projects.create_project(app.context, OPERATOR, project)
        await put(app, 300)
        reached = asyncio.Event()

        async def never(*_: object) -> None:
            reached.set()
            await asyncio.Event().wait()

        with monkeypatch.context() as patched:
            patched.setattr("baas.backups.place.BackupPlace.write_part", never)
            task = await backups.start_backup(app.context, OPERATOR, None)
            await reached.wait()
    async with started_app(settings) as app:
        task = await over(app, task)
        assert (task.state, task.attempts) == (TaskState.DONE, 2)
        manifest = await app.context.backups.place.read_manifest(task.backup)
        assert manifest.projects == ["demo", "second"]
        verified = await backups.start_verification(app.context, OPERATOR, task.backup)
        assert (await over(app, verified)).state is TaskState.DONE


async def test_another_secret_key_is_told_at_once(app: App, tmp_path: Path) -> None:
    await app.context.accounts.sign_up("demo", "ada@example.com", "correct horse")
    task = await back_up(app)
    place = str(app.settings.data / "backups")
    async with started_app(make_settings(tmp_path / "other", backups=place)) as other:
        with pytest.raises(FailedPrecondition, match="another secret key"):
            await restore(other, task.backup)
        await restore(other, task.backup, new_keys=True)
        signed_in = await other.context.accounts.sign_in("demo", "ada@example.com", "correct horse")
        assert signed_in.id_token


async def test_bytes_are_copied_once_and_go_with_the_last_backup_that_names_them(app: App) -> None:
    await put_object(app, "old", b"old bytes")
    first = await back_up(app)
    (old,) = files(app, "objects-")
    stamp = old.stat().st_mtime_ns
    await put_object(app, "new", b"new bytes")
    await objects.delete_object(app.context, OPERATOR, FILES, "old")
    second = await back_up(app)
    assert len(files(app, "objects-")) == 2
    assert old.stat().st_mtime_ns == stamp
    await over(app, await backups.delete_backup(app.context, OPERATOR, first.backup))
    (kept,) = files(app, "objects-")
    assert kept.read_bytes() == b"new bytes"
    await restore(app, second.backup, project="demo", target="copy")
    assert await read(app, BucketName("copy", "files"), "new") == b"new bytes"
    found = await app.context.backups.list_backups(after=None, limit=9)
    assert [one.id for one in found] == [second.backup]


async def test_nothing_is_collected_of_what_is_held(app: App) -> None:
    await put_object(app, "a", b"bytes")
    stored = await app.context.objects.find(FILES, "a")
    assert stored is not None
    assert app.collector is not None
    key = f"demo/{stored.content}/{stored.parts[0].id}"
    async with app.context.objects.holds.hold("demo"):
        await objects.delete_object(app.context, OPERATOR, FILES, "a")
        await asyncio.sleep(0.002)
        assert await app.collector.collect("demo") == 0
        await app.collector.sweep("demo")
        assert await app.context.objects.store.find_size(key) == 5
    assert await app.collector.collect("demo") == 1
    assert await app.context.objects.store.find_size(key) is None


async def test_a_schedule_makes_backups_keeps_some_and_tells_of_failures(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_runner, "LOOK_SECONDS", 0.02)
    by_hand = await back_up(app)
    await backups.set_schedule(app.context, OPERATOR, Schedule(None, 0, 2, 0, 0))
    tasks = app.context.backups.tasks

    async def several() -> bool:
        return len(await tasks.list_all()) >= 8

    async def idle() -> bool:
        return (await tasks.list_all())[0].state is not TaskState.RUNNING

    async def failed() -> bool:
        return bool((await backups.list_schedules(app.context, OPERATOR))[0].error)

    await until(several)
    await backups.delete_schedule(app.context, OPERATOR, None)
    await until(idle)
    kept = await app.context.backups.list_backups(after=None, limit=99)
    assert 2 <= len(kept) - 1 <= 3
    assert by_hand.backup in {one.id for one in kept}
    await backups.set_schedule(app.context, OPERATOR, Schedule("demo", 0, 2, 0, 0))
    await projects.delete_project(app.context, OPERATOR, "demo")
    await until(failed)
    (schedule,) = await backups.list_schedules(app.context, OPERATOR)
    assert "there is no project" in str(schedule.error)
    async with app_client(app, app.operator_token) as client:
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()) == (
            200,
            {"status": "degraded", "reasons": ["BackupsFailing"]},
        )
        (told,) = (await client.get("/api/v1/admin/backup-schedules")).json()["schedules"]
        assert told["problem"] == told["error"] == schedule.error
        assert told["succeeded"] is None
        await backups.delete_schedule(app.context, OPERATOR, "demo")

        async def well() -> bool:
            return bool((await client.get("/readyz")).json() == {"status": "ok"})

        await until(well)


async def test_the_last_good_backup_of_a_schedule_is_known(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_runner, "LOOK_SECONDS", 0.02)
    await backups.set_schedule(app.context, OPERATOR, Schedule(None, 3_600, 2, 0, 0))

    async def schedule() -> Schedule:
        (one,) = await backups.list_schedules(app.context, OPERATOR)
        return one

    async def made() -> bool:
        return (await schedule()).ended > 0

    await until(made)
    first = await schedule()
    assert first.started < first.succeeded <= first.ended
    assert first.problem(first.succeeded) is None
    # Changing it keeps what is known; a failure does not change when the last good one was.
    await backups.set_schedule(app.context, OPERATOR, Schedule(None, 60, 2, 0, 0))
    await app.context.backups.schedules.note(first.name, started=0, error="the disk is gone")
    changed = await schedule()
    assert changed.succeeded == first.succeeded
    assert changed.problem(first.succeeded) == "the disk is gone"


def test_a_schedule_without_backups_for_too_long_is_a_problem() -> None:
    hour = 3_600_000_000
    late = 2 * hour + 600_000_000
    never = Schedule(None, 3_600, 1, 1, 1, since=hour)
    assert never.problem(hour + late) is None
    assert "since it was made" in str(never.problem(hour + late + 1))
    once = Schedule(None, 3_600, 1, 1, 1, since=hour, succeeded=5 * hour)
    assert once.problem(5 * hour + late) is None
    assert "since 1970-01-01T05:00" in str(once.problem(5 * hour + late + 1))


def test_what_a_schedule_keeps() -> None:
    day = 86_400 * 1_000_000
    made = [(str(n), 1_700_000_000_000_000 - n * day // 4) for n in range(200)]
    schedule = Schedule(None, 60, keep_last=3, keep_daily=5, keep_weekly=4)
    kept = [name for name, _ in made if name not in not_kept(schedule, made)]
    assert kept[:3] == ["0", "1", "2"]
    assert 7 <= len(kept) <= 11
    assert max(map(int, kept)) >= 4 * 14
    assert not_kept(Schedule(None, 60, 0, 0, 0), made) == [name for name, _ in made[1:]]


async def test_a_task_is_done_by_the_node_that_was_asked(app: App) -> None:
    """Its folder may be the one that has the backup."""
    context = app.context
    clock = VirtualClock(now_microseconds=context.clock.now_microseconds())
    one, two = [Tasks(context.databases, clock, node=name) for name in ("one", "two")]
    task = await one.create(TaskKind.VERIFY, "20260101-000000-abcdef", author=None)
    assert await two.claim() is None
    claimed = await one.claim()
    assert claimed is not None
    assert (claimed.id, claimed.node, claimed.attempts) == (task.id, "one", 1)
    clock.advance(CLAIM_SECONDS + 1)
    taken = await two.claim()
    assert taken is not None
    assert taken.node == "two"


async def test_only_administrators(app: App) -> None:
    task = await back_up(app)
    context = app.context
    for caller in (ANONYMOUS, SECRET, user("ada")):
        for work in (
            backups.start_backup(context, caller, "demo"),
            backups.start_verification(context, caller, task.backup),
            backups.delete_backup(context, caller, task.backup),
            backups.list_backups(context, caller, page_size=1, page_token=None),
            backups.get_backup(context, caller, task.backup),
            backups.list_tasks(context, caller),
            backups.get_task(context, caller, task.id),
            backups.cancel_task(context, caller, task.id),
            backups.list_schedules(context, caller),
            backups.set_schedule(context, caller, Schedule(None, 60, 1, 1, 1)),
            backups.delete_schedule(context, caller, None),
            backups.start_restore(
                context, caller, task.backup, project=None, target=None, new_keys=False
            ),
        ):
            with pytest.raises(PermissionDenied):
                await work


@pytest.mark.parametrize("backup", ["..", "a/b", "%2e", "A", "x" * 61, ""])
async def test_ids_that_are_none(app: App, backup: str) -> None:
    with pytest.raises(NotFound):
        await backups.get_backup(app.context, OPERATOR, backup)
