"""Use cases on a project's rules: read, check, deploy. All are for administrators."""

from __future__ import annotations

from typing import Any

from baas.projects.rulesets import Release, diagnostic_details
from baas.services.admins import check_is_admin
from baas.services.caller import Caller
from baas.services.context import Context


async def get_rules(context: Context, caller: Caller, project: str) -> Release:
    """The rules in force; before the first deployment those that deny everything."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    return await context.projects.rulesets.get_release(project)


async def deploy_rules(
    context: Context, caller: Caller, project: str, source: object, *, allow_open: bool = False
) -> Release:
    """Puts rules in force, for open listeners too.

    Raises RulesetRejected (`details["diagnostics"]`), FailedPrecondition (`OpenRules`,
    `details["open"]`) unless `allow_open`, NotFound (`ProjectNotFound`), InvalidArgument.
    """
    check_is_admin(caller)
    await context.projects.get_project(project)
    return await context.projects.rulesets.deploy(project, source, allow_open=allow_open)


async def check_rules(
    context: Context, caller: Caller, project: str, source: object
) -> list[dict[str, Any]]:
    """Every finding, warnings included; nothing is deployed."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    findings = await context.projects.rulesets.check(source)
    return [diagnostic_details(finding) for finding in findings]
