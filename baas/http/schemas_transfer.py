"""JSON Schemas of exports and imports, a line each."""

from __future__ import annotations

from baas.http.schema_parts import (
    FIELDS,
    PATH,
    TIME,
    Schema,
    object_of,
    ref,
)

TRANSFER: dict[str, Schema] = {
    "ExportLine": {
        "oneOf": [ref("Document"), ref("Error")],
        "description": "one document per line; an error, if there is one, is the last line",
    },
    "ImportLine": object_of(
        {"path": PATH, "fields": FIELDS},
        {"create_time": TIME, "update_time": TIME},
        description="one document per line; the times mean nothing",
    ),
    "ImportAnswer": object_of({"documents": {"type": "integer"}, "lines": {"type": "integer"}}),
}
