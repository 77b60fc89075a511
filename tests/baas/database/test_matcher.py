from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baas.database.indexes import INDEXES
from baas.database.matcher import QueryMatcher, is_touched
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.model.paths import CollectionPath, FieldPath
from baas.model.queries import And, FieldFilter, Operator, Query
from baas.model.query_matching import matches
from baas.storage.engine import Change
from tests.baas.database import arbitrary
from tests.baas.database.arbitrary import stored

CITIES = CollectionPath(("cities",))
LAND = FieldPath(("land",))


@given(
    queries=st.lists(arbitrary.queries(), min_size=1, max_size=6),
    documents=arbitrary.databases,
)
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_every_query_that_matches_is_found_and_none_twice(
    queries: list[Query], documents: list[StoredDocument]
) -> None:
    matcher: QueryMatcher[int] = QueryMatcher()
    for number, query in enumerate(queries):
        matcher.add(query, number)
    for document in documents:
        found = list(matcher.find(document))
        assert len(found) == len(set(found))
        for number, query in enumerate(queries):
            assert number in found or not matches(query, document)
    for number, query in enumerate(queries):
        matcher.remove(query, number)
    assert not matcher._places


def test_queries_on_other_values_are_not_looked_at() -> None:
    matcher: QueryMatcher[int] = QueryMatcher()
    for number in range(100):
        matcher.add(Query(CITIES, where=FieldFilter(LAND, Operator.EQUAL, number)), number)
    matcher.add(Query(CITIES, where=FieldFilter(LAND, Operator.IN, [1, 2])), 200)
    assert set(matcher.find(stored(CITIES.document("a"), {"land": 2.0}))) == {2, 200}
    assert not set(matcher.find(stored(CITIES.document("a"), {})))


def test_of_two_fields_the_one_that_tells_queries_apart_is_used() -> None:
    matcher: QueryMatcher[int] = QueryMatcher()
    size = FieldPath(("size",))
    for number in range(100):
        both = And(
            (FieldFilter(LAND, Operator.EQUAL, 7), FieldFilter(size, Operator.EQUAL, number))
        )
        matcher.add(Query(CITIES, where=both), number)
    found = list(matcher.find(stored(CITIES.document("a"), {"land": 7, "size": 50})))
    assert 50 in found
    assert len(found) <= 3


def test_a_change_touches_by_either_image() -> None:
    query = Query(CITIES, where=FieldFilter(LAND, Operator.EQUAL, 1), limit=1)
    inside = stored(CITIES.document("a"), {"land": 1})
    outside = stored(CITIES.document("a"), {"land": 2})
    key = keys.document_key(inside.path)
    assert is_touched(query, Change(key, inside.path, inside, None))
    assert is_touched(query, Change(key, inside.path, outside, inside))
    assert not is_touched(query, Change(key, inside.path, outside, None))


def test_the_servers_own_documents_touch_nothing() -> None:
    everything = Query(CollectionPath(("",)), all_descendants=True)
    document = stored(INDEXES.document("1"), {})
    assert not is_touched(everything, Change(b"", document.path, None, document))
