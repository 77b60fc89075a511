"""An engine in front of the real one that can be held up, and can fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from baas.encoding.documents import StoredDocument
from baas.storage.engine import (
    BackfillRow,
    CommitGroup,
    EngineUnavailable,
    FirstScan,
    Head,
    Lines,
    LogRecord,
    Page,
    RequestAnswer,
    Snapshot,
    StorageEngine,
)


class SteeredEngine:
    """Passes everything on. `hold` keeps commits waiting until `release`. The next `failures`
    commits fail before the real engine is asked, the next `failures_after` after it has committed;
    `failing_calls` are the numbers of calls, from 1, that fail in the first way."""

    def __init__(self, engine: StorageEngine) -> None:
        self.engine = engine
        self.groups: list[CommitGroup] = []
        self.failures = 0
        self.failures_after = 0
        self.failing_calls: set[int] = set()
        self.calls = 0
        self.is_head_unreadable = False
        self.arrived = asyncio.Event()
        self._may_go = asyncio.Event()
        self._may_go.set()

    def hold(self) -> None:
        self._may_go.clear()
        self.arrived.clear()

    def release(self) -> None:
        self._may_go.set()

    @property
    def group_sizes(self) -> list[int]:
        return [len(group.commits) for group in self.groups]

    @property
    def is_shared(self) -> bool:
        return self.engine.is_shared

    @property
    def lines(self) -> Lines | None:
        return self.engine.lines

    @property
    def is_near(self) -> bool:
        return self.engine.is_near

    def count_foreign(self) -> int:
        return self.engine.count_foreign()

    def end_turn(self) -> None:
        self.engine.end_turn()

    def watch(self, notify: Callable[[], None]) -> Callable[[], None]:
        return self.engine.watch(notify)

    async def commit(self, group: CommitGroup) -> Sequence[LogRecord]:
        self.calls += 1
        call = self.calls
        self.arrived.set()
        await self._may_go.wait()
        if self.failures or call in self.failing_calls:
            self.failures = max(0, self.failures - 1)
            raise EngineUnavailable("told to fail")
        missed = await self.engine.commit(group)
        self.groups.append(group)
        if self.failures_after:
            self.failures_after -= 1
            raise EngineUnavailable("told to fail after the commit")
        return missed

    async def read_head(self) -> Head:
        if self.is_head_unreadable:
            raise EngineUnavailable("told to fail")
        return await self.engine.read_head()

    async def read_oldest_version(self) -> int:
        return await self.engine.read_oldest_version()

    async def read_history_bytes(self) -> int:
        return await self.engine.read_history_bytes()

    def get_documents_nowait(self, keys: Sequence[bytes]) -> list[StoredDocument | None] | None:
        return self.engine.get_documents_nowait(keys)

    async def read_log_bytes(self) -> int:
        return await self.engine.read_log_bytes()

    async def read_request_bytes(self) -> int:
        return await self.engine.read_request_bytes()

    async def forget_requests(self, *, limit: int) -> int:
        return await self.engine.forget_requests(limit=limit)

    def read_page_nowait(self, scan: FirstScan) -> Page | None:
        return self.engine.read_page_nowait(scan)

    async def get_documents(self, keys: Sequence[bytes]) -> list[StoredDocument | None]:
        return await self.engine.get_documents(keys)

    async def open_snapshot(self, first: FirstScan | None = None) -> Snapshot:
        return await self.engine.open_snapshot(first)

    async def add_requests(self, answers: Sequence[RequestAnswer]) -> int:
        return await self.engine.add_requests(answers)

    async def erase(self, keys: Sequence[bytes]) -> list[int]:
        return await self.engine.erase(keys)

    async def scrub(self, *, rewrite: bool = False) -> bool:
        return await self.engine.scrub(rewrite=rewrite)

    async def note_traces(self) -> None:
        await self.engine.note_traces()

    async def start_incarnation(self, incarnation: str) -> None:
        await self.engine.start_incarnation(incarnation)

    async def claim_turn(self, seconds: float) -> None:
        await self.engine.claim_turn(seconds)

    async def fence(self, token: str) -> int:
        return await self.engine.fence(token)

    async def unfence(self, token: str) -> bool:
        return await self.engine.unfence(token)

    async def backfill(self, rows: Sequence[BackfillRow]) -> int:
        return await self.engine.backfill(rows)

    async def drop_index(self, index: int, *, limit: int) -> int:
        return await self.engine.drop_index(index, limit=limit)

    async def find_request(self, request_id: str) -> tuple[int, bytes] | None:
        return await self.engine.find_request(request_id)

    async def trim(self, before: int, *, limit: int, requests_before: int | None = None) -> int:
        return await self.engine.trim(before, limit=limit, requests_before=requests_before)

    async def close(self) -> None:
        await self.engine.close()
