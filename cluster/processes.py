"""The services of docker-compose.yml as processes of this machine: the same commands, settings and
secrets, with names and ports replaced by loopback's and paths by folders of the cluster's own."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from cluster.compose import ComposeError, Service, load_compose
from cluster.image import read_image
from scripts.find_mongod import NOT_RUN as NO_MONGOD
from scripts.find_mongod import find_mongod
from scripts.find_s3 import find_s3
from scripts.free_ports import free_port

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = ROOT / "docker-compose.yml"
START_SECONDS = 90.0
STOP_SECONDS = 25.0
LOOK_SECONDS = 1.0  # in which a node tells what it is doing
_ADDRESS = re.compile(r"\b(?P<host>[a-z][a-z0-9-]*|127\.0\.0\.1|0\.0\.0\.0):(?P<port>\d{2,5})\b")
_URL = re.compile(r"http://[^\s'\"]+")
# A process of which nobody takes leave: the shell outlives this one by a moment.
_WATCH = 'cat >/dev/null; kill -9 "$1" 2>/dev/null'


class ClusterFailed(Exception):
    """A member did not start or did not answer; the text says which, with the end of its output."""


@dataclass(slots=True)
class Member:
    """One service of the file, which runs or does not."""

    service: Service
    folder: Path
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    watch: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


class Cluster:
    """All members, in `folder`, where their data, logs, ports and secrets stay. With `published`
    the nodes get the ports that the file gives them on the host, where these are free."""

    def __init__(self, folder: Path, *, published: bool = False) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        services = load_compose(COMPOSE, _variables(folder))
        self.members = {name: Member(service, folder / name) for name, service in services.items()}
        self._ports = _ports(folder, services, published=published)
        for member in self.members.values():
            member.folder.mkdir(exist_ok=True)
            self._translate(member)

    # What there is ----------------------------------------------------------------------------

    @property
    def nodes(self) -> list[str]:
        return [name for name, member in self.members.items() if _kind(member.service) == "node"]

    @property
    def mongods(self) -> list[str]:
        return [name for name, member in self.members.items() if _kind(member.service) == "mongod"]

    @property
    def stores(self) -> list[str]:
        return [name for name, member in self.members.items() if _kind(member.service) == "s3"]

    def address(self, name: str) -> tuple[str, int]:
        """Where the member's one port is."""
        (port,) = [outer for (service, _), outer in self._ports.items() if service == name]
        return "127.0.0.1", port

    def url(self, name: str) -> str:
        host, port = self.address(name)
        return f"http://{host}:{port}"

    def operator_token(self, node: str) -> str:
        """Of a node that runs: it opens its administration, and ends with it."""
        file = Path(self.members[node].environment["BAAS_DATA"], "server.json")
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return str(told["token"])

    def primary(self) -> str | None:
        """The mongod that takes writes, if one says so."""
        for name in self.mongods:
            if self.members[name].is_running and _hello(self.address(name)).get(
                "isWritablePrimary"
            ):
                return name
        return None

    # What can be done to it -------------------------------------------------------------------

    def start(self) -> None:
        """Starts all, each after those that it needs, as the file says. Raises ClusterFailed, and
        leaves running what runs."""
        for member in self.members.values():
            if member.is_running:
                continue
            self.launch(member.name)
            if "service_completed_successfully" in self._wanted_of(member.name):
                self._wait_completed(member)
            else:
                self.wait_healthy(member.name)

    def launch(self, name: str) -> None:
        """Starts a member and does not wait for it."""
        member = self.members[name]
        with member.log.open("ab") as log:
            member.process = subprocess.Popen(
                member.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=member.environment,
                cwd=ROOT,
                start_new_session=True,  # Ctrl-C is for `make cluster`, which ends them in order
            )
        member.watch = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "watch", str(member.process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def restart(self, name: str) -> None:
        """Starts a killed member on its data; returns when it is healthy."""
        self.launch(name)
        self.wait_healthy(name)

    def wait_healthy(self, name: str) -> None:
        member = self.members[name]
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and member.is_running:
            if self.is_healthy(name):
                return
            time.sleep(0.05)
        raise ClusterFailed(f"`{name}` did not start:\n{member.output()[-3000:]}")

    def is_healthy(self, name: str) -> bool:
        """By the same question as the container's health check, asked without its tools."""
        service = self.members[name].service
        if _kind(service) == "mongod":
            return bool(_hello(self.address(name)))
        command = service.healthcheck or read_image(ROOT / "Dockerfile").healthcheck
        found = _URL.search(" ".join(command))
        assert found is not None, f"the health check of `{name}` asks no URL"
        try:
            return httpx.get(self._address_text(service, found[0]), timeout=3).is_success
        except httpx.HTTPError:
            return False

    def kill(self, name: str) -> None:
        """SIGKILL; repeating it changes nothing."""
        member = self.members[name]
        for process in (member.process, member.watch):
            if process is not None:
                process.kill()
                process.wait(STOP_SECONDS)
        if member.watch is not None and member.watch.stdin is not None:
            member.watch.stdin.close()
        member.process = member.watch = None

    def pause(self, name: str) -> None:
        """SIGSTOP: its connections stay open and nothing is answered."""
        self._signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._signal(name, signal.SIGCONT)

    def look(self) -> str:
        """What the nodes are doing, by their own word, and the end of what all have written."""
        running = [name for name in self.nodes if self.members[name].is_running]
        for name in running:
            self._signal(name, signal.SIGUSR2)
        time.sleep(LOOK_SECONDS)
        return end_of_logs(list(self.members.values()))

    def stop(self) -> None:
        """Ends all: the nodes in their own time, then the rest at once."""
        for group in (self.nodes, [*self.stores, *self.mongods]):
            for name in group:
                if self.members[name].is_running:
                    self._signal(name, signal.SIGTERM)
            deadline = time.monotonic() + STOP_SECONDS
            while time.monotonic() < deadline and any(
                self.members[name].is_running for name in group
            ):
                time.sleep(0.05)
        self.kill_all()

    def kill_all(self) -> None:
        for name in self.members:
            self.kill(name)

    def remove(self) -> None:
        """Ends all at once and removes their data."""
        self.kill_all()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, name: str, which: signal.Signals) -> None:
        process = self.members[name].process
        assert process is not None, f"`{name}` does not run"
        process.send_signal(which)

    def _wanted_of(self, name: str) -> set[str]:
        services = [member.service for member in self.members.values()]
        return {service.needs[name] for service in services if name in service.needs}

    def _wait_completed(self, member: Member) -> None:
        assert member.process is not None
        try:
            code = member.process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            code = -1
        self.kill(member.name)
        if code != 0:
            raise ClusterFailed(f"`{member.name}` ended with {code}:\n{member.output()[-3000:]}")

    # From containers to processes -------------------------------------------------------------

    def _translate(self, member: Member) -> None:
        service = member.service
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BAAS_", "AWS_", "ROOT_", "VGW_"))
        }
        given = dict(service.environment)
        if service.image == "baas":
            given = {**read_image(ROOT / "Dockerfile").settings, **given}
        for folder in service.folders:
            Path(self._path(member, folder)).mkdir(parents=True, exist_ok=True)
        member.environment = inherited | {
            name: self._value(member, value) for name, value in given.items()
        }
        member.command = [*self._program(service), *self._arguments(member)]

    def _program(self, service: Service) -> list[str]:
        kind = _kind(service)
        if kind == "node":
            return [sys.executable, "-m", "baas"]
        if kind == "task":
            return [sys.executable]
        found = find_mongod() if kind == "mongod" else find_s3()
        if found is None:
            raise ClusterFailed(
                NO_MONGOD
                if kind == "mongod"
                else "no S3 server: python scripts/find_s3.py --install"
            )
        return [found]

    def _arguments(self, member: Member) -> list[str]:
        service = member.service
        words = service.command
        if _kind(service) == "mongod":
            words = words[1:]  # the program itself
        if service.entrypoint is not None:
            words = (*service.entrypoint[1:], *words)
        return [self._value(member, word) for word in words]

    def _value(self, member: Member, text: str) -> str:
        """An argument or a setting, as it is on this machine."""
        service = member.service
        if text in service.files:
            return str(ROOT / service.files[text])
        if text.startswith("/") and text != "/":
            return self._path(member, text)
        if text == "0.0.0.0":
            return "127.0.0.1"
        if text.isdigit() and (service.name, int(text)) in self._ports:
            return str(self._ports[service.name, int(text)])
        return self._address_text(service, text)

    def _address_text(self, service: Service, text: str) -> str:
        def replace(found: re.Match[str]) -> str:
            host = found["host"]
            name = service.name if host in ("127.0.0.1", "0.0.0.0") else host
            port = self._ports.get((name, int(found["port"])))
            return found[0] if port is None else f"127.0.0.1:{port}"

        return _ADDRESS.sub(replace, text)

    def _path(self, member: Member, path: str) -> str:
        """A folder of the container, if something that stays or is written is mounted there, at or
        above it, or below it; other paths, as those of URLs, stay what they are."""
        own = Path(path)
        for mounted in map(Path, member.service.folders):
            if own == mounted or own in mounted.parents or mounted in own.parents:
                return str(member.folder / "root" / own.relative_to("/"))
        return path


def _kind(service: Service) -> str:
    """node, mongod, s3, or a task that ends."""
    if service.image == "baas":
        return "node" if service.entrypoint is None else "task"
    if service.image.startswith("mongo:"):
        return "mongod"
    if "/versitygw:" in service.image:
        return "s3"
    raise ComposeError(f"`{service.name}`: no process stands for the image `{service.image}`")


def _hello(address: tuple[str, int]) -> Mapping[str, Any]:
    """What a mongod says of itself; nothing if it does not answer soon."""
    milliseconds = 1_000
    try:
        with MongoClient[dict[str, Any]](
            *address,
            directConnection=True,
            serverSelectionTimeoutMS=milliseconds,
            connectTimeoutMS=milliseconds,
            socketTimeoutMS=milliseconds,
        ) as client:
            return client.admin.command("hello")
    except PyMongoError:
        return {}


def _variables(folder: Path) -> dict[str, str]:
    """The secrets of the file, made at first and kept beside the data that they seal."""
    file = folder / ".env"
    if not file.exists():
        key = b64encode(secrets.token_bytes(32)).decode()
        text = f"BAAS_SECRET_KEY={key}\nS3_SECRET_KEY={secrets.token_hex(24)}\n"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(text)
    lines = file.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _ports(
    folder: Path, services: Mapping[str, Service], *, published: bool
) -> dict[tuple[str, int], int]:
    """A port of this machine for each that a service is asked on. Kept: a replica set knows its
    members by them."""
    file = folder / "ports.json"
    kept: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    found: dict[tuple[str, int], int] = {}
    for name, port in _asked(services):
        key = f"{name}:{port}"
        if key not in kept:
            wanted = services[name].ports.get(port) if published else None
            kept[key] = wanted if wanted is not None and _is_free(wanted) else free_port()
        found[name, port] = kept[key]
    file.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    taken = [name for (name, _), port in found.items() if not _is_free(port)]
    if taken:
        raise ClusterFailed(
            f"the port of `{taken[0]}` is taken: is the cluster in {folder} running already?"
        )
    return found


def _asked(services: Mapping[str, Service]) -> list[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    for service in services.values():
        found |= {(service.name, port) for port in service.ports}
        for text in (*service.environment.values(), *service.command):
            for match in _ADDRESS.finditer(text):
                name = service.name if match["host"] == "0.0.0.0" else match["host"]
                if name in services:
                    found.add((name, int(match["port"])))
    return sorted(found)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def end_of_logs(members: Sequence[Member]) -> str:
    """For people who look for what went wrong. Nodes may have been asked what they are doing."""
    return "\n".join(f"--- {member.name}\n{_end_of_log(member)}" for member in members)


def _end_of_log(member: Member) -> str:
    return member.output()[-20_000 if _kind(member.service) == "node" else -1_500 :]
