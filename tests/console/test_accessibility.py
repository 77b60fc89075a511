"""Each main page, light and dark, wide and narrow, is held to axe-core's rules."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.console.conftest import WAIT_SECONDS, NewPage, operator_of
from tests.processes import ROOT, ServerProcess, checked

pytestmark = pytest.mark.browser

AXE = ROOT / "console" / "node_modules" / "axe-core" / "axe.min.js"
RULES = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /people/{id} {
      allow get: if request.auth != null && resource.data.age > 18;
    }
  }
}
"""
# What a page shows once it is whole.
PAGES = {
    "#/": "Projects",
    "#/projects/axe/data/people/ada": "ada",
    "#/projects/axe/query?q={%22query%22:{%22collection%22:%22people%22}}": "Where",
    "#/projects/axe/indexes": "Indexes",
    "#/projects/axe/schemas": "Schemas",
    "#/projects/axe/expiry": "Erasures",
    "#/projects/axe/jobs": "Jobs",
    "#/projects/axe/files/default": "Files",
    "#/projects/axe/rules": "Rules",
    "#/projects/axe/rules/history": "Rules",
    "#/projects/axe/rules/denials": "Rules",
    "#/projects/axe/rules/audit": "Rules",
    "#/projects/axe/users": "Users",
    "#/projects/axe/backups": "Backups",
    "#/projects/axe/settings": "API keys",
    "#/projects/axe/history/people/ada": "History of people/ada",
}


@pytest.fixture(scope="module")
def axe() -> str:
    if not AXE.is_file():
        pytest.fail("NOT RUN: no axe-core; run `make console`", pytrace=False)
    return AXE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def filled(server: ServerProcess) -> ServerProcess:
    """A project with something on every page."""
    key = server.create_project("axe", RULES)
    with operator_of(server) as client:
        place, admin = "/projects/axe/documents/people", "/admin/projects/axe"
        ada: dict[str, Any] = {"name": "Ada", "age": 36, "on": True, "at": None, "list": [1, "a"]}
        checked(client.put(f"{place}/ada", json={"fields": ada}))
        checked(client.put(f"{place}/ada", json={"fields": {**ada, "age": 37}}))
        checked(client.put(f"{place}/bob", json={"fields": {"name": "Bob"}}))
        database = f"{admin}/databases/(default)"
        checked(client.put(f"{database}/ttl/people", json={"field": "expires"}))
        checked(client.post(f"{database}/documents:erase", json={"path": "people/bob"}))
        index = {"collection": "people", "scope": "collection", "fields": [{"field": "age"}]}
        checked(client.post(f"{database}/indexes", json=index))
        user = {"email": "zoe@example.com", "password": "correct horse battery"}
        checked(client.post(f"{admin}/users", json=user))
        checked(client.post(f"{admin}/buckets", json={"id": "default"}))
        job = {"path": "people/nobody"}
        checked(client.post(f"{database}/documents:delete-recursive", json=job))
    url, headers = f"{server.url}/api/v1{place}/ada", {"X-API-Key": key}
    denied = httpx.get(url, headers=headers, timeout=WAIT_SECONDS)
    assert denied.status_code == 403
    return server


ALL = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
COLOURS = ["color-contrast"]


def violations(page: Page, axe: str, only: list[str] = ALL) -> list[str]:
    """What axe-core has against the page, one line each."""
    page.evaluate(f"window.axe === undefined && (() => {{ {axe} }})()")
    options = {"runOnly": only, "resultTypes": ["violations"]}
    found = page.evaluate("options => axe.run(document, options)", options)
    assert found["passes"]
    return [
        f"{one['id']} ({one['impact']}): {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"][:4]
    ]


@pytest.mark.parametrize(("dark", "only"), [(False, ALL), (True, COLOURS)], ids=["light", "dark"])
def test_every_page_is_accessible(
    filled: ServerProcess, open_console: NewPage, axe: str, dark: bool, only: list[str]
) -> None:
    page = open_console("#/", dark=dark)
    problems: list[str] = []
    for address, shown in PAGES.items():
        page.goto(f"{filled.url}/console/{address}")
        expect(page.get_by_role("main").get_by_text(shown).first).to_be_visible()
        expect(page.locator(".state[role=status]")).to_have_count(0)
        problems += [f"{address}: {one}" for one in violations(page, axe, only)]
    assert problems == [], "\n".join(problems)


def test_dialogs_and_narrow_pages_are_accessible(
    filled: ServerProcess, open_console: NewPage, axe: str
) -> None:
    page = open_console("#/projects/axe/expiry")
    problems: list[str] = []
    for address, button in (
        ("expiry", "New policy"),
        ("users", "New user"),
        ("indexes", "Build an index"),
        ("history/people/ada", "Erase…"),
        ("backups", "Schedule…"),
    ):
        page.goto(f"{filled.url}/console/#/projects/axe/{address}")
        page.get_by_role("button", name=button, exact=True).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        problems += [f"dialog {button}: {one}" for one in violations(page, axe)]
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page.get_by_role("button", name=re.compile(button))).to_be_focused()
    page.set_viewport_size({"width": 390, "height": 844})
    for address in ("expiry", "users", "data/people", "query", "rules"):
        page.goto(f"{filled.url}/console/#/projects/axe/{address}")
        expect(page.locator(".state[role=status]")).to_have_count(0)
        problems += [f"narrow {address}: {one}" for one in violations(page, axe)]
    assert problems == [], "\n".join(problems)


def test_axe_finds_what_is_wrong(open_console: NewPage, axe: str) -> None:
    page = open_console("#/")
    expect(page.get_by_role("heading", name="Projects", exact=True)).to_be_visible()
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert any(one.startswith("button-name") for one in violations(page, axe))
