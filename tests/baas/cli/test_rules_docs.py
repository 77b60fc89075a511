"""The commands in docs/rules, executed on an empty data folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import write_command

DOCS = Path(__file__).parents[3] / "docs" / "rules"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = [page for page in sorted(DOCS.glob("*.md")) if BLOCK.search(page.read_text("utf-8"))]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_the_page_succeed(page: Path, tmp_path: Path) -> None:
    shutil.copy(DOCS / "example" / "firestore.rules", tmp_path)
    folder = tmp_path / "bin"
    folder.mkdir()
    write_command(folder)
    environment = {
        **os.environ,
        "PATH": f"{folder}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}"
        + os.environ["PATH"],
        "BAAS_SYNCHRONOUS": "normal",
    }
    for text in BLOCK.findall(page.read_text(encoding="utf-8")):
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout
