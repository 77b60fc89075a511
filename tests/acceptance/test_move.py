"""A project moves there and back while the SDK's clients use it, on a real server and MongoDB."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.move_load import RULES, Load, fill, move, wait_moved
from tests.acceptance.test_docs import BLOCK, run_commands
from tests.processes import ROOT, ServerProcess
from tests.waiting import wait_until

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
    with load.client() as ada, load.running():
        ada.auth.sign_up("ada@example.com", "correct horse battery")
        for engine in ("mongodb", "sqlite"):
            before = list(load.counts)
            found = wait_moved(server, move(server, "shop", engine))
            assert (found["state"], found["error"]) == ("done", None)
            record_property(f"pause to {engine}, ms", found["pause_milliseconds"])
            wait_until(
                lambda: all(now > then for now, then in zip(load.counts, before, strict=True))  # noqa: B023
            )
            assert ada.auth.reload().email == "ada@example.com"  # by the session of before


def test_examples_of_the_page_run(server: ServerProcess, tmp_path: Path) -> None:
    server.create_project("demo", RULES, allow_open=True)
    found = BLOCK.findall((ROOT / "docs" / "moving.md").read_text(encoding="utf-8"))
    assert {language for language, _ in found} == {"sh"}
    for _, block in found:
        run_commands(server, block, tmp_path)
    with server.admin() as admin:
        moves = admin.get("/moves").json()["moves"]
    told = [(one["project"], one["to"], one["state"]) for one in moves if one["project"] == "demo"]
    assert told == [("demo", "sqlite", "done"), ("demo", "mongodb", "done")]
