"""What can be wrong with rules, and how it is told to a person.

RulesError
├ RulesSyntaxError   the text is not in the language; carries every diagnostic of one run
├ RulesCheckError    the text parses, but names, arities or limits are wrong; likewise
├ EvaluationError    an expression has no value: absorbed by `&&` and `||`, else it denies
└ LimitExceeded      a bound of one evaluation was reached: never absorbed, always denies
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

_SNIPPET_COLUMNS_MAX = 160


class Severity(Enum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding about a rules file. Lines and columns count from 1; `end_column` is exclusive and
    on the same line. `source_line` is the whole text of that line. What `lint` finds has a `code`
    by which it is known."""

    severity: Severity
    message: str
    line: int
    column: int
    end_column: int
    source_line: str
    hint: str | None = None
    code: str | None = None

    def with_code(self, code: str) -> Diagnostic:
        return replace(self, code=code)

    def snippet(self) -> str:
        """The source line with carets under the place. Long lines are cut around the place."""
        return caret_snippet(self.source_line, self.line, self.column, self.end_column)

    def __str__(self) -> str:
        code = f" [{self.code}]" if self.code else ""
        place = f"(line {self.line}, column {self.column})"
        head = f"{self.severity.value}: {self.message} {place}{code}"
        lines = [head, self.snippet()]
        if self.hint is not None:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


def caret_snippet(source_line: str, line: int, column: int, end_column: int) -> str:
    """Two lines: the source line behind its number, and carets under [column, end_column)."""
    start = column - 1
    end = max(end_column - 1, start + 1)
    text = source_line.rstrip("\r\n")
    if len(text) > _SNIPPET_COLUMNS_MAX:
        left = max(0, start - 60)
        cut = text[left : left + _SNIPPET_COLUMNS_MAX]
        before = "…" if left else ""
        text = before + cut + ("…" if left + _SNIPPET_COLUMNS_MAX < len(text) else "")
        start += len(before) - left
        end = min(end + len(before) - left, len(text))
        end = max(end, start + 1)
    margin = f"{line} | "
    # Tabs stay tabs under the text, so that the carets line up however wide a tab is shown.
    lead = "".join("\t" if character == "\t" else " " for character in text[:start])
    return f"{margin}{text}\n{' ' * (len(margin) - 2)}| {lead.ljust(start)}{'^' * (end - start)}"


class RulesError(Exception):
    """The base of every error that this package raises on purpose."""


class _RejectedError(RulesError):
    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics: list[Diagnostic] = list(diagnostics)
        super().__init__("\n".join(str(diagnostic) for diagnostic in self.diagnostics))


class RulesSyntaxError(_RejectedError):
    """The source does not parse. `diagnostics` holds every error of the run, in source order."""


class RulesCheckError(_RejectedError):
    """The source parses but cannot be a ruleset. `diagnostics` holds every error, then warnings."""


class EvaluationError(RulesError):
    """An expression has no value. `&&` and `||` absorb it when their other side decides."""


class LimitExceeded(RulesError):
    """An evaluation went past a limit of `limits`. It denies the whole request."""
