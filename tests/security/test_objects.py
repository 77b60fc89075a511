"""Families of holes that products with files have had: what is served runs nowhere, names reach no
file system and no header, ranges and images are no bombs, signatures cannot be changed, damage is
not passed on."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from PIL import Image

from baas.buckets.small_blobs import SMALL_BYTES_MAX
from baas.errors import DataLoss
from baas.http.exchange import AsgiExchange
from baas.http.object_answers import AnswerCut, ObjectAnswer
from baas.http.objects import get_object
from baas.http.requests import Request
from baas.services.caller import Caller, CallerKind
from tests.baas.http.objects_world import (
    ADMIN,
    DENIED,
    OBJECTS,
    RULES,
    ObjectWorld,
    object_world,
    ok,
    reason,
)

SCRIPT = b"<script>alert(1)</script>"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[ObjectWorld]:
    async with object_world(tmp_path / "data") as made:
        yield made


async def put(world: ObjectWorld, name: str, content: bytes, kind: str = "") -> None:
    headers = {"content-type": kind} if kind else {}
    ok(await world.operator.put(f"{OBJECTS}/{name}", content=content, headers=headers))


def files_below(folder: Path) -> list[Path]:
    return [one for one in folder.rglob("*") if one.is_file()]


# What is served is inert


RUNNING = [
    ("text/html", b"<html>" + SCRIPT),
    ("TEXT/HTML; charset=utf-8", SCRIPT),
    ("application/xhtml+xml", b"<html xmlns='http://www.w3.org/1999/xhtml'/>"),
    ("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'>" + SCRIPT + b"</svg>"),
    ("text/xml", b"<?xml version='1.0'?><x/>"),
    ("application/javascript", b"alert(1)"),
    ("text/css", b"a{}"),
    ("application/pdf", b"%PDF-1.7"),
    ("application/x-shockwave-flash", b"CWS"),
    ("image/png", b"<html>" + SCRIPT),  # declared harmless, and is not
    ("image/png", b"<svg>" + SCRIPT),
    ("image/jpeg", PNG),
    ("video/mp4", b"<html>" + SCRIPT),
    ("text/plain2", b"hello"),
    ("multipart/x-mixed-replace; boundary=x", b"--x"),
    ("message/rfc822", b"hello"),
    ("", b"<!--" + SCRIPT),
]


async def test_what_could_run_is_downloaded(world: ObjectWorld) -> None:
    for kind, content in RUNNING:
        await put(world, "file", content, kind)
        answer = await world.operator.get(f"{OBJECTS}/file")
        assert answer.headers["content-disposition"].startswith("attachment")
        _check_guarded(answer)


SHOWN = [
    ("image/png", PNG, "image/png"),
    ("IMAGE/PNG; x=y", PNG, "image/png"),
    ("image/gif", b"GIF89a", "image/gif"),
    ("image/jpeg", b"\xff\xd8\xff\xe0", "image/jpeg"),
    ("video/webm", b"\x1aE\xdf\xa3", "video/webm"),
    ("text/plain", b"<html>" + SCRIPT, "text/plain; charset=utf-8"),
    ("text/plain; charset=utf-7", b"+ADw-script", "text/plain; charset=utf-8"),
]


async def test_what_is_shown_is_harmless(world: ObjectWorld) -> None:
    for kind, content, shown in SHOWN:
        await put(world, "file", content, kind)
        answer = await world.operator.get(f"{OBJECTS}/file")
        assert answer.headers["content-disposition"].startswith("inline")
        assert shown == answer.headers["content-type"]
        _check_guarded(answer)
        saved = await world.operator.get(f"{OBJECTS}/file", params={"download": "x"})
        assert saved.headers["content-disposition"].startswith("attachment")


async def test_partial_and_unchanged_answers_are_guarded_too(world: ObjectWorld) -> None:
    await put(world, "file", SCRIPT, "text/html")
    part = await world.operator.get(f"{OBJECTS}/file", headers={"range": "bytes=0-3"})
    same = await world.operator.get(f"{OBJECTS}/file", headers={"if-none-match": "*"})
    assert [part.status_code, same.status_code] == [206, 304]
    for answer in (part, same):
        assert answer.headers["content-disposition"].startswith("attachment")
        _check_guarded(answer)


def _check_guarded(answer: httpx.Response) -> None:
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "allow-" not in policy
    assert "default-src 'none'" in policy


# Names


async def test_no_name_reaches_the_file_system(world: ObjectWorld, tmp_path: Path) -> None:
    names = ["etc/passwd", "..a/..b", "a\\..\\..\\b", "~root/x", "C:\\x", "a/.partial/b", "con"]
    for name in names:
        path = name.replace("\\", "%5C").replace(":", "%3A")
        await put(world, path, b"x" * (SMALL_BYTES_MAX + 1))  # smaller ones are no files
    for hostile in ("../../escape", "a/../../escape", "%2e%2e/%2e%2e/escape", "..%2F..%2Fescape"):
        # Some clients resolve dots by themselves, so it goes as it is.
        url = httpx.URL(f"http://127.0.0.1{OBJECTS}/").copy_with(
            raw_path=f"{OBJECTS}/{hostile}".encode()
        )
        answer = await world.operator.put(url, content=b"x")
        assert not answer.is_success
    files = files_below(tmp_path / "data" / "objects")
    assert len(files) == len(names)
    for file in files:
        place = file.relative_to(tmp_path / "data" / "objects")
        assert re.fullmatch(r"demo/\w\w/\w{20}\.\w{20}", str(place))
    assert [one for one in files_below(tmp_path) if "escape" in one.name] == []


@pytest.mark.parametrize(
    "name", ["a%22; x=%22b.html", "a%0D%0ASet-Cookie: x=1", "a%E2%80%A8b", "%C3%A4 %22;.txt", "%27"]
)
async def test_no_name_reaches_a_header_as_it_is(world: ObjectWorld, name: str) -> None:
    url = f"{OBJECTS}/{name.replace(': ', '%3A%20').replace(' ', '%20')}"
    made = await world.operator.put(url, content=b"x")
    answer = await world.operator.get(url)
    if "%0D" in name:
        assert reason(made) == (400, "InvalidObjectName")
    told = answer.headers.get("content-disposition", "")
    assert re.fullmatch(r"|(inline|attachment); filename(\*=UTF-8'')?=?[\w\"%.~ ()\[\]-]*", told)
    assert told.count('"') in (0, 2)
    await put(world, "plain", b"x")
    evil = 'x"\r\nSet-Cookie: a=b\r\n\u2028;filename=y.html'
    answer = await world.operator.get(f"{OBJECTS}/plain", params={"download": evil})
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''x%22%0D")


@pytest.mark.parametrize(
    "kind", ["text/plain\u00e9", "text", "a/b/c", "x" * 300, "text/plain\tx", ""]
)
async def test_no_content_type_is_a_header_of_its_own(world: ObjectWorld, kind: str) -> None:
    await put(world, "a", b"x")
    answer = await world.operator.patch(f"{OBJECTS}/a:metadata", json={"content_type": kind})
    assert reason(answer) == (400, "InvalidContentType")
    wrong: list[Any] = ["a/b\r\nx: y", "a/b\nx: y", 7, [], {}]
    for bad in wrong:
        answer = await world.operator.patch(f"{OBJECTS}/a:metadata", json={"content_type": bad})
        assert answer.status_code == 400


# Bombs


async def test_ranges_are_no_bomb(world: ObjectWorld) -> None:
    """However many ranges are asked for, the answer is no larger than the object."""
    await put(world, "a", b"x" * 1000)
    for wanted in (
        "bytes=" + ",".join(["0-"] * 1000),
        "bytes=0-99999999999999999999999999",
        "bytes=99999999999999999999-",
        "bytes=-99999999999999999999",
        "bytes=" + "0" * 5000 + "-",
        "bytes=0-" + "9" * 17,
    ):
        answer = await world.operator.get(f"{OBJECTS}/a", headers={"range": wanted})
        assert answer.status_code in (200, 206, 416)
        assert len(answer.content) <= 1000


def png_bomb(width: int, height: int) -> bytes:
    """A small file of a huge image, all of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = b"\0" * (width // 8 + 1)
    packed = b"".join(packer.compress(row * 64) for _ in range(height // 64)) + packer.flush()
    return PNG + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


async def test_image_bombs_are_refused(world: ObjectWorld) -> None:
    bomb = png_bomb(20_000, 20_000)
    assert len(bomb) < 100_000
    wide = PNG + b"\0\0\0\rIHDR" + struct.pack(">IIBBBBB", 2**31 - 1, 1, 8, 6, 0, 0, 0) + b"\0" * 9
    frames = io.BytesIO()
    one = Image.new("P", (2_000, 2_000))
    one.save(frames, "GIF", save_all=True, append_images=[one] * 50)
    for name, content in {"bomb": bomb, "wide": wide}.items():
        await put(world, name, content)
        answer = await world.operator.get(f"{OBJECTS}/{name}?thumbnail=64")
        assert reason(answer) == (412, "NoThumbnail")
    # Of an animation only the first picture is looked at.
    await put(world, "frames", frames.getvalue())
    assert (await world.operator.get(f"{OBJECTS}/frames?thumbnail=64")).status_code == 200


def test_the_thumbnailer_has_little_memory_and_writes_no_files() -> None:
    """Its limits are set before a decoder is loaded: what allocates too much is refused."""
    code = (
        "import sys, runpy, PIL.Image as i\n"
        "sys.argv = ['thumbnailer', '64', '100000000']\n"
        "def greedy(*a, **k): bytearray(4 * 1024**3)\n"
        "i.open = greedy\n"
        "runpy.run_module('baas.buckets.thumbnailer', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=b"x", timeout=60, check=False)
    assert done.returncode == 3


async def test_thumbnails_tell_nothing_of_the_photographer(world: ObjectWorld) -> None:
    made = io.BytesIO()
    photo = Image.new("RGB", (100, 50))
    exif = photo.getexif()
    exif[0x010F], exif[0x0112] = "SecretCamera", 6  # maker, and turned by 90 degrees
    photo.save(made, "JPEG", exif=exif)
    await put(world, "photo", made.getvalue())
    answer = await world.operator.get(f"{OBJECTS}/photo?thumbnail=64")
    assert b"SecretCamera" not in answer.content
    assert Image.open(io.BytesIO(answer.content)).size == (32, 64)


# Signatures


async def test_no_changed_signature_is_taken(world: ObjectWorld) -> None:
    await put(world, "a", b"hello")
    sign = {"method": "GET", "expires_in": 3_600}
    url = ok(await world.operator.post(f"{OBJECTS}/a:sign", json=sign))["url"]
    path, _, signature = url.partition("?signature=")
    payload, _, mac = signature.partition(".")
    plain = base64.urlsafe_b64decode(payload + "==")
    forged = [
        plain.replace(b"GET", b"PUT"),
        re.sub(rb'"expires_at":\d+', b'"expires_at":99999999999', plain),
        plain.replace(b"}", b" }"),
        b"{}",
        b"",
    ]
    tried = [base64.urlsafe_b64encode(one).decode().rstrip("=") + "." + mac for one in forged]
    tried += ["", ".", payload, f"{payload}.", f".{mac}", f"{payload}.{mac[:-2]}", "é.é", "%"]
    tried += ["a" * 9_999]
    tried += [f"{payload}.{mac[:5]}{'A' if mac[5] != 'A' else 'B'}{mac[6:]}"]
    for one in tried:
        answer = await world.anonymous.get(path, params={"signature": one})
        assert reason(answer) == (401, "SignatureInvalid"), one
    twice = f"{url}&signature={signature}"
    assert (await world.anonymous.get(twice)).status_code == 400
    assert (await world.anonymous.get(url)).content == b"hello"


async def test_a_signature_is_of_one_project(world: ObjectWorld) -> None:
    ok(await world.operator.post("/api/v1/admin/projects", json={"id": "other"}))
    ok(await world.operator.post("/api/v1/admin/projects/other/buckets", json={"id": "default"}))
    await put(world, "a", b"hello")
    elsewhere = OBJECTS.replace("/demo/", "/other/")
    ok(await world.operator.put(f"{elsewhere}/a", content=b"other"))
    sign = {"method": "GET", "expires_in": 3_600}
    url = ok(await world.operator.post(f"{OBJECTS}/a:sign", json=sign))["url"]
    assert (await world.anonymous.get(url.replace("/demo/", "/other/"))).status_code == 401
    # A project that is made again under the same id has another secret.
    ok(await world.operator.delete(ADMIN))
    ok(await world.operator.post("/api/v1/admin/projects", json={"id": "demo"}))
    ok(await world.operator.post(f"{ADMIN}/buckets", json={"id": "default"}))
    assert (await world.operator.get(f"{OBJECTS}/a")).status_code == 404
    await put(world, "a", b"of the new one")
    assert (await world.anonymous.get(url)).status_code == 401


async def test_a_bad_token_beside_a_good_one_is_refused(world: ObjectWorld) -> None:
    await put(world, "public/a", b"hello")
    bad = {"authorization": "Bearer nonsense"}
    assert (await world.anonymous.get(f"{OBJECTS}/public/a", headers=bad)).status_code == 401


# Damage


async def test_damaged_bytes_are_not_passed_on_as_whole(world: ObjectWorld, tmp_path: Path) -> None:
    """The last chunk is held back until the checksum is right, and then the connection is cut."""
    await put(world, "a", os.urandom(2_000_000))
    (file,) = files_below(tmp_path / "data" / "objects")
    with file.open("r+b") as out:
        out.seek(1_000_000)
        out.write(b"damage")
    with pytest.raises(AnswerCut, match="do not match"):
        await _read_whole(world, f"{OBJECTS}/a")
    file.write_bytes(file.read_bytes()[:1_000])
    with pytest.raises(DataLoss, match="missing"):  # before anything was sent
        await _read_whole(world, f"{OBJECTS}/a")
    file.unlink()
    with pytest.raises(DataLoss, match="missing"):
        await _read_whole(world, f"{OBJECTS}/a")


async def _read_whole(world: ObjectWorld, path: str) -> None:
    """The answer, sent by hand: an error in its middle is the server's own affair otherwise."""
    context = world.app.context

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(3600)
        raise AssertionError

    sent = bytearray()

    async def send(message: Any) -> None:
        sent.extend(message.get("body", b""))

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": path, "headers": []}
    scope["query_string"] = b""
    request = Request(context, AsgiExchange(scope, receive, send), "x")
    request.project = "demo"
    request.params = {"bucket": "default", "name": path.removeprefix(f"{OBJECTS}/")}
    request.caller = Caller(CallerKind.ADMIN)
    answer = await get_object(request)
    assert isinstance(answer, ObjectAnswer)
    try:
        await answer.send(scope, receive, send)
    finally:
        assert len(sent) < answer.length


# Leaks


async def test_a_denied_list_is_the_same_for_full_and_empty_folders(world: ObjectWorld) -> None:
    await put(world, "private/a", b"x")
    for params in ({"prefix": "private/"}, {"prefix": "nothing/"}, {"prefix": "private/a"}):
        for more in ({}, {"delimiter": "/"}, {"page_token": "x"}, {"page_size": "1"}):
            answer = await world.user.get(OBJECTS, params={**params, **more})
            assert reason(answer) == DENIED


async def test_errors_tell_no_more_to_who_may_not_know(world: ObjectWorld) -> None:
    """Conditions, checksums, buckets and uploads: denied before anything is told of them."""
    await put(world, "private/a", b"x")
    for name in ("private/a", "private/missing"):
        for bucket in ("default", "missing-bucket"):
            path = f"{OBJECTS}/{name}".replace("/default/", f"/{bucket}/")
            for headers in (
                {"if-match": "*"},
                {"if-none-match": "*"},
                {"x-baas-sha256": "0" * 64},
                {"content-md5": base64.b64encode(b"\0" * 16).decode()},
            ):
                answer = await world.user.put(path, content=b"y", headers=headers)
                assert reason(answer) == DENIED
            assert reason(await world.user.get(path)) == DENIED
            assert reason(await world.user.delete(path)) == DENIED


async def test_bytes_of_the_denied_are_not_taken(world: ObjectWorld) -> None:
    """A denied upload is refused before its body is read, so that nobody fills the disk."""
    taken = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield b"x" * 10_000

    headers = {"content-length": "1000000"}
    answer = await world.anonymous.put(f"{OBJECTS}/a", content=body(), headers=headers)
    assert reason(answer) == DENIED
    assert taken <= 1


# Time passes between a question and its use


async def test_an_upload_is_decided_by_the_rules_at_its_end(world: ObjectWorld) -> None:
    """A body that is held back keeps no right that was taken away since."""
    has_begun, goes_on = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        has_begun.set()
        await goes_on.wait()
        yield b"x"

    path, headers = f"{world.mine}/slow", {"content-length": "1"}
    uploading = asyncio.create_task(world.user.put(path, content=body(), headers=headers))
    await has_begun.wait()
    closed = RULES.replace("&& request.resource.size < 1000", "&& false")
    assert closed != RULES
    ok(await world.operator.put(f"{ADMIN}/rules", json={"source": closed, "allow_open": True}))
    goes_on.set()
    assert reason(await uploading) == DENIED
    assert (await world.operator.get(path)).status_code == 404


async def test_an_upload_ends_with_its_user(world: ObjectWorld) -> None:
    """Who is disabled while the body is held back uploads nothing."""
    has_begun, goes_on = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        has_begun.set()
        await goes_on.wait()
        yield b"x"

    path, headers = f"{world.mine}/slow", {"content-length": "1"}
    uploading = asyncio.create_task(world.user.put(path, content=body(), headers=headers))
    await has_begun.wait()
    ok(await world.operator.patch(f"{ADMIN}/users/{world.uid}", json={"disabled": True}))
    goes_on.set()
    assert (await uploading).status_code == 401
    assert (await world.operator.get(path)).status_code == 404
    assert [one async for one in world.app.context.objects.store.list("")] == []


async def test_a_signed_url_ends_with_the_metadata_that_it_rests_on(world: ObjectWorld) -> None:
    path = f"{world.mine}/a"
    ok(await world.user.put(path, content=b"x", headers={"content-type": "text/plain"}))
    urls = [
        ok(await world.user.post(f"{path}:sign", json={"expires_in": 60, **one}))["url"]
        for one in ({"method": "GET"}, {"method": "PUT", "content_type": "text/plain"})
    ]
    ok(await world.operator.patch(f"{path}:metadata", json={"metadata": {"locked": "yes"}}))
    headers = {"content-type": "text/plain"}
    read = await world.anonymous.get(urls[0])
    written = await world.anonymous.put(urls[1], content=b"evil", headers=headers)
    assert reason(read) == reason(written) == (412, "ConditionFailed")
    assert (await world.operator.get(path)).content == b"x"


@pytest.mark.parametrize(
    "kind",
    ["text/javascript", "application/JavaScript; charset=utf-8", "text/ecmascript", "text/css"],
)
async def test_no_page_can_load_a_script_or_style(world: ObjectWorld, kind: str) -> None:
    """The console trusts what its own server sends as a script."""
    await put(world, "evil", b"alert(1)", kind)
    answer = await world.operator.get(f"{OBJECTS}/evil")
    assert answer.headers["content-type"] == "application/octet-stream"
    told = ok(await world.operator.get(f"{OBJECTS}/evil:metadata"))
    assert told["content_type"] == kind


async def test_checksums_of_no_ascii_are_refused(world: ObjectWorld) -> None:
    for name, value in (("content-md5", "é"), ("x-baas-sha256", "é" * 32), ("if-match", "é")):
        headers = {name.encode(): value.encode("latin-1")}
        answer = await world.operator.put(f"{OBJECTS}/a", content=b"x", headers=headers)
        assert answer.status_code == 400
