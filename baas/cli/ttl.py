"""`baas ttl`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from baas.cli.client import path_of, run
from baas.cli.failures import CommandFailed
from baas.cli.options import (
    Target,
    database_option,
    json_option,
    project_option,
    read_text,
    with_target,
)
from baas.cli.output import note, print_json, print_table
from baas.cli.verbs import Verbs
from baas.errors import InvalidPath
from baas.model.paths import FieldPath, check_id


@click.group("ttl", cls=Verbs)
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
    if "/" in collection:
        identifier = collection.strip("/").rpartition("/")[2]
        raise click.UsageError(
            f"a policy is for all collections of an id, such as `{identifier}`, wherever they are;"
            f" `{collection}` is a path"
        )
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


@ttl_group.command("deploy")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Only tell what would change.")
@project_option
@database_option
@with_target
def deploy_policies(file: Path, dry_run: bool, project: str, database: str, target: Target) -> None:
    """Put the policies in FILE in force, in place of all that were; all of them, or none.

    FILE holds a JSON object of collection ids, each with the field that says when its documents
    expire: `{"sessions": "expires"}`. Policies that were the same stay, and go on counting.
    """
    body = {"policies": _read(file), "dry_run": dry_run}
    path = _path(project, database)
    found = run(target, lambda client: client.call("PUT", path, json=body))
    for one in found["changes"]:
        click.echo(f"{one['collection']}: {one['field'] or 'no more'}")
    if not found["changes"]:
        note("no difference")


@ttl_group.command("pull")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@project_option
@database_option
@with_target
def pull_policies(file: Path, project: str, database: str, target: Target) -> None:
    """Write the policies in force to FILE, for `baas ttl deploy`. A file that is there is
    replaced."""
    found = run(target, lambda client: client.call("GET", _path(project, database)))["policies"]
    tree = {one["collection"]: one["field"] for one in found}
    try:
        file.write_text(json.dumps(tree, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"`{file}` cannot be written: {error.strerror}") from None
    click.echo(f"wrote {len(tree)} policies to {file}")


def _read(file: Path) -> dict[str, str]:
    """Fields by collection ids, as the server writes them."""
    try:
        tree = json.loads(read_text(file), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise CommandFailed(f"`{file}` is no JSON: {error}") from None
    if not isinstance(tree, dict):
        raise CommandFailed(f'`{file}` is no JSON object such as {{"sessions": "expires"}}')
    wanted = {}
    for collection, field in tree.items():
        if not isinstance(field, str):
            raise CommandFailed(f"`{file}`: `{collection}` needs the name of a field")
        try:
            check_id(collection, "collection id")
            wanted[collection] = str(FieldPath.parse(field))
        except InvalidPath as error:
            raise CommandFailed(f"`{file}`: `{collection}`: {error.message}") from None
    return wanted


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        raise ValueError("a name occurs twice")
    return tree


def _path(project: str, database: str, *more: str) -> str:
    return path_of("projects", project, "databases", database, "ttl", *more)
