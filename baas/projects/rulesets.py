"""Rules of projects: a history of rulesets, and the release that says which one is in force.

Before the first deployment everything is denied. Rules that open a path to everybody without a
condition are refused unless that is asked for by name: such rules, forgotten, are how the data of
many apps ended up public.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from baas_rules import Diagnostic, OpenAccess, RulesCheckError, Ruleset, RulesSyntaxError, check

from baas.clock import Clock, new_document_id
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.errors import DataLoss, FailedPrecondition, InvalidArgument, RulesetRejected
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.projects.records import (
    is_deleting,
    project_collection,
    project_document,
    project_not_found,
    project_path,
)
from baas.settings import Settings

DENY_ALL = """rules_version = '2';

service cloud.firestore {
  match /databases/{database}/documents {
    match /{document=**} {
      allow read, write: if false;
    }
  }
}
"""
RULESETS_KEPT_MAX = 100
CACHED_RELEASES_MAX = 1_000
_SERVICE = "cloud.firestore"
# Compiling a larger source is left to a thread: the loop has others to serve.
_INLINE_CHARACTERS_MAX = 8_192


@dataclass(frozen=True, slots=True)
class Release:
    """The rules of a project in force. `ruleset_id` is "default" and `deployed` None before the
    first deployment; `version` is the commit that released it, 0 then."""

    ruleset_id: str
    source: str
    deployed: Timestamp | None
    version: int
    ruleset: Ruleset


class Rulesets:
    """The rules of all projects, compiled once per release."""

    def __init__(self, store: SystemStore, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._cache: dict[str, Release] = {}
        self._epoch = 0
        self._default = Release("default", DENY_ALL, None, 0, Ruleset.parse(DENY_ALL))

    async def get_release(self, project: str) -> Release:
        """What is in force now; from the commit of a deployment on, the new one."""
        release = self._cache.get(project)
        if release is not None:
            return release
        epoch = self._epoch
        database = await self._store.open(None)
        async with database.snapshot() as snapshot:
            (document,) = await snapshot.get_documents([_release_path(project)])
            if document is None:
                release = self._default
            else:
                ruleset_id = str(document.fields["ruleset"])
                path = project_document(project, "rulesets", ruleset_id)
                (stored,) = await snapshot.get_documents([path])
                if stored is None:
                    raise DataLoss(
                        f"the ruleset `{ruleset_id}` of project `{project}` is missing",
                        reason="RulesetMissing",
                    )
                source = str(stored.fields["source"])
                release = Release(
                    ruleset_id,
                    source,
                    document.update_time,
                    document.version,
                    await _compile(source),
                )
        if epoch == self._epoch:
            if len(self._cache) >= CACHED_RELEASES_MAX:
                self._cache.clear()
            self._cache[project] = release
        return release

    async def deploy(self, project: str, source: object, *, allow_open: bool = False) -> Release:
        """Puts rules in force; they apply from the return on, to open listeners too.

        Raises RulesetRejected (`details["diagnostics"]`), FailedPrecondition (`OpenRules`;
        `details["open"]` lists what anybody could do where), NotFound (`ProjectNotFound`).
        """
        text = self._check_source(source)
        ruleset = await _compile(text)
        _check_service(ruleset)
        if not allow_open:
            _check_closed(ruleset)
        ruleset_id = new_document_id(self._clock)

        async def body(transaction: Transaction) -> None:
            (document,) = await transaction.get_documents([project_path(project)])
            if document is None or is_deleting(document):
                raise project_not_found(project)
            stored = project_document(project, "rulesets", ruleset_id)
            release = _release_path(project)
            await transaction.write(
                [
                    SetWrite(stored, {"source": text, "created": transaction.request_time}),
                    SetWrite(release, {"ruleset": ruleset_id}),
                ]
            )

        await self._store.run(None, body)
        await self._drop_old(project)
        return await self.get_release(project)

    async def check(self, source: object) -> list[Diagnostic]:
        """What a deployment would say about the source, warnings included; nothing is stored."""
        text = self._check_source(source)
        if len(text) <= _INLINE_CHARACTERS_MAX:
            return list(check(text))
        return list(await asyncio.to_thread(check, text))

    def forget_all(self) -> None:
        """What is in force is read again, everywhere."""
        self._cache.clear()
        self._epoch += 1

    def forget(self, project: str) -> None:
        """Another ruleset is in force, or the project is gone."""
        self._cache.pop(project, None)
        self._epoch += 1

    def _check_source(self, source: object) -> str:
        maximum = self._settings.limits.ruleset_bytes_max
        if not isinstance(source, str):
            raise InvalidArgument(
                "`source` must be a string", reason="InvalidSource", details={"field": "source"}
            )
        try:
            size = len(source.encode())
        except UnicodeEncodeError as error:
            raise InvalidArgument(
                "`source` is no valid Unicode", reason="InvalidSource", details={"field": "source"}
            ) from error
        if size > maximum:
            raise InvalidArgument(
                f"rules are at most {maximum} bytes, not {size}",
                reason="RulesetTooLarge",
                details={"field": "source", "ruleset_bytes_max": maximum},
            )
        return source

    async def _drop_old(self, project: str) -> None:
        """Keeps the newest rulesets and the one in force."""
        database = await self._store.open(None)
        documents = (
            await database.run_query(Query(project_collection(project, "rulesets")))
        ).documents
        in_force = (await self.get_release(project)).ruleset_id
        oldest = sorted(documents, key=lambda document: document.created)[:-RULESETS_KEPT_MAX]
        doomed: list[Write] = [
            DeleteWrite(document.path)
            for document in oldest
            if document.path.segments[-1] != in_force
        ]

        async def body(transaction: Transaction) -> None:
            await transaction.write(doomed[:400])

        if doomed:
            await self._store.run(None, body)


def diagnostic_details(diagnostic: Diagnostic) -> dict[str, Any]:
    """One finding as it is shown to an app's developer."""
    return {
        "severity": diagnostic.severity.value,
        "message": diagnostic.message,
        "line": diagnostic.line,
        "column": diagnostic.column,
        "end_column": diagnostic.end_column,
        "hint": diagnostic.hint,
        "snippet": diagnostic.snippet(),
    }


def open_access_details(access: OpenAccess) -> dict[str, Any]:
    """What anybody may do where, as it is shown to an app's developer."""
    return {
        "path": access.pattern,
        "methods": list(access.methods),
        "line": access.line,
        "time_bound": access.time_bound,
    }


async def _compile(source: str) -> Ruleset:
    try:
        if len(source) <= _INLINE_CHARACTERS_MAX:
            return Ruleset.parse(source)
        return await asyncio.to_thread(Ruleset.parse, source)
    except (RulesSyntaxError, RulesCheckError) as error:
        diagnostics = [diagnostic_details(one) for one in error.diagnostics]
        first = diagnostics[0]
        raise RulesetRejected(
            f"the rules are not valid: line {first['line']}, column {first['column']}: "
            f"{first['message']}",
            details={"diagnostics": diagnostics},
        ) from error


def _check_service(ruleset: Ruleset) -> None:
    if _SERVICE not in ruleset.services:
        raise RulesetRejected(
            f"the rules have no `service {_SERVICE}`; one file holds it and that of objects",
            details={"diagnostics": []},
        )


def _check_closed(ruleset: Ruleset) -> None:
    found = [open_access_details(access) for access in ruleset.open_access()]
    if found:
        places = ", ".join(f"`{one['path']}` (line {one['line']})" for one in found[:5])
        raise FailedPrecondition(
            f"the rules let everybody in, signed in or not: {places}"
            + (f" and {len(found) - 5} more" if len(found) > 5 else ""),
            reason="OpenRules",
            details={"open": found},
        )


def _release_path(project: str) -> DocumentPath:
    return project_document(project, "releases", _SERVICE)
