"""`make cluster`: docker-compose.yml as plain processes, with the demo and a load on it.

Members that die are started again, as docker would; so kill any one of them, and look. With
--check each is killed in turn, and the exit status tells whether anything acknowledged was lost,
doubled or missed.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from cluster.balancer import Balancer
from cluster.check import check
from cluster.compose import ComposeError
from cluster.load import KINDS, Load, LoadFailed
from cluster.processes import Cluster, ClusterFailed, end_of_logs
from demo.__main__ import EMAIL, PASSWORD, DemoFailed, fill

TOLD_EVERY_SECONDS = 10.0
LOOK_SECONDS = 0.5
CITIES = 15_000  # the least population: the smallest of the demo's sizes


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m cluster",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument(
        "--data", type=Path, default=Path("data/cluster"), help="where its data stays"
    )
    parser.add_argument("--check", action="store_true", help="kill each member in turn, then end")
    parser.add_argument("--rounds", type=int, default=1, help="of --check (default 1)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--no-demo", action="store_true", help="leave out the demo's cities")
    options = parser.parse_args()
    try:
        return asyncio.run(_check(options) if options.check else _serve(options))
    except (ComposeError, ClusterFailed, DemoFailed, LoadFailed) as failure:
        print(f"cluster: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


async def _check(options: argparse.Namespace) -> int:
    """On data of its own, which stays if something is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="baas-cluster-"))
    cluster = Cluster(folder / "cluster")
    print(f"cluster: seed {options.seed}; starting in {folder}", flush=True)
    try:
        await asyncio.to_thread(cluster.start)
        await _fill(cluster, options)
        violations = await check(cluster, options.rounds, seed=options.seed)
    finally:
        cluster.kill_all()
    if violations:
        print(f"cluster: FAILED, the logs are in {folder}:", *violations[:50], sep="\n  ")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    print("cluster: nothing acknowledged was lost or doubled, listeners missed nothing")
    return 0


async def _serve(options: argparse.Namespace) -> int:
    """Until Ctrl-C or SIGTERM."""
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    cluster = Cluster(options.data, published=True)
    print(f"cluster: starting in {options.data}", flush=True)
    load: Load | None = None
    balancer = await Balancer([cluster.address(name) for name in cluster.nodes]).open()
    try:
        await asyncio.to_thread(cluster.start)
        await _fill(cluster, options)
        load = Load(balancer.url, f"load-{options.seed:x}", options.seed)
        first = cluster.nodes[0]
        await load.start(cluster.url(first), cluster.operator_token(first))
        _greet(cluster, balancer, load)
        mending = asyncio.create_task(_mend(cluster))
        telling = asyncio.create_task(_tell(load))
        await ended.wait()
        print("cluster: ending; mongods take a quarter of a minute for it", flush=True)
        mending.cancel()
        telling.cancel()
        await asyncio.gather(mending, telling, return_exceptions=True)
        violations = await load.finish()
        print(f"cluster: {load.totals}")
        print(*(violations or ["cluster: nothing acknowledged was lost or doubled"]), sep="\n")
        return 1 if violations else 0
    except ClusterFailed:
        print(end_of_logs(list(cluster.members.values())), file=sys.stderr)
        raise
    finally:
        if load is not None:
            await load.close()
        await balancer.close()
        await asyncio.to_thread(cluster.stop)


async def _fill(cluster: Cluster, options: argparse.Namespace) -> None:
    if not options.no_demo:
        first = cluster.nodes[0]
        await fill(cluster.url(first), cluster.operator_token(first), CITIES)


def _greet(cluster: Cluster, balancer: Balancer, load: Load) -> None:
    print("\ncluster: running; kill any one member, it is started again after a moment")
    for name, member in cluster.members.items():
        if member.process is not None:
            host, port = cluster.address(name)
            print(f"  {name:8} {host}:{port:<6} kill -9 {member.process.pid:<8} {member.log}")
    for name in cluster.nodes:
        print(f"  {name:8} {cluster.url(name)}/console/")
    log = cluster.members[cluster.nodes[0]].output()
    links = [line.strip() for line in log.splitlines() if "/#/setup?token=" in line]
    if links:
        print(f"  {links[-1]}  (once, for the first administrator)")
    print(f"  both     {balancer.url}  (one address for all nodes, while this runs)")
    print(f"  the demo's user is {EMAIL} with the password `{PASSWORD}`")
    print(f"  the load is in the project `{load.project}`\n", flush=True)


async def _mend(cluster: Cluster) -> None:
    """Starts what has died, as `restart: unless-stopped` does."""
    while True:
        for name, member in cluster.members.items():
            if member.process is not None and not member.is_running:
                print(f"cluster: {name} has ended with {member.process.returncode}", flush=True)
                await asyncio.sleep(1)
                await asyncio.to_thread(cluster.kill, name)  # its watch
                await asyncio.to_thread(cluster.restart, name)
                assert member.process is not None
                print(f"cluster: {name} is back, now {member.process.pid}", flush=True)
        await asyncio.sleep(LOOK_SECONDS)


async def _tell(load: Load) -> None:
    while True:
        before, began = dict(load.tally.done), time.monotonic()
        await asyncio.sleep(TOLD_EVERY_SECONDS)
        seconds = time.monotonic() - began
        pauses = load.tally.take_longest()
        told = [
            f"{kind} {(load.tally.done[kind] - before.get(kind, 0)) / seconds:.0f}/s"
            f" (longest pause {pauses[kind]:.1f} s)"
            for kind in KINDS
        ]
        print(f"cluster: {', '.join(told)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
