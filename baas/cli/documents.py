"""`baas document`: work on documents, one or many. Rules do not apply to an administrator."""

from __future__ import annotations

import re
from typing import Any

import click
import orjson

from baas.cli.client import APPS_API, Client, path_of, run
from baas.cli.failures import CommandFailed
from baas.cli.jobs import report, wait_over
from baas.cli.options import Target, database_option, json_option, project_option, with_target
from baas.cli.output import note, print_json, print_table

_PLANNED = ("created", "updated", "deleted", "erased")
_CHANGES_SHOWN = 100
_CONDITION = re.compile(
    r"\s*(?P<field>(?:`(?:[^`\\]|\\.)*`|[^\s=!<>`])+)\s*"
    r"(?P<op>==|!=|<=|>=|<|>|(?:array-contains-any|array-contains|not-in|in)(?=[\s\[]))(?![=<>])\s*"
    r"(?P<value>.*?)\s*",
    re.DOTALL,
)
_where_option = click.option(
    "--where",
    "filters",
    multiple=True,
    metavar="'FIELD OP VALUE'",
    help="Only documents that match; may be repeated, all must hold. Without it, all documents.",
)
_group_option = click.option(
    "--group", is_flag=True, help="All collections of this id, wherever they are."
)
_rewrite_option = click.option(
    "--rewrite",
    is_flag=True,
    help="Write SQLite's file anew, too, which gives its free room back; writes wait meanwhile.",
)
_wait_option = click.option(
    "--no-wait", is_flag=True, help="Only begin the job; `baas job wait` waits for it."
)


@click.group("document")
def document_group() -> None:
    """Work on documents, one or many, as they are and as they were."""


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
@_where_option
@click.option("--set", "values", multiple=True, metavar="FIELD=VALUE", help="May be repeated.")
@click.option("--unset", "fields", multiple=True, metavar="FIELD", help="May be repeated.")
@_group_option
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
    query = _query(collection, filters, group=group)
    update: dict[str, Any] = {"fields": dict(_assignment(text) for text in values)}
    if fields:
        update["delete"] = list(fields)
    if not values and not fields:
        raise click.UsageError("give --set or --unset; else there is nothing to update")
    body = {"query": query, "update": update}
    _run_job(target, project, database, "update-by-query", body, no_wait, as_json)


@document_group.command("get")
@click.argument("path")
@click.option("--at", metavar="TIME", help="As it was then, such as 2026-01-31T12:00:00Z.")
@project_option
@database_option
@with_target
def get_command(path: str, at: str | None, project: str, database: str, target: Target) -> None:
    """Show the document PATH as JSON."""
    segments = path.strip("/").split("/")
    base = path_of("projects", project, "databases", database, "documents", *segments)
    params = {} if at is None else {"read_time": at}
    print_json(run(target, lambda client: client.call("GET", base, api=APPS_API, params=params)))


@document_group.command("history")
@click.argument("path")
@click.option("--limit", "-n", type=click.IntRange(1), default=100, show_default=True)
@project_option
@database_option
@json_option
@with_target
def history_command(
    path: str, limit: int, project: str, database: str, as_json: bool, target: Target
) -> None:
    """List the versions of the document PATH, newest first."""
    base = path_of("projects", project, "databases", database)
    params = {"path": path}

    async def work(client: Client) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while len(found) < limit:
            params["page_size"] = str(min(limit - len(found), 1_000))
            page = await client.call("GET", f"{base}/documents:history", params=params)
            found += page["versions"]
            if "next_page_token" not in page:
                break
            params["page_token"] = page["next_page_token"]
        return found

    found = run(target, work)
    if as_json:
        print_json(found)
        return
    rows = [
        [one["time"], one["kind"], "erased" if one["erased"] else one["bytes"]] for one in found
    ]
    print_table(("time", "kind", "bytes"), rows, empty="nothing is known of it")


@document_group.command("restore")
@click.argument("path")
@click.option("--at", required=True, metavar="TIME", help="Such as 2026-01-31T12:00:00Z.")
@click.option("--recursive", "-r", is_flag=True, help="With everything below it.")
@click.option("--dry-run", is_flag=True, help="Only tell what would change.")
@project_option
@database_option
@_wait_option
@json_option
@with_target
def restore_command(
    path: str,
    at: str,
    recursive: bool,
    dry_run: bool,
    project: str,
    database: str,
    no_wait: bool,
    as_json: bool,
    target: Target,
) -> None:
    """Give PATH, a document or all documents of a collection, what it held at a time.

    Restored documents are new versions, in chunks that are not atomic together; what is written
    while the job runs stays.
    """
    body = {"path": path, "at": at, "recursive": recursive}
    if not dry_run:
        _run_job(target, project, database, "restore", body, no_wait, as_json)
        return
    plan = _plan_restore(target, path_of("projects", project, "databases", database), body)
    if as_json:
        print_json(plan)
        return
    print_table(
        ("change", "document"),
        [[one["kind"], one["path"]] for one in plan["changes"]],
        empty="nothing would change",
    )
    click.echo("would be: " + ", ".join(f"{name} {plan[name]}" for name in _PLANNED))


def _plan_restore(target: Target, base: str, body: dict[str, Any]) -> dict[str, Any]:
    """All pages as one: their numbers added, the first changes."""

    async def work(client: Client) -> dict[str, Any]:
        path = f"{base}/documents:plan-restore"
        plan = page = await client.call("POST", path, json=body)
        while token := page.get("next_page_token"):
            page = await client.call("POST", path, json={**body, "page_token": token})
            for name in _PLANNED:
                plan[name] += page[name]
            plan["changes"] = (plan["changes"] + page["changes"])[:_CHANGES_SHOWN]
        plan.pop("next_page_token", None)
        return plan

    return run(target, work)


@click.group("collection")
def collection_group() -> None:
    """Work on a collection as it was."""


collection_group.add_command(restore_command)


@document_group.command("erase")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--present", is_flag=True, help="Delete the documents as they are, too.")
@_rewrite_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@project_option
@database_option
@json_option
@with_target
def erase_command(
    paths: tuple[str, ...],
    present: bool,
    rewrite: bool,
    yes: bool,
    project: str,
    database: str,
    as_json: bool,
    target: Target,
) -> None:
    """Erase all that the document PATH was, for ever: nothing can restore it. Or several.

    With SQLite no byte of it is left in the database's files.
    """
    if not yes:
        _confirm_erasure(paths)
    base = path_of("projects", project, "databases", database)
    body = {"documents": paths, "present": present, "rewrite": rewrite}
    answer = run(
        target, lambda client: client.call("POST", f"{base}/documents:batch-erase", json=body)
    )
    erased = answer["erasures"]
    if as_json:
        print_json(erased if len(paths) > 1 else erased[0])
        return
    for one in erased:
        click.echo(f"erased {one['images']} versions of {one['path']}")


@document_group.command("erase-by-query")
@click.argument("collection")
@_where_option
@_group_option
@click.option("--present", is_flag=True, help="Delete the documents as they are, too.")
@click.option(
    "--deleted",
    is_flag=True,
    help="Also documents that matched when they were deleted, as far as the log reaches back.",
)
@_rewrite_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@project_option
@database_option
@_wait_option
@json_option
@with_target
def erase_by_query_command(
    collection: str,
    filters: tuple[str, ...],
    group: bool,
    present: bool,
    deleted: bool,
    rewrite: bool,
    yes: bool,
    project: str,
    database: str,
    no_wait: bool,
    as_json: bool,
    target: Target,
) -> None:
    """Erase all that every document of COLLECTION was that matches now, for ever, in chunks."""
    query = _query(collection, filters, group=group)
    if not yes:
        _confirm(f"the past of documents of {collection}", collection, "collection")
    body = {"query": query, "present": present, "deleted": deleted, "rewrite": rewrite}
    _run_job(target, project, database, "erase-by-query", body, no_wait, as_json)


def _query(collection: str, filters: tuple[str, ...], *, group: bool) -> dict[str, Any]:
    query: dict[str, Any] = {"collection": collection}
    if group:
        query["group"] = True
    if filters:
        query["where"] = {"and": [_filter(text) for text in filters]}
    return query


def _confirm_erasure(paths: tuple[str, ...]) -> None:
    if len(paths) == 1:
        _confirm(f"the past of {paths[0]}", paths[0], "path")
    else:
        _confirm(f"the past of {len(paths)} documents", str(len(paths)), "number")


def _confirm(asked: str, wanted: str, word: str) -> None:
    typed = click.prompt(f"This erases {asked}. Type the {word} to go on", err=True)
    if typed != wanted:
        raise click.ClickException(f"that is not the {word}; nothing was erased")


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
