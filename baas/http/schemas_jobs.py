"""JSON Schemas of what goes on in the background."""

from __future__ import annotations

from baas.http.schema_parts import (
    COUNT,
    PATH,
    TEXT,
    TIME,
    Schema,
    list_of,
    object_of,
    or_null,
    ref,
)
from baas.http.schemas_history import ERASE_HOW
from baas.projects.jobs import JobKind

JOBS: dict[str, Schema] = {
    "DeleteRecursiveBody": object_of(
        {"path": {**PATH, "description": "a document's or a collection's path"}}
    ),
    "UpdateByQueryBody": object_of(
        {
            "query": {
                **ref("Query"),
                "description": "with `collection`, `group` and `where` only",
            },
            "update": ref("UpdateBody"),
        }
    ),
    "EraseByQueryBody": object_of(
        {
            "query": {
                **ref("Query"),
                "description": "with `collection`, `group` and `where` only",
            },
        },
        {
            **ERASE_HOW,
            "deleted": {
                "type": "boolean",
                "description": "also those that matched when they were deleted, and are not there",
            },
        },
    ),
    "Job": object_of(
        {
            "id": TEXT,
            "kind": {"enum": [kind.value for kind in JobKind]},
            "database": {**or_null(TEXT), "description": "null: all of the project's"},
            "asked": {"type": "object", "description": "what it was asked to do"},
            "state": {"enum": ["running", "done", "cancelled", "failed"]},
            "error": {**or_null(TEXT), "description": "why it failed"},
            "author": or_null(TEXT),
            "created": TIME,
            "updated": TIME,
            "progress": object_of(
                {
                    "seen": {**COUNT, "description": "documents that were looked at"},
                    "written": {**COUNT, "description": "of them, updated, deleted or erased"},
                    "failed": {**COUNT, "description": "of them, such that could not be"},
                    "total": {**or_null(COUNT), "description": "as the job began"},
                    "first_failure": or_null(
                        object_of({"path": PATH, "reason": TEXT, "message": TEXT})
                    ),
                },
                {"images": {**COUNT, "description": "versions that were erased"}},
            ),
        },
        {
            "found": {
                **list_of({"type": "object", "additionalProperties": True}),
                "description": "what it has to tell: the first documents that do not fit schemas",
            },
        },
    ),
    "JobList": object_of({"jobs": list_of(ref("Job"))}),
}
