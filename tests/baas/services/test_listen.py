"""Sessions on a started application, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from baas.app import App
from baas.clock import VirtualClock
from baas.database.listeners import DocumentsTarget, QueryTarget, Target
from baas.database.names import DatabaseName
from baas.errors import InvalidQuery, ResourceExhausted, TokenExpired, TooManyListeners
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.queries import Cursor, Query
from baas.model.writes import SetWrite
from baas.services import listen
from baas.services.caller import Caller, CallerKind
from baas.services.documents import commit
from baas.services.listen import (
    ListenEvent,
    ListenHub,
    ListenSession,
    TargetAdded,
    TargetRemoved,
    TargetUpdated,
)
from baas.services.resume_tokens import ResumeTokens
from baas.settings import Limits
from baas.testing import make_settings, started_app

NAME_OF = DatabaseName("demo", "(default)")
ROOT = Caller(CallerKind.ADMIN)
CITIES = CollectionPath(("cities",))
ALL = QueryTarget(Query(CITIES))
OPEN = """
rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /{document=**} { allow read: if true; }
  }
}
"""


class World:
    def __init__(self, app: App, clock: VirtualClock) -> None:
        self.app = app
        self.clock = clock
        self.hub = ListenHub(app.context)

    async def put(self, name: str, **fields: Any) -> None:
        self.clock.advance(0.001)
        write = SetWrite(CITIES.document(name), fields)
        await commit(self.app.context, ROOT, NAME_OF, [write])

    async def session(self, token: str | None = None) -> ListenSession:
        return await self.hub.open_session(NAME_OF, token or self.app.operator_token)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = VirtualClock()
    limits = Limits(
        listen_queue_messages_max=3,
        listen_queue_bytes_max=4_000,
        connection_targets_max=2,
        project_connections_max=2,
    )
    settings = make_settings(tmp_path / "data", limits=limits)
    async with started_app(settings, clock) as app:
        await app.context.projects.create_project("demo")
        await app.context.projects.rulesets.deploy("demo", OPEN, allow_open=True)
        yield World(app, clock)


async def updated(session: ListenSession) -> TargetUpdated:
    event = await session.next_event()
    assert isinstance(event, TargetUpdated), event
    return event


async def removed(session: ListenSession) -> TargetRemoved:
    event = await session.next_event()
    assert isinstance(event, TargetRemoved), event
    return event


async def start(
    session: ListenSession, target: Target = ALL, token: str | None = None
) -> ListenEvent:
    session.add_target(1, target, token)
    assert await session.next_event() == TargetAdded(1)
    return await updated(session)


async def test_targets_have_a_limit(world: World) -> None:
    session = await world.session()
    for number in (1, 2, 3):
        session.add_target(number, ALL, None)
    event = await removed(session)
    assert event.target == 3
    assert isinstance(event.error, TooManyListeners)
    await session.close()


async def test_connections_have_a_limit(world: World) -> None:
    sessions = [await world.session(), await world.session()]
    with pytest.raises(ResourceExhausted):
        await world.session()
    await sessions[0].close()
    await (await world.session()).close()
    await sessions[1].close()
    assert world.hub.session_count == 0


async def test_a_query_is_checked_at_once(world: World) -> None:
    session = await world.session()
    with pytest.raises(InvalidQuery):
        session.add_target(1, QueryTarget(Query(CITIES, end=Cursor((1, 2), True))), None)
    assert not session.has_target(1)
    await session.close()


@pytest.mark.parametrize("size", [10, 3_000])
async def test_a_queue_at_its_limit_is_replaced_by_one_reset(world: World, size: int) -> None:
    session = await world.session()
    await start(session)
    for number in range(3):
        await world.put("a", n=number, text="x" * 10)
    kept = [await updated(session) for _ in range(3)]
    assert not any(event.update.reset for event in kept)
    for number in range(4):
        await world.put("a", n=number, text="x" * size)
    event = await updated(session)
    assert event.update.reset
    assert event.update.changes[0].document.fields["n"] == 3
    await world.put("a", n=9)
    assert not (await updated(session)).update.reset
    await session.close()


async def test_a_first_answer_beyond_the_queue_is_given_all_the_same(world: World) -> None:
    for name in "abc":
        await world.put(name, text="x" * 2_000)
    session = await world.session()
    session.add_target(1, ALL, None)
    await session.next_event()
    assert (await updated(session)).update.count == 3
    await world.put("d")
    assert len((await updated(session)).update.changes) == 1
    await session.close()


async def test_a_still_target_gets_a_fresh_token_now_and_then(world: World) -> None:
    session = await world.session()
    target = DocumentsTarget((DocumentPath(("towns", "x")),))
    first = await start(session, target)
    assert isinstance(first, TargetUpdated)
    await world.put("a")
    world.clock.advance(listen.HEARTBEAT_SECONDS)
    event = await updated(session)
    assert not event.update.changes
    assert event.update.version > first.update.version
    assert event.resume_token != first.resume_token
    await session.close()


async def test_an_expired_token_ends_the_targets_until_there_is_another(world: World) -> None:
    accounts = world.app.context.accounts
    signed_in = await accounts.sign_up("demo", "ada@example.com", "difference engine")
    session = await world.session(signed_in.id_token)
    target = DocumentsTarget((CITIES.document("a"),))
    await start(session, target)
    world.clock.advance(3_601)
    await world.put("a")
    event = await removed(session)
    assert isinstance(event.error, TokenExpired)
    session.add_target(1, target, None)
    assert isinstance((await removed(session)).error, TokenExpired)
    refreshed = await accounts.refresh("demo", signed_in.refresh_token)
    await session.authenticate(refreshed.id_token)
    await start(session, target)
    await session.close()


async def test_a_target_that_is_being_started_can_be_ended(world: World) -> None:
    session = await world.session()
    session.add_target(1, ALL, None)
    session.remove_target(1)
    assert await session.next_event() == TargetRemoved(1, None)
    session.remove_target(1)
    await world.put("a")
    session.interrupt()
    assert await session.next_event() is None
    await session.close()


async def test_an_end_comes_before_everything_else(world: World) -> None:
    session = await world.session()
    await start(session)
    await world.put("a")
    session.end(TokenExpired("over"))
    with pytest.raises(TokenExpired):
        await session.next_event()
    await session.close()
    await session.close()


async def test_resuming_across_sessions(world: World) -> None:
    session = await world.session()
    first = await start(session)
    assert isinstance(first, TargetUpdated)
    await session.close()
    await world.put("a")
    await world.put("b")
    session = await world.session()
    again = await start(session, ALL, first.resume_token)
    assert isinstance(again, TargetUpdated)
    assert not again.update.reset
    assert len(again.update.changes) == 2
    await session.close()


async def test_next_event_waits(world: World) -> None:
    session = await world.session()
    await start(session)
    waiting = asyncio.create_task(updated(session))
    await asyncio.sleep(0)
    assert not waiting.done()
    await world.put("a")
    assert (await waiting).update.count == 1
    await session.close()


def test_resume_tokens_hold_for_their_listener_only() -> None:
    tokens = ResumeTokens(b"key", incarnation="i", target="t", caller="c")
    token = tokens.make(1_700_000_000_000_000)
    assert tokens.read(token) == 1_700_000_000_000_000
    for others in (
        ResumeTokens(b"key2", incarnation="i", target="t", caller="c"),
        ResumeTokens(b"key", incarnation="i2", target="t", caller="c"),
        ResumeTokens(b"key", incarnation="i", target="t2", caller="c"),
        ResumeTokens(b"key", incarnation="i", target="tc", caller=""),
    ):
        assert others.read(token) is None
    for bad in ("", "!", token[:-1], token + "A", "A" * 54, "A" * 1_000):
        assert tokens.read(bad) is None
