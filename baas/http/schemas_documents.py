"""JSON Schemas of documents, and of what is written to them."""

from __future__ import annotations

from baas.http.schema_parts import (
    AGGREGATES,
    FIELD,
    FIELDS,
    NEXT_TOKEN,
    PAST_TIME,
    PATH,
    READ_TIME,
    SEEN,
    TEXT,
    TIME,
    TRANSACTION,
    Schema,
    list_of,
    object_of,
    or_null,
    ref,
)

_TRANSFORMS: Schema = list_of(ref("Transform"))
_PRECONDITION: Schema = ref("Precondition")

DOCUMENTS: dict[str, Schema] = {
    "Document": object_of(
        {"path": PATH, "fields": FIELDS, "create_time": TIME, "update_time": TIME},
        {
            "distance_meters": {
                "type": "number",
                "minimum": 0,
                "description": "from the center, in answers of a query with `near`",
            }
        },
    ),
    "MissingDocument": object_of(
        {"path": PATH, "missing": {"const": True}},
        description="does not exist, and has documents below; with `show_missing=true` only",
    ),
    "CollectionsBody": object_of(
        {},
        {
            "parent": {**PATH, "description": "a document; without one, the root"},
            "page_size": {"type": "integer", "minimum": 1},
            "page_token": TEXT,
        },
    ),
    "CollectionsAnswer": object_of({"collections": list_of(TEXT)}, {"next_page_token": TEXT}),
    "DocumentList": object_of(
        {
            "documents": list_of({"anyOf": [ref("Document"), ref("MissingDocument")]}),
            "read_time": READ_TIME,
        },
        {
            "next_page_token": {**TEXT, "description": "absent on the last page"},
            "total": {
                "type": "integer",
                "minimum": 0,
                "description": "documents of the collection; with `total=true` only",
            },
        },
    ),
    "Precondition": object_of(
        {},
        {"exists": {"type": "boolean"}, "update_time": TIME},
        description="one of them, or none",
        examples=[{"exists": True}],
    ),
    "Transform": object_of(
        {"field": FIELD},
        {
            "server_time": {"const": True},
            "increment": ref("Number"),
            "maximum": ref("Number"),
            "minimum": ref("Number"),
            "array_union": list_of({}),
            "array_remove": list_of({}),
        },
        description="exactly one operation besides the field",
        examples=[{"field": "visits", "increment": 1}],
    ),
    "Number": {
        "anyOf": [{"type": "number"}, {"type": "object"}],
        "description": 'a number, {"$int": "…"} or {"$double": …}',
        "examples": [1],
    },
    "CreateBody": object_of({"fields": FIELDS}, {"transforms": _TRANSFORMS}),
    "SetBody": object_of(
        {"fields": FIELDS},
        {
            "merge": {"type": "boolean", "description": "write only the fields given"},
            "mask": {
                **list_of(FIELD),
                "description": "write these, and delete those of them that `fields` lacks",
            },
            "transforms": _TRANSFORMS,
            "precondition": _PRECONDITION,
        },
    ),
    "UpdateBody": object_of(
        {},
        {
            "fields": {**FIELDS, "description": "field paths to values"},
            "delete": list_of(FIELD),
            "transforms": _TRANSFORMS,
            "precondition": _PRECONDITION,
        },
    ),
    "Written": object_of(
        {"path": PATH, "update_time": TIME, "commit_time": TIME},
        {"transform_results": list_of({})},
    ),
    "Deleted": object_of({"path": PATH, "commit_time": TIME}),
    "BatchGetBody": object_of(
        {"documents": list_of(PATH)},
        {
            "transaction": TRANSACTION,
            "read_time": PAST_TIME,
            "select": {**list_of(FIELD), "description": "no more than these fields"},
        },
    ),
    "BatchGetAnswer": object_of(
        {
            "documents": list_of(object_of({"path": PATH, "document": or_null(ref("Document"))})),
            "read_time": READ_TIME,
        },
        {"transaction": NEXT_TOKEN},
    ),
    "Write": {
        "type": "object",
        "description": "one of `set`, `update`, `create`, `delete`, `verify` with a document's "
        "path, and the members of that operation's body",
        "examples": [{"set": "users/ada", "fields": {"name": "Ada"}}],
    },
    "CommitBody": object_of(
        {"writes": list_of(ref("Write"))},
        {
            "request_id": {
                "type": "string",
                "maxLength": 128,
                "description": "as the header `Idempotency-Key`",
            },
            "transaction": {**TRANSACTION, "description": "the transaction that this ends"},
            "reads": {
                **list_of(object_of({"path": PATH, "update_time": or_null(TIME)})),
                "description": "what it read: each document's update time, null if it was missing",
            },
            "queries": {
                **list_of(object_of({"query": ref("Query"), "seen": SEEN})),
                "description": "what it asked, and what came",
            },
            "aggregations": {
                **list_of(
                    object_of(
                        {"query": ref("Query"), "seen": SEEN},
                        {"aggregates": AGGREGATES, "group_by": list_of(FIELD)},
                    )
                ),
                "description": "the same of aggregations",
            },
        },
    ),
    "BulkWriteBody": object_of(
        {"writes": list_of(ref("Write"))},
        {"request_id": {"type": "string", "maxLength": 128}},
        description="not atomic; writes to one document happen in order",
    ),
    "BulkWriteAnswer": object_of(
        {
            "results": {
                "type": "array",
                "items": {
                    "anyOf": [
                        object_of(
                            {"update_time": or_null(TIME)}, {"transform_results": list_of({})}
                        ),
                        ref("Error"),
                    ]
                },
                "description": "for each write, in order, what it did or why it failed",
            }
        }
    ),
    "BeginBody": object_of(
        {},
        {
            "read_only": {"type": "boolean", "default": False},
            "read_time": {**TIME, "description": "read the database as of then; read-only"},
            "retry": {**TRANSACTION, "description": "one that was aborted: it gets its turn"},
        },
    ),
    "BeginAnswer": object_of({"transaction": TRANSACTION, "read_time": READ_TIME}),
    "RollbackBody": object_of({"transaction": TRANSACTION}),
    "CommitAnswer": object_of(
        {
            "commit_time": TIME,
            "write_results": list_of(
                object_of({"update_time": or_null(TIME)}, {"transform_results": list_of({})})
            ),
        }
    ),
    "CollectionList": object_of({"collections": list_of(TEXT)}),
}
