"""Every kind of bad input, against the whole application: a precise error, nothing written."""
# ruff: noqa: E501 - a table is read by its columns

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from tests.baas.http.conftest import ADMIN, BASE, World

MEBIBYTE = 1024 * 1024


def _nested(depth: int) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for _ in range(depth):
        tree = {"a": tree}
    return tree


# method, path, body, status, reason
TTL = f"{ADMIN}/databases/(default)/ttl"
ERASE = f"{ADMIN}/databases/(default)/documents:erase-by-query"
CASES: list[tuple[str, str, str, bytes | None, int, str]] = [
    # Malformed JSON
    ("not json", "PUT", f"{BASE}/a/b", b"{", 400, "MalformedJson"),
    ("trailing text", "PUT", f"{BASE}/a/b", b'{"fields":{}} x', 400, "MalformedJson"),
    ("NaN", "PUT", f"{BASE}/a/b", b'{"fields":{"a":NaN}}', 400, "MalformedJson"),
    ("Infinity", "PUT", f"{BASE}/a/b", b'{"fields":{"a":Infinity}}', 400, "MalformedJson"),
    ("single quotes", "PUT", f"{BASE}/a/b", b"{'fields':{}}", 400, "MalformedJson"),
    ("invalid utf-8", "PUT", f"{BASE}/a/b", b'{"fields":{"a":"\xff"}}', 400, "MalformedJson"),
    ("lone surrogate", "PUT", f"{BASE}/a/b", b'{"fields":{"a":"\\ud800"}}', 400, "MalformedJson"),
    ("empty body", "PUT", f"{BASE}/a/b", b"", 400, "EmptyBody"),
    ("json bomb", "PUT", f"{BASE}/a/b", b'{"fields":' + b"[" * 100_000, 400, "MalformedJson"),
    ("object bomb", "POST", f"{BASE}:query", b'{"a":' * 100_000, 400, "MalformedJson"),
    # Wrong types and unknown fields
    ("array body", "PUT", f"{BASE}/a/b", b"[]", 400, "InvalidBody"),
    ("null body", "POST", f"{BASE}:commit", b"null", 400, "InvalidBody"),
    ("string body", "POST", f"{BASE}:query", b'"x"', 400, "InvalidBody"),
    ("fields array", "PUT", f"{BASE}/a/b", b'{"fields":[]}', 400, "InvalidBody"),
    ("fields missing", "PUT", f"{BASE}/a/b", b"{}", 400, "MissingField"),
    ("unknown member", "PUT", f"{BASE}/a/b", b'{"fields":{},"mergeFields":[]}', 400, "UnknownField"),
    ("unknown parameter", "GET", f"{BASE}/a/b?fields=x", None, 400, "UnknownParameter"),
    ("parameter twice", "GET", f"{BASE}/a?page_size=1&page_size=2", None, 400, "InvalidParameter"),
    ("page size text", "GET", f"{BASE}/a?page_size=ten", None, 400, "InvalidBody"),
    ("page size 0", "GET", f"{BASE}/a?page_size=0", None, 400, "InvalidBody"),
    ("page size huge", "GET", f"{BASE}/a?page_size=99999999999999999999", None, 400, "InvalidBody"),
    ("exists text", "DELETE", f"{BASE}/a/b?exists=maybe", None, 400, "InvalidBody"),
    ("time text", "DELETE", f"{BASE}/a/b?update_time=now", None, 400, ""),
    ("writes object", "POST", f"{BASE}:commit", b'{"writes":{}}', 400, "InvalidBody"),
    ("write number", "POST", f"{BASE}:commit", b'{"writes":[1]}', 400, "InvalidBody"),
    ("request id number", "POST", f"{BASE}:commit", b'{"writes":[],"request_id":1}', 400, "InvalidBody"),
    ("documents text", "POST", f"{BASE}:batch-get", b'{"documents":"a/b"}', 400, "InvalidBody"),
    ("path object", "POST", f"{BASE}:batch-get", b'{"documents":[{}]}', 400, "InvalidBody"),
    # Values
    ("array in array", "PUT", f"{BASE}/a/b", b'{"fields":{"a":[[1]]}}', 400, "ArrayInArray"),
    ("int too large", "PUT", f"{BASE}/a/b", b'{"fields":{"a":9223372036854775808}}', 400, "IntegerOutOfRange"),
    ("unknown tag", "PUT", f"{BASE}/a/b", b'{"fields":{"a":{"$x":1}}}', 400, "UnknownTag"),
    ("bad time", "PUT", f"{BASE}/a/b", b'{"fields":{"a":{"$timestamp":"yesterday"}}}', 400, ""),
    ("bad bytes", "PUT", f"{BASE}/a/b", b'{"fields":{"a":{"$bytes":"?"}}}', 400, "InvalidValue"),
    ("bad reference", "PUT", f"{BASE}/a/b", b'{"fields":{"a":{"$ref":"users"}}}', 400, ""),
    ("bad geo", "PUT", f"{BASE}/a/b", b'{"fields":{"a":{"$geo":[91,0]}}}', 400, ""),
    ("reserved name", "PUT", f"{BASE}/a/b", b'{"fields":{"__a__":1}}', 400, ""),
    ("proto", "PUT", f"{BASE}/a/b", b'{"fields":{"__proto__":1}}', 400, "ReservedFieldName"),
    ("proto path", "PATCH", f"{BASE}/a/b", b'{"fields":{"a.`__proto__`":1}}', 400, ""),
    ("empty name", "PUT", f"{BASE}/a/b", b'{"fields":{"":1}}', 400, ""),
    ("10 kB name", "PUT", f"{BASE}/a/b", b'{"fields":{"' + b"n" * 10_000 + b'":1}}', 400, ""),
    ("depth 21", "PUT", f"{BASE}/a/b", orjson.dumps({"fields": _nested(21)}), 400, "ValueTooDeep"),
    ("depth 200", "PUT", f"{BASE}/a/b", orjson.dumps({"fields": _nested(200)}), 400, "ValueTooDeep"),
    ("document too large", "PUT", f"{BASE}/a/b",
     orjson.dumps({"fields": {"a": "x" * (MEBIBYTE - 200), "b": "y" * 400}}), 400, ""),
    ("request too large", "PUT", f"{BASE}/a/b",
     b'{"fields":{"a":"' + b"x" * (10 * MEBIBYTE) + b'"}}', 413, "RequestTooLarge"),
    # Paths
    ("empty segment", "GET", f"{BASE}/a//b/c", None, 400, "InvalidPath"),
    ("trailing slash", "GET", f"{BASE}/a/", None, 400, "InvalidPath"),
    ("dot", "GET", f"{BASE}/a/%2E", None, 400, "InvalidPath"),
    ("dot dot", "GET", f"{BASE}/a/%2E%2E", None, 400, "InvalidPath"),
    ("escaped slash", "GET", f"{BASE}/a/b%2Fc", None, 400, "InvalidPath"),
    ("invalid utf-8 path", "GET", f"{BASE}/a/%FF", None, 400, "InvalidPath"),
    ("surrogate path", "GET", f"{BASE}/a/%ED%A0%80", None, 400, "InvalidPath"),
    ("reserved id", "GET", f"{BASE}/a/__x__", None, 400, "ReservedId"),
    ("reserved collection", "GET", f"{BASE}/__indexes__/x", None, 400, "ReservedId"),
    ("long id", "GET", f"{BASE}/a/" + "x" * 1501, None, 400, "IdTooLong"),
    ("id with slash", "POST", f"{BASE}/a?id=b/c", b'{"fields":{}}', 400, "InvalidPath"),
    ("empty id", "POST", f"{BASE}/a?id=", b'{"fields":{}}', 400, "InvalidPath"),
    ("collection as document", "PUT", f"{BASE}/a", b'{"fields":{}}', 405, "MethodNotAllowed"),
    ("document as collection", "POST", f"{BASE}/a/b", b'{"fields":{}}', 405, "MethodNotAllowed"),
    ("unknown verb", "POST", f"{BASE}:frobnicate", b"{}", 404, "RouteNotFound"),
    ("verb by GET", "GET", f"{BASE}:commit", None, 405, "MethodNotAllowed"),
    ("unknown route", "GET", "/api/v1/nothing", None, 404, "RouteNotFound"),
    ("unknown method", "BREW", f"{BASE}/a/b", None, 405, "MethodNotAllowed"),
    # Queries
    ("query missing", "POST", f"{BASE}:query", b"{}", 400, "MissingField"),
    ("query unknown", "POST", f"{BASE}:query", b'{"query":{"from":"a"}}', 400, "UnknownField"),
    ("operator", "POST", f"{BASE}:query",
     b'{"query":{"collection":"a","where":{"field":"x","op":"like","value":1}}}', 400, "InvalidBody"),
    ("31 disjunctions", "POST", f"{BASE}:query",
     orjson.dumps({"query": {"collection": "a", "where": {"field": "x", "op": "in", "value": list(range(31))}}}),
     400, ""),
    ("cursor too long", "POST", f"{BASE}:query",
     b'{"query":{"collection":"a","start":{"values":[1,2,3]}}}', 400, ""),
    ("name operand", "POST", f"{BASE}:query",
     b'{"query":{"collection":"a","where":{"field":"__name__","op":"==","value":5}}}', 400, ""),
    ("aggregates of nothing", "POST", f"{BASE}:aggregate", b'{"query":{"collection":"a"},"aggregates":[]}', 400, "NoAggregates"),
    ("aggregates by name", "POST", f"{BASE}:aggregate", b'{"query":{"collection":"a"},"aggregates":{}}', 400, "InvalidBody"),
    ("unknown aggregate", "POST", f"{BASE}:aggregate", b'{"query":{"collection":"a"},"aggregates":[{"op":"max","field":"a"}]}', 400, "InvalidBody"),
    ("sum of nothing", "POST", f"{BASE}:aggregate", b'{"query":{"collection":"a"},"aggregates":[{"op":"sum"}]}', 400, "MissingField"),
    ("count of a field", "POST", f"{BASE}:aggregate", b'{"query":{"collection":"a"},"aggregates":[{"op":"count","field":"a"}]}', 400, "UnknownField"),
    ("sum of names", "POST", f"{BASE}:aggregate", b'{"query":{"collection":"a"},"aggregates":[{"op":"sum","field":"__name__"}]}', 400, "InvalidQuery"),
    ("aliases twice", "POST", f"{BASE}:aggregate", b'{"query":{"collection":"a"},"aggregates":[{"op":"count","alias":"n"},{"op":"count","alias":"n"}]}', 400, "DuplicateAlias"),
    ("six aggregates", "POST", f"{BASE}:aggregate", b'{"query":{"collection":"a"},"aggregates":[' + b",".join([b'{"op":"count"}'] * 6) + b"]}", 400, "TooManyAggregates"),
    ("count limit", "POST", f"{BASE}:count", b'{"query":{"collection":"a","limit":-1}}', 400, "OutOfBounds"),
    # Projects
    ("unknown project", "GET", "/api/v1/projects/nobody/documents/a/b", None, 404, "ProjectNotFound"),
    ("project case", "GET", "/api/v1/projects/DEMO/documents/a/b", None, 404, "ProjectNotFound"),
    ("project dots", "GET", "/api/v1/projects/%2E%2E/documents/a/b", None, 404, "ProjectNotFound"),
    ("unknown database", "GET", "/api/v1/projects/demo/databases/none/documents/a/b", None, 404, "DatabaseNotFound"),
    ("database dots", "GET", "/api/v1/projects/demo/databases/%2E%2E/documents/a/b", None, 404, "DatabaseNotFound"),
    ("system database", "GET", "/api/v1/projects/demo/databases/__system__/documents/a/b", None, 404, "DatabaseNotFound"),
    # Administration
    ("project id", "POST", "/api/v1/admin/projects", b'{"id":"X"}', 400, ""),
    ("project id object", "POST", "/api/v1/admin/projects", b'{"id":{"a":1}}', 400, ""),
    ("project exists", "POST", "/api/v1/admin/projects", b'{"id":"demo"}', 409, "ProjectExists"),
    ("origins text", "PATCH", ADMIN, b'{"origins":"https://a.example"}', 400, ""),
    ("rules number", "PUT", f"{ADMIN}/rules", b'{"source":5}', 400, "InvalidBody"),
    ("rules syntax", "PUT", f"{ADMIN}/rules", b'{"source":"service"}', 400, "RulesetRejected"),
    ("key kind", "POST", f"{ADMIN}/keys", b'{"kind":["secret"]}', 400, ""),
    ("user flag", "PATCH", f"{ADMIN}/users/nobody", b'{"disabled":"yes"}', 400, "InvalidBody"),
    ("user unknown", "GET", f"{ADMIN}/users/nobody", None, 404, "UserNotFound"),
    ("policies list", "PUT", TTL, b'{"policies":[{}]}', 400, "InvalidBody"),
    ("policies number", "PUT", TTL, b'{"policies":5}', 400, "InvalidBody"),
    ("policies absent", "PUT", TTL, b'{"dry_run":true}', 400, "MissingField"),
    ("policy field", "PUT", TTL, b'{"policies":{"a":5}}', 400, "InvalidBody"),
    ("policy id", "PUT", TTL, b'{"policies":{"a/b":"x"}}', 400, "InvalidPath"),
    ("retention text", "PUT", f"{ADMIN}/retention", b'{"seconds":"1 day"}', 400, "InvalidBody"),
    ("retention bounds", "PUT", f"{ADMIN}/retention", b'{"bytes":1}', 400, "InvalidRetention"),
    ("retention huge", "PUT", f"{ADMIN}/retention", b'{"bytes":1e300}', 400, "InvalidBody"),
    ("erasure query", "POST", ERASE, b'{"query":5}', 400, "InvalidBody"),
    ("erasure present", "POST", ERASE, b'{"query":{"collection":"a"},"present":1}', 400, ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
async def test_bad_input_is_refused_precisely(
    world: World, method: str, path: str, body: bytes | None, status: int, reason: str
) -> None:
    before = await _everything(world)
    answer = await world.operator.request(method, path, content=body)
    error = check_error(answer, status)
    if reason:
        assert error["reason"] == reason, error
    assert await _everything(world) == before


def check_error(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The one shape of every error; nothing of the inside shows."""
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"error"}
    error: dict[str, Any] = answer.json()["error"]
    assert error.keys() == {"code", "reason", "message", "details", "request_id"}
    assert error["request_id"] == answer.headers["x-request-id"]
    assert error["code"].isupper()
    assert error["message"]
    assert len(answer.content) < 20_000
    for word in ("Traceback", "/baas/", "apsw", "NoneType", "<class"):
        assert word not in answer.text
    return error


async def _everything(world: World) -> dict[str, Any]:
    """All documents of the collections that the cases write to."""
    answer = await world.operator.get(f"{BASE}/a")
    listed: dict[str, Any] = answer.json()
    return {"documents": listed["documents"]}


async def test_what_a_path_names_is_told_with_the_methods_it_has(world: World) -> None:
    for method, path, kind in (("PUT", "a", "collection"), ("POST", "a/b", "document")):
        answer = await world.secret.request(method, f"{BASE}/{path}", json={"fields": {}})
        assert f"a path to a {kind}, as `{path}` is" in check_error(answer, 405)["message"]
    answer = await world.secret.get(f"{BASE}:commit")
    assert "`GET` is not offered on this path" in check_error(answer, 405)["message"]


async def test_a_document_of_exactly_the_limit_is_stored(world: World) -> None:
    # Firestore's count: path, name and value, each with its own overhead.
    limit = world.app.settings.limits.document_bytes_max
    low, high = 1, limit
    while low < high:
        middle = (low + high + 1) // 2
        answer = await world.secret.put(f"{BASE}/a/b", json={"fields": {"a": "x" * middle}})
        if answer.status_code == 200:
            low = middle
        else:
            check_error(answer, 400)
            high = middle - 1
    assert limit - 200 < low < limit


async def test_depth_twenty_is_stored(world: World) -> None:
    answer = await world.secret.put(f"{BASE}/a/b", json={"fields": _nested(20)})
    assert answer.status_code == 200, answer.text


async def test_a_body_without_a_declared_length_is_cut_off_at_the_limit(world: World) -> None:
    async def endless() -> Any:
        for _ in range(11):
            yield b" " * MEBIBYTE

    answer = await world.secret.put(f"{BASE}/a/b", content=endless())
    assert check_error(answer, 413)["reason"] == "RequestTooLarge"


async def test_a_body_of_exactly_the_limit_is_read(world: World) -> None:
    limit = world.app.settings.limits.request_bytes_max
    body = b'{"fields":{}}'
    answer = await world.secret.put(f"{BASE}/a/b", content=body + b" " * (limit - len(body)))
    assert answer.status_code == 200
    answer = await world.secret.put(f"{BASE}/a/b", content=body + b" " * (limit - len(body) + 1))
    check_error(answer, 413)


async def test_a_compressed_body_is_refused(world: World) -> None:
    answer = await world.secret.put(
        f"{BASE}/a/b", content=b"{}", headers={"content-encoding": "gzip"}
    )
    assert check_error(answer, 415)["reason"] == "UnsupportedMediaType"


async def test_501_writes_are_too_many_and_500_are_not(world: World) -> None:
    writes = [{"set": f"many/d{n}", "fields": {}} for n in range(501)]
    refused = await world.secret.post(f"{BASE}:commit", json={"writes": writes})
    assert check_error(refused, 400)["reason"] == "TooMany"
    assert (await world.secret.get(f"{BASE}/many/d0")).status_code == 404
    done = await world.secret.post(f"{BASE}:commit", json={"writes": writes[:500]})
    assert done.status_code == 200


async def test_malformed_json_is_named_by_its_offset(world: World) -> None:
    answer = await world.secret.put(f"{BASE}/a/b", content=b'{"fields": {"a": tru}}')
    assert check_error(answer, 400)["details"]["offset"] == 17


async def test_updates_reach_depth_twenty_and_no_further(world: World) -> None:
    """A value for the top of a document was measured when it was decoded; one further down, and
    one that a transform adds, are measured in their place."""
    await world.operator.put(f"{BASE}/a/b", json={"fields": {"m": {}}})
    for name, depth, status in (
        ("deep", 20, 200),
        ("deep", 21, 400),
        ("m.deep", 19, 200),
        ("m.deep", 20, 400),
    ):
        body = {"fields": {name: _nested(depth)["a"]}}
        answer = await world.operator.patch(f"{BASE}/a/b", content=orjson.dumps(body))
        assert answer.status_code == status, (name, depth, answer.text)
    for depth, status in ((19, 200), (20, 400)):
        union = {"field": "array", "array_union": [_nested(depth)["a"]]}
        answer = await world.operator.patch(
            f"{BASE}/a/b", content=orjson.dumps({"transforms": [union], "fields": {"n": depth}})
        )
        assert answer.status_code == status, (depth, answer.text)
