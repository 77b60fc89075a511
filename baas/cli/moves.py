"""`baas project move`: to the other engine, while the app goes on."""

from __future__ import annotations

from typing import Any

import click
from rich.progress import MofNCompleteColumn

from baas.cli.client import Client, path_of, run
from baas.cli.failures import CommandFailed, going_on_without_us
from baas.cli.options import Target, json_option, with_target
from baas.cli.output import note, print_json, print_table
from baas.cli.progress import wait_while_running


@click.command("move")
@click.argument("project")
@click.option(
    "--to",
    "engine",
    required=True,
    type=click.Choice(["mongodb", "sqlite"]),
    help="The engine that will keep it.",
)
@click.option("--wait", is_flag=True, help="Wait until it is over, with its progress.")
@click.option(
    "--here",
    is_flag=True,
    help="To files of this node; other nodes of a server on MongoDB do not serve it then.",
)
@json_option
@with_target
def move_project(
    project: str, engine: str, wait: bool, here: bool, as_json: bool, target: Target
) -> None:
    """Move PROJECT to another engine while the app reads and writes.

    Writes are held up for a moment at the end, and go on by themselves. Until then the project
    stays where it is, whatever happens; `baas project move-cancel` leaves it there.
    """
    body = {"to": engine, "here": here}
    path = path_of("projects", project) + ":move"

    async def work(client: Client) -> dict[str, Any]:
        move: dict[str, Any] = await client.call("POST", path, json=body)
        if not wait:
            return move
        note(f"move {move['id']}")
        with going_on_without_us("the move goes on when the server does: baas project move-status"):
            return await _wait_over(client, move)

    move = run(target, work)
    if as_json:
        print_json(move)
    if not wait:
        if not as_json:
            click.echo(move["id"])
        return
    if move["state"] != "done":
        raise CommandFailed(f"the project has not moved: {move['error'] or move['state']}")
    if not as_json:
        documents = move["progress"]["documents"]
        pause = move["pause_milliseconds"]
        click.echo(f"moved {project} to {engine}: {documents} documents, writes waited {pause} ms")


async def _wait_over(client: Client, move: dict[str, Any]) -> dict[str, Any]:
    path = path_of("moves", move["id"])

    async def again() -> dict[str, Any]:
        found = await client.call("GET", path)
        return {**found, "kind": found["step"]}

    found = await wait_while_running(
        {**move, "kind": "move"},
        again,
        column=MofNCompleteColumn(),
        total="total_documents",
        completed="documents",
    )
    return {name: value for name, value in found.items() if name != "kind"}


@click.command("move-status")
@click.argument("move", required=False)
@json_option
@with_target
def show_moves(move: str | None, as_json: bool, target: Target) -> None:
    """Show MOVE with its progress, or list moves, newest first."""
    if move is not None:
        print_json(run(target, lambda client: client.call("GET", path_of("moves", move))))
        return
    found = run(target, lambda client: client.call("GET", "/moves"))["moves"]
    if as_json:
        print_json(found)
        return
    rows = [
        [
            *(one[name] for name in ("id", "project", "to", "state", "step")),
            one["progress"]["documents"],
            "" if one["pause_milliseconds"] is None else one["pause_milliseconds"],
            one["created"],
            one["error"] or "",
        ]
        for one in found
    ]
    columns = ("move", "project", "to", "state", "step", "documents", "pause, ms", "begun", "error")
    print_table(columns, rows, empty="no moves")


@click.command("move-cancel")
@click.argument("move")
@with_target
def cancel_move(move: str, target: Target) -> None:
    """Leave the project of MOVE where it is, and delete what was copied of it."""
    run(target, lambda client: client.call("POST", path_of("moves", move) + ":cancel"))
    click.echo(f"cancelled move {move}")
