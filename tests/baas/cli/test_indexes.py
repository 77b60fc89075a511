from __future__ import annotations

from tests.baas.cli.conftest import Command


def test_indexes_are_built_listed_pinned_and_removed(baas: Command) -> None:
    baas("project", "create", "demo")
    database = ("-p", "demo")
    assert baas("index", "ls", *database).out == "no indexes\n"
    made = baas("index", "build", "cities", "country", "population:desc", *database)
    assert (made.code, made.out) == (0, "index 1 is building\n")
    made = baas("index", "build", "orders", "tags:array", "--scope", "below", *database, "--json")
    assert made.json["scope"] == "below"
    assert made.json["fields"] == [
        {"field": "tags", "direction": "asc", "array": True, "kind": "array"}
    ]
    listed = baas("index", "ls", *database).out.splitlines()
    assert listed[1].split()[:4] == ["1", "cities", "collection", "country,"]
    assert "tags:array" in listed[2]
    one = baas("index", "ls", *database, "--collection", "cities", "--json").json
    assert [index["id"] for index in one] == ["1"]
    assert baas("index", "unpin", "1", *database).out == "unpinned index 1\n"
    assert baas("index", "ls", *database, "--collection", "cities", "--json").json[0]["pinned"] is (
        False
    )
    assert baas("index", "pin", "1", *database).out == "pinned index 1\n"
    assert baas("index", "rm", "1", *database).out == "dropped index 1\n"
    assert baas("index", "rm", "1", *database).err == "error: there is no index `1`\n"
    assert baas("index", "build", "cities", *database).code == 2
    made = baas("index", "build", "cities", "name", "--wait", *database)
    assert (made.code, made.out) == (0, "index 3 is ready\n")
