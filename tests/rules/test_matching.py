"""The tree of match statements: what it keeps is what its walk finds."""

from __future__ import annotations

from baas_rules import ast
from baas_rules.matching import PathTree
from baas_rules.source import Span
from hypothesis import example, given
from hypothesis import strategies as st

SEGMENTS = st.sampled_from(["a", "b", "{x}", "{y}", "{z=**}"])


@given(
    patterns=st.lists(st.lists(SEGMENTS, min_size=1, max_size=4), min_size=1, max_size=4),
    paths=st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=6), min_size=1, max_size=8),
    least=st.sampled_from([0, 1]),
)
@example(patterns=[["a"]], paths=[["a", "a"], ["a"]], least=0)
def test_what_is_kept_of_documents_is_what_the_walk_finds(
    patterns: list[list[str]], paths: list[list[str]], least: int
) -> None:
    """Paths of the same collections come one after another, so that what is kept is asked."""
    root = ("databases", "(default)", "documents")
    made = [
        ([_segment(name) for name in (*root, *pattern)], at) for at, pattern in enumerate(patterns)
    ]
    tree = PathTree(made, least)
    match = tree.document_matcher("(default)")
    for path in paths:
        expected = tree.match((*root, *path))
        assert sorted(tree.match_document("(default)", tuple(path))) == sorted(expected)
        assert sorted(match(tuple(path))) == sorted(expected)


def _segment(name: str) -> ast.Segment:
    if name.startswith("{"):
        return ast.Wildcard(name.strip("{}=*"), "**" in name, Span(0, 0))
    return ast.LiteralSegment(name, Span(0, 0))
