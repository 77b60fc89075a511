"""Policies of expiry over HTTP, for administrators."""

from __future__ import annotations

from typing import Any

from baas.http.accounts import encode_moment
from baas.http.answers import Answer, json_answer
from baas.http.requests import Request
from baas.projects.ttl import TtlPolicy
from baas.services import ttl
from baas.wire.documents import time_text
from baas.wire.objects import check_object
from baas.wire.queries import decode_field_path

_NO_PARAMETERS: frozenset[str] = frozenset()
_POLICY = frozenset({"field"})


async def list_policies(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    request.database = request.params["database"]
    found = await ttl.list_policies(request.context, request.caller, request.database_name)
    return json_answer({"policies": [_encode(policy) for policy in found]})


async def set_policy(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_POLICY, required=("field",))
    request.database = request.params["database"]
    policy = await ttl.set_policy(
        request.context,
        request.caller,
        request.database_name,
        request.params["collection"],
        decode_field_path(members["field"], "field"),
    )
    return json_answer(_encode(policy), status=201)


async def delete_policy(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    request.database = request.params["database"]
    await ttl.delete_policy(
        request.context, request.caller, request.database_name, request.params["collection"]
    )
    return json_answer({})


def _encode(policy: TtlPolicy) -> dict[str, Any]:
    return {
        "collection": policy.collection,
        "field": str(policy.field),
        "created": time_text(policy.created.microseconds),
        "deleted": policy.deleted,
        "last_deletion": encode_moment(policy.looked),
        "error": policy.error,
    }
