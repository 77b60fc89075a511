"""What a job does next, as each kind of job says it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from baas.encoding.documents import StoredDocument
from baas.errors import BaasError
from baas.model.paths import DocumentPath
from baas.model.writes import Write

CHUNK_DOCUMENTS_MAX = 500
CHUNK_BYTES_MAX = 8 * 1024 * 1024

MakeWrite: TypeAlias = Callable[[DocumentPath, StoredDocument | None], Write | None]
"""What becomes of a document as it is when the chunk is committed; None leaves it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One chunk: the documents that are looked at, and where the next one begins. `unfit` are those
    that nothing can be done with, and why."""

    paths: Sequence[DocumentPath]
    make: MakeWrite
    cursor: str | None
    is_last: bool
    unfit: Mapping[tuple[str, ...], BaasError] = field(default_factory=dict)
