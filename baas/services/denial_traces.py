"""Why rules denied, for the app's developer: traces of denials, in memory, within bounds.

The caller of an app learns nothing but the request id that every answer carries; by it the trace is
found. Explaining costs more than deciding, so only so many denials a second are explained; the
others are counted. Nothing here is touched by a request that is allowed.

Workers of one machine tell each other what they have explained, so that each answers for all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from typing import Any

import orjson
import structlog
from baas_rules import Explanation

from baas.clock import Clock
from baas.errors import BaasError, PermissionDenied
from baas.services.explanations import encode_explanation, valid_text
from baas.settings import Settings

TRACES_MAX = 10_000  # per project
TRACE_BYTES_MAX = 64 * 1024 * 1024  # per project
ALL_BYTES_MAX = 256 * 1024 * 1024  # of all projects together
TEXT_CHARACTERS_MAX = 32_000  # of one explanation
STEPS_MAX = 200  # of one explanation
ATTEMPTS_MAX = 20
PLACES_MAX = 64  # of workers
_OVERHEAD_BYTES = 600  # what an entry takes beside its texts
_REDACTED = "…"
_log = structlog.get_logger("baas.rules")


@dataclass(frozen=True, slots=True)
class Asked:
    """What was denied to whom. `place` is a database or a bucket; `release` the rules' id."""

    project: str
    service: str
    place: str
    method: str
    path: tuple[str, ...]
    caller: str
    uid: str | None
    release: str | None


@dataclass(frozen=True, slots=True)
class Trace:
    """A denial that was explained; `explanation` is a JSON object."""

    asked: Asked
    time: int  # microseconds since 1970
    explanation: bytes


@dataclass(frozen=True, slots=True)
class Denial:
    """A trace that is kept: what the developer sees. `number` counts up, roughly with time, and no
    other denial of any worker has it."""

    number: int
    request_id: str
    trace: Trace

    @property
    def size(self) -> int:
        asked = self.trace.asked
        texts = sum(map(len, asked.path)) + len(asked.uid or "") + len(self.request_id)
        return len(self.trace.explanation) + 4 * texts + _OVERHEAD_BYTES


@dataclass(slots=True)
class Counts:
    """Since the server's start: `denied` in all, `unexplained` of them for want of time, `dropped`
    to make room for later ones. Of other workers as they last told."""

    denied: int = 0
    unexplained: int = 0
    dropped: int = 0


class _Ring:
    """The denials of one project."""

    def __init__(self, clock: Clock, per_second: int) -> None:
        self.denials: deque[Denial] = deque()
        self.counts = Counts()
        self.others: dict[int, tuple[int, int]] = {}  # by place, denied and unexplained
        self.size = 0
        self._clock = clock
        self._per_second = per_second
        self._left = float(per_second)
        self._refilled = clock.monotonic_seconds()

    def may_explain(self) -> bool:
        """Takes one from the budget, of which at most a second's worth is saved up."""
        now = self._clock.monotonic_seconds()
        gained = (now - self._refilled) * self._per_second
        self._left = min(float(self._per_second), self._left + gained)
        self._refilled = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def add(self, denial: Denial) -> None:
        self.denials.append(denial)
        self.size += denial.size
        while len(self.denials) > TRACES_MAX or self.size > TRACE_BYTES_MAX:
            self.drop()

    def drop(self) -> None:
        """Forgets the oldest."""
        self.size -= self.denials.popleft().size
        self.counts.dropped += 1


class DenialTraces:
    """The traces of all projects of this process. Bound to one event loop."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._rings: dict[str, _Ring] = {}
        self._number = 0
        self._place = 0
        self._tell: Callable[[bytes], None] | None = None

    def share(self, place: int, tell: Callable[[bytes], None]) -> None:
        """As the worker in this place of several. `tell` sends a message to all others, for which
        they call `hear`; it may get lost."""
        self._place = place
        self._tell = tell

    def hear(self, message: bytes) -> None:
        """What another worker has explained."""
        head, _, explanation = message.partition(b"\n")
        place, number, request_id, time, asked, denied, unexplained = orjson.loads(head)
        project, service, bucket, method, path, *rest = asked
        trace = Trace(
            Asked(project, service, bucket, method, tuple(path), *rest), time, explanation
        )
        self._keep(Denial(number, request_id, trace))
        self._ring(project).others[place] = denied, unexplained

    def deny(self, asked: Asked, explain: Callable[[bool], Explanation]) -> PermissionDenied:
        """The error to raise. `explain(redact)` is called only if the budget allows.

        In development mode, which is on loopback only, the error says why to the caller as well.
        """
        ring = self._ring(asked.project)
        ring.counts.denied += 1
        dev = self._settings.dev
        if not dev and not ring.may_explain():
            ring.counts.unexplained += 1
            return PermissionDenied()
        redact = self._settings.redact_denials and not dev
        try:
            explanation = explain(redact)
        except Exception:
            # What cannot be told is denied all the same.
            _log.exception("a denial could not be explained", project=asked.project)
            ring.counts.unexplained += 1
            return PermissionDenied()
        return self._error(asked, _encode(explanation), str(explanation), redact=redact)

    def deny_because(self, asked: Asked, reason: str) -> PermissionDenied:
        """The error to raise where the reason is no matter of a single condition."""
        self._ring(asked.project).counts.denied += 1
        nothing: dict[str, Any] = {"attempts": [], "reasons": [], "lookups": []}
        told = orjson.dumps({"text": reason, **nothing, "expressions": 0})
        redact = self._settings.redact_denials and not self._settings.dev
        return self._error(asked, told, reason, redact=redact)

    def note(self, request_id: str, error: BaasError) -> None:
        """An error goes out to a caller, who is told this request id."""
        trace = getattr(error, "trace", None)
        if not isinstance(trace, Trace):
            return
        now = self._clock.now_microseconds() * PLACES_MAX + self._place
        self._number = max(self._number + PLACES_MAX, now)
        denial = Denial(self._number, request_id, trace)
        self._keep(denial)
        if self._tell is not None:
            self._tell(self._message(denial))

    def _message(self, denial: Denial) -> bytes:
        trace = denial.trace
        counts = self._ring(trace.asked.project).counts
        told = [self._place, denial.number, denial.request_id, trace.time, astuple(trace.asked)]
        return orjson.dumps([*told, counts.denied, counts.unexplained]) + b"\n" + trace.explanation

    def _keep(self, denial: Denial) -> None:
        self._ring(denial.trace.asked.project).add(denial)
        while sum(ring.size for ring in self._rings.values()) > ALL_BYTES_MAX:
            max(self._rings.values(), key=lambda ring: ring.size).drop()

    def newest(self, project: str) -> Iterator[Denial]:
        """The denials that are kept, newest first."""
        ring = self._rings.get(project)
        found = () if ring is None else ring.denials
        return iter(sorted(found, key=lambda denial: -denial.number))

    def counts(self, project: str) -> Counts:
        ring = self._rings.get(project)
        if ring is None:
            return Counts()
        denied, unexplained = ring.counts.denied, ring.counts.unexplained
        for others in ring.others.values():
            denied, unexplained = denied + others[0], unexplained + others[1]
        return Counts(denied, unexplained, ring.counts.dropped)

    def forget_values(self, project: str) -> None:
        """Drops all traces: something that they may show was erased. What is counted stays."""
        ring = self._rings.get(project)
        while ring is not None and ring.denials:
            ring.drop()

    def forget_project(self, project: str) -> None:
        """The project is gone; one of the same id begins with nothing."""
        self._rings.pop(project, None)

    def _ring(self, project: str) -> _Ring:
        ring = self._rings.get(project)
        if ring is None:
            per_second = self._settings.denial_explanations_per_second
            ring = self._rings[project] = _Ring(self._clock, per_second)
        return ring

    def _error(self, asked: Asked, told: bytes, text: str, *, redact: bool) -> PermissionDenied:
        details = None
        if self._settings.dev:
            details = {"explanation": text}
            _log.warning(
                "denied by rules",
                project=asked.project,
                place=asked.place,
                caller=asked.caller,
                uid=asked.uid,
                explanation=text,
            )
        error = PermissionDenied(details=details)
        shown = _without_ids(asked) if redact else asked
        error.trace = Trace(shown, self._clock.now_microseconds(), told)
        return error


def _without_ids(asked: Asked) -> Asked:
    if asked.service == "cloud.firestore":
        path = tuple(_REDACTED if at % 2 else one for at, one in enumerate(asked.path))
    else:
        path = (_REDACTED,) if asked.path else ()
    uid = None if asked.uid is None else _REDACTED
    return Asked(
        asked.project,
        asked.service,
        asked.place,
        asked.method,
        path,
        asked.caller,
        uid,
        asked.release,
    )


def _encode(explanation: Explanation) -> bytes:
    text = explanation.tree()
    if len(text) > TEXT_CHARACTERS_MAX:
        text = text[: TEXT_CHARACTERS_MAX - 1] + "…"
    tree = {
        "text": text,
        **encode_explanation(explanation, steps_max=STEPS_MAX, attempts_max=ATTEMPTS_MAX),
    }
    # Of strings in rules and documents, which may hold halves of surrogate pairs.
    return orjson.dumps(valid_text(tree))
