"""Use cases on how far back a database's history and log reach, for administrators."""

from __future__ import annotations

from dataclasses import dataclass

from baas.database.names import DatabaseName
from baas.database.retention import Kept, Reach
from baas.projects.retention import RetentionRule
from baas.services.admins import check_is_admin
from baas.services.caller import Caller
from baas.services.context import Context


@dataclass(frozen=True, slots=True)
class RetentionState:
    """What was said for the database, what holds therefore, and what is kept now."""

    rule: RetentionRule
    reach: Reach
    kept: Kept


async def get_retention(context: Context, caller: Caller, name: DatabaseName) -> RetentionState:
    """Raises PermissionDenied, NotFound."""
    check_is_admin(caller)
    await context.projects.check_database(name)
    database = await context.databases.open(name)
    rules = context.retention
    return RetentionState(
        await rules.get(name), await rules.reach(name), await database.retention.read_kept()
    )


async def set_retention(
    context: Context, caller: Caller, name: DatabaseName, rule: RetentionRule
) -> RetentionState:
    """Takes effect within a minute. What is forgotten does not come back if more is kept again.
    Raises PermissionDenied, NotFound, InvalidArgument (`InvalidRetention`)."""
    check_is_admin(caller)
    await context.retention.set(name, rule)
    return await get_retention(context, caller, name)
