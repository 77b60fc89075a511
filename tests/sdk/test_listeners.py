"""Live queries of both clients, against a server whose end of the socket the test plays."""

from __future__ import annotations

import asyncio
import gc
import logging
import queue
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from baas_sdk import ChangeType, Client, _listen, _listener, errors

from tests.sdk.faces import Face, OpenFace
from tests.sdk.peer import (
    WAIT_SECONDS,
    ListenSession,
    Peer,
    Received,
    Reply,
    added,
    document,
    signed_in,
)

THEN = datetime(2026, 1, 1, tzinfo=UTC)
DENIED = {"code": "PERMISSION_DENIED", "reason": "PermissionDenied", "message": "no"}
EXPIRED = {"code": "UNAUTHENTICATED", "reason": "IdTokenExpired", "message": "old"}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_listen, "BACKOFF_SECONDS_FIRST", 0.001)
    monkeypatch.setattr(_listen, "BACKOFF_SECONDS_MAX", 0.01)


async def accept(peer: Peer, **welcome: Any) -> ListenSession:
    session = await asyncio.to_thread(peer.next_listen)
    await asyncio.to_thread(session.welcome, **welcome)
    return session


async def heard(session: ListenSession) -> Any:
    return await asyncio.to_thread(session.receive)


def names(snapshot: Any) -> list[str]:
    return [item.id for item in snapshot.documents]


async def test_a_query_is_listened_to(peer: Peer, face: Face) -> None:
    query = face.client.collection("c").where("a", "==", 1).order_by("b").limit(2)
    listener = query.listen()
    session = await asyncio.to_thread(peer.next_listen)
    assert await heard(session) == {"type": "hello", "token": None, "api_key": "baas_pk_x"}
    session.send(type="welcome", ping_seconds=30)
    request = await heard(session)
    assert request == {"type": "listen", "target": 1, "query": query._spec.encode()}
    session.send(type="added", target=1)
    session.snapshot(1, [added("c/x", 0, b=1)], reset=True, count=1)

    first = await face.next(listener)

    assert names(first) == ["x"]
    assert len(first) == 1
    assert [item.get("b") for item in first] == [1]
    assert first.read_time == THEN
    assert first.documents[0].reference == face.client.document("c/x")
    session.snapshot(
        1,
        [
            {"kind": "removed", "old_index": 0, "new_index": -1, "document": {"path": "c/x"}},
            added("c/y", 0, 2, b=2),
        ],
        version=2,
        count=1,
    )
    second = await face.next(listener)
    gone, new = second.changes
    assert (gone.type, gone.document.id, gone.old_index) == (ChangeType.REMOVED, "x", 0)
    assert (new.type, new.document.id, new.new_index) == (ChangeType.ADDED, "y", 0)
    await end(face, listener)
    assert await heard(session) is None


async def end(face: Face, listener: Any) -> None:
    listener.close()
    with pytest.raises(StopAsyncIteration):
        await face.next(listener)


async def test_a_document_is_listened_to(peer: Peer, face: Face) -> None:
    listener = face.client.document("c/x").listen()
    session = await accept(peer)
    assert await heard(session) == {"type": "listen", "target": 1, "documents": ["c/x"]}

    session.snapshot(1, [])
    missing = await face.next(listener)
    assert not missing.exists
    assert missing.id == "x"
    assert missing.read_time == THEN
    session.snapshot(1, [added("c/x", 0, n=1)], version=2)
    assert (await face.next(listener)).to_dict() == {"n": 1}
    change = {"kind": "modified", "old_index": 0, "new_index": 0, "document": document("c/x", 2)}
    session.snapshot(1, [change], version=3)
    assert (await face.next(listener)).to_dict() == {}
    session.snapshot(1, [{"kind": "removed", "old_index": 0, "new_index": -1}], version=4)
    assert not (await face.next(listener)).exists
    await end(face, listener)


async def test_listeners_share_one_connection(peer: Peer, face: Face) -> None:
    listeners = [face.client.collection(name).listen() for name in "ab"]
    session = await accept(peer)
    targets = {
        message["query"]["collection"]: message["target"]
        for message in [await heard(session), await heard(session)]
    }
    session.snapshot(targets["b"], [added("b/1", 0)])
    session.snapshot(targets["a"], [added("a/1", 0)])

    assert [names(await face.next(item)) for item in listeners] == [["1"], ["1"]]
    assert peer._listens.empty()
    for item in listeners:
        await end(face, item)


async def test_a_lost_connection_is_made_again(peer: Peer, face: Face) -> None:
    listener = face.client.collection("c").listen()
    session = await accept(peer)
    await heard(session)
    session.snapshot(1, [added("c/a", 0)], resume_token="r1")
    assert names(await face.next(listener)) == ["a"]
    session.snapshot(1, [added("c/half", 1)], final=False)
    session.close()

    session = await accept(peer)
    request = await heard(session)
    assert request["resume_token"] == "r1"
    session.snapshot(request["target"], [added("c/b", 1)], resume_token="r2")
    snapshot = await face.next(listener)
    assert names(snapshot) == ["a", "b"]
    assert [item.document.id for item in snapshot.changes] == ["b"]
    session.close()

    session = await accept(peer)
    request = await heard(session)
    assert request["resume_token"] == "r2"
    session.snapshot(request["target"], [added("c/b", 0)], reset=True, count=1)
    snapshot = await face.next(listener)
    assert names(snapshot) == ["b"]
    assert [item.type for item in snapshot.changes] == [ChangeType.REMOVED]
    await end(face, listener)


async def test_a_server_that_does_not_answer_is_tried_again(peer: Peer, face: Face) -> None:
    peer.refuse_listens = Reply(status=503, json={"error": {"code": "UNAVAILABLE", "message": "m"}})
    listener = face.client.collection("c").listen()
    waiting = asyncio.create_task(face.next(listener))
    await asyncio.sleep(0)
    peer.refuse_listens = None
    session = await accept(peer)
    request = await heard(session)
    session.snapshot(request["target"], [])

    assert names(await waiting) == []
    await end(face, listener)


@pytest.mark.parametrize("status", [403, 404])
async def test_a_refused_connection_ends_the_listener(peer: Peer, face: Face, status: int) -> None:
    peer.refuse_listens = Reply(status=status, json={"error": DENIED})
    listener = face.client.collection("c").listen()

    with pytest.raises(errors.PermissionDenied):
        await face.next(listener)
    listener.close()


async def test_a_denied_listener_ends_and_the_others_go_on(peer: Peer, face: Face) -> None:
    denied, allowed = (face.client.collection(name).listen() for name in "ab")
    session = await accept(peer)
    targets = {
        message["query"]["collection"]: message["target"]
        for message in [await heard(session), await heard(session)]
    }
    session.snapshot(targets["a"], [added("a/1", 0)])
    session.send(type="removed", target=targets["a"], error=DENIED)

    assert names(await face.next(denied)) == ["1"]  # what came before the end is not lost
    for _ in range(2):
        with pytest.raises(errors.PermissionDenied):
            await face.next(denied)
    session.snapshot(targets["b"], [added("b/1", 0)])
    assert names(await face.next(allowed)) == ["1"]
    await end(face, allowed)


async def test_signing_in_and_out_is_told(peer: Peer, face: Face) -> None:
    peer.reply(Reply(json=signed_in(1)), Reply(json=signed_in(2)), Reply(json={}))
    await face.call(face.client.auth.sign_in, "a@b.c", "pw")
    listener = face.client.collection("c").listen()
    session = await asyncio.to_thread(peer.next_listen)
    assert (await asyncio.to_thread(session.welcome))["token"] == "id1"
    await heard(session)

    await face.call(face.client.auth.sign_in, "b@b.c", "pw")
    assert await heard(session) == {"type": "auth", "token": "id2"}
    await face.call(face.client.auth.sign_out)
    assert await heard(session) == {"type": "auth", "token": None}
    await end(face, listener)


async def test_the_token_of_an_open_connection_is_kept_fresh(peer: Peer, face: Face) -> None:
    peer.reply(Reply(json=signed_in(1)), Reply(json=signed_in(2)))
    await face.call(face.client.auth.sign_in, "a@b.c", "pw")
    listener = face.client.collection("c").listen()
    session = await asyncio.to_thread(peer.next_listen)
    assert (await asyncio.to_thread(session.welcome))["token"] == "id1"
    await heard(session)
    object.__setattr__(face.client._session.tokens, "refresh_at", 0.0)
    session.send(type="pong")  # whatever wakes the client shows it that the time has come

    assert await heard(session) == {"type": "auth", "token": "id2"}
    await end(face, listener)


async def test_an_expired_token_is_refreshed_and_the_listener_resumes(
    peer: Peer, face: Face
) -> None:
    peer.reply(Reply(json=signed_in(1)), Reply(json=signed_in(2)))
    await face.call(face.client.auth.sign_in, "a@b.c", "pw")
    listener = face.client.collection("c").listen()
    session = await accept(peer)
    await heard(session)
    session.snapshot(1, [added("c/a", 0)], resume_token="r1")
    assert names(await face.next(listener)) == ["a"]
    session.send(type="removed", target=1, error=EXPIRED)

    session = await asyncio.to_thread(peer.next_listen)
    assert (await asyncio.to_thread(session.welcome))["token"] == "id2"
    assert (await heard(session))["resume_token"] == "r1"
    await end(face, listener)


async def test_a_session_that_is_over_ends_the_listener(peer: Peer, face: Face) -> None:
    peer.reply(
        Reply(json=signed_in(1, expires_in=0)),
        Reply(status=401, json={"error": {**EXPIRED, "reason": "TokenInvalid"}}),
    )
    await face.call(face.client.auth.sign_in, "a@b.c", "pw")
    listener = face.client.collection("c").listen()

    with pytest.raises(errors.TokenInvalid):
        await face.next(listener)
    assert face.client.auth.current_user is None


async def test_an_idle_connection_is_pinged(peer: Peer, face: Face) -> None:
    listener = face.client.collection("c").listen()
    session = await accept(peer, ping_seconds=0.01)  # the client waits a second at least
    await heard(session)

    assert await heard(session) == {"type": "ping"}
    session.send(type="pong")
    await end(face, listener)


async def test_a_silent_connection_is_given_up(
    peer: Peer, face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as hurried:
        hurried.setattr(_listen, "WELCOME_SECONDS_MAX", 0.2)
        listener = face.client.collection("c").listen()
        silent = await asyncio.to_thread(peer.next_listen)
        assert (await heard(silent))["type"] == "hello"
        assert await heard(silent) is None
    while True:  # others that were in a hurry may have been given up as well
        session = await accept(peer)
        request = await heard(session)
        if request is not None:
            break
    assert request["type"] == "listen"
    await end(face, listener)


async def test_closing_the_client_ends_its_listeners(
    peer: Peer, is_async: bool, open_face: OpenFace
) -> None:
    face = open_face(peer.url, is_async=is_async)
    listener = face.client.collection("c").listen()
    session = await accept(peer)
    await heard(session)
    waiting = asyncio.create_task(face.next(listener))
    await asyncio.sleep(0)
    await face.close()

    with pytest.raises(StopAsyncIteration):
        await waiting
    assert await heard(session) is None


async def test_a_dropped_listener_ends(peer: Peer, face: Face) -> None:
    listener = face.client.collection("c").listen()
    session = await accept(peer)
    await heard(session)
    del listener
    gc.collect()

    assert await heard(session) is None


async def test_listeners_are_with_blocks(peer: Peer, open_face: OpenFace) -> None:
    face = open_face(peer.url, is_async=True)
    async with face.client.collection("c").listen():
        session = await accept(peer)
        await heard(session)
    assert await heard(session) is None
    await face.close()

    def blocking() -> None:
        with Client(peer.url, project="demo") as client, client.collection("c").listen():
            session = peer.next_listen()
            session.welcome()
            session.receive()
        assert session.receive() is None

    await asyncio.to_thread(blocking)


async def test_a_cancelled_wait_loses_nothing(peer: Peer, open_face: OpenFace) -> None:
    face = open_face(peer.url, is_async=True)
    listener = face.client.collection("c").listen()
    waiting = asyncio.create_task(anext(listener))
    session = await accept(peer)
    await heard(session)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    session.snapshot(1, [added("c/a", 0)])

    assert names(await anext(listener)) == ["a"]
    await face.close()


async def test_a_slow_app_skips_states_but_no_change(
    peer: Peer, face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_listener, "SnapshotBuffer", lambda: _listen.SnapshotBuffer(maximum=2))
    listener = face.client.collection("c").listen()
    session = await accept(peer)
    await heard(session)
    for number in range(20):
        session.snapshot(1, [added(f"c/{number:02}", number)], version=number, count=number + 1)
    session.send(type="removed", target=1, error=DENIED)

    assert await heard(session) is None  # all of it has arrived before the first state is taken

    applied: list[str] = []
    states = [await face.next(listener), await face.next(listener)]
    for snapshot in states:
        for change in snapshot.changes:
            assert change.type is ChangeType.ADDED
            applied.insert(change.new_index, change.document.id)
        assert applied == names(snapshot)
    assert applied == [f"{number:02}" for number in range(20)]
    with pytest.raises(errors.PermissionDenied):
        await face.next(listener)


# --- on_snapshot ----------------------------------------------------------------------------------


class Calls:
    """What a callback was given, from whatever thread."""

    def __init__(self) -> None:
        self._calls: queue.Queue[Any] = queue.Queue()

    def __call__(self, *arguments: Any) -> None:
        self._calls.put(arguments)

    async def next(self) -> Any:
        return await asyncio.to_thread(self._calls.get, timeout=WAIT_SECONDS)

    @property
    def is_empty(self) -> bool:
        return self._calls.empty()


async def test_callbacks_get_documents_changes_and_time(peer: Peer, face: Face) -> None:
    calls = Calls()
    watch = face.client.collection("c").on_snapshot(calls)
    session = await accept(peer)
    await heard(session)
    session.snapshot(1, [added("c/a", 0)])

    documents, changes, read_time = await calls.next()

    assert [item.id for item in documents] == ["a"]
    assert [item.type for item in changes] == [ChangeType.ADDED]
    assert read_time == THEN
    assert watch.is_active
    watch.unsubscribe()
    watch.unsubscribe()
    assert await heard(session) is None
    assert calls.is_empty
    assert not watch.is_active
    assert watch.error is None


async def test_a_documents_callback_gets_an_empty_list_while_it_is_missing(
    peer: Peer, face: Face
) -> None:
    calls = Calls()
    watch = face.client.document("c/a").on_snapshot(calls)
    session = await accept(peer)
    await heard(session)
    session.snapshot(1, [])
    session.snapshot(1, [added("c/a", 0)], version=2)

    assert (await calls.next())[0] == []
    assert [item.id for item in (await calls.next())[0]] == ["a"]
    watch.unsubscribe()


async def test_an_error_reaches_the_app(peer: Peer, face: Face) -> None:
    failures = Calls()
    watch = face.client.collection("c").on_snapshot(Calls(), on_error=failures)
    session = await accept(peer)
    await heard(session)
    session.send(type="removed", target=1, error=DENIED)

    (error,) = await failures.next()

    assert isinstance(error, errors.PermissionDenied)
    assert watch.error is error
    assert not watch.is_active


class Recorder(logging.Handler):
    def __init__(self, records: Calls) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records(record)


async def test_an_error_that_nobody_takes_is_logged(peer: Peer, face: Face) -> None:
    records = Calls()
    handler = Recorder(records)
    logging.getLogger("baas_sdk").addHandler(handler)
    try:
        watch = face.client.collection("c").on_snapshot(Calls())
        session = await accept(peer)
        await heard(session)
        session.send(type="removed", target=1, error=DENIED)

        (record,) = await records.next()
        while record.levelno < logging.ERROR:
            (record,) = await records.next()
    finally:
        logging.getLogger("baas_sdk").removeHandler(handler)
    assert record.getMessage() == "a listener ended with an error"
    assert isinstance(record.exc_info[1], errors.PermissionDenied)
    assert not watch.is_active
    assert isinstance(watch.error, errors.PermissionDenied)


async def test_an_exception_in_a_callback_ends_its_listener(peer: Peer, face: Face) -> None:
    failures = Calls()

    def callback(*arguments: Any) -> None:
        raise KeyError("mine")

    watch = face.client.collection("c").on_snapshot(callback, failures)
    session = await accept(peer)
    await heard(session)
    session.snapshot(1, [])

    (error,) = await failures.next()
    assert isinstance(error, KeyError)
    assert watch.error is error
    assert await heard(session) is None


async def test_a_callback_may_unsubscribe_and_use_the_client(peer: Peer, face: Face) -> None:
    calls = Calls()
    holder: list[Any] = []

    def blocking(*arguments: Any) -> None:
        holder[0].unsubscribe()
        calls(face.client.document("c/a").get().id)

    async def waiting(*arguments: Any) -> None:
        holder[0].unsubscribe()
        calls((await face.client.document("c/a").get()).id)

    peer.reply(Reply(json=document("c/a")))
    holder.append(face.client.collection("c").on_snapshot(waiting if face.is_async else blocking))
    session = await accept(peer)
    await heard(session)
    session.snapshot(1, [])
    session.snapshot(1, [added("c/b", 0)])

    assert await calls.next() == ("a",)
    assert await heard(session) is None
    assert calls.is_empty


async def test_a_slow_callback_does_not_hold_up_another(peer: Peer, face: Face) -> None:
    release = threading.Event()
    calls = Calls()

    def blocking(*arguments: Any) -> None:
        release.wait(WAIT_SECONDS)

    async def waiting(*arguments: Any) -> None:
        await asyncio.to_thread(release.wait, WAIT_SECONDS)

    slow = face.client.collection("slow").on_snapshot(waiting if face.is_async else blocking)
    quick = face.client.collection("quick").on_snapshot(calls)
    session = await accept(peer)
    await heard(session)
    await heard(session)
    session.snapshot(1, [])
    session.snapshot(2, [])

    await calls.next()
    release.set()
    slow.unsubscribe()
    quick.unsubscribe()


@pytest.fixture(autouse=True)
def _no_threads_left() -> Iterator[None]:
    yield
    left = [item.name for item in threading.enumerate() if item.name == "baas-sdk-listen"]
    assert left == []


def test_a_refused_listener_leaves_nothing(peer: Peer) -> None:
    client = Client(peer.url, project="demo")
    with pytest.raises(errors.InvalidQuery):
        client.collection("c").limit_to_last(1).listen()
    client.close()
    with pytest.raises(errors.FailedPrecondition):
        client.collection("c").on_snapshot(lambda *arguments: None)


def test_requests_are_recorded(peer: Peer) -> None:
    """The fake itself: what the tests above look at."""
    peer.reply(lambda received: Reply(json=document("c/" + received.method)))
    with Client(peer.url, project="demo") as client:
        client.document("c/x").get()
    assert isinstance(peer.requests[0], Received)
