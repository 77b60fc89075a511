"""Use cases on moves of projects between engines, for administrators."""

from __future__ import annotations

from baas.errors import FailedPrecondition, Unavailable
from baas.moves.tasks import Move
from baas.projects.records import check_engine
from baas.services.admins import check_is_admin
from baas.services.caller import Caller
from baas.services.context import Context


async def start_move(
    context: Context, caller: Caller, project: str, engine: object, *, here: bool
) -> Move:
    """Moves a project to another engine while it is used. `here`: a server of several nodes may
    have it in the data folder of this one alone. Raises NotFound (`ProjectNotFound`),
    InvalidArgument (`InvalidEngine`), FailedPrecondition (`ProjectAlreadyThere`, `MoveRunning`,
    `EngineNotConfigured`, `MoveNeedsNode`), Unavailable (`ProjectElsewhere`)."""
    check_is_admin(caller)
    wanted = check_engine(engine)
    found = await context.projects.read_project(project)
    placements = context.databases.placements
    place = found.place or placements.own
    if not placements.reaches(place):
        raise Unavailable(
            f"project `{project}` is in the data folder of node {place.node}, which has to move it:"
            " ask that one",
            reason="ProjectElsewhere",
        )
    if wanted == "mongodb" and not context.settings.mongodb_uri:
        raise FailedPrecondition(
            "this server is not set up for the engine `mongodb`: set `mongodb_uri`",
            reason="EngineNotConfigured",
        )
    if wanted == "sqlite" and placements.own.engine != "sqlite" and not here:
        raise FailedPrecondition(
            "this server may have several nodes, and a project on SQLite is served by one of them "
            "alone, all others refusing it; say so with `here`",
            reason="MoveNeedsNode",
        )
    move = await context.moves.create(project, wanted, author=caller.uid)
    context.moves.wake()
    return move


async def list_moves(context: Context, caller: Caller) -> list[Move]:
    """The last hundred, newest first."""
    check_is_admin(caller)
    return await context.moves.list_all()


async def get_move(context: Context, caller: Caller, move: str) -> Move:
    """Raises NotFound (`MoveNotFound`)."""
    check_is_admin(caller)
    return await context.moves.get(move)


async def cancel_move(context: Context, caller: Caller, move: str) -> Move:
    """The project stays where it is. Raises NotFound (`MoveNotFound`), FailedPrecondition
    (`MoveIsOver`)."""
    check_is_admin(caller)
    cancelled = await context.moves.cancel(move)
    context.moves.wake()
    return cancelled
