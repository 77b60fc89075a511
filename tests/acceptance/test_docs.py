"""docs/writes.md, docs/transactions.md and docs/backup.md, executed against a real server.

`python` blocks of a page are one program, in which `# -> text` is what a line prints; `sh` blocks
run with the server's data folder; `http` blocks are requests below the project's documents. They
run in the order of the page.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes import ROOT, ServerProcess, checked, write_command

pytestmark = pytest.mark.slow
PAGES = ("writes.md", "transactions.md", "backup.md")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXPECTED = re.compile(r"# -> (.*)$", re.MULTILINE)
RULES = """
rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /rooms/{room}/{rest=**} { allow read, write: if true; }
  }
}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, str]]:
    running = ServerProcess(tmp_path_factory.mktemp("docs") / "data").start()
    try:
        yield running, running.create_project("demo", RULES, allow_open=True)
    finally:
        assert running.stop() == 0


@pytest.mark.parametrize("page", PAGES)
def test_examples_of_the_page_run(
    server: tuple[ServerProcess, str], page: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    running, key = server
    monkeypatch.setenv("BAAS_URL", running.url)
    monkeypatch.setenv("BAAS_API_KEY", key)
    with running.admin() as admin:
        made = checked(admin.post("/projects/demo/keys", json={"kind": "secret"}))
    monkeypatch.setenv("BAAS_SECRET_KEY", made["key"])
    names: dict[str, Any] = {}
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = BLOCK.findall(text)
    assert found
    for language, block in found:
        if language == "python":
            run_python(block, names)
        elif language == "http":
            send(running.url, block)
        else:
            assert language == "sh"
            run_commands(running, block, tmp_path)
    if "client" in names:
        names["client"].close()


def run_python(block: str, names: dict[str, Any]) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block, "example", "exec", dont_inherit=True), names)
    assert printed.getvalue().splitlines() == EXPECTED.findall(block)


def send(url: str, block: str) -> None:
    head, _, body = block.partition("\n{")
    (method, path), *headers = (line.split(maxsplit=1) for line in head.splitlines())
    answer = httpx.request(
        method,
        f"{url}/api/v1/projects/demo/documents{path}",
        headers={name.rstrip(":"): value for name, value in headers},
        content="{" + body,
    )
    assert answer.is_success, answer.text


def run_commands(running: ServerProcess, block: str, folder: Path) -> None:
    write_command(folder)
    environment = {name: value for name, value in os.environ.items() if name != "BAAS_URL"}
    environment |= {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "BAAS_DATA": str(running.data),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
