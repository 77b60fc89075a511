"""As `backup_nursery`, with a planted bug: a project that is being restored can be seen.

python -m tests.faults.leaky_backup_nursery
"""

from __future__ import annotations

import baas.projects.projects
from tests.faults.backup_nursery import cut_small
from tests.nursery import main

if __name__ == "__main__":
    cut_small()
    baas.projects.projects.is_deleting = lambda document: False  # type: ignore[attr-defined]
    main()
