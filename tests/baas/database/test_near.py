"""Near queries: the same answer by an index of cells, by reading the collection, and by an oracle
that knows neither; and what they read."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from baas.clock import VirtualClock
from baas.database import near
from baas.database.budget import ReadBudget
from baas.database.database import Database
from baas.database.executor import QueryExecutor
from baas.database.indexes import Index, IndexDefinition, Indexes, IndexField, IndexKind
from baas.database.planner import CollectionScan, plan_query
from baas.encoding.cells import cell_number
from baas.encoding.documents import StoredDocument
from baas.errors import DeadlineExceeded, InvalidQuery
from baas.model.geo import EARTH_RADIUS_METERS, HALF_GLOBE_METERS
from baas.model.near import Near
from baas.model.order import sort_key
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import NAME, And, Cursor, FieldFilter, Filter, Operator, Order, Query
from baas.model.query_checks import check_query
from baas.model.query_matching import matches
from baas.model.query_order import position_of
from baas.model.search import Search
from baas.model.values import Fields, GeoPoint, Reference, Value
from baas.model.writes import SetWrite
from baas.settings import Limits
from baas.storage.engine import EntryRow, KeyRange
from tests.baas.database.acts import write
from tests.baas.database.arbitrary import stored
from tests.baas.database.memory import MemorySnapshot, scan_slowly
from tests.baas.database.test_executor import expected, indexes_for
from tests.baas.database.test_query_costs import explain, make_indexes, opened
from tests.baas.model.test_geo import haversine
from tests.effort import examples
from tests.storage.conftest import ENGINES

AT = FieldPath(("at",))
PLACES = CollectionPath(("places",))
BELOW = CollectionPath(("towns", "wien", "places"))
COLLECTIONS = (PLACES, BELOW, CollectionPath(("towns", "graz", "places")))
WIEN = DocumentPath(("towns", "wien"))

# Few places, so that some are equal, and some at the same distance.
_latitudes = st.sampled_from([90.0, -90.0, 89.9999, 0.0, -0.0, 48.2, 48.2000001, 48.21, -60.0])
_longitudes = st.sampled_from([180.0, -180.0, 179.9999, 0.0, 16.3, 16.3000001, 16.31, -16.3])
points = st.one_of(
    st.builds(GeoPoint, _latitudes, _longitudes),
    st.builds(GeoPoint, _latitudes, _longitudes),
    st.builds(GeoPoint, st.floats(-90, 90), st.floats(-180, 180)),
)
radii = st.one_of(
    st.none(),
    st.sampled_from([0.0, 0.01, 1.5, 2_000.0, HALF_GLOBE_METERS / 2, HALF_GLOBE_METERS, 1e9]),
    st.floats(0, 3e7),
)
contents: st.SearchStrategy[Fields] = st.fixed_dictionaries(
    {"at": st.one_of(points, points, points, st.sampled_from([None, "48.2,16.3", [1.0, 2.0]]))},
    optional={
        "kind": st.sampled_from(["cafe", "bar"]),
        "stars": st.integers(0, 3),
        "tags": st.lists(st.sampled_from(["a", "b"]), max_size=2),
    },
)
databases = st.dictionaries(
    st.builds(
        lambda collection, name: collection.document(name),
        st.sampled_from(COLLECTIONS),
        st.sampled_from(["a", "b", "c", "d", "é", "__id7__", "n" * 1_490, "n" * 1_490 + "1"]),
    ),
    contents,
    max_size=16,
).map(lambda found: [stored(path, content) for path, content in found.items()])


def f(name: str, operator: str, value: Value) -> FieldFilter:
    path = NAME if name == "__name__" else FieldPath((name,))
    return FieldFilter(path, Operator(operator), value)


filters: st.SearchStrategy[Filter | None] = st.sampled_from(
    [
        None,
        None,
        f("kind", "==", "cafe"),
        f("kind", "in", ["cafe", "bar"]),
        f("tags", "array-contains", "a"),
        f("tags", "array-contains-any", ["a", "b"]),
        f("stars", ">=", 2),
        And((f("kind", "==", "bar"), f("stars", "!=", 1))),
        f("__name__", ">", Reference(PLACES.document("a"))),
        f("at", "==", GeoPoint(48.2, 16.3)),
    ]
)


@st.composite
def queries(draw: Any) -> Query:
    collection, is_group, parent = draw(
        st.sampled_from(
            [
                (PLACES, False, None),
                (PLACES, False, None),
                (PLACES, True, None),
                (BELOW, True, WIEN),
            ]
        )
    )
    center, radius = draw(points), draw(radii)
    query = Query(
        collection,
        is_group,
        parent,
        draw(filters),
        offset=draw(st.sampled_from([0, 0, 1])),
        limit=draw(st.one_of(st.none(), st.integers(1, 5))),
        near=Near(AT, center, radius),
    )
    check_query(query, Limits())
    if draw(st.integers(0, 3)):
        return query
    # Where a page goes on.
    start = (draw(st.sampled_from([0.0, 1.0, 1_000_000.0])), Reference(PLACES.document("c")))
    return replace(query, start=Cursor(start, before=False))


def by_haversine(query: Query, documents: list[StoredDocument]) -> dict[DocumentPath, float]:
    """Distances of all that passes the filters, whatever the radius."""
    assert query.near is not None
    everywhere = replace(query, near=replace(query.near, radius_meters=None), start=None)
    found = {}
    for document in documents:
        point = document.fields["at"]
        if matches(everywhere, document):
            assert isinstance(point, GeoPoint)
            found[document.path] = haversine(query.near.center, point)
    return found


def check_against_oracle(query: Query, documents: list[StoredDocument]) -> None:
    """Of a query without limit: whoever is clearly within is there, nobody who is clearly not, and
    nearer ones come first."""
    assert query.near is not None
    distances = by_haversine(query, documents)
    found = [document.path for document in expected(query, documents)]
    for path, distance in distances.items():
        if distance < query.near.radius - 1:
            assert path in found
        if distance > query.near.radius + 1:
            assert path not in found
    order = [distances[path] for path in found]
    for nearer, farther in pairwise(order):
        assert nearer <= farther + 1


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "BATCH_MIN", 2)
    monkeypatch.setattr(near, "BATCH_MAX", 3)
    monkeypatch.setattr(near, "BATCH_BYTES_MAX", 120)
    monkeypatch.setattr(near, "HELD_BYTES_MAX", 200)


@pytest.mark.slow
@pytest.mark.usefixtures("small_batches")
@given(query=queries(), documents=databases)
@settings(max_examples=examples(250), deadline=None, suppress_health_check=list(HealthCheck))
async def test_an_index_gives_what_reading_everything_gives(
    query: Query, documents: list[StoredDocument]
) -> None:
    check_against_oracle(replace(query, start=None, limit=None, offset=0), documents)
    wanted = [document.path for document in expected(query, documents)]
    event(f"documents in the answer: {min(len(wanted), 3)}")
    for indexes in (indexes_for(query), Indexes()):
        snapshot = MemorySnapshot(documents, indexes)
        reader = QueryExecutor(snapshot, indexes, indexes.generation)
        is_scan = isinstance(reader.plan(query), CollectionScan)
        assert is_scan == (not list(indexes))
        found = await reader.run_query(query)
        assert [document.path for document in found] == wanted
        assert all(document.distance_meters is not None for document in found)
        streamed = [one.path async for batch in reader.stream(query) for one in batch]
        assert streamed == wanted
        assert await reader.count(query) == len(wanted)
        assert await reader.count(query, up_to=2) == min(2, len(wanted))
        assert await reader.is_small(query, 1_000)


def test_the_index_is_that_of_the_equal_fields_and_the_cell() -> None:
    query = Query(PLACES, where=f("kind", "==", "bar"), near=Near(AT, GeoPoint(0.0, 0.0), 1.0))
    plan = plan_query(query, Indexes(), 0)
    assert isinstance(plan, CollectionScan)
    assert [str(item) for item in plan.missing] == ["places (collection): kind, at:cell"]
    assert not plan.is_ordered


@pytest.mark.parametrize("value", [None, 1, "48,16", [48.2, 16.3], {"latitude": 1.0}])
def test_what_is_no_place_has_no_entry(value: Value) -> None:
    index = Index(1, IndexDefinition("places", False, (IndexField(AT, kind=IndexKind.CELL),)))
    assert index.entry_keys(PLACES.document("a"), {"at": value}) == ()
    assert len(index.entry_keys(PLACES.document("a"), {"at": GeoPoint(1.0, 2.0)})) == 1


@pytest.mark.parametrize("radius", [-0.1, -1e9, math.nan, math.inf, -math.inf])
def test_a_radius_that_is_none_is_refused(radius: float) -> None:
    query = Query(PLACES, near=Near(AT, GeoPoint(0.0, 0.0), radius))
    with pytest.raises(InvalidQuery, match=r"near\.radius_meters") as caught:
        check_query(query, Limits())
    assert caught.value.reason == "InvalidRadius"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"order_by": (Order(AT),)}, "NearWithOrder"),
        ({"order_by": (Order(NAME),)}, "NearWithOrder"),
        ({"start": Cursor((1,), True)}, "NearWithCursor"),
        ({"end": Cursor((1,), True)}, "NearWithCursor"),
        ({"search": Search("a", (AT,))}, "SearchWithOrder"),
    ],
)
def test_near_is_an_order_of_its_own(more: dict[str, Any], reason: str) -> None:
    query = Query(PLACES, near=Near(AT, GeoPoint(0.0, 0.0)), **more)
    with pytest.raises(InvalidQuery, match="near") as caught:
        check_query(query, Limits())
    assert caught.value.reason == reason


def test_near_needs_a_field() -> None:
    with pytest.raises(InvalidQuery, match="a field that holds geo points"):
        check_query(Query(PLACES, near=Near(NAME, GeoPoint(0.0, 0.0))), Limits())


# What it reads ------------------------------------------------------------------------------------


def town(number: int, size: int) -> Fields:
    """One of a crowd that is the denser the more there are, with a third of them in one house."""
    if number % 3 == 0:
        return {"at": GeoPoint(48.2, 16.3), "half": number % 2}
    angle, away = number * 2.399963, math.sqrt(number / size) * 0.1
    return {
        "at": GeoPoint(48.2 + away * math.sin(angle), 16.3 + 1.5 * away * math.cos(angle)),
        "half": number % 2,
    }


def near_town(latitude: float, longitude: float, **more: Any) -> Query:
    radius = more.pop("radius", None)
    return Query(PLACES, near=Near(AT, GeoPoint(latitude, longitude), radius), **more)


CASES = {
    "in town": near_town(48.23, 16.32, limit=20),
    "in town, half of it": near_town(48.23, 16.32, limit=20, where=f("half", "==", 1)),
    "in town, within": near_town(48.23, 16.32, limit=20, radius=30_000.0),
    "the house": near_town(48.2, 16.3, limit=20),
    "from far away": near_town(-33.9, 151.2, limit=20),
    "from its edge": near_town(48.2, 16.6, limit=20, radius=100_000.0),
    "the nearest": near_town(48.23, 16.32, limit=1),
}
# For 20; from outside a crowd it grows by the logarithm of what is there.
ENTRIES_MAX = {"from far away": 1_400, "from its edge": 600}


@pytest.mark.slow
async def test_what_it_reads_does_not_grow_with_the_collection() -> None:
    read: dict[str, list[int]] = {}
    for size in (1_000, 100_000):
        indexes = indexes_for(CASES["in town"])
        documents = [
            StoredDocument(PLACES.document(f"p{number:06}"), b"{}", 1, 1, town(number, size))
            for number in range(size)
        ]
        snapshot = SortedSnapshot(documents, indexes)
        reader = QueryExecutor(snapshot, indexes, indexes.generation)
        for name, query in CASES.items():
            if query.where is None:
                snapshot.rows_read = 0
                found = await reader.run_query(query)
                if size == 1_000:
                    assert _paths(found) == _paths(expected(query, documents)), name
                assert len(found) == query.limit
                read.setdefault(name, []).append(snapshot.rows_read)
    # A page far behind the first reads along the edge of those before, not what they held.
    middle = near_town(48.2, 16.3, limit=20)
    start = Cursor(position_of(middle, documents[size // 2]), before=False)
    snapshot.rows_read = 0
    assert len(await reader.run_query(replace(middle, start=start))) == 20
    assert snapshot.rows_read < size / 10
    # Where nobody passes a filter that no index holds, all is read, but not in small pieces.
    snapshot.rows_read = snapshot.scans = 0
    assert await reader.run_query(replace(CASES["in town"], where=f("half", ">", 1))) == []
    assert snapshot.rows_read == size
    assert snapshot.scans < size / 100
    for name, counts in read.items():
        assert max(counts) <= ENTRIES_MAX.get(name, 200), (name, counts)


@pytest.mark.parametrize("is_group", [False, True])
async def test_pages_of_a_crowd_in_one_place_do_not_begin_from_its_start(is_group: bool) -> None:
    place = GeoPoint(0.0, 0.0)
    query = Query(PLACES, is_group, limit=10, near=Near(AT, place))
    indexes = indexes_for(query)
    documents = [
        StoredDocument(PLACES.document(f"p{number:06}"), b"{}", 1, 1, {"at": place})
        for number in range(5_000)
    ]
    snapshot = SortedSnapshot(documents, indexes)
    reader = QueryExecutor(snapshot, indexes, indexes.generation)
    for number in (0, 2_500, 4_985, 4_995):
        snapshot.rows_read = 0
        start = Cursor((0.0, Reference(documents[number].path)), before=False)
        found = await reader.run_query(replace(query, start=start))
        assert _paths(found) == _paths(documents[number + 1 : number + 11])
        assert snapshot.rows_read < 200


async def test_a_filter_that_nothing_passes_is_not_read_for_longer_than_a_query_may() -> None:
    """Time is looked at between reads, and not only once there is something in the answer."""
    query = replace(CASES["in town"], where=f("half", ">", 1))
    indexes = indexes_for(query)
    documents = [stored(PLACES.document(f"p{n:04}"), town(n, 4_000)) for n in range(4_000)]
    snapshot = SortedSnapshot(documents, indexes)
    clock = VirtualClock()
    scan_slowly(snapshot, clock)
    for verb in ("run_query", "count"):
        snapshot.rows_read = 0
        budget = ReadBudget(clock, 3.5)
        reader = QueryExecutor(snapshot, indexes, indexes.generation, budget=budget)
        with pytest.raises(DeadlineExceeded) as caught:
            await getattr(reader, verb)(query)
        assert caught.value.reason == "QueryTooSlow"
        assert snapshot.rows_read < 1_500


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("is_group", [False, True])
async def test_a_crowd_on_the_way_to_the_center_gives_each_document_once(is_group: bool) -> None:
    """The last of a crowd are read from behind, on the curve; its others are read from before."""
    crowd, center = GeoPoint(0.0, 0.0), GeoPoint(7.0, 11.0)
    assert cell_number(crowd) < cell_number(center)
    query = Query(
        PLACES, is_group, where=f("stars", ">=", 2), limit=3, near=Near(AT, center, 2_000_000.0)
    )
    documents = [
        stored(PLACES.document(name), {"at": crowd, "stars": 2 * (name == "g")})
        for name in "abcdefg"
    ]
    indexes = indexes_for(query)
    found = await QueryExecutor(
        MemorySnapshot(documents, indexes), indexes, indexes.generation
    ).run_query(query)
    assert _paths(found) == [PLACES.document("g")]


class SortedSnapshot(MemorySnapshot):
    """Of many documents: sorted once."""

    def __init__(self, documents: list[StoredDocument], indexes: Indexes) -> None:
        super().__init__(documents, indexes)
        self.entries = {number: dict(sorted(rows.items())) for number, rows in self.entries.items()}
        self._keys = {number: list(rows) for number, rows in self.entries.items()}
        self.scans = 0

    async def scan_entries(
        self,
        index: int,
        span: KeyRange,
        *,
        limit: int,
        descending: bool = False,
        bytes_max: int | None = None,
    ) -> list[EntryRow]:
        self.scans += 1
        known = self._keys[index]
        first = bisect_left(known, span.start)
        last = len(known) if span.end is None else bisect_left(known, span.end)
        chosen = known[max(first, last - limit) : last] if descending else known[first:last][:limit]
        self.rows_read += len(chosen)
        if descending:
            chosen.reverse()
        return [EntryRow(key, self.entries[index][key]) for key in chosen]


def _paths(documents: list[StoredDocument]) -> list[DocumentPath]:
    return [document.path for document in documents]


# Both engines -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
async def test_engines_give_the_same_and_read_as_little(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    size = 600
    async with opened(engine, request, tmp_path) as database:
        documents = await fill(database, size)
        for name, query in CASES.items():
            told, found = await explain(database, query)
            assert _paths(found) == _paths(expected(query, documents)), name
            assert [scan.kind for scan in told.scans] == ["collection"], name
            assert told.documents_read >= size
        await make_indexes(database, list(CASES.values()))
        for name, query in CASES.items():
            wanted = _paths(expected(query, documents))
            told, found = await explain(database, query)
            assert _paths(found) == wanted, name
            assert [scan.kind for scan in told.scans] == ["near"], name
            assert told.missing == ()
            assert len(found) <= told.entries_scanned <= ENTRIES_MAX.get(name, 200), name
            assert told.hints == ()
        nobody = replace(CASES["in town"], where=f("half", ">", 1))
        told, found = await explain(database, nobody)
        assert found == []
        assert told.hints[0].startswith("filters that its index does not hold are checked")
        await check_changes(database)


async def fill(database: Database, size: int) -> list[StoredDocument]:
    paths = [PLACES.document(f"p{number:06}") for number in range(size)]
    for start in range(0, size, 300):
        slice_ = range(start, min(start + 300, size))
        await write(database, *[SetWrite(paths[number], town(number, size)) for number in slice_])
    found = await database.get_documents(paths)
    return [document for document in found if document is not None]


async def check_changes(database: Database) -> None:
    """Entries follow what is written: somebody moves, comes, goes, and is nowhere."""
    query = near_town(-33.9, 151.2, radius=1_000.0)
    sydney, vienna = GeoPoint(-33.9, 151.2), GeoPoint(48.2, 16.3)
    moving = PLACES.document("p000001")
    steps: list[tuple[Fields, int]] = [
        ({"at": sydney}, 1),
        ({"at": vienna}, 0),
        ({"at": sydney}, 1),
        ({}, 0),
    ]
    for fields, there in steps:
        await write(database, SetWrite(moving, fields))
        told, found = await explain(database, query)
        assert [scan.kind for scan in told.scans] == ["near"]
        assert _paths(found) == [moving] * there
        assert told.entries_scanned == there
        if there:
            assert found[0].distance_meters == 0


def test_the_earth_is_that_of_the_rules() -> None:
    from baas_rules.functions import _EARTH_RADIUS_METRES

    assert EARTH_RADIUS_METERS == _EARTH_RADIUS_METRES


def test_names_decide_between_equal_distances() -> None:
    query = near_town(0.0, 0.0)
    ends = [(0.0, 1.0), (0.0, -1.0), (1.0, 0.0)]
    documents = [
        stored(PLACES.document(name), {"at": GeoPoint(*end)})
        for name, end in zip("cab", ends, strict=True)
    ]
    found = _paths(expected(query, documents))
    assert found == sorted(found, key=lambda path: sort_key(Reference(path)))
