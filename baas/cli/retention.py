"""`baas retention`."""

from __future__ import annotations

from typing import Any

import click

from baas.cli.client import path_of, run
from baas.cli.options import Target, database_option, json_option, project_option, with_target
from baas.cli.output import print_json
from baas.cli.verbs import Verbs

_DAY = 86_400


_for_project_option = click.option(
    "--for-project", is_flag=True, help="All databases of the project that say nothing themselves."
)


@click.group("retention", cls=Verbs)
def retention_group() -> None:
    """Say how far back the histories of databases reach."""


@retention_group.command("show")
@project_option
@database_option
@_for_project_option
@json_option
@with_target
def show_retention(
    project: str, database: str, for_project: bool, as_json: bool, target: Target
) -> None:
    """Show how long history is kept, and what is kept now."""
    path = _path(project, None if for_project else database)
    _show(run(target, lambda client: client.call("GET", path)), as_json=as_json)


@retention_group.command("set")
@project_option
@database_option
@_for_project_option
@click.option("--seconds", type=int, help="How long; nothing is said of it, if left out.")
@click.option("--days", type=int, help="The same in days.")
@click.option("--bytes", "size", type=int, help="How large it may grow; as with --seconds.")
@json_option
@with_target
def set_retention(
    project: str,
    database: str,
    for_project: bool,
    seconds: int | None,
    days: int | None,
    size: int | None,
    as_json: bool,
    target: Target,
) -> None:
    """Keep history for a time, and up to a size; whichever is shorter. Without either: as the
    project says, and else as the server is set to. Takes effect within a minute; what is forgotten
    does not come back."""
    if seconds is not None and days is not None:
        raise click.UsageError("give --seconds or --days, not both")
    body = {"seconds": seconds if days is None else days * _DAY, "bytes": size}
    path = _path(project, None if for_project else database)
    _show(run(target, lambda client: client.call("PUT", path, json=body)), as_json=as_json)


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    in_force = found["in_force"]
    for name, unit in (("seconds", "s"), ("bytes", "bytes")):
        said = "" if found[name] is not None else " (inherited)"
        click.echo(f"at most {in_force[name]} {unit}{said}")
    if "oldest" in found:
        since = found["oldest"] or "the beginning"
        kept = found["history_bytes"] + found["log_bytes"]
        click.echo(f"kept: {kept} bytes, since {since}")


def _path(project: str, database: str | None) -> str:
    """None: of all databases of the project."""
    within = () if database is None else ("databases", database)
    return path_of("projects", project, *within, "retention")
