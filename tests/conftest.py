"""What all tests share: the profile of the property tests, a mongod, and sockets that tell where
they were made.

Deadlines and health checks of hypothesis judge the machine, not the code; what takes too long is
cut off by the time limit of a test. `make test` tries the same examples each time, so that what it
says is about the change; `make fuzz` draws new ones.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.effort import FACTOR
from tests.mongo import mongodb_uri, replica_set
from tests.sockets import remember_sockets

__all__ = ["mongodb_uri", "replica_set"]

settings.register_profile(
    "default",
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=FACTOR == 1,
)
settings.load_profile("default")

remember_sockets()
