"""`python -m baas_rules check FILE`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from baas_rules.__main__ import main

from tests.rules.worlds import wrapped


def test_a_file_that_can_be_deployed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "firestore.rules"
    file.write_text(
        wrapped(
            "match /a/{b} { allow read; allow create: if request.time < timestamp.date(2030, 1, 1);"
            " allow delete: if nope(); }"
        )
    )
    assert main(["check", str(file)]) == 0
    told = capsys.readouterr().out
    assert "warning: unknown function `nope`" in told
    assert (
        f"{file}: open to everybody: get, list of /databases/{{database}}/documents/a/{{b}}" in told
    )
    assert "open to everybody at some time: create of" in told
    assert f"{file}: can be deployed" in told


def test_a_file_with_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad, worse = tmp_path / "a.rules", tmp_path / "b.rules", tmp_path / "c.rules"
    good.write_text(wrapped("match /a/{b} { allow read: if request.auth != null; }"))
    bad.write_text(wrapped("match /a/{b} { allow reed; }"))
    worse.write_text(wrapped("match /a/{b} { allow read: if a = b; allow write: if (; }"))
    assert main(["check", str(good), str(bad), str(worse)]) == 1
    told = capsys.readouterr().out
    assert f"{good}: can be deployed" in told
    assert f"{bad}: 1 error\n" in told
    assert f"{worse}: 2 errors\n" in told
    assert "                                 ^" in told


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "none.rules")]) == 1
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["check"], ["deploy", "x"]])
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "usage:" in capsys.readouterr().err


def test_as_a_module(tmp_path: Path) -> None:
    file = tmp_path / "x.rules"
    file.write_text("service cloud.firestore { }")
    done = subprocess.run(
        [sys.executable, "-m", "baas_rules", "check", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "can be deployed" in done.stdout
