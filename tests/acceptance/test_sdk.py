"""Both clients against the real server, as a child process, over real sockets.

Each test has a room of its own, so that they share one server without seeing each other.
"""

from __future__ import annotations

import asyncio
import queue
import random
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from baas_sdk import (
    DELETE_FIELD,
    SERVER_TIMESTAMP,
    And,
    ArrayRemove,
    ArrayUnion,
    AsyncClient,
    ChangeType,
    Client,
    FieldFilter,
    FieldPath,
    GeoPoint,
    Increment,
    Maximum,
    Minimum,
    Or,
    Query,
    RetryPolicy,
    Vector,
    errors,
)
from baas_sdk._paths import new_document_id

from tests.processes import ROOT, ServerProcess, checked
from tests.sdk.faces import Face

pytestmark = pytest.mark.slow

RULES = """
rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /rooms/{room}/{rest=**} { allow read, write: if true; }
    match /{path=**}/members/{member} { allow read: if true; }
    match /users/{user}/notes/{note} {
      allow read, write: if request.auth != null && request.auth.uid == user;
    }
    match /posts/{post} {
      allow read: if request.auth != null && resource.data.author == request.auth.uid;
      allow create: if request.auth != null && request.resource.data.author == request.auth.uid;
    }
  }
}
"""
PASSWORD = "correct horse battery"
WAIT_SECONDS = 90.0


class World:
    """A running server with one project, and a name for everything that is made in it."""

    def __init__(self, data: Path, *flags: str) -> None:
        self.server = ServerProcess(data, *flags).start()
        try:
            self.api_key = self.server.create_project("demo", RULES, allow_open=True)
        except BaseException:
            self.server.kill()
            raise

    def face(self, *, is_async: bool, **settings: Any) -> Face:
        return Face(self.server.url, is_async=is_async, api_key=self.api_key, **settings)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("sdk") / "data")
    yield made
    assert made.server.stop() == 0


@pytest.fixture(params=["blocking", "asyncio"])
def is_async(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "asyncio")


@pytest.fixture
async def face(world: World, is_async: bool) -> AsyncIterator[Face]:
    made = world.face(is_async=is_async)
    yield made
    await made.close()


@pytest.fixture
def room(face: Face) -> Any:
    """A collection that nobody else has."""
    return face.client.collection("rooms", new_document_id(), "items")


async def soon(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, WAIT_SECONDS)


async def fill(face: Face, room: Any, **documents: dict[str, Any]) -> None:
    batch = face.client.batch()
    for name, fields in documents.items():
        batch.set(room.document(name), fields)
    await face.call(batch.commit)


def ids(snapshots: Any) -> list[str]:
    return [snapshot.id for snapshot in snapshots]


# --- documents ------------------------------------------------------------------------------------


async def test_every_kind_of_value_comes_back(face: Face, room: Any) -> None:
    reference = room.document()
    fields = {
        "null": None,
        "flags": [True, False],
        "integers": [0, -1, 2**53, -(2**63), 2**63 - 1],
        "doubles": [0.5, 1.0, -0.0, 1e300, float("inf")],
        "texts": ["", "Zürich 日本 😀", "\u2028\u0000", "$timestamp"],
        "bytes": b"\x00\xff",
        "time": datetime(2026, 11, 22, 17, 0, 0, 123456, tzinfo=UTC),
        "place": GeoPoint(47.37, -8.0),
        "vector": Vector([1, 0.5, -2]),
        "self": reference,
        "map": {"a.b": {"$x": 1}, "`": []},
    }

    await face.call(reference.set, fields)
    snapshot = await face.call(reference.get)

    assert snapshot.to_dict() == fields
    assert [type(item) for item in snapshot.get("integers")] == [int] * 5
    assert [type(item) for item in snapshot.get("doubles")] == [float] * 5
    assert snapshot.get(FieldPath("map", "a.b", "$x")) == 1
    assert snapshot.create_time == snapshot.update_time


async def test_set_replaces_and_merge_does_not(face: Face, room: Any) -> None:
    reference = room.document("a")
    await face.call(reference.set, {"a": {"x": 1, "y": 2}, "b": 3})
    await face.call(reference.set, {"a": {"x": 9, "y": DELETE_FIELD}, "c": []}, merge=True)
    assert (await face.call(reference.get)).to_dict() == {"a": {"x": 9}, "b": 3, "c": []}
    await face.call(reference.set, {"a": {"z": 1}, "b": 4}, merge=["a.z"])
    assert (await face.call(reference.get)).to_dict() == {"a": {"x": 9, "z": 1}, "b": 3, "c": []}
    await face.call(reference.set, {"d": 1})
    assert (await face.call(reference.get)).to_dict() == {"d": 1}


async def test_update_changes_the_named_fields(face: Face, room: Any) -> None:
    reference = room.document("a")
    await face.call(reference.set, {"a": {"x": 1, "y": 2}, "b": 3, "first-name": "Ada"})

    await face.call(
        reference.update,
        {"a.x": 5, "b": DELETE_FIELD, "first-name": "Augusta", FieldPath("c.d"): {"e": 1}},
    )

    assert (await face.call(reference.get)).to_dict() == {
        "a": {"x": 5, "y": 2},
        "first-name": "Augusta",
        "c.d": {"e": 1},
    }


async def test_transforms_are_computed_by_the_server(face: Face, room: Any) -> None:
    reference = room.document("a")
    await face.call(reference.set, {"n": 1, "l": [1, 2], "m": {"keep": True}})

    result = await face.call(
        reference.update,
        {
            "n": Increment(2),
            "d": Increment(0.5),
            "high": Maximum(7),
            "low": Minimum(-7),
            "l": ArrayUnion([2, 3]),
            "m.t": SERVER_TIMESTAMP,
        },
    )
    fields = (await face.call(reference.get)).to_dict()

    assert result.transform_results[:4] == (3, 0.5, 7, -7)
    assert fields["l"] == [1, 2, 3]
    assert fields["m"] == {"keep": True, "t": result.transform_results[5]}
    assert abs((fields["m"]["t"] - result.update_time).total_seconds()) < 60
    await face.call(reference.set, {"l": ArrayRemove([1, 3])}, merge=True)
    assert (await face.call(reference.get)).get("l") == [2]


async def test_conditions_hold_or_refuse(face: Face, room: Any) -> None:
    reference = room.document("a")
    with pytest.raises(errors.NotFound):
        await face.call(reference.update, {"a": 1})
    first = await face.call(reference.create, {"a": 1})
    with pytest.raises(errors.AlreadyExists):
        await face.call(reference.create, {"a": 2})
    await face.call(reference.update, {"a": 2})
    stale = face.client.write_option(last_update_time=first.update_time)
    with pytest.raises(errors.FailedPrecondition):
        await face.call(reference.update, {"a": 3}, stale)
    fresh = face.client.write_option(last_update_time=(await face.call(reference.get)).update_time)
    await face.call(reference.update, {"a": 4}, fresh)
    assert (await face.call(reference.get)).to_dict() == {"a": 4}
    await face.call(reference.delete, face.client.write_option(exists=True))
    with pytest.raises(errors.NotFound):
        await face.call(reference.delete, face.client.write_option(exists=True))
    await face.call(reference.delete)
    assert not (await face.call(reference.get)).exists


async def test_a_batch_is_all_or_nothing(face: Face, room: Any) -> None:
    await fill(face, room, a={"n": 1})
    batch = face.client.batch()
    batch.set(room.document("b"), {"n": 2})
    batch.create(room.document("a"), {"n": 3})
    with pytest.raises(errors.AlreadyExists):
        await face.call(batch.commit)
    found = await face.collect(
        face.client.get_all([room.document("b"), room.document("a"), room.document("b")])
    )

    assert [item.exists for item in found] == [False, True, False]
    assert found[1].to_dict() == {"n": 1}


async def test_documents_are_got_with_some_of_their_fields(face: Face, room: Any) -> None:
    fields = {"n": 1, "a b": 2, "at": {"x": 1, "y": 2}}
    before = (await face.call(room.document("a").set, fields)).update_time
    await face.call(room.document("a").update, {"n": 2})
    some = ["n", FieldPath("a b"), "at.x"]
    got = await face.call(room.document("a").get, some)
    assert got.to_dict() == {"n": 2, "a b": 2, "at": {"x": 1}}
    assert got.update_time > got.create_time == before
    past = await face.call(room.document("a").get, field_paths=["n"], read_time=before)
    assert past.to_dict() == {"n": 1}
    assert (await face.call(room.document("a").get, [])).to_dict() == {}
    assert not (await face.call(room.document("none").get, ["n"])).exists
    named = [room.document("none"), room.document("a")]
    missing, found = await face.collect(face.client.get_all(named, ["n"]))
    assert (missing.exists, found.to_dict()) == (False, {"n": 2})
    for wrong in ("n", FieldPath("n"), 5):
        with pytest.raises(errors.InvalidQuery):
            await face.call(room.document("a").get, wrong)


async def test_a_transaction_reads_some_of_the_fields(face: Face, room: Any) -> None:
    await face.call(room.document("a").set, {"n": 1, "other": 2})
    if face.is_async:

        async def work(transaction: Any) -> Any:
            got = await room.document("a").get(["n"], transaction=transaction)
            (again,) = [
                one
                async for one in face.client.get_all(
                    [room.document("a")], field_paths=["n"], transaction=transaction
                )
            ]
            transaction.update(room.document("a"), {"n": got.get("n") + 1})
            return [got.to_dict(), again.to_dict()]

    else:

        def work(transaction: Any) -> Any:  # type: ignore[misc]
            got = room.document("a").get(["n"], transaction=transaction)
            (again,) = face.client.get_all(
                [room.document("a")], field_paths=["n"], transaction=transaction
            )
            transaction.update(room.document("a"), {"n": got.get("n") + 1})
            return [got.to_dict(), again.to_dict()]

    assert await face.call(face.client.run_transaction, work) == [{"n": 1}, {"n": 1}]
    assert (await face.call(room.document("a").get)).to_dict() == {"n": 2, "other": 2}


async def test_add_and_list(face: Face, room: Any) -> None:
    added = [(await face.call(room.add, {"n": number}))[1] for number in range(5)]

    listed = await face.collect(room.list_documents(page_size=2))

    assert listed == sorted(added, key=lambda reference: reference.id)


@pytest.mark.parametrize("name", ["a b", "ü%/x".replace("/", "∕"), "a:commit", "__id7__", "..."])
async def test_unusual_ids(face: Face, room: Any, name: str) -> None:
    reference = room.document(name)
    await face.call(reference.set, {"n": 1})

    assert (await face.call(reference.get)).exists
    assert await face.collect(room.list_documents()) == [reference]


# --- queries --------------------------------------------------------------------------------------

CITIES = {
    "bern": {"country": "CH", "population": 134, "tags": ["capital", "river"]},
    "geneva": {"country": "CH", "population": 203, "tags": ["lake"]},
    "lyon": {"country": "FR", "population": 522, "tags": ["river"]},
    "paris": {"country": "FR", "population": 2103, "tags": ["capital", "river"]},
    "rome": {"country": "IT", "population": 2746, "tags": ["capital"]},
    "zurich": {"country": "CH", "population": 443, "tags": ["lake", "river"]},
}


async def test_filters(face: Face, room: Any) -> None:
    await fill(face, room, **CITIES)

    async def found(query: Any) -> list[str]:
        return ids(await face.call(query.get))

    assert await found(room) == sorted(CITIES)
    swiss = FieldFilter("country", "==", "CH")
    assert await found(room.where(filter=swiss)) == ["bern", "geneva", "zurich"]
    lakes = room.where("tags", "array_contains", "lake")
    assert await found(lakes) == ["geneva", "zurich"]
    assert await found(room.where("country", "in", ["IT", "FR"])) == ["lyon", "paris", "rome"]
    assert await found(room.where("country", "not-in", ["IT", "FR"])) == [
        "bern",
        "geneva",
        "zurich",
    ]
    either = Or(
        [FieldFilter("population", ">", 2500), And([swiss, FieldFilter("population", "<", 200)])]
    )
    assert await found(room.where(filter=either)) == ["bern", "rome"]
    name = FieldPath.document_id()
    assert await found(room.where(name, ">=", "paris")) == ["paris", "rome", "zurich"]
    assert await found(room.where(name, "in", ["rome", room.document("bern")])) == ["bern", "rome"]
    assert await found(room.where("country", "==", None)) == []


async def test_order_limits_and_positions(face: Face, room: Any) -> None:
    await fill(face, room, **CITIES)
    ascending = ["bern", "geneva", "zurich", "lyon", "paris", "rome"]
    by_size = room.order_by("population")

    async def found(query: Any) -> list[str]:
        return ids(await face.call(query.get))

    assert await found(by_size) == ascending
    assert await found(room.order_by("population", Query.DESCENDING).limit(2)) == ["rome", "paris"]
    assert await found(by_size.limit_to_last(2)) == ["paris", "rome"]
    assert await found(by_size.offset(4)) == ["paris", "rome"]
    assert await found(by_size.start_at([443]).end_before([2103])) == ["zurich", "lyon"]
    assert await found(by_size.start_after({"population": 443}).limit_to_last(2)) == [
        "paris",
        "rome",
    ]
    zurich = await face.call(room.document("zurich").get)
    assert await found(by_size.start_after(zurich)) == ["lyon", "paris", "rome"]
    assert await found(by_size.end_at(zurich).limit_to_last(2)) == ["geneva", "zurich"]
    by_country = room.order_by("country", Query.DESCENDING)
    assert await found(by_country.start_at(zurich)) == ["zurich", "geneva", "bern"]
    inequality = room.where("population", ">", 150).where("country", "==", "CH")
    assert await found(inequality.start_after(await face.call(room.document("geneva").get))) == [
        "zurich"
    ]


async def test_pages_meet(face: Face, room: Any) -> None:
    numbers = list(range(50))
    random.Random(7).shuffle(numbers)
    await fill(face, room, **{f"d{n:02}": {"group": n % 3} for n in numbers})
    query = room.order_by("group").limit(7)
    found: list[str] = []
    page = await face.call(query.get)
    while page:
        found += ids(page)
        page = await face.call(query.start_after(page[-1]).get)

    assert found == [f"d{n:02}" for n in sorted(numbers, key=lambda n: (n % 3, n))]


async def test_select_count_and_stream(face: Face, room: Any) -> None:
    await fill(face, room, **CITIES)
    (row,) = await face.call(room.where("country", "==", "CH").count(alias="swiss").get)
    assert (row[0].alias, row[0].value) == ("swiss", 3)
    selected = await face.call(room.select(["population"]).limit(1).get)
    assert selected[0].to_dict() == {"population": 134}
    assert (await face.call(room.select([]).limit(1).get))[0].to_dict() == {}
    assert ids(await face.collect(room.order_by("country").limit(4).stream())) == [
        "bern",
        "geneva",
        "zurich",
        "lyon",
    ]


async def test_sums_and_averages(face: Face, room: Any) -> None:
    await fill(face, room, **CITIES)
    swiss = room.where("country", "==", "CH")
    wanted = swiss.sum("population", alias="people").avg("population").count("cities")
    (row,) = await face.call(wanted.get)
    assert [(one.alias, one.value) for one in row] == [
        ("people", 780),
        ("field_2", 260.0),
        ("cities", 3),
    ]
    (row,) = await face.call(room.where("country", "==", "XX").avg("population").get)
    assert row[0].value is None


async def test_groups(face: Face, room: Any) -> None:
    mark = new_document_id()
    for parent in ("x", "y"):
        member = room.document(parent).collection("members").document("m")
        await face.call(member.set, {"mark": mark})

    found = await face.call(face.client.collection_group("members").where("mark", "==", mark).get)

    assert [item.reference.parent.parent.id for item in found] == ["x", "y"]


async def test_a_large_result_streams(face: Face, room: Any) -> None:
    for start in range(0, 1500, 500):
        await fill(face, room, **{f"d{n:04}": {"t": "x" * 400} for n in range(start, start + 500)})

    count = 0
    if face.is_async:
        async for snapshot in room.stream():
            assert snapshot.id == f"d{count:04}"
            count += 1
    else:
        for snapshot in await face.collect(room.stream()):
            assert snapshot.id == f"d{count:04}"
            count += 1
    assert count == 1500


async def test_what_the_server_refuses_says_why(face: Face, room: Any) -> None:
    wrong = room.where("a", "in", []).where("b", "array_contains", 1)
    with pytest.raises(errors.InvalidArgument) as caught:
        await face.call(wrong.get)
    assert caught.value.message
    assert caught.value.request_id
    with pytest.raises(errors.InvalidArgument):
        await face.call(room.document("a").set, {"__reserved__": 1})
    big = {"t": "x" * 1_100_000}
    with pytest.raises(errors.SdkError) as caught_big:
        await face.call(room.document("a").set, big)
    assert caught_big.value.code.value in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")


# --- accounts and rules ---------------------------------------------------------------------------


async def test_accounts_and_rules(face: Face) -> None:
    client = face.client
    email = f"{new_document_id()}@example.com".lower()
    user = await face.call(client.auth.sign_up, email, PASSWORD)
    assert user.email == email
    notes = client.collection("users", user.uid, "notes")
    await face.call(notes.document("n").set, {"t": 1})
    assert ids(await face.call(notes.get)) == ["n"]
    assert (await face.call(client.auth.reload)).uid == user.uid

    with pytest.raises(errors.PermissionDenied):
        await face.call(client.collection("users/somebody-else/notes").get)
    await face.call(client.auth.sign_out)
    with pytest.raises(errors.PermissionDenied):
        await face.call(notes.document("n").get)
    with pytest.raises(errors.Unauthenticated):
        await face.call(client.auth.sign_in, email, "wrong " + PASSWORD)
    with pytest.raises(errors.AlreadyExists):
        await face.call(client.auth.sign_up, email, PASSWORD)
    assert (await face.call(client.auth.sign_in, email, PASSWORD)).uid == user.uid
    assert (await face.call(notes.document("n").get)).get("t") == 1


async def test_tokens_are_refreshed(face: Face) -> None:
    client = face.client
    user = await face.call(client.auth.sign_up, f"{new_document_id()}@example.com", PASSWORD)
    notes = client.collection("users", user.uid, "notes")
    before = await face.call(client.auth.id_token)
    after = await face.call(client.auth.id_token, force_refresh=True)
    assert after != before
    for _ in range(3):
        await face.call(client.auth.id_token, force_refresh=True)
    await face.call(notes.document("n").set, {})


async def test_tokens_that_expire_are_refreshed_under_calls_and_listeners(
    tmp_path: Path, is_async: bool
) -> None:
    world = World(tmp_path / "data", "--id-token-lifetime-seconds", "4")
    face = world.face(is_async=is_async)
    try:
        user = await face.call(face.client.auth.sign_up, "ada@example.com", PASSWORD)
        notes = face.client.collection("users", user.uid, "notes")
        listener = notes.listen()
        assert ids((await soon(face.next(listener))).documents) == []
        first = face.client._session.id_token
        number = 0
        deadline = time.monotonic() + WAIT_SECONDS
        while face.client._session.id_token == first or number < 3:
            assert time.monotonic() < deadline
            await asyncio.sleep(1)  # of the token's life
            await face.call(notes.document(f"{number}").set, {})
            number += 1
            assert len(await soon(face.next(listener))) == number
        listener.close()
    finally:
        await face.close()
        assert world.server.stop() == 0


async def test_a_key_that_is_none_is_refused(world: World, is_async: bool) -> None:
    face = Face(world.server.url, is_async=is_async, api_key="baas_pk_unknown")
    with pytest.raises(errors.SdkError) as caught:
        await face.call(face.client.auth.sign_in, "a@b.c", PASSWORD)
    assert caught.value.code.value in ("UNAUTHENTICATED", "PERMISSION_DENIED")
    await face.close()


async def test_a_project_that_is_none_is_not_found(world: World, is_async: bool) -> None:
    face = world.face(is_async=is_async, project="nothing-here")
    with pytest.raises((errors.NotFound, errors.Unauthenticated)):
        await face.call(face.client.document("rooms/x").get)
    await face.close()


async def test_a_secret_key_is_not_bound_by_rules(world: World, is_async: bool) -> None:
    with world.server.admin() as admin:
        body = {"kind": "secret", "name": "server"}
        key = str(admin.post("/projects/demo/keys", json=body).json()["key"])
    face = Face(world.server.url, is_async=is_async, api_key=key)
    reference = face.client.document("secret/x")
    await face.call(reference.set, {"a": 1})
    assert (await face.call(reference.get)).exists
    listener = face.client.collection("secret").listen()
    assert ids((await soon(face.next(listener))).documents) == ["x"]
    await face.close()
    anonymous = world.face(is_async=is_async)
    with pytest.raises(errors.PermissionDenied):
        await anonymous.call(anonymous.client.document("secret/x").get)
    await anonymous.close()


# --- live -----------------------------------------------------------------------------------------


class Follower:
    """Applies a listener's changes and holds them to its documents."""

    def __init__(self, face: Face, listener: Any) -> None:
        self.face = face
        self.listener = listener
        self.applied: list[Any] = []
        self.snapshots = 0

    async def next(self) -> Any:
        snapshot = await soon(self.face.next(self.listener))
        self.snapshots += 1
        assert snapshot.changes or self.snapshots == 1
        for change in snapshot.changes:
            if change.type is not ChangeType.ADDED:
                gone = self.applied.pop(change.old_index)
                assert gone.id == change.document.id
            if change.type is not ChangeType.REMOVED:
                self.applied.insert(change.new_index, change.document)
        assert self.applied == list(snapshot.documents)
        return snapshot

    async def until(self, wanted: dict[str, Any]) -> None:
        """Follows until the documents are these; fails if they go on and never are."""
        while self.fields() != wanted:
            await self.next()

    def fields(self) -> dict[str, Any]:
        return {document.id: document.to_dict() for document in self.applied}


async def test_a_query_is_followed(face: Face, room: Any) -> None:
    await fill(face, room, **CITIES)
    swiss = room.where("country", "==", "CH").order_by("population")
    follower = Follower(face, swiss.listen())
    assert ids((await follower.next()).documents) == ["bern", "geneva", "zurich"]

    await face.call(room.document("basel").set, {"country": "CH", "population": 178})
    snapshot = await follower.next()
    assert ids(snapshot.documents) == ["bern", "basel", "geneva", "zurich"]
    assert [(item.type, item.new_index) for item in snapshot.changes] == [(ChangeType.ADDED, 1)]
    await face.call(room.document("bern").update, {"population": 999})
    snapshot = await follower.next()
    assert ids(snapshot.documents) == ["basel", "geneva", "zurich", "bern"]
    assert [item.type for item in snapshot.changes] == [ChangeType.MODIFIED]
    await face.call(room.document("geneva").update, {"country": "FR"})
    assert ids((await follower.next()).documents) == ["basel", "zurich", "bern"]
    batch = face.client.batch()
    batch.delete(room.document("basel"))
    batch.set(room.document("chur"), {"country": "CH", "population": 38})
    await face.call(batch.commit)
    assert ids((await follower.next()).documents) == ["chur", "zurich", "bern"]
    assert follower.snapshots == 5
    follower.listener.close()


async def test_a_limited_query_is_followed_from_both_ends(face: Face, room: Any) -> None:
    first = Follower(face, room.order_by("n").limit(2).listen())
    last = Follower(face, room.order_by("n").limit_to_last(2).listen())
    assert ids((await first.next()).documents) == ids((await last.next()).documents) == []
    await fill(face, room, **{f"d{n}": {"n": n} for n in range(4)})
    assert ids((await first.next()).documents) == ["d0", "d1"]
    assert ids((await last.next()).documents) == ["d2", "d3"]
    await face.call(room.document("d0").delete)
    await face.call(room.document("d3").delete)
    assert ids((await first.next()).documents) == ["d1", "d2"]
    assert ids((await last.next()).documents) == ["d1", "d2"]
    first.listener.close()
    last.listener.close()


async def test_a_document_is_followed(face: Face, room: Any) -> None:
    reference = room.document("a")
    listener = reference.listen()
    assert not (await soon(face.next(listener))).exists
    await face.call(reference.set, {"n": 1})
    assert (await soon(face.next(listener))).get("n") == 1
    await face.call(reference.update, {"n": 2})
    snapshot = await soon(face.next(listener))
    assert snapshot.get("n") == 2
    assert snapshot.read_time >= snapshot.update_time
    await face.call(reference.delete)
    assert not (await soon(face.next(listener))).exists
    listener.close()


async def test_callbacks(face: Face, room: Any) -> None:
    calls: queue.Queue[Any] = queue.Queue()
    watch = room.on_snapshot(lambda *arguments: calls.put(arguments))

    async def call() -> Any:
        return await asyncio.to_thread(calls.get, timeout=WAIT_SECONDS)

    assert (await call())[0] == []
    await face.call(room.document("a").set, {"n": 1})
    documents, changes, read_time = await call()
    assert ids(documents) == ["a"]
    assert [item.type for item in changes] == [ChangeType.ADDED]
    assert read_time.tzinfo is UTC
    watch.unsubscribe()
    await face.call(room.document("b").set, {})
    assert calls.empty()


async def test_a_large_snapshot_comes_whole(face: Face, room: Any) -> None:
    wanted = {f"d{n:04}": {"t": "x" * 900, "n": n} for n in range(1000)}
    names = list(wanted)
    for start in range(0, 1000, 500):
        await fill(face, room, **{name: wanted[name] for name in names[start : start + 500]})

    follower = Follower(face, room.listen())
    snapshot = await follower.next()

    assert len(snapshot) == 1000
    assert follower.fields() == wanted
    follower.listener.close()


async def test_a_forbidden_listener_ends_with_the_error(face: Face, room: Any) -> None:
    allowed = Follower(face, room.listen())
    await allowed.next()
    failures: queue.Queue[Any] = queue.Queue()
    forbidden = face.client.collection("users/other/notes")
    with pytest.raises(errors.PermissionDenied):
        await soon(face.next(forbidden.listen()))
    forbidden.on_snapshot(lambda *arguments: None, on_error=failures.put)
    error = await asyncio.to_thread(failures.get, timeout=WAIT_SECONDS)
    assert isinstance(error, errors.PermissionDenied)
    with pytest.raises(errors.InvalidArgument):
        await soon(face.next(room.where("a", "in", []).listen()))
    await face.call(room.document("a").set, {})
    await allowed.next()
    allowed.listener.close()


async def test_signing_out_ends_what_the_user_alone_may_see(face: Face, room: Any) -> None:
    client = face.client
    user = await face.call(client.auth.sign_up, f"{new_document_id()}@example.com", PASSWORD)
    public = Follower(face, room.listen())
    await public.next()
    private = client.collection("users", user.uid, "notes").listen()
    await soon(face.next(private))
    await face.call(client.auth.sign_out)

    with pytest.raises(errors.PermissionDenied):
        await soon(face.next(private))
    await face.call(room.document("a").set, {"n": 1})
    await public.until({"a": {"n": 1}})
    public.listener.close()


async def test_random_writes_are_followed(face: Face, room: Any) -> None:
    chance = random.Random(11)
    truth: dict[str, Any] = {}
    query = room.where("n", ">=", 3).order_by("n", Query.DESCENDING).limit(5)
    follower = Follower(face, query.listen())
    await follower.next()
    for _ in range(60):
        batch = face.client.batch()
        for name in chance.sample("abcdefghij", chance.randint(1, 3)):
            if chance.random() < 0.25:
                truth.pop(name, None)
                batch.delete(room.document(name))
            else:
                truth[name] = {"n": chance.randint(0, 9)}
                batch.set(room.document(name), truth[name])
        await face.call(batch.commit)
    matching = [item for item in truth.items() if item[1]["n"] >= 3]
    matching.sort(key=lambda item: (item[1]["n"], item[0]), reverse=True)

    await follower.until(dict(matching[:5]))
    assert [item.id for item in follower.applied] == [name for name, _ in matching[:5]]
    follower.listener.close()


# --- a server that goes away and comes back -------------------------------------------------------

PATIENT = RetryPolicy(attempts_max=200, pause_seconds_first=0.05, pause_seconds_max=0.3)


async def test_a_server_is_killed_and_comes_back_under_listeners(
    tmp_path: Path, is_async: bool
) -> None:
    world = World(tmp_path / "data")
    face = world.face(is_async=is_async, retry=PATIENT)
    try:
        room = face.client.collection("rooms/r/items")
        truth: dict[str, Any] = {}
        query = Follower(face, room.order_by("n").listen())
        document = room.document("d0").listen()
        await query.next()
        assert not (await soon(face.next(document))).exists
        seen: list[str] = []
        for round_ in range(3):
            for number in range(3):
                name = f"d{round_ * 3 + number}"
                truth[name] = {"n": round_ * 3 + number}
                await face.call(room.document(name).set, truth[name])
            await query.until(truth)
            seen = [item.id for item in query.applied]
            world.server.kill()
            # Written while the server is away: the call waits, and the listener hears of it once.
            name = f"x{round_}"
            truth[name] = {"n": 100 + round_}
            waiting = asyncio.create_task(face.call(room.document(name).set, truth[name]))
            await asyncio.to_thread(world.server.start)
            await soon(waiting)
            await query.until(truth)
        assert len(seen) == 11
        assert (await soon(face.next(document))).get("n") == 0
        await face.call(room.document("d0").update, {"n": -1})
        # Three restarts in between, and the document was shown once for each of its states.
        assert (await soon(face.next(document))).get("n") == -1
        await query.until({**truth, "d0": {"n": -1}})
        query.listener.close()
        document.close()
    finally:
        await face.close()
        assert world.server.stop() == 0


async def test_increments_through_restarts_count_once(tmp_path: Path) -> None:
    world = World(tmp_path / "data")
    try:
        async with AsyncClient(
            world.server.url, project="demo", api_key=world.api_key, retry=PATIENT
        ) as client:
            counter = client.document("rooms/r/items/counter")
            await counter.set({"n": 0})
            done = asyncio.Event()
            acknowledged = 0

            async def count() -> None:
                nonlocal acknowledged
                while not done.is_set():
                    await counter.update({"n": Increment(1)})
                    acknowledged += 1

            counting = [asyncio.create_task(count()) for _ in range(4)]
            for _ in range(3):
                await asyncio.sleep(0.5)
                world.server.kill()
                await asyncio.to_thread(world.server.start)
            done.set()
            await soon(asyncio.gather(*counting))
            assert acknowledged > 0
            assert (await counter.get()).get("n") == acknowledged
    finally:
        assert world.server.stop() == 0


def test_a_server_that_stops_ends_nothing(tmp_path: Path) -> None:
    """A clean stop, as for an upgrade: blocking listeners go on afterwards."""
    world = World(tmp_path / "data")
    try:
        with Client(
            world.server.url, project="demo", api_key=world.api_key, retry=PATIENT
        ) as client:
            room = client.collection("rooms/r/items")
            with room.listen() as listener:
                assert len(next(listener)) == 0
                assert world.server.stop() == 0
                world.server.start()
                room.document("a").set({"n": 1})
                assert ids(next(listener).documents) == ["a"]
    finally:
        assert world.server.stop() == 0


# --- the README -----------------------------------------------------------------------------------

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
README_RULES = """
rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /cities/{city} { allow read, write: if request.auth != null; }
  }
}
service firebase.storage {
  match /b/{bucket}/o {
    match /photos/{photo=**} { allow read, write: if request.auth != null; }
  }
}
"""


def test_the_readme_runs(world: World, tmp_path: Path) -> None:
    """Its Python blocks are one program; what it prints stands in its comments."""
    key = world.server.create_project("readme", README_RULES, allow_open=True)
    with world.server.admin() as admin:
        checked(admin.post("/projects/readme/buckets", json={"id": "default"}))
    page = (ROOT / "sdk" / "README.md").read_text(encoding="utf-8")
    program = "\n".join(BLOCK.findall(page))
    expected = re.findall(r"# -> (.*)$", program, re.MULTILINE)
    assert len(expected) > 10
    program = program.replace("http://127.0.0.1:8080", world.server.url)
    program = program.replace("baas_pk_…", key).replace('project="demo"', 'project="readme"')
    script = tmp_path / "readme.py"
    script.write_text(program, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected
