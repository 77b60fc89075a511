"""Deployments of schemas: nothing is stored that nobody has looked at, whenever it is written; as
jobs that go on, tell how far they are, and can be cancelled; on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from baas.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResumeTokenExpired,
)
from baas.model.paths import DocumentPath
from baas.model.writes import SetWrite
from baas.projects.jobs import Job, JobState
from baas.projects.schema_releases import SchemaDeployment
from baas.services import jobs, schema_deployments, schemas
from baas.services.documents import commit
from baas.services.schema_deployments import deploy_schemas, start_deployment
from tests.baas.services.worlds import ADA, NAME, OPERATOR, SECRET, World

pytestmark = pytest.mark.asyncio(loop_scope="module")
STEP = schema_deployments._Step


def put(path: str, **fields: Any) -> SetWrite:
    return SetWrite(DocumentPath.parse(path), fields)


async def write(world: World, *writes: SetWrite) -> None:
    await commit(world.context, OPERATOR, NAME, writes)


async def deploy(world: World, *sources: dict[str, Any], allow_existing: bool = False) -> str:
    made = await deploy_schemas(
        world.context,
        OPERATOR,
        "demo",
        list(sources),
        SchemaDeployment(),
        allow_existing=allow_existing,
    )
    return made.note.id


async def start(world: World, *sources: dict[str, Any], **more: Any) -> Job:
    return await start_deployment(
        world.context, OPERATOR, "demo", list(sources), SchemaDeployment(), **more
    )


async def over(world: World, job: Job) -> Job:
    async with asyncio.timeout(90):
        while job.state is JobState.RUNNING:
            await asyncio.sleep(0.01)
            job = await jobs.get_job(world.context, OPERATOR, "demo", job.id)
    return job


async def in_force(world: World) -> list[dict[str, Any]]:
    return (await schemas.get_schemas(world.context, OPERATOR, "demo")).sources


def before(
    patch: pytest.MonkeyPatch, phase: str, act: Callable[[Any], Awaitable[object]]
) -> list[str]:
    """Has something done once, right before a job enters a phase."""
    original = getattr(STEP, phase)
    done: list[str] = []

    async def act_once(step: Any) -> bool:
        if not done:
            done.append(phase)
            await act(step)
        result: bool = await original(step)
        return result

    patch.setattr(STEP, phase, act_once)
    return done


AGED = {"required": ["age"]}
UNIQUE = {"x-unique": [["k"]]}


@pytest.mark.parametrize("phase", ["_follow", "_hold"])
@pytest.mark.parametrize("kind", [AGED, UNIQUE], ids=["fields", "unique"])
async def test_a_write_between_the_check_and_the_release_is_looked_at(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch, phase: str, kind: dict[str, Any]
) -> None:
    await deploy(shared)
    await write(shared, put(f"{room}/a", age=1, k=1), put(f"{room}/b", age=1, k=2))
    with monkeypatch.context() as patch:
        done = before(patch, phase, lambda step: write(shared, put(f"{room}/b", k=1)))
        with pytest.raises(FailedPrecondition) as caught:
            await deploy(shared, {"x-collection": room, **kind})
    assert done
    assert caught.value.reason == "ExistingViolations"
    (found,) = (caught.value.details or {})["found"]
    assert (found["database"], found["document"]) == ("(default)", f"{room}/b")
    assert await in_force(shared) == []
    await write(shared, put(f"{room}/c", k=1))  # nobody is bound by what was not deployed


async def test_writers_obey_while_the_rest_is_looked_at(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deploy(shared, {"x-collection": room, "properties": {"name": {"type": "string"}}})
    await write(shared, put(f"{room}/a", age=1, k=1, name="A"))

    async def try_all(step: Any) -> None:
        with pytest.raises(InvalidArgument):  # of the draft
            await write(shared, put(f"{room}/b", k=2))
        with pytest.raises(AlreadyExists):
            await write(shared, put(f"{room}/b", age=1, k=1))
        with pytest.raises(InvalidArgument):  # of what is in force
            await write(shared, put(f"{room}/b", age=1, k=2, name=5))
        await write(shared, put(f"{room}/b", age=1, k=2))
        with pytest.raises(FailedPrecondition) as caught:
            await deploy(shared)
        assert caught.value.reason == "DeploymentRunning"

    done = before(monkeypatch, "_verify", try_all)
    await deploy(shared, {"x-collection": room, **AGED, **UNIQUE})
    assert done
    await write(shared, put(f"{room}/c", age=1, k=3, name=5))  # that one is gone
    with pytest.raises(InvalidArgument):
        await write(shared, put(f"{room}/c", k=4))


async def test_what_the_log_has_forgotten_is_scanned_again(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deploy(shared)
    await write(shared, *[put(f"{room}/{n}", age=1) for n in range(5)])
    told: list[int] = []

    async def forgotten(database: Any, asked: Any, after: int) -> Any:
        told.append(after)
        raise ResumeTokenExpired("gone", reason="ResumeTokenExpired")

    monkeypatch.setattr(schema_deployments, "check_changed", forgotten)
    wanted = {"x-collection": room, **AGED}
    with monkeypatch.context() as patch:
        before(patch, "_hold", lambda step: write(shared, put(f"{room}/0")))
        with pytest.raises(FailedPrecondition):
            await deploy(shared, wanted)
    await write(shared, put(f"{room}/0", age=1))
    await deploy(shared, wanted)
    assert told


async def test_a_job_goes_on_from_what_is_written_down(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step knows nothing but the job's record, as another node would."""
    monkeypatch.setattr(schema_deployments, "STEP_SECONDS", 0)
    monkeypatch.setattr(schema_deployments, "CHECK_PAGE_MAX", 100)
    await deploy(shared)
    await write(shared, *[put(f"{room}/{n:03}", age=n) for n in range(450)])
    await write(shared, *[put(f"{room}/{n:03}") for n in (7, 200, 449)])
    wanted = {"x-collection": room, **AGED}
    dry = await over(shared, await start(shared, wanted, dry_run=True))
    assert (dry.state, dry.database, await in_force(shared)) == (JobState.DONE, None, [])
    progress = dry.progress
    assert (progress.seen, progress.failed, progress.total) == (450, 3, 450)
    assert progress.chunks > 4
    found = orjson.loads(dry.found)
    assert [one["document"] for one in found] == [f"{room}/007", f"{room}/200", f"{room}/449"]
    assert found[0]["violations"][0]["field"] == "age"
    failed = await over(shared, await start(shared, wanted))
    assert (failed.state, orjson.loads(failed.found)) == (JobState.FAILED, found)
    assert (failed.error or "").startswith("ExistingViolations: ")
    await write(shared, *[put(f"{room}/{n:03}", age=n) for n in (7, 200, 449)])
    done = await over(shared, await start(shared, wanted))
    assert (done.state, done.progress.failed, await in_force(shared)) == (
        JobState.DONE,
        0,
        [wanted],
    )


async def test_a_report_is_bounded(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema_deployments, "FOUND_MAX", 10)
    await deploy(shared)
    await write(shared, *[put(f"{room}/{n:03}") for n in range(30)])
    job = await over(shared, await start(shared, {"x-collection": room, **AGED}, dry_run=True))
    assert (job.progress.failed, len(orjson.loads(job.found))) == (30, 10)
    monkeypatch.setattr(schema_deployments, "FOUND_BYTES_MAX", 1)
    job = await over(shared, await start(shared, {"x-collection": room, **AGED}))
    assert (job.state, len(orjson.loads(job.found))) == (JobState.FAILED, 1)


@pytest.mark.parametrize("phase", ["_scan", "_hold", "_verify"])
async def test_a_cancelled_job_leaves_everything_as_it_was(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    await deploy(shared)
    await write(shared, put(f"{room}/a", age=1))
    reached, may_go_on = asyncio.Event(), asyncio.Event()

    async def wait(step: Any) -> None:
        reached.set()
        await may_go_on.wait()

    wanted = {"x-collection": room, **AGED}
    with monkeypatch.context() as patch:
        before(patch, phase, wait)
        job = await start(shared, wanted)
        await reached.wait()
        job = await jobs.cancel_job(shared.context, OPERATOR, "demo", job.id)
        may_go_on.set()
        assert job.state is JobState.CANCELLED
        await write(shared, put(f"{room}/b"))
        assert await in_force(shared) == []
        await asyncio.sleep(0)
        assert (await over(shared, job)).state is JobState.CANCELLED
    with pytest.raises(FailedPrecondition):
        await deploy(shared, wanted)
    await write(shared, put(f"{room}/b", age=1))
    await deploy(shared, wanted)
    assert await in_force(shared) == [wanted]


async def test_a_request_that_takes_too_long_deploys_nothing(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deploy(shared)
    refused = asyncio.Event()
    before(monkeypatch, "_scan", lambda step: refused.wait())
    limits = shared.context.settings.limits
    object.__setattr__(limits, "schema_check_seconds_max", 0)
    try:
        with pytest.raises(FailedPrecondition) as caught:
            await deploy(shared, {"x-collection": room, **AGED})
    finally:
        object.__setattr__(limits, "schema_check_seconds_max", 30)
        refused.set()
    assert caught.value.reason == "CheckTooLong"
    assert await in_force(shared) == []
    await write(shared, put(f"{room}/a"))
    (job, *_) = await jobs.list_jobs(shared.context, OPERATOR, "demo")
    assert job.state is JobState.CANCELLED


async def test_databases_that_are_made_meanwhile_are_bound_too(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await deploy(shared)
    context, identifier = shared.context, f"d-{room}"
    name = NAME.__class__("demo", identifier)

    async def make(step: Any) -> None:
        await context.projects.create_database("demo", identifier)
        with pytest.raises(InvalidArgument):
            await commit(context, OPERATOR, name, [put(f"{room}/a")])

    done = before(monkeypatch, "_verify", make)
    await deploy(shared, {"x-collection": room, **AGED})
    assert done
    with pytest.raises(InvalidArgument):
        await commit(context, OPERATOR, name, [put(f"{room}/a")])


def _named(collection: str) -> dict[str, Any]:
    return {"x-collection": collection}


async def test_differences(shared: World, room: str) -> None:
    context = shared.context
    kept, old, new = [_named(f"{room}{n}") for n in "abc"]
    first = await deploy(shared, kept, old, {"x-collection": room, "type": "object"})
    wanted: list[dict[str, Any]] = [kept, new, {"type": "object", "x-collection": room, **AGED}]
    told = await schemas.diff_sources(context, OPERATOR, "demo", wanted, None)
    assert (told.old, told.new) == (first, None)
    diff = told.diff
    assert (diff.added, diff.changed, diff.removed) == ([f"{room}c"], [room], [f"{room}b"])
    assert f"--- {first}: {room}\n+++ to be deployed: {room}\n" in diff.text
    assert '+  "required": [\n+    "age"\n+  ],' in diff.text
    assert "+++ /dev/null" in diff.text
    second = await deploy(shared, *wanted, allow_existing=True)
    between = await schemas.diff_releases(context, OPERATOR, "demo", first, None)
    assert (between.old, between.new) == (first, second)
    assert between.diff.text == diff.text.replace("to be deployed", second)
    same = await schemas.diff_sources(context, OPERATOR, "demo", wanted, second)
    assert (same.diff.text, same.diff.changed) == ("", [])
    with pytest.raises(NotFound):
        await schemas.diff_releases(context, OPERATOR, "demo", "nothing", None)


async def test_only_administrators(shared: World) -> None:
    context = shared.context
    for caller in (ADA, SECRET):
        for asked in (
            start_deployment(context, caller, "demo", [], SchemaDeployment()),
            schemas.diff_sources(context, caller, "demo", [], None),
            schemas.diff_releases(context, caller, "demo", "none", None),
        ):
            with pytest.raises(PermissionDenied):
                await asked
