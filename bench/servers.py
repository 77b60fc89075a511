"""Starts what is measured, the floor and the product, on either HTTP server, seeded alike."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from baas.clock import SystemClock
from baas.encoding.documents import StoredDocument
from baas.model.paths import DocumentPath
from baas.storage.engine import Change, CommitGroup, CommitRecord, Entries
from baas.storage.sqlite import SqliteEngine
from bench import floor_mongo_seed
from bench.processes import cpu_seconds, memory_mib, running
from scripts.free_ports import free_port

HERE = Path(__file__).parent
SEED_BATCH = 500
RULES = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /posts/{post} {
      allow get: if request.auth != null;
      allow list: if request.auth != null && request.query.limit <= 100;
      allow create: if request.auth != null && request.resource.data.author == request.auth.uid
        && request.resource.data.title is string;
    }
    match /checked/{post} {
      allow get: if resource.data.author == request.auth.uid;
      allow create: if true;
    }
  }
}
"""


@dataclass(frozen=True)
class Target:
    """A running server and the words a load needs to talk to it."""

    name: str
    server: str
    url: str
    process: subprocess.Popen[bytes]
    create_path: str
    get_prefix: str
    list_request: tuple[str, str, str]
    query_request: tuple[str, str, str]
    listen_url: str
    hello: tuple[str, ...]
    token: str
    uid: str
    api_key: str = ""

    def memory_mib(self) -> float:
        """Resident memory of the server process and its workers."""
        return memory_mib(self.process.pid)

    def cpu_seconds(self) -> float:
        """Processor time that the server process and its workers have used so far."""
        return cpu_seconds(self.process.pid)


def sync_delay_library(folder: Path) -> Path | None:
    """Builds the shim that slows fsync; None where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = folder / "sync_delay.so"
    command = [
        compiler,
        "-shared",
        "-fPIC",
        "-O2",
        "-o",
        str(library),
        str(HERE / "sync_delay.c"),
        "-ldl",
    ]
    return library if subprocess.run(command, check=False).returncode == 0 else None


def measured_fsync_ms(folder: Path, rounds: int = 200) -> float:
    """Median time of one fdatasync after a 4 KiB append, in the folder that the servers use."""
    times = []
    with (folder / "fsync.probe").open("wb", buffering=0) as file:
        for _ in range(rounds):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return sorted(times)[rounds // 2] * 1000


def _environment(delay_library: Path | None, delay_us: int) -> dict[str, str]:
    environment = {**os.environ, "BAAS_OPEN_RULES": "bench"}
    if delay_us and delay_library:
        environment |= {"LD_PRELOAD": str(delay_library), "BENCH_SYNC_DELAY_US": str(delay_us)}
    return environment


def seed_fields(number: int, author: str) -> dict[str, Any]:
    """One seeded document, of the same shape and size as those that the create load posts."""
    return {
        "title": f"title {number}",
        "body": "lorem ipsum " * 12,
        "author": author,
        "score": number * 7919 % 1_000_000,
        "ratio": 0.5,
        "tags": ["one", "two", "three"],
        "place": {"city": "Zürich", "zip": "8001"},
        "public": True,
    }


async def seed_floor(path: Path, documents: int) -> None:
    """Writes the floor's documents through the engine itself, before the floor starts."""
    engine = SqliteEngine.open(path, clock=SystemClock())
    for version, start in enumerate(range(0, documents, SEED_BATCH)):
        changes = []
        for number in range(start, min(start + SEED_BATCH, documents)):
            name = f"seed{number}"
            fields = seed_fields(number, "me")
            key = b"posts/" + name.encode()
            entry = Entries(1, [fields["score"].to_bytes(8, "big") + key])
            path_ = DocumentPath(("posts", name))
            stored = StoredDocument(
                path_, orjson.dumps(fields), created=version + 1, version=version + 1
            )
            changes.append(Change(key, path_, None, stored, (), (entry,)))
        await engine.commit(CommitGroup(version, [CommitRecord(version + 1, changes)]))
    await engine.close()


@contextlib.contextmanager
def floor(
    server: str, folder: Path, *, documents: int, delay: tuple[Path | None, int]
) -> Iterator[Target]:
    """The bare app of bench/floor.py, with its seed."""
    data = folder / "floor.sqlite"
    asyncio.run(seed_floor(data, documents))
    with _bare_app("bench.floor:app", server, _environment(*delay) | {"BENCH_DATA": str(data)}) as (
        target
    ):
        yield target


@contextlib.contextmanager
def mongodb_floor(server: str, uri: str, *, documents: int) -> Iterator[Target]:
    """The bare app of bench/floor_mongo.py, with its seed."""
    rows = [{"_id": f"seed{number}", **seed_fields(number, "me")} for number in range(documents)]
    floor_mongo_seed.seed(uri, rows)
    environment = dict(os.environ) | {"BENCH_MONGODB_URI": uri}
    with _bare_app("bench.floor_mongo:app", server, environment) as target:
        yield target


@contextlib.contextmanager
def _bare_app(app: str, server: str, environment: dict[str, str]) -> Iterator[Target]:
    port = free_port()
    if server == "uvicorn":
        command = [sys.executable, "-m", "uvicorn", app, "--port", str(port)]
        command += ["--loop", "uvloop", "--http", "httptools", "--ws", "websockets-sansio"]
        command += [
            "--ws-per-message-deflate",
            "false",
            "--no-access-log",
            "--log-level",
            "warning",
        ]
    else:
        command = [sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port)]
        command += ["--log-level", "warning", "--loop", "uvloop", app]
    url = f"http://127.0.0.1:{port}"
    with running(command, environment, url + "/list") as process:
        yield Target(
            name="floor",
            server=server,
            url=url,
            process=process,
            create_path="/posts",
            get_prefix="/posts/",
            list_request=("GET", "/list", "-"),
            query_request=("GET", "/query", "-"),
            listen_url=f"ws://127.0.0.1:{port}/",
            hello=(),
            token="-",
            uid="me",
        )


@contextlib.contextmanager
def product(
    server: str,
    folder: Path,
    *,
    documents: int,
    delay: tuple[Path | None, int],
    flags: tuple[str, ...] = (),
) -> Iterator[Target]:
    """The product as `baas serve` starts it: rules deployed, a signed-in user, the same seed."""
    port = free_port()
    data = folder / "data"
    command = [
        sys.executable,
        "-m",
        "baas",
        "serve",
        "--data",
        str(data),
        "--port",
        str(port),
        "--server",
        server,
        *flags,
    ]
    url = f"http://127.0.0.1:{port}"
    with running(command, _environment(*delay), url + "/readyz") as process:
        operator = json.loads((data / "server.json").read_text(encoding="utf-8"))["token"]
        uid, token, api_key = _prepare_project(url, operator)
        _seed_product(url, operator, documents, uid)
        base = "/api/v1/projects/bench/documents"
        query = {
            "collection": "posts",
            "where": {"field": "score", "op": "<", "value": 500_000},
            "order_by": [{"field": "score", "direction": "desc"}],
            "limit": 20,
        }
        listen = {
            "type": "listen",
            "target": 1,
            "query": {
                "collection": "fan",
                "limit": 1,
                "order_by": [{"field": "score", "direction": "desc"}],
            },
        }
        hello = {"type": "hello", "token": operator, "api_key": None}
        yield Target(
            name="baas",
            server=server,
            url=url,
            process=process,
            create_path=f"{base}/posts",
            get_prefix=f"{base}/posts/",
            list_request=(
                "POST",
                f"{base}:query",
                json.dumps({"query": {"collection": "posts", "limit": 20}}),
            ),
            query_request=("POST", f"{base}:query", json.dumps({"query": query})),
            listen_url=f"ws://127.0.0.1:{port}{base}:listen",
            hello=(json.dumps(hello), json.dumps(listen)),
            token=token,
            uid=uid,
            api_key=api_key,
        )


def _prepare_project(url: str, operator: str) -> tuple[str, str, str]:
    """(uid, id token, publishable key) of a signed-in user of the new project `bench`."""
    headers = {"Authorization": f"Bearer {operator}"}
    with httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=60) as admin:
        _check(admin.post("/admin/projects", json={"id": "bench", "name": "bench"}))
        _check(admin.put("/admin/projects/bench/rules", json={"source": RULES, "allow_open": True}))
        key = _check(
            admin.post("/admin/projects/bench/keys", json={"kind": "publishable", "name": "bench"})
        )
        api_key = str(key["key"])
    account = {"email": "bench@example.com", "password": "a-long-password"}
    answer = httpx.post(
        f"{url}/api/v1/projects/bench/accounts:sign-up",
        json=account,
        headers={"X-Api-Key": api_key},
    )
    signed_up = _check(answer)
    return signed_up["user"]["uid"], signed_up["id_token"], api_key


def _seed_product(url: str, operator: str, documents: int, author: str) -> None:
    headers = {"Authorization": f"Bearer {operator}"}
    with httpx.Client(
        base_url=f"{url}/api/v1/projects/bench", headers=headers, timeout=60
    ) as admin:
        for collection in ("posts", "checked"):
            for start in range(0, documents, SEED_BATCH):
                writes = [
                    {"set": f"{collection}/seed{number}", "fields": seed_fields(number, author)}
                    for number in range(start, min(start + SEED_BATCH, documents))
                ]
                _check(admin.post("/documents:commit", json={"writes": writes}))


def _check(answer: httpx.Response) -> dict[str, Any]:
    if not answer.is_success:
        raise RuntimeError(f"{answer.request.method} {answer.request.url}: {answer.text}")
    body: dict[str, Any] = answer.json()
    return body
