"""`baas retention`."""

from __future__ import annotations

from typing import Any

import click

from baas.cli.client import path_of, run
from baas.cli.options import Target, database_option, json_option, project_option, with_target
from baas.cli.output import print_json

_DAY = 86_400


@click.group("retention")
def retention_group() -> None:
    """Say how far back the history of a database reaches."""


@retention_group.command("show")
@project_option
@database_option
@json_option
@with_target
def show_retention(project: str, database: str, as_json: bool, target: Target) -> None:
    """Show how long history is kept, and what is kept now."""
    path = _path(project, database)
    _show(run(target, lambda client: client.call("GET", path)), as_json=as_json)


@retention_group.command("set")
@project_option
@database_option
@click.option("--seconds", type=int, help="How long; as the server is set to, if left out.")
@click.option("--days", type=int, help="The same in days.")
@click.option("--bytes", "size", type=int, help="How large history may grow.")
@json_option
@with_target
def set_retention(
    project: str,
    database: str,
    seconds: int | None,
    days: int | None,
    size: int | None,
    as_json: bool,
    target: Target,
) -> None:
    """Keep history for a time, and up to a size; whichever is shorter. Without options: as the
    server is set to. Takes effect within a minute; what is forgotten does not come back."""
    if seconds is not None and days is not None:
        raise click.UsageError("give --seconds or --days, not both")
    body = {"seconds": seconds if days is None else days * _DAY, "bytes": size}
    path = _path(project, database)
    _show(run(target, lambda client: client.call("PUT", path, json=body)), as_json=as_json)


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    in_force = found["in_force"]
    for name, unit in (("seconds", "s"), ("bytes", "bytes")):
        said = "" if found[name] is not None else " (the server's setting)"
        click.echo(f"at most {in_force[name]} {unit}{said}")
    click.echo(f"kept: {found['history_bytes']} bytes, since {found['oldest'] or 'the beginning'}")


def _path(project: str, database: str) -> str:
    return path_of("projects", project, "databases", database, "retention")
