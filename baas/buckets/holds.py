"""Holds: while a project's bytes are being backed up or restored, nobody collects any of them.

backup_holds/{project}      until when, in the server's system database
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from baas.clock import Clock
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.ending import repeat_until_cancelled
from baas.errors import BaasError
from baas.model.paths import CollectionPath
from baas.model.writes import DeleteWrite, SetWrite

HOLD_SECONDS = 300  # without a sign of life, until a hold of a node that died ends
_HOLDS = CollectionPath(("backup_holds",))


class Holds:
    """`system` opens system databases."""

    def __init__(self, system: SystemStore, clock: Clock) -> None:
        self._system = system
        self._clock = clock

    @contextlib.asynccontextmanager
    async def hold(self, project: str) -> AsyncIterator[None]:
        """From now on, and as long as this lasts, all bytes stay that are named now or later."""
        await self._renew(project)
        renewing = asyncio.create_task(self._keep(project), name=f"hold {project}")
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])
            with contextlib.suppress(BaasError):
                await self._release(project)

    async def is_held(self, project: str) -> bool:
        """To be asked after the bytes that are to be deleted were looked up: whoever held them
        before they became garbage is seen then."""
        database = await self._system.open(None)
        (document,) = await database.get_documents([_HOLDS.document(project)])
        if document is None:
            return False
        until = document.fields["until"]
        assert isinstance(until, int)
        return until > self._clock.now_microseconds()

    async def _keep(self, project: str) -> None:
        async def renew() -> None:
            await asyncio.sleep(HOLD_SECONDS / 5)
            with contextlib.suppress(BaasError):
                await self._renew(project)

        await repeat_until_cancelled("renewing a hold", renew)

    async def _renew(self, project: str) -> None:
        until = self._clock.now_microseconds() + HOLD_SECONDS * 1_000_000

        async def body(transaction: Transaction) -> None:
            await transaction.write([SetWrite(_HOLDS.document(project), {"until": until})])

        await self._system.run(None, body)

    async def _release(self, project: str) -> None:
        async def body(transaction: Transaction) -> None:
            await transaction.write([DeleteWrite(_HOLDS.document(project))])

        await self._system.run(None, body)
