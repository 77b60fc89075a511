"""Values, conditions and cursors as they are typed."""

from __future__ import annotations

from typing import Any

import click
import pytest

from baas.cli import arguments

MOMENT = {"$timestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("age >= 18", ("age", ">=", 18)),
        ("age>=18", ("age", ">=", 18)),
        ('name == "a in b"', ("name", "==", "a in b")),
        ("name==a in b", ("name", "==", "a in b")),
        ("name == Zürich West", ("name", "==", "Zürich West")),
        ("a == b == c", ("a", "==", "b == c")),
        ("tags array-contains x", ("tags", "array-contains", "x")),
        ('tags array-contains-any ["x"]', ("tags", "array-contains-any", ["x"])),
        ("n in [1,2]", ("n", "in", [1, 2])),
        ("n not-in [1]", ("n", "not-in", [1])),
        ("`a b`.c != null", ("`a b`.c", "!=", None)),
        ('`a==b` > "x"', ("`a==b`", ">", "x")),
        ("in < 3", ("in", "<", 3)),
        ('at < {"$timestamp": "2026-01-01T00:00:00Z"}', ("at", "<", MOMENT)),
    ],
)
def test_conditions(text: str, wanted: tuple[str, str, Any]) -> None:
    found = arguments.condition(text)
    assert (found["field"], found["op"], found["value"]) == wanted


@pytest.mark.parametrize(
    "text", ["age", "age 18", ">= 18", "", "age ~ 3", "n <> 3", "n => 3", "n == "]
)
def test_what_is_no_condition(text: str) -> None:
    with pytest.raises(click.UsageError, match="is no condition"):
        arguments.condition(text)


def test_names_are_ids_or_paths() -> None:
    def wanted(text: str) -> Any:
        return arguments.conditions("rooms/a/people", (text,))["where"]["value"]

    assert wanted("__name__ == eve") == {"$ref": "rooms/a/people/eve"}
    assert wanted("__name__ > 42") == {"$ref": "rooms/a/people/42"}
    assert wanted("__name__ == rooms/b/people/eve") == {"$ref": "rooms/b/people/eve"}
    assert wanted('__name__ in ["eve", {"$ref": "x/y"}]') == [
        {"$ref": "rooms/a/people/eve"},
        {"$ref": "x/y"},
    ]
    assert wanted("name == eve") == "eve"


def test_what_stands_behind_a_colon_is_known() -> None:
    assert arguments.order("a:desc") == {"field": "a", "direction": "desc"}
    assert arguments.order("`a:up`") == {"field": "`a:up`"}
    for text in ("a:up", "a:", "a:DESC"):
        with pytest.raises(click.UsageError, match="behind the colon"):
            arguments.order(text)


def test_conditions_are_one_filter() -> None:
    one = {"field": "a", "op": "==", "value": 1}
    two = {"field": "b", "op": "==", "value": 2}
    assert arguments.conditions("c", ()) == {}
    assert arguments.conditions("c", ("a == 1",)) == {"where": one}
    assert arguments.conditions("c", ("a == 1",), ("b == 2", "a == 1")) == {
        "where": {"and": [one, {"or": [two, one]}]}
    }
    with pytest.raises(click.UsageError, match="the filter is no JSON"):
        arguments.conditions("c", (), (), "{")


def test_cursors_and_orders() -> None:
    assert arguments.cursor("CH", before=True) == {"values": ["CH"], "before": True}
    assert arguments.cursor('["CH",3]', before=False) == {"values": ["CH", 3], "before": False}
    assert arguments.order("a.b:desc") == {"field": "a.b", "direction": "desc"}
    assert arguments.order("`a:b`") == {"field": "`a:b`"}
