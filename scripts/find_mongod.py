"""Prints the mongod that the tests start: BAAS_MONGOD, then the wheel among the development
dependencies, then PATH. Exits with 1 and says NOT RUN where there is none.

BAAS_TEST_MONGODB_URI names a replica set that is there already; tests that need no server of their
own to kill use it instead.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

_IN_WHEEL = Path("fiftyone", "db", "bin", "mongod")
NOT_RUN = (
    "NOT RUN: no mongod; install the development dependencies (x86-64 Linux), or set"
    " BAAS_MONGOD=/path/to/mongod or BAAS_TEST_MONGODB_URI=mongodb://…/?replicaSet=…"
)


def find_mongod() -> str | None:
    """The path of a mongod, or None. A given path that is absent is not replaced by another."""
    given = os.environ.get("BAAS_MONGOD")
    if given:
        return given if os.access(given, os.X_OK) else None
    pinned = Path(sysconfig.get_path("purelib")) / _IN_WHEEL
    if os.access(pinned, os.X_OK):
        return str(pinned)
    return shutil.which("mongod")


def given_uri() -> str | None:
    """The replica set that the tests were given, if any."""
    return os.environ.get("BAAS_TEST_MONGODB_URI") or None


def main() -> int:
    found = given_uri() or find_mongod()
    if found is None:
        print(f"MongoDB tests: {NOT_RUN}", file=sys.stderr)
        return 1
    print(f"MongoDB: {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
