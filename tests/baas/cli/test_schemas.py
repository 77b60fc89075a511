from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.baas.cli.conftest import Command

PEOPLE: dict[str, Any] = {
    "x-collection": "people",
    "x-unique": [["name"]],
    "properties": {"name": {"type": "string"}},
}
WILD: dict[str, Any] = {"x-collection": "orgs/{org}/members"}
DEMO = ("-p", "demo")


def write(name: str, schema: Any) -> None:
    Path("schemas").mkdir(exist_ok=True)
    text = schema if isinstance(schema, str) else json.dumps(schema)
    Path("schemas", name).write_text(text, encoding="utf-8")


def test_schemas_are_deployed_shown_pulled_and_removed(baas: Command) -> None:
    baas("project", "create", "demo")
    write("people.json", PEOPLE)
    write("wild.json", WILD)
    made = baas("schema", "deploy", "schemas", *DEMO, "-m", "first")
    assert (made.code, made.err) == (0, "")
    assert made.out.startswith("deployed 2 schemas to demo as ")
    assert baas("schema", "show", "people", *DEMO).json == PEOPLE
    assert baas("schema", "show", *DEMO).json == [WILD, PEOPLE]
    assert baas("schema", "show", "cats", *DEMO).err == "error: there is no schema of `cats`\n"
    assert baas("schema", "pull", "copy", *DEMO).out == "wrote 2 schemas to copy\n"
    assert sorted(file.name for file in Path("copy").iterdir()) == [
        "orgs.{org}.members.json",
        "people.json",
    ]
    assert json.loads(Path("copy", "people.json").read_text("utf-8")) == PEOPLE
    gone = baas("schema", "rm", "orgs/{org}/members", *DEMO)
    assert gone.out == "removed the schema of orgs/{org}/members; 1 schema in force\n"
    listed = baas("schema", "history", *DEMO, "--json").json
    assert [one["message"] for one in listed] == ["without orgs/{org}/members", "first"]
    old = listed[1]["release"]
    assert baas("schema", "show", *DEMO, "--release", old).json == [WILD, PEOPLE]
    stale = baas("schema", "deploy", "copy", *DEMO, "--if-release", old)
    assert (stale.code, "somebody else has deployed" in stale.err) == (1, True)


def test_what_does_not_fit_is_listed(baas: Command) -> None:
    baas("project", "create", "demo")
    lines = [
        json.dumps({"path": f"people/{name}", "fields": fields}).encode()
        for name, fields in (("a", {"name": "A"}), ("b", {"name": "A"}), ("c", {"name": 5}))
    ]
    assert baas("import", *DEMO, "-", stdin=b"\n".join(lines)).code == 0
    write("people.json", PEOPLE)
    refused = baas("schema", "deploy", "schemas/people.json", *DEMO)
    assert refused.code == 1
    assert "people/a: name: `people/b` has the same" in refused.err
    assert 'people/c: name: it is not of type "string"' in refused.err
    assert refused.err.splitlines()[-1].endswith("see `baas schema check`, --allow-existing")
    assert baas("schema", "show", *DEMO).json == []
    checked = baas("schema", "check", "schemas", *DEMO)
    assert (checked.code, checked.out.splitlines()[-1]) == (1, "3 documents checked, 3 do not fit")
    told = baas("schema", "check", "schemas", *DEMO, "--json", "--resume", "people/b").json
    assert [one["document"] for one in told["found"]] == ["people/c"]
    assert baas("schema", "deploy", "schemas", *DEMO, "--allow-existing").code == 0
    assert baas("schema", "check", *DEMO).code == 1


def test_an_import_names_the_line_that_a_schema_refuses(baas: Command) -> None:
    baas("project", "create", "demo")
    write("people.json", PEOPLE)
    assert baas("schema", "deploy", "schemas", *DEMO).code == 0

    def line(path: str, name: object) -> bytes:
        return json.dumps({"path": path, "fields": {"name": name}}).encode()

    good = [line(f"people/{n}", f"N{n}") for n in range(500)]
    for bad, told in (
        (line("people/x", 5), "does not fit the schema of `people`"),
        (line("people/x", "N7"), "another document has the same `name`"),
    ):
        lines = [*good, b"", line("people/x", "replaced by the last"), line("people/y", "y"), bad]
        refused = baas("import", *DEMO, "-", stdin=b"\n".join(lines))
        assert (refused.code, refused.out) == (1, "")
        assert refused.err.startswith("error: line 504: `people/x`")
        assert told in refused.err
        assert "(500 lines are in; go on with --skip-lines 500)" in refused.err


def test_differences_and_a_dry_run(baas: Command) -> None:
    baas("project", "create", "demo")
    write("people.json", PEOPLE)
    assert "name files, or --from" in baas("schema", "diff", *DEMO).err
    told = baas("schema", "diff", "schemas", *DEMO)
    assert told.out.startswith("--- /dev/null\n+++ to be deployed: people\n")
    first = baas("schema", "deploy", "schemas", *DEMO, "--json").json["release"]
    assert baas("schema", "diff", "schemas", *DEMO).err == "no difference\n"
    write("wild.json", WILD)
    assert baas("schema", "diff", "schemas", *DEMO, "--json").json["added"] == [
        "orgs/{org}/members"
    ]
    assert "leave it out" in baas("schema", "diff", "schemas", *DEMO, "--to", first).err
    baas("schema", "rm", "people", *DEMO)
    told = baas("schema", "diff", *DEMO, "--from", first)
    assert told.out.splitlines()[0] == f"--- {first}: people"
    assert baas("schema", "diff", *DEMO, "--from", first, "--to", first).err == "no difference\n"
    line = json.dumps({"path": "people/c", "fields": {"name": 5}}).encode()
    assert baas("import", *DEMO, "-", stdin=line).code == 0
    checked = baas("schema", "deploy", "schemas", "--dry-run", *DEMO)
    assert (checked.code, checked.out.splitlines()[-1]) == (1, "1 documents checked, 1 do not fit")
    assert checked.out.startswith("(default): people/c: name: ")
    assert baas("schema", "show", *DEMO).json == []
    (job, *_) = baas("job", "list", *DEMO, "--json").json
    assert baas("job", "wait", job["id"], *DEMO).out == "checked 1 documents, 1 do not fit\n"


def test_files_that_are_no_schemas(baas: Command) -> None:
    baas("project", "create", "demo")
    write("bad.json", "{")
    assert "`schemas/bad.json` is no JSON" in baas("schema", "deploy", "schemas", *DEMO).err
    write("bad.json", [1])
    assert "with `x-collection`" in baas("schema", "deploy", "schemas", *DEMO).err
    write("bad.json", {"x-collection": "c", "pattern": "(?=a)"})
    refused = baas("schema", "deploy", "schemas", *DEMO)
    assert (refused.code, "no look-around" in refused.err) == (1, True)
    Path("empty").mkdir()
    assert "name a file, or a folder" in baas("schema", "deploy", "empty", *DEMO).err
    assert baas("schema", "deploy", "none", *DEMO).code == 2
