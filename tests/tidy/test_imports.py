"""Imports run downwards only: the contracts in pyproject.toml hold."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(400)


def test_import_law_holds() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_import_law_catches_an_upward_import(tmp_path: Path) -> None:
    """The check can fail: a copy of the tree with one import upwards breaks the contract."""
    copy = tmp_path / "tree"
    (copy / "rules").mkdir(parents=True)
    (copy / "sdk").mkdir()
    for source, target in (
        ("baas", "baas"),
        ("rules/baas_rules", "baas_rules"),
        ("sdk/baas_sdk", "baas_sdk"),
    ):
        for file in (ROOT / source).rglob("*.py"):
            place = copy / target / file.relative_to(ROOT / source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    (copy / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    clock = copy / "baas" / "clock.py"
    clock.write_text("import baas.services\n" + clock.read_text(encoding="utf-8"), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "baas.clock -> baas.services" in done.stdout


def test_what_most_servers_do_not_need_is_not_imported() -> None:
    """The MongoDB driver and the library for object stores: 11 MiB of memory."""
    code = "import sys, baas.app; print({'pymongo', 'obstore', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
