"""Projects and their API keys as documents of the server's system database.

projects/{project}                              name, origins, databases, where they are
projects/{project}/keys/{key}                   kind, name, what may be shown of the key
projects/{project}/rulesets/{ruleset}           the history of rules
projects/{project}/releases/cloud.firestore     which of them is in force
projects/{project}/schema_sets/{id}             the history of JSON Schemas
projects/{project}/schema_drafts/{id}           what is being deployed
projects/{project}/releases/schemas             which is in force, and what is being deployed
api_keys/{hash of the key}                      project and key: how a presented key is found
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from baas.errors import FailedPrecondition, InvalidArgument, NotFound
from baas.model.documents import DocumentLike
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.storage.placed_store import ENGINES, Place

PROJECTS = CollectionPath(("projects",))
NAME_CHARACTERS_MAX = 100
ORIGINS_MAX = 100
ANY_ORIGIN = "*"
_ID = re.compile(r"[A-Za-z0-9.-]{1,63}")


@dataclass(frozen=True, slots=True)
class Project:
    """`incarnation` tells a project from an earlier one of the same id. `place`: where its
    databases are; None: at the server's own engine. `moving`: the task that takes them elsewhere,
    or cleans up behind them."""

    id: str
    name: str
    origins: tuple[str, ...]
    databases: tuple[str, ...]
    created: Timestamp
    incarnation: str
    place: Place | None = None
    moving: str | None = None

    def to_fields(self) -> Fields:
        fields: Fields = {
            "name": self.name,
            "origins": list(self.origins),
            "databases": list(self.databases),
            "created": self.created,
            "incarnation": self.incarnation,
            "deleting": False,
        }
        if self.place is not None:
            fields |= {"engine": self.place.engine, "node": self.place.node}
        if self.moving is not None:
            fields["moving"] = self.moving
        return fields


class ApiKeyKind(Enum):
    PUBLISHABLE = "publishable"  # names the app; stands in its pages; gives no rights by itself
    SECRET = "secret"  # acts for the project's own server; answers to no ruleset


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as an administrator sees it. `text` is the whole key of a publishable one, None for a
    secret one, of which `prefix` is all that is kept. `revoked` None: it is good."""

    id: str
    project: str
    kind: ApiKeyKind
    name: str
    prefix: str
    text: str | None
    created: Timestamp
    revoked: Timestamp | None = None


def project_path(project: str) -> DocumentPath:
    """Raises NotFound (`ProjectNotFound`) for what can be no project's id: ids come from callers,
    and paths that are made without parsing are taken as good."""
    if not is_id(project):
        raise project_not_found(project)
    return DocumentPath(("projects", project))


def project_collection(project: str, collection: str) -> CollectionPath:
    return project_path(project).child(collection)


def project_document(project: str, collection: str, identifier: str) -> DocumentPath:
    """`identifier` is one that `is_id` holds for."""
    assert is_id(identifier)
    return project_collection(project, collection).document(identifier)


def is_id(text: str) -> bool:
    """Whether a text from outside can be the id of anything that is kept here."""
    return _ID.fullmatch(text) is not None


def project_not_found(project: str) -> NotFound:
    return NotFound(f"there is no project `{project[:80]}`", reason="ProjectNotFound")


def is_deleting(document: DocumentLike) -> bool:
    """Whether the project's deletion has begun: it is gone for everybody, its id not yet free."""
    return document.fields["deleting"] is True


def open_project(document: DocumentLike) -> Project:
    """The project that a document holds."""
    fields = document.fields
    created = fields["created"]
    assert isinstance(created, Timestamp)
    return Project(
        id=document.path.segments[-1],
        name=str(fields["name"]),
        origins=_texts(fields["origins"]),
        databases=_texts(fields["databases"]),
        created=created,
        incarnation=str(fields["incarnation"]),
        place=open_place(document),
        moving=None if (moving := fields.get("moving")) is None else str(moving),
    )


def check_not_moving(project: Project) -> None:
    """Raises FailedPrecondition (`ProjectMoving`)."""
    if project.moving is not None:
        raise project_moving(project.id, project.moving)


def project_moving(project: str, move: object) -> FailedPrecondition:
    return FailedPrecondition(
        f"project `{project}` is being moved to another engine, by move {move}: wait until that is "
        "over, or cancel it",
        reason="ProjectMoving",
        details={"move": str(move)},
    )


def open_place(document: DocumentLike) -> Place | None:
    """Where a project is, if its document says so."""
    engine, node = document.fields.get("engine"), document.fields.get("node")
    return None if engine is None else Place(str(engine), None if node is None else str(node))


def open_key(document: DocumentLike) -> ApiKey:
    """The API key that a document holds."""
    fields = document.fields
    created, revoked, text = fields["created"], fields["revoked"], fields["text"]
    assert isinstance(created, Timestamp)
    assert revoked is None or isinstance(revoked, Timestamp)
    return ApiKey(
        id=document.path.segments[-1],
        project=document.path.segments[1],
        kind=ApiKeyKind(fields["kind"]),
        name=str(fields["name"]),
        prefix=str(fields["prefix"]),
        text=None if text is None else str(text),
        created=created,
        revoked=revoked,
    )


def check_name(text: object) -> str:
    """A display name. Raises InvalidArgument (`InvalidName`)."""
    if not isinstance(text, str) or not text.isprintable() or len(text) > NAME_CHARACTERS_MAX:
        raise InvalidArgument(
            f"`name` must be a string of at most {NAME_CHARACTERS_MAX} printable characters",
            reason="InvalidName",
            details={"field": "name"},
        )
    return text


def check_engine(engine: object) -> str:
    """The name of an engine. Raises InvalidArgument (`InvalidEngine`)."""
    if engine not in ENGINES:
        raise InvalidArgument(
            f"`{str(engine)[:80]}` is no engine; there are {' and '.join(ENGINES)}",
            reason="InvalidEngine",
            details={"field": "engine"},
        )
    return str(engine)


def check_origins(origins: object) -> tuple[str, ...]:
    """Web origins as a browser sends them. Raises InvalidArgument (`InvalidOrigin`)."""
    if not isinstance(origins, list | tuple) or len(origins) > ORIGINS_MAX:
        raise _invalid_origin(f"`origins` must be a list of at most {ORIGINS_MAX} origins")
    return tuple(dict.fromkeys(_check_origin(origin) for origin in origins))


def _check_origin(origin: object) -> str:
    if origin == ANY_ORIGIN:
        return ANY_ORIGIN
    text = origin.strip().lower().removesuffix("/") if isinstance(origin, str) else ""
    try:
        parts = urlsplit(text)
        port = parts.port
        host = parts.hostname or ""
    except ValueError:
        host, port = "", None
    shown = f"[{host}]" if ":" in host else host
    built = f"{text.partition('://')[0]}://{shown}"
    default = {"http": 80, "https": 443}.get(text.partition("://")[0])
    full = f"{built}:{port}" if port is not None else built
    if not host or not host.isascii() or default is None or text != full:
        raise _invalid_origin(
            f"an origin is `{ANY_ORIGIN}` or scheme and host, as in `https://app.example.com` or "
            "`http://localhost:5173`"
        )
    return built if port == default else full


def _invalid_origin(message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="InvalidOrigin", details={"field": "origins"})


def _texts(value: object) -> tuple[str, ...]:
    assert isinstance(value, list)
    return tuple(str(item) for item in value)
