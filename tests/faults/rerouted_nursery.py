"""Forks servers whose connections to MongoDB go through other ports: those of wires that a test can
cut. The members of a replica set tell clients their addresses, so this is done where they connect.
Which wires are a server's own is said by its environment: BAAS_TEST_WIRES='{"27017": 40001, …}'.

python -m tests.faults.rerouted_nursery SOCKET
"""

from __future__ import annotations

import json
import os
from typing import Any

from pymongo import pool_shared

from tests.nursery import main

_NAME = "_getaddrinfo"
_resolve = getattr(pool_shared, _NAME)


async def _resolve_rerouted(host: Any, port: Any, **options: Any) -> Any:
    wires: dict[str, int] = json.loads(os.environ["BAAS_TEST_WIRES"])
    return await _resolve(host, wires.get(str(port), port), **options)


def reroute() -> None:
    setattr(pool_shared, _NAME, _resolve_rerouted)


if __name__ == "__main__":
    reroute()
    main()
