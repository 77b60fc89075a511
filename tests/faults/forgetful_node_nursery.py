"""`rerouted_nursery` with a planted bug: a commit ignores what was changed since it read."""

from __future__ import annotations

from typing import Any

from baas.database.committer import Committer
from tests.faults.rerouted_nursery import reroute
from tests.nursery import main


def _never_stale(self: Committer, attempt: Any, group: Any) -> bool:
    return False


if __name__ == "__main__":
    Committer._is_stale = _never_stale  # type: ignore[method-assign]
    reroute()
    main()
