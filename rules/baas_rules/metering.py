"""A bound on what an evaluation may walk over, for the few that could walk over very much.

A list of lists of lists holds more than it takes to write it, and comparing two of them, or making
a set of one, visits everything. So walks over values `charge` what they visit to the evaluation
that is metered in their thread. Most are not: `Analysis` tells which conditions could get far, and
those alone pay for the counting.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Final, TypeVar

from baas_rules.errors import LimitExceeded
from baas_rules.limits import VISITS_MAX

T = TypeVar("T")

_left: Final[dict[int, int]] = {}  # by thread: what its evaluation may still visit


def charge(visits: int) -> None:
    """Raises LimitExceeded if the evaluation has visited too much, if it is metered at all."""
    if _left:
        _charge(visits)


def _charge(visits: int) -> None:
    thread = get_ident()
    left = _left.get(thread)
    if left is None:
        return
    _left[thread] = left - visits
    if left < visits:
        raise LimitExceeded(f"more than {VISITS_MAX} elements are visited")


def metered(evaluate: Callable[[], T], visits_max: int = VISITS_MAX) -> T:
    """What `evaluate` returns. One that is metered already goes on with what it has left."""
    thread = get_ident()
    if thread in _left:
        return evaluate()
    _left[thread] = visits_max
    try:
        return evaluate()
    finally:
        del _left[thread]


def is_spent() -> bool:
    """Whether the metered evaluation of this thread has nothing left."""
    return _left.get(get_ident(), 0) < 0


def left_over() -> int:
    """What the metered evaluation of this thread may still visit."""
    return max(0, _left[get_ident()])
