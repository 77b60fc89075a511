"""What each page says while it waits, when the server fails, and how it goes on."""

from __future__ import annotations

import json
import time

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.console.conftest import WAIT_SECONDS, NewPage
from tests.processes import ServerProcess

pytestmark = pytest.mark.browser

# A page, and what it shows once it is there. (Documents come by another way, the listen stream.)
PAGES = {
    "data": "Collections",
    "query?q={%22query%22:{%22collection%22:%22people%22}}": "No document matches",
    "indexes": "No indexes yet",
    "schemas": "No schemas",
    "expiry": "Nothing expires",
    "jobs": "No jobs",
    "files": "No buckets yet",
    "rules": "service cloud.firestore",
    "rules/history": "Nothing was deployed yet",
    "rules/denials": "No denials",
    "users": "No users yet",
    "backups": "No backups yet",
    "settings": "API keys",
    "history/people/ada": "No versions are kept",
}
BROKEN = {"error": {"code": "INTERNAL", "reason": "Internal", "message": "broken", "details": None}}


@pytest.fixture(scope="module")
def bare(server: ServerProcess) -> str:
    server.create_project("bare")
    return "bare"


def fail(route: Route) -> None:
    route.fulfill(status=500, content_type="application/json", body=json.dumps(BROKEN))


def hold(_: Route) -> None:
    """Nothing answers."""


def goto(page: Page, address: str) -> None:
    page.evaluate("hash => { location.hash = hash; }", f"#/projects/bare/{address}")


def test_every_page_tells_that_it_could_not_be_loaded_and_tries_again(
    open_console: NewPage, bare: str
) -> None:
    page = open_console("#/", restarts=True)
    main = page.get_by_role("main")
    problems = []
    for address, shown in PAGES.items():
        page.route("**/api/v1/**", fail)
        goto(page, address)
        again = main.get_by_role("button", name="Try again")
        if not is_seen(main.get_by_role("alert")) or again.count() == 0:
            problems.append(f"{address} does not tell: {main.inner_text()[:200]!r}")
        page.unroute("**/api/v1/**")
        if not goes_on(again, main.get_by_text(shown)):
            problems.append(f"{address} does not go on: {main.inner_text()[:200]!r}")
    assert problems == [], "\n".join(problems)


def is_seen(found: Locator) -> bool:
    try:
        expect(found.filter(visible=True).first).to_be_visible()
    except AssertionError:
        return False
    return True


def goes_on(again: Locator, shown: Locator) -> bool:
    """Presses all that try again, also those of what has failed a moment later, until it is
    there."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        again.evaluate_all("buttons => buttons.forEach(button => button.click())")
        try:
            expect(shown.filter(visible=True).first).to_be_visible(timeout=1_000)
        except AssertionError:
            continue
        return True
    return False


def test_a_page_that_waits_says_so(open_console: NewPage, bare: str) -> None:
    page = open_console("#/")
    for address in ("users", "indexes", "backups", "settings", "rules/history"):
        page.route("**/api/v1/admin/projects/bare/**", hold)
        page.route("**/api/v1/admin/backups**", hold)
        page.route("**/api/v1/admin/projects/bare", hold)
        goto(page, address)
        expect(page.locator(".state[role=status]").first).to_be_visible()
        page.unroute_all(behavior="ignoreErrors")
