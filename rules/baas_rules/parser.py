"""Tokens to a tree. Reports every error of the file in one run: after an error it goes on with the
next statement."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

from baas_rules import ast
from baas_rules.errors import Diagnostic, Severity
from baas_rules.lexer import NEVER_ENDS, Kind, Lexer, Token
from baas_rules.limits import (
    ERRORS_MAX,
    EXPRESSION_DEPTH_MAX,
    INT64_MAX,
    MATCH_DEPTH_MAX,
    SOURCE_BYTES_MAX,
)
from baas_rules.source import Source, Span

_STATEMENT_WORDS: Final = frozenset({"match", "allow", "function", "service", "let", "return"})
_DEFAULT: Final = "(default)"

_OR, _AND, _IN, _EQUALITY, _ORDER, _SUM, _PRODUCT = range(1, 8)
_PRECEDENCE: Final = {
    "||": _OR, "&&": _AND, "in": _IN, "is": _IN, "==": _EQUALITY, "!=": _EQUALITY,
    "<": _ORDER, "<=": _ORDER, ">": _ORDER, ">=": _ORDER, "+": _SUM, "-": _SUM,
    "*": _PRODUCT, "/": _PRODUCT, "%": _PRODUCT,
}  # fmt: skip


class _StatementAbandoned(Exception):
    """An error was reported; the parser goes on behind this statement."""


def parse(source: Source) -> tuple[ast.RulesFile | None, list[Diagnostic]]:
    """The tree, or None if the file has no service to speak of, and every error (and a few
    warnings). Never raises; a tree that comes with errors lacks the statements that they are in."""
    parser = _Parser(source)
    if not parser.check_size():
        return None, parser.diagnostics
    tree = parser.parse_file()
    return tree, sorted(parser.diagnostics, key=lambda found: (found.line, found.column))


class _Parser:
    def __init__(self, source: Source) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._source = source
        self._reported: set[int] = set()
        self._lexer = Lexer(source, self._report, self._warn)
        self._is_cut_off = False
        self._depth = 0
        self._heights: dict[int, int] = {}
        self._token = Token(Kind.END, "", Span(0, 0))
        self._end = 0  # of the token before `_token`

    # --- reporting and moving on ---------------------------------------------------------------

    def check_size(self) -> bool:
        start = Span(0, 0)
        try:
            size = len(self._source.text.encode())
        except UnicodeEncodeError as error:
            at = Span(error.start, error.end)
            self._report("the text is not valid Unicode", at, None)
            return False
        if size > SOURCE_BYTES_MAX:
            message = f"the file has {size} bytes; at most {SOURCE_BYTES_MAX} are allowed"
            self._report(message, start, None)
            return False
        return True

    def _report(self, message: str, span: Span, hint: str | None = None) -> None:
        self._note(Severity.ERROR, message, span, hint)

    def _warn(self, message: str, span: Span, hint: str | None = None) -> None:
        self._note(Severity.WARNING, message, span, hint)

    def _note(self, severity: Severity, message: str, span: Span, hint: str | None) -> None:
        if message.startswith(NEVER_ENDS):
            self._is_cut_off = True
        if span.start in self._reported or len(self.diagnostics) >= ERRORS_MAX:
            return  # the first finding of a place is the true one
        self._reported.add(span.start)
        self.diagnostics.append(self._source.diagnostic(severity, message, span, hint))

    def _fail(self, message: str, span: Span, hint: str | None = None) -> _StatementAbandoned:
        self._report(message, span, hint)
        return _StatementAbandoned()

    def _advance(self) -> Token:
        token = self._token
        self._end = token.span.end
        self._token = self._lexer.next()
        return token

    def _expect(self, symbol: str, where: str, hint: str | None = None) -> Token:
        if self._token.is_symbol(symbol):
            return self._advance()
        raise self._missing(f"`{symbol}`", where, hint)

    def _missing(self, what: str, where: str, hint: str | None = None) -> _StatementAbandoned:
        found = "the end of the file" if self._token.kind is Kind.END else f"`{self._token.text}`"
        return self._fail(f"expected {what} {where}, found {found}", self._token.span, hint)

    def _word(self, what: str, where: str) -> Token:
        if self._token.kind is Kind.WORD:
            return self._advance()
        raise self._missing(what, where)

    def _recover(self, start: Token) -> None:
        """Skips the rest of a broken statement: past its `;`, or up to `}` or a statement that
        begins a line. Blocks on the way are skipped whole."""
        self._depth = 0
        if self._token is start and self._token.kind is not Kind.END:
            if start.is_symbol("{"):
                self._skip_block()
                return
            self._advance()
        while self._token.kind is not Kind.END and not self._token.is_symbol("}"):
            if self._token.is_symbol(";"):
                self._advance()
                return
            if self._begins_statement():
                return
            if self._token.is_symbol("{"):
                self._skip_block()
                if self._begins_statement() or self._token.is_symbol("}"):
                    return
                continue
            self._advance()

    def _begins_statement(self) -> bool:
        token = self._token
        if token.kind is not Kind.WORD or token.text not in _STATEMENT_WORDS:
            return False
        line_start = self._source.text.rfind("\n", 0, token.span.start) + 1
        return not self._source.text[line_start : token.span.start].strip(" \t;}")

    def _skip_block(self) -> None:
        depth = 0
        while self._token.kind is not Kind.END:
            if self._token.is_symbol("{"):
                depth += 1
            elif self._token.is_symbol("}"):
                depth -= 1
                if depth == 0:
                    self._advance()
                    return
            self._advance()

    def _end_statement(self, where: str) -> None:
        """A `;`, which may lack before another statement and before `}`."""
        if self._token.is_symbol(";"):
            self._advance()
            return
        if self._token.is_symbol("}") or self._begins_statement():
            return
        raise self._missing("`;`", where)

    # --- the file ------------------------------------------------------------------------------

    def parse_file(self) -> ast.RulesFile | None:
        self._advance()
        version, version_span = self._version()
        functions: list[ast.Function] = []
        service: ast.Service | None = None
        while self._token.kind is not Kind.END:
            start = self._token
            try:
                if start.is_word("function"):
                    functions.append(self._function())
                elif start.is_word("service"):
                    found = self._service()
                    if service is not None:
                        raise self._fail("a file has one service", found.name_span)
                    service = found
                else:
                    raise self._unknown_statement(
                        "`service` or `function`", ("service", "function")
                    )
            except _StatementAbandoned:
                self._recover(start)
                if self._token.is_symbol("}"):
                    self._advance()
        if service is None:
            if not any(found.severity is Severity.ERROR for found in self.diagnostics):
                hint = "a file begins: rules_version = '2'; service cloud.firestore { … }"
                self._report("the file has no service", Span(0, 0), hint)
            return None
        return ast.RulesFile(version, version_span, tuple(functions), service)

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
        except _StatementAbandoned:
            self._recover(start)
            return 2, start.span

    def _unknown_statement(self, expected: str, words: tuple[str, ...]) -> _StatementAbandoned:
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
            except _StatementAbandoned:
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
            raise _StatementAbandoned
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
            except _StatementAbandoned:
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

    def _unknown_match_statement(self, words: tuple[str, ...]) -> _StatementAbandoned:
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
        if lexer.has_text(offset, _DEFAULT):
            end = offset + len(_DEFAULT)
            return ast.LiteralSegment(_DEFAULT, Span(offset, end)), end
        if lexer.has_text(offset, "$"):
            hint = "a match binds a segment: /{name}"
            raise self._path_error("`$(…)` belongs into expressions", offset, hint)
        token = lexer.path_segment(offset)
        if token is None:
            hint = "a path has no slash at its end"
            raise self._path_error("expected a path segment behind `/`", offset, hint)
        return ast.LiteralSegment(token.text, token.span), token.span.end

    def _path_error(self, message: str, offset: int, hint: str) -> _StatementAbandoned:
        failure = self._fail(message, Span(offset, offset + 1), hint)
        self._lexer.seek(offset)
        self._advance()
        return failure

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
                    raise _StatementAbandoned
                result = self._function_statement(lets, result)
            except _StatementAbandoned:
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

    # --- expressions ---------------------------------------------------------------------------

    def _made(self, node: ast.Expression) -> ast.Expression:
        """The node, with its height noted; raises if that is too much."""
        heights = self._heights
        height = 1 + max((heights[id(child)] for child in ast.children(node)), default=0)
        if height > EXPRESSION_DEPTH_MAX:
            raise self._too_deep(node.span)
        heights[id(node)] = height
        return node

    def _too_deep(self, span: Span) -> _StatementAbandoned:
        message = f"the expression is nested more than {EXPRESSION_DEPTH_MAX} levels deep"
        return self._fail(message, span, "move parts of it into functions")

    def _expression(self) -> ast.Expression:
        self._depth += 1
        if self._depth > EXPRESSION_DEPTH_MAX:
            raise self._too_deep(self._token.span)
        test = self._binary(_OR)
        if self._token.is_symbol("?"):
            self._advance()
            then = self._expression()
            self._expect(":", "between the branches of `? :`")
            otherwise = self._expression()
            span = test.span.to(otherwise.span)
            test = self._made(ast.Conditional(test, then, otherwise, span))
        self._depth -= 1
        return test

    def _operator(self) -> tuple[str, int]:
        token = self._token
        if token.kind is Kind.SYMBOL or token.text in ("in", "is"):
            return token.text, _PRECEDENCE.get(token.text, 0)
        return "", 0

    def _binary(self, precedence_min: int) -> ast.Expression:
        left = self._unary()
        while True:
            operator, precedence = self._operator()
            if precedence < precedence_min:
                if operator == "=":
                    raise self._fail("`=` does not compare", self._token.span, "use `==`")
                return left
            if precedence <= _AND:
                left = self._logic(operator, precedence, left)
                continue
            self._advance()
            if operator == "is":
                type_word = self._word("a type", "after `is`")
                span = left.span.to(type_word.span)
                left = self._made(ast.TypeTest(left, type_word.text, span, type_word.span))
                continue
            right = self._binary(precedence + 1)
            left = self._made(ast.Binary(operator, left, right, left.span.to(right.span)))

    def _logic(self, operator: str, precedence: int, first: ast.Expression) -> ast.Expression:
        operands = [first]
        while self._token.is_symbol(operator):
            self._advance()
            operands.append(self._binary(precedence + 1))
        span = first.span.to(operands[-1].span)
        return self._made(ast.Logic(operator, tuple(operands), span))

    def _unary(self) -> ast.Expression:
        operators: list[Token] = []
        while self._token.is_symbol("!") or self._token.is_symbol("-"):
            operators.append(self._advance())
        if operators and operators[-1].text == "-" and self._token.kind is Kind.INT:
            minus = operators.pop()
            number = self._advance()
            literal = ast.Literal(-number.value, minus.span.to(number.span))
            node = self._postfix(self._made(literal))
        else:
            node = self._postfix(self._primary())
        for operator in reversed(operators):
            node = self._made(ast.Unary(operator.text, node, operator.span.to(node.span)))
        return node

    def _postfix(self, node: ast.Expression) -> ast.Expression:
        while True:
            if self._token.is_symbol("."):
                self._advance()
                name = self._word("a name", "after the dot")
                if self._token.is_symbol("("):
                    arguments, end = self._arguments()
                    span = Span(node.span.start, end)
                    call = ast.MethodCall(node, name.text, arguments, span, name.span)
                    node = self._made(call)
                else:
                    span = node.span.to(name.span)
                    node = self._made(ast.Member(node, name.text, span, name.span))
            elif self._token.is_symbol("["):
                node = self._bracket(node)
            else:
                return node

    def _bracket(self, node: ast.Expression) -> ast.Expression:
        self._advance()
        at = self._expression()
        if self._token.is_symbol(":"):
            self._advance()
            stop = self._expression()
            end = self._expect("]", "after the bounds").span.end
            return self._made(ast.Cut(node, at, stop, Span(node.span.start, end)))
        end = self._expect("]", "after the index").span.end
        return self._made(ast.Index(node, at, Span(node.span.start, end)))

    def _arguments(self) -> tuple[tuple[ast.Expression, ...], int]:
        arguments, end = self._sequence("(", ")", "between arguments")
        return arguments, end

    def _sequence(
        self, opening: str, closing: str, where: str
    ) -> tuple[tuple[ast.Expression, ...], int]:
        """Expressions between brackets; a comma may stand behind the last."""
        self._expect(opening, "here")
        items: list[ast.Expression] = []
        while not self._token.is_symbol(closing):
            if items:
                if not self._token.is_symbol(","):
                    raise self._missing(f"`,` or `{closing}`", where)
                self._advance()
                if self._token.is_symbol(closing):
                    break
            items.append(self._expression())
        return tuple(items), self._advance().span.end

    def _primary(self) -> ast.Expression:
        token = self._token
        match token.kind:
            case Kind.INT | Kind.FLOAT | Kind.STRING | Kind.BYTES:
                self._advance()
                value = token.value
                if token.kind is Kind.INT and value > INT64_MAX:
                    self._report("the integer does not fit 64 bits", token.span)
                return self._made(ast.Literal(value, token.span))
            case Kind.WORD:
                return self._name_or_call()
            case Kind.SYMBOL if token.text == "(":
                self._advance()
                node = self._expression()
                self._expect(")", "to close the parenthesis")
                return node
            case Kind.SYMBOL if token.text == "[":
                items, end = self._sequence("[", "]", "in the list")
                return self._made(ast.ListLiteral(items, Span(token.span.start, end)))
            case Kind.SYMBOL if token.text == "{":
                return self._map()
            case Kind.SYMBOL if token.text == "/":
                return self._path()
            case _:
                raise self._missing("an expression", "here")

    def _name_or_call(self) -> ast.Expression:
        token = self._advance()
        constant = {"true": True, "false": False, "null": None}.get(token.text, ...)
        if constant is not ...:
            return self._made(ast.Literal(constant, token.span))
        if self._token.is_symbol("("):
            arguments, end = self._arguments()
            span = Span(token.span.start, end)
            return self._made(ast.Call(token.text, arguments, span, token.span))
        if token.text in _STATEMENT_WORDS or token.text in ("if", "in", "is"):
            raise self._fail(f"expected an expression, found `{token.text}`", token.span)
        return self._made(ast.Name(token.text, token.span))

    def _map(self) -> ast.Expression:
        start = self._advance()
        entries: list[tuple[ast.Expression, ast.Expression]] = []
        while not self._token.is_symbol("}"):
            if entries:
                if not self._token.is_symbol(","):
                    raise self._missing("`,` or `}`", "in the map")
                self._advance()
                if self._token.is_symbol("}"):
                    break
            key = self._expression()
            self._expect(":", "between key and value")
            entries.append((key, self._expression()))
        end = self._advance()
        return self._made(ast.MapLiteral(tuple(entries), start.span.to(end.span)))

    def _path(self) -> ast.Expression:
        at = start = self._token.span.start
        segments: list[str | ast.Expression] = []
        while True:
            segment, end = self._path_part(at + 1)
            segments.append(segment)
            at = self._lexer.after_blank(end)
            if not self._lexer.has_text(at, "/"):
                break
        self._lexer.seek(end)
        self._advance()
        self._end = end
        return self._made(ast.PathLiteral(tuple(segments), Span(start, end)))

    def _path_part(self, offset: int) -> tuple[str | ast.Expression, int]:
        lexer = self._lexer
        part: str | ast.Expression
        if lexer.has_text(offset, "$("):
            lexer.seek(offset + 2)
            self._token = lexer.next()
            part = self._expression()
            if not self._token.is_symbol(")"):
                raise self._missing("`)`", "to close `$(`")
            end = self._token.span.end
        elif lexer.has_text(offset, _DEFAULT):
            return _DEFAULT, offset + len(_DEFAULT)
        elif lexer.has_text(offset, "{"):
            raise self._path_error("`{…}` belongs into a match", offset, "use $(name) here")
        else:
            token = lexer.path_segment(offset)
            if token is None:
                hint = "a path has no slash at its end"
                raise self._path_error("expected a path segment behind `/`", offset, hint)
            part, end = token.text, token.span.end
        if lexer.has_text(end, "$") or lexer.path_segment(end) is not None:
            hint = "join the parts in one: $('a' + b)"
            raise self._path_error("a segment is a text or one `$(…)`, not both", end, hint)
        return part, end


def nearest_hint(word: str, words: tuple[str, ...] | frozenset[str] | list[str]) -> str | None:
    """A hint that names what was probably meant, if anything is near."""
    found = get_close_matches(word, list(words), 1, 0.7)
    return f"did you mean `{found[0]}`?" if found else None
