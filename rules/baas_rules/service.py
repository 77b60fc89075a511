"""The rules of one service: its allow statements, asked for one document or object at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from baas_rules import ast
from baas_rules.coverage import Coverage
from baas_rules.decision import (
    DOCUMENT_SERVICE,
    METHODS,
    Attempt,
    Decision,
    Explanation,
    Lookup,
    Reason,
    Request,
    ResourceDocument,
    Segments,
)
from baas_rules.environment import Documents, Environment, Run, Trace, Unresolved
from baas_rules.errors import EvaluationError, LimitExceeded, RulesError
from baas_rules.evaluator import Compiler
from baas_rules.explain import reason_of
from baas_rules.grants import Askable, Asked, Grant, Statements
from baas_rules.limits import EXPRESSIONS_MAX
from baas_rules.list_proofs import ListProofs
from baas_rules.matching import Captures
from baas_rules.scopes import Outline
from baas_rules.settling import ALLOWED, DENIED, because, settled, undecided
from baas_rules.source import Source
from baas_rules.steps import Narrator, attempt, looked_up, subject_of

_OPEN_MAX = 1024
State: TypeAlias = ResourceDocument | None
PlainAccess: TypeAlias = Callable[[Segments, State, State], bool]
"""Whether an access to the document at a path is allowed, by its states before and after, and the
rules look at no other document. False says nothing: ask `decide`."""


class ServiceRules:
    """Immutable and safe to share between threads."""

    def __init__(self, source: Source, made: Outline) -> None:
        self._source = source
        self.name = made.service.name
        self.outline = made
        self._statements = Statements(made)
        self._askable = self._statements.askable
        self._open: dict[tuple[str, str, Segments], bool] = {}
        self.lists = ListProofs(source, made, self._statements)

    def decide(self, request: Request, documents: Documents) -> Decision:
        """As `Ruleset.decide`."""
        askable = self._askable.get(request.method)
        if askable is None:
            return DENIED
        environment = Environment(request, documents)
        unresolved: frozenset[Lookup] | None = None
        try:
            for asked, captures in self._asked(request, askable):
                environment.captures = captures
                for run in asked.runs:
                    try:
                        if run(environment, ()) is True:
                            return settled(True, environment) if environment.lookups else ALLOWED
                    except EvaluationError:
                        continue
                    except Unresolved as fault:
                        unresolved = (unresolved or frozenset()) | fault.lookups
        except (LimitExceeded, RecursionError):
            return settled(False, environment)
        if unresolved:
            return undecided(unresolved)
        return settled(False, environment)

    def allows_plainly(self, request: Request) -> PlainAccess:
        """As `Ruleset.allows_plainly`."""
        askable = self._askable.get(request.method)
        if askable is None:
            return denied_plainly
        if not askable.is_light:
            return self._allows_by_decision(request)
        match = askable.tree.document_matcher(request.database)
        # One for all: with no documents at hand nothing is looked up, and nothing is counted.
        environment = Environment(request, {})

        def allows(path: Segments, old: State, new: State) -> bool:
            request.path = path
            request.resource = old
            request.new_resource = new
            for asked, environment.captures in match(path):
                for run in asked.runs:
                    try:
                        if run(environment, ()) is True:
                            return True
                    except (EvaluationError, Unresolved):
                        continue
                    except (LimitExceeded, RecursionError):
                        return False
            return False

        return allows

    def _allows_by_decision(self, request: Request) -> PlainAccess:
        def allows(path: Segments, old: State, new: State) -> bool:
            request.path = path
            request.resource = old
            request.new_resource = new
            decision = self.decide(request, {})
            return decision.allowed and not decision.lookups

        return allows

    def is_open(self, method: str, database: str, path: Segments) -> bool:
        """As `Ruleset.is_open`."""
        if len(path) % 2:  # no document's path: it would share what is kept of one
            return False
        place = (method, database, path[::2])
        known = self._open.get(place)
        if known is None:
            askable = self._askable.get(method)
            found = None if askable is None else askable.tree.match_shape(database, path)
            known = bool(found and found[0][0].is_open)
            if len(self._open) < _OPEN_MAX:
                self._open[place] = known
        return known

    def _asked(self, request: Request, askable: Askable) -> list[tuple[Asked, Captures]]:
        """The conditions that are asked, with what the wildcards of their matches bind."""
        if request.service == DOCUMENT_SERVICE:
            found = askable.tree.match_document(request.database, request.path)
        else:
            found = askable.tree.match(request.path)
        if askable.is_light or sum(one.weight for one, _ in found) <= EXPRESSIONS_MAX:
            return found
        return [(self._statements.counted(one), captures) for one, captures in found]

    # --- why -----------------------------------------------------------------------------------

    def explain(
        self, request: Request, documents: Documents, *, redact: bool = False
    ) -> Explanation:
        """As `Ruleset.explain`."""
        subject = subject_of(request, redact=redact)
        decision = self.decide(request, documents)
        if decision.missing:
            return Explanation(decision, subject)
        asked = self._matching(request)
        if not asked:
            reason = self._uncovered(request, redact=redact)
            return Explanation(because(decision, (reason,)), subject)
        narrator = Narrator(self._source, redact=redact)
        environment = Environment(request, documents)
        reasons: list[Reason] = []
        attempts: list[Attempt] = []
        for grant, captures, trace in traced_evaluations(self.name, asked, environment):
            if trace is None:
                granted = grant.allow.condition is None and "granted" not in {
                    one.outcome for one in attempts
                }
                outcome = "granted" if granted else "not tried"
                attempts.append(attempt(narrator, grant, captures, outcome))
                continue
            outcome = _outcome(trace)
            attempts.append(attempt(narrator, grant, captures, outcome, narrator.trace(trace)))
            if outcome != "granted":
                reasons.append(reason_of(narrator, trace, request.method, grant.allow.span))
        return Explanation(
            decision if decision.allowed else because(decision, tuple(reasons)),
            subject,
            tuple(attempts),
            looked_up(environment, redact=redact),
            EXPRESSIONS_MAX - environment.budget,
        )

    def cover(self, request: Request, documents: Documents, coverage: Coverage) -> None:
        """As `Ruleset.cover`."""
        environment = Environment(request, documents)
        granted = False
        for grant, _, trace in traced_evaluations(self.name, self._matching(request), environment):
            if granted:
                break
            coverage.add_evaluation(grant, trace)
            granted = trace is None or _outcome(trace) == "granted"

    def _matching(self, request: Request) -> list[tuple[Grant, Captures]]:
        """Every allow statement that names the method, in matches that cover the path."""
        return [
            (grant, captures)
            for grants, captures in self._statements.tree.match(full_path(request))
            for grant in grants.get(request.method, ())
        ]

    def _uncovered(self, request: Request, *, redact: bool) -> Reason:
        """Why no allow statement was asked."""
        path = subject_of(request, redact=redact).removeprefix(f"{request.method} of ")
        matched = self._statements.tree.match(full_path(request))
        methods = {method for grants, _ in matched for method in grants}
        if methods:
            named = ", ".join(method for method in METHODS if method in methods)
            message = f"no allow statement for `{path}` names {request.method} (only {named})"
            return Reason(message)
        hint = "rules of a match do not reach into subcollections, unless it ends with {name=**}"
        return Reason(f"no match statement covers `{path}`", hint=hint)


def denied_plainly(path: Segments, old: State, new: State) -> bool:
    """The PlainAccess of what no rule is for."""
    return False


def full_path(request: Request) -> Segments:
    if request.service == DOCUMENT_SERVICE:
        return ("databases", request.database, "documents", *request.path)
    return request.path


def traced_evaluations(
    service: str, asked: list[tuple[Grant, Captures]], environment: Environment
) -> Iterator[tuple[Grant, Captures, Trace | None]]:
    """Evaluates the statements in turn, as `decide` does, up to one that grants; None stands for
    what is not evaluated, be it without a condition or behind the one that granted."""
    compiler = Compiler(service=service, traced=True)
    over = False
    for grant, captures in asked:
        if over or grant.allow.condition is None:
            over = over or grant.allow.condition is None
            yield grant, captures, None
            continue
        environment.captures = captures
        run = compiler.condition(
            grant.allow.condition, grant.scope, metered=grant.weight > EXPRESSIONS_MAX
        )
        trace = _traced(run, grant.allow.condition, environment)
        over = isinstance(trace.fault, LimitExceeded) or _outcome(trace) == "granted"
        yield grant, captures, trace


def _outcome(trace: Trace) -> str:
    if trace.fault is not None:
        return "error"
    if trace.value is True:
        return "granted"
    return "false" if trace.value is False else "error"


def _traced(run: Run, condition: ast.Expression, environment: Environment) -> Trace:
    root = Trace(condition)
    environment.trace = root
    try:
        value = run(environment, ())
    except (RulesError, Unresolved, RecursionError) as fault:
        if not root.children:
            root.fault = fault
    else:
        if not root.children:  # a literal, which is not traced
            root.value = value
    return root.children[0] if root.children else root
