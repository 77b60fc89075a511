"""Parse Server on the same mongod as the product."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import httpx
from pymongo import MongoClient

from bench.peers.install import ParseServer
from bench.peers.loads import (
    ACCOUNT,
    DOCUMENT_ID,
    PAGE,
    Call,
    Row,
    Seed,
    author_of,
    created,
    seeded,
)
from bench.peers.measure import Cannot, Figure, Page, ask, expect
from bench.processes import running
from scripts.free_ports import free_port

DATABASE = "parse"
SEED_BATCH = 5_000
Documents: TypeAlias = Any  # pymongo's databases are generic in what a document is
_APP = {"X-Parse-Application-Id": "bench"}
_MASTER = _APP | {"X-Parse-Master-Key": "a-long-master-key"}
_JSON = {"Content-Type": "application/json"}
_EVERYBODY = {"*": True}
# Operations that are not named are for the master key only.
_PERMISSIONS: dict[str, dict[str, Any]] = {
    "free": {"create": _EVERYBODY},
    "ruled": {"create": {"requiresAuthentication": True}},
    "small": {
        "get": _EVERYBODY,
        "find": _EVERYBODY,
        "count": _EVERYBODY,
        "update": _EVERYBODY,
    },
    "large": {"find": _EVERYBODY, "count": _EVERYBODY, "update": _EVERYBODY},
    "asked": {"find": _EVERYBODY, "update": _EVERYBODY},
    "vast": {"find": _EVERYBODY},
    "counter": {"update": _EVERYBODY},
    "owned": {"readUserFields": ["author"]},
    "doomed": {"delete": _EVERYBODY},
}
# What class permissions cannot say, Parse leaves to code.
_CLOUD = """
Parse.Cloud.beforeSave("ruled", request => {
  if (!request.master && (!request.user || request.object.get("author") !== request.user.id)) {
    throw new Parse.Error(Parse.Error.OPERATION_FORBIDDEN, "not yours");
  }
});
"""
_TYPES = {str: "String", int: "Number", float: "Number", bool: "Boolean", list: "Array"}


class Parse:
    """One database of a mongod, seeded once and served again and again."""

    name = "parse"

    def __init__(
        self, title: str, installed: ParseServer, folder: Path, mongodb: Callable[[], str]
    ) -> None:
        self.title = title
        self._installed = installed
        self._folder = folder
        self._mongodb = mongodb

    def seed(self, seed: Seed) -> None:
        self._folder.mkdir(parents=True)
        (self._folder / "cloud.js").write_text(_CLOUD, encoding="utf-8")
        with self._running() as (url, _), httpx.Client(base_url=url, timeout=60) as client:
            account = {"username": ACCOUNT["email"], "password": ACCOUNT["password"]}
            made = ask(client, "POST", "/parse/users", headers=_APP, json=account).json()
            for name, permissions in _PERMISSIONS.items():
                wanted = {
                    "className": name,
                    "fields": _fields(name),
                    "classLevelPermissions": permissions,
                }
                ask(client, "POST", f"/parse/schemas/{name}", headers=_MASTER, json=wanted)
        mongo: MongoClient[dict[str, Any]]
        with MongoClient(self._mongodb()) as mongo:
            database: Documents = mongo[DATABASE]
            for name, size in seed.sizes().items():
                for start in range(0, size, SEED_BATCH):
                    numbers = range(start, min(start + SEED_BATCH, size))
                    database[name].insert_many(
                        [_stored(name, number, made["objectId"]) for number in numbers]
                    )
                expect(
                    database[name].count_documents({}) == size, f"the seed of `{name}` is not whole"
                )
            database["owned"].create_index("_p_author")
            for name in ("asked", "vast"):
                database[name].create_index([("author", 1), ("score", 1)])
                database[name].create_index("score")

    @contextlib.contextmanager
    def serve(self) -> Iterator[ParseTarget]:
        with self._running() as (url, pid):
            account = {"username": ACCOUNT["email"], "password": ACCOUNT["password"]}
            with httpx.Client(base_url=url, timeout=60) as client:
                said = ask(client, "POST", "/parse/login", headers=_APP, json=account).json()
            yield ParseTarget(url, pid, said["objectId"], said["sessionToken"])

    @contextlib.contextmanager
    def _running(self) -> Iterator[tuple[str, int]]:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        settings = {
            "appId": _APP["X-Parse-Application-Id"],
            "masterKey": _MASTER["X-Parse-Master-Key"],
            "databaseURI": _with_database(self._mongodb()),
            "serverURL": f"{url}/parse",
            "host": "127.0.0.1",
            "port": port,
            "cloud": str(self._folder / "cloud.js"),
        }
        configuration = self._folder / "configuration.json"
        configuration.write_text(json.dumps(settings), encoding="utf-8")
        command = [self._installed.node, str(self._installed.program), str(configuration)]
        environment = os.environ | {"NODE_ENV": "production"}
        with running(
            command,
            environment,
            f"{url}/parse/health",
            folder=self._folder,
            log=self._folder / "log",
        ) as process:
            yield url, process.pid


@dataclass(frozen=True)
class ParseTarget:
    """See `measure.Target`."""

    url: str
    pid: int
    user: str
    session: str

    def calls(self, row: Row) -> Sequence[Call]:
        signed_in = _APP | {"X-Parse-Session-Token": self.session}
        path = f"/parse/classes/{row.collection}"
        page = f"{path}?limit={PAGE}"
        match row.name:
            case "create":
                return [Call("POST", path, _JSON | _APP, created(self.user))]
            case "create-rule":
                return [Call("POST", path, _JSON | signed_in, created(self.user))]
            case "get":
                return [Call("GET", path + "/{any}", _APP)]
            case "list-mine":
                return [Call("GET", page, signed_in)]
            case "update":
                return [self.update(row.collection)]
            case "delete":
                return [Call("DELETE", path + "/{id}", _APP)]
            case "increment":
                body = '{"score":{"__op":"Increment","amount":1}}'
                return [Call("PUT", path + "/{id}", _JSON | _APP, body)]
        if row.check in ("file", "uploaded"):
            raise Cannot("not measured: its files are in MongoDB unless an adapter is added")
        if row.name.startswith(("query", "range")):
            is_range = row.name.startswith("range")
            where = '{"score":{"$lt":{bound}}}' if is_range else '{"author":"{author}"}'
            return [Call("GET", f"{page}&order=score&where={_quoted(where)}", _APP)]
        return [Call("GET", page + ("" if row.total is None else "&count=1"), _APP)]

    def update(self, collection: str) -> Call:
        path = f"/parse/classes/{collection}/{{id}}"
        return Call("PUT", path, _JSON | _APP, '{"score":{n}}')

    def read_page(self, bodies: Sequence[Any]) -> Page:
        documents = [
            document | {"author": document["author"]["objectId"]}
            if isinstance(document["author"], dict)
            else document
            for document in bodies[0]["results"]
        ]
        return Page(documents, bodies[0].get("count"))

    def read_document(self, body: Any) -> Mapping[str, Any]:
        fields: Mapping[str, Any] = body
        return fields

    def find(self, client: httpx.Client, collection: str, number: int) -> Mapping[str, Any]:
        path = f"/parse/classes/{collection}/{DOCUMENT_ID % number}"
        return self.read_document(ask(client, "GET", path, headers=_MASTER).json())

    def take_turns(self, row: Row, seconds: float) -> Figure:
        raise Cannot("clients have batches, but none that may read")

    def count(self, client: httpx.Client, collection: str) -> int:
        path = f"/parse/classes/{collection}?count=1&limit=0"
        return int(ask(client, "GET", path, headers=_MASTER).json()["count"])


def _fields(collection: str) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: {"type": _TYPES.get(type(value), "Object")} for name, value in seeded(0, "").items()
    }
    if collection == "owned":
        # Only a pointer can say whose a document is.
        fields["author"] = {"type": "Pointer", "targetClass": "_User"}
    return fields


def _stored(collection: str, number: int, user: str) -> dict[str, Any]:
    """A document as Parse Server itself would store it."""
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    fields = seeded(number, author_of(collection, number, user))
    if collection == "owned":
        fields["_p_author"] = f"_User${fields.pop('author')}"
    return {"_id": DOCUMENT_ID % number, **fields, "_created_at": now, "_updated_at": now}


def _quoted(template: str) -> str:
    """For a query string; what is to be filled in stays."""
    return re.sub(r"\{(?!bound|author)|(?<!bound)(?<!author)\}|[\"$:]", _as_percent, template)


def _as_percent(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"


def _with_database(uri: str) -> str:
    address, _, options = uri.partition("/?")
    return f"{address}/{DATABASE}?{options}"
