"""Family 5: small requests that would mean much work. Each used to take seconds or worse, or would
with a careless change; the limit is far above what they take, and far below what they took. It is
one of the processor's time: the machine may be busy with something else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from tests.baas.http.conftest import BASE, World, world
from tests.security.reads import outcome, refusal

__all__ = ["world"]

pytestmark = pytest.mark.timeout(600)
CPU_SECONDS_MAX = 10.0
NUMBERS = {f"k{number}": number for number in range(40_000)}


@pytest.fixture(autouse=True)
def little_work(world: World) -> Iterator[None]:
    before = time.process_time()
    yield
    assert time.process_time() - before < CPU_SECONDS_MAX


def _either(number: int) -> dict[str, Any]:
    field = f"f{number}"
    return {"or": [{"field": field, "op": "==", "value": value} for value in (1, 2)]}


def _tree(depth: int) -> dict[str, Any]:
    if depth == 0:
        return {"field": "a", "op": "==", "value": 1}
    return {"and": [{"or": [_tree(depth - 1)] * 2}] * 2}


async def test_many_fields_are_merged_in_one_go(world: World) -> None:
    body = {"fields": NUMBERS, "merge": True}
    for _ in range(3):
        assert (await world.secret.put(f"{BASE}/b/m", json=body)).is_success
    nested = {"fields": {"m": {"n": NUMBERS}}, "merge": True}
    assert (await world.secret.put(f"{BASE}/b/n", json=nested)).is_success


async def test_work_before_a_denial_is_bounded_too(world: World) -> None:
    await world.secret.put(f"{BASE}/closed/m", json={"fields": NUMBERS})
    for body in ({"fields": NUMBERS, "merge": True}, {"fields": {}, "mask": ["a"]}):
        answer = await world.anonymous.put(f"{BASE}/closed/m", json=body)
        assert refusal(answer) == ("PERMISSION_DENIED", "PermissionDenied")


async def test_unions_and_removals_do_not_compare_all_with_all(world: World) -> None:
    numbers = list(range(60_000))
    await world.secret.put(f"{BASE}/b/a", json={"fields": {"a": numbers}})
    for transform in ("array_union", "array_remove"):
        body = {"transforms": [{"field": "a", transform: numbers}]}
        assert (await world.secret.patch(f"{BASE}/b/a", json=body)).is_success


FILTERS: dict[str, Callable[[], dict[str, Any]]] = {
    "and of 1000 ors": lambda: {"and": [_either(number) for number in range(1_000)]},
    "tree of 16384": lambda: _tree(7),
    "30 times in of 30": lambda: {
        "and": [
            {"field": f"f{number}", "op": "in", "value": list(range(30))} for number in range(30)
        ]
    },
}


@pytest.mark.parametrize("name", FILTERS)
async def test_a_filter_is_not_multiplied_out(world: World, name: str) -> None:
    for collection in ("public", "closed"):
        body = {"query": {"collection": collection, "where": FILTERS[name]()}}
        found = await outcome(world, None, "POST", f"{BASE}:query", json=body)
        assert found == ("INVALID_ARGUMENT", "TooManyDisjunctions")


DEEP = 100_000
BODIES: dict[str, tuple[str, str, bytes, str]] = {
    "nested arrays": ("PUT", "/b/x", b'{"fields":{"a":' + b"[" * DEEP, "MalformedJson"),
    "nested objects": (
        "PUT",
        "/b/x",
        b'{"fields":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
        "MalformedJson",
    ),
    "1e400": ("PUT", "/b/x", b'{"fields":{"a":1e400}}', "MalformedJson"),
    "65k digits": ("PUT", "/b/x", b'{"fields":{"a":' + b"9" * 65_000 + b"}}", "MalformedJson"),
    "5M digits": (
        "PUT",
        "/b/x",
        b'{"fields":{"a":{"$int":"' + b"9" * 5_000_000 + b'"}}}',
        "InvalidValue",
    ),
    "surrogate": ("PUT", "/b/x", b'{"fields":{"\\ud800":1}}', "MalformedJson"),
    "long field path": (
        "PATCH",
        "/b/x",
        b'{"fields":{"' + b"a." * 2_000_000 + b'b":1}}',
        "PathTooLong",
    ),
    "backticks": ("PATCH", "/b/x", b'{"fields":{"`' + b"\\\\" * 2_000_000 + b'":1}}', ""),
    "many field paths": (
        "PATCH",
        "/b/x",
        orjson.dumps({"fields": {f"a.b{number}": 1 for number in range(20_001)}}),
        "TooMany",
    ),
    "long path": (
        "POST",
        ":query",
        b'{"query":{"collection":"' + b"a/b/" * 2_000_000 + b'c"}}',
        "PathTooDeep",
    ),
    "millions of writes": ("POST", ":commit", b'{"writes":[' + b"0," * 3_000_000 + b"0]}", ""),
    "millions of paths": (
        "POST",
        ":batch-get",
        b'{"documents":[' + b'"a/b",' * 1_000_000 + b'"a/b"]}',
        "TooMany",
    ),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_bomb_is_refused(world: World, name: str) -> None:
    method, url, body, reason = BODIES[name]
    answer = await world.secret.request(method, BASE + url, content=body)
    code, found = refusal(answer)
    assert code == "INVALID_ARGUMENT"
    assert found == reason or not reason
    assert len(answer.content) < 4_000


async def test_the_last_of_two_members_counts_everywhere(world: World) -> None:
    """What a rule sees of a body with doubled names is what is stored."""
    body = b'{"fields":{"owner":"%b","owner":"b"}}' % world.uid.encode()
    assert refusal(await world.user.post(f"{BASE}/owned", content=body))[0] == "PERMISSION_DENIED"
    body = b'{"fields":{"owner":"b","owner":"%b"}}' % world.uid.encode()
    assert (await world.user.post(f"{BASE}/owned?id=y", content=body)).is_success
    stored = (await world.user.get(f"{BASE}/owned/y")).json()
    assert stored["fields"] == {"owner": world.uid}
