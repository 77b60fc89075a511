"""Which match statements cover a path: a tree over literal segments, walked once per request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from baas_rules import ast

T = TypeVar("T")

# What the wildcards bind, outermost first: a string, or the segments of a recursive wildcard.
Captures = tuple[Any, ...]
Found: TypeAlias = list[tuple[T, Captures]]

_STARTS_MAX = 256
_SHAPES_MAX = 1024


class _Node(Generic[T]):
    __slots__ = ("items", "literals", "recursive", "single")

    def __init__(self) -> None:
        self.items: list[T] = []
        self.literals: dict[str, _Node[T]] = {}
        self.single: _Node[T] | None = None
        self.recursive: _Node[T] | None = None


class PathTree(Generic[T]):
    """Items under patterns. A recursive wildcard takes any number of segments, or with `least` 1
    (rules_version '1') one or more."""

    def __init__(self, patterns: Iterable[tuple[Sequence[ast.Segment], T]], least: int) -> None:
        self._root: _Node[T] = _Node()
        self._least = least
        for pattern, item in patterns:
            node = self._root
            for segment in pattern:
                node = _child(node, segment)
            node.items.append(item)
        self._shapes: dict[tuple[str, tuple[str, ...]], list[tuple[T, Captures]] | None] = {}
        self._starts: dict[tuple[str, ...], list[tuple[_Node[T], Captures]] | None] = {}

    def match(self, path: tuple[str, ...]) -> list[tuple[T, Captures]]:
        """Every item whose pattern covers the whole path, with what its wildcards bind."""
        found: list[tuple[T, Captures]] = []
        self._walk(self._root, path, 0, (), found)
        return found

    def match_below(
        self, prefix: tuple[str, ...], path: tuple[str, ...]
    ) -> list[tuple[T, Captures]]:
        """As `match` of prefix and path together. Made for prefixes that come again and again."""
        starts = self._starts.get(prefix, ...)
        if starts is ...:
            starts = self._start(prefix)
            if len(self._starts) < _STARTS_MAX:
                self._starts[prefix] = starts
        if starts is None:
            return self.match(prefix + path)
        found: list[tuple[T, Captures]] = []
        for node, captures in starts:
            self._walk(node, path, 0, captures, found)
        return found

    def match_document(self, database: str, path: tuple[str, ...]) -> list[tuple[T, Captures]]:
        """As `match` of a document's full path. Where every id on the way is a wildcard's, what
        covers a document depends on the collections alone, and is kept."""
        kept = self.match_shape(database, path)
        if kept is None:
            return self.match_below(("databases", database, "documents"), path)
        ids = path[1::2]
        return [(item, captures + ids) for item, captures in kept]

    def document_matcher(self, database: str) -> Callable[[tuple[str, ...]], Found[T]]:
        """`match_document` of one database, for many documents of which most are of the same
        collection as the one before."""
        last: tuple[str, ...] = ()
        kept: Found[T] | None = None

        def match(path: tuple[str, ...]) -> Found[T]:
            nonlocal last, kept
            collections = path[::2]
            if collections != last or len(path) % 2:
                kept = self.match_shape(database, path)
                last = () if len(path) % 2 else collections
            if kept is None:
                return self.match_below(("databases", database, "documents"), path)
            ids = path[1::2]
            return [(item, captures + ids) for item, captures in kept]

        return match

    def match_shape(self, database: str, path: tuple[str, ...]) -> list[tuple[T, Captures]] | None:
        """The items that cover a document whatever the ids in its path, with what its database
        binds; None if that depends on the ids."""
        if len(path) % 2:  # no document's path: it would share what is kept of one
            return None
        shape = (database, path[::2])
        kept = self._shapes.get(shape, ...)
        if kept is ...:
            kept = self._shape(("databases", database, "documents"), path)
            if len(self._shapes) < _SHAPES_MAX:
                self._shapes[shape] = kept
        return kept

    def _shape(
        self, prefix: tuple[str, ...], path: tuple[str, ...]
    ) -> list[tuple[T, Captures]] | None:
        """The items that cover a path, whatever its ids, with what the prefix binds; None if that
        depends on the ids, or wildcards bind something else."""
        starts = self._start(prefix)
        if starts is None:
            return None
        for at, segment in enumerate(path):
            further: list[tuple[_Node[T], Captures]] = []
            for node, captures in starts:
                of_id = at % 2 == 1
                if node.recursive is not None or (node.literals if of_id else node.single):
                    return None
                found = node.single if of_id else node.literals.get(segment)
                if found is not None:
                    further.append((found, captures))
            starts = further
        if any(node.recursive is not None for node, _ in starts):
            return None
        return [(item, captures) for node, captures in starts for item in node.items]

    def _start(self, prefix: tuple[str, ...]) -> list[tuple[_Node[T], Captures]] | None:
        """Where walks are after the prefix. None if a recursive wildcard may reach beyond it."""
        starts: list[tuple[_Node[T], Captures]] = [(self._root, ())]
        for segment in prefix:
            further: list[tuple[_Node[T], Captures]] = []
            for node, captures in starts:
                if node.recursive is not None:
                    return None
                if segment in node.literals:
                    further.append((node.literals[segment], captures))
                if node.single is not None:
                    further.append((node.single, (*captures, segment)))
            starts = further
        return starts

    def _walk(
        self,
        node: _Node[T],
        path: tuple[str, ...],
        at: int,
        captures: Captures,
        found: list[tuple[T, Captures]],
    ) -> None:
        if node.recursive is not None:
            self._walk_recursive(node.recursive, path, at, captures, found)
        length = len(path)
        while True:
            if at == length:
                found.extend([(item, captures) for item in node.items])
                return
            segment = path[at]
            literal = node.literals.get(segment)
            single = node.single
            at += 1
            if literal is not None:
                if single is not None:
                    self._walk(single, path, at, (*captures, segment), found)
                node = literal
            elif single is not None:
                captures = (*captures, segment)
                node = single
            else:
                return
            if node.recursive is not None:
                self._walk_recursive(node.recursive, path, at, captures, found)

    def _walk_recursive(
        self,
        node: _Node[T],
        path: tuple[str, ...],
        at: int,
        captures: Captures,
        found: list[tuple[T, Captures]],
    ) -> None:
        length = len(path)
        first = at + self._least
        if not node.literals and node.single is None and node.recursive is None:
            first = max(first, length)  # nothing follows: it takes all the rest or nothing
        for end in range(first, length + 1):
            self._walk(node, path, end, (*captures, path[at:end]), found)

    def match_all(
        self,
        prefix: tuple[str, ...],
        tail: tuple[str | None, ...],
        unknown: Callable[[bool], Any],
    ) -> list[tuple[T, Captures]]:
        """Items whose pattern covers *every* path of `prefix` and `tail`, in which None is some
        segment and GAP any number of them. `unknown(recursive)` makes what a wildcard binds where
        that is not known."""
        found: list[tuple[T, Captures]] = []
        path: tuple[str | None, ...] = (*prefix, *tail)
        self._walk_all(self._root, path, 0, (), found, unknown)
        return found

    def _walk_all(
        self,
        node: _Node[T],
        path: tuple[str | None, ...],
        at: int,
        captures: Captures,
        found: list[tuple[T, Captures]],
        unknown: Callable[[bool], Any],
    ) -> None:
        if at == len(path):
            found.extend([(item, captures) for item in node.items])
        elif path[at] != GAP:
            segment = path[at]
            literal = node.literals.get(segment) if segment is not None else None
            if literal is not None:
                self._walk_all(literal, path, at + 1, captures, found, unknown)
            if node.single is not None:
                bound = unknown(False) if segment is None else segment
                self._walk_all(node.single, path, at + 1, (*captures, bound), found, unknown)
        if node.recursive is None:
            return
        for end in range(at, len(path) + 1):
            taken = path[at:end]
            # A gap may be empty, so it does not count as a segment that is surely there.
            if len(taken) - taken.count(GAP) < self._least:
                continue
            known = None not in taken and GAP not in taken
            bound = taken if known else unknown(True)
            self._walk_all(node.recursive, path, end, (*captures, bound), found, unknown)


GAP = "/"  # in `match_all`, any number of segments; no segment is called so


def _child(node: _Node[T], segment: ast.Segment) -> _Node[T]:
    if isinstance(segment, ast.LiteralSegment):
        return node.literals.setdefault(segment.text, _Node())
    if segment.recursive:
        if node.recursive is None:
            node.recursive = _Node()
        return node.recursive
    if node.single is None:
        node.single = _Node()
    return node.single
