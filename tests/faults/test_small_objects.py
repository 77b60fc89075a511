"""The disk of small objects fails, or its power goes, again and again on what is left: what was
acknowledged is there, and all is well again once the disk is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from baas.buckets import small_blobs
from baas.buckets.small_blobs import SmallBlobs
from baas.errors import BaasError, Unavailable
from tests.faults.disk import Disk
from tests.faults.seeds import new_seed, rounds

CUTS = rounds(30, 600)
FAILURES = rounds(20, 400)
OPERATIONS_MAX = 200  # between two cuts
CLIENTS = 4
KINDS = {"write": 30, "sync": 10, "truncate": 2}  # how late they may fail

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("eager_checkpoints"),
    # What fails where SQLite cannot be told of it is told to Python, and is of no interest.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def eager_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """The WAL is moved into the file many times a second."""
    pragmas = (*small_blobs._PRAGMAS, "wal_autocheckpoint = 10")
    monkeypatch.setattr(small_blobs, "_PRAGMAS", pragmas)


@pytest.mark.parametrize("fault", ["", "sync", "write"])
@pytest.mark.timeout(60 + CUTS)
async def test_a_power_cut_takes_nothing_that_was_acknowledged(
    tmp_path: Path, fault: str, record_property: Callable[[str, object], None]
) -> None:
    seed = new_seed()
    acknowledged, lost = await cut_again_and_again(tmp_path, seed, CUTS, fault=fault)
    assert acknowledged
    assert not lost
    with_fault = f" and a failing {fault} before" if fault else ""
    record_property(
        "summary",
        f"power cuts{with_fault}, small objects: {CUTS}, {acknowledged} acknowledged, none lost "
        f"(seed {seed})",
    )


async def test_without_syncs_the_same_cuts_lose_blobs(tmp_path: Path) -> None:
    """Each cut does or does not, as the clients happen to be served: some cut will."""
    _, lost = await cut_again_and_again(tmp_path, 1, 500, synced=False)
    assert lost


async def cut_again_and_again(
    tmp_path: Path, seed: int, cuts: int, *, fault: str = "", synced: bool = True
) -> tuple[int, set[str]]:
    """How many were acknowledged, and which of them are not there, or other ones, at the first cut
    that lost any. `fault`: a kind of operation of which some fail before each cut."""
    chance = random.Random(seed)
    acknowledged: dict[str, bytes] = {}
    lost: set[str] = set()
    root = tmp_path / "disk"
    root.mkdir()
    for cut in range(cuts):
        disk = Disk(root, seed + cut)
        disk.cut_at(chance.randrange(1, OPERATIONS_MAX))
        if fault:
            disk.fail(fault, chance.randrange(1, 40), times=chance.randrange(1, 4))
        await add_until_cut(disk, root, cut, acknowledged, synced=synced)
        root = tmp_path / f"disk{cut}"
        root.mkdir()
        disk.write_survivors(root)
        lost |= await find_lost(root, acknowledged)
        if lost:
            break
    return len(acknowledged), lost


async def find_lost(root: Path, acknowledged: dict[str, bytes]) -> set[str]:
    left = SmallBlobs(root / "small", lambda: None, synced=True)
    lost = {key for key, data in acknowledged.items() if left.get(key) != data}
    await left.close()
    return lost


def open_on(disk: Disk, *, synced: bool = True) -> SmallBlobs:
    root = disk.root
    return SmallBlobs(
        root / "small", lambda: disk.sync_folder(str(root)), synced=synced, vfs=disk.name
    )


async def add_until_cut(
    disk: Disk, root: Path, cut: int, acknowledged: dict[str, bytes], *, synced: bool
) -> None:
    blobs = open_on(disk, synced=synced)

    async def add(client: int) -> None:
        number = 0
        while not disk.is_off:
            number += 1
            key, data = f"demo/{cut}-{client}-{number}/1", b"%d-%d" % (client, number) * 500
            with suppress(BaasError):
                await blobs.add(key, data)
                acknowledged[key] = data

    await asyncio.gather(*(add(client) for client in range(CLIENTS)))
    with suppress(apsw.Error):
        await blobs.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.timeout(60 + FAILURES)
async def test_one_failure_refuses_what_it_hits_and_nothing_later(
    tmp_path: Path, kind: str
) -> None:
    """Whether the disk is full or broken, for deletions as for what is added."""
    chance = random.Random(new_seed())
    hit = 0
    for number in range(FAILURES):
        root = tmp_path / str(number)
        root.mkdir()
        disk = Disk(root, chance.randrange(1 << 32))
        blobs = open_on(disk)
        kept: dict[str, bytes] = {}
        error = chance.choice((apsw.FullError, apsw.IOError))
        disk.fail(kind, chance.randint(1, KINDS[kind]), times=chance.randint(1, 3), error=error)
        for step in range(20):
            key, data = f"demo/{step}/1", chance.randbytes(9_000)
            try:
                await blobs.add(key, data)
                kept[key] = data
                if step % 3 == 2:
                    doomed = chance.choice(sorted(kept))
                    await blobs.delete([doomed])
                    del kept[doomed]
            except Unavailable:
                hit += 1
        disk.heal()
        await blobs.add("demo/last/1", b"x")
        await blobs.delete(["demo/0/1"])
        kept.pop("demo/0/1", None)
        assert {key: blobs.get(key) for key in kept} == kept
        await blobs.close()
        assert await find_lost(root, {**kept, "demo/last/1": b"x"}) == set()
    if kind != "truncate":
        assert hit
