"""Proofs that are remembered: of lists that were allowed, and will be again.

A proof costs as much as reading the list. Remembered is only what rests on nothing but the ruleset,
the query and the caller's `request.auth` (`Decision.is_lasting`), and each of them by identity: the
compiled ruleset, the number of a query that is kept, the claims of a token that was verified. A new
release is another ruleset, a new token has other claims, a query that was decoded again has another
number: for each the rules are asked anew. A token that has expired or was revoked never gets here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from baas_rules import Auth, Ruleset

from baas.model.queries import Query

PROOFS_MAX = 10_000  # of all rulesets; past that, all are forgotten

_Key: TypeAlias = "tuple[int, str, str | None, int]"
_Claims: TypeAlias = "Mapping[str, Any] | None"


class Proofs:
    """Lists that are allowed for good. A ruleset's are forgotten with it."""

    def __init__(self) -> None:
        self._by_ruleset: WeakKeyDictionary[Ruleset, dict[_Key, _Claims]] = WeakKeyDictionary()
        self._room = PROOFS_MAX

    def hold(self, ruleset: Ruleset, query: Query, database: str, auth: Auth | None) -> bool:
        """Whether the list was allowed before. False says nothing."""
        known = self._by_ruleset.get(ruleset)
        if known is None or query.number is None:
            return False
        return _key(query.number, database, auth) in known

    def remember(self, ruleset: Ruleset, query: Query, database: str, auth: Auth | None) -> None:
        """That the list is allowed for good, if the query is one that may come again."""
        if query.number is None:
            return
        if self._room == 0:
            self._by_ruleset.clear()
            self._room = PROOFS_MAX
        self._room -= 1
        # The claims are kept, so that no others can get their id.
        known = self._by_ruleset.setdefault(ruleset, {})
        known[_key(query.number, database, auth)] = None if auth is None else auth.token


def _key(number: int, database: str, auth: Auth | None) -> _Key:
    if auth is None:
        return number, database, None, 0
    return number, database, auth.uid, id(auth.token)
