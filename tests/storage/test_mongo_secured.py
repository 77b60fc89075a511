"""MongoDB as it is run in earnest: TLS with an authority of one's own, and users who sign in.
Commands go past the driver on its connections, so on both event loops."""

from __future__ import annotations

import asyncio
import base64
import datetime
import gc
import ipaddress
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pymongo import MongoClient

from baas.clock import SystemClock
from baas.storage import mongo_client
from baas.storage.engine import EngineUnavailable
from baas.storage.mongo_client import MongoConnection
from baas.storage.mongo_store import MongoStore
from baas.storage.mongo_wire import Document, Session
from baas.storage.mongo_writes import TOGETHER_BYTES_MAX
from baas.storage.store import StoreName
from tests.mongo import ReplicaSet, check_mongod
from tests.storage.commits import Writer, key, texts
from tests.waiting import PATIENCE_SECONDS

DATABASE = "secured"
PASSWORD = "not/to:be@told"
LARGE = 300_000  # many records of TLS
Run = Callable[[Coroutine[Any, Any, None]], None]
both_loops = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


class Authority:
    """Signs certificates; `file` is its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self._folder = folder
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        made = self._sign(self._name, self._key, constraints)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(made)

    def issue(self, address: str) -> Path:
        """A file with a certificate for a server at an IP address, and its key."""
        own = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, address)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        secret = own.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        file = self._folder / "server.pem"
        file.write_bytes(self._sign(name, own, names) + secret)
        return file

    def _sign(
        self, name: x509.Name, own: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        issuer = self._key.public_key()
        made = (
            x509.CertificateBuilder(self._name, name, own.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False)
        )
        return made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Secured:
    """A replica set with a user `baas`, who may write one database, and `other`, who may not."""

    folder: Path
    replica_set: ReplicaSet

    def uri(self, user: str = "baas", password: str = PASSWORD) -> str:
        signed_in = f"mongodb://{user}:{quote(password, safe='')}@"
        return self.replica_set.uri.replace("mongodb://", signed_in) + "&authSource=admin"

    def store(self, uri: str | None = None) -> MongoStore:
        return MongoStore(uri or self.uri(), DATABASE, SystemClock())


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    check_mongod()
    folder = tmp_path_factory.mktemp("secured")
    authority = Authority(folder, "authority")
    key_file = folder / "key"
    key_file.write_bytes(base64.b64encode(os.urandom(48)))
    key_file.chmod(0o600)
    flags = ["--tlsMode", "requireTLS", "--tlsCAFile", str(authority.file)]
    flags += ["--tlsCertificateKeyFile", str(authority.issue("127.0.0.1"))]
    flags += ["--tlsAllowConnectionsWithoutCertificates", "--keyFile", str(key_file)]
    options = f"&tls=true&tlsCAFile={quote(str(authority.file), safe='')}"
    started = ReplicaSet(folder / "set", flags=tuple(flags), options=options).start()
    try:
        made = Secured(folder, started)
        _make_users(made)
        yield made
    finally:
        started.stop()


def _make_users(secured: Secured) -> None:
    with secured.replica_set.client(0) as client:  # the first user is made without one
        client.admin.command("createUser", "root", pwd=PASSWORD, roles=["root"])
    with _as_root(secured) as client:
        for user, database in (("baas", DATABASE), ("other", "another")):
            roles = [{"role": "readWrite", "db": database}]
            client.admin.command("createUser", user, pwd=PASSWORD, roles=roles)


def _as_root(secured: Secured) -> MongoClient[dict[str, Any]]:
    return MongoClient(secured.uri("root"))


@both_loops
def test_commits_and_reads_of_any_size(secured: Secured, run: Run) -> None:
    async def check() -> None:
        store = secured.store()
        clock = SystemClock()
        name = StoreName(f"test-{clock.random_bytes(8).hex()}", "secured")
        engine = await store.open(name, create=True)
        writer = Writer(engine)
        small = {f"s{number}": f"text {number}" for number in range(50)}
        large = {f"l{number}": str(number) * LARGE for number in range(12)}
        assert sum(map(len, large.values())) > TOGETHER_BYTES_MAX
        await writer.write(1, dict(small))
        await writer.write(2, dict(large))
        changed: dict[str, str | None] = dict.fromkeys(small, "changed")
        await writer.write(3, changed | dict.fromkeys(large))
        snapshot = await engine.open_snapshot()
        names = [*large, *small]
        past = await snapshot.get_documents_at([key(one) for one in names], 2)
        assert [found.data.decode() for found in past if found] == list((large | small).values())
        together = await asyncio.gather(*[texts(engine, one) for one in names])
        assert together == [[None]] * len(large) + [["changed"]] * len(small)
        await snapshot.close()
        await store.delete_project(name.project or "")
        await store.close()

    run(check())


@both_loops
def test_cancelled_commands_leave_nothing_behind(secured: Secured, run: Run) -> None:
    slow = {"failCommands": ["count"], "appName": "baas", "blockConnection": True}
    command = {"configureFailPoint": "failCommand", "data": slow | {"blockTimeMS": 500}}

    async def check(client: MongoClient[dict[str, Any]]) -> None:
        connection = MongoConnection(secured.uri(), DATABASE, timeout_seconds=60)
        wire = connection._wire
        commands: list[Document] = [{"hello": 1}, {"count": "rows"}, {"hello": 1}]
        try:
            while True:
                count = client.admin.command(command | {"mode": {"times": 1}})["count"]
                task = asyncio.create_task(wire.call_all(commands, 60))
                met = {"waitForFailPoint": "failCommand", "timesEntered": count + 1}
                await asyncio.to_thread(client.admin.command, met | {"maxTimeMS": 60_000})
                task.cancel()
                await asyncio.wait([task])
                if task.cancelled():
                    break
                await task  # answered before, on a busy machine
            answers = await asyncio.gather(*[wire.call({"hello": 1}, 60) for _ in range(5)])
            assert all("setName" in answer for answer in answers)
        finally:
            await connection.close()

    with _as_root(secured) as client:
        run(check(client))


# Where connecting is given up, the driver leaves its socket to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@both_loops
def test_reads_that_are_given_up_leave_no_cursor_open(secured: Secured, run: Run) -> None:
    rows = 20
    large = [{"_id": number, "data": b"x" * 1_000_000} for number in range(rows)]

    async def give_up(connection: MongoConnection) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert len(await connection.read({"find": "large", "batchSize": 1_000})) == rows
        seconds = loop.time() - began
        for part in range(16):
            reading = asyncio.ensure_future(connection.read({"find": "large", "batchSize": 1_000}))
            await asyncio.sleep(seconds * part / 16)
            reading.cancel()
            await asyncio.wait([reading])

    async def check() -> None:
        connection = MongoConnection(secured.uri(), DATABASE, timeout_seconds=60)
        try:
            await give_up(connection)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while await asyncio.to_thread(open_cursors):
                assert time.monotonic() < deadline, "a cursor stays open"
                await asyncio.sleep(0.05)
            # The sessions are used again, so the server need not remember more and more of them.
            assert len(connection._readers._idle) < 5
        finally:
            await connection.close()

    with _as_root(secured) as client:

        def open_cursors() -> int:
            return int(client.admin.command("serverStatus")["metrics"]["cursor"]["open"]["total"])

        client[DATABASE]["large"].drop()
        client[DATABASE]["large"].insert_many(large)
        run(check())
        gc.collect()  # not in the midst of another test
        client[DATABASE]["large"].drop()


async def test_a_user_ends_transactions_that_its_own_lost_servers_left(secured: Secured) -> None:
    lost, other = [MongoConnection(secured.uri(), DATABASE, timeout_seconds=60) for _ in range(2)]
    try:
        session = Session(os.urandom(16))
        session.begin(asyncio.get_running_loop().time() + 60)
        await lost.write_in(session, {"insert": "left", "documents": [{"_id": os.urandom(8)}]})
        await asyncio.sleep(0.05)
        assert await other.kill_idle_transactions(0.01) == 1
    finally:
        for connection in (lost, other):
            await connection.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_who_may_not_is_told_so_and_no_password(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refusal(uri: str, reason: str) -> str:
        """With more patience where the machine is so busy that it is the time which is told."""
        for seconds in (0.5, 5.0, 30.0):
            monkeypatch.setattr(mongo_client, "ANSWER_SECONDS", seconds)
            store = MongoStore(uri, DATABASE, SystemClock(), timeout_seconds=seconds)
            try:
                with pytest.raises(EngineUnavailable) as told:
                    await store.open(StoreName("demo", "secured"), create=True)
            finally:
                await store.close()
            if reason in str(told.value):
                break
        return str(told.value)

    stranger = Authority(secured.folder, "stranger")
    refused = {
        secured.uri(password="wrong"): "Authentication failed",
        secured.uri("other"): "not authorized",
        secured.uri().replace("authority.pem", stranger.file.name): "certificate verify failed",
    }
    for uri, reason in refused.items():
        told = await refusal(uri, reason)
        assert reason in told
        assert PASSWORD not in told
        assert quote(PASSWORD, safe="") not in told
    gc.collect()  # of a handshake that failed the driver leaves the socket behind
