"""How long a query may read for what it may throw away."""

from __future__ import annotations

from baas.clock import Clock


class ReadBudget:
    """Seconds of reading, of one query. The time that its reader takes between is not counted."""

    __slots__ = ("_clock", "_left", "seconds_max")

    def __init__(self, clock: Clock, seconds_max: float) -> None:
        self._clock = clock
        self._left = self.seconds_max = seconds_max

    @property
    def left_seconds(self) -> float:
        return self._left

    def start(self) -> float:
        """When a read begins."""
        return self._clock.monotonic_seconds()

    def spend(self, started: float) -> bool:
        """Notes a read that began at `started`; whether anything is left."""
        self._left -= self._clock.monotonic_seconds() - started
        return self._left > 0
