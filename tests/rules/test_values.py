"""Values by themselves: sets, equality, text; and the abstract values of proofs."""

from __future__ import annotations

import math
from typing import Any

import pytest
from baas_rules import (
    Duration,
    EvaluationError,
    LatLng,
    Path,
    ResourceDocument,
    RulesSet,
    Timestamp,
)
from baas_rules.abstract import (
    EITHER,
    FALSE,
    NUMBER,
    TRUE,
    Anything,
    Facts,
    Known,
    PartialMap,
    Result,
    Truth,
    apply,
    is_equal,
    join,
    may_be,
    truth,
)
from baas_rules.values import MapDiff, equals, freeze, show, type_name


class Row(dict[str, Any]):
    """A mapping that is not a plain dict."""


def test_sets() -> None:
    numbers = RulesSet([1, 1.0, True, "1"])
    assert len(numbers) == 3
    assert list(numbers) == [1, True, "1"]
    assert 1.0 in numbers
    assert False not in numbers
    assert numbers == RulesSet(["1", True, 1])
    assert numbers != RulesSet([1])
    assert numbers != [1, True, "1"]
    assert hash(numbers) == hash(RulesSet(["1", True, 1.0]))
    assert repr(RulesSet(["a"])) == "RulesSet(['a'])"
    assert math.nan not in RulesSet([math.nan])
    assert RulesSet([RulesSet([1])]) == RulesSet([RulesSet([1.0])])


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (1, 1.0, True),
        (1, True, False),
        (1.5, "1.5", False),
        (Row(a=1), {"a": 1.0}, True),
        ({"a": 1}, Row(a=2), False),
        (Row(a=1), Row(a=1), True),
        (Timestamp(1), Timestamp(1), True),
        (Timestamp(1), Duration(1), False),
        (Path(("a",), {"x": 1}), Path(("a",)), True),
        (MapDiff({}, {}), MapDiff({}, {}), True),
        (None, None, True),
        ([None], [None], True),
        (LatLng(0.0, 1.0), LatLng(-0.0, 1.0), True),
        (LatLng(0.0, 1.0), LatLng(0.0, 2.0), False),
    ],
)
def test_equality(a: Any, b: Any, equal: bool) -> None:
    assert equals(a, b) is equal
    assert equals(b, a) is equal
    assert (freeze(a) == freeze(b)) is equal


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1, "1"),
        (1.5, "1.5"),
        (math.nan, "NaN"),
        ("it's\n\\", r"'it\'s\n\\'"),
        ("x" * 200, "'" + "x" * 118 + "…"),
        (b"abc", "bytes of length 3"),
        ([1, "a"], "[1, 'a']"),
        ([1] * 1000, "[" + "1, " * 39 + "1…"),
        ({"a": {"b": None}}, "{'a': {'b': null}}"),
        (RulesSet([1]), "[1].toSet()"),
        (Timestamp(0, 1), "1970-01-01T00:00:00.000000Z"),
        (Duration(-1_500_000_000), "-1.500000000s"),
        (Duration(2_000_000_000), "2s"),
        (LatLng(1.0, 2.5), "latlng.value(1.0, 2.5)"),
        (Path(("a", "b")), "/a/b"),
        (MapDiff({"a": 1}, {}), "a map diff affecting ['a']"),
    ],
)
def test_text(value: Any, text: str) -> None:
    assert show(value) == text


def test_names_of_types() -> None:
    assert type_name(Row()) == "map"
    assert type_name(MapDiff({}, {})) == "map diff"
    assert type_name(RulesSet([])) == "set"


# --- abstract values ---------------------------------------------------------------------------


def test_truth() -> None:
    assert truth(Result(TRUE)).is_proved
    assert not truth(Result(TRUE, fault=True)).is_proved
    assert truth(Result(EITHER)) == Truth(True, True, False)
    assert truth(Result(None, True)) == Truth(False, False, True)
    assert truth(Result(Known((1, True)))) == Truth(True, False, True)
    assert truth(Result(Anything())) == Truth(True, True, True)
    assert truth(Result(Anything(frozenset({"bool"})))) == Truth(True, True, False)
    assert truth(Result(Anything(frozenset({"int"})))) == Truth(False, False, True)
    assert truth(Result(PartialMap({}))) == Truth(False, False, True)


def test_join() -> None:
    assert join([Result(Known((1,))), Result(Known((2,)))]).value == Known((1, 2))
    assert join([Result(None, True, error="x")]) == Result(None, True, error="x")
    assert join([Result(TRUE), Result(None, True)]) == Result(TRUE, True)
    some = join([Result(Known((1,))), Result(Anything(frozenset({"string"})))]).value
    assert some == Anything(frozenset({"int", "string"}))
    assert join([Result(PartialMap({})), Result(Anything())]).value == Anything()
    assert join([Result(PartialMap({}))]).value == PartialMap({})
    many = join([Result(Known((number,))) for number in range(20)]).value
    assert many == Anything(frozenset({"int"}))
    zeros = join([Result(Known((0.0,))), Result(Known((-0.0,)))]).value
    assert isinstance(zeros, Known)
    assert len(zeros.values) == 2


def test_apply() -> None:
    def add(a: int, b: int) -> int:
        if a == b:
            raise EvaluationError("the same")
        return a + b

    both = apply(add, [Result(Known((1, 2))), Result(Known((2, 3)))])
    assert both == Result(Known((3, 4, 5)), True)
    assert both.error == "the same"
    assert apply(add, [Result(Known((1,))), Result(Known((1,)))]).value is None
    assert apply(add, [Result(Known((1,))), Result(None, True)]).value is None
    many = apply(add, [Result(Known(tuple(range(9)))), Result(Known((10, 20)))])
    assert many == Result(Anything(), True)


@pytest.mark.parametrize(
    ("value", "candidate", "possible"),
    [
        (Known((1, 2)), 2.0, True),
        (Known((1, 2)), 3, False),
        (Anything(), None, True),
        (Anything(NUMBER), 1, True),
        (Anything(NUMBER), "a", False),
        (Anything(frozenset({"int"})), 1.0, True),
        (Anything(facts=Facts(unequal=(1,))), 1.0, False),
        (Anything(NUMBER, Facts(lower=(3, True))), 3, True),
        (Anything(NUMBER, Facts(lower=(3, False))), 3, False),
        (Anything(NUMBER, Facts(upper=(3, True))), 4, False),
        (Anything(NUMBER, Facts(lower=(1, True), upper=(3, False))), 3, False),
        (PartialMap({"a": Known((1,))}), {"a": 1, "b": 2}, True),
        (PartialMap({"a": Known((1,))}), {"b": 2}, False),
        (PartialMap({"a": Known((1,))}, complete=True), {"a": 1, "b": 2}, False),
        (PartialMap({}), 1, False),
        (PartialMap({}), ResourceDocument(("a", "b"), {}), True),
    ],
)
def test_what_a_value_may_be(value: Any, candidate: Any, possible: bool) -> None:
    assert may_be(value, candidate) is possible
    assert is_equal(value, Known((candidate,))) != (FALSE if possible else TRUE)


def test_equality_of_what_is_not_known() -> None:
    assert is_equal(Anything(NUMBER), Anything(frozenset({"string"}))) == FALSE
    assert is_equal(Anything(frozenset({"int"})), Anything(frozenset({"float"}))) == EITHER
    assert is_equal(Anything(), PartialMap({})) == EITHER
