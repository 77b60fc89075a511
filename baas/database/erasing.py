"""What documents were, taken out of a database for good."""

from __future__ import annotations

from collections.abc import Sequence

from baas.database.failures import baas_errors
from baas.encoding import keys
from baas.model.paths import DocumentPath
from baas.storage.engine import StorageEngine


class Eraser:
    """Of one database."""

    def __init__(self, engine: StorageEngine) -> None:
        self._engine = engine

    async def erase(self, paths: Sequence[DocumentPath]) -> list[int]:
        """Empties all superseded images of documents; see `StorageEngine.erase`. Snapshots,
        listeners and resume tokens that would need one begin anew."""
        with baas_errors():
            return await self._engine.erase([keys.document_key(path) for path in paths])

    async def scrub(self, *, rewrite: bool = False) -> bool:
        """What was erased is gone from files, too; see `StorageEngine.scrub`."""
        with baas_errors():
            return await self._engine.scrub(rewrite=rewrite)
