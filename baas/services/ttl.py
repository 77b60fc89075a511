"""Use cases on expiry, for administrators: which timestamp field says when documents expire.

Expired documents are deleted in the background by ordinary commits, usually within a minute; until
then they are there. What is no timestamp, or missing, never expires.
"""

from __future__ import annotations

from baas.database.database import Database
from baas.database.indexes import IndexDefinition, IndexField
from baas.database.names import DatabaseName
from baas.errors import AlreadyExists, InvalidPath
from baas.model.paths import FieldPath, check_id
from baas.model.queries import NAME
from baas.model.timestamps import Timestamp
from baas.projects.ttl import TtlPolicy
from baas.services.admins import check_is_admin
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.documents import open_database


async def set_policy(
    context: Context, caller: Caller, name: DatabaseName, collection: str, field: FieldPath
) -> TtlPolicy:
    """Documents of the collection group expire at the time in `field`. Builds an index of it.

    Raises PermissionDenied, NotFound, AlreadyExists (`TtlPolicyExists`), QuotaExceeded
    (`TooManyTtlPolicies`, `TooManyIndexes`), InvalidPath.
    """
    check_is_admin(caller)
    check_id(collection, "collection id")
    if field == NAME:
        raise InvalidPath("`__name__` is no field: name the one that holds the time of expiry")
    database = await open_database(context, name)
    there = await context.ttl_policies.list_all(name)
    if all(one.collection != collection for one in there):
        owns_index = await _build_index(database, index_of(collection, field))
    else:
        owns_index = False  # it will be refused
    policy = TtlPolicy(
        name, collection, field, Timestamp(context.clock.now_microseconds()), owns_index
    )
    return await context.ttl_policies.create(policy)


async def list_policies(context: Context, caller: Caller, name: DatabaseName) -> list[TtlPolicy]:
    """By collection."""
    check_is_admin(caller)
    await open_database(context, name)
    return await context.ttl_policies.list_all(name)


async def delete_policy(
    context: Context, caller: Caller, name: DatabaseName, collection: str
) -> None:
    """Documents do not expire any more. Raises NotFound (`TtlPolicyNotFound`)."""
    check_is_admin(caller)
    database = await open_database(context, name)
    policy = await context.ttl_policies.delete(name, collection)
    index = database.indexes.find(index_of(policy.collection, policy.field))
    if policy.owns_index and index is not None:
        await database.index_keeper.pin(index, pinned=False)


def index_of(collection: str, field: FieldPath) -> IndexDefinition:
    """What finds expired documents at the cost of reading just them."""
    return IndexDefinition(collection, True, (IndexField(field),))


async def _build_index(database: Database, definition: IndexDefinition) -> bool:
    """Whether it was not there, or nobody had asked for it to stay."""
    index = database.indexes.find(definition)
    if index is None:
        try:
            await database.index_keeper.build(definition)
            return True
        except AlreadyExists:
            index = database.indexes.find(definition)
    if index is None or index.is_pinned:
        return False
    await database.index_keeper.pin(index, pinned=True)
    return True
