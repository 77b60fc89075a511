"""Both clients against a scripted server on a real socket: documents, queries, batches, errors."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import urllib3
from baas_sdk import (
    DELETE_FIELD,
    SERVER_TIMESTAMP,
    AvgAggregation,
    Client,
    DocumentSnapshot,
    FieldFilter,
    FieldPath,
    GeoPoint,
    RetryPolicy,
    SumAggregation,
    WriteResult,
    errors,
)
from baas_sdk._transport import Outgoing, PooledTransport

from tests.raw_servers import raw_server
from tests.sdk.faces import Face, OpenFace
from tests.sdk.peer import (
    TIME,
    WAIT_SECONDS,
    Peer,
    Received,
    Reply,
    committed,
    document,
    error_reply,
    lines,
)

DOCUMENTS = "/api/v1/projects/demo/databases/(default)/documents"
THEN = datetime(2026, 1, 1, tzinfo=UTC)
DONE = {"done": True, "read_time": TIME, "count": 0}


async def test_get_returns_the_document(peer: Peer, face: Face) -> None:
    tree = document("cities/a b", name="Zürich", at={"$geo": [47.4, 8.5]}, n={"m": 1})
    peer.reply(Reply(json=tree))
    reference = face.client.collection("cities").document("a b")

    snapshot = await face.call(reference.get)

    assert peer.requests[0].method == "GET"
    assert peer.requests[0].path == f"{DOCUMENTS}/cities/a%20b"
    assert peer.requests[0].headers["x-api-key"] == "baas_pk_x"
    assert "authorization" not in peer.requests[0].headers
    assert snapshot.exists
    assert snapshot.id == "a b"
    assert snapshot.path == "cities/a b"
    assert snapshot.reference == reference
    assert snapshot.to_dict() == {"name": "Zürich", "at": GeoPoint(47.4, 8.5), "n": {"m": 1}}
    assert snapshot.get("n.m") == 1
    assert snapshot.create_time == THEN
    assert snapshot.update_time == THEN.replace(microsecond=1)
    assert repr(snapshot) == "<DocumentSnapshot cities/a b>"


async def test_a_missing_document_does_not_exist(peer: Peer, face: Face) -> None:
    peer.reply(error_reply(404, "NOT_FOUND", "DocumentNotFound"))

    snapshot = await face.call(face.client.document("cities/x").get)

    assert not snapshot.exists
    assert snapshot.to_dict() is None
    assert snapshot.get("a") is None
    assert snapshot.create_time is None
    assert snapshot.update_time is None


@pytest.mark.parametrize("reason", ["ProjectNotFound", "DatabaseNotFound"])
async def test_a_missing_project_is_an_error(peer: Peer, face: Face, reason: str) -> None:
    peer.reply(error_reply(404, "NOT_FOUND", reason))

    with pytest.raises(errors.NotFound) as caught:
        await face.call(face.client.document("cities/x").get)
    assert caught.value.reason == reason
    assert caught.value.request_id == "q1"


async def test_writes_are_commits_with_an_id(peer: Peer, face: Face) -> None:
    reference = face.client.document("cities/zrh")
    peer.reply(lambda received: committed(TIME))

    assert await face.call(reference.set, {"a": 1}) == WriteResult(THEN)
    assert await face.call(reference.set, {"a": 1}, merge=True) == WriteResult(THEN)
    assert await face.call(reference.create, {"a": 1}) == WriteResult(THEN)
    assert await face.call(reference.update, {"a.b": 1, "c": DELETE_FIELD}) == WriteResult(THEN)
    option = face.client.write_option(exists=True)
    assert await face.call(reference.delete, option) == THEN

    bodies = [received.json() for received in peer.requests]
    assert {received.path for received in peer.requests} == {f"{DOCUMENTS}:commit"}
    assert [body["writes"] for body in bodies] == [
        [{"set": "cities/zrh", "fields": {"a": 1}}],
        [{"set": "cities/zrh", "fields": {"a": 1}, "mask": ["a"]}],
        [{"create": "cities/zrh", "fields": {"a": 1}}],
        [{"update": "cities/zrh", "fields": {"a.b": 1}, "delete": ["c"]}],
        [{"delete": "cities/zrh", "precondition": {"exists": True}}],
    ]
    assert len({body["request_id"] for body in bodies}) == 5


async def test_a_commit_is_repeated_under_its_id(peer: Peer, face: Face) -> None:
    peer.reply(Reply(cut=True), error_reply(503, "UNAVAILABLE"), committed(TIME))

    await face.call(face.client.document("cities/zrh").set, {"a": 1})

    assert len(peer.requests) == 3
    assert len({received.body for received in peer.requests}) == 1


async def test_add_creates_under_a_fresh_id(peer: Peer, face: Face) -> None:
    peer.reply(committed(TIME))

    time, reference = await face.call(face.client.collection("cities").add, {"t": SERVER_TIMESTAMP})

    assert time == THEN
    assert len(reference.id) == 20
    assert peer.requests[0].json()["writes"] == [
        {
            "create": reference.path,
            "fields": {},
            "transforms": [{"field": "t", "server_time": True}],
        }
    ]


async def test_transform_results_are_values(peer: Peer, face: Face) -> None:
    peer.reply(committed(TIME, transform_results=[{"$timestamp": TIME}, 5, None]))

    result = await face.call(face.client.document("c/d").update, {"a": 1})

    assert result.transform_results == (THEN, 5, None)


async def test_a_batch_commits_together(peer: Peer, face: Face) -> None:
    client = face.client
    batch = client.batch()
    batch.set(client.document("c/1"), {"a": 1})
    batch.create(client.document("c/2"), {})
    batch.update(client.document("c/3"), {"a": 2}, client.write_option(last_update_time=THEN))
    batch.delete(client.document("c/4"))
    assert len(batch) == 4
    peer.reply(committed(TIME, TIME, TIME, None))

    results = await face.call(batch.commit)

    assert results == [WriteResult(THEN)] * 3 + [WriteResult(None)]
    assert batch.write_results == results
    assert batch.commit_time == THEN
    assert [next(iter(write)) for write in peer.requests[0].json()["writes"]] == [
        "set",
        "create",
        "update",
        "delete",
    ]
    with pytest.raises(errors.FailedPrecondition):
        await face.call(batch.commit)
    with pytest.raises(errors.FailedPrecondition):
        batch.delete(client.document("c/4"))


async def test_a_batch_that_failed_may_be_committed_again_under_its_id(
    peer: Peer, face: Face
) -> None:
    batch = face.client.batch()
    batch.delete(face.client.document("c/1"))
    peer.reply(error_reply(409, "ABORTED"), committed(None), committed(None, None))

    with pytest.raises(errors.Aborted):
        await face.call(batch.commit)
    await face.call(batch.commit)

    first, second = (received.json()["request_id"] for received in peer.requests)
    assert first == second


async def test_a_batch_that_grew_is_another_one(peer: Peer, face: Face) -> None:
    batch = face.client.batch()
    batch.delete(face.client.document("c/1"))
    peer.reply(error_reply(409, "ABORTED"), committed(None, None))
    with pytest.raises(errors.Aborted):
        await face.call(batch.commit)
    batch.delete(face.client.document("c/2"))
    await face.call(batch.commit)

    first, second = (received.json()["request_id"] for received in peer.requests)
    assert first != second


async def test_a_batch_is_for_one_database(face: Face) -> None:
    other = Client("http://127.0.0.1:9", project="other")
    with pytest.raises(errors.InvalidArgument, match="another database"):
        face.client.batch().delete(other.document("c/1"))
    with pytest.raises(errors.InvalidArgument, match="document reference"):
        face.client.batch().delete("c/1")


async def test_get_all_keeps_the_order(peer: Peer, face: Face) -> None:
    found = {path: document(path) for path in ("c/1", "c/3")}
    peer.reply(
        Reply(
            json={
                "documents": [
                    {"path": path, "document": found.get(path)} for path in ("c/3", "c/2", "c/1")
                ],
                "read_time": TIME,
            }
        )
    )
    references = [face.client.document(path) for path in ("c/1", "c/2", "c/3", "c/1")]

    snapshots = await face.collect(face.client.get_all(references))

    assert peer.requests[0].json() == {"documents": ["c/1", "c/2", "c/3"]}
    assert [item.reference for item in snapshots] == references
    assert [item.exists for item in snapshots] == [True, False, True, True]
    assert {item.read_time for item in snapshots} == {THEN}


async def test_queries_stream_line_by_line(peer: Peer, face: Face) -> None:
    text = "\u2028\x85\x0b"  # which other line readers take for ends of lines
    trees = [document("cities/a", t=text), document("cities/b")]
    body = b"".join(lines(*({"document": tree} for tree in trees), DONE))
    # Cut anywhere, as a network does.
    peer.reply(Reply(chunks=[body[:7], body[7:100], body[100:101], body[101:]]))
    query = face.client.collection("cities").where(filter=FieldFilter("a", "==", 1))

    found = await face.collect(query.stream())

    assert peer.requests[0].path == f"{DOCUMENTS}:query"
    assert peer.requests[0].headers["accept"] == "application/x-ndjson"
    assert peer.requests[0].json() == {
        "query": {"collection": "cities", "where": {"field": "a", "op": "==", "value": 1}}
    }
    assert [item.id for item in found] == ["a", "b"]
    assert found[0].get("t") == text


async def test_get_gives_a_list_and_turns_the_last_ones_round(peer: Peer, face: Face) -> None:
    trees = [{"document": document(f"cities/{name}")} for name in "cba"]
    peer.reply(Reply(chunks=lines(*trees, DONE)))
    query = face.client.collection("cities").order_by("n").limit_to_last(3)

    assert [item.id for item in await face.call(query.get)] == ["a", "b", "c"]


async def test_the_end_may_lack_its_newline(peer: Peer, face: Face) -> None:
    peer.reply(Reply(chunks=[b'{"done":true,"read_time":"2026-01-01T00:00:00Z"}']))

    assert await face.call(face.client.collection("cities").get) == []


async def test_an_error_in_the_midst_of_a_result_reaches_the_caller(peer: Peer, face: Face) -> None:
    line = {"error": {"code": "DATA_LOSS", "message": "m"}}
    peer.reply(Reply(chunks=lines({"document": document("c/a")}, line)))

    with pytest.raises(errors.DataLoss):
        await face.call(face.client.collection("cities").get)


async def test_a_result_that_breaks_off_is_no_result(peer: Peer, face: Face) -> None:
    half = lines({"document": document("c/a")})
    peer.reply(Reply(chunks=half, cut=True), Reply(chunks=half))

    for _ in range(2):
        with pytest.raises(errors.Unavailable):
            await face.call(face.client.collection("cities").get)


async def test_a_query_is_repeated_while_nothing_has_arrived(peer: Peer, face: Face) -> None:
    line = {"error": {"code": "UNAVAILABLE", "message": "m"}}
    peer.reply(
        Reply(chunks=[], cut=True),
        error_reply(503, "UNAVAILABLE"),
        Reply(chunks=lines(line)),
        Reply(chunks=lines({"document": document("c/a")}, DONE)),
    )

    assert [item.id for item in await face.call(face.client.collection("c").get)] == ["a"]


async def test_a_refused_query_raises(peer: Peer, face: Face) -> None:
    peer.reply(error_reply(403, "PERMISSION_DENIED"))

    with pytest.raises(errors.PermissionDenied):
        await face.collect(face.client.collection("c").stream())


async def test_a_stream_may_be_left(peer: Peer, face: Face) -> None:
    peer.reply(Reply(chunks=lines(*({"document": document(f"c/{n}")} for n in range(9)), DONE)))
    stream = face.client.collection("c").stream()

    assert (await face.next(stream)).id == "0"
    await face.call(stream.aclose if face.is_async else stream.close)


async def test_counting(peer: Peer, face: Face) -> None:
    peer.reply(Reply(json={"results": {"all": 7}, "read_time": TIME}))

    rows = await face.call(face.client.collection_group("orders").count(alias="all").get)

    assert (rows[0][0].alias, rows[0][0].value, rows[0][0].read_time) == ("all", 7, THEN)
    assert peer.requests[0].path.endswith("/documents:aggregate")
    assert peer.requests[0].json() == {
        "query": {"collection": "orders", "group": True},
        "aggregates": [{"op": "count", "alias": "all"}],
    }


async def test_several_numbers_at_once(peer: Peer, face: Face) -> None:
    results = {"n": {"$double": 3}, "field_2": None, "all": 2}
    peer.reply(Reply(json={"results": results, "read_time": TIME}))

    wanted = face.client.collection("c").sum("a.b", alias="n").avg(FieldPath("x y")).count("all")
    (row,) = await face.call(wanted.get)

    assert [(one.alias, repr(one.value)) for one in row] == [
        ("n", "3.0"),
        ("field_2", "None"),
        ("all", "2"),
    ]
    assert peer.requests[0].json()["aggregates"] == [
        {"op": "sum", "field": "a.b", "alias": "n"},
        {"op": "average", "field": "`x y`"},
        {"op": "count", "alias": "all"},
    ]


async def test_what_is_no_aggregation_is_refused(face: Face) -> None:
    query = face.client.collection("c")
    five = query.sum("a").sum("b").avg("c").avg("d").count("n")
    wrong: list[Callable[[], object]] = [
        lambda: five.count("m"),
        lambda: query.sum(""),
        lambda: query.sum("a", alias=""),
        lambda: query.count().add_aggregation("a"),
    ]
    for ask in wrong:
        with pytest.raises(errors.InvalidArgument):
            ask()
    assert query.count().add_aggregations([SumAggregation("a"), AvgAggregation("b")]) is not None


async def test_explaining(peer: Peer, face: Face) -> None:
    told = {
        "scans": [{"kind": "names"}],
        "missing_indexes": [],
        "entries_scanned": 0,
        "documents_read": 2,
        "returned": 2,
        "seconds": 0.001,
    }
    found = [document("c/b"), document("c/a")]
    peer.reply(Reply(json={"documents": found, "read_time": TIME, "explain": told}))

    query = face.client.collection("c").order_by("n").limit_to_last(2)
    explained = await face.call(query.explain)

    assert [one.id for one in explained.documents] == ["a", "b"]
    assert (explained.scans, explained.documents_read) == ([{"kind": "names"}], 2)
    assert peer.requests[0].json()["explain"] is True


async def test_collections_are_listed_page_by_page(peer: Peer, face: Face) -> None:
    peer.reply(
        Reply(json={"collections": ["a"], "next_page_token": "x"}),
        Reply(json={"collections": ["b"]}),
        Reply(json={"collections": ["c"]}),
    )

    below = await face.collect(face.client.document("d/e").collections())
    top = await face.collect(face.client.collections())

    assert [one.path for one in (*below, *top)] == ["d/e/a", "d/e/b", "c"]
    assert [request.json() for request in peer.requests] == [
        {"page_size": 1000, "parent": "d/e"},
        {"page_size": 1000, "parent": "d/e", "page_token": "x"},
        {"page_size": 1000},
    ]


async def test_missing_documents_are_listed_when_asked_for(peer: Peer, face: Face) -> None:
    missing = {"path": "c/b", "missing": True}
    peer.reply(Reply(json={"documents": [document("c/a"), missing], "read_time": TIME}))

    found = await face.collect(face.client.collection("c").list_documents(show_missing=True))

    assert [one.path for one in found] == ["c/a", "c/b"]
    assert "show_missing=true" in peer.requests[0].path


async def test_listing_goes_page_by_page(peer: Peer, face: Face) -> None:
    peer.reply(
        Reply(json={"documents": [document("c/a")], "read_time": TIME, "next_page_token": "x y"}),
        Reply(json={"documents": [document("c/b")], "read_time": TIME}),
    )

    found = await face.collect(face.client.collection("c").list_documents(page_size=1))

    assert [item.path for item in found] == ["c/a", "c/b"]
    assert peer.requests[1].path == f"{DOCUMENTS}/c?page_size=1&page_token=x%20y" or peer.requests[
        1
    ].path.endswith("page_token=x+y")


async def test_references_lead_up_and_down(face: Face) -> None:
    client = face.client
    order = client.collection("users").document("ada").collection("orders").document("1")

    assert order == client.document("users", "ada", "orders", "1")
    assert order.parent == client.collection("users/ada/orders")
    assert order.parent.id == "orders"
    assert order.parent.parent == client.document("users/ada")
    assert client.collection("users").parent is None
    assert len({order, client.document("users/ada/orders/1")}) == 1
    assert repr(order).endswith("DocumentReference users/ada/orders/1>")
    assert client.field_path("a", "b.c") == "a.`b.c`"
    assert (client.project, client.database) == ("demo", "(default)")
    with pytest.raises(errors.InvalidPath):
        client.collection("users").document("a/b")


async def test_a_reference_read_is_a_reference(peer: Peer, face: Face) -> None:
    peer.reply(Reply(json=document("c/a", owner={"$ref": "users/ada"})))

    snapshot = await face.call(face.client.document("c/a").get)

    assert snapshot.get("owner") == face.client.document("users/ada")
    assert type(snapshot.get("owner")) is type(snapshot.reference)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(chunks=[b"<html>"]),
        Reply(json={"path": 5}),
        Reply(json=[]),
        Reply(json={"path": "c/a", "fields": {}}),
    ],
)
async def test_an_answer_of_another_form_is_internal(peer: Peer, face: Face, reply: Reply) -> None:
    peer.reply(reply)

    with pytest.raises(errors.Internal):
        await face.call(face.client.document("c/a").get)


async def test_a_page_of_a_proxy_is_an_error(peer: Peer, face: Face) -> None:
    peer.reply(Reply(status=403, chunks=[b"<html>go away</html>"]))

    with pytest.raises(errors.PermissionDenied, match="go away"):
        await face.call(face.client.document("c/a").get)


async def test_a_packed_answer_is_read(peer: Peer, face: Face) -> None:
    packed = gzip.compress(orjson.dumps(document("c/a", city="Zürich" * 50_000)))
    halves = [packed[: len(packed) // 2], packed[len(packed) // 2 :]]
    peer.reply(Reply(chunks=halves, headers={"content-encoding": "gzip"}))

    snapshot = await face.call(face.client.document("c/a").get)

    assert snapshot.get("city") == "Zürich" * 50_000
    assert "gzip" in peer.requests[-1].headers["accept-encoding"]


async def test_an_answer_that_is_packed_badly_is_internal(peer: Peer, face: Face) -> None:
    peer.reply(Reply(chunks=[b"no gzip at all"], headers={"content-encoding": "gzip"}))

    with pytest.raises(errors.Internal):
        await face.call(face.client.document("c/a").get)


async def test_calls_go_through_the_proxy_of_the_environment(
    peer: Peer, is_async: bool, monkeypatch: pytest.MonkeyPatch, open_face: OpenFace
) -> None:
    monkeypatch.setenv("http_proxy", peer.origin)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    peer.reply(Reply(json=document("c/a", size=1)))
    face = open_face("http://baas.example", is_async=is_async)
    try:
        snapshot = await face.call(face.client.document("c/a").get)
    finally:
        await face.close()

    assert snapshot.get("size") == 1
    assert peer.requests[-1].headers["host"] == "baas.example"


async def test_a_proxy_gets_the_credentials_of_its_address_and_the_server_none(
    peer: Peer, is_async: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, open_face: OpenFace
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login eve password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", peer.origin.replace("//", "//me:p%40ss@"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    peer.reply(lambda _: Reply(json=document("c/a")))
    for key, sent in (("baas_pk_x", None), ("baas_sk_secret", "Bearer baas_sk_secret")):
        face = open_face("http://baas.example", is_async=is_async, api_key=key)
        await face.call(face.client.document("c/a").get)
        await face.close()
        headers = peer.requests[-1].headers
        assert headers.get("authorization") == sent
        assert headers["proxy-authorization"] == f"Basic {b64encode(b'me:p@ss').decode()}"


async def test_redirects_are_not_followed(peer: Peer, face: Face) -> None:
    peer.reply(Reply(status=307, headers={"location": "http://127.0.0.1:9/"}))

    with pytest.raises(errors.SdkError):
        await face.call(face.client.document("c/a").get)
    assert len(peer.requests) == 1


async def test_a_call_has_a_timeout(peer: Peer, face: Face) -> None:
    hold = threading.Event()
    peer.reply(Reply(json=document("c/a")), Reply(hold=hold))
    await face.call(face.client.document("c/a").get)  # it is connected, then
    try:
        with pytest.raises(errors.DeadlineExceeded):
            await face.call(face.client.document("c/a").get, timeout=0.05)
    finally:
        hold.set()


async def test_an_unreachable_server_is_unavailable(is_async: bool, open_face: OpenFace) -> None:
    with socket.socket() as nobody:  # has the port, and takes no connections
        nobody.bind(("127.0.0.1", 0))
        face = open_face(f"http://127.0.0.1:{nobody.getsockname()[1]}", is_async=is_async)
        with pytest.raises(errors.Unavailable, match="cannot be reached"):
            await face.call(face.client.document("c/a").set, {})


async def test_a_closed_client_says_so(peer: Peer, is_async: bool, open_face: OpenFace) -> None:
    face = open_face(peer.url, is_async=is_async)
    await face.close()

    with pytest.raises(errors.FailedPrecondition, match="closed"):
        await face.call(face.client.document("c/a").get)
    with pytest.raises(errors.FailedPrecondition, match="closed"):
        face.client.collection("c").listen()
    await face.close()


async def test_a_call_that_runs_when_the_client_is_closed_is_not_tried_again(
    peer: Peer, is_async: bool, open_face: OpenFace
) -> None:
    """What waits for an answer by asyncio ends at once, else when the answer has come."""
    face = open_face(peer.url, is_async=is_async)
    asked, is_closed = threading.Event(), threading.Event()

    def refuse(_: Received) -> Reply:
        asked.set()
        reply = error_reply(503, "UNAVAILABLE")
        reply.hold = is_closed
        return reply

    peer.reply(refuse)
    call = asyncio.create_task(face.call(face.client.document("c/a").get))
    assert await asyncio.to_thread(asked.wait, WAIT_SECONDS)
    await face.close()
    is_closed.set()
    with pytest.raises(errors.SdkError):
        await call
    assert len(peer.requests) == 1


@dataclass(frozen=True)
class ClosingPauses(RetryPolicy):
    """During the first pause the client is closed."""

    close: Callable[[], object] = list

    def pause_seconds(self, failures: int, random: float) -> float:
        self.close()
        return 0.01


async def test_a_call_that_pauses_when_the_client_is_closed_is_not_tried_again(
    peer: Peer, is_async: bool, open_face: OpenFace
) -> None:
    closing: list[asyncio.Task[None]] = []

    def close() -> None:
        if is_async:
            closing.append(asyncio.create_task(face.client.close()))
        else:
            face.client.close()

    face = open_face(peer.url, is_async=is_async, retry=ClosingPauses(close=close))
    peer.reply(lambda _: error_reply(503, "UNAVAILABLE"))
    with pytest.raises(errors.FailedPrecondition, match="closed"):
        await face.call(face.client.document("c/a").get)
    await asyncio.gather(*closing)
    assert len(peer.requests) == 1


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"])
async def test_who_waits_for_an_answer_when_the_client_is_closed_hears_of_it(
    begun: bytes, open_face: OpenFace
) -> None:
    asked = asyncio.Event()

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(begun)
        asked.set()
        await reader.read()

    async with raw_server(begin) as port:
        face = open_face(f"http://127.0.0.1:{port}", is_async=True)
        call = asyncio.create_task(face.call(face.client.document("c/a").get))
        await asked.wait()
        await asyncio.sleep(0.05)  # what was begun arrives, or does not
        await face.close()
        with pytest.raises(errors.SdkError):
            await asyncio.wait_for(call, WAIT_SECONDS)


async def test_what_may_not_be_done_twice_is_sent_once_if_its_answer_is_lost(
    is_async: bool, open_face: OpenFace
) -> None:
    """Libraries repeat some methods by themselves: then the second answer tells of the first."""
    asked = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))

    async with raw_server(hang_up) as port:
        face = open_face(f"http://127.0.0.1:{port}", is_async=is_async)
        blob = face.client.bucket("default").blob("o")
        for change in (
            blob.delete,
            partial(blob.upload_from_string, b"x", if_generation_match=0),
        ):
            asked.clear()
            with pytest.raises(errors.Unavailable) as caught:
                await face.call(change)
            assert caught.value.reason == "ConnectionLost"
            assert len(asked) == 1
        await face.close()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), "ConnectionFailed"),
        (ssl.SSLError(1, "[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC]"), "ConnectionLost"),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "ConnectionLost"),
    ],
)
async def test_an_error_of_tls_may_come_after_the_request(error: ssl.SSLError, reason: str) -> None:
    """urllib3 tells of those that end a handshake and of those that end an answer alike."""
    transport = PooledTransport("https://127.0.0.1:1", trust_env=False)

    def fail(*_: Any, **__: Any) -> Any:
        raise urllib3.exceptions.SSLError(error)

    transport._pools.urlopen = fail  # type: ignore[method-assign]
    request = Outgoing("PUT", "https://127.0.0.1:1/", {}, b"", 1.0, 1.0)
    with pytest.raises(errors.Unavailable) as caught:
        transport.send(request)
    assert caught.value.reason == reason


async def test_a_secret_key_is_a_bearer(peer: Peer, is_async: bool, open_face: OpenFace) -> None:
    face = open_face(peer.url, is_async=is_async, api_key="baas_sk_secret")
    peer.reply(Reply(json=document("c/a")))
    await face.call(face.client.document("c/a").get)
    await face.close()

    assert peer.requests[0].headers["authorization"] == "Bearer baas_sk_secret"
    assert "x-api-key" not in peer.requests[0].headers
    assert "secret" not in repr(face.client)
    assert "secret" not in repr(face.client._options)


async def test_a_prefix_of_the_address_stays(
    peer: Peer, is_async: bool, open_face: OpenFace
) -> None:
    face = open_face(peer.url + "/baas/", is_async=is_async, database="main")
    peer.reply(Reply(json=document("c/a")))
    await face.call(face.client.document("c/a").get)
    await face.close()

    expected = "/baas/api/v1/projects/demo/databases/main/documents/c/a"
    assert peer.requests[0].path == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "127.0.0.1:8080"},
        {"base_url": "ftp://x"},
        {"base_url": "http://"},
        {"base_url": "http://u:p@x"},
        {"base_url": "http://x?y=1"},
        {"base_url": "http://x:99999"},
        {"base_url": None},
        {"project": ""},
        {"project": "a/b"},
        {"database": None},
        {"api_key": "line\nbreak"},
        {"api_key": "baas_sk_x", "token": "t"},
        {"token": 5},
        {"timeout": 0},
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    settings = {"base_url": "http://x", "project": "demo", **settings}
    with pytest.raises(errors.InvalidArgument):
        Client(settings.pop("base_url"), **settings)


async def test_cancelling_gives_a_call_up(peer: Peer, open_face: OpenFace) -> None:
    face = open_face(peer.url, is_async=True)
    hold = threading.Event()
    arrived = asyncio.Event()
    loop = asyncio.get_running_loop()

    def answer(received: Received) -> Reply:
        loop.call_soon_threadsafe(arrived.set)
        return Reply(hold=hold) if not hold.is_set() else Reply(json=document("c/a"))

    peer.reply(answer)
    task = asyncio.create_task(face.client.document("c/a").get())
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hold.set()
    assert (await face.client.document("c/a").get()).exists
    await face.close()


def test_a_client_serves_several_threads(peer: Peer) -> None:
    peer.reply(lambda received: Reply(json=document("c/" + received.path.rpartition("/")[2])))
    found: list[str] = []
    with Client(peer.url, project="demo") as client:

        def read(number: int) -> None:
            found.append(client.document(f"c/{number}").get().id)

        threads = [threading.Thread(target=read, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(found, key=int) == [str(number) for number in range(20)]


def test_snapshots_give_fresh_copies() -> None:
    client = Client("http://127.0.0.1:9", project="demo")
    tree = document("c/a", m={"l": [1]}, t={"$timestamp": TIME})
    tree["fields"]["$$x"] = 1
    snapshot = DocumentSnapshot(client.document("c/a"), tree)

    first = snapshot.to_dict()
    assert first == {"m": {"l": [1]}, "$x": 1, "t": THEN}
    first["m"]["l"].append(2)
    assert snapshot.get("m.l") == [1]
    assert snapshot.get("`$x`") == 1
    assert snapshot == DocumentSnapshot(client.document("c/a"), tree)
    assert hash(snapshot) == hash(DocumentSnapshot(client.document("c/a"), tree))
    for missing in ("z", "m.z", "m.l.z", "t.`$timestamp`"):
        with pytest.raises(KeyError):
            snapshot.get(missing)


def test_a_batch_may_be_a_with_block(peer: Peer) -> None:
    peer.reply(committed(TIME))
    with Client(peer.url, project="demo") as client:
        with client.batch() as batch:
            batch.set(client.document("c/a"), {})
        assert len(peer.requests) == 1
        with pytest.raises(KeyError), client.batch() as batch:
            raise KeyError
    assert len(peer.requests) == 1


async def test_a_batch_may_be_an_async_with_block(peer: Peer, open_face: OpenFace) -> None:
    peer.reply(committed(TIME))
    face = open_face(peer.url, is_async=True)
    async with face.client as client, client.batch() as batch:
        batch.set(client.document("c/a"), {})
    assert len(peer.requests) == 1


@dataclass(frozen=True)
class NotedPauses(RetryPolicy):
    """No pauses; after which failures there would have been one."""

    after: list[int] = field(default_factory=list)

    def pause_seconds(self, failures: int, random: float) -> float:
        self.after.append(failures)
        return 0.0


@pytest.mark.parametrize(("reason", "after"), [("TransactionConflict", [2]), ("Aborted", [1, 2])])
async def test_a_transaction_over_a_conflict_gets_in_line_without_a_pause(
    peer: Peer, open_face: OpenFace, is_async: bool, reason: str, after: list[int]
) -> None:
    """The server has it wait there, for no longer than it takes."""
    noted = NotedPauses()
    face = open_face(peer.url, is_async=is_async, retry=noted)
    for attempt in range(3):
        peer.reply(Reply(json={"transaction": f"t{attempt}", "read_time": TIME}))
        peer.reply(error_reply(409, "ABORTED", reason) if attempt < 2 else committed(TIME))

    def write(transaction: Any) -> None:
        transaction.set(face.client.document("c/d"), {})

    async def write_later(transaction: Any) -> None:
        write(transaction)

    await face.call(face.client.run_transaction, write_later if is_async else write)
    await face.close()

    assert noted.after == after
    begun = [
        received.json()
        for received in peer.requests
        if received.path.endswith(":begin-transaction")
    ]
    assert begun == [{}, {"retry": "t0"}, {"retry": "t1"}]
