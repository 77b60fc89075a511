"""Layout of rules: the same meaning, the same comments, and nothing left to do."""

from __future__ import annotations

import re

import pytest
from baas_rules import RulesSyntaxError, format_source
from baas_rules.formatter import _shape, _tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.effort import examples
from tests.rules.test_fuzz import SEEDS, broken

# Texts first, so that what looks like a comment in one is none.
_COMMENT = re.compile(
    r"""'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|(//[^\n]*|/\*.*?\*/)""", re.DOTALL
)


def inside(statement: str) -> str:
    return f"service cloud.firestore {{\n  match /a/{{b}} {{\n{statement}\n  }}\n}}\n"


@pytest.mark.parametrize(
    ("written", "laid_out"),
    [
        ("allow   read ,write:if true ;", "    allow read, write: if true;"),
        ("allow read: if a==-1&&!( b )", "    allow read: if a == -1 && !(b)"),
        ("allow read: if a- -1<b%c;", "    allow read: if a - -1 < b % c;"),
        ("allow read: if [1 ,2][ 0 : 1 ]=={'a':1};", "    allow read: if [1, 2][0:1] == {'a': 1};"),
        ("allow read: if a?b:c ?d:e;", "    allow read: if a ? b : c ? d : e;"),
        ("allow read: if x in[a?b:c];", "    allow read: if x in [a ? b : c];"),
        ("allow read: if get( /a/$(b) ).d/e > .5;", "    allow read: if get(/a/$(b)).d / e > .5;"),
        ("allow read: if a\n||b;", "    allow read: if a\n        || b;"),
        ("allow read: if f(\na,\nb\n);", "    allow read: if f(\n      a,\n      b\n    );"),
        ("\n\n\nallow read;\n\n\n\nallow write;\n\n", "    allow read;\n\n    allow write;"),
        ("allow read: if a // why\nallow write;", "    allow read: if a // why\n    allow write;"),
        ("  // alone\nallow read;/* b */", "    // alone\n    allow read; /* b */"),
        ("function f(a,b){let c=a;return c;}", "    function f(a, b) { let c = a; return c; }"),
        ("match /c/{d=**}{}", "    match /c/{d=**} {}"),
        ("allow read: if 'a  //  b' == \"c\";", "    allow read: if 'a  //  b' == \"c\";"),
    ],
)  # fmt: skip
def test_layout(written: str, laid_out: str) -> None:
    assert format_source(inside(written)) == inside(laid_out)
    assert format_source(inside(laid_out)) == inside(laid_out)


def test_what_does_not_parse_is_not_laid_out() -> None:
    with pytest.raises(RulesSyntaxError):
        format_source(inside("allow read: if ;"))


def comments(text: str) -> list[str]:
    return [found.group(1).rstrip() for found in _COMMENT.finditer(text) if found.group(1)]


@settings(max_examples=examples(150), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(broken(), broken(), st.sampled_from(SEEDS)), st.data())
def test_meaning_and_comments_are_kept_and_once_is_enough(text: str, data: st.DataObject) -> None:
    places = [found.start() for found in re.finditer(r"[ \n]", text)]
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.sampled_from(places))
        text = (
            text[:at]
            + data.draw(st.sampled_from(["\n", " /* c */ ", " // d\n", "\t \r\n\n"]))
            + text[at:]
        )
        places = [place for place in places if place < at] or [at]
    try:
        made = format_source(text)
    except RulesSyntaxError:
        return
    assert _shape(_tree(made, "")) == _shape(_tree(text, ""))
    assert comments(made) == comments(text)
    assert format_source(made) == made
