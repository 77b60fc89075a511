"""What all engines of one MongoDB store share."""

from __future__ import annotations

from dataclasses import dataclass

from baas.clock import Clock
from baas.encoding.documents import StoredDocument
from baas.storage.mongo_batches import Lookups, Openings
from baas.storage.mongo_client import MongoConnection
from baas.storage.mongo_layout import Row, as_document
from baas.storage.mongo_transactions import Transactions
from baas.storage.mongo_watch import HeadWatcher


def _as_is(row: Row) -> Row:
    return row


@dataclass(slots=True)
class Shared:
    connection: MongoConnection
    clock: Clock
    node: str
    documents: Lookups[StoredDocument]
    heads: Lookups[Row]
    requests: Lookups[Row]
    openings: Openings
    watcher: HeadWatcher
    transactions: Transactions

    @classmethod
    def make(cls, connection: MongoConnection, clock: Clock) -> Shared:
        node = clock.random_bytes(8).hex()
        return cls(
            connection,
            clock,
            node,
            Lookups(connection, "documents", as_document),
            Lookups(connection, "heads", _as_is),
            Lookups(connection, "log", _as_is, field="requests"),
            Openings(connection),
            HeadWatcher(connection, node),
            Transactions(connection),
        )
