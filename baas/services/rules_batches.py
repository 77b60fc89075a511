"""The playground's batches: several writes that would be one commit, put to a draft or to the rules
in force, each with every step of its decision. Nothing is ever written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from baas_rules import Auth, Decision, Explanation, Lookup, Request, ResourceDocument, Ruleset
from baas_rules.decision import WRITE_METHODS

from baas.database.names import DEFAULT_DATABASE, DatabaseName
from baas.errors import InvalidArgument
from baas.model.paths import DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.services.admins import check_is_admin
from baas.services.authorizer import BATCH_LOOKUPS_MAX
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.documents import request_time
from baas.services.rule_values import rule_time
from baas.services.rules_drafts import in_thread, open_rules
from baas.services.rules_trials import (
    LIVE,
    NOBODY,
    Stored,
    TrialCaller,
    check_settled,
    checked_after,
    document_request,
    explain,
    find_document,
    settle,
    trial_auth,
)
from baas.services.rules_worlds import TrialWorld


@dataclass(frozen=True, slots=True)
class TrialWrite:
    """One document of the batch: `create`, `update`, `delete`, or `get`, which is what the rules
    call a verify. `after` is the document once the whole batch is written."""

    method: str
    path: str
    before: Fields | Stored | None = LIVE
    after: Fields | None = None


@dataclass(frozen=True, slots=True)
class BatchTrial:
    """What is tried: as a Trial, but of several writes."""

    writes: Sequence[TrialWrite]
    database: str = DEFAULT_DATABASE
    caller: TrialCaller = NOBODY
    documents: Mapping[str, Fields | None] = field(default_factory=dict)
    time: Timestamp | None = None
    source: object | None = None


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The decision about one write; `before` is the document that the rules saw."""

    explanation: Explanation
    before: Fields | None


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The commit is allowed if every write is, and if all of them together look up at most
    BATCH_LOOKUPS_MAX documents. `looked_up` counts those that grants rest on."""

    writes: list[WriteResult]
    looked_up: int
    release: str | None
    time: Timestamp
    auth: Auth | None
    documents: Mapping[Lookup, Fields | None]

    @property
    def is_within_lookups(self) -> bool:
        return self.looked_up <= BATCH_LOOKUPS_MAX

    @property
    def allowed(self) -> bool:
        return self.is_within_lookups and all(one.explanation.allowed for one in self.writes)


async def explain_batch(
    context: Context, caller: Caller, project: str, trial: BatchTrial
) -> BatchResult:
    """Explains each write, as part of a commit of all of them: `get` sees what is there before,
    `getAfter` what is there once all is written. Raises RulesetRejected, InvalidArgument
    (`DuplicatePath`), InvalidPath, NotFound (`ProjectNotFound`, `DatabaseNotFound`,
    `UserNotFound`), FailedPrecondition (`NothingToUpdate`, `TooManyLookups`)."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    ruleset, release = await open_rules(context, project, trial.source)
    time = trial.time or request_time(context)
    auth = await trial_auth(context, project, trial.caller, time)
    name = DatabaseName(project, trial.database)
    await context.projects.check_database(name)
    paths = _distinct_paths(trial.writes)
    async with AsyncExitStack() as stack:
        world = TrialWorld(context, project, trial.database, trial.documents, stack)
        befores = await _lay_out(world, paths, trial.writes)
        requests = [
            document_request(
                name,
                write.method,
                path,
                auth,
                rule_time(time),
                before=before,
                after=world.after.get(path),
            )
            for write, path, before in zip(trial.writes, paths, befores, strict=True)
        ]
        decisions, documents = await _decide(ruleset, requests, world)
    explanations = await in_thread(
        lambda: [explain(ruleset, request, documents) for request in requests]
    )
    results = [WriteResult(*told) for told in zip(explanations, befores, strict=True)]
    granted = [decision.lookups for decision in decisions if decision.allowed]
    looked_up = len(frozenset[Lookup]().union(*granted))
    return BatchResult(results, looked_up, release, time, auth, world.looked_up)


def _distinct_paths(writes: Sequence[TrialWrite]) -> list[DocumentPath]:
    """A commit asks the rules once for each document."""
    paths: dict[DocumentPath, None] = {}
    for at, write in enumerate(writes):
        path = DocumentPath.parse(write.path)
        if path in paths:
            raise InvalidArgument(
                f"`{path}` is written twice: the rules are asked once for each document, with what "
                "is there after the whole batch",
                reason="DuplicatePath",
                details={"field": f"writes[{at}].path"},
            )
        paths[path] = None
    return list(paths)


async def _lay_out(
    world: TrialWorld, paths: Sequence[DocumentPath], writes: Sequence[TrialWrite]
) -> list[Fields | None]:
    """What each document is before the batch; the world knows it, and what it is afterwards."""
    befores = []
    for at, (path, write) in enumerate(zip(paths, writes, strict=True)):
        before = await find_document(world, path, write.method, write.before)
        world.given[path] = before
        if write.method in WRITE_METHODS:
            world.after[path] = checked_after(
                write.method, write.path, before, write.after, f"writes[{at}].after"
            )
        befores.append(before)
    return befores


async def _decide(
    ruleset: Ruleset, requests: Sequence[Request], world: TrialWorld
) -> tuple[list[Decision], Mapping[Lookup, ResourceDocument | None]]:
    """A batch looks a document up once, for whichever of its writes."""
    documents: dict[Lookup, ResourceDocument | None] = {}
    decisions = []
    for request in requests:
        decision, _ = await settle(ruleset, request, world, documents)
        check_settled(decision)
        decisions.append(decision)
    return decisions, documents
