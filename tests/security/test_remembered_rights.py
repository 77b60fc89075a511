"""What the server remembers of rights and queries is forgotten the moment that it changes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from baas.clock import VirtualClock
from baas.testing import app_client, make_settings, started_app
from tests.baas.http.conftest import ADMIN, BASE, PASSWORD, PROJECT, RULES, World, open_world, world

__all__ = ["world"]


def owned_by(uid: str) -> dict[str, object]:
    return {"collection": "owned", "where": {"field": "owner", "op": "==", "value": uid}}


async def list_mine(
    world: World, token: str | None, *, owner: str | None = None
) -> tuple[int, str | int]:
    """(status, the number of documents or the reason)"""
    async with app_client(world.app, token) as client:
        body = {"query": owned_by(owner or world.uid)}
        answer = await client.post(f"{BASE}:query", json=body)
        if answer.status_code != 200:
            return answer.status_code, answer.json()["error"]["reason"]
        return 200, len(answer.json()["documents"])


async def seed(world: World) -> None:
    for number in range(3):
        fields = {"owner": world.uid, "n": number}
        answer = await world.secret.put(f"{BASE}/owned/{number}", json={"fields": fields})
        assert answer.status_code == 200


async def deploy(world: World, source: str) -> None:
    deployed = await world.operator.put(
        f"{ADMIN}/rules", json={"source": source, "allow_open": True}
    )
    assert deployed.status_code == 200, deployed.text


async def refreshed(world: World) -> str:
    answer = await world.anonymous.post(
        f"/api/v1/projects/{PROJECT}/accounts:refresh",
        json={"refresh_token": world.refresh_token},
        headers={"x-api-key": world.api_key},
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id_token"])


async def test_a_new_release_is_asked_at_once_and_an_old_one_again(world: World) -> None:
    await seed(world)
    for _ in range(3):
        assert await list_mine(world, world.id_token) == (200, 3)
        assert (await world.user.get(f"{BASE}/public")).status_code == 200
        await deploy(
            world, RULES.replace("read, update, delete", "update").replace("read:", "get:")
        )
        assert (await list_mine(world, world.id_token))[0] == 403
        assert (await world.user.get(f"{BASE}/public")).status_code == 403
        await deploy(world, RULES)


async def test_what_one_user_may_another_may_not(world: World) -> None:
    await seed(world)
    assert await list_mine(world, world.id_token) == (200, 3)
    signed_up = await world.anonymous.post(
        f"/api/v1/projects/{PROJECT}/accounts:sign-up",
        json={"email": "eve@example.com", "password": PASSWORD},
        headers={"x-api-key": world.api_key},
    )
    for token in (signed_up.json()["id_token"], None):
        assert (await list_mine(world, token))[0] == 403
    assert await list_mine(world, world.secret_key) == (200, 3)
    assert (await list_mine(world, signed_up.json()["id_token"]))[0] == 403
    assert (await list_mine(world, world.id_token, owner="somebody"))[0] == 403


async def test_changed_claims_count_from_the_next_token_on(world: World) -> None:
    await deploy(
        world, RULES.replace("resource.data.owner ==", "request.auth.token.admin == true && 'x' !=")
    )
    await seed(world)
    assert (await list_mine(world, world.id_token))[0] == 403
    for is_admin, status in ((True, 200), (False, 403), (1, 403), (True, 200)):
        changed = await world.operator.patch(
            f"{ADMIN}/users/{world.uid}", json={"claims": {"admin": is_admin}}
        )
        assert changed.status_code == 200, changed.text
        token = await refreshed(world)
        for _ in range(2):
            assert (await list_mine(world, token))[0] == status


@pytest.mark.parametrize("change", [{"disabled": True}, None])
async def test_an_ended_session_lists_nothing(world: World, change: dict[str, bool] | None) -> None:
    await seed(world)
    assert await list_mine(world, world.id_token) == (200, 3)
    user = f"{ADMIN}/users/{world.uid}"
    if change is None:
        ended = await world.operator.delete(user)
    else:
        ended = await world.operator.patch(user, json=change)
    assert ended.status_code in (200, 204), ended.text
    assert (await list_mine(world, world.id_token))[0] == 401


async def test_an_expired_token_lists_nothing(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with (
        started_app(make_settings(tmp_path / "data"), clock) as app,
        open_world(app) as world,
    ):
        await seed(world)
        assert await list_mine(world, world.id_token) == (200, 3)
        clock.advance(timedelta(hours=2).total_seconds())
        assert await list_mine(world, world.id_token) == (401, "IdTokenExpired")
        assert await list_mine(world, await refreshed(world)) == (200, 3)


async def test_rules_that_look_at_the_time_are_asked_each_time(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with (
        started_app(make_settings(tmp_path / "data"), clock) as app,
        open_world(app) as world,
    ):
        ends = clock.now_microseconds() // 1_000 + 60_000
        await deploy(
            world,
            RULES.replace(
                "request.auth != null || request.auth == null",
                f"request.time < timestamp.value({ends})",
            ),
        )
        for _ in range(2):
            assert (await world.anonymous.get(f"{BASE}/public")).status_code == 200
        clock.advance(61)
        assert (await world.anonymous.get(f"{BASE}/public")).status_code == 403


async def test_rules_that_look_at_documents_are_asked_each_time(world: World) -> None:
    await deploy(world, RULES.replace("match /guarded/{id} {", "match /guarded/{id} { allow list:"
        " if exists(/databases/$(database)/documents/members/$(request.auth.uid));"))  # fmt: skip

    async def status() -> int:
        answer: httpx.Response = await world.user.get(f"{BASE}/guarded")
        return answer.status_code

    member = f"{BASE}/members/{world.uid}"
    for _ in range(2):
        assert await status() == 403
        assert (await world.secret.put(member, json={"fields": {}})).status_code == 200
        assert await status() == 200
        assert (await world.secret.delete(member)).status_code == 200


async def test_a_page_shows_what_was_committed_before_it_was_asked(world: World) -> None:
    await seed(world)
    for number in range(3, 8):
        assert await list_mine(world, world.id_token) == (200, number)
        fields = {"owner": world.uid, "n": number}
        written = await world.user.put(f"{BASE}/owned/{number}", json={"fields": fields})
        listed = await world.user.post(f"{BASE}:query", json={"query": owned_by(world.uid)})
        assert listed.json()["read_time"] >= written.json()["commit_time"]
