"""`baas serve`: the server, with a flag for every setting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field
from pathlib import Path
from typing import Any

import click

from baas.app import check_settings, lock_folder
from baas.cli.options import configuration_option, settings_of
from baas.serving import serve
from baas.settings import CHOICES, ENVIRONMENT_PREFIX, setting_fields


def _flag(item: Field[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The flag of one setting. Not given means None, so that weaker sources count."""
    name = "--" + item.name.replace("_", "-")
    environment = ENVIRONMENT_PREFIX + item.name.upper()
    text = f"{item.metadata['help']}  [default: {item.default}; {environment}]"
    text = text[:1].upper() + text[1:]
    if isinstance(item.default, bool):
        return click.option(f"{name}/--no-{name[2:]}", item.name, default=None, help=text)
    kind: Any = type(item.default)
    if item.name in CHOICES:
        kind = click.Choice(CHOICES[item.name])
    elif isinstance(item.default, Path):
        kind = click.Path(path_type=Path)
    return click.option(name, item.name, type=kind, default=None, help=text)


def _flags(command: Callable[..., Any]) -> Callable[..., Any]:
    for item in reversed(setting_fields()):
        command = _flag(item)(command)
    return command


@click.command("serve")
@_flags
@configuration_option
def serve_command(configuration: Path | None, **flags: Any) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Prints where the API, its description and the console are, and the link that makes the first
    administrator. Flags go before environment variables, these before baas.toml, that before the
    defaults.
    """
    settings = settings_of(configuration, flags)
    check_settings(settings)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock_folder(settings.data):
        pass  # in use by another server: said here in one line, rather than by its log
    code = serve(settings)
    if code != 0:
        raise click.exceptions.Exit(code)
