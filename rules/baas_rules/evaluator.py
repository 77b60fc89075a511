"""Conditions to closures, once per ruleset; closures to values, for each request.

An expression becomes a function of the environment (the request and what is known) and of a frame
(the parameters and lets of the function it stands in). It returns a rule value, or raises
EvaluationError (it has no value), Unresolved (it needs documents that are not at hand) or
LimitExceeded.

Arguments and lets are evaluated when they are first used, at most once: what a short-circuit
spares is neither evaluated nor looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from baas_rules import ast
from baas_rules.decision import (
    OBJECT_SERVICE,
    Auth,
    Lookup,
    Request,
    ResourceDocument,
)
from baas_rules.errors import EvaluationError, LimitExceeded, RulesError
from baas_rules.functions import (
    CROSS_SERVICE_LOOKUPS,
    FUNCTIONS,
    LOOKUPS,
    METHODS,
    NAMESPACES,
    compile_pattern,
    path_segments,
)
from baas_rules.limits import CROSS_SERVICE_LOOKUPS_MAX, EXPRESSIONS_MAX, LOOKUPS_MAX
from baas_rules.lookups import capture_value, lookup_of, request_path
from baas_rules.operators import (
    BINARY,
    TYPE_TESTS,
    cut,
    document_map,
    index,
    member,
    negate,
)
from baas_rules.scopes import Declared, Scope
from baas_rules.values import PLAIN, Path, RulesSet, equals, type_name

Frame: TypeAlias = Sequence[Any]  # parameters, then lets; a list where there are lets
Run: TypeAlias = Callable[["Environment", Frame], Any]


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
    lookups: set[Lookup] | None = None  # those evaluated so far
    trace: Trace | None = None

    def __init__(
        self, request: Request, documents: Mapping[Lookup, ResourceDocument | None]
    ) -> None:
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


class _Failed:
    """A let in a frame that has no value."""

    __slots__ = ("fault",)

    def __init__(self, fault: Exception) -> None:
        self.fault = fault


_UNSET: Final = object()  # a let in a frame that nobody has asked for yet


class _Lazy:
    """An argument in a frame: evaluated at first use, remembered, errors too."""

    __slots__ = ("_fault", "_frame", "_run", "_value")

    def __init__(self, run: Run, frame: Frame) -> None:
        self._run: Run | None = run
        self._frame: Frame = frame
        self._value: Any = None
        self._fault: Exception | None = None

    def force(self, environment: Environment) -> Any:
        run = self._run
        if run is None:
            if self._fault is not None:
                raise self._fault.with_traceback(None)
            return self._value
        try:
            self._value = run(environment, self._frame)
        except (RulesError, Unresolved) as fault:
            self._fault = fault
            raise
        finally:
            self._run = None
            self._frame = ()
        return self._value


# --- values that come from the environment -----------------------------------------------------


def _auth_map(auth: Auth | None) -> dict[str, Any] | None:
    return None if auth is None else {"uid": auth.uid, "token": auth.token}


def _request_auth(environment: Environment, frame: Frame) -> Any:
    return _auth_map(environment.request.auth)


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


def _request(environment: Environment, frame: Frame) -> Any:
    request = environment.request
    made: dict[str, Any] = {
        "auth": _auth_map(request.auth),
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


_VARIABLES: Final[dict[str, Run]] = {"request": _request, "resource": _resource}
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
_CHAINS: Final[dict[tuple[Run, str], Run]] = {
    (_resource, "data"): _resource_data,
    (_request_resource, "data"): _request_resource_data,
    (_request_auth, "uid"): _request_auth_uid,
    (_request_auth, "token"): _request_auth_token,
    **{(_request, name): run for name, run in _REQUEST_MEMBERS.items()},
}


def _failing(message: str) -> Run:
    def run(environment: Environment, frame: Frame) -> Any:
        raise EvaluationError(message)

    return run


@dataclass(frozen=True, slots=True)
class _Local:
    """A parameter (then `place` is its place in the frame) or a let."""

    run: Run
    place: int | None


_Names: TypeAlias = dict[str, _Local]


def _merged(fault: Exception | None, other: Exception) -> Exception:
    """Of two operands without a value, what is raised: what needs documents may yet get one."""
    if fault is None:
        return other
    if isinstance(fault, Unresolved):
        if isinstance(other, Unresolved):
            return Unresolved(fault.lookups | other.lookups)
        return fault
    return other if isinstance(other, Unresolved) else fault


class Compiler:
    """Makes closures. `counted` ones keep to EXPRESSIONS_MAX, which others need not if they cannot
    reach it; `traced` ones are counted too and record every sub-expression in `trace`."""

    def __init__(self, *, service: str, counted: bool = False, traced: bool = False) -> None:
        self._is_object_service = service == OBJECT_SERVICE
        self._counted = counted or traced
        self._traced = traced
        self._bodies: dict[int, Run] = {}
        self._unit_sizes: list[int] = []

    def condition(self, node: ast.Expression, scope: Scope) -> Run:
        """The closure of an allow's condition. Its frame is empty."""
        return self._unit(node, scope, {})

    # --- parts that are evaluated as a whole, or not at all ------------------------------------

    def _unit(self, node: ast.Expression, scope: Scope, names: _Names) -> Run:
        """Counting goes by units, which is cheaper than by expression and counts the same."""
        if not self._counted:
            return self._compile(node, scope, names)
        self._unit_sizes.append(0)
        run = self._compile(node, scope, names)
        size = self._unit_sizes.pop()

        def counted(environment: Environment, frame: Frame) -> Any:
            environment.budget -= size
            if environment.budget < 0:
                raise LimitExceeded(f"more than {EXPRESSIONS_MAX} expressions are evaluated")
            return run(environment, frame)

        return counted

    def _compile(self, node: ast.Expression, scope: Scope, names: _Names) -> Run:
        if self._counted:
            self._unit_sizes[-1] += 1
        run = self._dispatch(node, scope, names)
        if not self._traced or isinstance(node, ast.Literal):
            return run

        def traced(environment: Environment, frame: Frame) -> Any:
            trace, parent = Trace(node), environment.trace
            assert parent is not None
            parent.children.append(trace)
            environment.trace = trace
            try:
                trace.value = run(environment, frame)
            except (RulesError, Unresolved) as fault:
                trace.fault = fault
                raise
            finally:
                environment.trace = parent
            return trace.value

        return traced

    def _dispatch(self, node: ast.Expression, scope: Scope, names: _Names) -> Run:
        match node:
            case ast.Literal(value=value):
                return _constant(value)
            case ast.Name(name=name):
                return self._name(name, scope, names)
            case ast.Member():
                return self._member(node, scope, names)
            case ast.Index(target=target, at=at):
                return _index(self._compile(target, scope, names), self._compile(at, scope, names))
            case ast.Cut():
                return self._cut(node, scope, names)
            case ast.Call():
                return self._call(node, scope, names)
            case ast.MethodCall():
                return self._method_call(node, scope, names)
            case ast.Unary(operator=operator, operand=operand):
                run = self._compile(operand, scope, names)
                return _not(run) if operator == "!" else _applied(negate, (run,))
            case ast.Binary():
                return self._binary(node, scope, names)
            case ast.Logic(operator=operator, operands=operands):
                runs = tuple(self._unit(operand, scope, names) for operand in operands)
                return _and(runs) if operator == "&&" else _or(runs)
            case ast.TypeTest(operand=operand, type=name):
                return self._type_test(self._compile(operand, scope, names), name)
            case ast.Conditional(test=test, then=then, otherwise=otherwise):
                return _conditional(
                    self._compile(test, scope, names),
                    self._unit(then, scope, names),
                    self._unit(otherwise, scope, names),
                )
            case ast.ListLiteral():
                return self._list(node, scope, names)
            case ast.MapLiteral(entries=entries):
                return self._map(entries, scope, names)
            case ast.PathLiteral(segments=segments):
                return self._path(segments, scope, names)

    # --- names and access ----------------------------------------------------------------------

    def _name(self, name: str, scope: Scope, names: _Names) -> Run:
        local = names.get(name)
        if local is not None:
            return local.run
        place = scope.capture(name)
        if place is not None:
            return _capture(place, scope.captures[place].recursive)
        return _VARIABLES.get(name) or _failing(f"unknown variable `{name}`")

    def _is_free(self, name: str, scope: Scope, names: _Names) -> bool:
        """Whether a name has its library meaning here."""
        return name not in names and scope.capture(name) is None

    def _member(self, node: ast.Member, scope: Scope, names: _Names) -> Run:
        target = self._compile(node.target, scope, names)
        if not self._traced:
            chain = _CHAINS.get((target, node.name))
            if chain is not None:
                return chain
        elif isinstance(node.target, ast.Name) and self._is_free(node.target.name, scope, names):
            # Traces need the errors of these, not of the maps they would be read from.
            chain = _CHAINS.get((_VARIABLES.get(node.target.name, target), node.name))
            if chain is not None:
                return chain
        if target is _request:
            return _failing(f"request has no member `{node.name}`")
        return _member(target, node.name)

    def _cut(self, node: ast.Cut, scope: Scope, names: _Names) -> Run:
        parts = (node.target, node.start, node.end)
        return _applied(cut, tuple(self._compile(part, scope, names) for part in parts))

    # --- calls ---------------------------------------------------------------------------------

    def _call(self, node: ast.Call, scope: Scope, names: _Names) -> Run:
        declared = scope.function(node.name)
        if declared is not None:
            return self._user_call(node, declared, scope, names)
        arguments = tuple(self._compile(item, scope, names) for item in node.arguments)
        kind = LOOKUPS.get(node.name)
        if kind is not None and len(arguments) == 1 and not self._is_object_service:
            return _lookup(arguments[0], *kind)
        builtin = FUNCTIONS.get(node.name)
        if builtin is None or builtin.arity != len(arguments):
            return _failing(f"unknown function `{node.name}` of {len(arguments)} arguments")
        return _applied(builtin.call, arguments)

    def _user_call(self, node: ast.Call, declared: Declared, scope: Scope, names: _Names) -> Run:
        function = declared.function
        body = self._bodies.get(id(function))
        if body is None:
            body = self._bodies[id(function)] = self._body(declared)
        if len(node.arguments) != len(function.parameters):
            return _failing(f"`{node.name}` takes {len(function.parameters)} arguments")
        if not node.arguments:
            return body
        arguments = tuple(self._argument(item, scope, names) for item in node.arguments)
        if len(arguments) == 1:
            only = arguments[0]
            return lambda environment, frame: body(environment, [only(environment, frame)])
        return lambda environment, frame: body(
            environment, [argument(environment, frame) for argument in arguments]
        )

    def _argument(self, node: ast.Expression, scope: Scope, names: _Names) -> Run:
        """What goes into the callee's frame: the value where it costs nothing, else a _Lazy."""
        if isinstance(node, ast.Literal):
            return _constant(node.value)
        if isinstance(node, ast.Name) and not self._traced:
            local = names.get(node.name)
            if local is not None and local.place is not None:
                here = local.place
                return lambda environment, frame: frame[here]
            place = scope.capture(node.name)
            if local is None and place is not None:
                return _capture(place, scope.captures[place].recursive)
        run = self._unit(node, scope, names)
        return lambda environment, frame: _Lazy(run, frame)

    def _body(self, declared: Declared) -> Run:
        function = declared.function
        names: _Names = {
            parameter.name: _Local(_parameter(at), at)
            for at, parameter in enumerate(function.parameters)
        }
        for at, let in enumerate(function.lets, len(function.parameters)):
            run = self._unit(let.value, declared.scope, dict(names))
            names[let.name] = _Local(_let(at, run), None)
        result = self._unit(function.result, declared.scope, names)
        if not function.lets:
            return result
        unset = [_UNSET] * len(function.lets)
        if not function.parameters:
            return lambda environment, frame: result(environment, unset.copy())
        return lambda environment, frame: result(environment, [*frame, *unset])

    def _method_call(self, node: ast.MethodCall, scope: Scope, names: _Names) -> Run:
        if isinstance(node.target, ast.Name) and self._is_free(node.target.name, scope, names):
            found = self._namespace_call(node, node.target.name, scope, names)
            if found is not None:
                return found
        target = self._compile(node.target, scope, names)
        if node.name == "matches" and len(node.arguments) == 1:
            pattern = node.arguments[0]
            if isinstance(pattern, ast.Literal):
                return _literal_matches(target, pattern.value)
        arguments = tuple(self._compile(item, scope, names) for item in node.arguments)
        if node.name in ("hasAll", "hasAny", "hasOnly") and len(arguments) == 1:
            # They take sets as well as lists, and a constant set need not be made each time.
            constant = _constant_list(node.arguments[0])
            if constant is not None and not self._traced:
                arguments = (_constant(RulesSet(constant)),)
        return _method(target, node.name, arguments)

    def _namespace_call(
        self, node: ast.MethodCall, space: str, scope: Scope, names: _Names
    ) -> Run | None:
        if space == "firestore" and self._is_object_service:
            if node.name in CROSS_SERVICE_LOOKUPS and len(node.arguments) == 1:
                path = self._compile(node.arguments[0], scope, names)
                return _lookup(path, *LOOKUPS[node.name])
            return _failing(f"`firestore` has no function `{node.name}`")
        members = NAMESPACES.get(space)
        if members is None:
            return None
        builtin = members.get(node.name)
        if builtin is None or builtin.arity != len(node.arguments):
            return _failing(f"`{space}` has no such function `{node.name}`")
        arguments = tuple(self._compile(item, scope, names) for item in node.arguments)
        return _applied(builtin.call, arguments)

    # --- operators and literals ----------------------------------------------------------------

    def _binary(self, node: ast.Binary, scope: Scope, names: _Names) -> Run:
        left = self._compile(node.left, scope, names)
        right = self._compile(node.right, scope, names)
        if node.operator in ("==", "!="):
            wanted = node.operator == "=="
            if isinstance(node.right, ast.Literal) and node.right.value is None:
                return _is_null(left, wanted)
            return _equality(left, right, wanted)
        if node.operator == "in":
            constant = _constant_list(node.right)
            if constant is not None and all(item.__class__ is str for item in constant):
                return _one_of(left, frozenset(constant))
        return _applied(BINARY[node.operator], (left, right))

    def _type_test(self, run: Run, name: str) -> Run:
        test = TYPE_TESTS.get(name)
        if test is None:
            return _failing(f"unknown type `{name}`")
        return _applied(test, (run,))

    def _list(self, node: ast.ListLiteral, scope: Scope, names: _Names) -> Run:
        runs = tuple(self._compile(item, scope, names) for item in node.items)
        constant = _constant_list(node)
        if constant is not None:
            # Values are never changed, so one list serves all evaluations.
            return _constant(constant)
        return lambda environment, frame: [run(environment, frame) for run in runs]

    def _map(
        self,
        entries: tuple[tuple[ast.Expression, ast.Expression], ...],
        scope: Scope,
        names: _Names,
    ) -> Run:
        runs = tuple(
            (self._compile(key, scope, names), self._compile(value, scope, names))
            for key, value in entries
        )

        def run(environment: Environment, frame: Frame) -> Any:
            made: dict[str, Any] = {}
            for key_run, value_run in runs:
                key = key_run(environment, frame)
                if key.__class__ is not str:
                    raise EvaluationError(f"a map's key is a string, not {type_name(key)}")
                made[key] = value_run(environment, frame)
            return made

        return run

    def _path(self, segments: tuple[str | ast.Expression, ...], scope: Scope, names: _Names) -> Run:
        texts = tuple(segment for segment in segments if isinstance(segment, str))
        if len(texts) == len(segments):
            return _constant(Path(texts))
        parts = tuple(
            segment if isinstance(segment, str) else self._compile(segment, scope, names)
            for segment in segments
        )

        def run(environment: Environment, frame: Frame) -> Any:
            made: list[str] = []
            for part in parts:
                if part.__class__ is str:
                    made.append(part)
                    continue
                value = part(environment, frame)  # type: ignore[operator]
                if value.__class__ is str and value and "/" not in value:
                    made.append(value)
                else:
                    made.extend(path_segments(value))
            return Path(tuple(made))

        return run


# --- closures ----------------------------------------------------------------------------------


def _constant(value: Any) -> Run:
    return lambda environment, frame: value


def _parameter(place: int) -> Run:
    def run(environment: Environment, frame: Frame) -> Any:
        value = frame[place]
        if value.__class__ is _Lazy:
            return value.force(environment)
        return value

    return run


def _let(place: int, definition: Run) -> Run:
    def run(environment: Environment, frame: Frame) -> Any:
        value = frame[place]
        if value is _UNSET:
            try:
                value = definition(environment, frame)
            except (RulesError, Unresolved) as fault:
                frame[place] = _Failed(fault)  # type: ignore[index]
                raise
            frame[place] = value  # type: ignore[index]
        elif value.__class__ is _Failed:
            raise value.fault.with_traceback(None)
        return value

    return run


def _capture(place: int, recursive: bool) -> Run:
    if recursive:
        return lambda environment, frame: capture_value(environment.captures[place])
    return lambda environment, frame: environment.captures[place]


def _member(target: Run, name: str) -> Run:
    message = f"the map has no key `{name}`"

    def run(environment: Environment, frame: Frame) -> Any:
        value = target(environment, frame)
        if value.__class__ is dict:
            try:
                return value[name]
            except KeyError:
                raise EvaluationError(message) from None
        if value.__class__ is ResourceDocument:
            if name == "data":
                return value.data
            return member(document_map(value, environment.request.database), name)
        return member(value, name)

    return run


def _index(target: Run, at: Run) -> Run:
    def run(environment: Environment, frame: Frame) -> Any:
        value = target(environment, frame)
        if value.__class__ is ResourceDocument:
            value = document_map(value, environment.request.database)
        return index(value, at(environment, frame))

    return run


def _applied(function: Callable[..., Any], runs: tuple[Run, ...]) -> Run:
    """The function of the values of the runs."""
    if len(runs) == 1:
        only = runs[0]
        return lambda environment, frame: function(only(environment, frame))
    if len(runs) == 2:
        first, second = runs
        return lambda environment, frame: function(
            first(environment, frame), second(environment, frame)
        )
    return lambda environment, frame: function(*[run(environment, frame) for run in runs])


def _lookup(path: Run, after: bool, existence: bool) -> Run:
    def run(environment: Environment, frame: Frame) -> Any:
        value = path(environment, frame)
        database = environment.request.database
        found = environment.look_up(lookup_of(value, database, after=after))
        return found is not None if existence else found

    return run


def _method(target: Run, name: str, arguments: tuple[Run, ...]) -> Run:
    arity = len(arguments)
    calls = {
        kind: methods[name].call
        for kind, methods in METHODS.items()
        if name in methods and methods[name].arity == arity
    }
    of_maps = calls.get(dict)

    def call_of(receiver: Any) -> Callable[..., Any]:
        if of_maps is not None and isinstance(receiver, Mapping):
            return of_maps
        times = "argument" if arity == 1 else "arguments"
        raise EvaluationError(f"{type_name(receiver)} has no method `{name}` of {arity} {times}")

    def run(environment: Environment, frame: Frame) -> Any:
        receiver = target(environment, frame)
        if receiver.__class__ is ResourceDocument:
            receiver = document_map(receiver, environment.request.database)
        call = calls.get(receiver.__class__) or call_of(receiver)
        if arity == 0:
            return call(receiver)
        return call(receiver, *[argument(environment, frame) for argument in arguments])

    return run


def _literal_matches(target: Run, pattern: Any) -> Run:
    try:
        fullmatch = compile_pattern(pattern).fullmatch
    except EvaluationError as error:
        return _failing(str(error))

    def run(environment: Environment, frame: Frame) -> Any:
        text = target(environment, frame)
        if text.__class__ is not str:
            raise EvaluationError(f"{type_name(text)} has no method `matches` of 1 argument")
        return fullmatch(text) is not None

    return run


def _not(operand: Run) -> Run:
    def run(environment: Environment, frame: Frame) -> Any:
        value = operand(environment, frame)
        if value is True:
            return False
        if value is False:
            return True
        raise EvaluationError(f"`!` needs a bool, not {type_name(value)}")

    return run


def _is_null(operand: Run, wanted: bool) -> Run:
    if wanted:
        return lambda environment, frame: operand(environment, frame) is None
    return lambda environment, frame: operand(environment, frame) is not None


def _equality(left: Run, right: Run, wanted: bool) -> Run:
    def run(environment: Environment, frame: Frame) -> Any:
        a = left(environment, frame)
        b = right(environment, frame)
        kind = a.__class__
        if kind is b.__class__ and kind in PLAIN:
            return (a == b) is wanted
        return equals(a, b) is wanted

    return run


def _constant_list(node: ast.Expression) -> list[Any] | None:
    """The values of a list of literals."""
    if not isinstance(node, ast.ListLiteral):
        return None
    values = [item.value for item in node.items if isinstance(item, ast.Literal)]
    return values if len(values) == len(node.items) else None


def _one_of(operand: Run, texts: frozenset[str]) -> Run:
    """Membership in a list of string literals."""

    def run(environment: Environment, frame: Frame) -> Any:
        value = operand(environment, frame)
        return value.__class__ is str and value in texts

    return run


def _and(operands: tuple[Run, ...]) -> Run:
    def run(environment: Environment, frame: Frame) -> Any:
        fault: Exception | None = None
        for operand in operands:
            try:
                value = operand(environment, frame)
            except (EvaluationError, Unresolved) as raised:
                fault = _merged(fault, raised)
                continue
            if value is False:
                return False
            if value is not True:
                error = EvaluationError(f"`&&` needs bools, not {type_name(value)}")
                fault = _merged(fault, error)
        if fault is None:
            return True
        raise fault.with_traceback(None)

    return run


def _or(operands: tuple[Run, ...]) -> Run:
    def run(environment: Environment, frame: Frame) -> Any:
        fault: Exception | None = None
        for operand in operands:
            try:
                value = operand(environment, frame)
            except (EvaluationError, Unresolved) as raised:
                fault = _merged(fault, raised)
                continue
            if value is True:
                return True
            if value is not False:
                error = EvaluationError(f"`||` needs bools, not {type_name(value)}")
                fault = _merged(fault, error)
        if fault is None:
            return False
        raise fault.with_traceback(None)

    return run


def _conditional(test: Run, then: Run, otherwise: Run) -> Run:
    def run(environment: Environment, frame: Frame) -> Any:
        value = test(environment, frame)
        if value is True:
            return then(environment, frame)
        if value is False:
            return otherwise(environment, frame)
        raise EvaluationError(f"`? :` needs a bool, not {type_name(value)}")

    return run
