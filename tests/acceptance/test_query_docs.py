"""Pages on queries, indexes, schemas and history, executed against a server in development mode."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
from pathlib import Path

import baas_sdk
import httpx
import pytest

from baas.cli.main import run
from tests.processes import ServerProcess, write_command

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^cat > (\S+) <<'END'\n(.*?)^END\n", re.MULTILINE | re.DOTALL)
EXPECTED = re.compile(r"# -> (.*)$", re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        *("queries.md", "search.md", "geo.md", "indexes.md", "schemas.md", "history.md"),
        "upgrading.md",
    ],
)
def test_the_examples_run_as_written(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAAS_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall((DOCS / page).read_text("utf-8"))
    monkeypatch.setenv("BAAS_SYNCHRONOUS", "normal")
    with ServerProcess(tmp_path / "data", "--dev") as server:
        with server.admin() as admin:
            assert admin.post("/projects", json={"id": "demo"}).is_success
            key = admin.post("/projects/demo/keys", json={"kind": "secret"}).json()["key"]
        names: dict[str, object] = {"URL": server.url, "SECRET_KEY": key}
        for kind, text in blocks:
            if kind == "python":
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed):
                    exec(compile(text, page, "exec"), names)
                assert printed.getvalue().splitlines() == EXPECTED.findall(text)
                continue
            commands = FILE.sub(write_file, text)
            if all(line.startswith("baas ") for line in commands.splitlines()):
                run_commands(commands)
            else:
                run_script(commands, tmp_path)
        for made in names.values():
            if isinstance(made, httpx.Client | baas_sdk.Client):
                made.close()


def run_commands(text: str) -> None:
    """In this process; they find the server by its data folder."""
    for line in text.splitlines():
        _, *arguments = shlex.split(line, comments=True)
        code = 1 if "# exit code 1" in line else 0
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            assert run(arguments) == code, line
        assert printed.getvalue() or code, line


def write_file(found: re.Match[str]) -> str:
    place = Path(found[1])
    place.parent.mkdir(exist_ok=True)
    place.write_text(found[2], encoding="utf-8")
    return ""


def run_script(text: str, folder: Path) -> None:
    """What takes more than commands of ours, by a shell."""
    write_command(folder)
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout
