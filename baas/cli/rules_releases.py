"""`baas rules history`, `show`, `diff` and `rollback`: the releases of a project's rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from baas.cli.client import path_of, run
from baas.cli.failures import CommandFailed, Refused
from baas.cli.options import Target, json_option, project_option, with_target
from baas.cli.output import note, print_json, print_table

_PAGE = 100
OPEN_NOTE = (
    "anybody may read or write some of it; in production the server starts again only if the "
    "setting `open_rules` names the project"
)
message_option = click.option("--message", "-m", default="", help="Kept with the release.")
allow_open_option = click.option(
    "--allow-open", is_flag=True, help="Deploy even if anybody may read or write some path."
)
if_release_option = click.option(
    "--if-release", metavar="RELEASE", help="Only if this release is the one in force."
)


@click.command("history")
@project_option
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many."
)
@json_option
@with_target
def show_history(project: str, limit: int, as_json: bool, target: Target) -> None:
    """List the releases of a project's rules, newest first."""
    path = path_of("projects", project, "rules", "releases")
    found = run(
        target, lambda client: client.gather(path, "releases", page_size=_PAGE, limit=limit)
    )
    if as_json:
        print_json({"releases": found})
        return
    rows = [
        (
            one["release"],
            one["deployed_at"],
            one["author"],
            "in force" if one["in_force"] else "",
            _first_line(one),
        )
        for one in found
    ]
    columns = ("release", "deployed", "author", "state", "message")
    print_table(columns, rows, empty="no rules have been deployed")


@click.command("show")
@click.argument("release", required=False)
@project_option
@json_option
@with_target
def show_release(release: str | None, project: str, as_json: bool, target: Target) -> None:
    """Print the source of RELEASE; of the rules in force if none is named."""
    path = path_of("projects", project, "rules")
    if release is not None:
        path += path_of("releases", release)
    found = run(target, lambda client: client.call("GET", path))
    if as_json:
        print_json(found)
    else:
        click.echo(found["source"], nl=not found["source"].endswith("\n"))


@click.command("diff")
@click.argument("old")
@click.argument("new", required=False)
@project_option
@json_option
@with_target
def diff_releases(old: str, new: str | None, project: str, as_json: bool, target: Target) -> None:
    """Show what release NEW (the rules in force if not given) has changed since release OLD."""
    path = path_of("projects", project, "rules") + ":diff"
    parameters = {"from": old} | ({} if new is None else {"to": new})
    found = run(target, lambda client: client.call("GET", path, params=parameters))
    if as_json:
        print_json(found)
    elif found["diff"]:
        click.echo(found["diff"], nl=False)
    else:
        note("no difference")


@click.command("rollback")
@click.argument("release")
@project_option
@message_option
@allow_open_option
@if_release_option
@json_option
@with_target
def roll_back(
    release: str,
    project: str,
    message: str,
    allow_open: bool,
    if_release: str | None,
    as_json: bool,
    target: Target,
) -> None:
    """Put the rules of RELEASE in force again, at once. This makes one more release."""
    path = path_of("projects", project, "rules") + ":rollback"
    body = {"release": release, **deployment_body(message, allow_open, if_release)}
    made = deploy(target, "POST", path, body)
    if as_json:
        print_json({name: value for name, value in made.items() if name != "source"})
    else:
        click.echo(f"rolled {project} back to {release}, as release {made['ruleset']}")


def deployment_body(message: str, allow_open: bool, if_release: str | None) -> dict[str, Any]:
    """The members that deployments and rollbacks share."""
    body: dict[str, Any] = {"message": message, "allow_open": allow_open}
    return body if if_release is None else {**body, "if_release": if_release}


def deploy(target: Target, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Calls a route that deploys; open rules are refused with the places, one a line."""
    try:
        return run(target, lambda client: client.call(method, path, json=body))
    except Refused as refused:
        if refused.reason != "OpenRules":
            raise
        for place in listed(refused.details, "open"):
            note("  " + describe_open(place))
        raise CommandFailed(f"{refused}; deploy them with --allow-open if you mean it") from None


def describe_open(place: Mapping[str, Any]) -> str:
    methods = ", ".join(place["methods"])
    until = " (bounded by time only)" if place["time_bound"] else ""
    return f"line {place['line']}: {place['path']}: {methods}{until}"


def listed(details: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list in an error's details; empty if there is none."""
    found = details.get(name)
    return found if isinstance(found, list) else []


def _first_line(release: Mapping[str, Any]) -> str:
    told = str(release["message"]).partition("\n")[0]
    if release["rollback_of"] is None:
        return told
    return f"rollback to {release['rollback_of']}" + (f": {told}" if told else "")
