"""Fences that no move lifts any more: files that were copied back one by one, from different
moments, may hold one whose move the server knows nothing of, or thinks over."""

from __future__ import annotations

import asyncio

import structlog

from baas.database.database import Database
from baas.database.names import SERVER
from baas.database.registry import Databases
from baas.database.system import SystemStore
from baas.ending import end_if_cancelled
from baas.errors import BaasError
from baas.projects.records import project_path

ATTEMPTS, RETRY_SECONDS = 12, 5.0
_log = structlog.get_logger("baas.moves")


class Leftovers:
    """Looks at each database of a project that is fenced when it is opened.

    A fence is known by its move, which the project's document names from before the fence is put up
    until it is lifted, or the database deleted. So a document that names another one, or none, and
    is read after the fence was seen, tells that nobody rests on it.
    """

    def __init__(self, databases: Databases, store: SystemStore) -> None:
        self._store = store
        self._looking: set[asyncio.Task[None]] = set()
        databases.watch_opened(self._note_opened)

    async def close(self) -> None:
        for task in self._looking:
            task.cancel()
        if self._looking:
            await asyncio.wait(self._looking)

    def _note_opened(self, database: Database) -> None:
        fence, project = database.fences.at_opening, database.name.project
        if fence is not None and project != SERVER:
            task = asyncio.create_task(self._look(database, project, fence), name="fence")
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)

    async def _look(self, database: Database, project: str, fence: str) -> None:
        for _ in range(ATTEMPTS):  # who opens the database later looks again
            end_if_cancelled()
            try:
                if await self._find_move(project) != fence and await database.fences.lift(fence):
                    _log.warning(
                        "a fence was lifted that no move has any more",
                        database=str(database.name),
                        move=fence,
                    )
                return
            except BaasError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(RETRY_SECONDS)

    async def _find_move(self, project: str) -> str | None:
        own = await self._store.open(None)
        (document,) = await own.get_documents([project_path(project)])
        moving = None if document is None else document.fields.get("moving")
        return None if moving is None else str(moving)
