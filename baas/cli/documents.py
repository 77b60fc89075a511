"""`baas document`: work on many documents at a time. Rules do not apply to an administrator."""

from __future__ import annotations

import re
from typing import Any

import click
import orjson

from baas.cli.client import Client, path_of, run
from baas.cli.failures import CommandFailed
from baas.cli.jobs import report, wait_over
from baas.cli.options import Target, database_option, json_option, project_option, with_target
from baas.cli.output import note

_CONDITION = re.compile(
    r"\s*(?P<field>(?:`(?:[^`\\]|\\.)*`|[^\s=!<>`])+)\s*"
    r"(?P<op>==|!=|<=|>=|<|>|(?:array-contains-any|array-contains|not-in|in)(?=[\s\[]))(?![=<>])\s*"
    r"(?P<value>.*?)\s*",
    re.DOTALL,
)
_wait_option = click.option(
    "--no-wait", is_flag=True, help="Only begin the job; `baas job wait` waits for it."
)


@click.group("document")
def document_group() -> None:
    """Remove and update many documents, in chunks that are not atomic together."""


@document_group.command("rm")
@click.argument("path")
@click.option("--recursive", "-r", is_flag=True, help="With everything below it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@project_option
@database_option
@_wait_option
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
    is_collection = path.strip("/").count("/") % 2 == 0
    if is_collection and not recursive:
        raise CommandFailed(f"`{path}` is a collection; -r removes all of its documents")
    if recursive and not yes:
        typed = click.prompt(
            f"This deletes {path} with everything below it. Type the path to go on", err=True
        )
        if typed != path:
            raise click.ClickException("that is not the path; nothing was deleted")
    if recursive:
        _run_job(target, project, database, "delete-recursive", {"path": path}, no_wait, as_json)
        return

    async def work(client: Client) -> dict[str, Any]:
        base = path_of("projects", project, "databases", database)
        body = {"writes": [{"delete": path, "precondition": {"exists": True}}]}
        return await client.call("POST", f"{base}/documents:commit", api="/api/v1", json=body)

    run(target, work)
    click.echo(f"removed {path}")


@document_group.command("update")
@click.argument("collection")
@click.option(
    "--where",
    "filters",
    multiple=True,
    metavar="'FIELD OP VALUE'",
    help="Only documents that match; may be repeated, all must hold. Without it, all documents.",
)
@click.option("--set", "values", multiple=True, metavar="FIELD=VALUE", help="May be repeated.")
@click.option("--unset", "fields", multiple=True, metavar="FIELD", help="May be repeated.")
@click.option("--group", is_flag=True, help="All collections of this id, wherever they are.")
@project_option
@database_option
@_wait_option
@json_option
@with_target
def update_command(
    collection: str,
    filters: tuple[str, ...],
    values: tuple[str, ...],
    fields: tuple[str, ...],
    group: bool,
    project: str,
    database: str,
    no_wait: bool,
    as_json: bool,
    target: Target,
) -> None:
    """Update every document of COLLECTION that matches, in chunks.

    Values are JSON (`18`, `true`, `"18"`, `{"$timestamp": "…Z"}`); what is no JSON is text.
    OP is ==, !=, <, <=, >, >=, in, not-in, array-contains or array-contains-any.
    """
    query: dict[str, Any] = {"collection": collection}
    if group:
        query["group"] = True
    if filters:
        query["where"] = {"and": [_filter(text) for text in filters]}
    update: dict[str, Any] = {"fields": dict(_assignment(text) for text in values)}
    if fields:
        update["delete"] = list(fields)
    if not values and not fields:
        raise click.UsageError("give --set or --unset; else there is nothing to update")
    body = {"query": query, "update": update}
    _run_job(target, project, database, "update-by-query", body, no_wait, as_json)


def _run_job(
    target: Target,
    project: str,
    database: str,
    verb: str,
    body: dict[str, Any],
    no_wait: bool,
    as_json: bool,
) -> None:
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


def _filter(text: str) -> dict[str, Any]:
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise click.UsageError(f"`{text}` is no condition; one is 'age >= 18' or 'tags in [\"a\"]'")
    return {"field": found["field"], "op": found["op"], "value": _value(found["value"])}


def _assignment(text: str) -> tuple[str, Any]:
    field, found, value = text.partition("=")
    if not found or not field.strip():
        raise click.UsageError(f"`{text}` sets nothing; write --set 'field=value'")
    return field.strip(), _value(value.strip())


def _value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
