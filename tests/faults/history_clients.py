"""Clients that write down in a History what they do and see: over HTTP, and within the server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import httpx

from baas.clock import SystemClock
from baas.database.database import Database
from baas.database.transaction import Transaction
from baas.encoding import json_values
from baas.encoding.documents import StoredDocument
from baas.errors import (
    Aborted,
    AlreadyExists,
    BaasError,
    FailedPrecondition,
    NotFound,
    ResourceExhausted,
)
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.queries import Query
from baas.model.timestamps import Timestamp
from baas.model.values import Value
from baas.model.writes import (
    DeleteWrite,
    Increment,
    Precondition,
    SetWrite,
    Write,
)
from baas.wire.queries import encode_query
from tests.faults.history import (
    WITNESSES,
    Acknowledged,
    Commit,
    History,
    Image,
    Outcome,
    QueryRead,
    Read,
    Refused,
    Unknown,
    now,
    witness_write,
)

Found = dict[str, Image | None]
Observe = Callable[[Found, list[Image]], Sequence[Write]]

RETRY_SECONDS = 0.02
_REFUSALS = {
    "NOT_FOUND": Refused("NotFound"),
    "ALREADY_EXISTS": Refused("AlreadyExists"),
    "FAILED_PRECONDITION": Refused("FailedPrecondition"),
    "ABORTED": Refused(),
    "RESOURCE_EXHAUSTED": Refused(),
    "DATA_LOSS": Refused("DataLoss"),  # which nothing explains
}
# What may have happened, or may yet.
_UNSURE = frozenset({"UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "UNKNOWN", "CANCELLED"})


class Client(Protocol):
    """What the load needs. Nothing raises for a server that is away: reads then give None."""

    async def commit(self, writes: Sequence[Write]) -> Outcome: ...

    async def read(self, *paths: str) -> Found | None: ...

    async def query(self, query: Query) -> Sequence[Image] | None: ...

    async def count(self, query: Query) -> None: ...

    async def transact(self, paths: Sequence[str], query: Query | None, observe: Observe) -> None:
        """A read-modify-write: what `observe` makes of the documents and of the query's answer is
        committed only if they are still so."""
        ...


class HttpClient:
    """One client of a running server. `url` is asked at every call: the server may have moved, or
    the client may go to another node. A transaction is a read and a commit whose preconditions are
    the update times that were read; queries in transactions are not for it."""

    def __init__(
        self,
        history: History,
        name: str,
        url: Callable[[], str],
        chance: random.Random,
        *,
        project: str,
        token: Callable[[], str] | None = None,
        timeout_seconds: float = 20,
    ) -> None:
        self.name = name
        self._history = history
        self._url = url
        self._chance = chance
        self._token = token
        self._base = f"/api/v1/projects/{project}/documents"
        self._http = httpx.AsyncClient(timeout=timeout_seconds)
        self._commits = 0
        self.is_ending = False  # from now on an unknown outcome is left unknown

    async def commit(self, writes: Sequence[Write]) -> Outcome:
        self._commits += 1
        commit = Commit(
            self.name,
            f"{self.name}-{self._commits}",
            [*writes, witness_write(f"{self.name}-{self._commits}")],
            Unknown(),
            invoked=now(),
        )
        body = {
            "writes": [encode_write(write) for write in commit.writes],
            "request_id": commit.name,
        }
        # An unknown outcome is left as it is, or the same request is sent until it is answered.
        insists = self._chance.random() < 0.6
        while True:
            commit.outcome = await self._try_commit(body, commit)
            if not isinstance(commit.outcome, Unknown) or not insists or self.is_ending:
                break
            await asyncio.sleep(RETRY_SECONDS)
        commit.responded = now()
        self._history.commits.append(commit)
        return commit.outcome

    async def _try_commit(self, body: dict[str, Any], commit: Commit) -> Outcome:
        answer = await self._post(":commit", body)
        if answer is None:
            return Unknown()
        if answer.status_code == 200:
            told = answer.json()
            results = [
                [json_values.decode_value(value) for value in item.get("transform_results", ())]
                for item in told["write_results"]
            ]
            return Acknowledged(_version(told["commit_time"]), results)
        code = answer.json()["error"]["code"]
        if code in _UNSURE:
            return Unknown()
        return _REFUSALS[code]

    async def read(self, *paths: str) -> Found | None:
        read = Read(self.name, {}, None, invoked=now())
        if len(paths) == 1 and self._chance.random() < 0.5:
            answer = await self._send("GET", f"/{paths[0]}", None)
            read.responded = now()
            if answer is None or answer.status_code not in (200, 404):
                return None
            found = {paths[0]: None if answer.status_code == 404 else _image(answer.json())}
        else:
            answer = await self._post(":batch-get", {"documents": list(paths)})
            read.responded = now()
            if answer is None or answer.status_code != 200:
                return None
            told = answer.json()
            read.version = _version(told["read_time"])
            found = {
                item["path"]: None if item["document"] is None else _image(item["document"])
                for item in told["documents"]
            }
        read.found = found
        self._history.reads.append(read)
        return found

    async def query(self, query: Query) -> Sequence[Image] | None:
        invoked = now()
        answer = await self._post(":query", {"query": encode_query(query)})
        if answer is None or answer.status_code != 200:
            return None
        told = answer.json()
        assert not told.get("more"), "the load's answers fit on one page"
        found = [_image(item) for item in told["documents"]]
        version = _version(told["read_time"])
        self._history.queries.append(
            QueryRead(self.name, query, found, version, invoked=invoked, responded=now())
        )
        return found

    async def count(self, query: Query) -> None:
        invoked = now()
        answer = await self._post(":count", {"query": encode_query(query)})
        if answer is not None and answer.status_code == 200:
            told = answer.json()
            version = _version(told["read_time"])
            seen = QueryRead(self.name, query, None, version, told["count"], invoked, now())
            self._history.queries.append(seen)

    async def transact(self, paths: Sequence[str], query: Query | None, observe: Observe) -> None:
        found = await self.read(*paths)
        if found is None:
            return
        answer = [] if query is None else await self.query(query)
        if answer is None:
            return
        await self.commit([_guarded(write, found) for write in observe(found, list(answer))])

    async def close(self) -> None:
        await self._http.aclose()

    async def _post(self, verb: str, body: Any) -> httpx.Response | None:
        return await self._send("POST", verb, body)

    async def _send(self, method: str, path: str, body: Any) -> httpx.Response | None:
        headers = {} if self._token is None else {"Authorization": f"Bearer {self._token()}"}
        try:
            answer = await self._http.request(
                method, self._url() + self._base + path, json=body, headers=headers
            )
        except httpx.HTTPError:
            await asyncio.sleep(RETRY_SECONDS)  # a server that is away answers very fast
            return None
        if answer.status_code >= 500:
            await asyncio.sleep(RETRY_SECONDS)
        return answer


class DatabaseClient:
    """One client within the server's process, whose transactions are the server's own: documents
    and queries that they read are watched by the committer."""

    def __init__(self, history: History, name: str, database: Callable[[], Database]) -> None:
        self.name = name
        self._history = history
        self._database = database
        self._commits = 0

    async def commit(self, writes: Sequence[Write]) -> Outcome:
        return await self._commit((), None, lambda found, answer: writes)

    async def read(self, *paths: str) -> Found | None:
        invoked = now()
        try:
            async with self._database().snapshot() as snapshot:
                documents = await snapshot.get_documents([DocumentPath.parse(at) for at in paths])
                version = snapshot.version
        except BaasError:
            return None
        found = _found(paths, documents)
        self._history.reads.append(Read(self.name, found, version, invoked, now()))
        return found

    async def query(self, query: Query) -> Sequence[Image] | None:
        invoked = now()
        try:
            result = await self._database().run_query(query)
        except BaasError:
            return None
        found = [_stored_image(document) for document in result.documents]
        self._history.queries.append(
            QueryRead(self.name, query, found, result.version, invoked=invoked, responded=now())
        )
        return found

    async def count(self, query: Query) -> None:
        invoked = now()
        try:
            async with self._database().snapshot() as snapshot:
                number = await snapshot.count(query)
                version = snapshot.version
        except BaasError:
            return
        seen = QueryRead(self.name, query, None, version, number, invoked, now())
        self._history.queries.append(seen)

    async def transact(self, paths: Sequence[str], query: Query | None, observe: Observe) -> None:
        await self._commit(paths, query, observe)

    async def _commit(self, paths: Sequence[str], query: Query | None, observe: Observe) -> Outcome:
        self._commits += 1
        commit = Commit(self.name, f"{self.name}-{self._commits}", (), Unknown(), invoked=now())

        async def body(transaction: Transaction) -> None:
            basis: list[Read | QueryRead] = []
            found: Found = {}
            answer: list[Image] = []
            if paths:
                wanted = [DocumentPath.parse(path) for path in paths]
                found = _found(paths, await transaction.get_documents(wanted))
                basis.append(Read(self.name, found, None))
            if query is not None:
                result = await transaction.run_query(query)
                answer = [_stored_image(document) for document in result.documents]
                basis.append(QueryRead(self.name, query, answer, 0))
            # The body may run again: what counts is its last run.
            commit.based_on = basis
            commit.writes = [*observe(found, answer), witness_write(commit.name)]
            await transaction.write(commit.writes)

        commit.outcome = await self._run(body, commit.name)
        commit.responded = now()
        self._history.commits.append(commit)
        return commit.outcome

    async def _run(self, body: Callable[[Transaction], Awaitable[None]], name: str) -> Outcome:
        time = Timestamp(SystemClock().now_microseconds())
        try:
            result = await self._database().run_transaction(
                body, request_time=time, request_id=name
            )
        except (NotFound, AlreadyExists, FailedPrecondition) as error:
            return Refused(type(error).__name__)
        except (Aborted, ResourceExhausted):
            return Refused()
        except BaasError:
            return Unknown()
        return Acknowledged(
            result.version, [item.transform_results for item in result.write_results]
        )


async def read_witnesses(
    client: httpx.AsyncClient, url: str, project: str, token: str
) -> list[Image]:
    """The whole collection WITNESSES of a running server, for `check_history`."""
    body = {"query": encode_query(Query(CollectionPath((WITNESSES,))))}
    headers = {"Accept": "application/x-ndjson", "Authorization": f"Bearer {token}"}
    answer = await client.post(
        f"{url}/api/v1/projects/{project}/documents:query", json=body, headers=headers
    )
    lines = [httpx.Response(200, text=line).json() for line in answer.text.splitlines()]
    assert answer.status_code == 200, answer.text
    assert lines[-1].get("done") is True, answer.text[-500:]
    return [_image(line["document"]) for line in lines if "document" in line]


async def find_witnesses(database: Database) -> list[Image]:
    """The same, within the server's process."""
    result = await database.run_query(Query(CollectionPath((WITNESSES,))))
    return [_stored_image(document) for document in result.documents]


def encode_write(write: Write) -> dict[str, Any]:
    """A write as the HTTP API takes it: what the load uses of them."""
    tree: dict[str, Any]
    if isinstance(write, SetWrite):
        tree = {"set": str(write.path), "fields": json_values.encode_fields_tree(write.fields)}
        if write.mask is not None:
            tree["mask"] = [str(path) for path in write.mask]
        if write.transforms:
            tree["transforms"] = [_encode_increment(item) for item in write.transforms]
    elif isinstance(write, DeleteWrite):
        tree = {"delete": str(write.path)}
    else:
        tree = {"verify": str(write.path)}
    if write.precondition.update_time is not None:
        tree["precondition"] = {"update_time": write.precondition.update_time.isoformat()}
    elif write.precondition.exists is not None:
        tree["precondition"] = {"exists": write.precondition.exists}
    return tree


def _encode_increment(item: Any) -> dict[str, Any]:
    assert isinstance(item.transform, Increment), "the load has no other transform"
    return {"field": str(item.field), "increment": item.transform.operand}


def _guarded(write: Write, found: Found) -> Write:
    """The write, on condition that its document is as it was read."""
    path = str(write.path)
    if path not in found:
        return write
    image = found[path]
    precondition = (
        Precondition(exists=False)
        if image is None
        else Precondition(update_time=Timestamp(image.updated))
    )
    if isinstance(write, SetWrite):
        return SetWrite(write.path, write.fields, write.mask, write.transforms, precondition)
    return type(write)(write.path, precondition)


def _found(paths: Sequence[str], documents: Sequence[StoredDocument | None]) -> Found:
    return {
        path: None if document is None else _stored_image(document)
        for path, document in zip(paths, documents, strict=True)
    }


def _stored_image(document: StoredDocument) -> Image:
    return Image(document.name, document.data, document.created, document.version)


def _image(tree: dict[str, Any]) -> Image:
    fields: dict[str, Value] = json_values.decode_fields_tree(tree["fields"])
    return Image.of(
        tree["path"], fields, _version(tree["create_time"]), _version(tree["update_time"])
    )


def _version(text: str) -> int:
    return Timestamp.parse(text).microseconds
