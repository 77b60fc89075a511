"""Characters that cannot be seen, or turn text round, are shown wherever the console shows text."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.console.conftest import WAIT_SECONDS, NewPage, operator_of
from tests.processes import ServerProcess, checked

pytestmark = pytest.mark.browser

# An override, a space without width, a tag, a filler, a space that is none, a control.
ODD = "a\u202eb\u200bc\U000e0041d\u3164e\u00a0f"
RULES = f"""rules_version = '2';
service cloud.firestore {{
  match /databases/{{database}}/documents {{
    // {ODD}
    match /spoofs/{{id}} {{ allow get: if request.auth.uid == '{ODD}'; }}
  }}
}}
"""
PROJECT = "#/projects/spoof"
PAGES = [
    f"data/{ODD}/{ODD}",
    f"data/{ODD}",
    'query?q={"query":{"collection":"ODD"}}'.replace("ODD", ODD),
    "indexes",
    "expiry",
    "jobs",
    f"files/default/{ODD}",
    f"files/default/{ODD}?object={ODD}/{ODD}",
    "rules",
    "rules/denials",
    f"history/{ODD}/{ODD}",
]
SHOWN = "a\\u202eb\\u200bc\\u{e0041}d\\u3164e\\u00a0f"
# Every text that is rendered, and what is read out or shown over it; inputs hold what is edited.
HIDDEN = """() => {
  const hidden = /[\\u0000-\\u0008\\u00a0\\u200b\\u202e\\u3164\\u{e0041}]/u;
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { data, parentElement } = walker.currentNode;
    if (hidden.test(data) && !parentElement.closest("script, style, textarea, datalist"))
      found.push(`${parentElement.outerHTML.slice(0, 200)}`);
  }
  for (const element of document.querySelectorAll("*"))
    for (const name of ["title", "aria-label", "alt"])
      if (hidden.test(element.getAttribute(name) ?? ""))
        found.push(`${name} of ${element.className}`);
  if (hidden.test(document.title)) found.push("the title");
  return found;
}"""


@pytest.fixture(scope="module")
def spoofed(server: ServerProcess) -> ServerProcess:
    """A project in which all that a stranger can name holds hidden characters."""
    key = server.create_project("spoof", RULES)
    name = quote(ODD, safe="")
    with operator_of(server) as client:
        place, admin = f"/projects/spoof/documents/{name}/{name}", "/admin/projects/spoof"
        fields: dict[str, Any] = {
            ODD: ODD,
            "map": {ODD: [ODD, {"$ref": f"{ODD}/{ODD}"}]},
            "control": "\u0007",
        }
        checked(client.put(place, json={"fields": fields}))
        checked(client.put(place, json={"fields": {**fields, "n": 1}}))
        checked(client.put(f"{place}/{name}/{name}", json={"fields": {}}))
        database = f"{admin}/databases/(default)"
        checked(client.put(f"{database}/ttl/{name}", json={"field": f"`{ODD}`"}))
        index = {"collection": ODD, "scope": "collection", "fields": [{"field": f"`{ODD}`"}]}
        checked(client.post(f"{database}/indexes", json=index))
        checked(client.post(f"{database}/documents:erase", json={"path": f"{ODD}/gone"}))
        gone = {"path": f"{ODD}/gone"}
        checked(client.post(f"{database}/documents:delete-recursive", json=gone))
        checked(client.put(f"{admin}/rules", json={"source": RULES, "message": "odd"}))
        checked(client.post(f"{admin}/buckets", json={"id": "default"}))
        file = quote(f"{ODD}/{ODD}", safe="")
        told = {"Content-Type": "text/plain"}
        objects = f"/projects/spoof/buckets/default/objects/{file}"
        checked(client.put(objects, content=ODD.encode(), headers=told))
    denied = f"{server.url}/api/v1/projects/spoof/documents/spoofs/{name}"
    answer = httpx.get(denied, headers={"X-API-Key": key}, timeout=WAIT_SECONDS)
    assert answer.status_code == 403
    return server


def hidden(page: Page) -> list[str]:
    found: list[str] = page.evaluate(HIDDEN)
    return found


def test_no_page_hides_a_character(spoofed: ServerProcess, open_console: NewPage) -> None:
    page = open_console("#/")
    problems = []
    for address in PAGES:
        path = quote(address, safe='/?={}":,[]')
        page.goto(f"{spoofed.url}/console/{PROJECT}/{path}")
        shown = page.get_by_role("main").get_by_text(SHOWN).filter(visible=True)
        expect(shown.first).to_be_visible()
        expect(page.locator(".state[role=status]")).to_have_count(0)
        problems += [f"{address.replace(ODD, 'ODD')}: {one}" for one in hidden(page)]
    assert problems == [], "\n".join(problems)


def test_a_dialog_takes_a_name_as_it_is_shown(
    spoofed: ServerProcess, open_console: NewPage, operator: httpx.Client
) -> None:
    name = quote(ODD, safe="")
    page = open_console(f"{PROJECT}/history/{name}/{name}")
    page.get_by_role("button", name="Erase…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text(SHOWN).first).to_be_visible()
    assert hidden(page) == []
    erase = dialog.get_by_role("button", name="Erase")
    dialog.get_by_role("textbox").fill("abcdef")
    expect(erase).to_be_disabled()
    dialog.get_by_role("textbox").fill(SHOWN)
    expect(erase).to_be_enabled()


def test_the_check_finds_what_is_hidden(open_console: NewPage) -> None:
    page = open_console("#/")
    expect(page.get_by_role("heading", name="Projects", exact=True)).to_be_visible()
    assert hidden(page) == []
    page.evaluate("document.querySelector('main').append('a\\u202eb')")
    assert len(hidden(page)) == 1
