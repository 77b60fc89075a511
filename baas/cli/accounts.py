"""`baas user` and `baas admin`."""

from __future__ import annotations

import sys
from typing import Any

import click

from baas.cli.client import Client, path_of, run
from baas.cli.failures import CommandFailed
from baas.cli.options import Target, json_option, project_option, with_target
from baas.cli.output import print_json, print_table

PASSWORD_BYTES_READ = 4_096
_PAGE_SIZE = 500

password_option = click.option(
    "--password-stdin", is_flag=True, help="Read the password from stdin instead of asking."
)


def _ask_password(from_stdin: bool) -> str:
    """Never an argument: those are seen by every user of the machine and kept in histories."""
    if from_stdin:
        return sys.stdin.readline(PASSWORD_BYTES_READ).rstrip("\r\n")
    if not sys.stdin.isatty():
        raise CommandFailed("there is no terminal to ask for the password; use --password-stdin")
    answer: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return answer


@click.group("user")
def user_group() -> None:
    """Create and list users of a project."""


@user_group.command("create")
@click.argument("email")
@project_option
@password_option
@json_option
@with_target
def create_user(
    email: str, project: str, password_stdin: bool, as_json: bool, target: Target
) -> None:
    """Create the user with the address EMAIL."""
    body = {"email": email, "password": _ask_password(password_stdin)}
    path = path_of("projects", project, "users")
    made = run(target, lambda client: client.call("POST", path, json=body))
    if as_json:
        print_json(made)
    else:
        click.echo(f"created user {made['uid']}")


@user_group.command("list")
@project_option
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@json_option
@with_target
def list_users(project: str, limit: int | None, as_json: bool, target: Target) -> None:
    """List the project's users by uid."""

    async def work(client: Client) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        token = None
        while limit is None or len(found) < limit:
            size = _PAGE_SIZE if limit is None else min(_PAGE_SIZE, limit - len(found))
            parameters = {"page_size": size} | ({"page_token": token} if token else {})
            page = await client.call(
                "GET", path_of("projects", project, "users"), params=parameters
            )
            found += page["users"]
            token = page.get("next_page_token")
            if not token:
                break
        return found

    found = run(target, work)
    if as_json:
        print_json(found)
        return
    rows = [[one["uid"], one["email"], "disabled" if one["disabled"] else ""] for one in found]
    print_table(("uid", "e-mail", ""), rows, empty="no users")


@click.group("admin")
def admin_group() -> None:
    """Create administrators of the server."""


@admin_group.command("create")
@click.argument("email")
@password_option
@json_option
@with_target
def create_admin(email: str, password_stdin: bool, as_json: bool, target: Target) -> None:
    """Create an administrator who signs in with EMAIL."""
    body = {"email": email, "password": _ask_password(password_stdin)}
    made = run(target, lambda client: client.call("POST", "/admins", json=body))
    if as_json:
        print_json(made)
    else:
        click.echo(f"created administrator {made['email']}")
