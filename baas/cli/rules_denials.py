"""`baas rules denials` and `baas rules explain`: what rules denied, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from baas.cli.client import Client, path_of, run
from baas.cli.failures import CommandFailed
from baas.cli.options import Target, json_option, project_option, with_target
from baas.cli.output import note, print_json, print_table, printable

_PAGE = 100
_METHODS = ("get", "list", "create", "update", "delete")


@click.command("denials")
@project_option
@click.option("--path", help="Only this path, and what is below it.")
@click.option("--uid", help="Only this user.")
@click.option("--method", type=click.Choice(_METHODS), help="Only this method.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many."
)
@json_option
@with_target
def list_denials(
    project: str,
    path: str | None,
    uid: str | None,
    method: str | None,
    limit: int,
    as_json: bool,
    target: Target,
) -> None:
    """List what the rules of a running server have denied, newest first."""
    wanted = {"path": path, "uid": uid, "method": method}
    found = run(target, lambda client: _fetch(client, project, wanted, limit))
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["request_id"],
            one["time"],
            one["uid"] or one["caller"],
            one["method"],
            _place(one),
            one["reasons"][0]["message"] if one["reasons"] else _first_line(one["explanation"]),
        )
        for one in found["denials"]
    ]
    columns = ("request", "time", "caller", "method", "path", "reason")
    print_table(columns, rows, empty="no denial is kept")
    counts = found["counts"]
    note(
        f"since the server's start: {counts['denied']} denied, {counts['unexplained']} of them not "
        f"explained, {counts['dropped']} dropped"
    )


@click.command("explain")
@click.argument("request_id")
@project_option
@json_option
@with_target
def explain_denial(request_id: str, project: str, as_json: bool, target: Target) -> None:
    """Tell why rules denied the request with REQUEST_ID, which the caller was told."""
    wanted = {"request_id": request_id}
    found = run(target, lambda client: _fetch(client, project, wanted, _PAGE))["denials"]
    if not found:
        raise CommandFailed(
            f"no denial of `{request_id}` is kept: it was not denied by rules, it was past the "
            "number that is explained in a second, or it is too old"
        )
    if as_json:
        print_json({"denials": found})
        return
    for one in found:
        who = one["uid"] or one["caller"]
        click.echo(f"{one['time']} {_place(one)}, by {who}, release {one['release'] or 'unknown'}")
        click.echo(printable(one["explanation"]))


async def _fetch(
    client: Client, project: str, wanted: Mapping[str, str | None], limit: int
) -> dict[str, Any]:
    path = path_of("projects", project, "denials")
    parameters = {name: value for name, value in wanted.items() if value is not None}
    found: list[dict[str, Any]] = []
    counts: dict[str, Any] = {}
    parameters["page_size"] = str(min(_PAGE, limit))
    async for page in client.pages("GET", path, params=parameters):
        found += page["denials"]
        counts = page["counts"]
        if len(found) >= limit:
            break
        parameters["page_size"] = str(min(_PAGE, limit - len(found)))
    return {"denials": found, "counts": counts}


def _place(denial: Mapping[str, Any]) -> str:
    return f"{denial['place']}:/{denial['path']}"


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
