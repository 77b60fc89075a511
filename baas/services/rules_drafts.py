"""Rules that are asked without being in force: a draft, or what is in force if there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from baas_rules import Ruleset

from baas.services.context import Context

T = TypeVar("T")
# Tests run for seconds. Few threads of their own: neither the loop nor other work waits for them.
_THREADS = ThreadPoolExecutor(2, thread_name_prefix="rules")


async def open_rules(
    context: Context, project: str, source: object | None
) -> tuple[Ruleset, str | None]:
    """The rules to ask, and the id of their release; None for a draft, `source`. Raises
    RulesetRejected (`details["diagnostics"]`), InvalidArgument."""
    rulesets = context.projects.rulesets
    if source is not None:
        return await rulesets.compile(source), None
    release = await rulesets.get_release(project)
    return release.ruleset, release.ruleset_id


async def in_thread(work: Callable[[], T]) -> T:
    """What takes long, beside the loop. Cancelled, it goes on to its own end."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)
