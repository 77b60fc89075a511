"""The documents that the bare driver reads, in a database of their own."""

from __future__ import annotations

from typing import Any

from pymongo import MongoClient

DATABASE, COLLECTION, LOG = "bench_floor", "posts", "log"


def seed(uri: str, rows: list[dict[str, Any]]) -> None:
    """One BSON document each, with the index that the query needs."""
    mongo: MongoClient[dict[str, Any]] = MongoClient(uri)
    with mongo:
        mongo.drop_database(DATABASE)
        mongo[DATABASE].create_collection(LOG)
        mongo[DATABASE][COLLECTION].create_index("score")
        mongo[DATABASE][COLLECTION].insert_many(rows)
