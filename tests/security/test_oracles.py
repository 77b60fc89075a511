"""Family 2: documents that a caller may not read change nothing in any answer, nor in its order.

All that a user may ask is asked twice: before others have stored documents with the same words,
places, numbers and names, and after. Both times the answers are the same, byte by byte, but for
what is of the moment: times of reading, and tokens, which are followed to the end instead."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from baas.testing import make_settings, started_app
from tests.baas.http.conftest import ADMIN, BASE, World, open_world
from tests.baas.ws.client import Client
from tests.mongo import engine_settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

RULES = """
rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /{path=**}/notes/{id} {
      allow read, delete: if resource.data.owner == request.auth.uid;
      allow create: if request.resource.data.owner == request.auth.uid;
    }
    match /shared/{id} {
      allow read: if request.auth.uid in resource.data.members;
    }
  }
}
"""
CENTER = {"$geo": [48.2, 16.4]}
OF_THE_MOMENT = re.compile(
    r'"(read_time|transaction|next_page_token|request_id|resume_token)": "[^"]*"|"version": [0-9]+'
)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "mongodb"])
async def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    more = engine_settings(request, request.param)
    settings = make_settings(tmp_path_factory.mktemp("oracles") / "data", **more)
    async with started_app(settings) as app, open_world(app) as opened:
        deployed = await opened.operator.put(f"{ADMIN}/rules", json={"source": RULES})
        assert deployed.is_success, deployed.text
        yield opened


def note(uid: str, number: int, text: str) -> dict[str, Any]:
    at = {"$geo": [48.2 + number / 1_000, 16.4]}
    return {
        "owner": uid,
        "members": [uid],
        "n": number,
        "text": text,
        "at": at,
        "tags": ["x", f"t{number}"],
    }


async def write(world: World, documents: dict[str, Any]) -> None:
    writes = [{"set": path, "fields": fields} for path, fields in documents.items()]
    answer = await world.secret.post(f"{BASE}:commit", json={"writes": writes})
    assert answer.is_success, answer.text


def own(world: World) -> dict[str, Any]:
    """Few, among which "ant" is the rarer word."""
    texts = ["ant bee", "bee bee ant ox", "bee", "bee antler", "ant ant bee cow cow"]
    found = {
        f"{collection}/m{number}": note(world.uid, number, text)
        for collection in ("notes", "shared")
        for number, text in enumerate(texts, 3)
    }
    return found | {"rooms/r/notes/deep": note(world.uid, 9, "deep ant bee")}


def hidden() -> dict[str, Any]:
    """Before, between and behind all of these, where "bee" is the rarer word by far."""
    found = {}
    for collection in ("notes", "shared", "rooms/h/notes", "rooms/r/notes"):
        for number in range(60):
            name = f"{'anz'[number % 3]}{number}"
            found[f"{collection}/{name}"] = note("eve", number - 20, "ant " * (number % 7 + 1))
    return found


def queries(uid: str) -> dict[str, dict[str, Any]]:
    mine = {"field": "owner", "op": "==", "value": uid}
    member = {"field": "members", "op": "array-contains", "value": uid}
    notes = {"collection": "notes", "where": mine}
    by_n = [{"field": "n"}]

    def narrowed(field: str, op: str, value: Any) -> dict[str, Any]:
        return {
            "collection": "notes",
            "where": {"and": [mine, {"field": field, "op": op, "value": value}]},
        }

    def words(text: str, **more: Any) -> dict[str, Any]:
        return {"search": {"text": text, "fields": ["text"]}, **more}

    def near(**more: Any) -> dict[str, Any]:
        return {"near": {"field": "at", "center": CENTER, **more}}

    return {
        "plain": notes,
        "group": {**notes, "group": True},
        "projection": {**notes, "select": ["n"]},
        "by number": {**notes, "order_by": by_n, "limit": 2},
        "from the end": {
            **notes,
            "order_by": [{"field": "n", "direction": "desc"}],
            "limit": 2,
        },
        "offset": {**notes, "offset": 2},
        "cursor": {**notes, "order_by": by_n, "start": {"values": [4]}},
        "range": narrowed("n", ">", 3),
        "unequal": narrowed("n", "!=", 4),
        "tag": narrowed("tags", "array-contains", "x"),
        "in": narrowed("n", "in", [3, 5, 50]),
        "words": {**notes, **words("ant bee")},
        "first words": {**notes, **words("ant bee", limit=1)},
        "prefix": {**notes, **words("ant* bee*")},
        "phrase": {**notes, **words('bee "bee ant"')},
        "phrase among what is shared": {
            "collection": "shared",
            "where": member,
            **words('"ant bee"'),
        },
        "words of a group": {**notes, "group": True, **words("ant bee")},
        "words among what is shared": {"collection": "shared", "where": member, **words("ant bee")},
        "near": {**notes, **near(), "limit": 3},
        "near of a group": {**notes, "group": True, **near(), "limit": 3},
        "within": {**notes, **near(radius_meters=600)},
        "near and shared": {"collection": "shared", "where": member, **near(), "limit": 2},
    }


AGGREGATES: dict[str, dict[str, Any]] = {
    "all": {
        "aggregates": [
            {"op": "count", "alias": "c"},
            {"op": "sum", "field": "n", "alias": "s"},
            {"op": "average", "field": "n", "alias": "a"},
            {"op": "minimum", "field": "n", "alias": "least"},
            {"op": "maximum", "field": "n", "alias": "most"},
        ]
    },
    "counted": {"aggregates": [{"op": "count", "up_to": 1_000, "alias": "c"}]},
    "distinct": {"group_by": ["n"]},
    "grouped": {
        "group_by": ["text"],
        "aggregates": [{"op": "maximum", "field": "n", "alias": "m"}],
    },
}
AGGREGATED = ("plain", "group", "range", "first words", "near", "near and shared")
REFUSED = ("plain", "words", "near")  # what only others may ask is refused alike, whatever is there


class Asking:
    """What the user is told, by what was asked."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.told: dict[str, str] = {}

    def note(self, name: str, answer: Any) -> None:
        self.told[name] = OF_THE_MOMENT.sub("", json.dumps(answer, sort_keys=True))

    async def post(self, name: str, url: str, body: dict[str, Any]) -> Any:
        answer = await self._world.user.post(f"{BASE}{url}", json=body)
        tree = answer.json()
        self.note(name, [answer.status_code, tree])
        return tree

    async def pages(self, name: str, url: str, body: dict[str, Any]) -> None:
        if url == ":query" or "group_by" in body:
            body = {**body, "page_size": 2}
        token = None
        for number in range(20):
            asked = body if token is None else {**body, "page_token": token}
            tree = await self.post(f"{name}, page {number}", url, asked)
            token = tree.get("next_page_token")
            if token is None:
                return

    async def everything(self) -> dict[str, str]:
        for name, query in queries(self._world.uid).items():
            await self._ask(name, query)
        for name in REFUSED:
            query = queries("eve")[name]
            await self.post(f"refused {name}", ":query", {"query": query})
            await self.post(f"refused {name}, counted", ":count", {"query": query})
        for method, url in (("GET", "/notes"), ("GET", "/notes?show_missing=true"), ("GET", "/h")):
            answer = await self._world.user.request(method, f"{BASE}{url}")
            self.note(f"{method} {url}", [answer.status_code, answer.json()])
        await self.post("collections", ":list-collections", {"parent": "rooms/r"})
        for url, body in (
            (":batch-get", {"documents": ["notes/a0", "notes/m3"]}),
            (":commit", {"writes": [{"delete": "notes/a0"}]}),
            (":bulk-write", {"writes": [{"delete": "notes/a0"}, {"delete": "notes/none"}]}),
            (":bulk-write", {"writes": [{"verify": "notes/a0", "precondition": {"exists": True}}]}),
        ):
            await self.post(f"{url} {body}", url, body)
        return self.told

    async def _ask(self, name: str, query: dict[str, Any]) -> None:
        body = {"query": query}
        await self.post(name, ":query", body)
        await self.post(f"{name}, explained", ":query", {**body, "explain": True})
        await self.pages(name, ":query", body)
        await self.post(f"{name}, counted", ":count", body)
        for what, wanted in AGGREGATES.items():
            if name in AGGREGATED:
                await self.pages(f"{name}, {what}", ":aggregate", {**body, **wanted})
        begun = await self._world.user.post(f"{BASE}:begin-transaction", json={})
        within = {**body, "transaction": begun.json()["transaction"]}
        await self.post(f"{name}, in a transaction", ":query", within)
        client = Client(self._world.app)
        await client.hello(self._world.id_token)
        client.send({"type": "listen", "target": 1, **body})
        heard = [await client.receive()]
        if heard[0]["type"] == "added":
            heard.append(await client.receive())
        self.note(f"{name}, listened to", heard)
        await client.close()


async def test_what_others_hide_changes_no_answer(world: World) -> None:
    await write(world, own(world))
    before = await Asking(world).everything()
    await write(world, hidden())
    for _ in range(2):  # the second time with the indexes that the first one has made
        after = await Asking(world).everything()
        assert {name: told for name, told in after.items() if told != before.get(name)} == {}
        assert after.keys() == before.keys()
    allowed = [name for name, told in before.items() if told.startswith("[200")]
    assert len(allowed) > len(before) / 2
