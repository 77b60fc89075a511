"""Reads the vectors, which are JSON so that other implementations can be held to them as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

FOLDER = Path(__file__).parent


def load(name: str) -> dict[str, Any]:
    """One file of vectors, such as `values`."""
    loaded: dict[str, Any] = orjson.loads((FOLDER / f"{name}.json").read_bytes())
    return loaded
