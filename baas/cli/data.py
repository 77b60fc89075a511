"""`baas data`: what concerns all that a server keeps."""

from __future__ import annotations

import click

from baas.cli.client import run
from baas.cli.options import Target, json_option, with_target
from baas.cli.output import print_json
from baas.cli.verbs import Verbs


@click.group("data", cls=Verbs)
def data_group() -> None:
    """Look after all that a server keeps."""


@data_group.command("new-incarnation")
@json_option
@with_target
def start_incarnations(as_json: bool, target: Target) -> None:
    """Make all listeners begin anew, once after data was copied or restored by other means.

    Copied data knows nothing of what was committed after the copy was made, but clients may: their
    resume tokens would lead them past what differs. Documents stay as they are.
    """
    found = run(target, lambda client: client.call("POST", "/data:new-incarnation"))
    if as_json:
        print_json(found)
    else:
        click.echo(f"{len(found['databases'])} databases have begun a new incarnation")
