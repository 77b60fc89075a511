"""How far back history reaches, and what is erased from it."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.console.conftest import NewPage
from tests.processes import ServerProcess, checked

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def project(server: ServerProcess) -> str:
    server.create_project("past")
    return "past"


def retention_of(operator: httpx.Client, project: str, database: str | None) -> dict[str, Any]:
    within = "" if database is None else f"/databases/{database}"
    return checked(operator.get(f"/admin/projects/{project}{within}/retention"))


def say(page: Page, row: str, span: str, size: str, action: str) -> None:
    """Says how far back, in the dialog of one of the rows."""
    page.get_by_role("group", name=row).get_by_role("button", name="Change…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Keep old versions for").fill(span)
    dialog.get_by_label("But no more than").fill(size)
    dialog.get_by_role("button", name=action).click()
    expect(dialog).to_have_count(0)


def test_how_far_back_history_reaches_is_said_and_taken_back(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    document = f"/projects/{project}/documents/people/ada"
    for number in range(2):
        fields = {"n": number, "text": "x" * 2_000}
        checked(operator.put(document, json={"fields": fields}))
    page = open_console(f"#/projects/{project}/expiry")
    region = page.get_by_role("region", name="How far back history reaches")
    expect(region).to_contain_text("2.1 KiB of old versions and of the log of changes, readable from the beginning")
    own, default = (
        region.get_by_role("group", name=name) for name in ("This database", "Project's default")
    )
    expect(own).to_contain_text("7 days (as the project), at most 1 GiB (as the project)")
    expect(default).to_contain_text("7 days (as the server), at most 1 GiB (as the server)")

    say(page, "Project's default", "14 days", "", "Save")
    expect(default).to_contain_text("14 days, at most 1 GiB (as the server)")
    expect(own).to_contain_text("14 days (as the project)")
    say(page, "This database", "12 hours", "2.5 GiB", "Keep less")
    expect(own).to_contain_text("12 hours, at most 2,560 MiB")
    assert retention_of(operator, project, "(default)")["seconds"] == 43_200

    own.get_by_role("button", name="Change…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Keep old versions for")).to_have_value("12 hours")
    dialog.get_by_label("Keep old versions for").fill("a while")
    expect(dialog.get_by_role("button", name="Save")).to_be_disabled()
    dialog.get_by_label("Keep old versions for").fill("1 minute")
    dialog.get_by_role("button", name="Keep less").click()
    expect(dialog.get_by_role("alert")).to_contain_text("`seconds` must be from 300")
    dialog.get_by_role("button", name="Cancel").click()
    if folder := os.environ.get("BAAS_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/expiry.png", full_page=True)

    own.get_by_role("button", name="Back to what the project says").click()
    expect(own).to_contain_text("14 days (as the project)")
    default.get_by_role("button", name="Back to what the server says").click()
    expect(own).to_contain_text("7 days (as the project)")
    assert retention_of(operator, project, None)["seconds"] is None


def test_documents_of_a_query_are_erased_and_that_is_on_record(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    for n in range(3):
        for text in ("s3cret", "later"):
            place = f"/projects/{project}/documents/letters/l{n}"
            checked(operator.put(place, json={"fields": {"n": n, "text": text}}))
    asked = '{"query":{"collection":"letters","where":{"field":"n","op":">","value":0}}}'
    page = open_console(f"#/projects/{project}/query?q={quote(asked)}")
    page.get_by_role("button", name="Query actions").click()
    page.get_by_role("menuitem", name="Erase their history…").click()
    dialog = page.get_by_role("dialog", name="Erase what every document of the query was")
    expect(dialog).to_contain_text("2 documents of letters")
    expect(dialog.get_by_role("button", name="Erase for ever")).to_be_disabled()
    dialog.get_by_label("Delete the documents as they are now, too").check()
    dialog.get_by_label("Erase what deleted documents were, too").check()
    dialog.get_by_label("to confirm").fill("letters")
    dialog.get_by_role("button", name="Erase for ever").click()
    job = page.get_by_role("article", name="Erase what every document of a query was").first
    expect(job).to_contain_text("done")
    expect(job).to_contain_text("2 erased")
    expect(job.get_by_role("button", name="Bring back what was there…")).to_have_count(0)
    found = checked(operator.get(f"/projects/{project}/documents/letters"))["documents"]
    assert [one["path"] for one in found] == ["letters/l0"]

    erase = f"/admin/projects/{project}/databases/(default)/documents:batch-erase"
    for start in (0, 60):
        paths = [f"letters/gone{n}" for n in range(start, start + 60)]
        checked(operator.post(erase, json={"documents": paths}))
    page.goto(page.url.replace("/jobs", "/expiry"))
    rows = page.get_by_role("table", name="Erasures").get_by_role("row")
    expect(rows).to_have_count(1 + 100)
    page.get_by_role("button", name="Load more").click()
    expect(rows).to_have_count(1 + 121)
    last = rows.nth(121)
    expect(last).to_contain_text("of letters that matched a query")
    expect(last).to_contain_text("4 versions and 2 documents")
