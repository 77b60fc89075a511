"""What all tests share: the profile of the property tests.

Deadlines and health checks of hypothesis judge the machine, not the code; what takes too long is
cut off by the time limit of a test.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("default", deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("default")
