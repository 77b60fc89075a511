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
        raise click.UsageError(
            f"{name} are a JSON object, such as '{{\"n\": 1}}'; this is no JSON: {error}"
        ) from None
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
    collection: str, every: tuple[str, ...], some: tuple[str, ...] = (), whole: str | None = None
) -> dict[str, Any]:
    """The member `where` of a query, if there is one: all of `every` hold, at least one of `some`,
    and `whole`, which is a filter in JSON. Raises UsageError."""
    filters = [_named(condition(text), collection) for text in every]
    if some:
        filters.append({"or": [_named(condition(text), collection) for text in some]})
    if whole is not None:
        filters.append(_filter(whole))
    if not filters:
        return {}
    return {"where": filters[0] if len(filters) == 1 else {"and": filters}}


def _named(found: dict[str, Any], collection: str) -> dict[str, Any]:
    """A condition on `__name__`, for which an id will do, or a path."""
    if found["field"] != "__name__":
        return found
    given = found["value"]
    if isinstance(given, list):
        return found | {"value": [_reference(one, collection) for one in given]}
    return found | {"value": _reference(given, collection)}


def _reference(given: Any, collection: str) -> Any:
    if not isinstance(given, str | int):
        return given
    path = str(given).strip("/")
    return {"$ref": path if "/" in path else f"{collection.strip('/')}/{path}"}


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
    return query | conditions(collection, filters)


def order(text: str) -> dict[str, str]:
    """`field`, `field:asc` or `field:desc`. Raises UsageError."""
    name, direction = with_suffix(text, ("asc", "desc"))
    return {"field": name} if direction is None else {"field": name, "direction": direction}


def with_suffix(text: str, known: tuple[str, ...]) -> tuple[str, str | None]:
    """A field, and what stands behind its colon, if there is one. Raises UsageError for what is not
    known there; a field whose name holds a colon ends with a backtick."""
    name, colon, suffix = text.rpartition(":")
    if not colon or text.endswith("`"):
        return text, None
    if suffix not in known:
        raise click.UsageError(
            f"`{text}`: behind the colon of a field stands one of {', '.join(known)}; a name that"
            " holds one is quoted by backticks"
        )
    return name, suffix


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
