"""One frozen table of every setting: name, default, help. Limits carry their unit in their name.

Sources, weakest first: the defaults here < `baas.toml` < environment (`BAAS_<NAME>`) < flags.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from baas.errors import InvalidArgument

ENVIRONMENT_PREFIX = "BAAS_"


def _setting(default: Any, help_text: str) -> Any:
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on everything that a caller can make large. Firestore's where Firestore has one."""

    request_bytes_max: int = _setting(10 * 1024 * 1024, "largest request body")
    document_bytes_max: int = _setting(1_048_576 - 4, "largest document, in Firestore's own count")
    value_depth_max: int = _setting(20, "deepest nesting of maps and arrays in a document")
    commit_writes_max: int = _setting(500, "most writes in one commit")
    batch_get_documents_max: int = _setting(1_000, "most documents in one batch get")
    query_page_documents_max: int = _setting(5_000, "most documents in one JSON answer of a query")
    query_disjunctions_max: int = _setting(30, "most disjunctions of a query in normal form")
    connection_targets_max: int = _setting(200, "most listen targets on one connection")
    project_connections_max: int = _setting(20_000, "most open listen connections of a project")
    listen_queue_messages_max: int = _setting(1_000, "unsent messages before a reader is reset")
    listen_queue_bytes_max: int = _setting(
        16 * 1024 * 1024, "unsent bytes before a reader is reset"
    )
    listen_message_bytes_max: int = _setting(1024 * 1024, "largest message from a listening client")
    commit_group_max: int = _setting(1_000, "most commits that share one storage transaction")
    commit_queue_max: int = _setting(10_000, "commits that may wait before newcomers are refused")
    password_queue_max: int = _setting(
        200, "password checks that may wait before newcomers are refused"
    )
    collection_indexes_max: int = _setting(64, "most indexes made on demand for one collection id")
    ruleset_bytes_max: int = _setting(256 * 1024, "largest ruleset source")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything an operator can set. Frozen: made once at start, passed downwards."""

    data: Path = _setting(Path("data"), "folder that holds everything the server keeps")
    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(8080, "TCP port to listen on; 0 takes any free one")
    server: str = _setting("uvicorn", "HTTP server: uvicorn or granian")
    dev: bool = _setting(
        False, "development mode: explained denials, creation on first use; loopback only"
    )
    synchronous: str = _setting(
        "full", "SQLite durability: full survives a power cut, normal a crash"
    )
    log_level: str = _setting("info", "least level that is logged: debug, info, warning or error")
    access_log: bool = _setting(True, "one structured log line per request")
    id_token_lifetime_seconds: int = _setting(3_600, "life of an id token")
    refresh_token_lifetime_seconds: int = _setting(60 * 86_400, "life of an unused refresh token")
    admin_session_lifetime_seconds: int = _setting(12 * 3_600, "life of an administrator's session")
    password_threads: int = _setting(2, "threads that hash passwords, each using about 19 MiB")
    drain_seconds: float = _setting(10.0, "time that open requests get to finish at shutdown")
    open_databases_max: int = _setting(
        200, "database files kept open; the least recently used are closed"
    )
    retention_seconds: int = _setting(7 * 86_400, "how far back history and log reach")
    retention_bytes: int = _setting(
        1024 * 1024 * 1024, "how large history and log may grow per database"
    )
    limits: Limits = field(
        default_factory=Limits, metadata={"help": "bounds on request size and work"}
    )


def setting_fields() -> tuple[Field[Any], ...]:
    """Every scalar setting, in the order of the table, for help texts and docs."""
    return tuple(item for item in fields(Settings) if item.name != "limits")


def limit_fields() -> tuple[Field[Any], ...]:
    """Every limit, in the order of the table."""
    return fields(Limits)


def load_settings(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Merges the four sources. Raises InvalidArgument that names the source, the setting and a right value."""
    environment = os.environ if environment is None else environment
    chosen: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    if file is not None and file.exists():
        _merge_file(file, chosen, limits)
    for item in setting_fields():
        text = environment.get(ENVIRONMENT_PREFIX + item.name.upper())
        if text is not None:
            chosen[item.name] = _convert(
                item, text, f"environment variable {ENVIRONMENT_PREFIX}{item.name.upper()}"
            )
    for item in limit_fields():
        text = environment.get(ENVIRONMENT_PREFIX + item.name.upper())
        if text is not None:
            limits[item.name] = _convert(
                item, text, f"environment variable {ENVIRONMENT_PREFIX}{item.name.upper()}"
            )
    for name, value in (flags or {}).items():
        if value is not None:
            chosen[name] = value
    settings = Settings(**chosen, limits=Limits(**limits))
    return replace(settings, data=Path(settings.data).expanduser())


def _merge_file(file: Path, chosen: dict[str, Any], limits: dict[str, Any]) -> None:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(
            f"`{file}` is not valid TOML: {error}", reason="InvalidSettings"
        ) from error
    known = {item.name: item for item in setting_fields()}
    known_limits = {item.name: item for item in limit_fields()}
    for name, value in table.items():
        if name == "limits" and isinstance(value, dict):
            for limit, number in value.items():
                if limit not in known_limits:
                    raise _unknown(f"limits.{limit}", file)
                limits[limit] = _convert(known_limits[limit], value=number, source=str(file))
        elif name in known:
            chosen[name] = _convert(known[name], value=value, source=str(file))
        else:
            raise _unknown(name, file)


def _unknown(name: str, file: Path) -> InvalidArgument:
    return InvalidArgument(f"`{file}` sets `{name}`, which is no setting", reason="InvalidSettings")


def _convert(item: Field[Any], value: Any, source: str) -> Any:
    default = item.default
    try:
        if isinstance(default, bool):
            return _as_bool(value)
        if isinstance(default, int):
            return int(value)
        if isinstance(default, float):
            return float(value)
        if isinstance(default, Path):
            return Path(str(value))
        return str(value)
    except ValueError as error:
        kind = type(default).__name__
        raise InvalidArgument(
            f"{source} sets `{item.name}` to `{value}`, which is no {kind}; the default is `{default}`",
            reason="InvalidSettings",
        ) from error


def _as_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off"}:
        return False
    raise ValueError(text)
