"""Use cases on denials by rules: what the app's developer is told. For administrators."""

from __future__ import annotations

from dataclasses import dataclass

from baas.errors import InvalidArgument
from baas.services.admins import check_is_admin
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.denial_traces import Counts, Denial


@dataclass(frozen=True, slots=True)
class DenialFilter:
    """What is looked for; None is anything. `path` takes what is below it too."""

    request_id: str | None = None
    path: str | None = None
    uid: str | None = None
    method: str | None = None

    def matches(self, denial: Denial) -> bool:
        asked = denial.trace.asked
        if self.request_id not in (None, denial.request_id):
            return False
        if self.uid not in (None, asked.uid) or self.method not in (None, asked.method):
            return False
        if self.path is None:
            return True
        wanted = tuple(self.path.strip("/").split("/"))
        return asked.path[: len(wanted)] == wanted


@dataclass(frozen=True, slots=True)
class DenialPage:
    """Newest first."""

    denials: list[Denial]
    counts: Counts
    next_token: str | None


async def list_denials(
    context: Context,
    caller: Caller,
    project: str,
    wanted: DenialFilter,
    *,
    page_size: int,
    page_token: str | None,
) -> DenialPage:
    """The denials that this server has explained and still keeps. Raises InvalidArgument
    (`InvalidPageToken`)."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    before = _decode_token(page_token)
    found: list[Denial] = []
    for denial in context.denials.newest(project):
        if denial.number < before and wanted.matches(denial):
            found.append(denial)
            if len(found) > page_size:
                break
    next_token = str(found[page_size - 1].number) if len(found) > page_size else None
    return DenialPage(found[:page_size], context.denials.counts(project), next_token)


def _decode_token(token: str | None) -> int:
    if token is None:
        return 2**63
    if not (token.isascii() and token.isdigit() and len(token) <= 18):
        raise InvalidArgument("`page_token` is none of this list", reason="InvalidPageToken")
    return int(token)
