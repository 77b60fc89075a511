"""The data browser against a live server: paging, filters, live changes, edits that keep types."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.console.conftest import NewPage, press_letter
from tests.processes import ServerProcess, checked

pytestmark = pytest.mark.browser

EVERY_TYPE: dict[str, Any] = {
    "text": "plain",
    "count": 3,
    "ratio": {"$double": 3},
    "huge": {"$int": "9007199254740993"},
    "zero": {"$double": "-0"},
    "odd": {"$double": "NaN"},
    "flag": True,
    "nothing": None,
    "when": {"$timestamp": "2026-11-22T17:00:00.123456Z"},
    "raw": {"$bytes": "AAECAw=="},
    "friend": {"$ref": "users/ada"},
    "place": {"$geo": [48.2, 16.4]},
    "vector": {"$vector": [1, 0.5]},
    "list": [1, {"$double": 1}, {"inner": "x"}],
    "map": {"a": {"b": 1}, "$$odd": 1},
}


@pytest.fixture
def project(server: ServerProcess, request: pytest.FixtureRequest) -> str:
    """A project of the test's own."""
    identifier = f"p-{zlib.crc32(request.node.name.encode()):08x}"
    server.create_project(identifier)
    return identifier


def put(operator: httpx.Client, project: str, path: str, fields: dict[str, Any]) -> None:
    body = json.dumps({"fields": fields})
    checked(operator.put(f"/projects/{project}/documents/{path}", content=body))


def get(operator: httpx.Client, project: str, path: str) -> dict[str, Any]:
    fields: dict[str, Any] = checked(operator.get(f"/projects/{project}/documents/{path}"))[
        "fields"
    ]
    return fields


def row(page: Page, name: str) -> Any:
    return page.locator("table.documents-grid tbody tr").filter(
        has=page.get_by_role("link", name=name, exact=True)
    )


def edit_button(page: Page, field: str) -> Any:
    """Which opens a field's row for editing: it holds the value."""
    return page.get_by_role("button", name=re.compile(rf"^Edit {re.escape(field)}:"))


def edit_field(page: Page, field: str) -> Any:
    """Opens a field's row for editing; the form."""
    edit_button(page, field).click()
    return page.get_by_role("form", name=f"Edit {field}", exact=True)


def test_changes_of_another_client_appear_at_once(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    put(operator, project, "cities/oslo", {"name": "Oslo", "population": 1})
    page = open_console(f"#/projects/{project}/data/cities")
    expect(row(page, "oslo")).to_contain_text("Oslo")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    put(operator, project, "cities/bern", {"name": "Bern", "population": 2})
    expect(row(page, "bern")).to_contain_text("Bern")
    put(operator, project, "cities/oslo", {"name": "Oslo", "population": 709_000})
    expect(row(page, "oslo")).to_contain_text("709000")
    checked(operator.delete(f"/projects/{project}/documents/cities/bern"))
    expect(row(page, "bern")).to_have_count(0)
    links = page.locator("table.documents-grid tbody a").all_inner_texts()
    assert links == ["oslo"]


def test_paging_filters_and_orders_have_addresses(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    writes = [{"set": f"items/i{n:03}", "fields": {"n": n, "even": n % 2 == 0}} for n in range(130)]
    checked(operator.post(f"/projects/{project}/documents:commit", json={"writes": writes}))
    page = open_console(f"#/projects/{project}/data/items")
    rows = page.locator("table.documents-grid tbody tr[data-row]")
    expect(page.get_by_text(re.compile(r"1 to \d+ of 130"))).to_be_visible()
    expect(page.get_by_role("table")).to_have_attribute("aria-rowcount", "131")

    press_letter(page, "f")
    form = page.get_by_role("form", name="Filter")
    form.get_by_role("combobox", name="Field").fill("n")
    form.get_by_label("Operator").select_option(">=")
    form.get_by_label("Value").press_sequentially("120")
    expect(form.get_by_label("Type")).to_have_value("integer")
    page.keyboard.press("Enter")
    expect(rows).to_have_count(10)
    first = page.locator("table.documents-grid tbody a").first
    for turned in ("i120", "i129"):
        page.get_by_role("button", name="n", exact=True).click()
        expect(first).to_have_text(turned)
        expect(page).to_have_url(re.compile("order=n" if turned == "i120" else "desc"))

    other = open_console(page.url.partition("/console/")[2])
    expect(other.locator("table.documents-grid tbody tr")).to_have_count(10)
    expect(other.locator("table.documents-grid tbody a").first).to_have_text("i129")
    other.get_by_role("button", name="Clear").click()
    expect(other.get_by_role("table")).to_have_attribute("aria-rowcount", "131")


def test_an_order_that_is_turned_while_it_is_read_is_read_anew(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    for n in range(3):
        put(operator, project, f"items/i{n}", {"n": n})
    page = open_console(f"#/projects/{project}/data/items")
    first = page.locator("table.documents-grid tbody a").first
    expect(first).to_have_text("i0")
    held: list[Route] = []

    def hold_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)  # and not answered: it is broken off

    page.route("**/documents:query", hold_first)
    name = page.get_by_role("button", name="n", exact=True)
    with page.expect_request("**/documents:query"):
        name.click()
    name.click()
    expect(first).to_have_text("i2")
    assert held


def test_saving_one_field_keeps_every_other_as_it_was(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    put(operator, project, "things/all", EVERY_TYPE)
    page = open_console(f"#/projects/{project}/data/things/all")
    form = edit_field(page, "text")
    form.get_by_label("Value").fill("changed")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("all is saved")).to_be_visible()
    assert get(operator, project, "things/all") == {**EVERY_TYPE, "text": "changed"}

    form = edit_field(page, "count")
    form.get_by_label("Type").select_option("double")
    form.get_by_role("button", name="Apply").click()
    form = edit_field(page, "when")
    expect(form.get_by_label("Value")).to_have_value("2026-11-22T17:00:00.123456Z")
    form.get_by_label("Value").fill("2026-01-02T03:04:05+01:00")
    form.get_by_role("button", name="Apply").click()
    edit_button(page, "list.0").hover()
    page.get_by_role("button", name="Remove list.0", exact=True).click()
    page.keyboard.press("Control+s")
    expect(page.locator(".save-bar")).to_have_count(0)
    stored = get(operator, project, "things/all")
    assert stored["count"] == {"$double": 3}
    assert stored["when"] == {"$timestamp": "2026-01-02T02:04:05.000000Z"}
    assert stored["list"] == [{"$double": 1}, {"inner": "x"}]


def test_a_bad_value_is_refused_in_place(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    put(operator, project, "things/one", {"count": 3})
    page = open_console(f"#/projects/{project}/data/things/one")
    form = edit_field(page, "count")
    form.get_by_label("Value").fill("3.5")
    page.keyboard.press("Enter")
    expect(form.get_by_role("alert")).to_have_text("must be a whole number")
    form.get_by_label("Value").press("Escape")
    expect(page.locator(".save-bar")).to_have_count(0)


def test_json_is_edited_with_types_and_faults_at_their_place(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    put(operator, project, "things/one", {"count": 3})
    page = open_console(f"#/projects/{project}/data/things/one")
    page.get_by_text("JSON", exact=True).click()
    editor = page.get_by_role("textbox", name="Fields as JSON")
    expect(editor).to_contain_text('"count": 3')
    editor.fill('{\n  "count": 4.0,\n  "bad": {"$geo": [100, 0]}\n}')
    expect(page.locator(".cm-lintRange-error, .cm-lintPoint-error").first).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("bad: latitude must be within").first).to_be_visible()
    assert get(operator, project, "things/one") == {"count": 3}
    editor.fill('{\n  "count": 4.0,\n  "big": 9007199254740993\n}')
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("one is saved")).to_be_visible()
    assert get(operator, project, "things/one") == {
        "big": {"$int": "9007199254740993"},
        "count": {"$double": 4},
    }


def test_a_concurrent_change_is_never_overwritten_silently(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    put(operator, project, "things/one", {"mine": "a", "theirs": "a", "both": "a"})
    page = open_console(f"#/projects/{project}/data/things/one")
    for field in ("mine", "both"):
        form = edit_field(page, field)
        form.get_by_label("Value").fill("console")
        form.get_by_role("button", name="Apply").click()
    put(operator, project, "things/one", {"mine": "a", "theirs": "app", "both": "app"})
    banner = page.get_by_role("alert").filter(has_text="Somebody changed")
    expect(banner).to_contain_text("both, theirs")
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    banner.get_by_role("button", name="Keep my changes on top").click()
    expect(page.get_by_text("Both changed both")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("one is saved")).to_be_visible()
    assert get(operator, project, "things/one") == {
        "mine": "console",
        "theirs": "app",
        "both": "console",
    }


def test_a_stale_save_is_refused_by_the_server_and_explained(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    put(operator, project, "things/one", {"mine": "a"})
    page = open_console(f"#/projects/{project}/data/things/one")
    form = edit_field(page, "mine")
    form.get_by_label("Value").fill("console")
    form.get_by_role("button", name="Apply").click()

    def write_before(route: Any) -> None:
        put(operator, project, "things/one", {"mine": "app"})
        route.continue_()

    page.route("**/documents/things/one", write_before, times=1)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Not saved: somebody else changed this document")).to_be_visible()
    assert get(operator, project, "things/one") == {"mine": "app"}
    banner = page.get_by_role("alert").filter(has_text="Somebody changed")
    banner.get_by_role("button", name="Show theirs, discard mine").click()
    expect(edit_button(page, "mine")).to_contain_text('"app"')


def test_unsaved_edits_are_asked_about(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    put(operator, project, "things/one", {"mine": "a"})
    page = open_console(f"#/projects/{project}/data/things/one")
    edit_field(page, "mine").get_by_label("Value").fill("typed, not applied")
    page.get_by_role("link", name="Users").click()
    dialog = page.get_by_role("dialog", name="Leave without saving?")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Keep editing").click()
    expect(page.get_by_label("Value")).to_have_value("typed, not applied")
    assert "/data/things/one" in page.url
    page.go_back()
    page.get_by_role("link", name="Users").click()
    dialog.get_by_role("button", name="Discard and leave").click()
    expect(page.get_by_role("heading", name="Users", exact=True)).to_be_visible()
    assert get(operator, project, "things/one") == {"mine": "a"}


def test_documents_are_created_duplicated_and_deleted(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    page = open_console(f"#/projects/{project}/data")
    page.get_by_role("button", name="Start a collection").last.click()
    dialog = page.get_by_role("dialog", name="Start a collection")
    dialog.get_by_label("Collection id").fill("users")
    dialog.get_by_label("Document id").fill("ada")
    dialog.get_by_role("button", name="Add field").click()
    dialog.get_by_label("Field name").fill("born")
    dialog.get_by_label("Type").select_option("integer")
    dialog.get_by_label("Value").fill("1815")
    dialog.get_by_role("button", name="Create document").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("heading", name="ada")).to_be_visible()
    assert get(operator, project, "users/ada") == {"born": 1815}

    page.get_by_role("button", name="Document actions").click()
    page.get_by_role("menuitem", name="Start a subcollection").click()
    dialog = page.get_by_role("dialog", name="Start a collection")
    dialog.get_by_label("Collection id").fill("notes")
    dialog.get_by_label("Document id").fill("first")
    dialog.get_by_role("button", name="Create document").click()
    expect(page.get_by_role("heading", name="first")).to_be_visible()
    page.get_by_role("navigation", name="Path").get_by_role("link", name="ada").click()
    expect(page.get_by_role("navigation", name="Subcollections")).to_contain_text("notes")

    page.get_by_role("button", name="Document actions").click()
    page.get_by_role("menuitem", name="Delete…").click()
    page.get_by_role("button", name="Delete document").click()
    expect(page.get_by_text("ada is deleted", exact=True)).to_be_visible()
    gone = operator.get(f"/projects/{project}/documents/users/ada")
    assert gone.status_code == 404
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("ada is there again", exact=True)).to_be_visible()
    assert get(operator, project, "users/ada") == {"born": 1815}


def test_a_refused_query_says_why(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    put(operator, project, "things/one", {"a": 1})
    page = open_console(f'#/projects/{project}/data/things?where=["a","in",[]]')
    expect(page.get_by_role("alert")).to_contain_text("The query cannot be answered")
    page.get_by_role("button", name="Clear").click()
    expect(row(page, "one")).to_be_visible()


def test_a_project_that_does_not_exist_says_so(open_console: NewPage) -> None:
    page = open_console("#/projects/no-such-project/data")
    expect(page.get_by_role("alert")).to_contain_text("This project cannot be shown")
