"""The last line of an export, which tells what was before it:
{"end": {"documents": 2, "sha256": "…", "version": 17}}."""

from __future__ import annotations

import orjson

END_LINE = b'{"end":'


def end_line(documents: int, sha256: str, version: int) -> bytes:
    end = {"documents": documents, "sha256": sha256, "version": version}
    return orjson.dumps({"end": end}) + b"\n"


def is_end_of(line: bytes, documents: int, sha256: str) -> bool:
    """Whether it is the last line of so many lines with this checksum."""
    try:
        end = orjson.loads(line)["end"]
        return bool((end["documents"], end["sha256"]) == (documents, sha256))
    except (ValueError, KeyError, TypeError):
        return False
