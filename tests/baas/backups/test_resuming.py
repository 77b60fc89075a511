"""Backups, restores and verifications that are cut off go on where they were."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from baas.app import App
from baas.backups.checkpoints import Checkpoint, decode_checkpoint, encode_checkpoint
from baas.backups.manifest import Manifest
from baas.backups.place import BackupPlace
from baas.backups.tasks import CLAIM_SECONDS, TASKS, Task, Tasks, TaskState
from baas.backups.writing import BackupWriter
from baas.buckets.names import BucketName
from baas.database.database import Database
from baas.database.loading import Loader
from baas.database.names import DatabaseName
from baas.database.past_scan import PastScan, decode_place, encode_place
from baas.encoding.documents import StoredDocument
from baas.errors import NotFound, Unavailable
from baas.model.paths import DocumentPath
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.services import backup_runner, backups, documents, objects, projects
from baas.testing import make_settings, started_app
from tests.baas.backups.test_backups import FILES, NAME, back_up, put, put_object, until
from tests.baas.backups.test_drill import images, over, present, read, restore
from tests.baas.services.worlds import OPERATOR
from tests.mongo import engine_settings

MANIFEST = Manifest("20260101-000000-aaaaaa", 1, 1, "server", "mark", "1", None, False)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of some documents each, and whatever is known is kept at once."""
    monkeypatch.setattr("baas.backups.writing.PART_BYTES", 200)
    monkeypatch.setattr("baas.database.past_scan._BATCH", 8)
    monkeypatch.setattr("baas.backups.writing.CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr("baas.database.loading.CHUNK_DOCUMENTS", 7)
    monkeypatch.setattr(backup_runner, "SAVE_SECONDS", 0.02)


ENGINES = pytest.mark.parametrize("settings", ["sqlite", "mongodb"], indirect=True)


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    more = engine_settings(request, getattr(request, "param", "sqlite"))
    return make_settings(tmp_path / "data", object_grace_seconds=0, **more)


@pytest.fixture
async def app(settings: Any) -> AsyncIterator[App]:
    async with started_app(settings) as opened:
        await fill(opened)
        yield opened


async def fill(app: App) -> None:
    await projects.create_project(app.context, OPERATOR, "demo")
    await objects.create_bucket(app.context, OPERATOR, "demo", "files")
    await put(app, 300)
    await put_object(app, "a", b"some bytes")


async def change(app: App, number: int) -> None:
    """Deletes, changes and makes documents in front of a scan and behind it."""
    gone = [f"c/{(number * step) % 300:04}" for step in (7, 131)]
    writes: list[Write] = [
        DeleteWrite(DocumentPath.parse(gone[0])),
        SetWrite(DocumentPath.parse(f"c/{(number * 53) % 300:04}"), {"n": -number}),
        SetWrite(DocumentPath.parse(f"b/{number}"), {"new": True}),
        SetWrite(DocumentPath.parse(f"d/{number}"), {"new": True}),
    ]
    if gone[1] != gone[0]:
        writes.append(SetWrite(DocumentPath.parse(gone[1]), {"again": number}))
    once = {one.path: one for one in writes}
    await documents.commit(app.context, OPERATOR, NAME, [*once.values()])


@ENGINES
async def test_a_scan_goes_on_from_each_of_its_places(app: App) -> None:
    database = await app.context.databases.open(NAME)
    scan = PastScan()
    found: list[StoredDocument] = []
    number = 0
    while documents_found := await scan.read_window(database, 100):
        found += documents_found
        assert scan.place is not None
        begun = decode_place(encode_place(scan.place))
        assert begun == scan.place
        scan = PastScan(begun)
        number += 1
        await change(app, number)
    assert number > 10
    assert scan.version is not None
    there = {one.name: (one.created, one.version, one.data) for one in found}
    assert len(there) == len(found), "a document came twice"
    assert there == await images(app, NAME, scan.version)


@pytest.mark.parametrize("damage", [b"", b"{}", b"x" * 100, b'{"format":1}\n'])
def test_a_checkpoint_that_is_not_whole_is_none(damage: bytes) -> None:
    data = encode_checkpoint(MANIFEST, Checkpoint())
    assert decode_checkpoint(data, MANIFEST.id) == (MANIFEST, Checkpoint())
    assert decode_checkpoint(damage or data[:-9], MANIFEST.id) is None


def fail_after(
    monkeypatch: pytest.MonkeyPatch, target: type, name: str, times: int, error: Exception
) -> None:
    """The method works so many times, then never again until it is undone."""
    usual = getattr(target, name)
    left = times

    async def method(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise error
        return await usual(self, *arguments, **named)

    monkeypatch.setattr(target, name, method)


async def waiting(app: App, task: Task) -> Task:
    """The task when it waits for another attempt."""

    async def is_waiting() -> bool:
        known = await app.context.backups.tasks.get(task.id)
        return known.state is not TaskState.RUNNING or known.error is not None

    await until(is_waiting)
    return await app.context.backups.tasks.get(task.id)


@pytest.mark.parametrize("when", ["writing a part", "at once", "reading the last"])
async def test_a_backup_goes_on_within_a_database(
    app: App, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """With the same version, in spite of what was changed meanwhile."""
    with monkeypatch.context() as patched:
        broken = Unavailable("the object store fails", reason="ObjectStoreUnavailable")
        patched.setattr("baas.backups.copies.TRIES", 1)
        parts = {"writing a part": 35, "at once": 0, "reading the last": 74}[when]
        fail_after(patched, BackupPlace, "write_part", parts, broken)
        task = await backups.start_backup(app.context, OPERATOR, "demo")
        task = await waiting(app, task)
        assert (task.state, task.error) == (TaskState.RUNNING, "the object store fails")
        found = decode_checkpoint(
            await app.context.backups.place.read_checkpoint(task.backup) or b"", task.backup
        )
    assert (found is None) == (parts == 0)
    for number in range(1, 40):
        await change(app, number)
    app.context.backups.wake()
    task = await over(app, task)
    assert (task.state, task.attempts, task.error) == (TaskState.DONE, 2, None)
    manifest = await app.context.backups.place.read_manifest(task.backup)
    (section, *_) = manifest.sections
    assert task.progress.lines >= section.count
    if found is not None:
        begun = found[1].begun
        assert begun is not None
        assert begun.place.version == section.version
        assert section.parts[: len(begun.section.parts)] == begun.section.parts
        assert parts - 20 < len(begun.section.parts) <= parts
        assert {one.id[:2] for one in section.parts} == {"01", "02"}
    await check_restored(app, task.backup, section.version)


async def check_restored(app: App, backup: str, version: int) -> None:
    verified = await backups.start_verification(app.context, OPERATOR, backup)
    assert (await over(app, verified)).error is None
    await restore(app, backup, project="demo", target="copy")
    assert await present(app, DatabaseName("copy")) == await images(app, NAME, version)
    assert await read(app, BucketName("copy", "files"), "a") == b"some bytes"


@pytest.mark.parametrize("how", ["history is gone", "another incarnation"])
async def test_a_backup_that_cannot_go_on_begins_the_database_anew(
    app: App, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("baas.backups.copies.TRIES", 1)
        broken = Unavailable("the object store fails", reason="ObjectStoreUnavailable")
        fail_after(patched, BackupPlace, "write_part", 30, broken)
        task = await backups.start_backup(app.context, OPERATOR, "demo")
        await waiting(app, task)
    await change(app, 1)
    database = await app.context.databases.open(NAME)
    if how == "history is gone":
        await database._engine.trim(database.version, limit=10_000)
    else:
        await app.context.databases.start_incarnation(NAME)
    app.context.backups.wake()
    task = await over(app, task)
    assert task.state is TaskState.DONE, task.error
    manifest = await app.context.backups.place.read_manifest(task.backup)
    (section, *_) = manifest.sections
    assert {one.id[:2] for one in section.parts} == {"02"}
    assert task.progress.lines == sum(one.count for one in manifest.sections[:3])
    await check_restored(app, task.backup, section.version)


async def test_a_writer_that_was_thought_dead_damages_nothing(app: App) -> None:
    """A node that slept goes on beside the one that took over from it."""
    context = app.context
    task = await back_up(app, "demo")
    manifest = await context.backups.place.read_manifest(task.backup)
    checkpoint = Checkpoint()

    async def save() -> None:
        await context.backups.place.write_checkpoint(
            task.backup, encode_checkpoint(manifest, checkpoint)
        )

    class Unwatched:
        def advance(self, lines: int, size: int) -> None: ...

    await put(app, 10)
    late = BackupWriter(
        context.backups._sources,
        context.backups.place,
        Manifest(task.backup, 1, 1, manifest.server, manifest.secret, "1", "demo", False),
        Unwatched(),
        checkpoint,
        save,
        attempt=7,
        confirm=save,
    )
    await late._write_project("demo")
    version = manifest.sections[0].version
    await check_restored(app, task.backup, version)


@pytest.mark.parametrize("cancelled", [False, True])
async def test_what_another_node_goes_on_with_is_left_alone(
    app: App, monkeypatch: pytest.MonkeyPatch, cancelled: bool
) -> None:
    """A node that slept for a minute finds that its task is another's, and deletes nothing."""
    usual, reached = BackupPlace.write_part, asyncio.Event()

    async def write_part(self: BackupPlace, backup: str, identifier: str, lines: Any) -> Any:
        if identifier.endswith("20"):
            reached.set()
            await asyncio.Event().wait()
        return await usual(self, backup, identifier, lines)

    monkeypatch.setattr(BackupPlace, "write_part", write_part)
    claim, claims = Tasks.claim, 0

    async def count_claims(self: Tasks) -> Task | None:
        nonlocal claims
        claims += 1
        return await claim(self)

    monkeypatch.setattr(Tasks, "claim", count_claims)
    context = app.context
    task = await backups.start_backup(context, OPERATOR, "demo")
    await reached.wait()
    if cancelled:
        await backups.cancel_task(context, OPERATOR, task.id)
    else:
        until_then = context.clock.now_microseconds() + CLAIM_SECONDS * 1_000_000
        taken = replace(task, node="other", claimed_until=until_then, attempts=2)
        path = TASKS.document(task.id)
        await context.backups.tasks.store.run(
            None, lambda transaction: transaction.write([SetWrite(path, taken.to_fields())])
        )

    async def let_go() -> bool:
        return claims > 1  # it looks for what is next

    await until(let_go)

    async def left() -> list[str]:
        return [one.key async for some in context.backups.place.store.list("sets/") for one in some]

    async def is_tidy() -> bool:
        return not await left()

    if cancelled:
        await until(is_tidy)
    else:
        assert len(await left()) == 20  # and a checkpoint


@ENGINES
@pytest.mark.parametrize(
    ("how", "chunks"),
    [
        ("the server ends", 0),
        ("the store fails", 3),
        ("the server ends", 44),
    ],
)
async def test_a_restore_goes_on_where_it_was(
    settings: Any, monkeypatch: pytest.MonkeyPatch, how: str, chunks: int
) -> None:
    options: dict[str, Any] = {"project": "demo", "target": "copy", "new_keys": False}
    async with started_app(settings) as app:
        await fill(app)
        backup = (await back_up(app)).backup
        expected = await present(app, NAME)
        with monkeypatch.context() as patched:
            broken = Unavailable("the database fails", reason="StorageUnavailable")
            fail_after(patched, Loader, "add", chunks, broken)
            task = await backups.start_restore(app.context, OPERATOR, backup, **options)
            task = await waiting(app, task)
            assert task.state is TaskState.RUNNING
            await check_invisible(app)
            if how == "the server ends":
                patched.setattr(Loader, "add", never)
                app.context.backups.wake()
                await until(lambda: attempted(app, task, 2))
        if how == "the store fails":
            await check_continued(app, task, expected)
    if how == "the server ends":
        async with started_app(settings) as app:
            await check_continued(app, task, expected)


async def never(self: Loader, found: Any) -> None:
    await asyncio.Event().wait()


async def attempted(app: App, task: Task, attempts: int) -> bool:
    return (await app.context.backups.tasks.get(task.id)).attempts >= attempts


async def check_invisible(app: App) -> None:
    with pytest.raises(NotFound):
        await app.context.projects.get_project("copy")
    assert await app.context.projects.finish_deletions() == [], "it was to go on"


async def check_continued(app: App, task: Task, expected: Any) -> None:
    counted = 0
    usual = Loader.add

    async def count(self: Loader, found: Any) -> None:
        nonlocal counted
        counted += len(found)
        await usual(self, found)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Loader, "add", count)
        app.context.backups.wake()
        done = await over(app, task)
    assert done.state is TaskState.DONE, done.error
    assert done.restored == ("copy",)
    assert await present(app, DatabaseName("copy")) == expected
    assert await read(app, BucketName("copy", "files"), "a") == b"some bytes"
    if task.position is not None and '"parts":0' not in task.position:
        assert counted < len(expected), "it began anew"
    assert await app.context.projects.finish_deletions() == []


async def test_a_restore_that_is_cancelled_while_nobody_is_at_it_is_cleaned_up(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"project": "demo", "target": "copy", "new_keys": False}
    async with started_app(settings) as app:
        await fill(app)
        backup = (await back_up(app)).backup
        broken = Unavailable("the database fails", reason="StorageUnavailable")
        with monkeypatch.context() as patched:
            fail_after(patched, Loader, "add", 9, broken)
            task = await backups.start_restore(app.context, OPERATOR, backup, **options)
            await waiting(app, task)
        await backups.cancel_task(app.context, OPERATOR, task.id)
    async with started_app(settings) as app:
        assert await app.context.databases.list_databases("copy") == []
        await restore(app, backup, project="demo", target="copy")
        assert await present(app, DatabaseName("copy")) == await present(app, NAME)


async def test_a_restored_project_that_nobody_was_told_of_is_not_restored_again(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the server had ended between the project's last step and the note of it."""
    await projects.create_project(app.context, OPERATOR, "second")
    backup = (await back_up(app)).backup
    for project in ("demo", "second"):
        await projects.delete_project(app.context, OPERATOR, project)
    monkeypatch.setattr(backup_runner._Watching, "note", unheard)
    broken = Unavailable("the database fails", reason="StorageUnavailable")
    with monkeypatch.context() as patched:
        fail_after(patched, Database, "catch_up", 10_000, broken)
        restores = app.context.projects.restores
        usual = restores.begin

        def begin(identifier: str, task: str) -> Any:
            if identifier == "second":
                raise broken
            return usual(identifier, task)

        patched.setattr(restores, "begin", begin)
        task = await backups.start_restore(
            app.context, OPERATOR, backup, project=None, target=None, new_keys=False
        )
        task = await waiting(app, task)
        assert task.restored == ()
        assert await app.context.projects.get_project("demo")
    app.context.backups.wake()
    task = await over(app, task)
    assert (task.state, task.restored) == (TaskState.DONE, ("demo", "second"))


async def unheard(self: Any, task: Task) -> None: ...


async def test_a_verification_goes_on_where_it_was(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await back_up(app)
    manifest = await app.context.backups.place.read_manifest(task.backup)
    total = sum(one.count for one in manifest.sections)
    monkeypatch.setattr("baas.backups.copies.TRIES", 1)
    broken = Unavailable("the object store fails", reason="ObjectStoreUnavailable")
    with monkeypatch.context() as patched:
        fail_after(patched, BackupPlace, "_read_part", 9, broken)
        verifying = await backups.start_verification(app.context, OPERATOR, task.backup)
        waits = await waiting(app, verifying)
        assert 0 < waits.progress.lines < total
    with monkeypatch.context() as patched:
        parts = sum(len(one.parts) for one in manifest.sections)
        fail_after(patched, BackupPlace, "_read_part", parts - 9, broken)
        app.context.backups.wake()
        done = await over(app, verifying)
    assert (done.state, done.error) == (TaskState.DONE, None)
    assert done.progress.lines == done.progress.total_lines == total
    assert done.progress.bytes == done.progress.total_bytes


async def test_it_is_given_up_at_last(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("baas.backups.copies.TRIES", 1)
    monkeypatch.setattr(backup_runner, "LOOK_SECONDS", 0.001)
    broken = Unavailable("the object store fails", reason="ObjectStoreUnavailable")
    fail_after(monkeypatch, BackupPlace, "write_part", 5, broken)
    task = await backups.start_backup(app.context, OPERATOR, None)
    task = await over(app, task)
    assert (task.state, task.attempts) == (TaskState.FAILED, 10)
    left = [info async for batch in app.context.backups.place.store.list("sets/") for info in batch]
    assert left == []


@pytest.mark.parametrize("is_noted", [True, False])
async def test_objects_that_are_there_are_not_copied_again(
    app: App, monkeypatch: pytest.MonkeyPatch, is_noted: bool
) -> None:
    """Where it was not noted that they are, they are read, and copied if they are others."""
    await put_object(app, "b", b"other bytes")
    backup = (await back_up(app)).backup
    options: dict[str, Any] = {"project": "demo", "target": "copy", "new_keys": False}
    restores = app.context.projects.restores
    broken = Unavailable("the database fails", reason="StorageUnavailable")
    with monkeypatch.context() as patched:
        fail_after(patched, type(restores), "finish", 0, broken)
        if not is_noted:
            patched.setattr(backup_runner._Watching, "reach", lambda self, position: None)
        task = await backups.start_restore(app.context, OPERATOR, backup, **options)
        await waiting(app, task)
    store = app.context.objects.store
    stored = await app.context.objects.find(FILES, "a")
    assert stored is not None
    damaged = f"copy/{stored.content}/{stored.parts[0].id}"
    if not is_noted:
        await store.delete([damaged])
        writer = await store.open_writer(damaged)
        await writer.write(b"same bytes")  # as long, and others
        await writer.finish()
    copied: list[str] = []
    usual = type(store).open_writer

    async def open_writer(self: Any, key: str) -> Any:
        copied.append(key)
        return await usual(self, key)

    monkeypatch.setattr(type(store), "open_writer", open_writer)
    app.context.backups.wake()
    assert (await over(app, task)).state is TaskState.DONE
    assert copied == ([] if is_noted else [damaged])
    for name, data in (("a", b"some bytes"), ("b", b"other bytes")):
        assert await read(app, BucketName("copy", "files"), name) == data
