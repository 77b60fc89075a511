"""Questions before what cannot be taken back. They go to stderr, so that stdout stays for the
result; whoever pipes an answer in is taken at their word."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from baas.cli.failures import CommandFailed


def confirm(question: str) -> None:
    """Goes on after a yes; else the command ends as if it were interrupted. Raises CommandFailed if
    there is nobody to ask."""
    with _somebody_there():
        is_sure = click.confirm(question, err=True)
    if not is_sure:
        raise click.Abort


def confirm_by_typing(what: str, wanted: str, word: str, *, nothing: str) -> None:
    """Goes on after `wanted` was typed, the `word` for which names it to the user. Raises
    CommandFailed for anything else, which says that `nothing` happened."""
    with _somebody_there():
        typed = click.prompt(f"{what}. Type the {word} to go on", err=True)
    if typed != wanted:
        raise CommandFailed(f"that is not the {word}; nothing was {nothing}")


@contextmanager
def _somebody_there() -> Iterator[None]:
    try:
        yield
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo(err=True)
        raise CommandFailed(
            "there is no terminal to ask at, and nothing was done; --yes goes on without asking"
        ) from None
