"""JSON Schemas of indexes."""

from __future__ import annotations

from baas.database.indexes import IndexKind
from baas.http.schema_parts import (
    COUNT,
    FIELD,
    TEXT,
    TIME,
    Schema,
    list_of,
    object_of,
    or_null,
    ref,
)

_SCOPE: Schema = {
    "enum": ["collection", "group", "below"],
    "description": "for one collection, for all with the id, or for those below a document",
}
_INDEX: Schema = {
    "collection": {"type": "string", "examples": ["cities"]},
    "scope": _SCOPE,
    "fields": list_of(
        object_of(
            {"field": FIELD},
            {
                "direction": {"type": "string", "enum": ["asc", "desc"]},
                "array": {
                    "type": "boolean",
                    "description": "the same as the kind `array`, or none of the others",
                },
                "kind": {
                    "type": "string",
                    "enum": [kind.value for kind in IndexKind],
                    "description": "`plain`: an entry for the value; `array`: for each element; "
                    "`words`: for each word, for searches; `cell`: where a geo point lies",
                },
            },
        )
    ),
}

INDEXES: dict[str, Schema] = {
    "Index": object_of(
        {
            "id": {**TEXT, "description": "never given to another index"},
            **_INDEX,
            "state": {"enum": ["building", "ready"]},
            "scanned": {**COUNT, "description": "documents that building it has looked at"},
            "pinned": {"type": "boolean", "description": "kept however long no query uses it"},
            "uses": {
                **COUNT,
                "description": "how often a plan of this server used it",
            },
            "used": {**or_null(TIME), "description": "when one last was, to about a day"},
        }
    ),
    "IndexBody": object_of({k: v for k, v in _INDEX.items() if k != "scope"}, {"scope": _SCOPE}),
    "IndexChange": object_of({"pinned": {"type": "boolean"}}),
    "IndexList": object_of({"indexes": list_of(ref("Index"))}, {"next_page_token": TEXT}),
}
