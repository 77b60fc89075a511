"""`baas import` and `baas export`: documents as JSON lines.

What is exported ends with a line that tells count and checksum of all before it. A connection that
is lost is no end: an export goes on behind its last whole line as of the same version, an import
with the lines that are not in yet; and an import of a file that was cut off goes on by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import click
import orjson

from baas.cli.client import Client, path_of, run
from baas.cli.export_files import ExportFile, Origin, growing
from baas.cli.failures import UNREACHABLE, CommandFailed, Refused
from baas.cli.options import Target, database_option, project_option, with_target
from baas.cli.output import note
from baas.cli.progress import Bar
from baas.encoding.end_lines import END_LINE, is_end_of

BATCH_BYTES = 4 * 1024 * 1024
TRIES = 8  # in succession, without getting any further
_PAUSE_SECONDS_MAX = 10.0
_ERROR_LINE = b'{"error":'
_FINAL = ("TooFarBack", "ResumeTokenExpired")


class CannotGoOn(CommandFailed):
    """What has been exported so far is of an instant that the server cannot show any more."""


class _Export:
    """An export under way: what has been written, whole lines only. `file`: what an earlier try
    has left, which is gone on with."""

    def __init__(self, out: BinaryIO, bar: Bar, file: ExportFile | None = None) -> None:
        self.documents = 0
        self.origin: Origin | None = None
        self._out = out
        self._bar = bar
        self._file = file
        self._digest = hashlib.sha256()
        self._last = b""
        self._is_ended = False
        if file is not None:
            self.documents, self._digest, self._last = file.documents, file.digest, file.last
            self.origin = file.origin

    async def run(self, client: Client, path: str, parameters: dict[str, str]) -> None:
        """Raises CommandFailed once it cannot go on."""
        failures = 0
        while not self._is_ended:
            before = self.documents
            try:
                await self._take(client, path, {**parameters, "end": "true", **self._place()})
            except Refused as refused:
                if self._last:
                    raise CannotGoOn(
                        f"the export broke off and cannot go on as of the same instant: {refused}"
                    ) from refused
                raise
            except CommandFailed as failed:
                failures = failures + 1 if self.documents == before else 1
                if failed.exit_code != UNREACHABLE or failures >= TRIES or self.origin is None:
                    raise
                note(f"{failed}; going on behind {self.documents} documents")
                await asyncio.sleep(min(0.2 * 2**failures, _PAUSE_SECONDS_MAX))

    def _place(self) -> dict[str, str]:
        if self.origin is None:
            return {}
        place = {"version": self.origin.version}
        if self._last:
            place["after"] = str(orjson.loads(self._last)["path"])
        return place

    async def _take(self, client: Client, path: str, parameters: dict[str, str]) -> None:
        rest = b""
        first = self.documents
        digest = hashlib.sha256()
        async with client.open(path, params=parameters) as answer:
            self._note_origin(path, answer.headers)
            async for chunk in answer.aiter_bytes():
                whole, found, rest = (rest + chunk).rpartition(b"\n")
                whole = self._strip_end(whole + found, first, digest)
                digest.update(whole)
                self._write(whole)
                self._bar.advance(len(chunk))
        if rest.startswith(_ERROR_LINE):
            raise _broken_off(rest)
        if not self._is_ended:
            raise CommandFailed("the answer was cut off", exit_code=UNREACHABLE)

    def _note_origin(self, path: str, headers: Mapping[str, str]) -> None:
        what = path if self._file is None else self._file.what
        told = Origin(what, headers.get("x-baas-incarnation", ""), headers["x-baas-version"])
        if self.origin is None:
            self.origin = told
            if self._file is not None:
                self._file.note(told)
        elif told != self.origin:
            raise CannotGoOn("the export cannot go on: the database is another one now")

    def _strip_end(self, whole: bytes, first: int, digest: Any) -> bytes:
        """The lines without one that ends the answer, which is held against what has come."""
        at = whole.rfind(b"\n", 0, -1) + 1
        last = whole[at:]
        if last.startswith(_ERROR_LINE):
            self._write(whole[:at])
            raise _broken_off(last)
        if not last.startswith(END_LINE):
            return whole
        sofar = digest.copy()
        sofar.update(whole[:at])
        count = self.documents - first + whole[:at].count(b"\n")
        if not is_end_of(last, count, sofar.hexdigest()):
            raise CommandFailed("what arrived is not what the server sent")
        self._is_ended = True
        return whole[:at]

    def _write(self, lines: bytes) -> None:
        if lines:
            self._out.write(lines)
            self._digest.update(lines)
            self.documents += lines.count(b"\n")
            self._last = lines[lines.rfind(b"\n", 0, -1) + 1 :]

    def finish(self) -> None:
        """Writes the last line, which is of the whole file."""
        end = {
            "documents": self.documents,
            "sha256": self._digest.hexdigest(),
            "version": 0 if self.origin is None else int(self.origin.version),
        }
        self._out.write(orjson.dumps({"end": end}) + b"\n")


def _broken_off(line: bytes) -> CommandFailed:
    """What the last line of an answer says that began well."""
    error = orjson.loads(line)["error"]
    text = f"the server could not finish the export: {error['message']}"
    if error["reason"] in _FINAL:
        return CannotGoOn(text)
    return CommandFailed(text, exit_code=UNREACHABLE)


@click.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@project_option
@database_option
@click.option("--collection", help="Only this collection, with what is below its documents.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.option("--anew", is_flag=True, help="Whatever an earlier try has left, begin anew.")
@with_target
def export_command(
    file: Path,
    project: str,
    database: str,
    collection: str | None,
    force: bool,
    anew: bool,
    target: Target,
) -> None:
    """Write every document of a database to FILE (`-`: stdout), one JSON object per line.

    All are of one instant, also where the connection is lost meanwhile. The last line tells count
    and checksum. FILE appears only when it is complete; if this command is cut off, the same one
    goes on as of the same instant, within an hour.
    """
    path = path_of("projects", project, "databases", database) + "/documents:export"
    parameters = {"collection": collection} if collection else {}

    async def work(
        client: Client, out: BinaryIO, bar: Bar, growing_file: ExportFile | None = None
    ) -> int:
        export = _Export(out, bar, growing_file)
        await export.run(client, path, parameters)
        export.finish()
        return export.documents

    if str(file) == "-":
        with Bar("export", None) as bar:
            count = run(target, lambda client: work(client, sys.stdout.buffer, bar))
            sys.stdout.buffer.flush()
        note(f"exported {count} documents")
        return
    if file.exists() and not force:
        raise CommandFailed(f"`{file}` exists; replace it with --force")
    what = f"{target.url or ''} {path} {collection or ''}"
    with Bar("export", None) as bar, growing(file, what) as part:
        if anew:
            part.clear()
        try:
            if goes_on := part.origin is not None:
                note(f"going on behind {part.documents} documents of an earlier try")
            count = run(target, lambda client: work(client, part.out, bar, part))
        except CannotGoOn as failed:
            if not goes_on:
                raise
            note(f"{failed}; beginning anew")
            part.clear()
            count = run(target, lambda client: work(client, part.out, bar, part))
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
    help="Go on behind so many lines; 0: from the beginning, whatever is known of an earlier try.",
)
@with_target
def import_command(
    file: Path, project: str, database: str, skip_lines: int | None, target: Target
) -> None:
    """Write every document in FILE (`-`: stdin) to a database; those that are there are replaced.

    A file that was exported is checked first: if a line is missing or was changed, nothing is
    imported. Not atomic: lines are committed in order, at most 500 documents at once. If it is cut
    off, the same command goes on. Rules do not apply.
    """
    path = path_of("projects", project, "databases", database) + "/documents:import"
    if str(file) == "-":
        with Bar("import", None) as bar:
            one = _Import(path, bar, skip_lines or 0, None)
            count = run(target, lambda client: one.run(client, sys.stdin.buffer))
    else:
        size = file.stat().st_size
        with file.open("rb") as source, Bar("check", size) as bar:
            digest = _check_file(file, source, bar)
            done = _Done(file, f"{target.url or ''} {path} {digest}")
            skip = done.read() if skip_lines is None else skip_lines
            if skip and skip_lines is None:
                note(f"going on behind {skip} lines, which are in already")
            bar.restart("import", size)
            one = _Import(path, bar, skip, done)
            count = run(target, lambda client: one.run(client, source))
        done.forget()
    click.echo(f"imported {count} documents")


def _check_file(file: Path, source: BinaryIO, bar: Bar) -> str:
    """The checksum of a file's lines; raises unless it ends as it says, and as JSON lines do."""
    digest = hashlib.sha256()
    count = number = 0
    end, last = None, b""
    for line in source:
        number += 1
        bar.advance(len(line))
        if end is not None and line.strip():
            raise CommandFailed(f"`{file}`, line {number}: comes after the line that ends the file")
        if line.startswith(END_LINE):
            end = line
        elif line.strip():
            last = line
            count += 1
            digest.update(line.strip() + b"\n")
    source.seek(0)
    if end is not None and not is_end_of(end, count, digest.hexdigest()):
        raise CommandFailed(
            f"`{file}`, line {number}: other lines than these {count} were exported; some were "
            "lost, or changed; nothing was imported"
        )
    if end is None and last:
        try:
            orjson.loads(last)
        except ValueError:
            raise CommandFailed(
                f"`{file}`, line {number}: this is no JSON, as where a file was cut off; "
                "nothing was imported"
            ) from None
    return digest.hexdigest()


class _Done:
    """Beside the file: how many of its lines are in, for the next try."""

    def __init__(self, file: Path, what: str) -> None:
        self._file = file.with_name(f".{file.name[:60]}.imported")
        self._what = what

    def read(self) -> int:
        try:
            tree = orjson.loads(self._file.read_bytes())
            return int(tree["lines"]) if tree["what"] == self._what else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def write(self, lines: int) -> None:
        fresh = self._file.with_suffix(".new")
        with contextlib.suppress(OSError):  # a folder that cannot be written to
            fresh.write_bytes(orjson.dumps({"what": self._what, "lines": lines}))
            fresh.replace(self._file)

    def forget(self) -> None:
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)


class _Import:
    """An import under way, batch by batch."""

    def __init__(self, path: str, bar: Bar, skip_lines: int, done: _Done | None) -> None:
        self._path = path
        self._bar = bar
        self._skip = skip_lines
        self._done = done

    async def run(self, client: Client, source: BinaryIO) -> int:
        """How many documents were imported."""
        before = documents = 0
        for lines in _batches(source):
            behind = max(0, min(self._skip - before, len(lines)))
            body = b"".join([one for one in lines[behind:] if not one.startswith(END_LINE)])
            if body:
                documents += await self._send(client, body, before + behind)
            before += len(lines)
            if self._done is not None and before > self._skip:
                self._done.write(before)
            self._bar.advance(sum(map(len, lines)))
        return documents

    async def _send(self, client: Client, body: bytes, before: int) -> int:
        """Sends a batch until it is in: its documents twice do no harm."""
        headers = {"content-type": "application/x-ndjson"}
        failures = 0
        while True:
            try:
                answer = await client.call("POST", self._path, content=body, headers=headers)
                return int(answer["documents"])
            except Refused as refused:
                raise _located(refused, before) from refused
            except CommandFailed as failed:
                failures += 1
                if failed.exit_code != UNREACHABLE or failures >= TRIES:
                    raise CommandFailed(
                        f"{failed}; go on with --skip-lines {before}", exit_code=failed.exit_code
                    ) from failed
                await asyncio.sleep(min(0.2 * 2**failures, _PAUSE_SECONDS_MAX))


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
