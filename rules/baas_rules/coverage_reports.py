"""Coverage of rules in the forms that others read: lcov for build servers and editors, HTML for
people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from html import escape

from baas_rules.coverage import Coverage, Reached


def lcov(coverages: Iterable[Coverage]) -> str:
    """One record for each rules file: how often each line was evaluated, and both outcomes of
    whatever decides, as branches."""
    return "".join(f"{line}\n" for one in coverages for line in _record(one))


def _record(coverage: Coverage) -> Iterator[str]:
    everything = [*coverage.statements, *coverage.expressions]
    hits: dict[int, int] = defaultdict(int)
    for one in everything:
        hits[one.line] = max(hits[one.line], one.count)
    yield "TN:"
    yield f"SF:{coverage.source.name}"
    tests = sorted(
        (one for one in everything if one.is_test), key=lambda one: (one.line, one.column)
    )
    taken = 0
    for block, one in enumerate(tests):
        outcomes = (one.true, one.false + one.error)
        for branch, count in enumerate(outcomes):
            taken += count > 0
            yield f"BRDA:{one.line},{block},{branch},{count if one.count else '-'}"
    yield f"BRF:{2 * len(tests)}"
    yield f"BRH:{taken}"
    for line, count in sorted(hits.items()):
        yield f"DA:{line},{count}"
    yield f"LF:{len(hits)}"
    yield f"LH:{sum(count > 0 for count in hits.values())}"
    yield "end_of_record"


_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; }
pre { font: 13px/1.6 ui-monospace, monospace; overflow-x: auto; }
.n { color: GrayText; user-select: none; }
.never { background: light-dark(#ffd4d4, #6b1d1d); }
.half { background: light-dark(#fff0b3, #5c4a00); }
table { border-collapse: collapse; } td, th { padding: 0 1em 0 0; text-align: left; }
"""


def html(coverages: Iterable[Coverage]) -> str:
    """One page that needs nothing else: the text of each rules file, in which what no test has
    evaluated is marked, and what came out only one way."""
    parts = "".join(_section(one) for one in coverages)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Coverage of rules</title><style>{_STYLE}</style></head><body>"
        "<h1>Coverage of rules</h1>"
        '<p><span class="never">never evaluated</span> '
        '<span class="half">evaluated, but with one outcome only</span></p>'
        f"{parts}</body></html>\n"
    )


def _section(coverage: Coverage) -> str:
    rows = "".join(
        f"<tr><td>{one.line}</td><td>{escape(one.text)}</td><td>{one.count}</td>"
        f"<td>{one.true}</td></tr>"
        for one in coverage.statements
    )
    lines = "".join(
        f'<span class="n">{number:5} </span>{text}\n'
        for number, text in enumerate(_marked(coverage).split("\n"), 1)
    )
    return (
        f"<h2>{escape(coverage.source.name)}: {coverage.percent():.0f} %</h2>"
        "<table><tr><th>line</th><th>statement</th><th>tried</th><th>granted</th></tr>"
        f"{rows}</table><pre>{lines}</pre>"
    )


def _marked(coverage: Coverage) -> str:
    """The text, with a mark around each gap; of gaps within gaps, around the inner, unless the
    outer was never evaluated. A mark never goes beyond a line."""
    text = coverage.source.text
    gaps: list[Reached | None] = [None] * len(text)
    # Outer ones first, so that inner ones have the last word.
    for one in sorted(coverage.expressions, key=lambda one: (one.start, -one.end)):
        outer = gaps[one.start]
        inside_of_nothing = outer is not None and not outer.count  # its parts are no news
        if one.gap() is not None and not inside_of_nothing:
            gaps[one.start : one.end] = [one] * (one.end - one.start)
    parts: list[str] = []
    at = 0
    while at < len(text):
        end = at + 1
        while end < len(text) and gaps[end] is gaps[at] and text[end] != "\n" != text[at]:
            end += 1
        gap, piece = gaps[at], escape(text[at:end])
        if gap is None or piece == "\n":
            parts.append(piece)
        else:
            told = gap.gap() or ""
            kind = "half" if gap.count else "never"
            parts.append(f'<span class="{kind}" title="{escape(told)}">{piece}</span>')
        at = end
    return "".join(parts)
