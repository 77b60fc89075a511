"""From an evaluation's outcome to a Decision."""

from __future__ import annotations

from typing import Final

from baas_rules.decision import Decision, Lookup, Reason
from baas_rules.environment import Environment
from baas_rules.limits import LOOKUPS_MAX

ALLOWED: Final = Decision(allowed=True)
ALLOWED_FOR_GOOD: Final = Decision(allowed=True, is_lasting=True)
DENIED: Final = Decision(allowed=False)


def settled(allowed: bool, environment: Environment) -> Decision:
    """The decision, with what it rests on."""
    if not environment.lookups:
        return ALLOWED if allowed else DENIED
    return Decision(allowed, lookups=frozenset(environment.lookups))


def undecided(lookups: frozenset[Lookup]) -> Decision:
    """Nothing is decided before these are read: no more in one round than could be evaluated."""
    if len(lookups) > LOOKUPS_MAX:
        lookups = frozenset(sorted(lookups)[:LOOKUPS_MAX])
    return Decision(allowed=False, missing=lookups)


def because(decision: Decision, reasons: tuple[Reason, ...]) -> Decision:
    """The same decision, with its reasons."""
    return Decision(decision.allowed, decision.missing, decision.lookups, reasons)
