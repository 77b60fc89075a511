"""Requests, documents and rulesets for the tests of rules; and expressions evaluated every way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from baas_rules import (
    Auth,
    EvaluationError,
    LatLng,
    Path,
    Request,
    ResourceDocument,
    Ruleset,
    Timestamp,
)
from baas_rules import ast as rules_ast
from baas_rules.abstract import Abstract, Known, PartialMap, Result
from baas_rules.decision import OBJECT_SERVICE, Lookup
from baas_rules.environment import Environment, Trace, Unresolved
from baas_rules.errors import Severity
from baas_rules.evaluator import Compiler
from baas_rules.lists import auth_map
from baas_rules.lookups import request_path
from baas_rules.parser import parse
from baas_rules.prover import Prover, World
from baas_rules.scopes import Outline, outlines
from baas_rules.source import Source

NOW = Timestamp(1_700_000_000_123_456)  # 2023-11-14T22:13:20.123456Z, a Tuesday
ADA = Auth(
    "ada",
    MappingProxyType(
        {"email": "ada@example.com", "email_verified": True, "admin": False, "age": 36}
    ),
)
ROOT = ("databases", "(default)", "documents")

STORED: dict[str, Any] = {
    "name": "Ada",
    "age": 36,
    "score": 1.5,
    "active": True,
    "nothing": None,
    "tags": ["a", "b", "c"],
    "numbers": [1, 2.5, 3],
    "address": {"city": "London", "zip": {"code": 7}},
    "created": Timestamp(1_600_000_000_000_000),
    "place": LatLng(51.5, -0.1),
    "friend": Path((*ROOT, "users", "bob")),
    "data": b"\x00\xff",
}
CHANGED: dict[str, Any] = {
    **{key: value for key, value in STORED.items() if key != "score"},
    "name": "Ada L.",
    "extra": 1,
}


class Failure:
    """An expected error; `text` is in its message."""

    def __init__(self, text: str = "") -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Failure({self.text!r})"


def request_for(method: str = "update", **changes: Any) -> Request:
    """An access of ada to users/ada, whose document is STORED and becomes CHANGED."""
    path = ("users", "ada")
    made = Request(
        method=method,
        path=path,
        auth=ADA,
        time=NOW,
        resource=None if method == "create" else ResourceDocument(path, STORED),
        new_resource=ResourceDocument(path, CHANGED) if method in ("create", "update") else None,
    )
    return replace(made, **changes)


def object_request(method: str = "create", **changes: Any) -> Request:
    incoming = {"name": "a/b.png", "size": 2048, "contentType": "image/png", "metadata": {"k": "v"}}
    made = Request(
        method=method,
        path=("b", "bucket", "o", "a", "b.png"),
        auth=ADA,
        time=NOW,
        resource=None if method == "create" else incoming,
        new_resource=incoming if method in ("create", "update") else None,
        service=OBJECT_SERVICE,
    )
    return replace(made, **changes)


def document(path: str, **data: Any) -> ResourceDocument:
    return ResourceDocument(tuple(path.split("/")), data)


def looked_up(
    *documents: ResourceDocument, missing: tuple[str, ...] = ()
) -> dict[Lookup, ResourceDocument | None]:
    """Documents as `decide` takes them: before and after alike, and for rules of objects."""
    found: dict[Lookup, ResourceDocument | None] = {}
    for after, database in ((False, ""), (True, ""), (False, "(default)")):
        found.update((Lookup(one.path, after, database), one) for one in documents)
        found.update((Lookup(tuple(path.split("/")), after, database), None) for path in missing)
    return found


def ruleset(body: str, *, version: str = "2") -> Ruleset:
    """A ruleset whose matches stand below the documents root."""
    return Ruleset.parse(wrapped(body, version=version))


def wrapped(body: str, *, version: str = "2") -> str:
    return (
        f"rules_version = '{version}';\n"
        "service cloud.firestore {\n"
        "match /databases/{database}/documents {\n"
        f"{body}\n"
        "}}\n"
    )


def compiled(
    expression: str, functions: str = "", service: str = "cloud.firestore"
) -> tuple[rules_ast.Expression, Outline]:
    """The tree of an expression, and the scopes around it: of a match of
    /databases/{database}/documents/users/{id} or of /b/{bucket}/o/{all=**}."""
    root = "/databases/{database}/documents/users/{id}"
    if service == OBJECT_SERVICE:
        root = "/b/{bucket}/o/{all=**}"
    text = (
        f"rules_version = '2'; service {service} {{ match {root} {{ {functions}\n"
        f"allow get: if\n{expression}\n; }} }}"
    )
    tree, found = parse(Source(text))
    errors = [one for one in found if one.severity is Severity.ERROR]
    assert not errors, "\n".join(map(str, errors))
    assert tree is not None
    (made,) = outlines(tree)
    condition = made.blocks[0].match.allows[0].condition
    assert condition is not None
    return condition, made


def value_of(
    expression: str,
    request: Request | None = None,
    documents: Mapping[Lookup, ResourceDocument | None] | None = None,
    functions: str = "",
) -> Any:
    """What an expression gives, a Failure if that is an error; the same from closures that are
    plain, counted and traced, and from the prover when it knows everything."""
    asked = request if request is not None else request_for()
    known = documents if documents is not None else {}
    condition, made = compiled(expression, functions, asked.service)
    scope = made.blocks[0].scope
    captures: tuple[Any, ...] = (asked.database, asked.path[-1])
    if asked.service == OBJECT_SERVICE:
        captures = (asked.path[1], asked.path[3:])
    outcomes: list[Any] = []
    for counted, traced in ((False, False), (True, False), (False, True)):
        compiler = Compiler(service=asked.service, counted=counted, traced=traced)
        environment = Environment(asked, known)
        environment.captures = captures
        environment.trace = Trace(None)
        outcomes.append(_outcome(compiler.condition(condition, scope), environment))
    plain = outcomes[0]
    for other in outcomes[1:]:
        assert same(plain, other), (plain, other)
    proved = prove_known(expression, asked, known, functions)
    if isinstance(plain, Failure):
        assert proved.fault, (plain, proved)
    elif not isinstance(plain, frozenset):
        assert proved.value is None or covers(proved, plain), (plain, proved)
    return plain


def _outcome(run: Any, environment: Environment) -> Any:
    try:
        return run(environment, ())
    except EvaluationError as error:
        return Failure(str(error))
    except Unresolved as fault:
        return fault.lookups


def prove_known(
    expression: str,
    asked: Request,
    documents: Mapping[Lookup, ResourceDocument | None],
    functions: str = "",
) -> Result:
    """The prover's answer in a world of which it knows everything."""
    condition, made = compiled(expression, functions, asked.service)
    entries: dict[str, Abstract] = {
        "auth": Known((auth_map(asked.auth),)),
        "method": Known((asked.method,)),
        "path": Known((request_path(asked),)),
        "time": Known((asked.time,)),
    }
    if asked.new_resource is not None:
        entries["resource"] = Known((asked.new_resource,))
    if asked.query is not None:
        entries["query"] = Known((asked.query,))
    of_objects = asked.service == OBJECT_SERVICE
    if of_objects:
        entries["params"] = Known((asked.params,))

    def look_up(lookup: Lookup) -> Result:
        if lookup in documents:
            return Result(Known((documents[lookup],)))
        return Result(None, True, frozenset((lookup,)))

    world = World(
        request=PartialMap(entries, complete=True),
        resource=Known((asked.resource,)),
        look_up=look_up,
        database=asked.database,
        is_object_service=of_objects,
    )
    captures: tuple[Abstract, ...] = (Known((asked.database,)), Known((asked.path[-1],)))
    if of_objects:
        captures = (Known((asked.path[1],)), Known((Path(asked.path[3:]),)))
    return Prover(world, captures).prove(condition, made.blocks[0].scope)


def covers(result: Result, value: Any) -> bool:
    """Whether a value is among those that the prover reckons with."""
    if isinstance(result.value, Known):
        return any(same(one, value) for one in result.value.values)
    return result.value is not None


def same(a: Any, b: Any) -> bool:
    """Equal, of one type, all the way down; NaN is the same as NaN; failures by their message."""
    if isinstance(a, Failure) and isinstance(b, Failure):
        return True
    if a.__class__ is not b.__class__:
        return False
    if isinstance(a, float):
        return repr(a) == repr(b)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return bool(a == b)
