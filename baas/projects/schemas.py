"""JSON Schemas (draft 2020-12) of documents, compiled: found by a document's path, and asked.

A schema is one JSON object. Beside the keywords of the draft it has three of its own, at the root
or, `x-type`, anywhere:

    x-collection   whose documents it is for: `users`, `orgs/{org}/members`, or, for a collection
                   group wherever it lies, `{path=**}/members`
    x-unique       lists of fields of which no two documents have the same values
    x-type         the exact type of a value: timestamp, bytes, reference, geo, vector, map, array,
                   string, integer, double, boolean, null

Nothing is ever fetched: a `$ref` names a part of the same schema, or the draft's own schemas.
Patterns are of a kind that takes linear time, so they have no look-around and no back-references.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import jsonschema_rs
import orjson

from baas.encoding.schema_values import TYPES, encode_instance, field_path, type_of
from baas.errors import BaasError, SchemaRejected
from baas.model.order import SortKey, sort_key
from baas.model.paths import CollectionPath, DocumentPath, FieldPath, check_id
from baas.model.queries import And, FieldFilter, Operator, Query
from baas.model.query_order import get_field
from baas.model.values import Fields
from baas.projects.schema_costs import cost_of, depth_of
from baas.settings import Limits

DRAFT = "https://json-schema.org/draft/2020-12/schema"
VIOLATIONS_TOLD_MAX = 20
UNIQUE_MAX = 10  # constraints of one schema
UNIQUE_FIELDS_MAX = 5
_TOLD_CHARACTERS_MAX = 200
_REGEX_BYTES_MAX = 1024 * 1024
_DEPTH_MAX = 40  # of a schema
_COST_MAX = 10_000
_DOCUMENT_DEPTH = 20
_HIDDEN = "it"
_NOTHING = object()
# What can be told of a keyword in a word or two; of the others the message is all.
# fmt: off
_EXPECTED = frozenset((
    "type", "enum", "const", "pattern", "format", "multipleOf", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems",
    "minProperties", "maxProperties", "uniqueItems", "dependentRequired",
))
# fmt: on


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with a field: `keyword` of the schema, and what it expects, if that is short.
    `place` is where, empty for the document itself. No value of the document is told."""

    place: tuple[str | int, ...]
    keyword: str
    message: str
    expected: Any = None

    @property
    def field(self) -> str:
        """`place` as a field path."""
        return field_path(self.place)


@dataclass(frozen=True, slots=True)
class CollectionPattern:
    """`segments` of a collection's path, None for any document; of a group, its id alone."""

    text: str
    segments: tuple[str | None, ...]
    is_group: bool

    @property
    def id(self) -> str:
        last = self.segments[-1]
        assert last is not None
        return last

    def matches(self, path: DocumentPath) -> bool:
        """Whether the document is in such a collection; its id has been compared."""
        if self.is_group:
            return True
        segments = path.segments
        return len(segments) == len(self.segments) + 1 and all(
            wanted is None or wanted == segment
            for wanted, segment in zip(self.segments, segments, strict=False)
        )


@dataclass(frozen=True, slots=True)
class UniqueFields:
    """No two documents have the same values in all of `fields`: of one collection, or of a whole
    group. One that lacks a field, or has null there, is not bound."""

    pattern: CollectionPattern
    fields: tuple[FieldPath, ...]

    def key(self, fields: Fields) -> tuple[SortKey, ...] | None:
        """Equal for equal values, as filters compare them (1 and 1.0, NaN and NaN); None for a
        document that is not bound."""
        found = []
        for path in self.fields:
            try:
                value = get_field(fields, path)
            except KeyError:
                return None
            if value is None:
                return None
            found.append(sort_key(value))
        return tuple(found)

    def query(self, path: DocumentPath, fields: Fields, limit: int) -> Query:
        """Finds the documents with the same values as these fields, in the same scope."""
        collection = path.collection
        if self.pattern.is_group:
            collection = CollectionPath((collection.id,))
        filters = tuple(
            [FieldFilter(one, Operator.EQUAL, get_field(fields, one)) for one in self.fields]
        )
        where = filters[0] if len(filters) == 1 else And(filters)
        return Query(collection, self.pattern.is_group, where=where, limit=limit)

    def scope(self, path: DocumentPath) -> tuple[str, ...]:
        return () if self.pattern.is_group else path.segments[:-1]

    def __str__(self) -> str:
        return ", ".join(f"`{path}`" for path in self.fields)


class Schema:
    """One schema, compiled. `source` is as it was deployed."""

    def __init__(self, source: dict[str, Any], pattern: CollectionPattern) -> None:
        self.source = source
        self.pattern = pattern
        self.unique = _read_unique(source, pattern)
        self._validator = compile_validator(source)

    def check(self, fields: Fields) -> list[Violation]:
        """What is wrong with a document; empty if nothing is. At most `VIOLATIONS_TOLD_MAX`."""
        instance = encode_instance(fields)
        if self._validator.is_valid(instance):
            return []
        errors = self._validator.iter_errors(instance)
        told = (one for error in errors for one in _describe(error))
        first = islice(told, VIOLATIONS_TOLD_MAX)
        return sorted(first, key=lambda one: (one.field, one.keyword))


class SchemaSet:
    """The schemas of a project. Immutable."""

    def __init__(self, schemas: Iterable[Schema]) -> None:
        self.schemas = tuple(schemas)
        self._by_collection: dict[str, tuple[Schema, ...]] = {}
        for schema in self.schemas:
            known = self._by_collection.get(schema.pattern.id, ())
            self._by_collection[schema.pattern.id] = (*known, schema)

    def __bool__(self) -> bool:
        return bool(self.schemas)

    def find(self, path: DocumentPath) -> Sequence[Schema]:
        """Those that a document has to fit, all of them."""
        found = self._by_collection.get(path.segments[-2])
        if found is None:
            return ()
        return [schema for schema in found if schema.pattern.matches(path)]

    @cached_property
    def unique(self) -> tuple[UniqueFields, ...]:
        return tuple([unique for schema in self.schemas for unique in schema.unique])

    @cached_property
    def collection_ids(self) -> frozenset[str]:
        return frozenset(self._by_collection)


EMPTY = SchemaSet(())


def compile_schemas(sources: object, limits: Limits) -> SchemaSet:
    """Raises SchemaRejected that names the schema and the place in it."""
    if not isinstance(sources, list) or len(sources) > limits.schemas_max:
        raise SchemaRejected(f"`schemas` must be a list of at most {limits.schemas_max} schemas")
    found: dict[str, Schema] = {}
    for at, source in enumerate(sources):
        try:
            schema = compile_schema(source, limits)
        except BaasError as error:
            name = _name_of(source, at)
            details = {"schema": name, "index": at, **(error.details or {})}
            raise SchemaRejected(f"{name}: {error.message}", details=details) from error
        if schema.pattern.text in found:
            raise SchemaRejected(
                f"there are two schemas for `{schema.pattern.text}`; join them with `allOf`",
                details={"schema": schema.pattern.text, "index": at},
            )
        found[schema.pattern.text] = schema
    return SchemaSet([found[text] for text in sorted(found)])


def compile_schema(source: object, limits: Limits) -> Schema:
    """Raises SchemaRejected, InvalidPath."""
    if not isinstance(source, dict):
        raise SchemaRejected("a schema is a JSON object")
    if source.get("$schema", DRAFT) not in (DRAFT, DRAFT + "#"):
        raise SchemaRejected(f"`$schema` must be `{DRAFT}`, or left out")
    if "x-collection" not in source:
        raise SchemaRejected("`x-collection` has to say whose documents it is for")
    depth = depth_of(source)
    if depth > _DEPTH_MAX:
        raise SchemaRejected(f"a schema is nested at most {_DEPTH_MAX} levels, not {depth}")
    size = len(orjson.dumps(source))
    if size > limits.schema_bytes_max:
        raise SchemaRejected(f"a schema has at most {limits.schema_bytes_max} bytes, not {size}")
    if cost_of(source, depth_max=_DOCUMENT_DEPTH, cost_max=_COST_MAX) > _COST_MAX:
        raise SchemaRejected(
            f"a document could cost more than {_COST_MAX} steps: its references multiply each other"
        )
    return Schema(source, parse_pattern(source["x-collection"]))


def compile_validator(source: dict[str, Any] | bool) -> jsonschema_rs.Validator:
    """The way in which every schema here is compiled. Raises SchemaRejected."""
    try:
        return jsonschema_rs.Draft202012Validator(
            source,
            pattern_options=jsonschema_rs.RegexOptions(
                size_limit=_REGEX_BYTES_MAX, dfa_size_limit=_REGEX_BYTES_MAX
            ),
            offline=True,
            validate_formats=True,
            mask=_HIDDEN,
            keywords={"x-type": _TypeKeyword},
        )
    except jsonschema_rs.ValidationError as error:
        place = "/".join(str(part) for part in error.instance_path)
        raise SchemaRejected(
            f"not a valid JSON Schema at `/{place[:_TOLD_CHARACTERS_MAX]}`: "
            f"{_cut(error.message.rpartition('ValueError: ')[2])}{_hint(error)}",
            details={"place": "/" + place},
        ) from error
    except (jsonschema_rs.ReferencingError, ValueError, RecursionError) as error:
        raise SchemaRejected(f"not a valid JSON Schema: {_cut(str(error))}") from error


class _TypeKeyword:
    """`x-type`: a name, or a list of them of which one has to fit."""

    def __init__(self, parent: dict[str, Any], value: Any, schema_path: list[str | int]) -> None:
        names = value if isinstance(value, list) else [value]
        unknown = [name for name in names if not isinstance(name, str) or name not in TYPES]
        if unknown or not names:
            known = ", ".join(sorted(TYPES))
            raise ValueError(f"`x-type` is one of {known}, or a list of them")
        self._names = frozenset(names)
        self._told = " or ".join(names)

    def validate(self, instance: Any) -> None:
        found = type_of(instance)
        if found not in self._names:
            raise ValueError(f"is of the type {found}, not {self._told}")


def parse_pattern(text: object) -> CollectionPattern:
    """Reads `users`, `orgs/{org}/members` or `{path=**}/members`. Raises SchemaRejected."""
    if not isinstance(text, str) or not text or len(text) > 1_500:
        raise _invalid_pattern()
    parts = text.split("/")
    if parts[0].startswith("{") and parts[0].endswith("=**}"):
        if len(parts) != 2:
            raise _invalid_pattern()
        check_id(parts[1], "collection id")
        return CollectionPattern(text, (parts[1],), True)
    if len(parts) % 2 == 0:
        raise _invalid_pattern()
    segments: list[str | None] = []
    for at, part in enumerate(parts):
        is_wild = part.startswith("{") and part.endswith("}")
        if is_wild and (at % 2 == 0 or not part[1:-1].isidentifier()):
            raise _invalid_pattern()
        if not is_wild:
            check_id(part, "collection id" if at % 2 == 0 else "document id")
        segments.append(None if is_wild else part)
    return CollectionPattern(text, tuple(segments), False)


def _invalid_pattern() -> SchemaRejected:
    return SchemaRejected(
        "`x-collection` is the path of a collection, as `users` or `orgs/{org}/members`, or names "
        "a group, as `{path=**}/members`",
        details={"place": "/x-collection"},
    )


def _read_unique(source: dict[str, Any], pattern: CollectionPattern) -> tuple[UniqueFields, ...]:
    asked = source.get("x-unique", [])
    if not isinstance(asked, list) or len(asked) > UNIQUE_MAX:
        raise _invalid_unique()
    found = []
    for names in asked:
        if not isinstance(names, list) or not 1 <= len(names) <= UNIQUE_FIELDS_MAX:
            raise _invalid_unique()
        if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise _invalid_unique()
        paths = tuple([FieldPath.parse(name) for name in names])
        if any(path.segments[0] == "__name__" for path in paths):
            raise _invalid_unique()
        found.append(UniqueFields(pattern, paths))
    return tuple(found)


def _invalid_unique() -> SchemaRejected:
    return SchemaRejected(
        f"`x-unique` is a list of at most {UNIQUE_MAX} lists, each of 1 to {UNIQUE_FIELDS_MAX} "
        'field paths, as [["email"], ["org", "slug"]]',
        details={"place": "/x-unique"},
    )


def of_what_changed(violations: Iterable[Violation], old: Fields, new: Fields) -> list[Violation]:
    """Those at places whose values differ: what can be told to who wrote `new` and may not read
    `old`, of which much may still be there."""
    before, after = encode_instance(old), encode_instance(new)
    return [one for one in violations if _at(before, one.place) != _at(after, one.place)]


def _at(tree: Any, place: Iterable[str | int]) -> Any:
    for part in place:
        try:
            tree = tree[part]
        except (LookupError, TypeError):
            return _NOTHING
    return tree


def _describe(error: jsonschema_rs.ValidationError) -> Iterator[Violation]:
    place = tuple(error.instance_path)
    kind = error.kind
    keyword = str(error.schema_path[-1]) if error.schema_path else ""
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.Custom):
        wanted = kind.message.rpartition(", not ")[2].split(" or ")
        yield Violation(place, kind.keyword, _cut(kind.message), wanted)
        return
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.PropertyNames):
        # Its own message quotes the name; the place does, and can be left out.
        name, message = str(kind.error.instance), kind.error.message
        yield Violation((*place, name), keyword, _cut(f"has a name that does not fit: {message}"))
        return
    if keyword in ("additionalProperties", "unevaluatedProperties"):
        unexpected = getattr(kind, "unexpected", None)
        for name in unexpected or ():
            yield Violation((*place, name), keyword, "is not a field of the schema")
        if not unexpected:
            yield Violation(place, keyword, "has fields that are not of the schema")
        return
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.FalseSchema):
        yield Violation(place, "false", "is not allowed")
        return
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.Required):
        yield Violation((*place, kind.property), "required", "is missing")
        return
    name = kind.name if keyword.isdecimal() else keyword
    expected = _told(kind.value) if name in _EXPECTED else None
    yield Violation(place, name, _cut(error.message), expected)


def _told(value: Any) -> Any:
    try:
        return value if len(orjson.dumps(value)) <= _TOLD_CHARACTERS_MAX else None
    except (TypeError, ValueError):
        return None


def _cut(text: str) -> str:
    line = text.partition("\n")[0]
    if len(line) <= _TOLD_CHARACTERS_MAX:
        return line
    return line[: _TOLD_CHARACTERS_MAX - 1] + "…"


def _hint(error: jsonschema_rs.ValidationError) -> str:
    if error.instance_path and error.instance_path[-1] == "pattern":
        return "; patterns have no look-around and no back-references, so that they are fast"
    return ""


def _name_of(source: object, at: int) -> str:
    name = source.get("x-collection") if isinstance(source, dict) else None
    return f"the schema for `{name[:80]}`" if isinstance(name, str) else f"schema {at + 1}"
