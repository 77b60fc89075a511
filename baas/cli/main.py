"""The command `baas`. Every command that touches a server is a client of its HTTP API, so nothing
here can do what an administrator could not do from elsewhere."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from baas import __version__
from baas.cli.failures import CommandFailed
from baas.errors import BaasError

_COMMANDS = {  # by name, where they are: a command line pays for its own alone
    "admin": "accounts:admin_group",
    "backup": "backups:backup_group",
    "bucket": "buckets:bucket_group",
    "collection": "documents:collection_group",
    "data": "data:data_group",
    "document": "documents:document_group",
    "export": "transfer:export_command",
    "import": "transfer:import_command",
    "index": "indexes:index_group",
    "init": "folders:init_command",
    "job": "jobs:job_group",
    "key": "projects:key_group",
    "object": "objects:object_group",
    "project": "projects:project_group",
    "query": "queries:query_command",
    "restore": "backups:restore_command",
    "retention": "retention:retention_group",
    "rules": "rules:rules_group",
    "schema": "schemas:schema_group",
    "serve": "serve:serve_command",
    "ttl": "ttl:ttl_group",
    "user": "accounts:user_group",
}


class _Commands(click.Group):
    """Those of `_COMMANDS`, each loaded when it is asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            for known in _COMMANDS:  # among which the nearest is told
                self.get_command(context, known)
        elif name not in self.commands:
            module, attribute = _COMMANDS[name].split(":")
            self.commands[name] = getattr(import_module(f"baas.cli.{module}"), attribute)
        return self.commands.get(name)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="baas")
def cli() -> None:
    """A self-hosted backend: documents with live queries, rules, accounts, files.

    Start with `baas init`, then `baas serve`.
    """


def main() -> None:
    """Runs the command line and exits: 0 done, 1 refused or failed, 2 wrong usage, 3 the server
    cannot be reached, 130 interrupted. (A reader of our output who leaves early is click's to end
    quietly, with 1.)"""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit code of one command line; what goes wrong is one line on stderr."""
    try:
        code = cli.main(args=arguments, prog_name="baas", standalone_mode=False)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.Abort:
        return _fail("interrupted", 130)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except click.UsageError as error:
        error.show()
        return 2
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except CommandFailed as error:
        return _fail(str(error), error.exit_code)
    except BaasError as error:
        return _fail(error.message, 1)
    except OSError as error:
        return _fail(f"{error.filename or 'system'}: {error.strerror or error}", 1)
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int) -> int:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return code
