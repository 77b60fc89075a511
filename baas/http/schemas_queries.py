"""JSON Schemas of queries, and of what they are answered."""

from __future__ import annotations

from baas.http.schema_parts import (
    AGGREGATES,
    FIELD,
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

_RESULTS: Schema = {"type": "object", "examples": [{"people": 39_000_000}]}

QUERIES: dict[str, Schema] = {
    "Filter": {
        "oneOf": [
            object_of({"field": FIELD, "op": ref("Operator"), "value": {}}),
            object_of({"and": list_of(ref("Filter"))}),
            object_of({"or": list_of(ref("Filter"))}),
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
    "Cursor": object_of({"values": list_of({})}, {"before": {"type": "boolean", "default": True}}),
    "Search": object_of(
        {
            "text": {
                "type": "string",
                "examples": ["red app*", '"red apples" pie'],
                "description": "words that a document must have, all of them; a word right before "
                '`*` stands for all that begin with it, words between `"` stand side by side',
            },
            "fields": {**list_of(FIELD), "description": "where they may stand"},
        },
        description="the answer is in the order of how well its documents have the words: goes "
        "with neither `order_by` nor cursors",
    ),
    "Near": object_of(
        {
            "field": FIELD,
            "center": {"type": "object", "description": 'a geo point: {"$geo": [lat, lng]}'},
        },
        {"radius_meters": {"type": "number", "minimum": 0, "description": "absent for anywhere"}},
        description="documents whose field is a geo point around the center, nearest first; goes "
        "with `where`, `offset`, `limit` and `select`",
        examples=[{"field": "at", "center": {"$geo": [48.2, 16.4]}, "radius_meters": 5000}],
    ),
    "Query": object_of(
        {"collection": {**PATH, "examples": ["cities"]}},
        {
            "group": {"type": "boolean", "description": "search the collection group"},
            "where": ref("Filter"),
            "order_by": list_of(
                object_of(
                    {"field": FIELD}, {"direction": {"type": "string", "enum": ["asc", "desc"]}}
                )
            ),
            "start": ref("Cursor"),
            "end": ref("Cursor"),
            "offset": {"type": "integer", "minimum": 0},
            "limit": {"type": "integer", "minimum": 1},
            "select": list_of(FIELD),
            "search": ref("Search"),
            "near": ref("Near"),
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
    "QueryBody": object_of(
        {"query": ref("Query")},
        {
            "page_size": {"type": "integer", "minimum": 1},
            "page_token": {**TEXT, "description": "of the page before, of the same query"},
            "explain": {
                "type": "boolean",
                "description": "tell how it was answered: for administrators and secret keys, and "
                "in development mode",
            },
            "transaction": TRANSACTION,
            "read_time": {
                **PAST_TIME,
                "description": "show the answer of an earlier time, whole: for administrators and "
                "secret keys; goes with a query alone",
            },
        },
    ),
    "CountBody": object_of({"query": ref("Query")}),
    "QueryAnswer": object_of(
        {"documents": list_of(ref("Document")), "read_time": READ_TIME},
        {
            "more": {"const": True, "description": "documents were left out"},
            "next_page_token": {**TEXT, "description": "for the page with them"},
            "explain": ref("Explanation"),
            "transaction": NEXT_TOKEN,
            "seen": SEEN,
        },
    ),
    "Explanation": object_of(
        {
            "scans": list_of(
                object_of(
                    {
                        "kind": {
                            "enum": [
                                *("index", "near", "names", "document", "words", "collection"),
                                "total",
                            ]
                        },
                        "index": or_null({"type": "object"}),
                        "ranges": {"type": "integer"},
                        "direction": {"enum": ["asc", "desc"]},
                        "exact": {
                            "type": "boolean",
                            "description": "the ranges hold the answer and nothing else",
                        },
                    }
                )
            ),
            "missing_indexes": list_of({"type": "object"}),
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
                **list_of(TEXT),
                "description": "why it cost more than what it returned",
            },
        },
        description="how the query was answered, and what that read",
    ),
    "Aggregate": object_of(
        {"op": {"enum": ["count", "sum", "average", "minimum", "maximum"]}},
        {
            "field": {**FIELD, "description": "for all but count"},
            "up_to": {"type": "integer", "minimum": 1, "description": "count no further"},
            "alias": {**TEXT, "description": "its name in the answer; `field_1` and so on"},
        },
        examples=[{"op": "sum", "field": "population", "alias": "people"}],
    ),
    "AggregateBody": object_of(
        {"query": ref("Query")},
        {
            "aggregates": AGGREGATES,
            "group_by": {
                **list_of(FIELD),
                "maxItems": 5,
                "description": "fields of which equal values make a group; without aggregates: the "
                "distinct values",
            },
            "page_size": {"type": "integer", "minimum": 1, "description": "of groups"},
            "page_token": {**TEXT, "description": "of the page before, of the same aggregation"},
            "explain": {"type": "boolean", "description": "as of a query"},
            "transaction": TRANSACTION,
            "read_time": {**PAST_TIME, "description": "as of a query"},
        },
        description="documents that lack one of the fields are left out of every number and group",
    ),
    "AggregateAnswer": object_of(
        {"read_time": READ_TIME},
        {
            "results": {
                **_RESULTS,
                "description": "aliases to values of documents; the average, minimum or maximum of "
                "nothing is null",
            },
            "groups": {
                **list_of(object_of({"group": {"type": "object"}, "results": _RESULTS})),
                "description": "in the order of their values, in place of `results`",
                "examples": [[{"group": {"country": "CH"}, "results": {"people": 9_000_000}}]],
            },
            "more": {"const": True, "description": "groups were left out"},
            "next_page_token": {**TEXT, "description": "for the page with them"},
            "explain": ref("Explanation"),
            "transaction": NEXT_TOKEN,
            "seen": SEEN,
        },
    ),
    "CountAnswer": object_of({"count": {"type": "integer", "minimum": 0}, "read_time": READ_TIME}),
    "QueryLine": {
        "oneOf": [
            object_of({"document": ref("Document")}),
            object_of({"done": {"const": True}, "read_time": TIME, "count": {"type": "integer"}}),
            ref("Error"),
        ],
        "description": "one object per line: documents, then the end, or an error",
    },
}
