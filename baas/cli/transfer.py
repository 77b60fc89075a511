"""`baas import` and `baas export`: documents as JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from baas.cli.client import Client, path_of, run
from baas.cli.failures import CommandFailed, Refused
from baas.cli.options import Target, database_option, project_option, with_target
from baas.cli.output import note
from baas.cli.progress import Bar, appearing

BATCH_BYTES = 4 * 1024 * 1024
_ERROR_LINE = b'{"error":'


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@project_option
@database_option
@click.option("--collection", help="Only this collection, with what is below its documents.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@with_target
def export_command(
    file: Path, project: str, database: str, collection: str | None, force: bool, target: Target
) -> None:
    """Write every document of a database to FILE (`-`: stdout), one JSON object per line.

    All are of one instant. FILE appears only when it is complete.
    """
    path = path_of("projects", project, "databases", database) + "/documents:export"
    parameters = {"collection": collection} if collection else {}

    async def work(client: Client, out: BinaryIO, bar: Bar) -> int:
        count, tail = 0, b""
        async for chunk in client.stream(path, params=parameters):
            out.write(chunk)
            count += chunk.count(b"\n")
            bar.advance(len(chunk))
            # If the server cannot go on, it says so in the last line of an answer that began well.
            tail = (tail + chunk).rstrip(b"\n")[-4_096:].rsplit(b"\n", 1)[-1]
        if tail.startswith(_ERROR_LINE):
            raise CommandFailed("the server could not finish the export")
        return count

    if str(file) == "-":
        with Bar("export", None) as bar:
            count = run(target, lambda client: work(client, sys.stdout.buffer, bar))
            sys.stdout.buffer.flush()
        note(f"exported {count} documents")
        return
    if file.exists() and not force:
        raise CommandFailed(f"`{file}` exists; replace it with --force")
    with Bar("export", None) as bar, appearing(file) as out:
        count = run(target, lambda client: work(client, out, bar))
    click.echo(f"exported {count} documents to {file}")


@click.command("import")
@click.argument(
    "file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)
)
@project_option
@database_option
@click.option(
    "--skip-lines",
    type=click.IntRange(min=0),
    default=0,
    help="Go on behind so many lines, as an import that was cut off says.",
)
@with_target
def import_command(
    file: Path, project: str, database: str, skip_lines: int, target: Target
) -> None:
    """Write every document in FILE (`-`: stdin) to a database; those that are there are replaced.

    Not atomic: lines are committed in order, at most 500 documents at once. Rules do not apply.
    """
    path = path_of("projects", project, "databases", database) + "/documents:import"

    async def work(client: Client, source: BinaryIO, bar: Bar) -> int:
        done = documents = 0
        for lines in _batches(source):
            behind = max(0, min(skip_lines - done, len(lines)))
            body = b"".join(lines[behind:])
            if body:
                headers = {"content-type": "application/x-ndjson"}
                try:
                    answer = await client.call("POST", path, content=body, headers=headers)
                except Refused as refused:
                    raise _located(refused, done + behind) from refused
                except CommandFailed as failed:
                    raise CommandFailed(
                        f"{failed}; go on with --skip-lines {done + behind}",
                        exit_code=failed.exit_code,
                    ) from failed
                documents += int(answer["documents"])
            done += len(lines)
            bar.advance(sum(map(len, lines)))
        return documents

    if str(file) == "-":
        with Bar("import", None) as bar:
            count = run(target, lambda client: work(client, sys.stdin.buffer, bar))
    else:
        with file.open("rb") as source, Bar("import", file.stat().st_size) as bar:
            count = run(target, lambda client: work(client, source, bar))
    click.echo(f"imported {count} documents")


def _located(refused: Refused, before: int) -> CommandFailed:
    """The server counts the lines of one request; people count those of the file."""
    line, committed = refused.details.get("line"), refused.details.get("committed_lines")
    text = str(refused)
    if isinstance(line, int):
        text = f"line {before + line}:{text.partition(':')[2]}"
    if isinstance(committed, int) and before + committed:
        text += (
            f" ({before + committed} lines are in; go on with --skip-lines {before + committed})"
        )
    return CommandFailed(text)


def _batches(source: BinaryIO) -> Iterator[list[bytes]]:
    """Whole lines, a few MiB at a time."""
    while lines := source.readlines(BATCH_BYTES):
        if not lines[-1].endswith(b"\n"):
            lines[-1] += b"\n"
        yield lines
