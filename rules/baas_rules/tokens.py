"""The tokens of a source as a parser wants them: one ahead, errors collected, and a way to go on
behind a broken statement."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from baas_rules.errors import Diagnostic, Severity
from baas_rules.lexer import NEVER_ENDS, Kind, Lexer, Token
from baas_rules.limits import COMPILED_BYTES_MAX, ERRORS_MAX, SOURCE_BYTES_MAX
from baas_rules.source import Source, Span

# Strings and comments that are never closed match too, up to where the lexer gives them up: looking
# for the end of each in vain would take the square of the file's length.
_LEFT_OUT: Final = re.compile(
    r"""(?P<text>'(?:\\.|[^'\\\n])*'?|"(?:\\.|[^"\\\n])*"?)|//[^\n]*|/\*(?:.*?\*/|.*)|\s+""",
    re.DOTALL,
)
STATEMENT_WORDS: Final = frozenset({"match", "allow", "function", "service", "let", "return"})


class StatementAbandoned(Exception):
    """An error was reported; the parser goes on behind this statement."""


class TokenStream:
    """Holds the next token. Every error is reported once per place."""

    def __init__(self, source: Source) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._source = source
        self._reported: dict[Severity, set[int]] = {severity: set() for severity in Severity}
        self._lexer = Lexer(source, self._report, self._warn)
        self._is_cut_off = False
        self._token = Token(Kind.END, "", Span(0, 0))
        self._end = 0  # of the token before `_token`

    # --- reporting and moving on ---------------------------------------------------------------

    def check_size(self) -> bool:
        start = Span(0, 0)
        try:
            size = len(self._source.text.encode())
        except UnicodeEncodeError as error:
            at = Span(error.start, error.end)
            self._report("the text is not valid Unicode", at, None)
            return False
        if size > SOURCE_BYTES_MAX:
            message = f"the file has {size} bytes; at most {SOURCE_BYTES_MAX} are allowed"
            self._report(message, start, None)
            return False
        if size > COMPILED_BYTES_MAX and self._compiled_size() > COMPILED_BYTES_MAX:
            message = f"without comments the file has more than {COMPILED_BYTES_MAX} bytes"
            self._report(message, start, "move what conditions share into functions")
            return False
        return True

    def _compiled_size(self) -> int:
        kept = _LEFT_OUT.sub(lambda found: found.group("text") or "", self._source.text)
        return len(kept.encode())

    def _report(self, message: str, span: Span, hint: str | None = None) -> None:
        self._note(Severity.ERROR, message, span, hint)

    def _warn(self, message: str, span: Span, hint: str | None = None) -> None:
        self._note(Severity.WARNING, message, span, hint)

    def _note(self, severity: Severity, message: str, span: Span, hint: str | None) -> None:
        if message.startswith(NEVER_ENDS):
            self._is_cut_off = True
        # Warnings must never stand in the way of an error: it alone keeps a broken file out.
        reported = self._reported[severity]
        if span.start in reported or len(reported) >= ERRORS_MAX:
            return  # the first finding of a place is the true one
        reported.add(span.start)
        self.diagnostics.append(self._source.diagnostic(severity, message, span, hint))

    def _fail(self, message: str, span: Span, hint: str | None = None) -> StatementAbandoned:
        self._report(message, span, hint)
        return StatementAbandoned()

    def _advance(self) -> Token:
        token = self._token
        self._end = token.span.end
        self._token = self._lexer.next()
        return token

    def _expect(self, symbol: str, where: str, hint: str | None = None) -> Token:
        if self._token.is_symbol(symbol):
            return self._advance()
        raise self._missing(f"`{symbol}`", where, hint)

    def _missing(self, what: str, where: str, hint: str | None = None) -> StatementAbandoned:
        found = "the end of the file" if self._token.kind is Kind.END else f"`{self._token.text}`"
        return self._fail(f"expected {what} {where}, found {found}", self._token.span, hint)

    def _word(self, what: str, where: str) -> Token:
        if self._token.kind is Kind.WORD:
            return self._advance()
        raise self._missing(what, where)

    def _recover(self, start: Token) -> None:
        """Skips the rest of a broken statement: past its `;`, or up to `}` or a statement that
        begins a line. Blocks on the way are skipped whole."""
        if self._token is start and self._token.kind is not Kind.END:
            if start.is_symbol("{"):
                self._skip_block()
                return
            self._advance()
        while self._token.kind is not Kind.END and not self._token.is_symbol("}"):
            if self._token.is_symbol(";"):
                self._advance()
                return
            if self._begins_statement():
                return
            if self._token.is_symbol("{"):
                self._skip_block()
                if self._begins_statement() or self._token.is_symbol("}"):
                    return
                continue
            self._advance()

    def _begins_statement(self) -> bool:
        token = self._token
        if token.kind is not Kind.WORD or token.text not in STATEMENT_WORDS:
            return False
        before = self._source.text[max(self._end - 1, 0) : token.span.start]
        return "\n" in before or before[:1] in ("", ";", "}")

    def _skip_block(self) -> None:
        depth = 0
        while self._token.kind is not Kind.END:
            if self._token.is_symbol("{"):
                depth += 1
            elif self._token.is_symbol("}"):
                depth -= 1
                if depth == 0:
                    self._advance()
                    return
            self._advance()

    def _end_statement(self, where: str) -> None:
        """A `;`, which may lack before another statement and before `}`."""
        if self._token.is_symbol(";"):
            self._advance()
            return
        if self._token.is_symbol("}") or self._begins_statement():
            return
        raise self._missing("`;`", where)

    def _path_error(self, message: str, offset: int, hint: str) -> StatementAbandoned:
        failure = self._fail(message, Span(offset, offset + 1), hint)
        self._lexer.seek(offset)
        self._advance()
        return failure


def nearest_hint(word: str, words: Iterable[str]) -> str | None:
    """A hint that names what was probably meant, if anything is near."""
    found = get_close_matches(word, list(words), 1, 0.7)
    return f"did you mean `{found[0]}`?" if found else None
