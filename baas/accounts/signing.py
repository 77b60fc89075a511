"""The keys that sign a project's id tokens: ES256, sealed at rest, one current and some retired.

A retired key still verifies until the last token that it signed has expired, then it is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from jwt.algorithms import ECAlgorithm

from baas.accounts.sealing import ServerSecret
from baas.clock import Clock, new_document_id
from baas.database.transaction import Transaction
from baas.encoding.documents import StoredDocument
from baas.errors import DataLoss
from baas.model.documents import DocumentLike
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.queries import Query
from baas.model.values import Fields
from baas.model.writes import DeleteWrite, SetWrite

COLLECTION = "signing_keys"
ALGORITHM = "ES256"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key pair. `retired` is None for the current one, else microseconds since 1970."""

    kid: str
    private: ec.EllipticCurvePrivateKey
    created: int
    retired: int | None = None

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
        return self.private.public_key()

    def to_jwk(self) -> dict[str, Any]:
        """The public half, as it stands in a key set (RFC 7517)."""
        jwk: dict[str, Any] = ECAlgorithm.to_jwk(self.public, as_dict=True)
        return {**jwk, "kid": self.kid, "alg": ALGORITHM, "use": "sig"}


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """All keys that may still verify, by id, and the one that signs."""

    current: SigningKey
    by_id: dict[str, SigningKey]

    def to_jwks(self) -> dict[str, Any]:
        """The key set that others verify with; the current key first."""
        ordered = sorted(self.by_id.values(), key=lambda key: -key.created)
        return {"keys": [key.to_jwk() for key in ordered]}


def signing_keys_query() -> Query:
    return Query(CollectionPath((COLLECTION,)))


def open_signing_keys(
    documents: list[StoredDocument], secret: ServerSecret, project: str
) -> SigningKeys | None:
    """The keys that are stored, unsealed; None if there is no current one yet."""
    keys = [_open_key(document, secret, project) for document in documents]
    current = [key for key in keys if key.retired is None]
    if not current:
        return None
    newest = max(current, key=lambda key: (key.created, key.kid))
    return SigningKeys(newest, {key.kid: key for key in keys})


async def rotate_signing_keys(
    transaction: Transaction,
    secret: ServerSecret,
    project: str,
    clock: Clock,
    *,
    keep_seconds: int,
    only_if_none: bool = False,
) -> None:
    """Makes a new current key and retires the old; keys retired for longer than `keep_seconds`
    are forgotten. With `only_if_none` a key that is there is left alone."""
    now = clock.now_microseconds()
    documents = (await transaction.run_query(signing_keys_query())).documents
    current = [document for document in documents if document.fields.get("retired") is None]
    if only_if_none and current:
        return
    writes: list[SetWrite | DeleteWrite] = [_make_key(secret, project, clock)]
    for document in documents:
        retired = document.fields.get("retired")
        if retired is None:
            writes.append(SetWrite(document.path, {**document.fields, "retired": now}))
        elif isinstance(retired, int) and retired + keep_seconds * 1_000_000 < now:
            writes.append(DeleteWrite(document.path))
    await transaction.write(writes)


def _make_key(secret: ServerSecret, project: str, clock: Clock) -> SetWrite:
    kid = new_document_id(clock)
    private = ec.generate_private_key(ec.SECP256R1())
    plain = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    sealed = secret.seal(plain, place=_place(project, kid), clock=clock)
    fields: Fields = {"sealed": sealed, "created": clock.now_microseconds(), "retired": None}
    return SetWrite(DocumentPath((COLLECTION, kid)), fields)


def _open_key(document: DocumentLike, secret: ServerSecret, project: str) -> SigningKey:
    kid = document.path.segments[-1]
    sealed, created = document.fields["sealed"], document.fields["created"]
    retired = document.fields["retired"]
    assert isinstance(sealed, bytes)
    assert isinstance(created, int)
    assert retired is None or isinstance(retired, int)
    private = load_der_private_key(secret.open(sealed, place=_place(project, kid)), password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise DataLoss(f"the signing key `{kid}` is of another kind", reason="SealBroken")
    return SigningKey(kid, private, created, retired)


def reseal_key(
    document: DocumentLike, secret: ServerSecret, old: str, new: str, clock: Clock
) -> Fields:
    """A key's fields, sealed for another project: as its backup is restored under another id."""
    kid, sealed = document.path.segments[-1], document.fields["sealed"]
    assert isinstance(sealed, bytes)
    plain = secret.open(sealed, place=_place(old, kid))
    return {**document.fields, "sealed": secret.seal(plain, place=_place(new, kid), clock=clock)}


def _place(project: str, kid: str) -> str:
    return f"projects/{project}/{COLLECTION}/{kid}"
