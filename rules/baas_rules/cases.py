"""Tests of rules as they are written: a YAML file beside the rules.

    rules: firestore.rules            # beside this file
    time: 2026-01-01T00:00:00Z        # request.time
    documents:
      notes/n1: {owner: ada}
    callers:
      ada: {uid: ada, token: {email: ada@example.com}}
    tests:
      - name: an owner reads her note
        as: ada                       # a caller's name; none: nobody is signed in
        get: notes/n1
        expect: allow

A test has one of `get`, `list`, `create`, `update`, `set`, `delete` with a path, or `batch`, a list
of writes of which all must be allowed. `data` is the whole document, `merge` changes fields by
their dotted paths. `list` takes `where`, `order_by`, `limit`, `offset` and `group`. With `service:
storage`, paths are bucket/name, `objects` are those stored, and `list` takes a prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import yaml

from baas_rules.decision import (
    DOCUMENT_SERVICE,
    OBJECT_SERVICE,
    AllOf,
    AnyOf,
    Auth,
    Constraint,
    FieldConstraint,
    ListOrder,
    Segments,
)
from baas_rules.values import Timestamp
from baas_rules.yaml_values import (
    TestFileError,
    entries,
    items,
    line_of,
    load,
    text,
    timestamp,
    value,
    with_time,
)

_METHODS: Final = ("get", "list", "create", "update", "set", "delete")
_SERVICES: Final = {"firestore": DOCUMENT_SERVICE, "storage": OBJECT_SERVICE}
_OPERATORS: Final = frozenset(
    ("==", "!=", "<", "<=", ">", ">=", "in", "not-in", "array-contains", "array-contains-any")
)
_DEFAULT_TIME: Final = Timestamp.from_datetime(datetime(2026, 1, 1))

Contents = dict[str, Any]  # documents or objects by path


@dataclass(frozen=True, slots=True)
class Access:
    """One thing that a test does. `data` is the new content, `merge` changes to the old one."""

    method: str
    path: str
    line: int
    data: Mapping[str, Any] | None = None
    merge: Mapping[str, Any] | None = None
    where: Constraint | None = None
    order_by: tuple[ListOrder, ...] = ()
    limit: int | None = None
    offset: int = 0
    group: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One test. `caller` is how it was named."""

    name: str
    line: int
    allowed: bool
    caller: str
    auth: Auth | None
    time: Timestamp
    service: str
    database: str
    documents: Contents
    objects: Contents
    accesses: tuple[Access, ...]


@dataclass(frozen=True, slots=True)
class CaseFile:
    """`rules` is the rules file as it was named, "" if it was not."""

    rules: str
    cases: tuple[Case, ...]


@dataclass(slots=True)
class _Defaults:
    time: Timestamp = _DEFAULT_TIME
    service: str = DOCUMENT_SERVICE
    database: str = "(default)"
    documents: Contents = field(default_factory=dict)
    objects: Contents = field(default_factory=dict)
    callers: dict[str, Auth | None] = field(default_factory=dict)


def parse_cases(source: str) -> CaseFile:
    """Raises TestFileError at the first place that is not as it should be."""
    defaults = _Defaults()
    rules = ""
    tests: list[yaml.Node] = []
    for name, node in entries(load(source), "a file of tests"):
        if name == "rules":
            rules = text(node, "`rules`")
        elif name == "callers":
            for caller, definition in entries(node, "`callers`"):
                defaults.callers[caller] = _auth(definition)
        elif name == "tests":
            tests = items(node, "`tests`")
        elif not _default(defaults, name, node):
            known = "rules, service, database, time, documents, objects, callers and tests"
            raise TestFileError(f"unknown key `{name}`: there are {known}", line_of(node))
    if not tests:
        raise TestFileError("there are no `tests`", 1)
    return CaseFile(rules, tuple(_case(node, defaults) for node in tests))


def _default(defaults: _Defaults, name: str, node: yaml.Node) -> bool:
    match name:
        case "time":
            defaults.time = _time(node)
        case "service":
            defaults.service = _service(node)
        case "database":
            defaults.database = text(node, "`database`")
        case "documents":
            defaults.documents = {**defaults.documents, **_documents(node)}
        case "objects":
            defaults.objects = {**defaults.objects, **_objects(node)}
        case _:
            return False
    return True


def _case(node: yaml.Node, defaults: _Defaults) -> Case:
    own = _Defaults(
        defaults.time, defaults.service, defaults.database, defaults.documents, defaults.objects
    )
    name, caller, auth, allowed = "", "nobody", None, None
    rest: dict[str, yaml.Node] = {}
    for key, item in entries(node, "a test"):
        if key == "name":
            name = text(item, "`name`")
        elif key == "as":
            caller, auth = _caller(item, defaults.callers)
        elif key == "expect":
            allowed = _expectation(item)
        elif not _default(own, key, item):
            rest[key] = item
    if allowed is None:
        raise TestFileError("a test says `expect: allow` or `expect: deny`", line_of(node))
    accesses = _accesses(rest, node, own)
    return Case(
        name=name or f"{accesses[0].method} {accesses[0].path}",
        line=line_of(node),
        allowed=allowed,
        caller=caller,
        auth=auth,
        time=own.time,
        service=own.service,
        database=own.database,
        documents=with_time(own.documents, own.time),
        objects=with_time(own.objects, own.time),
        accesses=accesses,
    )


def _accesses(
    rest: dict[str, yaml.Node], node: yaml.Node, defaults: _Defaults
) -> tuple[Access, ...]:
    batch = rest.pop("batch", None)
    if batch is None:
        return (_access(rest, node, defaults),)
    if rest:
        raise TestFileError(f"`{next(iter(rest))}` does not go with `batch`", line_of(node))
    made: list[Access] = []
    for item in items(batch, "`batch`"):
        access = _access(dict(entries(item, "a write")), item, defaults)
        if access.method in ("get", "list"):
            raise TestFileError("a batch has writes only", line_of(item))
        made.append(access)
    if not made:
        raise TestFileError("the batch is empty", line_of(batch))
    return tuple(made)


def _access(parts: dict[str, yaml.Node], node: yaml.Node, defaults: _Defaults) -> Access:
    methods = [name for name in parts if name in _METHODS]
    if len(methods) != 1:
        raise TestFileError(f"one of {', '.join(_METHODS)} or batch is needed", line_of(node))
    method = methods[0]
    path = text(parts.pop(method), f"`{method}`")
    _check_path(path, method, parts, node, defaults.service)
    known: dict[str, Any] = {}
    for name, item in parts.items():
        known[name] = _option(name, method, item, defaults)
    if method in ("create", "set") and "data" not in known:
        raise TestFileError(f"`{method}` needs `data`", line_of(node))
    if method == "update" and ("data" in known) == ("merge" in known):
        raise TestFileError("`update` needs `data` or `merge`", line_of(node))
    return Access(method, path.strip("/") if method != "list" else path, line_of(node), **known)


def _option(name: str, method: str, node: yaml.Node, defaults: _Defaults) -> Any:
    fits = {"create": ("data",), "set": ("data",), "update": ("data", "merge")}
    lists = ("where", "order_by", "limit", "offset", "group")
    if name not in fits.get(method, lists if method == "list" else ()):
        raise TestFileError(f"`{name}` does not go with `{method}`", line_of(node))
    match name:
        case "data" | "merge":
            found = with_time(value(node), defaults.time)
            if not isinstance(found, dict):
                raise TestFileError(f"`{name}` is a map", line_of(node))
            return found
        case "where":
            return AllOf(tuple(_constraint(one) for one in items(node, "`where`")))
        case "order_by":
            return tuple(_order(one) for one in items(node, "`order_by`"))
        case "group":
            return _typed(node, bool, "`group` is true or false")
        case _:
            return _typed(node, int, f"`{name}` is a whole number")


def _typed(node: yaml.Node, kind: type, message: str) -> Any:
    found = value(node)
    if found.__class__ is kind and not (isinstance(found, int) and found < 0):
        return found
    raise TestFileError(message, line_of(node))


def _constraint(node: yaml.Node) -> Constraint:
    """`[field, operator, value]`, or `{or: […]}`, `{and: […]}`."""
    if isinstance(node, yaml.MappingNode):
        parts = list(entries(node, "a filter"))
        if len(parts) != 1 or parts[0][0] not in ("or", "and"):
            raise TestFileError("a filter is [field, operator, value], or or: […]", line_of(node))
        inner = tuple(_constraint(one) for one in items(parts[0][1], f"`{parts[0][0]}`"))
        return AnyOf(inner) if parts[0][0] == "or" else AllOf(inner)
    parts_found = items(node, "a filter")
    if len(parts_found) != 3:
        raise TestFileError("a filter is [field, operator, value]", line_of(node))
    name, operator = text(parts_found[0], "a field"), text(parts_found[1], "an operator")
    if operator not in _OPERATORS:
        known = ", ".join(sorted(_OPERATORS))
        raise TestFileError(f"unknown operator `{operator}`: there are {known}", line_of(node))
    return FieldConstraint(_field(name), operator, value(parts_found[2]))  # type: ignore[arg-type]


def _field(name: str) -> Segments:
    return tuple(name.split("."))


def _order(node: yaml.Node) -> ListOrder:
    parts = [text(one, "an order") for one in items(node, "an order")]
    if len(parts) not in (1, 2) or (len(parts) == 2 and parts[1] not in ("asc", "desc")):
        raise TestFileError("an order is [field] or [field, asc or desc]", line_of(node))
    return ListOrder(_field(parts[0]), parts[-1] == "desc" and len(parts) == 2)


def _check_path(
    path: str, method: str, parts: dict[str, yaml.Node], node: yaml.Node, service: str
) -> None:
    if service == OBJECT_SERVICE:
        if "/" not in path:
            raise TestFileError("the path of an object is bucket/name", line_of(node))
        return
    segments = path.strip("/").split("/")
    if "" in segments:
        raise TestFileError(f"`{path}` is no path", line_of(node))
    if method != "list" and len(segments) % 2:
        raise TestFileError(f"`{path}` is the path of a collection", line_of(node))
    if method == "list" and len(segments) % 2 == 0:
        raise TestFileError(f"`{path}` is the path of a document", line_of(node))


def _time(node: yaml.Node) -> Timestamp:
    found = value(node)
    if isinstance(found, Timestamp):
        return found
    try:
        return timestamp(datetime.fromisoformat(str(found)))
    except ValueError:
        raise TestFileError("a time is such as 2026-01-01T00:00:00Z", line_of(node)) from None


def _service(node: yaml.Node) -> str:
    name = text(node, "`service`")
    found = _SERVICES.get(name, name)
    if found not in _SERVICES.values():
        raise TestFileError("a service is firestore or storage", line_of(node))
    return found


def _expectation(node: yaml.Node) -> bool:
    found = text(node, "`expect`")
    if found not in ("allow", "deny"):
        raise TestFileError("`expect` is allow or deny", line_of(node))
    return found == "allow"


def _caller(node: yaml.Node, callers: dict[str, Auth | None]) -> tuple[str, Auth | None]:
    if isinstance(node, yaml.MappingNode):
        auth = _auth(node)
        return ("nobody" if auth is None else auth.uid), auth
    if value(node) is None:
        return "nobody", None
    name = text(node, "`as`")
    if name not in callers:
        raise TestFileError(f"`callers` has no `{name}`", line_of(node))
    return name, callers[name]


def _auth(node: yaml.Node) -> Auth | None:
    """`{uid: …, token: {…}}`; the token's `sub` is filled in. Nothing is nobody."""
    found = value(node)
    if found is None:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("uid"), str):
        raise TestFileError("a caller is {uid: …, token: {…}}", line_of(node))
    token = found.get("token") or {}
    if not isinstance(token, dict) or set(found) - {"uid", "token"}:
        raise TestFileError("a caller is {uid: …, token: {…}}", line_of(node))
    return Auth(found["uid"], {"sub": found["uid"], **token})


def _documents(node: yaml.Node) -> Contents:
    made: Contents = {}
    for path, item in entries(node, "`documents`"):
        segments = path.strip("/").split("/")
        if "" in segments or len(segments) % 2:
            raise TestFileError(f"`{path}` is not the path of a document", line_of(item))
        made["/".join(segments)] = _fields(item)
    return made


def _objects(node: yaml.Node) -> Contents:
    made: Contents = {}
    for path, item in entries(node, "`objects`"):
        if "/" not in path.strip("/"):
            raise TestFileError("the path of an object is bucket/name", line_of(item))
        made[path.strip("/")] = _fields(item)
    return made


def _fields(node: yaml.Node) -> dict[str, Any] | None:
    """None takes a document away that others have."""
    found = value(node)
    if found is not None and not isinstance(found, dict):
        raise TestFileError("a document is a map", line_of(node))
    return found
