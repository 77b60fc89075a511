"""The query builder, indexes, jobs, and collections too large for one page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.console.conftest import NewPage, copied_text, operator_of, press_letter
from tests.processes import ServerProcess, checked

pytestmark = pytest.mark.browser

COUNT = 1_200
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def project(server: ServerProcess) -> str:
    """A project with a large collection."""
    server.create_project("large")
    with operator_of(server) as client:
        for start in range(0, COUNT, 400):
            writes = [
                {"set": f"items/i{n:05}", "fields": {"n": n, "third": n % 3, "text": HOSTILE}}
                for n in range(start, start + 400)
            ]
            body = {"writes": writes}
            checked(client.post("/projects/large/documents:commit", json=body))
    return "large"


def rows_of(page: Page) -> Locator:
    return page.locator("table.documents-grid tbody tr")


def fill_filter(scope: Locator, field: str, op: str, value: str) -> None:
    scope.get_by_role("combobox", name="Field").fill(field)
    scope.get_by_label("Operator").select_option(op)
    scope.get_by_label("Value").fill(value)


def copied(page: Page, name: str) -> str:
    page.get_by_role("button", name="Query actions").click()
    text = copied_text(page, page.get_by_role("menuitem", name=name).click)
    expect(page.get_by_text("Copied for").first).to_be_visible()
    return text


def place_at_rest(locator: Locator) -> Any:
    """Where it is, once it has stayed there for some frames."""
    return locator.evaluate(
        """async (element) => {
          let last = "";
          for (let stays = 0; stays < 5; ) {
            await new Promise(requestAnimationFrame);
            const now = JSON.stringify(element.getBoundingClientRect());
            stays = now === last ? stays + 1 : 0;
            last = now;
          }
          return last;
        }"""
    )


def test_a_query_with_groups_is_built_run_by_pages_explained_and_taken_along(
    open_console: NewPage, server: ServerProcess, operator: httpx.Client, project: str
) -> None:
    page = open_console(f"#/projects/{project}/data/items")
    page.get_by_role("button", name="Query builder").click()
    expect(page.get_by_label("Collection", exact=True)).to_have_value("items")
    form = page.get_by_role("form", name="Query")
    form.get_by_role("button", name="Filter", exact=True).click()
    fill_filter(form.locator("fieldset.clause").nth(0), "third", "==", "1")
    expect(form.get_by_label("Type")).to_have_value("integer")
    form.get_by_role("button", name="Group").click()
    fill_filter(form.locator("fieldset.clause").nth(1), "n", "<", "10")
    form.locator(".clauses .clauses").get_by_role("button", name="Filter", exact=True).click()
    fill_filter(form.locator("fieldset.clause").nth(2), "n", ">", "900")
    form.get_by_role("button", name="Order", exact=True).click()
    form.get_by_label("Field of the order").fill("n")
    form.get_by_label("Direction").select_option("desc")
    page.keyboard.press("Control+Enter")
    expect(rows_of(page)).to_have_count(50)
    expect(rows_of(page).first).to_contain_text("i01198")
    expect(rows_of(page).first).to_contain_text(HOSTILE)
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("51 to 100", exact=True)).to_be_visible()
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("101 to 103, the last")).to_be_visible()
    expect(rows_of(page).last).to_contain_text("i00001")
    page.get_by_role("button", name="Previous").click()
    expect(page.get_by_text("51 to 100", exact=True)).to_be_visible()

    page.get_by_text("Explain", exact=True).click()
    expect(page.locator(".figures")).to_contain_text("Entries scanned")
    expect(page.locator(".scans").first).to_be_visible()
    page.get_by_text("JSON", exact=True).click()
    expect(page.locator(".json-results pre")).to_contain_text(HOSTILE)

    other = open_console(page.url.partition("/console/")[2])
    expect(rows_of(other)).to_have_count(50)
    expect(rows_of(other).first).to_contain_text("i01198")

    body = {"kind": "secret", "name": "code"}
    key = checked(operator.post(f"/admin/projects/{project}/keys", json=body))["key"]
    environment = {**os.environ, "BAAS_SECRET_KEY": str(key)}
    code = copied(page, "Copy as Python")
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert len(ran.stdout.splitlines()) == 103
    assert ran.stdout.startswith("i01198 ")
    command = copied(page, "Copy as curl")
    ran = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, check=True
    )
    assert len(json.loads(ran.stdout)["documents"]) == 103


def test_a_narrow_window_scrolls_to_the_answer_and_not_out_of_the_page(
    open_console: NewPage, project: str
) -> None:
    asked = {"query": {"collection": "items", "where": {"field": "third", "op": "==", "value": 1}}}
    page = open_console(
        f"#/projects/{project}/query?q={quote(json.dumps(asked))}", size=(420, 600)
    )
    expect(rows_of(page)).to_have_count(50)
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text("Explain", exact=True)).to_be_in_viewport()
    expect(page.get_by_role("button", name="Open navigation")).to_be_in_viewport()
    heights = "[document.documentElement.scrollHeight, document.documentElement.clientHeight]"
    assert page.evaluate(heights) == [600, 600]


def test_cursors_are_typed_or_taken_from_a_document(open_console: NewPage, project: str) -> None:
    page = open_console(f"#/projects/{project}/query")
    form = page.get_by_role("form", name="Query")
    form.get_by_label("Collection", exact=True).fill("items")
    form.get_by_role("button", name="Order", exact=True).click()
    form.get_by_role("combobox", name="Field of the order").fill("n")
    form.get_by_role("button", name="Start", exact=True).click()
    form.get_by_label("Start, which documents").select_option("start after")
    form.get_by_label("Start value 1").press_sequentially("600")
    form.get_by_role("button", name="End", exact=True).click()
    form.get_by_label("End at a document").fill("items/i00603")
    page.keyboard.press("Enter")
    expect(form.get_by_label("End value 2")).to_have_value("items/i00603")
    form.get_by_role("button", name="Run").click()
    expect(rows_of(page)).to_have_count(3)
    expect(rows_of(page).first).to_contain_text("i00601")
    page.get_by_text("Explain", exact=True).click()
    bounds = page.get_by_role("list", name="Bounds")
    expect(bounds).to_contain_text("Starts aftern = 600")
    expect(bounds).to_contain_text("n = 603, __name__ = items/i00603")
    assert ".start_after([600])" in copied(page, "Copy as Python")

    other = open_console(page.url.partition("/console/")[2])
    expect(rows_of(other)).to_have_count(3)
    expect(other.get_by_label("Start, which documents")).to_have_value("apart")


def test_words_are_searched_and_nothing_is_done_to_all_of_them(
    open_console: NewPage, project: str
) -> None:
    page = open_console(f"#/projects/{project}/query")
    form = page.get_by_role("form", name="Query")
    form.get_by_label("Collection", exact=True).fill("items")
    form.get_by_label("Words").fill("Alert onerr*")
    page.keyboard.press("Enter")
    expect(form.get_by_role("alert")).to_contain_text("Name the fields to search")
    form.get_by_label("Fields to search").fill("text")
    page.keyboard.press("Enter")
    expect(rows_of(page)).to_have_count(50)
    expect(rows_of(page).first).to_contain_text("i00000")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("51 to 100", exact=True)).to_be_visible()
    expect(rows_of(page).first).to_contain_text("i00050")
    assert '.search("Alert onerr*", fields=["text"])' in copied(page, "Copy as Python")
    page.get_by_role("button", name="Query actions").click()
    page.get_by_role("menuitem", name="Update").click()
    expect(page.get_by_text("Not for a search")).to_be_visible()

    other = open_console(page.url.partition("/console/")[2])
    expect(rows_of(other)).to_have_count(50)
    expect(other.get_by_label("Fields to search")).to_have_value("text")


def test_what_is_near_is_shown_with_its_distance(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    places = {"house": [48.2, 16.4], "park": [48.21, 16.4], "lake": [48.4, 16.4], "far": [0, 0]}
    writes = [{"set": f"near/{one}", "fields": {"at": {"$geo": at}}} for one, at in places.items()]
    checked(
        operator.post(
            f"/projects/{project}/documents:commit", json={"writes": writes}
        )
    )
    page = open_console(f"#/projects/{project}/query")
    form = page.get_by_role("form", name="Query")
    form.get_by_label("Collection", exact=True).fill("near")
    form.get_by_label("Center").fill("48.2, 16.4")
    page.keyboard.press("Enter")
    expect(form.get_by_role("alert")).to_contain_text("Name the field")
    form.get_by_role("combobox", name="Field of the place").fill("at")
    form.get_by_label("Radius").fill("30 km")
    form.get_by_label("Radius").press("Enter")
    expect(rows_of(page)).to_have_count(3)
    shown = [row.split("\t")[:2] for row in rows_of(page).all_inner_texts()]
    assert [[cell.strip() for cell in row] for row in shown] == [
        ["house", "0 m"],
        ["park", "1,112 m"],
        ["lake", "22.2 km"],
    ]
    python = copied(page, "Copy as Python")
    assert '.near("at", GeoPoint(48.2, 16.4), radius_meters=30000)' in python
    page.get_by_role("button", name="Query actions").click()
    page.get_by_role("menuitem", name="Update").click()
    expect(page.get_by_text("Not for a place")).to_be_visible()

    other = open_console(page.url.partition("/console/")[2])
    expect(rows_of(other)).to_have_count(3)
    expect(other.get_by_label("Radius")).to_have_value("30000")


def test_numbers_and_what_is_missing(open_console: NewPage, project: str) -> None:
    page = open_console(f"#/projects/{project}/query")
    form = page.get_by_role("form", name="Query")
    form.get_by_role("button", name="Run").click()
    expect(form.get_by_role("alert")).to_contain_text("Name a collection")
    form.get_by_label("Collection", exact=True).fill("items")
    form.get_by_label("Show").select_option("numbers")
    form.get_by_role("button", name="Number", exact=True).click()
    form.get_by_role("combobox", name="Field of the number").fill("n")
    form.get_by_role("button", name="Run").click()
    figures = page.locator(".figures")
    expect(figures).to_contain_text(str(COUNT))
    expect(figures).to_contain_text(str(COUNT * (COUNT - 1) // 2))


def test_groups_and_what_they_cost(open_console: NewPage, project: str) -> None:
    page = open_console(f"#/projects/{project}/query")
    form = page.get_by_role("form", name="Query")
    form.get_by_label("Collection", exact=True).fill("items")
    form.get_by_label("Show").select_option("groups")
    form.get_by_role("button", name="Run").click()
    expect(form.get_by_role("alert")).to_contain_text("Name the fields to group by")
    form.get_by_label("Group by").fill("n")
    form.get_by_role("button", name="Run").click()
    groups = page.locator("table.groups-grid tbody tr")
    expect(groups).to_have_count(50)
    expect(page.get_by_text("1 to 50", exact=True)).to_be_visible()
    page.get_by_role("button", name="Next").click()
    expect(groups.first).to_have_text("50")

    for op in ("count", "maximum"):
        form.get_by_role("button", name="Number", exact=True).click()
        form.get_by_role("combobox", name="Number", exact=True).last.select_option(op)
    form.get_by_role("combobox", name="Field of the number").fill("n")
    form.get_by_role("button", name="Run").click()
    expect(groups.nth(7)).to_have_text("717")
    page.get_by_text("JSON", exact=True).click()
    expect(page.locator(".json-results pre")).to_contain_text('"field_2": 7')
    page.get_by_text("Explain", exact=True).click()
    expect(page.locator(".figures")).to_contain_text("Keys counted")
    assert '.group_by("n")' in copied(page, "Copy as Python")

    other = open_console(page.url.partition("/console/")[2])
    expect(other.locator("table.groups-grid thead")).to_have_text("ncountmaximum n")
    skipping = quote(json.dumps({"query": {"collection": "items", "offset": 3}}))
    other.goto(f"{other.url.partition('#')[0]}#/projects/{project}/query?q={skipping}")
    other.get_by_text("Explain", exact=True).click()
    expect(other.locator(".explain .note")).to_contain_text("reads what it skips: 3")


def test_a_large_collection_is_one_list_of_which_few_rows_are_made(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    page = open_console(f"#/projects/{project}/data/items?order=n:desc")
    rows = page.locator("tr[data-row]")
    expect(page.get_by_text("of 1,200")).to_be_visible()
    expect(rows.first).to_contain_text("i01199")
    assert rows.count() < 80

    # A jump reads where it lands; keys go on from there, and Enter opens.
    page.locator(".long-list").evaluate("element => element.scrollTo({top: 31 * 600})")
    expect(page.get_by_role("link", name="i00599", exact=True)).to_be_visible()
    page.get_by_role("link", name="i00599", exact=True).focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="i00598", exact=True)).to_be_focused()

    # What comes and goes above the rows that are seen does not move them.
    place = page.get_by_role("link", name="i00598", exact=True)
    before = place_at_rest(place)
    body = {"fields": {"n": 650.5, "text": "between"}}
    checked(operator.put(f"/projects/{project}/documents/items/between", json=body))
    expect(page.locator('tr[data-row="602"]')).to_contain_text("i00598")
    assert place_at_rest(place) == before
    expect(place).to_be_focused()
    checked(operator.delete(f"/projects/{project}/documents/items/between"))
    expect(page.locator('tr[data-row="601"]')).to_contain_text("i00598")
    assert place_at_rest(place) == before

    page.keyboard.press("End")
    expect(page.get_by_role("link", name="i00000", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="i00000")).to_be_visible()
    expect(page.locator("tr[data-selected]")).to_contain_text("i00000")
    page.get_by_role("link", name="i00000", exact=True).last.focus()
    page.keyboard.press("Home")
    expect(page.get_by_role("link", name="i01199", exact=True)).to_be_focused()


def test_indexes_are_built_pinned_and_dropped(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    page = open_console(f"#/projects/{project}/indexes")
    page.get_by_role("button", name="Build an index").click()
    dialog = page.get_by_role("dialog", name="Build an index")
    dialog.get_by_label("Collection id").fill("elsewhere")
    dialog.get_by_role("combobox", name="Field", exact=True).fill("a")
    dialog.get_by_role("button", name="Field", exact=True).click()
    dialog.get_by_role("combobox", name="Field", exact=True).nth(1).fill("b")
    dialog.get_by_label("Kind").nth(1).select_option("desc")
    dialog.get_by_role("button", name="Build index").click()
    row = page.locator(".roomy-grid tbody tr").filter(has_text="elsewhere")
    expect(row).to_contain_text("pinned")
    expect(row).to_contain_text("b ↓")

    row.get_by_role("button", name="Unpin").click()
    expect(row.get_by_text("pinned", exact=True)).to_have_count(0)
    row.get_by_role("button", name="Pin index").click()
    expect(row.get_by_text("pinned", exact=True)).to_be_visible()
    row.get_by_role("button", name="Drop index").click()
    page.get_by_role("dialog").get_by_role("button", name="Drop index").click()
    expect(row).to_have_count(0)
    path = f"/admin/projects/{project}/databases/(default)/indexes"
    found = checked(operator.get(path, params={"collection": "elsewhere"}))["indexes"]
    assert found == []


def test_jobs_are_started_with_care_and_shown(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    for path, fields in (("rooms/a", {"x": 1}), ("rooms/a/talks/t", {"x": 1}), ("rooms/b", {})):
        checked(operator.put(f"/projects/{project}/documents/{path}", json={"fields": fields}))
    asked: dict[str, Any] = {"collection": "rooms", "where": {"field": "x", "op": "==", "value": 1}}
    page = open_console(f"#/projects/{project}/query?q={json.dumps({'query': asked})}")
    expect(rows_of(page)).to_have_count(1)
    page.get_by_role("button", name="Query actions").click()
    page.get_by_role("menuitem", name="Update its documents").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 documents")
    dialog.get_by_label("Fields to set").fill('{"n": 4.0}')
    dialog.get_by_label("Fields to remove").fill("x")
    expect(dialog.get_by_role("button", name="Update the documents")).to_be_disabled()
    dialog.get_by_label("to confirm").fill("rooms")
    dialog.get_by_role("button", name="Update the documents").click()
    job = page.get_by_role("article", name="Update every document of a query")
    expect(job).to_contain_text("done")
    found = checked(operator.get(f"/projects/{project}/documents/rooms/a"))
    assert found["fields"] == {"n": {"$double": 4}}

    page = open_console(f"#/projects/{project}/data/rooms")
    page.get_by_role("button", name="Collection actions").click()
    page.get_by_role("menuitem", name="Delete with everything below").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("to confirm").fill("rooms")
    dialog.get_by_role("button", name="Delete all of it").click()
    job = page.get_by_role("article", name="Delete with everything below")
    expect(job).to_contain_text("done")
    expect(job).to_contain_text("3 written")
    answer = operator.get(f"/projects/{project}/documents/rooms/a/talks/t")
    assert answer.status_code == 404

    # What history holds comes back.
    job.get_by_role("button", name="Bring back what was there").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Show what would change").click()
    expect(dialog).to_contain_text("3 come back, 0 change, 0 go.")
    dialog.get_by_label("to confirm").fill("rooms")
    dialog.get_by_role("button", name="Restore", exact=True).click()
    expect(page.get_by_role("article", name="Restore to an earlier time")).to_contain_text("done")
    assert operator.get(f"/projects/{project}/documents/rooms/a/talks/t").is_success


def test_versions_of_a_document_are_compared_restored_and_erased(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    place = f"/projects/{project}/documents/people/ada"
    for fields in ({"name": "Ada", "age": 36}, {"name": HOSTILE, "age": 37}):
        checked(operator.put(place, json={"fields": fields}))
    page = open_console(f"#/projects/{project}/data/people/ada")
    page.get_by_role("button", name="Document actions").click()
    page.get_by_role("menuitem", name="History", exact=True).click()
    versions = page.locator(".versions a")
    expect(versions).to_have_count(2)
    versions.nth(0).click()
    expect(page.locator(".cm-changedLine").first).to_be_visible()
    expect(page.locator(".cm-content")).to_contain_text(HOSTILE)
    versions.nth(1).click()
    page.get_by_label("Compare with").select_option("now")
    expect(page.locator(".cm-deletedChunk").first).to_contain_text("37")
    page.get_by_role("button", name="Restore this version").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Show what would change").click()
    expect(dialog).to_contain_text("0 come back, 1 change, 0 go.")
    dialog.get_by_label("to confirm").fill("ada")
    dialog.get_by_role("button", name="Restore", exact=True).click()
    job = page.get_by_role("article", name="Restore to an earlier time").first
    expect(job).to_contain_text("done")
    assert checked(operator.get(place))["fields"] == {"name": "Ada", "age": 36}

    page = open_console(f"#/projects/{project}/history/people/ada")
    expect(versions := page.locator(".versions a")).to_have_count(3)
    page.get_by_role("button", name="Erase").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Erase for ever")).to_be_disabled()
    dialog.get_by_label("to confirm").fill("ada")
    dialog.get_by_role("button", name="Erase for ever").click()
    expect(dialog.get_by_role("status")).to_contain_text("2 versions of people/ada are gone")
    dialog.get_by_role("button", name="Done").click()
    expect(versions.filter(has_text="erased")).to_have_count(2)
    assert checked(operator.get(place))["fields"] == {"name": "Ada", "age": 36}


def test_a_collection_is_restored_to_a_time(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    place = f"/projects/{project}/documents/plants"
    written = checked(operator.put(f"{place}/rose", json={"fields": {"n": 1}}))
    checked(operator.put(f"{place}/weed", json={"fields": {}}))
    checked(operator.delete(f"{place}/rose"))
    page = open_console(f"#/projects/{project}/data/plants")
    page.get_by_role("button", name="Collection actions").click()
    page.get_by_role("menuitem", name="Restore to an earlier time").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("As it was at").fill("yesterday")
    dialog.get_by_role("button", name="Show what would change").click()
    expect(dialog.get_by_role("alert")).to_contain_text("The time must be such as")
    dialog.get_by_label("As it was at").fill(str(written["update_time"]))
    dialog.get_by_role("button", name="Show what would change").click()
    expect(dialog).to_contain_text("1 come back, 0 change, 1 go.")
    expect(dialog.get_by_role("list", name="Changes")).to_contain_text("plants/weed")
    dialog.get_by_label("to confirm").fill("plants")
    dialog.get_by_role("button", name="Restore", exact=True).click()
    job = page.get_by_role("article", name="Restore to an earlier time").first
    expect(job).to_contain_text("done")
    found = checked(operator.get(place))["documents"]
    assert [one["path"] for one in found] == ["plants/rose"]


def test_policies_of_expiry_tell_what_would_go_before_they_are_set(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    past, future = "2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"
    for name, time in (("old", past), ("new", future)):
        fields = {"expires": {"$timestamp": time}, "text": HOSTILE}
        checked(
            operator.put(f"/projects/{project}/documents/tickets/{name}", json={"fields": fields})
        )
    page = open_console(f"#/projects/{project}/expiry")
    expect(page.get_by_text("Nothing expires")).to_be_visible()
    press_letter(page, "n")
    dialog = page.get_by_role("dialog", name="Let documents expire")
    dialog.get_by_role("combobox", name="Collection id").fill("tickets")
    dialog.get_by_label("Field with the time").fill("expired")
    dialog.get_by_role("button", name="Show what would expire").click()
    expect(dialog.get_by_role("status")).to_contain_text("No document holds a timestamp")
    dialog.get_by_label("Field with the time").fill("expires")
    dialog.get_by_role("button", name="Show what would expire").click()
    expect(dialog.get_by_role("status")).to_contain_text("2 documents hold a timestamp")
    expect(dialog.get_by_role("status")).to_contain_text("One of them has expired")
    expect(dialog.get_by_role("button", name="Set the policy")).to_be_disabled()
    dialog.get_by_label("to confirm").fill("tickets")
    dialog.get_by_role("button", name="Set the policy").click()
    policy = page.get_by_role("table", name="Policies").get_by_role("row").nth(1)
    expect(policy).to_contain_text("active")

    press_letter(page, "n")
    dialog.get_by_role("combobox", name="Collection id").fill("tickets")
    dialog.get_by_label("Field with the time").fill("other")
    dialog.get_by_role("button", name="Show what would expire").click()
    dialog.get_by_role("button", name="Set the policy").click()
    expect(dialog.get_by_role("alert")).to_contain_text("has a policy")
    dialog.get_by_role("button", name="Cancel").click()
    policy.get_by_role("button", name="Remove the policy").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove policy").click()
    expect(page.get_by_text("Nothing expires")).to_be_visible()
    path = f"/admin/projects/{project}/databases/(default)/ttl"
    assert checked(operator.get(path))["policies"] == []

    place = f"/projects/{project}/documents/tickets/{HOSTILE.replace('/', '')}"
    checked(operator.put(place, json={"fields": {}}))
    body = {"path": f"tickets/{HOSTILE}", "present": True}
    path = f"/admin/projects/{project}/databases/(default)/documents:erase"
    checked(operator.post(path, json=body))
    page.reload()
    erasure = page.get_by_role("table", name="Erasures").get_by_role("row").filter(has_text=HOSTILE)
    expect(erasure).to_contain_text("and the document")
