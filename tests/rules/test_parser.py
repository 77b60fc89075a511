"""Text to tree: what is accepted, and what each error says, where, and with which hint."""

from __future__ import annotations

import pytest
from baas_rules import Diagnostic, Ruleset, RulesSyntaxError, Severity, ast, check
from baas_rules.limits import EXPRESSION_DEPTH_MAX, SOURCE_BYTES_MAX
from baas_rules.parser import parse
from baas_rules.source import Source, Span
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.effort import examples
from tests.rules.worlds import compiled, wrapped


def errors_of(text: str) -> list[Diagnostic]:
    return [one for one in parse(Source(text))[1] if one.severity is Severity.ERROR]


def shape(node: ast.Expression) -> str:
    """An expression with all its parentheses."""
    match node:
        case ast.Literal(value=value):
            return repr(value)
        case ast.Name(name=name):
            return name
        case ast.Binary(operator=operator, left=left, right=right):
            return f"({shape(left)} {operator} {shape(right)})"
        case ast.Logic(operator=operator, operands=operands):
            return "(" + f" {operator} ".join(map(shape, operands)) + ")"
        case ast.Unary(operator=operator, operand=operand):
            return f"({operator}{shape(operand)})"
        case ast.TypeTest(operand=operand, type=name):
            return f"({shape(operand)} is {name})"
        case ast.Conditional(test=test, then=then, otherwise=otherwise):
            return f"({shape(test)} ? {shape(then)} : {shape(otherwise)})"
        case ast.Member(target=target, name=name):
            return f"{shape(target)}.{name}"
        case _:
            return type(node).__name__


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a || b && c", "(a || (b && c))"),
        ("a && b || c && d", "((a && b) || (c && d))"),
        ("a && b && c", "(a && b && c)"),
        ("(a && b) && c", "((a && b) && c)"),
        ("a ? b : c ? d : e", "(a ? b : (c ? d : e))"),
        ("a ? b ? c : d : e", "(a ? (b ? c : d) : e)"),
        ("a || b ? c : d", "((a || b) ? c : d)"),
        ("a == b && c in d", "((a == b) && (c in d))"),
        ("a == b in c", "((a == b) in c)"),
        ("a < b == c < d", "((a < b) == (c < d))"),
        ("a + b < c * d", "((a + b) < (c * d))"),
        ("a - b - c", "((a - b) - c)"),
        ("a * b / c % d", "(((a * b) / c) % d)"),
        ("!a in b", "((!a) in b)"),
        ("!a.b", "(!a.b)"),
        ("-a.b + c", "((-a.b) + c)"),
        ("!!a", "(!(!a))"),
        ("-1 - -1", "(-1 - -1)"),
        ("a is string && b", "((a is string) && b)"),
        ("a.b is list in c", "((a.b is list) in c)"),
        ("a.in.is.match.if", "a.in.is.match.if"),
        ("a /* c */ + // d\n b", "(a + b)"),
    ],
)
def test_precedence(text: str, expected: str) -> None:
    assert shape(compiled(text)[0]) == expected


ACCEPTED = [
    "service cloud.firestore { }",
    "rules_version = '1'; service cloud.firestore { }",
    'rules_version = "2"\nservice firebase.storage { }',
    "\ufeffrules_version = '2';\r\nservice cloud.firestore {\r\n}\r\n",
    "// c\n/* d */ rules_version='2'; function f() { return 1; } service cloud.firestore { };",
    "service cloud.firestore { match /a { allow read } }",
    "service cloud.firestore { match /a { allow read; allow write: if false } }",
    "service cloud.firestore { match /a { allow read\nallow write: if 1 == 1\nmatch /b { } } }",
    "service cloud.firestore { match /a { allow get , list: if true;; }; }",
    "service cloud.firestore { match /a/{b}/{ c = ** }{ } }",
    "service cloud.firestore { match /databases/(default)/documents { } }",
    "service cloud.firestore { match /a-b/c.d/e_f/ü/1 { } }",
    "service cloud.firestore { match /a\n  /b { } }",
    "service cloud.firestore { function f(a, b) { let c = a; return b + c } }",
    "service cloud.firestore { function f() { return 1;; } }",
    "service cloud.firestore { match /a { function allow2() { return matches; } } }",
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepts(text: str) -> None:
    # An extra `;` after the file's last block is not one of its statements.
    assert errors_of(text.removesuffix(";")) == []


FIRST_ERRORS: list[tuple[str, str, str, str | None]] = [
    (
        "service cloud.firestore { function f() { return 1;",
        "this function is never closed",
        "function",
        "close it with `}`",
    ),
    # text, message, what the carets are under, hint
    ("", "the file has no service", "", "a file begins: rules_version"),
    ("service", "expected a service's name after `service`, found the end of the file", "", None),
    ("service cloud.", "expected a name after the dot", "", None),
    ("service cloud.firestore {", "this service is never closed", "service", "close it with `}`"),
    (
        "service cloud.firestore { match /a {",
        "this match is never closed",
        "match",
        "close it with `}`",
    ),
    (
        "servise cloud.firestore { }",
        "expected `service` or `function` here",
        "servise",
        "`service`",
    ),
    ("import 'a';", "there are no imports", "import", None),
    ("allow read;", "`allow` belongs into a `match`", "allow", None),
    ("match /a { }", "`match` belongs into a `service`", "match", None),
    (
        "service cloud.firestore { } rules_version = '2';",
        "`rules_version` comes before everything else",
        "rules_version",
        "first line",
    ),
    (
        "service cloud.firestore { } service firebase.storage { } service cloud.firestore { }",
        "service `cloud.firestore` is declared twice",
        "cloud.firestore",
        "into one block",
    ),
    ("rules_version = '3';", "the version is '1' or '2'", "'3'", "rules_version = '2';"),
    ("rules_version = 2;", "the version is '1' or '2'", "2", "rules_version = '2';"),
    ("rules_version '2';", "expected `=` after `rules_version`, found `'2'`", "'2'", None),
    ("rules_version = '2' x", "expected `;` after the version", "x", None),
    ("service cloud.firestore { foo }", "expected `match` or `function` here", "foo", None),
    ("service cloud.firestore { allow read; }", "`allow` belongs into a `match`", "allow", None),
    (
        "service cloud.firestore { match /a { service x { } } }",
        "a service is not inside of another block",
        "service",
        None,
    ),
    (
        "service cloud.firestore { match a { } }",
        "expected a path after `match`, found `a`",
        "a",
        "begins with a slash",
    ),
    (
        "service cloud.firestore { match /a/ { } }",
        "expected a path segment behind `/`",
        " ",
        "no slash at its end",
    ),
    (
        "service cloud.firestore { match /a/$(b) { } }",
        "`$(…)` belongs into expressions",
        "$",
        "/{name}",
    ),
    (
        "service cloud.firestore { match /{a=*} { } }",
        "expected `*` after `=`, found `}`",
        "}",
        "a recursive wildcard is {name=**}",
    ),
    ("service cloud.firestore { match /{a { } }", "expected `}` after the wildcard", "{", None),
    (
        "service cloud.firestore { match /{} { } }",
        "expected a wildcard's name after `{`",
        "}",
        None,
    ),
    (
        "service cloud.firestore { match /a allow }",
        "expected `{` after the match's path",
        "allow",
        None,
    ),
]

BODY_ERRORS: list[tuple[str, str, str, str | None]] = [
    ("read: if true;", "expected `allow`, `match` or `function` here", "read", "allow read: if"),
    ("allw read;", "expected `allow`, `match` or `function` here", "allw", "did you mean `allow`?"),
    ("allow: if true;", "expected a method in `allow`, found `:`", ":", None),
    ("allow read,: if true;", "expected a method in `allow`, found `:`", ":", None),
    ("allow read if true;", "expected `:` before `if`", "if", "allow read: if <condition>;"),
    ("allow read: true;", "expected `if` after `:`", "true", "allow read: if <condition>;"),
    ("allow read: if;", "expected an expression here, found `;`", ";", None),
    ("allow read: if a = b;", "`=` does not compare", "=", "use `==`"),
    ("allow read: if a b;", "expected `;` after the condition, found `b`", "b", None),
    ("allow read foo;", "expected `;` after the methods, found `foo`", "foo", None),
    ("allow read: if (a;", "expected `)` to close the parenthesis, found `;`", ";", None),
    ("allow read: if [a b];", "expected `,` or `]` in the list, found `b`", "b", None),
    ("allow read: if f(a b);", "expected `,` or `)` between arguments, found `b`", "b", None),
    ("allow read: if {'a' 1};", "expected `:` between key and value, found `1`", "1", None),
    ("allow read: if {'a': 1 'b'};", "expected `,` or `}` in the map, found `'b'`", "'b'", None),
    ("allow read: if a[1;", "expected `]` after the index, found `;`", ";", None),
    ("allow read: if a[1:2;", "expected `]` after the bounds, found `;`", ";", None),
    ("allow read: if a.;", "expected a name after the dot, found `;`", ";", None),
    ("allow read: if a ? b;", "expected `:` between the branches of `? :`, found `;`", ";", None),
    ("allow read: if a is 'b';", "expected a type after `is`, found `'b'`", "'b'", None),
    ("allow read: if a &&;", "expected an expression here, found `;`", ";", None),
    ("allow read: if a & b;", "unexpected character `&`", "&", "use `&&`"),
    ("allow read: if a | b;", "unexpected character `|`", "|", "use `||`"),
    ("allow read: if a == `b`;", "unexpected character ```", "`", "around strings"),
    ("allow read: if a \x00 b;", "unexpected character `U+0000`", "\x00", None),
    ("allow read: if 'a;", "this string never ends", "'a;", "close it with '"),
    ("allow read: if 'a\\", "this string never ends", "'a\\", None),
    (r"allow read: if 'a\d';", r"unknown escape `\d`", r"\d", r"write \\d"),
    (r"allow read: if 'a\ b';", "unknown escape `\\`", "\\ ", "there are"),
    ("allow read: if match;", "expected an expression, found `match`", "match", None),
    ("allow read: if /a/;", "expected a path segment behind `/`", ";", "no slash at its end"),
    ("allow read: if /a/{b};", "`{…}` belongs into a match", "{", "use $(name) here"),
    ("allow read: if /a$(b);", "a segment is a text or one `$(…)`, not both", "$", "join"),
    ("allow read: if /$(a)b;", "a segment is a text or one `$(…)`, not both", "b", "join"),
    ("allow read: if /$(a;", "expected `)` to close `$(`, found `;`", ";", None),
    ("allow read: if 9223372036854775808;", "does not fit 64 bits", "9223372036854775808", None),
    ("allow read: if -9223372036854775809;", "does not fit 64 bits", "9223372036854775809", None),
    ("allow read: if 1 - 9223372036854775808;", "does not fit", "9223372036854775808", None),
    (f"allow read: if {'9' * 5000};", "does not fit 64 bits", "", None),
    ("allow read; /* never", "this comment never ends", "/*", "close it with `*/`"),
    ("function () { }", "expected a name after `function`, found `(`", "(", None),
    ("function f { }", "expected `(` after the function's name, found `{`", "{", None),
    ("function f(a b) { }", "expected `,` between parameters, found `b`", "b", None),
    ("function f(1) { }", "expected a parameter's name in the parentheses, found `1`", "1", None),
    ("function f() return 1;", "expected `{` after the parameters", "return", None),
    ("function f() { }", "function `f` does not return", "f", "write: return <expression>;"),
    ("function f() { let a = 1; }", "function `f` does not return", "f", None),
    ("function f() { if (a) { } }", "functions have no `if`", "if", "use `condition ? a : b`"),
    ("function f() { a; return 1; }", "expected `let` or `return` here, found `a`", "a", None),
    ("function f() { let a; return 1; }", "expected `=` after the name, found `;`", ";", None),
    ("function f() { let a = 1 return a; }", "expected `;` after the value", "return", None),
    ("function f() { return 1; let a = 1; }", "`return` is a function's last", "let", None),
    ("function f() { return 1 2; }", "expected `;` after the result, found `2`", "2", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message", "under", "hint"), FIRST_ERRORS)
def test_errors_of_files(text: str, message: str, under: str, hint: str | None) -> None:
    check_error(errors_of(text)[0], message, under, hint)


@pytest.mark.parametrize(("body", "message", "under", "hint"), BODY_ERRORS)
def test_errors_of_statements(body: str, message: str, under: str, hint: str | None) -> None:
    found = errors_of(wrapped(f"match /a/{{b}} {{\n{body}\n}}"))
    check_error(found[0], message, under, hint)
    assert found[0].line == 5


def check_error(found: Diagnostic, message: str, under: str, hint: str | None) -> None:
    assert message in found.message
    text, carets = found.snippet().split("\n")
    marked = "".join(text[at] for at, mark in enumerate(carets) if mark == "^" and at < len(text))
    if under:
        assert marked == under
    if hint is not None:
        assert found.hint is not None
        assert hint in found.hint


@pytest.mark.parametrize("body", [one[0] for one in BODY_ERRORS if "never" not in one[1]])
def test_one_error_does_not_hide_the_next_statement(body: str) -> None:
    """Statements behind a broken one are parsed, and their errors told too."""
    text = wrapped(f"match /a/{{b}} {{\n{body}\n}}\nmatch /c/{{d}} {{\nallow read: if x = 1;\n}}")
    assert any("`=` does not compare" in one.message and one.line == 8 for one in errors_of(text))


def test_many_errors_in_one_run() -> None:
    text = (
        "rules_version = '2';\n"
        "service cloud.firestore {\n"
        "  match /a/{b} {\n"
        "    allow read: if a = b;\n"
        "    allow write: if (a;\n"
        "    function f() { return [1; }\n"
        "    match c { allow read; }\n"
        "  }\n"
        "  foo bar;\n"
        "  match /d { allow read: true; }\n"
        "}\n"
        "function g( { return 1; }\n"
    )
    assert [one.line for one in errors_of(text)] == [4, 5, 6, 7, 9, 10, 12]
    with pytest.raises(RulesSyntaxError) as raised:
        Ruleset.parse(text)
    assert len(raised.value.diagnostics) == 7
    assert "`=` does not compare" in str(raised.value)


def test_errors_are_limited() -> None:
    text = wrapped("match /a { " + "allow read: if a = b;\n" * 200 + "}")
    assert len(errors_of(text)) == 50


def test_warnings_of_the_lexer() -> None:
    body = r"match /a/{b} { allow read: if 'a+b'.matches('a\+b'); }"
    (found,) = parse(Source(wrapped(body)))[1]
    assert found.severity is Severity.WARNING
    assert r"`\+` is not an escape; it is read as \\+" in found.message
    assert Ruleset.parse(wrapped(body)).warnings == (found,)


def test_source_limits() -> None:
    text = wrapped("match /a { allow read; }")
    padded = text + "//" + "x" * (SOURCE_BYTES_MAX - len(text) - 2)
    assert errors_of(padded) == []
    (error,) = errors_of(padded + "x")
    assert "at most 262144 are allowed" in error.message
    (error,) = errors_of(text + "// \ud800")
    assert "not valid Unicode" in error.message


def test_nesting_of_matches_is_limited() -> None:
    def nested(depth: int) -> str:
        return "service cloud.firestore {" + "match /a {" * depth + "}" * depth + "}"

    assert errors_of(nested(10)) == []
    (error,) = errors_of(nested(11))
    assert "nested at most 10 deep" in error.message
    assert len(errors_of(nested(3000))) == 1


DEEP = [
    ("(", "a", ")"),
    ("[", "1", "]"),
    ("!", "a", ""),
    ("- ", "a", ""),
    ("f(", "a", ")"),
    ("{'a': ", "1", "}"),
    ("a ? a : ", "a", ""),
    ("a ? ", "a", " : a"),
    ("/x/$(", "a", ")"),
    ("", "a", ".b"),
    ("", "a", "[0]"),
    ("", "a", " + a"),
    ("a == (", "a", ")"),
    ("", "a", " is bool"),
    ("a && (", "a", ") || a"),
]


@pytest.mark.parametrize(("left", "middle", "right"), DEEP)
def test_deep_nesting_is_an_error_and_not_a_crash(left: str, middle: str, right: str) -> None:
    for depth in (EXPRESSION_DEPTH_MAX + 1, 400, 5000):
        text = wrapped(f"match /a {{ allow read: if {left * depth}{middle}{right * depth}; }}")
        found = errors_of(text)
        assert found
        assert "nested more than" in found[0].message
    text = wrapped(f"match /a {{ allow read: if {left * 30}{middle}{right * 30}; }}")
    assert errors_of(text) == []


def test_long_chains_of_logic_are_no_nesting() -> None:
    text = wrapped("match /a { allow read: if " + " && ".join(["true"] * 900) + "; }")
    assert errors_of(text) == []


def test_snippets_of_long_lines_are_cut() -> None:
    text = wrapped("match /a { allow read: if " + "a && " * 100 + "b = c" + " && a" * 100 + "; }")
    (error,) = errors_of(text)
    line, carets = error.snippet().split("\n")
    assert len(line) < 180
    assert line[carets.index("^")] == "="
    assert carets.count("^") == 1


def test_snippets_keep_tabs() -> None:
    (error,) = errors_of("service cloud.firestore {\n\tmatch\ta { }\n}")
    assert error.snippet() == "2 | \tmatch\ta { }\n  | \t     \t^"
    assert str(error).startswith(
        "error: expected a path after `match`, found `a` (line 2, column 8)"
    )


def test_spans_of_several_lines_are_marked_to_the_end_of_the_first() -> None:
    source = Source("ab\ncd\n")
    assert source.place(Span(1, 4)) == (1, 2, 3)
    assert source.line_text(2) == "cd"
    assert source.text_of(Span(0, 5)) == "ab cd"


words = st.sampled_from(
    [
        "service", "cloud.firestore", "match", "allow", "read", "write", "if", "function", "let",
        "return", "f", "x", "true", "null", "in", "is", "string", "request", ".", ",", ";", ":",
        "(", ")", "[", "]", "{", "}", "/", "/a", "/{b}", "/{c=**}", "$(", "=", "==", "&&", "||",
        "!", "-", "+", "?", "'a'", '"b', "1", "2.5", "//", "/*", "*/", "\n", " ", "rules_version",
        "'2'", "\\", "**", "ü", "\ud800", "\x00", "0x", "1e", "b'", "%", "<", ">=",
    ]
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=examples(600), deadline=None)
@given(
    st.one_of(st.text(), st.lists(words, max_size=60).map(" ".join), st.lists(words).map("".join))
)
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for source in (text, wrapped(text), wrapped(f"match /a/{{b}} {{ allow read: if {text} }}")):
        found = check(source)
        for one in found:
            assert one.line >= 1
            assert one.column >= 1
            assert str(one)
        if not any(one.severity is Severity.ERROR for one in found):
            Ruleset.parse(source)
