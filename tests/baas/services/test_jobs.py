"""Jobs: every document once, whatever breaks off, on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from baas.clock import SystemClock
from baas.database.database import Database
from baas.database.read_snapshot import ReadSnapshot
from baas.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidQuery,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.queries import Query
from baas.model.values import Fields
from baas.model.writes import SetWrite
from baas.projects import jobs as records
from baas.projects.jobs import Job, Jobs, JobState
from baas.services import job_pages, job_runner, jobs
from baas.services.caller import ANONYMOUS, Caller
from baas.services.documents import commit
from baas.services.jobs import UpdateByQuery
from baas.testing import make_settings, started_app
from baas.wire.jobs import decode_subtree, decode_update_by_query
from tests.baas.services.worlds import ADA, NAME, OPERATOR, SECRET, World, open_world, over

pytestmark = pytest.mark.asyncio(loop_scope="module")
CHUNK = 20


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "CHUNK_DOCUMENTS_MAX", CHUNK)
    monkeypatch.setattr(job_pages, "CHUNK_DOCUMENTS_MAX", CHUNK)


async def fill(world: World, room: str, count: int, **fields: Any) -> None:
    writes = [
        SetWrite(DocumentPath.parse(f"{room}/{n:03}"), {"n": n, "even": n % 2 == 0, **fields})
        for n in range(count)
    ]
    await commit(world.context, OPERATOR, NAME, writes)


async def put(world: World, *paths: str) -> None:
    writes = [SetWrite(DocumentPath.parse(path), {"n": 1}) for path in paths]
    await commit(world.context, OPERATOR, NAME, writes)


async def fields_in(world: World, room: str) -> dict[str, Any]:
    database = await world.context.databases.open(NAME)
    found = await database.run_query(Query(CollectionPath.parse(room)))
    return {one.path.id: one.fields for one in found.documents}


async def delete(world: World, path: str) -> Job:
    return await jobs.start_deletion(world.context, OPERATOR, NAME, decode_subtree(path))


async def update(
    world: World, tree: dict[str, Any], caller: Caller = OPERATOR, *, key: str | None = None
) -> Job:
    asked = UpdateByQuery(*decode_update_by_query(tree))
    return await jobs.start_update(
        world.context, caller, NAME, asked, orjson.dumps(tree).decode(), request_id=key
    )


ADD_ONE = {"transforms": [{"field": "n", "increment": 1000}]}


async def test_a_collection_goes_with_everything_below(shared: World, room: str) -> None:
    await fill(shared, room, 55)
    await put(shared, f"{room}/000/sub/a", f"{room}/gone/sub/deep/x/y", f"{room}2/stays")
    job = await over(shared, await delete(shared, room))
    assert job.state is JobState.DONE
    assert (job.progress.seen, job.progress.written, job.progress.total) == (57, 57, 57)
    assert await fields_in(shared, room) == {}
    assert await fields_in(shared, f"{room}/000/sub") == {}
    assert await fields_in(shared, f"{room}2") == {"stays": {"n": 1}}


async def test_a_document_goes_with_everything_below(shared: World, room: str) -> None:
    await put(shared, f"{room}/a", f"{room}/a/sub/b", f"{room}/ab", f"{room}/b/sub/c")
    job = await over(shared, await delete(shared, f"{room}/a"))
    assert (job.progress.written, job.progress.total) == (2, 2)
    assert set(await fields_in(shared, room)) == {"ab"}
    assert await fields_in(shared, f"{room}/a/sub") == {}
    nothing = await over(shared, await delete(shared, f"{room}/a"))
    assert (nothing.state, nothing.progress.written) == (JobState.DONE, 0)


QUERIES: dict[str, tuple[dict[str, Any], Callable[[int], bool]]] = {
    "all": ({}, lambda n: True),
    "equality": ({"where": {"field": "even", "op": "==", "value": True}}, lambda n: n % 2 == 0),
    "range": ({"where": {"field": "n", "op": ">=", "value": 30}}, lambda n: n >= 30),
    "or": (
        {
            "where": {
                "or": [
                    {"field": "n", "op": "<", "value": 5},
                    {"field": "n", "op": "in", "value": [40, 41]},
                ]
            }
        },
        lambda n: n < 5 or n in (40, 41),
    ),
}


@pytest.mark.parametrize("name", QUERIES)
async def test_every_document_of_the_query_is_updated_once(
    shared: World, room: str, name: str
) -> None:
    """Also where the update changes what the query asks for."""
    await fill(shared, room, 55)
    members, is_meant = QUERIES[name]
    job = await over(
        shared, await update(shared, {"query": {"collection": room, **members}, "update": ADD_ONE})
    )
    assert job.state is JobState.DONE
    assert job.progress.written == sum(map(is_meant, range(55)))
    assert job.progress.total == job.progress.seen
    found = await fields_in(shared, room)
    assert [one["n"] for one in found.values()] == [n + 1000 * is_meant(n) for n in range(55)]


async def test_a_job_goes_on_without_a_total_that_takes_too_long(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(shared, room, 3)

    async def count(*_: object) -> int:
        raise DeadlineExceeded("counting took too long", reason="QueryTooSlow")

    monkeypatch.setattr(ReadSnapshot, "count", count)
    job = await over(
        shared, await update(shared, {"query": {"collection": room}, "update": ADD_ONE})
    )
    assert job.state is JobState.DONE
    assert (job.progress.total, job.progress.written) == (None, 3)


async def test_a_collection_group_is_updated(shared: World, room: str) -> None:
    await put(shared, f"a/1/{room}/x", f"b/2/{room}/y", f"{room}/z", f"a/1/{room}2/no")
    query = {"collection": room, "group": True}
    asked = {"query": query, "update": {"fields": {"m.k": 1}, "delete": ["n"]}}
    job = await over(shared, await update(shared, asked))
    assert job.progress.written == 3
    assert await fields_in(shared, f"b/2/{room}") == {"y": {"m": {"k": 1}}}


async def test_what_cannot_be_updated_is_told(shared: World, room: str) -> None:
    await fill(shared, room, 30)
    large: Fields = {"text": "x" * 600_000}
    await commit(
        shared.context, OPERATOR, NAME, [SetWrite(DocumentPath.parse(f"{room}/007"), large)]
    )
    asked = {"query": {"collection": room}, "update": {"fields": {"more": "x" * 500_000}}}
    job = await over(shared, await update(shared, asked))
    assert (job.progress.seen, job.progress.written, job.progress.failed) == (30, 29, 1)
    assert job.progress.first_failure is not None
    assert job.progress.first_failure["path"] == f"{room}/007"
    assert job.progress.first_failure["reason"] == "DocumentTooLarge"


async def test_a_chunk_is_done_once_though_its_end_is_not_noted(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the server dies between a chunk and the note of it: again and again."""
    await fill(shared, room, 55)
    save, calls = Jobs.save, 0

    async def lose(self: Jobs, job: Job, *rest: Any) -> Job | None:
        nonlocal calls
        calls += 1
        if calls % 3:
            raise Unavailable("lost")
        return await save(self, job, *rest)

    monkeypatch.setattr(Jobs, "save", lose)
    monkeypatch.setattr(job_runner, "PAUSE_SECONDS_MAX", 0.0)
    job = await over(
        shared, await update(shared, {"query": {"collection": room}, "update": ADD_ONE})
    )
    assert calls >= 9
    assert (job.progress.seen, job.progress.written) == (55, 55)
    assert [one["n"] for one in (await fields_in(shared, room)).values()] == [
        n + 1000 for n in range(55)
    ]


async def test_a_job_can_be_cancelled(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(shared, room, 55)
    gate = asyncio.Event()
    run_chunk = jobs.run_chunk

    async def slow(*arguments: Any) -> Any:
        await gate.wait()
        return await run_chunk(*arguments)

    monkeypatch.setattr(job_runner, "run_chunk", slow)
    job = await delete(shared, room)
    cancelled = await jobs.cancel_job(shared.context, OPERATOR, "demo", job.id)
    gate.set()
    assert cancelled.state is JobState.CANCELLED
    await asyncio.sleep(0.1)
    assert len(await fields_in(shared, room)) in (55, 55 - CHUNK)
    with pytest.raises(FailedPrecondition) as caught:
        await jobs.cancel_job(shared.context, OPERATOR, "demo", job.id)
    assert caught.value.reason == "JobIsOver"
    listed = await jobs.list_jobs(shared.context, OPERATOR, "demo")
    assert listed[0].id == job.id


async def test_a_database_that_was_replaced_is_left_alone(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(shared, room, 3)
    database = await shared.context.databases.open(NAME)
    with monkeypatch.context() as patch:
        patch.setattr(database, "incarnation", "another")
        job = await delete(shared, room)
    # The job was made for what is there no longer.
    job = await over(shared, job)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.startswith("DatabaseReplaced")
    assert len(await fields_in(shared, room)) == 3


async def test_who_may_and_what_is_refused(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"query": {"collection": room}, "update": ADD_ONE}
    made = await delete(shared, room)
    for caller in (ADA, ANONYMOUS):
        with pytest.raises(PermissionDenied):
            await jobs.start_deletion(shared.context, caller, NAME, decode_subtree(room))
        with pytest.raises(PermissionDenied):
            await update(shared, asked, caller)
        with pytest.raises(PermissionDenied):
            await jobs.list_jobs(shared.context, caller, "demo")
        for call in (jobs.get_job, jobs.cancel_job):
            with pytest.raises(PermissionDenied):
                await call(shared.context, caller, "demo", made.id)
    near = {"near": {"field": "at", "center": {"$geo": [1, 2]}}}
    orders = {"order_by": [{"field": "n"}]}
    for more in ({"limit": 1}, {"offset": 1}, orders, {"select": ["n"]}, near):
        with pytest.raises(InvalidQuery):
            await update(shared, {"query": {"collection": room, **more}, "update": ADD_ONE})
    for identifier in ("x", "../x", "", "x" * 300):
        with pytest.raises(NotFound):
            await jobs.get_job(shared.context, OPERATOR, "demo", identifier)
    monkeypatch.setattr(records, "RUNNING_MAX", 0)
    with pytest.raises(FailedPrecondition) as caught:
        await delete(shared, room)
    assert caught.value.reason == "TooManyJobs"


async def test_secret_keys_know_of_their_own_jobs_alone(shared: World, room: str) -> None:
    of_admin = await over(shared, await delete(shared, room))
    await fill(shared, room, 3)
    asked = {"query": {"collection": room}, "update": ADD_ONE}
    mine = await over(shared, await update(shared, asked, SECRET))
    assert (mine.state, mine.progress.written) == (JobState.DONE, 3)
    another = replace(SECRET, session="another-key")
    assert mine == await jobs.get_job(shared.context, another, "demo", mine.id)
    listed = {job.id for job in await jobs.list_jobs(shared.context, SECRET, "demo")}
    assert mine.id in listed
    assert of_admin.id not in listed
    for call in (jobs.get_job, jobs.cancel_job):
        with pytest.raises(NotFound) as caught:
            await call(shared.context, SECRET, "demo", of_admin.id)
        with pytest.raises(NotFound) as missing:
            await call(shared.context, SECRET, "demo", "missing")
        told, of_none = caught.value.message, missing.value.message
        assert told.replace(of_admin.id, "missing") == of_none
        assert caught.value.reason == missing.value.reason == "JobNotFound"


async def test_a_job_that_is_asked_for_twice_is_begun_once(shared: World, room: str) -> None:
    await fill(shared, room, 3)
    asked = {"query": {"collection": room}, "update": ADD_ONE}
    made = await asyncio.gather(*(update(shared, asked, SECRET, key=room) for _ in range(3)))
    assert len({job.id for job in made}) == 1
    await over(shared, made[0])
    again = await update(shared, asked, SECRET, key=room)
    assert (again.id, again.state) == (made[0].id, JobState.DONE)
    assert [one["n"] for one in (await fields_in(shared, room)).values()] == [1000, 1001, 1002]
    with pytest.raises(FailedPrecondition) as caught:
        await update(shared, {**asked, "update": {"fields": {"n": 1}}}, SECRET, key=room)
    assert caught.value.reason == "IdempotencyKeyReused"
    of_admin = await over(shared, await update(shared, asked, key=room))
    assert of_admin.id != made[0].id
    assert of_admin.progress.written == 3


async def test_jobs_that_are_over_are_forgotten_at_last(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "KEPT_MAX", 3)
    made = [(await over(shared, await delete(shared, room))).id for _ in range(5)]
    listed = [job.id for job in await jobs.list_jobs(shared.context, OPERATOR, "demo")]
    assert listed == made[:1:-1]


async def test_another_node_goes_on_with_what_a_dead_one_left(shared: World, room: str) -> None:
    """Which is told by its claim, that runs out."""
    await fill(shared, room, 5)
    context = shared.context
    database: Database = await context.databases.open(NAME)
    later = Jobs(context.databases, _Later(0), node="other")
    job = await later.create(
        database, records.JobKind.DELETE_RECURSIVE, f'{{"path":"{room}"}}', author=None, total=5
    )
    assert await context.jobs.claim("demo", job.id) is None
    assert await _claimed_later(context.jobs, job) is not None
    context.jobs.on_created(job)
    assert (await over(shared, job)).state is JobState.DONE
    assert await later.save(job, job.progress) is None  # it is not its own any more


class _Later(SystemClock):
    """A clock that is ahead."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._ahead = round(seconds * 1_000_000)

    def now_microseconds(self) -> int:
        return super().now_microseconds() + self._ahead


async def _claimed_later(known: Jobs, job: Job) -> Job | None:
    known._clock = _Later(records.CLAIM_SECONDS + 1)
    try:
        return await known.claim(job.project, job.id)
    finally:
        known._clock = SystemClock()


async def test_jobs_go_on_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_chunk, chunks, is_stopped = jobs.run_chunk, 0, asyncio.Event()

    async def stop_after_two(*arguments: Any) -> Any:
        nonlocal chunks
        chunks += 1
        if chunks > 2:
            is_stopped.set()
            await asyncio.Event().wait()  # until the server ends
        return await run_chunk(*arguments)

    async with open_world(tmp_path / "data") as world:
        await fill(world, "a", 90)
        monkeypatch.setattr(job_runner, "run_chunk", stop_after_two)
        job = await update(world, {"query": {"collection": "a"}, "update": ADD_ONE})
        await is_stopped.wait()
    monkeypatch.setattr(job_runner, "run_chunk", run_chunk)
    async with _reopened(tmp_path / "data") as world:
        job = await over(world, job)
        assert (job.state, job.progress.seen) == (JobState.DONE, 90)
        assert [one["n"] for one in (await fields_in(world, "a")).values()] == [
            n + 1000 for n in range(90)
        ]


@asynccontextmanager
async def _reopened(data: Path) -> AsyncIterator[World]:
    async with started_app(make_settings(data)) as app:
        yield World(app, app.context)
