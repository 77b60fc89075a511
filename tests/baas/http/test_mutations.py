"""Every member of every body, replaced by what nobody should send: never an internal error."""
# ruff: noqa: E501 - a table is read by its columns

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.baas.http.conftest import ADMIN, BASE, World

ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    2**63,
    1.5,
    1e308,
    "",
    "x" * 2_000,
    "nul\x00",
    "é/../\u202e",
    "__proto__",
    "`",
    "a..b",
    [],
    [[]],
    [None],
    {},
    {"": 1},
    {"$ref": "a/b"},
    {"$": 1},
    {"$timestamp": 5},
    {"$ne": None},
    {"a": {"b": [{"c": [1]}]}},
]
CREDENTIALS = {"email": "bob@example.com", "password": "difference engine"}
FILTER = {
    "and": [
        {"field": "a", "op": "==", "value": 1},
        {"or": [{"field": "b", "op": "in", "value": [1]}]},
    ]
}
BODIES: list[tuple[str, str, Any]] = [
    ("PUT", f"{BASE}/a/b", {"fields": {"a": {"b": [1]}}, "mask": ["a"], "precondition": {"exists": True}}),
    ("PATCH", f"{BASE}/a/b", {"fields": {"a.b": 1}, "delete": ["c"], "transforms": [{"field": "n", "increment": 1}]}),
    ("POST", f"{BASE}/a", {"fields": {}, "transforms": [{"field": "n", "array_union": [1]}]}),
    ("POST", f"{BASE}:commit", {"writes": [{"set": "a/b", "fields": {"t": {"$timestamp": "2020-01-01T00:00:00Z"}}},
                                           {"delete": "a/c", "precondition": {"update_time": "2020-01-01T00:00:00Z"}}]}),
    ("POST", f"{BASE}:batch-get", {"documents": ["a/b"]}),
    ("POST", f"{BASE}:query", {"query": {"collection": "a", "where": FILTER, "order_by": [{"field": "a", "direction": "asc"}],
                                         "start": {"values": [1], "before": True}, "end": {"values": [2]}, "offset": 0,
                                         "limit": 1, "select": ["a"]}}),
    ("POST", f"{BASE}:count", {"query": {"collection": "a/b/c", "group": True}}),
    (
        "POST",
        f"{BASE}:aggregate",
        {"query": {"collection": "a"}, "aggregates": [{"op": "sum", "field": "b.c"}]},
    ),
    ("POST", "/api/v1/projects/demo/accounts:sign-up", CREDENTIALS),
    ("POST", "/api/v1/projects/demo/accounts:refresh", {"refresh_token": "x"}),
    ("POST", "/api/v1/projects/demo/accounts:sign-out", {"refresh_token": "x"}),
    ("POST", "/api/v1/admin/setup", {"token": "x", **CREDENTIALS}),
    ("POST", "/api/v1/admin/projects", {"id": "x", "name": "x", "origins": ["https://a.example"]}),
    ("PATCH", ADMIN, {"name": "x", "origins": ["https://a.example"]}),
    ("POST", f"{ADMIN}/keys", {"kind": "publishable", "name": "x"}),
    ("POST", f"{ADMIN}/databases", {"id": "x"}),
    ("PUT", f"{ADMIN}/rules", {"source": "x", "allow_open": False, "message": "x", "if_release": "x"}),
    ("POST", f"{ADMIN}/rules:rollback", {"release": "x", "message": "x", "allow_open": False}),
    ("POST", f"{ADMIN}/rules:check", {"source": "x"}),
    ("POST", f"{ADMIN}/rules:explain", {"source": "x", "method": "get", "path": "a/b"}),
    ("POST", f"{ADMIN}/rules:explain", {"method": "update", "path": "a/b", "database": "(default)", "by_folder": False, "before": {"a": 1}, "after": {"a": 2}, "documents": {"a/b": None}, "caller": {"uid": "x", "claims": {}}, "time": "2026-01-01T00:00:00Z"}),
    ("POST", f"{ADMIN}/rules:explain", {"method": "list", "service": "documents", "query": {"collection": "a"}, "caller": {"user": "x"}}),
    ("POST", f"{ADMIN}/rules:explain", {"method": "list", "service": "objects", "bucket": "files", "path": "", "by_folder": True}),
    ("POST", f"{ADMIN}/rules:explain-batch", {"source": "x", "writes": [{"method": "update", "path": "a/b", "before": {"a": 1}, "after": {"a": 2}}], "database": "(default)", "documents": {"a/b": None}, "caller": {"uid": "x", "claims": {}}, "time": "2026-01-01T00:00:00Z"}),
    ("POST", f"{ADMIN}/rules:test", {"tests": "tests: []", "source": "x"}),
    ("PATCH", f"{ADMIN}/users/nobody", {"disabled": True, "email_verified": True, "claims": {"a": 1}}),
    ("POST", f"{ADMIN}/databases/(default)/documents:import", {"path": "a/b", "fields": {"a": 1}}),
]  # fmt: skip


def _mutants(tree: Any) -> Iterator[Any]:
    """The tree with each of its parts replaced in turn, and with a stranger added to each object."""
    yield from ODD
    if isinstance(tree, dict):
        yield {**tree, "stranger": 1}
        for name in tree:
            yield {key: value for key, value in tree.items() if key != name}
            for mutant in _mutants(tree[name]):
                yield {**copy.deepcopy(tree), name: mutant}
            for odd in ("", "$", "__x__", "a\x00"):
                yield {odd if key == name else key: value for key, value in tree.items()}
    elif isinstance(tree, list):
        for index, item in enumerate(tree):
            for mutant in _mutants(item):
                yield [*tree[:index], mutant, *tree[index + 1 :]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "body"), BODIES, ids=[f"{body[0]} {body[1]}" for body in BODIES]
)
async def test_no_body_breaks_anything(world: World, method: str, path: str, body: Any) -> None:
    headers = {"x-api-key": world.api_key} if "accounts:" in path else {}
    client = world.anonymous if headers else world.operator
    for mutant in _mutants(body):
        answer = await client.request(method, path, content=orjson.dumps(mutant), headers=headers)
        assert answer.status_code < 500, (mutant, answer.text)
        if not answer.is_success:
            error = answer.json()["error"]
            assert error["message"], mutant
            assert error["code"] != "INTERNAL", mutant
    # Whatever of it was accepted can be read again.
    listed = await world.operator.get(f"{BASE}/a")
    assert listed.status_code == 200
    assert (await world.operator.get("/readyz")).status_code == 200
