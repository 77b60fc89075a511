"""`make bench-peers`: the same loads against the product and its rivals, in turns, one server at a
time. Prints Markdown; the lost rows come first. See bench/peers/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import httpx

from bench.peers import install, report
from bench.peers.driver import DRIVEN, Driver
from bench.peers.kept import seed_or_copy
from bench.peers.loads import LARGE, ROWS, Row, Seed
from bench.peers.measure import Cannot, Figure, Target, Wrong, deletes, measure
from bench.peers.mongod import Mongod
from bench.peers.ours import Product
from bench.peers.parse import Parse
from bench.peers.pocketbase import PocketBase
from bench.servers import measured_fsync_ms

RESULTS = Path(__file__).resolve().parents[1] / "results" / "peers.json"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "peers.md"
MARKS = ("<!-- figures -->", "<!-- end of figures -->")
PEERS = ("baas", "baas-workers", "pocketbase", "baas-granian", "baas-mongodb", "parse", "driver")
ON_MONGODB = frozenset({"baas-mongodb", "parse", "driver"})
POCKETBASE_WANTED = 2.0
POCKETBASE_TOTALS_WANTED = 10.0  # lists of 100,000 with their exact total
PARSE_WRITES_WANTED = 5.0
DRIVER_READS_WANTED = 0.6

T = TypeVar("T")
Results = dict[str, dict[str, list[Figure]]]


class Peer(Protocol):
    """Something with the seed in it that can be served again and again."""

    name: str
    title: str

    def seed(self, seed: Seed) -> None: ...

    def serve(self) -> AbstractContextManager[Target]: ...


def main() -> None:
    options = _options()
    known = [row for row in ROWS if options.large or not row.is_large]
    rows = _chosen(known, options.rows, lambda row: row.name)
    names = _chosen(PEERS, options.peers, str)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="baas-peers-", dir=options.folder) as folder:
        bench = Bench(
            Path(folder),
            rows,
            seconds=options.seconds,
            rounds=options.rounds,
        )
        fsync = measured_fsync_ms(Path(folder))
        try:
            bench.prepare(names)
            for turn in range(options.rounds):
                bench.round(turn)
        finally:
            bench.stop()
    RESULTS.parent.mkdir(exist_ok=True)
    kept = {
        name: {row: [asdict(figure) for figure in figures] for row, figures in table.items()}
        for name, table in bench.results.items()
    }
    RESULTS.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    text = _text(bench, rows, fsync, options, time.monotonic() - began)
    print(text)
    if options.docs:
        _keep_in_docs(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; medians count")
    parser.add_argument("--rows", default="", help=f"of {', '.join(row.name for row in ROWS)}")
    parser.add_argument("--peers", default="", help=f"of {', '.join(PEERS)}")
    parser.add_argument(
        "--large",
        action="store_true",
        help="also queries of a million documents, which take minutes to seed the first time",
    )
    parser.add_argument("--folder", help="where the servers keep their data (default: /tmp)")
    parser.add_argument(
        "--docs", action="store_true", help="also put the tables into docs/peers.md"
    )
    return parser.parse_args()


def _keep_in_docs(text: str) -> None:
    """Between the marks, in place of the figures before."""
    head, mark, rest = DOCS.read_text(encoding="utf-8").partition(MARKS[0])
    _, end, tail = rest.partition(MARKS[1])
    if not mark or not end:
        sys.exit(f"{DOCS} lacks `{MARKS[0]}` or `{MARKS[1]}`")
    # The page has its own title; what the run says of itself comes first.
    body = text.partition("\n")[2]
    DOCS.write_text(f"{head}{mark}\n\n{body.strip()}\n\n{end}{tail}", encoding="utf-8")


def _chosen(known: Sequence[T], wanted: str, name: Callable[[T], str]) -> list[T]:
    """Those that are named, in the order of the table; all if none is. Ends for unknown names."""
    names = [word for word in wanted.split(",") if word]
    unknown = set(names) - {name(item) for item in known}
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(map(name, known))}")
    return [item for item in known if not names or name(item) in names]


class Bench:
    """All peers of one run, and what was measured."""

    def __init__(self, folder: Path, rows: Sequence[Row], *, seconds: float, rounds: int) -> None:
        self.results: Results = {}
        self.notes: list[str] = []
        self._folder = folder
        self._rows = rows
        self._seconds = seconds
        self._seed = Seed(
            doomed=rounds * deletes(seconds) if _has(rows, "delete") else 0,
            is_large=any(row.is_large for row in rows),
        )
        self._peers: list[Peer] = []
        self._driver: Driver | None = None
        self._mongod: Mongod | None = None

    def prepare(self, names: Sequence[str]) -> None:
        """Installs, and seeds. A peer that cannot be had is noted as NOT RUN."""
        makers: dict[str, Callable[[], Peer]] = {
            "baas": self._baas,
            "baas-workers": self._workers,
            "pocketbase": self._pocketbase,
            "baas-granian": self._granian,
            "baas-mongodb": self._baas_mongodb,
            "parse": self._parse,
        }
        for name in names:
            began = time.monotonic()
            try:
                if name == "driver":
                    self._driver = Driver(self._mongodb)
                    self._driver.seed(self._seed)
                else:
                    peer = makers[name]()
                    if isinstance(peer, PocketBase) or (
                        isinstance(peer, Product) and peer.is_in_a_folder
                    ):
                        seed_or_copy(peer, self._seed)
                    else:
                        peer.seed(self._seed)
                    self._peers.append(peer)
            except (install.NotRun, RuntimeError, Wrong, httpx.HTTPError) as error:
                self._note(f"{name}: NOT RUN: {error}")
                continue
            install.say(f"{name}: ready after {time.monotonic() - began:.0f} s")

    def round(self, turn: int) -> None:
        """Every row on every peer, one after the other, only one of them alive."""
        for peer in self._peers:
            if peer.name not in ON_MONGODB and self._mongod is not None:
                self._mongod.rest()
            try:
                self._measure_all(peer, turn)
            except (RuntimeError, Wrong, httpx.HTTPError) as error:
                self._note(f"{peer.name}, round {turn + 1}: FAILED: {error}")
        if self._driver is not None:
            for row in self._rows:
                if row.name in DRIVEN:
                    self._keep("driver", row, partial(self._driver.measure, row, self._seconds))

    def _measure_all(self, peer: Peer, turn: int) -> None:
        with peer.serve() as target:
            for row in self._rows:
                take = partial(measure, target, row, seconds=self._seconds, turn=turn)
                self._keep(peer.name, row, take)

    def stop(self) -> None:
        if self._mongod is not None:
            self._mongod.stop()

    def title(self, name: str) -> str:
        return next((peer.title for peer in self._peers if peer.name == name), name)

    def _keep(self, name: str, row: Row, take: Callable[[], Figure]) -> None:
        try:
            figure = take()
        except (RuntimeError, Wrong, httpx.HTTPError) as error:
            self._note(f"{name}, {row.title}: FAILED: {error}")
            return
        except Cannot as error:
            text = f"{name}, {row.title}: cannot: {error}"
            if text not in self.notes:
                self._note(text)
            return
        beside = f", {figure.beside_rate:.0f} updates/s" if row.beside else ""
        failed = f", {figure.failed} FAILED" if figure.failed else ""
        print(
            f"{name:13} {row.title:38} {figure.rate:8,.0f}/s  p99 {figure.p99_ms:6.0f} ms"
            f"  {figure.cpu_us:6.0f} us  {figure.peak_mib:5.0f} MiB{beside}{failed}",
            file=sys.stderr,
            flush=True,
        )
        self.results.setdefault(name, {}).setdefault(row.name, []).append(figure)

    def _note(self, text: str) -> None:
        self.notes.append(text)
        print(text, file=sys.stderr, flush=True)

    # Peers ------------------------------------------------------------------------------------

    def _baas(self) -> Product:
        return Product("baas", "baas on SQLite, uvicorn", self._folder / "baas")

    def _workers(self) -> Product:
        count = max(2, os.cpu_count() or 1)
        return Product(
            "baas-workers",
            f"baas on SQLite, {count} workers",
            self._folder / "baas-workers",
            workers=count,
            like=self._seeded(),
        )

    def _granian(self) -> Product:
        return Product(
            "baas-granian",
            "baas on SQLite, Granian",
            self._folder / "baas-granian",
            server="granian",
            like=self._seeded(),
        )

    def _seeded(self) -> Product | None:
        """The product with the seed in it, if it is there."""
        like = next((peer for peer in self._peers if peer.name == "baas"), None)
        return like if isinstance(like, Product) else None

    def _pocketbase(self) -> PocketBase:
        title = f"PocketBase {install.POCKETBASE_VERSION.removeprefix('v')}"
        return PocketBase(title, install.pocketbase(), self._folder / "pocketbase")

    def _baas_mongodb(self) -> Product:
        folder = self._folder / "baas-mongodb"
        title = "baas on MongoDB, uvicorn"
        return Product("baas-mongodb", title, folder, mongodb=self._mongodb)

    def _parse(self) -> Parse:
        title = f"Parse Server {install.PARSE_VERSION}"
        installed = install.parse_server()
        return Parse(title, installed, self._folder / "parse", self._mongodb)

    def _mongodb(self) -> str:
        if self._mongod is None:
            self._mongod = Mongod(self._folder)
        return self._mongod.uri()


def _pocketbase_wanted(row: Row) -> float:
    return POCKETBASE_TOTALS_WANTED if row.total == LARGE else POCKETBASE_WANTED


def _has(rows: Sequence[Row], name: str) -> bool:
    return any(row.name == name for row in rows)


def _text(
    bench: Bench, rows: Sequence[Row], fsync: float, options: argparse.Namespace, took: float
) -> str:
    writes = [row for row in rows if row.is_write]
    reads = [row for row in rows if not row.is_write and row.check != "file"]
    driven = [row for row in rows if row.name in DRIVEN]
    parts = [
        "# Beside peers",
        f"{platform.machine()}, CPython {platform.python_version()}; {options.rounds} rounds of"
        f" {options.seconds:g} s, in turns, one server at a time; one fdatasync of 4 KiB:"
        f" {fsync:.2f} ms; the whole run {took:.0f} s.\n\nPairs of figures: ours / theirs. Our"
        " writes are synced (`synchronous=FULL`); PocketBase is as it comes (WAL,"
        " `synchronous=NORMAL`: a power cut may take acknowledged writes).\n",
    ]
    pairs: list[tuple[str, str, Sequence[Row], dict[str, float]]] = [
        ("baas", "pocketbase", rows, {row.name: _pocketbase_wanted(row) for row in rows}),
        ("baas-granian", "pocketbase", rows, {}),
        ("baas-mongodb", "parse", rows, {row.name: PARSE_WRITES_WANTED for row in writes}),
        ("baas-mongodb", "driver", driven, {row.name: DRIVER_READS_WANTED for row in reads}),
    ]
    for ours, theirs, chosen, wanted in pairs:
        if ours in bench.results and theirs in bench.results:
            title = f"{bench.title(ours)}, beside {bench.title(theirs)}"
            parts.append(report.table(title, bench.results, ours, theirs, chosen, wanted))
    parts.append(report.memory(bench.results, list(bench.results)))
    if bench.notes:
        parts.append("\n".join(["## What went wrong", "", *(f"- {note}" for note in bench.notes)]))
    return "\n".join(parts)


if __name__ == "__main__":
    main()
