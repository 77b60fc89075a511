"""The closures that conditions are made of. Each maker takes the closures of the parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from baas_rules import operators
from baas_rules.decision import ResourceDocument
from baas_rules.environment import Environment, Frame, Run, Unresolved
from baas_rules.errors import EvaluationError, RulesError
from baas_rules.functions import METHODS, compile_pattern, full_match
from baas_rules.lookups import capture_value, cross_lookup_of, lookup_of
from baas_rules.metering import charge, left_over, metered
from baas_rules.values import PLAIN, MapDiff, RulesSet, equals, type_name

_CHARACTERS_PER_VISIT: Final = 8


class _Failed:
    """A let in a frame that has no value."""

    __slots__ = ("fault",)

    def __init__(self, fault: Exception) -> None:
        self.fault = fault


UNSET: Final = object()  # a let in a frame that nobody has asked for yet


class Lazy:
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


def failing(message: str) -> Run:
    def run(environment: Environment, frame: Frame) -> Any:
        raise EvaluationError(message)

    return run


def _merged(fault: Exception | None, other: Exception) -> Exception:
    """Of two operands without a value, what is raised: what needs documents may yet get one."""
    if fault is None:
        return other
    if isinstance(fault, Unresolved):
        if isinstance(other, Unresolved):
            return Unresolved(fault.lookups | other.lookups)
        return fault
    return other if isinstance(other, Unresolved) else fault


def metering(run: Run) -> Run:
    """Counts what all statements of one request visit together."""

    def metered_run(environment: Environment, frame: Frame) -> Any:
        def evaluate() -> Any:
            try:
                return run(environment, frame)
            finally:
                environment.visits = left_over()

        return metered(evaluate, environment.visits)

    return metered_run


def visiting(run: Callable[..., Any]) -> Callable[..., Any]:
    """A function that charges for the length of what it is given."""

    def call(*values: Any) -> Any:
        charge(sum(map(_size, values)))
        return run(*values)

    return call


def _size(value: Any) -> int:
    if isinstance(value, MapDiff):
        return len(value.new) + len(value.old)
    if isinstance(value, str | bytes):
        return len(value) // _CHARACTERS_PER_VISIT
    return len(value) if isinstance(value, list | dict | RulesSet) else 0


def constant(value: Any) -> Run:
    return lambda environment, frame: value


def parameter(place: int) -> Run:
    def run(environment: Environment, frame: Frame) -> Any:
        value = frame[place]
        if value.__class__ is Lazy:
            return value.force(environment)
        return value

    return run


def let(place: int, definition: Run) -> Run:
    def run(environment: Environment, frame: Frame) -> Any:
        value = frame[place]
        if value is UNSET:
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


def capture(place: int, recursive: bool) -> Run:
    if recursive:
        return lambda environment, frame: capture_value(environment.captures[place])
    return lambda environment, frame: environment.captures[place]


def member(target: Run, name: str) -> Run:
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
            return operators.member(
                operators.document_map(value, environment.request.database), name
            )
        return operators.member(value, name)

    return run


def index(target: Run, at: Run) -> Run:
    def run(environment: Environment, frame: Frame) -> Any:
        value = target(environment, frame)
        if value.__class__ is ResourceDocument:
            value = operators.document_map(value, environment.request.database)
        return operators.index(value, at(environment, frame))

    return run


def applied(function: Callable[..., Any], runs: tuple[Run, ...]) -> Run:
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


def lookup(path: Run, after: bool, existence: bool) -> Run:
    def run(environment: Environment, frame: Frame) -> Any:
        value = path(environment, frame)
        database = environment.request.database
        found = environment.look_up(lookup_of(value, database, after=after))
        return found is not None if existence else found

    return run


def cross_lookup(path: Run, existence: bool) -> Run:
    """`firestore.get` and `firestore.exists`, in rules of objects."""

    def run(environment: Environment, frame: Frame) -> Any:
        found = environment.look_up(cross_lookup_of(path(environment, frame)))
        return found is not None if existence else found

    return run


def method(target: Run, name: str, arguments: tuple[Run, ...], *, counted: bool) -> Run:
    arity = len(arguments)
    calls = {
        kind: visiting(methods[name].call) if counted else methods[name].call
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
            receiver = operators.document_map(receiver, environment.request.database)
        call = calls.get(receiver.__class__) or call_of(receiver)
        if arity == 0:
            return call(receiver)
        return call(receiver, *[argument(environment, frame) for argument in arguments])

    return run


def affects_only(new: Run, old: Run, allowed: frozenset[str], otherwise: Run) -> Run:
    """`new.diff(old).affectedKeys().hasOnly([…])` of texts, for maps: without making the diff and
    the set. `otherwise` is the same, for all values."""

    def run(environment: Environment, frame: Frame) -> Any:
        after = new(environment, frame)
        if after.__class__ is dict:
            before = old(environment, frame)
            if before.__class__ is dict:
                return _affects_only(after, before, allowed)
        return otherwise(environment, frame)

    return run


def _affects_only(new: dict[str, Any], old: dict[str, Any], allowed: frozenset[str]) -> bool:
    kept = 0
    for key, value in new.items():
        if key in old:
            kept += 1
            if key in allowed:
                continue
            other = old[key]
            kind = value.__class__
            if kind is other.__class__ and kind in PLAIN:
                if value == other:
                    continue
            elif equals(value, other):
                continue
            return False
        if key not in allowed:
            return False
    return kept == len(old) or all(key in new or key in allowed for key in old)


def literal_matches(target: Run, pattern: Any) -> Run:
    try:
        matches = full_match(compile_pattern(pattern))
    except EvaluationError as error:
        return failing(str(error))

    def run(environment: Environment, frame: Frame) -> Any:
        text = target(environment, frame)
        if text.__class__ is not str:
            raise EvaluationError(f"{type_name(text)} has no method `matches` of 1 argument")
        return matches(text)

    return run


def negation(operand: Run) -> Run:
    def run(environment: Environment, frame: Frame) -> Any:
        value = operand(environment, frame)
        if value is True:
            return False
        if value is False:
            return True
        raise EvaluationError(f"`!` needs a bool, not {type_name(value)}")

    return run


def is_null(operand: Run, wanted: bool) -> Run:
    if wanted:
        return lambda environment, frame: operand(environment, frame) is None
    return lambda environment, frame: operand(environment, frame) is not None


def equality(left: Run, right: Run, wanted: bool) -> Run:
    def run(environment: Environment, frame: Frame) -> Any:
        a = left(environment, frame)
        b = right(environment, frame)
        kind = a.__class__
        if kind is b.__class__ and kind in PLAIN:
            return (a == b) is wanted
        return equals(a, b) is wanted

    return run


def one_of(operand: Run, texts: frozenset[str]) -> Run:
    """Membership in a list of string literals."""

    def run(environment: Environment, frame: Frame) -> Any:
        value = operand(environment, frame)
        return value.__class__ is str and value in texts

    return run


def all_of(operands: tuple[Run, ...]) -> Run:
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


def any_of(operands: tuple[Run, ...]) -> Run:
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


def conditional(test: Run, then: Run, otherwise: Run) -> Run:
    def run(environment: Environment, frame: Frame) -> Any:
        value = test(environment, frame)
        if value is True:
            return then(environment, frame)
        if value is False:
            return otherwise(environment, frame)
        raise EvaluationError(f"`? :` needs a bool, not {type_name(value)}")

    return run
