"""Holds: while a project's bytes are being backed up or restored, nobody collects any of them.

backup_holds/{project}      until when, and by whom, in the server's system database
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias, cast

from baas.clock import Clock, new_document_id
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.ending import repeat_until_cancelled
from baas.errors import BaasError
from baas.model.paths import CollectionPath
from baas.model.writes import DeleteWrite, SetWrite, Write

HOLD_SECONDS = 300  # without a sign of life, until a hold of a node that died ends
_HOLDS = CollectionPath(("backup_holds",))
_Holders: TypeAlias = dict[str, int]  # until when


class Holds:
    """`system` opens system databases."""

    def __init__(self, system: SystemStore, clock: Clock) -> None:
        self._system = system
        self._clock = clock

    @contextlib.asynccontextmanager
    async def hold(self, project: str) -> AsyncIterator[None]:
        """From now on, and as long as this lasts, all bytes stay that are named now or later.
        Whoever else holds them, such as a node that took a task over, is not concerned by its
        end."""
        holder = new_document_id(self._clock)
        await self._renew(project, holder)
        renewing = asyncio.create_task(self._keep(project, holder), name=f"hold {project}")
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])
            with contextlib.suppress(BaasError):
                await self._release(project, holder)

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

    async def _keep(self, project: str, holder: str) -> None:
        async def renew() -> None:
            await asyncio.sleep(HOLD_SECONDS / 5)
            with contextlib.suppress(BaasError):
                await self._renew(project, holder)

        await repeat_until_cancelled("renewing a hold", renew)

    async def _renew(self, project: str, holder: str) -> None:
        until = self._clock.now_microseconds() + HOLD_SECONDS * 1_000_000
        await self._change(project, lambda others: {**others, holder: until})

    async def _release(self, project: str, holder: str) -> None:
        await self._change(project, lambda others: _without(others, holder))

    async def _change(self, project: str, change: Callable[[_Holders], _Holders]) -> None:
        path = _HOLDS.document(project)

        async def body(transaction: Transaction) -> None:
            (document,) = await transaction.get_documents([path])
            # A hold of an older server names nobody, and ends with the next one's.
            known = {} if document is None else document.fields.get("holders", {})
            now = self._clock.now_microseconds()
            holders = change(
                {one: until for one, until in cast(_Holders, known).items() if until > now}
            )
            write: Write = DeleteWrite(path)
            if holders:
                write = SetWrite(path, {"until": max(holders.values()), "holders": {**holders}})
            await transaction.write([write])

        await self._system.run(None, body)


def _without(holders: _Holders, holder: str) -> _Holders:
    return {one: until for one, until in holders.items() if one != holder}
