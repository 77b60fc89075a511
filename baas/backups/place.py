"""Where backups are kept: parts that are written once, and read back against their checksums."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
import zlib
from collections.abc import AsyncGenerator, Sequence

from baas.backups.manifest import (
    Manifest,
    Part,
    Section,
    damaged,
    decode_manifest,
    encode_manifest,
)
from baas.buckets.blobs import BlobStore, Chunk
from baas.errors import DataLoss, NotFound

PART_BYTES = 8 * 1024 * 1024  # of lines; several such pieces are in memory at a time
PART_LINES_BYTES_MAX = 64 * 1024 * 1024  # a part that claims to hold more is not opened
_BACKUP = re.compile(r"[a-z0-9-]{1,60}", re.ASCII)
_SETS = "sets"


class BackupPlace:
    """Backups in a BlobStore, which is closed elsewhere. Raises Unavailable as the store does."""

    def __init__(self, store: BlobStore) -> None:
        self.store = store

    async def write_part(self, backup: str, identifier: str, lines: Sequence[bytes]) -> Part:
        """Durable when it returns. No two writers may use one id."""
        text = b"\n".join(lines) + b"\n"
        data = await asyncio.to_thread(gzip.compress, text, 1, mtime=0)
        await self._write(_key(backup, identifier), data)
        return Part(identifier, len(data), hashlib.sha256(data).hexdigest(), len(lines))

    async def read_section(
        self, backup: str, section: Section, *, skip_parts: int = 0
    ) -> AsyncGenerator[list[bytes]]:
        """The lines of each part in turn, checked. Raises DataLoss (`BackupDamaged`)."""
        for part in section.parts[skip_parts:]:
            yield await self._read_part(backup, part)

    async def _read_part(self, backup: str, part: Part) -> list[bytes]:
        digest = hashlib.sha256()
        pieces: list[Chunk] = []
        try:
            async for chunk in self.store.read(_key(backup, part.id), 0, part.size):
                digest.update(chunk)
                pieces.append(chunk)
        except DataLoss as error:
            raise damaged(backup, f"part {part.id} is missing or cut") from error
        if digest.hexdigest() != part.sha256:
            raise damaged(backup, f"part {part.id} does not match its checksum")
        text = await asyncio.to_thread(_decompress, b"".join(pieces))
        if text is None:
            raise damaged(backup, f"part {part.id} cannot be unpacked")
        lines = text.split(b"\n")[:-1]
        if len(lines) != part.lines:
            raise damaged(backup, f"part {part.id} has {len(lines)} lines, not {part.lines}")
        return lines

    async def write_manifest(self, manifest: Manifest) -> None:
        """From now on there is the backup."""
        await self._write(_key(manifest.id, "manifest"), encode_manifest(manifest))

    async def read_manifest(self, backup: str) -> Manifest:
        """Raises NotFound (`BackupNotFound`), DataLoss (`BackupDamaged`)."""
        data = None
        if _BACKUP.fullmatch(backup):
            data = await self.store.get(_key(backup, "manifest"))
        if data is None:
            raise NotFound(f"there is no backup `{backup[:80]}`", reason="BackupNotFound")
        return decode_manifest(data, backup)

    async def write_checkpoint(self, backup: str, data: bytes) -> None:
        await self.store.put(_key(backup, "checkpoint"), data)

    async def read_checkpoint(self, backup: str) -> bytes | None:
        return await self.store.get(_key(backup, "checkpoint"))

    async def delete_checkpoint(self, backup: str) -> None:
        await self.store.delete([_key(backup, "checkpoint")])

    async def list_backups(self) -> list[str]:
        """Ids, the newest first. A damaged one is among them."""
        found: list[str] = []
        async for batch in self.store.list(f"{_SETS}/"):
            for info in batch:
                _, backup, part = info.key.split("/")
                if part == "manifest" and not info.is_partial:
                    found.append(backup)
        return sorted(found, reverse=True)

    async def delete_backup(self, backup: str) -> None:
        """The manifest first: what is left when this is cut off is no backup any more."""
        await self.store.delete([_key(backup, "manifest")])
        await self.delete_parts(backup)

    async def delete_parts(self, backup: str) -> None:
        async for batch in self.store.list(f"{_SETS}/"):
            for info in [one for one in batch if one.key.split("/")[1] == backup]:
                if info.is_partial:
                    await self.store.delete_partial(info.key)
                else:
                    await self.store.delete([info.key])

    async def _write(self, key: str, data: bytes) -> None:
        await self.store.delete_partial(key)  # of a writer that died
        writer = await self.store.open_writer(key)
        try:
            await writer.write(data)
        except BaseException:
            await writer.abort()
            raise
        await writer.finish()


def is_backup_id(text: str) -> bool:
    return _BACKUP.fullmatch(text) is not None


def _key(backup: str, part: str) -> str:
    return f"{_SETS}/{backup}/{part}"


def _decompress(data: bytes) -> bytes | None:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(data, PART_LINES_BYTES_MAX)
    except zlib.error:
        return None
    return text if unpacker.eof else None
