"""Two server nodes on three mongods, and a network between them: all of it can be hurt."""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx

from scripts.free_ports import free_port
from tests.faults.network import Wire
from tests.mongo import ReplicaSet
from tests.processes import Nursery, ServerProcess

NODES = 2
MEMBERS = 3
_READY_SECONDS = 1.5  # for an answer, as health checks of proxies have it
_LOOK_SECONDS = 0.5


class MongoNodes:
    """The nodes' way to each mongod is a wire of their own. Lives on one event loop."""

    def __init__(
        self, folder: Path, *flags: str, module: str = "tests.faults.rerouted_nursery"
    ) -> None:
        self._flags = flags
        self._nursery = Nursery(module)
        self.mongods = ReplicaSet(folder / "set", MEMBERS)
        self.nodes: list[ServerProcess] = []
        self.wires: list[list[Wire]] = []
        self._ready: set[int] = set()
        self._watching: list[asyncio.Task[None]] = []
        self._folder = folder
        self._secret = b64encode(secrets.token_bytes(32)).decode()

    async def start(self) -> MongoNodes:
        await asyncio.to_thread(self.mongods.start)
        ports = [int(part.rpartition(":")[2]) for part in self._addresses()]
        for number in range(NODES):
            self.wires.append([await Wire(port).open() for port in ports])
            self.nodes.append(
                ServerProcess(
                    self._folder / f"node{number}",
                    "--engine",
                    "mongodb",
                    "--mongodb-uri",
                    self.mongods.uri,
                    "--no-access-log",
                    *self._flags,
                    port=free_port(),
                    nursery=self._nursery,
                )
            )
            await self.start_node(number)
            self._watching.append(asyncio.create_task(self._watch(number)))
        return self

    async def stop(self) -> None:
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        async with AsyncExitStack() as stack:  # the last one first, and all of them
            stack.push_async_callback(asyncio.to_thread, self.mongods.stop)
            for wires in self.wires:
                for wire in wires:
                    stack.push_async_callback(wire.close)
            stack.push_async_callback(asyncio.to_thread, self._nursery.stop)
            for node in self.nodes:
                stack.push_async_callback(asyncio.to_thread, node.stop)

    async def start_node(self, number: int) -> None:
        ports = [part.rpartition(":")[2] for part in self._addresses()]
        wires = [wire.port for wire in self.wires[number]]
        # A process takes these over as it is started; this test starts them one by one.
        os.environ["BAAS_TEST_WIRES"] = json.dumps(dict(zip(ports, wires, strict=True)))
        os.environ["BAAS_SECRET_KEY"] = self._secret
        try:
            await asyncio.to_thread(self.nodes[number].start)
        finally:
            del os.environ["BAAS_TEST_WIRES"], os.environ["BAAS_SECRET_KEY"]

    def url(self, chance: random.Random) -> str:
        """Any node's that says it is ready, as a proxy before the nodes would choose it."""
        return self.nodes[chance.choice(sorted(self._ready) or range(NODES))].url

    async def _watch(self, number: int) -> None:
        async with httpx.AsyncClient(timeout=_READY_SECONDS) as client:
            while True:
                try:
                    answer = await client.get(self.nodes[number].url + "/readyz")
                    is_ready = answer.is_success
                except httpx.HTTPError:
                    is_ready = False
                (self._ready.add if is_ready else self._ready.discard)(number)
                await asyncio.sleep(_LOOK_SECONDS)

    def _addresses(self) -> list[str]:
        return self.mongods.uri.removeprefix("mongodb://").partition("/")[0].split(",")

    # Faults: each gives back what heals it -----------------------------------------------------

    async def kill_primary(self) -> Callable[[], object]:
        number = await asyncio.to_thread(self.mongods.wait_primary)
        await asyncio.to_thread(self.mongods.kill, number)
        return lambda: self.mongods.restart(number)

    async def pause_primary(self) -> Callable[[], object]:
        number = await asyncio.to_thread(self.mongods.wait_primary)
        self.mongods.pause(number)
        return lambda: self.mongods.resume(number)

    async def kill_node(self, number: int) -> None:
        await asyncio.to_thread(self.nodes[number].kill)

    def cut_node(self, number: int) -> Callable[[], Awaitable[None]]:
        for wire in self.wires[number]:
            wire.cut()
        return lambda: self._heal(number)

    def silence_node(self, number: int) -> Callable[[], Awaitable[None]]:
        for wire in self.wires[number]:
            wire.silence()
        return lambda: self._heal(number)

    async def _heal(self, number: int) -> None:
        for wire in self.wires[number]:
            wire.heal()
