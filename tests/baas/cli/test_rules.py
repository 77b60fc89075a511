"""Rules from the command line: checked without a server, deployed to one."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from baas.cli.folders import RULES_FILE
from baas.testing import running_server
from tests.baas.cli.conftest import Command

GOOD = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /notes/{note} {
      allow read: if request.auth != null;
    }
  }
}
"""
BROKEN = GOOD.replace("request.auth != null", "request.auth !=")
OPEN = GOOD.replace("if request.auth != null", "if true")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "app.rules"


def test_check_needs_no_server(baas: Command, file: Path, data: Path) -> None:
    file.write_text(GOOD, encoding="utf-8")
    outcome = baas("rules", "check", str(file))
    assert (outcome.code, outcome.out) == (0, "0 errors, 0 warnings\n")
    assert not data.exists()


def test_check_shows_line_and_caret(baas: Command, file: Path) -> None:
    file.write_text(BROKEN, encoding="utf-8")
    outcome = baas("rules", "check", str(file))
    assert outcome.code == 1
    first, source, caret, *_ = outcome.out.splitlines()
    assert first.startswith(f"{file}:5:")
    assert ": error: " in first
    assert "allow read: if request.auth !=" in source
    assert "^" in caret
    assert outcome.out.splitlines()[-1].startswith("1 error")


def test_check_for_programs_and_from_stdin(baas: Command) -> None:
    outcome = baas("rules", "check", "-", "--json", stdin=BROKEN.encode())
    assert outcome.code == 1
    assert outcome.json["diagnostics"][0]["line"] == 5
    assert baas("rules", "check", "-", "--json", stdin=GOOD.encode()).json == {
        "diagnostics": [],
        "open": [],
    }


def test_check_lists_what_is_open_to_everybody(baas: Command) -> None:
    outcome = baas("rules", "check", "-", stdin=OPEN.encode())
    assert outcome.code == 0
    first, place, last = outcome.out.splitlines()
    assert first == "Open to everybody, signed in or not:"
    assert place == "  line 5: /databases/{database}/documents/notes/{note}: get, list"
    assert last == "0 errors, 0 warnings"


def test_check_of_what_is_no_text(baas: Command, file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    told = baas("rules", "check", str(file)).err
    assert told.startswith(
        f"error: `{file}`: error: the text is not valid Unicode (line 1, column 1)"
    )
    assert baas("rules", "check", "missing.rules").code == 2


def test_deploy(baas: Command, file: Path) -> None:
    baas("project", "create", "chat")
    file.write_text(GOOD, encoding="utf-8")
    outcome = baas("rules", "deploy", str(file), "-p", "chat")
    assert outcome.code == 0
    assert outcome.out.startswith("deployed ruleset ")
    shown = baas("rules", "deploy", str(file), "-p", "chat", "--json").json
    assert set(shown) == {"ruleset", "deployed_at", "author", "message", "rollback_of"}


def test_deploying_broken_rules_shows_the_carets(baas: Command, file: Path) -> None:
    baas("project", "create", "chat")
    file.write_text(BROKEN, encoding="utf-8")
    outcome = baas("rules", "deploy", str(file), "-p", "chat")
    assert outcome.code == 1
    assert f"{file}:5:" in outcome.err
    assert "^" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("error: the rules are not valid")


def test_deploying_open_rules_has_to_be_meant(baas: Command, file: Path) -> None:
    baas("project", "create", "chat")
    file.write_text(OPEN, encoding="utf-8")
    outcome = baas("rules", "deploy", str(file), "-p", "chat")
    assert outcome.code == 1
    assert "line 5: " in outcome.err
    assert "get, list" in outcome.err
    assert "--allow-open" in outcome.err.splitlines()[-1]
    assert baas("rules", "deploy", str(file), "-p", "chat", "--allow-open").code == 0


def test_history_diff_and_rollback(baas: Command, file: Path) -> None:
    baas("project", "create", "chat")
    assert baas("rules", "history", "-p", "chat").out == "no rules have been deployed\n"
    assert "if false" in baas("rules", "show", "-p", "chat").out
    file.write_text(GOOD, encoding="utf-8")
    first = baas("rules", "deploy", str(file), "-p", "chat", "-m", "first", "--json").json
    file.write_text(GOOD.replace("allow read", "allow get"), encoding="utf-8")
    deploy = ("rules", "deploy", str(file), "-p", "chat")
    second = baas(*deploy, "--if-release", first["ruleset"], "--json").json
    stale = baas(*deploy, "--if-release", first["ruleset"])
    assert stale.code == 1
    assert f"the release `{second['ruleset']}` is in force" in stale.err

    diff = baas("rules", "diff", first["ruleset"], "-p", "chat").out.splitlines()
    assert diff[:2] == [f"--- {first['ruleset']}", f"+++ {second['ruleset']}"]
    assert diff[2] == "@@ -2,7 +2,7 @@"
    assert "-      allow read: if request.auth != null;" in diff
    assert "+      allow get: if request.auth != null;" in diff
    assert baas("rules", "diff", "default", "default", "-p", "chat").err == "no difference\n"

    outcome = baas("rules", "rollback", first["ruleset"], "-p", "chat", "-m", "too strict")
    assert outcome.out.startswith(f"rolled chat back to {first['ruleset']}, as release ")
    assert baas("rules", "show", "-p", "chat").out == GOOD
    assert baas("rules", "show", second["ruleset"], "-p", "chat").out == file.read_text()
    newest, *older = baas("rules", "history", "-p", "chat", "--json").json["releases"]
    assert [one["release"] for one in older] == [second["ruleset"], first["ruleset"]]
    assert (newest["rollback_of"], newest["message"]) == (first["ruleset"], "too strict")
    assert (newest["author"], newest["in_force"]) == ("operator", True)
    table = baas("rules", "history", "-p", "chat", "--limit", "1").out
    assert f"rollback to {first['ruleset']}: too strict" in table
    assert len(table.splitlines()) == 2
    missing = baas("rules", "rollback", "nothing", "-p", "chat")
    assert missing.code == 1
    assert "there is no release `nothing`" in missing.err


@pytest.mark.slow
def test_denials_of_a_running_server_are_listed_and_explained(baas: Command, data: Path) -> None:
    with running_server(data, "--no-access-log") as server:
        baas("project", "create", "chat")
        url = f"{server.url}/api/v1/projects/chat/documents"
        assert baas("rules", "denials", "-p", "chat").out == "no denial is kept\n"
        answers = [httpx.get(f"{url}/notes/{name}") for name in ("n1", "n2%1B%5B31m")]
        assert [answer.status_code for answer in answers] == [403, 403]
        request_id = answers[0].headers["x-request-id"]
        listed = baas("rules", "denials", "-p", "chat", "--method", "get")
        assert len(listed.out.splitlines()) == 3
        assert "\x1b" not in listed.out
        assert listed.err == (
            "since the server's start: 2 denied, 0 of them not explained, 0 dropped\n"
        )
        (only,) = baas("rules", "denials", "-p", "chat", "--path", "notes/n1", "--json").json[
            "denials"
        ]
        assert only["request_id"] == request_id
        told = baas("rules", "explain", request_id, "-p", "chat").out
        assert "(default):/notes/n1, by anonymous, release default" in told
        assert "get of /notes/n1 is denied" in told
        assert baas("rules", "explain", request_id, "-p", "chat", "--json").json["denials"] == [
            only
        ]
        unknown = baas("rules", "explain", "nothing", "-p", "chat")
        assert unknown.code == 1
        assert "no denial of `nothing` is kept" in unknown.err


def test_audit_fails_on_what_is_exposed_and_not_meant(baas: Command, file: Path) -> None:
    baas("project", "create", "chat")
    file.write_text(GOOD.replace("allow read", "allow get"), encoding="utf-8")
    baas("rules", "deploy", str(file), "-p", "chat")
    nothing = baas("rules", "audit", "-p", "chat")
    assert (nothing.code, nothing.out) == (0, "strangers can do nothing to what is there\n")
    lines = b'{"path": "notes/n1", "fields": {"x": 1}}\n{"path": "kept/k", "fields": {}}\n'
    assert baas("import", "-", "-p", "chat", stdin=lines).code == 0
    exposed = baas("rules", "audit", "-p", "chat")
    assert exposed.code == 1
    _, line = exposed.out.splitlines()
    assert line.split() == [
        *("user", "get", "(default):/notes/{id}", "1", "of", "1", "notes/n1", "EXPOSED")
    ]
    assert exposed.err.endswith("1 exposures that no --allow names\n")
    for allow in ("user:get:notes/{id}", "*:*:*", "user:get,list:no*"):
        meant = baas("rules", "audit", "-p", "chat", "--allow", allow)
        assert (meant.code, "meant" in meant.out) == (0, True)
    for allow in ("anonymous:get:notes/{id}", "user:list:notes/{id}", "user:get:kept/{id}"):
        told = baas("rules", "audit", "-p", "chat", "--allow", allow, "--json")
        assert told.code == 1
        assert (told.json["exposed"], told.json["complete"]) == (1, True)
        assert told.json["findings"][0]["meant"] is False
    for allow in ("user", "user:get", "somebody:get:x", "user:read:x"):
        wrong = baas("rules", "audit", "-p", "chat", "--allow", allow)
        assert wrong.code != 0
        assert "is not CALLER:METHODS:PATH" in wrong.err


def test_rolling_back_to_open_rules_has_to_be_meant(baas: Command, file: Path) -> None:
    baas("project", "create", "chat")
    file.write_text(OPEN, encoding="utf-8")
    told = baas("rules", "deploy", str(file), "-p", "chat", "--allow-open", "--json")
    assert "setting `open_rules`" in told.err
    opened = told.json["ruleset"]
    file.write_text(GOOD, encoding="utf-8")
    baas("rules", "deploy", str(file), "-p", "chat")
    refused = baas("rules", "rollback", opened, "-p", "chat")
    assert refused.code == 1
    assert "line 5: " in refused.err
    assert "--allow-open" in refused.err
    assert baas("rules", "rollback", opened, "-p", "chat", "--allow-open").code == 0


def test_init_lays_out_rules_that_can_be_deployed(baas: Command) -> None:
    assert baas("init", "app").code == 0
    outcome = baas("rules", "check", f"app/{RULES_FILE}")
    assert (outcome.code, outcome.out) == (0, "0 errors, 0 warnings\n")
    baas("project", "create", "chat")
    assert baas("rules", "deploy", f"app/{RULES_FILE}", "-p", "chat").code == 0


def test_init_replaces_nothing(baas: Command) -> None:
    first = baas("init")
    assert first.code == 0
    assert first.out.endswith("Next: baas serve\n")
    assert Path("data/.gitignore").read_text(encoding="utf-8") == "*\n"
    assert Path("data").stat().st_mode & 0o777 == 0o700
    Path("baas.toml").unlink()
    Path(RULES_FILE).write_text("mine", encoding="utf-8")
    again = baas("init")
    assert again.code == 1
    assert not Path("baas.toml").exists()
    assert Path(RULES_FILE).read_text(encoding="utf-8") == "mine"


def test_the_settings_file_of_init_is_one(baas: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    baas("init")
    monkeypatch.delenv("BAAS_DATA")
    assert baas("project", "create", "chat").code == 0
    assert (Path("data") / "projects" / "chat").is_dir()
