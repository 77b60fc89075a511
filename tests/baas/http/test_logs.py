"""Logs: one JSON object per line in production, for people in development, no secrets in either."""

from __future__ import annotations

import asyncio
import logging

import orjson
import pytest
import structlog
from starlette.types import Message, Scope

from baas.clock import SystemClock
from baas.http.exchange import AsgiExchange
from baas.http.logs import FLUSH_LINES, AccessLog, configure_logs
from baas.http.requests import Request
from tests.baas.http.conftest import World


def test_events_are_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", for_people=False)
    structlog.get_logger("x").info("something", number=1)
    structlog.get_logger("x").debug("too quiet")
    logging.getLogger("some.library").warning("from %s", "elsewhere")
    lines = [orjson.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["something", "from elsewhere"]
    assert lines[0]["number"] == 1
    assert lines[0]["level"] == "info"
    assert lines[0]["time"].endswith("Z")


def test_a_traceback_shows_no_values(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", for_people=False)
    try:
        secret = "difference " + "engine"
        raise KeyError(len(secret))
    except KeyError:
        structlog.get_logger("x").exception("failed")
    text = capsys.readouterr().err
    assert "KeyError" in text
    assert "difference engine" not in text


def test_for_people_an_explanation_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", for_people=True)
    structlog.get_logger("x").warning("denied by rules", explanation="6 | allow\n  | ^^^^^")
    assert "6 | allow\n  | ^^^^^\n" in capsys.readouterr().err


async def test_lines_are_gathered_and_flushed(world: World) -> None:
    written: list[bytes] = []
    flushed = asyncio.Event()

    def write(data: bytes) -> None:
        written.append(data)
        flushed.set()

    async def receive() -> dict[str, str]:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        raise AssertionError("nothing is sent")

    scope: Scope = {"method": "GET", "path": "/a\n", "headers": [], "client": ("127.0.0.1", 5)}
    exchange = AsgiExchange(scope, receive, send)
    request = Request(world.app.context, exchange, "r1")
    log = AccessLog(SystemClock(), write)
    log.add(request, 200, 5, 0.0012)
    assert written == []
    await flushed.wait()
    (line,) = written[0].splitlines()
    entry = orjson.loads(line)
    assert (entry["path"], entry["status"], entry["milliseconds"]) == ("/a\n", 200, 1.2)
    for _ in range(FLUSH_LINES):
        log.add(request, 200, 5, 0.0)
    assert len(written[1].splitlines()) == FLUSH_LINES
