"""`baas document`: work on documents, one or many. Rules do not apply to an administrator."""

from __future__ import annotations

from typing import Any

import click
import orjson

from baas.cli.arguments import query_of
from baas.cli.asking import confirm, confirm_by_typing
from baas.cli.client import APPS_API, Client, documents_path, path_of, run
from baas.cli.jobs import run_job
from baas.cli.options import (
    Target,
    database_option,
    group_option,
    json_option,
    no_wait_option,
    project_option,
    where_option,
    with_target,
)
from baas.cli.output import note, print_json, print_table, printable
from baas.cli.verbs import Verbs
from baas.cli.writes import (
    add_command,
    commit_command,
    remove_command,
    set_command,
    update_command,
)
from baas.model.paths import CollectionPath, DocumentPath

_PLANNED = ("created", "updated", "deleted", "erased")
_CHANGES_SHOWN = 100
_CHANGES_ASKED = 10
_PAGE = 1_000
_rewrite_option = click.option(
    "--rewrite",
    is_flag=True,
    help="Write SQLite's file anew, too, which gives its free room back; writes wait meanwhile.",
)


@click.group("document", cls=Verbs)
def document_group() -> None:
    """Work on documents, one or many, as they are and as they were."""


for _command in (add_command, set_command, update_command, remove_command, commit_command):
    document_group.add_command(_command)


@document_group.command("get")
@click.argument("path")
@click.option("--at", metavar="TIME", help="As it was then, such as 2026-01-31T12:00:00Z.")
@click.option("--select", "-s", multiple=True, metavar="FIELD", help="Only these fields.")
@project_option
@database_option
@with_target
def get_command(
    path: str, at: str | None, select: tuple[str, ...], project: str, database: str, target: Target
) -> None:
    """Show the document PATH as JSON."""
    base = documents_path(project, database, DocumentPath.parse(path.strip("/")))
    params = {} if at is None else {"read_time": at}
    if select:
        params["select"] = ",".join(select)
    print_json(run(target, lambda client: client.call("GET", base, api=APPS_API, params=params)))


@document_group.command("history")
@click.argument("path")
@click.option(
    "--limit", "-n", type=click.IntRange(1), default=100, show_default=True, help="At most so many."
)
@project_option
@database_option
@json_option
@with_target
def history_command(
    path: str, limit: int, project: str, database: str, as_json: bool, target: Target
) -> None:
    """List the versions of the document PATH, newest first."""
    base = path_of("projects", project, "databases", database)

    async def work(client: Client) -> list[dict[str, Any]]:
        at = f"{base}/documents:history"
        params = {"path": path}
        return await client.gather(at, "versions", page_size=_PAGE, limit=limit, params=params)

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
@click.option("--yes", is_flag=True, help="Do not tell what would change, and do not ask.")
@project_option
@database_option
@no_wait_option
@json_option
@with_target
def restore_command(
    path: str,
    at: str,
    recursive: bool,
    dry_run: bool,
    yes: bool,
    project: str,
    database: str,
    no_wait: bool,
    as_json: bool,
    target: Target,
) -> None:
    """Give PATH, a document or all documents of a collection, what it held at a time.

    What would change is told first, and whether to go on is asked. Restored documents are new
    versions, in chunks that are not atomic together; what is written while the job runs stays.
    """
    body = {"path": path, "at": at, "recursive": recursive}
    base = path_of("projects", project, "databases", database)
    if dry_run:
        _show_plan(_plan_restore(target, base, body), as_json)
        return
    if not yes:
        _confirm_restore(_plan_restore(target, base, body), path, at)
    run_job(target, project, database, "restore", body, no_wait, as_json)


def _show_plan(plan: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(plan)
        return
    print_table(
        ("change", "document"),
        [[one["kind"], one["path"]] for one in plan["changes"]],
        empty="nothing would change",
    )
    click.echo(f"would be: {_counted(plan)}")


def _confirm_restore(plan: dict[str, Any], path: str, at: str) -> None:
    for one in plan["changes"][:_CHANGES_ASKED]:
        note(printable(f"{one['kind']} {one['path']}"))
    note(f"Would be: {_counted(plan)}; --dry-run tells more.")
    confirm(printable(f"This restores {path} to {at}. Go on?"))


def _counted(plan: dict[str, Any]) -> str:
    return ", ".join(f"{name} {plan[name]}" for name in _PLANNED)


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


@document_group.command("list")
@click.argument("collection")
@click.option("--limit", "-n", type=click.IntRange(1), help="At most so many.")
@click.option(
    "--missing", is_flag=True, help="Also those that are none, but have something below them."
)
@project_option
@database_option
@with_target
def list_command(
    collection: str, limit: int | None, missing: bool, project: str, database: str, target: Target
) -> None:
    """Print the documents of COLLECTION by name, one JSON object a line."""
    path = documents_path(project, database, CollectionPath.parse(collection.strip("/")))
    params = {"show_missing": "true"} if missing else {}

    async def work(client: Client) -> None:
        left = limit
        params["page_size"] = str(_PAGE if left is None else min(left, _PAGE))
        async for page in client.pages("GET", path, api=APPS_API, params=params):
            for document in page["documents"]:
                click.echo(orjson.dumps(document).decode())
            if left is not None:
                left -= len(page["documents"])
                if left <= 0:
                    return
                params["page_size"] = str(min(left, _PAGE))

    run(target, work)


@click.group("collection", cls=Verbs)
def collection_group() -> None:
    """List collections, and work on one as it was."""


@collection_group.command("list")
@click.argument("document", required=False)
@project_option
@database_option
@json_option
@with_target
def list_collections(
    document: str | None, project: str, database: str, as_json: bool, target: Target
) -> None:
    """List the ids of the collections at the root, or of those below DOCUMENT."""
    path = documents_path(project, database) + ":list-collections"
    body: dict[str, Any] = {"page_size": _PAGE} | ({"parent": document} if document else {})

    async def work(client: Client) -> list[str]:
        pages = client.pages("POST", path, api=APPS_API, json=body)
        return [name async for page in pages for name in page["collections"]]

    found = run(target, work)
    if as_json:
        print_json(found)
        return
    print_table(("collection",), [[one] for one in found], empty="no collections")


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
@where_option
@group_option
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
@no_wait_option
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
    query = query_of(collection, filters, group=group)
    if not yes:
        _confirm(f"the past of documents of {collection}", collection, "collection")
    body = {"query": query, "present": present, "deleted": deleted, "rewrite": rewrite}
    run_job(target, project, database, "erase-by-query", body, no_wait, as_json)


def _confirm_erasure(paths: tuple[str, ...]) -> None:
    if len(paths) == 1:
        _confirm(f"the past of {paths[0]}", paths[0], "path")
    else:
        _confirm(f"the past of {len(paths)} documents", str(len(paths)), "number")


def _confirm(asked: str, wanted: str, word: str) -> None:
    confirm_by_typing(f"This erases {asked}", wanted, word, nothing="erased")
