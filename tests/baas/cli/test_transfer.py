"""Import and export from the command line, without a running server."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from baas.cli import transfer
from baas.cli.client import Client
from baas.cli.failures import UNREACHABLE, CommandFailed
from tests.baas.cli.conftest import Command


def lines(count: int, start: int = 0) -> bytes:
    return b"".join(
        json.dumps({"path": f"a/{n:06}", "fields": {"n": n}}).encode() + b"\n"
        for n in range(start, start + count)
    )


@pytest.fixture(autouse=True)
def made(baas: Command) -> None:
    baas("project", "create", "chat")


def test_there_and_back(baas: Command, tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(lines(1_234))
    assert baas("import", str(source), "-p", "chat").out == "imported 1234 documents\n"
    outcome = baas("export", str(target), "-p", "chat")
    assert outcome.out == f"exported 1234 documents to {target}\n"
    *found, end = [json.loads(line) for line in target.read_bytes().splitlines()]
    assert [one["fields"]["n"] for one in found] == list(range(1_234))
    assert end["end"]["documents"] == 1_234
    # What was exported can be imported.
    assert baas("import", str(target), "-p", "chat").out == "imported 1234 documents\n"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "in.jsonl",
        "out.jsonl",
    ]


def test_through_pipes(baas: Command) -> None:
    text = lines(10).rstrip(b"\n")  # without a newline at the end
    assert baas("import", "-", "-p", "chat", stdin=text).out == "imported 10 documents\n"
    outcome = baas("export", "-", "-p", "chat", "--collection", "a")
    assert len(outcome.out.splitlines()) == 11
    assert outcome.err == "exported 10 documents\n"
    assert baas("export", "-", "-p", "chat", "--collection", "b").out.startswith('{"end":')


def test_an_export_replaces_nothing_unless_told(baas: Command, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    file.write_text("mine", encoding="utf-8")
    assert baas("export", str(file), "-p", "chat").code == 1
    assert file.read_text(encoding="utf-8") == "mine"
    assert baas("export", str(file), "-p", "nowhere", "--force").code == 1
    assert file.read_text(encoding="utf-8") == "mine"
    assert baas("export", str(file), "-p", "chat", "--force").code == 0
    assert file.read_bytes().startswith(b'{"end":{"documents":0,')


def test_a_bad_line_is_named_by_its_place_in_the_file(
    baas: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(transfer, "BATCH_BYTES", 30_000)  # several requests
    text = lines(2_000) + b"broken\n" + lines(1_000, 2_000)
    file = tmp_path / "in.jsonl"
    file.write_bytes(text)
    outcome = baas("import", str(file), "-p", "chat")
    assert outcome.code == 1
    assert "line 2001: " in outcome.err
    committed = int(outcome.err.rstrip().rstrip(")").rsplit(" ", 1)[1])
    assert 0 < committed <= 2_000
    exported = baas("export", "-", "-p", "chat").out.splitlines()
    assert len(exported) == committed + 1

    file.write_bytes(text.replace(b"broken\n", b""))
    outcome = baas("import", str(file), "-p", "chat", "--skip-lines", str(committed))
    assert outcome.out == f"imported {3_000 - committed} documents\n"
    assert len(baas("export", "-", "-p", "chat").out.splitlines()) == 3_001


def test_unknown_places(baas: Command) -> None:
    for command in ("import", "export"):
        outcome = baas(command, "-", "-p", "nowhere", stdin=lines(1))
        assert outcome.err.startswith("error: there is no project `nowhere`")
        outcome = baas(command, "-", "-p", "chat", "--database", "archive", stdin=lines(1))
        assert outcome.err.startswith("error: project `chat` has no database `archive`")
    assert baas("import", "-", "-p", "chat").out == "imported 0 documents\n"


@pytest.mark.parametrize("cut", [1, 700, 20_000])
def test_an_export_goes_on_as_of_the_same_version(
    baas: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    source, whole, target = (tmp_path / name for name in ("in", "whole", "out"))
    source.write_bytes(lines(1_234))
    baas("import", str(source), "-p", "chat")
    baas("export", str(whole), "-p", "chat")
    real = Client.open
    asked: list[dict[str, str]] = []

    @contextlib.asynccontextmanager
    async def open_and_lose(self: Client, path: str, **request: Any) -> AsyncIterator[Any]:
        asked.append(request["params"])
        async with real(self, path, **request) as answer:
            yield _Cut(answer, cut * len(asked) if len(asked) < 4 else None)

    monkeypatch.setattr(Client, "open", open_and_lose)
    monkeypatch.setattr(transfer, "_PAUSE_SECONDS_MAX", 0)
    assert baas("export", str(target), "-p", "chat").code == 0
    assert target.read_bytes() == whole.read_bytes()
    assert len(asked) == 4
    assert {one.get("version") for one in asked[1:]} == {asked[1]["version"]}


def _cut_off(baas: Command, file: Path, *, size: int) -> None:
    """An export that ends as if the command had been killed after so many bytes."""
    real = Client.open

    @contextlib.asynccontextmanager
    async def open_and_lose(self: Client, path: str, **request: Any) -> AsyncIterator[Any]:
        async with real(self, path, **request) as answer:
            yield _Cut(answer, size)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Client, "open", open_and_lose)
        patched.setattr(transfer, "TRIES", 1)
        assert baas("export", str(file), "-p", "chat").code == UNREACHABLE
    assert not file.exists()


def _numbers(file: Path) -> list[int]:
    *found, end = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert end["end"]["documents"] == len(found)
    whole = b"".join(file.read_bytes().splitlines(keepends=True)[:-1])
    assert end["end"]["sha256"] == hashlib.sha256(whole).hexdigest()
    return [one["fields"]["n"] for one in found]


@pytest.mark.parametrize("damage", ["", "half a line", "the end"])
def test_an_export_that_was_killed_goes_on(baas: Command, tmp_path: Path, damage: str) -> None:
    """As of the same instant, in spite of what was changed since."""
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(lines(1_234))
    baas("import", str(source), "-p", "chat")
    _cut_off(baas, target, size=20_000)
    partial, notes = tmp_path / ".out.part", tmp_path / ".out.exported"
    assert notes.exists()
    behind = partial.read_bytes().count(b"\n")
    with partial.open("ab") as file:
        file.write({"": b"", "half a line": b'{"path":"a/00', "the end": b'{"end":{}}\n'}[damage])
    baas("import", "-", "-p", "chat", stdin=lines(40, 1_200))
    outcome = baas("export", str(target), "-p", "chat")
    assert f"going on behind {behind} documents" in outcome.err
    assert behind > 100
    assert _numbers(target) == list(range(1_234))
    assert not partial.exists()
    assert not notes.exists()


@pytest.mark.parametrize("how", ["asked", "for another", "too old", "history is gone"])
def test_an_export_that_cannot_go_on_begins_anew(
    baas: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(lines(1_234))
    baas("import", str(source), "-p", "chat")
    _cut_off(baas, target, size=20_000)
    baas("import", "-", "-p", "chat", stdin=lines(40, 1_200))
    options: list[str] = []
    if how == "asked":
        options = ["--anew"]
    elif how == "for another":
        options = ["--collection", "a"]
    elif how == "too old":
        os.utime(tmp_path / ".out.part", (0, 0))
    else:
        monkeypatch.setattr("baas.database.scan.SCAN_CHANGES_MAX", 5)
    outcome = baas("export", str(target), "-p", "chat", *options)
    assert outcome.code == 0
    assert ("beginning anew" in outcome.err) == (how == "history is gone")
    assert _numbers(target) == list(range(1_240))


def test_two_exports_to_one_file_are_refused(baas: Command, tmp_path: Path) -> None:
    with (tmp_path / ".out.part").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        outcome = baas("export", str(tmp_path / "out"), "-p", "chat")
    assert outcome.code == 1
    assert "another export" in outcome.err


class _Cut:
    """An answer whose connection is lost after so many bytes."""

    def __init__(self, answer: Any, size: int | None) -> None:
        self.headers = answer.headers
        self._answer = answer
        self._size = size

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        passed = 0
        async for chunk in self._answer.aiter_bytes():
            for at in range(0, len(chunk), 500):
                some = chunk[at : at + 500]
                if self._size is not None and passed + len(some) > self._size:
                    yield some[: self._size - passed]
                    raise CommandFailed("the connection was lost", exit_code=UNREACHABLE)
                passed += len(some)
                yield some


@pytest.mark.parametrize("damage", ["cut", "lost", "changed", "added"])
def test_a_torn_file_is_refused_before_anything_is_imported(
    baas: Command, tmp_path: Path, damage: str
) -> None:
    source, file = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(lines(20))
    baas("import", str(source), "-p", "chat")
    baas("export", str(file), "-p", "chat")
    found = file.read_bytes().splitlines(keepends=True)
    torn = {
        "cut": [*found[:10], found[10][:15]],
        "lost": found[:5] + found[6:],
        "changed": [found[0].replace(b"0", b"1", 1), *found[1:]],
        "added": [*found, found[0]],
    }[damage]
    file.write_bytes(b"".join(torn))
    baas("project", "create", "other")
    outcome = baas("import", str(file), "-p", "other")
    assert outcome.code == 1
    assert f"line {len(torn)}" in outcome.err
    assert baas("export", "-", "-p", "other").out.startswith('{"end":{"documents":0,')


def test_an_import_that_was_cut_off_goes_on_by_itself(
    baas: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "BATCH_BYTES", 1_000)
    monkeypatch.setattr(transfer, "TRIES", 1)
    source = tmp_path / "in.jsonl"
    source.write_bytes(lines(500))
    real = Client.call
    sent: list[bytes] = []

    async def call_and_lose(self: Client, method: str, path: str, **request: Any) -> Any:
        if len(sent) == 5:
            raise CommandFailed("the connection was lost", exit_code=UNREACHABLE)
        sent.append(request["content"])
        return await real(self, method, path, **request)

    with monkeypatch.context() as patch:
        patch.setattr(Client, "call", call_and_lose)
        assert baas("import", str(source), "-p", "chat").code == UNREACHABLE
    count = sum(one.count(b"\n") for one in sent)
    outcome = baas("import", str(source), "-p", "chat")
    assert f"going on behind {count} lines" in outcome.err
    assert outcome.out == f"imported {500 - count} documents\n"
    assert len(baas("export", "-", "-p", "chat").out.splitlines()) == 501
    assert baas("import", str(source), "-p", "chat").out == "imported 500 documents\n"
