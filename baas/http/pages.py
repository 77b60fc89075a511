"""Pages and probes: health, the docs page, the console's build."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from baas.errors import NotFound, Unavailable
from baas.http.answers import Answer, json_answer
from baas.http.exchange import Header
from baas.http.requests import Request

CONSOLE = Path(__file__).parent / "console"
DOCS = Path(__file__).parent / "docs"
_HTML = b"text/html; charset=utf-8"
_ISOLATED: tuple[Header, ...] = (
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
# Styles alone may stand inline: editors and component libraries set them from script.
_CONSOLE_POLICY: Header = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data: blob:; media-src 'self'; font-src 'self' data:; connect-src 'self'; "
    b"worker-src 'self'; manifest-src 'self'; "
    b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
)
_DOCS_POLICY: Header = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)
_FOREVER: Header = (b"cache-control", b"public, max-age=31536000, immutable")
_REVALIDATE: Header = (b"cache-control", b"no-cache")

_NOT_BUILT = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>baas: the console is not built</title></head>
<body><h1>The console is not built</h1>
<p>This server runs from a checkout whose console has not been built: <code>make console</code>
builds it with npm. Packages from a release carry it. Everything else works without it: the API and
<a href="/docs">its description</a>, and the command line <code>baas</code>.</p></body></html>
"""


async def get_health(request: Request) -> Answer:
    return json_answer({"status": "ok"})


async def get_readiness(request: Request) -> Answer:
    """Ready means that the system database answers; a drain ends it before connections end."""
    if not await request.context.is_ready():
        raise Unavailable("the server is not ready", reason="NotReady")
    reasons = request.context.degradations
    if reasons:
        return json_answer({"status": "degraded", "reasons": reasons})
    return json_answer({"status": "ok"})


async def get_root(request: Request) -> Answer:
    return Answer(b"", status=307, headers=((b"location", b"/console/"), _REVALIDATE))


async def get_console_root(request: Request) -> Answer:
    return await get_root(request)


async def get_docs(request: Request) -> Answer:
    body = _read(DOCS / "index.html")
    assert body is not None
    return Answer(body, content_type=_HTML, headers=(_DOCS_POLICY, _REVALIDATE, *_ISOLATED))


async def get_docs_asset(request: Request) -> Answer:
    name = request.params["asset"]
    body = _read(DOCS / name) if name in ("docs.js", "docs.css") else None
    if body is None:
        raise NotFound(f"there is no `{name[:80]}` here", reason="RouteNotFound")
    return Answer(
        body,
        content_type=_content_type(name),
        headers=(_DOCS_POLICY, _REVALIDATE, *_ISOLATED),
    )


async def get_console(request: Request) -> Answer:
    """A file of the build, or its page for every address that the app itself routes."""
    name = request.params["asset"]
    if not (CONSOLE / "index.html").is_file():
        headers = (_CONSOLE_POLICY, _REVALIDATE, *_ISOLATED)
        return Answer(_NOT_BUILT, status=503, content_type=_HTML, headers=headers)
    file = _console_file(name)
    if file is None and "." in name.rpartition("/")[2]:
        raise NotFound(f"the console has no `{name[:200]}`", reason="RouteNotFound")
    if file is None:
        file = CONSOLE / "index.html"
    body = _read(file)
    if body is None:
        raise NotFound(f"the console has no `{name[:200]}`", reason="RouteNotFound")
    hashed = name.startswith("assets/")
    return Answer(
        body,
        content_type=_content_type(file.name),
        headers=(_CONSOLE_POLICY, _FOREVER if hashed else _REVALIDATE, *_ISOLATED),
    )


def _console_file(name: str) -> Path | None:
    """The build's file of that name; no name, however it is spelt, leads out of the folder."""
    try:
        file = (CONSOLE / name).resolve()
        return file if file.is_relative_to(CONSOLE.resolve()) and file.is_file() else None
    except (OSError, ValueError):
        return None


def _content_type(name: str) -> bytes:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if name.endswith(".js"):
        kind = "text/javascript"
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    return kind.encode("ascii")


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None
