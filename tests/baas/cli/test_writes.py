"""Single documents, and batches, from the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.baas.cli.conftest import Command


@pytest.fixture(autouse=True)
def demo(baas: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAAS_PROJECT", "demo")
    baas("project", "create", "demo")


def fields(baas: Command, path: str) -> Any:
    return baas("document", "get", path).json["fields"]


def test_a_document_is_set(baas: Command) -> None:
    done = baas("document", "set", "c/a", '{"n":1,"m":{"x":1}}')
    assert (done.code, done.out) == (0, "set c/a\n")
    assert baas("document", "set", "c/a", "-", "--merge", stdin=b'{"m":{"y":2}}').code == 0
    assert fields(baas, "c/a") == {"n": 1, "m": {"x": 1, "y": 2}}
    there = baas("document", "set", "c/a", "{}", "--new")
    assert (there.code, "c/a" in there.err) == (1, True)
    before = baas("document", "get", "c/a").json["update_time"]
    done = baas("document", "set", "c/a", '{"at":{"$timestamp":"2026-01-01T00:00:00Z"}}', "--json")
    assert done.json["path"] == "c/a"
    late = baas("document", "set", "c/a", "{}", "--if-updated", before)
    assert late.code == 1
    assert fields(baas, "c/a") == {"at": {"$timestamp": "2026-01-01T00:00:00.000000Z"}}
    assert baas("document", "set", "c/b", "{}", "--new").code == 0


def test_a_document_is_added(baas: Command) -> None:
    assert baas("document", "add", "c", '{"n":1}', "--id", "a").out == "added c/a\n"
    made = baas("document", "add", "c", '{"n":2}', "--json").json["path"]
    assert fields(baas, made) == {"n": 2}
    assert baas("document", "add", "c", "{}", "--id", "a").code == 1


def test_a_document_is_updated(baas: Command) -> None:
    baas("document", "set", "c/a", '{"n":1,"old":1,"tags":["x","y"],"m":{"k":1}}')
    done = baas(
        *("document", "update", "c/a", "--set", "m.k=2", "--set", "name=Ada L", "--unset", "old"),
        *("--increment", "n=4", "--union", 'tags=["z"]', "--now", "seen"),
    )
    assert (done.out, done.err) == ("updated c/a\n", "")
    found = fields(baas, "c/a")
    assert list(found.pop("seen")) == ["$timestamp"]
    assert found == {"m": {"k": 2}, "name": "Ada L", "n": 5, "tags": ["x", "y", "z"]}
    done = baas(
        *("document", "update", "c/a", "--at-least", "n=9", "--at-most", "m.k=0"),
        *("--remove", 'tags=["x"]', "--json"),
    )
    assert done.json["transform_results"] == [9, 0, None]
    assert fields(baas, "c/a")["tags"] == ["y", "z"]
    assert baas("document", "update", "c/b", "--set", "n=1").code == 1  # there is none
    assert baas("document", "update", "c", "--increment", "n=1", "-w", "n == 9").code == 0
    assert fields(baas, "c/a")["n"] == 10
    when = baas("document", "get", "c/a").json["update_time"]
    assert baas("document", "update", "c/a", "--set", "n=1", "--if-updated", when).code == 0
    assert baas("document", "update", "c/a", "--set", "n=2", "--if-updated", when).code == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("set", "c/a", "{"), "this is no JSON: "),
        (("set", "c/a", "[]"), "are a JSON object"),
        (("set", "c/a", "{}", "--new", "--if-updated", "x"), "exclude each other"),
        (("update", "c/a"), "nothing to update"),
        (("update", "c/a", "--set", "n"), "`n` sets nothing"),
        (("update", "c/a", "--set", "n=1", "-w", "n == 1"), "is one document"),
        (("update", "c", "--set", "n=1", "--if-updated", "x"), "is for one document"),
    ],
)
def test_wrong_usage_is_told(baas: Command, arguments: tuple[str, ...], told: str) -> None:
    outcome = baas("document", *arguments)
    assert (outcome.code, told in outcome.err) == (2, True)


def test_paths_and_values_that_the_server_refuses(baas: Command) -> None:
    for arguments in (
        ("set", "c", "{}"),
        ("set", "c//a", "{}"),
        ("add", "c/a", "{}"),
        ("set", "c/a", '{"n":{"$nothing":1}}'),
        ("update", "c/a", "--increment", "n=x"),
        ("set", "c/a", "{}", "--if-updated", "yesterday"),
    ):
        outcome = baas("document", *arguments)
        assert (outcome.code, outcome.err[:7], outcome.out) == (1, "error: ", "")


def test_a_collection_is_no_document(baas: Command) -> None:
    for arguments in (("get", "c"), ("set", "c", "{}")):
        assert "`c` names a collection" in baas("document", *arguments).err
    assert "segment is empty" in baas("document", "set", "c//a", "{}").err
    assert "names a document, not a collection" in baas("document", "add", "c/a", "{}").err
    assert "names a document, not a collection" in baas("document", "list", "c/a").err


def test_writes_are_committed_all_or_none(baas: Command) -> None:
    writes: list[Any] = [
        {"set": "c/a", "fields": {"n": 1}},
        {"update": "c/a", "transforms": [{"field": "n", "increment": 1}]},
        {"create": "c/b", "fields": {}},
    ]
    done = baas("document", "commit", "-", stdin=json.dumps(writes).encode())
    assert (done.code, done.out[:22]) == (0, "committed 3 writes at ")
    assert fields(baas, "c/a") == {"n": 2}
    again = baas("document", "commit", "-", stdin=json.dumps(writes).encode())
    assert (again.code, "c/b" in again.err) == (1, True)
    assert fields(baas, "c/a") == {"n": 2}
    assert "no JSON" in baas("document", "commit", "-", stdin=b"[").err
    assert baas("document", "commit", "-", stdin=b"{}").code == 1
    assert baas("document", "commit", "nothing.json").code == 1


def test_documents_and_collections_are_listed(
    baas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("baas.cli.documents._PAGE", 1)  # so that there are several pages
    for path in ("c/a", "c/b/d/x", "c/c", "e/a"):
        baas("document", "set", path, "{}")

    def ids(*arguments: str) -> list[str]:
        lines = baas("document", "list", "c", *arguments).out.splitlines()
        return [json.loads(line)["path"] for line in lines]

    assert ids() == ["c/a", "c/c"]
    assert ids("--missing") == ["c/a", "c/b", "c/c"]
    assert ids("-n", "1") == ["c/a"]
    assert baas("collection", "list", "--json").json == ["c", "e"]
    assert baas("collection", "list", "c/b").out.split() == ["collection", "d"]
    assert baas("collection", "list", "c/a").out == "no collections\n"
