"""Backups of one server: what a task does, and what there is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog

from baas import __version__
from baas.accounts.accounts import Accounts
from baas.accounts.sealing import ServerSecret
from baas.backups.checkpoints import Checkpoint, decode_checkpoint, encode_checkpoint
from baas.backups.manifest import Manifest, Section, SectionKind
from baas.backups.place import BackupPlace
from baas.backups.positions import decode_position
from baas.backups.reading import ReadingWatch, Restorer, content_ids, verify
from baas.backups.schedules import Schedule, Schedules, not_kept
from baas.backups.tasks import Progress, Task, TaskKind, Tasks
from baas.backups.writing import BackupWriter, Sources, Watch
from baas.errors import BaasError, DataLoss, FailedPrecondition, NotFound
from baas.model.timestamps import Timestamp
from baas.projects.identity import server_identity
from baas.settings import Limits

_log = structlog.get_logger("baas.backups")


@dataclass(frozen=True, slots=True)
class FoundBackup:
    """A backup of the place; `problem` says why its manifest cannot be read."""

    id: str
    manifest: Manifest | None
    problem: str | None = None


class Backups:
    """The façade. `tasks` are to be begun by the use cases and done by the runner."""

    def __init__(
        self,
        sources: Sources,
        accounts: Accounts,
        secret: ServerSecret,
        place: BackupPlace,
        tasks: Tasks,
        limits: Limits,
    ) -> None:
        self.place = place
        self.tasks = tasks
        self.wake: Callable[[], None] = lambda: None  # whoever does the tasks is told of new ones
        self.schedules = Schedules(tasks.store)
        self.problems: dict[str, str] = {}  # of schedules, as whoever does the tasks has found
        self._sources = sources
        self._accounts = accounts
        self._secret = secret
        # What was stored before a limit was lowered is no damage.
        usual = Limits()
        self._limits = replace(
            usual,
            document_bytes_max=max(usual.document_bytes_max, limits.document_bytes_max),
            value_depth_max=max(usual.value_depth_max, limits.value_depth_max),
        )

    def new_id(self) -> str:
        """An id that sorts by time."""
        clock = self._sources.clock
        moment = Timestamp(clock.now_microseconds()).isoformat()
        digits = "".join([one for one in moment[:19] if one.isdigit()])
        return f"{digits[:8]}-{digits[8:]}-{clock.random_bytes(3).hex()}"

    async def list_backups(self, *, after: str | None, limit: int) -> list[FoundBackup]:
        """The newest first; `after`: those before this one."""
        found = await self.place.list_backups()
        wanted = [one for one in found if after is None or one < after][:limit]
        return list(await asyncio.gather(*[self._find(one) for one in wanted]))

    async def _find(self, backup: str) -> FoundBackup:
        try:
            return FoundBackup(backup, await self.place.read_manifest(backup))
        except (BaasError, ValueError, KeyError, TypeError) as error:
            return FoundBackup(backup, None, str(error))

    async def check_exists(self, backup: str) -> None:
        """Raises NotFound (`BackupNotFound`). One that is damaged is there."""
        with contextlib.suppress(DataLoss, FailedPrecondition):
            await self.place.read_manifest(backup)

    async def check_free(self, identifiers: Sequence[str]) -> None:
        """Raises FailedPrecondition (`ProjectExists`) for an id of a project that is there."""
        for identifier in identifiers:
            with contextlib.suppress(NotFound):
                await self._sources.projects.read_project(identifier)
                raise FailedPrecondition(
                    f"project `{identifier}` exists; delete it first, or restore under another id",
                    reason="ProjectExists",
                )

    # Tasks ----------------------------------------------------------------------------------------

    async def run(
        self, task: Task, watch: ReadingWatch, note: Callable[[Task], Awaitable[None]]
    ) -> Task:
        """Does a task, from where it was left; `note` is told of each step that must be known if it
        is cut off. Gives the task with what there is to say at the end."""
        if task.kind is TaskKind.BACKUP:
            await self._back_up(task, watch)
            return task
        if task.kind is TaskKind.DELETE:
            await self._delete([task.backup])
            return task
        manifest = await self.place.read_manifest(task.backup)
        if task.kind is TaskKind.VERIFY:
            begin = None if task.position is None else decode_position(task.position)
            await verify(self.place, manifest, self._limits, watch, begin)
            return task
        return await self._restore(task, manifest, watch, note)

    async def _back_up(self, task: Task, watch: Watch) -> None:
        with contextlib.suppress(NotFound):
            await self.place.read_manifest(task.backup)
            return  # it was cut off after its last step
        server = await self._identity()
        now = self._sources.clock.now_microseconds()
        mark = self.secret_mark
        scheduled = task.schedule is not None
        manifest = Manifest(
            task.backup, now, now, server, mark, __version__, task.project, scheduled
        )
        checkpoint = Checkpoint()
        kept = await self.place.read_checkpoint(task.backup)
        known = None if kept is None else decode_checkpoint(kept, task.backup)
        if known is not None:
            manifest, checkpoint = known
            begun = [] if checkpoint.begun is None else [checkpoint.begun.section]
            for one in [*checkpoint.sections, *begun]:
                watch.advance(one.count, one.bytes)

        async def save() -> None:
            data = encode_checkpoint(manifest, checkpoint)
            await self.place.write_checkpoint(task.backup, data)

        writer = BackupWriter(
            self._sources,
            self.place,
            manifest,
            watch,
            checkpoint,
            save,
            attempt=task.attempts,
            confirm=partial(self.tasks.confirm, task),
        )
        await writer.write()
        await self.place.delete_checkpoint(task.backup)

    async def _restore(
        self,
        task: Task,
        manifest: Manifest,
        watch: ReadingWatch,
        note: Callable[[Task], Awaitable[None]],
    ) -> Task:
        if task.attempts > 1:
            await self._sources.projects.finish_deletions()
            made, _ = await self._sources.projects.restores.list_made(task.id)
            task = replace(task, restored=tuple(dict.fromkeys((*task.restored, *made))))
        self.check_secret(manifest, new_keys=task.new_keys)
        restorer = Restorer(
            self._sources,
            self._accounts,
            self._secret,
            self.place,
            manifest,
            watch,
            task=task.id,
            confirm=partial(self.tasks.confirm, task),
            begin=None if task.position is None else decode_position(task.position),
            new_keys=task.new_keys,
        )
        names = names_of(manifest, task.project, task.target)
        await self.check_free([one for one in names.values() if one not in task.restored])
        for project, identifier in names.items():
            if identifier in task.restored:
                continue
            notes = await restorer.restore_project(project, identifier)
            task = replace(task, restored=(*task.restored, identifier), notes=(*task.notes, *notes))
            await note(task)
        if task.project is None and await restorer.restore_admins():
            task = replace(task, notes=(*task.notes, "administrators were restored, too"))
        return task

    async def prune(self, schedule: Schedule) -> None:
        """Deletes what a schedule has made and does not keep."""
        server = await self._identity()
        made = [
            (found.id, found.manifest.created)
            for found in await self.list_backups(after=None, limit=1_000_000)
            if found.manifest is not None
            and found.manifest.server == server
            and found.manifest.is_scheduled
            and found.manifest.only == schedule.project
        ]
        doomed = not_kept(schedule, made)
        if doomed:
            await self._delete(doomed)
            _log.info("backups deleted, as scheduled", backups=doomed)

    async def forget(self, task: Task) -> None:
        """Removes what a task has left that is given up: of a restore the project that it was at;
        of a backup all but the bytes of objects, which go with the next one that is deleted."""
        if task.kind is TaskKind.RESTORE:
            projects = self._sources.projects
            for identifier in (await projects.restores.list_made(task.id))[1]:
                await projects.delete_project(identifier)
        if task.kind is not TaskKind.BACKUP:
            return
        with contextlib.suppress(NotFound):
            await self.place.read_manifest(task.backup)
            return
        await self.place.delete_parts(task.backup)

    async def _delete(self, backups: list[str]) -> None:
        """Deletes backups, and bytes of objects that no backup of this server names any more."""
        for backup in backups:
            await self.place.delete_backup(backup)
        server = await self._identity()
        named: set[str] = set()
        for found in await self.list_backups(after=None, limit=1_000_000):
            if found.manifest is None:
                _log.warning("a backup cannot be read, so no bytes are removed", backup=found.id)
                return
            if found.manifest.server == server:
                async for content in self._contents_of(found.manifest):
                    named.add(content)
        async for batch in self.place.store.list(f"objects-{server}/"):
            for info in batch:
                if info.is_partial:
                    await self.place.store.delete_partial(info.key)
                elif info.key.split("/")[1] not in named:
                    await self.place.store.delete([info.key])

    async def _contents_of(self, manifest: Manifest) -> AsyncIterator[str]:
        for section in manifest.sections:
            if section.kind is SectionKind.OBJECTS:
                async for lines in self.place.read_section(manifest.id, section):
                    for content in content_ids(lines):
                        yield content

    # Secrets --------------------------------------------------------------------------------------

    @property
    def secret_mark(self) -> str:
        """By which a secret key is known again."""
        return self._secret.derive("backups").hex()

    def check_secret(self, manifest: Manifest, *, new_keys: bool) -> None:
        """Raises FailedPrecondition (`SecretKeyMismatch`)."""
        if manifest.secret != self.secret_mark and not new_keys:
            raise FailedPrecondition(
                "the backup was made by a server with another secret key, and the keys that sign "
                "users' tokens are sealed with it. Take that secret over (`BAAS_SECRET_KEY`, or "
                "`secret.key` in the data folder), or restore with new keys: then all users have "
                "to sign in again",
                reason="SecretKeyMismatch",
            )

    async def _identity(self) -> str:
        """Whose the backups are, told from those of other servers in the same place."""
        own = await self._sources.databases.system(None)
        return await server_identity(own, self._sources.clock)


def names_of(manifest: Manifest, project: str | None, target: str | None) -> dict[str, str]:
    """The projects to restore, and the ids that they get. Raises NotFound (`ProjectNotFound`)."""
    if project is None:
        return {one: one for one in manifest.projects}
    if project not in manifest.projects:
        raise NotFound(
            f"backup `{manifest.id}` has no project `{project[:80]}`; it has "
            f"{', '.join(manifest.projects) or 'none'}",
            reason="ProjectNotFound",
        )
    return {project: target or project}


def total_of(manifest: Manifest, project: str | None) -> Progress:
    """How much there is to restore, of one project or of all, for progress."""
    small = (SectionKind.PROJECT, SectionKind.SERVER)
    sections = [one for one in manifest.sections if project in (None, one.project)]
    return _total([one for one in sections if one.kind not in small])


def whole_of(manifest: Manifest) -> Progress:
    """How much there is to verify."""
    return _total(manifest.sections)


def _total(sections: Sequence[Section]) -> Progress:
    return Progress(
        total_lines=sum(one.count for one in sections),
        total_bytes=sum(one.bytes for one in sections),
    )
