"""Policies of expiry over HTTP, for administrators."""

from __future__ import annotations

from typing import Any

from baas.http.accounts import encode_moment
from baas.http.answers import Answer, json_answer
from baas.http.requests import Request
from baas.model.paths import FieldPath
from baas.projects.ttl import TtlPolicy
from baas.services import ttl
from baas.wire.documents import time_text
from baas.wire.objects import check_boolean, check_object
from baas.wire.queries import decode_field_path

_NO_PARAMETERS: frozenset[str] = frozenset()
_POLICY = frozenset({"field"})
_POLICIES = frozenset({"policies", "dry_run"})


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


async def replace_policies(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_POLICIES, required=("policies",))
    named = members["policies"]
    names = frozenset(named) if type(named) is dict else _NO_PARAMETERS
    fields = check_object(named, "policies", allowed=names)
    request.database = request.params["database"]
    found = await ttl.replace_policies(
        request.context,
        request.caller,
        request.database_name,
        {one: decode_field_path(field, f"policies.{one[:80]}") for one, field in fields.items()},
        dry_run=check_boolean(members.get("dry_run", False), "dry_run"),
    )
    changes = [
        {"collection": one.collection, "field": _text(one.field), "was": _text(one.was)}
        for one in found.changes
    ]
    return json_answer(
        {"policies": [_encode(policy) for policy in found.policies], "changes": changes}
    )


def _text(field: FieldPath | None) -> str | None:
    return None if field is None else str(field)


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
