"""Guessing is slowed down, owners are not locked out, memory is bounded."""

import pytest

from baas.accounts.throttle import (
    ACCOUNT_RATE,
    ADDRESS_RATE,
    PAIR_RATE,
    PARTS_MAX,
    SIGN_UP_RATE,
    Charges,
    Rate,
    Throttle,
    client_network,
    sign_in_charges,
    sign_up_charges,
)
from baas.clock import VirtualClock
from baas.errors import ResourceExhausted

KEY: Charges = {("k",): Rate(3, 10.0)}


def attempts(throttle: Throttle, email: str, address: str, most: int = 1_000) -> int:
    """How many attempts are let through at once."""
    for count in range(most):
        try:
            throttle.take(sign_in_charges("chat", email, address))
        except ResourceExhausted:
            return count
    return most


def test_a_bucket_lets_its_burst_through_and_then_its_rate() -> None:
    clock = VirtualClock()
    throttle = Throttle(clock)
    for _ in range(3):
        throttle.take(KEY)
    with pytest.raises(ResourceExhausted) as caught:
        throttle.take(KEY)
    assert caught.value.reason == "TooManyAttempts"
    assert caught.value.details == {"retry_after_seconds": 11}
    clock.advance(9.9)
    with pytest.raises(ResourceExhausted):
        throttle.take(KEY)
    clock.advance(0.1)
    throttle.take(KEY)
    with pytest.raises(ResourceExhausted):
        throttle.take(KEY)
    clock.advance(1_000)
    for _ in range(3):
        throttle.take(KEY)
    with pytest.raises(ResourceExhausted):
        throttle.take(KEY)


def test_a_refused_attempt_charges_nothing() -> None:
    throttle = Throttle(VirtualClock())
    wide: Charges = {("wide",): Rate(5, 10.0)}
    for _ in range(3):
        throttle.take({**KEY, **wide})
    for _ in range(10):
        with pytest.raises(ResourceExhausted):
            throttle.take({**KEY, **wide})
    throttle.take(wide)
    throttle.take(wide)


def test_what_is_given_back_was_never_taken() -> None:
    throttle = Throttle(VirtualClock())
    for _ in range(50):
        throttle.take(KEY)
        throttle.give_back(KEY)
    throttle.give_back(KEY)
    assert len(throttle._full_at) == 0


def test_one_stranger_at_one_account() -> None:
    assert attempts(Throttle(VirtualClock()), "ada@x", "203.0.113.1") == PAIR_RATE.burst


def test_strangers_at_one_account_share_a_wide_bucket_and_the_owner_comes_in() -> None:
    throttle = Throttle(VirtualClock())
    attempts(throttle, "ada@x", "203.0.113.1")
    assert attempts(throttle, "ada@x", "198.51.100.7", 3) == 3
    passed = sum(attempts(throttle, "ada@x", f"10.0.{n}.1") for n in range(50))
    assert passed == ACCOUNT_RATE.burst - PAIR_RATE.burst - 3


def test_one_address_at_many_accounts() -> None:
    throttle = Throttle(VirtualClock())
    passed = sum(attempts(throttle, f"{n}@x", "203.0.113.1", 1) for n in range(500))
    assert passed == ADDRESS_RATE.burst


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.1", "203.0.113.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.1", "203.0.113.1"),
        ("127.0.0.1", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("", None),
        ("unix:", None),
        (None, None),
    ],
)
def test_client_network(address: str | None, network: str | None) -> None:
    assert client_network(address) == network


def test_a_proxy_on_this_machine_does_not_lock_everybody_out() -> None:
    throttle = Throttle(VirtualClock())
    assert sum(attempts(throttle, f"{n}@x", "127.0.0.1", 1) for n in range(500)) == 500
    assert attempts(throttle, "ada@x", "127.0.0.1") == PAIR_RATE.burst
    assert sign_up_charges("chat", "127.0.0.1") == {}
    assert sign_up_charges("chat", "203.0.113.1") == {
        ("sign-up", "chat", "203.0.113.1"): SIGN_UP_RATE
    }


def test_memory_is_bounded() -> None:
    throttle = Throttle(VirtualClock(), buckets_max=100)
    for number in range(1_000):
        throttle.take({("k", str(number)): Rate(3, 10.0)})
    assert len(throttle._full_at) == 100


@pytest.mark.parametrize(("workers", "burst"), [(1, 10), (2, 5), (3, 4), (4, 3), (64, 3)])
def test_several_workers_allow_together_what_one_allows(workers: int, burst: int) -> None:
    clock = VirtualClock()
    throttle = Throttle(clock, workers=workers)
    charges: Charges = {("key",): Rate(10, 30.0)}
    for _ in range(burst):
        throttle.take(charges)
    with pytest.raises(ResourceExhausted):
        throttle.take(charges)
    throttle.give_back(charges)
    throttle.take(charges)
    clock.advance(30.0 * min(workers, PARTS_MAX) - 1)
    with pytest.raises(ResourceExhausted):
        throttle.take(charges)
    clock.advance(1)
    throttle.take(charges)
