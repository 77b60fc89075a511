"""Databases of one server on several engines: each project is at one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, NamedTuple

from baas.storage.engine import StorageEngine, StorageError
from baas.storage.store import Store, StoreName

ENGINES = ("sqlite", "mongodb")


class StoreElsewhere(StorageError):
    """The project's databases are in the data folder of another node."""


class EngineNotConfigured(StorageError):
    """The project's databases are at an engine that this server is not set up for."""


class Place(NamedTuple):
    """Where a project's databases are. `node`: of which node the data folder is, where a server may
    have several; None: any node's."""

    engine: str
    node: str | None = None


class Placements:
    """Which project is where. What was not said of a project: it is at the server's own engine,
    where the server's own databases are, too. `node` is the name of this node.

    Whoever knows the projects fills it, before the first one is opened, and keeps it true.
    """

    def __init__(self, engine: str, *, node: str = "", engines: Collection[str] = ENGINES) -> None:
        """`engines`: those that this server is set up for."""
        self._engines = engines
        self.own = Place(engine)
        self.node = node
        # Projects of which nothing is read without waiting, or something open is not.
        self.far: set[str] = set()
        self._places: dict[str, Place] = {}
        self._load: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._doubts = 0
        self._loading: tuple[int, asyncio.Task[None]] | None = None  # over which doubt

    def find(self, project: str | None) -> Place:
        return self.own if project is None else self._places.get(project, self.own)

    def is_here(self, project: str) -> bool:
        """Whether this node can open the project."""
        place = self.find(project)
        return self.reaches(place) and place.engine in self._engines

    def reaches(self, place: Place) -> bool:
        """Whether it is no other node's data folder."""
        return place.node in (None, self.node)

    def set(self, project: str, place: Place | None) -> bool:
        """Whether it was elsewhere. None: nothing is said of the project."""
        before = self.find(project)
        if place is None:
            self._places.pop(project, None)
        else:
            self._places[project] = place
        after = self.find(project)
        if after.engine != "sqlite" and place is not None:
            self.far.add(project)
        return before != after

    def note_closed(self, project: str) -> None:
        """Nothing is open any more of where the project was: it is far no longer than that."""
        if project not in self._places or self.find(project).engine == "sqlite":
            self.far.discard(project)

    def place_at(self, engine: str) -> Place | None:
        """What is to be said of a project at an engine; None: nothing, for it is the server's own.
        Where the server itself is elsewhere, files are of this node."""
        if engine == self.own.engine:
            return None
        return Place(engine, self.node if engine == "sqlite" else None)

    def known(self) -> dict[str, Place]:
        return dict(self._places)

    def doubt(self, load: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """What is known may be wrong: `load` is awaited before a database is used."""
        self._load = load
        self._doubts += 1

    @property
    def are_doubtful(self) -> bool:
        return self._load is not None

    async def settle(self) -> None:
        """Loads what is in doubt, once for all who wait. Raises what that raises; it is in doubt
        still, then."""
        load, doubts = self._load, self._doubts
        if load is None:
            return
        if self._loading is None or self._loading[0] != doubts or self._loading[1].done():
            self._loading = doubts, asyncio.create_task(load(), name="places of projects")
            self._loading[1].add_done_callback(_retrieve)
        await asyncio.shield(self._loading[1])
        if self._doubts == doubts:
            self._load = None


def _retrieve(task: asyncio.Task[None]) -> None:
    """Whoever waited may be gone."""
    if not task.cancelled():
        task.exception()


class PlacedStore:
    """A Store over several, by engine; `placements` says which one has a project."""

    def __init__(self, stores: Mapping[str, Store], placements: Placements) -> None:
        self.placements = placements
        self._stores = dict(stores)
        self._own = self._stores[placements.own.engine]

    @property
    def is_shared(self) -> bool:
        """Of the server's own databases."""
        return self._own.is_shared

    @property
    def is_near(self) -> bool:
        return self._own.is_near

    def at(self, engine: str) -> Store:
        """The store of one engine, wherever projects are. Raises EngineNotConfigured."""
        store = self._stores.get(engine)
        if store is None:
            raise EngineNotConfigured(
                f"this server is not set up for the engine `{engine}`: set `mongodb_uri`"
            )
        return store

    async def claim(self, server: str) -> None:
        for store in self._stores.values():
            await store.claim(server)

    async def open(self, name: StoreName, *, create: bool) -> StorageEngine:
        store = self._own if name.project is None else await self._store_of(name.project)
        return await store.open(name, create=create)

    async def list_databases(self, project: str) -> list[str]:
        return await (await self._store_of(project)).list_databases(project)

    async def delete_project(self, project: str) -> None:
        await (await self._store_of(project)).delete_project(project)

    async def close(self) -> None:
        for store in self._stores.values():
            await store.close()

    async def _store_of(self, project: str) -> Store:
        await self.placements.settle()
        place = self.placements.find(project)
        if not self.placements.reaches(place):
            raise StoreElsewhere(
                f"project `{project}` is in the data folder of node {place.node}: ask that one"
            )
        return self.at(place.engine)
