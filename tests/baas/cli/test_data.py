"""What concerns all that a server keeps, from the command line."""

from tests.baas.cli.conftest import Command


def test_new_incarnation(baas: Command) -> None:
    baas("project", "create", "chat")
    assert baas("data", "new-incarnation").out == "1 databases have begun a new incarnation\n"
    (one,) = baas("data", "new-incarnation", "--json").json["databases"]
    assert (one["project"], one["database"]) == ("chat", "(default)")
