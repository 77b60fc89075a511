"""The language, point by point: each row names what Firebase's documentation, or what production
was seen to do, says of a construct, with an expression or a file that shows it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from baas_rules import Duration, LatLng, Path, Ruleset, RulesSet, Severity, Timestamp, check
from baas_rules.functions import (
    CROSS_SERVICE_LOOKUPS,
    FUNCTIONS,
    LOOKUPS,
    METHODS,
    NAMESPACES,
)
from baas_rules.kinds import FUNCTION_KINDS, METHOD_KINDS
from baas_rules.limits import COMPILED_BYTES_MAX, SOURCE_BYTES_MAX
from baas_rules.operators import BINARY, TYPE_TESTS

from tests.rules.test_expressions import ROWS
from tests.rules.worlds import (
    Failure,
    document,
    looked_up,
    object_request,
    request_for,
    same,
    value_of,
    wrapped,
)

E = Failure

EXPRESSIONS: list[tuple[str, str, Any]] = [
    # precedence, from loose to tight
    ("? : binds loosest", "true || false ? 1 : 2", 1),
    ("? : nests to the right", "false ? 1 : false ? 2 : 3", 3),
    ("&& before ||", "true || true && false", True),
    ("in before &&", "true && 'a' in ['a']", True),
    ("is before &&", "1 is int && true", True),
    ("== before in", "1 == 1 in [true]", True),
    ("order before ==", "1 < 2 == true", True),
    ("sums before order", "1 + 1 < 3", True),
    ("products before sums", "1 + 2 * 3", 7),
    ("unary before products", "-2 * 3", -6),
    ("member before unary", "!{'a': false}.a", True),
    # evaluation errors
    ("a missing key is an error", "{'a': 1}.b", E("no key")),
    ("a member of null is an error", "null.a", E("null has no member")),
    ("types that do not fit are an error", "1 + 'a'", E("does not take")),
    ("division by zero is an error", "1 / 0", E("zero")),
    ("an index out of range is an error", "[1][1]", E("out of range")),
    ("a cut out of range is an error", "'abc'[1:9]", E("out of range")),
    ("error || true", "1 / 0 == 1 || true", True),
    ("true || error", "true || 1 / 0 == 1", True),
    ("error || false", "1 / 0 == 1 || false", E("zero")),
    ("error && false", "1 / 0 == 1 && false", False),
    ("false && error", "false && 1 / 0 == 1", False),
    ("error && true", "1 / 0 == 1 && true", E("zero")),
    ("!error", "!(1 / 0 == 1)", E("zero")),
    ("operands of && are bools", "1 && true", E("needs bools")),
    ("operands of || are bools", "false || 'x'", E("needs bools")),
    ("the test of ? : is a bool", "1 ? 2 : 3", E("needs a bool")),
    ("the other branch is not evaluated", "true ? 1 : 1 / 0", 1),
    # numbers
    ("int division truncates", "[10 / 4, -7 / 2]", [2, -3]),
    ("% has the dividend's sign", "[-7 % 3, 7 % -3]", [-1, 1]),
    ("ints have 64 bits", "9223372036854775807 + 1", E("overflow")),
    ("mixed arithmetic gives floats", "[1 + 0.5, 3 / 2.0]", [1.5, 1.5]),
    ("int equals float by number", "[1 == 1.0, 2 in [2.0]]", [True, True]),
    ("int()", "[int(2.9), int('-7'), int(-2.9)]", [2, -7, -2]),
    ("float()", "[float(2), float('1e3')]", [2.0, 1000.0]),
    ("bool() there is not", "bool('true')", E("unknown function")),
    ("string(null)", "string(null)", "null"),
    ("math", "[math.abs(-2), math.ceil(1.2), math.floor(-1.2), math.round(1.5)]", [2, 2, -2, 2]),
    ("math of floats", "[math.sqrt(4), math.pow(2, 3)]", [2.0, 8.0]),
    ("math.isNaN", "math.isNaN(math.sqrt(-1.0))", True),
    ("math.isInfinite is refused", "math.isInfinite(1.0)", E("no such function")),
    # strings and bytes
    ("matches takes the whole string", "'abc'.matches('b')", False),
    ("replace", "'a1b2'.replace('[0-9]', '-')", "a-b-"),
    ("replace with groups", r"'ab'.replace('(a)(b)', '\\2\\1')", "ba"),
    ("split", "'a,b;c'.split('[,;]')", ["a", "b", "c"]),
    ("members of strings", "' aB '.trim().lower() + 'c'.upper()", "abC"),
    ("toUtf8", "'ä'.toUtf8() == b'ä'", True),
    ("bytes", "[b'ab'.size(), b'?>'.toBase64(), b'n'.toHexString()]", [2, "Pz4=", "6E"]),
    ("base64 is URL-safe", "hashing.sha256('a').toBase64().matches('[A-Za-z0-9_=-]+')", True),
    ("hashes", "hashing.md5('a').toHexString()", "0CC175B9C0F1B6A831C399E269772661"),
    ("crc32 is little-endian", "hashing.crc32('a').toHexString()", "43BEB7E8"),
    ("crc32c is little-endian", "hashing.crc32c('a').toHexString()", "3043D0C1"),
    # lists, sets, maps
    ("hasAll ignores duplicates", "[1, 2].hasAll([1, 1])", True),
    ("hasOnly of fewer", "[1].hasOnly([1, 2])", True),
    ("hasOnly of more", "[1, 3].hasOnly([1, 2])", False),
    ("hasAny", "[1, 2].hasAny([5, 2])", True),
    ("concat, removeAll, join", "[1].concat([2, 1]).removeAll([1]).join('+')", "2"),
    ("list in list", "[1] in [[1]]", True),
    ("toSet", "[1, 1, 2].toSet()", RulesSet([1, 2])),
    ("union", "[1].toSet().union([2].toSet())", RulesSet([1, 2])),
    ("sets take sets only", "[1].toSet().union([2])", E("takes a set")),
    ("intersection, difference", "[1, 2].toSet().intersection([2].toSet()).size()", 1),
    ("difference", "[1, 2].toSet().difference([2].toSet())", RulesSet([1])),
    ("keys is a list", "{'a': 1}.keys() is list", True),
    ("values", "{'a': 1}.values()", [1]),
    ("get walks nested maps", "{'a': {'b': 1}}.get(['a', 'b'], 0)", 1),
    ("get has a default for any failure", "{'a': 1}.get(['a', 'b'], 0)", 0),
    ("maps have no hasAll", "{'a': 1}.hasAll(['a'])", E("has no method")),
    ("diff.addedKeys", "{'a': 1, 'b': 1}.diff({'a': 1}).addedKeys()", RulesSet(["b"])),
    ("diff.removedKeys", "{'a': 1}.diff({'a': 1, 'b': 1}).removedKeys()", RulesSet(["b"])),
    ("diff.changedKeys", "{'a': 1}.diff({'a': 2}).changedKeys()", RulesSet(["a"])),
    ("diff.unchangedKeys", "{'a': 1}.diff({'a': 1.0}).unchangedKeys()", RulesSet(["a"])),
    ("diff.affectedKeys", "{'a': 1, 'c': 1}.diff({'a': 2, 'b': 1}).affectedKeys().size()", 3),
    # paths
    ("a path of a string", "path('/a/b')", Path(("a", "b"))),
    ("path() of a path is an error", "path(/a/b)", E("does not take path")),
    ("a path by index", "/a/b[1]", "b"),
    ("bind", "path('a/$(x)').bind({'x': 'b'})", Path(("a", "b"))),
    ("what was bound, by name", "path('a/$(x)').bind({'x': 'b'})['x']", "b"),
    # time and place
    ("timestamp.date", "timestamp.date(2020, 2, 29).dayOfYear()", 60),
    ("timestamp.value is in ms", "timestamp.value(1000).seconds()", 1),
    ("dayOfWeek counts from Monday", "timestamp.date(2023, 11, 14).dayOfWeek()", 2),
    ("time - time", "timestamp.value(3000) - timestamp.value(1000)", Duration(2 * 10**9)),
    ("time + duration", "timestamp.value(0) + duration.value(1, 's')", Timestamp(10**6)),
    ("time - duration", "timestamp.value(1000) - duration.value(1, 's')", Timestamp(0)),
    ("units", "duration.value(1, 'w') == duration.value(7, 'd')", True),
    ("duration.time", "duration.time(1, 2, 3, 4).seconds()", 3723),
    ("duration.abs", "duration.abs(duration.value(-1, 'ms')).nanos()", 1_000_000),
    ("date and time", "timestamp.value(90061000).time() == duration.time(1, 1, 1, 0)", True),
    ("latlng", "latlng.value(1, 2).latitude() + latlng.value(1, 2).longitude()", 3.0),
    ("latlng is range-checked", "latlng.value(91, 0)", E("within")),
    ("distance in metres", "math.round(latlng.value(0, 0).distance(latlng.value(0, 1)))", 111195),
    ("debug gives its argument", "debug(1 + 1)", 2),
    ("no value is NaN but NaN", "math.pow(-1.0, 0.5) == math.pow(-1.0, 0.5)", False),
    ("a place is a place", "latlng.value(1, 2)", LatLng(1.0, 2.0)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "expected"),
    [row[1:] for row in EXPRESSIONS],
    ids=[row[0] for row in EXPRESSIONS],
)
def test_construct(expression: str, expected: Any) -> None:
    found = value_of(expression)
    if isinstance(expected, Failure):
        assert isinstance(found, Failure), found
        assert expected.text in found.text
    else:
        assert same(found, expected), found


def _rows() -> Iterator[str]:
    yield from (row[1] for row in EXPRESSIONS)
    yield from (row[0] for row in ROWS)


ALL = "\n".join(_rows())


def test_every_member_of_the_library_is_held_by_an_expression() -> None:
    wanted = {f".{name}(" for methods in METHODS.values() for name in methods}
    wanted |= {f"{space}.{name}(" for space, members in NAMESPACES.items() for name in members}
    wanted |= {f"{name}(" for name in FUNCTIONS}
    wanted |= {f" is {name}" for name in TYPE_TESTS}
    wanted |= {f" {name} " for name in (*BINARY, "==", "!=", "&&", "||", "?")}
    assert sorted(one for one in wanted if one not in ALL) == []
    assert set(LOOKUPS) == {"get", "exists", "getAfter", "existsAfter"}
    assert set(CROSS_SERVICE_LOOKUPS) == {"get", "exists"}


def test_the_prover_knows_the_types_of_the_whole_library() -> None:
    names = {
        "string": str, "bytes": bytes, "list": list, "map": dict, "set": RulesSet, "path": Path,
        "timestamp": Timestamp, "duration": Duration, "latlng": LatLng,
    }  # fmt: skip
    for kind, type_of in names.items():
        assert METHOD_KINDS[kind].keys() == METHODS[type_of].keys(), kind
    of_spaces = {f"{space}.{name}" for space, members in NAMESPACES.items() for name in members}
    assert FUNCTION_KINDS.keys() == of_spaces | (FUNCTIONS.keys() - {"debug"})


@pytest.mark.parametrize("row", EXPRESSIONS, ids=[row[0] for row in EXPRESSIONS])
def test_what_is_known_of_types_is_true(row: tuple[str, str, Any]) -> None:
    """The prover's tables against what is really given."""
    expression, value = row[1], value_of(row[1])
    if isinstance(value, Failure | RulesSet) or value is None or isinstance(value, float):
        return
    for name in ("int", "bool", "string", "list", "path", "timestamp", "duration", "latlng"):
        assert value_of(f"({expression}) is {name}") is (name == _word(value))


def _word(value: Any) -> str:
    words: dict[type, str] = {
        int: "int", bool: "bool", str: "string", list: "list", Path: "path",
        Timestamp: "timestamp", Duration: "duration", LatLng: "latlng",
    }  # fmt: skip
    return words[value.__class__]


# --- files -------------------------------------------------------------------------------------

FILES: list[tuple[str, str, str, bool]] = [
    # what, the body below the documents root, the method, whether users/ada is allowed
    ("allow without a condition", "match /users/{u} { allow get; }", "get", True),
    ("read is get and list", "match /users/{u} { allow read: if true; }", "get", True),
    ("write is create, update, delete", "match /users/{u} { allow write; }", "delete", True),
    ("write is not read", "match /users/{u} { allow write; }", "get", False),
    ("several methods", "match /users/{u} { allow get, delete; }", "delete", True),
    (
        "any statement is enough",
        "match /users/{u} { allow get: if false; allow get; }",
        "get",
        True,
    ),
    ("any match is enough", "match /{a}/{b} { allow get; } match /users/{u} { }", "get", True),
    ("rules do not cascade", "match /users { allow get; }", "get", False),
    ("nested matches", "match /users { match /{u} { allow get: if u == 'ada'; } }", "get", True),
    ("a wildcard is a string", "match /users/{u} { allow get: if u is string; }", "get", True),
    ("a recursive one is a path", "match /{p=**} { allow get: if p is path; }", "get", True),
    (
        "functions of a match hide outer ones",
        "function f() { return false; } match /users/{u} {"
        " function f() { return true; } allow get: if f(); }",
        "get",
        True,
    ),
    (
        "functions see the wildcards around them",
        "match /users/{u} { function f() { return u == 'ada'; } allow get: if f(); }",
        "get",
        True,
    ),
    (
        "lets see earlier lets",
        "match /users/{u} { function f() { let a = 1; let b = a + 1; return b == 2; }"
        " allow get: if f(); }",
        "get",
        True,
    ),
    (
        "arguments that are not used are not evaluated",
        "function f(a, b) { return a; } match /users/{u} { allow get: if f(true, 1 / 0); }",
        "get",
        True,
    ),
    (
        "request.resource there is not for reads",
        "match /users/{u} { allow get: if request.resource == null; }",
        "get",
        False,
    ),
    (
        "request.resource.data is the merged result",
        "match /users/{u} { allow update: if request.resource.data.tags == resource.data.tags"
        " && request.resource.data.extra == 1 && !('extra' in resource.data); }",
        "update",
        True,
    ),
    (
        "request.resource on create",
        "match /users/{u} { allow create: if resource == null"
        " && request.resource.data.name == 'Ada L.' && request.resource.id == u; }",
        "create",
        True,
    ),
    (
        "request.path, method, time, auth",
        "match /users/{u} { allow get: if request.path[3] == 'users' && request.method == 'get'"
        " && request.time is timestamp && request.auth.token.email_verified; }",
        "get",
        True,
    ),
    (
        "resource.id and __name__",
        "match /users/{u} { allow get: if resource.id == u && resource.__name__[4] == u; }",
        "get",
        True,
    ),
    (
        "comments",
        "// x\nmatch /users/{u} { /* y */ allow get: /* z */ if true; // end\n }",
        "get",
        True,
    ),
    (
        "get() of a missing document is null",
        "match /users/{u} { allow get: if get(/databases/$(database)/documents/no/no) == null; }",
        "get",
        True,
    ),
    (
        "exists, and members of what get() gives",
        "match /users/{u} { allow get: if exists(/databases/$(database)/documents/a/b)"
        " && get(/databases/$(database)/documents/a/b).data.x == 1"
        " && get(/databases/$(database)/documents/a/b).id == 'b'; }",
        "get",
        True,
    ),
    (
        "getAfter and existsAfter",
        "match /users/{u} { allow update: if existsAfter(/databases/$(database)/documents/a/b)"
        " && getAfter(/databases/$(database)/documents/a/b).data.x == 1; }",
        "update",
        True,
    ),
]


@pytest.mark.parametrize("row", FILES, ids=[row[0] for row in FILES])
def test_files(row: tuple[str, str, str, bool]) -> None:
    _, body, method, allowed = row
    rules = Ruleset.parse(wrapped(body))
    known = looked_up(document("a/b", x=1), missing=("no/no",))
    assert rules.decide(request_for(method), known).allowed is allowed


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("name", "a/b.png"), ("bucket", "bucket"), ("generation", 1), ("metageneration", 1),
        ("size", 2048), ("timeCreated", Timestamp(0)), ("updated", Timestamp(0)),
        ("md5Hash", "x"), ("crc32c", "x"), ("etag", "x"), ("contentType", "image/png"),
        ("contentEncoding", "gzip"), ("contentDisposition", "inline"), ("contentLanguage", "en"),
        ("cacheControl", "no-store"), ("metadata", {"k": "v"}),
    ],
)  # fmt: skip
def test_members_of_objects(member: str, value: Any) -> None:
    request = object_request("update", resource={member: value}, new_resource={member: value})
    assert same(value_of(f"resource.{member}", request), value)
    assert same(value_of(f"request.resource.{member}", request), value)


# --- limits ------------------------------------------------------------------------------------


def _of_size(size: int, filler: str) -> str:
    head = wrapped("match /a/{b} { allow get: if 'X' != ''; }")
    return head.replace("'X'", f"'{filler * ((size - len(head)) // len(filler))}'")


def test_the_size_of_a_source_is_limited() -> None:
    (found,) = check(wrapped("// " + "x" * SOURCE_BYTES_MAX))
    assert f"at most {SOURCE_BYTES_MAX} are allowed" in found.message


def test_the_size_of_what_is_compiled_is_limited() -> None:
    long = SOURCE_BYTES_MAX - 2000
    (found,) = check(_of_size(long, "x"))
    assert f"without comments the file has more than {COMPILED_BYTES_MAX} bytes" in found.message
    commented = wrapped("match /a/{b} { allow get: if 'a//b' != ''; } // " + "x" * (long - 500))
    assert [one for one in check(commented) if one.severity is Severity.ERROR] == []
    assert math.isclose(len(_of_size(long, "x")), long, abs_tol=10)
