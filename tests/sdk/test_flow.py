"""Tokens, retries and deadlines of a call, without sending anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from baas_sdk import errors
from baas_sdk._flow import (
    NEVER_SENT,
    Attempt,
    Authorize,
    Pause,
    RetryPolicy,
    attempts,
    check_timeout,
)
from baas_sdk._requests import Answer, Request

READ = Request("GET", "/x", is_idempotent=True)
ONCE = Request("POST", "/x")
OK = Answer(200, b"{}")
REFUSED = errors.Unavailable("refused", reason=NEVER_SENT)
LOST = errors.Unavailable("lost", reason="ConnectionLost")


def failure(status: int, code: str, reason: str = "", retry_after: float | None = None) -> Answer:
    body = {"error": {"code": code, "reason": reason or code, "message": "m"}}
    return Answer(status, orjson.dumps(body), None, retry_after)


class Driver:
    """Answers a flow's steps from a list, on a clock that only pauses move."""

    def __init__(self, *outcomes: Answer | errors.SdkError, tokens: list[str | None]) -> None:
        self.outcomes = list(outcomes)
        self.tokens = tokens
        self.steps: list[Any] = []
        self.now = 0.0

    def run(
        self,
        request: Request,
        *,
        timeout: float = 60,
        policy: RetryPolicy | None = None,
        slow: float = 0,
    ) -> Answer:
        flow = attempts(
            request,
            timeout_seconds=timeout,
            policy=policy or RetryPolicy(),
            now=lambda: self.now,
            random=lambda: 1.0,
        )
        outcome: Any = None
        while True:
            try:
                step = flow.send(outcome)
            except StopIteration as stop:
                answer: Answer = stop.value
                return answer
            self.steps.append(step)
            match step:
                case Authorize():
                    outcome = self.tokens.pop(0)
                case Attempt():
                    outcome = self.outcomes.pop(0)
                    self.now += slow
                case Pause():
                    self.now += step.seconds
                    outcome = None

    @property
    def sent_tokens(self) -> list[str | None]:
        return [step.token for step in self.steps if isinstance(step, Attempt)]

    @property
    def pauses(self) -> list[float]:
        return [step.seconds for step in self.steps if isinstance(step, Pause)]


def test_a_call_asks_for_a_token_and_sends_it_once() -> None:
    driver = Driver(OK, tokens=["t1"])

    assert driver.run(ONCE) is OK
    assert driver.sent_tokens == ["t1"]


def test_account_calls_send_no_token() -> None:
    driver = Driver(OK, tokens=[])
    driver.run(Request("POST", "/x", is_authorized=False))

    assert driver.sent_tokens == [None]


def test_reads_are_repeated_with_growing_pauses() -> None:
    driver = Driver(LOST, failure(503, "UNAVAILABLE"), REFUSED, OK, tokens=["t"])

    assert driver.run(READ) is OK
    assert driver.pauses == [0.1, 0.2, 0.4]


@pytest.mark.parametrize(
    ("request_", "outcome"),
    [
        (ONCE, LOST),
        (ONCE, failure(503, "UNAVAILABLE")),
        (READ, failure(403, "PERMISSION_DENIED")),
        (READ, failure(500, "INTERNAL")),
        (READ, failure(409, "ABORTED")),
        (READ, failure(429, "RESOURCE_EXHAUSTED", "QuotaExceeded")),
        (READ, errors.DeadlineExceeded("slow")),
    ],
)
def test_what_might_happen_twice_or_not_help_is_not_repeated(
    request_: Request, outcome: Answer | errors.SdkError
) -> None:
    driver = Driver(outcome, tokens=["t"])

    with pytest.raises(errors.SdkError):
        driver.run(request_)
    assert driver.pauses == []


def test_what_the_server_never_saw_is_always_repeated() -> None:
    driver = Driver(REFUSED, OK, tokens=["t"])

    assert driver.run(ONCE) is OK


def test_attempts_are_counted() -> None:
    driver = Driver(*[LOST] * 3, tokens=["t"])

    with pytest.raises(errors.Unavailable, match="lost"):
        driver.run(READ, policy=RetryPolicy(attempts_max=3))
    assert driver.outcomes == []


def test_a_pause_never_passes_the_timeout() -> None:
    driver = Driver(LOST, LOST, OK, tokens=["t"])

    with pytest.raises(errors.Unavailable):
        driver.run(READ, timeout=0.25)
    assert driver.now <= 0.25


def test_time_that_ran_out_before_an_attempt_is_the_error() -> None:
    driver = Driver(LOST, tokens=["t"])

    with pytest.raises(errors.SdkError):
        driver.run(READ, timeout=1, slow=1)


def test_the_servers_pause_is_kept() -> None:
    driver = Driver(failure(429, "RESOURCE_EXHAUSTED", retry_after=3), OK, tokens=["t"])
    driver.run(READ)

    assert driver.pauses == [3]


EXPIRED = failure(401, "UNAUTHENTICATED", "IdTokenExpired")


def test_an_expired_token_is_replaced_once() -> None:
    driver = Driver(EXPIRED, OK, tokens=["old", "new"])

    assert driver.run(ONCE) is OK
    assert driver.sent_tokens == ["old", "new"]
    assert driver.steps[2] == Authorize(stale="old")
    assert driver.pauses == []


@pytest.mark.parametrize("tokens", [["old", "new"], ["old", "old"], [None, None]])
def test_a_second_expiry_reaches_the_caller(tokens: list[str | None]) -> None:
    driver = Driver(EXPIRED, EXPIRED, tokens=tokens)

    with pytest.raises(errors.TokenExpired):
        driver.run(READ)


def test_other_refusals_do_not_cost_a_refresh() -> None:
    driver = Driver(failure(401, "UNAUTHENTICATED", "TokenInvalid"), tokens=["t"])

    with pytest.raises(errors.TokenInvalid):
        driver.run(READ)


def test_pauses_are_spread_and_bounded() -> None:
    policy = RetryPolicy(pause_seconds_first=1, pause_seconds_max=3)

    assert [policy.pause_seconds(count, 1.0) for count in range(1, 5)] == [1, 2, 3, 3]
    assert policy.pause_seconds(1, 0.0) == 0.5


@pytest.mark.parametrize(
    "make",
    [
        lambda: RetryPolicy(attempts_max=0),
        lambda: RetryPolicy(pause_seconds_first=-1),
        lambda: check_timeout(0, 60),
        lambda: check_timeout(-1, 60),
        lambda: check_timeout("5", 60),  # type: ignore[arg-type]
        lambda: check_timeout(True, 60),
        lambda: check_timeout(float("nan"), 60),
    ],
)
def test_wrong_settings_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(errors.InvalidArgument):
        make()


def test_tokens_do_not_show() -> None:
    assert "secret" not in repr(Attempt(READ, "secret", 1.0))
