"""The bench beside peers: what is sent, what counts as lost, and that the answers are looked at."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter

import pytest

from bench.peers import report
from bench.peers.install import is_node_wanted
from bench.peers.loads import AUTHORS, DOCUMENT_ID, OWNED, ROWS, Call, author_of, created, seeded
from bench.peers.measure import Figure
from bench.peers.wrk import Said, Wrk, fill
from tests.raw_servers import raw_server

HTTP = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def figure(rate: float) -> Figure:
    return Figure(rate, p50_ms=1, p99_ms=2, cpu_us=3, peak_mib=150, failed=0)


def test_the_lost_rows_come_first() -> None:
    rows = ROWS[:4]
    ours = dict(zip([row.name for row in rows], (300.0, 90.0, 150.0, 210.0), strict=True))
    figures = {
        "baas": {name: [figure(rate)] * 3 for name, rate in ours.items()},
        "peer": {row.name: [figure(100.0)] * 3 for row in rows},
    }
    wanted = {row.name: 2.0 for row in rows}
    text = report.table("title", figures, "baas", "peer", rows, wanted)
    lines = [line for line in text.splitlines() if "connections" in line]
    assert [line.split("|")[2].strip() for line in lines] == ["LOST", "below", "met", "met"]
    assert "**0.90**" in lines[0]


def test_a_row_without_a_figure_is_named() -> None:
    figures = {"baas": {"get": [figure(1)]}, "peer": dict[str, list[Figure]]()}
    assert "get one" in report.table("title", figures, "baas", "peer", ROWS[2:3], {})


def test_the_caller_owns_one_document_in_a_hundred() -> None:
    authors = Counter(author_of("owned", number, "me") for number in range(OWNED))
    assert authors["me"] == OWNED // AUTHORS
    assert len(authors) == AUTHORS


def test_templates_are_filled() -> None:
    assert fill("/a/{id}?n={n}", 17, 10) == f"/a/{DOCUMENT_ID % 7}?n=17"
    assert '"title":"title 5"' in fill(created("me"), 5, 1)
    assert abs(len(created("me").encode()) - 300) < 50
    assert set(seeded(1, "me")) == set(seeded(2, "you"))


@pytest.mark.parametrize(
    ("version", "is_wanted"),
    [((20, 18, 9), False), ((20, 20, 2), True), ((21, 0), False), ((24, 19, 0), True), ((), False)],
)
def test_node_versions(version: tuple[int, ...], is_wanted: bool) -> None:
    assert is_node_wanted(version) is is_wanted


@pytest.mark.skipif(shutil.which("wrk") is None, reason="the bench needs wrk, the product does not")
async def test_wrk_sends_each_number_once_and_stops_at_the_last() -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            heads.append(head.split(b" ")[1])
            assert await reader.readexactly(len('"Zürich"'.encode())) == '"Zürich"'.encode()
            writer.write(HTTP)

    def run(port: int) -> Said:
        call = Call("POST", "/{id}/{n}", {"X-Odd": 'a"b\\c'}, '"Zürich"')
        with Wrk(
            f"http://127.0.0.1:{port}",
            [call],
            connections=1,
            seconds=60,
            count=10,
            first=100,
            last=149,
        ) as load:
            return load.wait()

    async with raw_server(answer) as port:
        said = await asyncio.to_thread(run, port)
    sent = [f"/{DOCUMENT_ID % (number % 10)}/{number}".encode() for number in range(100, 150)]
    assert heads[: len(sent)] == sent
    assert said.good in (len(sent) - 1, len(sent))
    assert said.seconds < 50
