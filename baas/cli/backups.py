"""`baas backup` and `baas restore`."""

from __future__ import annotations

import re
from typing import Any

import click
from rich.progress import DownloadColumn

from baas.cli.asking import confirm
from baas.cli.client import Client, path_of, run
from baas.cli.failures import CommandFailed, going_on_without_us
from baas.cli.options import Target, json_option, with_target
from baas.cli.output import note, print_json, print_table
from baas.cli.progress import wait_while_running
from baas.cli.verbs import Verbs

_INTERVAL = re.compile(r"(\d{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_project = click.option("--project", "-p", help="Only this project; else the whole server.")
_no_wait = click.option("--no-wait", is_flag=True, help="Print the task's id, and do not wait.")


@click.group("backup", cls=Verbs, invoke_without_command=True)
@_project
@_no_wait
@json_option
@with_target
@click.pass_context
def backup_group(
    context: click.Context, project: str | None, no_wait: bool, as_json: bool, target: Target
) -> None:
    """Back up the whole server, or one project, while it serves.

    Backups go to where the setting `backups` says: a folder, or an object store.
    """
    if context.invoked_subcommand is not None:
        return
    task = _run_task(target, "POST", "/backups", no_wait, json={"project": project})
    if not no_wait:
        _report(task, as_json, f"made backup {task['backup']}")


@backup_group.command("list")
@json_option
@with_target
def list_backups(as_json: bool, target: Target) -> None:
    """List backups, newest first."""

    async def work(client: Client) -> list[dict[str, Any]]:
        pages = client.pages("GET", "/backups")
        return [backup async for page in pages for backup in page["backups"]]

    async def problems(client: Client) -> list[dict[str, Any]]:
        schedules = (await client.call("GET", "/backup-schedules"))["schedules"]
        return [one for one in schedules if one["problem"]]

    found = run(target, work)
    if as_json:
        print_json(found)
        return
    for one in run(target, problems):
        note(f"the schedule of {one['project'] or 'the server'}: {one['problem']}")
    rows = [
        [
            one["id"],
            one.get("project") or ("" if one["problem"] else "all"),
            one.get("created", ""),
            one.get("documents", ""),
            one.get("objects", ""),
            one["problem"] or ("scheduled" if one.get("scheduled") else ""),
        ]
        for one in found
    ]
    columns = ("backup", "project", "created", "documents", "objects", "")
    print_table(columns, rows, empty="no backups")


@backup_group.command("get")
@click.argument("backup")
@with_target
def get_backup(backup: str, target: Target) -> None:
    """Show BACKUP (its id, or `latest`) as JSON."""
    backup = _find(target, backup)
    print_json(run(target, lambda client: client.call("GET", path_of("backups", backup))))


@backup_group.command("verify")
@click.argument("backup")
@_no_wait
@json_option
@with_target
def verify_backup(backup: str, no_wait: bool, as_json: bool, target: Target) -> None:
    """Read all of BACKUP (its id, or `latest`) and compare it with its checksums."""
    backup = _find(target, backup)
    task = _run_task(target, "POST", path_of("backups", backup) + ":verify", no_wait)
    if not no_wait:
        progress = task["progress"]
        told = f"{progress['documents']} documents and objects, {progress['bytes']} bytes"
        _report(task, as_json, f"backup {backup} is whole: {told}")


@backup_group.command("rm")
@click.argument("backup")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_target
def delete_backup(backup: str, yes: bool, target: Target) -> None:
    """Delete BACKUP, and bytes of objects that no other backup needs."""
    if not yes:
        confirm(f"Delete backup {backup}?")
    task = _run_task(target, "DELETE", path_of("backups", backup), False)
    _report(task, False, f"deleted backup {backup}")


@backup_group.command("tasks")
@json_option
@with_target
def list_tasks(as_json: bool, target: Target) -> None:
    """List what is done with backups, and what was, newest first."""
    found = run(target, lambda client: client.call("GET", "/backup-tasks"))["tasks"]
    if as_json:
        print_json(found)
        return
    rows = [
        [
            *(one[name] for name in ("id", "kind", "backup", "state")),
            one["progress"]["documents"],
            one["created"],
            one["error"] or "",
        ]
        for one in found
    ]
    columns = ("task", "kind", "backup", "state", "documents", "created", "error")
    print_table(columns, rows, empty="no tasks")


@backup_group.command("wait")
@click.argument("task")
@json_option
@with_target
def wait_task(task: str, as_json: bool, target: Target) -> None:
    """Wait until TASK is over, with its progress."""

    async def work(client: Client) -> dict[str, Any]:
        return await _wait_over(client, await client.call("GET", path_of("backup-tasks", task)))

    _report(run(target, work), as_json, f"task {task} is done")


@backup_group.command("cancel")
@click.argument("task")
@with_target
def cancel_task(task: str, target: Target) -> None:
    """End TASK. What a restore has not finished is deleted; a backup that is not whole is none."""
    path = path_of("backup-tasks", task) + ":cancel"
    run(target, lambda client: client.call("POST", path))
    click.echo(f"cancelled task {task}")


@backup_group.group("schedule", cls=Verbs)
def schedule_group() -> None:
    """Make backups by themselves, and keep only some of them."""


@schedule_group.command("set")
@_project
@click.option("--every", required=True, help="From one backup to the next: 30m, 6h, 1d.")
@click.option(
    "--keep-last",
    type=click.IntRange(min=1),
    default=7,
    show_default=True,
    help="So many of the newest backups.",
)
@click.option(
    "--keep-daily",
    type=click.IntRange(min=0),
    default=7,
    show_default=True,
    help="And the newest one of each of so many days.",
)
@click.option(
    "--keep-weekly",
    type=click.IntRange(min=0),
    default=4,
    show_default=True,
    help="And of each of so many weeks.",
)
@with_target
def set_schedule(
    project: str | None,
    every: str,
    keep_last: int,
    keep_daily: int,
    keep_weekly: int,
    target: Target,
) -> None:
    """Back up the server, or a project, by itself; the first time at once."""
    found = _INTERVAL.fullmatch(every)
    if found is None:
        raise click.UsageError(f"`{every}` is no interval; one is 30m, 6h or 1d")
    body = {
        "project": project,
        "every_seconds": int(found[1]) * _SECONDS[found[2]],
        "keep_last": keep_last,
        "keep_daily": keep_daily,
        "keep_weekly": keep_weekly,
    }
    run(target, lambda client: client.call("PUT", "/backup-schedules", json=body))
    click.echo(f"{project or 'the whole server'} is backed up every {every}")


@schedule_group.command("list")
@json_option
@with_target
def list_schedules(as_json: bool, target: Target) -> None:
    """List schedules, and how the last backup of each went."""
    found = run(target, lambda client: client.call("GET", "/backup-schedules"))["schedules"]
    if as_json:
        print_json(found)
        return
    names = ("every_seconds", "keep_last", "keep_daily", "keep_weekly", "succeeded", "problem")
    rows = [[one["project"] or "all", *(one[name] for name in names)] for one in found]
    columns = ("project", "seconds", "last", "daily", "weekly", "last good one", "problem")
    print_table(columns, rows, empty="no schedules")


@schedule_group.command("rm")
@_project
@with_target
def delete_schedule(project: str | None, target: Target) -> None:
    """End a schedule. Its backups stay."""
    parameters = {} if project is None else {"project": project}
    run(target, lambda client: client.call("DELETE", "/backup-schedules", params=parameters))
    click.echo(f"{project or 'the whole server'} is no longer backed up by itself")


@click.command("restore")
@click.argument("backup")
@click.option("--project", "-p", help="Only this project of the backup; else all.")
@click.option("--as", "new_id", metavar="ID", help="The id that the project gets.")
@click.option(
    "--new-keys",
    is_flag=True,
    help="For a server with another secret key: all users have to sign in again.",
)
@click.option("--dry-run", is_flag=True, help="Only check that the backup is whole.")
@_no_wait
@json_option
@with_target
def restore_command(
    backup: str,
    project: str | None,
    new_id: str | None,
    new_keys: bool,
    dry_run: bool,
    no_wait: bool,
    as_json: bool,
    target: Target,
) -> None:
    """Make projects from BACKUP (its id, or `latest`). What exists is never changed.

    A project appears when all of it is there and was compared. Without --project everything is
    restored, administrators too if there are none.
    """
    backup = _find(target, backup)
    path = path_of("backups", backup)
    if dry_run:
        task = _run_task(target, "POST", path + ":verify", no_wait)
        if not no_wait:
            _report(task, as_json, f"backup {backup} is whole; nothing was restored")
        return
    body = {"project": project, "as": new_id, "new_keys": new_keys}
    task = _run_task(target, "POST", path + ":restore", no_wait, json=body)
    if not no_wait:
        for text in task["notes"]:
            note(text)
        _report(task, as_json, f"restored {', '.join(task['restored']) or 'no project'}")


def _run_task(
    target: Target, method: str, path: str, no_wait: bool, **request: Any
) -> dict[str, Any]:
    async def work(client: Client) -> dict[str, Any]:
        task = await client.call(method, path, **request)
        if no_wait:
            return task
        note(f"task {task['id']}")
        how = f"the task goes on when the server does: baas backup wait {task['id']}"
        with going_on_without_us(how):
            return await _wait_over(client, task)

    task = run(target, work)
    if no_wait:
        click.echo(task["id"])
    return task


async def _wait_over(client: Client, task: dict[str, Any]) -> dict[str, Any]:
    path = path_of("backup-tasks", task["id"])
    return await wait_while_running(
        task,
        lambda: client.call("GET", path),
        column=DownloadColumn(),
        total="total_bytes",
        completed="bytes",
    )


def _report(task: dict[str, Any], as_json: bool, done: str) -> None:
    if as_json:
        print_json(task)
    if task["state"] == "failed":
        raise CommandFailed(f"{task['kind']} failed: {task['error']}")
    if task["state"] == "cancelled":
        raise CommandFailed(f"the {task['kind']} was cancelled")
    if not as_json:
        click.echo(done)


def _find(target: Target, backup: str) -> str:
    """The id of a backup, which may be `latest`. Raises CommandFailed if there is none."""
    if backup != "latest":
        return backup
    found = run(target, lambda client: client.call("GET", "/backups", params={"page_size": 1}))
    if not found["backups"]:
        raise CommandFailed("there are no backups")
    return str(found["backups"][0]["id"])
