"""API keys of projects. A key is stored as its SHA-256 only (a publishable one, which is public
anyway, in the clear too); 190 random bits need no slow hash."""

from __future__ import annotations

import hashlib

from baas.clock import Clock, new_document_id
from baas.database.system import SystemStore
from baas.database.transaction import Transaction
from baas.errors import FailedPrecondition, InvalidArgument, NotFound, TokenInvalid
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.values import Fields
from baas.model.writes import DeleteWrite, Precondition, SetWrite
from baas.projects.records import (
    ApiKey,
    ApiKeyKind,
    check_name,
    is_deleting,
    is_id,
    open_key,
    project_collection,
    project_document,
    project_not_found,
    project_path,
)

PREFIXES = {ApiKeyKind.PUBLISHABLE: "baas_pk_", ApiKeyKind.SECRET: "baas_sk_"}
KEYS_PER_PROJECT_MAX = 200
CACHED_KEYS_MAX = 10_000
_RANDOM_CHARACTERS = 32
_SHOWN_CHARACTERS = 6
_KEY_CHARACTERS_MAX = 100
_ABSENT = Precondition(exists=False)


class ApiKeys:
    """The keys of all projects. A revoked key is refused from the commit that revokes it on."""

    def __init__(self, store: SystemStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._cache: dict[str, ApiKey] = {}  # by the key's text
        self._epoch = 0

    async def create(self, project: str, kind: ApiKeyKind, name: object) -> tuple[ApiKey, str]:
        """A new key with its text, which for a secret key is shown here and never again.

        Raises NotFound (`ProjectNotFound`), FailedPrecondition (`TooManyKeys`), InvalidArgument.
        """
        checked = check_name(name)

        async def body(transaction: Transaction) -> tuple[ApiKey, str]:
            (document,) = await transaction.get_documents([project_path(project)])
            if document is None or is_deleting(document):
                raise project_not_found(project)
            keys = await transaction.run_query(Query(project_collection(project, "keys")))
            if len(keys.documents) >= KEYS_PER_PROJECT_MAX:
                raise FailedPrecondition(
                    f"a project has at most {KEYS_PER_PROJECT_MAX} keys, revoked ones included",
                    reason="TooManyKeys",
                )
            random = new_document_id(self._clock) + new_document_id(self._clock)
            text = PREFIXES[kind] + random[:_RANDOM_CHARACTERS]
            key = ApiKey(
                id=new_document_id(self._clock),
                project=project,
                kind=kind,
                name=checked,
                prefix=text[: len(PREFIXES[kind]) + _SHOWN_CHARACTERS],
                text=text if kind is ApiKeyKind.PUBLISHABLE else None,
                created=transaction.request_time,
            )
            await transaction.write(
                [
                    SetWrite(_path(project, key.id), _to_fields(key, text), precondition=_ABSENT),
                    SetWrite(
                        _hash_path(_hash(text)),
                        {"project": project, "key": key.id},
                        precondition=_ABSENT,
                    ),
                ]
            )
            return key, text

        return await self._store.run(None, body)

    async def list_all(self, project: str) -> tuple[ApiKey, ...]:
        """All keys of the project, the newest first, revoked ones too."""
        found = await self._store.run_query(None, Query(project_collection(project, "keys")))
        keys = [open_key(document) for document in found]
        return tuple(sorted(keys, key=lambda key: (-key.created.microseconds, key.id)))

    async def revoke(self, project: str, identifier: str) -> None:
        """Ends a key. Repeating it changes nothing. Raises NotFound (`ApiKeyNotFound`)."""

        if not is_id(identifier):
            raise _key_not_found(identifier)
        path = _path(project, identifier)

        async def body(transaction: Transaction) -> None:
            (document,) = await transaction.get_documents([path])
            if document is None:
                raise _key_not_found(identifier)
            if document.fields["revoked"] is not None:
                return
            fields: Fields = {**document.fields, "revoked": transaction.request_time}
            digest = str(document.fields["hash"])
            await transaction.write([SetWrite(path, fields), DeleteWrite(_hash_path(digest))])

        await self._store.run(None, body)

    async def authenticate(self, project: str, text: str) -> ApiKey:
        """The key that a caller shows to this project. Raises TokenInvalid (`ApiKeyInvalid`), the
        same for an unknown key, a revoked one, and one of another project."""
        key = self._cache.get(text)
        if key is None:
            key = await self._find(text)
        if key is None or key.project != project:
            raise TokenInvalid("the API key is not valid for this project", reason="ApiKeyInvalid")
        return key

    def forget(self) -> None:
        """Some key changed: all are looked up again."""
        self._cache.clear()
        self._epoch += 1

    async def _find(self, text: str) -> ApiKey | None:
        if len(text) > _KEY_CHARACTERS_MAX or not text.startswith(tuple(PREFIXES.values())):
            return None
        epoch = self._epoch
        database = await self._store.open(None)
        (entry,) = await database.get_documents([_hash_path(_hash(text))])
        if entry is None:
            return None
        project = str(entry.fields["project"])
        owner, document = await database.get_documents(
            [project_path(project), _path(project, str(entry.fields["key"]))]
        )
        if owner is None or is_deleting(owner) or document is None:
            return None
        key = open_key(document)
        if key.revoked is not None:
            return None
        if epoch == self._epoch:
            if len(self._cache) >= CACHED_KEYS_MAX:
                self._cache.clear()
            self._cache[text] = key
        return key


def hash_path_of(digest: object) -> DocumentPath:
    """Where a stored key is found by its hash."""
    return _hash_path(str(digest))


def _to_fields(key: ApiKey, text: str) -> Fields:
    return {
        "kind": key.kind.value,
        "name": key.name,
        "prefix": key.prefix,
        "text": key.text,
        "hash": _hash(text),
        "created": key.created,
        "revoked": None,
    }


def check_kind(kind: object) -> ApiKeyKind:
    """Raises InvalidArgument (`InvalidKeyKind`)."""
    try:
        return ApiKeyKind(kind)
    except ValueError as error:
        raise InvalidArgument(
            "`kind` must be `publishable` or `secret`",
            reason="InvalidKeyKind",
            details={"field": "kind"},
        ) from error


def _key_not_found(identifier: str) -> NotFound:
    return NotFound(f"there is no key `{identifier[:80]}`", reason="ApiKeyNotFound")


def _path(project: str, identifier: str) -> DocumentPath:
    return project_document(project, "keys", identifier)


def _hash_path(digest: str) -> DocumentPath:
    return DocumentPath(("api_keys", digest))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
