"""Tokens to a tree. Reports every error of the file in one run: after an error it goes on with the
next statement."""

from __future__ import annotations

from baas_rules import ast
from baas_rules.errors import Diagnostic, Severity
from baas_rules.expressions import DEFAULT_DATABASE, ExpressionParser
from baas_rules.lexer import Kind
from baas_rules.limits import MATCH_DEPTH_MAX
from baas_rules.source import Source, Span
from baas_rules.tokens import StatementAbandoned, nearest_hint


def parse(source: Source) -> tuple[ast.RulesFile | None, list[Diagnostic]]:
    """The tree, or None if the file has no service to speak of, and every error (and a few
    warnings). Never raises; a tree that comes with errors lacks the statements that they are in."""
    parser = _Parser(source)
    if not parser.check_size():
        return None, parser.diagnostics
    tree = parser.parse_file()
    return tree, sorted(parser.diagnostics, key=lambda found: (found.line, found.column))


class _Parser(ExpressionParser):
    def parse_file(self) -> ast.RulesFile | None:
        self._advance()
        version, version_span = self._version()
        functions: list[ast.Function] = []
        services: dict[str, ast.Service] = {}
        while self._token.kind is not Kind.END:
            start = self._token
            try:
                if start.is_word("function"):
                    functions.append(self._function())
                elif start.is_word("service"):
                    found = self._service()
                    if found.name in services:
                        message = f"service `{found.name}` is declared twice"
                        hint = "move all its matches into one block"
                        raise self._fail(message, found.name_span, hint)
                    services[found.name] = found
                else:
                    raise self._unknown_statement(
                        "`service` or `function`", ("service", "function")
                    )
            except StatementAbandoned:
                self._recover(start)
                if self._token.is_symbol("}"):
                    self._advance()
        if not services:
            if not any(found.severity is Severity.ERROR for found in self.diagnostics):
                hint = "a file begins: rules_version = '2'; service cloud.firestore { … }"
                self._report("the file has no service", Span(0, 0), hint)
            return None
        return ast.RulesFile(version, version_span, tuple(functions), tuple(services.values()))

    def _version(self) -> tuple[int, Span | None]:
        start = self._token
        if not start.is_word("rules_version"):
            return 1, None
        try:
            self._advance()
            self._expect("=", "after `rules_version`")
            value = self._token
            if value.kind is not Kind.STRING or value.value not in ("1", "2"):
                hint = "write: rules_version = '2';"
                raise self._fail("the version is '1' or '2'", value.span, hint)
            self._advance()
            self._end_statement("after the version")
            return int(value.value), start.span.to(value.span)
        except StatementAbandoned:
            self._recover(start)
            return 2, start.span

    def _unknown_statement(self, expected: str, words: tuple[str, ...]) -> StatementAbandoned:
        token = self._token
        if token.is_word("rules_version"):
            hint = "move it to the first line"
            return self._fail("`rules_version` comes before everything else", token.span, hint)
        if token.is_word("import"):
            return self._fail("there are no imports: a ruleset is one file", token.span)
        if token.is_word("service") and "service" not in words:
            return self._fail("a service is not inside of another block", token.span)
        if token.is_word("allow"):
            return self._fail("`allow` belongs into a `match`", token.span)
        if token.is_word("match") and "match" not in words:
            return self._fail("`match` belongs into a `service`", token.span)
        return self._missing(expected, "here", nearest_hint(token.text, words))

    def _service(self) -> ast.Service:
        start = self._advance()
        first = self._word("a service's name", "after `service`")
        name, span = first.text, first.span
        while self._token.is_symbol("."):
            self._advance()
            part = self._word("a name", "after the dot")
            name, span = f"{name}.{part.text}", span.to(part.span)
        self._expect("{", "after the service's name")
        functions: list[ast.Function] = []
        matches: list[ast.Match] = []
        while not self._token.is_symbol("}"):
            statement = self._token
            try:
                if statement.kind is Kind.END:
                    self._unclosed("service", start.span)
                    break
                if statement.is_word("match"):
                    matches.append(self._match(1))
                elif statement.is_word("function"):
                    functions.append(self._function())
                elif statement.is_symbol(";"):
                    self._advance()
                else:
                    raise self._unknown_statement("`match` or `function`", ("match", "function"))
            except StatementAbandoned:
                self._recover(statement)
        end = self._advance()
        return ast.Service(name, tuple(functions), tuple(matches), start.span.to(end.span), span)

    def _unclosed(self, what: str, span: Span) -> None:
        """Reports the innermost of the blocks that the file's end cuts off, unless it is a comment
        that swallowed their ends."""
        if not self._is_cut_off:
            self._is_cut_off = True
            self._report(f"this {what} is never closed", span, "close it with `}`")

    # --- match and allow -----------------------------------------------------------------------

    def _match(self, depth: int) -> ast.Match:
        start = self._advance()
        pattern, pattern_span = self._pattern()
        if depth > MATCH_DEPTH_MAX:
            message = f"matches are nested at most {MATCH_DEPTH_MAX} deep"
            self._report(message, start.span, None)
            self._skip_block()
            raise StatementAbandoned
        self._expect("{", "after the match's path")
        functions: list[ast.Function] = []
        allows: list[ast.Allow] = []
        matches: list[ast.Match] = []
        words = ("allow", "match", "function")
        while not self._token.is_symbol("}"):
            statement = self._token
            try:
                if statement.kind is Kind.END:
                    self._unclosed("match", start.span)
                    break
                if statement.is_word("allow"):
                    allows.append(self._allow())
                elif statement.is_word("match"):
                    matches.append(self._match(depth + 1))
                elif statement.is_word("function"):
                    functions.append(self._function())
                elif statement.is_symbol(";"):
                    self._advance()
                else:
                    raise self._unknown_match_statement(words)
            except StatementAbandoned:
                self._recover(statement)
        end = self._advance()
        return ast.Match(
            pattern=pattern,
            functions=tuple(functions),
            allows=tuple(allows),
            matches=tuple(matches),
            span=start.span.to(end.span),
            pattern_span=pattern_span,
        )

    def _unknown_match_statement(self, words: tuple[str, ...]) -> StatementAbandoned:
        if self._token.kind is Kind.WORD and self._token.text in ("read", "write"):
            hint = f"write: allow {self._token.text}: if …;"
            return self._missing("`allow`, `match` or `function`", "here", hint)
        return self._unknown_statement("`allow`, `match` or `function`", words)

    def _pattern(self) -> tuple[tuple[ast.Segment, ...], Span]:
        if not self._token.is_symbol("/"):
            hint = "a path begins with a slash: match /users/{uid}"
            raise self._missing("a path", "after `match`", hint)
        at = start = self._token.span.start
        segments: list[ast.Segment] = []
        while True:
            segment, end = self._pattern_segment(at + 1)
            segments.append(segment)
            at = self._lexer.after_blank(end)
            if not self._lexer.has_text(at, "/"):
                break
        self._lexer.seek(end)
        self._advance()
        return tuple(segments), Span(start, end)

    def _pattern_segment(self, offset: int) -> tuple[ast.Segment, int]:
        lexer = self._lexer
        if lexer.has_text(offset, "{"):
            return self._wildcard(offset)
        if lexer.has_text(offset, DEFAULT_DATABASE):
            end = offset + len(DEFAULT_DATABASE)
            return ast.LiteralSegment(DEFAULT_DATABASE, Span(offset, end)), end
        if lexer.has_text(offset, "$"):
            hint = "a match binds a segment: /{name}"
            raise self._path_error("`$(…)` belongs into expressions", offset, hint)
        token = lexer.path_segment(offset)
        if token is None:
            hint = "a path has no slash at its end"
            raise self._path_error("expected a path segment behind `/`", offset, hint)
        return ast.LiteralSegment(token.text, token.span), token.span.end

    def _wildcard(self, offset: int) -> tuple[ast.Segment, int]:
        self._lexer.seek(offset)
        self._token = self._lexer.next()
        start = self._advance()
        name = self._word("a wildcard's name", "after `{`")
        recursive = self._token.is_symbol("=")
        if recursive:
            self._advance()
            for _ in range(2):
                self._expect("*", "after `=`", "a recursive wildcard is {name=**}")
        if not self._token.is_symbol("}"):
            raise self._missing("`}`", "after the wildcard")
        # The token behind `}` is not taken: it may be a segment, which only `_pattern` can read.
        span = start.span.to(self._token.span)
        return ast.Wildcard(name.text, recursive, span), span.end

    def _allow(self) -> ast.Allow:
        start = self._advance()
        methods = [self._allow_method()]
        while self._token.is_symbol(","):
            self._advance()
            methods.append(self._allow_method())
        condition: ast.Expression | None = None
        if self._token.is_symbol(":"):
            self._advance()
            if not self._token.is_word("if"):
                raise self._missing("`if`", "after `:`", "write: allow read: if <condition>;")
            self._advance()
            condition = self._expression()
        elif self._token.is_word("if"):
            raise self._missing("`:`", "before `if`", "write: allow read: if <condition>;")
        span = Span(start.span.start, self._end)
        self._end_statement("after the condition" if condition else "after the methods")
        return ast.Allow(tuple(methods), condition, span)

    def _allow_method(self) -> ast.AllowMethod:
        word = self._word("a method", "in `allow`")
        return ast.AllowMethod(word.text, word.span)

    # --- functions -----------------------------------------------------------------------------

    def _function(self) -> ast.Function:
        start = self._advance()
        name = self._word("a name", "after `function`")
        self._expect("(", "after the function's name")
        parameters: list[ast.Parameter] = []
        while not self._token.is_symbol(")"):
            if parameters:
                self._expect(",", "between parameters")
            word = self._word("a parameter's name", "in the parentheses")
            parameters.append(ast.Parameter(word.text, word.span))
        self._advance()
        self._expect("{", "after the parameters")
        lets: list[ast.Let] = []
        result: ast.Expression | None = None
        while not self._token.is_symbol("}"):
            statement = self._token
            try:
                if statement.kind is Kind.END:
                    self._unclosed("function", start.span)
                    raise StatementAbandoned
                result = self._function_statement(lets, result)
            except StatementAbandoned:
                if self._token.kind is Kind.END:
                    raise
                self._recover(statement)
                # Some result stands for the broken one, so that its lack is not reported too.
                result = result or ast.Literal(None, statement.span)
        end = self._advance()
        if result is None:
            hint = "write: return <expression>;"
            raise self._fail(f"function `{name.text}` does not return", name.span, hint)
        return ast.Function(
            name=name.text,
            parameters=tuple(parameters),
            lets=tuple(lets),
            result=result,
            span=start.span.to(end.span),
            name_span=name.span,
        )

    def _function_statement(
        self, lets: list[ast.Let], result: ast.Expression | None
    ) -> ast.Expression | None:
        token = self._token
        if result is not None and (token.is_word("let") or token.is_word("return")):
            raise self._fail("`return` is a function's last statement", token.span)
        if token.is_word("let"):
            lets.append(self._let())
            return None
        if token.is_word("return"):
            self._advance()
            result = self._expression()
            self._end_statement("after the result")
            return result
        if token.is_symbol(";"):
            self._advance()
            return result
        if token.is_word("if"):
            raise self._fail("functions have no `if`", token.span, "use `condition ? a : b`")
        raise self._missing("`let` or `return`", "here")

    def _let(self) -> ast.Let:
        start = self._advance()
        name = self._word("a name", "after `let`")
        self._expect("=", "after the name")
        value = self._expression()
        span = Span(start.span.start, self._end)
        self._expect(";", "after the value")
        return ast.Let(name.text, value, span)
