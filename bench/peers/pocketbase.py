"""PocketBase, as its example `base` comes: SQLite in WAL mode with synchronous=NORMAL."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
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
from bench.peers.measure import Cannot, Figure, Page, ask, expect
from bench.processes import running
from scripts.free_ports import free_port

_ADMIN = {"identity": "admin@example.com", "password": "a-long-password"}
_MINE = "author = @request.auth.id"
_JSON = {"Content-Type": "application/json"}
_FIELDS: tuple[dict[str, Any], ...] = (
    {"name": "title", "type": "text"},
    {"name": "body", "type": "text"},
    {"name": "author", "type": "text"},
    {"name": "score", "type": "number"},
    {"name": "ratio", "type": "number"},
    {"name": "tags", "type": "json"},
    {"name": "place", "type": "json"},
    {"name": "public", "type": "bool"},
    {"name": "created", "type": "autodate", "onCreate": True},
    {"name": "updated", "type": "autodate", "onCreate": True, "onUpdate": True},
)
# A rule of "" lets everybody; one that is not named lets superusers only.
_RULES: dict[str, dict[str, str]] = {
    "free": {"createRule": ""},
    "ruled": {"createRule": f"@request.auth.id != '' && {_MINE}"},
    "small": {"viewRule": "", "listRule": "", "updateRule": ""},
    "large": {"listRule": "", "updateRule": ""},
    "asked": {"listRule": "", "updateRule": ""},
    "vast": {"listRule": ""},
    "counter": {"updateRule": ""},
    "owned": {"listRule": _MINE},
    "doomed": {"deleteRule": ""},
    "files": {"createRule": "", "viewRule": ""},
}
_FILE: dict[str, Any] = {"name": "file", "type": "file", "maxSelect": 1, "maxSize": 2 * FILE_LARGE}
_BOUNDARY = "a-long-boundary"
_INDEXES = {
    "owned": ("author",),
    "asked": ("author, score", "score"),
    "vast": ("author, score", "score"),
}


class PocketBase:
    """One data folder, seeded once and served again and again."""

    name = "pocketbase"

    def __init__(self, title: str, program: Path, folder: Path) -> None:
        self.title = title
        self._program = program
        self._folder = folder
        self._data = folder / "data"
        self._files: dict[int, str] = {}

    def seed(self, seed: Seed) -> None:
        self._folder.mkdir(parents=True)
        command = [str(self._program), "superuser", "upsert", *_ADMIN.values(), *self._flags()]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        with self._running() as (url, _), httpx.Client(base_url=url, timeout=60) as client:
            client.headers["Authorization"] = _sign_in(client, "_superusers", _ADMIN)[0]
            account = ACCOUNT | {"passwordConfirm": ACCOUNT["password"]}
            made = ask(client, "POST", "/api/collections/users/records", json=account).json()
            for name, rules in _RULES.items():
                wanted: dict[str, Any] = {"name": name, "type": "base", "fields": _FIELDS} | rules
                if name == "files":
                    wanted["fields"] = (*_FIELDS, _FILE)
                wanted["indexes"] = [
                    f"CREATE INDEX idx_{name}_{number} ON {name} ({columns})"
                    for number, columns in enumerate(_INDEXES.get(name, ()))
                ]
                ask(client, "POST", "/api/collections", json=wanted)
            for size in (FILE_SMALL, FILE_LARGE):
                given = {"file": (f"{size}.txt", file_bytes(size), "text/plain")}
                path = "/api/collections/files/records"
                record = ask(client, "POST", path, files=given).json()
                self._files[size] = f"/api/files/files/{record['id']}/{record['file']}"
        # Row by row over HTTP it would take minutes; a record is a plain row.
        for name, size in seed.sizes().items():
            _insert(self._data / "data.db", name, size, made["id"])

    @property
    def data(self) -> Path:
        return self._data

    @property
    def state(self) -> dict[str, str]:
        return {str(size): path for size, path in self._files.items()}

    def restore(self, state: Mapping[str, str]) -> None:
        self._files = {int(size): path for size, path in state.items()}

    @contextlib.contextmanager
    def serve(self) -> Iterator[PocketBaseTarget]:
        with self._running() as (url, pid):
            with httpx.Client(base_url=url, timeout=60) as client:
                user = {"identity": ACCOUNT["email"], "password": ACCOUNT["password"]}
                token, uid = _sign_in(client, "users", user)
                admin, _ = _sign_in(client, "_superusers", _ADMIN)
            yield PocketBaseTarget(url, pid, uid, token, admin, self._files)

    @contextlib.contextmanager
    def _running(self) -> Iterator[tuple[str, int]]:
        port = free_port()
        command = [str(self._program), "serve", f"--http=127.0.0.1:{port}", *self._flags()]
        url = f"http://127.0.0.1:{port}"
        log = self._folder / "log"
        with running(command, os.environ, f"{url}/api/health", log=log) as process:
            yield url, process.pid

    def _flags(self) -> list[str]:
        return [
            f"--dir={self._data}",
            f"--hooksDir={self._folder / 'hooks'}",
            f"--migrationsDir={self._folder / 'migrations'}",
            f"--publicDir={self._folder / 'public'}",
        ]


@dataclass(frozen=True)
class PocketBaseTarget:
    """See `measure.Target`."""

    url: str
    pid: int
    user: str
    token: str
    admin: str
    files: Mapping[int, str]

    def calls(self, row: Row) -> Sequence[Call]:
        signed_in = {"Authorization": self.token}
        path = f"/api/collections/{row.collection}/records"
        page = f"{path}?perPage={PAGE}"
        match row.name:
            case "create":
                return [Call("POST", path, _JSON, created(self.user))]
            case "create-rule":
                return [Call("POST", path, _JSON | signed_in, created(self.user))]
            case "get":
                return [Call("GET", path + "/{any}", {})]
            case "list-mine":
                return [Call("GET", page + "&skipTotal=true", signed_in)]
            case "update":
                return [self.update(row.collection)]
            case "delete":
                return [Call("DELETE", path + "/{id}", {})]
            case "increment":
                return [Call("PATCH", path + "/{id}", _JSON, '{"score+":1}')]
        if row.check == "file":
            return [Call("GET", self.files[row.count], {})]
        if row.check == "uploaded":
            multipart = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
            return [Call("POST", path, multipart, _multipart(file_bytes(row.count)))]
        if row.name.startswith(("query", "range")):
            is_range = row.name.startswith("range")
            where = "score%3C{bound}" if is_range else "author%3D'{author}'"
            return [Call("GET", f"{page}&skipTotal=true&sort=score&filter=({where})", {})]
        return [Call("GET", page + ("&skipTotal=true" if row.total is None else ""), {})]

    def update(self, collection: str) -> Call:
        path = f"/api/collections/{collection}/records/{{id}}"
        return Call("PATCH", path, _JSON, '{"score":{n}}')

    def read_page(self, bodies: Sequence[Any]) -> Page:
        total = bodies[0]["totalItems"]
        return Page(bodies[0]["items"], None if total < 0 else total)

    def read_document(self, body: Any) -> Mapping[str, Any]:
        fields: Mapping[str, Any] = body
        return fields

    def find(self, client: httpx.Client, collection: str, number: int) -> Mapping[str, Any]:
        path = f"/api/collections/{collection}/records/{DOCUMENT_ID % number}"
        return self.read_document(ask(client, "GET", path, headers=self._as_admin).json())

    def take_turns(self, row: Row, seconds: float) -> Figure:
        raise Cannot("it has no transactions for clients")

    def count(self, client: httpx.Client, collection: str) -> int:
        path = f"/api/collections/{collection}/records?perPage=1"
        return int(ask(client, "GET", path, headers=self._as_admin).json()["totalItems"])

    @property
    def _as_admin(self) -> dict[str, str]:
        return {"Authorization": self.admin}


def _multipart(body: bytes) -> str:
    head = 'Content-Disposition: form-data; name="file"; filename="a.txt"'
    kind = "Content-Type: text/plain"
    return f"--{_BOUNDARY}\r\n{head}\r\n{kind}\r\n\r\n{body.decode()}\r\n--{_BOUNDARY}--\r\n"


def _sign_in(client: httpx.Client, collection: str, who: Mapping[str, str]) -> tuple[str, str]:
    """(token, id)"""
    path = f"/api/collections/{collection}/auth-with-password"
    said = ask(client, "POST", path, json=dict(who)).json()
    return str(said["token"]), str(said["record"]["id"])


def _insert(file: Path, collection: str, size: int, user: str) -> None:
    now = "2026-01-01 00:00:00.000Z"
    columns = ["id", "created", "updated", *seeded(0, "")]
    places = ", ".join("?" for _ in columns)
    connection = apsw.Connection(str(file))
    try:
        with connection:
            connection.executemany(
                f"INSERT INTO {collection} ({', '.join(columns)}) VALUES ({places})",
                (
                    (DOCUMENT_ID % number, now, now, *map(_as_column, fields.values()))
                    for number in range(size)
                    for fields in [seeded(number, author_of(collection, number, user))]
                ),
            )
        (count,) = connection.execute(f"SELECT count(*) FROM {collection}").fetchone() or (0,)
        expect(count == size, f"the seed of `{collection}` is not whole")
    finally:
        connection.close()


def _as_column(value: Any) -> Any:
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return value
