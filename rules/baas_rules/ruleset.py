"""The façade: a rules file, parsed, checked and compiled once, asked many times."""

from __future__ import annotations

from baas_rules import checker
from baas_rules.coverage import Coverage
from baas_rules.decision import (
    DOCUMENT_SERVICE,
    OBJECT_SERVICE,
    AnyListRequest,
    Decision,
    Explanation,
    ObjectListRequest,
    OpenAccess,
    Reason,
    Request,
    Segments,
)
from baas_rules.environment import Documents
from baas_rules.errors import Diagnostic, RulesCheckError, RulesSyntaxError, Severity
from baas_rules.exposure import open_access
from baas_rules.lint import lint as find_lint
from baas_rules.lists import describe
from baas_rules.parser import parse
from baas_rules.scopes import Outline, outlines
from baas_rules.service import PlainAccess, ServiceRules, denied_plainly
from baas_rules.settling import DENIED, because
from baas_rules.source import Source
from baas_rules.steps import subject_of


def decode_source(data: bytes, *, name: str = "firestore.rules") -> str:
    """The text of a rules file, which is UTF-8. Raises RulesSyntaxError, with the place, if it is
    not."""
    text = data.decode("utf-8", "surrogateescape")
    if text.isascii() or text.encode("utf-8", "surrogateescape") == text.encode("utf-8", "replace"):
        return text
    raise RulesSyntaxError(_errors(parse(Source(text, name))[1]))


def check(source: str, *, name: str = "firestore.rules") -> list[Diagnostic]:
    """Every error and warning of a rules file, errors first. Never raises."""
    found = _analyse(Source(source, name))[1]
    return sorted(found, key=lambda one: one.severity is not Severity.ERROR)


def lint(source: str, *, name: str = "firestore.rules") -> list[Diagnostic]:
    """Warnings for what leaks or can never hold, each with a code. Of a file with errors, nothing:
    `check` tells those. Never raises."""
    text = Source(source, name)
    made, diagnostics = _analyse(text)
    return [] if _errors(diagnostics) else find_lint(text, made)


def _analyse(source: Source) -> tuple[tuple[Outline, ...], list[Diagnostic]]:
    tree, diagnostics = parse(source)
    if tree is None or _errors(diagnostics):
        return (), diagnostics
    made = outlines(tree)
    return made, diagnostics + checker.check(source, made)


def _errors(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    return [found for found in diagnostics if found.severity is Severity.ERROR]


class Ruleset:
    """The rules of one file: of documents, of objects, or of both. Immutable and safe to share
    between threads; every question is answered synchronously, without I/O, from what is passed
    in. What belongs to a service that the file does not have is denied."""

    def __init__(
        self, source: Source, made: tuple[Outline, ...], warnings: list[Diagnostic]
    ) -> None:
        self._source = source
        self._version = made[0].file.version
        self.warnings: tuple[Diagnostic, ...] = tuple(warnings)
        self._services = {one.service.name: ServiceRules(source, one) for one in made}

    @classmethod
    def parse(cls, source: str, *, name: str = "firestore.rules") -> Ruleset:
        """Raises RulesSyntaxError or RulesCheckError, whose `diagnostics` hold every error."""
        text = Source(source, name)
        made, diagnostics = _analyse(text)
        errors = _errors(diagnostics)
        if not made:
            raise RulesSyntaxError(errors)
        if errors:
            raise RulesCheckError(errors)
        return cls(text, made, diagnostics)

    @property
    def services(self) -> tuple[str, ...]:
        """The services that the file has rules for, in its order."""
        return tuple(self._services)

    @property
    def source(self) -> str:
        return self._source.text

    @property
    def version(self) -> int:
        """The `rules_version`: 1 or 2."""
        return self._version

    def is_open(self, method: str, database: str, path: Segments) -> bool:
        """Whether anybody is allowed this with a document, whatever it holds, told from the names
        of the collections in its path alone. False says nothing: ask `decide`."""
        rules = self._services.get(DOCUMENT_SERVICE)
        return rules is not None and rules.is_open(method, database, path)

    def decide(self, request: Request, documents: Documents) -> Decision:
        """Whether a request for one document or object is allowed, given the documents that were
        looked up so far.

        If that depends on documents which are not given, the decision names as many of them as can
        be told now; those that a short-circuit spares are not named."""
        rules = self._services.get(request.service)
        return DENIED if rules is None else rules.decide(request, documents)

    def allows_plainly(self, request: Request) -> PlainAccess:
        """To ask the same of many documents, one after the other: whether each may be accessed as
        `request` says, which is changed for it and whose path and states do not matter. Costs a
        part of what `decide` does, which has to be asked wherever the answer is no."""
        rules = self._services.get(DOCUMENT_SERVICE)
        return denied_plainly if rules is None else rules.allows_plainly(request)

    def prove_list(self, request: AnyListRequest, documents: Documents) -> Decision:
        """Whether everything that a query could return is allowed, whatever is stored. Takes
        the same time for any number of results; `missing` is as with `decide`."""
        rules = self._services.get(_service_of(request))
        return DENIED if rules is None else rules.lists.prove(request, documents)

    def explain(
        self, request: Request, documents: Documents, *, redact: bool = False
    ) -> Explanation:
        """The same decision, with every step that led to it, and a reason for each allow statement
        that did not grant. For the app's developer: it shows values of documents, so a caller must
        never see it. With `redact` it shows their types instead, and no ids."""
        rules = self._services.get(request.service)
        if rules is None:
            return self._foreign(request.service, subject_of(request, redact=redact))
        return rules.explain(request, documents, redact=redact)

    def explain_list(
        self, request: AnyListRequest, documents: Documents, *, redact: bool = False
    ) -> Explanation:
        """The same decision, with a reason for each allow statement that is not proved, and the
        filter that would make it so. Only for the app's developer, as `explain`."""
        rules = self._services.get(_service_of(request))
        if rules is None:
            return self._foreign(_service_of(request), describe(request, redact=redact))
        return rules.lists.explain(request, documents, redact=redact)

    # --- coverage ------------------------------------------------------------------------------

    def coverage(self) -> Coverage:
        """Counters, all at nought, for `cover` and `cover_list`."""
        outlines = tuple(rules.outline for rules in self._services.values())
        return Coverage(self._source, outlines)

    def cover(self, request: Request, documents: Documents, coverage: Coverage) -> None:
        """Counts what deciding this evaluates."""
        rules = self._services.get(request.service)
        if rules is not None:
            rules.cover(request, documents, coverage)

    def cover_list(self, request: AnyListRequest, documents: Documents, coverage: Coverage) -> None:
        """Counts what proving this evaluates."""
        rules = self._services.get(_service_of(request))
        if rules is not None:
            rules.lists.cover(request, documents, coverage)

    def _foreign(self, service: str, subject: str) -> Explanation:
        reason = Reason(f"these rules are for {' and '.join(self._services)}, not {service}")
        return Explanation(because(DENIED, (reason,)), subject)

    def open_access(self) -> list[OpenAccess]:
        """Every allow statement that lets anybody in, for reads or writes, in source order."""
        found = [
            access
            for rules in self._services.values()
            for access in open_access(self._source, rules.outline)
        ]
        return sorted(found, key=lambda one: (one.line, one.time_bound))


def _service_of(request: AnyListRequest) -> str:
    return OBJECT_SERVICE if isinstance(request, ObjectListRequest) else DOCUMENT_SERVICE
