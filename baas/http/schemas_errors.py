"""JSON Schemas of errors, and of answers that say little else."""

from __future__ import annotations

from baas.http.schema_parts import (
    TEXT,
    Schema,
    object_of,
)

ERRORS: dict[str, Schema] = {
    "Error": object_of(
        {
            "error": object_of(
                {
                    "code": {
                        "type": "string",
                        "description": "one of the 16 gRPC codes",
                        "examples": ["NOT_FOUND"],
                    },
                    "reason": {
                        "type": "string",
                        "description": "a stable word to match on",
                        "examples": ["DocumentNotFound"],
                    },
                    "message": TEXT,
                    "details": {"type": ["object", "null"]},
                    "request_id": TEXT,
                }
            )
        }
    ),
    "Empty": object_of({}),
    "Health": object_of(
        {"status": {"type": "string", "enum": ["ok", "degraded"]}},
        {
            "reasons": {
                "type": "array",
                "items": {"type": "string"},
                "description": "what is degraded: `ClockBehind`, `BackupsFailing`",
            },
        },
    ),
}
