"""Exit codes, and errors as one line."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from baas import __version__
from baas.cli.main import cli
from tests.baas.cli.conftest import Command, Outcome


def only_line(outcome: Outcome) -> str:
    """The one line on stderr."""
    (line,) = outcome.err.splitlines()
    assert "Traceback" not in line
    return line


def test_help_names_every_command(baas: Command) -> None:
    outcome = baas("--help")
    assert outcome.code == 0
    for command in (
        *("serve", "init", "project", "key", "rules", "user", "admin", "import", "export"),
    ):
        assert f"\n  {command} " in outcome.out


def test_version(baas: Command) -> None:
    assert baas("--version").out == f"baas, version {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("project", "nonsense"),
        ("project", "create"),
        ("rules", "deploy", "x"),
        ("serve", "--port", "many"),
        ("serve", "--server", "apache"),
        ("import", "missing.jsonl", "--project", "chat"),
        ("user", "list", "--project", "chat", "--limit", "0"),
    ],
)
def test_wrong_usage_is_2(baas: Command, arguments: tuple[str, ...]) -> None:
    outcome = baas(*arguments)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert "Usage: " in outcome.err


def test_a_refusal_is_1_and_one_line(baas: Command) -> None:
    outcome = baas("project", "create", "No Good")
    assert outcome.code == 1
    assert only_line(outcome).startswith("error: project id `No Good` is not allowed")
    assert outcome.out == ""


@pytest.mark.parametrize(
    ("url", "token", "code", "message"),
    [
        ("http://127.0.0.1:{free}", "t", 3, "cannot be reached"),
        ("http://127.0.0.1:{free}", None, 1, "BAAS_TOKEN"),
        ("http://example.com", "t", 1, "in the clear"),
        ("example.com", "t", 1, "no address"),
        ("ftp://example.com", "t", 1, "no address"),
        ("https://", "t", 1, "no address"),
    ],
)
def test_remote_servers(
    baas: Command,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    token: str | None,
    code: int,
    message: str,
) -> None:
    if token is not None:
        monkeypatch.setenv("BAAS_TOKEN", token)
    with socket.socket() as nobody:  # has the port, and takes no connections
        nobody.bind(("127.0.0.1", 0))
        outcome = baas("project", "list", "--url", url.format(free=nobody.getsockname()[1]))
    assert outcome.code == code
    assert message in only_line(outcome)


def test_settings_that_contradict_are_one_line(baas: Command, tmp_path: Path) -> None:
    outcome = baas("serve", "--dev", "--host", "0.0.0.0")
    assert outcome.code == 1
    assert "loopback" in only_line(outcome)
    (tmp_path / "bad.toml").write_text("prot = 1", encoding="utf-8")
    outcome = baas("project", "list", "--config", str(tmp_path / "bad.toml"))
    assert outcome.code == 1
    assert "`prot`, which is no setting" in only_line(outcome)


def test_an_address_that_is_taken_is_one_line(baas: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        outcome = baas("serve", "--port", str(taken.getsockname()[1]))
    assert outcome.code == 1
    assert "cannot listen" in only_line(outcome)


def test_a_data_folder_that_cannot_be_made_is_one_line(baas: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    outcome = baas("project", "list", "--data", str(tmp_path / "file" / "data"))
    assert outcome.code == 1
    only_line(outcome)


@pytest.mark.parametrize("command", ["document get", "import", "export"])
def test_a_command_loads_no_server_to_ask_one_that_runs(command: str) -> None:
    program = (
        f"import sys; from baas.cli.main import run; run({[*command.split(), '--help']});"
        "heavy = {'baas.app', 'baas_rules', 'yaml', 'cryptography'};"
        "print(*heavy & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert (done.stderr, b"--project" in done.stdout) == (b"\n", True)


def test_a_schedule_keeps_at_least_one_backup(baas: Command) -> None:
    refused = baas("backup", "schedule", "set", "--every", "1h", "--keep-last", "0")
    assert (refused.code, "'--keep-last': 0 is not in the range x>=1" in refused.err) == (2, True)


def test_verbs_go_by_their_other_names(baas: Command) -> None:
    assert baas("project", "create", "chat").code == 0
    for group in ("index", "ttl", "key", "job", "bucket"):
        one, other = (baas(group, verb, "-p", "chat") for verb in ("list", "ls"))
        assert (one.code, one.out) == (other.code, other.out) == (0, one.out)
    for verb in ("rm", "remove"):
        assert baas("project", verb, "chat", "--yes").out == "deleted project chat\n"
        baas("project", "create", "chat")
    unknown = baas("project", "lst")
    assert (unknown.code, "Did you mean 'list'?" in unknown.err) == (2, True)
    assert "\n  ls " not in baas("project", "--help").out


def test_every_command_and_every_option_is_explained() -> None:
    def unexplained(command: click.Command, name: str) -> list[str]:
        found = [] if command.help else [name]
        options = [one for one in command.params if isinstance(one, click.Option)]
        found += [f"{name} {one.opts[0]}" for one in options if not one.help]
        if isinstance(command, click.Group):
            context = click.Context(command)
            for inner in command.list_commands(context):
                known = command.get_command(context, inner)
                assert known is not None
                found += unexplained(known, f"{name} {inner}")
        return found

    assert unexplained(cli, "baas") == []
