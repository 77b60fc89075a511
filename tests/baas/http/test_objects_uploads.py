"""Resumable uploads, signed URLs and thumbnails over HTTP, on both stores."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from PIL import Image

from baas.buckets import uploads as uploads_module
from baas.clock import VirtualClock
from baas.http.requests import ClientGone
from baas.settings import Limits
from tests.baas.http.objects_world import (
    ADMIN,
    BUCKET,
    DENIED,
    OBJECTS,
    UPLOADS,
    ObjectWorld,
    object_world,
    ok,
    reason,
)
from tests.s3 import S3Server, s3_server

__all__ = ["s3_server"]
MISSING = (404, "UploadNotFound")
DIGITS = b"0123456789"


@pytest_asyncio.fixture(params=["local", "s3"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectWorld]:
    objects = "local"
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        objects = f"{server.url}/{uuid4().hex}"
    async with object_world(tmp_path / "data", objects=objects) as made:
        yield made


async def start(client: httpx.AsyncClient, path: str = f"{OBJECTS}/up", **body: Any) -> str:
    """A new upload's address."""
    made = ok(await client.post(f"{path}:upload", json=body))
    assert made["offset"] == 0
    return f"{UPLOADS}/{made['upload']}"


async def send(
    client: httpx.AsyncClient, upload: str, offset: int, content: bytes
) -> httpx.Response:
    return await client.patch(upload, content=content, headers={"upload-offset": str(offset)})


# Resumable uploads


async def test_an_upload_in_pieces_becomes_an_object(world: ObjectWorld) -> None:
    client = world.operator
    content = bytes(range(256)) * 40_000  # 10 MB, in pieces around the size of a small part
    upload = await start(client, size=len(content), content_type="text/x", metadata={"k": "v"})
    offset = 0
    for size in (1, 100, 5_000_000, 3_000_000, len(content)):
        told = ok(await send(client, upload, offset, content[offset : offset + size]))
        offset = min(offset + size, len(content))
        assert offset == told["offset"]
    head = await client.head(upload)
    assert (str(offset), b"") == (head.headers["upload-offset"], head.content)
    assert (await client.get(f"{OBJECTS}/up")).status_code == 404
    digest = hashlib.sha256(content).hexdigest()
    made = ok(await client.post(f"{upload}:finish", json={"sha256": digest}))
    assert (digest, len(content), "text/x") == (made["sha256"], made["size"], made["content_type"])
    assert made["metadata"] == {"k": "v"}
    assert content == (await client.get(f"{OBJECTS}/up")).content
    part = await client.get(f"{OBJECTS}/up", headers={"range": "bytes=4999990-8000110"})
    assert content[4_999_990:8_000_111] == part.content


async def test_finishing_can_be_repeated(world: ObjectWorld) -> None:
    upload = await start(world.operator)
    ok(await send(world.operator, upload, 0, DIGITS))
    made = ok(await world.operator.post(f"{upload}:finish"))
    assert made == ok(await world.operator.post(f"{upload}:finish"))
    ok(await world.operator.put(f"{OBJECTS}/up", content=b"other"))
    assert reason(await world.operator.post(f"{upload}:finish")) == MISSING
    assert reason(await send(world.operator, upload, 10, b"x")) == MISSING


async def test_a_wrong_offset_is_told_the_right_one(world: ObjectWorld) -> None:
    upload = await start(world.operator)
    ok(await send(world.operator, upload, 0, DIGITS))
    for wrong in (0, 9, 11):
        answer = await send(world.operator, upload, wrong, b"x")
        assert reason(answer) == (409, "WrongOffset")
        assert answer.json()["error"]["details"] == {"offset": 10}
    answer = await world.operator.patch(upload, content=b"x")
    assert reason(answer) == (400, "OffsetMissing")


async def test_pieces_have_an_end_and_bytes_a_bucket(
    world: ObjectWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused before a byte is taken: what would not fit at last, or has no place any more."""
    upload = await start(world.operator)
    ok(await send(world.operator, upload, 0, DIGITS))
    monkeypatch.setattr(uploads_module, "PARTS_MAX", 1)
    assert reason(await send(world.operator, upload, 10, b"x")) == (412, "TooManyPieces")
    monkeypatch.undo()
    ok(await world.operator.delete(f"{ADMIN}/buckets/default"))
    assert reason(await send(world.operator, upload, 10, b"x")) == (404, "BucketNotFound")


async def test_what_came_before_the_connection_broke_stays(world: ObjectWorld) -> None:
    """The client goes away in the middle of a piece; another process goes on."""
    upload = await start(world.operator, size=2_000_010)

    async def broken() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000
        raise ClientGone

    context = world.app.context
    identifier = upload.rpartition("/")[2]
    found = await context.uploads.find("demo", identifier)
    with pytest.raises(ClientGone):
        await context.uploads.append("demo", found, 0, broken())
    assert ok(await world.operator.get(upload))["offset"] == 2_000_000
    # As after a restart: no checksum is known, so it is computed of what is stored.
    context.uploads._digests.clear()
    ok(await send(world.operator, upload, 2_000_000, DIGITS))
    made = ok(await world.operator.post(f"{upload}:finish"))
    assert hashlib.sha256(b"x" * 2_000_000 + DIGITS).hexdigest() == made["sha256"]


async def test_a_long_piece_is_durable_part_by_part(
    world: ObjectWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads_module, "PART_BYTES_MIN", 600_000)
    monkeypatch.setattr(uploads_module, "SMALL_PART_BYTES", 100_000)
    upload = await start(world.operator)
    context = world.app.context
    found = await context.uploads.find("demo", upload.rpartition("/")[2])
    seen: list[int] = []

    async def watched() -> AsyncIterator[bytes]:
        for _ in range(40):
            seen.append((await context.uploads.find("demo", found.id)).offset)
            yield b"y" * 100_000

    done = await context.uploads.append("demo", found, 0, watched())
    assert done.offset == 4_000_000
    assert len(set(seen)) > 2
    assert len(done.parts) > 2
    ok(await world.operator.post(f"{upload}:finish"))
    assert (await world.operator.get(f"{OBJECTS}/up")).content == b"y" * 4_000_000


async def test_two_writers_of_one_upload_cannot_mix(world: ObjectWorld) -> None:
    upload = await start(world.operator)
    context = world.app.context
    found = await context.uploads.find("demo", upload.rpartition("/")[2])

    async def pieces() -> AsyncIterator[bytes]:
        ok(await send(world.operator, upload, 0, b"first"))
        yield b"second, and longer"

    with pytest.raises(Exception, match="goes on at 5"):
        await context.uploads.append("demo", found, 0, pieces())
    made = ok(await world.operator.post(f"{upload}:finish"))
    assert hashlib.sha256(b"first").hexdigest() == made["sha256"]


async def test_an_upload_is_what_was_declared(world: ObjectWorld) -> None:
    client = world.operator
    upload = await start(client, size=10, sha256=hashlib.sha256(DIGITS).hexdigest())
    ok(await send(client, upload, 0, DIGITS[:5]))
    answer = await client.post(f"{upload}:finish")
    assert reason(answer) == (412, "UploadIncomplete")
    assert answer.json()["error"]["details"] == {"offset": 5}
    assert reason(await send(client, upload, 5, DIGITS)) == (400, "SizeMismatch")
    ok(await send(client, upload, 5, b"wrong"))
    assert reason(await client.post(f"{upload}:finish")) == (400, "ChecksumMismatch")
    ok(await client.delete(upload))
    assert reason(await client.get(upload)) == MISSING
    assert reason(await client.delete(upload)) == MISSING


async def test_an_upload_belongs_to_its_caller_and_obeys_the_rules(world: ObjectWorld) -> None:
    path = f"{world.mine}/up"
    answer = await world.user.post(f"{path}:upload", json={})
    assert reason(answer) == (400, "SizeMissing")
    assert reason(await world.user.post(f"{path}:upload", json={"size": 1000})) == DENIED
    upload = await start(world.user, path, size=10)
    for client in (world.other, world.anonymous):
        for tried in (
            await client.get(upload),
            await send(client, upload, 0, DIGITS),
            await client.post(f"{upload}:finish"),
            await client.delete(upload),
        ):
            assert reason(tried) == MISSING
    elsewhere = upload.replace("/default/", "/other/")
    assert reason(await world.user.get(elsewhere)) == MISSING
    ok(await send(world.user, upload, 0, DIGITS))
    # What was allowed at the start may be denied at the end.
    locked = {"x-baas-meta": '{"locked":"yes"}'}
    ok(await world.operator.put(path, content=b"x", headers=locked))
    assert reason(await world.user.post(f"{upload}:finish")) == DENIED
    ok(await world.operator.delete(path))
    ok(await world.user.post(f"{upload}:finish"))
    for client in (world.other, world.anonymous):
        assert reason(await client.post(f"{upload}:finish")) == MISSING


async def test_a_caller_has_so_many_uploads_and_no_more(tmp_path: Path) -> None:
    limits = Limits(caller_uploads_max=2)
    async with object_world(tmp_path / "data", limits=limits) as world:
        path = f"{world.mine}/up"
        first = await start(world.user, path, size=1)
        await start(world.user, path, size=1)
        answer = await world.user.post(f"{path}:upload", json={"size": 1})
        assert reason(answer) == (429, "TooManyUploads")
        await start(world.operator)
        ok(await world.user.delete(first))
        await start(world.user, path, size=1)


async def test_an_upload_expires_and_its_bytes_are_collected(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with object_world(tmp_path / "data", clock=clock) as world:
        upload = await start(world.secret)
        ok(await send(world.secret, upload, 0, DIGITS))
        clock.advance(8 * 86_400)
        assert reason(await world.secret.get(upload)) == MISSING
        assert world.app.collector is not None
        await world.app.collector.collect("demo")
        clock.advance(2 * 3_600)
        await world.app.collector.collect("demo")
        store = world.app.context.objects.store
        assert [batch async for batch in store.list("demo/")] == []


@pytest.mark.parametrize("name", ["x", "a" * 53, "%00" * 53, "..%2F" * 10, "ä" * 53])
async def test_an_upload_that_is_none_is_not_found(tmp_path: Path, name: str) -> None:
    async with object_world(tmp_path / "data") as world:
        assert reason(await world.operator.get(f"{UPLOADS}/{name}")) == MISSING
        assert reason(await world.operator.post(f"{UPLOADS}/{name}:finish")) == MISSING


# Signed URLs


async def signed(client: httpx.AsyncClient, path: str, method: str, **body: Any) -> str:
    made = ok(
        await client.post(f"{path}:sign", json={"method": method, "expires_in": 3_600, **body})
    )
    return str(made["url"])


async def test_a_signed_url_opens_one_object_for_one_method(world: ObjectWorld) -> None:
    path = f"{world.mine}/ä b:c.txt".replace(":c", "%3Ac")
    ok(await world.user.put(path, content=b"hello"))
    url = await signed(world.user, path, "GET")
    anonymous = world.anonymous
    assert (await anonymous.get(url)).content == b"hello"
    assert (await anonymous.head(url)).status_code == 200
    part = await anonymous.get(url, headers={"range": "bytes=1-2"})
    assert part.content == b"el"
    assert reason(await anonymous.put(url, content=b"x")) == (401, "SignatureInvalid")
    assert reason(await anonymous.delete(url)) == (400, "UnknownParameter")
    signature = url.partition("?")[2]
    ok(await world.user.put(f"{world.mine}/other", content=b"secret"))
    for other in (f"{world.mine}/other", path + "x", f"{BUCKET[:-7]}second/objects/x"):
        assert (await anonymous.get(f"{other}?{signature}")).status_code == 401
    for verb in (":metadata", ":copy", ":upload"):
        assert (await anonymous.get(f"{path}{verb}?{signature}")).status_code != 200


async def test_a_signed_url_of_a_user_holds_for_what_the_rules_saw(world: ObjectWorld) -> None:
    path = f"{world.mine}/a.txt"
    ok(await world.user.put(path, content=b"hello"))
    url = await signed(world.user, path, "GET")
    ok(await world.user.put(path, content=b"changed"))
    assert reason(await world.anonymous.get(url)) == (412, "ConditionFailed")
    url = await signed(world.operator, path, "GET")
    ok(await world.user.put(path, content=b"changed again"))
    assert (await world.anonymous.get(url)).content == b"changed again"


async def test_a_signed_upload_is_exactly_what_was_signed(world: ObjectWorld) -> None:
    path, anonymous = f"{world.mine}/new.txt", world.anonymous
    sign = {"method": "PUT", "expires_in": 3_600}
    assert reason(await world.user.post(f"{path}:sign", json=sign)) == DENIED
    assert reason(await world.user.post(f"{path}:sign", json={**sign, "size": 1000})) == DENIED
    url = await signed(world.user, path, "PUT", size=5, content_type="text/plain")
    kind = {"content-type": "text/plain"}
    for content, headers in (
        (b"hello!", kind),
        (b"hello", {"content-type": "text/html"}),
        (b"hello", {**kind, "x-baas-meta": '{"a":"b"}'}),
    ):
        answer = await anonymous.put(url, content=content, headers=headers)
        assert reason(answer) == (403, "SignatureMismatch")
    ok(await anonymous.put(url, content=b"hello", headers=kind))
    again = await anonymous.put(url, content=b"hello", headers=kind)
    assert reason(again) == (412, "ConditionFailed")
    assert (await world.user.get(path)).content == b"hello"
    assert (await anonymous.get(url)).status_code == 401


async def test_signatures_expire_and_are_revoked(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with object_world(tmp_path / "data", clock=clock) as world:
        path = f"{OBJECTS}/a"
        ok(await world.secret.put(path, content=b"hello"))
        url = await signed(world.secret, path, "GET")
        clock.advance(3_599)
        assert (await world.anonymous.get(url)).status_code == 200
        clock.advance(2)
        assert reason(await world.anonymous.get(url)) == (401, "SignatureExpired")
        url = await signed(world.secret, path, "GET")
        ok(await world.operator.post(f"{ADMIN}/buckets:revoke-signed-urls"))
        assert reason(await world.anonymous.get(url)) == (401, "SignatureInvalid")
        for body in (
            {"method": "DELETE", "expires_in": 1},
            {"method": "GET", "expires_in": 0},
            {"method": "GET", "expires_in": 604_801},
        ):
            assert (await world.secret.post(f"{path}:sign", json=body)).status_code == 400


# Thumbnails


def image(kind: str, size: tuple[int, int] = (400, 200), mode: str = "RGB") -> bytes:
    made = io.BytesIO()
    Image.new(mode, size, "red").save(made, kind)
    return made.getvalue()


async def test_thumbnails_are_small_images_of_images(world: ObjectWorld) -> None:
    for kind in ("PNG", "JPEG", "GIF", "WEBP"):
        ok(await world.operator.put(f"{OBJECTS}/{kind}", content=image(kind)))
    for kind, size in (("PNG", 64), ("JPEG", 128), ("GIF", 256), ("WEBP", 1024), ("PNG", 64)):
        answer = await world.operator.get(f"{OBJECTS}/{kind}?thumbnail={size}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
        shown = Image.open(io.BytesIO(answer.content))
        width = min(size, 400)
        assert ("WEBP", (width, width // 2)) == (shown.format, shown.size)
    etag = {"if-none-match": answer.headers["etag"]}
    again = await world.operator.get(f"{OBJECTS}/PNG?thumbnail=64", headers=etag)
    assert (again.status_code, again.content) == (304, b"")


async def test_what_is_no_image_has_no_thumbnail(tmp_path: Path) -> None:
    async with object_world(tmp_path / "data") as world:
        contents = {
            "text": b"hello",
            "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            "cut": image("PNG")[:100],
            "lie": b"\x89PNG\r\n\x1a\n" + b"\0" * 1000,
        }
        for name, content in contents.items():
            ok(await world.operator.put(f"{OBJECTS}/{name}", content=content))
            answer = await world.operator.get(f"{OBJECTS}/{name}?thumbnail=64")
            assert reason(answer) == (412, "NoThumbnail")
        assert (await world.operator.get(f"{OBJECTS}/text?thumbnail=65")).status_code == 400
