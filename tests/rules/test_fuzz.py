"""Whatever is given as a rules file is answered: with a ruleset, or with errors that have a place.

`make test` tries a little; `make fuzz` goes on for BAAS_FUZZ_SECONDS.
"""

from __future__ import annotations

import os
import time
from pathlib import Path as FilePath

import pytest
from baas_rules import (
    AllOf,
    Auth,
    Diagnostic,
    FieldConstraint,
    ListRequest,
    ObjectListRequest,
    Request,
    ResourceDocument,
    RulesError,
    Ruleset,
    RulesSyntaxError,
    Severity,
    Timestamp,
    check,
    decode_source,
    lint,
)
from baas_rules.decision import OBJECT_SERVICE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SECONDS = float(os.environ.get("BAAS_FUZZ_SECONDS", "0"))
EXAMPLES = 300 if SECONDS else 60
NOW = Timestamp(0)
ADA = Auth("ada", {"admin": True, "teams": ["red"]})
ROOT = FilePath(__file__).parents[2]

SEEDS = [
    (ROOT / "docs/rules/example/firestore.rules").read_text(encoding="utf-8"),
    """rules_version = '2';
function signedIn() { return request.auth != null; }
function has(data, key) {
  let found = data.get(key, null); return found != null && found is string;
}
service cloud.firestore { match /databases/{database}/documents {
  match /a/{id} {
    allow get: if signedIn() && resource.data.n in [1, 2.5, -3] || id.matches('[a-z]{1,3}') // why
      && exists(/databases/$(database)/documents/b/$(id)) && !(resource.data['m'].x[0:2] == 'ab');
    allow list: if request.query.limit <= 10 && resource.data.owner == request.auth.uid;
    allow create, update: if request.resource.data.diff({'a': b'x', 'b': 1e3}).affectedKeys()
      .hasOnly(['a', "b"]) && request.time < timestamp.date(2030, 1, 1) + duration.value(1, 'd')
      ? has(request.resource.data, 'a') : request.auth.token.admin == true;
    match /{rest=**} { allow read, delete; }
  }
  match /{path=**}/c/{id} { allow list: if resource.data.tags.hasAny(request.auth.token.teams); }
} }
service firebase.storage { match /b/{bucket}/o { match /{name=**} {
  allow read: if resource.size < 1024 * 1024 && name[0] == 'public';
  allow write: if firestore.get(/databases/(default)/documents/b/x).data.open == true;
} } }
""",
]
PIECES = [
    *"(){}[];:,./?!=<>&|+-*%$'\"\\\n\t \0é\ufeff",
    *("&&", "||", "==", "!=", "<=", ">=", "//", "/*", "*/", "/$(", "=**", "{x=**}", "(default)"),
    *("if", "in", "is", "let", "return", "function", "match", "allow", "service", "rules_version"),
    *("true", "false", "null", "request", "resource", "request.auth.uid", "resource.data", "get"),
    *("read", "write", "list", "cloud.firestore", "firebase.storage", "x", "f(", "f()", "string"),
    *("0", "1", "-1", "1.5", "1e999", "0x7f", "9223372036854775808", "'a'", '"b"', "b'c'", "'\\d'"),
    *(".size()", ".matches('(')", ".split('')", ".hasAll([])", ".diff({})", ".get('a', 1)"),
    *("timestamp.value(", "duration.value(1, 'w')", "math.pow(", "hashing.crc32(", "latlng.value("),
]


@st.composite
def broken(draw: st.DrawFn) -> str:
    """A rules file of which parts are left out, doubled, moved or replaced."""
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        piece = draw(st.one_of(st.sampled_from(PIECES), st.just(text[start:end])))
        piece *= draw(st.sampled_from([0, 1, 1, 1, 2, 5, 100]))
        text = text[:start] + piece + text[draw(st.sampled_from([start, end])) :]
    return text


TEXTS = st.one_of(
    st.text(max_size=200),
    st.lists(st.sampled_from(PIECES), max_size=60).map(" ".join),
    st.lists(st.sampled_from(PIECES), max_size=60).map(
        lambda pieces: SEEDS[1].replace("signedIn()", "".join(pieces), 2)
    ),
    broken(),
    broken(),
)


def _decoded(data: bytes) -> tuple[str, list[Diagnostic]]:
    try:
        return decode_source(data), []
    except RulesSyntaxError as error:
        return "", error.diagnostics


def answer(data: bytes) -> None:
    """Everything that is done with a file. Whatever is wrong with it is told with a place."""
    text, refused = _decoded(data)
    for one in refused:
        assert one.line >= 1
        assert one.column >= 1
        assert str(one)
    if refused:
        return
    found = check(text)
    lines = text.count("\n") + 1
    for one in (*found, *lint(text)):
        assert 1 <= one.line <= lines
        assert 1 <= one.column < one.end_column
        assert str(one)
    errors = [one for one in found if one.severity is Severity.ERROR]
    try:
        rules = Ruleset.parse(text)
    except RulesError:
        assert errors
        return
    assert not errors
    ask(rules)


def ask(rules: Ruleset) -> None:
    """Every kind of question. Explanations and decisions agree."""
    stored = ResourceDocument(("a", "x"), {"n": 1, "m": {"x": "abc"}, "owner": "ada", "tags": []})
    rules.open_access()
    coverage = rules.coverage()
    for method in ("get", "create", "update", "delete"):
        new = stored if method in ("create", "update") else None
        asked = Request(method, ("a", "x"), ADA, NOW, stored, new)
        decision, explanation = rules.decide(asked, {}), rules.explain(asked, {})
        assert decision.allowed == explanation.allowed
        assert explanation.tree()
        if not decision.missing:
            rules.cover(asked, {}, coverage)
    where = AllOf((FieldConstraint(("owner",), "==", "ada"), FieldConstraint(("n",), "<", 3)))
    for listed in (
        ListRequest(("a",), ADA, NOW, where=where, limit=5),
        ListRequest(("c",), None, NOW, group=True),
        ObjectListRequest("main", "public/", ADA, NOW),
    ):
        proved, told = rules.prove_list(listed, {}), rules.explain_list(listed, {})
        assert proved.allowed == told.allowed
        assert told.tree()
    metadata = {"name": "public/x", "bucket": "main", "size": 3}
    name = ("b", "main", "o", "public", "x")
    rules.explain(Request("get", name, ADA, NOW, metadata, service=OBJECT_SERVICE), {}).tree()
    assert list(coverage.lines())


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
@given(TEXTS)
def texts(text: str) -> None:
    answer(text.encode("utf-8", "surrogatepass"))


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
@given(st.binary(max_size=300), st.integers(0, 300))
def raw(data: bytes, at: int) -> None:
    seed = SEEDS[0].encode()
    answer(data)
    answer(seed[:at] + data + seed[at:])


@pytest.mark.slow
@pytest.mark.parametrize("tried", [texts, raw], ids=["texts", "bytes"])
def test_any_bytes_are_answered(tried: object) -> None:
    assert callable(tried)
    end = time.monotonic() + SECONDS / 2
    tried()
    while time.monotonic() < end:
        tried()


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [(b"\xff", 1, 1), (b"// ok\n a\xc3(", 2, 3), ("\u00e9 ".encode() + b"\xed\xa0\x80", 1, 3)],
)
def test_bytes_that_are_not_utf8_have_a_place(data: bytes, line: int, column: int) -> None:
    with pytest.raises(RulesSyntaxError) as caught:
        decode_source(data)
    (found,) = caught.value.diagnostics
    assert (found.line, found.column) == (line, column)
    assert found.message == "the text is not valid Unicode"
