"""Which web pages may call: the origins that a project lists, the server's own, and in development
mode every page of this machine."""

from __future__ import annotations

from urllib.parse import urlsplit

from baas.services.context import Context

ANY_ORIGIN = "*"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


async def is_origin_allowed(context: Context, project: str | None, origin: str, host: str) -> bool:
    """Whether a browser's page from `origin` may call `project` (None: the server itself, as the
    console does) at an address whose Host header was `host`. Raises NotFound for unknown projects.

    In development mode a Host that is no loopback name is never taken for our own: a page whose
    name was re-bound to this machine would pass as same-origin otherwise.
    """
    name = origin_host(origin)
    if name is None:
        return False
    is_development = context.settings.dev
    if is_development and name in _LOOPBACK:
        return True
    if origin.partition("://")[2].lower() == host.lower() and not is_development:
        return True
    if project is None:
        return False
    origins = (await context.projects.get_project(project)).origins
    return origin in origins or ANY_ORIGIN in origins


def origin_host(origin: str) -> str | None:
    """The host of a web origin; None for `null` and everything else that is none."""
    try:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or parts.path or parts.query or parts.fragment:
            return None
        return parts.hostname
    except ValueError:
        return None
