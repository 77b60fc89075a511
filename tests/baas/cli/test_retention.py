"""How far back history reaches, from the command line."""

from tests.baas.cli.conftest import Command


def test_retention_is_said_and_shown(baas: Command) -> None:
    baas("project", "create", "chat")
    shown = baas("retention", "show", "-p", "chat").out
    assert "at most 604800 s (inherited)" in shown
    assert "kept: 0 bytes, since the beginning" in shown
    said = baas("retention", "set", "-p", "chat", "--days", "30", "--bytes", "10000000")
    assert "at most 2592000 s\nat most 10000000 bytes\n" in said.out
    told = baas("retention", "show", "-p", "chat", "--json").json
    assert (told["seconds"], told["in_force"]["bytes"]) == (2_592_000, 10_000_000)
    assert baas("retention", "set", "-p", "chat", "--days", "1", "--seconds", "1").code == 2
    refused = baas("retention", "set", "-p", "chat", "--seconds", "1").err
    assert "`seconds` must be from 300 to 316224000, not 1" in refused
    assert "(inherited)" in baas("retention", "set", "-p", "chat").out


def test_databases_inherit_what_is_said_for_their_project(baas: Command) -> None:
    baas("project", "create", "chat")
    said = baas("retention", "set", "-p", "chat", "--for-project", "--days", "30").out
    assert said == "at most 2592000 s\nat most 1073741824 bytes (inherited)\n"
    assert "at most 2592000 s (inherited)" in baas("retention", "show", "-p", "chat").out
    told = baas("retention", "show", "-p", "chat", "--for-project", "--json").json
    assert (told["seconds"], told["bytes"], told["inherited"]["seconds"]) == (2592000, None, 604800)
