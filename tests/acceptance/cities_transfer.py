"""`make cities`: about 235,000 cities imported, exported and compared, then backed up and restored,
through the command line and a real server."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import orjson

from baas.encoding import json_values
from baas.encoding.documents import encode_fields
from baas.testing import running_server
from demo.cities import cities

POPULATION_MIN = 500


def baas(data: Path, *arguments: str) -> str:
    """What a command prints; how long it took goes to stdout."""
    started = time.monotonic()
    command = [sys.executable, "-m", "baas", *arguments, "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seconds = time.monotonic() - started
    click.echo(f"{seconds:7.1f} s  baas {' '.join(arguments[:2])}: {done.stdout.strip()[:100]}")
    return done.stdout


def contents(file: Path) -> dict[str, bytes]:
    """The checksum of each document's fields as the server keeps them, by path."""
    found = {}
    with file.open("rb") as lines:
        for line in lines:
            tree: dict[str, Any] = orjson.loads(line)
            if "end" not in tree:
                fields = encode_fields(json_values.decode_fields_tree(tree["fields"]))
                found[tree["path"]] = hashlib.sha256(fields).digest()[:16]
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data, source, target = (Path(folder) / name for name in ("data", "in.jsonl", "out.jsonl"))
        copied = Path(folder) / "copied.jsonl"
        with source.open("wb") as out:
            for identifier, fields in cities("demo", min_city_population=POPULATION_MIN):
                place = fields["location"]
                geo = {"$geo": [place.latitude, place.longitude]}
                tree = {"path": f"cities/{identifier}", "fields": {**fields, "location": geo}}
                out.write(orjson.dumps(tree) + b"\n")
        with running_server(data, "--no-access-log"):
            baas(data, "project", "create", "world")
            baas(data, "import", str(source), "-p", "world")
            baas(data, "export", str(target), "-p", "world")
            expected = contents(source)
            assert contents(target) == expected, "what came out is not what went in"
            baas(data, "backup")
            baas(data, "restore", "latest", "-p", "world", "--as", "copy")
            baas(data, "export", str(copied), "-p", "copy")
            assert contents(copied) == expected, "what was restored is not what was there"
        click.echo(f"{len(expected)} cities are the same, in and out and restored")


if __name__ == "__main__":
    main()
