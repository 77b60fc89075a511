"""Forks servers that kill themselves while they are at jobs, or move a project; see `job_points`.

python -m tests.faults.job_nursery
"""

from __future__ import annotations

from tests.faults.job_points import make_jobs_mortal, plant_bugs
from tests.faults.move_points import make_movers_mortal
from tests.nursery import main

if __name__ == "__main__":
    plant_bugs()
    make_jobs_mortal()
    make_movers_mortal()
    main()
