"""What the tests with faults share: a seed that is told, and rules that allow everything."""

from __future__ import annotations

import os
import random

RULES = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /{document=**} { allow read, write: if true; }
  }
}
"""


def new_seed() -> int:
    """The seed of a test, shown by pytest when it fails; given by SEED, the same run is tried
    again (as far as the machine's own timing lets it)."""
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"seed {seed}: repeat with SEED={seed}")  # noqa: T201
    return seed
