"""CORS. A browser's page may call a project only from the origins that the project lists, from the
server's own pages, and in development mode from this machine.

No cookie is ever used, so `Access-Control-Allow-Credentials` is never sent.
"""

from __future__ import annotations

from baas.errors import PermissionDenied
from baas.http.exchange import Header
from baas.http.requests import Request
from baas.services.origins import is_origin_allowed

ADMINISTRATION = "/api/v1/admin"
_EXPOSED = (
    b"access-control-expose-headers",
    b"x-request-id, retry-after, etag, last-modified, accept-ranges, content-range, "
    b"content-disposition, x-baas-sha256, upload-offset",
)
_ALLOWED_HEADERS = (
    b"access-control-allow-headers",
    b"authorization, content-type, x-api-key, accept, range, if-match, if-none-match, if-range, "
    b"content-md5, idempotency-key, x-baas-meta, x-baas-sha256, upload-offset",
)
_MAX_AGE = (b"access-control-max-age", b"600")
_VARY = (b"vary", b"origin")


async def check_origin(request: Request) -> None:
    """Notes an allowed origin on the request. Raises PermissionDenied (`OriginNotAllowed`)."""
    assert request.origin is not None
    origin = request.origin.decode("latin-1")
    host = request.headers.get(b"host", b"").decode("latin-1")
    # An app's origins may call the app's project; only the console may administrate.
    project = None if request.path.startswith(ADMINISTRATION) else request.project
    if not await is_origin_allowed(request.context, project, origin, host):
        raise PermissionDenied(
            f"the origin `{origin[:200]}` is not among the project's allowed origins",
            reason="OriginNotAllowed",
        )
    request.allowed_origin = request.origin


def cors_headers(request: Request) -> list[Header]:
    """The headers of every answer to an allowed origin."""
    assert request.allowed_origin is not None
    return [(b"access-control-allow-origin", request.allowed_origin), _EXPOSED, _VARY]


def preflight_headers(request: Request, allow: bytes) -> list[Header]:
    """The further headers of an answer to a preflight."""
    headers: list[Header] = [(b"access-control-allow-methods", allow), _ALLOWED_HEADERS, _MAX_AGE]
    if request.headers.get(b"access-control-request-private-network") == b"true":
        headers.append((b"access-control-allow-private-network", b"true"))
    return headers
