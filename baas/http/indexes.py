"""Indexes over HTTP, for administrators."""

from __future__ import annotations

from typing import Any

from baas.database.indexes import Index, IndexDefinition, IndexField, IndexKind
from baas.http.answers import Answer, json_answer
from baas.http.requests import Request, integer_parameter
from baas.model.timestamps import Timestamp
from baas.services import indexes
from baas.wire.documents import time_text
from baas.wire.objects import check_array, check_boolean, check_object, check_string, invalid, join
from baas.wire.queries import decode_field_path

_NO_PARAMETERS: frozenset[str] = frozenset()
_LIST = frozenset({"collection", "page_size", "page_token"})
_CHANGE = frozenset({"pinned"})
_INDEX = frozenset({"collection", "scope", "fields"})
_FIELD = frozenset({"field", "direction", "array", "kind"})
_KINDS = tuple(kind.value for kind in IndexKind)
_SCOPES = ("collection", "group", "below")


async def list_indexes(request: Request) -> Answer:
    query = request.query(_LIST)
    request.database = request.params["database"]
    page = await indexes.list_indexes(
        request.context,
        request.caller,
        request.database_name,
        collection_id=query.get("collection"),
        page_size=integer_parameter(query, "page_size", 100, minimum=1, maximum=1_000),
        page_token=query.get("page_token"),
    )
    tree: dict[str, Any] = {"indexes": [_encode(request, index) for index in page.indexes]}
    if page.next_page_token is not None:
        tree["next_page_token"] = page.next_page_token
    return json_answer(tree)


async def build_index(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    definition = _decode_definition(await request.read_json())
    request.database = request.params["database"]
    index = await indexes.build_index(
        request.context, request.caller, request.database_name, definition
    )
    return json_answer(_encode(request, index), status=201)


async def pin_index(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_CHANGE, required=("pinned",))
    pinned = check_boolean(members["pinned"], "pinned")
    request.database = request.params["database"]
    index = await indexes.pin_index(
        request.context, request.caller, request.database_name, request.params["id"], pinned=pinned
    )
    return json_answer(_encode(request, index))


async def drop_index(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    request.database = request.params["database"]
    await indexes.drop_index(
        request.context, request.caller, request.database_name, request.params["id"]
    )
    return json_answer({})


def _encode(request: Request, index: Index) -> dict[str, Any]:
    used = indexes.used_at(index, Timestamp(request.context.clock.now_microseconds()))
    return {
        "id": str(index.number),
        **encode_definition(index.definition),
        "state": "building" if index.ready_at is None else "ready",
        "scanned": index.scanned,
        "pinned": index.is_pinned,
        "uses": index.uses,
        "used": None if used is None else time_text(used.microseconds),
    }


def encode_definition(definition: IndexDefinition) -> dict[str, Any]:
    """What an index holds, in JSON."""
    return {
        "collection": definition.collection_id,
        "scope": definition.scope,
        "fields": [
            {
                "field": str(field.path),
                "direction": "desc" if field.descending else "asc",
                "array": field.kind is IndexKind.ARRAY,
                "kind": field.kind.value,
            }
            for field in definition.fields
        ],
    }


def _decode_definition(tree: Any) -> IndexDefinition:
    members = check_object(tree, "", allowed=_INDEX, required=("collection", "fields"))
    scope = check_string(members.get("scope", "collection"), "scope")
    if scope not in _SCOPES:
        known = ", ".join(f"`{name}`" for name in _SCOPES)
        raise invalid("scope", f"is `{scope[:40]}`; known are {known}")
    fields = check_array(members["fields"], "fields", maximum=100)
    return IndexDefinition(
        check_string(members["collection"], "collection"),
        scope != "collection",
        tuple([_decode_field(item, f"fields[{at}]") for at, item in enumerate(fields)]),
        below=scope == "below",
    )


def _decode_field(tree: Any, at: str) -> IndexField:
    members = check_object(tree, at, allowed=_FIELD, required=("field",))
    direction = check_string(members.get("direction", "asc"), join(at, "direction"))
    if direction not in ("asc", "desc"):
        raise invalid(join(at, "direction"), "must be `asc` or `desc`")
    is_array = check_boolean(members.get("array", False), join(at, "array"))
    kind = check_string(members.get("kind", "array" if is_array else "plain"), join(at, "kind"))
    if kind not in _KINDS or (is_array and kind != "array"):
        known = ", ".join(f"`{name}`" for name in _KINDS)
        raise invalid(join(at, "kind"), f"is `{kind[:40]}`; known are {known}")
    return IndexField(
        decode_field_path(members["field"], join(at, "field")),
        direction == "desc",
        IndexKind(kind),
    )
