"""What is asked of a ruleset, and what it answers. Plain data, no behaviour.

Values in requests and documents are rule values: None, bool, int, float, str, bytes, list and dict
as they are, and `values.Timestamp`, `Duration`, `LatLng`, `Path` for the rest. They are never
copied and never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from baas_rules.errors import caret_snippet
from baas_rules.values import Timestamp

Segments: TypeAlias = tuple[str, ...]

DOCUMENT_SERVICE = "cloud.firestore"
OBJECT_SERVICE = "firebase.storage"

READ_METHODS = ("get", "list")
WRITE_METHODS = ("create", "update", "delete")
METHODS = READ_METHODS + WRITE_METHODS


class Lookup(NamedTuple):
    """A document that a condition asks for: its path below the documents root. `after` asks for
    its state after the whole commit (`getAfter`, `existsAfter`). `database` is that of a document
    which the rules of objects ask for; empty, it is the request's own."""

    path: Segments
    after: bool = False
    database: str = ""


# The three below are made on every request, so they are not frozen: that doubles their cost.
# Nothing writes to them after they are made.


@dataclass(slots=True)
class Auth:
    """Who asks: `request.auth`. `token` holds the claims."""

    uid: str
    token: Mapping[str, Any]


@dataclass(slots=True)
class ResourceDocument:
    """A document as rules see it. `path` is below the documents root."""

    path: Segments
    data: Mapping[str, Any]


@dataclass(slots=True)
class Request:
    """One access to one document or object.

    `path` is below the documents root (documents) or `("b", bucket, "o", …)` (objects). `resource`
    is the stored document, None if there is none; `new_resource` the state after the write, for
    create and update only. For objects both are dicts of object metadata."""

    method: str
    path: Segments
    auth: Auth | None
    time: Timestamp
    resource: ResourceDocument | Mapping[str, Any] | None = None
    new_resource: ResourceDocument | Mapping[str, Any] | None = None
    service: str = DOCUMENT_SERVICE
    database: str = "(default)"
    params: Mapping[str, Any] = field(default_factory=dict)  # request.params, of objects
    query: Mapping[str, Any] | None = None  # request.query, of `list` only


FilterOperator: TypeAlias = Literal[
    "==", "!=", "<", "<=", ">", ">=", "in", "not-in", "array-contains", "array-contains-any"
]


@dataclass(frozen=True, slots=True)
class FieldConstraint:
    """One filter of a query. `field` is a field path, or `("__name__",)` with Path operands."""

    field: Segments
    operator: FilterOperator
    value: Any


@dataclass(frozen=True, slots=True)
class AllOf:
    constraints: tuple[Constraint, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    constraints: tuple[Constraint, ...]


Constraint: TypeAlias = FieldConstraint | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class ListOrder:
    field: Segments
    descending: bool = False


@dataclass(frozen=True, slots=True)
class ListBound:
    """Where a query's cursor makes it start or end, as its first ordering tells it: in the order
    over all values, in which types come one after another."""

    field: Segments
    operator: Literal["<", "<=", ">", ">="]
    value: Any


@dataclass(frozen=True, slots=True)
class ListRequest:
    """One query, as the rules' `list`.

    `collection` is the path of a collection below the documents root. For a collection group
    (`group`), it is the group's id behind the path of the document it is searched under, if any:
    `("orders",)` or `("users", "ada", "orders")`."""

    collection: Segments
    auth: Auth | None
    time: Timestamp
    group: bool = False
    where: Constraint | None = None
    order_by: tuple[ListOrder, ...] = ()
    limit: int | None = None
    offset: int = 0
    database: str = "(default)"
    bounds: tuple[ListBound, ...] = ()


@dataclass(frozen=True, slots=True)
class ObjectListRequest:
    """One listing of objects, as the rules' `list`: of all whose names begin with `prefix`.

    A delimiter makes no difference, as the folders that it gives tell of the objects in them."""

    bucket: str
    prefix: str
    auth: Auth | None
    time: Timestamp
    params: Mapping[str, Any] = field(default_factory=dict)  # request.params


AnyListRequest: TypeAlias = ListRequest | ObjectListRequest


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one allow statement did not grant (or, with line 0, why none was asked).

    `values` are the sub-expressions that matter, as written, with what they were."""

    message: str
    line: int = 0
    column: int = 0
    end_column: int = 0
    source_line: str = ""
    values: tuple[tuple[str, str], ...] = ()
    hint: str | None = None

    def snippet(self) -> str:
        """The source line with carets, or nothing if there is no place."""
        if not self.line:
            return ""
        return caret_snippet(self.source_line, self.line, self.column, self.end_column)

    def __str__(self) -> str:
        lines = [self.message]
        if self.line:
            lines.append(self.snippet())
        lines.extend(f"    {text} is {value}" for text, value in self.values)
        if self.hint is not None:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer. With `missing`, nothing is decided: read those documents, ask again with them.

    `lookups` are the documents (missing ones too) that the answer rests on. `reasons` are filled by
    `Ruleset.explain` and `explain_list` only, and are for the app's developer, not the caller.

    `is_lasting` is told of lists: the same query with the same `auth` is allowed by these rules at
    any time, whatever is stored."""

    allowed: bool
    missing: frozenset[Lookup] = frozenset()
    lookups: frozenset[Lookup] = frozenset()
    reasons: tuple[Reason, ...] = ()
    is_lasting: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A sub-expression that was evaluated: what it came to, or why it has no value (`error`), and
    the steps inside of it, in order. `text` is the source, `value` in the language's notation."""

    text: str
    line: int
    column: int
    end_column: int
    value: str | None
    error: str | None
    children: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """An allow statement that names the method, in a match that covers the path. `outcome` is
    `granted`, `false`, `error`, `not proved` (lists) or `not tried` (another one had granted)."""

    pattern: str
    line: int
    methods: tuple[str, ...]
    captures: tuple[tuple[str, str], ...]
    outcome: str
    step: Step | None = None


@dataclass(frozen=True, slots=True)
class LookedUp:
    """A document that an explanation's decision rests on."""

    lookup: Lookup
    exists: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and why: every statement that was tried, step by step, and if it denied, one
    reason for each. `expressions` is what the evaluation cost, of `limits.EXPRESSIONS_MAX`."""

    decision: Decision
    subject: str  # such as `update of /users/ada`
    attempts: tuple[Attempt, ...] = ()
    lookups: tuple[LookedUp, ...] = ()
    expressions: int = 0

    @property
    def allowed(self) -> bool:
        return self.decision.allowed

    @property
    def reasons(self) -> tuple[Reason, ...]:
        return self.decision.reasons

    def __str__(self) -> str:
        if self.decision.missing:
            paths = ", ".join(sorted("/" + "/".join(item.path) for item in self.decision.missing))
            return f"{self.subject} is undecided: it needs {paths}"
        verdict = "allowed" if self.allowed else "denied"
        return "\n".join([f"{self.subject} is {verdict}", *map(str, self.reasons)])

    def tree(self) -> str:
        """Everything, for a person: the statements, their steps, the lookups and the cost."""
        lines = [str(self)]
        for attempt in self.attempts:
            bound = ", ".join(f"{name} = {value}" for name, value in attempt.captures)
            lines.append(
                f"{attempt.outcome}: allow {', '.join(attempt.methods)} (line {attempt.line})"
                f" of match {attempt.pattern}" + (f" with {bound}" if bound else "")
            )
            if attempt.step is not None:
                lines.extend(_step_lines(attempt.step, 1))
        for found in self.lookups:
            state = "exists" if found.exists else "does not exist"
            after = " after the commit" if found.lookup.after else ""
            lines.append(f"looked up /{'/'.join(found.lookup.path)}{after}: {state}")
        lines.append(f"cost: {self.expressions} expressions, {len(self.lookups)} lookups")
        return "\n".join(lines)


def _step_lines(step: Step, depth: int) -> list[str]:
    told = f"error: {step.error}" if step.error is not None else step.value
    lines = [f"{'  ' * depth}{step.text} -> {told}"]
    for child in step.children:
        lines.extend(_step_lines(child, depth + 1))
    return lines


@dataclass(frozen=True, slots=True)
class OpenAccess:
    """An allow statement that lets anybody in, signed in or not, whatever the document holds.

    `time_bound` tells that it does so until, or from, some date."""

    pattern: str
    methods: tuple[str, ...]
    line: int
    time_bound: bool = False

    @property
    def reads(self) -> bool:
        return any(method in READ_METHODS for method in self.methods)

    @property
    def writes(self) -> bool:
        return any(method in WRITE_METHODS for method in self.methods)
