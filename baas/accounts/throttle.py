"""Slows down guessing: a bounded table of token buckets.

A bucket is charged **before** a password is looked at and given back if it was right, so that
parallel attempts cannot pass it. Accounts that do not exist are charged like those that do.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeAlias

from baas.clock import Clock
from baas.errors import ResourceExhausted

BUCKETS_MAX = 50_000
PARTS_MAX = 4  # of a rate: with fewer attempts, honest people who mistype would wait too long


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` attempts at once, and one more every `seconds`."""

    burst: int
    seconds: float

    def part(self, parts: int) -> Rate:
        """What each of several workers allows, so that all of them together allow this."""
        return Rate(-(-self.burst // parts), self.seconds * parts)


Charges: TypeAlias = dict[tuple[str, ...], Rate]
"""The buckets that one attempt is charged to."""

# One stranger at one account gets the tight bucket; all strangers at one account share a wide one,
# so that nobody can lock the owner out from elsewhere with a handful of attempts.
PAIR_RATE = Rate(10, 30.0)
ACCOUNT_RATE = Rate(100, 10.0)
ADDRESS_RATE = Rate(100, 1.0)
SIGN_UP_RATE = Rate(200, 1.0)


class Throttle:
    """Token buckets by any key, the least recently used forgotten past `BUCKETS_MAX`. Each of
    several workers has its own, of a part of each rate: one of PARTS_MAX at most."""

    def __init__(self, clock: Clock, *, workers: int = 1, buckets_max: int = BUCKETS_MAX) -> None:
        self._clock = clock
        self._parts = min(workers, PARTS_MAX)
        self._buckets_max = buckets_max
        # Key -> the time at which the bucket is full again; absent means full (as in GCRA).
        self._full_at: OrderedDict[tuple[str, ...], float] = OrderedDict()

    def take(self, charges: Charges) -> None:
        """Charges every bucket once, or none. Raises ResourceExhausted (`TooManyAttempts`)."""
        now = self._clock.monotonic_seconds()
        charges = self._own(charges)
        waits = [
            self._full_at.get(key, now) - now - (rate.burst - 1) * rate.seconds
            for key, rate in charges.items()
        ]
        wait = max(waits, default=0.0)
        if wait > 0:
            raise ResourceExhausted(
                "too many attempts; try again later",
                reason="TooManyAttempts",
                details={"retry_after_seconds": int(wait) + 1},
            )
        for key, rate in charges.items():
            self._full_at[key] = max(self._full_at.get(key, now), now) + rate.seconds
            self._full_at.move_to_end(key)
        while len(self._full_at) > self._buckets_max:
            self._full_at.popitem(last=False)

    def give_back(self, charges: Charges) -> None:
        """Undoes one charge: the attempt was a good one."""
        now = self._clock.monotonic_seconds()
        for key, rate in self._own(charges).items():
            full_at = self._full_at.get(key)
            if full_at is None:
                continue
            if full_at - rate.seconds <= now:
                del self._full_at[key]
            else:
                self._full_at[key] = full_at - rate.seconds

    def _own(self, charges: Charges) -> Charges:
        if self._parts == 1:
            return charges
        return {key: rate.part(self._parts) for key, rate in charges.items()}


def sign_in_charges(project: str, email: str, address: str | None) -> Charges:
    """What one sign-in attempt is charged to."""
    charges: Charges = {("account", project, email): ACCOUNT_RATE}
    network = client_network(address)
    charges["pair", project, email, network or ""] = PAIR_RATE
    if network is not None:
        charges["address", project, network] = ADDRESS_RATE
    return charges


def sign_up_charges(project: str, address: str | None) -> Charges:
    """What one sign-up is charged to."""
    network = client_network(address)
    return {} if network is None else {("sign-up", project, network): SIGN_UP_RATE}


def client_network(address: str | None) -> str | None:
    """Who counts as one stranger: an IPv4 address, or an IPv6 /64, as one customer holds.

    None for this machine itself: that may be a proxy which everybody comes through.
    """
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            network = ipaddress.ip_network((int(parsed), 64), strict=False)
            return None if parsed.is_loopback else str(network)
        parsed = parsed.ipv4_mapped
    return None if parsed.is_loopback else str(parsed)
