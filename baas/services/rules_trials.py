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
from baas_rules.decision import OBJECT_SERVICE, WRITE_METHODS, AnyListRequest

from baas.accounts.tokens import id_token_claims
from baas.accounts.users import User, check_claims_depth, user_not_found
from baas.buckets.names import BucketName, check_bucket_id, check_object_name, check_prefix
from baas.database.names import DEFAULT_DATABASE, DatabaseName
from baas.errors import FailedPrecondition, InvalidArgument
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.query_checks import check_query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.services.admins import check_is_admin
from baas.services.authorizer import ROUNDS_MAX
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.documents import request_time
from baas.services.objects import check_bucket
from baas.services.objects_authorizer import object_resource
from baas.services.rule_values import list_request, new_resource, rule_map, rule_root, rule_time
from baas.services.rules_drafts import in_thread, open_rules
from baas.services.rules_worlds import TrialWorld


class Stored(Enum):
    """Stands for what is stored, in place of something made up."""

    LIVE = "live"


LIVE: Final = Stored.LIVE
STORING_METHODS: Final = frozenset({"create", "update"})


@dataclass(frozen=True, slots=True)
class TrialCaller:
    """Who asks: nobody, `user` of the project (a uid or an e-mail address) with the claims of a
    fresh token, or `uid`; with `claims` besides those that every token has."""

    user: str | None = None
    uid: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)


NOBODY: Final = TrialCaller()


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
    caller: TrialCaller = NOBODY
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
    auth = await trial_auth(context, project, trial.caller, time)
    async with AsyncExitStack() as stack:
        of_objects = trial.service == OBJECT_SERVICE
        database = DEFAULT_DATABASE if of_objects else trial.place
        world = TrialWorld(context, project, database, trial.documents, stack)
        before = await _find_before(context, project, trial, world)
        asked = _asked(context, project, trial, auth, rule_time(time), before)
        decision, documents = await settle(ruleset, asked, world, {})
    check_settled(decision)
    explanation = await in_thread(lambda: explain(ruleset, asked, documents))
    return TrialResult(explanation, release, time, auth, before, world.looked_up)


async def _find_before(
    context: Context, project: str, trial: Trial, world: TrialWorld
) -> Fields | None:
    """The document or object that is asked for; None for lists, and where there is none. Rules that
    look at it find the same."""
    if trial.service == OBJECT_SERVICE:
        return await _find_object(context, project, trial)
    await context.projects.check_database(DatabaseName(project, trial.place))
    if trial.method == "list":
        return None
    path = DocumentPath.parse(trial.path)
    before = await find_document(world, path, trial.method, trial.before)
    world.given[path] = before
    if trial.method in WRITE_METHODS:
        world.after[path] = None if trial.method == "delete" else trial.after
    return before


async def find_document(
    world: TrialWorld, path: DocumentPath, method: str, before: Fields | Stored | None
) -> Fields | None:
    """What is there before `method` comes: what was made up, else what is stored."""
    if not isinstance(before, Stored):
        return before
    return None if method == "create" else await world.find(path)


async def _find_object(context: Context, project: str, trial: Trial) -> Fields | None:
    bucket = BucketName(project, check_bucket_id(trial.place))
    await check_bucket(context, bucket)
    if trial.method == "list":
        return None
    if not isinstance(trial.before, Stored):
        return trial.before
    if trial.method == "create":
        return None
    stored = await context.objects.find(bucket, check_object_name(trial.path))
    return None if stored is None else _as_fields(object_resource(stored))


async def settle(
    ruleset: Ruleset,
    asked: Request | AnyListRequest,
    world: TrialWorld,
    documents: dict[Lookup, ResourceDocument | None],
) -> tuple[Decision, Mapping[Lookup, ResourceDocument | None]]:
    """The same rounds that a real request takes. What is looked up joins `documents`."""

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


def check_settled(decision: Decision) -> None:
    """Raises FailedPrecondition (`TooManyLookups`)."""
    if decision.missing:
        raise FailedPrecondition(
            f"the rules ask for documents {ROUNDS_MAX} times: they deny", reason="TooManyLookups"
        )


def explain(
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


async def trial_auth(
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
    after = checked_after(trial.method, trial.path, before, trial.after)
    if trial.service == OBJECT_SERVICE:
        return _object_request(trial, auth, time, before, after)
    name = DatabaseName(project, trial.place)
    if trial.method == "list":
        query = _query(trial)
        check_query(query, context.settings.limits)
        return list_request(query, name, auth, time)
    path = DocumentPath.parse(trial.path)
    return document_request(name, trial.method, path, auth, time, before=before, after=after)


def document_request(
    name: DatabaseName,
    method: str,
    path: DocumentPath,
    auth: Auth | None,
    time: RuleTimestamp,
    *,
    before: Fields | None,
    after: Fields | None,
) -> Request:
    """What the rules are asked about one document."""
    root = rule_root(name)
    return Request(
        method,
        path.segments,
        auth,
        time,
        None if before is None else new_resource(path, before, root),
        None if after is None else new_resource(path, after, root),
        database=name.database,
    )


def checked_after(
    method: str, path: str, before: Fields | None, after: Fields | None, at: str = "after"
) -> Fields | None:
    """What is there once `method` is done; None: nothing, or nothing else. Raises InvalidArgument
    (`MissingField`), FailedPrecondition (`NothingToUpdate`)."""
    if method not in STORING_METHODS:
        return None
    if after is None:
        raise InvalidArgument(
            f"`{method}` needs `{at}`, what is to be stored",
            reason="MissingField",
            details={"field": at},
        )
    if method == "update" and before is None:
        raise FailedPrecondition(
            f"there is nothing at `{path}` to update: create it, or give `before`",
            reason="NothingToUpdate",
        )
    return after


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


def _as_fields(metadata: Mapping[str, Any]) -> Fields:
    return {
        name: Timestamp(value.microseconds) if isinstance(value, RuleTimestamp) else value
        for name, value in metadata.items()
    }
