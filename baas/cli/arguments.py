"""What is typed as an argument, as the API takes it: values, conditions, orders, cursors,
assignments. A value is JSON, or text where it is none."""

from __future__ import annotations

import re
from typing import Any

import click
import orjson

_OPERATORS = "==, !=, <, <=, >, >=, in, not-in, array-contains, array-contains-any"
_CONDITION = re.compile(
    r"\s*(?P<field>(?:`(?:[^`\\]|\\.)*`|[^\s=!<>`])+)\s*"
    r"(?P<op>==|!=|<=|>=|<|>|(?:array-contains-any|array-contains|not-in|in)(?=[\s\[]))(?![=<>])\s*"
    r"(?P<value>\S.*?)\s*",
    re.DOTALL,
)


def value(text: str) -> Any:
    """`18`, `true`, `"18"`, `["a"]`, `{"$timestamp": "…Z"}`; else the text."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def json_object(text: str, name: str) -> dict[str, Any]:
    """Raises UsageError for what is no JSON object; `name` says what it is."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise click.UsageError(f"{name} are no JSON: {error}") from None
    if not isinstance(found, dict):
        raise click.UsageError(f'{name} are a JSON object, such as {{"n": 1}}')
    return found


def condition(text: str) -> dict[str, Any]:
    """`age >= 18`, a filter. Raises UsageError."""
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise click.UsageError(
            f"`{text}` is no condition, which is a field, one of {_OPERATORS}, and a value: "
            "'age >= 18' or 'tags in [\"a\"]'"
        )
    return {"field": found["field"], "op": found["op"], "value": value(found["value"])}


def conditions(
    every: tuple[str, ...], some: tuple[str, ...] = (), whole: str | None = None
) -> dict[str, Any]:
    """The member `where` of a query, if there is one: all of `every` hold, at least one of `some`,
    and `whole`, which is a filter in JSON. Raises UsageError."""
    filters = [condition(text) for text in every]
    if some:
        filters.append({"or": [condition(text) for text in some]})
    if whole is not None:
        filters.append(_filter(whole))
    if not filters:
        return {}
    return {"where": filters[0] if len(filters) == 1 else {"and": filters}}


def _filter(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise click.UsageError(f"the filter is no JSON: {error}") from None


def query_of(collection: str, filters: tuple[str, ...], *, group: bool) -> dict[str, Any]:
    """What a job on the documents of a query takes."""
    query: dict[str, Any] = {"collection": collection}
    if group:
        query["group"] = True
    return query | conditions(filters)


def order(text: str) -> dict[str, str]:
    """`field`, `field:asc` or `field:desc`."""
    name, colon, direction = text.rpartition(":")
    if colon and direction in ("asc", "desc"):
        return {"field": name, "direction": direction}
    return {"field": text}


def cursor(text: str, *, before: bool) -> dict[str, Any]:
    """A value of the first order, or a JSON array with one of each."""
    given = value(text)
    return {"values": given if isinstance(given, list) else [given], "before": before}


def assignment(text: str) -> tuple[str, Any]:
    """`field=value`. Raises UsageError."""
    field, found, given = text.partition("=")
    if not found or not field.strip():
        raise click.UsageError(f"`{text}` sets nothing; it is a field and a value: 'field=value'")
    return field.strip(), value(given.strip())
