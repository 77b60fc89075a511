"""Backups over HTTP, for administrators."""

from __future__ import annotations

from typing import Any

from baas.backups.backups import FoundBackup
from baas.backups.manifest import SectionKind
from baas.backups.schedules import Schedule
from baas.backups.tasks import Task
from baas.http.answers import Answer, json_answer
from baas.http.requests import Request, integer_parameter
from baas.services import backups
from baas.wire.documents import time_text
from baas.wire.objects import check_boolean, check_integer, check_object, check_string

_NO_PARAMETERS: frozenset[str] = frozenset()
_PAGE = frozenset({"page_size", "page_token"})
_BACKUP = frozenset({"project"})
_RESTORE = frozenset({"project", "as", "new_keys"})
_SCHEDULE = frozenset({"project", "every_seconds", "keep_last", "keep_daily", "keep_weekly"})
_KEEP = (("keep_last", 7, 1), ("keep_daily", 7, 0), ("keep_weekly", 4, 0))  # usual, at least


async def create_backup(request: Request) -> Answer:
    members = await _body(request, _BACKUP)
    project = _text(members, "project")
    task = await backups.start_backup(request.context, request.caller, project)
    return json_answer(_encode_task(task), status=202)


async def list_backups(request: Request) -> Answer:
    query = request.query(_PAGE)
    found, token = await backups.list_backups(
        request.context,
        request.caller,
        page_size=integer_parameter(query, "page_size", 100, minimum=1, maximum=1_000),
        page_token=query.get("page_token"),
    )
    tree: dict[str, Any] = {"backups": [_encode_backup(one) for one in found]}
    if token is not None:
        tree["next_page_token"] = token
    return json_answer(tree)


async def get_backup(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    found = await backups.get_backup(request.context, request.caller, request.params["id"])
    return json_answer(_encode_backup(found))


async def delete_backup(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    task = await backups.delete_backup(request.context, request.caller, request.params["id"])
    return json_answer(_encode_task(task), status=202)


async def verify_backup(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    task = await backups.start_verification(request.context, request.caller, request.params["id"])
    return json_answer(_encode_task(task), status=202)


async def restore_backup(request: Request) -> Answer:
    members = await _body(request, _RESTORE)
    task = await backups.start_restore(
        request.context,
        request.caller,
        request.params["id"],
        project=_text(members, "project"),
        target=_text(members, "as"),
        new_keys=check_boolean(members.get("new_keys", False), "new_keys"),
    )
    return json_answer(_encode_task(task), status=202)


async def list_backup_tasks(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    found = await backups.list_tasks(request.context, request.caller)
    return json_answer({"tasks": [_encode_task(task) for task in found]})


async def get_backup_task(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    task = await backups.get_task(request.context, request.caller, request.params["id"])
    return json_answer(_encode_task(task))


async def cancel_backup_task(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    task = await backups.cancel_task(request.context, request.caller, request.params["id"])
    return json_answer(_encode_task(task))


async def list_backup_schedules(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    found = await backups.list_schedules(request.context, request.caller)
    now = request.context.clock.now_microseconds()
    return json_answer({"schedules": [_encode_schedule(one, now) for one in found]})


async def set_backup_schedule(request: Request) -> Answer:
    members = await _body(request, _SCHEDULE, ("every_seconds",))
    seconds = check_integer(
        members["every_seconds"],
        "every_seconds",
        minimum=backups.SCHEDULE_SECONDS_MIN,
        maximum=backups.SCHEDULE_SECONDS_MAX,
    )
    last, daily, weekly = [
        check_integer(members.get(name, usual), name, minimum=least, maximum=backups.KEEP_MAX)
        for name, usual, least in _KEEP
    ]
    schedule = Schedule(_text(members, "project"), seconds, last, daily, weekly)
    made = await backups.set_schedule(request.context, request.caller, schedule)
    return json_answer(_encode_schedule(made, request.context.clock.now_microseconds()))


async def delete_backup_schedule(request: Request) -> Answer:
    project = request.query(_BACKUP).get("project")
    await backups.delete_schedule(request.context, request.caller, project)
    return json_answer({})


async def _body(
    request: Request, allowed: frozenset[str], required: tuple[str, ...] = ()
) -> dict[str, Any]:
    request.query(_NO_PARAMETERS)
    return check_object(await request.read_json(), "", allowed=allowed, required=required)


def _text(members: dict[str, Any], name: str) -> str | None:
    value = members.get(name)
    return None if value is None else check_string(value, name)


def _encode_backup(found: FoundBackup) -> dict[str, Any]:
    manifest = found.manifest
    tree: dict[str, Any] = {"id": found.id, "problem": found.problem}
    if manifest is None:
        return tree
    documents, size = manifest.count(SectionKind.DATABASE)
    objects, object_bytes = manifest.count(SectionKind.OBJECTS)
    databases = [
        {
            "project": one.project,
            "database": one.name,
            "version": one.version,
            "read_time": time_text(one.version),
            "documents": one.count,
        }
        for one in manifest.sections
        if one.kind is SectionKind.DATABASE
    ]
    return tree | {
        "created": time_text(manifest.created),
        "finished": time_text(manifest.finished),
        "project": manifest.only,
        "projects": manifest.projects,
        "scheduled": manifest.is_scheduled,
        "software": manifest.software,
        "databases": databases,
        "documents": documents,
        "document_bytes": size,
        "objects": objects,
        "object_bytes": object_bytes,
    }


def _encode_task(task: Task) -> dict[str, Any]:
    progress = task.progress
    return {
        "id": task.id,
        "kind": task.kind.value,
        "backup": task.backup,
        "project": task.project,
        "as": task.target,
        "scheduled": task.schedule is not None,
        "state": task.state.value,
        "error": task.error,
        "reason": task.reason,
        "notes": list(task.notes),
        "restored": list(task.restored),
        "author": task.author,
        "created": time_text(task.created.microseconds),
        "updated": time_text(task.updated.microseconds),
        "progress": {
            "documents": progress.lines,
            "bytes": progress.bytes,
            "total_documents": progress.total_lines,
            "total_bytes": progress.total_bytes,
        },
    }


def _encode_schedule(schedule: Schedule, now: int) -> dict[str, Any]:
    return {
        "project": schedule.project,
        "every_seconds": schedule.every_seconds,
        "keep_last": schedule.keep_last,
        "keep_daily": schedule.keep_daily,
        "keep_weekly": schedule.keep_weekly,
        "started": time_text(schedule.started) if schedule.started else None,
        "ended": time_text(schedule.ended) if schedule.ended else None,
        "succeeded": time_text(schedule.succeeded) if schedule.succeeded else None,
        "error": schedule.error,
        "problem": schedule.problem(now),
    }
