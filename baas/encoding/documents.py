"""The one stored form of a document, and a document that is decoded only when somebody looks."""

from __future__ import annotations

import orjson

from baas.encoding import json_values
from baas.errors import DataLoss, InvalidValue
from baas.model.documents import Document
from baas.model.paths import DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.values import Fields


def encode_fields(fields: Fields) -> bytes:
    """Canonical bytes: compact JSON text of the native JSON form, keys sorted, UTF-8.

    Equal bytes mean identical fields, types included. Raises InvalidValue for what no document
    can hold, such as a string with a lone surrogate.
    """
    try:
        tree = json_values.encode_fields_tree(fields)
        return _fitting(orjson.dumps(tree, option=orjson.OPT_SORT_KEYS))
    except orjson.JSONEncodeError as error:
        raise InvalidValue(f"the fields cannot be stored: {error}") from error


def encode_plain_fields(fields: Fields) -> bytes:
    """As `encode_fields`, for fields that `decode_fields_tree` found to be their own encoding."""
    return _fitting(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS))


def _fitting(data: bytes) -> bytes:
    """The same in memory of its size. What orjson gives stands in a block of kilobytes that was cut
    short, between holes that the next block does not fit into: of 10,000 recent documents of 300
    bytes 39 MiB, and 3 of copies."""
    return bytes(memoryview(data))


def decode_fields(data: bytes) -> Fields:
    """The inverse of `encode_fields`. Raises DataLoss if these are no canonical bytes."""
    try:
        tree = orjson.loads(data)
        if type(tree) is not dict:
            raise DataLoss("stored fields are no JSON object")
        # No key and no string starts with `$`: no tag anywhere, and the tree is the value.
        if b'"$' not in data:
            return tree
        return json_values.restore_fields_tree(tree)
    except (orjson.JSONDecodeError, InvalidValue, IndexError) as error:
        raise DataLoss(f"stored fields cannot be read: {error}") from error


class StoredDocument:
    """A document as an engine keeps it: canonical bytes and two versions. Immutable.

    `path` may be given as text that was checked before. It and `fields` are decoded on first use
    and then kept; the fields must not be changed in place.
    """

    __slots__ = ("__weakref__", "_fields", "_path", "created", "data", "version")

    distance_meters: float | None = None  # from where a near query asked

    def __init__(
        self,
        path: DocumentPath | str,
        data: bytes,
        created: int,
        version: int,
        fields: Fields | None = None,
    ) -> None:
        self._path = path
        self.data = data
        self.created = created  # commit version of the creation, microseconds
        self.version = version  # commit version of the last change, microseconds
        self._fields = fields

    @property
    def path(self) -> DocumentPath:
        path = self._path
        if isinstance(path, str):
            path = self._path = DocumentPath(tuple(path.split("/")))
        return path

    @property
    def name(self) -> str:
        """The path as text."""
        return str(self._path)

    @property
    def fields(self) -> Fields:
        if self._fields is None:
            self._fields = decode_fields(self.data)
        return self._fields

    def forget_fields(self) -> None:
        """Lets go of what was decoded; to be decoded again if somebody looks."""
        self._fields = None

    @property
    def is_erased(self) -> bool:
        """Whether this is what is left of an image that was erased: its versions."""
        return not self.data

    @property
    def create_time(self) -> Timestamp:
        return Timestamp(self.created)

    @property
    def update_time(self) -> Timestamp:
        return Timestamp(self.version)

    def decode(self) -> Document:
        return Document(self.path, self.fields, self.create_time, self.update_time)


class DistantDocument(StoredDocument):
    """A document as a near query tells it."""

    __slots__ = ("distance_meters",)

    def __init__(self, document: StoredDocument, distance_meters: float | None) -> None:
        super().__init__(
            document._path, document.data, document.created, document.version, document._fields
        )
        self.distance_meters = distance_meters
