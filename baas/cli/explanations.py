"""How a query was answered, for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from baas.cli.indexes import field_texts


def explained(told: dict[str, Any]) -> Iterator[str]:
    """The lines for the member `explain` of an answer."""
    for scan in told["scans"]:
        yield _scan(scan)
    if not told["scans"]:
        yield "nothing can match: nothing was read"
    for index in told["missing_indexes"]:
        state = "is being built" if index["building"] else "is built when the query comes again"
        yield f"an index of {_index(index)} would have spared that; it {state}"
    yield (
        f"{told['entries_scanned']} entries scanned, {told['keys_counted']} keys counted, "
        f"{told['documents_read']} documents read, {told['returned']} returned, "
        f"in {told['seconds'] * 1_000:.1f} ms"
    )
    yield from (f"hint: {hint}" for hint in told["hints"])


def _scan(scan: dict[str, Any]) -> str:
    kind = scan["kind"]
    if kind == "collection":
        return "read the whole collection"
    if kind == "total":
        return "the total of the collection was known"
    if kind == "document":
        return "got one document by its name"
    where = "the collection by name"
    if kind == "words":
        where = f"index {scan['index']['id']} of {_index(scan['index'])}"
        checked = (
            "" if scan["exact"] else "; what has them is checked against the rest of the query"
        )
        return f"read the entries of the words in {where}{checked}"
    if kind in ("index", "near"):
        where = f"index {scan['index']['id']} of {_index(scan['index'])}"
    if kind == "near":
        where += ", nearest first"
    backwards = ", backwards" if scan["direction"] == "desc" else ""
    checked = "" if scan["exact"] else "; each document is checked against the whole query"
    return f"scanned {where}{backwards}, {scan['ranges']} range(s){checked}"


def _index(index: dict[str, Any]) -> str:
    return f"{index['collection']} ({index['scope']}): {', '.join(field_texts(index))}"
