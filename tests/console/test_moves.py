"""A project's move to the other engine, in the console."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.console.conftest import NewPage
from tests.processes import ServerProcess, checked

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def bare_server(
    build: Path, mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    name = f"console_{secrets.token_hex(6)}"
    flags = ("--mongodb-uri", mongodb_uri, "--mongodb-database", name)
    server = ServerProcess(tmp_path_factory.mktemp("console") / "data", *flags).start()
    yield server
    server.stop()


def test_a_project_moves_and_tells_how_long_writes_waited(
    open_console: NewPage, server: ServerProcess, operator: httpx.Client
) -> None:
    server.create_project("shop")
    page = open_console("#/projects/shop/settings")
    section = page.get_by_role("region", name="Where it lives")
    expect(section.get_by_text("SQLite", exact=True)).to_be_visible()
    section.get_by_role("button", name="Move to MongoDB…").click()
    dialog = page.get_by_role("dialog", name="Move to MongoDB?")
    dialog.get_by_role("button", name="Move project").click()
    expect(page.get_by_text("is on its way to MongoDB")).to_be_visible()
    last = section.get_by_role("group", name="Move to MongoDB")
    expect(last.get_by_text("done", exact=True)).to_be_visible()
    expect(last.get_by_role("status")).to_contain_text(re.compile(r"writes waited [\d.]+ ms"))
    expect(section.get_by_role("button", name="Move to SQLite…")).to_be_visible()
    assert checked(operator.get("/admin/projects/shop"))["engine"] == "mongodb"


def test_a_refusal_is_told_in_the_dialog(
    open_console: NewPage, server: ServerProcess, operator: httpx.Client
) -> None:
    server.create_project("again")
    page = open_console("#/projects/again/settings")
    section = page.get_by_role("region", name="Where it lives")
    section.get_by_role("button", name="Move to MongoDB…").click()
    # Somebody else was faster.
    checked(operator.post("/admin/projects/again:move", json={"to": "mongodb"}))
    dialog = page.get_by_role("dialog", name="Move to MongoDB?")
    dialog.get_by_role("button", name="Move project").click()
    expect(dialog.get_by_role("alert")).to_contain_text(
        re.compile("is not over; wait|is at the engine `mongodb` already|being moved")
    )
