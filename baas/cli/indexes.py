"""`baas index`."""

from __future__ import annotations

from typing import Any

import click
from rich.progress import TextColumn

from baas.cli.arguments import with_suffix
from baas.cli.client import Client, path_of, run
from baas.cli.options import Target, database_option, json_option, project_option, with_target
from baas.cli.output import print_json, print_table
from baas.cli.progress import wait_while_running
from baas.cli.verbs import Verbs

_PAGE = 1_000
_KINDS = ("array", "words", "cell")  # what can stand in an entry in place of the value


@click.group("index", cls=Verbs)
def index_group() -> None:
    """See, build, keep and drop indexes.

    Queries need none of this: indexes are made for those that come again, and dropped when idle.
    """


@index_group.command("ls")
@project_option
@database_option
@click.option("--collection", help="Only those of this collection id.")
@json_option
@with_target
def list_indexes(
    project: str, database: str, collection: str | None, as_json: bool, target: Target
) -> None:
    """List indexes."""
    path = _path(project, database)
    found = run(target, lambda client: _read_all(client, path, collection))
    if as_json:
        print_json(found)
        return
    rows = [
        [one["id"], one["collection"], one["scope"], field_texts(one), _state(one), one["pinned"],
         one["uses"], one["used"]]
        for one in found
    ]  # fmt: skip
    columns = ("index", "collection", "scope", "fields", "state", "pinned", "uses", "last used")
    print_table(columns, rows, empty="no indexes")


async def _read_all(client: Client, path: str, collection: str | None) -> list[dict[str, Any]]:
    params = {"collection": collection} if collection else {}
    return await client.gather(path, "indexes", page_size=_PAGE, params=params)


@index_group.command("build")
@click.argument("collection")
@click.argument("fields", nargs=-1, required=True, metavar="FIELD[:desc|:array|:words|:cell]...")
@click.option(
    "--scope",
    type=click.Choice(["collection", "group", "below"]),
    default="collection",
    show_default=True,
    help="For queries of one collection, of the group, or of the group below a document.",
)
@click.option("--wait", is_flag=True, help="Until it is filled and queries use it.")
@project_option
@database_option
@json_option
@with_target
def build_index(
    collection: str,
    fields: tuple[str, ...],
    scope: str,
    wait: bool,
    project: str,
    database: str,
    as_json: bool,
    target: Target,
) -> None:
    """Build an index of COLLECTION, pinned: fields held equal (or an array's) first, then the
    order.

    For example `baas index build -p demo cities country population:desc`.
    """
    body = {"collection": collection, "scope": scope, "fields": [_field(item) for item in fields]}
    path = _path(project, database)

    async def work(client: Client) -> dict[str, Any]:
        made = await client.call("POST", path, json=body)
        return await _wait_until_filled(client, path, made) if wait else made

    made = run(target, work)
    if as_json:
        print_json(made)
    else:
        click.echo(f"index {made['id']} is {made['state']}")


async def _wait_until_filled(client: Client, path: str, made: dict[str, Any]) -> dict[str, Any]:
    current = made

    async def again() -> dict[str, Any]:
        nonlocal current
        for index in await _read_all(client, path, made["collection"]):
            if index["id"] == made["id"]:
                current = index
                return _as_work(index)
        raise click.ClickException(
            f"index {made['id']} is gone: somebody dropped it, or it could not be made for a"
            " document that needs more entries than one may have (`document_index_entries_max`)"
        )

    column = TextColumn("{task.completed} documents read")
    await wait_while_running(_as_work(made), again, column=column, total="of", completed="read")
    return current


def _as_work(index: dict[str, Any]) -> dict[str, Any]:
    state = "running" if index["state"] == "building" else index["state"]
    progress = {"of": None, "read": index["scanned"]}
    return {"kind": f"index {index['id']}", "state": state, "progress": progress}


@index_group.command("pin")
@click.argument("index_id", metavar="INDEX")
@project_option
@database_option
@with_target
def pin_index(index_id: str, project: str, database: str, target: Target) -> None:
    """Keep INDEX however long no query uses it."""
    _change(target, project, database, index_id, pinned=True)
    click.echo(f"pinned index {index_id}")


@index_group.command("unpin")
@click.argument("index_id", metavar="INDEX")
@project_option
@database_option
@with_target
def unpin_index(index_id: str, project: str, database: str, target: Target) -> None:
    """Let INDEX be dropped once it is idle."""
    _change(target, project, database, index_id, pinned=False)
    click.echo(f"unpinned index {index_id}")


@index_group.command("rm")
@click.argument("index_id", metavar="INDEX")
@project_option
@database_option
@with_target
def drop_index(index_id: str, project: str, database: str, target: Target) -> None:
    """Drop INDEX. Queries stay right, and have it made again if they come again."""
    run(target, lambda client: client.call("DELETE", _path(project, database, index_id)))
    click.echo(f"dropped index {index_id}")


def _change(target: Target, project: str, database: str, index_id: str, *, pinned: bool) -> None:
    path = _path(project, database, index_id)
    run(target, lambda client: client.call("PATCH", path, json={"pinned": pinned}))


def _path(project: str, database: str, *more: str) -> str:
    return path_of("projects", project, "databases", database, "indexes", *more)


def _field(text: str) -> dict[str, Any]:
    """`name`, `name:desc`, or with a kind of entry: `name:array`, `name:words`, `name:cell`."""
    name, suffix = with_suffix(text, ("asc", "desc", *_KINDS))
    if suffix is None:
        return {"field": name}
    if suffix in _KINDS:
        return {"field": name, "kind": suffix}
    return {"field": name, "direction": suffix}


def field_texts(index: dict[str, Any]) -> list[str]:
    """The fields of an index, as `baas index build` takes them."""
    return [
        field["field"]
        + ("" if field["kind"] == "plain" else f":{field['kind']}")
        + (":desc" if field["direction"] == "desc" else "")
        for field in index["fields"]
    ]


def _state(index: dict[str, Any]) -> str:
    if index["state"] == "building":
        return f"building, {index['scanned']} documents read"
    return str(index["state"])
