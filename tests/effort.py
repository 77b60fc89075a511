"""How hard the property tests try: a little in `make test`, a lot in `make fuzz`."""

from __future__ import annotations

import os

FACTOR = int(os.environ.get("BAAS_EFFORT", "1"))


def examples(count: int) -> int:
    """The number of examples of a property test; `count` is the one of `make test`."""
    return count * FACTOR
