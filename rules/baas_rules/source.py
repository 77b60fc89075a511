"""A rules file's text, places in it, and how to show them."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from baas_rules.errors import Diagnostic, Severity


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, end) of the source."""

    start: int
    end: int

    def to(self, other: Span) -> Span:
        """From this span's start to the other's end."""
        return Span(self.start, other.end)


@dataclass(frozen=True, slots=True)
class Source:
    """The text of one rules file and its name for messages."""

    text: str
    name: str = "firestore.rules"
    _line_starts: tuple[int, ...] = field(init=False, repr=False, compare=False)
    # Of lines with findings, so that many findings about one long line hold its text once.
    _lines: dict[int, str] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        starts = [0]
        starts.extend(at + 1 for at, character in enumerate(self.text) if character == "\n")
        object.__setattr__(self, "_line_starts", tuple(starts))

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both from 1."""
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def line_text(self, line: int) -> str:
        """The text of a line (from 1), without its end."""
        found = self._lines.get(line)
        if found is None:
            start = self._line_starts[line - 1]
            is_last = line == len(self._line_starts)
            end = len(self.text) if is_last else self._line_starts[line] - 1
            found = self._lines[line] = self.text[start:end].rstrip("\r")
        return found

    def text_of(self, span: Span) -> str:
        """The source text of a span, with runs of white space made one blank."""
        return " ".join(self.text[span.start : span.end].split())

    def place(self, span: Span) -> tuple[int, int, int]:
        """Line, column and exclusive end column; a span over several lines ends with its first."""
        line, column = self.position(span.start)
        end_line, end_column = self.position(span.end)
        if end_line != line:
            end_column = max(column + 1, len(self.line_text(line)) + 1)
        return line, column, max(end_column, column + 1)

    def diagnostic(
        self, severity: Severity, message: str, span: Span, hint: str | None = None
    ) -> Diagnostic:
        """A finding about a span of this source."""
        line, column, end_column = self.place(span)
        return Diagnostic(
            severity=severity,
            message=message,
            line=line,
            column=column,
            end_column=end_column,
            source_line=self.line_text(line),
            hint=hint,
        )
