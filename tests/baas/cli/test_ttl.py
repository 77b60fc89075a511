"""Expiry from the command line."""

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
    assert baas("ttl", "rm", "sessions", "-p", "chat").code == 0
    assert baas("ttl", "rm", "sessions", "-p", "chat").code == 1
