"""Documents as the rest of the server sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from baas.model.paths import DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.values import Fields


class DocumentLike(Protocol):
    """What queries and rules need of a document, decoded or not."""

    @property
    def path(self) -> DocumentPath: ...
    @property
    def fields(self) -> Fields: ...
    @property
    def create_time(self) -> Timestamp: ...
    @property
    def update_time(self) -> Timestamp: ...


@dataclass(frozen=True, slots=True)
class Document:
    """One document at one version. `fields` is shared, never changed in place."""

    path: DocumentPath
    fields: Fields
    create_time: Timestamp
    update_time: Timestamp
