"""Reads of an earlier moment, by both clients against a scripted server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest
from baas_sdk import Query, errors

from tests.sdk.faces import Face
from tests.sdk.peer import TIME, Peer, Reply, document, error_reply

THEN = datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_document_as_it_was(peer: Peer, face: Face) -> None:
    peer.reply(error_reply(404, "NOT_FOUND", "DocumentNotFound"))
    assert not (await face.call(face.client.document("cities/x").get, read_time=THEN)).exists
    path, _, query = peer.requests[0].path.partition("?")
    assert path.endswith("/documents/cities/x")
    assert parse_qs(query) == {"read_time": [TIME]}


async def test_documents_as_they_were(peer: Peer, face: Face) -> None:
    found = [{"path": "c/1", "document": document("c/1", n=1)}, {"path": "c/2", "document": None}]
    peer.reply(Reply(json={"documents": found, "read_time": TIME}))
    references = [face.client.document(path) for path in ("c/1", "c/2")]
    snapshots = await face.collect(face.client.get_all(references, ["n"], read_time=THEN))
    assert peer.requests[0].json() == {
        "documents": ["c/1", "c/2"],
        "select": ["n"],
        "read_time": TIME,
    }
    assert [(one.exists, one.read_time) for one in snapshots] == [(True, THEN), (False, THEN)]


async def test_a_query_as_of_a_moment(peer: Peer, face: Face) -> None:
    cities = face.client.collection("cities").order_by("n")
    documents = [document("cities/a", n=1), document("cities/b", n=2)]
    for query, direction, wanted in (
        (cities.limit(2), "asc", ["a", "b"]),
        (cities.limit_to_last(2), "desc", ["b", "a"]),
    ):
        peer.reply(Reply(json={"documents": documents, "read_time": TIME}))
        found = await face.call(query.get, read_time=THEN)
        assert [one.id for one in found] == wanted
        assert {one.read_time for one in found} == {THEN}
        assert peer.requests[-1].path.endswith("/documents:query")
        assert peer.requests[-1].json() == {
            "query": {
                "collection": "cities",
                "order_by": [{"field": "n", "direction": direction}],
                "limit": 2,
            },
            "read_time": TIME,
        }


async def test_numbers_as_of_a_moment(peer: Peer, face: Face) -> None:
    cities = face.client.collection("cities")
    peer.reply(Reply(json={"results": {"count": 7}, "read_time": TIME}))
    ((row,),) = await face.call(cities.count().get, read_time=THEN)
    assert (row.value, row.read_time) == (7, THEN)
    groups = [{"group": {"country": "CH"}, "results": {"count": 2}}]
    peer.reply(Reply(json={"groups": groups, "read_time": TIME}))
    (group,) = await face.call(cities.group_by("country").count("count").get, read_time=THEN)
    assert (group.values, group.results, group.read_time) == ({"country": "CH"}, {"count": 2}, THEN)
    assert [one.json()["read_time"] for one in peer.requests] == [TIME, TIME]


async def test_what_is_no_moment_is_not_sent(peer: Peer, face: Face) -> None:
    query: Query = face.client.collection("cities")
    reads: list[Any] = [
        face.client.document("cities/x").get,
        query.get,
        query.count().get,
        query.group_by("country").get,
    ]
    for wrong in (datetime(2026, 1, 1), TIME, 0):
        for read in reads:
            with pytest.raises(errors.InvalidValue):
                await face.call(read, read_time=wrong)
        with pytest.raises(errors.InvalidValue):
            await face.collect(face.client.get_all([], read_time=wrong))
        with pytest.raises(errors.InvalidValue):
            face.client.transaction(read_only=True, read_time=wrong)
    transaction = face.client.transaction()
    for read in reads:
        with pytest.raises(errors.InvalidArgument, match="of its own"):
            await face.call(read, transaction=transaction, read_time=THEN)
    assert peer.requests == []
