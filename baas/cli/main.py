"""The command `baas`. Every command that touches a server is a client of its HTTP API, so nothing
here can do what an administrator could not do from elsewhere."""

from __future__ import annotations

import sys

import click

from baas import __version__
from baas.cli.accounts import admin_group, user_group
from baas.cli.backups import backup_group, restore_command
from baas.cli.buckets import bucket_group
from baas.cli.data import data_group
from baas.cli.documents import collection_group, document_group
from baas.cli.failures import CommandFailed
from baas.cli.folders import init_command
from baas.cli.indexes import index_group
from baas.cli.jobs import job_group
from baas.cli.objects import object_group
from baas.cli.projects import key_group, project_group
from baas.cli.queries import query_command
from baas.cli.retention import retention_group
from baas.cli.rules import rules_group
from baas.cli.schemas import schema_group
from baas.cli.serve import serve_command
from baas.cli.transfer import export_command, import_command
from baas.cli.ttl import ttl_group
from baas.errors import BaasError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="baas")
def cli() -> None:
    """A self-hosted backend: documents with live queries, rules, accounts, files.

    Start with `baas init`, then `baas serve`.
    """


for _command in (
    serve_command,
    init_command,
    project_group,
    key_group,
    rules_group,
    query_command,
    index_group,
    schema_group,
    bucket_group,
    object_group,
    document_group,
    collection_group,
    job_group,
    ttl_group,
    retention_group,
    data_group,
    user_group,
    admin_group,
    import_command,
    export_command,
    backup_group,
    restore_command,
):
    cli.add_command(_command)


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
