"""Set-up, signing in and out, and a session that ends while somebody is editing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.console.conftest import (
    EMAIL,
    PASSWORD,
    WAIT_SECONDS,
    NewPage,
    setup_link,
    setup_token,
    sign_in,
)
from tests.processes import ServerProcess

pytestmark = pytest.mark.browser


@pytest.fixture
def new_server(build: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    """One that had no administrator before."""
    with ServerProcess(tmp_path / "data") as started:
        yield started


def test_the_setup_link_makes_the_first_administrator_once(
    new_server: ServerProcess, watched_page: NewPage
) -> None:
    link = setup_link(new_server)
    page = watched_page()
    page.goto(link)
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password", exact=True).fill("short")
    page.get_by_role("button", name="Create administrator").click()
    expect(page.get_by_role("alert")).to_contain_text("8 characters")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Projects", exact=True)).to_be_visible()
    assert "token" not in page.url

    again = watched_page()
    again.goto(link)
    again.get_by_label("E-mail").fill("eve@example.com")
    again.get_by_label("Password", exact=True).fill(PASSWORD)
    again.keyboard.press("Enter")
    expect(again.get_by_role("alert")).not_to_be_empty()
    assert setup_token(new_server)


def test_an_incomplete_setup_link_says_so(
    bare_server: ServerProcess, watched_page: NewPage
) -> None:
    page = watched_page()
    page.goto(f"{bare_server.url}/console/#/setup")
    expect(page.get_by_role("heading")).to_have_text("This link is not complete")


def test_signing_in_and_out(server: ServerProcess, watched_page: NewPage) -> None:
    page = watched_page()
    page.goto(f"{server.url}/console/#/projects")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password", exact=True).fill("wrong password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("E-mail or password is wrong.")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Projects", exact=True)).to_be_visible()
    token = page.evaluate("JSON.parse(sessionStorage['baas-admin-session']).token")
    assert page.evaluate("Object.keys(localStorage).join()").find("session") < 0
    assert page.evaluate("document.cookie") == ""

    page.get_by_role("button", name=f"Account {EMAIL}").click()
    page.get_by_role("menuitem", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()
    assert page.evaluate("sessionStorage['baas-admin-session']") is None
    headers = {"Authorization": f"Bearer {token}"}
    me = httpx.get(f"{server.url}/api/v1/admin/me", headers=headers, timeout=WAIT_SECONDS)
    assert me.status_code == 401


def test_a_session_that_ends_keeps_the_page_and_its_edits(
    server: ServerProcess, watched_page: NewPage
) -> None:
    server.create_project("kept-edits")
    session = sign_in(server)
    page = watched_page(session=session)
    page.goto(f"{server.url}/console/#/projects/kept-edits/settings")
    page.get_by_label("Name", exact=True).fill("Edited name")
    ended = httpx.post(
        f"{server.url}/api/v1/admin/sign-out",
        headers={"Authorization": f"Bearer {session['token']}"},
        timeout=WAIT_SECONDS,
    )
    assert ended.is_success
    page.get_by_role("button", name="Save").click()
    dialog = page.get_by_role("dialog", name="Your session has ended")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Password", exact=True).fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(page.get_by_label("Name", exact=True)).to_have_value("Edited name")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Settings are saved")).to_be_visible()


def test_the_console_is_served_isolated(server: ServerProcess) -> None:
    answer = httpx.get(f"{server.url}/console/", timeout=WAIT_SECONDS)
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "'unsafe-eval'" not in policy
    script = next(part for part in policy.split(";") if part.strip().startswith("script-src"))
    assert "'unsafe-inline'" not in script
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert "<script>" not in answer.text
    assert "http://" not in answer.text.replace("http://www.w3.org", "")
    assert "https://" not in answer.text
