"""`baas user` and `baas admin`."""

from __future__ import annotations

import sys
from typing import Any

import click

from baas.cli import arguments
from baas.cli.asking import confirm
from baas.cli.client import Client, path_of, run
from baas.cli.failures import CommandFailed
from baas.cli.options import Target, json_option, project_option, with_target
from baas.cli.output import print_json, print_table
from baas.cli.verbs import Verbs

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


@click.group("user", cls=Verbs)
def user_group() -> None:
    """Create, list, change and remove users of a project."""


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

    path = path_of("projects", project, "users")
    found = run(
        target, lambda client: client.gather(path, "users", page_size=_PAGE_SIZE, limit=limit)
    )
    if as_json:
        print_json(found)
        return
    rows = [[one["uid"], one["email"], "disabled" if one["disabled"] else ""] for one in found]
    print_table(("uid", "e-mail", ""), rows, empty="no users")


@user_group.command("get")
@click.argument("uid", metavar="UID_OR_EMAIL")
@project_option
@with_target
def get_user(uid: str, project: str, target: Target) -> None:
    """Show a user as JSON."""
    print_json(run(target, lambda client: _find(client, project, uid)))


@user_group.command("update")
@click.argument("uid", metavar="UID_OR_EMAIL")
@click.option("--disable/--enable", "disabled", default=None, help="May sign in no more, or again.")
@click.option("--verified/--unverified", default=None, help="What is known of the e-mail address.")
@click.option("--claims", metavar="JSON", help="What rules see in request.auth.token; replaced.")
@password_option
@project_option
@json_option
@with_target
def update_user(
    uid: str,
    disabled: bool | None,
    verified: bool | None,
    claims: str | None,
    password_stdin: bool,
    project: str,
    as_json: bool,
    target: Target,
) -> None:
    """Change a user. Disabling, or a new password, ends the user's sessions at once."""
    given: dict[str, Any] = {
        "disabled": disabled,
        "email_verified": verified,
        "claims": None if claims is None else arguments.json_object(claims, "the claims"),
        "password": _ask_password(True) if password_stdin else None,
    }
    change = {name: member for name, member in given.items() if member is not None}
    if not change:
        raise click.UsageError("there is nothing to change: give an option that says what")

    async def work(client: Client) -> dict[str, Any]:
        found = await _find(client, project, uid)
        path = path_of("projects", project, "users", found["uid"])
        return await client.call("PATCH", path, json=change)

    done = run(target, work)
    if as_json:
        print_json(done)
    else:
        click.echo(f"updated user {done['uid']}")


@user_group.command("rm")
@click.argument("uid", metavar="UID_OR_EMAIL")
@click.option("--yes", is_flag=True, help="Do not ask.")
@project_option
@with_target
def remove_user(uid: str, yes: bool, project: str, target: Target) -> None:
    """Delete a user for ever. Documents and files of theirs stay."""
    if not yes:
        confirm(f"This deletes the user {uid}. Go on?")

    async def work(client: Client) -> str:
        found = await _find(client, project, uid)
        await client.call("DELETE", path_of("projects", project, "users", found["uid"]))
        return str(found["uid"])

    click.echo(f"removed user {run(target, work)}")


async def _find(client: Client, project: str, uid: str) -> dict[str, Any]:
    """By uid, or by e-mail address, which has an `@` where a uid has none."""
    users = path_of("projects", project, "users")
    if "@" not in uid:
        return await client.call("GET", users + path_of(uid))
    found = (await client.call("GET", users, params={"email": uid}))["users"]
    if not found:
        raise CommandFailed(f"there is no user with the address `{uid}`")
    return dict(found[0])


@click.group("admin", cls=Verbs)
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
