"""A point in time, UTC, in whole microseconds: the precision that Firestore stores."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from baas.errors import InvalidValue

_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
MICROSECONDS_MIN = (datetime.min - _EPOCH) // _MICROSECOND  # 0001-01-01T00:00:00Z
MICROSECONDS_MAX = (datetime.max - _EPOCH) // _MICROSECOND  # 9999-12-31T23:59:59.999999Z

# datetime.fromisoformat also takes week dates, commas and missing parts; RFC 3339 does not.
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)"
    r"(?:\.(\d{1,9}))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """Microseconds since 1970-01-01T00:00:00Z, from year 1 to year 9999."""

    microseconds: int

    @classmethod
    def parse(cls, text: str) -> Timestamp:
        """Reads RFC 3339 with `Z` or an offset and up to nine digits of a second, cut (not rounded)
        to microseconds. Raises InvalidValue; a leap second is refused."""
        if (
            len(text) == 27
            and text[7] == "-"
            and text[10] == "T"
            and text[13] == ":"
            and text[19] == "."
            and text[26] == "Z"
            and text[20:26].isdigit()
            and text[11:13] < "24"
        ):
            # The form that isoformat writes; what the checks leave, fromisoformat reads strictly.
            try:
                return cls((datetime.fromisoformat(text[:26]) - _EPOCH) // _MICROSECOND)
            except ValueError:
                raise _malformed(text) from None
        found = _RFC3339.fullmatch(text)
        if found is None:
            raise _malformed(text)
        day, clock, fraction, sign, hours, minutes = found.groups()
        try:
            moment = datetime.fromisoformat(f"{day}T{clock}") - _EPOCH
        except ValueError:
            raise _malformed(text) from None
        microseconds = (moment.days * 86_400 + moment.seconds) * 1_000_000
        if fraction is not None:
            microseconds += int(fraction[:6].ljust(6, "0"))
        if sign is not None:
            offset = (int(hours) * 60 + int(minutes)) * 60_000_000
            microseconds += -offset if sign == "+" else offset
            if not MICROSECONDS_MIN <= microseconds <= MICROSECONDS_MAX:
                raise _malformed(text)
        return cls(microseconds)

    @classmethod
    def from_datetime(cls, moment: datetime) -> Timestamp:
        """Raises InvalidValue for a datetime without a time zone: nobody knows when that is."""
        if moment.utcoffset() is None:
            raise InvalidValue(
                f"`{moment.isoformat()}` has no time zone", reason="InvalidTimestamp"
            )
        return cls((moment - _EPOCH_UTC) // _MICROSECOND)

    def isoformat(self) -> str:
        """`2026-11-22T17:00:00.123456Z`: always six digits and `Z`; text order is time order."""
        seconds, fraction = divmod(self.microseconds, 1_000_000)
        return f"{_seconds_text(seconds)}.{fraction:06d}Z"

    def to_datetime(self) -> datetime:
        return _EPOCH_UTC + timedelta(microseconds=self.microseconds)

    def to_milliseconds(self) -> Timestamp:
        """Cut to whole milliseconds, the precision of a server timestamp."""
        return Timestamp(self.microseconds - self.microseconds % 1000)

    def __str__(self) -> str:
        return self.isoformat()


@lru_cache(maxsize=4096)
def _seconds_text(seconds: int) -> str:
    # datetime.isoformat pads the year to four digits; strftime does not.
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()


def _malformed(text: str) -> InvalidValue:
    shown = text if len(text) <= 40 else text[:37] + "..."
    shown = shown.encode("utf-8", "backslashreplace").decode()
    return InvalidValue(
        f"`{shown}` is no RFC 3339 time from year 1 to 9999, such as `2026-11-22T17:00:00Z`",
        reason="InvalidTimestamp",
    )
