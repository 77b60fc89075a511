"""`baas schema`."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import click

from baas.cli.client import Client, path_of, run
from baas.cli.failures import CommandFailed
from baas.cli.jobs import wait_over
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

_TOLD = 20
_PAUSE_SECONDS = 0.2
_sources = click.argument(
    "sources",
    metavar="FILE_OR_FOLDER...",
    nargs=-1,
    type=click.Path(path_type=Path, exists=True),
)
_message = click.option("--message", "-m", default="", help="Why; kept in the history.")


@click.group("schema", cls=Verbs)
def schema_group() -> None:
    """Say what documents of a collection look like, as JSON Schemas.

    A file holds one schema (draft 2020-12); its `x-collection` says for which documents it is:
    `users`, `orgs/{org}/members`, or a group, `{path=**}/members`.
    """


@schema_group.command("deploy")
@_sources
@project_option
@_message
@click.option("--allow-existing", is_flag=True, help="Even if stored documents do not fit.")
@click.option("--if-release", help="Only if this release is the one in force.")
@click.option("--dry-run", is_flag=True, help="Check all databases, and deploy nothing.")
@json_option
@with_target
def deploy_schemas(
    sources: tuple[Path, ...],
    project: str,
    message: str,
    allow_existing: bool,
    if_release: str | None,
    dry_run: bool,
    as_json: bool,
    target: Target,
) -> None:
    """Put the schemas in force, in place of all that were.

    Stored documents are checked first, by a job on the server, which goes on if this command is
    broken off (`baas job wait`, `baas job cancel`). What does not fit is listed, and nothing is
    deployed.
    """
    body = {
        "schemas": _read(sources),
        "message": message,
        "allow_existing": allow_existing,
        "dry_run": dry_run,
        **({} if if_release is None else {"if_release": if_release}),
    }
    job = _deploy(target, project, body)
    if dry_run:
        _report_check(job, as_json=as_json)
        return
    made = _get(target, project, job["asked"]["release"])
    if as_json:
        print_json(made)
    else:
        click.echo(f"deployed {_count(made['schemas'])} to {project} as {made['release']}")


@schema_group.command("diff")
@click.argument(
    "sources",
    metavar="[FILE_OR_FOLDER]...",
    nargs=-1,
    type=click.Path(path_type=Path, exists=True),
)
@project_option
@click.option("--from", "old", help="Since this release, not the one in force.")
@click.option("--to", "new", help="Up to this release; without files.")
@json_option
@with_target
def diff_schemas(
    sources: tuple[Path, ...],
    project: str,
    old: str | None,
    new: str | None,
    as_json: bool,
    target: Target,
) -> None:
    """Show what deploying files would change, or what changed between two releases."""
    path = path_of("projects", project, "schemas") + ":diff"
    if sources:
        if new is not None:
            raise CommandFailed("--to names a release; leave it out, or the files")
        body = {"schemas": _read(sources), **({} if old is None else {"from": old})}
        found = run(target, lambda client: client.call("POST", path, json=body))
    elif old is None:
        raise CommandFailed("name files, or --from RELEASE (see `baas schema history`)")
    else:
        parameters = {"from": old, **({} if new is None else {"to": new})}
        found = run(target, lambda client: client.call("GET", path, params=parameters))
    if as_json:
        print_json(found)
    elif found["diff"]:
        click.echo(found["diff"], nl=False)
    else:
        note("no difference")


@schema_group.command("check")
@click.argument(
    "sources",
    metavar="[FILE_OR_FOLDER]...",
    nargs=-1,
    type=click.Path(path_type=Path, exists=True),
)
@project_option
@database_option
@click.option("--resume", metavar="TOKEN", help="Go on where a check was broken off.")
@json_option
@with_target
def check_schemas(
    sources: tuple[Path, ...],
    project: str,
    database: str,
    resume: str | None,
    as_json: bool,
    target: Target,
) -> None:
    """Check stored documents against schemas, or against those in force; nothing is deployed.

    Exit code 1 if documents do not fit.
    """
    body: dict[str, Any] = {"schemas": _read(sources)} if sources else {}
    if resume is not None:
        body["page_token"] = resume
    checked = failed = 0
    found: list[dict[str, Any]] = []
    path = path_of("projects", project, "databases", database, "schemas:check")

    async def work(client: Client) -> None:
        nonlocal checked, failed
        while True:
            page = await client.call("POST", path, json=body)
            checked += page["checked"]
            failed += page["failed"]
            if as_json:
                found.extend(page["found"])
            else:
                for one in page["found"]:
                    click.echo(_describe(one))
            token = page.get("next_page_token")
            if page["waiting"]:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if token is None:
                return
            body["page_token"] = token
            note(f"{checked} documents checked, {failed} do not fit; --resume {token}")

    run(target, work)
    if as_json:
        print_json({"checked": checked, "failed": failed, "found": found})
    else:
        click.echo(f"{checked} documents checked, {failed} do not fit")
    if failed:
        raise click.exceptions.Exit(1)


@schema_group.command("show")
@click.argument("collection", required=False)
@project_option
@click.option("--release", help="Of this release, not the one in force.")
@with_target
def show_schemas(collection: str | None, project: str, release: str | None, target: Target) -> None:
    """Print the schemas in force, or the one of COLLECTION, as JSON."""
    found = _get(target, project, release)["schemas"]
    print_json(found if collection is None else _find(found, collection))


@schema_group.command("pull")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@project_option
@click.option("--release", help="Of this release, not the one in force.")
@with_target
def pull_schemas(folder: Path, project: str, release: str | None, target: Target) -> None:
    """Write the schemas in force into FOLDER, one file each. Files that are there are replaced."""
    found = _get(target, project, release)["schemas"]
    folder.mkdir(parents=True, exist_ok=True)
    for schema in found:
        text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        (folder / _file_name(schema["x-collection"])).write_text(text, encoding="utf-8")
    click.echo(f"wrote {_count(found)} to {folder}")


@schema_group.command("rm")
@click.argument("collection")
@project_option
@_message
@with_target
def remove_schema(collection: str, project: str, message: str, target: Target) -> None:
    """Deploy all schemas but the one of COLLECTION; `--` before it if it looks like an option."""
    release = _get(target, project, None)
    doomed = _find(release["schemas"], collection)
    body: dict[str, Any] = {
        "schemas": [schema for schema in release["schemas"] if schema is not doomed],
        "message": message or f"without {collection}",
        "allow_existing": True,  # what is left was in force before
        "if_release": release["release"],
    }
    _deploy(target, project, body)
    click.echo(f"removed the schema of {collection}; {_count(body['schemas'])} in force")


@schema_group.command("history")
@project_option
@json_option
@with_target
def show_history(project: str, as_json: bool, target: Target) -> None:
    """List releases, newest first."""
    path = path_of("projects", project, "schemas", "releases")
    found = run(target, lambda client: client.call("GET", path))["releases"]
    if as_json:
        print_json(found)
        return
    rows = [
        [one["release"], one["deployed_at"], one["author"], one["message"].partition("\n")[0]]
        for one in found
    ]
    print_table(("release", "deployed", "author", "message"), rows, empty="no releases")


def _read(sources: tuple[Path, ...]) -> list[Any]:
    files: list[Path] = []
    for source in sources:
        files += sorted(source.rglob("*.json")) if source.is_dir() else [source]
    if not files:
        raise CommandFailed("name a file, or a folder with files that end in `.json`")
    return [_parse(file) for file in files]


def _parse(file: Path) -> Any:
    try:
        schema = json.loads(read_text(file))
    except ValueError as error:
        raise CommandFailed(f"`{file}` is no JSON: {error}") from None
    if not isinstance(schema, dict) or not isinstance(schema.get("x-collection"), str):
        raise CommandFailed(f"`{file}` is no JSON object with `x-collection`")
    return schema


def _deploy(target: Target, project: str, body: dict[str, Any]) -> dict[str, Any]:
    """The job when it is over, and all was well."""
    path = path_of("projects", project, "schemas") + ":deploy"

    async def work(client: Client) -> dict[str, Any]:
        return await wait_over(client, project, await client.call("POST", path, json=body))

    job = run(target, work)
    if job["state"] == "cancelled":
        raise CommandFailed(f"the job {job['id']} was cancelled; nothing is deployed")
    if job["state"] == "failed":
        for one in job.get("found", ()):
            note(_describe(one))
        hint = "; see `baas schema check`, --allow-existing" if job.get("found") else ""
        raise CommandFailed(f"{job['error'].partition(': ')[2]}{hint}")
    return job


def _report_check(job: dict[str, Any], *, as_json: bool) -> None:
    """Of all databases. Exit code 1 if documents do not fit."""
    checked, failed = job["progress"]["seen"], job["progress"]["failed"]
    found = job.get("found", [])
    if as_json:
        print_json({"checked": checked, "failed": failed, "found": found})
    else:
        for one in found:
            click.echo(f"{one['database']}: {_describe(one)}")
        more = f", of which the first {len(found)} are listed" if len(found) < failed else ""
        click.echo(f"{checked} documents checked, {failed} do not fit{more}")
    if failed:
        raise click.exceptions.Exit(1)


def _get(target: Target, project: str, release: str | None) -> dict[str, Any]:
    more = () if release is None else ("releases", release)
    path = path_of("projects", project, "schemas", *more)
    return run(target, lambda client: client.call("GET", path))


def _find(schemas: list[dict[str, Any]], collection: str) -> dict[str, Any]:
    for schema in schemas:
        if schema["x-collection"] == collection:
            return schema
    raise CommandFailed(f"there is no schema of `{collection}`")


def _describe(found: dict[str, Any]) -> str:
    lines = [
        f"{found['document']}: {one['field'] + ': ' if one['field'] else ''}{one['message']}"
        for one in found["violations"][:_TOLD]
    ]
    return "\n".join(lines)


def _file_name(collection: str) -> str:
    """Of letters that every file system takes: `orgs/{org}/members` is `orgs.{org}.members`."""
    plain = collection.replace("{path=**}/", "all.").replace("/", ".")
    return re.sub(r"[^\w.{}()-]", "_", plain) + ".json"


def _count(schemas: list[Any]) -> str:
    return f"{len(schemas)} schema" + ("" if len(schemas) == 1 else "s")
