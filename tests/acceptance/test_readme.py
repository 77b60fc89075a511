"""README, executed: the wheels, installed into a fresh environment, run every block in order.

`sh` blocks run in one folder, and a block that starts with `baas serve` stays in the background.
`python` blocks run as one program; a comment `# -> text` is compared with what is printed. A block
whose first line is a comment that names a file (`// app.rules`) is written to that file.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from scripts.free_ports import free_port
from tests.processes import ROOT
from tests.wheels import FOLDERS, build, install, run

README = ROOT / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"^(?://|#) (\S+\.\w+)\n")
EXPECTED = re.compile(r"# -> (.*)$", re.MULTILINE)
START_SECONDS = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@dataclass(frozen=True)
class Block:
    language: str
    text: str


def blocks(port: int) -> list[Block]:
    """README's blocks in order, on a free port instead of 8080."""
    page = README.read_text(encoding="utf-8").replace("8080", str(port))
    found = [Block(language, text) for language, text in BLOCK.findall(page)]
    assert {"sh", "python"} <= {block.language for block in found}
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with nothing but the three wheels and what they need."""
    folder = tmp_path_factory.mktemp("installed")
    return install(folder, build(folder, *FOLDERS), *FOLDERS)


@pytest.fixture
def serving() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.terminate()
        try:
            assert process.wait(100) == 0
        finally:
            process.kill()


def test_readme_runs_as_written(
    installed: Path, tmp_path: Path, serving: list[subprocess.Popen[bytes]]
) -> None:
    port = free_port()
    # No repository on the path: what runs is what the wheels carry.
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    environment |= {
        "PATH": f"{installed}{os.pathsep}{os.environ['PATH']}",
        "BAAS_PORT": str(port),
    }
    program: list[str] = []
    exports: list[str] = []
    for block in blocks(port):
        named = NAMED.match(block.text)
        if named:
            (tmp_path / named[1]).write_text(block.text, encoding="utf-8")
        elif block.language == "sh" and block.text.startswith("baas serve"):
            serving.append(subprocess.Popen(block.text.split(), cwd=tmp_path, env=environment))
            wait_until_ready(port)
        elif block.language == "sh" and not block.text.startswith(("make", "pip", "git")):
            script = "set -euo pipefail\n" + "\n".join(exports) + "\n" + block.text
            run("bash", "-c", script, cwd=tmp_path, environment=environment)
            exports += [line for line in block.text.splitlines() if line.startswith("export ")]
        elif block.language == "python":
            program.append(block.text)
    text = "\n".join(program)
    (tmp_path / "program.py").write_text(text, encoding="utf-8")
    script = "set -euo pipefail\n" + "\n".join(exports) + "\npython program.py"
    printed = run("bash", "-c", script, cwd=tmp_path, environment=environment)
    expected = EXPECTED.findall(text)
    assert expected
    assert printed.splitlines() == expected
    assert serving


def wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz").is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise AssertionError("`baas serve` did not answer")
