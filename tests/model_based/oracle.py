"""What a database is, in the simplest way that can be written down: a dict of documents per
version, `model.apply_write` for writes, filtering and sorting for queries. Nothing of the server
but its model is used."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from baas.model.aggregates import (
    Aggregate,
    AggregateOperator,
    Aggregation,
    end_query,
    grouped_query,
)
from baas.model.documents import Document, DocumentLike
from baas.model.paths import DocumentPath, path_key
from baas.model.queries import Query, searched_query
from baas.model.query_matching import matches
from baas.model.query_order import document_order, get_field
from baas.model.search import Corpus, Scorer, count_terms, count_words
from baas.model.tallies import Group
from baas.model.timestamps import Timestamp
from baas.model.values import Fields, Value, is_identical
from baas.model.writes import DeleteWrite, VerifyWrite, Write, WriteResult, apply_write
from baas.settings import Limits
from tests.baas.database.search_oracle import told

State = dict[DocumentPath, Document]


class Oracle:
    """Every state that there ever was. States are never changed, only added."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._versions: list[int] = [0]
        self._states: list[State] = [{}]

    @property
    def version(self) -> int:
        return self._versions[-1]

    @property
    def now(self) -> State:
        return self._states[-1]

    @property
    def versions(self) -> Sequence[int]:
        """Of all commits, and 0."""
        return self._versions

    def at(self, version: int) -> State:
        """The state that was the latest at a version."""
        return self._states[bisect_right(self._versions, version) - 1]

    def evaluate(
        self, writes: Sequence[Write], request_time: Timestamp, state: State
    ) -> Evaluation:
        """What a commit would do to a state. Raises what it would be refused with."""
        evaluation = Evaluation(state, request_time)
        for write in writes:
            evaluation.apply(write, self._limits)
        return evaluation

    def commit(self, evaluation: Evaluation, version: int) -> list[WriteResult]:
        """Makes it the latest state; the results that the caller is to be told."""
        changed = evaluation.changed()
        state = dict(evaluation.state)
        for path, fields in changed.items():
            if fields is None:
                state.pop(path, None)
                continue
            old = evaluation.state.get(path)
            created = Timestamp(version) if old is None else old.create_time
            state[path] = Document(path, fields, created, Timestamp(version))
        assert version > self.version
        self._versions.append(version)
        self._states.append(state)
        return evaluation.results(version)


class Evaluation:
    """Some writes, one after another, on one state."""

    def __init__(self, state: State, request_time: Timestamp) -> None:
        self.state = state
        self._time = request_time
        self._fields: dict[DocumentPath, Fields | None] = {}
        self._touched: set[DocumentPath] = set()
        self._results: list[tuple[Write, tuple[Value, ...]]] = []

    def apply(self, write: Write, limits: Limits) -> None:
        path = write.path
        current = self.state.get(path)
        if path in self._fields:
            current = self._draft(path)
        applied = apply_write(write, current, self._time, limits)
        self._results.append((write, applied.transform_results))
        if not isinstance(write, VerifyWrite):
            self._fields[path] = applied.fields
            if applied.changed:
                self._touched.add(path)

    def changed(self) -> dict[DocumentPath, Fields | None]:
        """The documents that are not as they were; None for those that are gone."""
        found: dict[DocumentPath, Fields | None] = {}
        for path in self._touched:
            old, fields = self.state.get(path), self._fields[path]
            if fields is None or old is None:
                if fields is not None or old is not None:
                    found[path] = fields
            elif not is_identical(fields, old.fields):
                found[path] = fields
        return found

    def results(self, version: int) -> list[WriteResult]:
        changed = self.changed()
        told: list[WriteResult] = []
        for write, transform_results in self._results:
            old = self.state.get(write.path)
            time = None if old is None else old.update_time
            if write.path in changed:
                time = Timestamp(version)
            if isinstance(write, DeleteWrite):
                time = None
            told.append(WriteResult(time, transform_results))
        return told

    def _draft(self, path: DocumentPath) -> Document | None:
        fields, old = self._fields[path], self.state.get(path)
        if fields is None:
            return None
        created = self._time if old is None else old.create_time
        updated = self._time if old is None else old.update_time
        return Document(path, fields, created, updated)


def answer(query: Query, state: State) -> list[Document]:
    """The query's answer, as the model defines it."""
    found = [document for document in state.values() if matches(query, document)]
    found.sort(key=in_order(query, state))
    end = None if query.limit is None else query.offset + query.limit
    chosen = found[query.offset : end]
    if query.select is None:
        return chosen
    paths = [path.segments for path in query.select]
    return [
        Document(item.path, _select(item.fields, paths)[0], item.create_time, item.update_time)
        for item in chosen
    ]


def in_order(query: Query, state: State) -> Callable[[DocumentLike], Any]:
    """What documents of the query's answer are sorted by; of a search by their scores among those
    that there are, for which every one of them is counted anew."""
    if query.search is None:
        return document_order(query)
    search, searched = query.search, searched_query(query)
    texts = {
        document.path: count_words(document.fields, search.paths)
        for document in state.values()
        if matches(searched, document)
    }
    lengths = {path: length for path, (_, length) in texts.items() if length}
    frequencies: list[int] = []
    for term in search.terms:
        having = {path: 0 for path in lengths if count_terms(texts[path][0], (term,))[0]}
        frequencies.append(len(having) if term.is_prefix else told(having)[0])
    scorer = Scorer(Corpus(*told(lengths), tuple(frequencies)))

    def order(document: DocumentLike) -> Any:
        words, length = count_words(document.fields, search.paths)
        score = scorer.score(count_terms(words, search.terms), length)
        return -score, path_key(document.path.segments)

    return order


def _select(fields: Fields, paths: Sequence[tuple[str, ...]]) -> tuple[Fields, bool]:
    """The selected fields, and whether there were any."""
    kept: Fields = {}
    for name, value in fields.items():
        below = [path[1:] for path in paths if path[0] == name]
        if () in below:
            kept[name] = value
        elif below and isinstance(value, dict):
            inner, was_found = _select(value, below)
            if was_found:
                kept[name] = inner
    return kept, bool(kept)


def collection_ids(parent: DocumentPath | None, state: State) -> list[str]:
    """The collections directly below a document that hold something, however deep."""
    above = () if parent is None else parent.segments
    depth = len(above)
    found = {
        path.segments[depth]
        for path in state
        if len(path.segments) > depth and path.segments[:depth] == above
    }
    return sorted(found, key=str.encode)


def same(a: Document, b: Document) -> bool:
    return (
        a.path == b.path
        and a.create_time == b.create_time
        and a.update_time == b.update_time
        and is_identical(a.fields, b.fields)
    )


def groups(aggregation: Aggregation, found: Sequence[DocumentLike]) -> list[Group]:
    """What an aggregation gives of the documents of its answer: all are sorted, for each number
    anew."""
    in_order = sorted(found, key=document_order(grouped_query(aggregation)))
    parts: dict[Any, list[DocumentLike]] = {} if aggregation.group_by else {(): []}
    for document in in_order:
        parts.setdefault(aggregation.group_of(document), []).append(document)
    return [
        Group(
            aggregation.values_of(part[0]) if part else (),
            {item.alias: _number(aggregation, item, part) for item in aggregation.aggregates},
            part[0].path if part and aggregation.group_by else None,
        )
        for part in parts.values()
    ]


def _number(aggregation: Aggregation, item: Aggregate, part: list[DocumentLike]) -> Value:
    if item.field is None:
        return len(part) if item.up_to is None else min(len(part), item.up_to)
    if item.is_end:
        part = sorted(part, key=document_order(end_query(aggregation, item)))
    values = [get_field(document.fields, item.field) for document in part]
    match item.operator:
        case AggregateOperator.MINIMUM:
            return next((value for value in values if value is not None), None)
        case AggregateOperator.MAXIMUM:
            return values[-1] if values else None
    numbers = [value for value in values if type(value) in (int, float)]
    return _sum(numbers) if item.operator is AggregateOperator.SUM else _average(numbers)


def _sum(numbers: list[Any]) -> int | float:
    if all(type(number) is int for number in numbers) and -(2**63) <= sum(numbers) < 2**63:
        return int(sum(numbers))
    return _rounded(numbers)


def _average(numbers: list[Any]) -> float | None:
    return _rounded(numbers) / len(numbers) if numbers else None


def _rounded(numbers: list[Any]) -> float:
    odd = [number for number in numbers if not math.isfinite(number)]
    if odd:
        return float(sum(odd))
    try:
        return float(sum(map(Fraction, numbers)))
    except OverflowError:
        return math.copysign(math.inf, sum(map(Fraction, numbers)))
