"""Denials by rules over HTTP, for administrators."""

from __future__ import annotations

from typing import Any

import orjson

from baas.http.answers import Answer, json_answer
from baas.http.requests import Request, integer_parameter
from baas.services import denials
from baas.services.denial_traces import Denial
from baas.wire.documents import time_text

_FILTER = frozenset({"request_id", "path", "uid", "method"})
_LIST = _FILTER | {"page_size", "page_token"}
DENIALS_PAGE_MAX = 100


async def list_denials(request: Request) -> Answer:
    query = request.query(_LIST)
    page = await denials.list_denials(
        request.context,
        request.caller,
        request.params["project"],
        denials.DenialFilter(**{name: query[name] for name in _FILTER if name in query}),
        page_size=integer_parameter(query, "page_size", 20, minimum=1, maximum=DENIALS_PAGE_MAX),
        page_token=query.get("page_token"),
    )
    counts = page.counts
    tree: dict[str, Any] = {
        "denials": [_encode(denial) for denial in page.denials],
        "counts": {
            "denied": counts.denied,
            "unexplained": counts.unexplained,
            "dropped": counts.dropped,
        },
    }
    if page.next_token is not None:
        tree["next_page_token"] = page.next_token
    return json_answer(tree)


def _encode(denial: Denial) -> dict[str, Any]:
    trace = denial.trace
    asked = trace.asked
    told = orjson.loads(trace.explanation)
    return {
        "request_id": denial.request_id,
        "time": time_text(trace.time),
        "service": asked.service,
        "place": asked.place,
        "method": asked.method,
        "path": "/".join(asked.path),
        "caller": asked.caller,
        "uid": asked.uid,
        "release": asked.release,
        "attempts": told["attempts"],
        "reasons": told["reasons"],
        "lookups": told["lookups"],
        "explanation": told["text"],
        "expressions": told["expressions"],
    }
