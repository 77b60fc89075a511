"""Explanations as JSON: within bounds, however large the evaluation was."""

from __future__ import annotations

import orjson
from baas_rules import Attempt, Decision, Explanation, Reason, Step

from baas.services.explanations import (
    TEXT_CHARACTERS_MAX,
    cut_text,
    encode_explanation,
    valid_text,
)


def step(text: str, *children: Step) -> Step:
    return Step(text, 1, 1, 2, "true", None, children)


def explanation(*roots: Step) -> Explanation:
    attempts = tuple(
        Attempt("/a/{b}", number, ("get",), (("b", "'x'"),), "false", root)
        for number, root in enumerate(roots)
    )
    reasons = tuple(Reason(f"reason {number}") for number in range(len(roots)))
    return Explanation(Decision(False, reasons=reasons), "get of /a/x", attempts)


def test_steps_are_told_in_order_with_their_depth() -> None:
    told = explanation(step("a", step("b", step("c")), step("d")))
    (attempt,) = encode_explanation(told, steps_max=9, attempts_max=9)["attempts"]
    assert [(one["depth"], one["text"]) for one in attempt["steps"]] == [
        (0, "a"),
        (1, "b"),
        (2, "c"),
        (1, "d"),
    ]
    assert attempt["captures"] == {"b": "'x'"}


def test_steps_and_statements_are_bounded() -> None:
    told = explanation(*(step("a", step("b"), step("c")) for _ in range(3)))
    for most, counts in ((9, [3, 3, 3]), (8, [3, 3, 2]), (3, [3, 0, 0])):
        found = encode_explanation(told, steps_max=most, attempts_max=9)
        assert [len(one["steps"]) for one in found["attempts"]] == counts
    found = encode_explanation(told, steps_max=9, attempts_max=2)
    assert (len(found["attempts"]), len(found["reasons"])) == (2, 2)


def test_what_is_nested_deep_can_be_written() -> None:
    root = step("innermost")
    for number in range(600):
        root = step(str(number), root)
    found = encode_explanation(explanation(root), steps_max=5_000, attempts_max=9)
    assert orjson.loads(orjson.dumps(found))["attempts"][0]["steps"][-1]["depth"] == 600


def test_texts_are_cut_and_valid() -> None:
    assert cut_text("x" * TEXT_CHARACTERS_MAX) == "x" * TEXT_CHARACTERS_MAX
    assert cut_text("x" * (TEXT_CHARACTERS_MAX + 1)) == "x" * (TEXT_CHARACTERS_MAX - 1) + "…"
    assert valid_text({"a": ["\ud800b", 1, None]}) == {"a": ["?b", 1, None]}
