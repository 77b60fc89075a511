"""How a client reaches its server: checked once, then shared by everything that sends."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from urllib.parse import urlsplit

from baas_sdk._flow import RetryPolicy, check_timeout
from baas_sdk._paths import DatabaseName
from baas_sdk.errors import InvalidArgument

TIMEOUT_SECONDS = 60.0
CONNECT_SECONDS_MAX = 10.0
SECRET_KEY_PREFIX = "baas_sk_"

try:
    USER_AGENT = f"baas-sdk-python/{version('baas-sdk')}"
except PackageNotFoundError:  # run from a source tree that is not installed
    USER_AGENT = "baas-sdk-python"


@dataclass(frozen=True, slots=True)
class Options:
    """What `Client(…)` was given."""

    base_url: str
    home: DatabaseName
    api_key: str | None = field(repr=False)  # a publishable one: names the app, opens nothing
    bearer: str | None = field(repr=False)  # sent while nobody is signed in
    timeout_seconds: float
    retry: RetryPolicy

    @property
    def is_loopback(self) -> bool:
        """The server is this machine: no proxy of the environment is asked."""
        host = urlsplit(self.base_url).hostname or ""
        try:
            return host == "localhost" or ip_address(host).is_loopback
        except ValueError:
            return False

    def headers(self, token: str | None) -> dict[str, str]:
        """The headers that say who asks."""
        found = {} if self.api_key is None else {"X-Api-Key": self.api_key}
        if token is not None:
            found["Authorization"] = f"Bearer {token}"
        return found


def make_options(
    base_url: str,
    *,
    project: str,
    database: str,
    api_key: str | None,
    token: str | None,
    timeout: float,
    retry: RetryPolicy | None,
) -> Options:
    """Raises InvalidArgument that names what is wrong."""
    for name, value in (("project", project), ("database", database)):
        if not isinstance(value, str) or not value or "/" in value:
            raise InvalidArgument(f"`{name}` is a non-empty id without `/`, not `{value!r}`")
    for name, secret in (("api_key", api_key), ("token", token)):
        if secret is not None and (
            not isinstance(secret, str) or not secret.isascii() or not secret.isprintable()
        ):
            raise InvalidArgument(f"`{name}` is a string of ASCII characters, or None")
    bearer = token
    if api_key is not None and api_key.startswith(SECRET_KEY_PREFIX):
        if token is not None:
            raise InvalidArgument("give a secret key as `api_key` or a `token`, not both")
        api_key, bearer = None, api_key
    return Options(
        base_url=_check_url(base_url),
        home=DatabaseName(project, database),
        api_key=api_key,
        bearer=bearer,
        timeout_seconds=check_timeout(timeout, TIMEOUT_SECONDS),
        retry=retry or RetryPolicy(),
    )


def _check_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, AttributeError, TypeError):
        is_right = False
    if not is_right or parts.query or parts.fragment or parts.username is not None:
        raise InvalidArgument(
            f"`{text}` is not a server's address; one is `http://127.0.0.1:8080`"
            " or `https://example.org`"
        )
    return text.rstrip("/")
