"""Schemas compiled: the draft, what is ours, what is refused, and what it may cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baas.encoding.schema_values import encode_instance
from baas.errors import InvalidArgument, SchemaRejected
from baas.model.paths import DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.values import Fields, GeoPoint, Reference, Vector
from baas.projects.schemas import (
    VIOLATIONS_TOLD_MAX,
    compile_schema,
    compile_schemas,
    compile_validator,
    parse_pattern,
)
from baas.settings import Limits
from scripts.find_schema_tests import NOT_RUN, find_schema_tests
from tests.effort import examples

LIMITS = Limits()
SUITE = find_schema_tests()
# What is not done here, by file and description of the group or test; all else of the draft is.
_HAS_REMOTE = ("refRemote.json", "dynamicRef.json", "cross-draft.json")  # nothing is fetched
_FORMAT = "formats are checked; the draft lets them be mere annotations"
_VOCABULARY = "meta-schemas of one's own are not read; all keywords of the draft are in force"


def groups() -> Iterator[Any]:
    if SUITE is None:
        return
    base = SUITE / "tests" / "draft2020-12"
    for file in sorted(base.rglob("*.json")):
        yield pytest.param(file, id=str(file.relative_to(base)))


def test_the_suite_is_there() -> None:
    if SUITE is None:
        pytest.skip(NOT_RUN)
    assert len(list(groups())) > 50


@pytest.mark.parametrize("file", list(groups()))
def test_official_suite(file: Path) -> None:
    """Mandatory and optional files, all but what is named above."""
    passed = 0
    for group in json.loads(file.read_text(encoding="utf-8")):
        try:
            validator = compile_validator(group["schema"])
        except SchemaRejected as error:
            if file.name in _HAS_REMOTE and "http://localhost:1234/" in error.message:
                continue
            raise
        for test in group["tests"]:
            if file.name == "format.json" and "only an annotation" in test["description"]:
                assert not validator.is_valid(test["data"]), _FORMAT
                continue
            if test["description"] == "no validation: invalid number, but it still validates":
                assert not validator.is_valid(test["data"]), _VOCABULARY
                continue
            assert validator.is_valid(test["data"]) is test["valid"], (
                group["description"],
                test["description"],
            )
            passed += 1
    assert passed or file.name in ("refRemote.json", "cross-draft.json")


# Beside another validator -------------------------------------------------------------------------

_SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "ab", 0.5])
_TREES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)
_TYPES = st.sampled_from(["null", "boolean", "object", "array", "number", "string", "integer"])
_PARTS = st.fixed_dictionaries(
    {},
    optional={
        "type": _TYPES,
        "enum": st.lists(_SCALARS, min_size=1, max_size=3, unique_by=repr),
        "const": _TREES,
        "minimum": st.integers(-3, 3),
        "maxLength": st.integers(0, 2),
        "pattern": st.sampled_from(["^a", "b$", "[a-c]+"]),
        "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
        "minItems": st.integers(0, 2),
        "uniqueItems": st.booleans(),
        "maxProperties": st.integers(0, 2),
    },
)
_SCHEMAS = st.recursive(
    _PARTS,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
            "additionalProperties": inner | st.just(False),
            "items": inner,
            "contains": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "if": inner,
            "then": inner,
            "dependentRequired": st.just({"a": ["b"]}),
            "unevaluatedProperties": st.just(False),
        },
    ),
    max_leaves=6,
)


@given(schema=_SCHEMAS, fields=st.dictionaries(st.sampled_from("abc"), _TREES, max_size=3))
@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_it_agrees_with_another_validator(schema: dict[str, Any], fields: Fields) -> None:
    expected = jsonschema.Draft202012Validator(schema).is_valid(fields)
    compiled = compile_schema({"x-collection": "c", **schema}, LIMITS)
    assert (compiled.check(fields) == []) is expected


# Values -------------------------------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "timestamp": Timestamp(5),
    "bytes": b"hi",
    "reference": Reference(DocumentPath.parse("users/ada")),
    "geo": GeoPoint(1.0, 2.0),
    "vector": Vector((1.0, 2.0)),
    "map": {"a": 1},
    "array": [1],
    "string": "text",
    "integer": 2**62,
    "double": 1.0,
    "boolean": True,
    "null": None,
}


@pytest.mark.parametrize("name", VALUES)
def test_x_type_tells_all_types_apart(name: str) -> None:
    schema = compile_schema({"x-collection": "c", "properties": {"f": {"x-type": name}}}, LIMITS)
    fitting = [other for other, value in VALUES.items() if not schema.check({"f": value})]
    assert fitting == [name]
    either = {"properties": {"f": {"x-type": [name, "null"]}}}
    assert not compile_schema({"x-collection": "c", **either}, LIMITS).check({"f": None})


def test_no_string_schema_takes_what_is_no_string() -> None:
    schema = compile_schema(
        {"x-collection": "c", "additionalProperties": {"type": "string"}}, LIMITS
    )
    fitting = [name for name, value in VALUES.items() if not schema.check({"f": value})]
    assert fitting == ["string"]
    number = compile_schema(
        {"x-collection": "c", "additionalProperties": {"type": "number"}}, LIMITS
    )
    assert [name for name, value in VALUES.items() if not number.check({"f": value})] == [
        "integer",
        "double",
    ]
    assert number.check({"f": float("nan")})
    assert number.check({"f": float("inf")})


def test_integers_are_exact() -> None:
    most = compile_schema(
        {"x-collection": "c", "properties": {"f": {"maximum": 2**63 - 2, "multipleOf": 2}}}, LIMITS
    )
    assert not most.check({"f": 2**63 - 2})
    assert most.check({"f": 2**63 - 1})
    assert most.check({"f": 2**53 + 1})


def test_names_that_start_with_a_dollar() -> None:
    assert encode_instance({"$a": {"$timestamp": "text"}}) == {"$$a": {"$$timestamp": "text"}}
    schema = compile_schema(
        {"x-collection": "c", "properties": {"$$a": {"type": "integer"}}}, LIMITS
    )
    assert [one.field for one in schema.check({"$a": "x"})] == ["`$a`"]


def test_violations_say_where() -> None:
    schema = compile_schema(
        {
            "x-collection": "c",
            "required": ["need"],
            "properties": {
                "list": {"items": {"properties": {"a b": {"type": "string"}}}},
                "at": {"properties": {"$timestamp": {"pattern": "^2"}}},
                "no": False,
                "some": {"properties": {"z": {}}, "additionalProperties": False},
                "none": {"additionalProperties": False},
            },
        },
        LIMITS,
    )
    fields: Fields = {
        "list": [{"a b": "x"}, {"a b": 1}],
        "at": Timestamp(0),
        "no": 1,
        "some": {"x": 1, "y": 2},
        "none": {"x": 1},
    }
    assert [(one.field, one.keyword, one.expected) for one in schema.check(fields)] == [
        ("at", "pattern", "^2"),
        ("list[1].`a b`", "type", ["string"]),
        ("need", "required", None),
        ("no", "false", None),
        ("none", "additionalProperties", None),
        ("some.x", "additionalProperties", None),
        ("some.y", "additionalProperties", None),
    ]
    closed = {"x-collection": "c", "properties": {"a": {}}, "additionalProperties": False}
    assert (
        len(compile_schema(closed, LIMITS).check({f"f{n}": n for n in range(100)}))
        == VIOLATIONS_TOLD_MAX
    )


# What is refused ----------------------------------------------------------------------------------


def doubling(levels: int) -> dict[str, Any]:
    parts: dict[str, Any] = {
        f"p{n}": {"allOf": [{"$ref": f"#/$defs/p{n + 1}"}] * 2} for n in range(levels)
    }
    return {"$defs": {**parts, f"p{levels}": {}}, "$ref": "#/$defs/p0"}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "text"},
        {"properties": []},
        {"$ref": "http://localhost:1/other.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#/$defs/none"},
        {"$dynamicRef": "other.json"},
        {"pattern": "(?=a)b"},
        {"pattern": r"(a)\1"},
        {"pattern": "(a{1000}){1000}"},
        {"patternProperties": {"(?!a)": {}}},
        {"$schema": "http://json-schema.org/draft-07/schema#"},
        {"$schema": 5},
        {"x-type": "date"},
        {"properties": {"a": {"x-type": []}}},
        {"x-unique": "email"},
        {"x-unique": ["email"]},
        {"x-unique": [[]]},
        {"x-unique": [["a", "a"]]},
        {"x-unique": [["__name__"]]},
        {"x-unique": [["a..b"]]},
        {"x-unique": [[5]]},
        {"x-unique": [["a"]] * 11},
        {"x-unique": [list("abcdef")]},
        {"x-collection": "users/ada"},
        {"x-collection": "{users}"},
        {"x-collection": "users/{a b}/x"},
        {"x-collection": "{path=**}"},
        {"x-collection": "{path=**}/a/b/c"},
        {"x-collection": "users//x"},
        {"x-collection": "__indexes__"},
        {"x-collection": 5},
        {"x-collection": ""},
        doubling(13),
        {"properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}},
        nested(40),
        {"description": "x" * LIMITS.schema_bytes_max},
    ],
    ids=lambda schema: json.dumps(schema)[:50],
)
def test_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        compile_schemas([{"x-collection": "c", **schema}], LIMITS)
    assert caught.value.reason == "SchemaRejected"
    assert len(caught.value.message) < 700


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}]},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}},
        {"$anchor": "me", "additionalProperties": {"$ref": "#me"}},
        {"$ref": "https://json-schema.org/draft/2020-12/schema"},
        {"pattern": "^(a+)+$"},
        nested(39),
        doubling(10),
    ],
    ids=lambda schema: json.dumps(schema)[:50],
)
def test_taken_and_quick(schema: dict[str, Any]) -> None:
    compiled = compile_schema({"x-collection": "c", **schema}, LIMITS)
    deep: Fields = {}
    for _ in range(18):
        deep = {"left": deep, "right": {}}
    compiled.check({"a": "a" * 50_000 + "b", **deep})


def test_slow_patterns_are_not_slow() -> None:
    schema = compile_schema(
        {"x-collection": "c", "properties": {"a": {"pattern": "^(a+)+$"}}}, LIMITS
    )
    assert schema.check({"a": "a" * 100_000 + "b"})


def test_limits_of_a_project() -> None:
    many = [{"x-collection": f"c{n}"} for n in range(LIMITS.schemas_max)]
    assert len(compile_schemas(many, LIMITS).schemas) == LIMITS.schemas_max
    with pytest.raises(SchemaRejected):
        compile_schemas([*many, {"x-collection": "more"}], LIMITS)
    with pytest.raises(SchemaRejected, match="two schemas for `c1`"):
        compile_schemas([many[1], many[1]], LIMITS)
    size = LIMITS.schema_bytes_max - len('{"x-collection":"c","title":""}')
    compile_schema({"x-collection": "c", "title": "x" * size}, LIMITS)
    with pytest.raises(SchemaRejected, match="bytes"):
        compile_schema({"x-collection": "c", "title": "x" * (size + 1)}, LIMITS)


def test_patterns_find_their_documents() -> None:
    found = compile_schemas(
        [
            {"x-collection": text}
            for text in ("users", "orgs/{org}/members", "orgs/acme/members", "{path=**}/members")
        ],
        LIMITS,
    )

    def of(path: str) -> list[str]:
        return [one.pattern.text for one in found.find(DocumentPath.parse(path))]

    assert of("users/ada") == ["users"]
    assert of("users/ada/users/x") == []
    assert of("orgs/acme/members/a") == [
        "orgs/acme/members",
        "orgs/{org}/members",
        "{path=**}/members",
    ]
    assert of("orgs/x/members/a") == ["orgs/{org}/members", "{path=**}/members"]
    assert of("members/a") == ["{path=**}/members"]
    assert of("others/a") == []
    assert parse_pattern("a/{b}/c").segments == ("a", None, "c")
