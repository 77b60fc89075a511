"""Rules in one layout: indentation, blanks and empty lines. Lines stay broken where their author
broke them, and every comment is kept. What is written means what it meant: trees are compared."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum, auto
from itertools import pairwise
from typing import Any, Final

from baas_rules import ast
from baas_rules.errors import RulesSyntaxError, Severity
from baas_rules.parser import parse
from baas_rules.source import Source, Span
from baas_rules.tokens import STATEMENT_WORDS

_INDENT: Final = "  "
_CONTINUED: Final = "    "
_BLANK: Final = re.compile(r"(?:[ \t\r\n\f\v\u00a0\ufeff]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_PIECE: Final = re.compile(
    r"""(?P<space>[ \t\r\f\v\u00a0\ufeff]+)|(?P<line>\n)|(?P<comment>//[^\n]*|/\*.*?\*/)
    |(?P<text>b?'(?:\\.|[^'\\\n])*'|b?"(?:\\.|[^"\\\n])*")|(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>0[xX][0-9a-fA-F]+|(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    |(?P<symbol>&&|\|\||[=!<>]=|.)""",
    re.DOTALL | re.VERBOSE,
)
_SEGMENT: Final = re.compile(r"[^\s/{}()$\[\]'\",;:?|&=<>!+*]+")
_KEYWORDS: Final = frozenset(
    ("if", "return", "in", "is", "let", "allow", "match", "function", "service")
)
_CLOSING: Final = {")": "(", "]": "[", "}": "{"}


class _Kind(Enum):
    WORD = auto()
    VALUE = auto()  # a number or a text
    PATH = auto()
    SYMBOL = auto()
    UNARY = auto()
    BLOCK = auto()  # a brace around statements
    COLON = auto()  # of a branch, with blanks on both sides
    CUT = auto()  # the colon of [a:b], without any
    COMMENT = auto()
    LINE = auto()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: _Kind
    text: str

    def ends_operand(self) -> bool:
        if self.kind is _Kind.WORD:
            return self.text not in _KEYWORDS
        return self.kind in (_Kind.VALUE, _Kind.PATH) or (
            self.kind is _Kind.SYMBOL and self.text in (")", "]", "}")
        )


def format_source(source: str, *, name: str = "firestore.rules") -> str:
    """The same rules, laid out. Formatting twice changes nothing more. Raises RulesSyntaxError if
    the source does not parse."""
    tree = _tree(source, name)
    made = _laid_out(_Reader(source).tokens())
    assert _shape(_tree(made, name)) == _shape(tree), "formatting changed what the rules mean"
    return made


def _tree(source: str, name: str) -> ast.RulesFile | None:
    tree, diagnostics = parse(Source(source, name))
    errors = [found for found in diagnostics if found.severity is Severity.ERROR]
    if errors:
        raise RulesSyntaxError(errors)
    return tree


def _shape(node: Any) -> Any:
    """A tree without the places of its nodes."""
    if isinstance(node, Span):
        return None
    if isinstance(node, tuple):
        return tuple(map(_shape, node))
    if is_dataclass(node):
        return (type(node), *(_shape(getattr(node, one.name)) for one in fields(node)))
    return (type(node), repr(node))


# --- reading -----------------------------------------------------------------------------------


class _Reader:
    """Text that parses to tokens, comments and ends of lines among them; a path is one token."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._tokens: list[_Token] = []
        self._before = _Token(_Kind.SYMBOL, ";")  # the last that is no comment and no end of line
        self._open: list[_Token] = []
        self._branches = [0]  # `?` that wait for their colon, by bracket

    def tokens(self) -> list[_Token]:
        text = self._text
        while self._at < len(text):
            if text[self._at] == "/" and self._begins_path():
                self._add(_Kind.PATH, self._path_end())
                continue
            found = _PIECE.match(text, self._at)
            assert found is not None
            self._take(found)
        return self._tokens

    def _begins_path(self) -> bool:
        if self._text.startswith(("//", "/*"), self._at):
            return False
        before = self._before
        return (before.kind is _Kind.WORD and before.text == "match") or not before.ends_operand()

    def _take(self, found: re.Match[str]) -> None:
        end = found.end()
        match found.lastgroup:
            case "space":
                self._at = end
            case "line":
                self._tokens.append(_Token(_Kind.LINE, "\n"))
                self._at = end
            case "comment":
                self._tokens.append(_Token(_Kind.COMMENT, found.group().rstrip()))
                self._at = end
            case "word":
                self._add(_Kind.WORD, end)
            case "symbol":
                self._symbol(found.group(), end)
            case _:
                self._add(_Kind.VALUE, end)

    def _add(self, kind: _Kind, end: int) -> None:
        token = _Token(kind, self._text[self._at : end])
        self._tokens.append(token)
        self._before = token
        self._at = end

    def _symbol(self, text: str, end: int) -> None:
        kind = _Kind.SYMBOL
        if text in ("!", "-") and not self._before.ends_operand():
            kind = _Kind.UNARY
        elif self._is_block(text):
            kind = _Kind.BLOCK
        elif text == "?":
            self._branches[-1] += 1
        elif text == ":" and self._branches[-1]:
            self._branches[-1] -= 1
            kind = _Kind.COLON
        elif text == ":" and self._open and self._open[-1].text == "[":
            kind = _Kind.CUT
        self._add(kind, end)
        if text in ("(", "[", "{"):
            self._open.append(self._before)
            self._branches.append(0)
        elif text in _CLOSING and self._open:
            self._open.pop()
            self._branches.pop()

    def _is_block(self, text: str) -> bool:
        if text == "{":
            return self._before.ends_operand()
        return text == "}" and bool(self._open) and self._open[-1].kind is _Kind.BLOCK

    def _path_end(self) -> int:
        text, at = self._text, self._at
        while True:
            at = self._part_end(at + 1)
            blank = _BLANK.match(text, at)
            following = blank.end() if blank is not None else at
            if not text.startswith("/", following):
                return at
            at = following

    def _part_end(self, at: int) -> int:
        text = self._text
        if text.startswith("$(", at):
            return self._closed(at + 2, "(", ")")
        if text.startswith("(default)", at):
            return at + len("(default)")
        if text.startswith("{", at):
            return text.index("}", at) + 1
        found = _SEGMENT.match(text, at)
        assert found is not None
        return found.end()

    def _closed(self, at: int, opening: str, closing: str) -> int:
        """Behind the bracket that closes one which was opened before."""
        depth = 1
        while depth:
            found = _PIECE.match(self._text, at)
            assert found is not None
            depth += (found.group() == opening) - (found.group() == closing)
            at = found.end()
        return at


# --- writing -----------------------------------------------------------------------------------


def _laid_out(tokens: list[_Token]) -> str:
    lines: list[str] = []
    line: list[_Token] = []
    opened: list[_Token] = []
    before = _Token(_Kind.SYMBOL, ";")
    for token in [*tokens, _Token(_Kind.LINE, "\n")]:
        if token.kind is not _Kind.LINE:
            line.append(token)
            continue
        if line:
            lines.append(_indent(line, opened, before) + _joined(line))
            before = _count(line, opened, before)
        elif lines and lines[-1]:
            lines.append("")
        line = []
    return _without_needless_blanks(lines)


def _indent(line: list[_Token], opened: list[_Token], before: _Token) -> str:
    depth = len(opened)
    for token in line:
        if token.text not in _CLOSING or token.kind is _Kind.COMMENT:
            break
        depth -= 1
    in_block = not opened or opened[-1].kind is _Kind.BLOCK
    begins = before.kind is _Kind.BLOCK or (before.kind is _Kind.SYMBOL and before.text == ";")
    begins = begins or (line[0].kind is _Kind.WORD and line[0].text in STATEMENT_WORDS)
    is_continued = in_block and not begins and line[0].text not in _CLOSING
    return _INDENT * max(depth, 0) + (_CONTINUED if is_continued else "")


def _count(line: list[_Token], opened: list[_Token], before: _Token) -> _Token:
    """Notes which brackets a line leaves open; the last token that is no comment."""
    for token in line:
        if token.kind is _Kind.COMMENT:
            continue
        before = token
        if token.kind not in (_Kind.SYMBOL, _Kind.BLOCK):
            continue
        if token.text in ("(", "[", "{"):
            opened.append(token)
        elif token.text in _CLOSING and opened:
            opened.pop()
    return before


def _joined(line: list[_Token]) -> str:
    parts = [line[0].text]
    for before, token in pairwise(line):
        parts.append(" " if _is_apart(before, token) else "")
        parts.append(token.text)
    return "".join(parts)


def _is_apart(a: _Token, b: _Token) -> bool:
    """Whether a blank stands between two tokens of one line."""
    if _Kind.COMMENT in (a.kind, b.kind):
        return True
    if a.kind is _Kind.UNARY or _Kind.CUT in (a.kind, b.kind):
        return False
    if a.kind is _Kind.BLOCK or b.kind is _Kind.BLOCK:
        return not (a.text == "{" and b.text == "}")
    if a.kind is _Kind.SYMBOL and a.text in ("(", "[", "{", "."):
        return False
    if b.kind is _Kind.SYMBOL:
        if b.text in (")", "]", "}", ",", ";", ".", ":"):
            return False
        if b.text in ("(", "["):
            return not a.ends_operand()
    return True


def _without_needless_blanks(lines: list[str]) -> str:
    kept: list[str] = []
    for line in lines:
        if not line and (not kept or not kept[-1] or kept[-1].endswith("{")):
            continue
        if kept and not kept[-1] and line.lstrip().startswith("}"):
            kept.pop()
        kept.append(line)
    while kept and not kept[-1]:
        kept.pop()
    return "".join(f"{line}\n" for line in kept)
