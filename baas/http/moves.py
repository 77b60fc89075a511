"""Moves of projects between engines over HTTP, for administrators."""

from __future__ import annotations

from typing import Any

from baas.http.answers import Answer, json_answer
from baas.http.requests import Request
from baas.moves.tasks import Move
from baas.services import moves
from baas.wire.documents import time_text
from baas.wire.objects import check_boolean, check_object

_NO_PARAMETERS: frozenset[str] = frozenset()
_MOVE = frozenset({"to", "here"})


async def start_move(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_MOVE, required=("to",))
    move = await moves.start_move(
        request.context,
        request.caller,
        request.params["project"],
        members["to"],
        here=check_boolean(members.get("here", False), "here"),
    )
    return json_answer(_encode_move(move), status=202)


async def list_moves(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    found = await moves.list_moves(request.context, request.caller)
    return json_answer({"moves": [_encode_move(one) for one in found]})


async def get_move(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    move = await moves.get_move(request.context, request.caller, request.params["id"])
    return json_answer(_encode_move(move))


async def cancel_move(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    move = await moves.cancel_move(request.context, request.caller, request.params["id"])
    return json_answer(_encode_move(move))


def _encode_move(move: Move) -> dict[str, Any]:
    progress = move.progress
    return {
        "id": move.id,
        "project": move.project,
        "from": move.source.engine,
        "to": move.target.engine,
        "node": move.node,
        "state": move.state.value,
        "step": move.step.value,
        "error": move.error,
        "reason": move.reason,
        "author": move.author,
        "created": time_text(move.created.microseconds),
        "updated": time_text(move.updated.microseconds),
        "progress": {
            "documents": progress.documents,
            "bytes": progress.bytes,
            "total_documents": progress.total,
            "rounds": progress.rounds,
            "changes": progress.changes,
        },
        "pause_milliseconds": progress.pause_milliseconds,
    }
