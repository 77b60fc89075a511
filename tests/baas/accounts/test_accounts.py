"""Signing up, in and out; refreshing; what ends a token at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import jwt
import pytest
from argon2 import PasswordHasher

from baas.accounts.accounts import Accounts, SignedIn
from baas.accounts.passwords import PasswordPool
from baas.accounts.sessions import GRACE_SECONDS, SESSIONS_PER_USER_MAX, sessions_of
from baas.accounts.signing import signing_keys_query
from baas.accounts.throttle import PAIR_RATE
from baas.accounts.users import CLAIMS_DEPTH_MAX, check_claims, user_path
from baas.database.names import DatabaseName
from baas.database.registry import Databases
from baas.errors import (
    AlreadyExists,
    BaasError,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    TokenExpired,
    TokenInvalid,
    Unauthenticated,
)
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.writes import SetWrite
from baas.settings import Settings
from baas.storage.sqlite_store import SqliteStore
from tests.baas.accounts.conftest import EMAIL, PASSWORD, PROJECT, SECRET, TestClock, World


async def sign_up(accounts: Accounts, email: str = EMAIL, project: str = PROJECT) -> SignedIn:
    return await accounts.sign_up(project, email, PASSWORD)


async def reason_of(work: object) -> str:
    """The reason of the error that awaiting something ends in."""
    with pytest.raises(BaasError) as caught:
        await work  # type: ignore[misc]
    return caught.value.reason


# Signing up


async def test_sign_up_makes_a_user_who_is_signed_in(accounts: Accounts) -> None:
    signed_in = await sign_up(accounts, "Ada@Example.com")
    user = signed_in.user
    assert (user.email, user.email_verified, user.disabled) == (EMAIL, False, False)
    assert len(user.uid) == 28
    assert user.last_sign_in == user.created
    assert signed_in.expires_in == 3600
    verified = await accounts.verify_id_token(PROJECT, signed_in.id_token)
    assert verified.uid == user.uid
    assert verified.claims["email"] == EMAIL
    assert verified.claims["aud"] == PROJECT
    assert verified.claims["baas"]["sign_in_provider"] == "password"
    assert await accounts.users.get(PROJECT, user.uid) == user
    assert await accounts.users.find(PROJECT, "ADA@example.com") == user


async def test_an_address_is_one_account(accounts: Accounts) -> None:
    await sign_up(accounts)
    for same in (EMAIL, "ADA@EXAMPLE.COM", "ada@EXAMPLE\u3002com"):
        with pytest.raises(AlreadyExists) as caught:
            await sign_up(accounts, same)
        assert caught.value.reason == "EmailExists"
    await sign_up(accounts, EMAIL, project="other")


async def test_of_fifty_sign_ups_at_once_exactly_one_wins(world: World) -> None:
    outcomes = await asyncio.gather(
        *(sign_up(world.accounts, EMAIL if n % 2 else EMAIL.upper()) for n in range(50)),
        return_exceptions=True,
    )
    winners = [one for one in outcomes if isinstance(one, SignedIn)]
    assert len(winners) == 1
    assert all(isinstance(one, SignedIn | AlreadyExists) for one in outcomes)
    page = await world.accounts.users.list_page(PROJECT)
    assert [user.uid for user in page.users] == [winners[0].user.uid]


@pytest.mark.parametrize(
    ("email", "password", "reason"),
    [
        ("nobody", PASSWORD, "InvalidEmail"),
        (EMAIL, "short", "WeakPassword"),
        (EMAIL, None, "InvalidPassword"),
        ({"$gt": ""}, PASSWORD, "InvalidEmail"),
        (EMAIL, {"$gt": ""}, "InvalidPassword"),
    ],
)
async def test_sign_up_refuses(
    accounts: Accounts, email: object, password: object, reason: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await accounts.sign_up(PROJECT, email, password)
    assert caught.value.reason == reason


async def test_an_unknown_project_makes_no_files(world: World) -> None:
    assert await reason_of(sign_up(world.accounts, project="nowhere")) == "ProjectNotFound"
    assert await reason_of(world.accounts.verify_id_token("nowhere", "x")) == "ProjectNotFound"
    assert not (world.settings.data / "projects" / "nowhere").exists()


# Signing in


async def test_sign_in(accounts: Accounts, world: World) -> None:
    first = await sign_up(accounts)
    world.clock.advance(60)
    signed_in = await accounts.sign_in(PROJECT, "ADA@example.com", PASSWORD)
    assert signed_in.user.uid == first.user.uid
    assert signed_in.user.last_sign_in == Timestamp(world.clock.now_microseconds())
    assert signed_in.refresh_token != first.refresh_token
    await accounts.verify_id_token(PROJECT, first.id_token)


async def test_an_unknown_address_and_a_wrong_password_answer_alike(accounts: Accounts) -> None:
    await sign_up(accounts)
    answers = []
    for email, password in ((EMAIL, "wrong horse"), ("bob@example.com", PASSWORD)):
        with pytest.raises(Unauthenticated) as caught:
            await accounts.sign_in(PROJECT, email, password)
        error = caught.value
        answers.append((type(error), error.reason, error.message, error.details))
    assert answers[0] == answers[1]
    assert answers[0][1] == "InvalidCredentials"


async def test_an_unknown_address_and_a_wrong_password_do_the_same_work(
    accounts: Accounts, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sign_up(accounts)
    verified: list[bool] = []
    real = world.passwords.verify

    async def verify(password: object, hashed: str | None) -> bool:
        verified.append(await real(password, hashed))
        return verified[-1]

    monkeypatch.setattr(world.passwords, "verify", verify)
    for email in (EMAIL, "bob@example.com"):
        await reason_of(accounts.sign_in(PROJECT, email, "wrong horse"))
    assert verified == [False, False]


async def test_a_disabled_user_is_told_so_only_with_the_right_password(accounts: Accounts) -> None:
    uid = (await sign_up(accounts)).user.uid
    await accounts.users.update(PROJECT, uid, disabled=True)
    assert await reason_of(accounts.sign_in(PROJECT, EMAIL, PASSWORD)) == "UserDisabled"
    assert await reason_of(accounts.sign_in(PROJECT, EMAIL, "wrong one")) == "InvalidCredentials"
    await accounts.users.update(PROJECT, uid, disabled=False)
    await accounts.sign_in(PROJECT, EMAIL, PASSWORD)


async def test_guessing_is_slowed_down_in_parallel_too(accounts: Accounts, world: World) -> None:
    await sign_up(accounts)
    for email in (EMAIL, "bob@example.com"):
        outcomes = await asyncio.gather(
            *(
                reason_of(accounts.sign_in(PROJECT, email, "wrong", address="203.0.113.1"))
                for _ in range(PAIR_RATE.burst + 5)
            )
        )
        assert outcomes.count("InvalidCredentials") == PAIR_RATE.burst
        assert outcomes.count("TooManyAttempts") == 5
    with pytest.raises(ResourceExhausted):
        await accounts.sign_in(PROJECT, EMAIL, PASSWORD, address="203.0.113.1")
    await accounts.sign_in(PROJECT, EMAIL, PASSWORD, address="198.51.100.1")
    world.clock.advance(PAIR_RATE.seconds)
    await accounts.sign_in(PROJECT, EMAIL, PASSWORD, address="203.0.113.1")


async def test_right_passwords_are_not_throttled(accounts: Accounts) -> None:
    await sign_up(accounts)
    for _ in range(PAIR_RATE.burst + 2):
        await accounts.sign_in(PROJECT, EMAIL, PASSWORD, address="203.0.113.1")


async def test_an_old_hash_is_made_anew_at_sign_in(accounts: Accounts, world: World) -> None:
    uid = (await sign_up(accounts)).user.uid
    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    database = await world.databases.system(PROJECT)
    (document,) = await database.get_documents([user_path(uid)])
    assert document is not None
    fields = {**document.fields, "password_hash": weak}
    await database.run_transaction(
        lambda transaction: transaction.write([SetWrite(user_path(uid), fields)]),
        request_time=Timestamp(world.clock.now_microseconds()),
    )
    await accounts.sign_in(PROJECT, EMAIL, PASSWORD)
    (document,) = await database.get_documents([user_path(uid)])
    assert document is not None
    assert "m=19456,t=2" in str(document.fields["password_hash"])
    await accounts.sign_in(PROJECT, EMAIL, PASSWORD)


async def test_sessions_per_user_are_bounded(
    accounts: Accounts, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def verify(password: object, hashed: str | None) -> bool:
        return True

    first = await sign_up(accounts)
    monkeypatch.setattr(world.passwords, "verify", verify)
    world.clock.advance(1)
    for _ in range(SESSIONS_PER_USER_MAX):
        await accounts.sign_in(PROJECT, EMAIL, PASSWORD)
    database = await world.databases.system(PROJECT)
    sessions = await database.run_query(Query(sessions_of(first.user.uid)))
    assert len(sessions.documents) == SESSIONS_PER_USER_MAX
    assert await reason_of(accounts.refresh(PROJECT, first.refresh_token)) == "RefreshTokenInvalid"
    world.clock.advance(world.settings.refresh_token_lifetime_seconds)
    await accounts.sign_in(PROJECT, EMAIL, PASSWORD)
    sessions = await database.run_query(Query(sessions_of(first.user.uid)))
    assert len(sessions.documents) == 1


# Refreshing


async def test_refresh_rotates_and_survives_a_restart(accounts: Accounts, world: World) -> None:
    token = (await sign_up(accounts)).refresh_token
    seen = {token}
    for _ in range(4):
        world.clock.advance(3600)
        refreshed = await world.another().refresh(PROJECT, token)
        assert (await accounts.verify_id_token(PROJECT, refreshed.id_token)).claims[
            "auth_time"
        ] == 1_700_000_000
        token = refreshed.refresh_token
        assert token not in seen
        seen.add(token)


async def test_a_token_used_again_revokes_the_session(accounts: Accounts, world: World) -> None:
    first = await sign_up(accounts)
    second = await accounts.refresh(PROJECT, first.refresh_token)
    world.clock.advance(GRACE_SECONDS + 0.001)
    assert await reason_of(accounts.refresh(PROJECT, first.refresh_token)) == "RefreshTokenReused"
    assert await reason_of(accounts.refresh(PROJECT, second.refresh_token)) == "RefreshTokenInvalid"
    for dead in (first, second):
        assert await reason_of(accounts.verify_id_token(PROJECT, dead.id_token)) == "IdTokenInvalid"
    await accounts.sign_in(PROJECT, EMAIL, PASSWORD)


async def test_an_older_token_revokes_whatever_the_time(accounts: Accounts) -> None:
    first = await sign_up(accounts)
    second = await accounts.refresh(PROJECT, first.refresh_token)
    await accounts.refresh(PROJECT, second.refresh_token)
    assert await reason_of(accounts.refresh(PROJECT, first.refresh_token)) == "RefreshTokenReused"


async def test_a_lost_answer_is_given_again(accounts: Accounts, world: World) -> None:
    first = await sign_up(accounts)
    lost = await accounts.refresh(PROJECT, first.refresh_token)
    world.clock.advance(GRACE_SECONDS)
    again = await accounts.refresh(PROJECT, first.refresh_token)
    assert again.refresh_token == lost.refresh_token
    world.clock.advance(3600)
    await accounts.refresh(PROJECT, again.refresh_token)


async def test_fifty_refreshes_at_once_give_one_successor(accounts: Accounts) -> None:
    first = await sign_up(accounts)
    outcomes = await asyncio.gather(
        *(accounts.refresh(PROJECT, first.refresh_token) for _ in range(50))
    )
    assert len({one.refresh_token for one in outcomes}) == 1
    await accounts.refresh(PROJECT, outcomes[0].refresh_token)


async def test_a_session_ends_when_it_is_not_used(accounts: Accounts, world: World) -> None:
    lifetime = world.settings.refresh_token_lifetime_seconds
    token = (await sign_up(accounts)).refresh_token
    world.clock.advance(lifetime - 1)
    token = (await accounts.refresh(PROJECT, token)).refresh_token
    world.clock.advance(lifetime)
    assert await reason_of(accounts.refresh(PROJECT, token)) == "RefreshTokenInvalid"


@pytest.mark.parametrize(
    "forge",
    [
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: token.replace(".0.", ".1."),
        lambda token: token.replace("baas_rt_", ""),
        lambda token: token + " ",
        lambda token: token.replace(".", "/"),
        lambda token: token.rsplit(".", 1)[0],
        lambda token: "",
        lambda token: None,
        lambda token: {"$ne": None},
        lambda token: [token],
        lambda token: "baas_rt_" + "ü" * 100,
    ],
)
async def test_forged_refresh_tokens_do_nothing(accounts: Accounts, forge: object) -> None:
    token = (await sign_up(accounts)).refresh_token
    assert callable(forge)
    with pytest.raises(TokenInvalid) as caught:
        await accounts.refresh(PROJECT, forge(token))
    assert caught.value.reason == "RefreshTokenInvalid"
    # A guess must not be able to end somebody's session.
    await accounts.refresh(PROJECT, token)


async def test_a_refresh_token_is_of_one_project(accounts: Accounts) -> None:
    token = (await sign_up(accounts)).refresh_token
    await sign_up(accounts, project="other")
    assert await reason_of(accounts.refresh("other", token)) == "RefreshTokenInvalid"
    assert await reason_of(accounts.sign_out("other", "x")) == "RefreshTokenInvalid"


async def test_nothing_that_is_stored_is_a_token(accounts: Accounts, world: World) -> None:
    signed_in = await sign_up(accounts)
    database = await world.databases.system(PROJECT)
    sessions = await database.run_query(Query(sessions_of(signed_in.user.uid)))
    mac = signed_in.refresh_token.rsplit(".", 1)[1]
    assert all(mac.encode() not in one.data for one in sessions.documents)


# What ends an id token at once, though it was verified before


async def test_signing_out_ends_id_tokens_of_that_session_only(accounts: Accounts) -> None:
    phone = await sign_up(accounts)
    laptop = await accounts.sign_in(PROJECT, EMAIL, PASSWORD)
    for one in (phone, laptop):
        await accounts.verify_id_token(PROJECT, one.id_token)
    await accounts.sign_out(PROJECT, phone.refresh_token)
    await accounts.sign_out(PROJECT, phone.refresh_token)
    assert await reason_of(accounts.verify_id_token(PROJECT, phone.id_token)) == "IdTokenInvalid"
    assert await reason_of(accounts.refresh(PROJECT, phone.refresh_token)) == "RefreshTokenInvalid"
    await accounts.verify_id_token(PROJECT, laptop.id_token)


@pytest.mark.parametrize("change", ["disable", "password", "delete"])
async def test_changes_of_the_user_end_tokens_and_sessions(
    accounts: Accounts, world: World, change: str
) -> None:
    signed_in = await sign_up(accounts)
    uid = signed_in.user.uid
    await accounts.verify_id_token(PROJECT, signed_in.id_token)
    told: list[tuple[str, str | None]] = []
    stop = accounts.watch_revocations(lambda project, user: told.append((project, user)))
    match change:
        case "disable":
            await accounts.users.update(PROJECT, uid, disabled=True)
        case "password":
            await accounts.users.update(PROJECT, uid, password="another horse")
        case _:
            await accounts.users.delete(PROJECT, uid)
    assert told == [(PROJECT, uid)]
    stop()
    for one in (accounts, world.another()):
        assert await reason_of(one.verify_id_token(PROJECT, signed_in.id_token)) == "IdTokenInvalid"
        assert await reason_of(one.refresh(PROJECT, signed_in.refresh_token)) == (
            "RefreshTokenInvalid"
        )
    if change == "disable":
        await accounts.users.update(PROJECT, uid, disabled=False)
        assert await reason_of(accounts.verify_id_token(PROJECT, signed_in.id_token)) == (
            "IdTokenInvalid"
        )
    assert told == [(PROJECT, uid)]


async def test_expiry_is_checked_on_a_hit(accounts: Accounts, world: World) -> None:
    token = (await sign_up(accounts)).id_token
    await accounts.verify_id_token(PROJECT, token)
    world.clock.advance(3599.9)
    await accounts.verify_id_token(PROJECT, token)
    world.clock.advance(0.1)
    for _ in range(2):
        with pytest.raises(TokenExpired):
            await accounts.verify_id_token(PROJECT, token)


async def test_a_cached_token_is_of_one_project(accounts: Accounts) -> None:
    token = (await sign_up(accounts)).id_token
    await accounts.verify_id_token(PROJECT, token)
    assert await reason_of(accounts.verify_id_token("other", token)) == "IdTokenInvalid"


async def test_a_user_disabled_while_a_token_is_verified_is_not_remembered(
    accounts: Accounts, world: World
) -> None:
    """Verification and the change at once, many times over: afterwards the token is dead."""
    signed_in = await sign_up(accounts)
    uid = signed_in.user.uid
    await asyncio.gather(
        accounts.users.update(PROJECT, uid, disabled=True),
        *(
            asyncio.gather(
                accounts.verify_id_token(PROJECT, signed_in.id_token), return_exceptions=True
            )
            for _ in range(20)
        ),
    )
    assert (
        await reason_of(accounts.verify_id_token(PROJECT, signed_in.id_token)) == "IdTokenInvalid"
    )


async def test_a_database_that_was_closed_when_idle_is_watched_again(tmp_path: Path) -> None:
    clock = TestClock()
    settings = Settings(data=tmp_path, synchronous="normal", open_databases_max=1)
    databases = Databases(SqliteStore(settings.data, clock), settings, clock)
    passwords = PasswordPool(threads=1, queue_max=10)
    accounts = Accounts(
        databases, secret=SECRET, passwords=passwords, settings=settings, clock=clock
    )
    try:
        await databases.system(PROJECT, create=True)
        signed_in = await sign_up(accounts)
        await accounts.verify_id_token(PROJECT, signed_in.id_token)
        for number in range(3):
            clock.advance(60)
            await databases.system(f"other-{number}", create=True)
        assert DatabaseName.system(PROJECT) not in [one.name for one in databases.open_databases()]
        await accounts.verify_id_token(PROJECT, signed_in.id_token)
        await accounts.users.update(PROJECT, signed_in.user.uid, disabled=True)
        assert await reason_of(accounts.verify_id_token(PROJECT, signed_in.id_token)) == (
            "IdTokenInvalid"
        )
    finally:
        passwords.close()
        await databases.close()


async def test_a_project_made_again_knows_nothing_of_the_old_one(
    accounts: Accounts, world: World
) -> None:
    signed_in = await sign_up(accounts)
    await accounts.verify_id_token(PROJECT, signed_in.id_token)
    accounts.forget_project(PROJECT)
    await world.databases.delete_project(PROJECT)
    accounts.forget_project(PROJECT)
    assert await reason_of(accounts.verify_id_token(PROJECT, signed_in.id_token)) == (
        "ProjectNotFound"
    )
    await world.databases.system(PROJECT, create=True)
    assert await reason_of(accounts.verify_id_token(PROJECT, signed_in.id_token)) == (
        "IdTokenInvalid"
    )
    assert await reason_of(accounts.refresh(PROJECT, signed_in.refresh_token)) == (
        "RefreshTokenInvalid"
    )
    assert await reason_of(accounts.sign_in(PROJECT, EMAIL, PASSWORD)) == "InvalidCredentials"


# Keys


async def test_rotation_keeps_old_tokens_good_until_they_expire(
    accounts: Accounts, world: World
) -> None:
    old = await sign_up(accounts)
    await accounts.rotate_signing_key(PROJECT)
    new = await accounts.refresh(PROJECT, old.refresh_token)
    for one in (accounts, world.another()):
        await one.verify_id_token(PROJECT, old.id_token)
        await one.verify_id_token(PROJECT, new.id_token)
    keys = (await accounts.get_jwks(PROJECT))["keys"]
    kids = [jwt.get_unverified_header(one.id_token)["kid"] for one in (old, new)]
    assert {key["kid"] for key in keys} == set(kids)
    assert len(set(kids)) == 2
    for hours, is_kept in ((2, True), (2, False)):
        # Kept for an hour, the life of a token, and two more for those who cache the key set.
        world.clock.advance(hours * 3600)
        await accounts.rotate_signing_key(PROJECT)
        kept = {key["kid"] for key in (await accounts.get_jwks(PROJECT))["keys"]}
        assert (kids[0] in kept) is is_kept


async def test_others_can_verify_with_the_key_set_and_it_holds_no_secret(
    accounts: Accounts,
) -> None:
    token = (await sign_up(accounts)).id_token
    jwks = await accounts.get_jwks(PROJECT)
    (key,) = jwt.PyJWKSet.from_dict(jwks).keys
    assert key.key_id == jwt.get_unverified_header(token)["kid"]
    claims = jwt.decode(
        token, key, algorithms=["ES256"], audience=PROJECT, options={"verify_exp": False}
    )
    assert claims["iss"] == f"baas/projects/{PROJECT}"
    assert claims["sub"] == claims["user_id"]
    assert set(jwks["keys"][0]) == {"kty", "crv", "x", "y", "kid", "alg", "use"}


async def test_parallel_first_sign_ups_make_one_key(accounts: Accounts) -> None:
    await asyncio.gather(*(sign_up(accounts, f"user{n}@example.com") for n in range(10)))
    assert len((await accounts.get_jwks(PROJECT))["keys"]) == 1


async def test_signing_keys_are_sealed(accounts: Accounts, world: World) -> None:
    await sign_up(accounts)
    database = await world.databases.system(PROJECT)
    (document,) = (await database.run_query(signing_keys_query())).documents
    sealed = document.fields["sealed"]
    assert isinstance(sealed, bytes)
    assert b"\x06\x07\x2a\x86\x48\xce\x3d" not in sealed  # the identifier of EC keys in DER


# Users


async def test_list_page_goes_through_all_users(accounts: Accounts) -> None:
    made = [await accounts.users.create(PROJECT, f"u{n}@example.com", PASSWORD) for n in range(7)]
    assert all(user.last_sign_in is None for user in made)
    seen = []
    token = None
    while True:
        page = await accounts.users.list_page(PROJECT, page_size=3, page_token=token)
        assert len(page.users) <= 3
        seen += [user.uid for user in page.users]
        token = page.next_page_token
        if token is None:
            break
    assert seen == sorted(user.uid for user in made)
    for bad in ("", "../x", "a b", "é"):
        assert await reason_of(accounts.users.list_page(PROJECT, page_token=bad)) == (
            "InvalidPageToken"
        )


async def test_a_deleted_address_is_free_again(accounts: Accounts) -> None:
    first = await sign_up(accounts)
    await accounts.users.delete(PROJECT, first.user.uid)
    assert await accounts.users.find(PROJECT, EMAIL) is None
    second = await sign_up(accounts)
    assert second.user.uid != first.user.uid


async def test_own_claims_reach_the_token(accounts: Accounts) -> None:
    signed_in = await sign_up(accounts)
    claims = {"role": "editor", "teams": ["a", "b"]}
    user = await accounts.users.update(PROJECT, signed_in.user.uid, claims=claims)
    assert user.claims == claims
    refreshed = await accounts.refresh(PROJECT, signed_in.refresh_token)
    token = await accounts.verify_id_token(PROJECT, refreshed.id_token)
    assert token.claims["role"] == "editor"


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "other"},
        {"baas": {}},
        {"email": "boss@example.com"},
        {"exp": 2**40},
        {"x": "y" * 1000},
        {"x": float("nan")},
        ["role"],
        "role",
    ],
)
async def test_claims_that_are_the_servers_own_are_refused(
    accounts: Accounts, claims: object
) -> None:
    uid = (await sign_up(accounts)).user.uid
    assert await reason_of(accounts.users.update(PROJECT, uid, claims=claims)) == "InvalidClaims"


def test_claims_may_be_nested_so_deep() -> None:
    nested: Any = 1
    for _ in range(CLAIMS_DEPTH_MAX):
        nested = {"a": nested}
    check_claims(nested)
    for deeper in ({"a": nested}, {"a": [nested]}):
        with pytest.raises(InvalidArgument) as caught:
            check_claims(deeper)
        assert caught.value.reason == "InvalidClaims"


@pytest.mark.parametrize("uid", ["nobody", "", ".", "a/b", "../x", "é", "x" * 129, "a\n"])
async def test_unknown_users(accounts: Accounts, uid: str) -> None:
    for work in (
        accounts.users.get(PROJECT, uid),
        accounts.users.update(PROJECT, uid, disabled=True),
        accounts.users.delete(PROJECT, uid),
    ):
        with pytest.raises(NotFound) as caught:
            await work
        assert caught.value.reason == "UserNotFound"
