"""What rules decide, through the use cases: which method is asked, what they see and read."""

from __future__ import annotations

import asyncio
import math

import pytest

from baas.errors import AlreadyExists, FailedPrecondition, NotFound, PermissionDenied
from baas.model.paths import FieldPath
from baas.model.timestamps import Timestamp
from baas.model.values import Fields, GeoPoint, Reference, Vector
from baas.model.writes import (
    DeleteWrite,
    FieldTransform,
    Increment,
    Precondition,
    ServerTimestamp,
    SetWrite,
    VerifyWrite,
    Write,
)
from baas.services import aggregations, documents, queries
from baas.services.caller import ANONYMOUS, Caller
from tests.baas.services.worlds import ADA, EVE, NAME, OPERATOR, SECRET, World, path, query, user


async def allowed(world: World, caller: Caller, *writes: Write) -> bool:
    try:
        await documents.commit(world.context, caller, NAME, writes)
    except PermissionDenied:
        return False
    return True


async def readable(world: World, caller: Caller, where: str) -> bool:
    try:
        await documents.get_document(world.context, caller, NAME, path(where))
    except PermissionDenied:
        return False
    return True


async def test_without_rules_everything_is_denied(world: World) -> None:
    await world.put(a__b={"x": 1})
    assert not await readable(world, ADA, "a/b")
    assert not await readable(world, ADA, "a/missing")
    assert not await allowed(world, ADA, SetWrite(path("a/c"), {}))
    with pytest.raises(PermissionDenied):
        await queries.run_query(world.context, ADA, NAME, query("a"))


async def test_administrators_and_secret_keys_answer_to_no_rules(world: World) -> None:
    for caller in (OPERATOR, SECRET):
        assert await allowed(world, caller, SetWrite(path("a/b"), {"x": 1}))
        assert await readable(world, caller, "a/b")
        assert (await aggregations.count(world.context, caller, NAME, query("a"))).count == 1


@pytest.mark.parametrize("method", ["create", "update", "delete"])
async def test_a_write_is_a_create_an_update_or_a_delete_by_what_exists(
    world: World, method: str
) -> None:
    await world.deploy(f"match /a/{{id}} {{ allow {method}: if true; }}")
    await world.put(a__old={"x": 1})
    attempts: dict[str, Write] = {
        "create": SetWrite(path("a/new"), {"x": 2}),
        "update": SetWrite(path("a/old"), {"x": 2}),
        "delete": DeleteWrite(path("a/old")),
    }
    for name, write in attempts.items():
        assert await allowed(world, ADA, write) is (name == method)


async def test_rules_see_both_images(world: World) -> None:
    await world.deploy(
        "match /a/{id} { allow update: if resource.data.n == 1"
        " && request.resource.data.n == 2 && request.resource.data.kept == 'x'; }"
    )
    await world.put(a__b={"n": 1, "kept": "x"})
    mask = (FieldPath(("n",)),)
    assert not await allowed(world, ADA, SetWrite(path("a/b"), {"n": 3}, mask))
    assert not await allowed(world, ADA, SetWrite(path("a/b"), {"n": 2}))
    assert await allowed(world, ADA, SetWrite(path("a/b"), {"n": 2}, mask))


async def test_rules_see_what_transforms_make(world: World) -> None:
    await world.deploy(
        "match /a/{id} { allow write: if request.resource.data.n == 3"
        " && request.resource.data.at == request.time; }"
    )
    await world.put(a__b={"n": 1})
    at = FieldTransform(FieldPath(("at",)), ServerTimestamp())

    def add(number: int) -> SetWrite:
        increment = FieldTransform(FieldPath(("n",)), Increment(number))
        return SetWrite(path("a/b"), {}, (), (increment, at))

    assert not await allowed(world, ADA, add(1))
    assert await allowed(world, ADA, add(2))


async def test_every_type_reaches_the_rules(world: World) -> None:
    fields: Fields = {
        "null": None,
        "bool": True,
        "int": 7,
        "float": 1.5,
        "nan": math.nan,
        "text": "$5",
        "$odd": 1,
        "bytes": b"hi",
        "time": Timestamp.parse("2020-01-02T03:04:05Z"),
        "ref": Reference(path("users/ada")),
        "far": Reference(path("users/ada"), "projects/other/databases/archive"),
        "place": GeoPoint(48.0, 16.0),
        "vector": Vector((1.0, 2.0)),
        "list": [{"time": Timestamp.parse("2020-01-02T03:04:05Z")}, "x"],
    }
    conditions = [
        "d.null == null",
        "d.bool",
        "d.int == 7",
        "d.float == 1.5",
        "d.nan != d.nan",
        "d.text == '$5'",
        "d['$odd'] == 1",
        "d.bytes == b'hi'",
        "d.time == timestamp.date(2020, 1, 2) + duration.time(3, 4, 5, 0)",
        "d.time.year() == 2020",
        "d.ref == /databases/$(database)/documents/users/ada",
        "d.far == /databases/archive/documents/users/ada",
        "d.place.latitude() == 48.0",
        "d.vector[1] == 2.0",
        "d.list[0].time == d.time && d.list[1] == 'x'",
    ]
    await world.put(a__b=fields)
    for condition in conditions:
        for root in ("resource.data", "request.resource.data"):
            method = "get" if root == "resource.data" else "update"
            await world.deploy(
                f"match /a/{{id}} {{ allow {method}: if f({root}, database); }}",
                functions=f"function f(d, database) {{ return {condition}; }}",
            )
            if method == "get":
                assert await readable(world, ADA, "a/b"), condition
            else:
                assert await allowed(world, ADA, SetWrite(path("a/b"), fields)), condition


async def test_claims_reach_the_rules(world: World) -> None:
    await world.deploy("match /a/{id} { allow read: if request.auth.token.role == 'editor'; }")
    assert await readable(world, user("bob", role="editor"), "a/b")
    assert not await readable(world, user("bob", role="reader"), "a/b")
    assert not await readable(world, ANONYMOUS, "a/b")


async def test_rules_look_other_documents_up(world: World) -> None:
    await world.deploy(
        "match /a/{id} { allow read, write: if get(/databases/$(database)/documents/"
        "roles/$(request.auth.uid)).data.level > 2; }"
    )
    await world.put(roles__ada={"level": 3}, roles__eve={"level": 1})
    assert await readable(world, ADA, "a/b")
    assert not await readable(world, EVE, "a/b")
    assert not await readable(world, user("nobody"), "a/b")
    assert await allowed(world, ADA, SetWrite(path("a/b"), {}))
    assert not await allowed(world, EVE, SetWrite(path("a/b"), {}))
    found = await documents.get_documents(world.context, ADA, NAME, [path("a/b"), path("a/c")])
    assert [document is None for document in found.documents] == [False, True]


async def test_chains_of_lookups_are_followed(world: World) -> None:
    await world.deploy(
        "match /a/{id} { allow read: if get(at('teams', team())).data.open; }",
        functions="function at(c, id)"
        " { return path('/databases/(default)/documents/' + c + '/' + id); }"
        " function team() { return get(at('people', request.auth.uid)).data.team; }",
    )
    await world.put(people__ada={"team": "red"}, teams__red={"open": True})
    assert await readable(world, ADA, "a/b")
    assert not await readable(world, EVE, "a/b")


async def test_more_than_ten_lookups_are_denied(world: World) -> None:
    def rule(count: int) -> str:
        looked = " && ".join(
            f"exists(/databases/$(database)/documents/c/d{n})" for n in range(count)
        )
        return f"match /a/{{id}} {{ allow read: if {looked}; }}"

    await world.put(**{f"c__d{n}": {} for n in range(11)})
    await world.deploy(rule(10))
    assert await readable(world, ADA, "a/b")
    await world.deploy(rule(11))
    assert not await readable(world, ADA, "a/b")


async def test_a_batch_may_look_up_twenty_documents(world: World) -> None:
    await world.deploy(
        "match /a/{id} { allow write: if exists(/databases/$(database)/documents/c/$(id)); }"
    )
    await world.put(**{f"c__d{n}": {} for n in range(21)})
    writes = [SetWrite(path(f"a/d{n}"), {}) for n in range(21)]
    assert await allowed(world, ADA, *writes[:20])
    assert not await allowed(world, ADA, *writes)


async def test_get_after_sees_the_whole_batch(world: World) -> None:
    await world.deploy(
        "match /items/{id} { allow create: if getAfter(/databases/$(database)/documents/"
        "counters/items).data.n == 1; }",
        "match /counters/{id} { allow write: if existsAfter(/databases/$(database)/documents/"
        "items/$(request.resource.data.last)); }",
    )
    item = SetWrite(path("items/x"), {})
    counter = SetWrite(path("counters/items"), {"n": 1, "last": "x"})
    assert not await allowed(world, ADA, item)
    assert not await allowed(world, ADA, counter)
    assert await allowed(world, ADA, item, counter)


async def test_one_denied_write_fails_the_batch(world: World) -> None:
    await world.deploy("match /a/{id} { allow write: if id != 'no'; }")
    assert not await allowed(world, ADA, SetWrite(path("a/yes"), {}), SetWrite(path("a/no"), {}))
    document = await documents.get_document(world.context, OPERATOR, NAME, path("a/yes"))
    assert document is None


async def test_a_denied_get_fails_the_batch_get(world: World) -> None:
    await world.deploy("match /a/{id} { allow get: if id != 'no'; }")
    with pytest.raises(PermissionDenied):
        await documents.get_documents(world.context, ADA, NAME, [path("a/yes"), path("a/no")])


async def test_a_verify_takes_the_right_to_get(world: World) -> None:
    await world.deploy(
        "match /a/{id} { allow write: if true; } match /b/{id} { allow get: if true; }"
    )
    await world.put(a__x={}, b__x={}, c__x={})
    exists = Precondition(exists=True)
    write = SetWrite(path("a/y"), {})
    assert await allowed(world, ADA, write, VerifyWrite(path("b/x"), exists))
    assert not await allowed(world, ADA, write, VerifyWrite(path("c/x"), exists))
    assert not await allowed(world, ADA, write, VerifyWrite(path("c/missing"), exists))


async def test_what_is_denied_cannot_be_told_apart_from_what_is_missing(world: World) -> None:
    await world.deploy("match /a/{id} { allow read, write: if resource.data.owner == 'eve'; }")
    await world.put(a__there={"owner": "eve"})
    exists, absent = Precondition(exists=True), Precondition(exists=False)
    stale = Precondition(update_time=Timestamp(1))
    for name in ("there", "missing"):
        assert not await readable(world, user("x"), f"a/{name}") or name == "there"
    await world.deploy("match /b/{id} { allow read: if true; }")
    for name in ("there", "missing"):
        where = path(f"a/{name}")
        for write in (
            SetWrite(where, {}),
            SetWrite(where, {}, precondition=exists),
            SetWrite(where, {}, precondition=absent),
            SetWrite(where, {}, precondition=stale),
            DeleteWrite(where),
            DeleteWrite(where, exists),
            DeleteWrite(where, stale),
            VerifyWrite(where, exists),
            VerifyWrite(where, absent),
        ):
            assert not await allowed(world, ADA, write), (name, write)


async def test_who_may_write_is_told_why_it_failed(world: World) -> None:
    await world.deploy("match /a/{id} { allow read, write: if request.auth.uid == 'ada'; }")
    await world.put(a__there={})

    async def commit(write: Write) -> None:
        await documents.commit(world.context, ADA, NAME, [write])

    with pytest.raises(NotFound):
        await commit(SetWrite(path("a/missing"), {}, precondition=Precondition(exists=True)))
    with pytest.raises(AlreadyExists):
        await commit(SetWrite(path("a/there"), {}, precondition=Precondition(exists=False)))
    stale = Precondition(update_time=Timestamp(1))
    with pytest.raises(FailedPrecondition):
        await commit(SetWrite(path("a/there"), {}, precondition=stale))


async def test_a_commit_that_was_decided_on_an_old_state_is_decided_again(world: World) -> None:
    await world.deploy(
        "match /a/{id} { allow write: if get(/databases/$(database)/documents/locks/a).data.open; }"
    )
    await world.put(locks__a={"open": True})
    close = SetWrite(path("locks/a"), {"open": False})

    async def write(number: int) -> bool:
        return await allowed(world, ADA, SetWrite(path(f"a/d{number}"), {}))

    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(write(number))
        closing = tasks.create_task(documents.commit(world.context, OPERATOR, NAME, [close]))
        for number in range(20, 40):
            tasks.create_task(write(number))
    closed = closing.result()
    # Whatever was let in was written before the lock was closed.
    for number in range(40):
        document = await documents.get_document(world.context, OPERATOR, NAME, path(f"a/d{number}"))
        if document is not None:
            assert document.version < closed.version
    assert not await write(41)


async def test_new_rules_hold_from_the_next_request_on(world: World) -> None:
    await world.deploy("match /a/{id} { allow read: if request.auth != null; }")
    assert await readable(world, ADA, "a/b")
    await world.deploy("match /a/{id} { allow read: if request.auth.uid == 'eve'; }")
    assert not await readable(world, ADA, "a/b")


async def test_a_denial_says_nothing(world: World) -> None:
    with pytest.raises(PermissionDenied) as caught:
        await documents.get_document(world.context, ADA, NAME, path("a/b"))
    assert caught.value.details is None
    assert caught.value.message == "missing or insufficient permissions"


async def test_in_development_mode_a_denial_shows_line_caret_and_values(
    dev_world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await dev_world.deploy("match /a/{id} { allow read: if request.auth.uid == 'eve'; }")
    with pytest.raises(PermissionDenied) as caught:
        await documents.get_document(dev_world.context, ADA, NAME, path("a/b"))
    assert caught.value.details is not None
    explanation = caught.value.details["explanation"]
    assert "^" in explanation
    assert "'ada'" in explanation or '"ada"' in explanation


async def test_rules_cannot_reach_reserved_collections(world: World) -> None:
    await world.deploy(
        "match /a/{id} { allow read: if exists(/databases/$(database)/documents/__indexes__/x); }"
    )
    assert not await readable(world, ADA, "a/b")


async def test_an_id_that_looks_like_a_path_stays_one_segment(world: World) -> None:
    await world.deploy(
        "match /a/{id} { allow create: if exists(/databases/$(database)/documents/"
        "locks/$(request.resource.data.lock)); }"
    )
    await world.put(locks__x__deep__er={})
    assert not await allowed(world, ADA, SetWrite(path("a/b"), {"lock": "x/deep/er"}))
    assert not await allowed(world, ADA, SetWrite(path("a/b"), {"lock": ""}))
    assert not await allowed(world, ADA, SetWrite(path("a/b"), {"lock": ".."}))
    assert not await allowed(world, ADA, SetWrite(path("a/b"), {"lock": 5}))
