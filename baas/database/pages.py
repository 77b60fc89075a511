"""First pages of queries that are told at once, without a snapshot."""

from __future__ import annotations

from collections.abc import Callable

from baas.database.failures import as_baas_error
from baas.database.plans import Plans
from baas.database.transaction import QueryResult
from baas.encoding import keys
from baas.model.queries import Query
from baas.storage.engine import StorageEngine, StorageError


class FirstPages:
    """Of the queries of one database."""

    def __init__(
        self, engine: StorageEngine, plans: Plans, may_lack_indexes: Callable[[int], bool]
    ) -> None:
        self._engine = engine
        self._may_lack_indexes = may_lack_indexes
        self._plans = plans

    def read_nowait(self, query: Query, *, bytes_max: int) -> QueryResult | None:
        """The whole answer to a checked query, as last committed, if it is one small scan and not
        more than `bytes_max`, and the engine need not wait. None says nothing. Raises Unavailable
        and DataLoss."""
        scan = self._plans.first_scan(query)
        if scan is None:
            return None
        try:
            page = self._engine.read_page_nowait(scan)
        except StorageError as error:
            raise as_baas_error(error) from error
        if page is None or page.longest_key >= keys.KEY_BYTES_MAX:
            return None  # keys that were cut do not say it all
        if scan.index is not None and self._may_lack_indexes(page.version):
            return None
        documents = page.documents
        if query.limit is None and len(documents) == scan.limit:
            return None
        if sum([len(document.data) for document in documents]) > bytes_max:
            return None
        return QueryResult(documents, page.version)
