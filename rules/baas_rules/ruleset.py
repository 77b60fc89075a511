"""The façade: a rules file, parsed, checked and compiled once, asked many times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from baas_rules import ast, checker
from baas_rules.abstract import Anything, Known, Result, truth
from baas_rules.analysis import Analysis
from baas_rules.constraints import Subject, disjuncts, subject
from baas_rules.decision import (
    DOCUMENT_SERVICE,
    METHODS,
    READ_METHODS,
    WRITE_METHODS,
    Decision,
    Explanation,
    FieldConstraint,
    ListRequest,
    Lookup,
    OpenAccess,
    Reason,
    Request,
    ResourceDocument,
    Segments,
)
from baas_rules.environment import Environment, Run, Trace, Unresolved
from baas_rules.errors import (
    Diagnostic,
    EvaluationError,
    LimitExceeded,
    RulesCheckError,
    RulesError,
    RulesSyntaxError,
    Severity,
)
from baas_rules.evaluator import Compiler
from baas_rules.explain import list_reason, reason_of
from baas_rules.exposure import open_access
from baas_rules.limits import EXPRESSIONS_MAX, LOOKUPS_MAX
from baas_rules.lists import (
    abstract_captures,
    as_request,
    covering,
    describe,
    is_known,
    world,
)
from baas_rules.matching import Captures, PathTree
from baas_rules.parser import parse
from baas_rules.prover import Prover
from baas_rules.scopes import Block, Outline, Scope, outline
from baas_rules.source import Source

_ALLOWED: Final = Decision(allowed=True)
_DENIED: Final = Decision(allowed=False)
_GROUPS: Final = {"read": READ_METHODS, "write": WRITE_METHODS}

Documents = Mapping[Lookup, ResourceDocument | None]


@dataclass(frozen=True, slots=True, eq=False)
class _Grant:
    """An allow statement. `run` is its condition; without one, it always grants."""

    allow: ast.Allow
    scope: Scope
    run: Run
    weight: int
    uses_resource: bool
    captures: frozenset[int]


# The allow statements of one match, by method.
_Grants = dict[str, tuple[_Grant, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """The allow statements of one match for one method, without those that never grant."""

    grants: tuple[_Grant, ...]
    runs: tuple[Run, ...]
    weight: int


@dataclass(frozen=True, slots=True, eq=False)
class _Askable:
    """All that one method can be granted by. `is_light` tells that even all of it together stays
    below EXPRESSIONS_MAX, so that nobody needs to count."""

    tree: PathTree[_Asked]
    is_light: bool


def check(source: str, *, name: str = "firestore.rules") -> list[Diagnostic]:
    """Every error and warning of a rules file, errors first. Never raises."""
    found = _analyse(Source(source, name))[1]
    return sorted(found, key=lambda one: one.severity is not Severity.ERROR)


def _analyse(source: Source) -> tuple[Outline | None, list[Diagnostic]]:
    tree, diagnostics = parse(source)
    if tree is None or _errors(diagnostics):
        return None, diagnostics
    made = outline(tree)
    return made, diagnostics + checker.check(source, made)


def _errors(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    return [found for found in diagnostics if found.severity is Severity.ERROR]


class Ruleset:
    """Rules of one service. Immutable and safe to share between threads; every question is
    answered synchronously, without I/O, from what is passed in."""

    def __init__(self, source: Source, made: Outline, warnings: list[Diagnostic]) -> None:
        self._source = source
        self._outline = made
        self.warnings: tuple[Diagnostic, ...] = tuple(warnings)
        compiler = Compiler(service=self.service)
        analysis = Analysis()
        least = 1 if made.file.version == 1 else 0
        blocks = [
            (block.pattern, _grants(block, compiler, analysis))
            for block in made.blocks
            if block.match.allows
        ]
        self._tree: PathTree[_Grants] = PathTree(blocks, least)
        self._askable = {method: _askable(method, blocks, least) for method in METHODS}
        self._counted: dict[int, Run] = {}
        self._counting = Compiler(service=self.service, counted=True)

    @classmethod
    def parse(cls, source: str, *, name: str = "firestore.rules") -> Ruleset:
        """Raises RulesSyntaxError or RulesCheckError, whose `diagnostics` hold every error."""
        text = Source(source, name)
        made, diagnostics = _analyse(text)
        errors = _errors(diagnostics)
        if made is None:
            raise RulesSyntaxError(errors)
        if errors:
            raise RulesCheckError(errors)
        return cls(text, made, diagnostics)

    @property
    def service(self) -> str:
        return self._outline.file.service.name

    @property
    def source(self) -> str:
        return self._source.text

    @property
    def version(self) -> int:
        """The `rules_version`: 1 or 2."""
        return self._outline.file.version

    # --- one document or object ----------------------------------------------------------------

    def decide(self, request: Request, documents: Documents) -> Decision:
        """Whether a request is allowed, given the documents that were looked up so far.

        If that depends on documents which are not given, the decision names as many of them as can
        be told now; those that a short-circuit spares are not named."""
        if request.service != self.service or request.method not in self._askable:
            return _DENIED
        environment = Environment(request, documents)
        unresolved: frozenset[Lookup] | None = None
        try:
            for grants, captures in self._asked(request):
                environment.captures = captures
                for run in grants:
                    try:
                        if run(environment, ()) is True:
                            return _with_lookups(_ALLOWED, environment)
                    except EvaluationError:
                        continue
                    except Unresolved as fault:
                        unresolved = (unresolved or frozenset()) | fault.lookups
        except (LimitExceeded, RecursionError):
            return _with_lookups(_DENIED, environment)
        if unresolved:
            return Decision(allowed=False, missing=_bounded(unresolved))
        return _with_lookups(_DENIED, environment)

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
            (tuple(self._counted_run(grant) for grant in one.grants), captures)
            for one, captures in found
        ]

    def _counted_run(self, grant: _Grant) -> Run:
        """As `grant.run`, keeping to EXPRESSIONS_MAX. Made when first needed."""
        condition = grant.allow.condition
        if condition is None:
            return grant.run
        run = self._counted.get(id(condition))
        if run is None:
            run = self._counting.condition(condition, grant.scope)
            self._counted[id(condition)] = run
        return run

    # --- a query -------------------------------------------------------------------------------

    def prove_list(self, request: ListRequest, documents: Documents) -> Decision:
        """Whether every document that a query could return is allowed, whatever is stored. Takes
        the same time for any number of results; `missing` is as with `decide`."""
        environment = Environment(as_request(request), documents)
        unresolved = frozenset[Lookup]()
        denied = False
        try:
            for alternative in disjuncts(request.where):
                proved, pending = self._prove(request, alternative, environment)
                if proved:
                    continue
                if not pending:
                    denied = True
                    break
                unresolved |= pending
        except (LimitExceeded, RecursionError):
            denied = True
        if denied:
            return _with_lookups(_DENIED, environment)
        if unresolved:
            return Decision(allowed=False, missing=_bounded(unresolved))
        return _with_lookups(_ALLOWED, environment)

    def _prove(
        self,
        request: ListRequest,
        alternative: tuple[FieldConstraint, ...],
        environment: Environment,
    ) -> tuple[bool, frozenset[Lookup]]:
        """Whether some allow statement holds for all that pass one alternative of the filter."""
        pending = frozenset[Lookup]()
        found = subject(request, alternative)
        for grant, captures in self._provable(request, found):
            unknown = {at for at, capture in enumerate(captures) if not is_known(capture)}
            if not grant.uses_resource and not grant.captures & unknown:
                proved, missing = self._evaluated(grant, captures, environment)
            else:
                prover = self._prover(request, found, captures, environment)
                assert grant.allow.condition is not None
                result = prover.prove(grant.allow.condition, grant.scope)
                proved, missing = truth(result).is_proved, result.pending
            if proved:
                return True, pending
            pending |= missing
        return False, pending

    def _evaluated(
        self, grant: _Grant, captures: Captures, environment: Environment
    ) -> tuple[bool, frozenset[Lookup]]:
        """A condition that looks neither at the document nor at its id needs no proof."""
        run = self._counted_run(grant) if grant.weight > EXPRESSIONS_MAX else grant.run
        environment.captures = captures
        environment.budget = EXPRESSIONS_MAX
        try:
            return run(environment, ()) is True, frozenset()
        except EvaluationError:
            return False, frozenset()
        except Unresolved as fault:
            return False, fault.lookups

    def _provable(self, request: ListRequest, found: Subject) -> list[tuple[_Grant, Captures]]:
        """As `_listed`, without those that never grant."""
        if self.service != DOCUMENT_SERVICE:
            return []
        return [
            (grant, captures)
            for asked, captures in covering(self._askable["list"].tree, request, found)
            for grant in asked.grants
        ]

    def _listed(self, request: ListRequest, found: Subject) -> list[tuple[_Grant, Captures]]:
        if self.service != DOCUMENT_SERVICE:
            return []
        return [
            (grant, captures)
            for grants, captures in covering(self._tree, request, found)
            for grant in grants.get("list", ())
        ]

    def _prover(
        self,
        request: ListRequest,
        found: Subject,
        captures: Captures,
        environment: Environment,
        *,
        traced: bool = False,
    ) -> Prover:
        def look_up(lookup: Lookup) -> Result:
            try:
                return Result(Known((environment.look_up(lookup),)))
            except Unresolved as fault:
                return Result(Anything(origin="a missing document"), True, fault.lookups)

        query = environment.request.query
        assert query is not None
        made = world(request, query, found, look_up)
        return Prover(made, abstract_captures(captures), traced=traced)

    def explain_list(self, request: ListRequest, documents: Documents) -> Explanation:
        """The same decision, with a reason for each allow statement that is not proved, and the
        filter that would make it so. Only for the app's developer, as `explain`."""
        decision = self.prove_list(request, documents)
        if decision.allowed or decision.missing:
            return Explanation(decision, describe(request))
        environment = Environment(as_request(request), documents)
        reasons: list[Reason] = []
        try:
            for alternative in disjuncts(request.where):
                proved, pending = self._prove(request, alternative, environment)
                if not proved and not pending:
                    reasons = self._list_reasons(request, alternative, environment)
                    break
        except (LimitExceeded, RecursionError) as error:
            reasons = [Reason(f"evaluation error: {error}")]
        return Explanation(_because(decision, tuple(reasons)), describe(request))

    def _list_reasons(
        self,
        request: ListRequest,
        alternative: tuple[FieldConstraint, ...],
        environment: Environment,
    ) -> list[Reason]:
        found = subject(request, alternative)
        reasons: list[Reason] = []
        for grant, captures in self._listed(request, found):
            assert grant.allow.condition is not None
            prover = self._prover(request, found, captures, environment, traced=True)
            prover.prove(grant.allow.condition, grant.scope)
            assert prover.proof is not None
            reasons.append(list_reason(self._source, prover.proof, grant.allow.span))
        if reasons:
            return reasons
        message = f"no allow statement with list covers every document of the {describe(request)}"
        hint = None
        if request.group:
            hint = "a collection group needs a match such as /{path=**}/" + request.collection[-1]
            hint += "/{id} and rules_version '2'"
        return [Reason(message, hint=hint)]

    def open_access(self) -> list[OpenAccess]:
        """Every allow statement that lets anybody in, for reads or writes, in source order."""
        return open_access(self._source, self._outline)

    # --- why -----------------------------------------------------------------------------------

    def explain(self, request: Request, documents: Documents) -> Explanation:
        """The same decision, with a reason for each allow statement that did not grant. For the
        app's developer: it shows values of documents, so a caller must never see it."""
        subject = f"{request.method} of /{'/'.join(request.path)}"
        decision = self.decide(request, documents)
        if decision.allowed or decision.missing:
            return Explanation(decision, subject)
        asked = self._matching(request)
        if not asked:
            return Explanation(_because(decision, (self._uncovered(request),)), subject)
        compiler = Compiler(service=self.service, traced=True)
        environment = Environment(request, documents)
        reasons: list[Reason] = []
        for grant, captures in asked:
            environment.captures = captures
            trace = self._traced(compiler, grant, environment)
            reasons.append(reason_of(self._source, trace, request.method, grant.allow.span))
            if isinstance(trace.fault, LimitExceeded):
                break
        return Explanation(_because(decision, tuple(reasons)), subject)

    def _matching(self, request: Request) -> list[tuple[_Grant, Captures]]:
        """Every allow statement that names the method, in matches that cover the path."""
        if request.service != self.service:
            return []
        return [
            (grant, captures)
            for grants, captures in self._tree.match(_full_path(request))
            for grant in grants.get(request.method, ())
        ]

    def _traced(self, compiler: Compiler, grant: _Grant, environment: Environment) -> Trace:
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

    def _uncovered(self, request: Request) -> Reason:
        """Why no allow statement was asked."""
        path = "/" + "/".join(request.path)
        if request.service != self.service:
            return Reason(f"these rules are for {self.service}, not {request.service}")
        matched = self._tree.match(_full_path(request))
        methods = {method for grants, _ in matched for method in grants}
        if methods:
            named = ", ".join(method for method in METHODS if method in methods)
            message = f"no allow statement for `{path}` names {request.method} (only {named})"
            return Reason(message)
        hint = "rules of a match do not reach into subcollections, unless it ends with {name=**}"
        return Reason(f"no match statement covers `{path}`", hint=hint)


def _full_path(request: Request) -> Segments:
    if request.service == DOCUMENT_SERVICE:
        return ("databases", request.database, "documents", *request.path)
    return request.path


def _with_lookups(decision: Decision, environment: Environment) -> Decision:
    if not environment.lookups:
        return decision
    return Decision(decision.allowed, lookups=frozenset(environment.lookups))


def _because(decision: Decision, reasons: tuple[Reason, ...]) -> Decision:
    return Decision(decision.allowed, decision.missing, decision.lookups, reasons)


def _bounded(lookups: frozenset[Lookup]) -> frozenset[Lookup]:
    """No more in one round than could be evaluated anyway."""
    if len(lookups) <= LOOKUPS_MAX:
        return lookups
    return frozenset(sorted(lookups)[:LOOKUPS_MAX])


def _grants(block: Block, compiler: Compiler, analysis: Analysis) -> _Grants:
    found: dict[str, list[_Grant]] = {}
    for allow in block.match.allows:
        grant = _grant(allow, block.scope, compiler, analysis)
        methods = dict.fromkeys(
            method for named in allow.methods for method in _GROUPS.get(named.name, (named.name,))
        )
        for method in methods:
            found.setdefault(method, []).append(grant)
    return {method: tuple(grants) for method, grants in found.items()}


def _grant(allow: ast.Allow, scope: Scope, compiler: Compiler, analysis: Analysis) -> _Grant:
    if allow.condition is None:
        return _Grant(allow, scope, lambda environment, frame: True, 0, False, frozenset())
    measure = analysis.measure(allow.condition, scope)
    return _Grant(
        allow=allow,
        scope=scope,
        run=compiler.condition(allow.condition, scope),
        weight=measure.weight,
        uses_resource=measure.uses_resource,
        captures=measure.captures,
    )


def _askable(
    method: str, blocks: list[tuple[tuple[ast.Segment, ...], _Grants]], least: int
) -> _Askable:
    items: list[tuple[tuple[ast.Segment, ...], _Asked]] = []
    for pattern, by_method in blocks:
        grants = tuple(grant for grant in by_method.get(method, ()) if not _never(grant.allow))
        if grants:
            runs = tuple(grant.run for grant in grants)
            items.append((pattern, _Asked(grants, runs, sum(grant.weight for grant in grants))))
    # A path may match through two recursive wildcards in several ways.
    heaviest = sum(item.weight * _most_matches(pattern) for pattern, item in items)
    return _Askable(PathTree(items, least), heaviest <= EXPRESSIONS_MAX)


def _never(allow: ast.Allow) -> bool:
    """Whether it is `if false`."""
    return isinstance(allow.condition, ast.Literal) and allow.condition.value is not True


def _most_matches(pattern: tuple[ast.Segment, ...]) -> int:
    recursive = sum(isinstance(one, ast.Wildcard) and one.recursive for one in pattern)
    return 1 if recursive < 2 else EXPRESSIONS_MAX
