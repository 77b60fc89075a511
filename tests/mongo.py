"""Real mongods for the tests: a replica set of one or more, on free ports, that can be hurt.

The mongods accept failpoints. They end with this process, however it ends.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from scripts.find_mongod import NOT_RUN, find_mongod, given_uri
from scripts.free_ports import free_port

START_SECONDS = 100.0
_REPLICA_SET = "tests"
_LOOK_MILLISECONDS = 2_000  # at one member, before the next one is asked
# A mongod of which nobody takes leave: the shell outlives this process by a moment.
_WATCH = 'cat >/dev/null; kill -9 "$1" 2>/dev/null'


@dataclass(slots=True)
class _Member:
    port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    watch: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


class ReplicaSet:
    """Real mongods in `folder`, which `stop` removes. Members are named by their number from 0.
    `options`: what a client's URI says of the connection, as `&tls=true`."""

    def __init__(
        self, folder: Path, members: int = 1, *, flags: tuple[str, ...] = (), options: str = ""
    ) -> None:
        mongod = find_mongod()
        assert mongod is not None, NOT_RUN
        self._mongod = mongod
        self._flags = flags
        self._options = options
        self._folder = folder
        self._members = [
            _Member(free_port(), folder / f"mongod{number}") for number in range(members)
        ]

    @property
    def uri(self) -> str:
        addresses = ",".join(member.address for member in self._members)
        return f"mongodb://{addresses}/?replicaSet={_REPLICA_SET}{self._options}"

    def address(self, number: int) -> str:
        return self._members[number].address

    def start(self) -> ReplicaSet:
        """Starts and initiates all members; returns when one of them takes writes."""
        try:
            for member in self._members:
                member.folder.mkdir(parents=True)
                self._start_member(member)
            self._initiate()
            self.wait_primary()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends all members at once and removes their data."""
        for number in range(len(self._members)):
            self.kill(number)
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self, number: int) -> None:
        """SIGKILL, also of one that is paused; repeating it changes nothing."""
        member = self._members[number]
        if member.process is not None:
            member.process.kill()
            member.process.wait(30)
            member.process = None
        if member.watch is not None:
            member.watch.kill()
            member.watch.communicate()
            member.watch = None

    def pause(self, number: int) -> None:
        """SIGSTOP: its connections stay open and nothing is answered."""
        self._signal(number, signal.SIGSTOP)

    def resume(self, number: int) -> None:
        self._signal(number, signal.SIGCONT)

    def restart(self, number: int) -> None:
        """Starts a killed member on its old data and port; returns when it answers."""
        self._start_member(self._members[number])

    def step_down(self) -> None:
        """The primary gives up its office; its connections are closed."""
        command = {"replSetStepDown": 1, "secondaryCatchUpPeriodSecs": 0, "force": True}
        # Some versions answer, some hang up.
        with self.client(self.wait_primary()) as client, suppress(PyMongoError):
            client.admin.command(command)

    def primary(self) -> int | None:
        """The member that says it is primary, if there is one."""
        for number, member in enumerate(self._members):
            if member.process is None:
                continue
            try:
                with self.client(number, milliseconds=_LOOK_MILLISECONDS) as client:
                    if client.admin.command("hello").get("isWritablePrimary"):
                        return number
            except PyMongoError:
                continue
        return None

    def wait_primary(self, *, other_than: int | None = None) -> int:
        """Waits until a member takes writes; with `other_than`, until it is another one."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            found = self.primary()
            if found is not None and found != other_than:
                return found
            time.sleep(0.05)
        raise AssertionError(f"no primary after {START_SECONDS} s:\n{self.output()[-3000:]}")

    def fail(self, data: dict[str, Any], mode: Any) -> int:
        """Sets the failpoint `failCommand` on the primary; `mode` "off" ends it. How many commands
        have met one so far: for `wait_failed`."""
        with self.client(self.wait_primary()) as client:
            command = {"configureFailPoint": "failCommand", "mode": mode}
            return int(client.admin.command(command | ({"data": data} if data else {}))["count"])

    def wait_failed(self, count: int) -> None:
        """Returns when one more than `count` commands have met the failpoint."""
        with self.client(self.wait_primary(), milliseconds=60_000) as client:
            command = {"waitForFailPoint": "failCommand", "timesEntered": count + 1}
            client.admin.command(command | {"maxTimeMS": 60_000})

    def client(self, number: int, *, milliseconds: int = 60_000) -> MongoClient[dict[str, Any]]:
        """A client of one member alone."""
        return MongoClient(
            f"mongodb://{self._members[number].address}/?directConnection=true{self._options}",
            serverSelectionTimeoutMS=milliseconds,
            connectTimeoutMS=milliseconds,
            socketTimeoutMS=milliseconds,
        )

    def output(self) -> str:
        """The logs of all members."""
        logs = [member.folder / "log" for member in self._members]
        return "\n".join(log.read_text(errors="replace") for log in logs if log.exists())

    def _signal(self, number: int, which: signal.Signals) -> None:
        process = self._members[number].process
        assert process is not None, f"member {number} does not run"
        process.send_signal(which)

    def _start_member(self, member: _Member) -> None:
        command = [self._mongod, "--replSet", _REPLICA_SET, "--dbpath", str(member.folder)]
        command += ["--bind_ip", "127.0.0.1", "--port", str(member.port), "--nounixsocket"]
        command += ["--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "256"]
        command += ["--setParameter", "enableTestCommands=1"]
        command += ["--setParameter", "diagnosticDataCollectionEnabled=false", *self._flags]
        with (member.folder / "log").open("ab") as log:
            member.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        member.watch = subprocess.Popen(
            ["sh", "-c", _WATCH, "sh", str(member.process.pid)], stdin=subprocess.PIPE
        )
        self._wait_answer(member)

    def _wait_answer(self, member: _Member) -> None:
        number = self._members.index(member)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert member.process is not None
            if member.process.poll() is not None:
                break
            try:
                with self.client(number, milliseconds=_LOOK_MILLISECONDS) as client:
                    client.admin.command("ping")
                    return
            except PyMongoError:
                time.sleep(0.05)
        raise AssertionError(f"a mongod did not start:\n{self.output()[-3000:]}")

    def _initiate(self) -> None:
        config = {
            "_id": _REPLICA_SET,
            "members": [
                {"_id": number, "host": member.address}
                for number, member in enumerate(self._members)
            ],
            # Elections within two or three seconds, for tests that wait for them.
            "settings": {"electionTimeoutMillis": 2_000, "heartbeatIntervalMillis": 500},
        }
        with self.client(0) as client:
            try:
                client.admin.command("replSetInitiate", config)
            except OperationFailure as error:
                if error.code != 23:  # AlreadyInitialized
                    raise


def check_mongod() -> None:
    """Fails the test where there is no mongod, or skips it if BAAS_EXCUSE says that it may be so.
    For tests that start replica sets of their own."""
    if find_mongod() is None:
        _report_not_run()


def _report_not_run() -> None:
    if "mongod" in os.environ.get("BAAS_EXCUSE", ""):
        pytest.skip(NOT_RUN)
    pytest.fail(NOT_RUN, pytrace=False)


@pytest.fixture(scope="session")
def replica_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaSet]:
    """One mongod for all tests of this process. Who breaks it mends it."""
    check_mongod()
    started = ReplicaSet(tmp_path_factory.mktemp("mongod") / "set").start()
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="session")
def mongodb_uri(request: pytest.FixtureRequest) -> str:
    """A replica set to write to, each test under database names of its own: the given one, else
    `replica_set`."""
    given = given_uri()
    if given is not None:
        return given
    found: ReplicaSet = request.getfixturevalue("replica_set")
    return found.uri


def engine_settings(request: pytest.FixtureRequest, engine: str) -> dict[str, Any]:
    """What makes a server use an engine, `sqlite` or `mongodb`: there in a database of its own."""
    if engine == "sqlite":
        return {}
    return {
        "engine": engine,
        "mongodb_uri": request.getfixturevalue("mongodb_uri"),
        "mongodb_database": f"t{secrets.token_hex(6)}",
    }
