"""What an evaluation knows, and the values that it takes from there: `request` and `resource`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from baas_rules import ast
from baas_rules.decision import OBJECT_SERVICE, Auth, Lookup, Request, ResourceDocument
from baas_rules.errors import EvaluationError, LimitExceeded
from baas_rules.limits import (
    CROSS_SERVICE_LOOKUPS_MAX,
    EXPRESSIONS_MAX,
    LOOKUPS_MAX,
    VISITS_MAX,
)
from baas_rules.lookups import request_path
from baas_rules.operators import member

Frame: TypeAlias = Sequence[Any]  # parameters, then lets; a list where there are lets
Run: TypeAlias = Callable[["Environment", Frame], Any]
Documents: TypeAlias = Mapping[Lookup, ResourceDocument | None]  # those that were looked up


class Unresolved(Exception):
    """The value depends on documents that were not given."""

    def __init__(self, lookups: frozenset[Lookup]) -> None:
        super().__init__("documents are missing")
        self.lookups = lookups


class Environment:
    """What one evaluation knows, and what it has used up."""

    # One is made per decision, so only what is always there is set each time.
    captures: tuple[Any, ...] = ()
    budget = EXPRESSIONS_MAX
    visits = VISITS_MAX
    lookups: set[Lookup] | None = None  # those evaluated so far
    uses_time = False  # of lists: whether a condition that was asked may look at the time
    trace: Trace | None = None

    def __init__(self, request: Request, documents: Documents) -> None:
        self.request = request
        self.documents = documents

    def look_up(self, lookup: Lookup) -> ResourceDocument | None:
        """A document of those given. Raises Unresolved if it is not among them, LimitExceeded if
        the evaluation has looked up as many others as it may."""
        if lookup not in self.documents:
            raise Unresolved(frozenset((lookup,)))
        if self.lookups is None:
            self.lookups = set()
        if lookup not in self.lookups:
            of_objects = self.request.service == OBJECT_SERVICE
            most = CROSS_SERVICE_LOOKUPS_MAX if of_objects else LOOKUPS_MAX
            if len(self.lookups) >= most:
                raise LimitExceeded(f"more than {most} documents are looked up")
            self.lookups.add(lookup)
        return self.documents[lookup]


class Trace:
    """What a sub-expression gave, and those evaluated inside of it, in order."""

    __slots__ = ("children", "fault", "node", "value")

    def __init__(self, node: ast.Expression | None) -> None:
        self.node = node
        self.children: list[Trace] = []
        self.value: Any = None
        self.fault: Exception | None = None


# --- values that come from the environment -----------------------------------------------------


def auth_map(auth: Auth | None) -> dict[str, Any] | None:
    return None if auth is None else {"uid": auth.uid, "token": auth.token}


def _request_auth(environment: Environment, frame: Frame) -> Any:
    return auth_map(environment.request.auth)


def _request_auth_uid(environment: Environment, frame: Frame) -> Any:
    auth = environment.request.auth
    if auth is None:
        raise EvaluationError("null has no member `uid`")
    return auth.uid


def _request_auth_token(environment: Environment, frame: Frame) -> Any:
    auth = environment.request.auth
    if auth is None:
        raise EvaluationError("null has no member `token`")
    return auth.token


def _request_method(environment: Environment, frame: Frame) -> Any:
    return environment.request.method


def _request_path(environment: Environment, frame: Frame) -> Any:
    return request_path(environment.request)


def _request_time(environment: Environment, frame: Frame) -> Any:
    return environment.request.time


def _request_params(environment: Environment, frame: Frame) -> Any:
    return environment.request.params


def _request_query(environment: Environment, frame: Frame) -> Any:
    query = environment.request.query
    if query is None:
        raise EvaluationError("`request.query` exists for list only")
    return query


def _request_resource(environment: Environment, frame: Frame) -> Any:
    resource = environment.request.new_resource
    if resource is None:
        method = environment.request.method
        raise EvaluationError(f"`request.resource` does not exist for {method}")
    return resource


def _request_resource_data(environment: Environment, frame: Frame) -> Any:
    resource = environment.request.new_resource
    if resource.__class__ is ResourceDocument:
        return resource.data
    return member(_request_resource(environment, frame), "data")


def _resource(environment: Environment, frame: Frame) -> Any:
    return environment.request.resource


def _resource_data(environment: Environment, frame: Frame) -> Any:
    resource = environment.request.resource
    if resource.__class__ is ResourceDocument:
        return resource.data
    return member(resource, "data")


def request_value(environment: Environment, frame: Frame) -> Any:
    request = environment.request
    made: dict[str, Any] = {
        "auth": auth_map(request.auth),
        "method": request.method,
        "path": request_path(request),
        "time": request.time,
    }
    if request.new_resource is not None:
        made["resource"] = request.new_resource
    if request.query is not None:
        made["query"] = request.query
    if request.service == OBJECT_SERVICE:
        made["params"] = request.params
    return made


VARIABLES: Final[dict[str, Run]] = {"request": request_value, "resource": _resource}
_REQUEST_MEMBERS: Final[dict[str, Run]] = {
    "auth": _request_auth,
    "method": _request_method,
    "path": _request_path,
    "time": _request_time,
    "params": _request_params,
    "query": _request_query,
    "resource": _request_resource,
}
# Chains that are answered without making the maps in between.
CHAINS: Final[dict[tuple[Run, str], Run]] = {
    (_resource, "data"): _resource_data,
    (_request_resource, "data"): _request_resource_data,
    (_request_auth, "uid"): _request_auth_uid,
    (_request_auth, "token"): _request_auth_token,
    **{(request_value, name): run for name, run in _REQUEST_MEMBERS.items()},
}
