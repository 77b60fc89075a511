"""JSON Schemas of projects, their keys and databases."""

from __future__ import annotations

from baas.http.schema_parts import (
    MOMENT,
    TEXT,
    TIME,
    Schema,
    list_of,
    object_of,
    ref,
)

_ID: Schema = {"type": "string", "examples": ["demo"]}
_ORIGINS: Schema = {
    "type": "array",
    "items": {"type": "string", "examples": ["https://app.example.com"]},
    "description": "web origins that may call, as browsers send them; `*` for any",
}
_ENGINE: Schema = {"type": "string", "enum": ["sqlite", "mongodb"]}

PROJECTS: dict[str, Schema] = {
    "Project": object_of(
        {
            "id": _ID,
            "name": TEXT,
            "origins": _ORIGINS,
            "databases": list_of(TEXT),
            "created": TIME,
            "engine": _ENGINE,
            "node": {
                "type": ["string", "null"],
                "description": "the one that has the files, if others have not",
            },
            "moving": {
                "type": ["string", "null"],
                "description": "the task that moves it to another engine",
            },
        }
    ),
    "ProjectBody": object_of(
        {"id": _ID},
        {
            "name": TEXT,
            "origins": _ORIGINS,
            "engine": {
                "enum": ["sqlite", "mongodb", None],
                "description": "where it is to be; null: at the server's own engine",
            },
        },
    ),
    "ProjectChange": object_of({}, {"name": TEXT, "origins": _ORIGINS}),
    "ProjectList": object_of({"projects": list_of(ref("Project"))}),
    "ApiKey": object_of(
        {
            "id": TEXT,
            "kind": {"type": "string", "enum": ["publishable", "secret"]},
            "name": TEXT,
            "prefix": TEXT,
            "key": {"type": ["string", "null"], "description": "null for secret keys in lists"},
            "created": TIME,
            "revoked": MOMENT,
        }
    ),
    "ApiKeyBody": object_of(
        {"kind": {"type": "string", "enum": ["publishable", "secret"]}}, {"name": TEXT}
    ),
    "ApiKeyList": object_of({"keys": list_of(ref("ApiKey"))}),
    "Database": object_of({"id": TEXT}),
    "DatabaseBody": object_of({"id": {"type": "string", "examples": ["archive"]}}),
    "Incarnations": object_of(
        {"databases": list_of(object_of({"project": _ID, "database": TEXT, "incarnation": TEXT}))}
    ),
    "DatabaseList": object_of({"databases": list_of(ref("Database"))}),
}
