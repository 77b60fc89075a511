"""Projects, keys and users in the console."""

from __future__ import annotations

import json
import subprocess
import sys

import httpx
import pytest
from playwright.sync_api import expect

from tests.console.conftest import WAIT_SECONDS, NewPage, press_letter
from tests.processes import ServerProcess, checked

pytestmark = pytest.mark.browser


def test_a_project_is_created_with_a_publishable_key(
    open_console: NewPage, operator: httpx.Client
) -> None:
    page = open_console("#/")
    page.get_by_role("button", name="New project").click()
    dialog = page.get_by_role("dialog", name="New project")
    dialog.get_by_label("Name").fill("Field Guide 2")
    expect(dialog.get_by_label("Project id")).to_have_value("field-guide-2")
    dialog.get_by_role("button", name="Create project").click()
    created = page.get_by_role("dialog", name="Project created")
    shown = created.locator(".secret").inner_text().strip()
    assert shown.startswith("baas_pk_")
    created.get_by_role("button", name="Copy key").click()
    expect(created.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == shown
    created.get_by_role("button", name="Open project").click()
    expect(page.get_by_role("heading", name="Collections")).to_be_visible()
    assert page.url.endswith("#/projects/field-guide-2/data")
    keys = checked(operator.get("/admin/projects/field-guide-2/keys"))["keys"]
    assert shown in [key["key"] for key in keys]


def test_keys_and_origins(
    open_console: NewPage, server: ServerProcess, operator: httpx.Client
) -> None:
    server.create_project("with-keys")
    page = open_console("#/projects/with-keys/settings")
    page.get_by_role("button", name="New key").click()
    dialog = page.get_by_role("dialog", name="New API key")
    dialog.get_by_label("Kind").select_option("secret")
    dialog.get_by_label("Name").fill("importer")
    dialog.get_by_role("button", name="Create key").click()
    secret = page.get_by_role("dialog", name="Key created").locator(".secret").inner_text().strip()
    assert secret.startswith("baas_sk_")
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_text("importer")).to_be_visible()
    assert secret not in page.content()

    page.get_by_role("button", name="Revoke importer").click()
    page.get_by_role("button", name="Revoke key").click()
    expect(page.get_by_text("revoked", exact=True)).to_be_visible()
    refused = httpx.get(
        f"{server.url}/api/v1/projects/with-keys/documents/a/b",
        headers={"Authorization": f"Bearer {secret}"},
        timeout=WAIT_SECONDS,
    )
    assert refused.status_code == 401

    page.get_by_label("Allowed origins").fill("https://app.example.com/\nhttp://localhost:3000")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Settings are saved")).to_be_visible()
    project = checked(operator.get("/admin/projects/with-keys"))
    assert project["origins"] == ["https://app.example.com", "http://localhost:3000"]


def test_a_project_is_deleted_only_by_typing_its_id(
    open_console: NewPage, server: ServerProcess, operator: httpx.Client
) -> None:
    server.create_project("short-lived")
    page = open_console("#/projects/short-lived/settings")
    page.get_by_role("button", name="Delete project").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Delete project")).to_be_disabled()
    dialog.get_by_role("textbox").fill("short-lived")
    dialog.get_by_role("button", name="Delete project").click()
    expect(page.get_by_role("heading", name="Projects", exact=True)).to_be_visible()
    assert operator.get("/admin/projects/short-lived").status_code == 404


def test_users_are_created_disabled_and_deleted(
    open_console: NewPage, server: ServerProcess
) -> None:
    key = server.create_project("with-users")
    page = open_console("#/projects/with-users/users")
    expect(page.get_by_role("heading", name="No users yet")).to_be_visible()
    press_letter(page, "n")
    dialog = page.get_by_role("dialog", name="New user")
    dialog.get_by_label("E-mail").fill("grace@example.com")
    dialog.get_by_label("Password", exact=True).fill("12345678")
    dialog.get_by_role("button", name="Create user").click()
    user = page.get_by_role("row").filter(has_text="grace@example.com")
    expect(user).to_contain_text("active")

    def sign_in_status() -> int:
        return httpx.post(
            f"{server.url}/api/v1/projects/with-users/accounts:sign-in",
            headers={"X-Api-Key": key},
            json={"email": "grace@example.com", "password": "12345678"},
            timeout=WAIT_SECONDS,
        ).status_code

    assert sign_in_status() == 200
    user.get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Disable").click()
    expect(user).to_contain_text("disabled")
    assert sign_in_status() != 200
    user.get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Enable").click()
    expect(user).to_contain_text("active")
    user.get_by_role("button", name="Actions").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("button", name="Delete user").click()
    expect(page.get_by_role("heading", name="No users yet")).to_be_visible()


SIGNED_IN = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /notes/{note} { allow read, write: if request.auth != null; }
  }
}
"""


def test_a_new_project_tells_how_an_app_connects(
    open_console: NewPage, server: ServerProcess, operator: httpx.Client
) -> None:
    server.create_project("connected", SIGNED_IN)
    page = open_console("#/projects/connected/data")
    expect(page.get_by_role("heading", name="Write the first document")).to_be_visible()
    code = page.locator(".connect pre")
    expect(code).to_contain_text("baas_pk_")
    expect(code).not_to_contain_text("…")
    program = code.inner_text()
    # Before it runs: soon after there is a document, the page no longer tells how to write one.
    page.get_by_text("curl", exact=True).click()
    expect(code).to_contain_text("curl ")
    lines = code.inner_text().replace("ada@", "eve@").split("\n\n")

    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "{'text': 'hello'}" in ran.stdout

    signed_up = subprocess.run(["bash", "-c", lines[0]], capture_output=True, text=True, check=True)
    token = json.loads(signed_up.stdout)["id_token"]
    command = lines[1].replace("ID_TOKEN", token)
    made = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert json.loads(made.stdout)["path"].startswith("notes/"), made.stdout

    page.reload()
    expect(page.get_by_role("link", name="notes")).to_be_visible()


def test_a_project_that_is_gone_leads_to_the_others(open_console: NewPage) -> None:
    page = open_console("#/projects/nowhere/data")
    expect(page.get_by_role("alert")).to_contain_text("nowhere")
    page.get_by_role("link", name="All projects").click()
    expect(page.get_by_role("heading", name="Projects", exact=True)).to_be_visible()
