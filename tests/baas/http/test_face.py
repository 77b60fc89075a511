"""What every request has in common: ids, the log line, errors from within, streams that fail."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import orjson
import pytest
from starlette.types import Message, Scope

from baas.database.read_snapshot import ReadSnapshot
from baas.encoding.documents import StoredDocument
from baas.errors import BaasError, Unavailable
from baas.http import face as face_module
from baas.http.answers import StreamAnswer
from baas.http.exchange import AsgiExchange
from baas.http.face import HttpFace
from baas.http.requests import Request
from baas.model.queries import Query
from baas.testing import app_client, make_settings, started_app
from tests.baas.http.conftest import BASE, World, open_world
from tests.baas.http.test_bad_input import check_error


async def test_every_answer_has_its_own_id(world: World) -> None:
    first = await world.anonymous.get("/healthz")
    second = await world.anonymous.get("/nothing")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{6}-[0-9a-f]+", first.headers["x-request-id"])


async def test_an_error_from_within_tells_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(*_: Any) -> None:
        raise KeyError("a secret of the inside")

    monkeypatch.setattr(world.app.context.projects.__class__, "get_project", fail)
    answer = await world.operator.get(f"{BASE}/a/b")
    error = check_error(answer, 500)
    assert (error["code"], error["message"]) == ("INTERNAL", "internal error")
    assert "secret" not in answer.text


async def test_a_stream_that_fails_ends_with_an_error_line(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.secret.put(f"{BASE}/a/b", json={"fields": {}})

    async def broken(self: ReadSnapshot, query: Query) -> AsyncGenerator[list[StoredDocument]]:
        yield (await self.run_query(query)).documents
        raise Unavailable("the disk is gone")

    monkeypatch.setattr(ReadSnapshot, "stream_query", broken)
    answer = await world.secret.post(
        f"{BASE}:query",
        json={"query": {"collection": "a"}},
        headers={"accept": "application/x-ndjson"},
    )
    assert answer.status_code == 200
    lines = [orjson.loads(line) for line in answer.content.splitlines()]
    assert lines[-1]["error"]["code"] == "UNAVAILABLE"
    assert lines[-1]["error"]["request_id"] == answer.headers["x-request-id"]


async def test_a_reader_that_leaves_ends_its_stream() -> None:
    closed: list[bool] = []

    async def chunks() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            closed.append(True)

    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await StreamAnswer(chunks()).send({"method": "GET"}, receive, send)
    assert closed == [True]
    assert len(sent) < 10


async def test_before_the_start_and_after_the_stop_nothing_is_answered_but_that() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    face = HttpFace(None, instance="x-")
    scope: Scope = {"type": "http", "method": "GET", "path": "/healthz", "headers": []}
    await face(scope, receive, send)
    assert sent[0]["status"] == 503
    assert orjson.loads(sent[1]["body"])["error"]["reason"] == "NotReady"


async def test_a_line_of_the_log_holds_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[bytes] = []
    monkeypatch.setattr("baas.app._write_to_stderr", lines.append)
    settings = make_settings(tmp_path / "data", access_log=True)
    async with started_app(settings) as app, open_world(app) as world:
        await world.user.get(f"{BASE}/users/{world.uid}")
        await world.anonymous.get("/readyz", params={"token": "in-the-address"})
        secrets = [
            world.id_token,
            world.refresh_token,
            world.secret_key,
            app.operator_token,
            "in-the-address",
            "difference engine",
        ]
    text = b"".join(lines).decode()
    entries = [orjson.loads(line) for line in text.splitlines()]
    (got,) = [entry for entry in entries if entry["path"] == f"{BASE}/users/{world.uid}"]
    assert got["method"] == "GET"
    assert got["status"] == 404
    assert (got["caller"], got["uid"], got["project"]) == ("user", world.uid, "demo")
    for secret in secrets:
        assert secret not in text


async def test_a_body_that_never_ends_is_noted_as_gone(world: World) -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "method": "PUT",
        "path": f"{BASE}/a/b",
        "raw_path": f"{BASE}/a/b".encode(),
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {world.app.operator_token}".encode())],
    }
    await world.app(scope, receive, send)
    assert sent == []


async def test_an_application_of_no_project_can_be_asked(tmp_path: Path) -> None:
    async with (
        started_app(make_settings(tmp_path / "data")) as app,
        app_client(app) as client,
    ):
        check_error(await client.get(f"{BASE}/a/b"), 404)


async def test_only_in_development_mode_is_a_denial_explained(
    world: World, dev_world: World
) -> None:
    path = f"{BASE}/owned/x"
    plain = check_error(await world.user.get(path), 403)
    assert plain["details"] is None
    explained = check_error(await dev_world.user.get(path), 403)
    assert "^" in explained["details"]["explanation"]
    assert explained["message"] == plain["message"]


_PLACES = [
    "/documents/a",
    "/documents/a/b",
    "/documents/a/c",
    "/documents/a/b/c",
    "/documents/a/b/c/d",
    "/documents/a/",
    "/documents//",
    "/documents/",
    "/documents/a/b:commit",
    "/documents:commit",
    "/documents:none",
    "/databases/other/documents/a/b",
    "/databases/other/documents/a",
    "/databases/other/else/a/b",
    "/documents/a%2Fb/c",
    "/documents/a/b%2Fc",
    "/documents/a/%62",
    "/documents/a/%zz",
    "/buckets/x/objects/a/b",
    "/documentsx/a",
]


def _request(raw_path: bytes) -> Request:
    path = unquote(raw_path.decode())
    scope = {"method": "GET", "path": path, "raw_path": raw_path, "headers": []}
    nothing = cast(Any, None)
    return Request(nothing, AsgiExchange(scope, nothing, nothing), "1")


def test_what_is_known_of_a_path_is_what_taking_it_apart_tells() -> None:
    """Twice each, whatever else was asked before: the second time places are known."""

    def find(face: HttpFace, path: str) -> tuple[Any, ...]:
        raw = f"/api/v1/projects/p{path}".encode()
        scope = {"method": "GET", "path": unquote(raw.decode()), "raw_path": raw, "headers": []}
        request = Request(
            cast(Any, None), AsgiExchange(scope, cast(Any, None), cast(Any, None)), "1"
        )
        try:
            routes = face._find_by_hand(request)
        except BaasError as error:
            return error.reason, error.message
        return sorted(routes or ()), request.project, request.database, request.document_path

    warm = HttpFace(None, instance="w")
    for path in [*_PLACES, *_PLACES[::-1]]:
        assert find(warm, path) == find(HttpFace(None, instance="c"), path), path
    assert 3 <= len(warm._places) <= 8


def test_known_places_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_module, "_PLACES_MAX", 3)
    face = HttpFace(None, instance="b")
    for number in range(10):
        raw = f"/api/v1/projects/p{number}/documents/a/b".encode()
        scope = {"method": "GET", "path": raw.decode(), "raw_path": raw, "headers": []}
        request = Request(
            cast(Any, None), AsgiExchange(scope, cast(Any, None), cast(Any, None)), "1"
        )
        face._find_by_hand(request)
        assert request.project == f"p{number}"
        assert len(face._places) <= 3
