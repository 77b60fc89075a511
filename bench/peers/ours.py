"""The product, as `baas serve` starts it, on either engine and either HTTP server."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.peers.loads import (
    ACCOUNT,
    DOCUMENT_ID,
    FILE_LARGE,
    FILE_SMALL,
    PAGE,
    Call,
    Row,
    Seed,
    author_of,
    created,
    file_bytes,
    seeded,
)
from bench.peers.measure import Figure, Page, ask, expect
from bench.peers.turns import take_turns
from bench.peers.wrk import fill
from bench.processes import running
from scripts.free_ports import free_port

PROJECT = "bench"
SETTLED_SECONDS = 0.5
SEED_BATCH = 500
INDEX_SECONDS_MAX = 300.0
DEADLINE_STATUS = 504
RULES = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /free/{document} { allow create: if true; }
    match /ruled/{document} {
      allow create: if request.auth != null && request.resource.data.author == request.auth.uid;
    }
    match /small/{document} { allow get, list, update: if true; }
    match /large/{document} { allow list, update: if true; }
    match /asked/{document} { allow list, update: if true; }
    match /vast/{document} { allow list: if true; }
    match /counter/{document} { allow get, update: if true; }
    match /owned/{document} { allow list: if resource.data.author == request.auth.uid; }
    match /doomed/{document} { allow delete: if true; }
  }
}
service firebase.storage {
  match /b/{bucket}/o { match /files/{file} { allow get, create: if true; } }
}
"""
_JSON = {"Content-Type": "application/json"}
_DOCUMENTS = f"/api/v1/projects/{PROJECT}/documents"
_OBJECTS = f"/api/v1/projects/{PROJECT}/buckets/bench/objects"


class Product:
    """One data folder, seeded once and served again and again. With `like` it starts as a copy of
    another's seed."""

    def __init__(
        self,
        name: str,
        title: str,
        folder: Path,
        *,
        server: str = "uvicorn",
        workers: int = 1,
        mongodb: Callable[[], str] | None = None,
        like: Product | None = None,
    ) -> None:
        self.name = name
        self.title = title
        self._folder = folder
        self._data = folder / "data"
        self._server = server
        self._workers = workers
        self._mongodb = mongodb
        self._like = like
        self._api_key = ""

    def seed(self, seed: Seed) -> None:
        self._folder.mkdir(parents=True)
        if self._like is not None:
            shutil.copytree(self._like._data, self._data)
            self._api_key = self._like._api_key
            return
        with self._running() as (url, _, operator):
            self._api_key, user = _prepare(url, operator)
            headers = {"Authorization": f"Bearer {operator}"}
            with httpx.Client(base_url=url, headers=headers, timeout=120) as client:
                for collection, size in seed.sizes().items():
                    _fill(client, collection, size, user)
                for size in (FILE_SMALL, FILE_LARGE):
                    ask(client, "PUT", f"{_OBJECTS}/files/{size}", content=file_bytes(size))
                # Each has its index made.
                _query_indexed(client, _mine(user))
                for name in ("query", "range"):
                    for collection in ("asked", "vast") if seed.is_large else ("asked",):
                        text = _query(name, collection)
                        assert text is not None
                        _query_indexed(client, json.loads(fill(text, 7, 1)))

    @property
    def data(self) -> Path:
        return self._data

    @property
    def is_in_a_folder(self) -> bool:
        """Whether the folder is all there is of its seed."""
        return self._mongodb is None

    @property
    def state(self) -> str:
        return self._api_key

    def restore(self, state: str) -> None:
        self._api_key = state

    @contextlib.contextmanager
    def serve(self) -> Iterator[ProductTarget]:
        with self._running() as (url, pid, operator):
            headers = {"X-Api-Key": self._api_key}
            path = f"/api/v1/projects/{PROJECT}/accounts:sign-in"
            with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
                session = ask(client, "POST", path, json=ACCOUNT).json()
            yield ProductTarget(url, pid, session["user"]["uid"], session["id_token"], operator)

    @contextlib.contextmanager
    def _running(self) -> Iterator[tuple[str, int, str]]:
        """(URL, process id, operator's token)"""
        port = free_port()
        command = [sys.executable, "-m", "baas", "serve", "--data", str(self._data)]
        command += ["--port", str(port), "--server", self._server]
        command += ["--workers", str(self._workers)]
        if self._mongodb is not None:
            command += ["--engine", "mongodb", "--mongodb-uri", self._mongodb()]
        url = f"http://127.0.0.1:{port}"
        log = self._folder / "log"
        environment = {**os.environ, "BAAS_OPEN_RULES": PROJECT}
        with running(command, environment, url + "/readyz", log=log) as process:
            known = json.loads((self._data / "server.json").read_text(encoding="utf-8"))
            yield url, process.pid, str(known["token"])


@dataclass(frozen=True)
class ProductTarget:
    """See `measure.Target`."""

    url: str
    pid: int
    user: str
    token: str
    operator: str

    def calls(self, row: Row) -> Sequence[Call]:
        signed_in = {"Authorization": f"Bearer {self.token}"}
        path = f"{_DOCUMENTS}/{row.collection}"
        match row.name:
            case "create":
                return [Call("POST", path, _JSON, f'{{"fields":{created(self.user)}}}')]
            case "create-rule":
                body = f'{{"fields":{created(self.user)}}}'
                return [Call("POST", path, _JSON | signed_in, body)]
            case "get":
                return [Call("GET", path + "/{any}", {})]
            case "list-mine":
                body = json.dumps({"query": _mine(self.user)})
                return [Call("POST", f"{_DOCUMENTS}:query", _JSON | signed_in, body)]
            case "update":
                return [self.update(row.collection)]
            case "delete":
                return [Call("DELETE", path + "/{id}", {})]
            case "increment":
                body = '{"transforms":[{"field":"score","increment":1}]}'
                return [Call("PATCH", path + "/{id}", _JSON, body)]
        if row.check == "file":
            return [Call("GET", f"{_OBJECTS}/files/{row.count}", {})]
        if row.check == "uploaded":
            body = file_bytes(row.count).decode()
            path = f"{_OBJECTS}/files/up{row.count}-{{n}}"
            return [Call("PUT", path, {"Content-Type": "text/plain"}, body)]
        if (query := _query(row.name, row.collection)) is not None:
            return [Call("POST", f"{_DOCUMENTS}:query", _JSON, f'{{"query":{query}}}')]
        total = "" if row.total is None else "&total=true"
        return [Call("GET", f"{path}?page_size={PAGE}{total}", {})]

    def update(self, collection: str) -> Call:
        body = '{"fields":{"score":{n}}}'
        return Call("PATCH", f"{_DOCUMENTS}/{collection}/{{id}}", _JSON, body)

    def read_page(self, bodies: Sequence[Any]) -> Page:
        documents = [document["fields"] for document in bodies[0]["documents"]]
        return Page(documents, bodies[0].get("total"))

    def read_document(self, body: Any) -> Mapping[str, Any]:
        fields: Mapping[str, Any] = body["fields"]
        return fields

    def find(self, client: httpx.Client, collection: str, number: int) -> Mapping[str, Any]:
        path = f"{_DOCUMENTS}/{collection}/{DOCUMENT_ID % number}"
        return self.read_document(ask(client, "GET", path, headers=self._as_operator).json())

    def take_turns(self, row: Row, seconds: float) -> Figure:
        with httpx.Client(base_url=self.url) as client:
            before = self._settled_score(client, row.collection)
            figure, done = take_turns(
                self.url, PROJECT, self.token, self.pid, tasks=row.connections, seconds=seconds
            )
            added = self.find(client, row.collection, 0)["score"] - before
            expect(added == done, f"{row.title}: {done} acknowledged, {added} added")
        return figure

    def _settled_score(self, client: httpx.Client, collection: str) -> int:
        """When what the load before left on its way has been written: that goes on."""
        score = -1
        while score != (found := int(self.find(client, collection, 0)["score"])):
            score = found
            time.sleep(SETTLED_SECONDS)
        return score

    def count(self, client: httpx.Client, collection: str) -> int:
        if collection == "files":
            return self._count_files(client)
        query = {"query": {"collection": collection}}
        path = f"{_DOCUMENTS}:count"
        answer = ask(client, "POST", path, json=query, headers=self._as_operator)
        return int(answer.json()["count"])

    def _count_files(self, client: httpx.Client) -> int:
        found, more = 0, ""
        while True:
            path = f"{_OBJECTS}?prefix=files/up&page_size=1000{more}"
            page = ask(client, "GET", path, headers=self._as_operator).json()
            found += len(page["objects"])
            if "next_page_token" not in page:
                return found
            more = f"&page_token={page['next_page_token']}"

    @property
    def _as_operator(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.operator}"}


def _mine(user: str) -> dict[str, Any]:
    where = {"field": "author", "op": "==", "value": user}
    return {"collection": "owned", "where": where, "limit": PAGE}


def _prepare(url: str, operator: str) -> tuple[str, str]:
    """The new project's publishable key, and the id of its user."""
    headers = {"Authorization": f"Bearer {operator}"}
    admin = f"/api/v1/admin/projects/{PROJECT}"
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        ask(client, "POST", "/api/v1/admin/projects", json={"id": PROJECT, "name": PROJECT})
        ask(client, "PUT", f"{admin}/rules", json={"source": RULES, "allow_open": True})
        ask(client, "POST", f"{admin}/buckets", json={"id": "bench"})
        wanted = {"kind": "publishable", "name": PROJECT}
        key = str(ask(client, "POST", f"{admin}/keys", json=wanted).json()["key"])
    with httpx.Client(base_url=url, headers={"X-Api-Key": key}, timeout=60) as client:
        path = f"/api/v1/projects/{PROJECT}/accounts:sign-up"
        return key, str(ask(client, "POST", path, json=ACCOUNT).json()["user"]["uid"])


def _fill(client: httpx.Client, collection: str, size: int, user: str) -> None:
    for start in range(0, size, SEED_BATCH):
        writes = [
            {
                "set": f"{collection}/{DOCUMENT_ID % number}",
                "fields": seeded(number, author_of(collection, number, user)),
            }
            for number in range(start, min(start + SEED_BATCH, size))
        ]
        ask(client, "POST", f"{_DOCUMENTS}:bulk-write", json={"writes": writes})


def _query(name: str, collection: str) -> str | None:
    """The question of a row, if it is one for a value at random; a template."""
    if name.startswith("query"):
        where = {"field": "author", "op": "==", "value": "{author}"}
    elif name.startswith("range"):
        where = {"field": "score", "op": "<", "value": "{bound}"}
    else:
        return None
    order = [{"field": "score", "direction": "asc"}]
    query = {"collection": collection, "where": where, "order_by": order, "limit": PAGE}
    return json.dumps(query).replace('"{bound}"', "{bound}")  # a number


def _query_indexed(client: httpx.Client, query: dict[str, Any]) -> None:
    """Asks until the index is there that the question wants, and answers."""
    deadline = time.monotonic() + INDEX_SECONDS_MAX
    body = {"query": query, "explain": True}
    while True:
        answer = client.post(f"{_DOCUMENTS}:query", json=body)
        if answer.is_success and answer.json()["explain"]["scans"][0]["kind"] == "index":
            return
        # Without an index a query of very many documents runs into its deadline.
        is_late = answer.status_code == DEADLINE_STATUS
        expect(answer.is_success or is_late, f"a query of the seed failed: {answer.text[:500]}")
        expect(time.monotonic() < deadline, f"no index was made in time for {query}")
        time.sleep(0.2)
