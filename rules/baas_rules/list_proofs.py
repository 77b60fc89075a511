"""Lists of one service: whether everything that a query could return is allowed, and why not."""

from __future__ import annotations

from collections.abc import Iterator

from baas_rules.abstract import Anything, Known, Result, truth
from baas_rules.coverage import Coverage
from baas_rules.decision import (
    OBJECT_SERVICE,
    AnyListRequest,
    Attempt,
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
from baas_rules.metering import metered
from baas_rules.prover import Proof, Prover
from baas_rules.scopes import Outline
from baas_rules.settling import ALLOWED_FOR_GOOD, DENIED, because, settled, undecided
from baas_rules.source import Source
from baas_rules.steps import Narrator, attempt, looked_up


class ListProofs:
    """Answers for the `list` statements of one service. Immutable, as the ruleset is."""

    def __init__(self, source: Source, made: Outline, statements: Statements) -> None:
        self._source = source
        self._service = made.service.name
        self._is_first_version = made.file.version == 1
        self._statements = statements

    def prove(self, request: AnyListRequest, documents: Documents) -> Decision:
        """As `Ruleset.prove_list`."""
        return metered(lambda: self._proved(request, documents))

    def _proved(self, request: AnyListRequest, documents: Documents) -> Decision:
        if self._is_never(request):
            return DENIED
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
        if denied or environment.lookups or environment.uses_time:
            return settled(not denied, environment)
        return ALLOWED_FOR_GOOD

    def _is_never(self, request: AnyListRequest) -> bool:
        """In version 1 nothing covers a listing of objects, or a collection group."""
        return self._is_first_version and (isinstance(request, ObjectListRequest) or request.group)

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
            environment.uses_time = environment.uses_time or grant.uses_time
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

    def explain(
        self, request: AnyListRequest, documents: Documents, *, redact: bool = False
    ) -> Explanation:
        """As `Ruleset.explain_list`. Of the alternatives of a query, it tells of the first that is
        not allowed, or else of the last."""
        return metered(lambda: self._explained(request, documents, redact=redact))

    def _explained(
        self, request: AnyListRequest, documents: Documents, *, redact: bool
    ) -> Explanation:
        decision = self.prove(request, documents)
        subject = describe(request, redact=redact)
        if decision.missing:
            return Explanation(decision, subject)
        if self._is_never(request):
            reason = self._uncovered(request, subject)
            return Explanation(because(decision, (reason,)), subject)
        environment = Environment(as_request(request), documents)
        narrator = Narrator(self._source, redact=redact)
        reasons: list[Reason] = []
        attempts: list[Attempt] = []
        try:
            for listing in listings(request):
                proved, pending = self._prove(listing, environment)
                attempts, reasons = self._attempts(narrator, listing, environment, subject)
                if not proved and not pending:
                    break
        except (LimitExceeded, RecursionError) as error:
            reasons = [Reason(f"evaluation error: {error}")]
        return Explanation(
            decision if decision.allowed else because(decision, tuple(reasons)),
            subject,
            tuple(attempts),
            looked_up(environment, redact=redact),
        )

    def _attempts(
        self, narrator: Narrator, listing: Listing, environment: Environment, subject: str
    ) -> tuple[list[Attempt], list[Reason]]:
        attempts: list[Attempt] = []
        reasons: list[Reason] = []
        for grant, captures, proof in self.traced_proofs(listing, environment):
            if proof is None:
                granted = grant.allow.condition is None
                outcome = "granted" if granted else "not tried"
                attempts.append(attempt(narrator, grant, captures, outcome))
                continue
            outcome = "granted" if truth(proof.result).is_proved else "not proved"
            attempts.append(attempt(narrator, grant, captures, outcome, narrator.proof(proof)))
            if outcome != "granted":
                reasons.append(list_reason(narrator, proof, grant.allow.span))
        return attempts, reasons or [self._uncovered(listing.request, subject)]

    def cover(self, request: AnyListRequest, documents: Documents, coverage: Coverage) -> None:
        """As `Ruleset.cover_list`."""
        metered(lambda: self._covered(request, documents, coverage))

    def _covered(self, request: AnyListRequest, documents: Documents, coverage: Coverage) -> None:
        environment = Environment(as_request(request), documents)
        if self._is_never(request):
            return
        for listing in listings(request):
            for grant, _, proof in self.traced_proofs(listing, environment):
                if proof is not None:
                    coverage.add_proof(grant, proof)
                elif grant.allow.condition is None:
                    coverage.add_evaluation(grant, None)

    def traced_proofs(
        self, listing: Listing, environment: Environment
    ) -> Iterator[tuple[Grant, Captures, Proof | None]]:
        """Proves the statements in turn, up to one that grants; None stands for what is not
        evaluated, be it without a condition or behind the one that granted."""
        over = False
        for grants, captures in listing.covering(self._statements.tree):
            for grant in grants.get("list", ()):
                condition = grant.allow.condition
                if over or condition is None:
                    yield grant, captures, None
                    over = True
                    continue
                prover = _prover(listing, captures, environment, traced=True)
                result = prover.prove(condition, grant.scope)
                over = truth(result).is_proved
                yield grant, captures, prover.proof

    def _uncovered(self, request: AnyListRequest, subject: str) -> Reason:
        what = "object" if self._service == OBJECT_SERVICE else "document"
        message = f"no allow statement with list covers every {what} of the {subject}"
        hint = None
        if self._is_never(request):
            what = "list of objects" if self._service == OBJECT_SERVICE else "collection group"
            return Reason(f"a {what} needs rules_version '2'")
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
