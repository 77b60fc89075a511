"""`baas bucket`."""

from __future__ import annotations

import click

from baas.cli.asking import confirm_by_typing
from baas.cli.client import path_of, run
from baas.cli.options import Target, json_option, project_option, with_target
from baas.cli.output import print_json, print_table
from baas.cli.verbs import Verbs


@click.group("bucket", cls=Verbs)
def bucket_group() -> None:
    """Create, list and delete buckets of a project."""


@bucket_group.command("create")
@click.argument("bucket", default="default")
@project_option
@json_option
@with_target
def create_bucket(bucket: str, project: str, as_json: bool, target: Target) -> None:
    """Create BUCKET (`default` by default). Who may use it is for the project's rules to say."""
    path = path_of("projects", project, "buckets")
    made = run(target, lambda client: client.call("POST", path, json={"id": bucket}))
    if as_json:
        print_json(made)
    else:
        click.echo(f"created bucket {made['id']}")


@bucket_group.command("list")
@project_option
@json_option
@with_target
def list_buckets(project: str, as_json: bool, target: Target) -> None:
    """List a project's buckets."""
    path = path_of("projects", project, "buckets")
    found = run(target, lambda client: client.call("GET", path))["buckets"]
    if as_json:
        print_json(found)
        return
    rows = [[one["id"], one.get("created")] for one in found]
    print_table(("bucket", "created"), rows, empty="no buckets")


@bucket_group.command("delete")
@click.argument("bucket")
@project_option
@click.option("--recursive", "-r", is_flag=True, help="With all objects in it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_target
def delete_bucket(bucket: str, project: str, recursive: bool, yes: bool, target: Target) -> None:
    """Delete BUCKET, which must be empty, unless --recursive deletes all that is in it."""
    if recursive and not yes:
        confirm_by_typing(
            f"This deletes every object in {bucket}", bucket, "bucket's id", nothing="deleted"
        )
    parameters = {"recursive": "true"} if recursive else {}
    path = path_of("projects", project, "buckets", bucket)
    run(target, lambda client: client.call("DELETE", path, params=parameters))
    click.echo(f"deleted bucket {bucket}")
