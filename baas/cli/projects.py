"""`baas project` and `baas key`."""

from __future__ import annotations

import click

from baas.cli.asking import confirm_by_typing
from baas.cli.client import Client, path_of, run
from baas.cli.moves import cancel_move, move_project, show_moves
from baas.cli.options import Target, json_option, project_option, with_target
from baas.cli.output import note, print_json, print_table
from baas.cli.verbs import Verbs


@click.group("project", cls=Verbs)
def project_group() -> None:
    """Create, list and delete projects."""


@project_group.command("create")
@click.argument("project")
@click.option("--name", help="A name for people.")
@click.option(
    "--origin", "origins", multiple=True, help="A web origin that may call; may be repeated."
)
@click.option(
    "--engine",
    type=click.Choice(["sqlite", "mongodb"]),
    help="Where its documents are kept, if not at the server's own engine.",
)
@json_option
@with_target
def create_project(
    project: str,
    name: str | None,
    origins: tuple[str, ...],
    engine: str | None,
    as_json: bool,
    target: Target,
) -> None:
    """Create PROJECT: empty, and with rules that deny everything."""
    body = {"id": project, "name": name or project, "origins": list(origins), "engine": engine}
    made = run(target, lambda client: client.call("POST", "/projects", json=body))
    if as_json:
        print_json(made)
    else:
        click.echo(f"created project {made['id']}")


@project_group.command("list")
@json_option
@with_target
def list_projects(as_json: bool, target: Target) -> None:
    """List all projects."""
    found = run(target, lambda client: client.call("GET", "/projects"))["projects"]
    if as_json:
        print_json(found)
        return
    rows = [[one["id"], one["name"], one["origins"], one["engine"]] for one in found]
    print_table(("project", "name", "origins", "engine"), rows, empty="no projects")


@project_group.command("delete")
@click.argument("project")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_target
def delete_project(project: str, yes: bool, target: Target) -> None:
    """Delete PROJECT with all databases, users, keys and rules. There is no way back."""
    if not yes:
        confirm_by_typing(
            f"This deletes everything in {project}", project, "project's id", nothing="deleted"
        )
    run(target, lambda client: client.call("DELETE", path_of("projects", project)))
    click.echo(f"deleted project {project}")


for command in (move_project, show_moves, cancel_move):
    project_group.add_command(command)


@click.group("key", cls=Verbs)
def key_group() -> None:
    """Create, list and revoke API keys of a project."""


@key_group.command("create")
@project_option
@click.option(
    "--kind",
    type=click.Choice(["publishable", "secret"]),
    default="publishable",
    show_default=True,
    help="For an app, or for a server of your own.",
)
@click.option("--name", default="", help="What it is for.")
@json_option
@with_target
def create_key(project: str, kind: str, name: str, as_json: bool, target: Target) -> None:
    """Create an API key. A secret one answers to no rules and is shown only once."""
    body = {"kind": kind, "name": name}
    path = path_of("projects", project, "keys")
    made = run(target, lambda client: client.call("POST", path, json=body))
    if as_json:
        print_json(made)
        return
    click.echo(made["key"])
    if kind == "secret":
        note("Keep it safe: it is not shown again.")


@key_group.command("list")
@project_option
@json_option
@with_target
def list_keys(project: str, as_json: bool, target: Target) -> None:
    """List the project's API keys, revoked ones too."""

    async def work(client: Client) -> list[dict[str, object]]:
        found: list[dict[str, object]] = (
            await client.call("GET", path_of("projects", project, "keys"))
        )["keys"]
        return found

    found = run(target, work)
    if as_json:
        print_json(found)
        return
    rows = [
        [one["id"], one["kind"], one["name"], one.get("key") or f"{one['prefix']}…",
         "revoked" if one.get("revoked") else ""]
        for one in found
    ]  # fmt: skip
    print_table(("id", "kind", "name", "key", ""), rows, empty="no keys")


@key_group.command("revoke")
@click.argument("key_id", metavar="ID")
@project_option
@with_target
def revoke_key(key_id: str, project: str, target: Target) -> None:
    """Revoke the API key with this ID, at once."""
    path = path_of("projects", project, "keys", key_id)
    run(target, lambda client: client.call("DELETE", path))
    click.echo(f"revoked key {key_id}")
