"""`make bench`: every hot path beside its floor, measured in the same run.

Prints Markdown. Read the ratios; the rates move with the machine. See bench/README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import bulk_writes, files, loads, near, projects, rules, schemas, sdk, search
from bench.loads import Figure
from bench.servers import (
    Target,
    floor,
    measured_fsync_ms,
    mongodb_floor,
    product,
    sync_delay_library,
)
from tests.mongo import ReplicaSet

WARM_RUNS_MAX = 10


@dataclass(frozen=True)
class Load:
    """One row of the table: how to run it on a target."""

    name: str
    durable: bool
    run: Callable[[Target], Figure]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement")
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds, floor and product in turn; the median counts"
    )
    parser.add_argument("--documents", type=int, default=10_000, help="documents seeded")
    parser.add_argument(
        "--servers", default="uvicorn,granian", help="HTTP servers, comma separated"
    )
    parser.add_argument(
        "--engine",
        default="sqlite",
        choices=("sqlite", "mongodb"),
        help="mongodb: beside the bare driver, on a replica set of one that is started for it",
    )
    parser.add_argument("--only", default="", help="only loads whose name contains this")
    parser.add_argument("--sockets", type=int, default=300, help="listeners of the fan-out load")
    parser.add_argument(
        "--no-delay", action="store_true", help="leave out the run with 2 ms of sync delay"
    )
    parser.add_argument("--no-sdk", action="store_true", help="leave out the SDK's own table")
    parser.add_argument("--projects", type=int, default=1_000, help="of `--only projects`")
    parser.add_argument("--active", type=int, default=50, help="projects that are in use")
    parser.add_argument("--rules-files", type=Path, help="a folder of rules files, to compile")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="baas-bench-") as folder:
        root = Path(folder)
        fsync = measured_fsync_ms(root)
        print(
            f"# Bench\n\n{platform.machine()}, CPython {platform.python_version()}, "
            f"one fdatasync of 4 KiB: {fsync:.2f} ms\n",
            flush=True,
        )
        if options.only == "projects":
            print(measure_projects(root, options), flush=True)
            return
        if options.engine == "mongodb":
            compare_on_mongodb(root, options, fsync)
            return
        if options.only in "rules":
            print(rules.table(options.rules_files), flush=True)
        if options.only == "rules":
            return
        if options.only in "near":
            print(near.table(root / "near", rounds=options.rounds), flush=True)
        if options.only == "near":
            return
        if options.only in "search":
            print(search.table(root / "search", rounds=options.rounds), flush=True)
        if options.only == "search":
            return
        if options.only == "files":
            print(files.table(root / "files", rounds=options.rounds, seconds=options.seconds))
            return
        for server in options.servers.split(","):
            compare(server, root / server, options, delay=(None, 0), fsync=fsync)
        library = None if options.no_delay else sync_delay_library(root)
        if library is not None:
            compare("uvicorn", root / "delayed", options, delay=(library, 2000), fsync=fsync + 2)
        elif not options.no_delay:
            print("2 ms of sync delay: NOT RUN: no C compiler\n")
        if options.only in "bulk write":
            print(bulk_writes.table(root / "bulk", rounds=options.rounds), flush=True)
        if options.only in "schemas":
            print(schemas.table(root / "schemas", rounds=options.rounds), flush=True)
        if options.only in "files":
            print(files.table(root / "files", rounds=options.rounds, seconds=options.seconds))
        if not options.no_sdk:
            print(sdk.table(root / "sdk", seconds=options.seconds), flush=True)


def measure_projects(folder: Path, options: argparse.Namespace) -> str:
    size = projects.Size(options.projects, options.active)
    if options.engine == "sqlite":
        return projects.measure(folder / "projects", size).table("SQLite")
    mongod = ReplicaSet(folder / "mongod").start()
    try:
        engine = ("--engine", "mongodb", "--mongodb-uri", mongod.uri, "--mongodb-database")
        flags, empty = (*engine, "bench_projects"), (*engine, "bench_empty")
        return projects.measure(folder / "projects", size, flags=flags, empty=empty).table(
            "MongoDB"
        )
    finally:
        mongod.stop()


def loads_for(options: argparse.Namespace, *, only_durable: bool) -> list[Load]:
    seconds, documents = options.seconds, options.documents
    table = [
        Load(
            "create, rules on, 64 connections",
            True,
            lambda target: loads.create(target, connections=64, seconds=seconds),
        ),
        Load(
            "create, rules on, 1 connection",
            True,
            lambda target: loads.create(target, connections=1, seconds=seconds),
        ),
        Load(
            "get, rules on, 64 connections",
            False,
            lambda target: loads.get(target, connections=64, seconds=seconds, documents=documents),
        ),
        Load(
            "get, the rule reads the document, 64 connections",
            False,
            lambda target: loads.get(
                target, connections=64, seconds=seconds, documents=documents, collection="checked"
            ),
        ),
        Load(
            "list 20 by name, rules on, 64 connections",
            False,
            lambda target: loads.fixed(
                target, target.list_request, connections=64, seconds=seconds
            ),
        ),
        Load(
            "query: range, order, limit 20, 64 connections",
            False,
            lambda target: loads.fixed(
                target, target.query_request, connections=64, seconds=seconds
            ),
        ),
    ]
    return [
        load for load in table if options.only in load.name and (load.durable or not only_durable)
    ]


def compare(
    server: str,
    folder: Path,
    options: argparse.Namespace,
    *,
    delay: tuple[Path | None, int],
    fsync: float,
) -> None:
    """Floor and product, both up, measured in turn; a table of ratios."""
    folder.mkdir()
    print_heading(f"{server}, 2 ms added to each sync" if delay[1] else server, fsync)
    with (
        floor(server, folder, documents=options.documents, delay=delay) as bare,
        product(server, folder, documents=options.documents, delay=delay) as whole,
    ):
        if not delay[1] and options.only in "fan-out":
            # First: afterwards, memory that other loads gave back would serve the sockets.
            fan_out_rows(bare, whole, options)
        measure(loads_for(options, only_durable=delay[1] > 0), bare, whole, options)


def compare_on_mongodb(folder: Path, options: argparse.Namespace, fsync: float) -> None:
    """The bare driver behind the same HTTP server, and the product, on one mongod."""
    mongod = ReplicaSet(folder / "mongod").start()
    try:
        engine = ("--engine", "mongodb", "--mongodb-uri", mongod.uri)
        for server in options.servers.split(","):
            (folder / server).mkdir()
            print_heading(f"{server}, MongoDB; the floor is the bare driver", fsync)
            flags = (*engine, "--mongodb-database", f"bench_{server}")
            with (
                mongodb_floor(server, mongod.uri, documents=options.documents) as bare,
                product(
                    server,
                    folder / server,
                    documents=options.documents,
                    delay=(None, 0),
                    flags=flags,
                ) as whole,
            ):
                measure(loads_for(options, only_durable=False), bare, whole, options)
    finally:
        mongod.stop()


def print_heading(title: str, fsync: float) -> None:
    print(
        f"## {title} (fdatasync {fsync:.2f} ms)\n\n| load | floor/s | baas/s | **ratio** "
        "| CPU us floor / baas: ratio "
        "| floor p50 / p99 ms | baas p50 / p99 ms | failed |\n|---|---|---|---|---|---|---|---|",
        flush=True,
    )


def measure(chosen: list[Load], bare: Target, whole: Target, options: argparse.Namespace) -> None:
    for load in chosen:
        # Warms caches, and indexes until they answer; not counted.
        for _ in range(WARM_RUNS_MAX):
            if load.run(whole).rate > 0:
                break
        load.run(whole)
        rounds = [(load.run(bare), load.run(whole)) for _ in range(options.rounds)]
        print(row(load.name, rounds), flush=True)
    print(
        f"\nserver memory after the loads: floor {bare.memory_mib():.0f} MiB, "
        f"baas {whole.memory_mib():.0f} MiB\n",
        flush=True,
    )


def row(name: str, rounds: list[tuple[Figure, Figure]]) -> str:
    ratio = statistics.median(whole.rate / bare.rate for bare, whole in rounds)
    bare, whole = rounds[len(rounds) // 2]
    rates = [statistics.median(pair[side].rate for pair in rounds) for side in (0, 1)]
    cpu = [statistics.median(pair[side].cpu_us for pair in rounds) for side in (0, 1)]
    failed = sum(pair[0].failed + pair[1].failed for pair in rounds)
    return (
        f"| {name} | {rates[0]:,.0f} | {rates[1]:,.0f} | **{ratio:.2f}** "
        f"| {cpu[0]:.0f} / {cpu[1]:.0f}: {cpu[0] / cpu[1]:.2f} "
        f"| {bare.p50_ms:.1f} / {bare.p99_ms:.1f} | {whole.p50_ms:.1f} / {whole.p99_ms:.1f} "
        f"| {failed} |"
    )


def fan_out_rows(bare: Target, whole: Target, options: argparse.Namespace) -> None:
    results = [
        asyncio.run(
            loads.fan_out(
                target, sockets=options.sockets, seconds=options.seconds, writes_per_second=30
            )
        )
        for target in (bare, whole)
    ]
    (floor_figure, floor_kib), (figure, kib) = results
    print(
        row(
            f"fan-out, {options.sockets} sockets, 30 writes/s: deliveries", [(floor_figure, figure)]
        ),
        flush=True,
    )
    print(
        f"| memory per open WebSocket with one listener | {floor_kib:.0f} KiB | {kib:.0f} KiB "
        f"| | | | | |",
        flush=True,
    )


if __name__ == "__main__":
    main()
