"""The life of indexes once they are there: pinned, used, idle, dropped; and what administrators do
with them."""

from __future__ import annotations

from contextlib import suppress

import structlog

from baas.database.index_builder import IndexBuilder
from baas.database.index_records import changing
from baas.database.indexes import Index, IndexDefinition
from baas.errors import AlreadyExists, BaasError, QuotaExceeded

USES_TOLD_PARTS = 30  # of the idle time: how exactly records tell when an index was used
_log = structlog.get_logger("baas.indexes")


class IndexKeeper:
    """Keeps the indexes of one database. `idle_seconds` is how long one that is not pinned is kept
    unused; 0: for ever. What is said here to raise Unavailable and the like changes nothing then.
    """

    def __init__(self, builder: IndexBuilder, idle_seconds: float) -> None:
        self._builder = builder
        self._indexes = builder.indexes
        self._run_alone = builder.run_alone
        self._clock = builder.clock
        self._idle_seconds = idle_seconds

    async def build(self, definition: IndexDefinition, *, pinned: bool = True) -> None:
        """Has an index made, and pins it unless told otherwise. Where the collection has as many as
        it may, one makes room. Raises AlreadyExists if there is one, QuotaExceeded
        (`TooManyIndexes`) if all are pinned or being made."""
        if self._indexes.find(definition) is not None:
            raise AlreadyExists(f"there is an index {definition}", reason="IndexExists")
        most = self._builder.collection_indexes_max
        if not self._builder.make_room(definition.collection_id):
            raise QuotaExceeded(
                f"`{definition.collection_id}` has {most} indexes, as many as it may, and all are"
                " pinned; drop one of them first",
                reason="TooManyIndexes",
                details={"collection_indexes_max": most},
            )
        await self._builder.build(definition, pinned=pinned)

    async def pin(self, index: Index, *, pinned: bool) -> None:
        """A pinned index stays however long nobody uses it."""
        await self._run_alone(changing(index, is_pinned=pinned))

    async def drop(self, index: Index) -> None:
        """Returns once no plan is made on the index; its entries are deleted after that. A query
        that needs it again has it made again."""
        await self._run_alone(changing(index, is_dropped=True))
        self._builder.go_on()

    async def tidy(self) -> None:
        """To be called now and then: tells other nodes of uses, drops what no node has used for
        long, has deleted what is left of dropped ones, and goes on with those left unfinished."""
        await self.tell_uses()
        if self._idle_seconds > 0:
            before = self._clock.now_microseconds() - int(self._idle_seconds * 1_000_000)
            for index in self._indexes:
                if index.is_spare and index.used_at < before:
                    _log.info("an idle index is dropped", index=str(index.definition))
                    await self.drop(index)
        self._builder.take_over_left()

    async def wait(self) -> None:
        """Returns when no index is wanted, being built, or due to be deleted."""
        await self._builder.wait_idle()

    async def close(self) -> None:
        """Tells what was used, if that can be told."""
        with suppress(BaasError):
            await self.tell_uses()

    async def tell_uses(self) -> None:
        """Writes down when indexes were last used, where the records are far behind."""
        self._indexes.note_uses(self._clock.now_microseconds())
        behind = int(self._idle_seconds * 1_000_000 / USES_TOLD_PARTS)
        for index in self._indexes:
            if index.used_at - index.told_at > behind:
                await self._run_alone(changing(index, used=index.used_at))
