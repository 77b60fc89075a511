"""Signed URLs: one request on one object, by anybody who has the address, until it expires.

A signature is an HMAC over everything that the request is: method, project, bucket, object, expiry,
and what an upload must be. Its key comes from the server's secret and from one of the project's
own; replacing that ends all signed URLs of the project at once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass

import msgspec

from baas.buckets.names import BucketName
from baas.buckets.objects import Objects
from baas.database.transaction import Transaction
from baas.errors import TokenExpired, TokenInvalid
from baas.model.paths import DocumentPath
from baas.model.writes import SetWrite

METHODS = ("GET", "PUT")
LIFETIME_SECONDS_MAX = 7 * 86_400
SIGNATURE_CHARACTERS_MAX = 2_048
_SECRET_BYTES = 32
_PATH = DocumentPath(("object_settings", "signing"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """What is allowed. `state` None: of any state of the object; else while it has this etag, or is
    not there (""). `content_type`, `size` of an upload; None: any."""

    method: str
    expires_at: int
    state: str | None = None
    content_type: str | None = None
    size: int | None = None


class UrlSigner:
    """Makes and reads the signatures of all projects."""

    def __init__(self, objects: Objects, key: bytes) -> None:
        self._objects = objects
        self._key = key

    async def sign(self, bucket: BucketName, name: str, request: SignedRequest) -> str:
        """The text that stands behind `signature=`."""
        payload = msgspec.json.encode(request)
        key = await self._project_key(bucket.project)
        return f"{_encode(payload)}.{_encode(_mac(key, bucket, name, payload))}"

    async def verify(
        self, bucket: BucketName, name: str, method: str, signature: str
    ) -> SignedRequest:
        """Raises TokenInvalid (`SignatureInvalid`), for another method or object too, and
        TokenExpired (`SignatureExpired`)."""
        encoded, _, mac = signature.partition(".")
        payload, given = _decode(encoded), _decode(mac)
        key = await self._project_key(bucket.project)
        if len(signature) > SIGNATURE_CHARACTERS_MAX or not hmac.compare_digest(
            _mac(key, bucket, name, payload), given
        ):
            raise _invalid()
        request = msgspec.json.decode(payload, type=SignedRequest)
        if request.method != ("GET" if method == "HEAD" else method):
            raise _invalid()
        if request.expires_at * 1_000_000 <= self._objects.clock.now_microseconds():
            raise TokenExpired("the signed URL has expired", reason="SignatureExpired")
        return request

    async def revoke(self, project: str) -> None:
        """Ends all signed URLs of the project."""
        secret = self._objects.clock.random_bytes(_SECRET_BYTES)

        async def body(transaction: Transaction) -> None:
            await transaction.write([SetWrite(_PATH, {"secret": secret})])

        await self._objects.system.run(project, body)

    async def _project_key(self, project: str) -> bytes:
        database = await self._objects.system.open(project)
        (document,) = await database.get_documents([_PATH])
        if document is None:
            fresh = self._objects.clock.random_bytes(_SECRET_BYTES)

            async def body(transaction: Transaction) -> bytes:
                (found,) = await transaction.get_documents([_PATH])
                if found is not None:
                    return bytes(_secret(found.fields["secret"]))
                await transaction.write([SetWrite(_PATH, {"secret": fresh})])
                return fresh

            secret = await self._objects.system.run(project, body)
        else:
            secret = _secret(document.fields["secret"])
        # Of no use without the server's secret: who reads the database cannot sign.
        return hmac.digest(self._key, project.encode() + b"\0" + secret, "sha256")


def _secret(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def _mac(key: bytes, bucket: BucketName, name: str, payload: bytes) -> bytes:
    # As JSON, so that no part can run into the next one.
    place = msgspec.json.encode([bucket.project, bucket.bucket, name])
    return hmac.new(key, place + b"\n" + payload, hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid() from error


def _invalid() -> TokenInvalid:
    return TokenInvalid("the signature is not valid for this request", reason="SignatureInvalid")
