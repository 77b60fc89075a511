"""Several writes of one commit tried on rules over HTTP, for administrators."""

from __future__ import annotations

from typing import Any

from baas.database.names import DEFAULT_DATABASE
from baas.http.accounts import NO_PARAMETERS
from baas.http.answers import Answer, json_answer
from baas.http.requests import Request
from baas.http.rules_trials import (
    STEPS_MAX,
    decode_caller,
    decode_documents,
    decode_fields,
    encode_asked,
    encode_told,
)
from baas.services import rules_batches
from baas.services.authorizer import BATCH_LOOKUPS_MAX
from baas.services.explanations import valid_text
from baas.services.rules_batches import BatchResult, BatchTrial, TrialWrite
from baas.services.rules_trials import LIVE
from baas.wire.objects import check_object, check_string, invalid
from baas.wire.writes import decode_time

_BATCH = frozenset({"source", "database", "caller", "documents", "time", "writes"})
_WRITE = frozenset({"method", "path", "before", "after"})
_METHODS = ("create", "update", "delete", "get")
WRITES_MAX = 20


async def explain_rules_of_batch(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_BATCH, required=("writes",))
    result = await rules_batches.explain_batch(
        request.context, request.caller, request.params["project"], _decode_batch(members)
    )
    return json_answer(valid_text(_encode_result(result)))


def _decode_batch(members: dict[str, Any]) -> BatchTrial:
    writes = members["writes"]
    if type(writes) is not list or not writes:
        raise invalid("writes", "must be an array of at least one write")
    if len(writes) > WRITES_MAX:
        raise invalid("writes", f"has more than {WRITES_MAX} elements", reason="TooMany")
    time = members.get("time")
    return BatchTrial(
        writes=[_decode_write(tree, f"writes[{at}]") for at, tree in enumerate(writes)],
        database=check_string(members.get("database", DEFAULT_DATABASE), "database"),
        caller=decode_caller(members.get("caller")),
        documents=decode_documents(members.get("documents", {})),
        time=None if time is None else decode_time(time, "time"),
        source=members.get("source"),
    )


def _decode_write(tree: Any, at: str) -> TrialWrite:
    members = check_object(tree, at, allowed=_WRITE, required=("method", "path"))
    method = check_string(members["method"], f"{at}.method")
    if method not in _METHODS:
        raise invalid(f"{at}.method", f"is one of {', '.join(_METHODS)}")
    return TrialWrite(
        method=method,
        path=check_string(members["path"], f"{at}.path"),
        before=decode_fields(members["before"], f"{at}.before") if "before" in members else LIVE,
        after=decode_fields(members.get("after"), f"{at}.after"),
    )


def _encode_result(result: BatchResult) -> dict[str, Any]:
    steps_max = STEPS_MAX // len(result.writes)
    return {
        "allowed": result.allowed,
        "writes": [
            encode_told(one.explanation, one.before, result.documents, steps_max=steps_max)
            for one in result.writes
        ],
        "looked_up": result.looked_up,
        "looked_up_max": BATCH_LOOKUPS_MAX,
        **encode_asked(result.release, result.time, result.auth),
    }
