"""Earlier versions of documents: read, listed, restored, erased; on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import pytest
import pytest_asyncio

from baas.errors import (
    FailedPrecondition,
    InvalidArgument,
    OutOfRange,
    PermissionDenied,
    ResumeTokenExpired,
)
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.projects.erasures import Erasure
from baas.projects.jobs import Job, JobKind, JobState
from baas.projects.schema_releases import SchemaDeployment
from baas.services import erasures, jobs, past, restores, transactions, transfer
from baas.services.caller import Caller
from baas.services.documents import commit
from baas.services.past import VersionKind
from baas.services.schema_deployments import deploy_schemas
from baas.wire.jobs import decode_subtree
from tests.baas.services.worlds import (
    ADA,
    EVE,
    NAME,
    OPERATOR,
    SECRET,
    World,
    query,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(shared: World) -> World:
    await shared.deploy(
        "match /{collection}/{id} {"
        "  allow read: if resource == null || resource.data.owner == request.auth.uid; }"
    )
    return shared


def at(path: str) -> DocumentPath:
    return DocumentPath.parse(path)


async def put(world: World, documents: Mapping[str, Any]) -> Timestamp:
    writes: list[Write] = [
        DeleteWrite(at(path)) if fields is None else SetWrite(at(path), fields)
        for path, fields in documents.items()
    ]
    return (await commit(world.context, OPERATOR, NAME, writes)).commit_time


async def get(world: World, path: str, time: Timestamp, caller: Any = OPERATOR) -> Fields | None:
    found = await past.get_documents_at(world.context, caller, NAME, [at(path)], time)
    (document,) = found.documents
    return None if document is None else document.fields


# Reads -------------------------------------------------------------------------------------------


async def test_a_document_as_it_was_at_any_time(shared: World, room: str) -> None:
    path = f"{room}/a"
    before = await put(shared, {f"{room}/other": {}})
    times = [
        await put(shared, {path: fields}) for fields in ({"n": 1}, {"n": 2}, None, {"n": 3}, None)
    ]
    expected = [{"n": 1}, {"n": 2}, None, {"n": 3}, None]
    assert [await get(shared, path, time) for time in times] == expected
    just_before = [Timestamp(time.microseconds - 1) for time in times]
    assert [await get(shared, path, time) for time in just_before] == [None, *expected[:-1]]
    assert await get(shared, path, before, SECRET) is None


async def test_what_a_node_wrote_whose_clock_is_ahead_can_be_read_at_its_time(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = await put(shared, {f"{room}/a": {"n": 1}})
    slow = time.microseconds - 5_000_000
    monkeypatch.setattr(shared.context.clock, "now_microseconds", lambda: slow)
    assert await get(shared, f"{room}/a", time) == {"n": 1}
    later = Timestamp(time.microseconds + 1)
    with pytest.raises(InvalidArgument):
        await get(shared, f"{room}/a", later)


async def test_times_that_cannot_be_read(shared: World, room: str) -> None:
    await put(shared, {f"{room}/a": {}})
    future = Timestamp(shared.context.clock.now_microseconds() + 60_000_000)
    with pytest.raises(InvalidArgument) as refused:
        await get(shared, f"{room}/a", future)
    assert refused.value.reason == "ReadTimeInFuture"


async def test_what_a_caller_may_not_read_now_it_may_not_read_as_it_was(
    shared: World, room: str
) -> None:
    path = f"{room}/a"
    ada = await put(shared, {path: {"owner": "ada", "n": 1}})
    eve = await put(shared, {path: {"owner": "eve", "n": 2}})
    for time in (ada, eve):  # once it was Ada's
        with pytest.raises(PermissionDenied):
            await get(shared, path, time, ADA)
    with pytest.raises(PermissionDenied):  # once it was not Eve's
        await get(shared, path, ada, EVE)
    assert await get(shared, path, eve, EVE) == {"owner": "eve", "n": 2}
    deleted = await put(shared, {path: None})
    with pytest.raises(PermissionDenied):
        await get(shared, path, ada, EVE)
    assert await get(shared, path, eve, EVE) == {"owner": "eve", "n": 2}
    assert await get(shared, path, deleted, EVE) is None


async def test_queries_of_the_past_are_not_for_users(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await put(shared, {f"{room}/a": {"owner": "ada"}, f"{room}/b": {"owner": "ada"}})
    await put(shared, {f"{room}/a": {"owner": "eve"}, f"{room}/b": None})
    mine = query(room, ("owner", "==", "ada"))
    page = await past.run_query_at(shared.context, SECRET, NAME, mine, ada)
    assert [one.path.id for one in page.documents] == ["a", "b"]
    with pytest.raises(PermissionDenied):
        await past.run_query_at(shared.context, ADA, NAME, mine, ada)
    clock = shared.context.clock
    later = clock.now_microseconds() + 300_000_000
    monkeypatch.setattr(clock, "now_microseconds", lambda: later)
    with pytest.raises(PermissionDenied):
        await transactions.begin(shared.context, ADA, NAME, read_only=True, read_time=ada)
    await transactions.begin(shared.context, SECRET, NAME, read_only=True, read_time=ada)


# Versions ----------------------------------------------------------------------------------------


async def test_versions_are_listed_page_by_page(shared: World, room: str) -> None:
    path = f"{room}/a"
    kinds = ["created", "updated", "deleted", "created", "deleted", "created", "updated"]
    documents: list[Fields | None] = [
        None if kind == "deleted" else {"n": number} for number, kind in enumerate(kinds)
    ]
    times = [await put(shared, {path: fields}) for fields in documents]
    expected = [
        (time, VersionKind(kind), None if fields is None else len(b'{"n":0}'))
        for time, kind, fields in zip(times, kinds, documents, strict=True)
    ][::-1]
    for size in (1, 2, 3, 7, 100):
        found: list[Any] = []
        token = None
        while True:
            page = await past.list_versions(
                shared.context, OPERATOR, NAME, at(path), page_size=size, page_token=token
            )
            assert len(page.versions) <= size
            found += [(one.time, one.kind, one.size) for one in page.versions]
            token = page.next_page_token
            if token is None:
                break
        assert found == expected
    with pytest.raises(PermissionDenied):
        await past.list_versions(shared.context, ADA, NAME, at(path), page_size=1)
    with pytest.raises(InvalidArgument):
        await past.list_versions(
            shared.context, SECRET, NAME, at(path), page_size=1, page_token="x"
        )


# Restores ----------------------------------------------------------------------------------------


async def over(world: World, job: Job) -> Job:
    async with asyncio.timeout(90):
        while job.state is JobState.RUNNING:
            await asyncio.sleep(0.01)
            job = await jobs.get_job(world.context, OPERATOR, "demo", job.id)
    return job


async def plan_all(
    world: World, path: CollectionPath | DocumentPath, time: Timestamp, *, recursive: bool = False
) -> restores.RestorePlan:
    """All pages as one."""
    total = restores.RestorePlan(0, 0, 0, 0, [])
    token = None
    while True:
        page = await restores.plan_restore(
            world.context, OPERATOR, NAME, path, time, recursive=recursive, page_token=token
        )
        total = restores.RestorePlan(
            total.created + page.created,
            total.updated + page.updated,
            total.deleted + page.deleted,
            total.erased + page.erased,
            total.changes + page.changes,
        )
        token = page.next_page_token
        if token is None:
            return total


async def restore(world: World, path: str, time: Timestamp, *, recursive: bool = False) -> Job:
    asked = decode_subtree(path)
    plan = await plan_all(world, asked, time, recursive=recursive)
    job = await restores.start_restore(
        world.context, OPERATOR, NAME, asked, time, recursive=recursive
    )
    job = await over(world, job)
    assert job.progress.written == plan.created + plan.updated + plan.deleted
    assert job.progress.failed == plan.erased
    return job


async def all_in(world: World, *paths: str) -> list[Fields | None]:
    database = await world.context.databases.open(NAME)
    found = await database.get_documents([at(path) for path in paths])
    return [None if one is None else one.fields for one in found]


async def test_a_collection_is_restored_as_new_versions(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restores, "CHUNK_DOCUMENTS_MAX", 3)
    monkeypatch.setattr(restores, "_LOG_PAGE", 2)
    monkeypatch.setattr(restores, "_IMAGES", 2)
    monkeypatch.setattr(restores, "PLAN_SECONDS", 0.0)
    names = [f"{room}/d{n}" for n in range(8)]
    deep = f"{room}/d0/sub/x"
    then = await put(shared, {name: {"n": n} for n, name in enumerate(names)} | {deep: {"n": 0}})
    await put(shared, {names[0]: {"n": 10}, f"{room}x/other": {"n": 1}})
    await put(shared, dict.fromkeys(names[1:5]))
    await put(shared, {names[0]: {"n": 11}, names[1]: {"n": 12}, f"{room}/new": {"n": 9}})
    now = await put(shared, {deep: {"n": 1}})
    job = await restore(shared, room, then)
    assert (job.state, job.progress.written, job.progress.first_failure) == (
        JobState.DONE,
        6,
        None,
    )
    expected: list[Fields | None] = [{"n": n} for n in range(8)]
    assert await all_in(shared, *names) == expected
    assert await all_in(shared, f"{room}/new", deep, f"{room}x/other") == [None, {"n": 1}, {"n": 1}]
    assert await get(shared, names[0], now) == {"n": 11}  # what was replaced is kept
    job = await restore(shared, room, then, recursive=True)
    assert job.progress.written == 1
    assert await all_in(shared, deep) == [{"n": 0}]
    job = await restore(shared, names[0], now)  # a document alone, and back again
    assert await all_in(shared, names[0], names[1]) == [{"n": 11}, {"n": 1}]


async def test_a_plan_is_of_one_moment_and_counts_each_document_once(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restores, "CHUNK_DOCUMENTS_MAX", 1)
    monkeypatch.setattr(restores, "PLAN_SECONDS", 0.0)
    a, b, late = (f"{room}/{name}" for name in ("a", "b", "late"))
    then = await put(shared, {a: {"n": 1}, b: {"n": 1}})
    for number in range(2):  # deleted twice, with chunks in between
        await put(shared, {a: {"n": number + 2}})
        await put(shared, {a: None})
        await put(shared, {b: {"n": number + 2}})
    asked = decode_subtree(room)
    first = await restores.plan_restore(
        shared.context, OPERATOR, NAME, asked, then, recursive=False
    )
    assert first.next_page_token is not None
    plan = await plan_all(shared, asked, then)
    assert (plan.created, plan.updated, plan.deleted) == (1, 1, 0)
    assert [(str(one.path), one.kind) for one in plan.changes] == [(a, "create"), (b, "update")]
    await put(shared, {late: {"n": 1}})
    token: str | None = first.next_page_token
    while token is not None:
        page = await restores.plan_restore(
            shared.context, OPERATOR, NAME, asked, then, recursive=False, page_token=token
        )
        assert late not in [str(one.path) for one in page.changes]
        token = page.next_page_token
    for wrong in ("", "5", "5-", "-5", "5-5+", "5-x", "5-5 ", f"5-{'9' * 19}", "٥-٥"):
        with pytest.raises(InvalidArgument) as refused:
            await restores.plan_restore(
                shared.context, OPERATOR, NAME, asked, then, recursive=False, page_token=wrong
            )
        assert refused.value.reason == "InvalidPageToken"
    with pytest.raises(PermissionDenied):
        await restores.plan_restore(shared.context, ADA, NAME, asked, then, recursive=False)


async def test_a_restore_reads_a_large_commit_in_pieces(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many documents a commit changed, a step holds a chunk's bytes and a few more."""
    monkeypatch.setattr(restores, "CHUNK_BYTES_MAX", 10_000)
    names = [f"{room}/d{number:03}" for number in range(100)]
    then = await put(shared, {name: {"text": "x" * 1_000} for name in names})
    await put(shared, {name: {"text": "y" * 1_000} for name in names})
    database = await shared.context.databases.open(NAME)
    wanted = restores.Restore(decode_subtree(room), False, then.microseconds, database.version)
    found: list[str] = []
    cursor, is_last = None, False
    while not is_last:
        step = await restores.next_restores(database, cursor, wanted)
        cursor, is_last = step.cursor, step.is_last
        assert len(step.paths) <= 10 + restores._IMAGES
        found += [str(path) for path in step.paths]
    assert found == names
    job = await restore(shared, room, then)
    assert (job.state, job.progress.written) == (JobState.DONE, 100)


async def test_what_is_changed_after_a_restore_began_stays(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = await put(shared, {f"{room}/a": {"n": 1}, f"{room}/b": {"n": 1}, f"{room}/c": {"n": 1}})
    await put(shared, {f"{room}/a": {"n": 2}, f"{room}/b": {"n": 2}, f"{room}/c": {"n": 2}})
    database = await shared.context.databases.open(NAME)
    wanted = restores.Restore(decode_subtree(room), False, then.microseconds, database.version)
    await put(shared, {f"{room}/a": {"n": 3}})
    step = await restores.next_restores(database, None, wanted)
    documents = await database.get_documents(step.paths)
    writes = [step.make(*one) for one in zip(step.paths, documents, strict=True)]
    changed = {str(write.path) for write in writes if write is not None}
    assert changed == {f"{room}/b", f"{room}/c"}


@pytest_asyncio.fixture(loop_scope="module")
async def unique(shared: World, room: str) -> AsyncIterator[str]:
    """A collection in which no two documents have the same `key`."""
    schema = {"x-collection": room, "x-unique": [["key"]], "properties": {"n": {"minimum": 0}}}
    await deploy_schemas(shared.context, OPERATOR, "demo", [schema], SchemaDeployment())
    yield room
    await deploy_schemas(shared.context, OPERATOR, "demo", [], SchemaDeployment())


@pytest.mark.parametrize("chunk", [1, 2, 500])
async def test_values_that_have_to_be_unique_go_back_to_whom_they_belonged(
    shared: World, unique: str, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(restores, "CHUNK_DOCUMENTS_MAX", chunk)
    a, b, c, new = (f"{unique}/{name}" for name in ("a", "b", "c", "new"))
    then = await put(shared, {a: {"key": 1}, b: {"key": 2}, c: {"key": 3}})
    # `a` is wanted back from `new`, which is to go, and `c` from `a`.
    await put(shared, {a: {"key": 9}})
    await put(shared, {c: {"key": 4}, b: {"key": 5}})
    await put(shared, {new: {"key": 1}, a: {"key": 3}})
    job = await restore(shared, unique, then)
    assert (job.progress.failed, job.progress.first_failure) == (0, None)
    assert await all_in(shared, a, b, c, new) == [{"key": 1}, {"key": 2}, {"key": 3}, None]


@pytest.mark.parametrize("chunk", [2, 500])
async def test_documents_that_have_swapped_unique_values_get_them_back_together(
    shared: World, unique: str, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(restores, "CHUNK_DOCUMENTS_MAX", chunk)
    a, b, other = (f"{unique}/{name}" for name in ("a", "b", "other"))
    then = await put(shared, {a: {"key": 1}, b: {"key": 2}, other: {"n": 1}})
    await put(shared, {a: None})
    await put(shared, {b: {"key": 1}, other: {"n": 2}})  # another chunk, if chunks are small
    await put(shared, {a: {"key": 2}, f"{unique}/more": {}})
    await restore(shared, unique, then)
    assert await all_in(shared, a, b, other) == [{"key": 1}, {"key": 2}, {"n": 1}]


async def test_what_cannot_be_restored_is_counted_once_and_keeps_its_values(
    shared: World, unique: str
) -> None:
    a, b, c = (f"{unique}/{name}" for name in "abc")
    then = await put(shared, {a: {"key": 1}, b: {"key": 2}, c: {"key": 3}})
    now = await put(shared, {a: {"key": 2}, b: {"key": 3}, c: {"key": 5}})
    await put(shared, {f"{unique}/elsewhere": {"key": 1}})
    database = await shared.context.databases.open(NAME)
    wanted = restores.Restore(decode_subtree(unique), False, then.microseconds, now.microseconds)
    job = await shared.context.jobs.create(
        database, JobKind.RESTORE, wanted.to_spec(), author="operator", total=None
    )
    job = await over(shared, job)
    # `a` cannot have 1, so it keeps 2, so `b` keeps 3, so `c` keeps 5.
    assert (job.progress.seen, job.progress.written, job.progress.failed) == (3, 0, 3)
    assert (job.progress.first_failure or {})["reason"] == "UniqueViolation"
    assert await all_in(shared, a, b, c) == [{"key": 2}, {"key": 3}, {"key": 5}]


async def test_a_restore_to_what_is_forgotten_fails_and_says_so(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = await put(shared, {f"{room}/a": {}})
    database = await shared.context.databases.open(NAME)
    wanted = restores.Restore(decode_subtree(room), False, 0, then.microseconds)
    monkeypatch.setattr(
        database._engine, "read_oldest_version", _answer(then.microseconds), raising=False
    )
    with pytest.raises(FailedPrecondition) as refused:
        await restores.next_restores(database, None, wanted)
    assert refused.value.reason == "HistoryForgotten"
    with pytest.raises(OutOfRange) as too_old:
        await restore(shared, room, Timestamp(1))
    assert too_old.value.reason == "ReadTimeTooOld"


async def test_a_time_before_everything_was_written_is_refused(shared: World, room: str) -> None:
    path = f"{room}/a"
    await put(shared, {f"{room}x/other": {}})
    await put(shared, {path: {"n": 1}})
    database = await shared.context.databases.open(NAME)
    async with database.snapshot() as snapshot:
        first, *_ = await snapshot.read_log(0, limit=1)  # all of the first commit
    before = Timestamp(first.version - 1)
    for work in (plan_all(shared, at(path), before), restore(shared, room, before)):
        with pytest.raises(OutOfRange) as refused:
            await work
        assert refused.value.reason == "BeforeFirstCommit"
    await restore(shared, room, Timestamp(first.version))  # the room was empty then
    assert await all_in(shared, path) == [None]


def _answer(value: int) -> Any:
    async def answer() -> int:
        return value

    return answer


async def erase(
    world: World, *paths: str, present: bool, caller: Caller = OPERATOR
) -> list[Erasure]:
    named = [at(path) for path in paths]
    return await erasures.erase_documents(
        world.context, caller, NAME, named, present=present, rewrite=not present
    )


async def list_erasures(world: World) -> list[Erasure]:
    page = await erasures.list_erasures(
        world.context, OPERATOR, NAME, page_size=1_000, page_token=None
    )
    return page.erasures


# Erasures ----------------------------------------------------------------------------------------


async def test_what_is_erased_is_not_read_restored_or_resumed_over(
    shared: World, room: str
) -> None:
    path = f"{room}/a"
    secret = await put(shared, {path: {"secret": "first"}, f"{room}/b": {"n": 1}})
    changed = await put(shared, {path: {"secret": "second"}, f"{room}/b": {"n": 2}})
    (erasure,) = await erase(shared, path, present=True)
    assert (erasure.path, erasure.images, erasure.present) == (path, 2, True)
    (listed,) = [one for one in await list_erasures(shared) if one.path == path]
    assert (listed, listed.author) == (erasure, "operator")
    assert await all_in(shared, path) == [None]
    assert [await get(shared, path, time) for time in (secret, changed)] == [None, None]
    page = await past.run_query_at(shared.context, SECRET, NAME, query(room), secret)
    assert [(one.path.id, one.fields) for one in page.documents] == [("b", {"n": 1})]
    export = await transfer.export_documents(
        shared.context,
        OPERATOR,
        NAME,
        collection=CollectionPath((room,)),
        version=secret.microseconds,
    )
    lines = b"".join([chunk async for chunk in export.chunks]).splitlines()
    assert [orjson.loads(line)["path"] for line in lines] == [f"{room}/b"]
    versions = await past.list_versions(shared.context, OPERATOR, NAME, at(path), page_size=9)
    told = [(one.kind.value, one.size, one.is_erased) for one in versions.versions]
    assert told == [
        ("deleted", None, False),
        ("updated", None, True),
        ("created", None, True),
    ]
    job = await restore(shared, room, secret)
    assert (job.progress.written, job.progress.failed) == (1, 1)
    assert (job.progress.first_failure or {})["reason"] == "Erased"
    assert await all_in(shared, path, f"{room}/b") == [None, {"n": 1}]
    database = await shared.context.databases.open(NAME)
    async with database.snapshot() as snapshot:
        with pytest.raises(ResumeTokenExpired):
            await snapshot.read_net_changes(secret.microseconds)
        with pytest.raises(ResumeTokenExpired):
            await snapshot.read_commits(secret.microseconds)
        assert await snapshot.read_commits(snapshot.version) == []


async def test_several_documents_are_erased_at_once(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures, "_DELETED", 2)
    names = [f"{room}/d{number:03}" for number in range(100)]
    first = await put(shared, {key: {"n": 1} for key in names})
    await put(shared, {key: {"n": 2} for key in names[:3]})
    with pytest.raises(InvalidArgument) as refused:
        await erase(shared, *names, f"{room}/one-more", present=True)
    assert refused.value.reason == "TooMany"
    with pytest.raises(InvalidArgument) as refused:
        await erase(shared, present=True)
    assert refused.value.reason == "NoDocuments"
    assert await get(shared, names[0], first) == {"n": 1}
    found = await erase(shared, *names, names[0], present=True)  # named twice, erased once
    assert [(one.path, one.images) for one in found] == [
        (name, 2 if number < 3 else 1) for number, name in enumerate(names)
    ]
    assert await all_in(shared, *names) == [None] * 100
    assert await get(shared, names[0], first) is None
    listed = await list_erasures(shared)
    assert {one.id for one in found} <= {one.id for one in listed}


async def test_the_present_stays_unless_it_is_asked_for(shared: World, room: str) -> None:
    path = f"{room}/a"
    await put(shared, {path: {"n": 1}})
    await put(shared, {path: {"n": 2}})
    (erasure,) = await erase(shared, path, present=False)
    assert erasure.images == 1
    assert await all_in(shared, path) == [{"n": 2}]
    for caller in (ADA, SECRET):
        with pytest.raises(PermissionDenied):
            await erase(shared, path, present=True, caller=caller)
        with pytest.raises(PermissionDenied):
            await restores.start_restore(
                shared.context, caller, NAME, at(path), Timestamp(1), recursive=False
            )
