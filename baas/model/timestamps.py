"""A point in time, UTC, in whole microseconds: the precision that Firestore stores."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """Microseconds since 1970-01-01T00:00:00Z, from year 1 to year 9999."""

    microseconds: int
