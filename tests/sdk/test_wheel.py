"""What PyPI would hand out: the wheel alone, in an environment without the server."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.wheels import build, install, run

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


def test_the_wheel_works_without_the_server(tmp_path: Path) -> None:
    (wheel,) = build(tmp_path, "baas-sdk")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "baas_sdk/py.typed" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"baas_sdk"}

    python = install(tmp_path, [wheel], "baas-sdk") / "python"
    assert str(tmp_path) in run(python, "-I", "-c", SCRIPT, cwd=tmp_path)
