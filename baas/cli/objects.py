"""`baas object`: files into a bucket and back."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from baas.cli.asking import confirm
from baas.cli.client import APPS_API, Client, run
from baas.cli.failures import CommandFailed, Refused
from baas.cli.options import Target, json_option, project_option, with_target
from baas.cli.output import note, print_json, print_table
from baas.cli.progress import Bar, appearing
from baas.cli.uploads import Place, Said, get, put
from baas.cli.verbs import Verbs

PAGE_SIZE = 500
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")

_bucket_option = click.option(
    "--bucket", "-b", default="default", show_default=True, help="The bucket."
)


@click.group("object", cls=Verbs)
def object_group() -> None:
    """Put, get, list and remove files in a bucket. Rules do not apply to an administrator."""


# --- put ------------------------------------------------------------------------------------------


@object_group.command("put")
@click.argument("source")
@click.argument("name", required=False)
@project_option
@_bucket_option
@click.option("--recursive", "-r", is_flag=True, help="SOURCE is a folder, with all below it.")
@click.option("--content-type", help="The media type; by default what name and bytes suggest.")
@click.option("--metadata", "pairs", multiple=True, metavar="KEY=VALUE", help="May be repeated.")
@click.option("--no-clobber", is_flag=True, help="Replace no object that is there.")
@json_option
@with_target
def put_command(
    source: str,
    name: str | None,
    project: str,
    bucket: str,
    recursive: bool,
    content_type: str | None,
    pairs: tuple[str, ...],
    no_clobber: bool,
    as_json: bool,
    target: Target,
) -> None:
    """Upload SOURCE, a file or `-` for stdin, as NAME (by default the file's own; behind a NAME
    that ends with `/` too). With -r, a folder, below NAME (by default the folder's own).

    A large file goes in parts. If that is cut off, run the same command again: it goes on.
    """
    place, said = Place(project, bucket), Said(content_type, _metadata(pairs), no_clobber)
    if source == "-":
        if not name or name.endswith("/"):
            raise CommandFailed("what comes from stdin needs a NAME")
        made = [run(target, lambda client: _put_stdin(client, place, str(name), said))]
    else:
        files = list(_files(Path(source), name, recursive=recursive))
        made = run(target, lambda client: _put_files(client, place, files, said))
    if as_json:
        print_json(made)
    elif source != "-" and recursive:
        click.echo(f"put {len(made)} objects into {bucket}")
    else:
        click.echo(f"put {_plain(made[0]['name'])} ({_size(made[0]['size'])})")


async def _put_stdin(client: Client, place: Place, name: str, said: Said) -> dict[str, Any]:
    with Bar("put", None) as bar:
        return await put(client, place, name, sys.stdin.buffer, said, bar)


async def _put_files(
    client: Client, place: Place, files: list[tuple[Path, str]], said: Said
) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    with Bar("put", None) as bar:
        for path, name in files:
            with path.open("rb") as source:
                bar.restart(path.name, path.stat().st_size)
                try:
                    made.append(await put(client, place, name, source, said, bar))
                except CommandFailed as failed:
                    raise _after(failed, path, len(made), len(files)) from failed
    return made


def _after(failed: CommandFailed, path: Path, done: int, count: int) -> CommandFailed:
    text = f"{_plain(str(path))}: {failed}"
    if count > 1:
        text += f" ({done} of {count} files are up)"
    return CommandFailed(text, exit_code=failed.exit_code)


def _files(source: Path, name: str | None, *, recursive: bool) -> Iterator[tuple[Path, str]]:
    """Each file with its object's name. Raises CommandFailed."""
    if not source.exists():
        raise CommandFailed(f"there is no `{source}` here")
    if not recursive:
        if source.is_dir():
            raise CommandFailed(f"`{source}` is a folder; upload all of it with -r")
        if not name or name.endswith("/"):
            name = (name or "") + source.name
        yield source, name
        return
    if not source.is_dir():
        raise CommandFailed(f"`{source}` is no folder; leave -r out")
    prefix = name if name is not None else source.resolve().name
    if prefix and not prefix.endswith("/"):
        prefix += "/"
    for folder, folders, files in os.walk(source):
        folders.sort()
        for file in sorted(files):
            path = Path(folder, file)
            if path.is_file():
                yield path, prefix + path.relative_to(source).as_posix()
            else:
                note(f"left out {_plain(str(path))}: it is no file")


def _metadata(pairs: tuple[str, ...]) -> dict[str, str] | None:
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise CommandFailed(f"`--metadata {pair}` is not of the form KEY=VALUE")
        found[key] = value
    return found or None


# --- get ------------------------------------------------------------------------------------------


@object_group.command("get")
@click.argument("name")
@click.argument("destination", required=False)
@project_option
@_bucket_option
@click.option("--recursive", "-r", is_flag=True, help="NAME is a prefix: all objects below it.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@with_target
def get_command(
    name: str,
    destination: str | None,
    project: str,
    bucket: str,
    recursive: bool,
    force: bool,
    target: Target,
) -> None:
    """Download the object NAME to DESTINATION: a file, a folder, or `-` for stdout (by default this
    folder). With -r, all objects whose names begin with NAME, into the folder DESTINATION.

    A file appears only when all of it has arrived and its checksum is right.
    """
    place = Place(project, bucket)
    if recursive:
        root = Path(destination or ".")
        counts = run(target, lambda client: _get_all(client, place, name, root, force=force))
        click.echo(f"got {counts[0]} objects into {root}")
        if counts[1]:
            raise CommandFailed(f"{counts[1]} objects were left out, as said above")
        return
    if destination == "-":
        run(target, lambda client: _get_to_stdout(client, place, name))
        return
    file = Path(destination or ".")
    if file.is_dir():
        last = name.rpartition("/")[2]
        if _refused_segment(last) is not None:
            raise CommandFailed(f"`{_plain(name)}` names no file; say which one it becomes")
        file /= last
    size = run(target, lambda client: _get_file(client, place, name, file, force=force))
    click.echo(f"got {_plain(str(file))} ({_size(size)})")


async def _get_to_stdout(client: Client, place: Place, name: str) -> None:
    out: BinaryIO = sys.stdout.buffer
    with Bar("get", None) as bar:
        await get(client, place, name, out, bar)
    out.flush()


async def _get_file(client: Client, place: Place, name: str, file: Path, *, force: bool) -> int:
    _check_free(file, force=force)
    with Bar(name.rpartition("/")[2], None) as bar, appearing(file) as out:
        return await get(client, place, name, out, bar)


def _check_free(file: Path, *, force: bool) -> None:
    if file.exists() and not force:
        raise CommandFailed(f"`{file}` exists; replace it with --force")
    if not file.parent.is_dir():
        raise CommandFailed(f"there is no folder `{file.parent}`")


async def _get_all(
    client: Client, place: Place, prefix: str, root: Path, *, force: bool
) -> tuple[int, int]:
    """How many came, and how many were left out."""
    done = left_out = 0
    base = len(prefix[: prefix.rfind("/") + 1])
    with Bar("get", None) as bar:
        async for page in _pages(client, place, prefix, None):
            for one in page["objects"]:
                name = str(one["name"])
                try:
                    file = _file_for(root, name[base:], force=force)
                    bar.restart(file.name, int(one["size"]))
                    with appearing(file) as out:
                        await get(client, place, name, out, bar)
                    done += 1
                except (_LeftOut, Refused, FileExistsError, NotADirectoryError) as error:
                    left_out += 1
                    note(f"left out {_plain(name)}: {_plain(str(error))}")
    return done, left_out


class _LeftOut(Exception):
    """An object that becomes no file; the text says why."""


def _file_for(root: Path, relative: str, *, force: bool) -> Path:
    """Where an object goes, with its folder made: below the target folder, whatever it is called.
    Raises _LeftOut."""
    segments = relative.split("/")
    for segment in segments:
        refused = _refused_segment(segment)
        if refused is not None:
            raise _LeftOut(refused)
    file = root.joinpath(*segments)
    # Nor may a link in the target folder lead out of it: asked before anything is made there.
    if not file.parent.resolve().is_relative_to(root.resolve()):
        raise _LeftOut("a link leads out of the folder")
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_dir():
        raise _LeftOut("there is a folder of that name")
    if file.exists() and not force:
        raise _LeftOut("the file exists; replace it with --force")
    return file


def _refused_segment(segment: str) -> str | None:
    """Why a part of a name can be no file's name. Names come from whoever may upload."""
    if segment in ("", ".", ".."):
        return f"`{segment}` is no file's name"
    if "\0" in segment or "\\" in segment or (os.name == "nt" and ":" in segment):
        return "its name holds what a file's name must not"
    if len(segment.encode("utf-8", "replace")) > 255:
        return "its name is too long for a file"
    return None


# --- ls, rm ---------------------------------------------------------------------------------------


@object_group.command("ls")
@click.argument("prefix", default="")
@project_option
@_bucket_option
@click.option("--recursive", "-r", is_flag=True, help="All objects, not folder by folder.")
@json_option
@with_target
def ls_command(
    prefix: str, project: str, bucket: str, recursive: bool, as_json: bool, target: Target
) -> None:
    """List the objects whose names begin with PREFIX, and the folders beside them."""
    place = Place(project, bucket)
    delimiter = None if recursive else "/"

    async def work(client: Client) -> tuple[list[str], list[dict[str, Any]]]:
        folders: list[str] = []
        objects: list[dict[str, Any]] = []
        async for page in _pages(client, place, prefix, delimiter):
            folders += page["prefixes"]
            objects += page["objects"]
        return folders, objects

    folders, objects = run(target, work)
    if as_json:
        print_json({"objects": objects, "prefixes": folders})
        return
    rows: list[list[object]] = [["", "", "", folder] for folder in folders]
    rows += [
        [_size(one["size"]), one["content_type"], one["update_time"][:19] + "Z", one["name"]]
        for one in objects
    ]
    print_table(("size", "type", "updated", "name"), rows, empty="no objects")


@object_group.command("rm")
@click.argument("name")
@project_option
@_bucket_option
@click.option("--recursive", "-r", is_flag=True, help="NAME is a prefix: all objects below it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_target
def rm_command(
    name: str, project: str, bucket: str, recursive: bool, yes: bool, target: Target
) -> None:
    """Remove the object NAME; with -r, all objects whose names begin with NAME."""
    place = Place(project, bucket)
    if not recursive:
        run(target, lambda client: client.call("DELETE", place.object(name), api=APPS_API))
        click.echo(f"removed {_plain(name)}")
        return
    if not yes:
        what = f"every object of {bucket}" + (f" below {_plain(name)}" if name else "")
        confirm(f"This removes {what}. Go on?")

    async def work(client: Client) -> int:
        count = 0
        async for page in _pages(client, place, name, None):
            for one in page["objects"]:
                try:
                    await client.call("DELETE", place.object(one["name"]), api=APPS_API)
                    count += 1
                except Refused as refused:
                    if refused.reason != "ObjectNotFound":  # somebody else was faster
                        raise
        return count

    click.echo(f"removed {run(target, work)} objects")


def _pages(
    client: Client, place: Place, prefix: str, delimiter: str | None
) -> AsyncIterator[dict[str, Any]]:
    asked = {"prefix": prefix or None, "delimiter": delimiter, "page_size": str(PAGE_SIZE)}
    params = {key: value for key, value in asked.items() if value is not None}
    return client.pages("GET", place.path + "/objects", api=APPS_API, params=params)


def _size(count: int) -> str:
    """1536 as `1.5 KiB`."""
    size, unit = float(count), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{count} B" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def _plain(text: str) -> str:
    # No control character of a stored name may reach the terminal.
    return "".join(letter if letter.isprintable() else "�" for letter in text)
