"""JSON Schemas of moves between engines."""

from __future__ import annotations

from baas.http.schema_parts import TEXT, TIME, Schema, list_of, object_of, or_null, ref

_COUNT: Schema = {"type": "integer", "minimum": 0}
_ENGINE: Schema = {"type": "string", "enum": ["sqlite", "mongodb"]}

MOVES: dict[str, Schema] = {
    "MoveBody": object_of(
        {"to": _ENGINE},
        {
            "here": {
                "type": "boolean",
                "description": "to files of this node, where the server may have others",
            }
        },
    ),
    "Move": object_of(
        {
            "id": TEXT,
            "project": TEXT,
            "from": _ENGINE,
            "to": _ENGINE,
            "node": {**TEXT, "description": "the one that does it"},
            "state": {"enum": ["running", "undoing", "done", "cancelled", "failed"]},
            "step": {
                "enum": ["begin", "copy", "follow", "compare", "pause", "clean"],
                "description": "what it is at, or was; from `clean` on the project has moved",
            },
            "error": {**or_null(TEXT), "description": "why it failed, or waits for a while"},
            "reason": or_null(TEXT),
            "author": or_null(TEXT),
            "created": TIME,
            "updated": TIME,
            "progress": object_of(
                {
                    "documents": {**_COUNT, "description": "copied"},
                    "bytes": _COUNT,
                    "total_documents": {**or_null(_COUNT), "description": "when it began"},
                    "rounds": {**_COUNT, "description": "that followed what was written since"},
                    "changes": {**_COUNT, "description": "documents in the last of them"},
                }
            ),
            "pause_milliseconds": {
                "type": ["number", "null"],
                "description": "how long writes were held up",
            },
        }
    ),
    "MoveList": object_of({"moves": list_of(ref("Move"))}),
}
