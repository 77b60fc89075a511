"""An engine in memory that several nodes open: what a shared store promises, in the simplest way.

Each `SharedEngine` is one node's. All of them see one `SharedState`; every call gives others their
turn first, so that nodes interleave as they would over a network.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from baas.encoding.documents import StoredDocument
from baas.storage.engine import (
    BackfillRow,
    CommitGroup,
    EngineConflict,
    EngineFenced,
    EngineUnavailable,
    EngineUnknown,
    EntryRow,
    FirstScan,
    Head,
    KeyRange,
    LogRecord,
    Page,
    PastImage,
    RequestAnswer,
)
from baas.storage.store import StoreMissing, StoreName


@dataclass
class SharedState:
    """One database. `images`: all that a document ever had, None where it was deleted."""

    incarnation: str = "first"
    version: int = 0
    oldest: int = 0
    images: dict[bytes, list[tuple[int, StoredDocument | None]]] = field(default_factory=dict)
    entries: dict[int, dict[bytes, bytes]] = field(default_factory=dict)
    log: list[LogRecord] = field(default_factory=list)
    requests: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    engines: list[SharedEngine] = field(default_factory=list)
    turn: tuple[SharedEngine, float] | None = None
    fence: str | None = None

    def is_turn_of(self, engine: SharedEngine) -> bool:
        if self.turn is not None and self.turn[1] < asyncio.get_running_loop().time():
            self.turn = None
        return self.turn is None or self.turn[0] is engine

    def open(self) -> SharedEngine:
        engine = SharedEngine(self)
        self.engines.append(engine)
        return engine

    def image(self, key: bytes, version: int) -> StoredDocument | None:
        for at, image in reversed(self.images.get(key, ())):
            if at <= version:
                return image
        return None

    def write(self, group: CommitGroup) -> None:
        for record in group.commits:
            for ordinal, change in enumerate(record.changes):
                assert self.image(change.key, self.version) == change.old, (
                    "written upon what is not"
                )
                self.images.setdefault(change.key, []).append((record.version, change.new))
                self.log.append(LogRecord(record.version, ordinal, change.path, change.new is None))
                for index, entry_keys in change.removed_entries:
                    for entry_key in entry_keys:
                        self.entries.get(index, {}).pop(entry_key, None)
                for index, entry_keys in change.added_entries:
                    self.entries.setdefault(index, {}).update(dict.fromkeys(entry_keys, change.key))
            self.version = record.version
            if record.request_id is not None:
                assert record.request_id not in self.requests, "one request, committed twice"
                self.requests[record.request_id] = record.version, record.response

    def wake(self, maker: SharedEngine) -> None:
        for engine in self.engines:
            if engine is not maker and not engine.is_cut_off:
                engine.wake()


class SharedStore:
    """One node's view of databases that several nodes share. `states` is what they share."""

    is_shared = True
    is_near = False

    def __init__(self, states: dict[StoreName, SharedState]) -> None:
        self.states = states
        self.engines: list[SharedEngine] = []

    async def claim(self, server: str) -> None:
        """Nobody else is here."""

    async def open(self, name: StoreName, *, create: bool) -> SharedEngine:
        await asyncio.sleep(0)
        if name not in self.states:
            if not create:
                raise StoreMissing(str(name))
            self.states[name] = SharedState(incarnation=secrets.token_hex(4))
        engine = self.states[name].open()
        self.engines.append(engine)
        return engine

    async def list_databases(self, project: str) -> list[str]:
        return sorted(
            [name.database for name in self.states if name.project == project and name.database]
        )

    async def delete_project(self, project: str) -> None:
        await asyncio.sleep(0)
        for name in [name for name in self.states if name.project == project]:
            gone = self.states.pop(name)
            gone.incarnation = "gone"
            for engine in gone.engines:
                engine.wake()

    async def close(self) -> None:
        """Nothing is held."""

    def cut_off(self) -> None:
        for engine in self.engines:
            engine.is_cut_off = True

    def rejoin(self) -> None:
        for engine in self.engines:
            engine.rejoin()


class SharedEngine:
    """One node's. The next `failures` commits write nothing; the outcome of the next `unknown`
    ones stays unknown: written for True, not for False. While `is_cut_off`, nothing is reached."""

    is_shared = True
    is_near = False

    def __init__(self, state: SharedState) -> None:
        self.state = state
        self.is_cut_off = False
        self.failures = 0
        self.unknown: list[bool] = []
        self.conflicts = 0
        self.commits = 0
        self.watchers: list[Callable[[], None]] = []
        self.before_commit: Callable[[], None] = lambda: None

    def count_foreign(self) -> int:
        return 0

    def end_turn(self) -> None:
        """A claim lapses."""

    def wake(self) -> None:
        for notify in self.watchers:
            asyncio.get_running_loop().call_soon(notify)

    def rejoin(self) -> None:
        self.is_cut_off = False
        self.wake()

    @property
    def lines(self) -> None:
        return None

    def watch(self, notify: Callable[[], None]) -> Callable[[], None]:
        self.watchers.append(notify)
        return lambda: self.watchers.clear()

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if self.is_cut_off:
            raise EngineUnavailable("cut off")

    async def read_head(self) -> Head:
        await self._reach()
        return Head(self.state.incarnation, self.state.version, self.state.fence)

    async def read_oldest_version(self) -> int:
        await self._reach()
        return self.state.oldest

    async def read_history_bytes(self) -> int:
        return 0

    async def read_log_bytes(self) -> int:
        return 0

    async def read_request_bytes(self) -> int:
        return 0

    async def forget_requests(self, *, limit: int) -> int:
        return 0

    async def get_documents(self, keys: Sequence[bytes]) -> list[StoredDocument | None]:
        await self._reach()
        return [self.state.image(key, self.state.version) for key in keys]

    def get_documents_nowait(self, keys: Sequence[bytes]) -> list[StoredDocument | None] | None:
        return None

    def read_page_nowait(self, scan: FirstScan) -> Page | None:
        return None

    async def open_snapshot(self, first: FirstScan | None = None) -> SharedSnapshot:
        await self._reach()
        return SharedSnapshot(self)

    async def commit(self, group: CommitGroup) -> Sequence[LogRecord]:
        await self._reach()
        if self.failures:
            self.failures -= 1
            raise EngineUnavailable("told to fail")
        self.before_commit()
        if self.unknown and not self.unknown[0]:
            self.unknown.pop(0)
            raise EngineUnknown("told to leave it open")
        if self.state.fence is not None:
            raise EngineFenced(self.state.fence)
        if self.state.version != group.expected_version or not self.state.is_turn_of(self):
            self.conflicts += 1
            raise EngineConflict("outrun")
        self.state.write(group)
        self.state.turn = None
        self.commits += len(group.commits)
        self.state.wake(self)
        await asyncio.sleep(0)
        if self.unknown:
            self.unknown.pop(0)
            raise EngineUnknown("told to leave it open")
        return ()

    async def add_requests(self, answers: Sequence[RequestAnswer]) -> int:
        raise NotImplementedError

    async def erase(self, keys: Sequence[bytes]) -> list[int]:
        await self._reach()
        return [self._erase(key) for key in keys]

    def _erase(self, key: bytes) -> int:
        images = self.state.images.get(key, [])
        for place, (version, image) in enumerate(images[:-1]):
            if image is not None:
                emptied = StoredDocument(image.path, b"", image.created, image.version)
                images[place] = version, emptied
        return len(images)

    async def scrub(self, *, rewrite: bool = False) -> bool:
        return True

    async def note_traces(self) -> None:
        """There are no files."""

    async def start_incarnation(self, incarnation: str) -> None:
        raise NotImplementedError

    async def claim_turn(self, seconds: float) -> None:
        await self._reach()
        if self.state.is_turn_of(self):
            self.state.turn = self, asyncio.get_running_loop().time() + seconds

    async def fence(self, token: str) -> int:
        await self._reach()
        if self.state.fence not in (None, token):
            raise EngineFenced(self.state.fence)
        self.state.fence = token
        return self.state.version

    async def unfence(self, token: str) -> bool:
        await self._reach()
        stood = self.state.fence == token
        if stood:
            self.state.fence = None
        self.state.wake(self)
        return stood

    async def backfill(self, rows: Sequence[BackfillRow]) -> int:
        await self._reach()
        taken = 0
        for row in rows:
            image = self.state.image(row.key, self.state.version)
            if image is not None and image.version == row.version:
                taken += 1
                for index, entry_keys in row.entries:
                    found = self.state.entries.setdefault(index, {})
                    found.update(dict.fromkeys(entry_keys, row.key))
        return taken

    async def drop_index(self, index: int, *, limit: int) -> int:
        await self._reach()
        entries = self.state.entries.get(index, {})
        doomed = sorted(entries)[:limit]
        for key in doomed:
            del entries[key]
        return len(doomed)

    async def find_request(self, request_id: str) -> tuple[int, bytes] | None:
        await self._reach()
        return self.state.requests.get(request_id)

    async def trim(self, before: int, *, limit: int, requests_before: int | None = None) -> int:
        await self._reach()
        self.state.oldest = max(self.state.oldest, before)
        left = [record for record in self.state.log if record.version >= before]
        count = len(self.state.log) - len(left)
        self.state.log = left
        return count

    async def close(self) -> None:
        if self in self.state.engines:
            self.state.engines.remove(self)


class SharedSnapshot:
    """All as it was when it was opened."""

    def __init__(self, engine: SharedEngine) -> None:
        state = engine.state
        if state.incarnation == "gone":
            raise StoreMissing("gone")
        self._engine = engine
        self.version = state.version
        self._incarnation = state.incarnation
        self._log = list(state.log)
        self._entries = {index: dict(found) for index, found in state.entries.items()}
        self._keys = sorted(key for key in state.images if state.image(key, state.version))

    async def get_documents(self, keys: Sequence[bytes]) -> list[StoredDocument | None]:
        return await self.get_documents_at(keys, self.version)

    async def get_documents_at(
        self, keys: Sequence[bytes], version: int
    ) -> list[StoredDocument | None]:
        return await self.get_images([(key, version) for key in keys])

    async def get_images(self, wanted: Sequence[tuple[bytes, int]]) -> list[StoredDocument | None]:
        await self._engine._reach()
        return [
            self._engine.state.image(key, min(version, self.version)) for key, version in wanted
        ]

    async def read_history(self, key: bytes, *, below: int, limit: int) -> list[PastImage]:
        raise NotImplementedError

    async def find_superseded(self, keys: Sequence[bytes], *, below: int) -> list[int | None]:
        raise NotImplementedError

    async def scan_documents(
        self,
        span: KeyRange,
        *,
        limit: int,
        descending: bool = False,
        bytes_max: int | None = None,
    ) -> list[StoredDocument]:
        chosen = _within(self._keys, span, descending)[:limit]
        return [image for image in await self.get_documents(chosen) if image is not None]

    async def scan_entries(
        self,
        index: int,
        span: KeyRange,
        *,
        limit: int,
        descending: bool = False,
        bytes_max: int | None = None,
    ) -> list[EntryRow]:
        entries = self._entries.get(index, {})
        chosen = _within(entries, span, descending)[:limit]
        images = await self.get_documents([entries[key] for key in chosen])
        return [
            EntryRow(key, image)
            for key, image in zip(chosen, images, strict=True)
            if image is not None
        ]

    async def scan_keys(self, index: int, spans: Sequence[KeyRange], *, limit: int) -> list[bytes]:
        entries = self._entries.get(index, {})
        return [key for span in spans for key in _within(entries, span, False)][:limit]

    async def count_documents(self, span: KeyRange, *, limit: int | None = None) -> int:
        return len(_within(self._keys, span, False)[:limit])

    async def count_entries(self, index: int, span: KeyRange, *, limit: int | None = None) -> int:
        return len(_within(self._entries.get(index, {}), span, False)[:limit])

    async def read_log(self, after: int, *, limit: int) -> list[LogRecord]:
        await self._engine._reach()
        found = [record for record in self._log if record.version > after]
        last = found[:limit][-1].version if found else 0
        return [record for record in found if record.version <= last]

    async def read_requests(self, after: int, *, limit: int) -> list[RequestAnswer]:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing is held."""


def _within(keys: Sequence[bytes] | dict[bytes, bytes], span: KeyRange, down: bool) -> list[bytes]:
    return sorted(
        [key for key in keys if key >= span.start and (span.end is None or key < span.end)],
        reverse=down,
    )
