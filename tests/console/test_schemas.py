"""Schemas and backups in the console."""

from __future__ import annotations

import json

import httpx
import pytest
from playwright.sync_api import expect

from tests.console.conftest import NewPage
from tests.processes import ServerProcess, checked

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)>"


def test_schemas_are_edited_checked_deployed_and_brought_back(
    open_console: NewPage, server: ServerProcess, operator: httpx.Client
) -> None:
    server.create_project("with-schemas")
    place = "/projects/with-schemas/documents/users"
    checked(operator.put(f"{place}/ada", json={"fields": {"email": "a@example.com"}}))
    checked(operator.put(f"{place}/bob", json={"fields": {"email": 3}}))
    page = open_console("#/projects/with-schemas/schemas")
    page.get_by_role("button", name="Add a schema").first.click()
    editor = page.get_by_role("textbox", name="JSON Schema")
    editor.fill('{"type": "object"}')
    expect(page.get_by_role("alert")).to_contain_text("x-collection")
    expect(page.get_by_role("button", name="Deploy…")).to_be_disabled()
    editor.fill('{"x-collection": "users", "type": "nothing"}')
    expect(page.get_by_role("alert")).to_contain_text("not a valid JSON Schema at")
    expect(page.get_by_role("button", name="Deploy…")).to_be_disabled()
    schema = {
        "x-collection": "users",
        "description": HOSTILE,
        "properties": {"email": {"type": "string"}},
    }
    editor.fill(json.dumps(schema))
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_role("button", name="Check stored documents").click()
    expect(page.get_by_text("2 checked, 1 do not fit")).to_be_visible()
    expect(page.get_by_role("list", name="Documents that do not fit")).to_contain_text("users/bob")

    page.get_by_role("button", name="Deploy…").click()
    dialog = page.get_by_role("dialog", name="Deploy these schemas?")
    dialog.get_by_label("Message").fill(HOSTILE)
    dialog.get_by_role("button", name="Deploy", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("do not fit")
    expect(dialog.get_by_role("list", name="Documents")).to_contain_text("email")
    expect(dialog.get_by_role("button", name="Deploy", exact=True)).to_be_disabled()
    dialog.get_by_label("Deploy all the same").check()
    dialog.get_by_role("button", name="Deploy", exact=True).click()
    expect(page.get_by_text("The schemas are in force")).to_be_visible()
    found = checked(operator.get("/admin/projects/with-schemas/schemas"))
    assert (found["schemas"], found["message"]) == ([schema], HOSTILE)

    body = {"schemas": [], "message": "theirs"}
    checked(operator.put("/admin/projects/with-schemas/schemas", json=body))
    page = open_console("#/projects/with-schemas/schemas")
    page.get_by_role("button", name="History").click()
    page.get_by_role("menuitem", name=HOSTILE).click()
    expect(page.get_by_text("not deployed")).to_be_visible()
    expect(page.get_by_role("textbox", name="JSON Schema")).to_contain_text(HOSTILE)


def test_backups_are_made_scheduled_verified_and_restored(
    open_console: NewPage, server: ServerProcess, operator: httpx.Client
) -> None:
    server.create_project("kept")
    checked(operator.put("/projects/kept/documents/a/b", json={"fields": {"n": 1}}))
    page = open_console("#/projects/kept/backups")
    page.get_by_role("button", name="Back up now").click()
    page.get_by_role("menuitem", name="This project").click()
    expect(page.get_by_role("article", name="Back up")).to_contain_text("done")
    backups = page.get_by_role("region", name="Backups")
    expect(backups).to_contain_text("1 documents")

    backups.get_by_role("button", name="Actions of backup").click()
    page.get_by_role("menuitem", name="Verify").click()
    expect(page.get_by_role("article", name="Verify")).to_contain_text("done")
    backups.get_by_role("button", name="Actions of backup").click()
    page.get_by_role("menuitem", name="Restore a project").click()
    dialog = page.get_by_role("dialog", name="Restore a project")
    dialog.get_by_label("Its id").fill("kept")
    dialog.get_by_role("button", name="Restore").click()
    expect(dialog.get_by_role("alert")).to_contain_text("kept")
    dialog.get_by_label("Its id").fill("kept-again")
    dialog.get_by_role("button", name="Restore").click()
    expect(page.get_by_role("article", name="Restore")).to_contain_text("done")
    found = checked(operator.get("/projects/kept-again/documents/a/b"))
    assert found["fields"] == {"n": 1}

    page.get_by_role("button", name="Schedule…").click()
    dialog = page.get_by_role("dialog", name="Make backups by themselves")
    dialog.get_by_label("When").select_option("every week")
    dialog.get_by_label("Keep so many").fill("3")
    dialog.get_by_role("button", name="Save").click()
    schedules = page.get_by_role("region", name="Schedules")
    expect(schedules).to_contain_text("every week")
    expect(schedules).to_contain_text("last good one")  # the first begins at once
    (made,) = checked(operator.get("/admin/backup-schedules"))["schedules"]
    assert (made["project"], made["every_seconds"], made["keep_last"]) == ("kept", 604_800, 3)
    schedules.get_by_role("button", name="Remove the schedule").click()
    expect(schedules).to_have_count(0)
