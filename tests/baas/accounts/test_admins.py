"""Administrators: the one-time token, sessions, further ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from baas.accounts.accounts import Accounts
from baas.accounts.admins import Admins, AdminSession
from baas.accounts.throttle import PAIR_RATE
from baas.database.scan import scan_documents
from baas.errors import BaasError, TokenExpired, TokenInvalid
from tests.baas.accounts.conftest import EMAIL, PASSWORD, PROJECT, World


@pytest.fixture
def admins(accounts: Accounts) -> Admins:
    return accounts.admins


async def reason_of(work: Awaitable[Any]) -> str:
    with pytest.raises(BaasError) as caught:
        await work
    return caught.value.reason


async def set_up(admins: Admins) -> AdminSession:
    token = await admins.make_setup_token()
    assert token is not None
    return await admins.set_up(token, EMAIL, PASSWORD)


async def test_the_setup_token_makes_the_first_administrator_once(
    admins: Admins, world: World
) -> None:
    token = await admins.make_setup_token()
    assert token is not None
    session = await admins.set_up(token, "Ada@Example.com", PASSWORD)
    assert session.admin.email == EMAIL
    assert (await admins.authenticate(session.token)).admin == session.admin
    assert await reason_of(admins.set_up(token, "eve@example.com", PASSWORD)) == "SetupTokenInvalid"
    assert await admins.make_setup_token() is None
    assert await world.another().admins.make_setup_token() is None


async def test_only_the_last_printed_token_is_good(admins: Admins) -> None:
    first, second = await admins.make_setup_token(), await admins.make_setup_token()
    assert first != second
    assert await reason_of(admins.set_up(first, EMAIL, PASSWORD)) == "SetupTokenInvalid"
    await admins.set_up(second, EMAIL, PASSWORD)


async def test_of_fifty_set_ups_at_once_exactly_one_wins(admins: Admins) -> None:
    token = await admins.make_setup_token()
    outcomes = await asyncio.gather(
        *(admins.set_up(token, f"a{n}@example.com", PASSWORD) for n in range(50)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, AdminSession) for one in outcomes) == 1
    assert all(isinstance(one, AdminSession | TokenInvalid) for one in outcomes)
    assert len(await admins.list_all()) == 1


@pytest.mark.parametrize("token", [None, "", "baas_setup_x", 7, ["x"], {"$ne": ""}, "x" * 10_000])
async def test_a_guessed_setup_token_gets_no_work_done(
    admins: Admins, world: World, monkeypatch: pytest.MonkeyPatch, token: object
) -> None:
    async def hash(password: str) -> str:
        raise AssertionError("a stranger's password was hashed")

    monkeypatch.setattr(world.passwords, "hash", hash)
    assert await reason_of(admins.set_up(token, EMAIL, PASSWORD)) == "SetupTokenInvalid"
    await admins.make_setup_token()
    assert await reason_of(admins.set_up(token, EMAIL, PASSWORD)) == "SetupTokenInvalid"


async def test_a_bad_password_leaves_the_setup_token_good(admins: Admins) -> None:
    token = await admins.make_setup_token()
    assert await reason_of(admins.set_up(token, EMAIL, "short")) == "WeakPassword"
    await admins.set_up(token, EMAIL, PASSWORD)


async def test_an_administrator_made_otherwise_ends_the_setup_token(admins: Admins) -> None:
    token = await admins.make_setup_token()
    await admins.create(EMAIL, PASSWORD)
    assert await reason_of(admins.set_up(token, "eve@example.com", PASSWORD)) == "SetupTokenInvalid"


async def test_sessions(admins: Admins, world: World) -> None:
    await set_up(admins)
    session = await admins.sign_in("ADA@example.com", PASSWORD)
    for one in (admins, world.another().admins):
        found = await one.authenticate(session.token)
        assert (found.admin.email, found.expires_at) == (EMAIL, session.expires_at)
    await admins.sign_out(session.token)
    await admins.sign_out(session.token)
    assert await reason_of(admins.authenticate(session.token)) == "AdminSessionInvalid"


async def test_a_session_lasts_twelve_hours_however_much_it_is_used(
    admins: Admins, world: World
) -> None:
    session = await set_up(admins)
    for _ in range(11):
        world.clock.advance(3600)
        await admins.authenticate(session.token)
    world.clock.advance(3600)
    for one in (admins, world.another().admins):
        with pytest.raises(TokenExpired) as caught:
            await one.authenticate(session.token)
        assert caught.value.reason == "AdminSessionExpired"
    # The next sign-in tidies up.
    await admins.sign_in(EMAIL, PASSWORD)
    assert await reason_of(admins.authenticate(session.token)) == "AdminSessionInvalid"


@pytest.mark.parametrize(
    "token", ["", "baas_as_", "baas_as_" + "A" * 43, "x", "baas_as_" + "A" * 500, "baas_as_../x"]
)
async def test_guessed_session_tokens(admins: Admins, token: str) -> None:
    await set_up(admins)
    assert await reason_of(admins.authenticate(token)) == "AdminSessionInvalid"


async def test_the_stored_form_of_a_session_is_no_token(admins: Admins, world: World) -> None:
    session = await set_up(admins)
    database = await world.databases.system(None)
    seen = b""
    async for documents in scan_documents(database):
        seen += b"".join(str(one.path).encode() + one.data for one in documents)
    assert session.token.removeprefix("baas_as_").encode() not in seen
    assert PASSWORD.encode() not in seen


async def test_sign_in_answers_alike_and_is_slowed_down(admins: Admins) -> None:
    await set_up(admins)
    assert await reason_of(admins.sign_in(EMAIL, "wrong horse")) == "InvalidCredentials"
    assert await reason_of(admins.sign_in("eve@example.com", PASSWORD)) == "InvalidCredentials"
    reasons = [
        await reason_of(admins.sign_in(EMAIL, "wrong horse", address="203.0.113.1"))
        for _ in range(PAIR_RATE.burst + 1)
    ]
    assert reasons[-1] == "TooManyAttempts"


async def test_users_are_no_administrators(accounts: Accounts) -> None:
    await set_up(accounts.admins)
    signed_in = await accounts.sign_up(PROJECT, "bob@example.com", PASSWORD)
    for token in (signed_in.id_token, signed_in.refresh_token):
        assert await reason_of(accounts.admins.authenticate(token)) == "AdminSessionInvalid"
    assert await reason_of(accounts.admins.sign_in("bob@example.com", PASSWORD)) == (
        "InvalidCredentials"
    )


async def test_further_administrators(admins: Admins) -> None:
    first = await set_up(admins)
    second = await admins.create("bob@example.com", PASSWORD)
    assert await reason_of(admins.create("BOB@example.com", PASSWORD)) == "EmailExists"
    session = await admins.sign_in("bob@example.com", PASSWORD)
    assert {one.email for one in await admins.list_all()} == {EMAIL, "bob@example.com"}
    await admins.delete(second.id)
    assert await reason_of(admins.authenticate(session.token)) == "AdminSessionInvalid"
    assert await reason_of(admins.sign_in("bob@example.com", PASSWORD)) == "InvalidCredentials"
    assert await reason_of(admins.delete(first.admin.id)) == "LastAdmin"
    await admins.authenticate(first.token)
