"""What a tree that parses may still get wrong: names, arities, circles, limits.

As in Firebase, a name that means nothing, or a call with the wrong number of arguments, is a
warning: files deployed there have them, and evaluating one is an error, which denies. What cannot
be compiled, or passes a limit, is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from baas_rules import ast
from baas_rules.analysis import Analysis, call_depths, reachable, walk
from baas_rules.decision import DOCUMENT_SERVICE, METHODS, OBJECT_SERVICE
from baas_rules.errors import Diagnostic, EvaluationError, Severity
from baas_rules.functions import (
    CROSS_SERVICE_LOOKUPS,
    FUNCTIONS,
    LOOKUPS,
    METHOD_ARITIES,
    METHOD_NAMES,
    NAMESPACES,
    compile_pattern,
)
from baas_rules.limits import (
    CALL_DEPTH_MAX,
    CAPTURES_MAX,
    ERRORS_MAX,
    EXPANDED_DEPTH_MAX,
    LETS_MAX,
    PARAMETERS_MAX,
    PATTERN_SEGMENTS_MAX,
    RECURSIVE_WILDCARDS_MAX,
)
from baas_rules.operators import TYPE_TESTS
from baas_rules.scopes import Block, Declared, Outline, Scope
from baas_rules.source import Source, Span
from baas_rules.tokens import nearest_hint

_ALLOW_METHODS: Final = ("read", "write", *METHODS)
_REQUEST_MEMBERS: Final = ("auth", "method", "path", "query", "resource", "time")
_OBJECT_REQUEST_MEMBERS: Final = (*_REQUEST_MEMBERS, "params")
_WITHOUT_NEW_RESOURCE: Final = frozenset({"read", "get", "list", "delete"})


def check(source: Source, outlines: Sequence[Outline]) -> list[Diagnostic]:
    """Every error and warning about a file's services, in source order; at most ERRORS_MAX of
    each."""
    checkers = [_Checker(source, one, frozenset(_elsewhere(one, outlines))) for one in outlines]
    called: set[int] = set()
    diagnostics: dict[Diagnostic, None] = {}  # what the whole file shares is told once
    for checker in checkers:
        checker.check()
        called |= checker.called
    for checker in checkers:
        checker.check_unused(called)
        diagnostics.update(dict.fromkeys(checker.diagnostics))
    found = sorted(diagnostics, key=lambda one: (one.line, one.column))
    errors = [one for one in found if one.severity is Severity.ERROR]
    warnings = [one for one in found if one.severity is Severity.WARNING]
    return errors[:ERRORS_MAX] + warnings[:ERRORS_MAX]


def _elsewhere(outline: Outline, outlines: Sequence[Outline]) -> Iterator[int]:
    """Functions of the file that are another service's business: they are judged there."""
    mine = reachable(outline)
    others = [reachable(other) for other in outlines if other is not outline]
    for function in outline.file.functions:
        key = id(function)
        if key not in mine and (any(key in one for one in others) or outline is not outlines[0]):
            yield key


class _Checker:
    def __init__(self, source: Source, outline: Outline, elsewhere: frozenset[int]) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._source = source
        self._outline = outline
        self._service = outline.service.name
        self._declared = [one for one in outline.declared if id(one.function) not in elsewhere]
        self.called: set[int] = set()

    def _error(self, message: str, span: Span, hint: str | None = None) -> None:
        self.diagnostics.append(self._source.diagnostic(Severity.ERROR, message, span, hint))

    def _warn(self, message: str, span: Span, hint: str | None = None) -> None:
        self.diagnostics.append(self._source.diagnostic(Severity.WARNING, message, span, hint))

    def _nearest(self, word: str, words: Iterable[str]) -> str | None:
        # Searching costs too much to be done for findings that nobody will see.
        return None if len(self.diagnostics) > 2 * ERRORS_MAX else nearest_hint(word, words)

    def check(self) -> None:
        service = self._outline.service
        if service.name not in (DOCUMENT_SERVICE, OBJECT_SERVICE):
            hint = self._nearest(service.name, (DOCUMENT_SERVICE, OBJECT_SERVICE))
            self._error(f"unknown service `{service.name}`", service.name_span, hint)
        if self._outline.file.version_span is None:
            message = (
                "without `rules_version` the file is version 1, in which {x=**} needs a segment"
            )
            self._warn(message, Span(0, 0), "begin the file with: rules_version = '2';")
        self._check_functions(self._outline.file.functions)
        self._check_functions(service.functions)
        for block in self._outline.blocks:
            self._check_functions(block.match.functions)
            self._check_pattern(block)
        for declared in self._declared:
            self._check_body(declared)
        for block in self._outline.blocks:
            for allow in block.match.allows:
                self._check_allow(allow, block)
        self._check_calls()

    # --- functions -----------------------------------------------------------------------------

    def _check_functions(self, functions: Iterable[ast.Function]) -> None:
        seen: set[str] = set()
        for function in functions:
            if function.name in seen:
                message = f"function `{function.name}` is declared twice in one block"
                self._error(message, function.name_span)
            seen.add(function.name)
            if len(function.parameters) > PARAMETERS_MAX:
                span = function.parameters[PARAMETERS_MAX].span
                self._error(f"a function has at most {PARAMETERS_MAX} parameters", span)
            if len(function.lets) > LETS_MAX:
                span = function.lets[LETS_MAX].span
                self._error(f"a function has at most {LETS_MAX} lets", span)
            if function.name in FUNCTIONS or function.name in LOOKUPS:
                message = f"function `{function.name}` hides the built-in one"
                self._warn(message, function.name_span)

    def _check_body(self, declared: Declared) -> None:
        function = declared.function
        names: set[str] = set()
        for parameter in function.parameters:
            if parameter.name in names:
                self._error(f"parameter `{parameter.name}` is named twice", parameter.span)
            names.add(parameter.name)
        used: set[str] = set()
        for let in function.lets:
            self._check_expression(let.value, declared.scope, names, used)
            if let.name in names:
                self._error(f"`{let.name}` is already defined", let.span)
            names = names | {let.name}
        self._check_expression(function.result, declared.scope, names, used)
        for let in function.lets:
            if let.name not in used:
                self._warn(f"`{let.name}` is never used", let.span)

    def check_unused(self, called: set[int]) -> None:
        """Functions that no service calls."""
        for declared in self._declared:
            function = declared.function
            if id(function) not in called:
                self._warn(f"function `{function.name}` is never used", function.name_span)

    def _check_calls(self) -> None:
        depths, circles = call_depths(self._outline)
        for call, caller in circles:
            message = f"`{caller.function.name}` calls itself through `{call.name}`"
            self._error(message, call.name_span, "functions must not be recursive")
        if circles:
            return
        for declared in self._outline.declared:
            if depths[id(declared.function)] == CALL_DEPTH_MAX + 1:
                message = f"calls go more than {CALL_DEPTH_MAX} deep from here"
                self._error(message, declared.function.name_span)
        if any(depth > CALL_DEPTH_MAX for depth in depths.values()):
            return
        analysis = Analysis()
        for block in self._outline.blocks:
            for allow in block.match.allows:
                if allow.condition is None:
                    continue
                if analysis.measure(allow.condition, block.scope).depth > EXPANDED_DEPTH_MAX:
                    message = "the condition is nested too deep, its calls included"
                    self._error(message, allow.condition.span)

    # --- matches -------------------------------------------------------------------------------

    def _check_pattern(self, block: Block) -> None:
        span = block.match.pattern_span
        if len(block.pattern) > PATTERN_SEGMENTS_MAX:
            self._error(f"a path has at most {PATTERN_SEGMENTS_MAX} segments", span)
        wildcards = [segment for segment in block.pattern if isinstance(segment, ast.Wildcard)]
        if len(wildcards) > CAPTURES_MAX:
            self._error(f"a path has at most {CAPTURES_MAX} wildcards", span)
        if sum(wildcard.recursive for wildcard in wildcards) > RECURSIVE_WILDCARDS_MAX:
            message = f"a full path has at most {RECURSIVE_WILDCARDS_MAX} recursive wildcards"
            self._error(message, span)
        own = [one for one in block.match.pattern if isinstance(one, ast.Wildcard)]
        recursive = [one for one in own if one.recursive]
        if len(recursive) > 1:
            self._error("a match has at most one recursive wildcard", recursive[1].span)
        if (
            self._outline.file.version == 1
            and recursive
            and recursive[0] is not block.match.pattern[-1]
        ):
            hint = "begin the file with: rules_version = '2';"
            message = "in version 1 a recursive wildcard comes last"
            self._error(message, recursive[0].span, hint)
        outer = [one.name for one in wildcards[: len(wildcards) - len(own)]]
        for at, wildcard in enumerate(own):
            if wildcard.name in [one.name for one in own[:at]]:
                self._error(f"wildcard `{wildcard.name}` is named twice", wildcard.span)
            elif wildcard.name in outer:
                self._warn(f"wildcard `{wildcard.name}` hides an outer one", wildcard.span)
            elif wildcard.name in ("request", "resource"):
                self._warn(f"wildcard `{wildcard.name}` hides the built-in", wildcard.span)
        if block.depth == 1:
            self._check_root(block)
        if block.match.allows:
            self._check_reach(block)

    def _check_root(self, block: Block) -> None:
        first = block.pattern[0]
        if not isinstance(first, ast.LiteralSegment):
            return
        if self._service == DOCUMENT_SERVICE and first.text != "databases":
            hint = "put it into: match /databases/{database}/documents { … }"
            self._warn("this path matches no document", block.match.pattern_span, hint)
        if self._service == OBJECT_SERVICE and first.text != "b":
            hint = "put it into: match /b/{bucket}/o { … }"
            self._warn("this path matches no object", block.match.pattern_span, hint)

    def _check_reach(self, block: Block) -> None:
        """A match whose path no document or object can have."""
        pattern, span = block.pattern, block.match.pattern_span
        below = [one for one in pattern[:-1] if isinstance(one, ast.Wildcard) and one.recursive]
        if below and self._outline.file.version == 1 and not _is_recursive(block.match.pattern):
            message = "in version 1 nothing is matched below a recursive wildcard"
            self._warn(message, span, "begin the file with: rules_version = '2';")
        if any(isinstance(one, ast.Wildcard) and one.recursive for one in pattern):
            return
        if self._service == DOCUMENT_SERVICE and len(pattern) >= 3 and len(pattern) % 2 == 0:
            hint = "a document's path has an even number of parts: add /{id}"
            self._warn("this path is that of a collection: it matches no document", span, hint)
        elif self._service == DOCUMENT_SERVICE and len(pattern) == 3:
            hint = "put the statements into a match such as /{collection}/{id}"
            self._warn("this path matches no document", span, hint)
        elif self._service == OBJECT_SERVICE and len(pattern) == 3:
            hint = "put the statements into a match such as /{name=**}"
            self._warn("this path matches no object", span, hint)

    def _check_allow(self, allow: ast.Allow, block: Block) -> None:
        for method in allow.methods:
            if method.name not in _ALLOW_METHODS:
                hint = self._nearest(method.name, _ALLOW_METHODS)
                hint = hint or f"methods are {', '.join(_ALLOW_METHODS)}"
                self._error(f"unknown method `{method.name}`", method.span, hint)
        condition = allow.condition
        if condition is None:
            return
        self._check_expression(condition, block.scope, set(), set())
        if all(method.name in _WITHOUT_NEW_RESOURCE for method in allow.methods):
            for node in walk(condition):
                if _is_new_resource(node, block.scope):
                    message = "`request.resource` does not exist for reads and deletes"
                    hint = "the stored document is `resource`"
                    self._warn(message, node.span, hint)

    # --- expressions ---------------------------------------------------------------------------

    def _check_expression(
        self, root: ast.Expression, scope: Scope, names: set[str], used: set[str]
    ) -> None:
        # Names that stand for a namespace, or are a member of `request`, are judged by what is
        # around them.
        judged: set[int] = set()
        for node in walk(root):
            match node:
                case ast.Name():
                    used.add(node.name)
                    if id(node) not in judged:
                        self._check_name(node, scope, names)
                case ast.Call():
                    self._check_call(node, scope)
                case ast.MethodCall():
                    space = self._namespace(node.target, scope, names)
                    if space is not None:
                        judged.add(id(node.target))
                        self._check_namespace_call(node, space)
                    elif self._is_known(node.target, scope, names):
                        self._check_method(node)
                case ast.Member():
                    self._check_member(node, scope, names)
                case ast.TypeTest():
                    if node.type not in TYPE_TESTS:
                        hint = self._nearest(node.type, list(TYPE_TESTS))
                        hint = hint or f"types are {', '.join(TYPE_TESTS)}"
                        self._error(f"unknown type `{node.type}`", node.type_span, hint)
                case _:
                    pass

    def _is_known(self, node: ast.Expression, scope: Scope, names: set[str]) -> bool:
        """Whether it is no name, or one that means something."""
        if not isinstance(node, ast.Name):
            return True
        known = node.name in names or scope.capture(node.name) is not None
        return known or node.name in ("request", "resource")

    def _check_name(self, node: ast.Name, scope: Scope, names: set[str]) -> None:
        if self._is_known(node, scope, names):
            return
        known = [*names, *(one.name for one in scope.captures), "request", "resource"]
        hint = self._nearest(node.name, known)
        if node.name in scope.visible_functions():
            hint = f"call it: {node.name}(…)"
        elif node.name in NAMESPACES or node.name == "firestore":
            hint = f"`{node.name}` is a namespace: call one of its functions"
        self._warn(f"unknown variable `{node.name}`", node.span, hint)

    def _namespace(self, target: ast.Expression, scope: Scope, names: set[str]) -> str | None:
        if not isinstance(target, ast.Name):
            return None
        name = target.name
        if name in names or scope.capture(name) is not None:
            return None
        if name == "firestore" and self._service == OBJECT_SERVICE:
            return name
        return name if name in NAMESPACES else None

    def _check_namespace_call(self, node: ast.MethodCall, space: str) -> None:
        if space == "firestore":
            arities = dict.fromkeys(CROSS_SERVICE_LOOKUPS, 1)
        else:
            arities = {name: builtin.arity for name, builtin in NAMESPACES[space].items()}
        arity = arities.get(node.name)
        if arity is None:
            hint = self._nearest(node.name, list(arities)) or f"it has {', '.join(arities)}"
            self._warn(f"`{space}` has no function `{node.name}`", node.name_span, hint)
            return
        self._check_arity(f"{space}.{node.name}", frozenset((arity,)), node, node.name_span)

    def _check_arity(
        self,
        name: str,
        arities: frozenset[int],
        node: ast.Call | ast.MethodCall,
        span: Span,
    ) -> None:
        given = len(node.arguments)
        if given in arities:
            return
        wanted = " or ".join(map(str, sorted(arities)))
        plural = "argument" if wanted == "1" else "arguments"
        self._warn(f"`{name}` takes {wanted} {plural}, not {given}", span)

    def _check_call(self, node: ast.Call, scope: Scope) -> None:
        declared = scope.function(node.name)
        if declared is not None:
            self.called.add(id(declared.function))
            arity = len(declared.function.parameters)
            self._check_arity(node.name, frozenset((arity,)), node, node.name_span)
            return
        if node.name in LOOKUPS and self._service == OBJECT_SERVICE:
            message = f"there is no `{node.name}` for objects"
            self._warn(message, node.name_span, f"use `firestore.{node.name}(…)`")
            return
        if node.name in LOOKUPS or node.name in FUNCTIONS:
            arity = 1 if node.name in LOOKUPS else FUNCTIONS[node.name].arity
            self._check_arity(node.name, frozenset((arity,)), node, node.name_span)
            if node.name == "debug":
                self._warn("`debug` is refused by Firebase in production", node.name_span)
            return
        known = [*scope.visible_functions(), *FUNCTIONS, *LOOKUPS]
        hint = self._nearest(node.name, known)
        if any(node.name == one.function.name for one in self._outline.declared):
            hint = "it is declared in a block that does not enclose this place"
        self._warn(f"unknown function `{node.name}`", node.name_span, hint)

    def _check_method(self, node: ast.MethodCall) -> None:
        if node.name not in METHOD_NAMES:
            hint = self._nearest(node.name, METHOD_NAMES)
            self._warn(f"no type has a method `{node.name}`", node.name_span, hint)
            return
        self._check_arity(node.name, METHOD_ARITIES[node.name], node, node.name_span)
        if node.name in ("matches", "replace", "split") and node.arguments:
            pattern = node.arguments[0]
            if isinstance(pattern, ast.Literal):
                try:
                    compile_pattern(pattern.value)
                except EvaluationError as error:
                    self._warn(str(error), pattern.span)

    def _check_member(self, node: ast.Member, scope: Scope, names: set[str]) -> None:
        target = node.target
        if not isinstance(target, ast.Name) or target.name != "request":
            return
        if "request" in names or scope.capture("request") is not None:
            return
        known = _OBJECT_REQUEST_MEMBERS if self._service == OBJECT_SERVICE else _REQUEST_MEMBERS
        if node.name not in known:
            hint = self._nearest(node.name, known) or f"it has {', '.join(known)}"
            self._warn(f"`request` has no member `{node.name}`", node.name_span, hint)


def _is_recursive(pattern: tuple[ast.Segment, ...]) -> bool:
    return any(isinstance(one, ast.Wildcard) and one.recursive for one in pattern)


def _is_new_resource(node: ast.Expression, scope: Scope) -> bool:
    return (
        isinstance(node, ast.Member)
        and node.name == "resource"
        and isinstance(node.target, ast.Name)
        and node.target.name == "request"
        and scope.capture("request") is None
    )
