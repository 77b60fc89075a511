"""Jobs of the server's own, by both clients against a scripted server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from baas_sdk import DELETE_FIELD, Increment, JobFailure, JobState, errors

from tests.sdk.faces import Face, OpenFace
from tests.sdk.peer import TIME, Peer, Received, Reply, error_reply

DOCUMENTS = "/api/v1/projects/demo/databases/(default)/documents"
JOBS = "/api/v1/projects/demo/jobs"


def job(state: str = "running", **told: Any) -> dict[str, Any]:
    progress = {"seen": 0, "written": 0, "failed": 0, "total": 4, "first_failure": None}
    return {
        "id": "j1",
        "kind": "delete-recursive",
        "database": "(default)",
        "asked": {},
        "state": state,
        "error": told.pop("error", None),
        "author": "secret-key:k1",
        "created": TIME,
        "updated": TIME,
        "progress": progress | told,
    }


async def test_recursive_delete_waits_and_tells_how_many(peer: Peer, face: Face) -> None:
    states = [job(), job(seen=2, written=2), job("done", seen=4, written=4)]
    peer.reply(*(Reply(json=state) for state in states))
    seen: list[tuple[int, float | None]] = []
    deleted = await face.call(
        face.client.recursive_delete,
        face.client.collection("rooms/lobby/people"),
        progress=lambda told: seen.append((told.progress.written, told.progress.fraction)),
    )
    assert deleted == 4
    assert seen == [(2, 0.5), (4, 1.0)]
    begun, *asked = peer.requests
    assert (begun.method, begun.path) == ("POST", f"{DOCUMENTS}:delete-recursive")
    assert begun.json() == {"path": "rooms/lobby/people"}
    assert [(one.method, one.path) for one in asked] == [("GET", f"{JOBS}/j1")] * 2


async def test_a_start_that_is_sent_again_carries_the_same_key(peer: Peer, face: Face) -> None:
    peer.reply(error_reply(503, "UNAVAILABLE"), Reply(status=202, json=job()))
    for number in range(2):
        if number:
            peer.reply(Reply(status=202, json=job()))
        await face.call(face.client.start_recursive_delete, face.client.document("a/x"))
    first, again, other = [one.headers["idempotency-key"] for one in peer.requests]
    assert first == again != other


async def test_an_update_by_query_says_what_update_says(peer: Peer, face: Face) -> None:
    peer.reply(Reply(status=202, json=job()))
    query = face.client.collection_group("numbers").where("square", ">=", 4)
    changes = {"a.b": 1, "gone": DELETE_FIELD, "n": Increment(1)}
    begun = await face.call(face.client.start_update_by_query, query, changes)
    assert (begun.id, begun.state, begun.database) == ("j1", JobState.RUNNING, "(default)")
    assert peer.requests[0].path == f"{DOCUMENTS}:update-by-query"
    assert peer.requests[0].json() == {
        "query": {
            "collection": "numbers",
            "group": True,
            "where": {"field": "square", "op": ">=", "value": 4},
        },
        "update": {
            "fields": {"a.b": 1},
            "delete": ["gone"],
            "transforms": [{"field": "n", "increment": 1}],
        },
    }


async def test_how_a_job_ended_is_raised(peer: Peer, face: Face) -> None:
    for state, kind, reason in (
        ("failed", errors.FailedPrecondition, "JobFailed"),
        ("cancelled", errors.Cancelled, "JobCancelled"),
    ):
        peer.reply(Reply(json=job(state, error="DatabaseReplaced: it was")))
        found = await face.call(face.client.get_job, "j1")
        with pytest.raises(kind) as caught:
            await face.call(found.wait)
        assert caught.value.reason == reason


async def test_documents_that_could_not_be_updated_are_told(peer: Peer, face: Face) -> None:
    failure = {"path": "a/x", "reason": "DocumentTooLarge", "message": "m"}
    peer.reply(Reply(json=job("done", seen=4, written=3, failed=1, first_failure=failure)))
    found = await face.call(face.client.get_job, "j1")
    progress = (await face.call(found.wait)).progress
    assert (progress.written, progress.failed) == (3, 1)
    assert progress.first_failure == JobFailure("a/x", "DocumentTooLarge", "m")


async def test_waiting_ends_with_its_time_and_the_job_goes_on(peer: Peer, face: Face) -> None:
    peer.reply(lambda received: Reply(json=job()))
    found = await face.call(face.client.get_job, "j1")
    with pytest.raises(errors.DeadlineExceeded):
        await face.call(found.wait, timeout=0.01)
    assert {one.method for one in peer.requests} == {"GET"}


async def test_an_exception_out_of_progress_ends_the_waiting(peer: Peer, face: Face) -> None:
    def stop(told: object) -> None:
        raise ZeroDivisionError

    peer.reply(Reply(json=job()), Reply(json=job()))
    with pytest.raises(ZeroDivisionError):
        await face.call(face.client.recursive_delete, face.client.document("a/x"), progress=stop)
    assert len(peer.requests) == 2


async def test_progress_may_be_a_coroutine_function(peer: Peer, open_face: OpenFace) -> None:
    face = open_face(peer.url, is_async=True)
    heard: list[str] = []

    async def progress(told: Any) -> None:
        await asyncio.sleep(0)
        heard.append(told.id)

    peer.reply(Reply(json=job()), Reply(json=job("done")))
    await face.client.recursive_delete(face.client.document("a/x"), progress=progress)
    assert heard == ["j1"]


async def test_cancel_and_list(peer: Peer, face: Face) -> None:
    def answer(received: Received) -> Reply:
        if received.path == JOBS:
            return Reply(json={"jobs": [job(), job("done")]})
        return Reply(json=job("cancelled", written=1))

    peer.reply(answer)
    first, second = await face.call(face.client.list_jobs)
    assert (first.state, second.state) == (JobState.RUNNING, JobState.DONE)
    await face.call(first.cancel)
    assert (first.state, first.progress.written) == (JobState.CANCELLED, 1)
    assert peer.requests[-1].path == f"{JOBS}/j1:cancel"


async def test_a_refused_cancel_is_raised_and_not_sent_again(peer: Peer, face: Face) -> None:
    peer.reply(Reply(json=job()), error_reply(503, "UNAVAILABLE"))
    found = await face.call(face.client.get_job, "j1")
    with pytest.raises(errors.Unavailable):
        await face.call(found.cancel)
    assert len(peer.requests) == 2


async def test_what_is_no_reference_query_or_id_is_not_sent(
    peer: Peer, face: Face, open_face: OpenFace
) -> None:
    client = face.client
    other = open_face(peer.url, is_async=face.is_async, database="other").client
    people = client.collection("people")
    wrong: list[tuple[Any, tuple[Any, ...]]] = [
        (client.recursive_delete, ("people",)),
        (client.recursive_delete, (people.where("a", "==", 1),)),
        (client.recursive_delete, (client.collection_group("people"),)),
        (client.recursive_delete, (other.document("a/x"),)),
        (client.recursive_delete, (other.collection("a"),)),
        (client.start_update_by_query, (people.document("x"), {"a": 1})),
        (client.start_update_by_query, (other.collection("a"), {"a": 1})),
        (client.start_update_by_query, (people, {})),
        (client.get_job, ("",)),
        (client.get_job, ("a/b",)),
        (client.get_job, (None,)),
    ]
    for method, arguments in wrong:
        with pytest.raises(errors.InvalidArgument):
            await face.call(method, *arguments)
    assert peer.requests == []


async def test_an_answer_of_another_form_is_told(peer: Peer, face: Face) -> None:
    for tree in ({}, job("asleep"), {**job(), "progress": None}):
        peer.reply(Reply(json=tree))
        with pytest.raises(errors.Internal):
            await face.call(face.client.get_job, "j1")
