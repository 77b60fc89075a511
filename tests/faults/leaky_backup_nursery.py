"""As `backup_nursery`, with a planted bug: a project that is being restored can be seen.

python -m tests.faults.leaky_backup_nursery
"""

from __future__ import annotations

from baas.model.values import Fields
from baas.projects.deletions import Deletions
from tests.faults.backup_nursery import cut_small
from tests.nursery import main

_mark = Deletions.mark


def _visible(self: Deletions) -> Fields:
    return {**_mark(self), "deleting": False}


if __name__ == "__main__":
    cut_small()
    Deletions.mark = _visible  # type: ignore[method-assign]
    main()
