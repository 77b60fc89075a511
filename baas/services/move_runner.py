"""Does moves of projects: those that were begun here, and those that an earlier run of this node
has left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog

from baas.errors import BaasError, Internal
from baas.moves.mover import Mover
from baas.moves.tasks import ATTEMPTS_MAX, Move, Moves, MoveState, Step
from baas.services.lookout import Lookout, attend, failure_of

LOOK_SECONDS = 15.0  # between two looks for what was left behind, or failed for a while
SAVE_SECONDS = 1.0  # between two notes of progress; and how soon a cancelled move ends
_log = structlog.get_logger("baas.moves")


class MoveRunner:
    """The move that this process is at, if it is at one."""

    def __init__(self, moves: Moves, make_mover: Callable[[Move], Mover]) -> None:
        self._moves = moves
        self._make_mover = make_mover
        self._lookout = Lookout("moves", self._look, lambda: LOOK_SECONDS)
        self.wake = self._lookout.wake

    def start(self) -> None:
        self._moves.wake = self.wake
        self._lookout.start()

    async def close(self) -> None:
        """Leaves what is not done to the next start."""
        await self._lookout.close()

    async def _look(self) -> None:
        while (move := await self._moves.claim()) is not None:
            if not await self._do(move):
                break
        if (held_up := await self._moves.find_held_up()) is not None:
            await self._make_mover(held_up).lift_fence()

    async def _do(self, move: Move) -> bool:
        """One move to its end, or to the point from which it is undone; False: it is left for
        another attempt."""
        mover = self._make_mover(move)
        work = asyncio.create_task(self._attempt(mover), name=f"move {move.id}")
        if not await attend(work, lambda: self._save(mover.move), every=SAVE_SECONDS):
            return True  # it was cancelled
        failure = failure_of(work)
        return failure is None or await self._note_failure(mover.move, failure)

    async def _attempt(self, mover: Mover) -> None:
        move = mover.move
        may_end = move.state is MoveState.RUNNING and move.step is not Step.CLEAN
        if may_end and move.attempts > ATTEMPTS_MAX:  # what is begun else has to be finished
            raise Internal("the server ended, or failed, each time that this was tried")
        await mover.run()

    async def _save(self, move: Move) -> bool:
        try:
            return await self._moves.save(move)
        except BaasError as error:
            if error.retryable:
                return True
            raise

    async def _note_failure(self, move: Move, failure: BaseException) -> bool:
        """Whether there is something to go on with at once: undoing it."""
        if not isinstance(failure, BaasError):
            _log.error("a move failed", move=move.id, exc_info=failure)
            failure = Internal("internal error")
        may_pass = failure.retryable and move.attempts < ATTEMPTS_MAX
        if may_pass or move.step is Step.CLEAN or move.state is MoveState.UNDOING:
            _log.warning("a move waits for another attempt", move=move.id, error=failure.message)
            await self._save(replace(move, error=failure.message))
            return False
        _log.error("a move failed", move=move.id, reason=failure.reason, error=failure.message)
        await self._moves.undo(replace(move, error=failure.message, reason=failure.reason))
        return True
