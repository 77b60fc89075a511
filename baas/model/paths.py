"""Names: of documents, of collections, of fields within a document."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CollectionPath:
    """An odd number of segments, relative to the database: `users` or `users/ada/orders`."""

    segments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DocumentPath:
    """An even number of segments, relative to the database: `users/ada`."""

    segments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A field within a document: one or more names."""

    segments: tuple[str, ...]
