"""Near queries beside SQLite's own R*Tree, in one process, without HTTP.

The floor knows the answer beforehand: it asks the tree for the box around the circle that holds
just the documents wanted, sorts what comes by distance, and has their bytes. The product finds out
how far it has to look, by an index that is entries like any other and so the same on MongoDB.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import apsw

from baas.clock import SystemClock
from baas.database.database import Database
from baas.database.indexes import IndexDefinition, IndexField, IndexKind
from baas.database.loading import Loader
from baas.database.names import DatabaseName
from baas.encoding.documents import StoredDocument, encode_fields
from baas.model.geo import EARTH_RADIUS_METERS, distance_from
from baas.model.near import Near
from baas.model.paths import CollectionPath, FieldPath
from baas.model.queries import Query
from baas.model.values import Fields, GeoPoint
from baas.settings import Settings
from baas.storage.sqlite import SqliteEngine

PLACES = 50_000
QUERIES = 200
LIMITS = (1, 20, 200)
AT = FieldPath(("at",))
COLLECTION = CollectionPath(("places",))
_BOX = (
    "SELECT p.data, p.latitude, p.longitude FROM tree t JOIN places p USING (id)"
    " WHERE t.south <= ? AND t.north >= ? AND t.west <= ? AND t.east >= ?"
)


def table(folder: Path, *, rounds: int) -> str:
    """A Markdown table: processor time of a query, and its ratio to the floor's."""
    folder.mkdir()
    return asyncio.run(_table(folder, rounds))


async def _table(folder: Path, rounds: int) -> str:
    chance = random.Random(5)
    documents = [_place(number, chance) for number in range(PLACES)]
    floor = _fill_tree(folder / "floor.sqlite", documents)
    engine = SqliteEngine.open(folder / "places.sqlite", clock=SystemClock(), synchronous="normal")
    loader = Loader(engine, 1)
    for start in range(0, PLACES, 1_000):
        await loader.add(documents[start : start + 1_000])
    await loader.finish()
    database = await Database.open(
        DatabaseName("bench"), engine, clock=SystemClock(), settings=Settings()
    )
    field = IndexField(AT, kind=IndexKind.CELL)
    await database.index_keeper.build(IndexDefinition(COLLECTION.id, False, (field,)))
    await database.index_keeper.wait()
    centers = [_somewhere(chance) for _ in range(QUERIES)]
    lines = [await _compare(database, floor, centers, limit, rounds) for limit in LIMITS]
    await database.close()
    title = f"## Near queries among {PLACES:,} places of one city, in one process"
    head = "| the nearest | R*Tree, radius given: us | baas us | **ratio** | entries read |"
    return "\n".join([title, "", head, "|---|---|---|---|---|", *lines, ""])


def _somewhere(chance: random.Random) -> GeoPoint:
    return GeoPoint(chance.gauss(48.2, 0.1), chance.gauss(16.4, 0.15))


def _place(number: int, chance: random.Random) -> StoredDocument:
    fields: Fields = {"at": _somewhere(chance), "name": f"place {number}", "text": "x" * 200}
    return StoredDocument(COLLECTION.document(f"p{number:06}"), encode_fields(fields), 1, 1)


def _fill_tree(path: Path, documents: list[StoredDocument]) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.execute(
        "CREATE TABLE places (id INTEGER PRIMARY KEY, data, latitude, longitude);"
        "CREATE VIRTUAL TABLE tree USING rtree(id, south, north, west, east)"
    )
    with connection:
        for number, document in enumerate(documents):
            latitude, longitude = json.loads(document.data)["at"]["$geo"]
            connection.execute(
                "INSERT INTO places VALUES (?, ?, ?, ?)",
                (number, document.data, latitude, longitude),
            )
            connection.execute(
                "INSERT INTO tree VALUES (?, ?, ?, ?, ?)",
                (number, latitude, latitude, longitude, longitude),
            )
    return connection


async def _compare(
    database: Database,
    floor: apsw.Connection,
    centers: list[GeoPoint],
    limit: int,
    rounds: int,
) -> str:
    queries = [Query(COLLECTION, near=Near(AT, center), limit=limit) for center in centers]
    entries = 0
    farthest = []
    for query in queries:  # warms up, and tells the floor how far it has to look
        async with database.snapshot() as snapshot:
            snapshot.meter()
            found, _ = await snapshot.read_first(query, bytes_max=1 << 30)
            told = snapshot.explain(query, returned=len(found), seconds=0)
        assert [scan.kind for scan in told.scans] == ["near"]
        assert len(found) == limit
        entries += told.entries_scanned
        farthest.append(found[-1].distance_meters or 0.0)

    async def product() -> None:
        for query in queries:
            async with database.snapshot() as snapshot:
                await snapshot.read_first(query, bytes_max=1 << 30)

    async def bare() -> None:
        for center, radius in zip(centers, farthest, strict=True):
            assert len(_in_box(floor, center, radius)) >= limit

    pairs = [(await _timed(bare), await _timed(product)) for _ in range(rounds)]
    sides = [statistics.median(pair[side] for pair in pairs) * 1e6 / QUERIES for side in (0, 1)]
    ratio = statistics.median(one / other for one, other in pairs)
    return (
        f"| {limit} | {sides[0]:.0f} | {sides[1]:.0f} | **{ratio:.2f}** | {entries / QUERIES:.0f} |"
    )


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    began = time.process_time()
    await work()
    return time.process_time() - began


def _in_box(floor: apsw.Connection, center: GeoPoint, radius: float) -> list[tuple[float, bytes]]:
    """The documents within a radius, by distance; far from the poles."""
    up = math.degrees(radius / EARTH_RADIUS_METERS) + 1e-6  # the tree keeps floats
    aside = up / math.cos(math.radians(center.latitude)) + 1e-6
    latitude, longitude = center.latitude, center.longitude
    box = (latitude + up, latitude - up, longitude + aside, longitude - aside)
    distance = distance_from(center)
    rows = [(distance(*at), data) for data, *at in floor.execute(_BOX, box)]
    return sorted([row for row in rows if row[0] <= radius])
