"""From traces and proofs to the steps of an explanation."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from baas_rules import ast
from baas_rules.abstract import Abstract, Anything, Known, PartialMap, Result
from baas_rules.decision import (
    OBJECT_SERVICE,
    Attempt,
    LookedUp,
    Request,
    ResourceDocument,
    Segments,
    Step,
)
from baas_rules.environment import Environment, Trace, Unresolved
from baas_rules.grants import Grant
from baas_rules.lists import field_text
from baas_rules.lookups import capture_value
from baas_rules.matching import Captures
from baas_rules.prover import Proof
from baas_rules.source import Source
from baas_rules.values import show, show_type

_QUOTED: Final = re.compile(r"`([^`]*)`|[0-9]+")


class Narrator:
    """Tells values, or only their types if they are private (`redact`): names, operators and
    everything else that the source says itself stay."""

    def __init__(self, source: Source, *, redact: bool) -> None:
        self.source = source
        self._redact = redact
        self._show: Callable[[Any], str] = show_type if redact else show

    def value(self, value: Any) -> str:
        if isinstance(value, ResourceDocument):
            return self._show({"data": value.data, "id": value.path[-1]})
        return self._show(value)

    def message(self, message: str) -> str:
        """Why there is no value, without what may be private."""
        if not self._redact:
            return message
        return _QUOTED.sub(lambda found: found.group() if self._is_source(found) else "…", message)

    def _is_source(self, found: re.Match[str]) -> bool:
        return found.group(1) is not None and found.group(1) in self.source.text

    def captures(self, grant: Grant, captures: Captures) -> tuple[tuple[str, str], ...]:
        return tuple(
            (wildcard.name, self.abstract(capture))
            for wildcard, capture in zip(grant.scope.captures, captures, strict=True)
        )

    def abstract(self, value: Any) -> str:
        """A value that may be unknown; what a wildcard binds, too."""
        match value:
            case Known(values=values):
                return " or ".join(self.value(one) for one in values[:3])
            case PartialMap():
                return "a map that is known in part"
            case Anything(origin=str() as origin):
                return f"{origin}, which is not known"
            case Anything(origin=tuple() as path):
                return f"any value of resource.data.{field_text(path)}"
            case Anything():
                return "not known"
            case _:
                return self.value(capture_value(value))

    # --- steps ---------------------------------------------------------------------------------

    def step(self, node: ast.Expression, value: str | None, error: str | None) -> Step:
        line, column, end_column = self.source.place(node.span)
        text = self.source.text_of(node.span)
        return Step(text, line, column, end_column, value, error)

    def trace(self, trace: Trace) -> Step:
        """The steps of an evaluation."""
        error: str | None = None
        value: str | None = None
        if isinstance(trace.fault, Unresolved):
            error = "a document is missing"
        elif trace.fault is not None:
            error = self.message(str(trace.fault))
        else:
            value = self.value(trace.value)
        assert trace.node is not None
        made = self.step(trace.node, value, error)
        return _with_children(made, tuple(map(self.trace, trace.children)))

    def proof(self, proof: Proof) -> Step:
        """The steps of a proof."""
        value, error = self._outcome(proof.result)
        made = self.step(proof.node, value, error)
        children = [one for one in proof.children if not isinstance(one.node, ast.Literal)]
        return _with_children(made, tuple(map(self.proof, children)))

    def _outcome(self, result: Result) -> tuple[str | None, str | None]:
        value: Abstract | None = result.value
        if value is None:
            return None, self.message(result.error) or "it has no value"
        told = self.abstract(value)
        return (f"{told}, or an error" if result.fault else told), None


def _with_children(step: Step, children: tuple[Step, ...]) -> Step:
    return Step(
        step.text, step.line, step.column, step.end_column, step.value, step.error, children
    )


def attempt(
    narrator: Narrator, grant: Grant, captures: Captures, outcome: str, step: Step | None = None
) -> Attempt:
    return Attempt(
        pattern=grant.block.path_text,
        line=narrator.source.position(grant.allow.span.start)[0],
        methods=tuple(method.name for method in grant.allow.methods),
        captures=narrator.captures(grant, captures),
        outcome=outcome,
        step=step,
    )


def looked_up(environment: Environment, *, redact: bool) -> tuple[LookedUp, ...]:
    found = sorted(environment.lookups or ())
    return tuple(
        LookedUp(
            one._replace(path=_without_ids(one.path)) if redact else one,
            environment.documents[one] is not None,
        )
        for one in found
    )


def _without_ids(path: Segments) -> Segments:
    return tuple("…" if at % 2 else segment for at, segment in enumerate(path))


def subject_of(request: Request, *, redact: bool = False) -> str:
    """Such as `update of /users/ada`; redacted, `update of /users/…`."""
    path = request.path
    if redact and request.service == OBJECT_SERVICE:
        path = (*path[:3], "…")
    elif redact:
        path = _without_ids(path)
    return f"{request.method} of /{'/'.join(path)}"
