"""Rules of projects: a history of releases, and a document that says which one is in force.

Before the first deployment everything is denied. Rules that open a path to everybody without a
condition are refused unless that is asked for by name: such rules, forgotten, are how the data of
many apps ended up public.

A release is never changed. To roll back is one more release, with the source of an old one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from baas_rules import (
    Diagnostic,
    OpenAccess,
    RulesCheckError,
    Ruleset,
    RulesSyntaxError,
    check,
    lint,
)

from baas.clock import Clock, new_document_id
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.encoding.documents import StoredDocument
from baas.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound, RulesetRejected
from baas.model.paths import DocumentPath, FieldPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.writes import DeleteWrite, SetWrite, Write
from baas.projects.records import (
    is_deleting,
    is_id,
    project_collection,
    project_document,
    project_not_found,
    project_path,
)
from baas.settings import Settings, may_be_open

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
MESSAGE_CHARACTERS_MAX = 1_000
DEFAULT_RELEASE = "default"  # the id of what is in force before the first deployment
_SERVICE = "cloud.firestore"
# Compiling a larger source is left to a thread: the loop has others to serve.
_INLINE_CHARACTERS_MAX = 8_192
_NOTED = tuple(FieldPath((name,)) for name in ("author", "message", "rollback_of"))
_log = structlog.get_logger("baas.rules")


@dataclass(frozen=True, slots=True)
class ReleaseNote:
    """What is told of a release beside its source. `deployed` None: before the first deployment.
    `author` is an administrator's e-mail address or "operator"; None where it was not kept."""

    id: str
    deployed: Timestamp | None
    author: str | None = None
    message: str = ""
    rollback_of: str | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """The rules of a project in force. `version` is the commit that released it, 0 before the
    first deployment. What was deployed once and is not valid any more (`is_broken`: an earlier
    version of this server took it) denies everything."""

    note: ReleaseNote
    source: str
    version: int
    ruleset: Ruleset
    is_broken: bool = False

    @property
    def ruleset_id(self) -> str:
        return self.note.id


@dataclass(frozen=True, slots=True)
class PastRelease:
    """One of the history."""

    note: ReleaseNote
    source: str
    is_in_force: bool


@dataclass(frozen=True, slots=True)
class ReleasePage:
    """Newest first."""

    notes: list[ReleaseNote]
    in_force: str
    next_token: str | None


@dataclass(frozen=True, slots=True)
class Deployment:
    """How a deployment is made. With `if_release`, only if that one is in force."""

    author: str | None = None
    message: object = ""
    allow_open: bool = False
    if_release: str | None = None
    rollback_of: str | None = None


PLAIN_DEPLOYMENT = Deployment()


class Rulesets:
    """The rules of all projects, compiled once per release."""

    def __init__(self, store: SystemStore, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._cache: dict[str, Release] = {}
        self._epoch = 0
        default = ReleaseNote(DEFAULT_RELEASE, None)
        self._default = Release(default, DENY_ALL, 0, Ruleset.parse(DENY_ALL))

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
                release = await self._open(project, stored, document.version)
        if epoch == self._epoch:
            if len(self._cache) >= CACHED_RELEASES_MAX:
                self._cache.clear()
            self._cache[project] = release
        return release

    async def _open(self, project: str, stored: StoredDocument, version: int) -> Release:
        source = str(stored.fields["source"])
        try:
            return Release(_note(stored), source, version, await _compile(source))
        except RulesetRejected as error:
            # Callers of the app must neither get in nor read why, which quotes the rules.
            _log.error(
                "the rules in force are not valid any more: everything is denied",
                project=project,
                release=stored.path.segments[-1],
                error=error.message,
            )
            denied = self._default.ruleset
            return Release(_note(stored), source, version, denied, is_broken=True)

    def find_release_id(self, project: str, ruleset: Ruleset) -> str | None:
        """The id of a compiled ruleset, if it is the one in force; from memory."""
        release = self._cache.get(project)
        return None if release is None or release.ruleset is not ruleset else release.ruleset_id

    async def deploy(
        self,
        project: str,
        source: object,
        deployment: Deployment = PLAIN_DEPLOYMENT,
        *,
        allow_open: bool = False,
    ) -> Release:
        """Puts rules in force; they apply from the return on, to open listeners too.

        Raises RulesetRejected (`details["diagnostics"]`), FailedPrecondition (`OpenRules`:
        `details["open"]` lists what anybody could do where; `ReleaseChanged`: `details["release"]`
        is in force, and not `if_release`), NotFound (`ProjectNotFound`), InvalidArgument.
        """
        text = self._check_source(source)
        message = _check_message(deployment.message)
        ruleset = await _compile(text)
        _check_service(ruleset)
        if not (allow_open or deployment.allow_open):
            _check_closed(ruleset)
        ruleset_id = new_document_id(self._clock)

        async def body(transaction: Transaction) -> None:
            release = _release_path(project)
            paths = [project_path(project), release]
            (document, current) = await transaction.get_documents(paths)
            if document is None or is_deleting(document):
                raise project_not_found(project)
            _check_current(current, deployment.if_release)
            stored = project_document(project, "rulesets", ruleset_id)
            await transaction.write(
                [
                    SetWrite(
                        stored,
                        {
                            "source": text,
                            "created": transaction.request_time,
                            "author": deployment.author,
                            "message": message,
                            "rollback_of": deployment.rollback_of,
                        },
                    ),
                    SetWrite(release, {"ruleset": ruleset_id}),
                ]
            )

        await self._store.run(None, body)
        await self._drop_old(project)
        self._warn_of_open(project, ruleset)
        return await self.get_release(project)

    def _warn_of_open(self, project: str, ruleset: Ruleset) -> None:
        settings = self._settings
        if settings.dev or may_be_open(settings, project) or not ruleset.open_access():
            return
        _log.warning(
            "rules that let anybody in were deployed; the server will not start again unless the "
            "setting `open_rules` names the project",
            project=project,
        )

    async def check_none_open(self, projects: Iterable[str]) -> None:
        """For production: raises FailedPrecondition (`OpenRulesInForce`) if the rules in force of a
        project let anybody in, unless the setting `open_rules` names it. `details["projects"]` and
        the message tell the paths."""
        found = {}
        for project in projects:
            if may_be_open(self._settings, project):
                continue
            ruleset = (await self.get_release(project)).ruleset
            opened = await asyncio.to_thread(ruleset.open_access)
            if opened:
                found[project] = [open_access_details(access) for access in opened]
        if found:
            told = "; ".join(
                f"project `{project}`: {_places(opened)}" for project, opened in found.items()
            )
            raise FailedPrecondition(
                f"rules in force let everybody in, signed in or not: {told}. Deploy others, or "
                f"name what is meant to be public: open_rules = {','.join(found)}",
                reason="OpenRulesInForce",
                details={"projects": found},
            )

    async def roll_back(self, project: str, release: str, deployment: Deployment) -> Release:
        """Deploys the source of an old release, as one more. Raises what `deploy` raises, and
        NotFound (`ReleaseNotFound`)."""
        old = await self.get_past(project, release)
        return await self.deploy(project, old.source, replace(deployment, rollback_of=old.note.id))

    async def get_past(self, project: str, release: str) -> PastRelease:
        """A release of the history. Raises NotFound (`ReleaseNotFound`)."""
        in_force = await self.get_release(project)
        if release == in_force.ruleset_id:
            return PastRelease(in_force.note, in_force.source, is_in_force=True)
        if release == DEFAULT_RELEASE:
            return PastRelease(self._default.note, DENY_ALL, is_in_force=False)
        if not is_id(release):
            raise _release_not_found(release)
        database = await self._store.open(None)
        path = project_document(project, "rulesets", release)
        (stored,) = await database.get_documents([path])
        if stored is None:
            raise _release_not_found(release)
        return PastRelease(_note(stored), str(stored.fields["source"]), is_in_force=False)

    async def list_releases(self, project: str, *, size: int, token: str | None) -> ReleasePage:
        """The history, newest first. Raises InvalidArgument (`InvalidPageToken`)."""
        before = _decode_token(token)
        in_force = await self.get_release(project)
        database = await self._store.open(None)
        query = Query(project_collection(project, "rulesets"), select=_NOTED)
        documents = [
            document
            for document in (await database.run_query(query)).documents
            if document.created < before
        ]
        documents.sort(key=lambda document: -document.created)
        notes = [_note(document) for document in documents[:size]]
        more = len(documents) > size
        next_token = str(documents[size - 1].created) if more else None
        return ReleasePage(notes, in_force.ruleset_id, next_token)

    async def check(self, source: object) -> list[Diagnostic]:
        """What a deployment would say about the source, and what lint warns of; nothing is
        stored."""
        text = self._check_source(source)
        if len(text) <= _INLINE_CHARACTERS_MAX:
            return _findings(text)
        return await asyncio.to_thread(_findings, text)

    async def compile(self, source: object) -> Ruleset:
        """A draft, to be asked without being deployed. Raises RulesetRejected, InvalidArgument."""
        return await _compile(self._check_source(source))

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
        "code": diagnostic.code,
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


def _findings(source: str) -> list[Diagnostic]:
    """Errors first; lint has nothing to say where there are errors."""
    return [*check(source), *lint(source)]


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
        raise FailedPrecondition(
            f"the rules let everybody in, signed in or not: {_places(found)}",
            reason="OpenRules",
            details={"open": found},
        )


def _places(opened: Sequence[dict[str, Any]]) -> str:
    told = ", ".join(
        f"`{one['path']}` ({', '.join(one['methods'])}; line {one['line']})" for one in opened[:5]
    )
    return told + (f" and {len(opened) - 5} more" if len(opened) > 5 else "")


def _check_current(current: StoredDocument | None, if_release: str | None) -> None:
    if if_release is None:
        return
    release = DEFAULT_RELEASE if current is None else str(current.fields["ruleset"])
    if release != if_release:
        raise FailedPrecondition(
            f"the release `{release}` is in force, not `{if_release[:80]}`: somebody else has "
            "deployed meanwhile",
            reason="ReleaseChanged",
            details={"release": release},
        )


def _check_message(message: object) -> str:
    if not isinstance(message, str) or len(message) > MESSAGE_CHARACTERS_MAX:
        raise _invalid_message()
    text = message.strip()
    if not text.replace("\n", "").isprintable():
        raise _invalid_message()
    return text


def _invalid_message() -> InvalidArgument:
    return InvalidArgument(
        f"`message` must be a string of at most {MESSAGE_CHARACTERS_MAX} printable characters",
        reason="InvalidMessage",
        details={"field": "message"},
    )


def _decode_token(token: str | None) -> int:
    if token is None:
        return 2**63
    if not (token.isascii() and token.isdigit() and len(token) <= 18):
        raise InvalidArgument("`page_token` is none of this list", reason="InvalidPageToken")
    return int(token)


def _release_not_found(release: str) -> NotFound:
    return NotFound(
        f"there is no release `{release[:80]}`; the last {RULESETS_KEPT_MAX} are kept",
        reason="ReleaseNotFound",
    )


def _note(stored: StoredDocument) -> ReleaseNote:
    """Releases of earlier versions of this server have no author and no message."""
    fields = stored.fields
    author, rollback_of = fields.get("author"), fields.get("rollback_of")
    return ReleaseNote(
        id=stored.path.segments[-1],
        deployed=stored.create_time,
        author=None if author is None else str(author),
        message=str(fields.get("message", "")),
        rollback_of=None if rollback_of is None else str(rollback_of),
    )


def _release_path(project: str) -> DocumentPath:
    return project_document(project, "releases", _SERVICE)
