"""The syntax tree: frozen nodes, each with its Span. It holds what was written, unresolved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from baas_rules.source import Span


@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    value: Any  # None, bool, int, float, str or bytes
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Name:
    name: str
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """`target.name`"""

    target: Expression
    name: str
    span: Span
    name_span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """`target[at]`"""

    target: Expression
    at: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """`target[start:end]`"""

    target: Expression
    start: Expression
    end: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """`name(arguments)`: a function of the file, of the library, or a lookup."""

    name: str
    arguments: tuple[Expression, ...]
    span: Span
    name_span: Span


@dataclass(frozen=True, slots=True, eq=False)
class MethodCall:
    """`target.name(arguments)`; also a call in a namespace (`math.abs(x)`)."""

    target: Expression
    name: str
    arguments: tuple[Expression, ...]
    span: Span
    name_span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Unary:
    """`!operand` or `-operand`"""

    operator: str
    operand: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Binary:
    operator: str
    left: Expression
    right: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Logic:
    """A chain of one of `&&`, `||`; two operands or more."""

    operator: str
    operands: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class TypeTest:
    """`operand is type`"""

    operand: Expression
    type: str
    span: Span
    type_span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Conditional:
    """`test ? then : otherwise`"""

    test: Expression
    then: Expression
    otherwise: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class ListLiteral:
    items: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class MapLiteral:
    entries: tuple[tuple[Expression, Expression], ...]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class PathLiteral:
    """`/a/$(b)/c`: texts and expressions."""

    segments: tuple[str | Expression, ...]
    span: Span


Expression: TypeAlias = (
    Literal
    | Name
    | Member
    | Index
    | Cut
    | Call
    | MethodCall
    | Unary
    | Binary
    | Logic
    | TypeTest
    | Conditional
    | ListLiteral
    | MapLiteral
    | PathLiteral
)


@dataclass(frozen=True, slots=True, eq=False)
class Let:
    name: str
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Parameter:
    name: str
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    name: str
    parameters: tuple[Parameter, ...]
    lets: tuple[Let, ...]
    result: Expression
    span: Span
    name_span: Span


@dataclass(frozen=True, slots=True, eq=False)
class LiteralSegment:
    text: str
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Wildcard:
    """`{name}`, or `{name=**}` if recursive."""

    name: str
    recursive: bool
    span: Span


Segment: TypeAlias = LiteralSegment | Wildcard


@dataclass(frozen=True, slots=True, eq=False)
class AllowMethod:
    name: str
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Allow:
    """`condition` is None for `allow read;`, which grants."""

    methods: tuple[AllowMethod, ...]
    condition: Expression | None
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    pattern: tuple[Segment, ...]
    functions: tuple[Function, ...]
    allows: tuple[Allow, ...]
    matches: tuple[Match, ...]
    span: Span
    pattern_span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    name: str
    functions: tuple[Function, ...]
    matches: tuple[Match, ...]
    span: Span
    name_span: Span


@dataclass(frozen=True, slots=True, eq=False)
class RulesFile:
    """`version` is 1 if the file names none; `version_span` is None then. There is one service or
    more, each of another name."""

    version: int
    version_span: Span | None
    functions: tuple[Function, ...]
    services: tuple[Service, ...]


def children(node: Expression) -> tuple[Expression, ...]:
    """The direct sub-expressions, in source order."""
    match node:
        case Literal() | Name():
            return ()
        case Member(target=target):
            return (target,)
        case Index(target=target, at=at):
            return (target, at)
        case Cut(target=target, start=start, end=end):
            return (target, start, end)
        case Call(arguments=arguments):
            return arguments
        case MethodCall(target=target, arguments=arguments):
            return (target, *arguments)
        case Unary(operand=operand) | TypeTest(operand=operand):
            return (operand,)
        case Binary(left=left, right=right):
            return (left, right)
        case Logic(operands=operands):
            return operands
        case Conditional(test=test, then=then, otherwise=otherwise):
            return (test, then, otherwise)
        case ListLiteral(items=items):
            return items
        case MapLiteral(entries=entries):
            return tuple(part for entry in entries for part in entry)
        case PathLiteral(segments=segments):
            return tuple(segment for segment in segments if not isinstance(segment, str))
