"""Aggregations over HTTP: numbers of a query's answer, and of groups of it."""

from __future__ import annotations

from typing import Any

from baas.http import transactions
from baas.http.answers import Answer, json_answer
from baas.http.queries import encode_explanation
from baas.http.requests import Request
from baas.model.aggregates import Aggregation
from baas.services import aggregations, past
from baas.services.queries import PageRequest
from baas.wire.aggregates import decode_aggregation, encode_groups
from baas.wire.documents import time_text
from baas.wire.objects import check_boolean, check_integer, check_object, check_string, invalid
from baas.wire.writes import decode_time

_NO_PARAMETERS: frozenset[str] = frozenset()
_ASKED = frozenset({"query", "aggregates", "group_by"})
_PAGE = frozenset({"page_size", "page_token", "explain"})
_AGGREGATE = _ASKED | _PAGE | {"transaction", "read_time"}


async def aggregate(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_AGGREGATE, required=("query",))
    aggregation = decode_aggregation(members)
    for alone in ("transaction", "read_time"):
        if alone in members and not members.keys() <= _ASKED | {alone}:
            raise invalid(alone, "goes with an aggregation alone: no pages, no `explain`")
    if "transaction" in members:
        return await transactions.aggregate(request, aggregation, members["transaction"])
    context, caller, name = request.context, request.caller, request.database_name
    if "read_time" in members:
        time = decode_time(members["read_time"], "read_time")
        found = await past.aggregate_at(context, caller, name, aggregation, time)
    else:
        wanted = _page_request(request, aggregation, members)
        found = await aggregations.aggregate(context, caller, name, aggregation, wanted)
    tree: dict[str, Any] = {
        **encode_groups(aggregation, found.groups),
        "read_time": time_text(found.read_time.microseconds),
    }
    if found.next_token is not None:
        tree |= {"more": True, "next_page_token": found.next_token}
    if found.explanation is not None:
        tree["explain"] = encode_explanation(found.explanation)
    return json_answer(tree)


def _page_request(
    request: Request, aggregation: Aggregation, members: dict[str, Any]
) -> PageRequest:
    size, token = members.get("page_size"), members.get("page_token")
    if not aggregation.group_by and (size is not None or token is not None):
        raise invalid("page_size" if token is None else "page_token", "needs `group_by`")
    if size is not None:
        maximum = request.context.settings.limits.aggregation_groups_max
        size = check_integer(size, "page_size", minimum=1, maximum=maximum)
    if token is not None:
        check_string(token, "page_token")
    return PageRequest(size, token, check_boolean(members.get("explain", False), "explain"))
