"""Conditions to closures, once per ruleset; closures to values, for each request.

An expression becomes a function of the environment (the request and what is known) and of a frame
(the parameters and lets of the function it stands in). It returns a rule value, or raises
EvaluationError (it has no value), Unresolved (it needs documents that are not at hand) or
LimitExceeded.

Arguments and lets are evaluated when they are first used, at most once: what a short-circuit
spares is neither evaluated nor looked up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from baas_rules import ast, closures
from baas_rules.decision import (
    OBJECT_SERVICE,
)
from baas_rules.environment import (
    CHAINS,
    VARIABLES,
    Environment,
    Frame,
    Run,
    Trace,
    Unresolved,
    request_value,
)
from baas_rules.errors import EvaluationError, LimitExceeded, RulesError
from baas_rules.functions import (
    CROSS_SERVICE_LOOKUPS,
    FUNCTIONS,
    LOOKUPS,
    NAMESPACES,
    check_path_length,
    path_segments,
)
from baas_rules.limits import EXPRESSIONS_MAX
from baas_rules.operators import (
    BINARY,
    TYPE_TESTS,
    cut,
    negate,
)
from baas_rules.scopes import Declared, Scope
from baas_rules.values import Path, RulesSet, type_name


@dataclass(frozen=True, slots=True)
class _Local:
    """A parameter (then `place` is its place in the frame) or a let."""

    run: Run
    place: int | None


_Names: TypeAlias = dict[str, _Local]


class Compiler:
    """Makes closures. `counted` ones keep to EXPRESSIONS_MAX, which others need not if they cannot
    reach it; `traced` ones are counted too and record every sub-expression in `trace`."""

    def __init__(self, *, service: str, counted: bool = False, traced: bool = False) -> None:
        self._is_object_service = service == OBJECT_SERVICE
        self._counted = counted or traced
        self._traced = traced
        self._bodies: dict[int, Run] = {}
        self._unit_sizes: list[int] = []

    def condition(self, node: ast.Expression, scope: Scope, *, metered: bool = False) -> Run:
        """The closure of an allow's condition. Its frame is empty. If `metered`, which only those
        that count can be, what it visits is bounded too."""
        run = self._unit(node, scope, {})
        return closures.metering(run) if metered else run

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
                return closures.constant(value)
            case ast.Name(name=name):
                return self._name(name, scope, names)
            case ast.Member():
                return self._member(node, scope, names)
            case ast.Index(target=target, at=at):
                whole = self._compile(target, scope, names)
                return closures.index(whole, self._compile(at, scope, names))
            case ast.Cut():
                return self._cut(node, scope, names)
            case ast.Call():
                return self._call(node, scope, names)
            case ast.MethodCall():
                return self._method_call(node, scope, names)
            case ast.Unary(operator=operator, operand=operand):
                run = self._compile(operand, scope, names)
                if operator == "!":
                    return closures.negation(run)
                return closures.applied(negate, (run,))
            case ast.Binary():
                return self._binary(node, scope, names)
            case ast.Logic(operator=operator, operands=operands):
                runs = tuple(self._unit(operand, scope, names) for operand in operands)
                return closures.all_of(runs) if operator == "&&" else closures.any_of(runs)
            case ast.TypeTest(operand=operand, type=name):
                return self._type_test(self._compile(operand, scope, names), name)
            case ast.Conditional(test=test, then=then, otherwise=otherwise):
                return closures.conditional(
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
            return closures.capture(place, scope.captures[place].recursive)
        return VARIABLES.get(name) or closures.failing(f"unknown variable `{name}`")

    def _is_free(self, name: str, scope: Scope, names: _Names) -> bool:
        """Whether a name has its library meaning here."""
        return name not in names and scope.capture(name) is None

    def _member(self, node: ast.Member, scope: Scope, names: _Names) -> Run:
        target = self._compile(node.target, scope, names)
        if not self._traced:
            chain = CHAINS.get((target, node.name))
            if chain is not None:
                return chain
        elif isinstance(node.target, ast.Name) and self._is_free(node.target.name, scope, names):
            # Traces need the errors of these, not of the maps they would be read from.
            chain = CHAINS.get((VARIABLES.get(node.target.name, target), node.name))
            if chain is not None:
                return chain
        if target is request_value:
            return closures.failing(f"request has no member `{node.name}`")
        return closures.member(target, node.name)

    def _cut(self, node: ast.Cut, scope: Scope, names: _Names) -> Run:
        parts = (node.target, node.start, node.end)
        return closures.applied(cut, tuple(self._compile(part, scope, names) for part in parts))

    # --- calls ---------------------------------------------------------------------------------

    def _call(self, node: ast.Call, scope: Scope, names: _Names) -> Run:
        declared = scope.function(node.name)
        if declared is not None:
            return self._user_call(node, declared, scope, names)
        arguments = tuple(self._compile(item, scope, names) for item in node.arguments)
        kind = LOOKUPS.get(node.name)
        if kind is not None and len(arguments) == 1 and not self._is_object_service:
            return closures.lookup(arguments[0], *kind)
        builtin = FUNCTIONS.get(node.name)
        if builtin is None or builtin.arity != len(arguments):
            return closures.failing(f"unknown function `{node.name}` of {len(arguments)} arguments")
        return closures.applied(builtin.call, arguments)

    def _user_call(self, node: ast.Call, declared: Declared, scope: Scope, names: _Names) -> Run:
        function = declared.function
        body = self._bodies.get(id(function))
        if body is None:
            body = self._bodies[id(function)] = self._body(declared)
        if len(node.arguments) != len(function.parameters):
            return closures.failing(f"`{node.name}` takes {len(function.parameters)} arguments")
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
        """What goes into the callee's frame: the value where it costs nothing, else a Lazy."""
        if isinstance(node, ast.Literal):
            return closures.constant(node.value)
        if isinstance(node, ast.Name) and not self._traced:
            local = names.get(node.name)
            if local is not None and local.place is not None:
                here = local.place
                return lambda environment, frame: frame[here]
            place = scope.capture(node.name)
            if local is None and place is not None:
                return closures.capture(place, scope.captures[place].recursive)
        run = self._unit(node, scope, names)
        return lambda environment, frame: closures.Lazy(run, frame)

    def _body(self, declared: Declared) -> Run:
        function = declared.function
        names: _Names = {
            parameter.name: _Local(closures.parameter(at), at)
            for at, parameter in enumerate(function.parameters)
        }
        for at, let in enumerate(function.lets, len(function.parameters)):
            run = self._unit(let.value, declared.scope, dict(names))
            names[let.name] = _Local(closures.let(at, run), None)
        result = self._unit(function.result, declared.scope, names)
        if not function.lets:
            return result
        unset = [closures.UNSET] * len(function.lets)
        if not function.parameters:
            return lambda environment, frame: result(environment, unset.copy())
        return lambda environment, frame: result(environment, [*frame, *unset])

    def _method_call(self, node: ast.MethodCall, scope: Scope, names: _Names) -> Run:
        if isinstance(node.target, ast.Name) and self._is_free(node.target.name, scope, names):
            found = self._namespace_call(node, node.target.name, scope, names)
            if found is not None:
                return found
        target = self._compile(node.target, scope, names)
        generic = self._method(node, target, scope, names)
        if not self._counted:
            return self._affects_only(node, generic, scope, names) or generic
        return generic

    def _affects_only(
        self, node: ast.MethodCall, generic: Run, scope: Scope, names: _Names
    ) -> Run | None:
        """The most frequent chain of methods, as one closure."""
        match node:
            case ast.MethodCall(
                name="hasOnly",
                arguments=(allowed,),
                target=ast.MethodCall(
                    name="affectedKeys",
                    arguments=(),
                    target=ast.MethodCall(name="diff", arguments=(old,), target=new),
                ),
            ):
                texts = _constant_list(allowed)
                if texts is not None and all(text.__class__ is str for text in texts):
                    runs = self._compile(new, scope, names), self._compile(old, scope, names)
                    return closures.affects_only(*runs, frozenset(texts), generic)
        return None

    def _method(self, node: ast.MethodCall, target: Run, scope: Scope, names: _Names) -> Run:
        if node.name == "matches" and len(node.arguments) == 1:
            pattern = node.arguments[0]
            if isinstance(pattern, ast.Literal):
                return closures.literal_matches(target, pattern.value)
        arguments = tuple(self._compile(item, scope, names) for item in node.arguments)
        if node.name in ("hasAll", "hasAny", "hasOnly") and len(arguments) == 1:
            # They take sets as well as lists, and a constant set need not be made each time.
            constant = _constant_list(node.arguments[0])
            if constant is not None and not self._traced:
                arguments = (closures.constant(RulesSet(constant)),)
        return closures.method(target, node.name, arguments, counted=self._counted)

    def _namespace_call(
        self, node: ast.MethodCall, space: str, scope: Scope, names: _Names
    ) -> Run | None:
        if space == "firestore" and self._is_object_service:
            if node.name in CROSS_SERVICE_LOOKUPS and len(node.arguments) == 1:
                path = self._compile(node.arguments[0], scope, names)
                return closures.cross_lookup(path, CROSS_SERVICE_LOOKUPS[node.name])
            return closures.failing(f"`firestore` has no function `{node.name}`")
        members = NAMESPACES.get(space)
        if members is None:
            return None
        builtin = members.get(node.name)
        if builtin is None or builtin.arity != len(node.arguments):
            return closures.failing(f"`{space}` has no such function `{node.name}`")
        arguments = tuple(self._compile(item, scope, names) for item in node.arguments)
        return closures.applied(self._visiting(builtin.call), arguments)

    def _visiting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return closures.visiting(function) if self._counted else function

    # --- operators and literals ----------------------------------------------------------------

    def _binary(self, node: ast.Binary, scope: Scope, names: _Names) -> Run:
        left = self._compile(node.left, scope, names)
        right = self._compile(node.right, scope, names)
        if node.operator in ("==", "!="):
            wanted = node.operator == "=="
            if isinstance(node.right, ast.Literal) and node.right.value is None:
                return closures.is_null(left, wanted)
            return closures.equality(left, right, wanted)
        if node.operator == "in":
            constant = _constant_list(node.right)
            if constant is not None and all(item.__class__ is str for item in constant):
                return closures.one_of(left, frozenset(constant))
        function = BINARY[node.operator]
        if node.operator in ("+", "in"):
            function = self._visiting(function)
        return closures.applied(function, (left, right))

    def _type_test(self, run: Run, name: str) -> Run:
        test = TYPE_TESTS.get(name)
        if test is None:
            return closures.failing(f"unknown type `{name}`")
        return closures.applied(test, (run,))

    def _list(self, node: ast.ListLiteral, scope: Scope, names: _Names) -> Run:
        runs = tuple(self._compile(item, scope, names) for item in node.items)
        constant = _constant_list(node)
        if constant is not None:
            # Values are never changed, so one list serves all evaluations.
            return closures.constant(constant)
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
            return closures.constant(Path(texts))
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
            check_path_length(made)
            return Path(tuple(made))

        return run


def _constant_list(node: ast.Expression) -> list[Any] | None:
    """The values of a list of literals."""
    if not isinstance(node, ast.ListLiteral):
        return None
    values = [item.value for item in node.items if isinstance(item, ast.Literal)]
    return values if len(values) == len(node.items) else None
