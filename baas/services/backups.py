"""Use cases on backups, for administrators. Where backups are kept is a setting, so that no caller
names a place; and nothing of a backup leaves through the API."""

from __future__ import annotations

from baas.backups.backups import FoundBackup, names_of, total_of, whole_of
from baas.backups.schedules import Schedule
from baas.backups.tasks import Task, TaskKind
from baas.database.names import check_project_id
from baas.errors import InvalidArgument
from baas.services.admins import check_is_admin
from baas.services.caller import Caller
from baas.services.context import Context

SCHEDULE_SECONDS_MIN = 60
SCHEDULE_SECONDS_MAX = 366 * 86_400
KEEP_MAX = 1_000


async def start_backup(context: Context, caller: Caller, project: str | None) -> Task:
    """Backs up a project, or the whole server for None, as a task. Raises NotFound
    (`ProjectNotFound`), FailedPrecondition (`BackupTaskRunning`)."""
    check_is_admin(caller)
    if project is not None:
        await context.projects.get_project(project)
    backups = context.backups
    task = await backups.tasks.create(
        TaskKind.BACKUP, backups.new_id(), author=caller.uid, project=project
    )
    context.backups.wake()
    return task


async def start_verification(context: Context, caller: Caller, backup: str) -> Task:
    """Reads all of a backup and compares, as a task. Raises NotFound (`BackupNotFound`),
    DataLoss (`BackupDamaged`), FailedPrecondition (`BackupTaskRunning`)."""
    check_is_admin(caller)
    manifest = await context.backups.place.read_manifest(backup)
    task = await context.backups.tasks.create(
        TaskKind.VERIFY, backup, author=caller.uid, total=whole_of(manifest)
    )
    context.backups.wake()
    return task


async def start_restore(
    context: Context,
    caller: Caller,
    backup: str,
    *,
    project: str | None,
    target: str | None,
    new_keys: bool,
) -> Task:
    """Restores a project of a backup, under another id if `target` is given; or all projects, and
    the administrators if there are none here. Nothing that exists is changed. Raises, as far as it
    is known at once, FailedPrecondition (`ProjectExists`, `SecretKeyMismatch`,
    `BackupTaskRunning`), NotFound (`BackupNotFound`, `ProjectNotFound`), InvalidArgument."""
    check_is_admin(caller)
    if target is not None:
        check_project_id(target)
        if project is None:
            raise InvalidArgument(
                "`as` names one project; say with `project` which one of the backup it is",
                reason="InvalidRestore",
                details={"field": "as"},
            )
    backups = context.backups
    manifest = await backups.place.read_manifest(backup)
    names = names_of(manifest, project, target)
    backups.check_secret(manifest, new_keys=new_keys)
    await backups.check_free(list(names.values()))
    task = await backups.tasks.create(
        TaskKind.RESTORE,
        backup,
        author=caller.uid,
        project=project,
        target=target,
        new_keys=new_keys,
        total=total_of(manifest, project),
    )
    context.backups.wake()
    return task


async def delete_backup(context: Context, caller: Caller, backup: str) -> Task:
    """Deletes a backup, and bytes of objects that no other one names, as a task. Raises NotFound
    (`BackupNotFound`), FailedPrecondition (`BackupTaskRunning`)."""
    check_is_admin(caller)
    await context.backups.check_exists(backup)
    task = await context.backups.tasks.create(TaskKind.DELETE, backup, author=caller.uid)
    context.backups.wake()
    return task


async def list_backups(
    context: Context, caller: Caller, *, page_size: int, page_token: str | None
) -> tuple[list[FoundBackup], str | None]:
    """The newest first, and the token of the next page."""
    check_is_admin(caller)
    found = await context.backups.list_backups(after=page_token, limit=page_size + 1)
    page = found[:page_size]
    return page, page[-1].id if len(found) > page_size else None


async def get_backup(context: Context, caller: Caller, backup: str) -> FoundBackup:
    """Raises NotFound (`BackupNotFound`), DataLoss (`BackupDamaged`)."""
    check_is_admin(caller)
    return FoundBackup(backup, await context.backups.place.read_manifest(backup))


async def list_tasks(context: Context, caller: Caller) -> list[Task]:
    """The last hundred, newest first."""
    check_is_admin(caller)
    return await context.backups.tasks.list_all()


async def get_task(context: Context, caller: Caller, task: str) -> Task:
    """Raises NotFound (`BackupTaskNotFound`)."""
    check_is_admin(caller)
    return await context.backups.tasks.get(task)


async def cancel_task(context: Context, caller: Caller, task: str) -> Task:
    """Raises NotFound (`BackupTaskNotFound`), FailedPrecondition (`BackupTaskIsOver`)."""
    check_is_admin(caller)
    cancelled = await context.backups.tasks.cancel(task)
    context.backups.wake()
    return cancelled


async def list_schedules(context: Context, caller: Caller) -> list[Schedule]:
    check_is_admin(caller)
    return await context.backups.schedules.list_all()


async def set_schedule(context: Context, caller: Caller, schedule: Schedule) -> Schedule:
    """Makes or changes the schedule of a project, or of the whole server. Raises NotFound
    (`ProjectNotFound`)."""
    check_is_admin(caller)
    if schedule.project is not None:
        await context.projects.get_project(schedule.project)
    made = await context.backups.schedules.set(schedule)
    context.backups.wake()
    return made


async def delete_schedule(context: Context, caller: Caller, project: str | None) -> None:
    """Ends it; backups that were made stay. Raises NotFound (`BackupScheduleNotFound`)."""
    check_is_admin(caller)
    await context.backups.schedules.delete(project)
