"""The files page against a live server: up, down, looked at, and nothing of it ever run."""

from __future__ import annotations

import io
import json
import random
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Page, Route, expect

from tests.console.conftest import WAIT_SECONDS, NewPage, copied_text, sign_in, press_letter
from tests.processes import ServerProcess, checked

pytestmark = pytest.mark.browser

PART_BYTES = 8 * 1024 * 1024


@pytest.fixture
def project(server: ServerProcess, operator: httpx.Client, request: pytest.FixtureRequest) -> str:
    """A project of the test's own, with a bucket."""
    identifier = f"f-{zlib.crc32(request.node.name.encode()):08x}"
    server.create_project(identifier)
    checked(operator.post(f"/admin/projects/{identifier}/buckets", json={"id": "default"}))
    return identifier


def url(project: str, name: str) -> str:
    return f"/projects/{project}/buckets/default/objects/{quote(name, safe='')}"


def put(
    operator: httpx.Client, project: str, name: str, data: bytes, kind: str = "text/plain"
) -> dict[str, Any]:
    return checked(operator.put(url(project, name), content=data, headers={"Content-Type": kind}))


def names(operator: httpx.Client, project: str) -> list[str]:
    listed = checked(operator.get(f"/projects/{project}/buckets/default/objects"))
    return [one["name"] for one in listed["objects"]]


def picture(width: int, height: int) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (width, height), (12, 107, 114)).save(written, "PNG")
    return written.getvalue()


def rows(page: Page) -> Any:
    return page.locator("table.files-grid tbody tr")


def pick(page: Page, *files: tuple[str, str, bytes]) -> None:
    page.locator("input[type=file]").first.set_input_files(
        [FilePayload(name=name, mimeType=kind, buffer=data) for name, kind, data in files]
    )


def tray(page: Page) -> Any:
    return page.get_by_role("region", name="Uploads")


def drop(page: Page, files: dict[str, str]) -> None:
    """Drops files where a person would."""
    page.get_by_role("region", name="Files").evaluate(
        """(pane, files) => {
          const data = new DataTransfer();
          for (const [name, text] of Object.entries(files))
            data.items.add(new File([text], name, { type: "text/plain" }));
          for (const kind of ["dragenter", "dragover", "drop"])
            pane.dispatchEvent(
              new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        files,
    )


def test_the_first_bucket_and_the_first_files(
    server: ServerProcess, open_console: NewPage, operator: httpx.Client
) -> None:
    server.create_project("f-first")
    page = open_console("#/projects/f-first/files")
    page.get_by_role("button", name="Create a bucket").click()
    dialog = page.get_by_role("dialog", name="New bucket")
    expect(dialog.get_by_label("Bucket id")).to_have_value("default")
    dialog.get_by_label("Bucket id").fill("No")
    expect(dialog.get_by_text("3 to 63 of a-z")).to_be_visible()
    dialog.get_by_label("Bucket id").fill("default")
    dialog.get_by_role("button", name="Create bucket").click()
    expect(page.get_by_text("No files yet")).to_be_visible()
    pick(page, ("a.txt", "text/plain", b"one"), ("b c.txt", "text/plain", b"two"))
    expect(tray(page)).to_contain_text("2 of 2 uploaded")
    expect(rows(page)).to_have_count(2)
    assert operator.get(url("f-first", "b c.txt")).content == b"two"
    tray(page).get_by_role("button", name="Close the list of uploads").click()

    page.get_by_role("button", name="Actions for bucket default").click()
    page.get_by_role("menuitem", name="Delete bucket").click()
    dialog = page.get_by_role("dialog", name="Delete this bucket?")
    dialog.get_by_role("textbox").fill("default")
    dialog.get_by_role("button", name="Delete bucket").click()
    expect(page.get_by_text("No buckets yet")).to_be_visible()


def test_files_are_dropped_into_the_folder_that_is_open(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    page = open_console(f"#/projects/{project}/files/default")
    expect(page.get_by_text("No files yet")).to_be_visible()
    press_letter(page, "n")
    page.get_by_label("Folder name").fill("holiday/día 1")
    page.get_by_role("button", name="Open folder").click()
    expect(page.get_by_text("Nothing in this folder")).to_be_visible()
    drop(page, {"x.txt": "dropped", "ü & co?.txt": "odd"})
    expect(rows(page)).to_have_count(2)
    assert operator.get(url(project, "holiday/día 1/ü & co?.txt")).text == "odd"
    page.get_by_role("navigation", name="Folder").get_by_role("link", name="holiday").click()
    expect(rows(page)).to_have_count(1)
    page.get_by_role("link", name="día 1/").click()
    expect(rows(page)).to_have_count(2)


def test_a_large_file_survives_a_lost_connection(
    server: ServerProcess,
    watched_page: NewPage,
    operator: httpx.Client,
    project: str,
    tmp_path: Path,
) -> None:
    data = random.Random(1).randbytes(PART_BYTES + 3_000_000)
    (tmp_path / "large.bin").write_bytes(data)
    page = watched_page(session=sign_in(server), restarts=True)
    page.goto(f"{server.url}/console/#/projects/{project}/files/default")
    expect(page.get_by_text("No files yet")).to_be_visible()
    lost: list[str] = []

    def lose(route: Route) -> None:
        lost.append(route.request.method)
        route.abort("connectionreset")

    page.route("**/uploads/*", lose, times=3)
    page.locator("input[type=file]").first.set_input_files(tmp_path / "large.bin")
    expect(tray(page)).to_contain_text("1 of 1 uploaded")
    assert lost == ["PATCH", "GET", "PATCH"]
    assert operator.get(url(project, "large.bin")).content == data


def test_an_upload_is_cancelled(
    open_console: NewPage, operator: httpx.Client, project: str, tmp_path: Path
) -> None:
    (tmp_path / "large.bin").write_bytes(b"x" * (PART_BYTES + 1))
    page = open_console(f"#/projects/{project}/files/default")
    expect(page.get_by_text("No files yet")).to_be_visible()
    page.route("**/uploads/*", hold_back)
    with page.expect_request(lambda request: request.method == "PATCH"):
        page.locator("input[type=file]").first.set_input_files(tmp_path / "large.bin")
    expect(tray(page)).to_contain_text("Uploading 1 of 1")
    tray(page).get_by_role("button", name="Cancel large.bin").click()
    expect(tray(page)).to_contain_text("Cancelled")
    assert names(operator, project) == []


def hold_back(route: Route) -> None:
    """Bytes stand still for as long as the test looks at it."""
    if route.request.method != "PATCH":
        route.continue_()


def test_nothing_is_replaced_unasked(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    put(operator, project, "a.txt", b"before")
    page = open_console(f"#/projects/{project}/files/default")
    expect(rows(page)).to_have_count(1)
    pick(page, ("a.txt", "text/plain", b"after"))
    expect(tray(page)).to_contain_text("There is a file of this name.")
    assert operator.get(url(project, "a.txt")).content == b"before"
    tray(page).get_by_role("button", name="Replace it").click()
    expect(tray(page)).to_contain_text("1 of 1 uploaded")
    assert operator.get(url(project, "a.txt")).content == b"after"


def test_long_lists_come_page_by_page_and_by_keyboard(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    for number in range(103):
        put(operator, project, f"many/f{number:03}.txt", b"x")
    page = open_console(f"#/projects/{project}/files/default/many")
    expect(rows(page)).to_have_count(100)
    expect(page.get_by_text("100+ items")).to_be_visible()
    page.get_by_role("button", name="Load more").click()
    expect(rows(page)).to_have_count(103)
    page.get_by_role("link", name="f000.txt").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="f002.txt")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="File f002.txt")).to_be_visible()


SCRIPTS = {
    "page.html": ("text/html", b"<!doctype html><script>window.ran = 1; alert(1)</script>"),
    "shape.svg": (
        "image/svg+xml",
        b'<svg xmlns="http://www.w3.org/2000/svg" onload="window.ran = 1">'
        b"<script>alert(2)</script></svg>",
    ),
    "liar.png": ("image/png", b"<!doctype html><script>alert(3)</script>"),
}


def test_what_others_uploaded_is_never_run(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    for name, (kind, data) in SCRIPTS.items():
        put(operator, project, name, data, kind)
    page = open_console(f"#/projects/{project}/files/default")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    for name, (_, data) in SCRIPTS.items():
        page.get_by_role("link", name=name).click()
        pane = page.get_by_role("region", name=f"File {name}")
        expect(pane.get_by_label(f"Beginning of {name}")).to_have_text(data.decode())
        assert pane.locator("iframe, object, embed, img, svg script").count() == 0
    expect(pane.get_by_text("text/html")).to_be_visible()  # what the liar looks like
    assert page.evaluate("window.ran") is None
    assert dialogs == []


def test_pictures_are_shown_and_downloaded(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    data = picture(300, 200)
    put(operator, project, "p/pic.png", data, "image/png")
    put(operator, project, "p/broken.png", data[:60], "image/png")
    page = open_console(f"#/projects/{project}/files/default/p?object=p%2Fpic.png")
    shown = page.get_by_role("img", name="pic.png")
    expect(shown).to_be_visible()
    page.wait_for_function("document.querySelector('.preview img').naturalWidth > 0")
    with page.expect_download() as caught:
        page.get_by_role("button", name="Download").click()
    assert caught.value.suggested_filename == "pic.png"
    assert caught.value.path().read_bytes() == data
    page.get_by_role("link", name="broken.png").click()
    expect(page.get_by_text("No preview of image/png")).to_be_visible()


def test_a_signed_link_opens_without_an_account(
    server: ServerProcess, open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    put(operator, project, "a b.txt", b"shared")
    page = open_console(f"#/projects/{project}/files/default?object=a%20b.txt")
    page.get_by_role("button", name="File actions").click()
    page.get_by_role("menuitem", name="Signed link").click()
    dialog = page.get_by_role("dialog", name="Signed link")
    dialog.get_by_label("Expires in").select_option("7 days")
    link = copied_text(page, dialog.get_by_role("button", name="Copy link").click)
    assert link.startswith(server.url)
    assert httpx.get(link, timeout=WAIT_SECONDS).text == "shared"
    dialog.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="File actions").click()
    assert copied_text(page, page.get_by_role("menuitem", name="Copy name").click) == "a b.txt"


def test_metadata_is_edited_and_never_overwritten(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    put(operator, project, "a.txt", b"x")
    page = open_console(f"#/projects/{project}/files/default?object=a.txt")
    form = page.get_by_role("form", name="Metadata")
    form.get_by_role("button", name="Add a key").click()
    form.get_by_label("Key 1").fill("author")
    form.get_by_label("Value 1").fill("Zoë")
    form.get_by_label("Type", exact=True).fill("text/x-note")
    form.get_by_role("button", name="Save metadata").click()
    expect(page.get_by_text("The metadata is saved")).to_be_visible()
    stored = checked(operator.get(url(project, "a.txt") + ":metadata"))
    assert (stored["metadata"], stored["content_type"]) == ({"author": "Zoë"}, "text/x-note")

    form.get_by_label("Value 1").fill("mine")
    change = {"metadata": {"author": "theirs"}}
    checked(operator.patch(url(project, "a.txt") + ":metadata", content=json.dumps(change)))
    form.get_by_role("button", name="Save metadata").click()
    expect(form.get_by_role("alert")).to_contain_text("somebody else changed this file")
    page.get_by_role("link", name="Users").click()
    page.get_by_role("dialog", name="Leave without saving?").get_by_role(
        "button", name="Keep editing"
    ).click()
    form.get_by_role("button", name="Show theirs, discard mine").click()
    expect(form.get_by_label("Value 1")).to_have_value("theirs")


def test_files_are_renamed_and_deleted(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    for name in ("a.txt", "taken.txt", "deep/er/1.txt", "deep/er/2.txt", "deep/3.txt"):
        put(operator, project, name, name.encode())
    page = open_console(f"#/projects/{project}/files/default?object=a.txt")
    page.get_by_role("button", name="File actions").click()
    page.get_by_role("menuitem", name="Rename or move").click()
    dialog = page.get_by_role("dialog", name="Rename or move")
    field = dialog.get_by_label("New name, with its folders")
    field.fill("a//b")
    expect(dialog.get_by_role("button", name="Rename")).to_be_disabled()
    field.fill("taken.txt")
    dialog.get_by_role("button", name="Rename").click()
    expect(dialog.get_by_role("alert")).to_contain_text("There is a file of this name already")
    field.fill("new/place.txt")
    dialog.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("region", name="File place.txt")).to_be_visible()
    assert operator.get(url(project, "new/place.txt")).content == b"a.txt"
    page.get_by_role("button", name="File actions").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("button", name="Delete file").click()
    expect(page.get_by_text("place.txt is deleted")).to_be_visible()

    page.get_by_role("navigation", name="Folder").get_by_role("link", name="default").click()
    expect(rows(page)).to_have_count(2)
    page.get_by_label("Select folder deep").check()
    page.get_by_role("button", name="Delete", exact=True).click()
    dialog = page.get_by_role("dialog", name="Delete deep?")
    expect(dialog).to_contain_text("with all that is below them")
    dialog.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("3 files are deleted")).to_be_visible()
    expect(rows(page)).to_have_count(1)
    assert names(operator, project) == ["taken.txt"]


def test_one_pane_at_a_time_on_a_narrow_screen(
    open_console: NewPage, operator: httpx.Client, project: str
) -> None:
    put(operator, project, "a/b.txt", b"x")
    page = open_console(f"#/projects/{project}/files", size=(400, 780), dark=True)
    page.get_by_role("link", name="default").click()
    page.get_by_role("link", name="a/").click()
    page.get_by_role("link", name="b.txt").click()
    expect(page.get_by_role("region", name="File b.txt")).to_be_visible()
    expect(page.get_by_role("region", name="Files")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Close file").click()
    expect(page.get_by_role("region", name="Files")).to_be_visible()
    page.get_by_role("navigation", name="Folder").get_by_role("link", name="Buckets").click()
    expect(page.get_by_role("region", name="Buckets")).to_be_visible()


def test_a_file_that_is_gone_says_so(open_console: NewPage, project: str) -> None:
    page = open_console(f"#/projects/{project}/files/default?object=gone.txt")
    expect(page.get_by_text("There is no such file")).to_be_visible()


HOSTILE = (
    "<img src=x onerror=\"window.__hit='img'\">",
    "\"'><script>window.__hit='script'<\\script>",
    "<svg onload=\"window.__hit='svg'\">.svg",
    "javascript:window.__hit='url'",
    "__proto__",
    "\u202egnp.exe",
)
ACTIVE = (
    b"<html><svg onload=\"window.__hit='svg'\"><script>window.__hit='html'</script></svg></html>"
)


def test_hostile_names_metadata_and_contents_are_only_ever_text(
    open_console: NewPage, server: ServerProcess, operator: httpx.Client, project: str
) -> None:
    for number, name in enumerate(HOSTILE):
        kind = ("text/html", "image/svg+xml", "text/plain")[number % 3]
        put(operator, project, name, ACTIVE, kind)
        metadata = {text: text for text in HOSTILE}
        change = {"metadata": metadata, "content_type": f"{kind}; x=<img src=x onerror=1>"}
        checked(operator.patch(f"{url(project, name)}:metadata", json=change))
    page = open_console(f"#/projects/{project}/files")
    expect(rows(page)).to_have_count(len(HOSTILE))
    for name in (one.replace("\u202e", "\\u202e") for one in HOSTILE):
        rows(page).filter(has_text=name).get_by_role("link").first.click()
        expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    assert page.evaluate("window.__hit") is None
    assert page.locator("main img[src=x], main script, main svg[onload]").count() == 0
