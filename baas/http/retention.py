"""How far back histories reach, over HTTP, for administrators."""

from __future__ import annotations

from typing import Any

from baas.database.retention import Reach
from baas.http.accounts import NO_PARAMETERS
from baas.http.answers import Answer, json_answer
from baas.http.requests import Request
from baas.projects.retention import RetentionRule
from baas.services import retention
from baas.services.retention import ProjectRetention, RetentionState
from baas.wire.documents import time_text
from baas.wire.objects import check_object, check_whole

_RULE = frozenset({"seconds", "bytes"})


async def get_retention(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    request.database = request.params["database"]
    found = await retention.get_retention(request.context, request.caller, request.database_name)
    return json_answer(_encode_state(found))


async def set_retention(request: Request) -> Answer:
    rule = await _read_rule(request)
    request.database = request.params["database"]
    made = await retention.set_retention(
        request.context, request.caller, request.database_name, rule
    )
    return json_answer(_encode_state(made))


async def get_project_retention(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    found = await retention.get_project_retention(
        request.context, request.caller, request.params["project"]
    )
    return json_answer(_encode(found))


async def set_project_retention(request: Request) -> Answer:
    rule = await _read_rule(request)
    made = await retention.set_project_retention(
        request.context, request.caller, request.params["project"], rule
    )
    return json_answer(_encode(made))


async def _read_rule(request: Request) -> RetentionRule:
    request.query(NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_RULE, required=())
    return RetentionRule(
        **{name: check_whole(given, name) for name, given in members.items() if given is not None}
    )


def _encode(state: RetentionState | ProjectRetention) -> dict[str, Any]:
    return {
        "seconds": state.rule.seconds,
        "bytes": state.rule.bytes,
        "inherited": _encode_reach(state.inherited),
        "in_force": _encode_reach(state.reach),
    }


def _encode_state(state: RetentionState) -> dict[str, Any]:
    kept = state.kept
    return {
        **_encode(state),
        "oldest": time_text(kept.oldest) if kept.oldest else None,
        "history_bytes": kept.history_bytes,
        "log_bytes": kept.log_bytes,
        "answers_bytes": kept.request_bytes,
    }


def _encode_reach(reach: Reach) -> dict[str, int]:
    return {"seconds": reach.seconds, "bytes": reach.bytes}
