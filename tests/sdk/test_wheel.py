"""What PyPI would hand out: the wheel alone, in an environment without the server."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.processes import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SCRIPT = """
import importlib.util, inspect, sys
import baas_sdk
assert importlib.util.find_spec("baas") is None, "the server's package is here"
assert importlib.util.find_spec("baas_rules") is None, "the rules' package is here"
assert {name.partition(".")[0] for name in sys.modules} & {"starlette", "uvicorn"} == set()
for name in baas_sdk.__all__:
    getattr(baas_sdk, name)
with baas_sdk.Client("http://127.0.0.1:9", project="demo") as client:
    assert client.document("a/b").path == "a/b"
print(baas_sdk.__file__)
"""


def run(*command: str | Path, cwd: Path) -> str:
    line = [str(part) for part in command]
    done = subprocess.run(line, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_wheel_works_without_the_server(tmp_path: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=ROOT / "sdk")
    (wheel,) = tmp_path.glob("baas_sdk-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "baas_sdk/py.typed" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"baas_sdk"}

    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, wheel, cwd=tmp_path)

    assert str(tmp_path) in run(python, "-I", "-c", SCRIPT, cwd=tmp_path)
