"""Import and export from the command line, without a running server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from baas.cli import transfer
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
    found = [json.loads(line) for line in target.read_bytes().splitlines()]
    assert [one["fields"]["n"] for one in found] == list(range(1_234))
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
    assert len(outcome.out.splitlines()) == 10
    assert outcome.err == "exported 10 documents\n"
    assert baas("export", "-", "-p", "chat", "--collection", "b").out == ""


def test_an_export_replaces_nothing_unless_told(baas: Command, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    file.write_text("mine", encoding="utf-8")
    assert baas("export", str(file), "-p", "chat").code == 1
    assert file.read_text(encoding="utf-8") == "mine"
    assert baas("export", str(file), "-p", "nowhere", "--force").code == 1
    assert file.read_text(encoding="utf-8") == "mine"
    assert baas("export", str(file), "-p", "chat", "--force").code == 0
    assert file.read_bytes() == b""


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
    assert len(exported) == committed

    file.write_bytes(text.replace(b"broken\n", b""))
    outcome = baas("import", str(file), "-p", "chat", "--skip-lines", str(committed))
    assert outcome.out == f"imported {3_000 - committed} documents\n"
    assert len(baas("export", "-", "-p", "chat").out.splitlines()) == 3_000


def test_unknown_places(baas: Command) -> None:
    for command in ("import", "export"):
        outcome = baas(command, "-", "-p", "nowhere", stdin=lines(1))
        assert outcome.err.startswith("error: there is no project `nowhere`")
        outcome = baas(command, "-", "-p", "chat", "--database", "archive", stdin=lines(1))
        assert outcome.err.startswith("error: project `chat` has no database `archive`")
    assert baas("import", "-", "-p", "chat").out == "imported 0 documents\n"
