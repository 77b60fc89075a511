"""What rules see of what is stored while they are tried out: one instant of each database, with
what a trial puts in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack

from baas_rules import Lookup, ResourceDocument

from baas.database.names import DatabaseName
from baas.database.read_snapshot import ReadSnapshot
from baas.errors import InvalidArgument, NotFound
from baas.model.paths import DocumentPath
from baas.model.values import Fields
from baas.services.authorizer import lookup_path
from baas.services.context import Context
from baas.services.rule_values import new_resource, rule_root


class TrialWorld:
    """`given` stands in place of stored documents of `database`, None for one that is missing;
    `after` is what `getAfter` sees changed. Both may grow until the first question."""

    def __init__(
        self,
        context: Context,
        project: str,
        database: str,
        documents: Mapping[str, Fields | None],
        stack: AsyncExitStack,
    ) -> None:
        self._context = context
        self._project = project
        self._database = database
        self._stack = stack
        self._snapshots: dict[str, ReadSnapshot | None] = {}
        self.given = {DocumentPath.parse(path): fields for path, fields in documents.items()}
        self.after: dict[DocumentPath, Fields | None] = {}
        self.looked_up: dict[Lookup, Fields | None] = {}

    async def look_up(self, lookup: Lookup) -> ResourceDocument | None:
        """What the rules ask for; it stays in `looked_up`."""
        path = lookup_path(lookup)
        database = lookup.database or self._database
        fields = None
        if path is not None:
            if lookup.after and database == self._database and path in self.after:
                fields = self.after[path]
            else:
                fields = await self.find(path, database)
        self.looked_up[lookup] = fields
        if path is None or fields is None:
            return None
        return new_resource(path, fields, rule_root(DatabaseName(self._project, database)))

    async def find(self, path: DocumentPath, database: str | None = None) -> Fields | None:
        """The document as it is before anything is written; None: there is none."""
        place = self._database if database is None else database
        if place == self._database and path in self.given:
            return self.given[path]
        if place not in self._snapshots:
            self._snapshots[place] = await self._open(DatabaseName(self._project, place))
        snapshot = self._snapshots[place]
        if snapshot is None:
            return None
        (stored,) = await snapshot.get_documents([path])
        return None if stored is None else stored.fields

    async def _open(self, name: DatabaseName) -> ReadSnapshot | None:
        """None: there is no such database, and so none of its documents."""
        try:
            await self._context.projects.check_database(name)
        except (NotFound, InvalidArgument):
            return None
        database = await self._context.databases.open(name)
        return await self._stack.enter_async_context(database.snapshot())
