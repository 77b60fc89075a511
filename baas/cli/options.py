"""Options that many commands share."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from baas.cli.failures import CommandFailed
from baas.settings import Settings, load_settings

CONFIGURATION_FILE = "baas.toml"
Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Target:
    """Which server a command talks to, as the options say."""

    data: Path | None
    configuration: Path | None
    url: str | None

    def load_settings(self) -> Settings:
        """The settings of a server that this command would start itself."""
        return settings_of(self.configuration, {"data": self.data})


def settings_of(configuration: Path | None, flags: Mapping[str, Any]) -> Settings:
    """Settings from `baas.toml` (of this folder, unless named), environment and flags."""
    return load_settings(file=configuration or Path(CONFIGURATION_FILE), flags=flags)


_data = click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), help="The data folder."
)
configuration_option = click.option(
    "--config",
    "configuration",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help=f"The settings file; {CONFIGURATION_FILE} of this folder if it is there.",
)
_url = click.option(
    "--url",
    envvar="BAAS_URL",
    help="The server's address; a token is taken from BAAS_TOKEN. Without this option the server "
    "that runs on the data folder is asked, or the folder is opened.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
project_option = click.option(
    "--project", "-p", required=True, envvar="BAAS_PROJECT", help="The project's id; BAAS_PROJECT."
)
database_option = click.option(
    "--database", default="(default)", show_default=True, help="The database."
)
where_option = click.option(
    "--where",
    "-w",
    "filters",
    multiple=True,
    metavar="CONDITION",
    help="Such as 'age >= 18', 'country in [\"CH\",\"FR\"]'; several must all hold.",
)
group_option = click.option(
    "--group", is_flag=True, help="All collections of this id, wherever they are."
)
no_wait_option = click.option(
    "--no-wait", is_flag=True, help="Only begin the job; `baas job wait` waits for it."
)


def with_target(command: Command) -> Command:
    """Gives a command `--data`, `--config` and `--url`, as one argument `target`."""

    @_data
    @configuration_option
    @_url
    @functools.wraps(command)
    def wrapped(
        *args: Any, data: Path | None, configuration: Path | None, url: str | None, **kwargs: Any
    ) -> Any:
        return command(*args, target=Target(data, configuration, url), **kwargs)

    return wrapped  # type: ignore[return-value]


def read_text(file: Path) -> str:
    """A file as UTF-8; `-` is stdin. Raises CommandFailed."""
    import baas_rules  # a fifth of a second, which most commands do without

    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return baas_rules.decode_source(data, name=str(file))
    except baas_rules.RulesSyntaxError as error:
        raise CommandFailed(f"`{file}`: {error}") from None
    except OSError as error:
        raise CommandFailed(f"`{file}` cannot be read: {error.strerror}") from None
