from __future__ import annotations

import json

import pytest

from tests.baas.cli.conftest import Command

CITIES = [
    {"path": "cities/bern", "fields": {"country": "CH", "n": 134, "tags": ["river"]}},
    {"path": "cities/lyon", "fields": {"country": "FR", "n": 522, "note": "x" * 80}},
    {"path": "cities/zurich", "fields": {"country": "CH", "n": 443, "tags": ["lake", "river"]}},
]
LINES = "\n".join(json.dumps(city) for city in CITIES).encode()


def test_a_collection_is_queried(baas: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("baas.cli.queries._PAGE", 1)  # so that there are several pages
    baas("project", "create", "demo")
    assert baas("import", "-p", "demo", "-", stdin=LINES).code == 0

    def ids(*arguments: str) -> list[str]:
        outcome = baas("query", "-p", "demo", "cities", *arguments)
        assert (outcome.code, outcome.err) == (0, "")
        return [json.loads(line)["path"][7:] for line in outcome.out.splitlines()]

    assert ids() == ["bern", "lyon", "zurich"]
    assert ids("-w", "country == CH", "-o", "n:desc") == ["zurich", "bern"]
    assert ids("-w", "n>=200", "-w", 'country in ["CH","DE"]') == ["zurich"]
    assert ids("-w", "tags array-contains river", "-n", "1") == ["bern"]
    assert ids("-w", "n < 500", "--or", "country == FR", "--or", "n > 400") == ["zurich"]
    nested = '{"or":[{"field":"n","op":"<","value":200},{"field":"n","op":">","value":500}]}'
    assert ids("-w", "country == CH", "--filter", nested) == ["bern"]
    ordered = ("-o", "country", "-o", "n:desc")
    assert ids(*ordered, "--start-after", '["CH",443]') == ["bern", "lyon"]
    assert ids(*ordered, "--start-at", "CH", "--end-before", "FR") == ["zurich", "bern"]
    assert ids(*ordered, "--end-at", '["CH",443]') == ["zurich"]
    assert ids("-o", "n", "--offset", "1", "-n", "1") == ["zurich"]
    table = baas("query", "-p", "demo", "cities", "--table", "-w", "n < 200").out.splitlines()
    assert table[0].split() == ["path", "country", "n", "tags"]
    assert table[1].split() == ["cities/bern", "CH", "134", '["river"]']
    assert baas("query", "-p", "demo", "nothing", "--table").out == "no documents\n"
    selected = baas("query", "-p", "demo", "cities", "-s", "n", "-n", "1").out
    assert json.loads(selected)["fields"] == {"n": 134}


def test_a_collection_is_queried_as_it_was(baas: Command) -> None:
    baas("project", "create", "demo")
    baas("import", "-p", "demo", "-", stdin=LINES)
    then = baas("document", "get", "-p", "demo", "cities/bern").json["update_time"]
    baas("document", "update", "-p", "demo", "cities", "-w", "country == CH", "--set", "n=0")
    asked = ("query", "-p", "demo", "cities", "-w", "n > 200", "-s", "n")
    assert [json.loads(line)["path"] for line in baas(*asked).out.splitlines()] == ["cities/lyon"]
    was = [json.loads(line) for line in baas(*asked, "--at", then).out.splitlines()]
    assert [(one["path"], one["fields"]) for one in was] == [
        ("cities/zurich", {"n": 443}),
        ("cities/lyon", {"n": 522}),
    ]
    for more in ("--count", "--explain"):
        assert baas(*asked, "--at", then, more).code == 2


def test_a_query_is_explained(baas: Command) -> None:
    baas("project", "create", "demo")
    lines = b"\n".join(b'{"path":"c/%d","fields":{"n":%d}}' % (n, n) for n in range(150))
    assert baas("import", "-p", "demo", "-", stdin=lines).code == 0
    asked = ("query", "-p", "demo", "c", "-w", "n > 147", "--explain")
    outcome = baas(*asked)
    assert len(outcome.out.splitlines()) == 2
    told = outcome.err.splitlines()
    assert told[0] == "read the whole collection"
    assert told[1].startswith("an index of c (collection): n would have spared that")
    assert told[2].startswith("0 entries scanned, 0 keys counted, 150 documents read, 2")
    assert baas("index", "build", "-p", "demo", "c", "n", "--wait").code == 0
    told = baas(*asked).err.splitlines()
    assert told[0] == "scanned index 1 of c (collection): n, 1 range(s)"
    assert told[1].startswith("2 entries scanned, 0 keys counted, 2 documents read, 2")


def test_what_is_near_comes_first(baas: Command) -> None:
    baas("project", "create", "demo")
    lines = b"\n".join(
        b'{"path":"c/%d","fields":{"at":{"$geo":[-33.9,%d]},"n":%d}}' % (n, 151 + n, n)
        for n in range(9)
    )
    # So many that a query waits for its index.
    lines += b"".join(b'\n{"path":"c/x%d","fields":{}}' % n for n in range(150))
    assert baas("import", "-p", "demo", "-", stdin=lines).code == 0
    asked = ("query", "-p", "demo", "c", "--near", "at", "-33.9,153.1")
    found = [json.loads(line) for line in baas(*asked, "-n", "2").out.splitlines()]
    assert [one["path"] for one in found] == ["c/2", "c/3"]
    assert round(found[0]["distance_meters"]) == 9_229
    for within, count in (("110km", 3), ("110000", 3), ("9230m", 1), ("0", 0)):
        counted = baas(*asked, "--within", within, "--count")
        assert json.loads(counted.out)["count"] == count
    assert baas("index", "build", "-p", "demo", "c", "at:cell", "--wait").code == 0
    outcome = baas(*asked, "--within", "20km", "--table", "--explain", "-s", "n")
    assert [line.split() for line in outcome.out.splitlines()] == [
        ["path", "meters", "n"],
        ["c/2", "9229", "2"],
    ]
    told = outcome.err.splitlines()
    assert told[0].startswith("scanned index 1 of c (collection): at:cell, nearest first, ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--within", "5"),
        ("--near", "at", "48.2"),
        ("--near", "at", "48.2,16,4"),
        ("--near", "at", "north,16"),
        ("--near", "at", "nan,16"),
        *[
            ("--near", "at", "1,2", "--within", one)
            for one in ("", "5 miles", "nan", "inf", "1e999")
        ],
    ],
)
def test_a_place_and_a_distance_are_numbers(baas: Command, arguments: tuple[str, ...]) -> None:
    outcome = baas("query", "-p", "demo", "c", *arguments)
    assert outcome.code == 2
    assert "--within" in outcome.err


def test_documents_are_searched(baas: Command) -> None:
    baas("project", "create", "demo")
    lines = b"\n".join(
        b'{"path":"c/%d","fields":{"t":"red %d","n":%d}}' % (n, n, n) for n in range(9)
    )
    assert baas("import", "-p", "demo", "-", stdin=lines).code == 0
    asked = ("query", "-p", "demo", "c", "--search", "Red 7", "--in", "t", "--explain")
    outcome = baas(*asked)
    assert json.loads(outcome.out)["path"] == "c/7"
    told = outcome.err.splitlines()
    assert told[0] == "read the whole collection"
    assert told[1].startswith("an index of c (collection): t:words would have spared that")
    assert baas("index", "build", "-p", "demo", "c", "t:words", "--wait").code == 0
    told = baas(*asked, "-w", "n > 3").err.splitlines()
    assert told[0] == (
        "read the entries of the words in index 1 of c (collection): t:words;"
        " what has them is checked against the rest of the query"
    )
    counted = baas("query", "-p", "demo", "c", "--search", "red", "--in", "t", "--count")
    assert json.loads(counted.out)["count"] == 9
    for wrong in (("--search", "red"), ("--in", "t")):
        outcome = baas("query", "-p", "demo", "c", *wrong)
        assert outcome.code == 2
        assert "--search goes with --in" in outcome.err


def test_numbers_and_groups_are_printed(baas: Command) -> None:
    baas("project", "create", "demo")
    lines = b"\n".join(
        b'{"path":"c/%d","fields":{"n":%d,"g":%d}}' % (n, n, n % 2) for n in range(5)
    )
    assert baas("import", "-p", "demo", "-", stdin=lines).code == 0

    def told(*arguments: str) -> list[dict[str, object]]:
        outcome = baas("query", "-p", "demo", "c", *arguments)
        assert outcome.code == 0, outcome.err
        return [json.loads(line) for line in outcome.out.splitlines()]

    assert told("--count", "--sum", "n", "--avg", "n") == [
        {"count": 5, "sum n": 10, "avg n": {"$double": 2}}
    ]
    assert told("--min", "n", "--max", "n", "-w", "n > 1") == [{"min n": 2, "max n": 4}]
    assert told("--group-by", "g", "--count") == [{"g": 0, "count": 3}, {"g": 1, "count": 2}]
    assert told("--distinct", "g") == [{"g": 0}, {"g": 1}]
    outcome = baas("query", "-p", "demo", "c", "--count", "-w", "n == 1", "--explain")
    assert "5 documents read, 1 returned" in outcome.err


def test_wrong_queries_are_refused(baas: Command) -> None:
    baas("project", "create", "demo")
    for wrong, code, text in (
        (("-w", "country"), 2, "is no condition"),
        (("-w", "country ~ CH"), 2, "is no condition"),
        (("-w", "n in 5"), 1, "needs a list"),
        (("-o", "a..b"), 1, "a..b"),
    ):
        outcome = baas("query", "-p", "demo", "cities", *wrong)
        assert (outcome.code, outcome.out) == (code, "")
        assert text in outcome.err.splitlines()[-1]
