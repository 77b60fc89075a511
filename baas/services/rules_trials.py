"""The playground: one request that nobody made, put to a draft or to the rules in force, with every
step of the decision. Stored documents are read as an administrator; nothing is ever written.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from baas_rules import (
    Auth,
    Decision,
    Explanation,
    Lookup,
    ObjectListRequest,
    Reason,
    Request,
    ResourceDocument,
    Ruleset,
)
from baas_rules import Timestamp as RuleTimestamp
from baas_rules.decision import DOCUMENT_SERVICE, OBJECT_SERVICE, WRITE_METHODS, AnyListRequest

from baas.accounts.tokens import id_token_claims
from baas.accounts.users import User, check_claims_depth, user_not_found
from baas.buckets.names import BucketName, check_bucket_id, check_object_name, check_prefix
from baas.database.database import ReadSnapshot
from baas.database.names import DEFAULT_DATABASE, DatabaseName
from baas.errors import FailedPrecondition, InvalidArgument, NotFound
from baas.model.paths import DocumentPath
from baas.model.queries import Query, check_query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.services.admins import check_is_admin
from baas.services.authorizer import ROUNDS_MAX, lookup_path
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.documents import request_time
from baas.services.objects import check_bucket
from baas.services.objects_authorizer import object_resource
from baas.services.rule_values import list_request, new_resource, rule_map, rule_root, rule_time
from baas.services.rules_drafts import in_thread, open_rules


class Stored(Enum):
    """Stands for what is stored, in place of something made up."""

    LIVE = "live"


LIVE: Final = Stored.LIVE


@dataclass(frozen=True, slots=True)
class TrialCaller:
    """Who asks: nobody, `user` of the project (a uid or an e-mail address) with the claims of a
    fresh token, or `uid`; with `claims` besides those that every token has."""

    user: str | None = None
    uid: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried. `place` is a database or a bucket, `path` a document, an object or a prefix of
    objects. `before` and `after` are the document's fields, or the object's metadata. `documents`
    take the place of stored ones wherever rules look. `source` is a draft."""

    service: str
    place: str
    method: str
    path: str = ""
    query: Query | None = None
    by_folder: bool = False
    caller: TrialCaller = TrialCaller()
    before: Fields | Stored | None = LIVE
    after: Fields | None = None
    documents: Mapping[str, Fields | None] = field(default_factory=dict)
    time: Timestamp | None = None
    source: object | None = None


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The decision with its steps. `release` None: of a draft. `before` is the document or object
    that the rules saw, `documents` what they looked up."""

    explanation: Explanation
    release: str | None
    time: Timestamp
    auth: Auth | None
    before: Fields | None
    documents: Mapping[Lookup, Fields | None]


async def explain_trial(
    context: Context, caller: Caller, project: str, trial: Trial
) -> TrialResult:
    """Raises RulesetRejected, InvalidArgument, InvalidPath, InvalidQuery, NotFound
    (`ProjectNotFound`, `DatabaseNotFound`, `BucketNotFound`, `UserNotFound`), FailedPrecondition
    (`NothingToUpdate`)."""
    check_is_admin(caller)
    await context.projects.get_project(project)
    ruleset, release = await open_rules(context, project, trial.source)
    time = trial.time or request_time(context)
    auth = await _auth(context, project, trial.caller, time)
    async with AsyncExitStack() as stack:
        world = _World(context, project, trial, stack)
        await world.find_before()
        asked = _asked(context, project, trial, auth, rule_time(time), world.before)
        decision, documents = await _settle(ruleset, asked, world)
    if decision.missing:
        raise FailedPrecondition(
            f"the rules ask for documents {ROUNDS_MAX} times: they deny", reason="TooManyLookups"
        )
    explanation = await in_thread(lambda: _explain(ruleset, asked, documents))
    return TrialResult(explanation, release, time, auth, world.before, world.looked_up)


async def _settle(
    ruleset: Ruleset, asked: Request | AnyListRequest, world: _World
) -> tuple[Decision, Mapping[Lookup, ResourceDocument | None]]:
    """The same rounds that a real request takes."""
    documents: dict[Lookup, ResourceDocument | None] = {}

    def decide() -> Decision:
        if isinstance(asked, Request):
            return ruleset.decide(asked, documents)
        return ruleset.prove_list(asked, documents)

    decision = await in_thread(decide)
    for _ in range(ROUNDS_MAX):
        if not decision.missing:
            break
        for lookup in decision.missing:
            documents[lookup] = await world.look_up(lookup)
        decision = await in_thread(decide)
    return decision, documents


def _explain(
    ruleset: Ruleset,
    asked: Request | AnyListRequest,
    documents: Mapping[Lookup, ResourceDocument | None],
) -> Explanation:
    if not isinstance(asked, Request):
        return ruleset.explain_list(asked, documents)
    if asked.method == "list" and ruleset.version == 1:
        reason = Reason("rules_version '1' has no lists of objects")
        return Explanation(Decision(False, reasons=(reason,)), "list")
    return ruleset.explain(asked, documents)


async def _auth(
    context: Context, project: str, caller: TrialCaller, time: Timestamp
) -> Auth | None:
    """As the id token of a sign-in at the request's time would say."""
    check_claims_depth(caller.claims)
    uid, own = caller.uid, caller.claims
    if caller.user is not None:
        user = await _user(context, project, caller.user)
        uid, own = user.uid, {**user.to_claims(), **own}
    if uid is None:
        return None
    seconds = time.microseconds // 1_000_000
    claims = id_token_claims(
        project=project,
        uid=uid,
        session="trial",
        claims=own,
        auth_time=seconds,
        issued_at=seconds,
        lifetime_seconds=context.settings.id_token_lifetime_seconds,
    )
    # In a trial, what is told of the token goes before what a real one would say.
    return Auth(uid, {**claims, **caller.claims})


async def _user(context: Context, project: str, name: str) -> User:
    """Raises NotFound (`UserNotFound`)."""
    users = context.accounts.users
    if "@" not in name:  # which no uid has
        return await users.get(project, name)
    user = await users.find(project, name)
    if user is None:
        raise user_not_found(name)
    return user


def _asked(
    context: Context,
    project: str,
    trial: Trial,
    auth: Auth | None,
    time: RuleTimestamp,
    before: Fields | None,
) -> Request | AnyListRequest:
    if trial.method in ("create", "update") and trial.after is None:
        raise InvalidArgument(
            f"`{trial.method}` needs `after`, what is to be stored",
            reason="MissingField",
            details={"field": "after"},
        )
    if trial.method == "update" and before is None:
        raise FailedPrecondition(
            f"there is nothing at `{trial.path}` to update: create it, or give `before`",
            reason="NothingToUpdate",
        )
    after = trial.after if trial.method in ("create", "update") else None
    if trial.service == OBJECT_SERVICE:
        return _object_request(trial, auth, time, before, after)
    name = DatabaseName(project, trial.place)
    if trial.method == "list":
        query = _query(trial)
        check_query(query, context.settings.limits)
        return list_request(query, name, auth, time)
    path, root = DocumentPath.parse(trial.path), rule_root(name)
    return Request(
        trial.method,
        path.segments,
        auth,
        time,
        None if before is None else new_resource(path, before, root),
        None if after is None else new_resource(path, after, root),
        database=name.database,
    )


def _query(trial: Trial) -> Query:
    if trial.query is None:
        raise InvalidArgument(
            "`list` of documents needs `query`", reason="MissingField", details={"field": "query"}
        )
    return trial.query


def _object_request(
    trial: Trial,
    auth: Auth | None,
    time: RuleTimestamp,
    before: Fields | None,
    after: Fields | None,
) -> Request | ObjectListRequest:
    bucket = trial.place
    if trial.method == "list":
        check_prefix(trial.path)
        if not trial.by_folder:
            return ObjectListRequest(bucket, trial.path, auth, time)
        folder = trial.path.rpartition("/")[0]
        path = ("b", bucket, "o", *(folder.split("/") if folder else ()))
        return Request("list", path, auth, time, service=OBJECT_SERVICE)
    name = check_object_name(trial.path)
    root = rule_root(DatabaseName("", DEFAULT_DATABASE))
    always: Fields = {"bucket": bucket, "name": name}
    return Request(
        trial.method,
        ("b", bucket, "o", *name.split("/")),
        auth,
        time,
        None if before is None else rule_map({**before, **always}, root),
        None if after is None else rule_map({"size": 0, "metadata": {}, **after, **always}, root),
        service=OBJECT_SERVICE,
    )


class _World:
    """What the rules see of what is stored: one instant of each database, with what the trial puts
    in its place. `looked_up` is what they asked for."""

    def __init__(self, context: Context, project: str, trial: Trial, stack: AsyncExitStack) -> None:
        self._context = context
        self._project = project
        self._trial = trial
        self._stack = stack
        self._snapshots: dict[str, ReadSnapshot | None] = {}
        self._given = {DocumentPath.parse(path): fields for path, fields in trial.documents.items()}
        self.before: Fields | None = None
        self.looked_up: dict[Lookup, Fields | None] = {}

    async def find_before(self) -> None:
        """Sets `before`, the document or object that is asked for; None for lists, and where there
        is none."""
        trial = self._trial
        if trial.service == OBJECT_SERVICE:
            bucket = BucketName(self._project, check_bucket_id(trial.place))
            await check_bucket(self._context, bucket)
        else:
            await self._context.projects.check_database(DatabaseName(self._project, trial.place))
        if trial.method == "list":
            return
        if not isinstance(trial.before, Stored):
            self.before = trial.before
        elif trial.method == "create":
            return
        elif trial.service == OBJECT_SERVICE:
            stored = await self._context.objects.find(bucket, check_object_name(trial.path))
            self.before = None if stored is None else _as_fields(object_resource(stored))
        else:
            self.before = await self._document(trial.place, DocumentPath.parse(trial.path))

    async def look_up(self, lookup: Lookup) -> ResourceDocument | None:
        path = lookup_path(lookup)
        database = lookup.database or self._own_database
        fields = None if path is None else await self._find(path, database, after=lookup.after)
        self.looked_up[lookup] = fields
        if path is None or fields is None:
            return None
        return new_resource(path, fields, rule_root(DatabaseName(self._project, database)))

    async def _find(self, path: DocumentPath, database: str, *, after: bool) -> Fields | None:
        trial = self._trial
        if database == self._own_database:
            is_own = trial.service == DOCUMENT_SERVICE and trial.path == str(path)
            if is_own and after and trial.method in WRITE_METHODS:
                return None if trial.method == "delete" else trial.after
            if path in self._given:
                return self._given[path]
            if is_own and trial.method != "list":
                return self.before
        return await self._document(database, path)

    @property
    def _own_database(self) -> str:
        of_documents = self._trial.service == DOCUMENT_SERVICE
        return self._trial.place if of_documents else DEFAULT_DATABASE

    async def _document(self, database: str, path: DocumentPath) -> Fields | None:
        if database not in self._snapshots:
            self._snapshots[database] = await self._open(DatabaseName(self._project, database))
        snapshot = self._snapshots[database]
        if snapshot is None:
            return None
        (stored,) = await snapshot.get_documents([path])
        return None if stored is None else stored.fields

    async def _open(self, name: DatabaseName) -> ReadSnapshot | None:
        """None: there is no such database, and so none of its documents."""
        try:
            await self._context.projects.check_database(name)
        except (NotFound, InvalidArgument):
            return None
        database = await self._context.databases.open(name)
        return await self._stack.enter_async_context(database.snapshot())


def _as_fields(metadata: Mapping[str, Any]) -> Fields:
    return {
        name: Timestamp(value.microseconds) if isinstance(value, RuleTimestamp) else value
        for name, value in metadata.items()
    }
