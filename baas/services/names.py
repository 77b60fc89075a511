"""Use cases on names: which collections are below a document, and which documents a collection
names, those that do not exist among them. For administrators and secret keys: no rule can allow
either."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from baas.database.children import Child
from baas.database.names import DatabaseName
from baas.errors import BaasError, InvalidArgument, PermissionDenied
from baas.model.paths import CollectionPath, DocumentPath, check_id
from baas.model.timestamps import Timestamp
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.documents import list_collection_ids, open_database, read_time


@dataclass(frozen=True, slots=True)
class CollectionPage:
    """Ids of collections, sorted."""

    ids: list[str]
    next_token: str | None


@dataclass(frozen=True, slots=True)
class ChildrenPage:
    """Documents by name, None for one that does not exist, all of one instant."""

    children: list[Child]
    read_time: Timestamp
    next_token: str | None


async def list_collections(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    parent: DocumentPath | None,
    *,
    page_size: int,
    page_token: str | None = None,
) -> CollectionPage:
    """The collections below a document, or at the root for None: those that hold a document, or
    under which there is one. Raises PermissionDenied, InvalidArgument (`InvalidPageToken`)."""
    found = await list_collection_ids(context, caller, name, parent)
    if page_token is not None:
        after = _read_token(page_token).encode()
        found = [one for one in found if one.encode() > after]
    page = found[:page_size]
    return CollectionPage(page, make_name_token(page[-1]) if len(found) > page_size else None)


async def list_children(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    collection: CollectionPath,
    *,
    page_size: int,
    page_token: str | None = None,
) -> ChildrenPage:
    """A page of a collection by name, with documents that do not exist and have something below.
    Raises PermissionDenied, InvalidArgument (`InvalidPageToken`)."""
    if not caller.bypasses_rules:
        raise PermissionDenied()
    after = None if page_token is None else read_name_token(collection, page_token)
    database = await open_database(context, name)
    async with database.snapshot() as snapshot:
        found = await snapshot.list_children(collection, after=after, limit=page_size + 1)
        time = read_time(context, snapshot.version)
    page = found[:page_size]
    token = make_name_token(page[-1][0].id) if len(found) > page_size else None
    return ChildrenPage(page, time, token)


def make_name_token(name: str) -> str:
    """For the page behind a name. It tells nothing that the page did not, so it needs no seal."""
    return base64.urlsafe_b64encode(name.encode()).decode("ascii").rstrip("=")


def read_name_token(collection: CollectionPath, token: str) -> DocumentPath:
    """The document behind which the page begins. Raises InvalidArgument (`InvalidPageToken`)."""
    return collection.document(_read_token(token))


def _read_token(token: str) -> str:
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        name = data.decode()
        check_id(name)
    except (ValueError, BaasError) as error:
        raise InvalidArgument(
            "`page_token` is not a token that this list has given", reason="InvalidPageToken"
        ) from error
    return name
