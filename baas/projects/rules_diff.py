"""What changed between two rulesets, as a unified diff."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

# Comparing line by line takes, at worst, the product of both lengths in steps.
COMPARED_LINES_MAX = 4_000_000
CONTEXT_LINES = 3


def diff_sources(old: str, new: str, *, old_name: str, new_name: str) -> str:
    """A unified diff; empty if no line differs. Where comparing would take too long, what differs
    is shown as replaced as a whole."""
    before, after = old.splitlines(), new.splitlines()
    if before == after:
        return ""
    return "\n".join([f"--- {old_name}", f"+++ {new_name}", *_hunks(before, after), ""])


def _hunks(before: list[str], after: list[str]) -> Iterator[str]:
    # What both begin and end with plays no part but as context.
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    if (len(before) - start - end) * (len(after) - start - end) > COMPARED_LINES_MAX:
        old, new = before[start : len(before) - end], after[start : len(after) - end]
        yield _header(start, len(old), start, len(new))
        yield from _marked("-", old)
        yield from _marked("+", new)
        return
    skipped = max(0, start - CONTEXT_LINES)
    rest = max(0, end - CONTEXT_LINES)
    old, new = before[skipped : len(before) - rest], after[skipped : len(after) - rest]
    for group in SequenceMatcher(None, old, new).get_grouped_opcodes(CONTEXT_LINES):
        (_, old_from, _, new_from, _), (_, _, old_to, _, new_to) = group[0], group[-1]
        yield _header(skipped + old_from, old_to - old_from, skipped + new_from, new_to - new_from)
        for tag, old_at, old_end, new_at, new_end in group:
            if tag == "equal":
                yield from _marked(" ", old[old_at:old_end])
                continue
            yield from _marked("-", old[old_at:old_end])
            yield from _marked("+", new[new_at:new_end])


def _common(before: Sequence[str], after: Sequence[str]) -> int:
    """How many lines both begin with."""
    count = 0
    for one, other in zip(before, after, strict=False):
        if one != other:
            break
        count += 1
    return count


def _header(old_from: int, old_count: int, new_from: int, new_count: int) -> str:
    # An empty range is named by the line before it, as `diff -u` does.
    old_line, new_line = old_from + bool(old_count), new_from + bool(new_count)
    return f"@@ -{old_line},{old_count} +{new_line},{new_count} @@"


def _marked(mark: str, lines: Sequence[str]) -> Iterator[str]:
    return (mark + line for line in lines)
