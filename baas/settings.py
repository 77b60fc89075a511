"""One frozen table of every setting: name, default, help. Limits carry their unit in their name.

Sources, weakest first: the defaults here < `baas.toml` < environment (`BAAS_<NAME>`) < flags.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from baas.errors import InvalidArgument

ENVIRONMENT_PREFIX = "BAAS_"
CHOICES = {
    "server": ("uvicorn", "granian"),
    "engine": ("sqlite", "mongodb"),
    "synchronous": ("full", "normal"),
    "log_level": ("debug", "info", "warning", "error"),
}
KINDS = {bool: "true or false", int: "a whole number from 0", float: "a number from 0"}


def _setting(default: Any, help_text: str) -> Any:
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on everything that a caller can make large. Firestore's where Firestore has one."""

    request_bytes_max: int = _setting(10 * 1024 * 1024, "largest request body")
    request_seconds_max: float = _setting(
        50.0,
        "longest that a request whose body has come waits for the server; not uploads, imports,"
        " exports, and work of any size",
    )
    document_bytes_max: int = _setting(1_048_576 - 4, "largest document, in Firestore's own count")
    value_depth_max: int = _setting(20, "deepest nesting of maps and arrays in a document")
    commit_writes_max: int = _setting(500, "most writes in one commit")
    commit_replaced_bytes_max: int = _setting(
        32 * 1024 * 1024, "most bytes of documents that one commit replaces or deletes"
    )
    document_index_entries_max: int = _setting(
        200_000, "most entries of indexes on arrays and words that a write makes for one document"
    )
    transaction_seconds_max: int = _setting(270, "longest a transaction may be open")
    transaction_idle_seconds_max: int = _setting(60, "longest pause between steps of a transaction")
    transaction_documents_max: int = _setting(5_000, "most documents that a transaction may read")
    transaction_queries_max: int = _setting(100, "most queries that a transaction may run")
    transaction_lease_seconds: int = _setting(
        3, "time that a transaction which was aborted has to itself when its turn has come"
    )
    transaction_wait_seconds: int = _setting(
        30, "longest an aborted transaction waits for its turn before it goes on without"
    )
    fence_wait_seconds: int = _setting(
        30, "longest a write waits while its database is about to be somewhere else"
    )
    caller_turns_waiting_max: int = _setting(
        100, "most aborted transactions of one caller that wait for their turns in a database"
    )
    caller_slow_turns_max: int = _setting(
        5, "turns a minute of half a second or more that a caller may take while others wait"
    )
    batch_get_documents_max: int = _setting(1_000, "most documents in one batch get")
    query_page_documents_max: int = _setting(5_000, "most documents in one JSON answer of a query")
    aggregation_groups_max: int = _setting(1_000, "most groups in one answer of an aggregation")
    answer_bytes_max: int = _setting(
        32 * 1024 * 1024, "documents in one answer that is not streamed; more go to the next page"
    )
    query_seconds_max: float = _setting(
        30.0,
        "how long a query may read what no index serves, or count, or an aggregation wait for its"
        " turn",
    )
    query_disjunctions_max: int = _setting(30, "most disjunctions of a query in normal form")
    search_terms_max: int = _setting(16, "most terms of a full-text search")
    search_fields_max: int = _setting(10, "most fields that one full-text search looks at")
    search_prefix_entries_max: int = _setting(
        200_000, "most index entries that the prefixes of a full-text search may stand for"
    )
    search_text_characters_max: int = _setting(1_000, "longest text of a full-text search")
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
    erase_documents_max: int = _setting(100, "most documents that one request erases")
    ttl_policies_max: int = _setting(100, "most policies of expiry of one database")
    ruleset_bytes_max: int = _setting(256 * 1024, "largest ruleset source")
    schema_bytes_max: int = _setting(64 * 1024, "largest JSON Schema of a collection")
    schemas_max: int = _setting(100, "most JSON Schemas of a project")
    schemas_bytes_max: int = _setting(512 * 1024, "largest JSON Schemas of a project in all")
    schema_check_seconds_max: int = _setting(
        30, "longest that one request checks stored documents when schemas are deployed"
    )
    rules_tests_bytes_max: int = _setting(256 * 1024, "largest file of rules tests run by a server")
    rules_tests_seconds_max: int = _setting(10, "longest run of rules tests on a server")
    object_bytes_max: int = _setting(5 * 1024**4, "largest object")
    object_metadata_bytes_max: int = _setting(8 * 1024, "largest custom metadata of an object")
    object_page_max: int = _setting(1_000, "most objects and folders on one page of a list")
    caller_uploads_max: int = _setting(100, "most resumable uploads in progress of one caller")
    thumbnail_source_bytes_max: int = _setting(
        32 * 1024 * 1024, "largest object that thumbnails are made of"
    )
    thumbnail_pixels_max: int = _setting(50_000_000, "largest image that thumbnails are made of")
    thumbnail_queue_max: int = _setting(
        50, "thumbnails that may wait to be made before newcomers are refused"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything an operator can set. Frozen: made once at start, passed downwards."""

    data: Path = _setting(Path("data"), "folder that holds everything the server keeps")
    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(8080, "TCP port to listen on; 0 takes any free one")
    server: str = _setting("uvicorn", "HTTP server: uvicorn or granian")
    workers: int = _setting(
        1, "processes that share the data folder and the port; one for each core is most of use"
    )
    dev: bool = _setting(
        False, "development mode: explained denials, creation on first use; loopback only"
    )
    engine: str = _setting(
        "sqlite", "where documents are kept, unless a project is elsewhere: sqlite or mongodb"
    )
    mongodb_uri: str = _setting(
        "",
        "replica set of the engine mongodb, and of projects there: mongodb://host,host/?replicaSet=name",
    )
    mongodb_database: str = _setting(
        "baas", "the database on the replica set that holds everything, of all projects"
    )
    mongodb_timeout_seconds: float = _setting(
        30.0, "how long a call may wait for MongoDB; a hanging primary is felt for up to twenty-two"
    )
    objects: str = _setting("local", "where objects' bytes are kept: local or s3://bucket/prefix")
    backups: str = _setting(
        "local",
        "where backups are kept: local (backups in the data folder), a folder, s3://bucket/prefix",
    )
    object_upload_lifetime_seconds: int = _setting(
        7 * 86_400, "life of a resumable upload that gets no more bytes"
    )
    object_grace_seconds: int = _setting(
        3_600, "how long bytes that no object refers to any more are kept"
    )
    object_sweep_seconds: int = _setting(
        6 * 3_600, "time between two looks for bytes that belong to no object; 0 never looks"
    )
    thumbnail_processes: int = _setting(2, "processes that make thumbnails at the same time")
    open_rules: str = _setting(
        "", "projects served in production though their rules let anybody in: ids and commas; * all"
    )
    denial_explanations_per_second: int = _setting(
        20,
        "denials by rules that are explained to the app's developer, per project; others counted",
    )
    redact_denials: bool = _setting(
        False, "explained denials tell types in place of values, and no ids of documents and users"
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
    index_idle_seconds: int = _setting(
        30 * 86_400,
        "how long an index that no query uses is kept, unless it is pinned; 0: for ever",
    )
    retention_seconds: int = _setting(7 * 86_400, "how far back history and log reach")
    retention_bytes: int = _setting(
        1024 * 1024 * 1024, "how large history and log may grow per database, together"
    )
    request_answers_bytes: int = _setting(
        256 * 1024 * 1024,
        "how large the answers kept for repeated requests may grow per database; else for a day",
    )
    limits: Limits = field(
        default_factory=Limits, metadata={"help": "bounds on request size and work"}
    )


def may_be_open(settings: Settings, project: str) -> bool:
    """Whether the project may be served in production with rules that let anybody in."""
    named = {name.strip() for name in settings.open_rules.split(",")}
    return project in named or "*" in named


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
    """Merges the four sources; a flag that is None was not given.

    Raises InvalidArgument (reason `InvalidSettings`) that names the source, the setting and the
    default. Environment variables that name no setting are somebody else's and are ignored.
    """
    table, limits = _read_file(file)
    variables = os.environ if environment is None else environment
    table |= _from_environment(setting_fields(), variables)
    limits |= _from_environment(limit_fields(), variables)
    for item in setting_fields():
        value = (flags or {}).get(item.name)
        if value is not None:
            table[item.name] = _convert(item, value, f"flag --{item.name.replace('_', '-')}")
    return Settings(**table, limits=Limits(**limits))


def _read_file(file: Path | None) -> tuple[dict[str, Any], dict[str, Any]]:
    if file is None or not file.exists():
        return {}, {}
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _invalid(f"`{file}` is not valid TOML: {error}") from error
    limits = table.pop("limits", {})
    if not isinstance(limits, dict):
        raise _invalid(f"`{file}` sets `limits` to a value; it is a table: [limits]")
    return _from_file(setting_fields(), table, file), _from_file(limit_fields(), limits, file)


def _from_file(
    known: tuple[Field[Any], ...], table: Mapping[str, Any], file: Path
) -> dict[str, Any]:
    items = {item.name: item for item in known}
    strangers = sorted(table.keys() - items.keys())
    if strangers:
        raise _invalid(f"`{file}` sets `{strangers[0]}`, which is no setting")
    return {name: _convert(items[name], value, f"`{file}`") for name, value in table.items()}


def _from_environment(
    known: tuple[Field[Any], ...], variables: Mapping[str, str]
) -> dict[str, Any]:
    names = {item.name: ENVIRONMENT_PREFIX + item.name.upper() for item in known}
    return {
        item.name: _convert(item, variables[names[item.name]], names[item.name])
        for item in known
        if names[item.name] in variables
    }


def _convert(item: Field[Any], value: Any, source: str) -> Any:
    """The value in the type of the setting's default."""
    kind: Any = type(item.default)
    try:
        if isinstance(item.default, Path):
            return Path(str(value)).expanduser()
        converted = _as_bool(value) if kind is bool else kind(value)
        if item.name in CHOICES and converted not in CHOICES[item.name]:
            raise ValueError(converted)
        if kind in (int, float) and (isinstance(value, bool) or converted < 0):
            raise ValueError(converted)
    except (TypeError, ValueError) as error:
        right = " or ".join(f"`{choice}`" for choice in CHOICES.get(item.name, ()))
        wanted = right or KINDS.get(kind, f"a {kind.__name__}")
        raise _invalid(
            f"{source} sets `{item.name}` to `{value}`; "
            f"it takes {wanted} (default `{item.default}`)"
        ) from error
    return converted


def _as_bool(value: Any) -> bool:
    text = str(value).strip().lower()
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off"}:
        return False
    raise ValueError(text)


def _invalid(message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="InvalidSettings")
