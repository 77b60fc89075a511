"""The rules of one service: its allow statements, asked for one document or object at a time."""

from __future__ import annotations

from baas_rules.decision import (
    DOCUMENT_SERVICE,
    METHODS,
    Decision,
    Explanation,
    Lookup,
    Reason,
    Request,
    Segments,
)
from baas_rules.environment import Documents, Environment, Run, Trace, Unresolved
from baas_rules.errors import EvaluationError, LimitExceeded, RulesError
from baas_rules.evaluator import Compiler
from baas_rules.explain import reason_of
from baas_rules.grants import Grant, Statements
from baas_rules.limits import EXPRESSIONS_MAX
from baas_rules.list_proofs import ListProofs
from baas_rules.matching import Captures
from baas_rules.scopes import Outline
from baas_rules.settling import ALLOWED, DENIED, because, settled, undecided
from baas_rules.source import Source


class ServiceRules:
    """Immutable and safe to share between threads."""

    def __init__(self, source: Source, made: Outline) -> None:
        self._source = source
        self.name = made.service.name
        self.outline = made
        self._statements = Statements(made)
        self._askable = self._statements.askable
        self.lists = ListProofs(source, made, self._statements)

    def decide(self, request: Request, documents: Documents) -> Decision:
        """As `Ruleset.decide`."""
        if request.method not in self._askable:
            return DENIED
        environment = Environment(request, documents)
        unresolved: frozenset[Lookup] | None = None
        try:
            for grants, captures in self._asked(request):
                environment.captures = captures
                for run in grants:
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

    def _asked(self, request: Request) -> list[tuple[tuple[Run, ...], Captures]]:
        """The conditions that are asked, with what the wildcards of their matches bind."""
        askable = self._askable[request.method]
        if request.service == DOCUMENT_SERVICE:
            prefix = ("databases", request.database, "documents")
            found = askable.tree.match_below(prefix, request.path)
        else:
            found = askable.tree.match(request.path)
        if askable.is_light or sum(one.weight for one, _ in found) <= EXPRESSIONS_MAX:
            return [(one.runs, captures) for one, captures in found]
        return [
            (tuple(self._statements.counted_run(grant) for grant in one.grants), captures)
            for one, captures in found
        ]

    # --- why -----------------------------------------------------------------------------------

    def explain(self, request: Request, documents: Documents) -> Explanation:
        """As `Ruleset.explain`."""
        subject = subject_of(request)
        decision = self.decide(request, documents)
        if decision.allowed or decision.missing:
            return Explanation(decision, subject)
        asked = self._matching(request)
        if not asked:
            return Explanation(because(decision, (self._uncovered(request),)), subject)
        compiler = Compiler(service=self.name, traced=True)
        environment = Environment(request, documents)
        reasons: list[Reason] = []
        for grant, captures in asked:
            environment.captures = captures
            trace = _traced(compiler, grant, environment)
            reasons.append(reason_of(self._source, trace, request.method, grant.allow.span))
            if isinstance(trace.fault, LimitExceeded):
                break
        return Explanation(because(decision, tuple(reasons)), subject)

    def _matching(self, request: Request) -> list[tuple[Grant, Captures]]:
        """Every allow statement that names the method, in matches that cover the path."""
        return [
            (grant, captures)
            for grants, captures in self._statements.tree.match(full_path(request))
            for grant in grants.get(request.method, ())
        ]

    def _uncovered(self, request: Request) -> Reason:
        """Why no allow statement was asked."""
        path = "/" + "/".join(request.path)
        matched = self._statements.tree.match(full_path(request))
        methods = {method for grants, _ in matched for method in grants}
        if methods:
            named = ", ".join(method for method in METHODS if method in methods)
            message = f"no allow statement for `{path}` names {request.method} (only {named})"
            return Reason(message)
        hint = "rules of a match do not reach into subcollections, unless it ends with {name=**}"
        return Reason(f"no match statement covers `{path}`", hint=hint)


def subject_of(request: Request) -> str:
    return f"{request.method} of /{'/'.join(request.path)}"


def full_path(request: Request) -> Segments:
    if request.service == DOCUMENT_SERVICE:
        return ("databases", request.database, "documents", *request.path)
    return request.path


def _traced(compiler: Compiler, grant: Grant, environment: Environment) -> Trace:
    condition = grant.allow.condition
    assert condition is not None, "an allow without condition grants"
    root = Trace(None)
    environment.trace = root
    run = compiler.condition(condition, grant.scope)
    try:
        value = run(environment, ())
    except (RulesError, Unresolved, RecursionError) as fault:
        if not root.children:
            root.fault = fault
    else:
        if not root.children:  # a literal, which is not traced
            root.value = value
    if root.children:
        return root.children[0]
    root.node = condition
    return root
