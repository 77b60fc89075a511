"""Every way in which a caller can read, or learn of, one document of the project `demo`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

import httpx

from tests.baas.http.conftest import BASE, World
from tests.baas.ws.client import Client, Closed

Outcome: TypeAlias = tuple[str, str]
"""Code and reason of the refusal; `("OK", "")` for an answer."""
Read: TypeAlias = Callable[[World, str | None, str], Awaitable[Outcome]]
ALLOWED: Outcome = ("OK", "")


def _query(**members: Any) -> Callable[[str], dict[str, Any]]:
    return lambda collection: {"collection": collection, **members}


QUERIES: dict[str, Callable[[str], dict[str, Any]]] = {
    "query": _query(),
    "select": _query(select=["owner"]),
    "filter": _query(where={"field": "secret", "op": ">=", "value": "a"}),
    "order": _query(order_by=[{"field": "secret"}]),
    "cursor": _query(order_by=[{"field": "secret"}], start={"values": ["a"]}),
    "offset": _query(offset=1_000),
    "name": lambda collection: {
        "collection": collection,
        "where": {"field": "__name__", "op": "==", "value": {"$ref": f"{collection}/x"}},
    },
    "or": lambda collection: {
        "collection": collection,
        "where": {
            "or": [
                {"field": "owner", "op": "==", "value": "nobody"},
                {"field": "secret", "op": "!=", "value": None},
            ]
        },
    },
    "group": _query(group=True),
    "near": _query(near={"field": "at", "center": {"$geo": [1, 2]}, "radius_meters": 5}, limit=1),
}


async def outcome(world: World, token: str | None, method: str, url: str, **send: Any) -> Outcome:
    """What one request comes to."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    headers |= send.pop("headers", {})
    answer = await world.anonymous.request(method, url, headers=headers, **send)
    return refusal(answer)


def refusal(answer: httpx.Response) -> Outcome:
    if answer.is_success:
        return ALLOWED
    error = answer.json()["error"]
    assert set(error) == {"code", "reason", "message", "details", "request_id"}
    return error["code"], error["reason"]


async def listen(world: World, token: str | None, **wanted: Any) -> Outcome:
    """What comes of listening."""
    client = Client(world.app)
    try:
        await client.hello(token)
        client.send({"type": "listen", "target": 1, **wanted})
        message = await client.receive()
    except Closed as error:
        return "CLOSED", error.reason
    finally:
        await client.close()
    if message["type"] == "added":
        return ALLOWED
    return message["error"]["code"], message["error"]["reason"]


def _http(method: str, url: str, body: Callable[[str], Any] | None = None, **send: Any) -> Read:
    async def read(world: World, token: str | None, path: str) -> Outcome:
        collection, _, identifier = path.rpartition("/")
        address = url.format(base=BASE, path=path, collection=collection, id=identifier)
        extra = {} if body is None else {"json": body(path)}
        return await outcome(world, token, method, address, **extra, **send)

    return read


def _listen(wanted: Callable[[str], dict[str, Any]]) -> Read:
    async def read(world: World, token: str | None, path: str) -> Outcome:
        return await listen(world, token, **wanted(path))

    return read


def _collection(path: str) -> str:
    return path.rpartition("/")[0]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


async def _get_as_it_was(world: World, token: str | None, path: str) -> Outcome:
    return await outcome(world, token, "GET", f"{BASE}/{path}?read_time={_now()}")


async def _batch_get_as_it_was(world: World, token: str | None, path: str) -> Outcome:
    body = {"documents": [path], "read_time": _now()}
    return await outcome(world, token, "POST", f"{BASE}:batch-get", json=body)


def _in_transaction(url: str, body: Callable[[str], dict[str, Any]]) -> Read:
    """As a step of a transaction that the caller has begun."""

    async def read(world: World, token: str | None, path: str) -> Outcome:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        begun = await world.anonymous.post(f"{BASE}:begin-transaction", json={}, headers=headers)
        members = {**body(path), "transaction": begun.json()["transaction"]}
        return await outcome(world, token, "POST", url.format(base=BASE), json=members)

    return read


async def _committed(world: World, token: str | None, path: str) -> Outcome:
    """A commit that says, rightly, what it has read."""
    known = await world.secret.get(f"{BASE}/{path}")
    time = known.json()["update_time"] if known.is_success else None
    commit = _in_transaction(
        "{base}:commit",
        lambda path: {"writes": [], "reads": [{"path": path, "update_time": time}]},
    )
    return await commit(world, token, path)


GETS: dict[str, Read] = {
    "get": _http("GET", "{base}/{path}"),
    "batch get": _http("POST", "{base}:batch-get", lambda path: {"documents": [path]}),
    "batch get after another": _http(
        "POST", "{base}:batch-get", lambda path: {"documents": ["public/p", path]}
    ),
    "get as it was": _get_as_it_was,
    "batch get as it was": _batch_get_as_it_was,
    "verify": _http(
        "POST",
        "{base}:commit",
        lambda path: {"writes": [{"verify": path, "precondition": {"exists": True}}]},
    ),
    "get in a transaction": _in_transaction("{base}:batch-get", lambda path: {"documents": [path]}),
    "what a transaction has read": _committed,
    "listen to a document": _listen(lambda path: {"documents": [path]}),
    "listen to two": _listen(lambda path: {"documents": ["public/p", path]}),
    "listen from a made-up token": _listen(
        lambda path: {"documents": [path], "resume_token": "A" * 55}
    ),
}
SEARCH = _query(search={"text": "s3cret", "fields": ["secret"]})
LISTS: dict[str, Read] = {"list": _http("GET", "{base}/{collection}")}
for _name, _make in QUERIES.items():

    def _body(path: str, make: Callable[[str], dict[str, Any]] = _make) -> dict[str, Any]:
        return {"query": make(_collection(path))}

    def _sum(path: str, make: Callable[[str], dict[str, Any]] = _body) -> dict[str, Any]:
        return {**make(path), "aggregates": [{"op": "sum", "field": "x"}, {"op": "count"}]}

    LISTS[f"{_name}"] = _http("POST", "{base}:query", _body)
    LISTS[f"{_name} as stream"] = _http(
        "POST", "{base}:query", _body, headers={"accept": "application/x-ndjson"}
    )
    LISTS[f"{_name} counted"] = _http("POST", "{base}:count", _body)
    LISTS[f"{_name} aggregated"] = _http("POST", "{base}:aggregate", _sum)
    LISTS[f"{_name} listened to"] = _listen(_body)
    LISTS[f"{_name} in a transaction"] = _in_transaction("{base}:query", _body)
LISTS["search"] = _http("POST", "{base}:query", lambda path: {"query": SEARCH(_collection(path))})
LISTS["search counted"] = _http(
    "POST", "{base}:count", lambda path: {"query": SEARCH(_collection(path))}
)
LISTS["search as stream"] = _http(
    "POST",
    "{base}:query",
    lambda path: {"query": SEARCH(_collection(path))},
    headers={"accept": "application/x-ndjson"},
)
LISTS["list with total"] = _http("GET", "{base}/{collection}?total=true")
LISTS["list with missing"] = _http("GET", "{base}/{collection}?show_missing=true")
LISTS["collections of a document"] = _http(
    "POST", "{base}:list-collections", lambda path: {"parent": path}
)


def _aggregated(**members: Any) -> Callable[[str], dict[str, Any]]:
    return lambda path: {"query": {"collection": _collection(path)}, **members}


_NUMBERS = [{"op": op, "field": "x"} for op in ("sum", "average", "minimum", "maximum")]
AGGREGATIONS = {
    "numbers": _aggregated(aggregates=_NUMBERS),
    "counted up to": _aggregated(aggregates=[{"op": "count", "up_to": 1}]),
    "distinct": _aggregated(group_by=["secret"]),
    "groups": _aggregated(group_by=["owner", "secret"], aggregates=_NUMBERS, page_size=1),
}
for _name, _members in AGGREGATIONS.items():
    LISTS[_name] = _http("POST", "{base}:aggregate", _members)
    if _name in ("numbers", "distinct"):
        LISTS[f"{_name} in a transaction"] = _in_transaction("{base}:aggregate", _members)


def _as_it_was(url: str, body: Callable[[str], dict[str, Any]]) -> Read:
    async def read(world: World, token: str | None, path: str) -> Outcome:
        members = {**body(path), "read_time": _now()}
        return await outcome(world, token, "POST", url.format(base=BASE), json=members)

    return read


LISTS["query as it was"] = _as_it_was(
    "{base}:query", lambda path: {"query": {"collection": _collection(path)}}
)
LISTS["numbers as they were"] = _as_it_was("{base}:aggregate", AGGREGATIONS["numbers"])


class _Names(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "x"


def fill(path: str, **names: str) -> str:
    """A route's path with these names in it; every other one is `x`."""
    return path.replace(":path}", "}").format_map(_Names(names))
