"""The real console, as built, on the real server, in a real Chromium."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from scripts.find_chromium import find_chromium
from tests.processes import ROOT, ServerProcess, checked

BUILD = ROOT / "baas" / "http" / "console"
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
EMAIL = "ada@example.com"
PASSWORD = "correct horse battery"
WIDE = (1360, 820)
# How long a page may take to show something: long enough for a machine that others use too.
WAIT_MS = 60_000
WAIT_SECONDS = 60
TEST_SECONDS = 400
expect.set_options(timeout=WAIT_MS)
# What a 401, 404, 409 or 412 leaves in the browser's log is no fault of the page.
_EXPECTED = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d")

_AWAY = re.compile(
    r"ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET|WebSocket|status of 5\d\d"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.fixture(scope="session")
def build() -> Path:
    """The folder of the console's build."""
    if not (BUILD / "index.html").is_file():
        pytest.fail("NOT RUN: the console is not built; run `make console`", pytrace=False)
    return BUILD


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium. Its absence fails, unless BAAS_EXCUSE says that it may be absent."""
    found = find_chromium()
    if found is not None:
        return found
    reason = "NOT RUN: no Chromium; set BAAS_CHROMIUM=/path/to/chromium"
    if "chromium" in os.environ.get("BAAS_EXCUSE", ""):
        pytest.skip(reason)
    pytest.fail(reason, pytrace=False)


# The browser is the module's and not the session's: while it is open its event loop counts as
# running, and tests of other packages in the same process could not start theirs.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def bare_server(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server without an administrator."""
    server = ServerProcess(tmp_path_factory.mktemp("console") / "data").start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def server(bare_server: ServerProcess) -> ServerProcess:
    """A server with one administrator."""
    body = {"token": setup_token(bare_server), "email": EMAIL, "password": PASSWORD}
    checked(httpx.post(f"{bare_server.url}/api/v1/admin/setup", json=body, timeout=WAIT_SECONDS))
    return bare_server


def setup_link(server: ServerProcess) -> str:
    """The one-time link that the server printed."""
    found = re.search(r"\S+/console/#/setup\?token=\S+", server.output())
    assert found is not None, server.output()
    return found.group()


def setup_token(server: ServerProcess) -> str:
    return setup_link(server).partition("token=")[2]


def sign_in(server: ServerProcess) -> dict[str, str]:
    """A new session of the administrator, as the console keeps it."""
    body = {"email": EMAIL, "password": PASSWORD}
    url = f"{server.url}/api/v1/admin/sign-in"
    answer = checked(httpx.post(url, json=body, timeout=WAIT_SECONDS))
    return {"token": str(answer["token"]), "email": EMAIL}


class Watched:
    """A browser context that is watched: no error, nothing refused, no secret in an address."""

    def __init__(self, context: BrowserContext, *, restarts: bool) -> None:
        self.context = context
        # A server that is away leaves refused connections in the log.
        self._expected = [_EXPECTED, _AWAY] if restarts else [_EXPECTED]
        self.problems: list[str] = []
        self.addresses: list[str] = []
        context.on("page", self._watch)

    def _watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("console", lambda message: self._log(message.type, message.text))
        page.on("request", lambda request: self.addresses.append(request.url))
        page.on("websocket", lambda socket: self.addresses.append(socket.url))

    def _log(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not any(
            pattern.search(text) for pattern in self._expected
        ):
            self.problems.append(f"{kind}: {text}")


NewPage = Callable[..., Page]


@pytest.fixture
def watched_page(browser: Browser) -> Iterator[NewPage]:
    """Makes pages without a session; at the end none may have seen a problem."""
    made: list[Watched] = []

    def new_page(
        *,
        session: dict[str, str] | None = None,
        size: tuple[int, int] = WIDE,
        dark: bool = False,
        restarts: bool = False,
    ) -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        context.set_default_timeout(WAIT_MS)
        watched = Watched(context, restarts=restarts)
        made.append(watched)
        if session is not None:
            entry = json.dumps(json.dumps(session))
            # Only where there is none: a session that the page ended stays ended.
            context.add_init_script(
                "if (location.protocol !== 'about:' && !sessionStorage.getItem('seeded')) {"
                " sessionStorage.setItem('seeded', '1');"
                f" sessionStorage.setItem('baas-admin-session', {entry}); }}"
            )
        return context.new_page()

    yield new_page
    for watched in made:
        secrets = [url for url in watched.addresses if "baas_as_" in url or "baas_setup_" in url]
        watched.context.close()
        assert not watched.problems, watched.problems
        assert not secrets, secrets


@pytest.fixture
def open_console(server: ServerProcess, watched_page: NewPage) -> NewPage:
    """Opens the console at a hash address, signed in."""

    def open_at(
        address: str,
        *,
        size: tuple[int, int] = WIDE,
        dark: bool = False,
        restarts: bool = False,
    ) -> Page:
        page = watched_page(session=sign_in(server), size=size, dark=dark, restarts=restarts)
        page.goto(f"{server.url}/console/{address}")
        return page

    return open_at


@pytest.fixture
def operator(server: ServerProcess) -> Iterator[httpx.Client]:
    """Another client, which passes the rules: base `/api/v1`."""
    with operator_of(server) as client:
        yield client


def operator_of(server: ServerProcess) -> httpx.Client:
    headers = {"Authorization": f"Bearer {server.operator_token}"}
    base = f"{server.url}/api/v1"
    return httpx.Client(base_url=base, headers=headers, timeout=WAIT_SECONDS)


def press_letter(page: Page, letter: str) -> None:
    """Presses the key of a shortcut, which does nothing before the page has the button that carries
    it, nor while there is a dialog."""
    expect(page.locator('[role="dialog"]')).to_have_count(0)
    expect(page.locator(f'[data-key="{letter}"]')).to_be_visible()
    page.keyboard.press(letter)


def copied_text(page: Page, copy: Callable[[], None]) -> str:
    """What the clipboard holds once `copy` has put something there."""
    page.evaluate("navigator.clipboard.writeText('')")
    copy()
    page.wait_for_function("async () => (await navigator.clipboard.readText()) !== ''")
    return str(page.evaluate("navigator.clipboard.readText()"))
