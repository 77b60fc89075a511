"""Use cases on indexes, for administrators: list, build, pin, drop. Queries are right without them;
they tell what is there, and spare the first query its wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from baas.database.database import Database
from baas.database.indexes import (
    Index,
    IndexDefinition,
    IndexField,
    IndexKind,
    is_reserved_collection,
)
from baas.database.names import DatabaseName
from baas.errors import InvalidArgument, NotFound, PermissionDenied
from baas.model.paths import check_id
from baas.model.queries import NAME
from baas.model.timestamps import Timestamp
from baas.model.words import TOKENIZER
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.documents import open_database

FIELDS_MAX = 20


@dataclass(frozen=True, slots=True)
class IndexPage:
    """Indexes by number; `next_page_token` if there are more."""

    indexes: list[Index]
    next_page_token: str | None


async def list_indexes(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    *,
    collection_id: str | None,
    page_size: int,
    page_token: str | None = None,
) -> IndexPage:
    """The indexes of a database, or of one collection id, dropped ones not among them."""
    database = await _open(context, caller, name)
    after = _read_token(page_token)
    found = sorted(
        [
            index
            for index in database.indexes
            if index.number > after
            and collection_id in (None, index.definition.collection_id)
            and not is_reserved_collection(index.definition.collection_id)
        ],
        key=lambda index: index.number,
    )
    page = found[:page_size]
    return IndexPage(page, str(page[-1].number) if len(found) > page_size else None)


async def build_index(
    context: Context, caller: Caller, name: DatabaseName, definition: IndexDefinition
) -> Index:
    """Begins to fill an index, which stays however idle. Raises AlreadyExists, InvalidArgument,
    QuotaExceeded (`TooManyIndexes`)."""
    database = await _open(context, caller, name)
    _check_definition(definition)
    definition = _as_searched(definition)
    await database.index_keeper.build(definition)
    return _known(database.indexes.find(definition), "of this definition")


async def pin_index(
    context: Context, caller: Caller, name: DatabaseName, number: str, *, pinned: bool
) -> Index:
    """Whether the index is kept however long no query uses it. Raises NotFound."""
    database = await _open(context, caller, name)
    index = _find(database, number)
    await database.index_keeper.pin(index, pinned=pinned)
    return _find(database, number)


async def drop_index(context: Context, caller: Caller, name: DatabaseName, number: str) -> None:
    """Queries do without it from now on; what it took is given back in the background. Raises
    NotFound."""
    database = await _open(context, caller, name)
    await database.index_keeper.drop(_find(database, number))


def used_at(index: Index, now: Timestamp) -> Timestamp | None:
    """When a query last used it, to about a day; None for one that is not known to be used."""
    if index.uses != index.noted_uses:
        return now
    return Timestamp(index.used_at) if index.used_at else None


async def _open(context: Context, caller: Caller, name: DatabaseName) -> Database:
    if not caller.bypasses_rules:
        raise PermissionDenied()
    return await open_database(context, name)


def _find(database: Database, number: str) -> Index:
    found = [index for index in database.indexes if str(index.number) == number]
    return _known(found[0] if found else None, f"`{number[:40]}`")


def _known(index: Index | None, which: str) -> Index:
    if index is None:
        raise NotFound(f"there is no index {which}", reason="IndexNotFound")
    return index


def _check_definition(definition: IndexDefinition) -> None:
    check_id(definition.collection_id, "collection id")
    fields = definition.fields
    if not fields or len(fields) > FIELDS_MAX:
        raise _invalid(f"an index has 1 to {FIELDS_MAX} fields, not {len(fields)}")
    kinds = [field.kind for field in fields]
    if kinds.count(IndexKind.ARRAY) > 1:
        raise _invalid("an index can hold the elements of one array only")
    if IndexKind.WORDS in kinds:
        _check_words(fields)
    if any(field.kind is IndexKind.CELL for field in fields[:-1]):
        raise _invalid("the cells of a geo point come last in an index")
    if fields[-1].kind is IndexKind.CELL and fields[-1].descending:
        raise _invalid("the cells of a geo point have no direction")
    paths = [field.path for field in fields]
    if NAME in paths:
        raise _invalid("every index ends with `__name__`; leave it out")
    if len(set(paths)) < len(paths):
        raise _invalid("an index names a field once")


def _as_searched(definition: IndexDefinition) -> IndexDefinition:
    """An index of words as searches look for it."""
    if not definition.words:
        return definition
    fields = sorted(
        definition.fields, key=lambda field: (field.kind is IndexKind.WORDS, field.path.segments)
    )
    return replace(definition, fields=tuple(fields), tokenizer=TOKENIZER)


def _check_words(fields: Sequence[IndexField]) -> None:
    for field in fields:
        if field.kind not in (IndexKind.PLAIN, IndexKind.WORDS):
            raise _invalid(f"an index of words cannot hold `{field.kind.value}`, too")
        if field.descending:
            raise _invalid("an index of words has no directions")


def _read_token(token: str | None) -> int:
    if token is None:
        return -1
    if not token.isascii() or not token.isdigit() or len(token) > 18:
        raise InvalidArgument(
            "`page_token` is not a token that this list has given", reason="InvalidPageToken"
        )
    return int(token)


def _invalid(message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="InvalidIndex")
