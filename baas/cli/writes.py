"""`baas document add`, `set`, `update`, `rm` and `commit`. Rules do not apply to an administrator;
schemas do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson

from baas.cli import arguments
from baas.cli.asking import confirm_by_typing
from baas.cli.client import APPS_API, Client, documents_path, run
from baas.cli.failures import CommandFailed
from baas.cli.jobs import run_job
from baas.cli.options import (
    Target,
    database_option,
    group_option,
    json_option,
    no_wait_option,
    project_option,
    read_text,
    where_option,
    with_target,
)
from baas.cli.output import print_json
from baas.model.paths import CollectionPath, DocumentPath

Command = TypeVar("Command", bound=Callable[..., Any])
_TRANSFORMS = {  # of the API, by option
    "increment": ("increment", "Add a number."),
    "at_least": ("maximum", "Raise a number to this one."),
    "at_most": ("minimum", "Lower a number to this one."),
    "union": ("array_union", "Append those elements of a JSON array that are missing."),
    "remove": ("array_remove", "Remove the elements of a JSON array."),
}
_if_updated_option = click.option(
    "--if-updated",
    metavar="TIME",
    help="Only if the document is still the one of this `update_time`.",
)


def _with_change(command: Command) -> Command:
    """Gives a command the options that say what becomes of fields, as one argument `change`."""

    @click.option("--set", "values", multiple=True, metavar="FIELD=VALUE", help="May be repeated.")
    @click.option("--unset", "gone", multiple=True, metavar="FIELD", help="May be repeated.")
    @click.option("--now", multiple=True, metavar="FIELD", help="Set to the time of the server.")
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        values: tuple[str, ...],
        gone: tuple[str, ...],
        now: tuple[str, ...],
        **rest: Any,
    ) -> Any:
        transforms = [
            {"field": field, word: operand}
            for option, (word, _) in _TRANSFORMS.items()
            for field, operand in map(arguments.assignment, rest.pop(option))
        ]
        transforms += [{"field": field, "server_time": True} for field in now]
        change: dict[str, Any] = {"fields": dict(map(arguments.assignment, values))}
        change |= {"delete": list(gone)} if gone else {}
        change |= {"transforms": transforms} if transforms else {}
        return command(*args, change=change, **rest)

    for option, (_, text) in reversed(_TRANSFORMS.items()):
        name = "--" + option.replace("_", "-")
        wrapped = click.option(name, option, multiple=True, metavar="FIELD=VALUE", help=text)(
            wrapped
        )
    return wrapped  # type: ignore[return-value]


@click.command("add")
@click.argument("collection")
@click.argument("fields", metavar="FIELDS")
@click.option("--id", "document_id", help="Its id; else a random one.")
@project_option
@database_option
@json_option
@with_target
def add_command(
    collection: str,
    fields: str,
    document_id: str | None,
    project: str,
    database: str,
    as_json: bool,
    target: Target,
) -> None:
    """Add a document to COLLECTION, with FIELDS: a JSON object, or `-` to read it from stdin."""
    path = documents_path(project, database, CollectionPath.parse(collection.strip("/")))
    parameters = {} if document_id is None else {"id": document_id}
    body = {"fields": _fields(fields)}
    made = run(
        target,
        lambda client: client.call("POST", path, api=APPS_API, params=parameters, json=body),
    )
    _tell(made, "added", as_json)


@click.command("set")
@click.argument("path")
@click.argument("fields", metavar="FIELDS")
@click.option("--merge", is_flag=True, help="Keep the fields that FIELDS does not name.")
@click.option("--new", is_flag=True, help="Only if there is no such document.")
@_if_updated_option
@project_option
@database_option
@json_option
@with_target
def set_command(
    path: str,
    fields: str,
    merge: bool,
    new: bool,
    if_updated: str | None,
    project: str,
    database: str,
    as_json: bool,
    target: Target,
) -> None:
    """Make FIELDS, a JSON object or `-` to read it from stdin, the document PATH, whatever was
    there.

    Types that JSON lacks are as in the API: {"at": {"$timestamp": "2026-01-31T12:00:00Z"}}.
    """
    if new and if_updated is not None:
        raise click.UsageError("--new and --if-updated exclude each other")
    body: dict[str, Any] = {"fields": _fields(fields)}
    if merge:
        body["merge"] = True
    if new:
        body["precondition"] = {"exists": False}
    if if_updated is not None:
        body["precondition"] = {"update_time": if_updated}
    base = documents_path(project, database, DocumentPath.parse(path.strip("/")))
    done = run(target, lambda client: client.call("PUT", base, api=APPS_API, json=body))
    _tell(done, "set", as_json)


@click.command("update")
@click.argument("path")
@_with_change
@where_option
@group_option
@_if_updated_option
@project_option
@database_option
@no_wait_option
@json_option
@with_target
def update_command(
    path: str,
    change: dict[str, Any],
    filters: tuple[str, ...],
    group: bool,
    if_updated: str | None,
    project: str,
    database: str,
    no_wait: bool,
    as_json: bool,
    target: Target,
) -> None:
    """Update fields of the document PATH, or of every document of the collection PATH that
    matches.

    A FIELD is a path, such as address.city. A VALUE is JSON (`18`, `true`, `"18"`,
    `{"$timestamp": "…Z"}`); what is no JSON is text. The documents of a collection are updated
    in chunks, as a job.
    """
    if change == {"fields": {}}:
        raise click.UsageError("there is nothing to update: give --set, --unset or another change")
    if _is_collection(path):
        if if_updated is not None:
            raise click.UsageError("--if-updated is for one document")
        body = {"query": arguments.query_of(path, filters, group=group), "update": change}
        run_job(target, project, database, "update-by-query", body, no_wait, as_json)
        return
    if filters or group or no_wait:
        raise click.UsageError(
            f"`{path}` is one document; --where, --group and --no-wait are for collections"
        )
    if if_updated is not None:
        change["precondition"] = {"update_time": if_updated}
    base = documents_path(project, database, DocumentPath.parse(path.strip("/")))
    done = run(target, lambda client: client.call("PATCH", base, api=APPS_API, json=change))
    _tell(done, "updated", as_json)


@click.command("rm")
@click.argument("path")
@click.option("--recursive", "-r", is_flag=True, help="With everything below it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@project_option
@database_option
@no_wait_option
@json_option
@with_target
def remove_command(
    path: str,
    recursive: bool,
    yes: bool,
    project: str,
    database: str,
    no_wait: bool,
    as_json: bool,
    target: Target,
) -> None:
    """Remove PATH, a document or (with -r) all documents of a collection.

    With -r everything below goes too, in chunks; the job goes on if this command is interrupted, or
    the server restarts. Without -r only the one document is removed, not what lies below it.
    """
    if _is_collection(path) and not recursive:
        raise CommandFailed(f"`{path}` is a collection; -r removes all of its documents")
    if recursive and not yes:
        what = f"This deletes {path} with everything below it"
        confirm_by_typing(what, path, "path", nothing="deleted")
    if recursive:
        run_job(target, project, database, "delete-recursive", {"path": path}, no_wait, as_json)
        return

    async def work(client: Client) -> dict[str, Any]:
        body = {"writes": [{"delete": path, "precondition": {"exists": True}}]}
        base = documents_path(project, database) + ":commit"
        return await client.call("POST", base, api=APPS_API, json=body)

    run(target, work)
    click.echo(f"removed {path}")


@click.command("commit")
@click.argument("file", type=click.Path(path_type=Path))
@project_option
@database_option
@json_option
@with_target
def commit_command(file: Path, project: str, database: str, as_json: bool, target: Target) -> None:
    """Commit the writes in FILE (`-`: stdin), all or none, in order.

    A JSON array of writes as the API takes them: [{"set": "a/b", "fields": {"n": 1}}, {"update":
    "a/c", "fields": {"n": 2}, "precondition": {"update_time": "…Z"}}, {"delete": "a/d"}]
    """
    try:
        writes = orjson.loads(read_text(file))
    except orjson.JSONDecodeError as error:
        raise CommandFailed(f"`{file}` is no JSON: {error}") from None
    path = documents_path(project, database) + ":commit"
    body = {"writes": writes}
    done = run(target, lambda client: client.call("POST", path, api=APPS_API, json=body))
    if as_json:
        print_json(done)
    else:
        click.echo(f"committed {len(done['write_results'])} writes at {done['commit_time']}")


def _is_collection(path: str) -> bool:
    return path.strip("/").count("/") % 2 == 0


def _fields(text: str) -> dict[str, Any]:
    given = read_text(Path("-")) if text == "-" else text
    return arguments.json_object(given, "the fields of a document")


def _tell(done: dict[str, Any], word: str, as_json: bool) -> None:
    if as_json:
        print_json(done)
    else:
        click.echo(f"{word} {done['path']}")
