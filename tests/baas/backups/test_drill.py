"""The restore drill: a server that is written to is backed up, and read back into an empty server,
on the other engine; what is there then is what was there at the backup's versions."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from baas.accounts.sealing import SECRET_FILE
from baas.app import App
from baas.backups.manifest import Manifest, SectionKind
from baas.backups.tasks import Task, TaskState
from baas.buckets.names import BucketName
from baas.buckets.objects import Declared
from baas.database.database import Database
from baas.database.indexes import IndexDefinition, IndexField, IndexKind, is_reserved
from baas.database.listeners import QueryTarget
from baas.database.names import DatabaseName
from baas.errors import BaasError, FailedPrecondition
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.projects.schema_releases import SchemaDeployment
from baas.services import backups, documents, indexes, objects, projects, ttl
from baas.services.listen import ListenHub, TargetUpdated
from baas.services.schema_deployments import deploy_schemas
from baas.testing import make_settings, started_app
from tests.baas.services.test_objects import MEMBER, RULES
from tests.baas.services.test_transfer import EVERYTHING
from tests.baas.services.worlds import OPERATOR
from tests.mongo import engine_settings

MAIN, ARCHIVE = DatabaseName("demo"), DatabaseName("demo", "archive")
FILES = BucketName("demo", "files")
ALL = QueryTarget(Query(CollectionPath(("counters",))))
OF_A_SERVER = ("incarnation", "restore", "node", "claimed_until", "looked")
SCHEMA = {
    "x-collection": "c",
    "type": "object",
    "properties": {"n": {"type": "integer"}, "name": {"type": "string"}},
    "x-unique": [["name"]],
}
PINNED = [
    IndexDefinition("c", False, (IndexField(FieldPath.parse("n"), kind=kind),))
    for kind in (IndexKind.PLAIN, IndexKind.WORDS)
]
BYTES = {"empty": b"", "a/photo.png": secrets.token_bytes(300_000), "note.txt": b"hello"}


async def over(app: App, task: Task) -> Task:
    """The task when it is over."""
    while task.state is TaskState.RUNNING:
        await asyncio.sleep(0.02)
        task = await app.context.backups.tasks.get(task.id)
    return task


async def fill(app: App) -> dict[str, Any]:
    context = app.context
    await projects.create_project(context, OPERATOR, "demo", name="Demo", origins=["https://a.com"])
    await projects.create_project(context, OPERATOR, "empty")
    await projects.create_database(context, OPERATOR, "demo", "archive")
    await context.projects.rulesets.deploy("demo", RULES % "false", allow_open=True)
    await context.projects.rulesets.deploy("demo", RULES % MEMBER, allow_open=True)
    for name in (MAIN, ARCHIVE):
        writes = [SetWrite(DocumentPath.parse(f"c/{n:04}"), {"n": n}) for n in range(400)]
        writes.append(SetWrite(DocumentPath.parse(f"values/{name.database[:3]}"), EVERYTHING))
        writes.append(SetWrite(DocumentPath.parse("c/0001/sub/x/deeper/__id7__"), {"deep": True}))
        await documents.commit(context, OPERATOR, name, writes)
    await context.accounts.admins.set_up(app.setup_token, "root@example.com", "correct horse")
    _, key = await projects.create_key(context, OPERATOR, "demo", kind="secret", name="server")
    signed_in = await context.accounts.sign_up("demo", "ada@example.com", "correct horse")
    await deploy_schemas(
        context, OPERATOR, "demo", [SCHEMA], SchemaDeployment(), allow_existing=False
    )
    await ttl.set_policy(context, OPERATOR, MAIN, "passing", FieldPath.parse("until"))
    for definition in PINNED:
        await indexes.build_index(context, OPERATOR, ARCHIVE, definition)
    await objects.create_bucket(context, OPERATOR, "demo", "files")
    for file, data in BYTES.items():
        await objects.put_object(context, OPERATOR, FILES, file, chunks(data), Declared())
    return {"key": key, "refresh": signed_in.refresh_token}


async def everything_else(app: App) -> dict[str, Any]:
    """Whatever belongs to the project and its server beside the apps' documents: users, sessions,
    keys, buckets, metadata of objects, rules, schemas, policies of expiry, administrators; so that
    a new kind of it is compared, too."""
    found: dict[str, Any] = {}
    for one in await _all(await app.context.databases.system("demo")):
        found[f"system/{one.name}"] = one.fields
    for one in await _all(await app.context.databases.system(None)):
        segments = one.path.segments
        of_project = segments[0] == "projects" and segments[1] == "demo"
        if of_project and len(segments) > 2 and segments[2] in ("jobs", "schema_drafts"):
            continue  # what was done here
        if of_project or segments[0] in ("admins", "admin_emails", "api_keys"):
            told = {name: one.fields[name] for name in one.fields if name not in OF_A_SERVER}
            found[f"server/{one.name}"] = told
    for name in (MAIN, ARCHIVE):
        for index in (await app.context.databases.open(name)).indexes:
            found[f"index {name} {index.definition}"] = index.is_pinned
    return found


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 100_000):
        yield data[at : at + 100_000]


async def keep_writing(app: App) -> None:
    """Changes, deletes and makes documents all over, for as long as it runs."""
    number = 0
    while True:
        number += 1
        some = [DocumentPath.parse(f"c/{(number * step) % 400:04}") for step in (7, 11)]
        fresh = SetWrite(DocumentPath.parse(f"counters/n{number % 50}"), {"n": number})
        for name in (MAIN, ARCHIVE):
            database = await app.context.databases.open(name)
            (gone,) = await database.get_documents([some[1]])
            writes: list[Write] = [SetWrite(some[0], {"n": -number}), fresh]
            if gone is not None and some[1] != some[0]:
                writes.append(DeleteWrite(some[1]))
            await documents.commit(app.context, OPERATOR, name, writes)
        await asyncio.sleep(0)


async def settle(app: App) -> None:
    """Whatever was given up has been committed by now, or never is."""
    for name in (MAIN, ARCHIVE):
        last = SetWrite(DocumentPath.parse("counters/last"), {"n": 0})
        await documents.commit(app.context, OPERATOR, name, [last])


async def images(app: App, name: DatabaseName, version: int) -> dict[str, tuple[int, int, bytes]]:
    """What a database held at a version, by the log and history of the server itself."""
    database = await app.context.databases.open(name)
    async with database.snapshot() as snapshot:
        touched = await snapshot.read_touched(version, limit=1_000_000)
        now = [d for batch in [await _all(database)] for d in batch]
        paths = [
            one
            for one in {one.path: None for one in now} | dict.fromkeys(touched)
            if not is_reserved(one)  # records of indexes, which may get ready meanwhile
        ]
        found = await snapshot.get_documents_at(paths, version)
    return {one.name: (one.created, one.version, one.data) for one in found if one is not None}


async def _all(database: Any) -> list[Any]:
    from baas.database.scan import scan_documents

    return [one async for batch in scan_documents(database) for one in batch]


async def present(app: App, name: DatabaseName) -> dict[str, tuple[int, int, bytes]]:
    found = await _all(await app.context.databases.open(name))
    return {one.name: (one.created, one.version, one.data) for one in found}


async def resume_token(app: App, token: str | None = None) -> TargetUpdated:
    session = await ListenHub(app.context).open_session(MAIN, app.operator_token)
    session.add_target(1, ALL, token)
    while True:
        event = await session.next_event()
        if isinstance(event, TargetUpdated):
            await session.close()
            return event


@pytest.fixture(params=["sqlite to mongodb over s3", "mongodb to sqlite over a folder"])
def ways(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the server that is backed up, and of the one that is restored."""
    mongodb = engine_settings(request, "mongodb")
    if "s3" in request.param:
        place = f"{request.getfixturevalue('s3_server').url}/{uuid4().hex}"
        return {"backups": place}, {"backups": place, **mongodb}
    place = str(tmp_path / "backups")
    return {"backups": place, **mongodb}, {"backups": place}


async def test_restore_drill(
    ways: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("baas.backups.writing.PART_BYTES", 4_000)  # many windows
    monkeypatch.setattr("baas.database.past_scan._BATCH", 20)
    first, second = ways
    async with started_app(make_settings(tmp_path / "first", **first)) as app:
        told = await fill(app)
        token = (await resume_token(app)).resume_token
        writing = asyncio.create_task(keep_writing(app))
        try:
            task = await over(app, await backups.start_backup(app.context, OPERATOR, None))
        finally:
            writing.cancel()
            await asyncio.wait([writing])
        await settle(app)
        assert task.state is TaskState.DONE, task.error
        manifest = await app.context.backups.place.read_manifest(task.backup)
        expected = {
            one.name: await images(app, DatabaseName("demo", one.name), one.version)
            for one in manifest.of_project("demo", SectionKind.DATABASE)
        }
        others = await everything_else(app)
        verified = await backups.start_verification(app.context, OPERATOR, task.backup)
        assert (await over(app, verified)).error is None
        assert await present(app, MAIN) != expected["(default)"], "nothing was written meanwhile"
        await check_restored_beside(app, manifest)
    (tmp_path / "second").mkdir()
    shutil.copy(tmp_path / "first" / SECRET_FILE, tmp_path / "second")
    async with started_app(make_settings(tmp_path / "second", **second)) as app:
        task = await restore(app, manifest.id)
        assert task.restored == ("demo", "empty")
        assert await everything_else(app) == others
        for name, documents_then in expected.items():
            assert await present(app, DatabaseName("demo", name)) == documents_then
            assert len(documents_then) > 300
        await check_all_else(app, told, token)


async def restore(app: App, backup: str, **options: Any) -> Task:
    usual: dict[str, Any] = {"project": None, "target": None, "new_keys": False}
    task = await backups.start_restore(app.context, OPERATOR, backup, **{**usual, **options})
    task = await over(app, task)
    assert task.state is TaskState.DONE, task.error
    return task


async def check_restored_beside(app: App, manifest: Manifest) -> None:
    """Under another id on the same server: the users' keys are sealed anew, API keys stay where
    they are."""
    with pytest.raises(FailedPrecondition, match="exists"):
        await restore(app, manifest.id, project="demo")
    task = await restore(app, manifest.id, project="demo", target="copy")
    assert [note for note in task.notes if "API key" in note]
    context = app.context
    assert await context.accounts.sign_in("copy", "ada@example.com", "correct horse")
    (one,) = manifest.of_project("demo", SectionKind.DATABASE)[:1]
    assert len(await present(app, DatabaseName("copy", one.name))) == one.count
    assert await read(app, BucketName("copy", "files"), "note.txt") == b"hello"


async def check_all_else(app: App, told: dict[str, Any], token: str) -> None:
    context = app.context
    project = await context.projects.get_project("demo")
    assert (project.name, project.origins) == ("Demo", ("https://a.com",))
    assert project.databases == ("(default)", "archive")
    assert await context.accounts.sign_in("demo", "ada@example.com", "correct horse")
    assert await context.accounts.refresh("demo", told["refresh"])
    assert (await context.projects.keys.authenticate("demo", told["key"])).name == "server"
    assert await context.accounts.admins.sign_in("root@example.com", "correct horse")
    assert (await context.projects.rulesets.get_release("demo")).source == RULES % MEMBER
    page = await context.projects.rulesets.list_releases("demo", size=9, token=None)
    assert len(page.notes) == 2
    await check_in_force(app)
    for name, data in BYTES.items():
        assert await read(app, FILES, name) == data
    assert (await resume_token(app, token)).update.reset
    # It can be written to, and is followed.
    await documents.commit(
        context, OPERATOR, MAIN, [SetWrite(DocumentPath.parse("counters/new"), {"n": 1})]
    )
    database = await context.databases.open(MAIN)
    assert (await database.run_query(Query(CollectionPath(("counters",))))).documents


async def check_in_force(app: App) -> None:
    """Schemas and policies of expiry do what they say; indexes are filled."""
    context = app.context
    cases: list[tuple[Fields, str]] = [
        ({"n": "text"}, "SchemaViolation"),
        ({"name": "a"}, "UniqueViolation"),
    ]
    for fields, reason in cases:
        writes = [SetWrite(DocumentPath.parse(f"c/{name}"), fields) for name in ("new", "newer")]
        with pytest.raises(BaasError) as refused:
            await documents.commit(context, OPERATOR, MAIN, writes)
        assert refused.value.reason == reason
    (policy,) = await ttl.list_policies(context, OPERATOR, MAIN)
    assert (policy.collection, str(policy.field)) == ("passing", "until")
    passing = DocumentPath.parse("passing/a")
    await documents.commit(
        context, OPERATOR, MAIN, [SetWrite(passing, {"until": Timestamp(1_000_000)})]
    )
    for name in (MAIN, ARCHIVE):
        await until_indexed(await context.databases.open(name))


async def until_indexed(database: Database) -> None:
    """On every node that opens it indexes are filled, though no query asks for them."""
    assert len(list(database.indexes)) > 0
    while any(index.ready_at is None for index in database.indexes):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def read(app: App, bucket: BucketName, name: str) -> bytes:
    stored = await app.context.objects.find(bucket, name)
    assert stored is not None
    found = b""
    for part in stored.parts:
        key = f"{bucket.project}/{stored.content}/{part.id}"
        async for chunk in app.context.objects.store.read(key, 0, part.size):
            found += chunk
    return found
