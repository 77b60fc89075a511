"""Kills every member in turn under a load, and holds the load to its account."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from cluster.balancer import Balancer
from cluster.load import KINDS, Load, LoadFailed
from cluster.processes import Cluster

PRIMARY = "primary"
WITHOUT_STORE = ("writes", "reads", "changes")
DEAD_SECONDS = 1.5  # at least
GOES_ON_SECONDS = 180.0  # far above what is wanted: it tells a pause from a standstill
_COLUMNS = (
    ("round", 5), ("killed", 18), ("writes", 8), ("reads", 8), ("changes", 8), ("objects", 8),
    ("longest pause: writes", 21), ("reads", 7), ("changes", 8), ("objects", 8), ("seconds", 8),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """A member that dies, and the kinds of work that have to go on before it is back."""

    name: str
    goes_on: tuple[str, ...] = KINDS


def faults_of(cluster: Cluster) -> list[Fault]:
    """Every member once, and once more the mongod that is the primary then. The one store has no
    second: without it there are no objects, and the rest goes on."""
    members = [*cluster.nodes, PRIMARY, *cluster.mongods]
    return [*map(Fault, members), *(Fault(name, WITHOUT_STORE) for name in cluster.stores)]


async def check(
    cluster: Cluster, rounds: int, *, seed: int, faults: list[Fault] | None = None
) -> list[str]:
    """What is wrong; nothing if all is well. The cluster runs, before and after."""
    balancer = await Balancer([cluster.address(name) for name in cluster.nodes]).open()
    load = Load(balancer.url, f"load-{seed:x}", seed)
    try:
        first = cluster.nodes[0]
        await load.start(cluster.url(first), cluster.operator_token(first))
        await load.wait_more(GOES_ON_SECONDS)
        _print_row([name for name, _ in _COLUMNS])
        for number in range(1, rounds + 1):
            for fault in faults or faults_of(cluster):
                await _run(cluster, load, number, fault)
        violations = await load.finish()
        print(f"cluster: {load.totals}", flush=True)
        return violations
    except BaseException as error:
        print(await asyncio.to_thread(cluster.look), flush=True)
        if isinstance(error, LoadFailed):
            return [*load.tally.violations, str(error)]
        raise
    finally:
        await load.close()
        await balancer.close()


async def _run(cluster: Cluster, load: Load, number: int, fault: Fault) -> None:
    """One death: the work goes on without the member, and with it when it is back."""
    began = time.monotonic()
    before = dict(load.tally.done)
    load.tally.take_longest()
    name = await _find(cluster, fault)
    await asyncio.to_thread(cluster.kill, name)
    await asyncio.sleep(DEAD_SECONDS)
    await load.wait_more(GOES_ON_SECONDS, fault.goes_on)
    await asyncio.to_thread(cluster.restart, name)
    await load.wait_more(GOES_ON_SECONDS)
    pauses = load.tally.take_longest()
    shown = name if fault.name == name else f"{name} ({fault.name})"
    _print_row(
        [
            str(number),
            shown,
            *(f"{load.tally.done[kind] - before.get(kind, 0):,}" for kind in KINDS),
            *(f"{pauses[kind]:.1f} s" for kind in KINDS),
            f"{time.monotonic() - began:.1f}",
        ]
    )


async def _find(cluster: Cluster, fault: Fault) -> str:
    deadline = time.monotonic() + GOES_ON_SECONDS
    while True:
        name = fault.name
        if name == PRIMARY:
            found = await asyncio.to_thread(cluster.primary)
            name = found or ""
        if name:
            return name
        if time.monotonic() > deadline:
            raise LoadFailed(f"there is no {fault.name}")
        await asyncio.sleep(0.1)


def _print_row(cells: list[str]) -> None:
    widths = [width for _, width in _COLUMNS]
    text = "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    print(text, flush=True)
