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


def test_conditions_are_one_filter() -> None:
    one = {"field": "a", "op": "==", "value": 1}
    two = {"field": "b", "op": "==", "value": 2}
    assert arguments.conditions(()) == {}
    assert arguments.conditions(("a == 1",)) == {"where": one}
    assert arguments.conditions(("a == 1",), ("b == 2", "a == 1")) == {
        "where": {"and": [one, {"or": [two, one]}]}
    }
    with pytest.raises(click.UsageError, match="the filter is no JSON"):
        arguments.conditions((), (), "{")


def test_cursors_and_orders() -> None:
    assert arguments.cursor("CH", before=True) == {"values": ["CH"], "before": True}
    assert arguments.cursor('["CH",3]', before=False) == {"values": ["CH", 3], "before": False}
    assert arguments.order("a.b:desc") == {"field": "a.b", "direction": "desc"}
    assert arguments.order("`a:b`") == {"field": "`a:b`"}
