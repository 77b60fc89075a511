"""What changed between two sets of schemas: which collections, and a unified diff of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from baas.projects.rules_diff import diff_sources

_PRETTY = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS  # the order of keywords means nothing


@dataclass(frozen=True, slots=True)
class SchemasDiff:
    """`x-collection` of schemas that were added, changed and removed, each sorted; `text` is a
    unified diff of them as JSON, one after the other, empty if there are none."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    text: str


def diff_schemas(
    old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]], *, old_name: str, new_name: str
) -> SchemasDiff:
    """`old_name` and `new_name` stand before each collection in the diff."""
    before, after = _texts(old), _texts(new)
    changed = [name for name in before if name in after and before[name] != after[name]]
    added = [name for name in after if name not in before]
    removed = [name for name in before if name not in after]
    parts = [
        diff_sources(
            before.get(name, ""),
            after.get(name, ""),
            old_name=f"{old_name}: {name}" if name in before else "/dev/null",
            new_name=f"{new_name}: {name}" if name in after else "/dev/null",
        )
        for name in sorted([*added, *changed, *removed])
    ]
    return SchemasDiff(sorted(added), sorted(changed), sorted(removed), "".join(parts))


def _texts(sources: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {one["x-collection"]: orjson.dumps(one, option=_PRETTY).decode() for one in sources}
