"""The console's build, the docs page, the probes."""

from __future__ import annotations

from pathlib import Path

import pytest

from baas.http import pages
from tests.baas.http.conftest import World
from tests.baas.http.test_bad_input import check_error


@pytest.fixture
def console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A build of two files, in place of the real one."""
    folder = tmp_path / "console"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>console</title>")
    (folder / "assets" / "index-abc123.js").write_text("export {};")
    (folder / "favicon.svg").write_text("<svg/>")
    (tmp_path / "secret.txt").write_text("secret")
    monkeypatch.setattr(pages, "CONSOLE", folder)
    return folder


@pytest.mark.parametrize("path", ["/console/", "/console/projects/demo"])
async def test_the_console_is_served_with_strict_headers(
    world: World, console: Path, path: str
) -> None:
    answer = await world.anonymous.get(path)
    assert answer.status_code == 200
    assert "console" in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"


async def test_hashed_assets_are_kept_for_long(world: World, console: Path) -> None:
    answer = await world.anonymous.get("/console/assets/index-abc123.js")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    icon = await world.anonymous.get("/console/favicon.svg")
    assert icon.headers["content-type"] == "image/svg+xml"
    assert icon.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "name",
    [
        "../secret.txt",
        "%2e%2e/secret.txt",
        "..%2fsecret.txt",
        "assets/../../secret.txt",
        "//etc/passwd.txt",
        "%00.txt",
        "assets/index-abc123.js%00.txt",
        "x" * 5_000 + ".js",
        "assets/none.js",
    ],
)
async def test_no_name_leads_out_of_the_build(world: World, console: Path, name: str) -> None:
    answer = await world.anonymous.get(f"/console/{name}")
    assert answer.status_code in (400, 404)
    assert "secret" not in answer.content.decode().replace("secret.txt", "")


async def test_without_a_build_the_page_says_so(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "CONSOLE", tmp_path / "absent")
    answer = await world.anonymous.get("/console/")
    assert answer.status_code == 503
    assert "The console is not built" in answer.text


@pytest.mark.parametrize("path", ["/", "/console"])
async def test_the_root_leads_to_the_console(world: World, path: str) -> None:
    answer = await world.anonymous.get(path)
    assert (answer.status_code, answer.headers["location"]) == (307, "/console/")


async def test_the_docs_page_stands_on_its_own(world: World) -> None:
    page = await world.anonymous.get("/docs")
    assert page.status_code == 200
    assert "https://" not in page.text
    assert "<script>" not in page.text
    assert "script-src 'self';" in page.headers["content-security-policy"]
    for asset in ("docs.js", "docs.css"):
        assert f'"/docs/{asset}"' in page.text
        assert (await world.anonymous.get(f"/docs/{asset}")).status_code == 200
    check_error(await world.anonymous.get("/docs/pages.py"), 404)


async def test_probes(world: World) -> None:
    for path in ("/healthz", "/readyz"):
        answer = await world.anonymous.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
