"""The console's own gate: types, lint, format and unit tests, on a real Node.js."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.console.conftest import TEST_SECONDS
from tests.processes import ROOT

pytestmark = [pytest.mark.node, pytest.mark.slow]
SOURCES = ROOT / "console"


def test_the_console_passes_its_own_check() -> None:
    given = os.environ.get("BAAS_NODE")
    folders = [str(Path(given).parent)] if given else []
    path = os.pathsep.join(
        [*folders, os.environ.get("PATH", ""), str(ROOT / ".tools" / "node" / "bin")]
    )
    npm = shutil.which("npm", path=path)
    if npm is None or not (SOURCES / "node_modules").is_dir():
        reason = "NOT RUN: no npm, or no console/node_modules; run `make console`"
        if "node" in os.environ.get("BAAS_EXCUSE", ""):
            pytest.skip(reason)
        pytest.fail(reason, pytrace=False)
    done = subprocess.run(
        [npm, "run", "--silent", "check"],
        cwd=SOURCES,
        env={**os.environ, "PATH": path, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=TEST_SECONDS - 20,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"[-4000:]
