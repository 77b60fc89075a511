"""Erasing every document of a query, as a job, and the list of what was erased; on both engines."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from baas.database.erasing import Eraser
from baas.errors import InvalidArgument, InvalidQuery, PermissionDenied, Unavailable
from baas.model.paths import DocumentPath
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.projects.erasures import Erasure
from baas.projects.jobs import Job, JobState
from baas.services import erasing_jobs, erasures, job_pages, job_runner, jobs
from baas.services.caller import Caller
from baas.services.documents import commit, get_document
from baas.services.erasing_jobs import EraseByQuery
from baas.wire.queries import decode_query
from tests.baas.services.worlds import ADA, NAME, OPERATOR, SECRET, World, over

pytestmark = pytest.mark.asyncio(loop_scope="module")
CHUNK = 20


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_pages, "CHUNK_DOCUMENTS_MAX", CHUNK)


async def write(world: World, *writes: Write) -> None:
    await commit(world.context, OPERATOR, NAME, list(writes))


def at(room: str, number: int) -> DocumentPath:
    return DocumentPath((room, f"{number:03}"))


async def fill(world: World, room: str, count: int) -> None:
    """Documents of two versions each."""
    for text in ("s3cret", "later"):
        await write(
            world,
            *(SetWrite(at(room, n), {"odd": n % 2, "text": text}) for n in range(count)),
        )


async def start(
    world: World,
    tree: dict[str, Any],
    *,
    present: bool = False,
    deleted: bool = False,
    caller: Caller = OPERATOR,
) -> Job:
    asked = EraseByQuery(decode_query(tree), present, deleted, rewrite=False)
    return await jobs.start_erasure(world.context, caller, NAME, asked, tree)


async def past_of(world: World, path: DocumentPath) -> list[bool]:
    """Of each superseded image, whether it was erased."""
    database = await world.context.databases.open(NAME)
    async with database.snapshot() as snapshot:
        found = await snapshot.read_history(path, below=2**62, limit=10)
    return [one.is_erased for one in found]


async def list_page(world: World, size: int, token: str | None) -> tuple[list[Erasure], str | None]:
    page = await erasures.list_erasures(
        world.context, OPERATOR, NAME, page_size=size, page_token=token
    )
    return page.erasures, page.next_page_token


def odd(room: str) -> dict[str, Any]:
    return {"collection": room, "where": {"field": "odd", "op": "==", "value": 1}}


@pytest.mark.parametrize("present", [False, True])
async def test_what_documents_of_the_query_were_is_erased(
    shared: World, room: str, present: bool
) -> None:
    await fill(shared, room, 90)
    job = await over(shared, await start(shared, odd(room), present=present))
    progress = job.progress
    assert job.state is JobState.DONE
    assert (progress.seen, progress.written, progress.total) == (45, 45, 45)
    assert progress.images == 45 * (2 if present else 1)
    assert progress.chunks == 3 + 1  # and what was deleted meanwhile
    database = await shared.context.databases.open(NAME)
    found = await database.get_documents([at(room, n) for n in range(90)])
    assert [one is None for one in found] == [present and n % 2 == 1 for n in range(90)]
    for n in (0, 1, 88, 89):
        erased = await past_of(shared, at(room, n))
        assert erased == ([True] * (2 if present else 1) if n % 2 else [False])
    (listed, *_), _ = await list_page(shared, 5, None)
    assert (listed.id, listed.author, listed.path) == (job.id, "operator", None)
    assert (listed.documents, listed.images, listed.present) == (45, progress.images, present)
    assert '"odd"' in (listed.query or "")


@pytest.mark.parametrize("present", [False, True])
async def test_what_deleted_documents_were_is_erased_if_it_matches(
    shared: World, room: str, present: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing_jobs, "_SCANNED_MAX", 30)
    monkeypatch.setattr(erasing_jobs, "_LOG_PAGE", 7)
    await fill(shared, room, 60)
    below = f"{room}/000/{room}"
    await write(shared, SetWrite(DocumentPath.parse(f"{below}/deep"), {"odd": 1}))
    await write(shared, *(DeleteWrite(at(room, n)) for n in range(20, 60)))
    await write(shared, DeleteWrite(DocumentPath.parse(f"{below}/deep")))
    await write(shared, SetWrite(at(room, 21), {"odd": 0}))  # there again, and does not match
    job = await over(shared, await start(shared, odd(room), present=present, deleted=True))
    assert job.state is JobState.DONE
    assert (job.progress.written, job.progress.total) == (10 + 19, None)
    assert job.progress.images == 10 * (2 if present else 1) + 19 * 2
    for n in (1, 19):
        assert all(await past_of(shared, at(room, n)))
    for n in (23, 59):
        assert await past_of(shared, at(room, n)) == [True, True]
    for n in (20, 21, 58):
        assert await past_of(shared, at(room, n)) == [False, False]
    assert await past_of(shared, DocumentPath.parse(f"{below}/deep")) == [False]
    group = {**odd(room), "group": True}
    job = await over(shared, await start(shared, group, deleted=True))
    assert job.progress.written == (1 if present else 10 + 1)
    assert await past_of(shared, DocumentPath.parse(f"{below}/deep")) == [True]


async def test_documents_that_do_not_match_any_more_are_left(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The query looks at each document of the collection; what changes meanwhile is looked at
    again."""
    await fill(shared, room, 3)
    read_page = job_pages.read_page

    async def change(*arguments: Any) -> Any:
        page = await read_page(*arguments)
        await write(shared, SetWrite(at(room, 0), {"odd": 7}), DeleteWrite(at(room, 1)))
        return page

    monkeypatch.setattr("baas.services.erasing_jobs.read_page", change)
    tree = {"collection": room, "where": {"field": "odd", "op": "<", "value": 5}}
    job = await over(shared, await start(shared, tree, present=True))
    assert (job.progress.seen, job.progress.written) == (3 + 1, 2)
    assert await past_of(shared, at(room, 0)) == [False, False]
    assert await past_of(shared, at(room, 1)) == [True, True]  # it matched until it was deleted
    assert await past_of(shared, at(room, 2)) == [True, True]


@pytest.mark.parametrize("present", [False, True])
async def test_what_others_delete_before_the_job_comes_to_it_is_erased(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch, present: bool
) -> None:
    """The query matched it when it was asked; it was gone when its chunk was read, and its past
    stayed."""
    await fill(shared, room, 2 * CHUNK)
    await write(shared, DeleteWrite(at(room, 1)))  # before: what `deleted` is for
    gate, run_chunk = asyncio.Event(), jobs.run_chunk

    async def wait(*arguments: Any) -> Any:
        await gate.wait()
        return await run_chunk(*arguments)

    monkeypatch.setattr(job_runner, "run_chunk", wait)
    job = await start(shared, odd(room), present=present)
    gone = (3, 2 * CHUNK - 1)
    await write(shared, *(DeleteWrite(at(room, n)) for n in gone))
    gate.set()
    job = await over(shared, job)
    assert job.state is JobState.DONE
    for n in gone:
        assert await past_of(shared, at(room, n)) == [True, True]
    assert await past_of(shared, at(room, 1)) == [False, False]
    assert job.progress.written == CHUNK - 1


async def test_nothing_is_left_though_it_is_forgotten_what_a_chunk_has_deleted(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was deleted, and the server stood still for longer than answers are kept."""
    await fill(shared, room, CHUNK + 5)
    database = await shared.context.databases.open(NAME)
    erase, calls = Eraser.erase, 0

    async def fail_once(self: Eraser, paths: Any) -> list[int]:
        nonlocal calls
        calls += 1
        if calls == 1:
            while await database._engine.forget_requests(limit=1_000):
                pass
            raise Unavailable("lost")
        return await erase(self, paths)

    monkeypatch.setattr(Eraser, "erase", fail_once)
    monkeypatch.setattr(job_runner, "PAUSE_SECONDS_MAX", 0.0)
    job = await over(shared, await start(shared, {"collection": room}, present=True))
    assert job.state is JobState.DONE
    assert job.progress.written == CHUNK + 5
    for n in range(CHUNK + 5):
        assert await past_of(shared, at(room, n)) == [True, True]


async def test_nothing_is_left_though_it_breaks_off_between_deleting_and_erasing(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The query finds nothing of what was deleted already."""
    await fill(shared, room, 50)
    erase, calls = Eraser.erase, 0

    async def fail(self: Eraser, paths: Any) -> list[int]:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise Unavailable("lost")
        return await erase(self, paths)

    monkeypatch.setattr(Eraser, "erase", fail)
    monkeypatch.setattr(job_runner, "PAUSE_SECONDS_MAX", 0.0)
    job = await over(shared, await start(shared, {"collection": room}, present=True))
    assert calls == 2 * (3 + 1)
    assert (job.progress.seen, job.progress.written, job.progress.images) == (50, 50, 100)
    for n in range(50):
        assert await past_of(shared, at(room, n)) == [True, True]


@pytest.mark.parametrize("by_query", [False, True])
async def test_no_explained_denial_shows_what_was_erased(
    shared: World, room: str, by_query: bool
) -> None:
    """They tell what rules looked at, with its values."""
    await fill(shared, room, 2)
    await shared.deploy(f"match /{room}/{{id}} {{ allow get: if resource.data.text == 'x'; }}")
    traces = shared.context.denials
    with pytest.raises(PermissionDenied) as denied:
        await get_document(shared.context, ADA, NAME, at(room, 1))
    traces.note("1", denied.value)
    assert any(b"later" in one.trace.explanation for one in traces.newest("demo"))
    if by_query:
        await over(shared, await start(shared, odd(room)))
    else:
        await erasures.erase_documents(shared.context, OPERATOR, NAME, [at(room, 1)], present=False)
    assert list(traces.newest("demo")) == []
    assert traces.counts("demo").denied > 0


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_what_was_erased_before_a_job_broke_off_goes_from_files_too(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Files were cleaned at the end of a job only."""
    await fill(shared, room, 2 * CHUNK)
    run_chunk, scrub, cleaned = jobs.run_chunk, Eraser.scrub, asyncio.Event()

    async def break_off(context: Any, database: Any, job: Job, read: Any) -> Any:
        if job.progress.chunks:
            raise InvalidArgument("a defect")
        made = await run_chunk(context, database, job, read)
        if how == "cancelled":
            await jobs.cancel_job(context, OPERATOR, "demo", job.id)
        return made

    async def note(self: Eraser, *, rewrite: bool = False) -> bool:
        is_done = await scrub(self, rewrite=rewrite)
        cleaned.set()
        return is_done

    monkeypatch.setattr(job_runner, "run_chunk", break_off)
    monkeypatch.setattr(Eraser, "scrub", note)
    job = await over(shared, await start(shared, {"collection": room}))
    assert job.state.value == how
    async with asyncio.timeout(90):
        await cleaned.wait()
    assert await past_of(shared, at(room, 0)) == [True]
    assert await past_of(shared, at(room, CHUNK)) == [False]


async def test_an_erasure_that_was_cancelled_is_on_record_as_broken_off(
    shared: World, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(shared, room, 3)
    gate = asyncio.Event()

    async def wait(*arguments: Any) -> Any:
        await gate.wait()
        raise Unavailable("lost")

    monkeypatch.setattr(job_runner, "run_chunk", wait)
    job = await start(shared, {"collection": room})
    (begun, *_), _ = await list_page(shared, 1, None)
    assert (begun.id, begun.images, begun.documents) == (job.id, None, 0)
    await jobs.cancel_job(shared.context, OPERATOR, "demo", job.id)
    gate.set()
    (ended, *_), _ = await list_page(shared, 1, None)
    assert (ended.id, ended.images) == (job.id, None)
    assert await past_of(shared, at(room, 0)) == [False]


async def test_who_may_and_what_is_refused(shared: World, room: str) -> None:
    for caller in (ADA, SECRET):
        with pytest.raises(PermissionDenied):
            await start(shared, {"collection": room}, caller=caller)
    near = {"near": {"field": "at", "center": {"$geo": [1, 2]}}}
    for member in ({"limit": 3}, {"order_by": [{"field": "n"}]}, {"select": ["n"]}, near):
        with pytest.raises(InvalidQuery, match="an erasure by query takes"):
            await start(shared, {"collection": room, **member})


async def test_erasures_are_listed_in_pages(shared: World, room: str) -> None:
    await fill(shared, room, 7)
    for n in range(0, 7, 2):  # of one request, at one time
        named = [at(room, n), at(room, n + 1)]
        await erasures.erase_documents(shared.context, OPERATOR, NAME, named, present=False)
    whole, token = await list_page(shared, 1_000, None)
    assert token is None
    times = [one.time.microseconds for one in whole]
    assert times == sorted(times, reverse=True)
    found: list[Erasure] = []
    while True:
        page, token = await list_page(shared, 3, token)
        found += page
        if token is None:
            break
        assert len(page) == 3
    assert found == whole
    paths = [one.path for one in whole if (one.path or "").startswith(room)]
    assert sorted(filter(None, paths)) == [str(at(room, n)) for n in range(8)]


@pytest.mark.parametrize("token", ["", "x", "1-", "1-a/b", f"{10**20}-a", "-1-a", "1-a\n"])
async def test_a_token_of_another_list_is_refused(shared: World, token: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await list_page(shared, 3, token)
    assert refused.value.reason == "InvalidPageToken"
