"""Objects over HTTP, the same on the local disk and on S3."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from baas.buckets.names import CONTENTS, BucketName
from baas.settings import Limits
from tests.baas.http.objects_world import (
    ADMIN,
    BUCKET,
    DENIED,
    OBJECTS,
    ObjectWorld,
    object_world,
    ok,
    reason,
)
from tests.s3 import S3Server, s3_server

__all__ = ["s3_server"]


@pytest.fixture(params=["local", "s3"])
def objects(request: pytest.FixtureRequest) -> str:
    """Where the bytes are."""
    if request.param == "local":
        return "local"
    server: S3Server = request.getfixturevalue("s3_server")
    return f"{server.url}/{uuid4().hex}"


@pytest_asyncio.fixture
async def world(objects: str, tmp_path: Path) -> AsyncIterator[ObjectWorld]:
    async with object_world(tmp_path / "data", objects=objects, users=False) as made:
        yield made


@pytest_asyncio.fixture
async def people(objects: str, tmp_path: Path) -> AsyncIterator[ObjectWorld]:
    """With users."""
    async with object_world(tmp_path / "data", objects=objects) as made:
        yield made


async def put(
    world: ObjectWorld, name: str, content: bytes = b"hello", **headers: str
) -> dict[str, Any]:
    answer = await world.operator.put(
        f"{OBJECTS}/{quote(name)}",
        content=content,
        headers={key.replace("_", "-"): value for key, value in headers.items()},
    )
    found: dict[str, Any] = ok(answer)
    return found


# Upload and download


async def test_an_object_is_what_was_uploaded(world: ObjectWorld) -> None:
    content = bytes(range(256)) * 8192  # 2 MiB
    made = await put(world, "a/b.bin", content, content_type="application/x-thing")
    assert (len(content), "application/x-thing") == (made["size"], made["content_type"])
    assert hashlib.sha256(content).hexdigest() == made["sha256"]
    assert hashlib.md5(content).hexdigest() == made["md5"]
    answer = await world.operator.get(f"{OBJECTS}/a/b.bin")
    assert content == answer.content
    assert made["sha256"] == answer.headers["x-baas-sha256"]
    assert made["etag"] == answer.headers["etag"]
    assert made == ok(await world.operator.get(f"{OBJECTS}/a/b.bin:metadata"))


async def test_an_empty_object_is_an_object(world: ObjectWorld) -> None:
    assert (await put(world, "empty", b""))["size"] == 0
    answer = await world.operator.get(f"{OBJECTS}/empty")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_body_of_unknown_length_is_streamed(world: ObjectWorld) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000

    made = ok(await world.operator.put(f"{OBJECTS}/streamed", content=pieces()))
    assert made["size"] == 1_000_000


async def test_replacing_gives_other_bytes_and_another_generation(world: ObjectWorld) -> None:
    first = await put(world, "a", b"one")
    second = await put(world, "a", b"two")
    assert first["generation"] < second["generation"]
    assert first["etag"] != second["etag"]
    assert (await world.operator.get(f"{OBJECTS}/a")).content == b"two"


async def test_declared_checksums_are_compared_before_the_object_exists(
    world: ObjectWorld,
) -> None:
    md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    wrong = (("x-baas-sha256", hashlib.sha256(b"other").hexdigest()), ("content-md5", md5))
    for header, value in wrong:
        answer = await world.operator.put(f"{OBJECTS}/a", content=b"hello", headers={header: value})
        assert reason(answer) == (400, "ChecksumMismatch")
    assert (await world.operator.get(f"{OBJECTS}/a")).status_code == 404
    md5 = base64.b64encode(hashlib.md5(b"hello").digest()).decode()
    await put(world, "a", x_baas_sha256=hashlib.sha256(b"hello").hexdigest(), content_md5=md5)


async def test_metadata_stand_beside_the_bytes_and_can_be_changed(world: ObjectWorld) -> None:
    made = await put(world, "a.txt", x_baas_meta='{"owner": "ad\\u00e4", "__x__": ""}')
    assert made["metadata"] == {"owner": "adä", "__x__": ""}
    change = {"metadata": {"k": "v"}, "content_type": "text/markdown"}
    changed = ok(await world.operator.patch(f"{OBJECTS}/a.txt:metadata", json=change))
    assert (changed["metadata"], changed["content_type"]) == ({"k": "v"}, "text/markdown")
    assert (made["generation"], made["sha256"]) == (changed["generation"], changed["sha256"])
    assert made["etag"] != changed["etag"]
    only = ok(await world.operator.patch(f"{OBJECTS}/a.txt:metadata", json={"metadata": {}}))
    assert only["content_type"] == "text/markdown"


async def test_declared_and_sniffed_type_are_kept_apart(world: ObjectWorld) -> None:
    made = await put(world, "a.png", b"<html><script>1</script>", content_type="image/png")
    assert (made["content_type"], made["sniffed_type"]) == ("image/png", "text/html")
    made = await put(world, "b.png", b"\x89PNG\r\n\x1a\n")
    assert (made["content_type"], made["sniffed_type"]) == ("image/png", "image/png")
    made = await put(world, "c", b"\x00\x01\x02")
    assert (made["content_type"], made["sniffed_type"]) == ("application/octet-stream", None)


# Ranges and conditions


RANGES = [
    ("bytes=0-0", b"0", "bytes 0-0/10"),
    ("bytes=2-4", b"234", "bytes 2-4/10"),
    ("bytes=7-", b"789", "bytes 7-9/10"),
    ("bytes=-3", b"789", "bytes 7-9/10"),
    ("bytes=-99", b"0123456789", "bytes 0-9/10"),
    ("bytes=5-999", b"56789", "bytes 5-9/10"),
]


async def test_a_range_is_answered(world: ObjectWorld) -> None:
    await put(world, "a", b"0123456789")
    for wanted, content, told in RANGES:
        answer = await world.operator.get(f"{OBJECTS}/a", headers={"range": wanted})
        assert (206, content) == (answer.status_code, answer.content)
        assert told == answer.headers["content-range"]
        assert str(len(content)) == answer.headers["content-length"]


async def test_a_range_beyond_the_end_is_416(world: ObjectWorld) -> None:
    await put(world, "a", b"0123456789")
    for wanted in ("bytes=10-", "bytes=99-100", "bytes=-0"):
        answer = await world.operator.get(f"{OBJECTS}/a", headers={"range": wanted})
        assert reason(answer) == (416, "RangeNotSatisfiable")
        assert answer.headers["content-range"] == "bytes */10"


async def test_other_ranges_are_as_if_not_asked_for(world: ObjectWorld) -> None:
    await put(world, "a", b"0123456789")
    for wanted in ("bytes=0-1,3-4", "bytes=4-2", "bytes=-", "lines=1-2", "x"):
        answer = await world.operator.get(f"{OBJECTS}/a", headers={"range": wanted})
        assert (answer.status_code, len(answer.content)) == (200, 10)


async def test_conditions_of_reads(world: ObjectWorld) -> None:
    etag = str((await put(world, "a"))["etag"])

    async def status(**headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await world.operator.get(f"{OBJECTS}/a", headers=sent)
        assert answer.status_code != 304 or answer.content == b""
        return answer.status_code

    modified = (await world.operator.head(f"{OBJECTS}/a")).headers["last-modified"]
    old = "Mon, 01 Jan 2001 00:00:00 GMT"
    assert await status(if_none_match=etag) == 304
    assert await status(if_none_match=f'"x", W/{etag}') == 304
    assert await status(if_none_match='"x"') == 200
    assert await status(if_modified_since=modified) == 304
    assert await status(if_modified_since=old) == 200
    assert await status(if_modified_since="nonsense") == 200
    assert await status(if_none_match='"x"', if_modified_since=modified) == 200
    assert await status(if_match=etag) == 200
    assert await status(if_match='"x"') == 412
    assert await status(if_unmodified_since=old) == 412
    assert await status(range="bytes=0-1", if_range=etag) == 206
    assert await status(range="bytes=0-1", if_range='"x"') == 200
    assert await status(range="bytes=0-1", if_range=modified) == 206
    assert await status(if_match="x y") == 400


async def test_conditions_of_writes(world: ObjectWorld) -> None:
    first = await put(world, "a", b"1", if_none_match="*")
    failed = (412, "ConditionFailed")
    client, path = world.operator, f"{OBJECTS}/a"
    sent = {"if-none-match": "*"}
    assert failed == reason(await client.put(path, content=b"2", headers=sent))
    second = await put(world, "a", b"2", if_match=str(first["etag"]))
    stale = {"if-match": str(first["etag"])}
    assert failed == reason(await client.put(path, content=b"3", headers=stale))
    assert failed == reason(await client.delete(path, headers=stale))
    assert failed == reason(await client.patch(f"{path}:metadata", json={}, headers=stale))
    assert (await client.get(path)).content == b"2"
    ok(await client.delete(path, headers={"if-match": str(second["etag"])}))


async def test_head_is_a_get_without_its_body(world: ObjectWorld) -> None:
    await put(world, "a.txt")
    got = await world.operator.get(f"{OBJECTS}/a.txt")
    head = await world.operator.head(f"{OBJECTS}/a.txt")
    del got.headers["x-request-id"], head.headers["x-request-id"]
    assert (b"", dict(got.headers)) == (head.content, dict(head.headers))


# Names and lists


NAMES = [
    "a b",
    "ä/ö/日本語.txt",
    "a%2Fb",
    "a+b&c=d",
    "x'y\"z",
    "__id7__",
    "a:b",
    "...",
    "a\\b",
    "🙂",
]
BAD_NAMES = [
    "%20" * 1025,
    "a/" * 90 + "a",
    *("a//b", "a/", "%2F", "a/%2E%2E/b", "%2E", "a%00b", "a%0Ab", "%C2%85"),
]


async def test_any_name_can_be_used(world: ObjectWorld) -> None:
    for name in NAMES:
        assert name == (await put(world, name))["name"]
        path = f"{OBJECTS}/{quote(name, safe='')}"
        assert (await world.operator.get(path)).content == b"hello"
        listed = ok(await world.operator.get(OBJECTS, params={"prefix": name}))
        assert [name] == [one["name"] for one in listed["objects"]]
    listed = ok(await world.operator.get(OBJECTS))
    assert sorted(NAMES, key=str.encode) == [one["name"] for one in listed["objects"]]


async def test_names_that_nobody_could_use_are_refused(world: ObjectWorld) -> None:
    for name in BAD_NAMES:
        answer = await world.operator.put(httpx.URL(f"{OBJECTS}/" + name), content=b"")
        assert reason(answer) == (400, "InvalidObjectName")


async def test_lists_are_in_the_order_of_names_by_folder_and_in_pages(world: ObjectWorld) -> None:
    names = ["a", "a-b", "a.b", "a/1", "a/2/x", "a/2/y", "a/3", "a0", "b/c/d", "z"]
    for name in reversed(names):
        await put(world, name, b"")

    async def walk(size: int, **params: str) -> tuple[list[str], list[str]]:
        objects: list[str] = []
        prefixes: list[str] = []
        token: str | None = None
        while True:
            sent = {**params, "page_size": str(size), **({"page_token": token} if token else {})}
            page = ok(await world.operator.get(OBJECTS, params=sent))
            assert len(page["objects"]) + len(page["prefixes"]) <= size
            objects += [one["name"] for one in page["objects"]]
            prefixes += page["prefixes"]
            token = page.get("next_page_token")
            if token is None:
                return objects, prefixes

    for size in (1, 2, 3, 100):
        assert (names, []) == await walk(size)
        assert await walk(size, delimiter="/") == (["a", "a-b", "a.b", "a0", "z"], ["a/", "b/"])
        folder = await walk(size, prefix="a/", delimiter="/")
        assert folder == (["a/1", "a/3"], ["a/2/"])
        assert await walk(size, prefix="a/2") == (["a/2/x", "a/2/y"], [])
        assert await walk(size, prefix="c") == ([], [])


async def test_a_list_jumps_over_what_a_folder_holds(world: ObjectWorld) -> None:
    for number in range(40):
        await put(world, f"many/{number:02d}", b"")
    await put(world, "z", b"")
    page = ok(await world.operator.get(OBJECTS, params={"delimiter": "/", "page_size": "1"}))
    assert page["prefixes"] == ["many/"]
    params = {"delimiter": "/", "page_token": page["next_page_token"]}
    rest = ok(await world.operator.get(OBJECTS, params=params))
    assert ([one["name"] for one in rest["objects"]], rest["prefixes"]) == (["z"], [])


async def test_a_list_that_makes_no_sense_is_refused(world: ObjectWorld) -> None:
    for query in (
        "page_token=%21",
        "page_token=YWIv",
        "delimiter=x",
        "page_size=0",
        "page_size=9999",
    ):
        assert (await world.operator.get(f"{OBJECTS}?{query}")).status_code == 400


# Copy and delete


async def test_a_copy_lives_on_its_own(world: ObjectWorld) -> None:
    made = await put(world, "a", x_baas_meta='{"k":"v"}', content_type="text/x-a")
    client = world.operator
    ok(await client.post(f"{ADMIN}/buckets", json={"id": "second"}))
    copied = ok(await client.post(f"{OBJECTS}/a:copy", json={"to": "b/c"}))
    other = ok(await client.post(f"{OBJECTS}/a:copy", json={"to": "a", "bucket": "second"}))
    for one in (copied, other):
        assert (made["sha256"], made["metadata"]) == (one["sha256"], one["metadata"])
    ok(await client.delete(f"{OBJECTS}/a"))
    assert (await client.get(f"{OBJECTS}/b/c")).content == b"hello"
    path = "/api/v1/projects/demo/buckets/second/objects/a"
    assert (await client.get(path)).content == b"hello"


async def test_a_copy_onto_itself_changes_no_byte(world: ObjectWorld) -> None:
    await put(world, "a")
    ok(await world.operator.post(f"{OBJECTS}/a:copy", json={"to": "a"}))
    assert (await world.operator.get(f"{OBJECTS}/a")).content == b"hello"
    database = await world.app.context.objects.system.open("demo")
    stored = await world.app.context.objects.find(BucketName("demo", "default"), "a")
    assert stored is not None
    (content,) = await database.get_documents([CONTENTS.document(stored.content)])
    assert content is not None
    assert content.fields["references"] == 1


async def test_a_deleted_object_is_gone(world: ObjectWorld) -> None:
    await put(world, "a")
    ok(await world.operator.delete(f"{OBJECTS}/a"))
    missing = (404, "ObjectNotFound")
    assert missing == reason(await world.operator.get(f"{OBJECTS}/a"))
    assert missing == reason(await world.operator.delete(f"{OBJECTS}/a"))
    assert missing == reason(await world.operator.get(f"{OBJECTS}/a:metadata"))
    assert missing == reason(await world.operator.post(f"{OBJECTS}/a:copy", json={"to": "b"}))


async def test_buckets_are_made_listed_and_deleted(world: ObjectWorld) -> None:
    client = world.operator
    assert (await client.post(f"{ADMIN}/buckets", json={"id": "photos.2026"})).status_code == 201
    again = await client.post(f"{ADMIN}/buckets", json={"id": "photos.2026"})
    assert reason(again) == (409, "BucketExists")
    for bad in ("", "A", "ab", "-abc", "a/b", "x" * 64, 7, None):
        answer = await client.post(f"{ADMIN}/buckets", json={"id": bad})
        assert reason(answer) == (400, "InvalidBucketId")
    listed = ok(await client.get(f"{ADMIN}/buckets"))["buckets"]
    assert [one["id"] for one in listed] == ["default", "photos.2026"]
    for number in range(3):
        await put(world, f"a/{number}")
    answer = await client.delete(f"{ADMIN}/buckets/default")
    assert reason(answer) == (412, "BucketNotEmpty")
    ok(await client.delete(f"{ADMIN}/buckets/default?recursive=true"))
    missing = (404, "BucketNotFound")
    assert missing == reason(await client.put(f"{OBJECTS}/a", content=b""))
    assert missing == reason(await client.get(f"{OBJECTS}/a"))
    assert missing == reason(await client.get(OBJECTS))
    assert missing == reason(await client.delete(f"{ADMIN}/buckets/default"))
    ok(await client.post(f"{ADMIN}/buckets", json={"id": "default"}))
    assert ok(await client.get(OBJECTS))["objects"] == []


# Limits


async def test_an_object_may_be_as_large_as_the_limit_and_no_larger(tmp_path: Path) -> None:
    limits = Limits(object_bytes_max=1000)
    async with object_world(tmp_path / "data", limits=limits) as world:
        await put(world, "a", b"x" * 1000)
        answer = await world.operator.put(f"{OBJECTS}/b", content=b"x" * 1001)
        assert reason(answer) == (413, "ObjectTooLarge")
        path = f"{OBJECTS}/c:upload"
        assert (await world.operator.post(path, json={"size": 1001})).status_code == 413
        assert [one["name"] for one in ok(await world.operator.get(OBJECTS))["objects"]] == ["a"]


async def test_custom_metadata_have_a_limit(world: ObjectWorld) -> None:
    await put(world, "a", x_baas_meta='{"k":"' + "v" * 8191 + '"}')
    for bad in (
        '{"k":"' + "v" * 8192 + '"}',
        '{"k":1}',
        "[]",
        "{",
        '{"":"x"}',
        "{" + ",".join(f'"{n}":""' for n in range(101)) + "}",
    ):
        answer = await world.operator.put(f"{OBJECTS}/a", content=b"", headers={"x-baas-meta": bad})
        assert reason(answer) == (400, "InvalidMetadata")


# Rules


async def test_rules_decide_on_every_path(people: ObjectWorld) -> None:
    """What bob and a stranger may not do to ada's objects; the same whether they exist or not."""
    path = f"{people.mine}/a.txt"
    ok(await people.user.put(path, content=b"hello"))
    for client in (people.other, people.anonymous):
        for name in ("a.txt", "missing.txt"):
            target = f"{people.mine}/{name}"
            tried = [
                await client.get(target),
                await client.get(target, params={"thumbnail": "64"}),
                await client.get(target, headers={"range": "bytes=0-1"}),
                await client.get(target, headers={"if-none-match": "*"}),
                await client.get(f"{target}:metadata"),
                await client.put(target, content=b"x"),
                await client.put(target, content=b"x", headers={"if-none-match": "*"}),
                await client.put(target, content=b"x", headers={"if-match": "*"}),
                await client.patch(f"{target}:metadata", json={}),
                await client.delete(target),
                await client.delete(target, headers={"if-match": '"1"'}),
                await client.post(f"{target}:copy", json={"to": "public/a"}),
                await client.post(f"{target}:sign", json={"method": "GET", "expires_in": 9}),
                await client.post(f"{target}:sign", json={"method": "PUT", "expires_in": 9}),
                await client.post(f"{target}:upload", json={"size": 1}),
                await client.get(OBJECTS, params={"prefix": f"users/{people.uid}/"}),
                await client.get(
                    OBJECTS, params={"prefix": f"users/{people.uid}/", "delimiter": "/"}
                ),
                await client.get(OBJECTS, params={"prefix": f"users/{people.uid}/a"}),
            ]
            assert {DENIED} == {reason(answer) for answer in tried}
        assert (await client.head(path)).status_code == 403
        for params in ({}, {"delimiter": "/"}, {"prefix": "users/"}, {"prefix": "u"}):
            assert reason(await client.get(OBJECTS, params=params)) == DENIED
    copied = await people.user.post(f"{path}:copy", json={"to": "public/stolen"})
    assert reason(copied) == DENIED
    assert (await people.user.get(path)).content == b"hello"


async def test_who_may_may(people: ObjectWorld) -> None:
    path = f"{people.mine}/a.txt"
    ok(await people.user.put(path, content=b"hello"))
    assert (await people.user.get(path)).content == b"hello"
    for params in ({}, {"delimiter": "/"}):
        sent = {"prefix": f"users/{people.uid}/", **params}
        assert len(ok(await people.user.get(OBJECTS, params=sent))["objects"]) == 1
    ok(await people.user.post(f"{path}:copy", json={"to": f"users/{people.uid}/b"}))
    ok(await people.user.delete(path))
    assert reason(await people.user.get(path)) == (404, "ObjectNotFound")
    assert reason(await people.anonymous.get(f"{OBJECTS}/public/x")) == (404, "ObjectNotFound")
    for client in (people.operator, people.secret):
        ok(await client.put(f"{OBJECTS}/anywhere", content=b"x"))
        ok(await client.get(OBJECTS))


async def test_rules_see_sizes_types_and_metadata_before_and_after(people: ObjectWorld) -> None:
    client, path = people.user, f"{people.mine}/a.txt"
    assert reason(await client.put(path, content=b"x" * 1000)) == DENIED
    assert reason(await client.put(path, content=_pieces())) == (411, "LengthRequired")
    ok(await client.put(path, content=b"x" * 999, headers={"content-type": "text/a"}))
    other = {"content-type": "text/b"}
    assert reason(await client.put(path, content=b"y", headers=other)) == DENIED
    assert reason(await client.patch(f"{path}:metadata", json={"content_type": "text/b"})) == DENIED
    ok(await client.patch(f"{path}:metadata", json={"metadata": {"locked": "yes"}}))
    assert reason(await client.patch(f"{path}:metadata", json={"metadata": {}})) == DENIED


async def _pieces() -> AsyncIterator[bytes]:
    yield b"hello"


async def test_rules_see_the_declared_checksum(people: ObjectWorld) -> None:
    headers = {
        "content-type": "text/plain",
        "content-md5": "XUFAKrxLKna5cZ2REBfFkg==",
        "x-baas-meta": f'{{"owner":"{people.uid}"}}',
    }
    ok(await people.user.put(f"{OBJECTS}/checked/a", content=b"hello", headers=headers))
    for name in headers:
        without = {key: value for key, value in headers.items() if key != name}
        answer = await people.user.put(f"{OBJECTS}/checked/b", content=b"hello", headers=without)
        assert reason(answer) == DENIED


async def test_rules_look_up_documents(people: ObjectWorld) -> None:
    await put(people, "members/a")
    assert reason(await people.user.get(f"{OBJECTS}/members/a")) == DENIED
    member = f"/api/v1/projects/demo/documents/members/{people.uid}"
    ok(await people.operator.put(member, json={"fields": {}}))
    assert (await people.user.get(f"{OBJECTS}/members/a")).content == b"hello"
    assert reason(await people.other.get(f"{OBJECTS}/members/a")) == DENIED


async def test_a_list_by_folder_asks_for_the_folder(people: ObjectWorld) -> None:
    """As Firebase does: `list` of `/listed` shows what is directly in it."""
    await put(people, "listed/a")
    sent = {"prefix": "listed/", "delimiter": "/"}
    assert len(ok(await people.user.get(OBJECTS, params=sent))["objects"]) == 1
    assert reason(await people.anonymous.get(OBJECTS, params=sent)) == DENIED
    # Without a delimiter it would show what lies deeper too, which no rule allows.
    assert reason(await people.user.get(OBJECTS, params={"prefix": "listed/"})) == DENIED


async def test_without_rules_of_objects_everything_is_denied(tmp_path: Path) -> None:
    rules = """rules_version = '2';
service cloud.firestore {
  match /databases/{d}/documents { match /{x=**} { allow read, write: if true; } }
}"""
    async with object_world(tmp_path / "data", rules=rules) as world:
        assert reason(await world.user.put(f"{OBJECTS}/a", content=b"x")) == DENIED
        assert reason(await world.user.get(f"{OBJECTS}/a")) == DENIED
        assert reason(await world.user.get(OBJECTS)) == DENIED
        missing = f"{BUCKET}-other/objects/a"
        assert reason(await world.user.get(missing)) == DENIED
