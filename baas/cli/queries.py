"""`baas query`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import click
import orjson

from baas.cli.client import APPS_API, Client, documents_path, run
from baas.cli.explanations import explained
from baas.cli.options import Target, database_option, project_option, with_target
from baas.cli.output import note, print_table
from baas.cli.query_options import with_numbers, with_query

_PAGE = 1_000
_CELL_CHARACTERS_MAX = 60


@click.command("query")
@with_query
@click.option("--at", metavar="TIME", help="As it was then, such as 2026-01-31T12:00:00Z.")
@click.option("--table", "as_table", is_flag=True, help="A table for people, not JSON lines.")
@click.option("--explain", is_flag=True, help="Tell how the query was answered, on stderr.")
@with_numbers
@project_option
@database_option
@with_target
def query_command(
    query: dict[str, Any],
    aggregated: dict[str, Any],
    at: str | None,
    as_table: bool,
    explain: bool,
    project: str,
    database: str,
    target: Target,
) -> None:
    """Print the documents of COLLECTION that match, one JSON object a line; or numbers of them, or
    of each group of them.

    A value is JSON, or text as it stands. For example:

    baas query -p demo cities -w 'country == CH' -o population:desc -n 10

    baas query -p demo notes --search 'red app*' --in title --in body
    """
    path = documents_path(project, database)
    if aggregated:
        if at is not None:
            raise click.UsageError("--at shows documents; numbers are of now")
        body = {"query": query, **aggregated, "explain": explain}
        run(target, lambda client: _print_groups(client, f"{path}:aggregate", body))
    elif at is not None:
        if explain:
            raise click.UsageError("--explain tells of queries of now; leave out --at")
        body = {"query": query, "read_time": at}
        run(target, lambda client: _show(client, f"{path}:query", body, as_table))
    else:
        body = {"query": query, "page_size": _PAGE, "explain": explain}
        run(target, lambda client: _show(client, f"{path}:query", body, as_table))


async def _print_groups(client: Client, path: str, body: dict[str, Any]) -> None:
    async for page in _pages(client, path, body):
        for group in page.get("groups") or [page]:
            told = {**group.get("group", {}), **group.get("results", {})}
            if told:
                click.echo(orjson.dumps(told).decode())


async def _show(client: Client, path: str, body: dict[str, Any], as_table: bool) -> None:
    gathered: list[dict[str, Any]] = []
    async for page in _pages(client, path, body):
        if as_table:
            gathered += page["documents"]
            continue
        for document in page["documents"]:
            click.echo(orjson.dumps(document).decode())
    if as_table:
        _print_documents(gathered, body["query"].get("select", []))


async def _pages(client: Client, path: str, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """One after the other; how the query was answered is said after the first."""
    async for page in client.pages("POST", path, api=APPS_API, json=body):
        yield page
        if page.get("explain") is not None:
            for line in explained(page["explain"]):
                note(line)
            body["explain"] = False


def _print_documents(documents: list[dict[str, Any]], fields: list[str]) -> None:
    names = list(fields) or list(
        dict.fromkeys(name for document in documents for name in document["fields"])
    )
    rows = [[one["path"], *(_cell(one["fields"].get(name)) for name in names)] for one in documents]
    columns = ["path", *names]
    if documents and "distance_meters" in documents[0]:
        columns.insert(1, "meters")
        for row, one in zip(rows, documents, strict=True):
            row.insert(1, f"{one['distance_meters']:.0f}")
    print_table(columns, rows, empty="no documents")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= _CELL_CHARACTERS_MAX else text[: _CELL_CHARACTERS_MAX - 1] + "…"
