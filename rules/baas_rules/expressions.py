"""Tokens to expressions."""

from __future__ import annotations

from typing import Final

from baas_rules import ast
from baas_rules.lexer import Kind, Token
from baas_rules.limits import EXPRESSION_DEPTH_MAX, INT64_MAX
from baas_rules.source import Source, Span
from baas_rules.tokens import STATEMENT_WORDS, StatementAbandoned, TokenStream

DEFAULT_DATABASE: Final = "(default)"

_OR, _AND, _IN, _EQUALITY, _ORDER, _SUM, _PRODUCT = range(1, 8)
_PRECEDENCE: Final = {
    "||": _OR, "&&": _AND, "in": _IN, "is": _IN, "==": _EQUALITY, "!=": _EQUALITY,
    "<": _ORDER, "<=": _ORDER, ">": _ORDER, ">=": _ORDER, "+": _SUM, "-": _SUM,
    "*": _PRODUCT, "/": _PRODUCT, "%": _PRODUCT,
}  # fmt: skip


class ExpressionParser(TokenStream):
    """Parses one expression at a time, no deeper than EXPRESSION_DEPTH_MAX."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._depth = 0
        self._heights: dict[int, int] = {}

    def _recover(self, start: Token) -> None:
        self._depth = 0
        super()._recover(start)

    def _made(self, node: ast.Expression) -> ast.Expression:
        """The node, with its height noted; raises if that is too much."""
        heights = self._heights
        height = 1 + max((heights[id(child)] for child in ast.children(node)), default=0)
        if height > EXPRESSION_DEPTH_MAX:
            raise self._too_deep(node.span)
        heights[id(node)] = height
        return node

    def _too_deep(self, span: Span) -> StatementAbandoned:
        message = f"the expression is nested more than {EXPRESSION_DEPTH_MAX} levels deep"
        return self._fail(message, span, "move parts of it into functions")

    def _expression(self) -> ast.Expression:
        self._depth += 1
        if self._depth > EXPRESSION_DEPTH_MAX:
            raise self._too_deep(self._token.span)
        start = self._token.span.start
        test = self._binary(_OR)
        if self._token.is_symbol("?"):
            self._advance()
            then = self._expression()
            self._expect(":", "between the branches of `? :`")
            otherwise = self._expression()
            span = Span(start, self._end)
            test = self._made(ast.Conditional(test, then, otherwise, span))
        self._depth -= 1
        return test

    def _operator(self) -> tuple[str, int]:
        token = self._token
        if token.kind is Kind.SYMBOL or token.text in ("in", "is"):
            return token.text, _PRECEDENCE.get(token.text, 0)
        return "", 0

    def _binary(self, precedence_min: int) -> ast.Expression:
        # Spans include the parentheses around operands, which are no nodes.
        start = self._token.span.start
        left = self._unary()
        while True:
            operator, precedence = self._operator()
            if precedence < precedence_min:
                if operator == "=":
                    raise self._fail("`=` does not compare", self._token.span, "use `==`")
                return left
            if precedence <= _AND:
                left = self._logic(operator, precedence, left, start)
                continue
            self._advance()
            if operator == "is":
                type_word = self._word("a type", "after `is`")
                span = Span(start, type_word.span.end)
                left = self._made(ast.TypeTest(left, type_word.text, span, type_word.span))
                continue
            right = self._binary(precedence + 1)
            left = self._made(ast.Binary(operator, left, right, Span(start, self._end)))

    def _logic(
        self, operator: str, precedence: int, first: ast.Expression, start: int
    ) -> ast.Expression:
        operands = [first]
        while self._token.is_symbol(operator):
            self._advance()
            operands.append(self._binary(precedence + 1))
        return self._made(ast.Logic(operator, tuple(operands), Span(start, self._end)))

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
            span = Span(operator.span.start, self._end)
            node = self._made(ast.Unary(operator.text, node, span))
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
        if token.text in STATEMENT_WORDS or token.text in ("if", "in", "is"):
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
        elif lexer.has_text(offset, DEFAULT_DATABASE):
            return DEFAULT_DATABASE, offset + len(DEFAULT_DATABASE)
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
