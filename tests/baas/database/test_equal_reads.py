"""Whether changes touch queries, asked all at once, is what each pair would say."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from baas.database.equal_reads import ChangesMade, QueriesRead, touches_query
from baas.encoding import keys
from baas.encoding.documents import StoredDocument, encode_fields
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import And, FieldFilter, Operator, Query
from baas.storage.engine import Change
from tests.effort import examples

VALUES = st.sampled_from([None, 0, -0.0, 1, 1.0, True, "1", float("nan"), 2**62, [1], {"b": 1}])
FIELDS = st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2)
PLACES = st.sampled_from(["c/x", "c/y", "c/x/c/z", "d/x", "d/x/c/y"])
FILTERS = st.builds(
    FieldFilter,
    st.sampled_from([FieldPath(("a",)), FieldPath(("b",)), FieldPath(("a", "b"))]),
    st.sampled_from([Operator.EQUAL, Operator.EQUAL, Operator.EQUAL, Operator.GREATER]),
    VALUES,
)


@st.composite
def queries(draw: Any) -> Query:
    filters = draw(st.lists(FILTERS, min_size=1, max_size=2, unique_by=lambda one: one.field))
    where = filters[0] if len(filters) == 1 else And(tuple(filters))
    is_group = draw(st.booleans())
    places = ["c", "d"] if is_group else ["c", "d", "c/x/c"]
    return Query(CollectionPath.parse(draw(st.sampled_from(places))), is_group, where=where)


@st.composite
def changes(draw: Any) -> Change:
    path = DocumentPath.parse(draw(PLACES))
    old, new = (
        None if fields is None else StoredDocument(path, encode_fields(fields), 1, 1, fields)
        for fields in (draw(st.none() | FIELDS), draw(st.none() | FIELDS))
    )
    return Change(keys.document_key(path), path, old, new)


@given(asked=st.lists(queries(), max_size=4), made=st.lists(changes(), max_size=4))
@settings(max_examples=examples(300), deadline=None)
def test_it_is_what_each_pair_says(asked: list[Query], made: list[Change]) -> None:
    read = QueriesRead(asked)
    for change in made:
        assert read.touched_by(change) is any(touches_query(query, change) for query in asked)
    group = ChangesMade()
    for change in made:
        group.add([change])
        for query in asked:
            group.touch(query)
    for query in asked:
        assert group.touch(query) is any(touches_query(query, change) for change in made)
