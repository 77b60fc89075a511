"""Password policy, hashing off the loop, and the bound on the queue."""

import asyncio
import os
import threading

import pytest

from baas.accounts import passwords
from baas.accounts.passwords import (
    NOBODYS_HASH,
    PASSWORD_BYTES_MAX,
    PasswordPool,
    check_password,
    is_outdated,
)
from baas.errors import InvalidArgument, ResourceExhausted, Unavailable


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("1234567", "WeakPassword"),
        ("", "WeakPassword"),
        ("x" * (PASSWORD_BYTES_MAX + 1), "InvalidPassword"),
        ("é" * (PASSWORD_BYTES_MAX // 2 + 1), "InvalidPassword"),
        ("password\ud800", "InvalidPassword"),
        (None, "InvalidPassword"),
        (12345678, "InvalidPassword"),
        (["password"], "InvalidPassword"),
    ],
)
def test_check_password_refuses(password: object, reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_password(password)
    assert caught.value.reason == reason
    assert "12345678" not in caught.value.message


@pytest.mark.parametrize("password", ["12345678", "x" * PASSWORD_BYTES_MAX, "é" * 8, "a\x00bcdefg"])
def test_check_password_takes(password: str) -> None:
    assert check_password(password) == password


async def test_a_password_is_the_same_from_every_keyboard() -> None:
    pool = PasswordPool(threads=1, queue_max=10)
    try:
        hashed = await pool.hash(check_password("cafe\u0301 noir"))
        assert await pool.verify("caf\u00e9 noir", hashed)
        assert not await pool.verify("cafe noir", hashed)
        # However it comes to be hashed, as when an old hash is made anew at a sign-in.
        assert await pool.verify("caf\u00e9 noir", await pool.hash("cafe\u0301 noir"))
    finally:
        pool.close()


async def test_hashes_are_argon2id_salted_and_verified() -> None:
    pool = PasswordPool(threads=2, queue_max=10)
    try:
        one, two = await pool.hash("correct horse"), await pool.hash("correct horse")
        assert one.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert one != two
        assert await pool.verify("correct horse", one)
        assert not await pool.verify("correct horse", two[:-1] + ("a" if two[-1] != "a" else "b"))
        assert not await pool.verify("Correct horse", one)
        assert not await pool.verify("correct horse", None)
        assert not await pool.verify("correct horse", "$argon2id$broken")
    finally:
        pool.close()


def test_an_unknown_account_takes_the_same_work() -> None:
    """Nobody's hash has today's settings; else unknown accounts would answer faster or slower."""
    assert not is_outdated(NOBODYS_HASH)
    assert is_outdated(NOBODYS_HASH.replace("m=19456", "m=9216"))


async def test_the_queue_is_bounded_and_the_loop_stays_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(passwords, "_is_match", lambda hashed, text: gate.wait(60))
    pool = PasswordPool(threads=1, queue_max=2)
    try:
        waiting = [asyncio.ensure_future(pool.verify("x", None)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ResourceExhausted) as caught:
            await pool.verify("x", None)
        assert caught.value.reason == "PasswordQueueFull"
        gate.set()
        assert await asyncio.gather(*waiting) == [True, True, True]
        assert await pool.verify("x", None)
    finally:
        gate.set()
        pool.close()


async def test_a_caller_who_leaves_frees_the_place_in_the_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(passwords, "_is_match", lambda hashed, text: gate.wait(60))
    pool = PasswordPool(threads=1, queue_max=1)
    try:
        first = asyncio.ensure_future(pool.verify("x", None))
        second = asyncio.ensure_future(pool.verify("x", None))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        third = asyncio.ensure_future(pool.verify("x", None))
        await asyncio.sleep(0)
        gate.set()
        assert all(await asyncio.gather(first, third))
    finally:
        gate.set()
        pool.close()


async def test_threads_give_way_to_the_loop() -> None:
    pool = PasswordPool(threads=1, queue_max=1)
    try:

        def niceness() -> int:
            return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

        assert await pool._run(niceness) >= min(niceness() + 1, passwords.NICENESS)
    finally:
        pool.close()


async def test_a_closed_pool_refuses() -> None:
    pool = PasswordPool(threads=1, queue_max=1)
    pool.close()
    with pytest.raises(Unavailable):
        await pool.hash("correct horse")
