"""Explanations of rules as JSON trees, within bounds: of trials, and in traces of denials."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from baas_rules import Attempt, Explanation, Reason, Step

TEXT_CHARACTERS_MAX = 400  # of the source text of one step; its place is told in full


def encode_explanation(
    explanation: Explanation, *, steps_max: int, attempts_max: int
) -> dict[str, Any]:
    """At most so many statements and reasons, and so many steps in all of them together."""
    return {
        "attempts": _encode_attempts(explanation.attempts[:attempts_max], steps_max),
        "reasons": [_encode_reason(reason) for reason in explanation.reasons[:attempts_max]],
        "lookups": [
            {
                "path": "/".join(found.lookup.path),
                "database": found.lookup.database or None,
                "after": found.lookup.after,
                "exists": found.exists,
            }
            for found in explanation.lookups
        ],
        "expressions": explanation.expressions,
    }


def cut_text(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[: TEXT_CHARACTERS_MAX - 1] + "…"


def valid_text(tree: Any) -> Any:
    """The same tree, its strings without halves of surrogate pairs: strings in rules may hold
    some, and no encoder writes them."""
    if isinstance(tree, str):
        return tree.encode("utf-8", "replace").decode()
    if isinstance(tree, dict):
        return {name: valid_text(value) for name, value in tree.items()}
    return [valid_text(value) for value in tree] if isinstance(tree, list) else tree


def _encode_attempts(attempts: Iterable[Attempt], steps_max: int) -> list[dict[str, Any]]:
    left = steps_max
    found = []
    for attempt in attempts:
        steps = [] if attempt.step is None else _flattened(attempt.step, left)
        left -= len(steps)
        found.append(
            {
                "match": attempt.pattern,
                "line": attempt.line,
                "methods": list(attempt.methods),
                "captures": dict(attempt.captures),
                "outcome": attempt.outcome,
                "steps": steps,
            }
        )
    return found


def _flattened(root: Step, most: int) -> list[dict[str, Any]]:
    """The steps in order, each with its depth: trees may be deeper than JSON may be."""
    found: list[dict[str, Any]] = []
    pending = [(root, 0)]
    while pending and len(found) < most:
        step, depth = pending.pop()
        found.append(
            {
                "depth": depth,
                "text": cut_text(step.text),
                "line": step.line,
                "column": step.column,
                "end_column": step.end_column,
                "value": step.value,
                "error": step.error,
            }
        )
        pending.extend((child, depth + 1) for child in reversed(step.children))
    return found


def _encode_reason(reason: Reason) -> dict[str, Any]:
    return {
        "message": reason.message,
        "line": reason.line,
        "column": reason.column,
        "end_column": reason.end_column,
        "hint": reason.hint,
        "values": [{"text": cut_text(text), "value": value} for text, value in reason.values],
    }
