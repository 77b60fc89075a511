"""Measures one row on one running peer, and holds the answers to what was asked."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from bench import processes
from bench.peers.loads import AUTHOR, BOUND_MAX, PAGE, UPDATED_FROM, Call, Row, seeded
from bench.peers.wrk import Said, Wrk, fill

WARM_UP_REQUESTS = 500
SETTLED_SECONDS = 0.5
WARM_UP_CONNECTIONS = 32
WARM_UP_SECONDS_MAX = 3
TURNS_MIN = 5  # a load lasts until each connection has had about so many answers, at most …
SECONDS_MAX = 12
UPDATERS = 300  # connections of the client that updates beside a load
SAMPLES = 20
PROBED = 7  # the number of the request that is looked at
DELETES_A_SECOND = 12_000  # documents kept ready for the delete load, for each second of it


class Wrong(Exception):
    """A peer answered, or did, something else than it was asked."""


class Cannot(Exception):
    """A peer does not offer what the row asks for."""


@dataclass(frozen=True)
class Figure:
    """What one load gave: answers that were good a second, what a good answer took, the server's
    processor time for it, and the server's peak of resident memory during the load."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    peak_mib: float
    failed: int
    beside_rate: float = 0.0


@dataclass(frozen=True)
class Page:
    """A list answer, understood: the fields of each document, and the total if it says one."""

    documents: Sequence[Mapping[str, Any]]
    total: int | None = None


class Target(Protocol):
    """A running HTTP server with the seed in it."""

    @property
    def url(self) -> str: ...

    @property
    def pid(self) -> int: ...

    @property
    def user(self) -> str:
        """The caller's id, as `author` in the seed has it."""

    def calls(self, row: Row) -> Sequence[Call]:
        """The requests that together make one answer of the row."""

    def update(self, collection: str) -> Call:
        """One request that sets `score` of a document of a collection to its number."""

    def read_page(self, bodies: Sequence[Any]) -> Page:
        """What the answers to `calls` of a list say."""

    def read_document(self, body: Any) -> Mapping[str, Any]:
        """The fields that the answer to a get holds."""

    def find(self, client: httpx.Client, collection: str, number: int) -> Mapping[str, Any]:
        """The fields of a seeded document. Raises Wrong if it is not there."""

    def count(self, client: httpx.Client, collection: str) -> int:
        """How many documents (or files) the collection holds now."""

    def take_turns(self, row: Row, seconds: float) -> Figure:
        """Clients read and write one counter in transactions. Raises Cannot."""


def measure(target: Target, row: Row, *, seconds: float, turn: int) -> Figure:
    """Warms up, runs the load for `seconds`, checks what came of it. `turn` counts from 0 and tells
    the documents of one turn's deletes from the next one's. Raises Wrong."""
    if row.check == "in turns":
        return target.take_turns(row, seconds)
    with httpx.Client(base_url=target.url, timeout=60) as client:
        probe_bytes = _probe(target, row, client)
        first, last = _numbers(row, seconds, turn)
        if row.check != "deleted":
            seconds = max(seconds, _warm_up(target, row, first))
        before = _before(target, row, client)
        if row.check in ("updated", "uploaded"):
            first += WARM_UP_REQUESTS + 1
        processes.reset_peaks(target.pid)
        said, beside, cpu = _run(target, row, seconds, first, last)
        peak = processes.peak_memory_mib(target.pid)
        _check(target, row, client, said, before=before, first=first, last=last)
        if not row.is_write and said.bytes < 0.95 * probe_bytes * said.answers:
            raise Wrong(
                f"{row.title}: answers were smaller than the one that was looked at:"
                f" {said.bytes / max(1, said.answers):.0f} bytes, not {probe_bytes:.0f};"
                f" {said.refused} of {said.answers} were refused"
            )
    parts = len(target.calls(row))
    good = max(1, said.good // parts)
    return Figure(
        rate=said.good / parts / said.seconds,
        p50_ms=said.p50_ms * parts,
        p99_ms=said.p99_ms * parts,
        cpu_us=cpu * 1e6 / good,
        peak_mib=peak,
        failed=said.refused + said.broken + (beside.refused + beside.broken if beside else 0),
        beside_rate=beside.good / beside.seconds if beside else 0.0,
    )


def _before(target: Target, row: Row, client: httpx.Client) -> int:
    if row.check == "increased":
        return int(target.find(client, row.collection, 0)["score"])
    found = target.count(client, row.collection) if row.is_write else 0
    while row.check == "uploaded":
        # Large ones of the warm-up may still be on their way.
        time.sleep(SETTLED_SECONDS)
        known, found = found, target.count(client, row.collection)
        if known == found:
            break
    return found


def _numbers(row: Row, seconds: float, turn: int) -> tuple[int, int]:
    """The first request's number, and the last one's where there is a last one."""
    if row.check == "updated":
        return UPDATED_FROM + 1_000_000 * turn, 0
    if row.check == "uploaded":
        return 1_000_000 * (turn + 1), 0
    if row.check == "deleted":
        each = deletes(seconds)
        return turn * each, (turn + 1) * each - 1
    return 0, 0


def deletes(seconds: float) -> int:
    """Documents that one run of the delete load may delete."""
    return int(DELETES_A_SECOND * max(1, round(seconds)))


def _warm_up(target: Target, row: Row, first: int) -> float:
    """How many seconds the load should last at least for this server: where few answers come a
    second, the first ones of so many connections take long."""
    with Wrk(
        target.url,
        target.calls(row),
        connections=WARM_UP_CONNECTIONS,
        seconds=WARM_UP_SECONDS_MAX,
        count=row.count,
        first=first,
        last=first + WARM_UP_REQUESTS,
    ) as run:
        said = run.wait()
    time.sleep(0.1)  # what was still on its way is done
    rate = max(1, said.good) / said.seconds
    parts = len(target.calls(row))
    return min(SECONDS_MAX, TURNS_MIN * parts * row.connections / rate)


def _run(
    target: Target, row: Row, seconds: float, first: int, last: int
) -> tuple[Said, Said | None, float]:
    """The load, and the client beside it where the row has one."""
    cpu = processes.cpu_seconds(target.pid)
    load = Wrk(
        target.url,
        target.calls(row),
        connections=row.connections,
        seconds=seconds,
        count=row.count,
        first=first,
        last=last,
    )
    if not row.beside:
        with load:
            said = load.wait()
        return said, None, processes.cpu_seconds(target.pid) - cpu
    beside = Wrk(
        target.url,
        [target.update(row.collection)],
        connections=UPDATERS,
        seconds=seconds,
        count=row.count,
        rate=row.beside,
    )
    with beside, load:
        said = load.wait()
        other = beside.wait()
    return said, other, processes.cpu_seconds(target.pid) - cpu


def _probe(target: Target, row: Row, client: httpx.Client) -> float:
    """Asks once and looks at the answer; its mean size in bytes. Writes are looked at later."""
    if row.is_write:
        return 0.0
    answers = [_send(client, call, number=PROBED, count=row.count) for call in target.calls(row)]
    if row.check == "file":
        expect(len(answers[0].content) == row.count, f"{row.title}: another size")
        return float(row.count)
    bodies = [answer.json() for answer in answers]
    if row.check == "document":
        found = target.read_document(bodies[0])
        expect(found["title"] == f"title {PROBED}", f"{row.title}: another document: {found}")
    else:
        _check_page(target, row, target.read_page(bodies))
    return sum(len(answer.content) for answer in answers) / len(answers)


def _check_page(target: Target, row: Row, page: Page) -> None:
    expect(len(page.documents) == PAGE, f"{row.title}: {len(page.documents)} documents")
    titles = {str(document["title"]) for document in page.documents}
    expect(len(titles) == PAGE, f"{row.title}: documents twice")
    expect(page.total == row.total, f"{row.title}: total {page.total}, not {row.total}")
    if row.name == "list-mine":
        authors = {document["author"] for document in page.documents}
        expect(authors == {target.user}, f"{row.title}: documents of {authors}")
    elif row.name.startswith(("query", "range")):
        scores = [document["score"] for document in page.documents]
        expect(scores == sorted(scores), f"{row.title}: not in order: {scores}")
        authors = {document["author"] for document in page.documents}
        is_range = row.name.startswith("range")
        expect(is_range or authors == {AUTHOR % PROBED}, f"{row.title}: documents of {authors}")
        expect(not is_range or scores[-1] < BOUND_MAX // 2, f"{row.title}: scores of {scores}")
    else:
        whole = set(seeded(0, "")) <= set(page.documents[0])
        expect(whole, f"{row.title}: fields are missing")


def _check(
    target: Target,
    row: Row,
    client: httpx.Client,
    said: Said,
    *,
    before: int,
    first: int,
    last: int,
) -> None:
    """What was acknowledged is there. Requests on their way when wrk stopped may be, too."""
    open_requests = row.connections + said.refused + said.broken
    if row.check in ("created", "uploaded"):
        made = target.count(client, row.collection) - before
        expect(
            said.good <= made <= said.good + open_requests,
            f"{row.title}: {said.good} acknowledged, {made} made",
        )
    elif row.check == "increased":
        added = _before(target, row, client) - before
        expect(
            said.good <= added <= said.good + open_requests,
            f"{row.title}: {said.good} acknowledged, {added} added",
        )
    elif row.check == "deleted":
        gone = before - target.count(client, row.collection)
        expect(
            said.good <= gone <= said.good + open_requests,
            f"{row.title}: {said.good} acknowledged, {gone} gone",
        )
        expect(said.refused == 0, f"{row.title}: {said.refused} refused")
    elif row.check == "updated":
        done = said.good - row.connections
        for sample in range(SAMPLES if done > SAMPLES else 0):
            number = first + done * sample // SAMPLES
            score = target.find(client, row.collection, number % row.count)["score"]
            expect(score >= number, f"{row.title}: {score} where {number} was acknowledged")
    else:
        _probe(target, row, client)


def _send(client: httpx.Client, call: Call, *, number: int, count: int) -> httpx.Response:
    return ask(
        client,
        call.method,
        fill(call.path, number, count),
        headers=dict(call.headers),
        content=None if call.body is None else fill(call.body, number, count).encode(),
    )


def ask(client: httpx.Client, method: str, path: str, **options: Any) -> httpx.Response:
    """One request outside of the measured time. Raises Wrong unless the status is 2xx."""
    answer = client.request(method, path, **options)
    if not answer.is_success:
        raise Wrong(f"{method} {answer.request.url}: {answer.status_code} {answer.text[:500]}")
    return answer


def expect(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise Wrong(otherwise)
