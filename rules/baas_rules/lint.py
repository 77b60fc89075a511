"""Warnings for rules that compile and still are not what anybody can want: what leaks, what can
never hold, what can never have a value.

Each condition is proved in open worlds: for each method, for an anonymous and for some signed-in
caller. What comes out for all of them holds whatever is stored.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from baas_rules import ast
from baas_rules.abstract import Abstract, kinds_of, truth
from baas_rules.analysis import calls_of, walk
from baas_rules.decision import DOCUMENT_SERVICE, OBJECT_SERVICE, WRITE_METHODS
from baas_rules.errors import Diagnostic, LimitExceeded, Severity
from baas_rules.exposure import grants_to
from baas_rules.limits import FILE_VISITS_MAX
from baas_rules.metering import is_spent, metered
from baas_rules.prover import Proof, Prover
from baas_rules.scopes import Block, Declared, Outline, Scope
from baas_rules.source import Source, Span
from baas_rules.worlds import ANONYMOUS, SIGNED_IN, captures_of, methods_of, open_world

FINDINGS_MAX: Final = 100
_CALLERS: Final[tuple[Abstract, ...]] = (SIGNED_IN, ANONYMOUS)
# Names of fields by which rules tell who may do more than others.
_ROLE_NAMES: Final = frozenset(
    (
        *("role", "roles", "admin", "isadmin", "is_admin", "administrator", "permissions"),
        *("superuser", "is_superuser", "issuperuser", "moderator", "ismoderator"),
        *("is_moderator", "premium", "ispremium", "is_premium"),
    )
)


def lint(source: Source, outlines: tuple[Outline, ...]) -> list[Diagnostic]:
    """Every warning, in source order; each with a code by which it is known."""
    found: dict[tuple[str, int, str], Diagnostic] = {}
    for outline in outlines:
        for one in metered(_Linter(source, outline).all_findings, FILE_VISITS_MAX):
            found.setdefault((one.code or "", one.line, one.message), one)
    return sorted(found.values(), key=lambda one: (one.line, one.column))[:FINDINGS_MAX]


@dataclass(slots=True)
class _Seen:
    """What a sub-expression came to in the worlds in which it was evaluated."""

    node: ast.Expression
    has_value: bool = False
    error: str = ""
    left: set[str] | None = field(default_factory=set)
    right: set[str] | None = field(default_factory=set)
    parents: set[int] = field(default_factory=set)


class _Linter:
    def __init__(self, source: Source, outline: Outline) -> None:
        self._source = source
        self._outline = outline
        self._service = outline.service.name
        self._seen: dict[int, _Seen] = {}
        self._holds: dict[int, bool] = {}  # allow statements, by whether they can hold at all
        self._skipped: set[int] = set()  # nodes of conditions that are too large to be judged

    def all_findings(self) -> list[Diagnostic]:
        return list(self._findings())

    def _findings(self) -> Iterator[Diagnostic]:
        for block in self._outline.blocks:
            for allow in block.match.allows:
                if allow.condition is not None:
                    self._evaluate(allow, allow.condition, block)
        yield from self._impossible()
        for block in self._outline.blocks:
            for allow in block.match.allows:
                if is_spent():
                    return  # what is left of a file that takes so long is not judged
                yield from self._statement(allow, block)

    def _warning(self, code: str, message: str, span: Span, hint: str | None = None) -> Diagnostic:
        found = self._source.diagnostic(Severity.WARNING, message, span, hint)
        return found.with_code(code)

    # --- what can never be ---------------------------------------------------------------------

    def _evaluate(self, allow: ast.Allow, condition: ast.Expression, block: Block) -> None:
        holds = False
        for method in methods_of(tuple(one.name for one in allow.methods)):
            for auth, exists in itertools.product(_CALLERS, (True, False)):
                world = open_world(self._service, method, auth=auth, exists=exists)
                prover = Prover(world, captures_of(block), traced=True)
                try:
                    result = prover.prove(condition, block.scope)
                except (LimitExceeded, RecursionError):
                    self._holds[id(allow)] = True
                    self._skip(condition, block.scope)
                    return
                holds = holds or truth(result).true
                assert prover.proof is not None
                self._note(prover.proof)
        self._holds[id(allow)] = holds

    def _skip(self, node: ast.Expression, scope: Scope) -> None:
        for part in _parts(node, scope):
            self._skipped.add(id(part))

    def _note(self, proof: Proof) -> None:
        pending: list[tuple[Proof, Proof | None]] = [(proof, None)]
        while pending:
            found, parent = pending.pop()
            seen = self._seen.setdefault(id(found.node), _Seen(found.node))
            value = found.result.value
            if value is None:
                seen.error = seen.error or found.result.error
            else:
                seen.has_value = True
            if parent is not None:
                seen.parents.add(id(parent.node))
            if isinstance(found.node, ast.Binary) and len(found.children) == 2:
                seen.left = _merged(seen.left, found.children[0])
                seen.right = _merged(seen.right, found.children[1])
            pending.extend((child, found) for child in found.children)

    def _impossible(self) -> Iterator[Diagnostic]:
        valueless = {
            key
            for key, seen in self._seen.items()
            if not seen.has_value and key not in self._skipped
        }
        # The innermost is to blame.
        guilty = valueless - {parent for key in valueless for parent in self._seen[key].parents}
        for key, seen in self._seen.items():
            if key in self._skipped:
                continue
            if key in guilty:
                why = f": {seen.error}" if seen.error else ""
                yield self._warning(
                    "never-a-value",
                    f"this always fails{why}",
                    seen.node.span,
                    "a condition that fails denies, unless `||` has another way",
                )
            elif isinstance(seen.node, ast.Binary):
                yield from self._unlike(seen.node, seen)

    def _unlike(self, node: ast.Binary, seen: _Seen) -> Iterator[Diagnostic]:
        if node.operator not in ("==", "!=") or not seen.left or not seen.right:
            return
        left, right = _without_null(seen.left), _without_null(seen.right)
        if not left or not right or left & right:
            return
        if left <= {"int", "float"} and right <= {"int", "float"}:
            return
        outcome = "never true" if node.operator == "==" else "always true"
        yield self._warning(
            "unlike-types",
            f"{_words(left)} and {_words(right)} are never equal: this is {outcome}",
            node.span,
            _unlike_hint(left, right),
        )

    # --- statements ----------------------------------------------------------------------------

    def _statement(self, allow: ast.Allow, block: Block) -> Iterator[Diagnostic]:
        condition = allow.condition
        if isinstance(condition, ast.Literal) and condition.value is not True:
            return
        if not self._holds.get(id(allow), True) and condition is not None:
            yield self._warning(
                "never-holds",
                "this condition can never hold: nobody is ever allowed",
                condition.span,
                "write `if false` if that is meant",
            )
            return
        methods = tuple(methods_of(tuple(one.name for one in allow.methods)))
        anybody = [m for m in methods if grants_to(allow, block, self._service, m)]
        if anybody:
            yield self._warning(
                "open-to-all",
                f"anybody, signed in or not, may {_listed(anybody)}",
                allow.span,
                "test at least `request.auth != null`, and who it is",
            )
        signed = [
            m
            for m in methods
            if m not in anybody and grants_to(allow, block, self._service, m, auth=SIGNED_IN)
        ]
        yield from self._signed_in(allow, block, signed)
        if "list" in anybody or "list" in signed:
            yield from self._unbounded(allow, block)
        if condition is not None:
            parts = list(_parts(condition, block.scope))
            yield from self._unvalidated(allow, parts, methods, [*anybody, *signed])
            yield from self._sent_roles(parts)
            yield from self._unverified(parts)

    def _signed_in(
        self, allow: ast.Allow, block: Block, methods: list[str]
    ) -> Iterator[Diagnostic]:
        writes = [method for method in methods if method in WRITE_METHODS]
        if writes:
            yield self._warning(
                "any-user-writes",
                f"any signed-in user may {_listed(writes)} whatever it holds",
                allow.span,
                "compare request.auth.uid with the owner that the path or the document names",
            )
        reads = [method for method in methods if method not in WRITE_METHODS]
        if reads and _is_everything(block, self._service):
            yield self._warning(
                "reads-everything",
                f"any signed-in user may {_listed(reads)} everything there is",
                allow.span,
                "give each collection a match of its own",
            )

    def _unbounded(self, allow: ast.Allow, block: Block) -> Iterator[Diagnostic]:
        if self._service != DOCUMENT_SERVICE:
            return
        condition = allow.condition
        parts = () if condition is None else _parts(condition, block.scope)
        if not any(isinstance(part, ast.Member) and part.name == "limit" for part in parts):
            yield self._warning(
                "unbounded-list",
                "whole collections may be listed at once",
                allow.span,
                "bound it: request.query.limit <= 100",
            )

    def _unvalidated(
        self,
        allow: ast.Allow,
        parts: list[ast.Expression],
        methods: tuple[str, ...],
        told: list[str],
    ) -> Iterator[Diagnostic]:
        written = [m for m in methods if m in ("create", "update")]
        if not written or set(written) <= set(told) or any(map(_is_new_resource, parts)):
            return
        if self._service == OBJECT_SERVICE:
            yield self._warning(
                "unvalidated-write",
                "objects of any size and type may be uploaded",
                allow.span,
                "test request.resource.size and request.resource.contentType",
            )
            return
        yield self._warning(
            "unvalidated-write",
            f"{_listed(written)} without a look at what is written: any field may be set",
            allow.span,
            "test request.resource.data, such as .keys().hasOnly([…])",
        )

    def _sent_roles(self, parts: list[ast.Expression]) -> Iterator[Diagnostic]:
        for part in parts:
            if not isinstance(part, ast.Binary) or part.operator != "==":
                continue
            for side, other in ((part.left, part.right), (part.right, part.left)):
                if (
                    isinstance(side, ast.Member)
                    and side.name.lower() in _ROLE_NAMES
                    and _is_new_data(side.target)
                    and isinstance(other, ast.Literal)
                    and (other.value is True or str(other.value).lower() in ("admin", "owner"))
                ):
                    yield self._warning(
                        "client-set-role",
                        f"`{side.name}` is what the client sends: it does not tell who it is",
                        side.span,
                        "read it from request.auth.token, or by get() from a document that "
                        "clients cannot write",
                    )

    def _unverified(self, parts: list[ast.Expression]) -> Iterator[Diagnostic]:
        emails = [one for one in parts if isinstance(one, ast.Member) and one.name == "email"]
        mine = [one for one in emails if _is_token(one.target)]
        names = {one.name for one in parts if isinstance(one, ast.Member)}
        if mine and "email_verified" not in names:
            yield self._warning(
                "unverified-email",
                "the token's email may be one that nobody has verified",
                mine[0].span,
                "test request.auth.token.email_verified == true too",
            )


def _parts(node: ast.Expression, scope: Scope) -> Iterator[ast.Expression]:
    """The expression, every sub-expression, and those of the functions that it leads to."""
    seen: set[int] = set()
    yield from walk(node)
    pending: list[Declared] = []
    for part in walk(node):
        if isinstance(part, ast.Call):
            declared = scope.function(part.name)
            if declared is not None:
                pending.append(declared)
    while pending:
        declared = pending.pop()
        if id(declared.function) in seen:
            continue
        seen.add(id(declared.function))
        for let in declared.function.lets:
            yield from walk(let.value)
        yield from walk(declared.function.result)
        pending.extend(callee for _, callee in calls_of(declared))


def _merged(kinds: set[str] | None, proof: Proof) -> set[str] | None:
    """The types seen so far; None once one is not known."""
    value = proof.result.value
    if kinds is None or value is None:
        return kinds
    found = kinds_of(value)
    return None if found is None else kinds | found


def _without_null(kinds: set[str]) -> set[str]:
    return kinds - {"null"} if kinds != {"null"} else set()


def _words(kinds: set[str]) -> str:
    return " or ".join(sorted(kinds))


def _unlike_hint(left: set[str], right: set[str]) -> str | None:
    kinds = left | right
    if kinds == {"path", "string"}:
        return "compare the ids, or make a path of the string: path(…)"
    if kinds == {"list", "set"}:
        return "make a set of the list: .toSet()"
    return None


def _listed(methods: list[str]) -> str:
    return methods[0] if len(methods) == 1 else f"{', '.join(methods[:-1])} and {methods[-1]}"


def _is_everything(block: Block, service: str) -> bool:
    """Whether the match covers all documents, or all objects."""
    root = 3
    rest = block.pattern[root:]
    return len(rest) == 1 and isinstance(rest[0], ast.Wildcard) and rest[0].recursive


def _is_new_resource(node: ast.Expression) -> bool:
    return (
        isinstance(node, ast.Member)
        and node.name == "resource"
        and isinstance(node.target, ast.Name)
        and node.target.name == "request"
    )


def _is_new_data(node: ast.Expression) -> bool:
    return isinstance(node, ast.Member) and node.name == "data" and _is_new_resource(node.target)


def _is_token(node: ast.Expression) -> bool:
    return isinstance(node, ast.Member) and node.name == "token"
