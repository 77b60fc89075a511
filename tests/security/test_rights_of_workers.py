"""What one worker commits of rights counts on every other worker from its answer on, though nobody
has told them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from baas.app import App, WorkerPart, create_app
from baas.clock import VirtualClock
from baas.database.database import Database
from baas.database.listeners import DocumentsTarget
from baas.database.names import DatabaseName
from baas.errors import TokenInvalid, Unauthenticated, Unavailable
from baas.model.paths import DocumentPath
from baas.services.listen import TargetAdded, TargetRemoved, TargetUpdated
from baas.storage import sharing
from baas.storage.sharing import SharedMarks
from baas.testing import app_client, make_settings
from baas.workers.channel import Channel, Inboxes
from tests.baas.http.conftest import ADMIN, BASE, PASSWORD, PROJECT, RULES, World, open_world


@dataclass
class Two:
    world: World  # asks the first worker
    other: App

    async def get(self, token: str | None, path: str = "owned/1") -> tuple[int, str | None]:
        """Status and reason, of the second worker."""
        async with app_client(self.other, token) as client:
            answer = await client.get(f"{BASE}/{path}")
        problem = answer.json().get("error")
        return answer.status_code, problem and problem["reason"]


@pytest_asyncio.fixture
async def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Two]:
    """Two workers of one server, none of which hears of the other, nor looks by itself."""
    monkeypatch.setattr(Channel, "send", lambda self, kind, message=b"": None)
    monkeypatch.setattr(sharing, "POLL_SECONDS", 1_000.0)
    settings = make_settings(tmp_path / "data")
    settings.data.mkdir()
    inboxes = Inboxes(2)
    marks = SharedMarks(settings.data / "workers")
    clock = VirtualClock()

    def make(index: int) -> App:
        part = WorkerPart(Channel(inboxes, index), marks, "baas_op_x", index == 0, lambda app: None)
        return create_app(settings, clock, part=part)

    first, second = make(0), make(1)
    try:
        await first.start()
        await second.start()
        async with open_world(first) as world:
            fields = {"owner": world.uid}
            assert (await world.secret.put(f"{BASE}/owned/1", json={"fields": fields})).is_success
            yield Two(world, second)
    finally:
        await second.stop()
        await first.stop()
        inboxes.close()


async def succeed(answer: httpx.Response) -> httpx.Response:
    assert answer.is_success, answer.text
    return answer


async def test_rules_released_elsewhere_are_in_force_at_once(two: Two) -> None:
    for _ in range(3):
        assert await two.get(two.world.id_token) == (200, None)
        source = RULES.replace("allow read, update, delete", "allow delete")
        rules = {"source": source, "allow_open": True}
        await succeed(await two.world.operator.put(f"{ADMIN}/rules", json=rules))
        assert await two.get(two.world.id_token) == (403, "PermissionDenied")
        rules["source"] = RULES
        await succeed(await two.world.operator.put(f"{ADMIN}/rules", json=rules))


async def test_a_user_disabled_elsewhere_is_refused_at_once(two: Two) -> None:
    assert await two.get(two.world.id_token) == (200, None)
    user = f"{ADMIN}/users/{two.world.uid}"
    await succeed(await two.world.operator.patch(user, json={"disabled": True}))
    assert (await two.get(two.world.id_token))[0] == 401


async def test_a_key_revoked_elsewhere_is_refused_at_once(two: Two) -> None:
    assert await two.get(two.world.secret_key) == (200, None)
    for key in (await two.world.operator.get(f"{ADMIN}/keys")).json()["keys"]:
        await succeed(await two.world.operator.delete(f"{ADMIN}/keys/{key['id']}"))
    assert await two.get(two.world.secret_key) == (401, "ApiKeyInvalid")


async def test_a_project_deleted_elsewhere_is_gone_at_once(two: Two) -> None:
    assert await two.get(two.world.secret_key) == (200, None)
    await succeed(await two.world.operator.delete(ADMIN))
    assert (await two.get(None))[0] == 404
    assert (await two.get(two.world.secret_key))[0] in (401, 404)
    await succeed(await two.world.operator.post("/api/v1/admin/projects", json={"id": PROJECT}))
    assert await two.get(two.world.id_token) == (401, "IdTokenInvalid")
    assert await two.get(two.world.secret_key) == (401, "ApiKeyInvalid")


async def test_an_administrator_signed_out_elsewhere_is_refused_at_once(two: Two) -> None:
    admins = two.world.app.context.accounts.admins
    setup = two.world.app.setup_token
    assert setup is not None
    session = await admins.set_up(setup, "root@example.com", PASSWORD)
    async with app_client(two.other, session.token) as client:
        assert (await client.get("/api/v1/admin/projects")).status_code == 200
        await admins.sign_out(session.token)
        assert (await client.get("/api/v1/admin/projects")).status_code == 401


async def test_who_cannot_know_refuses(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await two.get(two.world.id_token) == (200, None)
    user = f"{ADMIN}/users/{two.world.uid}"
    await succeed(await two.world.operator.patch(user, json={"disabled": True}))

    async def fail(self: Database) -> None:
        raise Unavailable("the disk does not answer")

    with monkeypatch.context() as broken:
        broken.setattr(Database, "catch_up", fail)
        assert (await two.get(two.world.id_token))[0] == 503
    assert (await two.get(two.world.id_token))[0] == 401


async def test_a_listener_opened_after_a_revocation_elsewhere_is_refused(two: Two) -> None:
    hub = two.other._ws.hub
    assert hub is not None
    name = DatabaseName(PROJECT, "(default)")
    session = await hub.open_session(name, two.world.id_token)
    await session.close()
    user = f"{ADMIN}/users/{two.world.uid}"
    await succeed(await two.world.operator.patch(user, json={"disabled": True}))
    with pytest.raises(TokenInvalid):
        await hub.open_session(name, two.world.id_token)


async def test_a_listener_hears_nothing_that_was_made_after_its_right_was_taken(two: Two) -> None:
    hub = two.other._ws.hub
    assert hub is not None
    name = DatabaseName(PROJECT, "(default)")
    session = await hub.open_session(name, two.world.id_token)
    session.add_target(1, DocumentsTarget((DocumentPath.parse("owned/1"),)), None)
    assert isinstance(await session.next_event(), TargetAdded)
    assert isinstance(await session.next_event(), TargetUpdated)
    user = f"{ADMIN}/users/{two.world.uid}"
    await succeed(await two.world.operator.patch(user, json={"disabled": True}))
    fields = {"owner": two.world.uid, "secret": "new"}
    await succeed(await two.world.secret.put(f"{BASE}/owned/1", json={"fields": fields}))
    # The second worker hears of the document alone.
    await (await two.other.context.databases.open(name)).catch_up()
    ended = await session.next_event()
    assert isinstance(ended, TargetRemoved)
    assert isinstance(ended.error, Unauthenticated)
    await session.close()
