"""A project moves there and back while the SDK's clients use it, on a real server and MongoDB."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest

from tests.acceptance.move_load import RULES, Load, fill, move, wait_moved
from tests.processes import ServerProcess

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    name = f"move_{secrets.token_hex(6)}"
    flags = ("--mongodb-uri", mongodb_uri, "--mongodb-database", name)
    running = ServerProcess(tmp_path_factory.mktemp("move") / "data", *flags).start()
    try:
        yield running
    finally:
        assert running.stop() == 0


def test_clients_lose_nothing_and_count_nothing_twice(
    server: ServerProcess, record_property: Callable[[str, object], None]
) -> None:
    load = Load(server, "shop", server.create_project("shop", RULES, allow_open=True))
    fill(load)
    with load.running():
        for engine in ("mongodb", "sqlite"):
            before = list(load.counts)
            found = wait_moved(server, move(server, "shop", engine))
            assert (found["state"], found["error"]) == ("done", None)
            record_property(f"pause to {engine}, ms", found["pause_milliseconds"])
            assert all(now > then for now, then in zip(load.counts, before, strict=True))
