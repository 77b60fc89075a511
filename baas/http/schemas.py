"""JSON Schemas of every body and answer, by name; tests hold them against real answers."""

from __future__ import annotations

from collections.abc import Mapping

from baas.database.indexes import IndexKind
from baas.http.schema_parts import COUNT as _COUNT
from baas.http.schema_parts import FIELD as _FIELD
from baas.http.schema_parts import FIELDS as _FIELDS
from baas.http.schema_parts import PATH as _PATH
from baas.http.schema_parts import TEXT as _TEXT
from baas.http.schema_parts import TIME as _TIME
from baas.http.schema_parts import Schema
from baas.http.schema_parts import list_of as _list
from baas.http.schema_parts import object_of as _object
from baas.http.schema_parts import or_null as _or_null
from baas.http.schema_parts import ref as _ref
from baas.http.schemas_backups import BACKUPS
from baas.http.schemas_history import ERASE_HOW, HISTORY
from baas.http.schemas_moves import MOVES
from baas.http.schemas_objects import OBJECTS
from baas.http.schemas_of_schemas import DEPLOYED
from baas.http.schemas_rules import RULES
from baas.projects.jobs import JobKind

_EMAIL: Schema = {"type": "string", "examples": ["ada@example.com"], "maxLength": 320}
_PASSWORD: Schema = {"type": "string", "examples": ["correct horse battery staple"]}

_TRANSFORMS: Schema = _list(_ref("Transform"))
_PRECONDITION: Schema = _ref("Precondition")
_TRANSACTION: Schema = {**_TEXT, "maxLength": 200, "description": "a transaction's token"}
_NEXT_TOKEN: Schema = {
    **_TEXT,
    "description": "of the transaction, to be used from now on; it was not idle",
}
_SEEN: Schema = {**_TEXT, "maxLength": 64, "description": "what stands for a query's answer"}
_PAST_TIME: Schema = {**_TIME, "description": "show what there was at this time"}
_READ_TIME: Schema = {**_TIME, "description": "the instant that the answer shows"}

_RESULTS: Schema = {"type": "object", "examples": [{"people": 39_000_000}]}
_AGGREGATES: Schema = {**_list(_ref("Aggregate")), "maxItems": 5}

_DOCUMENT_SCHEMAS: dict[str, Schema] = {
    "Document": _object(
        {"path": _PATH, "fields": _FIELDS, "create_time": _TIME, "update_time": _TIME},
        {
            "distance_meters": {
                "type": "number",
                "minimum": 0,
                "description": "from the center, in answers of a query with `near`",
            }
        },
    ),
    "MissingDocument": _object(
        {"path": _PATH, "missing": {"const": True}},
        description="does not exist, and has documents below; with `show_missing=true` only",
    ),
    "CollectionsBody": _object(
        {},
        {
            "parent": {**_PATH, "description": "a document; without one, the root"},
            "page_size": {"type": "integer", "minimum": 1},
            "page_token": _TEXT,
        },
    ),
    "CollectionsAnswer": _object({"collections": _list(_TEXT)}, {"next_page_token": _TEXT}),
    "DocumentList": _object(
        {
            "documents": _list({"anyOf": [_ref("Document"), _ref("MissingDocument")]}),
            "read_time": _READ_TIME,
        },
        {
            "next_page_token": {**_TEXT, "description": "absent on the last page"},
            "total": {
                "type": "integer",
                "minimum": 0,
                "description": "documents of the collection; with `total=true` only",
            },
        },
    ),
    "Precondition": _object(
        {},
        {"exists": {"type": "boolean"}, "update_time": _TIME},
        description="one of them, or none",
        examples=[{"exists": True}],
    ),
    "Transform": _object(
        {"field": _FIELD},
        {
            "server_time": {"const": True},
            "increment": _ref("Number"),
            "maximum": _ref("Number"),
            "minimum": _ref("Number"),
            "array_union": _list({}),
            "array_remove": _list({}),
        },
        description="exactly one operation besides the field",
        examples=[{"field": "visits", "increment": 1}],
    ),
    "Number": {
        "anyOf": [{"type": "number"}, {"type": "object"}],
        "description": 'a number, {"$int": "…"} or {"$double": …}',
        "examples": [1],
    },
    "CreateBody": _object({"fields": _FIELDS}, {"transforms": _TRANSFORMS}),
    "SetBody": _object(
        {"fields": _FIELDS},
        {
            "merge": {"type": "boolean", "description": "write only the fields given"},
            "mask": {
                **_list(_FIELD),
                "description": "write these, and delete those of them that `fields` lacks",
            },
            "transforms": _TRANSFORMS,
            "precondition": _PRECONDITION,
        },
    ),
    "UpdateBody": _object(
        {},
        {
            "fields": {**_FIELDS, "description": "field paths to values"},
            "delete": _list(_FIELD),
            "transforms": _TRANSFORMS,
            "precondition": _PRECONDITION,
        },
    ),
    "Written": _object(
        {"path": _PATH, "update_time": _TIME, "commit_time": _TIME},
        {"transform_results": _list({})},
    ),
    "Deleted": _object({"path": _PATH, "commit_time": _TIME}),
    "BatchGetBody": _object(
        {"documents": _list(_PATH)}, {"transaction": _TRANSACTION, "read_time": _PAST_TIME}
    ),
    "BatchGetAnswer": _object(
        {
            "documents": _list(_object({"path": _PATH, "document": _or_null(_ref("Document"))})),
            "read_time": _READ_TIME,
        },
        {"transaction": _NEXT_TOKEN},
    ),
    "Write": {
        "type": "object",
        "description": "one of `set`, `update`, `create`, `delete`, `verify` with a document's "
        "path, and the members of that operation's body",
        "examples": [{"set": "users/ada", "fields": {"name": "Ada"}}],
    },
    "CommitBody": _object(
        {"writes": _list(_ref("Write"))},
        {
            "request_id": {
                "type": "string",
                "maxLength": 128,
                "description": "as the header `Idempotency-Key`",
            },
            "transaction": {**_TRANSACTION, "description": "the transaction that this ends"},
            "reads": {
                **_list(_object({"path": _PATH, "update_time": _or_null(_TIME)})),
                "description": "what it read: each document's update time, null if it was missing",
            },
            "queries": {
                **_list(_object({"query": _ref("Query"), "seen": _SEEN})),
                "description": "what it asked, and what came",
            },
            "aggregations": {
                **_list(
                    _object(
                        {"query": _ref("Query"), "seen": _SEEN},
                        {"aggregates": _AGGREGATES, "group_by": _list(_FIELD)},
                    )
                ),
                "description": "the same of aggregations",
            },
        },
    ),
    "BulkWriteBody": _object(
        {"writes": _list(_ref("Write"))},
        {"request_id": {"type": "string", "maxLength": 128}},
        description="not atomic; writes to one document happen in order",
    ),
    "BulkWriteAnswer": _object(
        {
            "results": {
                "type": "array",
                "items": {
                    "anyOf": [
                        _object({"update_time": _or_null(_TIME)}, {"transform_results": _list({})}),
                        _ref("Error"),
                    ]
                },
                "description": "for each write, in order, what it did or why it failed",
            }
        }
    ),
    "BeginBody": _object(
        {},
        {
            "read_only": {"type": "boolean", "default": False},
            "read_time": {**_TIME, "description": "read the database as of then; read-only"},
            "retry": {**_TRANSACTION, "description": "one that was aborted: it gets its turn"},
        },
    ),
    "BeginAnswer": _object({"transaction": _TRANSACTION, "read_time": _READ_TIME}),
    "RollbackBody": _object({"transaction": _TRANSACTION}),
    "CommitAnswer": _object(
        {
            "commit_time": _TIME,
            "write_results": _list(
                _object({"update_time": _or_null(_TIME)}, {"transform_results": _list({})})
            ),
        }
    ),
    "Filter": {
        "oneOf": [
            _object({"field": _FIELD, "op": _ref("Operator"), "value": {}}),
            _object({"and": _list(_ref("Filter"))}),
            _object({"or": _list(_ref("Filter"))}),
        ],
        "examples": [{"field": "country", "op": "==", "value": "FR"}],
    },
    "Operator": {
        "type": "string",
        "enum": [
            "==",
            "!=",
            "<",
            "<=",
            ">",
            ">=",
            "array-contains",
            "array-contains-any",
            "in",
            "not-in",
        ],
    },
    "Cursor": _object({"values": _list({})}, {"before": {"type": "boolean", "default": True}}),
    "Search": _object(
        {
            "text": {
                "type": "string",
                "examples": ["red app*"],
                "description": "words that a document must have, all of them; a word right before "
                "`*` stands for all that begin with it",
            },
            "fields": {**_list(_FIELD), "description": "where they may stand"},
        },
        description="the answer is in the order of how well its documents have the words: goes "
        "with neither `order_by` nor cursors",
    ),
    "Near": _object(
        {
            "field": _FIELD,
            "center": {"type": "object", "description": 'a geo point: {"$geo": [lat, lng]}'},
        },
        {"radius_meters": {"type": "number", "minimum": 0, "description": "absent for anywhere"}},
        description="documents whose field is a geo point around the center, nearest first; goes "
        "with `where`, `offset`, `limit` and `select`",
        examples=[{"field": "at", "center": {"$geo": [48.2, 16.4]}, "radius_meters": 5000}],
    ),
    "Query": _object(
        {"collection": {**_PATH, "examples": ["cities"]}},
        {
            "group": {"type": "boolean", "description": "search the collection group"},
            "where": _ref("Filter"),
            "order_by": _list(
                _object(
                    {"field": _FIELD}, {"direction": {"type": "string", "enum": ["asc", "desc"]}}
                )
            ),
            "start": _ref("Cursor"),
            "end": _ref("Cursor"),
            "offset": {"type": "integer", "minimum": 0},
            "limit": {"type": "integer", "minimum": 1},
            "select": _list(_FIELD),
            "search": _ref("Search"),
            "near": _ref("Near"),
        },
        examples=[
            {
                "collection": "cities",
                "where": {"field": "country", "op": "==", "value": "FR"},
                "order_by": [{"field": "population", "direction": "desc"}],
                "limit": 10,
            }
        ],
    ),
    "QueryBody": _object(
        {"query": _ref("Query")},
        {
            "page_size": {"type": "integer", "minimum": 1},
            "page_token": {**_TEXT, "description": "of the page before, of the same query"},
            "explain": {
                "type": "boolean",
                "description": "tell how it was answered: for administrators and secret keys, and "
                "in development mode",
            },
            "transaction": _TRANSACTION,
            "read_time": {
                **_PAST_TIME,
                "description": "show the answer of an earlier time, whole: for administrators and "
                "secret keys; goes with a query alone",
            },
        },
    ),
    "CountBody": _object({"query": _ref("Query")}),
    "QueryAnswer": _object(
        {"documents": _list(_ref("Document")), "read_time": _READ_TIME},
        {
            "more": {"const": True, "description": "documents were left out"},
            "next_page_token": {**_TEXT, "description": "for the page with them"},
            "explain": _ref("Explanation"),
            "transaction": _NEXT_TOKEN,
            "seen": _SEEN,
        },
    ),
    "Explanation": _object(
        {
            "scans": _list(
                _object(
                    {
                        "kind": {
                            "enum": [
                                *("index", "near", "names", "document", "words", "collection"),
                                "total",
                            ]
                        },
                        "index": _or_null({"type": "object"}),
                        "ranges": {"type": "integer"},
                        "direction": {"enum": ["asc", "desc"]},
                        "exact": {
                            "type": "boolean",
                            "description": "the ranges hold the answer and nothing else",
                        },
                    }
                )
            ),
            "missing_indexes": _list({"type": "object"}),
            "entries_scanned": {"type": "integer", "minimum": 0},
            "keys_counted": {
                "type": "integer",
                "minimum": 0,
                "description": "looked at without their documents",
            },
            "documents_read": {"type": "integer", "minimum": 0},
            "returned": {"type": "integer", "minimum": 0},
            "seconds": {"type": "number"},
            "hints": {
                **_list(_TEXT),
                "description": "why it cost more than what it returned",
            },
        },
        description="how the query was answered, and what that read",
    ),
    "Aggregate": _object(
        {"op": {"enum": ["count", "sum", "average", "minimum", "maximum"]}},
        {
            "field": {**_FIELD, "description": "for all but count"},
            "up_to": {"type": "integer", "minimum": 1, "description": "count no further"},
            "alias": {**_TEXT, "description": "its name in the answer; `field_1` and so on"},
        },
        examples=[{"op": "sum", "field": "population", "alias": "people"}],
    ),
    "AggregateBody": _object(
        {"query": _ref("Query")},
        {
            "aggregates": _AGGREGATES,
            "group_by": {
                **_list(_FIELD),
                "maxItems": 5,
                "description": "fields of which equal values make a group; without aggregates: the "
                "distinct values",
            },
            "page_size": {"type": "integer", "minimum": 1, "description": "of groups"},
            "page_token": {**_TEXT, "description": "of the page before, of the same aggregation"},
            "explain": {"type": "boolean", "description": "as of a query"},
            "transaction": _TRANSACTION,
            "read_time": {**_PAST_TIME, "description": "as of a query"},
        },
        description="documents that lack one of the fields are left out of every number and group",
    ),
    "AggregateAnswer": _object(
        {"read_time": _READ_TIME},
        {
            "results": {
                **_RESULTS,
                "description": "aliases to values of documents; the average, minimum or maximum of "
                "nothing is null",
            },
            "groups": {
                **_list(_object({"group": {"type": "object"}, "results": _RESULTS})),
                "description": "in the order of their values, in place of `results`",
                "examples": [[{"group": {"country": "CH"}, "results": {"people": 9_000_000}}]],
            },
            "more": {"const": True, "description": "groups were left out"},
            "next_page_token": {**_TEXT, "description": "for the page with them"},
            "explain": _ref("Explanation"),
            "transaction": _NEXT_TOKEN,
            "seen": _SEEN,
        },
    ),
    "CountAnswer": _object({"count": {"type": "integer", "minimum": 0}, "read_time": _READ_TIME}),
}

_ERROR: dict[str, Schema] = {
    "Error": _object(
        {
            "error": _object(
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
                    "message": _TEXT,
                    "details": {"type": ["object", "null"]},
                    "request_id": _TEXT,
                }
            )
        }
    ),
    "Empty": _object({}),
    "QueryLine": {
        "oneOf": [
            _object({"document": _ref("Document")}),
            _object({"done": {"const": True}, "read_time": _TIME, "count": {"type": "integer"}}),
            _ref("Error"),
        ],
        "description": "one object per line: documents, then the end, or an error",
    },
    "ExportLine": {
        "oneOf": [_ref("Document"), _ref("Error")],
        "description": "one document per line; an error, if there is one, is the last line",
    },
    "ImportLine": _object(
        {"path": _PATH, "fields": _FIELDS},
        {"create_time": _TIME, "update_time": _TIME},
        description="one document per line; the times mean nothing",
    ),
    "ImportAnswer": _object({"documents": {"type": "integer"}, "lines": {"type": "integer"}}),
    "Health": _object(
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

_MOMENT: Schema = _or_null(_TIME)
_ACCOUNTS: dict[str, Schema] = {
    "Credentials": _object({"email": _EMAIL, "password": _PASSWORD}),
    "RefreshBody": _object({"refresh_token": _TEXT}),
    "User": _object(
        {
            "uid": _TEXT,
            "email": _or_null(_EMAIL),
            "email_verified": {"type": "boolean"},
            "disabled": {"type": "boolean"},
            "created": _TIME,
            "last_sign_in": _MOMENT,
            "claims": {"type": "object"},
        }
    ),
    "UserChange": _object(
        {},
        {
            "disabled": {"type": "boolean"},
            "email_verified": {"type": "boolean"},
            "password": _PASSWORD,
            "claims": {"type": "object", "description": "the app's own, at most 1,000 bytes"},
        },
        description="what is left out stays",
    ),
    "UserList": _object({"users": _list(_ref("User"))}, {"next_page_token": _TEXT}),
    "Session": _object(
        {
            "user": _ref("User"),
            "id_token": {**_TEXT, "description": "for `Authorization: Bearer`"},
            "refresh_token": {**_TEXT, "description": "good once"},
            "expires_in": {"type": "integer", "description": "seconds until the id token ends"},
        }
    ),
    "Jwks": _object({"keys": _list({"type": "object"})}),
    "SetupBody": _object({"token": _TEXT, "email": _EMAIL, "password": _PASSWORD}),
    "Admin": _object({"id": _TEXT, "email": _or_null(_EMAIL), "created": _MOMENT}),
    "AdminList": _object({"admins": _list(_ref("Admin"))}),
    "AdminSession": _object({"token": _TEXT, "expires_at": _TIME, "admin": _ref("Admin")}),
}

_ID: Schema = {"type": "string", "examples": ["demo"]}
_ORIGINS: Schema = {
    "type": "array",
    "items": {"type": "string", "examples": ["https://app.example.com"]},
    "description": "web origins that may call, as browsers send them; `*` for any",
}
_SCOPE: Schema = {
    "enum": ["collection", "group", "below"],
    "description": "for one collection, for all with the id, or for those below a document",
}
_INDEX: Schema = {
    "collection": {"type": "string", "examples": ["cities"]},
    "scope": _SCOPE,
    "fields": _list(
        _object(
            {"field": _FIELD},
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
_ENGINE: Schema = {"type": "string", "enum": ["sqlite", "mongodb"]}
_PROJECTS: dict[str, Schema] = {
    "Project": _object(
        {
            "id": _ID,
            "name": _TEXT,
            "origins": _ORIGINS,
            "databases": _list(_TEXT),
            "created": _TIME,
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
    "ProjectBody": _object(
        {"id": _ID},
        {
            "name": _TEXT,
            "origins": _ORIGINS,
            "engine": {
                "enum": ["sqlite", "mongodb", None],
                "description": "where it is to be; null: at the server's own engine",
            },
        },
    ),
    "ProjectChange": _object({}, {"name": _TEXT, "origins": _ORIGINS}),
    "ProjectList": _object({"projects": _list(_ref("Project"))}),
    "ApiKey": _object(
        {
            "id": _TEXT,
            "kind": {"type": "string", "enum": ["publishable", "secret"]},
            "name": _TEXT,
            "prefix": _TEXT,
            "key": {"type": ["string", "null"], "description": "null for secret keys in lists"},
            "created": _TIME,
            "revoked": _MOMENT,
        }
    ),
    "ApiKeyBody": _object(
        {"kind": {"type": "string", "enum": ["publishable", "secret"]}}, {"name": _TEXT}
    ),
    "ApiKeyList": _object({"keys": _list(_ref("ApiKey"))}),
    "Database": _object({"id": _TEXT}),
    "DatabaseBody": _object({"id": {"type": "string", "examples": ["archive"]}}),
    "Incarnations": _object(
        {"databases": _list(_object({"project": _ID, "database": _TEXT, "incarnation": _TEXT}))}
    ),
    "DatabaseList": _object({"databases": _list(_ref("Database"))}),
    "Index": _object(
        {
            "id": {**_TEXT, "description": "never given to another index"},
            **_INDEX,
            "state": {"enum": ["building", "ready"]},
            "scanned": {**_COUNT, "description": "documents that building it has looked at"},
            "pinned": {"type": "boolean", "description": "kept however long no query uses it"},
            "uses": {
                **_COUNT,
                "description": "how often a plan of this server used it",
            },
            "used": {**_or_null(_TIME), "description": "when one last was, to about a day"},
        }
    ),
    "IndexBody": _object({k: v for k, v in _INDEX.items() if k != "scope"}, {"scope": _SCOPE}),
    "IndexChange": _object({"pinned": {"type": "boolean"}}),
    "IndexList": _object({"indexes": _list(_ref("Index"))}, {"next_page_token": _TEXT}),
    "DeleteRecursiveBody": _object(
        {"path": {**_PATH, "description": "a document's or a collection's path"}}
    ),
    "UpdateByQueryBody": _object(
        {
            "query": {
                **_ref("Query"),
                "description": "with `collection`, `group` and `where` only",
            },
            "update": _ref("UpdateBody"),
        }
    ),
    "EraseByQueryBody": _object(
        {
            "query": {
                **_ref("Query"),
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
    "Job": _object(
        {
            "id": _TEXT,
            "kind": {"enum": [kind.value for kind in JobKind]},
            "database": {**_or_null(_TEXT), "description": "null: all of the project's"},
            "asked": {"type": "object", "description": "what it was asked to do"},
            "state": {"enum": ["running", "done", "cancelled", "failed"]},
            "error": {**_or_null(_TEXT), "description": "why it failed"},
            "author": _or_null(_TEXT),
            "created": _TIME,
            "updated": _TIME,
            "progress": _object(
                {
                    "seen": {**_COUNT, "description": "documents that were looked at"},
                    "written": {**_COUNT, "description": "of them, updated, deleted or erased"},
                    "failed": {**_COUNT, "description": "of them, such that could not be"},
                    "total": {**_or_null(_COUNT), "description": "as the job began"},
                    "first_failure": _or_null(
                        _object({"path": _PATH, "reason": _TEXT, "message": _TEXT})
                    ),
                },
                {"images": {**_COUNT, "description": "versions that were erased"}},
            ),
        },
        {
            "found": {
                **_list({"type": "object", "additionalProperties": True}),
                "description": "what it has to tell: the first documents that do not fit schemas",
            },
        },
    ),
    "JobList": _object({"jobs": _list(_ref("Job"))}),
    "CollectionList": _object({"collections": _list(_TEXT)}),
}


def collect_schemas(*parts: Mapping[str, Schema]) -> dict[str, Schema]:
    """All of them. Two of one name would be described as one of them, so there may be none."""
    found: dict[str, Schema] = {}
    for part in parts:
        twice = found.keys() & part.keys()
        assert not twice, f"two schemas are called {', '.join(sorted(twice))}"
        found.update(part)
    return found


SCHEMAS: dict[str, Schema] = collect_schemas(
    _DOCUMENT_SCHEMAS,
    _ACCOUNTS,
    _PROJECTS,
    RULES,
    DEPLOYED,
    _ERROR,
    OBJECTS,
    BACKUPS,
    HISTORY,
    MOVES,
)
