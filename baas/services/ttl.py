"""Use cases on expiry, for administrators: which timestamp field says when documents expire.

Expired documents are deleted in the background by ordinary commits, usually within a minute; until
then they are there. What is no timestamp, or missing, never expires.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    _check_policy(collection, field)
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


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """Documents of a collection group expire by `field` in place of `was`; None: not at all."""

    collection: str
    field: FieldPath | None
    was: FieldPath | None


@dataclass(frozen=True, slots=True)
class Deployment:
    """The policies as they are now, and what was, or would be, changed."""

    policies: list[TtlPolicy]
    changes: list[PolicyChange]


async def replace_policies(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    wanted: Mapping[str, FieldPath],
    *,
    dry_run: bool,
) -> Deployment:
    """Puts policies in the place of all that there are, all or none, by one commit. Those that are
    the same stay, and go on counting. Builds the indexes that are wanted before. With `dry_run`
    nothing is changed. Raises as `set_policy`, but AlreadyExists."""
    check_is_admin(caller)
    for collection, field in wanted.items():
        _check_policy(collection, field)
    database = await open_database(context, name)
    policies = context.ttl_policies
    policies.check_count(len(wanted))
    there = {one.collection: one for one in await policies.list_all(name)}
    changes = _changes(there, wanted)
    if dry_run or not changes:
        return Deployment([*there.values()], changes)
    now = Timestamp(context.clock.now_microseconds())
    made: list[TtlPolicy] = []
    try:
        for collection, field in wanted.items():
            known = there.get(collection)
            is_new = known is None or known.field != field
            owns_index = is_new and await _build_index(database, index_of(collection, field))
            made.append(TtlPolicy(name, collection, field, now, owns_index))
        kept, gone = await policies.replace(name, made)
    except BaseException:
        await _release(database, made)
        raise
    await _release(database, gone)
    return Deployment(sorted(kept, key=lambda one: one.collection), changes)


def _check_policy(collection: str, field: FieldPath) -> None:
    check_id(collection, "collection id")
    if field == NAME:
        raise InvalidPath("`__name__` is no field: name the one that holds the time of expiry")


def _changes(there: Mapping[str, TtlPolicy], wanted: Mapping[str, FieldPath]) -> list[PolicyChange]:
    """What goes first, then what comes or becomes another."""
    ended = [PolicyChange(one, None, there[one].field) for one in there if one not in wanted]
    fields = {collection: one.field for collection, one in there.items()}
    return ended + [
        PolicyChange(collection, field, fields.get(collection))
        for collection, field in wanted.items()
        if fields.get(collection) != field
    ]


async def _release(database: Database, policies: Sequence[TtlPolicy]) -> None:
    """Indexes that were built for policies which are no more go when they are idle."""
    for policy in policies:
        index = database.indexes.find(index_of(policy.collection, policy.field))
        if policy.owns_index and index is not None:
            await database.index_keeper.pin(index, pinned=False)


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
    await _release(database, [await context.ttl_policies.delete(name, collection)])


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
