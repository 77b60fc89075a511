"""Whether a condition holds for every document that a query could return.

The condition is evaluated once, over abstract values: what an expression may give is never less
than what it would give for some such document. So a condition that can only be true is true for
all of them. Where nothing is known the answer is "anything, or an error", which proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from baas_rules import ast
from baas_rules.abstract import (
    ANY,
    EITHER,
    FALSE,
    TRUE,
    Abstract,
    Anything,
    Facts,
    Known,
    PartialMap,
    Result,
    Truth,
    apply,
    as_list,
    compare,
    contains,
    failed,
    from_truth,
    is_equal,
    join,
    kinds_of,
    known,
    truth,
)
from baas_rules.decision import Lookup, ResourceDocument, Segments
from baas_rules.errors import EvaluationError, LimitExceeded
from baas_rules.functions import (
    CROSS_SERVICE_LOOKUPS,
    FUNCTIONS,
    LOOKUPS,
    METHOD_ARITIES,
    METHODS,
    NAMESPACES,
    check_path_length,
    path_segments,
)
from baas_rules.kinds import FUNCTION_KINDS, are_ordered, binary_kinds, method_kinds
from baas_rules.limits import EXPRESSIONS_MAX
from baas_rules.lookups import cross_lookup_of, lookup_of
from baas_rules.metering import charge, metered
from baas_rules.narrowing import facts, with_fact
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
from baas_rules.values import Path, RulesSet, equals, type_name

# Of the elements that a query may take altogether, all alternatives and statements together; a step
# of a proof takes as long as this many.
_VISITS_PER_STEP: Final = 50
_COMPARISONS: Final = ("<", "<=", ">", ">=")
_TYPE_KINDS: Final = {name: frozenset({name}) for name in TYPE_TESTS} | {
    "number": frozenset({"int", "float"})
}


@dataclass(frozen=True, slots=True)
class World:
    """What a condition is asked about. `captures` are what the wildcards of the match bind.
    `look_up` answers for a document: its Result, or ANY with the lookup pending."""

    request: PartialMap
    resource: Abstract
    look_up: Callable[[Lookup], Result]
    database: str
    is_object_service: bool = False


class Proof:
    """What was found of a sub-expression, and of those inside of it, in order."""

    __slots__ = ("children", "node", "result", "sources")

    def __init__(self, node: ast.Expression, sources: Mapping[str, ast.Expression]) -> None:
        self.node = node
        self.children: list[Proof] = []
        self.result: Result = ANY
        self.sources = sources  # what the parameters in sight stand for


class _Cell:
    """A parameter or let: evaluated at first use."""

    __slots__ = ("_evaluate", "_result", "node")

    def __init__(self, node: ast.Expression, evaluate: Callable[[], Result]) -> None:
        self.node = node
        self._evaluate: Callable[[], Result] | None = evaluate
        self._result: Result | None = None

    def get(self) -> Result:
        if self._result is None:
            assert self._evaluate is not None
            self._result = self._evaluate()
            self._evaluate = None
        return self._result


_Names = dict[str, _Cell]


class Prover:
    """Evaluates conditions for one world. Raises LimitExceeded past EXPRESSIONS_MAX, or if the
    world's `look_up` does. With `traced`, `proof` holds the tree of the last condition."""

    def __init__(self, world: World, captures: tuple[Abstract, ...], *, traced: bool = False):
        self._world = world
        self._captures = captures
        self._budget = EXPRESSIONS_MAX
        self._spare = EXPRESSIONS_MAX
        self._traced = traced
        self._parents: list[Proof] = []
        self.proof: Proof | None = None

    def prove(self, condition: ast.Expression, scope: Scope) -> Result:
        """What the condition may come to."""
        return metered(lambda: self._evaluate(condition, scope, {}))

    def _evaluate(self, node: ast.Expression, scope: Scope, names: _Names) -> Result:
        self._budget -= 1
        charge(_VISITS_PER_STEP)
        if self._budget < 0:
            raise LimitExceeded(f"more than {EXPRESSIONS_MAX} expressions are evaluated")
        if not self._traced:
            return self._dispatch(node, scope, names)
        proof = Proof(node, {name: cell.node for name, cell in names.items()})
        if self._parents:
            self._parents[-1].children.append(proof)
        else:
            self.proof = proof
        self._parents.append(proof)
        try:
            proof.result = self._dispatch(node, scope, names)
        finally:
            self._parents.pop()
        return proof.result

    def _evaluate_in(
        self, world: World, node: ast.Expression, scope: Scope, names: _Names
    ) -> Result:
        outer, self._world = self._world, world
        try:
            return self._evaluate(node, scope, names)
        finally:
            self._world = outer

    def _assuming(self, node: ast.Expression, wanted: bool, scope: Scope, names: _Names) -> World:
        """The world in which an expression came out so."""
        world = self._world
        resource = world.resource
        if not isinstance(resource, PartialMap) or "data" not in resource.entries:
            return world
        # It has a budget of its own: knowing less is sound, and must not cost a proof.
        traced, budget = self._traced, self._budget
        self._traced, self._budget = False, self._spare
        try:
            found = list(facts(node, wanted, lambda part: self._evaluate(part, scope, names)))
        except LimitExceeded:
            return world
        finally:
            self._spare = max(0, self._budget)
            self._traced, self._budget = traced, budget
        data = resource.entries["data"]
        for path, value in found:
            data = with_fact(data, path, value)
        if data is resource.entries["data"]:
            return world
        entries = {**resource.entries, "data": data}
        return replace(world, resource=replace(resource, entries=entries))

    def _dispatch(self, node: ast.Expression, scope: Scope, names: _Names) -> Result:
        match node:
            case ast.Literal(value=value):
                return known(value)
            case ast.Name(name=name):
                return self._name(name, scope, names)
            case ast.Member(target=target, name=name):
                return self._member(self._evaluate(target, scope, names), name)
            case ast.Index(target=target, at=at):
                whole = self._evaluate(target, scope, names)
                return self._index(whole, self._evaluate(at, scope, names))
            case ast.Cut(target=target, start=start, end=end):
                parts = [self._evaluate(part, scope, names) for part in (target, start, end)]
                return apply(cut, parts)
            case ast.Call():
                return self._call(node, scope, names)
            case ast.MethodCall():
                return self._method_call(node, scope, names)
            case ast.Unary(operator=operator, operand=operand):
                inner = self._evaluate(operand, scope, names)
                return _not(inner) if operator == "!" else apply(negate, [inner])
            case ast.Binary(operator=operator, left=left, right=right):
                a = self._evaluate(left, scope, names)
                return _binary(operator, a, self._evaluate(right, scope, names))
            case ast.Logic(operator=operator, operands=operands):
                return self._logic(operator, operands, scope, names)
            case ast.TypeTest(operand=operand, type=name):
                return _type_test(self._evaluate(operand, scope, names), name)
            case ast.Conditional():
                return self._conditional(node, scope, names)
            case ast.ListLiteral(items=items):
                return as_list([self._evaluate(item, scope, names) for item in items])
            case ast.MapLiteral(entries=entries):
                return self._map(entries, scope, names)
            case ast.PathLiteral(segments=segments):
                return self._path(segments, scope, names)

    # --- names and access ----------------------------------------------------------------------

    def _is_free(self, name: str, scope: Scope, names: _Names) -> bool:
        return name not in names and scope.capture(name) is None

    def _name(self, name: str, scope: Scope, names: _Names) -> Result:
        cell = names.get(name)
        if cell is not None:
            return cell.get()
        place = scope.capture(name)
        if place is not None:
            return Result(self._captures[place])
        if name == "request":
            return Result(self._world.request)
        if name == "resource":
            return Result(self._world.resource)
        return failed(f"unknown variable `{name}`")

    def _plain(self, value: Any) -> Any:
        """A document as the map that it is."""
        if isinstance(value, ResourceDocument):
            return document_map(value, self._world.database)
        return value

    def _member(self, target: Result, name: str) -> Result:
        value = target.value
        if isinstance(value, PartialMap):
            return _entry(value, name, target)
        if isinstance(value, Anything) and isinstance(value.origin, tuple):
            inner = Anything(origin=(*value.origin, name), is_field=value.is_field)
            return Result(inner, True, target.pending)
        return apply(lambda one: member(self._plain(one), name), [target])

    def _index(self, target: Result, at: Result) -> Result:
        if isinstance(target.value, PartialMap) and isinstance(at.value, Known):
            key = at.value.values[0]
            if len(at.value.values) == 1 and isinstance(key, str):
                found = _entry(target.value, key, target)
                return Result(
                    found.value, found.fault or at.fault, found.pending | at.pending, found.error
                )
        return apply(lambda one, place: index(self._plain(one), place), [target, at])

    # --- calls ---------------------------------------------------------------------------------

    def _call(self, node: ast.Call, scope: Scope, names: _Names) -> Result:
        declared = scope.function(node.name)
        if declared is not None:
            return self._user_call(node, declared, scope, names)
        arguments = [self._evaluate(item, scope, names) for item in node.arguments]
        kind = LOOKUPS.get(node.name)
        if kind is not None and len(arguments) == 1 and not self._world.is_object_service:
            return _looked_up(self._world, arguments[0], *kind)
        builtin = FUNCTIONS.get(node.name)
        if builtin is None or builtin.arity != len(arguments):
            return failed(f"unknown function `{node.name}` of {len(arguments)} arguments")
        if node.name == "debug":
            return arguments[0]
        return _of_kinds(apply(builtin.call, arguments), FUNCTION_KINDS.get(node.name))

    def _user_call(self, node: ast.Call, declared: Declared, scope: Scope, names: _Names) -> Result:
        function = declared.function
        if len(node.arguments) != len(function.parameters):
            return failed(f"`{node.name}` takes {len(function.parameters)} arguments")
        inner: _Names = {}
        for parameter, argument in zip(function.parameters, node.arguments, strict=True):
            inner[parameter.name] = self._cell(argument, scope, names)
        for let in function.lets:
            inner[let.name] = self._cell(let.value, declared.scope, dict(inner))
        return self._evaluate(function.result, declared.scope, inner)

    def _cell(self, node: ast.Expression, scope: Scope, names: _Names) -> _Cell:
        shown = node
        if isinstance(node, ast.Name) and node.name in names:
            shown = names[node.name].node
        world = self._world  # what is assumed where it is first used must not outlive that
        return _Cell(shown, lambda: self._evaluate_in(world, node, scope, names))

    def _method_call(self, node: ast.MethodCall, scope: Scope, names: _Names) -> Result:
        if isinstance(node.target, ast.Name) and self._is_free(node.target.name, scope, names):
            found = self._namespace_call(node, node.target.name, scope, names)
            if found is not None:
                return found
        target = self._evaluate(node.target, scope, names)
        arguments = [self._evaluate(item, scope, names) for item in node.arguments]
        special = _special_method(node.name, target, arguments)
        if special is not None:
            return special
        found = apply(
            lambda receiver, *rest: _concrete_method(self._plain(receiver), node.name, rest),
            [target, *arguments],
        )
        if target.value is None or not _is_unknown(found):
            return found
        if len(arguments) not in METHOD_ARITIES.get(node.name, ()):
            return Result(None, True, found.pending, f"no type has a method `{node.name}`")
        receivers = kinds_of(target.value)
        if receivers is None:
            return found
        return _of_kinds(
            found,
            method_kinds(node.name, receivers, [_kinds(one) for one in arguments]),
            f"{' or '.join(sorted(receivers))} has no method `{node.name}` of these arguments",
        )

    def _namespace_call(
        self, node: ast.MethodCall, space: str, scope: Scope, names: _Names
    ) -> Result | None:
        if space == "firestore" and self._world.is_object_service:
            if node.name in CROSS_SERVICE_LOOKUPS and len(node.arguments) == 1:
                path = self._evaluate(node.arguments[0], scope, names)
                return _looked_up(self._world, path, False, CROSS_SERVICE_LOOKUPS[node.name])
            return failed(f"`firestore` has no function `{node.name}`")
        members = NAMESPACES.get(space)
        if members is None:
            return None
        builtin = members.get(node.name)
        if builtin is None or builtin.arity != len(node.arguments):
            return failed(f"`{space}` has no such function `{node.name}`")
        made = apply(builtin.call, [self._evaluate(item, scope, names) for item in node.arguments])
        return _of_kinds(made, FUNCTION_KINDS.get(f"{space}.{node.name}"))

    # --- logic ---------------------------------------------------------------------------------

    def _logic(
        self,
        operator: str,
        operands: tuple[ast.Expression, ...],
        scope: Scope,
        names: _Names,
    ) -> Result:
        """`&&` as it stands; `||` is its mirror image: true and false change places. Each operand
        is evaluated in the world in which those before it passed, if they cannot fail: where one of
        them stops, it decides anyway."""
        outer = self._world
        try:
            return self._operands(operator == "||", operands, scope, names)
        finally:
            self._world = outer

    def _operands(
        self,
        mirrored: bool,
        operands: tuple[ast.Expression, ...],
        scope: Scope,
        names: _Names,
    ) -> Result:
        all_pass, some_stop, may_fail, none_stops = True, False, False, True
        pending = frozenset[Lookup]()
        error = ""
        for operand in operands:
            found = self._evaluate(operand, scope, names)
            told = truth(found)
            passes, stops = (told.false, told.true) if mirrored else (told.true, told.false)
            if stops and not passes and not told.error:
                return Result(TRUE if mirrored else FALSE)
            pending |= found.pending
            error = error or found.error
            all_pass = all_pass and passes
            some_stop = some_stop or stops
            may_fail = may_fail or told.error
            none_stops = none_stops and (passes or told.error)
            if stops and passes and not told.error and operand is not operands[-1]:
                self._world = self._assuming(operand, not mirrored, scope, names)
        # It fails if no operand stops it and one of them fails.
        whole_fails = may_fail and none_stops
        if mirrored:
            return from_truth(Truth(some_stop, all_pass, whole_fails), pending, error)
        return from_truth(Truth(all_pass, some_stop, whole_fails), pending, error)

    def _conditional(self, node: ast.Conditional, scope: Scope, names: _Names) -> Result:
        test = self._evaluate(node.test, scope, names)
        told = truth(test)
        branches: list[Result] = []
        if told.true:
            world = self._assuming(node.test, True, scope, names)
            branches.append(self._evaluate_in(world, node.then, scope, names))
        if told.false:
            world = self._assuming(node.test, False, scope, names)
            branches.append(self._evaluate_in(world, node.otherwise, scope, names))
        whole = join(branches) if branches else failed(test.error)
        return Result(
            whole.value,
            whole.fault or told.error,
            whole.pending | test.pending,
            whole.error or test.error,
        )

    # --- literals ------------------------------------------------------------------------------

    def _map(
        self,
        entries: tuple[tuple[ast.Expression, ast.Expression], ...],
        scope: Scope,
        names: _Names,
    ) -> Result:
        parts: list[Result] = []
        made: dict[str, Abstract] = {}
        for key_node, value_node in entries:
            key = self._evaluate(key_node, scope, names)
            value = self._evaluate(value_node, scope, names)
            parts += [key, value]
            names_known = key.value.values if isinstance(key.value, Known) else ()
            if value.value is None or len(names_known) != 1 or not isinstance(names_known[0], str):
                return Result(Anything(), True, _pending(parts))
            made[names_known[0]] = value.value
        fault = any(part.fault for part in parts)
        if all(isinstance(value, Known) for value in made.values()):
            keys = list(made)
            whole = apply(
                lambda *values: dict(zip(keys, values, strict=True)),
                [Result(value) for value in made.values()],
            )
            return Result(whole.value, whole.fault or fault, _pending(parts))
        return Result(PartialMap(made, complete=True), fault, _pending(parts))

    def _path(
        self, segments: tuple[str | ast.Expression, ...], scope: Scope, names: _Names
    ) -> Result:
        parts = [
            known(segment) if isinstance(segment, str) else self._evaluate(segment, scope, names)
            for segment in segments
        ]
        literal = [isinstance(segment, str) for segment in segments]

        def build(*values: Any) -> Path:
            made: list[str] = []
            for value, is_literal in zip(values, literal, strict=True):
                made.extend((value,) if is_literal else path_segments(value))
            check_path_length(made)
            return Path(tuple(made))

        whole = apply(build, parts)
        if isinstance(whole.value, Anything):
            return Result(Anything(frozenset({"path"})), True, whole.pending, whole.error)
        return whole


# --- the parts that need no world --------------------------------------------------------------


def _looked_up(world: World, path: Result, after: bool, existence: bool) -> Result:
    """`get`, `exists` and the like: of each document that the path may name."""
    value = path.value
    if value is None:
        return path
    if not isinstance(value, Known):
        found = EITHER if existence else Anything(origin="a document that is looked up")
        return Result(found, True, path.pending)
    results: list[Result] = []
    for one in value.values:
        try:
            if world.is_object_service:
                lookup = cross_lookup_of(one)
            else:
                lookup = lookup_of(one, world.database, after=after)
        except EvaluationError as error:
            results.append(failed(str(error)))
            continue
        found_result = world.look_up(lookup)
        if existence:
            found_result = apply(lambda document: document is not None, [found_result])
        results.append(found_result)
    whole = join(results)
    return Result(whole.value, whole.fault or path.fault, whole.pending | path.pending, whole.error)


def _pending(parts: list[Result]) -> frozenset[Lookup]:
    return frozenset[Lookup]().union(*(part.pending for part in parts))


def _entry(whole: PartialMap, name: str, target: Result) -> Result:
    entry = whole.entries.get(name)
    if entry is not None:
        return Result(entry, target.fault, target.pending, target.error)
    if whole.complete:
        return Result(None, True, target.pending, f"the map has no key `{name}`")
    origin: Segments | None = None if whole.path is None else (*whole.path, name)
    return Result(Anything(origin=origin), True, target.pending)


def _not(inner: Result) -> Result:
    told = truth(inner)
    return from_truth(Truth(told.false, told.true, told.error), inner.pending, inner.error)


def _binary(operator: str, a: Result, b: Result) -> Result:
    if operator == "in":
        return contains(a, b, BINARY["in"])
    if operator in _COMPARISONS:
        found = compare(a, operator, b, BINARY[operator])
        if _is_unknown(found):
            kinds = frozenset({"bool"}) if are_ordered(_kinds(a), _kinds(b)) else frozenset[str]()
            return _of_kinds(found, kinds, _mismatch(operator, a, b))
        return found
    if operator not in ("==", "!="):
        made = apply(BINARY[operator], [a, b])
        kinds_found = binary_kinds(operator, _kinds(a), _kinds(b))
        return _of_kinds(made, kinds_found, _mismatch(operator, a, b))
    pending = a.pending | b.pending
    if a.value is None or b.value is None:
        return Result(None, True, pending, a.error or b.error)
    equal: Known = is_equal(a.value, b.value)
    if operator == "!=" and len(equal.values) == 1:
        equal = FALSE if equal == TRUE else TRUE
    return Result(equal, a.fault or b.fault, pending, a.error or b.error)


def _kinds(found: Result) -> frozenset[str] | None:
    return None if found.value is None else kinds_of(found.value)


def _is_unknown(found: Result) -> bool:
    return isinstance(found.value, Anything) and found.value.kinds is None


def _of_kinds(found: Result, kinds: frozenset[str] | None, error: str = "") -> Result:
    """What is not known otherwise is of these types at least; of none, it has no value."""
    if kinds is None or not _is_unknown(found):
        return found
    if not kinds:
        return Result(None, True, found.pending, found.error or error)
    return Result(Anything(kinds), found.fault, found.pending, found.error)


def _mismatch(operator: str, a: Result, b: Result) -> str:
    left, right = (" or ".join(sorted(_kinds(one) or ("anything",))) for one in (a, b))
    return f"`{operator}` does not take {left} and {right}"


def _type_test(operand: Result, name: str) -> Result:
    wanted = _TYPE_KINDS.get(name)
    if wanted is None:
        return failed(f"unknown type `{name}`")
    if operand.value is None:
        return operand
    kinds = kinds_of(operand.value)
    found = EITHER
    if kinds is not None and kinds <= wanted:
        found = TRUE
    elif kinds is not None and not kinds & wanted:
        found = FALSE
    return Result(found, operand.fault, operand.pending, operand.error)


def _concrete_method(receiver: Any, name: str, arguments: tuple[Any, ...]) -> Any:
    kind = dict if isinstance(receiver, Mapping) else receiver.__class__
    builtin = METHODS.get(kind, {}).get(name)
    if builtin is None or builtin.arity != len(arguments):
        raise EvaluationError(f"{type_name(receiver)} has no method `{name}`")
    return builtin.call(receiver, *arguments)


def _special_method(name: str, target: Result, arguments: list[Result]) -> Result | None:
    """Methods that tell something of a receiver that is not wholly known."""
    value = target.value
    if isinstance(value, PartialMap):
        return _map_method(name, value, target, arguments)
    if not isinstance(value, Anything) or value.kinds is None:
        return None
    if not value.kinds <= {"list", "set"}:
        return None
    if name == "toSet" and not arguments and value.kinds == {"list"}:
        return Result(
            Anything(frozenset({"set"}), Facts(contains=value.facts.contains)),
            target.fault,
            target.pending,
        )
    if name == "size" and not arguments:
        return Result(Anything(frozenset({"int"})), target.fault, target.pending)
    if name in ("hasAll", "hasAny") and len(arguments) == 1:
        return _membership(name, value.facts.contains, target, arguments[0])
    return None


def _membership(
    name: str, certain: tuple[Any, ...], target: Result, wanted: Result
) -> Result | None:
    """`hasAll` and `hasAny` of a list or set that has these elements for certain."""
    if not isinstance(wanted.value, Known):
        return None
    proved = True
    fault = target.fault or wanted.fault
    for one in wanted.value.values:
        if not isinstance(one, list | RulesSet):
            return None
        found = [any(equals(item, element) for element in certain) for item in one]
        proved = proved and (all(found) if name == "hasAll" else any(found))
    return Result(TRUE if proved else EITHER, fault, target.pending | wanted.pending)


def _map_method(
    name: str, value: PartialMap, target: Result, arguments: list[Result]
) -> Result | None:
    if name == "keys" and not arguments:
        facts = Facts(contains=tuple(value.entries))
        return Result(Anything(frozenset({"list"}), facts), target.fault, target.pending)
    if name == "get" and len(arguments) == 2 and isinstance(arguments[0].value, Known):
        return _map_get(value, target, arguments[0], arguments[1])
    return None


def _map_get(value: PartialMap, target: Result, key: Result, default: Result) -> Result | None:
    assert isinstance(key.value, Known)
    if default.value is None:
        return default
    results: list[Result] = []
    for one in key.value.values:
        steps = [one] if isinstance(one, str) else one
        if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
            return None
        results.extend(_get_steps(value, steps, default.value))
    whole = join(results)
    pending = target.pending | key.pending | default.pending
    return Result(whole.value, target.fault or key.fault or default.fault, pending)


def _get_steps(value: Abstract, steps: list[str], default: Abstract) -> list[Result]:
    """What `get` may give: never an error."""
    found: Abstract = value
    for at, step in enumerate(steps):
        if not isinstance(found, PartialMap):
            if isinstance(found, Known):
                rest = list(steps[at:])
                return [
                    Result(Known((one[rest[0]],)))
                    if len(rest) == 1 and isinstance(one, Mapping) and rest[0] in one
                    else Result(Anything())
                    for one in found.values
                ]
            return [Result(Anything(origin=_origin(found, steps[at:]), is_field=False))]
        entry = found.entries.get(step)
        if entry is None:
            if found.complete:
                return [Result(default)]
            origin = None if found.path is None else (*found.path, *steps[at:])
            return [Result(Anything(origin=origin, is_field=False))]
        found = entry
    return [Result(found)]


def _origin(value: Abstract, rest: list[str]) -> Segments | None:
    if isinstance(value, Anything) and isinstance(value.origin, tuple):
        return (*value.origin, *rest)
    return None
