"""Whatever a body holds, it is answered or refused, never with a fault of the server's, and both
engines say the same."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from baas.testing import make_settings, started_app
from tests.baas.http.conftest import ADMIN, BASE, World, open_world
from tests.baas.ws.client import Client
from tests.effort import FACTOR, examples
from tests.faults.seeds import RULES, new_seed
from tests.model_based.small import make_everything_small
from tests.mongo import engine_settings

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.slow,
    pytest.mark.timeout(7_200),
]
LINES = {"accept": "application/x-ndjson"}
REQUESTS = 40  # of a run
# Nothing that a member may be, or just what it may be at most.
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, -0.0, 1e308, 5e-324, 2**31 - 1, 2**31, 2**53 + 1),
    *(2**63 - 1, 2**63, -(2**63), 2**64, "", "a", "\x00", "é" * 800, "x" * 1_501, "`", "a.b"),
    *([], {}, [[]], [{}], {"$ref": "c/a"}, {"$ref": "c"}, {"$ref": ""}, {"$double": "NaN"}),
    *({"$double": "-0"}, {"$geo": [91, 0]}, {"$int": "9007199254740993"}, {"$bytes": "!"}),
    *({"$vector": []}, {"$timestamp": "0001-01-01T00:00:00Z"}, {"a": 1, "$x": 2}, {"$$x": 1}),
)
FIELDS = ("a", "b", "m", "m.k", "`z z`", "a.b.c", "__name__", "`é`", "`a\\`b`")
ODD_FIELDS = ("é", "", ".", "a..b", "`", "__x__", "x" * 1_500, "x" * 1_501, "a." * 101 + "a")
COLLECTIONS = ("c", "c", "d", "c/a/c", "c/a/e", "c/a/c/a/c", "é")
ODD_COLLECTIONS = (
    "",
    "/",
    "c/",
    "c/a",
    "__indexes__",
    "__x__",
    ".",
    "c//c",
    "x" * 1_501,
    "c/a/b/c",
)
IDS = ("a", "b", "ab", "__id7__", "é", "n" * 1_490)
OPERATORS = (
    *("==", "==", "!=", "<", "<=", ">", ">="),
    *("in", "not-in", "array-contains", "array-contains-any"),
)
NUMBERS = (1, 1.5, -1, 2**53 + 1, {"$double": "NaN"}, {"$double": "Infinity"}, 1e308, 2**63 - 1)
WORDS = ("a", "ab", "é", "a*", "*", "*a", "a**b", "\u0301", "ﬁ", "日本", "\U0001f600", "!", "A b")
TIMES = frozenset({"create_time", "update_time", "read_time", "commit_time"})
OWN = frozenset({"request_id", "next_page_token", "transaction", "seen", "seconds"})


class Bodies:
    """Random bodies, most of which are nearly right."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self._oddity = self.chance.choice((0.0, 0.005, 0.03))

    def or_odd(self, value: Any) -> Any:
        return self.chance.choice(ODD) if self.chance.random() < self._oddity else value

    def some(self, *values: Any) -> Any:
        return self.or_odd(self.chance.choice(values))

    def rarely(self, odd: tuple[str, ...], plain: tuple[str, ...]) -> Any:
        return self.or_odd(
            self.chance.choice(odd if self.chance.random() < self._oddity else plain)
        )

    def field(self) -> Any:
        return self.rarely(ODD_FIELDS, FIELDS)

    def collection(self) -> Any:
        return self.rarely(ODD_COLLECTIONS, COLLECTIONS)

    def path(self) -> Any:
        return f"{self.collection()}/{self.chance.choice(IDS)}"

    def value(self, depth: int = 0) -> Any:
        chance, kind = self.chance, self.chance.randrange(12 if depth < 3 else 9)
        match kind:
            case 0 | 1:
                return self.some(0, 1, 2, 3)
            case 2:
                return self.some(*NUMBERS)
            case 3:
                return self.some("", "a", "b ab", "a*", "x" * 1_499, "x" * 1_500, "x" * 1_501)
            case 4:
                return self.some(None, True, False)
            case 5:
                return {"$ref": self.path()}
            case 6:
                return self.point()
            case 7:
                return self.some({"$bytes": "AA=="}, {"$vector": [1, 2.5]}, {"$vector": [0]})
            case 8:
                return {"$timestamp": self.some("2020-01-01T00:00:00Z", "9999-12-31T23:59:59.9Z")}
            case 9:
                return [self.value(depth + 1) for _ in range(chance.randint(0, 3))]
        return {
            name: self.value(depth + 1)
            for name in chance.sample(("k", "l", "$$"), chance.randint(0, 2))
        }

    def point(self) -> Any:
        return {"$geo": [self.some(0, -0.0, 48.2, 90, -90), self.some(0, 16.3, 180, -180)]}

    def filter(self, depth: int = 0) -> Any:
        chance = self.chance
        if depth < 4 and chance.random() < 0.35:
            items = [self.filter(depth + 1) for _ in range(chance.choice((1, 2, 2, 3)))]
            return self.or_odd({chance.choice(("and", "or")): items})
        operator = self.some(*OPERATORS)
        field = self.field()
        is_list = operator in ("in", "not-in", "array-contains-any")
        make = self.value if field != "__name__" else lambda: {"$ref": self.path()}
        value = [make() for _ in range(chance.choice((1, 2, 3, 10, 11, 31)))] if is_list else make()
        return self.or_odd({"field": field, "op": operator, "value": value})

    def query(self) -> Any:
        chance = self.chance
        query: dict[str, Any] = {"collection": self.collection()}
        members = {
            "group": lambda: self.some(True, True, False),
            "where": self.filter,
            "order_by": lambda: [self.order() for _ in range(chance.randint(1, 3))],
            "start": self.cursor,
            "end": self.cursor,
            "offset": lambda: self.some(0, 1, 2**31 - 1),
            "limit": lambda: self.some(1, 2, 5, 2**31 - 1),
            "select": lambda: [self.field() for _ in range(chance.randint(0, 3))],
            "search": self.search,
            "near": self.near,
        }
        often = (0.3, 0.6, 0.3, 0.1, 0.1, 0.2, 0.3, 0.2, 0.1, 0.15)
        for (name, make), share in zip(members.items(), often, strict=True):
            if chance.random() < share:
                query[name] = self.or_odd(make())
        if "near" in query or "search" in query:
            for name in ("order_by", "start", "end"):
                if chance.random() < 0.9:
                    query.pop(name, None)
        return self.or_odd(query)

    def order(self) -> Any:
        return {"field": self.field(), "direction": self.some("asc", "desc")}

    def cursor(self) -> Any:
        values = [self.value() for _ in range(self.chance.randint(1, 2))]
        return {"values": self.or_odd(values), "before": self.some(True, False)}

    def search(self) -> Any:
        words = [self.chance.choice(WORDS) for _ in range(self.chance.choice((1, 2, 3, 17)))]
        fields = [self.field() for _ in range(self.chance.choice((1, 1, 2, 11)))]
        return {"text": self.or_odd(" ".join(words)), "fields": fields}

    def near(self) -> Any:
        near = {"field": self.field(), "center": self.or_odd(self.point())}
        if self.chance.random() < 0.7:
            near["radius_meters"] = self.some(0, 1, 1e6, 2.1e7, 1e308, 5e-324)
        return near

    def aggregation(self) -> Any:
        chance = self.chance
        aggregates = []
        for _ in range(chance.choice((0, 1, 1, 2, 5, 6))):
            item: dict[str, Any] = {
                "op": self.some("count", "sum", "average", "minimum", "maximum")
            }
            if item["op"] != "count":
                item["field"] = self.field()
            elif chance.random() < 0.5:
                item["up_to"] = self.some(1, 2, 2**63 - 1)
            if chance.random() < 0.2:
                item["alias"] = self.some("n", "x" * 1_500, "field_1", "é")
            aggregates.append(item)
        groups = [self.field() for _ in range(chance.choice((0, 1, 1, 2, 3, 6)))]
        return {"query": self.query(), "aggregates": aggregates, "group_by": groups}

    def writes(self) -> Any:
        return [self.write() for _ in range(self.chance.choice((1, 2, 3)))]

    def write(self) -> Any:
        chance = self.chance
        verb = chance.choice(("set", "set", "set", "update", "create", "delete", "verify"))
        write: dict[str, Any] = {verb: self.or_odd(self.path())}
        if verb in ("set", "create"):
            names = chance.sample(("a", "b", "m", "z z", "é"), chance.randint(0, 4))
            write["fields"] = self.or_odd({name: self.value() for name in names})
        if verb == "update":
            write["fields"] = {str(self.field()): self.value() for _ in range(chance.randint(0, 2))}
            if chance.random() < 0.2:
                write["delete"] = [self.field()]
        if verb == "set" and chance.random() < 0.3:
            write |= chance.choice(({"merge": True}, {"mask": [self.field()]}, {"mask": []}))
        if verb in ("set", "update", "create") and chance.random() < 0.3:
            write["transforms"] = [self.transform() for _ in range(chance.randint(1, 2))]
        if verb != "create" and chance.random() < 0.2:
            write["precondition"] = self.some({"exists": True}, {"exists": False}, {})
        return self.or_odd(write)

    def transform(self) -> Any:
        name = self.some("increment", "maximum", "minimum", "array_union", "array_remove")
        is_list = name in ("array_union", "array_remove")
        made = [self.value()] if is_list else self.some(*NUMBERS)
        return {"field": self.field(), name if isinstance(name, str) else "increment": made}

    def request(self) -> tuple[str, Any]:
        """A verb, and a body for it."""
        chance = self.chance
        verb = chance.choice(
            ("query", "query", "query", "count", "aggregate", "aggregate", "commit", "batch-get")
        )
        match verb:
            case "commit":
                return verb, {"writes": self.writes()}
            case "batch-get":
                return verb, {"documents": [self.or_odd(self.path()) for _ in range(3)]}
            case "aggregate":
                body = self.aggregation()
            case _:
                body = {"query": self.query()}
        if verb != "count" and chance.random() < 0.3:
            body["page_size"] = self.some(1, 2, 1_000)
        return verb, body


@pytest.fixture(scope="module", autouse=True)
def everything_small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        make_everything_small(patch.setattr, patch.setitem)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worlds(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[World]]:
    """The same project twice, on an engine each."""
    async with AsyncExitStack() as stack:
        opened = []
        for engine in ("sqlite", "mongodb"):
            more = engine_settings(request, engine)
            settings = make_settings(tmp_path_factory.mktemp(engine) / "data", **more)
            app = await stack.enter_async_context(started_app(settings))
            world = await stack.enter_async_context(open_world(app))
            body = {"source": RULES, "allow_open": True}
            assert (await world.operator.put(f"{ADMIN}/rules", json=body)).is_success
            opened.append(world)
        yield opened


def plain(tree: Any) -> Any:
    """Without what is each server's own."""
    match tree:
        case dict():
            return {
                name: plain(item)
                for name, item in tree.items()
                if name not in OWN and (name not in TIMES or not isinstance(item, str))
            }
        case list():
            return [plain(item) for item in tree]
    return tree


async def send(world: World, verb: str, body: Any, headers: dict[str, str]) -> httpx.Response:
    return await world.anonymous.post(f"{BASE}:{verb}", content=json.dumps(body), headers=headers)


async def check(worlds: list[World], verb: str, body: Any, headers: dict[str, str]) -> list[Any]:
    """The answers, which are the same."""
    told = [await send(world, verb, body, headers) for world in worlds]
    if headers and told[0].is_success:
        trees = [[orjson.loads(line) for line in one.content.splitlines()] for one in told]
    else:
        trees = [one.json() for one in told]
    shown = [orjson.dumps(plain(tree), option=orjson.OPT_SORT_KEYS) for tree in trees]
    told_codes = [one.status_code for one in told]
    if told_codes[0] >= 500 or shown[0] != shown[1] or told_codes[0] != told_codes[1]:
        raise AssertionError(f"{verb} {json.dumps(body)}: {told_codes} {shown}")
    return trees


async def check_listener(world: World, query: Any, told: Any) -> None:
    """It is told what the query tells, or is refused for the same reason."""
    client = Client(world.app)
    await client.hello(world.secret_key)
    client.send(json.dumps({"type": "listen", "target": 1, "query": query}))
    first = await client.receive()
    if first["type"] == "added":
        await client.snapshot(1)
        assert plain(client.lists[1]) == plain(told.get("documents")), f"listener to {query}"
    elif "error" in told:
        assert first["error"]["reason"] == told["error"]["reason"], f"listener to {query}: {first}"
    else:
        assert query["search"], query
        assert first["error"]["reason"] == "SearchNotSupported"
    await client.close()


async def run(worlds: list[World], seed: int) -> None:
    make = Bodies(seed)
    for _ in range(REQUESTS):
        verb, body = make.request()
        headers = LINES if verb == "query" and make.chance.random() < 0.2 else {}
        trees = await check(worlds, verb, body, headers)
        if (
            verb == "query"
            and "page_size" not in body
            and not headers
            and make.chance.random() < 0.3
        ):
            await check_listener(worlds[make.chance.randrange(2)], body["query"], trees[0])
        while isinstance(trees[0], dict) and "next_page_token" in trees[0]:
            bodies = [{**body, "page_token": tree["next_page_token"]} for tree in trees]
            told = [
                await send(world, verb, one, {}) for world, one in zip(worlds, bodies, strict=True)
            ]
            assert [one.status_code for one in told] == [200, 200], f"{body}: {told[0].text}"
            trees = [one.json() for one in told]
            assert plain(trees[0]) == plain(trees[1]), f"pages of {body}"


async def test_both_engines_say_the_same_of_any_body(worlds: list[World]) -> None:
    first = 1 if FACTOR == 1 else new_seed()
    for number in range(examples(8)):
        try:
            await run(worlds, first + number)
        except AssertionError as error:
            raise AssertionError(f"{error}\nrepeat with SEED={first + number}") from error
