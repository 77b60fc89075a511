"""Use cases on a project's rules: read, check, deploy, roll back, look at the history. All are for
administrators."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from baas.projects.rules_diff import diff_sources
from baas.projects.rulesets import (
    PLAIN_DEPLOYMENT,
    Deployment,
    PastRelease,
    Release,
    ReleasePage,
    diagnostic_details,
)
from baas.services.admins import check_is_admin
from baas.services.caller import Caller
from baas.services.context import Context

OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class ReleaseDiff:
    """A unified diff of two releases; empty if their sources are alike."""

    old: str
    new: str
    diff: str


async def get_rules(context: Context, caller: Caller, project: str) -> Release:
    """The rules in force; before the first deployment those that deny everything."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    return await context.projects.rulesets.get_release(project)


async def deploy_rules(
    context: Context,
    caller: Caller,
    project: str,
    source: object,
    deployment: Deployment = PLAIN_DEPLOYMENT,
) -> Release:
    """Puts rules in force, for open listeners too. The caller is the author.

    Raises RulesetRejected (`details["diagnostics"]`), FailedPrecondition (`OpenRules`,
    `details["open"]`, unless open rules are allowed; `ReleaseChanged`), NotFound
    (`ProjectNotFound`), InvalidArgument. Nothing changes then.
    """
    check_is_admin(caller)
    await context.projects.get_project(project)
    signed = replace(deployment, author=author_of(caller))
    return await context.projects.rulesets.deploy(project, source, signed)


async def roll_back_rules(
    context: Context, caller: Caller, project: str, release: str, deployment: Deployment
) -> Release:
    """Puts the rules of an old release in force again, as one more release. Raises what
    `deploy_rules` raises, and NotFound (`ReleaseNotFound`)."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    signed = replace(deployment, author=author_of(caller))
    return await context.projects.rulesets.roll_back(project, release, signed)


async def list_releases(
    context: Context, caller: Caller, project: str, *, page_size: int, page_token: str | None
) -> ReleasePage:
    """The history, newest first. Raises InvalidArgument (`InvalidPageToken`)."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    rulesets = context.projects.rulesets
    return await rulesets.list_releases(project, size=page_size, token=page_token)


async def get_past_release(
    context: Context, caller: Caller, project: str, release: str
) -> PastRelease:
    """Raises NotFound (`ReleaseNotFound`)."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    return await context.projects.rulesets.get_past(project, release)


async def diff_releases(
    context: Context, caller: Caller, project: str, old: str, new: str | None
) -> ReleaseDiff:
    """What `new` (None: what is in force) has changed since `old`. Raises NotFound
    (`ReleaseNotFound`)."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    rulesets = context.projects.rulesets
    before = await rulesets.get_past(project, old)
    target = (await rulesets.get_release(project)).ruleset_id if new is None else new
    after = await rulesets.get_past(project, target)
    # Long sources take long; others get their turn meanwhile.
    diff = await asyncio.to_thread(
        diff_sources, before.source, after.source, old_name=old, new_name=target
    )
    return ReleaseDiff(old, target, diff)


async def check_rules(
    context: Context, caller: Caller, project: str, source: object
) -> list[dict[str, Any]]:
    """Every finding, warnings included; nothing is deployed."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    findings = await context.projects.rulesets.check(source)
    return [diagnostic_details(finding) for finding in findings]


def author_of(caller: Caller) -> str:
    """The administrator's e-mail address; "operator" for who is none."""
    email = caller.claims.get("email")
    return OPERATOR if caller.session is None or email is None else str(email)
