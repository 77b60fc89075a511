"""Where projects are: kept in memory, true to the server's own database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from baas.database.registry import Databases
from baas.database.system import SystemStore
from baas.errors import Unavailable
from baas.model.documents import DocumentLike
from baas.model.queries import Query
from baas.projects.records import PROJECTS, check_engine, open_place
from baas.storage.placed_store import Place


class Places:
    """Fills the placements, by which databases are opened. What is open of a project that is
    elsewhere from now on is closed, and watchers are told: nothing of it may be answered from
    memory, for nobody tells what is committed there.
    """

    def __init__(self, databases: Databases, store: SystemStore) -> None:
        self._databases = databases
        self._store = store
        self._watchers: list[Callable[[str], None]] = []
        self.on_move: Callable[[], None] = lambda: None  # whoever moves projects is told of one
        self._placements = databases.placements
        self._closings: set[asyncio.Task[None]] = set()
        self._heard = 0
        self._creating: dict[str, Place] = {}  # of projects that have no documents yet

    async def load(self) -> None:
        """To be done before the first project is opened."""
        while True:
            heard = self._heard
            database = await self._store.open(None)
            found = (await database.run_query(Query(PROJECTS))).documents
            if heard == self._heard:  # nothing has changed meanwhile
                break
        places = self._creating | {one.path.id: open_place(one) for one in found}
        for project in {*self._placements.known(), *places}:
            self._set(project, places.get(project))

    def note(self, project: str, document: DocumentLike | None) -> None:
        """A project's document was changed."""
        self._heard += 1
        self._set(project, None if document is None else open_place(document))
        if document is not None and document.fields.get("moving") is not None:
            self.on_move()

    def watch(self, watcher: Callable[[str], None]) -> None:
        """Calls `watcher` with the id of each project that is elsewhere from now on."""
        self._watchers.append(watcher)

    def is_here(self, project: str) -> bool:
        """Whether this node can open the project."""
        return self._placements.is_here(project)

    def check_here(self, project: str) -> None:
        """Raises Unavailable (`ProjectElsewhere`) for files of another node."""
        place = self._placements.find(project)
        if not self._placements.reaches(place):
            raise Unavailable(
                f"project `{project}` is in the data folder of node {place.node}: ask that one",
                reason="ProjectElsewhere",
            )

    def doubt(self) -> None:
        """Changes were missed: nothing is opened before they are known."""
        self._placements.doubt(self.load)

    @contextmanager
    def creating(self, project: str, engine: object) -> Iterator[Place | None]:
        """Databases of a project that has no document yet are made at this engine; what its
        document has to say of that. Raises InvalidArgument (`InvalidEngine`)."""
        place = None if engine is None else self._placements.place_at(check_engine(engine))
        if place is None:
            yield None
            return
        self._creating[project] = place
        self._placements.set(project, place)
        try:
            yield place
        except BaseException:
            self.doubt()
            raise
        finally:
            self._creating.pop(project, None)

    def close_databases(self, project: str) -> None:
        """Begins to close what is open of a project."""
        closing = asyncio.create_task(self._close(project), name=f"close {project}")
        self._closings.add(closing)
        closing.add_done_callback(self._closings.discard)

    async def _close(self, project: str) -> None:
        await self._databases.close_project(project)
        self._placements.note_closed(project)

    async def wait_closed(self) -> None:
        """Returns when nothing is open any more of where projects were."""
        while self._closings:
            await asyncio.wait(self._closings)

    def _set(self, project: str, place: Place | None) -> None:
        if self._placements.set(project, place):
            for watcher in self._watchers:
                watcher(project)
            self.close_databases(project)
