"""Use cases on how far back histories and logs reach, for administrators."""

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
    """What was said for the database, what would hold if nothing was, what holds, and what is kept
    now."""

    rule: RetentionRule
    inherited: Reach
    reach: Reach
    kept: Kept


@dataclass(frozen=True, slots=True)
class ProjectRetention:
    """What was said for a project's databases, what would hold if nothing was, and what holds for
    those that say nothing themselves."""

    rule: RetentionRule
    inherited: Reach
    reach: Reach


async def get_retention(context: Context, caller: Caller, name: DatabaseName) -> RetentionState:
    """Raises PermissionDenied, NotFound."""
    check_is_admin(caller)
    await context.projects.check_database(name)
    database = await context.databases.open(name)
    rules = context.retention
    rule, inherited = await rules.get(name), await rules.default_reach(name.project)
    kept = await database.retention.read_kept()
    return RetentionState(rule, inherited, rule.over(inherited), kept)


async def set_retention(
    context: Context, caller: Caller, name: DatabaseName, rule: RetentionRule
) -> RetentionState:
    """Takes effect within a minute. What is forgotten does not come back if more is kept again.
    Raises PermissionDenied, NotFound, InvalidArgument (`InvalidRetention`)."""
    check_is_admin(caller)
    await context.retention.set(name, rule)
    return await get_retention(context, caller, name)


async def get_project_retention(context: Context, caller: Caller, project: str) -> ProjectRetention:
    """Raises PermissionDenied, NotFound."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    rule, usual = await context.retention.get_default(project), context.retention.usual
    return ProjectRetention(rule, usual, rule.over(usual))


async def set_project_retention(
    context: Context, caller: Caller, project: str, rule: RetentionRule
) -> ProjectRetention:
    """Of all databases that say nothing themselves; else as `set_retention`."""
    check_is_admin(caller)
    await context.retention.set_default(project, rule)
    return await get_project_retention(context, caller, project)
