"""Moves of projects: what a server is at, one move at a time, going on through restarts.

moves/{move}          what is to be done, how far it has come, which node is at it
move_state/running    the id of the move that is not over

All in the server's own database, in which the project's document says meanwhile that it is moving:
no other move, deletion or further database comes in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, cast

from baas.clock import Clock, new_document_id
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.encoding.documents import StoredDocument
from baas.errors import FailedPrecondition, NotFound
from baas.model.documents import DocumentLike
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.projects.records import (
    Project,
    check_not_moving,
    is_deleting,
    is_id,
    open_project,
    project_not_found,
    project_path,
)
from baas.storage.placed_store import Place, Placements

MOVES = CollectionPath(("moves",))
RUNNING = DocumentPath(("move_state", "running"))
KEPT_MAX = 100
HELD_UP_SECONDS = 30.0  # after the switch; then the pause has an end without the node, too
ATTEMPTS_MAX = 10  # in succession, that ended with the server's end, or with what may pass


class MoveState(Enum):
    RUNNING = "running"
    UNDOING = "undoing"  # it was cancelled, or failed: what it has made is being deleted
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Step(Enum):
    BEGIN = "begin"  # nothing was made at the target
    COPY = "copy"
    FOLLOW = "follow"  # what was written meanwhile, in rounds
    COMPARE = "compare"
    PAUSE = "pause"  # of writes
    CLEAN = "clean"  # the project is at the target; its databases are to be deleted where it was


@dataclass(frozen=True, slots=True)
class Progress:
    """Documents copied and their bytes; `total`: about how many there are. `rounds`: how often what
    was written meanwhile was taken along, `changes`: how many documents that were, the last time.
    `pause_milliseconds`: how long writes had to wait; None: not yet known."""

    documents: int = 0
    bytes: int = 0
    total: int | None = None
    rounds: int = 0
    changes: int = 0
    pause_milliseconds: float | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """`node` has the files that it is from, or to, and does it. `source` and `target`: what the
    project's document says before and after. `position`: see `positions`. `error` of a move that is
    running: why it waits for another attempt."""

    id: str
    project: str
    source: Place
    target: Place
    node: str
    author: str | None
    created: Timestamp
    updated: Timestamp
    state: MoveState = MoveState.RUNNING
    step: Step = Step.BEGIN
    error: str | None = None
    reason: str | None = None
    attempts: int = 0
    position: str | None = None
    progress: Progress = field(default_factory=Progress)

    @property
    def is_over(self) -> bool:
        return self.state not in (MoveState.RUNNING, MoveState.UNDOING)

    def to_fields(self) -> Fields:
        progress = self.progress
        return {
            "project": self.project,
            "source": {"engine": self.source.engine, "node": self.source.node},
            "target": {"engine": self.target.engine, "node": self.target.node},
            "node": self.node,
            "author": self.author,
            "created": self.created,
            "updated": self.updated,
            "state": self.state.value,
            "step": self.step.value,
            "error": self.error,
            "reason": self.reason,
            "attempts": self.attempts,
            "position": self.position,
            "documents": progress.documents,
            "bytes": progress.bytes,
            "total": progress.total,
            "rounds": progress.rounds,
            "changes": progress.changes,
            "pause_milliseconds": progress.pause_milliseconds,
        }


class Moves:
    """The moves of a server, as one of its nodes sees them."""

    def __init__(self, store: SystemStore, placements: Placements, clock: Clock) -> None:
        """`store`: by which projects are watched, for moves change them."""
        self.store = store
        self.wake: Callable[[], None] = lambda: None  # whoever does moves is told of new ones
        self._clock = clock
        self._placements = placements

    async def create(self, project: str, engine: str, *, author: str | None) -> Move:
        """A new move, which nobody is at yet. Raises NotFound (`ProjectNotFound`),
        FailedPrecondition (`MoveRunning`, `ProjectAlreadyThere`)."""

        async def body(transaction: Transaction) -> Move:
            running, document = await transaction.get_documents([RUNNING, project_path(project)])
            if running is not None:
                raise FailedPrecondition(
                    f"a server moves one project at a time, and move {running.fields['move']!s} is "
                    "not over; wait, or cancel it",
                    reason="MoveRunning",
                    details={"move": running.fields["move"]},
                )
            found = _open_here(project, document)
            check_not_moving(found)
            move = self._make(found, engine, author, transaction.request_time)
            known = (await transaction.run_query(Query(MOVES))).documents
            known.sort(key=lambda one: one.created)
            writes: list[Write] = [DeleteWrite(one.path) for one in known[: -KEPT_MAX + 1]]
            writes += [
                _save(move),
                SetWrite(RUNNING, {"move": move.id}),
                SetWrite(project_path(project), replace(found, moving=move.id).to_fields()),
            ]
            await transaction.write(writes)
            return move

        return await self.store.run(None, body)

    def _make(self, project: Project, engine: str, author: str | None, now: Timestamp) -> Move:
        placements = self._placements
        source = project.place or placements.own
        if source.engine == engine:
            raise FailedPrecondition(
                f"project `{project.id}` is at the engine `{engine}` already",
                reason="ProjectAlreadyThere",
            )
        target = placements.place_at(engine) or placements.own
        return Move(
            new_document_id(self._clock),
            project.id,
            source,
            target,
            node=placements.node,
            author=author,
            created=now,
            updated=now,
        )

    async def get(self, identifier: str) -> Move:
        """Raises NotFound (`MoveNotFound`)."""
        if not is_id(identifier):
            raise _not_found(identifier)
        document = await self.store.read(None, MOVES.document(identifier))
        if document is None:
            raise _not_found(identifier)
        return _open(document)

    async def list_all(self) -> list[Move]:
        """The last ones, newest first."""
        found = await self.store.run_query(None, Query(MOVES))
        return [_open(one) for one in sorted(found, key=lambda one: -one.created)]

    async def cancel(self, identifier: str) -> Move:
        """Whoever is at it stops within seconds, and deletes what it has made. Raises NotFound
        (`MoveNotFound`), FailedPrecondition (`MoveIsOver`; also once the project has moved, and
        only the databases that it left are to be deleted)."""
        await self.get(identifier)

        async def body(transaction: Transaction) -> Move:
            move = await _get(transaction, identifier)
            if move is None:
                raise _not_found(identifier)
            if move.is_over or move.step is Step.CLEAN:
                raise FailedPrecondition(
                    f"the move is over: it is {move.state.value}"
                    if move.is_over
                    else "the project has moved already; move it back, once this is over",
                    reason="MoveIsOver",
                )
            now = transaction.request_time
            cancelled = replace(move, state=MoveState.UNDOING, error=None, updated=now)
            await transaction.write([_save(cancelled)])
            return cancelled

        return await self.store.run(None, body)

    async def claim(self) -> Move | None:
        """The move that is not over, if it is this node's."""

        async def body(transaction: Transaction) -> Move | None:
            (running,) = await transaction.get_documents([RUNNING])
            if running is None:
                return None
            move = await _get(transaction, str(running.fields["move"]))
            if move is None or move.is_over:
                await transaction.write([DeleteWrite(RUNNING)])
                return None
            if move.node != self._placements.node:
                return None
            claimed = replace(move, attempts=move.attempts + 1)
            await transaction.write([_save(claimed)])
            return claimed

        return await self.store.run(None, body)

    async def find_held_up(self) -> Move | None:
        """A move of another node, which may be gone, whose fence any node can lift: it is being
        undone, or has moved, and nobody ended the pause."""
        database = await self.store.open(None)
        (running,) = await database.get_documents([RUNNING])
        if running is None:
            return None
        move = await self.get(str(running.fields["move"]))
        is_mine = move.node == self._placements.node
        may_lift = move.state is MoveState.UNDOING and move.source.engine == "mongodb"
        if move.step is Step.CLEAN and move.target.engine == "mongodb":
            silent = self._clock.now_microseconds() - move.updated.microseconds
            may_lift = silent > HELD_UP_SECONDS * 1_000_000
        return move if may_lift and not is_mine else None

    async def save(self, move: Move) -> bool:
        """Notes how far a move has come. False: it was cancelled meanwhile."""

        async def body(transaction: Transaction) -> bool:
            known = await _get(transaction, move.id)
            if known is None or known.state is not move.state or known.is_over:
                return False
            if known.step is Step.CLEAN and move.step is not Step.CLEAN:
                return True  # it has just moved: nothing goes back behind that
            await transaction.write([_save(replace(move, updated=transaction.request_time))])
            return True

        return await self.store.run(None, body)

    async def undo(self, move: Move) -> Move:
        """From now on it is undone; `error` and `reason` say why, if it was not cancelled."""
        undone = replace(move, state=MoveState.UNDOING, attempts=0)

        async def body(transaction: Transaction) -> Move:
            known = await _get(transaction, move.id)
            if known is None or known.is_over or known.state is MoveState.UNDOING:
                return known or undone
            if known.step is Step.CLEAN:
                return known  # it has moved: there is no way back
            await transaction.write([_save(replace(undone, updated=transaction.request_time))])
            return undone

        return await self.store.run(None, body)

    async def switch(self, move: Move) -> None:
        """**The point at which a project moves**: before this commit the source is the project,
        after it the target. Raises FailedPrecondition (`MoveCancelled`)."""

        async def body(transaction: Transaction) -> None:
            known = await _get(transaction, move.id)
            (document,) = await transaction.get_documents([project_path(move.project)])
            if known is None or known.state is not MoveState.RUNNING or document is None:
                raise cancelled()
            if known.step is Step.CLEAN:
                return  # by a commit whose answer was lost
            project = open_project(document)
            assert project.moving == move.id
            assert not is_deleting(document)
            place = None if move.target == self._placements.own else move.target
            now = transaction.request_time
            moved = replace(move, step=Step.CLEAN, attempts=0, error=None, updated=now)
            fields = replace(project, place=place).to_fields()
            await transaction.write([SetWrite(document.path, fields), _save(moved)])

        await self.store.run(None, body)

    async def end(self, move: Move) -> None:
        """It is over, and the project is not moving any more."""

        async def body(transaction: Transaction) -> None:
            known = await _get(transaction, move.id)
            if known is None or known.is_over:
                return
            (document,) = await transaction.get_documents([project_path(move.project)])
            over = replace(move, position=None, updated=transaction.request_time)
            writes: list[Write] = [_save(over), DeleteWrite(RUNNING)]
            if document is not None and document.fields.get("moving") == move.id:
                fields = replace(open_project(document), moving=None).to_fields()
                writes.append(SetWrite(document.path, fields))
            await transaction.write(writes)

        await self.store.run(None, body)


def cancelled() -> FailedPrecondition:
    return FailedPrecondition("the move was cancelled", reason="MoveCancelled")


def _open_here(project: str, document: StoredDocument | None) -> Project:
    if document is None or is_deleting(document):
        raise project_not_found(project)
    return open_project(document)


async def _get(transaction: Transaction, identifier: str) -> Move | None:
    (document,) = await transaction.get_documents([MOVES.document(identifier)])
    return None if document is None else _open(document)


def _save(move: Move) -> SetWrite:
    return SetWrite(MOVES.document(move.id), move.to_fields())


def _not_found(identifier: str) -> NotFound:
    return NotFound(f"there is no move `{identifier[:80]}`", reason="MoveNotFound")


def _open(document: DocumentLike) -> Move:
    fields = cast("Mapping[str, Any]", document.fields)
    names = ("documents", "bytes", "total", "rounds", "changes", "pause_milliseconds")
    rest = {name: value for name, value in fields.items() if name not in names}
    return Move(
        document.path.segments[-1],
        **{
            **rest,
            "source": Place(**fields["source"]),
            "target": Place(**fields["target"]),
            "state": MoveState(fields["state"]),
            "step": Step(fields["step"]),
        },
        progress=Progress(**{name: fields[name] for name in names}),
    )
