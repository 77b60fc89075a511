"""docs/queries.md and docs/indexes.md, executed against a server in development mode."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import baas_sdk
import httpx
import pytest

from baas.testing import running_server

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXPECTED = re.compile(r"# -> (.*)$", re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["queries.md", "indexes.md"])
def test_the_examples_run_as_written(page: str, tmp_path: Path) -> None:
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
                run_commands(text, tmp_path)
        for made in names.values():
            if isinstance(made, httpx.Client | baas_sdk.Client):
                made.close()


def run_commands(text: str, folder: Path) -> None:
    baas = folder / "bin" / "baas"
    baas.parent.mkdir(exist_ok=True)
    baas.write_text(f'#!/bin/sh\nexec {sys.executable} -m baas "$@"\n', encoding="utf-8")
    baas.chmod(0o755)
    path = f"{baas.parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env={**os.environ, "PATH": path, "BAAS_DATA": str(folder / "data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout
