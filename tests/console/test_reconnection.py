"""A console that stays open while its server goes away and comes back."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import expect

from tests.console.conftest import WAIT_SECONDS, NewPage, sign_in
from tests.processes import ServerProcess, checked

pytestmark = pytest.mark.browser


def put(server: ServerProcess, path: str) -> None:
    headers = {"Authorization": f"Bearer {server.operator_token}"}
    address = f"{server.url}/api/v1/projects/steady/documents/{path}"
    body = {"fields": {"a": 1}}
    checked(httpx.put(address, json=body, headers=headers, timeout=WAIT_SECONDS))


def test_a_console_outlives_its_server(server: ServerProcess, watched_page: NewPage) -> None:
    server.create_project("steady")
    put(server, "things/before")
    page = watched_page(session=sign_in(server), restarts=True)
    page.goto(f"{server.url}/console/#/projects/steady/data/things")
    expect(page.get_by_role("link", name="before")).to_be_visible()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    server.kill()
    expect(page.get_by_text("Reconnecting", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="before")).to_be_visible()
    server.start()
    put(server, "things/after")
    expect(page.get_by_role("link", name="after")).to_be_visible()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    assert page.locator("table.documents-grid tbody a").all_inner_texts() == ["after", "before"]
