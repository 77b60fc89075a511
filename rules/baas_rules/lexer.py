"""Text to tokens, one at a time: the parser says where a path begins, and paths have own rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from baas_rules.limits import INT64_MAX
from baas_rules.source import Source, Span

_BLANK: Final = re.compile(r"[ \t\r\n\f\v\u00a0\ufeff]+")
_LINE_COMMENT: Final = re.compile(r"//[^\n]*")
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER: Final = re.compile(
    r"0[xX][0-9a-fA-F]+|(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
)
_SEGMENT: Final = re.compile(r"[^\s/{}()$\[\]'\",;:?|&=<>!+*]+")
_SYMBOLS: Final = (
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "=", "+", "-", "*", "/", "%", "!", "?", ":",
    ".", ",", ";", "(", ")", "[", "]", "{", "}", "$",
)  # fmt: skip
NEVER_ENDS: Final = "this comment never ends"
_ESCAPES: Final = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t"}


class Kind(Enum):
    WORD = auto()
    INT = auto()
    FLOAT = auto()
    STRING = auto()
    BYTES = auto()
    SYMBOL = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """`text` is a word or symbol; `value` what a number or string stands for."""

    kind: Kind
    text: str
    span: Span
    value: Any = None

    def is_symbol(self, text: str) -> bool:
        return self.kind is Kind.SYMBOL and self.text == text

    def is_word(self, text: str) -> bool:
        return self.kind is Kind.WORD and self.text == text


# Told of each error or warning: message, place, hint. The lexer itself always goes on.
Report = Callable[[str, Span, str | None], None]


class Lexer:
    """A position in the source that moves forward; `seek` moves it anywhere."""

    def __init__(self, source: Source, report: Report, warn: Report) -> None:
        self._text = source.text
        self._report = report
        self._warn = warn
        self._at = 0

    def seek(self, offset: int) -> None:
        self._at = offset

    def next(self) -> Token:
        """The next token. Characters that no token begins with are reported and skipped."""
        while True:
            self._skip_blank()
            start = self._at
            if start >= len(self._text):
                return Token(Kind.END, "end of file", Span(len(self._text), len(self._text)))
            token = self._token(start)
            if token is not None:
                return token

    def _token(self, start: int) -> Token | None:
        text = self._text
        character = text[start]
        if character in "'\"":
            return self._string(start, start)
        if character == "b" and text[start + 1 : start + 2] in ("'", '"'):
            return self._string(start, start + 1)
        word = _WORD.match(text, start)
        if word is not None:
            self._at = word.end()
            return Token(Kind.WORD, word.group(), Span(start, self._at))
        number = _NUMBER.match(text, start)
        if number is not None:
            return self._number(number)
        for symbol in _SYMBOLS:
            if text.startswith(symbol, start):
                self._at = start + len(symbol)
                return Token(Kind.SYMBOL, symbol, Span(start, self._at))
        self._at = start + 1
        hint = {"&": "use `&&`", "|": "use `||`", "`": "use ' or \" around strings"}.get(character)
        shown = character if character.isprintable() else f"U+{ord(character):04X}"
        self._report(f"unexpected character `{shown}`", Span(start, self._at), hint)
        return None

    def _skip_blank(self) -> None:
        text = self._text
        while True:
            blank = _BLANK.match(text, self._at) or _LINE_COMMENT.match(text, self._at)
            if blank is not None:
                self._at = blank.end()
            elif text.startswith("/*", self._at):
                end = text.find("*/", self._at + 2)
                if end < 0:
                    span = Span(self._at, self._at + 2)
                    self._report(NEVER_ENDS, span, "close it with `*/`")
                    end = len(text)
                self._at = end + 2
            else:
                return

    def _number(self, found: re.Match[str]) -> Token:
        text = found.group()
        self._at = found.end()
        span = Span(found.start(), found.end())
        if text[:2] in ("0x", "0X"):
            return Token(Kind.INT, text, span, self._int(int(text[2:], 16), span))
        if text.isdigit():
            return Token(Kind.INT, text, span, self._int(_decimal(text), span))
        return Token(Kind.FLOAT, text, span, float(text))

    def _int(self, value: int, span: Span) -> int:
        # One more than the maximum is let through: it may stand behind a minus.
        if value > INT64_MAX + 1:
            self._report("the integer does not fit 64 bits", span, None)
            return 0
        return value

    def _string(self, start: int, quote_at: int) -> Token:
        text = self._text
        quote = text[quote_at]
        at = quote_at + 1
        parts: list[str] = []
        while True:
            if at >= len(text) or text[at] == "\n" or text[at : at + 2] in ("\\", "\\\n"):
                at = min(at + (text[at : at + 1] == "\\"), len(text))
                span = Span(start, at)
                self._report("this string never ends", span, f"close it with {quote}")
                break
            character = text[at]
            if character == quote:
                at += 1
                break
            if character == "\\":
                parts.append(self._escape(at))
                at += 2
                continue
            parts.append(character)
            at += 1
        self._at = at
        value = "".join(parts)
        if quote_at != start:
            return Token(Kind.BYTES, text[start:at], Span(start, at), value.encode())
        return Token(Kind.STRING, text[start:at], Span(start, at), value)

    def _escape(self, at: int) -> str:
        escaped = self._text[at + 1 : at + 2]
        value = _ESCAPES.get(escaped)
        if value is not None:
            return value
        span = Span(at, min(at + 2, len(self._text)))
        hint = f"in a regular expression write \\\\{escaped}"
        if not escaped or escaped.isalnum() or escaped.isspace():
            known = "there are \\\\ \\' \\\" \\n \\r \\t"
            self._report(
                f"unknown escape `\\{escaped.strip()}`", span, hint if escaped.isalnum() else known
            )
            return escaped.strip("\n")
        # Seen in real files, always in patterns: what was meant is the backslash itself.
        self._warn(f"`\\{escaped}` is not an escape; it is read as \\\\{escaped}", span, hint)
        return f"\\{escaped}"

    # --- paths ---------------------------------------------------------------------------------

    def path_segment(self, offset: int) -> Token | None:
        """The literal text of a segment right at the offset, if there is one."""
        found = _SEGMENT.match(self._text, offset)
        if found is None:
            return None
        text = found.group()
        return Token(Kind.WORD, text, Span(offset, offset + len(text)))

    def has_text(self, offset: int, text: str) -> bool:
        return self._text.startswith(text, offset)

    def after_blank(self, offset: int) -> int:
        """The offset of what follows white space and comments."""
        self._at = offset
        self._skip_blank()
        return self._at


def _decimal(text: str) -> int:
    # Python refuses to convert thousands of digits; such a number is out of range anyway.
    return int(text) if len(text) <= 40 else INT64_MAX + 2
