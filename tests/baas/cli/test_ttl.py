"""Expiry from the command line."""

import json
from pathlib import Path

import pytest

from tests.baas.cli.conftest import Command


def test_policies_are_set_listed_and_removed(baas: Command) -> None:
    baas("project", "create", "chat")
    assert baas("ttl", "ls", "-p", "chat").out == "nothing expires\n"
    outcome = baas("ttl", "set", "sessions", "expires", "-p", "chat")
    assert (outcome.code, outcome.out) == (
        0,
        "documents of sessions expire at the time in expires\n",
    )
    (policy,) = baas("ttl", "ls", "-p", "chat", "--json").json
    assert (policy["collection"], policy["field"], policy["deleted"]) == ("sessions", "expires", 0)
    assert "has a policy" in baas("ttl", "set", "sessions", "other", "-p", "chat").err
    path = baas("ttl", "set", "users/ada/sessions", "expires", "-p", "chat")
    assert path.code == 2
    assert "such as `sessions`" in path.err
    assert baas("ttl", "rm", "sessions", "-p", "chat").code == 0
    assert baas("ttl", "rm", "sessions", "-p", "chat").code == 1


def test_policies_come_from_a_file_in_place_of_all_that_were(baas: Command, tmp_path: Path) -> None:
    baas("project", "create", "files")
    file, pulled = tmp_path / "ttl.json", tmp_path / "pulled.json"
    deploy = ("ttl", "deploy", str(file), "-p", "files")
    file.write_text('{"sessions": "expires", "carts": "left.at", "codes": "`valid until`"}')
    told = "sessions: expires\ncarts: left.at\ncodes: `valid until`\n"
    assert baas(*deploy, "--dry-run").out == told
    assert baas("ttl", "ls", "-p", "files", "--json").json == []
    assert baas(*deploy).out == told
    before = {one["collection"]: one for one in baas("ttl", "ls", "-p", "files", "--json").json}
    assert (baas(*deploy).out, baas(*deploy).err) == ("", "no difference\n")
    file.write_text('{"carts": "gone", "codes": "`valid until`"}')
    assert baas(*deploy).out == "sessions: no more\ncarts: gone\n"
    after = {one["collection"]: one for one in baas("ttl", "ls", "-p", "files", "--json").json}
    assert {name: one["field"] for name, one in after.items()} == {
        "carts": "gone",
        "codes": "`valid until`",
    }
    assert after["codes"] == before["codes"]  # it goes on counting
    assert baas("ttl", "pull", str(pulled), "-p", "files").code == 0
    assert json.loads(pulled.read_text()) == json.loads(file.read_text())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "is no JSON object"),
        ('{"a": "x", "a": "y"}', "occurs twice"),
        ('{"a": 1}', "needs the name of a field"),
        ('{"a": "x..y"}', "`a`: "),
        ('{"a/b": "x"}', "`a/b`: "),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_wrong_changes_nothing(
    baas: Command, tmp_path: Path, text: str | None, expected: str
) -> None:
    file = tmp_path / "ttl.json"
    if text is not None:
        file.write_text(text)
    outcome = baas("ttl", "deploy", str(file), "-p", "nobody")
    assert outcome.code == 1
    assert expected in outcome.err
