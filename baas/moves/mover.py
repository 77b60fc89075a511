"""Taking one project to another engine, step by step; from wherever it was left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from baas.clock import Clock
from baas.database.database import Database
from baas.database.failures import baas_errors
from baas.database.names import DatabaseName
from baas.database.past_scan import ScanPlace
from baas.database.registry import Databases
from baas.errors import (
    BaasError,
    FailedPrecondition,
    QuotaExceeded,
    ResumeTokenExpired,
    Unavailable,
)
from baas.moves.copying import DatabaseCopy, Position, SumsLost
from baas.moves.positions import decode_positions, encode_positions
from baas.moves.tasks import Move, Moves, MoveState, Progress, Step, cancelled
from baas.projects.projects import Projects
from baas.storage.placed_store import PlacedStore
from baas.storage.store import StoreMissing, StoreName

ROUND_CHANGES = 300  # a round that took no more is a short one: the pause can begin
ROUNDS_MAX = 20
PAUSE_SECONDS_MAX = 10.0  # from the fence to the comparison; else the move goes on before it
TRIES_MAX = 5  # of the pause, and of copies that history was too short for
CLEAN_SECONDS = 60.0  # until no node and no worker has anything open of where the project was
# After the switch, where others hear of it later: until then they know, or know that they do not.
NOTICE_SECONDS = 2.5
SWITCH_RETRY_SECONDS = 0.2
ERASED_SECONDS = 0.5  # between comparisons of what is being erased; longer after each
_log = structlog.get_logger("baas.moves")


class Mover:
    """Does one move. `move` is how far it has come, to be saved from time to time."""

    def __init__(
        self,
        databases: Databases,
        projects: Projects,
        store: PlacedStore,
        moves: Moves,
        clock: Clock,
        move: Move,
    ) -> None:
        self._databases = databases
        self._projects = projects
        self._store = store
        self._moves = moves
        self._clock = clock
        self._move = move
        self._copies: list[DatabaseCopy] = []

    @property
    def move(self) -> Move:
        """With the position of what is being copied."""
        if not self._copies or self._move.step in (Step.BEGIN, Step.CLEAN):
            return self._move
        positions = {one.name.database: one.position for one in self._copies}
        return replace(self._move, position=encode_positions(positions))

    async def run(self) -> None:
        """Goes on until the move is over. Raises what it cannot do, and can be repeated."""
        if self._move.state is MoveState.UNDOING:
            await self._undo()
            return
        started = None
        if self._move.step is not Step.CLEAN:
            started = await self._take_over()
        await self._end_pause(started)
        await self._clean()

    async def lift_fence(self) -> None:
        """All that another node can do for a move that is being undone, or has moved: writes go on.
        What is to be deleted in files of a node that is gone is when that one starts."""
        for name in await self._names():
            fences = (await self._source(name)).fences
            if await fences.read() == self._move.id:
                await fences.lift(self._move.id)

    # Before the switch ----------------------------------------------------------------------------

    async def _take_over(self) -> float:
        """Since when writes are held up."""
        names = await self._names()
        for number in range(1, TRIES_MAX + 1):
            try:
                await self._lift(names)  # the fence of an attempt that was cut off
                started = await self._make_equal(names)
                break
            except BaasError as error:
                if number == TRIES_MAX or not _must_begin_anew(error):
                    raise
                _log.warning("a project is copied anew", move=self._move.id, why=error.message)
                await self._begin_anew()
        await self._switch()
        return started

    async def _begin_anew(self) -> None:
        progress = Progress(rounds=self._move.progress.rounds)
        self._move = replace(self._move, position=None, progress=progress)
        await self._reach(Step.COPY)

    async def _make_equal(self, names: list[DatabaseName]) -> float:
        """Copies, follows, and holds up writes; since when. The copies are what the source is."""
        is_new = self._move.position is None
        if self._move.step is Step.BEGIN:
            await self._check_target()
        elif is_new:
            await self._delete_copies()
        if is_new:
            # From here on what is at the target is this move's, and as of these versions or later.
            self._move = replace(self._move, position=await self._beginnings(names))
            await self._reach(Step.COPY)
        async with self._open_copies(names, is_new=is_new):
            await self._copy_all()
            for number in range(1, TRIES_MAX + 1):
                await self._follow_all()
                try:
                    return await self._pause(names)
                except (TimeoutError, SumsLost):
                    _log.warning("the pause was too short", move=self._move.id, tries=number)
        raise QuotaExceeded(
            "the project is written to faster than it can be followed: there was no pause of "
            f"{PAUSE_SECONDS_MAX:.0f} s in which it could be moved",
            reason="MoveTooSlow",
        )

    async def _names(self) -> list[DatabaseName]:
        project = self._move.project
        found = (await self._projects.read_project(project)).databases
        return [*[DatabaseName(project, one) for one in found], DatabaseName.system(project)]

    async def _source(self, name: DatabaseName) -> Database:
        if name.is_system:
            return await self._databases.system(name.project)
        return await self._databases.open(name)

    async def _beginnings(self, names: list[DatabaseName]) -> str:
        positions = {}
        for name in names:
            database = await self._source(name)
            async with database.snapshot() as snapshot:
                positions[name.database] = Position(ScanPlace(snapshot.version, b""))
        return encode_positions(positions)

    async def _delete_copies(self) -> None:
        with baas_errors():
            await self._store.at(self._move.target.engine).delete_project(self._move.project)

    async def _check_target(self) -> None:
        """Raises FailedPrecondition (`TargetNotEmpty`)."""
        project, engine = self._move.project, self._move.target.engine
        store = self._store.at(engine)
        with baas_errors():
            found = await store.list_databases(project)
            with contextlib.suppress(StoreMissing):
                await (await store.open(StoreName(project, None), create=False)).close()
                found = [*found, "__system__"]
        if found:
            raise FailedPrecondition(
                f"there are databases of a project `{project}` at the engine `{engine}` already, "
                f"which this move has not made: {', '.join(found)}; remove them first",
                reason="TargetNotEmpty",
            )

    @contextlib.asynccontextmanager
    async def _open_copies(self, names: list[DatabaseName], *, is_new: bool) -> AsyncIterator[None]:
        store = self._store.at(self._move.target.engine)
        assert self._move.position is not None
        positions = decode_positions(self._move.position)
        copies: list[DatabaseCopy] = []
        try:
            for name in names:
                with baas_errors():
                    engine = await store.open(name.store_name, create=True)
                position = positions[name.database]
                source = partial(self._source, name)
                copies.append(DatabaseCopy(name, source, engine, position, is_new=is_new))
            self._copies = copies  # all at once: somebody may note the positions at any time
            yield
        finally:
            self._move = self.move
            self._copies = []
            for one in copies:
                await one.close()

    async def _copy_all(self) -> None:
        if self._move.progress.total is None:
            with contextlib.suppress(BaasError):  # it may take too long, and is for people only
                self._note(total=await self._count())
        for one in self._copies:
            while documents := await one.copy_some():
                self._move = replace(self._move, attempts=0)  # it comes on
                progress = self._move.progress
                self._note(
                    documents=progress.documents + len(documents),
                    bytes=progress.bytes + sum([len(found.data) for found in documents]),
                )

    async def _count(self) -> int:
        count = 0
        for one in self._copies:
            database = await self._source(one.name)
            async with database.snapshot() as snapshot:
                count += await snapshot.count_keys(b"", None)
        return count

    async def _follow_all(self) -> None:
        """Until the copies are equal, but for what a short round takes along; both sides were read
        whole on the way."""
        await self._reach(Step.FOLLOW)
        for one in self._copies:
            await one.release(self._move.id)  # by an attempt that came to its end, or nearly
        for number in range(TRIES_MAX):
            await asyncio.sleep(number * ERASED_SECONDS)
            try:
                for one in self._copies:
                    one.forget_sums()
                await self._rounds()
                await self._reach(Step.COMPARE)
                for one in self._copies:
                    await one.read_whole()
                await self._rounds()
                return
            except SumsLost:
                _log.info("copies are compared again: documents were erased", move=self._move.id)
        raise Unavailable(
            "what documents of the project were is being erased, so its copy cannot be compared "
            "with it; the move waits until that is over",
            reason="ErasedMeanwhile",
        )

    async def _rounds(self) -> None:
        for _ in range(ROUNDS_MAX):
            changes = 0
            for one in self._copies:
                changes += await one.follow()
            self._note(rounds=self._move.progress.rounds + 1, changes=changes)
            if changes <= ROUND_CHANGES:
                return

    # The pause ------------------------------------------------------------------------------------

    async def _pause(self, names: list[DatabaseName]) -> float:
        """Holds up writes, and makes the copies equal to the last one; when it began. Raises
        TimeoutError, SumsLost: writes have gone on then."""
        await self._reach(Step.PAUSE)
        started = self._clock.monotonic_seconds()
        try:
            async with asyncio.timeout(PAUSE_SECONDS_MAX):
                await _run_all([self._fence(name) for name in names])
                await _run_all([self._end_copy(one) for one in self._copies])
                if self._is_heard_late:
                    await _run_all([one.hold(self._move.id) for one in self._copies])
        except BaseException:
            await asyncio.shield(self._lift(names))
            raise
        return started

    async def _fence(self, name: DatabaseName) -> None:
        await (await self._source(name)).fences.put_up(self._move.id)

    async def _end_copy(self, one: DatabaseCopy) -> None:
        await one.follow(is_last=True)
        one.compare()
        await one.complete()

    async def _lift(self, names: list[DatabaseName]) -> None:
        """Writes go on where they were held up."""
        for name in names:
            await (await self._source(name)).fences.lift(self._move.id)

    async def _switch(self) -> None:
        """Whether the commit was made is found out, however long that takes: the fence stands
        meanwhile. Only a move that was cancelled before may lift it."""
        while True:
            try:
                await self._moves.switch(self._move)
                break
            except BaasError as error:
                if not error.retryable:
                    raise
                _log.warning("the switch is tried again", move=self._move.id, error=error.message)
                await asyncio.sleep(SWITCH_RETRY_SECONDS)
        self._move = replace(self._move, step=Step.CLEAN, error=None)

    # After the switch -----------------------------------------------------------------------------

    @property
    def _is_heard_late(self) -> bool:
        """Whether others serve the project who look at nothing before they read where it was. What
        they read is right for as long as nobody writes where it is now."""
        return self._databases.is_shared and not self._databases.has_workers

    async def _end_pause(self, started: float | None) -> None:
        """Writers that waited go on where the databases are now. `started`: of the pause, if it
        began in this attempt."""
        names = await self._names()
        if self._is_heard_late:
            await asyncio.sleep(NOTICE_SECONDS)
            await self._lift(names)
        for name in names:
            with contextlib.suppress(BaasError):
                await self._source(name)
        if started is not None:
            pause = (self._clock.monotonic_seconds() - started) * 1_000
            self._note(pause_milliseconds=round(pause, 1))
            _log.info("a project has moved", project=self._move.project, pause_milliseconds=pause)
            await self._moves.save(self._move)

    async def _clean(self) -> None:
        if self._databases.is_shared:
            await asyncio.sleep(CLEAN_SECONDS)
        await self._projects.places.wait_closed()
        with baas_errors():
            await self._store.at(self._move.source.engine).delete_project(self._move.project)
        self._move = replace(self._move, state=MoveState.DONE)
        await self._moves.end(self._move)

    async def _undo(self) -> None:
        await self._lift(await self._names())
        if self._move.step is not Step.BEGIN:
            await self._delete_copies()
        state = MoveState.CANCELLED if self._move.reason is None else MoveState.FAILED
        self._move = replace(self._move, state=state)
        await self._moves.end(self._move)

    # Notes ----------------------------------------------------------------------------------------

    def _note(self, **changes: float | int | None) -> None:
        progress: Progress = replace(self._move.progress, **changes)  # type: ignore[arg-type]
        self._move = replace(self._move, progress=progress)

    async def _reach(self, step: Step) -> None:
        self._move = replace(self.move, step=step, error=None)
        if not await self._moves.save(self._move):
            raise cancelled()


async def _run_all(calls: Sequence[Coroutine[Any, Any, None]]) -> None:
    """All at once; if one fails, what it raises, when none goes on any more."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in calls:
                group.create_task(one)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _must_begin_anew(error: BaseException) -> bool:
    """Whether the log, or history, does not reach back to where the copy is any more."""
    if isinstance(error, ResumeTokenExpired):
        return True
    return isinstance(error, BaasError) and error.reason == "HistoryTooShort"
