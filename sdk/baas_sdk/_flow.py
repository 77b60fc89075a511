"""How a call is tried: tokens, retries, deadlines. A generator that asks for each step instead of
doing it, so that the blocking and the async client share it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from baas_sdk._requests import Answer, Request
from baas_sdk.errors import (
    DeadlineExceeded,
    InvalidArgument,
    ResourceExhausted,
    SdkError,
    TokenExpired,
    Unavailable,
)

NEVER_SENT = "ConnectionFailed"  # the reason of an Unavailable of which the server saw nothing


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a call that may safely be repeated is tried again: after `Unavailable`, a lost
    connection and a passing `ResourceExhausted`, up to `attempts_max` times in all and never past
    the call's timeout, with pauses that double from `pause_seconds_first` and are drawn at random
    below that."""

    attempts_max: int = 6
    pause_seconds_first: float = 0.1
    pause_seconds_max: float = 5.0

    def __post_init__(self) -> None:
        if self.attempts_max < 1 or self.pause_seconds_first < 0 or self.pause_seconds_max < 0:
            raise InvalidArgument(f"`{self!r}`: at least one attempt, and no negative pauses")

    def pause_seconds(self, failures: int, random: float) -> float:
        """The pause after so many failures; `random` is in [0, 1)."""
        longest = min(self.pause_seconds_max, self.pause_seconds_first * 2.0 ** (failures - 1))
        return longest * (0.5 + 0.5 * random)


@dataclass(frozen=True, slots=True)
class Authorize:
    """Asks for the token to send, None for nobody. `stale` is one that the server has refused."""

    stale: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """Asks to send the request: answered by an Answer, or by the SdkError of what went wrong."""

    request: Request
    token: str | None = field(repr=False)
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Asks to wait."""

    seconds: float


Step: TypeAlias = Authorize | Attempt | Pause
Flow: TypeAlias = Generator[Step, Any, Answer]


def attempts(
    request: Request,
    *,
    timeout_seconds: float,
    policy: RetryPolicy,
    now: Callable[[], float],
    random: Callable[[], float],
) -> Flow:
    """Returns the first successful answer; raises the last error."""
    deadline = now() + timeout_seconds
    token: str | None = (yield Authorize()) if request.is_authorized else None
    refreshed = False
    failures = 0
    while True:
        remaining = deadline - now()
        if remaining <= 0:
            raise timed_out(timeout_seconds)
        outcome: Answer | SdkError = yield Attempt(request, token, remaining)
        retry_after = 0.0
        if isinstance(outcome, Answer):
            if outcome.is_success:
                return outcome
            retry_after = outcome.retry_after_seconds or 0.0
            outcome = outcome.error()
        if isinstance(outcome, TokenExpired) and request.is_authorized and not refreshed:
            refreshed = True
            fresh: str | None = yield Authorize(stale=token)
            if fresh is not None and fresh != token:
                token = fresh
                continue
        failures += 1
        if failures >= policy.attempts_max or not _may_repeat(request, outcome):
            raise outcome
        seconds = max(policy.pause_seconds(failures, random()), min(retry_after, 60.0))
        if now() + seconds >= deadline:
            raise outcome
        yield Pause(seconds)


def timed_out(timeout_seconds: float) -> DeadlineExceeded:
    """The error of a call whose time ran out."""
    return DeadlineExceeded(f"no answer within {timeout_seconds:g} s", reason="Timeout")


def check_timeout(timeout: float | None, default: float) -> float:
    """The timeout of a call. Raises InvalidArgument."""
    if timeout is None:
        return default
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
        raise InvalidArgument(f"`timeout` is a positive number of seconds, not `{timeout!r}`")
    return float(timeout)


def _may_repeat(request: Request, error: SdkError) -> bool:
    if isinstance(error, Unavailable) and error.reason == NEVER_SENT:
        return True
    return (
        request.is_idempotent
        and error.retryable
        and isinstance(error, Unavailable | ResourceExhausted)
    )
