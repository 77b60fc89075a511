"""How far back a database's history reaches, over HTTP, for administrators."""

from __future__ import annotations

from typing import Any

from baas.http.accounts import NO_PARAMETERS
from baas.http.answers import Answer, json_answer
from baas.http.requests import Request
from baas.projects.retention import (
    BYTES_MAX,
    BYTES_MIN,
    SECONDS_MAX,
    SECONDS_MIN,
    RetentionRule,
)
from baas.services import retention
from baas.services.retention import RetentionState
from baas.wire.documents import time_text
from baas.wire.objects import check_integer, check_object

_RULE = frozenset({"seconds", "bytes"})


async def get_retention(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    request.database = request.params["database"]
    found = await retention.get_retention(request.context, request.caller, request.database_name)
    return json_answer(_encode(found))


async def set_retention(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_RULE, required=())
    rule = RetentionRule(
        _number(members, "seconds", SECONDS_MIN, SECONDS_MAX),
        _number(members, "bytes", BYTES_MIN, BYTES_MAX),
    )
    request.database = request.params["database"]
    made = await retention.set_retention(
        request.context, request.caller, request.database_name, rule
    )
    return json_answer(_encode(made))


def _number(members: dict[str, Any], name: str, minimum: int, maximum: int) -> int | None:
    given = members.get(name)
    return None if given is None else check_integer(given, name, minimum=minimum, maximum=maximum)


def _encode(state: RetentionState) -> dict[str, object]:
    return {
        "seconds": state.rule.seconds,
        "bytes": state.rule.bytes,
        "in_force": {"seconds": state.reach.seconds, "bytes": state.reach.bytes},
        "oldest": time_text(state.kept.oldest) if state.kept.oldest else None,
        "history_bytes": state.kept.history_bytes,
        "answers_bytes": state.kept.request_bytes,
    }
