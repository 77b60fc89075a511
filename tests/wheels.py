"""Wheels in an environment of their own, with what they need and nothing else. Nothing is asked of
the network: what they need is in the lock file, and in the cache since the set-up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT

FOLDERS = {"baas": ROOT, "baas-rules": ROOT / "rules", "baas-sdk": ROOT / "sdk"}


def run(*command: str | Path, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> str:
    """What it prints; it must succeed."""
    line = [str(part) for part in command]
    done = subprocess.run(
        line, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def build(folder: Path, *packages: str) -> list[Path]:
    """The wheels of these packages."""
    for package in packages:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        run(*command, cwd=FOLDERS[package])
    wheels = sorted(folder.glob("*.whl"))
    assert len(wheels) == len(packages)
    return wheels


def install(folder: Path, wheels: list[Path], *packages: str) -> Path:
    """Where the programs of a new environment with the wheels of these packages are."""
    own = ROOT / ".tools" / "bin" / "uv"  # the Makefile's
    uv = str(own) if own.exists() else shutil.which("uv")
    assert uv, "uv is missing: run the tests by `make test`"
    wanted = [word for package in packages for word in ("--package", package)]
    run(
        *(uv, "sync", "--quiet", "--offline", "--locked", "--no-dev", "--no-install-workspace"),
        *("--python", sys.executable, *wanted),
        environment={**os.environ, "UV_PROJECT_ENVIRONMENT": str(folder / "venv")},
    )
    programs = folder / "venv" / "bin"
    python = ("--quiet", "--offline", "--python", str(programs / "python"))
    run(uv, "pip", "install", "--no-deps", *python, *wheels)
    run(uv, "pip", "check", *python)
    return programs
