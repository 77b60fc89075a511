"""Tests that try harder by `make fuzz` are among those that it runs."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_HELPERS = ("tests/conftest.py", "tests/effort.py", "tests/tidy/")


def test_what_scales_with_effort_is_fuzzed() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\nfuzz:")[2].partition("\n\n")[0]
    run = re.findall(r"tests/[\w/.]+", recipe)
    assert len(run) > 10
    left_out = [
        name
        for file in sorted(ROOT.glob("tests/**/*.py"))
        if "tests.effort import" in file.read_text()
        and not (name := str(file.relative_to(ROOT))).startswith(_HELPERS)
        and not any(name == one or name.startswith(f"{one}/") for one in run)
    ]
    assert left_out == []
