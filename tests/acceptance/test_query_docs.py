"""Pages on queries, indexes and history, executed against a server in development mode."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import baas_sdk
import httpx
import pytest

from baas.cli.main import run
from baas.testing import running_server

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXPECTED = re.compile(r"# -> (.*)$", re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["queries.md", "indexes.md", "history.md", "upgrading.md"])
def test_the_examples_run_as_written(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAAS_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall((DOCS / page).read_text("utf-8"))
    environment = {"BAAS_SYNCHRONOUS": "normal"}
    with running_server(tmp_path / "data", "--dev", environment=environment) as server:
        headers = {"authorization": f"Bearer {server.token}"}
        with httpx.Client(base_url=f"{server.url}/api/v1/admin", headers=headers) as admin:
            assert admin.post("/projects", json={"id": "demo"}).is_success
            key = admin.post("/projects/demo/keys", json={"kind": "secret"}).json()["key"]
        names: dict[str, object] = {"URL": server.url, "SECRET_KEY": key}
        for kind, text in blocks:
            if kind == "python":
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed):
                    exec(compile(text, page, "exec"), names)
                assert printed.getvalue().splitlines() == EXPECTED.findall(text)
            else:
                run_commands(text)
        for made in names.values():
            if isinstance(made, httpx.Client | baas_sdk.Client):
                made.close()


def run_commands(text: str) -> None:
    """In this process; they find the server by its data folder."""
    for line in text.splitlines():
        name, *arguments = shlex.split(line)
        assert name == "baas"
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            assert run(arguments) == 0, line
        assert printed.getvalue(), line
