"""`baas job`, and how a command waits for one."""

from __future__ import annotations

from typing import Any

import click
from rich.progress import MofNCompleteColumn

from baas.cli.client import Client, path_of, run
from baas.cli.failures import CommandFailed
from baas.cli.options import Target, json_option, project_option, with_target
from baas.cli.output import note, print_json, print_table
from baas.cli.progress import wait_while_running
from baas.cli.verbs import Verbs

_DONE = {
    "delete-recursive": "deleted",
    "erase-by-query": "erased",
    "restore": "restored",
}
_CHECKS = ("check-schemas", "deploy-schemas")


@click.group("job", cls=Verbs)
def job_group() -> None:
    """List, watch and cancel what goes on chunk by chunk: deletions, updates and erasures by
    query, restores, deployments of schemas."""


@job_group.command("list")
@project_option
@json_option
@with_target
def list_jobs(project: str, as_json: bool, target: Target) -> None:
    """List a project's jobs, newest first."""
    path = path_of("projects", project, "jobs")
    found = run(target, lambda client: client.call("GET", path))["jobs"]
    if as_json:
        print_json(found)
        return
    columns = ("job", "kind", "database", "state", "seen", "total", "written", "failed", "created")
    rows = [
        [
            *(one[name] for name in ("id", "kind", "database", "state")),
            *(one["progress"][name] for name in ("seen", "total", "written", "failed")),
            one["created"],
        ]
        for one in found
    ]
    print_table(columns, rows, empty="no jobs")


@job_group.command("get")
@click.argument("job")
@project_option
@with_target
def get_job(job: str, project: str, target: Target) -> None:
    """Show JOB as JSON."""
    path = path_of("projects", project, "jobs", job)
    print_json(run(target, lambda client: client.call("GET", path)))


@job_group.command("wait")
@click.argument("job")
@project_option
@json_option
@with_target
def wait_job(job: str, project: str, as_json: bool, target: Target) -> None:
    """Wait until JOB is over, with its progress."""

    async def work(client: Client) -> dict[str, Any]:
        path = path_of("projects", project, "jobs", job)
        return await wait_over(client, project, await client.call("GET", path))

    report(run(target, work), as_json=as_json)


@job_group.command("cancel")
@click.argument("job")
@project_option
@with_target
def cancel_job(job: str, project: str, target: Target) -> None:
    """End JOB after the chunk that it is at. What it has done stays done."""
    path = path_of("projects", project, "jobs", job) + ":cancel"
    found = run(target, lambda client: client.call("POST", path))
    click.echo(f"cancelled job {found['id']} after {found['progress']['written']} documents")


async def wait_over(client: Client, project: str, job: dict[str, Any]) -> dict[str, Any]:
    """The job when it is over."""
    path = path_of("projects", project, "jobs", job["id"])
    return await wait_while_running(
        job,
        lambda: client.call("GET", path),
        column=MofNCompleteColumn(),
        total="total",
        completed="seen",
    )


def report(job: dict[str, Any], *, as_json: bool) -> None:
    """Says how a job has ended; raises CommandFailed if not well."""
    if as_json:
        print_json(job)
    progress = job["progress"]
    word = _DONE.get(job["kind"], "updated")
    if job["state"] == "failed":
        raise CommandFailed(f"job {job['id']} failed: {job['error']}")
    if job["state"] == "cancelled":
        raise CommandFailed(f"job {job['id']} was cancelled; {progress['written']} are {word}")
    if job["kind"] in _CHECKS:
        if not as_json:
            click.echo(f"checked {progress['seen']} documents, {progress['failed']} do not fit")
        return
    first = progress["first_failure"]
    if first is not None:
        raise CommandFailed(
            f"{word} {progress['written']} documents; {progress['failed']} could not be, the first "
            f"was {first['path']}: {first['message']}"
        )
    if not as_json:
        click.echo(f"{word} {progress['written']} documents")


def run_job(
    target: Target,
    project: str,
    database: str,
    verb: str,
    body: dict[str, Any],
    no_wait: bool,
    as_json: bool,
) -> None:
    """Begins a job on documents, waits for it unless told not to, and says how it ended."""

    async def work(client: Client) -> dict[str, Any]:
        base = path_of("projects", project, "databases", database)
        job = await client.call("POST", f"{base}/documents:{verb}", json=body)
        if no_wait:
            return job
        note(f"job {job['id']}")
        return await wait_over(client, project, job)

    job = run(target, work)
    if no_wait:
        click.echo(job["id"])
    else:
        report(job, as_json=as_json)
