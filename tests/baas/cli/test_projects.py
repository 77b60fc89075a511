"""Projects, keys, users and administrators from the command line, without a running server."""

from __future__ import annotations

from pathlib import Path

from tests.baas.cli.conftest import Command

PASSWORD = b"correct horse\n"


def test_projects(baas: Command, data: Path) -> None:
    assert baas("project", "list").out == "no projects\n"
    made = baas(
        *("project", "create", "chat", "--name", "Chat", "--origin", "https://a.example"),
        *("--origin", "http://localhost:5173"),
    )
    assert (made.code, made.out) == (0, "created project chat\n")
    assert baas("project", "create", "chat").err == "error: project `chat` exists\n"
    second = baas("project", "create", "talk", "--json").json
    assert (second["id"], second["name"]) == ("talk", "talk")
    listed = baas("project", "list").out.splitlines()
    assert [line.split()[0] for line in listed] == ["project", "chat", "talk"]
    assert "https://a.example, http://localhost:5173" in listed[1]
    assert [one["id"] for one in baas("project", "list", "--json").json] == ["chat", "talk"]


def test_deleting_asks_for_the_projects_id(baas: Command, data: Path) -> None:
    baas("project", "create", "chat")
    for answer in (b"", b"y\n", b"chaT\n"):
        outcome = baas("project", "delete", "chat", stdin=answer)
        assert outcome.code in (1, 130)
        assert len(baas("project", "list", "--json").json) == 1
    assert baas("project", "delete", "chat", stdin=b"chat\n").out == "deleted project chat\n"
    assert not (data / "projects" / "chat").exists()
    baas("project", "create", "chat")
    assert baas("project", "delete", "chat", "--yes").code == 0
    assert baas("project", "delete", "chat", "--yes").err == "error: there is no project `chat`\n"


def test_keys(baas: Command) -> None:
    baas("project", "create", "chat")
    publishable = baas("key", "create", "-p", "chat", "--name", "web").out.strip()
    assert publishable.startswith("baas_pk_")
    secret = baas("key", "create", "-p", "chat", "--kind", "secret")
    assert secret.out.startswith("baas_sk_")
    assert "not shown again" in secret.err
    listed = baas("key", "list", "-p", "chat")
    assert publishable in listed.out
    assert secret.out.strip() not in listed.out
    by_kind = {one["kind"]: one for one in baas("key", "list", "-p", "chat", "--json").json}
    assert baas("key", "revoke", by_kind["secret"]["id"], "-p", "chat").code == 0
    assert "revoked" in baas("key", "list", "-p", "chat").out
    assert baas("key", "revoke", "../x", "-p", "chat").code == 1
    assert baas("key", "list", "-p", "nowhere").err == "error: there is no project `nowhere`\n"


def test_users(baas: Command) -> None:
    baas("project", "create", "chat")
    assert baas("user", "list", "-p", "chat").out == "no users\n"
    made = baas(
        "user", "create", "Ada@Example.com", "-p", "chat", "--password-stdin", stdin=PASSWORD
    )
    assert made.code == 0
    uid = made.out.split()[-1]
    assert uid in baas("user", "list", "-p", "chat").out
    (user,) = baas("user", "list", "-p", "chat", "--json", "--limit", "5").json
    assert (user["uid"], user["email"]) == (uid, "ada@example.com")
    again = baas(
        "user", "create", "ada@example.com", "-p", "chat", "--password-stdin", stdin=PASSWORD
    )
    assert again.err == "error: an account with this e-mail address exists\n"
    weak = baas("user", "create", "b@example.com", "-p", "chat", "--password-stdin", stdin=b"x\n")
    assert "at least 8 characters" in weak.err
    asked = baas("user", "create", "b@example.com", "-p", "chat")
    assert "--password-stdin" in asked.err


def test_a_user_is_changed_and_removed(baas: Command) -> None:
    baas("project", "create", "chat")
    at = ("-p", "chat")
    made = baas("user", "create", "ada@example.com", *at, "--password-stdin", stdin=PASSWORD)
    uid = made.out.split()[-1]
    assert baas("user", "get", uid, *at).json["email"] == "ada@example.com"
    changed = baas("user", "update", "ada@example.com", "--disable", "--verified", *at)
    assert changed.out == f"updated user {uid}\n"
    told = baas(
        *("user", "update", uid, "--enable", "--claims", '{"role":"editor"}', "--json", *at),
        *("--password-stdin",),
        stdin=b"another-password-1\n",
    ).json
    assert (told["disabled"], told["email_verified"], told["claims"]) == (
        (False, True, {"role": "editor"})
    )
    for wrong in ((), ("--claims", "{"), ("--claims", "[]")):
        assert baas("user", "update", uid, *wrong, *at).code == 2
    assert "no user with the address" in baas("user", "get", "eve@example.com", *at).err
    assert baas("user", "rm", uid, *at, stdin=b"n\n").code == 130
    assert baas("user", "rm", "ada@example.com", "--yes", *at).out == f"removed user {uid}\n"
    assert baas("user", "get", uid, *at).code == 1


def test_a_stored_name_writes_nothing_but_itself_to_the_terminal(baas: Command) -> None:
    baas("project", "create", "chat", "--name", "[red]x[/red] [link=http://a]y[/link]")
    assert "[red]x[/red] [link=http://a]y[/link]" in baas("project", "list").out


def test_administrators(baas: Command) -> None:
    made = baas("admin", "create", "ada@example.com", "--password-stdin", stdin=PASSWORD)
    assert (made.code, made.out) == (0, "created administrator ada@example.com\n")
    again = baas("admin", "create", "ada@example.com", "--password-stdin", stdin=PASSWORD)
    assert again.code == 1
    shown = baas("admin", "create", "b@example.com", "--password-stdin", "--json", stdin=PASSWORD)
    assert shown.json["email"] == "b@example.com"


def test_moves_are_refused_where_there_is_nowhere_to_go(baas: Command) -> None:
    baas("project", "create", "chat")
    assert baas("project", "move-status").out == "no moves\n"
    there = baas("project", "move", "chat", "--to", "sqlite")
    assert there.err == "error: project `chat` is at the engine `sqlite` already\n"
    missing = baas("project", "move", "chat", "--to", "mongodb", "--wait")
    assert (missing.code, "set `mongodb_uri`" in missing.err) == (1, True)
    assert baas("project", "move", "nowhere", "--to", "mongodb").code == 1
    assert baas("project", "move-status", "none").err == "error: there is no move `none`\n"
    assert baas("project", "move-cancel", "none").code == 1
