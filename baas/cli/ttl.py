"""`baas ttl`."""

from __future__ import annotations

import click

from baas.cli.client import path_of, run
from baas.cli.options import Target, database_option, json_option, project_option, with_target
from baas.cli.output import print_json, print_table


@click.group("ttl")
def ttl_group() -> None:
    """Let documents expire at the time in one of their fields.

    Expired documents are deleted in the background, usually within a minute.
    """


@ttl_group.command("set")
@click.argument("collection")
@click.argument("field")
@project_option
@database_option
@with_target
def set_policy(collection: str, field: str, project: str, database: str, target: Target) -> None:
    """Delete documents of all collections with the id COLLECTION once the timestamp in FIELD has
    passed. Documents where FIELD is missing, or no timestamp, stay."""
    path = _path(project, database, collection)
    run(target, lambda client: client.call("PUT", path, json={"field": field}))
    click.echo(f"documents of {collection} expire at the time in {field}")


@ttl_group.command("ls")
@project_option
@database_option
@json_option
@with_target
def list_policies(project: str, database: str, as_json: bool, target: Target) -> None:
    """List what expires, and how many documents have."""
    path = _path(project, database)
    found = run(target, lambda client: client.call("GET", path))["policies"]
    if as_json:
        print_json(found)
        return
    names = ("collection", "field", "deleted", "last_deletion", "error")
    columns = ("collection", "field", "deleted", "last deletion", "error")
    rows = [[one[name] for name in names] for one in found]
    print_table(columns, rows, empty="nothing expires")


@ttl_group.command("rm")
@click.argument("collection")
@project_option
@database_option
@with_target
def delete_policy(collection: str, project: str, database: str, target: Target) -> None:
    """Let documents of COLLECTION expire no more."""
    path = _path(project, database, collection)
    run(target, lambda client: client.call("DELETE", path))
    click.echo(f"documents of {collection} do not expire any more")


def _path(project: str, database: str, *more: str) -> str:
    return path_of("projects", project, "databases", database, "ttl", *more)
