"""The server's own secret: what seals private keys at rest, and what further keys come from.

Kept in `<data>/secret.key` (mode 0600), or given by `BAAS_SECRET_KEY`. Without it the signing keys
of a copied database cannot be opened and refresh tokens cannot be made.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from baas.clock import Clock, milliseconds_only
from baas.database.database import Database
from baas.database.transaction import Transaction
from baas.errors import DataLoss, FailedPrecondition, InvalidArgument
from baas.model.paths import DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.writes import SetWrite

SECRET_VARIABLE = "BAAS_SECRET_KEY"
SECRET_FILE = "secret.key"
SECRET_BYTES = 32
_NONCE_BYTES = 12


_CHECK = DocumentPath(("setup", "secret"))


class ServerSecret:
    """32 bytes that never leave the process; used only through keys derived from them."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET_BYTES:
            raise InvalidArgument(
                f"the server's secret must be {SECRET_BYTES} bytes, not {len(secret)}",
                reason="InvalidSecretKey",
            )
        self._secret = secret
        self._aead = AESGCM(self.derive("sealing"))

    @classmethod
    def load(
        cls, data: Path, clock: Clock, environment: Mapping[str, str] | None = None
    ) -> ServerSecret:
        """From the environment, else from the data folder, where it is made on first use.

        Raises InvalidArgument (`InvalidSecretKey`) for one that is damaged.
        """
        text = (os.environ if environment is None else environment).get(SECRET_VARIABLE)
        if text is not None:
            return cls(_decode(text, SECRET_VARIABLE))
        file = data / SECRET_FILE
        data.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            _write_new(file, base64.b64encode(clock.random_bytes(SECRET_BYTES)) + b"\n")
        return cls(_decode(file.read_text(encoding="ascii", errors="replace"), str(file)))

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose, which tells nothing about the keys of others."""
        hkdf = HKDF(hashes.SHA256(), 32, salt=None, info=b"baas/" + purpose.encode())
        return hkdf.derive(self._secret)

    def seal(self, plain: bytes, *, place: str, clock: Clock) -> bytes:
        """Encrypts and authenticates. It opens only with the same `place`, so that sealed bytes
        copied to another project or key do not."""
        nonce = clock.random_bytes(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plain, place.encode())

    def open(self, sealed: bytes, *, place: str) -> bytes:
        """The inverse of `seal`. Raises DataLoss (`SealBroken`)."""
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place.encode())
        except (InvalidTag, ValueError) as error:
            raise DataLoss(
                "sealed data does not open: the server's secret key is another one than when it "
                "was written, or the data was changed",
                reason="SealBroken",
            ) from error


async def check_secret(secret: ServerSecret, database: Database, clock: Clock) -> None:
    """Raises FailedPrecondition (`SecretKeyMismatch`) unless this is the secret that the server's
    own database was first used with."""
    mine = secret.derive("check").hex()

    async def body(transaction: Transaction) -> None:
        (document,) = await transaction.get_documents([_CHECK])
        if document is None:
            await transaction.write([SetWrite(_CHECK, {"check": mine})])
        elif not hmac.compare_digest(str(document.fields["check"]), mine):
            raise FailedPrecondition(
                f"the secret key is another one than this server's data was made with; take it over"
                f" from a server that works, in `{SECRET_VARIABLE}` or as `{SECRET_FILE}` in the"
                " data folder",
                reason="SecretKeyMismatch",
            )

    now = Timestamp(milliseconds_only(clock.now_microseconds()))
    await database.run_transaction(body, request_time=now)


def _write_new(file: Path, content: bytes) -> None:
    """Makes the file with its whole content, durably, or not at all. Raises FileExistsError."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(temporary, file)  # unlike a rename, never replaces a secret that is there
    finally:
        temporary.unlink()
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _decode(text: str, source: str) -> bytes:
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise InvalidArgument(
            f"`{source}` must hold {SECRET_BYTES} bytes in base64 "
            f"(make one with: openssl rand -base64 {SECRET_BYTES})",
            reason="InvalidSecretKey",
        )
    return secret
