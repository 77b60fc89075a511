"""Projects: isolated apps on one server, each with its own databases, users, keys and rules."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import structlog
from baas_rules import Ruleset

from baas.clock import Clock, new_document_id
from baas.database.database import Database
from baas.database.log import CommitEvent
from baas.database.names import (
    DEFAULT_DATABASE,
    DatabaseName,
    check_database_id,
    check_project_id,
)
from baas.database.registry import Databases
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.ending import repeat_until_cancelled
from baas.errors import (
    AlreadyExists,
    BaasError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from baas.model.queries import Query
from baas.model.writes import Precondition, SetWrite
from baas.projects.deletions import DELETION_SECONDS, Deletions, check_absent
from baas.projects.keys import ApiKeys
from baas.projects.places import Places
from baas.projects.records import (
    PROJECTS,
    Project,
    check_name,
    check_not_moving,
    check_origins,
    is_deleting,
    open_project,
    project_not_found,
    project_path,
)
from baas.projects.restores import Restores
from baas.projects.rulesets import CACHED_RELEASES_MAX, Rulesets
from baas.projects.schema_releases import SCHEMAS, SchemaReleases
from baas.settings import Settings

DATABASES_PER_PROJECT_MAX = 100
_log = structlog.get_logger("baas.projects")


class Projects:
    """The façade; `keys`, `rulesets` and `schemas` hold the rest. Safe to use from one event loop.

    What every request asks for is in memory, which follows the server's system database.
    """

    def __init__(
        self, databases: Databases, *, settings: Settings, clock: Clock, node: str = ""
    ) -> None:
        self._databases = databases
        self._settings = settings
        self._clock = clock
        self._store = SystemStore(databases, clock, self._observe, self._forget)
        self.store = self._store  # for whoever changes projects from above
        self.places = Places(databases, self._store)
        databases.list_all = self.list_all_databases
        self._marks = Deletions(self._store, clock, node)
        self.restores = Restores(self._store, self._marks, clock)
        self._deletions: dict[str, asyncio.Task[None]] = {}
        self._finishing: asyncio.Task[None] | None = None
        self._cache: dict[str, Project] = {}
        self._in_force: dict[DatabaseName, Ruleset] = {}
        self._epoch = 0
        self._watchers: list[Callable[[str], None]] = []
        self.keys = ApiKeys(self._store, clock)
        self.rulesets = Rulesets(self._store, settings, clock)
        self.schemas = SchemaReleases(self._store, settings.limits, clock)
        databases.watch_opened(self._note_opened)

    # Projects

    async def create_project(
        self,
        identifier: object,
        *,
        name: object = "",
        origins: object = (),
        engine: object = None,
    ) -> Project:
        """A new project with its default database and rules that deny everything; at `engine`, if
        that is not to be the server's own.

        Nothing of an earlier project of the same id is in it. Raises AlreadyExists
        (`ProjectExists`), FailedPrecondition (`ProjectBeingDeleted`, `EngineNotConfigured`),
        InvalidArgument.
        """
        checked = _check_text(identifier, "id")
        check_project_id(checked)
        shown = check_name(name) or checked
        allowed = check_origins(origins)

        async def body(transaction: Transaction) -> Project:
            (document,) = await transaction.get_documents([project_path(checked)])
            check_absent(checked, document)
            project = Project(
                id=checked,
                name=shown,
                origins=allowed,
                databases=(DEFAULT_DATABASE,),
                created=transaction.request_time,
                incarnation=new_document_id(self._clock),
                place=place,
            )
            absent = Precondition(exists=False)
            path = project_path(checked)
            await transaction.write([SetWrite(path, project.to_fields(), precondition=absent)])
            return project

        await self._check_free(checked)
        with self.places.creating(checked, engine) as place:
            # The files first: a crash here leaves empty ones that nobody can reach, while a project
            # without its files would be broken for good.
            await self._make_files(checked)
            project = await self._store.run(None, body)
        # Another node may have made and deleted one of this id since, files and all.
        await self._make_files(checked)
        return project

    async def _make_files(self, identifier: str) -> None:
        default = DatabaseName(identifier, DEFAULT_DATABASE)
        for make in (
            partial(self._databases.system, identifier, create=True),
            partial(self._databases.open, default, create=True),
        ):
            database = await make()
            try:
                await database.catch_up()
            except Unavailable:
                if not database.is_removed:
                    raise
                await make()

    async def get_project(self, identifier: str) -> Project:
        """From memory, which follows the database: a commit is in it before whoever made it hears
        of that, but may be in the database, for others to read, a moment sooner. Raises NotFound
        (`ProjectNotFound`)."""
        project = self._cache.get(identifier)
        if project is not None:
            return project
        epoch = self._epoch
        project = await self.read_project(identifier)
        if epoch == self._epoch:
            self._cache[identifier] = project
        return project

    async def read_project(self, identifier: str) -> Project:
        """From the database: no older than anything that was read there before, and what is in
        memory is no older from then on. Raises NotFound (`ProjectNotFound`)."""
        document = await self._store.read(None, project_path(identifier))
        if document is None or is_deleting(document):
            raise project_not_found(identifier)
        return open_project(document)

    async def list_projects(self) -> tuple[Project, ...]:
        """All projects by id, with the guarantee of `read_project`."""
        documents = await self._store.run_query(None, Query(PROJECTS))
        return tuple(open_project(one) for one in documents if not is_deleting(one))

    async def list_all_databases(self) -> list[DatabaseName]:
        """Of all projects that this node can open, the reserved ones among them."""
        found: list[DatabaseName] = []
        for project in await self.list_projects():
            if self.places.is_here(project.id):
                names = [DatabaseName(project.id, one) for one in project.databases]
                found += [DatabaseName.system(project.id), *names]
        return found

    async def update_project(
        self, identifier: str, *, name: object = None, origins: object = None
    ) -> Project:
        """Changes what is not None. Raises NotFound (`ProjectNotFound`), InvalidArgument."""
        shown = None if name is None else check_name(name) or identifier
        allowed = None if origins is None else check_origins(origins)

        def change(project: Project) -> Project:
            return replace(
                project,
                name=project.name if shown is None else shown,
                origins=project.origins if allowed is None else allowed,
            )

        return await self._change(identifier, change)

    async def delete_project(self, identifier: str) -> None:
        """Deletes the project with databases, users, keys and rules. Not atomic, but the project is
        gone for everybody from the first step on, and a deletion that was cut off is finished by
        the next one or at the next start. Raises NotFound (`ProjectNotFound`), FailedPrecondition
        (`ProjectBeingDeleted`) while another node is at it, `ProjectBeingRestored`,
        `ProjectMoving`; Unavailable (`ProjectElsewhere`)."""
        self.restores.check_idle(identifier)
        self.places.check_here(identifier)
        with contextlib.suppress(NotFound):  # somebody else's deletion is gone on with
            check_not_moving(await self.read_project(identifier))
        # Twice at a time, one of them might still delete when the id is in use again.
        deletion = self._deletions.get(identifier)
        if deletion is None:
            deletion = asyncio.create_task(self._delete(identifier), name=f"delete {identifier}")
            self._deletions[identifier] = deletion
            deletion.add_done_callback(lambda task: self._note_deleted(identifier, task))
        await asyncio.shield(deletion)

    async def finish_deletions(self) -> Sequence[str]:
        """Deletes what a crash left of projects that were being deleted, or restored by a task that
        is over; their ids. Leaves those alone that another node is deleting, or has to, and for
        later those whose store is away."""
        database = await self._store.open(None)
        documents = (await database.run_query(Query(PROJECTS))).documents
        finished = []
        left = [one for one in documents if is_deleting(one) and self.places.is_here(one.path.id)]
        for identifier in [one.path.id for one in left if not await self.restores.is_going_on(one)]:
            try:
                await self.delete_project(identifier)
                finished.append(identifier)
            except (NotFound, FailedPrecondition, Unavailable) as error:
                _log.info("a deletion waits", project=identifier, reason=error.message)
        return finished

    def start_finishing(self) -> None:
        """Goes on, from time to time, with deletions of nodes that died."""
        if self._finishing is None:
            self._finishing = asyncio.create_task(
                repeat_until_cancelled("finishing deletions", self._finish_some), name="deletions"
            )

    async def _finish_some(self) -> None:
        await asyncio.sleep(DELETION_SECONDS)
        try:
            await self.finish_deletions()
        except BaasError as error:
            _log.warning("deletions not finished", error=error.message)

    async def close(self) -> None:
        """Stops deletions, which go on at the next start."""
        if self._finishing is not None:
            self._finishing.cancel()
            await asyncio.wait([self._finishing])
        for deletion in self._deletions.values():
            deletion.cancel()
        while tasks := [*self._deletions.values()]:
            await asyncio.wait(tasks)
        await self.places.wait_closed()

    def watch_deletions(self, watcher: Callable[[str], None]) -> None:
        """Calls `watcher` with the id of each project whose deletion begins."""
        self._watchers.append(watcher)

    # Databases

    async def create_database(self, identifier: str, database: object) -> str:
        """A further database of the project; its id. Raises AlreadyExists (`DatabaseExists`),
        FailedPrecondition (`TooManyDatabases`, `ProjectMoving`), NotFound, InvalidArgument."""
        checked = _check_text(database, "id")
        check_database_id(checked)

        def change(project: Project) -> Project:
            check_room(project)
            check_not_moving(project)
            return replace(project, databases=(*project.databases, checked))

        def check_room(project: Project) -> None:
            if checked in project.databases:
                raise AlreadyExists(f"database `{checked}` exists", reason="DatabaseExists")
            if len(project.databases) >= DATABASES_PER_PROJECT_MAX:
                raise FailedPrecondition(
                    f"a project has at most {DATABASES_PER_PROJECT_MAX} databases",
                    reason="TooManyDatabases",
                )

        known = await self.read_project(identifier)
        check_room(known)
        check_not_moving(known)
        await self._databases.open(DatabaseName(identifier, checked), create=True)
        await self._change(identifier, change)
        return checked

    async def check_database(self, name: DatabaseName) -> None:
        """Raises NotFound (`ProjectNotFound`, `DatabaseNotFound`) unless it was created."""
        project = await self.get_project(name.project)
        if name.database not in project.databases:
            raise NotFound(
                f"project `{name.project}` has no database `{name.database[:80]}`",
                reason="DatabaseNotFound",
            )

    # Rules

    def find_ruleset(self, name: DatabaseName) -> Ruleset | None:
        """As `ruleset`, from memory alone: None says nothing, not even that there is none."""
        return self._in_force.get(name)

    async def ruleset(self, name: DatabaseName) -> Ruleset:
        """The rules in force in a database, compiled. Raises NotFound (`ProjectNotFound`,
        `DatabaseNotFound`)."""
        ruleset = self._in_force.get(name)
        if ruleset is not None:
            return ruleset
        epoch = self._epoch
        await self.check_database(name)
        ruleset = (await self.rulesets.get_release(name.project)).ruleset
        if epoch == self._epoch:
            if len(self._in_force) >= CACHED_RELEASES_MAX:
                self._in_force.clear()
            self._in_force[name] = ruleset
        return ruleset

    # Within

    def _note_opened(self, database: Database) -> None:
        """What schemas have to be obeyed is told by signals from now on, and was not before."""
        project = database.name.project
        if project is not None and not database.name.is_system:
            database.signals.watch(SCHEMAS, lambda: self.schemas.forget(project))
            self.schemas.forget(project)

    def _observe(self, project: str | None, event: CommitEvent) -> None:
        """Keeps what is in memory true to a commit of the server's system database."""
        for change in event.changes:
            collection, identifier, *below = change.path.segments
            if collection == "api_keys":
                self.keys.forget()
            elif collection == PROJECTS.id and not below:
                self._cache.pop(identifier, None)
                self.places.note(identifier, change.new)
                self._forget_rulesets()
                if change.new is None or is_deleting(change.new):
                    self.keys.forget()
                    self.rulesets.forget(identifier)
                if change.new is not None and is_deleting(change.new):
                    self._note_deletion(identifier)
            elif collection == PROJECTS.id and below[0] == "releases":
                self.rulesets.forget(identifier)
                self.schemas.forget(identifier)
                self._forget_rulesets()

    def _note_deleted(self, identifier: str, deletion: asyncio.Task[None]) -> None:
        self._deletions.pop(identifier, None)
        if not deletion.cancelled():
            deletion.exception()  # those who waited may be gone

    def _note_deletion(self, identifier: str) -> None:
        """The project is gone, for whichever node deletes it: the others close what they have."""
        for watcher in tuple(self._watchers):
            watcher(identifier)
        if identifier not in self._deletions:
            self.places.close_databases(identifier)

    def _forget(self, project: str | None) -> None:
        """Commits of the server's own database were missed."""
        self.places.doubt()
        self._cache.clear()
        self.keys.forget()
        self.rulesets.forget_all()
        self.schemas.forget_all()
        self._forget_rulesets()

    def _forget_rulesets(self) -> None:
        self._in_force.clear()
        self._epoch += 1

    async def _check_free(self, identifier: str) -> None:
        database = await self._store.open(None)
        (document,) = await database.get_documents([project_path(identifier)])
        check_absent(identifier, document)

    async def _change(self, identifier: str, change: Callable[[Project], Project]) -> Project:
        async def body(transaction: Transaction) -> Project:
            (document,) = await transaction.get_documents([project_path(identifier)])
            if document is None or is_deleting(document):
                raise project_not_found(identifier)
            project = change(open_project(document))
            await transaction.write([SetWrite(document.path, project.to_fields())])
            return project

        return await self._store.run(None, body)

    async def _delete(self, identifier: str) -> None:
        made = await self._marks.take(identifier)
        renewing = asyncio.create_task(self._marks.keep(identifier, made))
        try:
            await self._databases.close_project(identifier)
            # Who was away for too long stops here: the id may be another project's by now.
            await self._marks.take(identifier, made)
            await self._databases.delete_project(identifier)
            await self._marks.delete_documents(identifier, made)
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])


def _check_text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(
            f"`{field}` must be a string", reason="InvalidArgument", details={"field": field}
        )
    return value
