"""Forks servers that kill themselves while they move a project; see `move_points`.

python -m tests.faults.move_nursery
"""

from __future__ import annotations

from tests.faults.move_points import make_movers_mortal, plant_bugs
from tests.nursery import main

if __name__ == "__main__":
    plant_bugs()
    make_movers_mortal()
    main()
