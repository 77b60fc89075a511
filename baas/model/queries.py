"""Queries, and the pure answer to: does this document match? Semantics as FIREBASE.md 4."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.values import Value

NAME = FieldPath(("__name__",))


class Operator(Enum):
    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="
    ARRAY_CONTAINS = "array-contains"
    ARRAY_CONTAINS_ANY = "array-contains-any"
    IN = "in"
    NOT_IN = "not-in"


@dataclass(frozen=True, slots=True)
class FieldFilter:
    """`== null`, `!= null`, `== NaN`, `!= NaN` are Firestore's unary filters. On `__name__` the
    operand is a Reference (or a list of them)."""

    field: FieldPath
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class And:
    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    filters: tuple[Filter, ...]


Filter: TypeAlias = FieldFilter | And | Or


@dataclass(frozen=True, slots=True)
class Order:
    field: FieldPath
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position: values for a prefix of the order-by list. As a start, `before` includes the
    document at the position; as an end, `before` excludes it."""

    values: tuple[Value, ...]
    before: bool


@dataclass(frozen=True, slots=True)
class Query:
    """`collection` names one collection. For a collection group `all_descendants` is set:
    `collection.segments[-1]` is the group's id and `parent` the document under which it is
    searched (None: the whole database). `select` None returns whole documents."""

    collection: CollectionPath
    all_descendants: bool = False
    parent: DocumentPath | None = None
    where: Filter | None = None
    order_by: tuple[Order, ...] = ()
    start: Cursor | None = None
    end: Cursor | None = None
    offset: int = 0
    limit: int | None = None
    select: tuple[FieldPath, ...] | None = None
