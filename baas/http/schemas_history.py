"""JSON Schemas of what documents were: versions, restores, erasures; of retention and expiry."""

from __future__ import annotations

from baas.http.schema_parts import (
    COUNT,
    FIELD,
    PATH,
    TEXT,
    TIME,
    Schema,
    list_of,
    object_of,
    or_null,
    ref,
)
from baas.projects.retention import BYTES_MAX, BYTES_MIN, SECONDS_MAX, SECONDS_MIN

_MOMENT: Schema = or_null(TIME)
ERASE_HOW: dict[str, Schema] = {
    "present": {"type": "boolean", "description": "delete the documents as they are, too"},
    "rewrite": {
        "type": "boolean",
        "description": "write SQLite's file anew, too, which gives its free room back; writes wait",
    },
}
_REACH: Schema = object_of({"seconds": COUNT, "bytes": COUNT})
_RETENTION: dict[str, Schema] = {
    "seconds": {**or_null(COUNT), "description": "what was said; null: nothing"},
    "bytes": {**or_null(COUNT), "description": "what was said; null: nothing"},
    "inherited": {
        **_REACH,
        "description": "what holds where nothing was said: by the project, else by the server",
    },
    "in_force": _REACH,
}

HISTORY: dict[str, Schema] = {
    "VersionList": object_of(
        {
            "versions": list_of(
                object_of(
                    {
                        "time": TIME,
                        "kind": {"enum": ["created", "updated", "deleted"]},
                        "bytes": {**or_null(COUNT), "description": "of what it held then"},
                        "erased": {"type": "boolean"},
                    }
                )
            )
        },
        {"next_page_token": TEXT},
    ),
    "RestoreBody": object_of(
        {
            "path": {**PATH, "description": "a document's or a collection's path"},
            "at": {**TIME, "description": "what there was at this time comes back"},
        },
        {"recursive": {"type": "boolean", "description": "with everything below"}},
    ),
    "RestorePlanBody": object_of(
        {
            "path": {**PATH, "description": "a document's or a collection's path"},
            "at": {**TIME, "description": "what there was at this time would come back"},
        },
        {
            "recursive": {"type": "boolean", "description": "with everything below"},
            "page_token": {**TEXT, "description": "where the page before ended"},
        },
    ),
    "RestorePlan": object_of(
        {
            "created": COUNT,
            "updated": COUNT,
            "deleted": COUNT,
            "erased": {**COUNT, "description": "documents that cannot be restored"},
            "changes": {
                **list_of(
                    object_of({"path": PATH, "kind": {"enum": ["create", "update", "delete"]}})
                ),
                "description": "the first hundred of the page",
            },
        },
        {
            "next_page_token": {
                **TEXT,
                "description": "for the page with more: the numbers are those of one page",
            }
        },
    ),
    "EraseBody": object_of(
        {"path": PATH},
        ERASE_HOW,
    ),
    "BatchEraseBody": object_of(
        {"documents": list_of(PATH)},
        ERASE_HOW,
    ),
    "Erasure": object_of(
        {
            "id": TEXT,
            "path": {**or_null(PATH), "description": "null: of a query"},
            "query": or_null(ref("Query")),
            "present": {"type": "boolean"},
            "documents": {**COUNT, "description": "that were erased"},
            "images": {
                **or_null(COUNT),
                "description": "versions that were erased; null: broken off, so repeat it",
            },
            "author": or_null(TEXT),
            "time": TIME,
        }
    ),
    "ErasureList": object_of({"erasures": list_of(ref("Erasure"))}),
    "ErasurePage": object_of({"erasures": list_of(ref("Erasure"))}, {"next_page_token": TEXT}),
    "ProjectRetention": object_of(_RETENTION),
    "Retention": object_of(
        {
            **_RETENTION,
            "oldest": {**_MOMENT, "description": "what was before is forgotten; null: nothing is"},
            "history_bytes": {**COUNT, "description": "of old images"},
            "log_bytes": {**COUNT, "description": "of the log, which tells what was changed when"},
            "answers_bytes": {**COUNT, "description": "of answers kept for requests that repeat"},
        }
    ),
    "RetentionBody": object_of(
        {},
        {
            "seconds": {
                **or_null({"type": "integer", "minimum": SECONDS_MIN, "maximum": SECONDS_MAX}),
                "description": "how long history and log are kept; null: as what is inherited",
            },
            "bytes": {
                **or_null({"type": "integer", "minimum": BYTES_MIN, "maximum": BYTES_MAX}),
                "description": "how large both may be together; null: as what is inherited",
            },
        },
    ),
    "TtlPolicy": object_of(
        {
            "collection": {**TEXT, "description": "of every collection with this id"},
            "field": FIELD,
            "created": TIME,
            "deleted": {**COUNT, "description": "documents so far"},
            "last_deletion": _MOMENT,
            "error": {**or_null(TEXT), "description": "why the last round failed"},
        }
    ),
    "TtlBody": object_of({"field": FIELD}),
    "TtlPoliciesBody": object_of(
        {
            "policies": {
                "type": "object",
                "description": "collection ids to the fields by which their documents expire",
                "additionalProperties": FIELD,
                "examples": [{"sessions": "expires"}],
            }
        },
        {"dry_run": {"type": "boolean", "description": "only tell what would change"}},
    ),
    "TtlDeployment": object_of(
        {
            "policies": list_of(ref("TtlPolicy")),
            "changes": list_of(
                object_of(
                    {
                        "collection": TEXT,
                        "field": {**or_null(FIELD), "description": "null: expires no more"},
                        "was": {**or_null(FIELD), "description": "null: did not expire"},
                    }
                )
            ),
        }
    ),
    "TtlPolicyList": object_of({"policies": list_of(ref("TtlPolicy"))}),
}
