"""Drives the rules of objects (`service firebase.storage`): the only place where an access to an
object is allowed or denied. Without such rules everything is denied."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from baas_rules import (
    Decision,
    Explanation,
    Lookup,
    ObjectListRequest,
    Request,
    ResourceDocument,
    Ruleset,
)
from baas_rules.decision import OBJECT_SERVICE

from baas.buckets.names import BucketName
from baas.buckets.objects import Declared
from baas.buckets.records import StoredObject
from baas.database.names import DEFAULT_DATABASE, DatabaseName
from baas.errors import BaasError, PermissionDenied
from baas.model.timestamps import Timestamp
from baas.services.authorizer import lookup_path
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.denial_traces import Asked
from baas.services.documents import request_time
from baas.services.rule_values import rule_auth, rule_root, rule_time, stored_resource

ROUNDS_MAX = 4  # rules of objects may look up two documents
_MD5 = "md5Hash"


class ObjectAuthorizer:
    """One caller's questions about one bucket, as of one request time. Callers that answer to no
    rules are allowed everything."""

    def __init__(
        self,
        context: Context,
        caller: Caller,
        bucket: BucketName,
        ruleset: Ruleset,
        time: Timestamp,
    ) -> None:
        self._context = context
        self._caller = caller
        self._bucket = bucket
        self._ruleset = ruleset
        self._time = rule_time(time)
        self._auth = rule_auth(caller)
        self._documents: dict[Lookup, ResourceDocument | None] = {}

    @property
    def is_bound(self) -> bool:
        """Whether rules decide at all."""
        return not self._caller.bypasses_rules

    @property
    def looks_at_md5(self) -> bool:
        """Whether the rules may look at the MD5 of an object, whoever the caller is."""
        return _MD5 in self._ruleset.source

    async def check(
        self,
        method: str,
        name: str,
        old: StoredObject | None,
        new: Mapping[str, Any] | None = None,
    ) -> None:
        """Raises PermissionDenied, whether the object exists or not, unless the rules allow it."""
        if not self.is_bound:
            return
        request = Request(
            method,
            ("b", self._bucket.bucket, "o", *name.split("/")),
            self._auth,
            self._time,
            None if old is None else object_resource(old),
            new,
            service=OBJECT_SERVICE,
        )
        ruleset = self._ruleset
        await self._settle(
            lambda: ruleset.decide(request, self._documents),
            request,
        )

    async def check_stored(
        self, name: str, method: str, old: StoredObject | None, new: StoredObject | None
    ) -> None:
        """The same, of an object as it will be."""
        await self.check(method, name, old, None if new is None else object_resource(new))

    async def check_list(self, prefix: str, *, by_folder: bool) -> None:
        """Raises PermissionDenied unless the listing is allowed.

        By folder, it is the rules' `list` of that folder, as in Firebase: a listing of `a/` tells
        of what lies directly in it, and that there is something in its folders. Without a
        delimiter, rules have to allow `list` for every name that begins with the prefix.
        """
        if not self.is_bound:
            return
        ruleset, bucket = self._ruleset, self._bucket.bucket
        if not by_folder:
            listing = ObjectListRequest(bucket, prefix, self._auth, self._time)
            await self._settle(
                lambda: ruleset.prove_list(listing, self._documents),
                listing,
            )
            return
        folder = prefix.rpartition("/")[0]
        path = ("b", bucket, "o", *(folder.split("/") if folder else ()))
        request = Request("list", path, self._auth, self._time, service=OBJECT_SERVICE)
        if ruleset.version == 1:
            raise self._context.denials.deny_because(
                self._asked(request), "denied: rules_version '1' has no lists of objects"
            )
        await self._settle(
            lambda: ruleset.decide(request, self._documents),
            request,
        )

    async def _settle(
        self, decide: Callable[[], Decision], request: Request | ObjectListRequest
    ) -> None:
        decision = decide()
        for _ in range(ROUNDS_MAX):
            if not decision.missing:
                break
            for lookup in decision.missing:
                self._documents[lookup] = await self._read(lookup)
            decision = decide()
        if not decision.allowed:
            raise self._denial(request)

    async def _read(self, lookup: Lookup) -> ResourceDocument | None:
        """A document of the project, as last committed."""
        path = lookup_path(lookup)
        if path is None:
            return None
        name = DatabaseName(self._bucket.project, lookup.database or DEFAULT_DATABASE)
        try:
            await self._context.projects.check_database(name)
            database = await self._context.databases.open(name)
        except BaasError as error:
            if error.code.value in ("NOT_FOUND", "INVALID_ARGUMENT"):
                return None
            raise
        (stored,) = await database.get_documents((path,))
        return None if stored is None else stored_resource(stored, rule_root(name))

    def _denial(self, request: Request | ObjectListRequest) -> PermissionDenied:
        ruleset, documents = self._ruleset, self._documents

        def explain(redact: bool) -> Explanation:
            if isinstance(request, ObjectListRequest):
                return ruleset.explain_list(request, documents, redact=redact)
            return ruleset.explain(request, documents, redact=redact)

        return self._context.denials.deny(self._asked(request), explain)

    def _asked(self, request: Request | ObjectListRequest) -> Asked:
        project = self._bucket.project
        if isinstance(request, ObjectListRequest):
            method, path = "list", tuple(filter(None, request.prefix.split("/")))
        else:
            method, path = request.method, tuple(request.path[3:])
        return Asked(
            project=project,
            service=OBJECT_SERVICE,
            place=self._bucket.bucket,
            method=method,
            path=path,
            caller=self._caller.kind.value,
            uid=self._caller.uid,
            release=self._context.projects.rulesets.find_release_id(project, self._ruleset),
        )


async def make_object_authorizer(
    context: Context, caller: Caller, bucket: BucketName
) -> ObjectAuthorizer:
    """The questions of one caller under the rules now in force. Raises NotFound
    (`ProjectNotFound`)."""
    ruleset = await context.projects.ruleset(DatabaseName(bucket.project))
    return ObjectAuthorizer(context, caller, bucket, ruleset, request_time(context))


def object_resource(stored: StoredObject) -> dict[str, Any]:
    """`resource`, and `request.resource` once all is known."""
    found: dict[str, Any] = {
        "name": stored.name,
        "bucket": stored.bucket,
        "generation": stored.generation,
        "metageneration": stored.metageneration,
        "size": stored.size,
        "timeCreated": rule_time(stored.created),
        "updated": rule_time(stored.updated),
        "sha256": stored.sha256,
        "etag": stored.etag,
        "contentType": stored.content_type,
        "metadata": dict(stored.metadata),
    }
    if stored.md5 is not None:
        found[_MD5] = _md5_hash(stored.md5)
    return found


def declared_resource(
    bucket: BucketName, name: str, declared: Declared, content_type: str, time: Timestamp
) -> dict[str, Any]:
    """`request.resource` before the bytes have come: what is not known yet is not a member, so that
    a rule which needs it denies."""
    found: dict[str, Any] = {
        "name": name,
        "bucket": bucket.bucket,
        "timeCreated": rule_time(time),
        "updated": rule_time(time),
        "contentType": content_type,
        "metadata": dict(declared.metadata or {}),
    }
    if declared.size is not None:
        found["size"] = declared.size
    if declared.md5 is not None:
        found[_MD5] = _md5_hash(declared.md5)
    if declared.sha256 is not None:
        found["sha256"] = declared.sha256
    return found


def _md5_hash(digits: str) -> str:
    return base64.b64encode(bytes.fromhex(digits)).decode()
