"""What the tests with faults share: how long they go on, a seed that is told, open rules."""

from __future__ import annotations

import os
import random

IS_LONG = bool(os.environ.get("BAAS_CRASH"))  # `make crash`
SEED = "seed "  # begins the line that tells one
RULES = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /{document=**} { allow read, write: if true; }
  }
}
service firebase.storage {
  match /b/{bucket}/o {
    match /{path=**} { allow read, write: if true; }
  }
}
"""


def rounds(short: int, long: int) -> int:
    """`short` in `make test`, `long` in `make crash`; BAAS_CRASH_ROUNDS bounds both."""
    wanted = long if IS_LONG else short
    given = os.environ.get("BAAS_CRASH_ROUNDS")
    return wanted if given is None else min(wanted, int(given))


def new_seed() -> int:
    """The seed of a test, shown by pytest when it fails; given by SEED, the same run is tried
    again (as far as the machine's own timing lets it)."""
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"{SEED}{seed}: repeat with SEED={seed}")  # noqa: T201
    return seed
