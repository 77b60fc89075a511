"""Deletions and updates of many documents from the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.baas.cli.conftest import Command


@pytest.fixture(autouse=True)
def made(baas: Command) -> None:
    baas("project", "create", "chat")
    documents = [("users/ada", {"age": 36}), ("users/eve", {"age": 17}), ("users/ada/notes/1", {})]
    lines = [json.dumps({"path": path, "fields": fields}) for path, fields in documents]
    baas("import", "-", "-p", "chat", stdin="\n".join(lines).encode())


def export(baas: Command) -> dict[str, Any]:
    found = map(json.loads, baas("export", "-", "-p", "chat").out.splitlines())
    return {one["path"]: one["fields"] for one in found if "path" in one}


def test_update_where(baas: Command) -> None:
    outcome = baas(
        *("document", "update", "users", "--where", "age >= 18", "-p", "chat"),
        *("--set", "adult=true", "--set", "address.city=Bern", "--unset", "age"),
    )
    assert (outcome.code, outcome.out) == (0, "updated 1 documents\n")
    assert export(baas) == {
        "users/ada": {"adult": True, "address": {"city": "Bern"}},
        "users/ada/notes/1": {},
        "users/eve": {"age": 17},
    }


def test_update_of_a_group_as_json(baas: Command) -> None:
    outcome = baas(
        "document", "update", "notes", "--group", "--set", "read=true", "-p", "chat", "--json"
    )
    job = outcome.json
    assert (job["state"], job["progress"]["written"]) == ("done", 1)
    assert job["author"] == "operator"
    assert export(baas)["users/ada/notes/1"] == {"read": True}


def test_remove(baas: Command) -> None:
    refused = baas("document", "rm", "users", "-p", "chat")
    assert (refused.code, "-r" in refused.err) == (1, True)
    assert baas("document", "rm", "users/eve", "-p", "chat").out == "removed users/eve\n"
    again = baas("document", "rm", "users/eve", "-p", "chat")
    assert (again.code, again.err) == (1, "error: no document to delete: users/eve\n")
    alone = baas("document", "rm", "users", "-r", "-p", "chat")
    assert (alone.code, "there is no terminal to ask at" in alone.err) == (1, True)
    unsure = baas("document", "rm", "users", "-r", "-p", "chat", stdin=b"user\n")
    assert (unsure.code, set(export(baas))) == (1, {"users/ada", "users/ada/notes/1"})
    sure = baas("document", "rm", "users", "-r", "-p", "chat", stdin=b"users\n")
    assert sure.out == "deleted 2 documents\n"
    assert export(baas) == {}


def test_jobs_are_listed_and_waited_for(baas: Command) -> None:
    assert baas("job", "list", "-p", "chat").out == "no jobs\n"
    begun = baas("document", "rm", "users/ada", "-r", "--yes", "--no-wait", "-p", "chat")
    job = begun.out.strip()
    assert baas("job", "wait", job, "-p", "chat").out == "deleted 2 documents\n"
    assert baas("job", "get", job, "-p", "chat").json["state"] == "done"
    listed = baas("job", "list", "-p", "chat", "--json").json
    assert [(one["id"], one["kind"]) for one in listed] == [(job, "delete-recursive")]
    assert job in baas("job", "list", "-p", "chat").out
    assert "the job is over" in baas("job", "cancel", job, "-p", "chat").err
    assert "there is no job" in baas("job", "get", "x", "-p", "chat").err


@pytest.mark.parametrize("text", ["age", "age 18", ">= 18", "", "age ~ 3", "n <> 3", "n => 3"])
def test_conditions_that_are_none(baas: Command, text: str) -> None:
    outcome = baas("document", "update", "users", "--where", text, "--set", "a=1", "-p", "chat")
    assert (outcome.code, "no condition" in outcome.err) == (2, True)


def test_an_update_of_nothing_is_refused(baas: Command) -> None:
    assert baas("document", "update", "users", "-p", "chat").code == 2
    assert baas("document", "update", "users", "--set", "a", "-p", "chat").code == 2


def test_documents_of_a_query_are_erased(baas: Command) -> None:
    baas("project", "create", "chat")
    base = ("-p", "chat")
    baas("document", "update", "users", "--set", "age=18", *base)
    asked = ("document", "erase-by-query", "users", "--where", "age == 18", *base)
    refused = baas(*asked, stdin=b"user\n")
    assert refused.code == 1
    assert "that is not the collection; nothing was erased" in refused.err
    done = baas(*asked, "--present", stdin=b"users\n")
    assert done.out == "erased 2 documents\n"
    assert (
        baas(*asked, "--yes", "--group", "--deleted", "--rewrite", "--json").json["state"] == "done"
    )


def test_history_restore_and_erase(baas: Command) -> None:
    base = ("-p", "chat")
    first = baas("document", "get", "users/ada", *base).json
    assert first["fields"] == {"age": 36}
    assert baas("document", "update", "users", "--set", "age=1", *base).code == 0
    assert baas("document", "rm", "users/eve", *base).code == 0
    time = first["update_time"]
    assert baas("document", "get", "users/ada", "--at", time, *base).json["fields"] == {"age": 36}
    lines = baas("document", "history", "users/ada", *base).out.splitlines()
    assert [line.split()[1] for line in lines] == ["kind", "updated", "created"]
    versions = baas("document", "history", "users/eve", "--json", *base).json
    assert [one["kind"] for one in versions] == ["deleted", "updated", "created"]
    plan = baas("document", "restore", "users", "--at", time, "--dry-run", *base)
    assert plan.out.splitlines()[-1] == "would be: created 1, updated 1, deleted 0, erased 0"
    assert export(baas)["users/ada"] == {"age": 1}
    restore = ("collection", "restore", "users", "--at", time, *base)
    for answer, code, told in ((b"", 1, "there is no terminal to ask at"), (b"n\n", 130, "")):
        unsure = baas(*restore, stdin=answer)
        assert (unsure.code, unsure.out) == (code, "")
        assert "create users/eve\n" in unsure.err
        assert "created 1, updated 1, deleted 0, erased 0" in unsure.err
        assert told in unsure.err
        assert export(baas)["users/ada"] == {"age": 1}
    assert baas(*restore, stdin=b"y\n").out == "restored 2 documents\n"
    assert export(baas)["users/eve"] == {"age": 17}
    assert export(baas)["users/ada"] == {"age": 36}
    assert baas(*restore, "--yes").out == "restored 0 documents\n"
    assert baas("document", "erase", "users/ada", *base, stdin=b"users\n").code == 1
    erased = baas("document", "erase", "users/ada", "--present", *base, stdin=b"users/ada\n")
    assert erased.out == "erased 3 versions of users/ada\n"
    both = ("document", "erase", "users/ada", "users/nobody", "--rewrite", *base)
    assert baas(*both, stdin=b"users/ada\n").code == 1
    assert baas(*both, stdin=b"2\n").out == (
        "erased 0 versions of users/ada\nerased 0 versions of users/nobody\n"
    )
    assert len(baas(*both, "--yes", "--json").json) == 2
    assert "users/ada" not in export(baas)
    assert baas("document", "get", "users/ada", "--at", time, *base).code == 1
