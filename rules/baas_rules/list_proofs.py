"""Lists of one service: whether everything that a query could return is allowed, and why not."""

from __future__ import annotations

from baas_rules.abstract import Anything, Known, Result, truth
from baas_rules.decision import (
    OBJECT_SERVICE,
    AnyListRequest,
    Decision,
    Explanation,
    Lookup,
    ObjectListRequest,
    Reason,
)
from baas_rules.environment import Documents, Environment, Unresolved
from baas_rules.errors import EvaluationError, LimitExceeded
from baas_rules.explain import list_reason
from baas_rules.grants import Grant, Statements
from baas_rules.limits import EXPRESSIONS_MAX
from baas_rules.lists import (
    Listing,
    abstract_captures,
    as_request,
    describe,
    is_known,
    listings,
)
from baas_rules.matching import Captures
from baas_rules.prover import Prover
from baas_rules.scopes import Outline
from baas_rules.settling import DENIED, because, settled, undecided
from baas_rules.source import Source


class ListProofs:
    """Answers for the `list` statements of one service. Immutable, as the ruleset is."""

    def __init__(self, source: Source, made: Outline, statements: Statements) -> None:
        self._source = source
        self._service = made.service.name
        self._version = made.file.version
        self._statements = statements

    def prove(self, request: AnyListRequest, documents: Documents) -> Decision:
        """As `Ruleset.prove_list`."""
        if self._service == OBJECT_SERVICE and self._version == 1:
            return DENIED  # in version 1 nothing covers a listing
        environment = Environment(as_request(request), documents)
        unresolved = frozenset[Lookup]()
        denied = False
        try:
            for listing in listings(request):
                proved, pending = self._prove(listing, environment)
                if proved:
                    continue
                if not pending:
                    denied = True
                    break
                unresolved |= pending
        except (LimitExceeded, RecursionError):
            denied = True
        if not denied and unresolved:
            return undecided(unresolved)
        return settled(not denied, environment)

    def _prove(self, listing: Listing, environment: Environment) -> tuple[bool, frozenset[Lookup]]:
        """Whether some allow statement holds for all that a listing may return."""
        pending = frozenset[Lookup]()
        tree = self._statements.askable["list"].tree
        provable = [
            (grant, captures)
            for asked, captures in listing.covering(tree)
            for grant in asked.grants
        ]
        for grant, captures in provable:
            unknown = {at for at, capture in enumerate(captures) if not is_known(capture)}
            if not grant.uses_resource and not grant.captures & unknown:
                proved, missing = self._evaluated(grant, captures, environment)
            else:
                prover = _prover(listing, captures, environment)
                assert grant.allow.condition is not None
                result = prover.prove(grant.allow.condition, grant.scope)
                proved, missing = truth(result).is_proved, result.pending
            if proved:
                return True, pending
            pending |= missing
        return False, pending

    def _evaluated(
        self, grant: Grant, captures: Captures, environment: Environment
    ) -> tuple[bool, frozenset[Lookup]]:
        """A condition that looks neither at the document nor at its id needs no proof."""
        run = self._statements.counted_run(grant) if grant.weight > EXPRESSIONS_MAX else grant.run
        environment.captures = captures
        environment.budget = EXPRESSIONS_MAX
        try:
            return run(environment, ()) is True, frozenset()
        except EvaluationError:
            return False, frozenset()
        except Unresolved as fault:
            return False, fault.lookups

    # --- why -----------------------------------------------------------------------------------

    def explain(self, request: AnyListRequest, documents: Documents) -> Explanation:
        """As `Ruleset.explain_list`."""
        decision = self.prove(request, documents)
        if decision.allowed or decision.missing:
            return Explanation(decision, describe(request))
        if self._service == OBJECT_SERVICE and self._version == 1:
            return Explanation(because(decision, (self._uncovered(request),)), describe(request))
        environment = Environment(as_request(request), documents)
        reasons: list[Reason] = []
        try:
            for listing in listings(request):
                proved, pending = self._prove(listing, environment)
                if not proved and not pending:
                    reasons = self._reasons(listing, environment)
                    break
        except (LimitExceeded, RecursionError) as error:
            reasons = [Reason(f"evaluation error: {error}")]
        return Explanation(because(decision, tuple(reasons)), describe(request))

    def _reasons(self, listing: Listing, environment: Environment) -> list[Reason]:
        reasons: list[Reason] = []
        for grants, captures in listing.covering(self._statements.tree):
            for grant in grants.get("list", ()):
                assert grant.allow.condition is not None
                prover = _prover(listing, captures, environment, traced=True)
                prover.prove(grant.allow.condition, grant.scope)
                assert prover.proof is not None
                reasons.append(list_reason(self._source, prover.proof, grant.allow.span))
        return reasons or [self._uncovered(listing.request)]

    def _uncovered(self, request: AnyListRequest) -> Reason:
        what = "object" if self._service == OBJECT_SERVICE else "document"
        message = f"no allow statement with list covers every {what} of the {describe(request)}"
        hint = None
        if self._service == OBJECT_SERVICE and self._version == 1:
            return Reason("a list of objects needs rules_version '2'")
        if isinstance(request, ObjectListRequest):
            hint = "a list needs a match that ends with {name=**}, so that it covers all below"
        elif request.group:
            hint = "a collection group needs a match such as /{path=**}/" + request.collection[-1]
            hint += "/{id} and rules_version '2'"
        return Reason(message, hint=hint)


def _prover(
    listing: Listing, captures: Captures, environment: Environment, *, traced: bool = False
) -> Prover:
    def look_up(lookup: Lookup) -> Result:
        try:
            return Result(Known((environment.look_up(lookup),)))
        except Unresolved as fault:
            return Result(Anything(origin="a missing document"), True, fault.lookups)

    made = listing.world(environment.request.query or {}, look_up)
    return Prover(made, abstract_captures(captures), traced=traced)
