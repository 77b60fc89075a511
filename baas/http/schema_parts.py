"""What the JSON Schemas of bodies and answers are put together from."""

from __future__ import annotations

from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]

TIME: Schema = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$",
    "examples": ["2026-11-22T17:00:00.123456Z"],
}
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
PATH: Schema = {
    "type": "string",
    "description": "collection ids and document ids, with slashes between",
    "examples": ["users/ada"],
}
FIELD: Schema = {
    "type": "string",
    "description": "names with dots between; others than [A-Za-z_][A-Za-z0-9_]* in backticks",
    "examples": ["address.city"],
}
FIELDS: Schema = {
    "type": "object",
    "description": "names to values. Plain JSON for plain values; other types are objects with one "
    'key: {"$timestamp": "…Z"}, {"$bytes": "base64"}, {"$ref": "users/ada"}, {"$geo": [lat, lng]}, '
    '{"$vector": […]}, {"$int": "…"}, {"$double": …}. A name that starts with $ gets one more $.',
    "additionalProperties": True,
    "examples": [{"name": "Ada", "born": {"$timestamp": "1815-12-10T00:00:00.000000Z"}}],
}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def object_of(required: Schema, optional: Schema | None = None, **more: Any) -> Schema:
    """A closed object: every member is known."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


TRANSACTION: Schema = {**TEXT, "maxLength": 200, "description": "a transaction's token"}
NEXT_TOKEN: Schema = {
    **TEXT,
    "description": "of the transaction, to be used from now on; it was not idle",
}
SEEN: Schema = {**TEXT, "maxLength": 64, "description": "what stands for a query's answer"}
PAST_TIME: Schema = {**TIME, "description": "show what there was at this time"}
READ_TIME: Schema = {**TIME, "description": "the instant that the answer shows"}
AGGREGATES: Schema = {**list_of(ref("Aggregate")), "maxItems": 5}
MOMENT: Schema = or_null(TIME)
