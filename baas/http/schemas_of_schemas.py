"""JSON Schemas of the routes that deploy JSON Schemas."""

from __future__ import annotations

from baas.http.schema_parts import TEXT, TIME, Schema, list_of, object_of, or_null, ref

_COUNT: Schema = {"type": "integer", "minimum": 0}
_NOTE: Schema = {
    "release": {**TEXT, "description": "`none` before the first deployment"},
    "deployed_at": or_null(TIME),
    "author": {**or_null(TEXT), "description": "an administrator's e-mail, or `operator`"},
    "message": TEXT,
}
_SOURCES: Schema = {
    **list_of(
        {
            "type": "object",
            "description": "JSON Schema, draft 2020-12; `x-collection` says for which documents",
            "required": ["x-collection"],
            "properties": {
                "x-collection": TEXT,
                "x-unique": list_of(list_of(TEXT)),
            },
            "additionalProperties": True,
            "examples": [
                {
                    "x-collection": "users",
                    "x-unique": [["email"]],
                    "required": ["email"],
                    "properties": {"email": {"type": "string"}},
                }
            ],
        }
    ),
    "maxItems": 100,
}
_DEPLOYMENT: dict[str, Schema] = {
    "message": {"type": "string", "maxLength": 1_000, "description": "kept"},
    "if_release": {**TEXT, "description": "only if this release is the one in force"},
    "allow_existing": {
        "type": "boolean",
        "default": False,
        "description": "deploy even if stored documents do not fit",
    },
}
_COLLECTIONS: Schema = {**list_of(TEXT), "description": "`x-collection` of schemas"}
DEPLOYED: dict[str, Schema] = {
    "SchemaRelease": object_of({**_NOTE, "schemas": _SOURCES}),
    "SchemaReleaseList": object_of({"releases": list_of(object_of(_NOTE))}),
    "SchemasBody": object_of({"schemas": _SOURCES}, _DEPLOYMENT),
    "SchemaDeploymentBody": object_of(
        {"schemas": _SOURCES},
        {
            **_DEPLOYMENT,
            "dry_run": {
                "type": "boolean",
                "default": False,
                "description": "look at what is stored, and deploy nothing",
            },
        },
    ),
    "SchemasDiffBody": object_of(
        {"schemas": _SOURCES},
        {"from": {**TEXT, "description": "a release; the one in force, if left out"}},
    ),
    "SchemasDiff": object_of(
        {
            "from": TEXT,
            "to": {**or_null(TEXT), "description": "null: what is not deployed yet"},
            "added": _COLLECTIONS,
            "changed": _COLLECTIONS,
            "removed": _COLLECTIONS,
            "diff": {**TEXT, "description": "unified; empty if alike"},
        }
    ),
    "SchemaCheckBody": object_of(
        {},
        {
            "schemas": {**_SOURCES, "description": "those in force, if left out"},
            "page_size": {"type": "integer", "minimum": 1, "maximum": 1_000},
            "page_token": {**TEXT, "description": "where to go on"},
        },
    ),
    "SchemaCheckPage": object_of(
        {
            "checked": _COUNT,
            "failed": _COUNT,
            "found": {
                **list_of(ref("SchemaFinding")),
                "description": "the first 100 of those that failed",
            },
            "waiting": {"type": "boolean", "description": "for an index: ask again"},
        },
        {"next_page_token": TEXT},
    ),
    "SchemaFinding": object_of(
        {
            "document": TEXT,
            "violations": list_of(
                object_of(
                    {
                        "field": {**TEXT, "description": "field path; empty: the document"},
                        "keyword": TEXT,
                        "expected": {"description": "what the schema asks for, if short"},
                        "message": TEXT,
                    }
                )
            ),
        }
    ),
}
