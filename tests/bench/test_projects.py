"""The load of many projects, in short: that it works, and says what it found."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import projects


@pytest.mark.timeout(400)
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are not listed here")
def test_sixty_projects_six_active(tmp_path: Path) -> None:
    size = projects.Size(projects=60, active=6, settle_seconds=0, rounds=0)
    flags = ("--synchronous", "normal", "--open-databases-max", "20")
    report = projects.measure(tmp_path / "bench", size, flags=flags)
    none, made, *_ = report.footprints
    assert report.heard == 6 * projects.WRITES
    # Two databases for each project, 7 descriptors each, but for those that were idle.
    assert none.descriptors < made.descriptors <= none.descriptors + 7 * 2 * 60 + 60
    assert made.memory_mib > none.memory_mib
    assert (len(report.cold_ms), len(report.warm_ms)) == (6, 6 * projects.WARM_GETS)
    assert all(start.cpu_seconds > 0 for pair in report.starts for start in pair)
    table = report.table("SQLite")
    assert "60 projects, 6 active, SQLite" in table
    assert "120 of 120" in table
