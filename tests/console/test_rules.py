"""Rules in the console: the editor, the playground, tests, history, denials, the audit."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.console.conftest import WAIT_SECONDS, NewPage
from tests.processes import ServerProcess, checked

pytestmark = pytest.mark.browser

RULES = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /notes/{note} {
      allow get: if resource.data.owner == request.auth.uid
                 && exists(/databases/$(database)/documents/members/$(request.auth.uid));
    }
  }
}
"""
HOSTILE = "<img src=x onerror=alert(1)>"


def rules_of(operator: httpx.Client, project: str) -> dict[str, Any]:
    return checked(operator.get(f"/admin/projects/{project}/rules"))


def deploy(operator: httpx.Client, project: str, source: str, message: str) -> str:
    body = {"source": source, "message": message}
    return str(checked(operator.put(f"/admin/projects/{project}/rules", json=body))["ruleset"])


def store(operator: httpx.Client, project: str, path: str, **fields: Any) -> None:
    checked(operator.put(f"/projects/{project}/documents/{path}", json={"fields": fields}))


def editor_of(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Security rules")


def panel_of(page: Page, name: str) -> Locator:
    page.get_by_role("tab", name=name).click()
    return page.get_by_role("tabpanel", name=name)


# --- the editor ----------------------------------------------------------------------------------


def test_rules_are_checked_as_they_are_typed_and_deployed_with_a_message(
    open_console: NewPage, server: ServerProcess, operator: httpx.Client
) -> None:
    server.create_project("with-rules")
    page = open_console("#/projects/with-rules/rules")
    editor = editor_of(page)
    editor.fill(RULES.replace("request.auth.uid\n", "\n"))
    problems = page.get_by_role("tabpanel", name="Problems")
    problem = problems.get_by_role("button").first
    expect(problem).to_contain_text("line 6")
    expect(page.locator(".cm-lint-marker-error")).to_have_count(1)
    expect(page.get_by_role("button", name="Deploy")).to_be_disabled()
    problem.click()
    expect(editor).to_be_focused()

    editor.fill(RULES.replace("get: if", "read, write: if request.auth != null ||"))
    expect(problems).to_contain_text("unbounded-list")
    expect(page.locator(".cm-lint-marker-warning").first).to_be_visible()
    editor.fill(RULES)
    expect(problems).to_contain_text("No problems found")
    page.keyboard.press("Control+s")
    dialog = page.get_by_role("dialog", name="Deploy these rules?")
    expect(dialog.locator(".cm-changedLine").first).to_be_visible()
    dialog.get_by_label("Message").fill(HOSTILE)
    page.keyboard.press("Enter")
    expect(page.get_by_text("The rules are in force")).to_be_visible()
    expect(page.get_by_text("not deployed")).to_have_count(0)
    found = rules_of(operator, "with-rules")
    assert (found["source"], found["message"]) == (RULES, HOSTILE)
    assert found["author"] == "ada@example.com"
    expect(page.get_by_text(HOSTILE)).to_be_visible()


def test_open_rules_are_refused_with_what_they_expose(
    open_console: NewPage, server: ServerProcess, operator: httpx.Client
) -> None:
    server.create_project("open-rules", RULES)
    page = open_console("#/projects/open-rules/rules")
    source = RULES.replace("if resource", "if true || resource")
    editor_of(page).fill(source)
    page.get_by_role("button", name="Deploy").click()
    dialog = page.get_by_role("dialog", name="Deploy these rules?")
    dialog.get_by_role("button", name="Deploy", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("let everybody in")
    expect(dialog.locator(".open-paths")).to_contain_text("notes")
    assert rules_of(operator, "open-rules")["source"] == RULES
    expect(dialog.get_by_role("button", name="Deploy open rules")).to_be_disabled()
    dialog.get_by_label("This data is meant to be public").check()
    dialog.get_by_role("button", name="Deploy open rules").click()
    expect(page.get_by_text("The rules are in force")).to_be_visible()
    assert rules_of(operator, "open-rules")["source"] == source


def test_rules_that_others_deployed_meanwhile_are_not_replaced_unseen(
    open_console: NewPage, server: ServerProcess, operator: httpx.Client
) -> None:
    server.create_project("two-authors", RULES)
    page = open_console("#/projects/two-authors/rules")
    editor_of(page).fill(RULES + "// mine\n")
    deploy(operator, "two-authors", RULES + "// theirs\n", "the other one's")
    page.get_by_role("button", name="Deploy").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Deploy", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("Somebody has deployed other rules")
    assert "theirs" in rules_of(operator, "two-authors")["source"]
    expect(dialog.get_by_role("button", name="Deploy", exact=True)).to_be_disabled()
    dialog.get_by_role("button", name="Compare with it").click()
    expect(dialog.locator(".cm-deletedChunk")).to_contain_text("// theirs")
    expect(dialog.get_by_role("status")).to_contain_text("the other one's")
    dialog.get_by_role("button", name="Deploy", exact=True).click()
    expect(page.get_by_text("The rules are in force")).to_be_visible()
    assert rules_of(operator, "two-authors")["source"] == RULES + "// mine\n"


def test_changed_rules_are_not_left_silently(open_console: NewPage, server: ServerProcess) -> None:
    server.create_project("kept-rules", RULES)
    page = open_console("#/projects/kept-rules/rules")
    editor_of(page).fill("// later")
    sections = page.get_by_role("navigation", name="Rules")
    sections.get_by_role("link", name="Audit").click()
    expect(page.get_by_text("What can strangers do?")).to_be_visible()
    sections.get_by_role("link", name="Editor").click()
    expect(editor_of(page)).to_contain_text("// later")
    page.get_by_role("link", name="Data").click()
    page.get_by_role("button", name="Keep editing").click()
    expect(editor_of(page)).to_contain_text("// later")


# --- playground and tests ------------------------------------------------------------------------


def test_the_playground_explains_the_draft_and_saves_it_as_a_test(
    open_console: NewPage, server: ServerProcess, operator: httpx.Client
) -> None:
    server.create_project("tried", RULES)
    store(operator, "tried", "notes/n1", owner="ada", text=HOSTILE)
    page = open_console("#/projects/tried/data/notes/n1")
    page.get_by_role("button", name="Document actions").click()
    page.get_by_role("menuitem", name="Try the rules on it").click()
    playground = page.get_by_role("tabpanel", name="Playground")
    expect(playground.get_by_label("Document", exact=True)).to_have_value("notes/n1")
    playground.get_by_label("Document", exact=True).fill("notes")
    playground.get_by_role("button", name="Run").click()
    expect(playground.get_by_text("this is a collection")).to_be_visible()
    playground.get_by_label("Document", exact=True).fill("notes/n1")
    playground.get_by_role("radiogroup", name="Caller").get_by_text("Made up").click()
    playground.get_by_label("uid").fill("ada")
    page.keyboard.press("Control+Enter")
    told = playground.get_by_role("region", name="Explanation")
    expect(told.get_by_role("status")).to_contain_text("Denied get of /notes/n1")
    expect(told).to_contain_text("members/ada does not exist")
    expect(told).to_contain_text("1 look-up.")
    blamed = told.get_by_role("button", name=re.compile(r"^exists\(.*false"))
    blamed.click()
    expect(editor_of(page)).to_be_focused()
    expect(page.locator(".cm-paint-bad").last).to_contain_text("exists(")
    expect(page.locator(".cm-paint-good").first).to_contain_text("resource.data.owner ==")

    # The draft decides, and nothing is deployed.
    editor_of(page).fill(RULES.replace("members/", "notes/n1/x/"))
    expect(playground.get_by_text("has changed since")).to_be_visible()
    store(operator, "tried", "notes/n1/x/ada", since=1)
    playground.get_by_role("button", name="Run").click()
    expect(told.get_by_role("status")).to_contain_text("Allowed")
    assert rules_of(operator, "tried")["source"] == RULES

    playground.get_by_role("button", name="Save as test").click()
    dialog = page.get_by_role("dialog", name="Save as a test")
    expect(dialog.get_by_label("Name")).to_have_value("ada may get notes/n1")
    dialog.get_by_role("button", name="Add to the tests").click()
    tests = page.get_by_role("tabpanel", name="Tests")
    yaml = tests.get_by_role("textbox", name="Tests as YAML")
    expect(yaml).to_contain_text(f'"text": "{HOSTILE}"')
    tests.get_by_role("button", name="Run tests").click()
    expect(tests.get_by_role("region", name="Results")).to_contain_text("1 passed, 0 failed")
    # The rules in force look elsewhere.
    tests.get_by_role("radiogroup").get_by_text("In force").click()
    tests.get_by_role("button", name="Run tests").click()
    expect(tests.get_by_role("region", name="Results")).to_contain_text("0 passed, 1 failed")
    expect(tests.get_by_role("region", name="Results")).to_contain_text("expected allow for ada")


ORDERS = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /orders/{item} {
      allow create: if getAfter(/databases/$(database)/documents/items/$(item)).data.left
                       == get(/databases/$(database)/documents/items/$(item)).data.left - 1;
    }
    match /items/{item} {
      allow update: if existsAfter(/databases/$(database)/documents/orders/$(item));
    }
  }
}
"""


def test_several_writes_of_one_commit_are_tried_and_kept_as_a_test(
    open_console: NewPage, server: ServerProcess, operator: httpx.Client
) -> None:
    server.create_project("orders", ORDERS)
    store(operator, "orders", "items/i1", left=5)
    page = open_console("#/projects/orders/rules")
    playground = panel_of(page, "Playground")
    told = playground.get_by_role("region", name="Explanation")
    playground.get_by_label("Method", exact=True).select_option("create")
    playground.get_by_label("Document", exact=True).fill("orders/i1")
    playground.get_by_role("button", name="Run").click()
    expect(told.get_by_role("status")).to_contain_text("Denied create of /orders/i1")

    playground.get_by_role("button", name="Write of the same commit").click()
    other = playground.get_by_role("group", name="Write 2")
    other.get_by_label("Method of write 2").select_option("update")
    playground.get_by_role("button", name="Run").click()
    expect(other.get_by_text("name a document")).to_be_visible()
    other.get_by_label("Document of write 2").fill("items/i1")
    other.get_by_label("Data after the write").fill('{"left": 3}')
    playground.get_by_role("button", name="Run").click()
    expect(told.get_by_role("status")).to_contain_text("Denied a commit of 2 writes, 1 of 20")
    expect(told.locator("details.write[open]")).to_have_count(1)
    expect(told.locator("details.write[open]")).to_contain_text("create of /orders/i1")
    other.get_by_label("Data after the write").fill('{"left": 4}')
    playground.get_by_role("button", name="Run").click()
    expect(told.get_by_role("status")).to_contain_text("Allowed a commit of 2 writes, 3 of 20")
    expect(told.locator("details.write[open]")).to_have_count(0)
    told.get_by_text("update of /items/i1").click()
    expect(told.locator("details.write[open]")).to_contain_text("after the write exists")

    playground.get_by_role("button", name="Save as test").click()
    dialog = page.get_by_role("dialog", name="Save as a test")
    expect(dialog.get_by_label("Name")).to_have_value("nobody may create orders/i1 and 1 more")
    dialog.get_by_role("button", name="Add to the tests").click()
    tests = page.get_by_role("tabpanel", name="Tests")
    tests.get_by_role("button", name="Run tests").click()
    expect(tests.get_by_role("region", name="Results")).to_contain_text("1 passed, 0 failed")


def test_a_write_and_a_list_are_tried(
    open_console: NewPage, server: ServerProcess, operator: httpx.Client
) -> None:
    source = RULES.replace(
        "allow get:", "allow update: if request.resource.data.n > 1;\n allow list:"
    )
    source = source.replace("&& exists", "|| exists")
    key = server.create_project("written", source)
    store(operator, "written", "notes/n1", owner="ada", n=1)
    sign_up = {"email": "grace@example.com", "password": "12345678"}
    user = httpx.post(
        f"{server.url}/api/v1/projects/written/accounts:sign-up",
        headers={"X-Api-Key": key},
        json=sign_up,
        timeout=WAIT_SECONDS,
    ).json()["user"]
    page = open_console("#/projects/written/rules")
    playground = panel_of(page, "Playground")
    told = playground.get_by_role("region", name="Explanation")
    playground.get_by_label("Method").select_option("update")
    playground.get_by_label("Document", exact=True).fill("notes/n1")
    playground.get_by_role("button", name="Take what is stored").click()
    data = playground.get_by_label("Data after the write")
    expect(data).to_have_value(re.compile('"n": 1,'))
    data.fill('{"n": 2, "owner": }')
    playground.get_by_role("button", name="Run").click()
    expect(playground.get_by_text("line 1: a value is expected here")).to_be_visible()
    data.fill('{"n": 2}')
    playground.get_by_role("button", name="Run").click()
    expect(told.get_by_role("status")).to_contain_text("Allowed update")

    playground.get_by_label("Method").select_option("list")
    playground.get_by_label("Collection", exact=True).fill("notes")
    playground.get_by_role("radiogroup", name="Caller").get_by_text("A user").click()
    playground.get_by_role("combobox", name="User").fill("grace@example.com")
    playground.get_by_role("button", name="Run").click()
    expect(told.get_by_role("status")).to_contain_text("Denied")
    expect(told).to_contain_text('add where("owner", "==", request.auth.uid)')
    playground.get_by_role("button", name="Filter", exact=True).click()
    form = page.get_by_role("form", name="Filter")
    form.get_by_role("combobox", name="Field").fill("owner")
    form.get_by_role("textbox", name="Value").fill(user["uid"])
    form.get_by_role("button", name="Add filter").click()
    playground.get_by_role("button", name="Run").click()
    expect(told.get_by_role("status")).to_contain_text("Allowed")


def test_coverage_is_shown_in_the_editor(open_console: NewPage, server: ServerProcess) -> None:
    server.create_project("covered", RULES)
    page = open_console("#/projects/covered/rules")
    tests = panel_of(page, "Tests")
    yaml = tests.get_by_role("textbox", name="Tests as YAML")
    yaml.fill("tests:\n  - {get: notes/n1}\n")
    tests.get_by_role("button", name="Run tests").click()
    expect(tests.get_by_role("alert")).to_contain_text("line 2")
    expect(tests.locator(".cm-lint-marker-error")).to_have_count(1)
    yaml.fill(
        f"tests:\n  - name: '{HOSTILE}'\n    get: notes/n1\n    documents: {{notes/n1: {{owner: x}}}}"
        "\n    as: {uid: ada}\n    expect: allow\n"
    )
    page.keyboard.press("Control+Enter")
    results = tests.get_by_role("region", name="Results")
    expect(results).to_contain_text("0 passed, 1 failed")
    expect(results).to_contain_text(HOSTILE)
    expect(results).to_contain_text("resource.data.owner is 'x'")
    coverage = tests.get_by_role("region", name="Coverage")
    expect(coverage).to_contain_text("0 of 1 allow statements granted something")
    expect(page.locator(".cm-paint-part").first).to_contain_text("resource.data.owner")
    expect(page.locator(".cm-edge-part")).to_have_count(1)
    coverage.get_by_role("button", name=re.compile("exists.*never evaluated")).click()
    expect(editor_of(page)).to_be_focused()
    coverage.get_by_label("Show in the editor").uncheck()
    expect(page.locator(".cm-paint-part")).to_have_count(0)
    page.reload()
    # The tests are kept as long as the tab is.
    expect(panel_of(page, "Tests").get_by_role("textbox")).to_contain_text("notes/n1")


def test_the_rules_page_on_a_narrow_screen(open_console: NewPage, server: ServerProcess) -> None:
    server.create_project("narrow-rules", RULES)
    page = open_console("#/projects/narrow-rules/rules", size=(400, 800), dark=True)
    expect(editor_of(page)).to_be_visible()
    show = page.get_by_role("navigation", name="Show")
    show.get_by_role("button", name="playground").click()
    expect(editor_of(page)).to_be_hidden()
    page.get_by_label("Document", exact=True).fill("notes/n1")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("button", name="line 5").first.click()
    expect(editor_of(page)).to_be_focused()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 400


# --- history, denials, audit ---------------------------------------------------------------------


def test_the_history_tells_what_changed_and_rolls_back(
    open_console: NewPage, server: ServerProcess, operator: httpx.Client
) -> None:
    server.create_project("past")
    first = deploy(operator, "past", RULES, HOSTILE)
    deploy(operator, "past", RULES.replace("allow get", "allow list"), "lists instead")
    page = open_console("#/projects/past/rules/history")
    releases = page.get_by_role("region", name="Releases")
    expect(releases.get_by_role("listitem")).to_have_count(3)
    expect(releases.get_by_role("listitem").first).to_contain_text("in force")
    releases.get_by_role("link", name="lists instead").click()
    shown = page.get_by_role("region", name="Release", exact=True)
    expect(shown.locator(".cm-deletedChunk")).to_contain_text("allow get")
    expect(shown.get_by_role("button", name="Roll back")).to_have_count(0)

    releases.get_by_role("link", name=HOSTILE).click()
    expect(shown).to_contain_text("by operator")
    shown.get_by_text("Against in force").click()
    expect(shown.locator(".cm-deletedChunk")).to_contain_text("allow list")
    shown.get_by_role("button", name="Roll back to this").click()
    dialog = page.get_by_role("dialog", name="Roll back to this release?")
    expect(dialog.get_by_label("Message")).to_have_value(f"Back to “{HOSTILE}”")
    dialog.get_by_role("button", name="Roll back", exact=True).click()
    expect(page.get_by_text("The old rules are in force again")).to_be_visible()
    found = rules_of(operator, "past")
    assert (found["source"], found["rollback_of"]) == (RULES, first)
    expect(releases.get_by_role("listitem")).to_have_count(4)
    expect(shown).to_contain_text("rolled back to")
    # What is in force stands in the editor.
    page.get_by_role("navigation", name="Rules").get_by_role("link", name="Editor").click()
    expect(editor_of(page)).to_contain_text("allow get")


def test_denials_are_traced_by_request_id_and_tried_again(
    open_console: NewPage, server: ServerProcess, operator: httpx.Client
) -> None:
    server.create_project("denied", RULES)
    store(operator, "denied", "notes/n1", owner=HOSTILE)
    documents = f"{server.url}/api/v1/projects/denied/documents"
    page = open_console("#/projects/denied/rules/denials")
    expect(page.get_by_role("heading", name="No denials")).to_be_visible()
    refused = httpx.get(f"{documents}/notes/n1", timeout=WAIT_SECONDS)
    assert refused.status_code == 403
    httpx.get(f"{documents}/%3Cb%3E/n2", timeout=WAIT_SECONDS)
    # The list is refreshed by itself.
    denials = page.get_by_role("region", name="Denials")
    expect(denials.get_by_role("row")).to_have_count(3)
    expect(denials).to_contain_text("<b>/n2")
    expect(denials).to_contain_text("2 denied, 0 of them not explained")
    filters = page.get_by_role("search", name="Denials")
    filters.get_by_label("Method").select_option("list")
    expect(page.get_by_role("heading", name="No such denial is kept")).to_be_visible()
    filters.get_by_role("button", name="Clear").click()
    expect(denials.get_by_role("row")).to_have_count(3)
    request_id = refused.headers["x-request-id"]
    filters.get_by_label("Request id").fill(request_id)
    expect(denials.get_by_role("row")).to_have_count(2)
    expect(page).to_have_url(re.compile(f"/denials[?]request={re.escape(request_id)}$"))
    page.get_by_role("navigation", name="Rules").get_by_role("link", name="Denials").click()
    expect(filters.get_by_label("Request id")).to_have_value("")
    expect(denials.get_by_role("row")).to_have_count(3)

    denials.get_by_role("button", name="notes/n1").press("Enter")
    shown = page.get_by_role("region", name="Denial", exact=True)
    expect(shown).to_contain_text(request_id)
    expect(shown).to_contain_text(f"resource.data.owner'{HOSTILE}'")
    expect(shown.locator("mark")).to_contain_text("request.auth.uid")
    shown.get_by_role("button", name="Try in the playground").click()
    playground = page.get_by_role("tabpanel", name="Playground")
    expect(playground.get_by_label("Document", exact=True)).to_have_value("notes/n1")
    playground.get_by_role("button", name="Run").click()
    told = playground.get_by_role("region", name="Explanation")
    expect(told.get_by_role("status")).to_contain_text("Denied")
    expect(told).to_contain_text("null has no member `uid`")


def test_the_audit_tells_what_strangers_could_do(
    open_console: NewPage, server: ServerProcess, operator: httpx.Client
) -> None:
    source = RULES.replace("resource.data.owner == request.auth.uid", "request.auth != null")
    server.create_project("audited", source.replace("&& exists", "|| exists"))
    store(operator, "audited", "notes/n1", owner="ada")
    page = open_console("#/projects/audited/rules/audit")
    page.get_by_role("button", name="Run the audit").click()
    expect(page.get_by_text("Done: 1 finding")).to_be_visible()
    row = page.get_by_role("row").nth(1)
    expect(row).to_contain_text("notes/{id}")
    expect(row).to_contain_text("any user")
    expect(row).to_contain_text("1 of 1")
    row.get_by_role("link", name="notes/n1").click()
    expect(page).to_have_url(re.compile("#/projects/audited/data/notes/n1$"))
