"""The options of `baas query` that say which documents are asked for, or which numbers of them, as
the API takes it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from baas.cli import arguments
from baas.cli.options import group_option, where_option

Command = TypeVar("Command", bound=Callable[..., Any])
_NUMBERS = (
    ("sums", "sum", "sum"),
    ("averages", "average", "avg"),
    ("minima", "minimum", "min"),
    ("maxima", "maximum", "max"),
)
_CURSORS = (  # the option, the member of a query, and on which side of the values it lies
    ("--start-at", "start", True),
    ("--start-after", "start", False),
    ("--end-before", "end", True),
    ("--end-at", "end", False),
)


def with_query(command: Command) -> Command:
    """Gives a command COLLECTION and the options about documents, as one argument `query`."""

    @click.argument("collection")
    @where_option
    @click.option(
        "--or", "some", multiple=True, metavar="CONDITION", help="One of those must hold, too."
    )
    @click.option("--filter", "whole", metavar="JSON", help='Any filter: {"or":[…,{"and":[…]}]}.')
    @click.option(
        "--order", "-o", "orders", multiple=True, metavar="FIELD[:desc]", help="May be repeated."
    )
    @_cursor_options
    @click.option("--offset", type=click.IntRange(0), help="Pass over so many.")
    @click.option("--limit", "-n", type=click.IntRange(1), help="At most so many documents.")
    @click.option(
        "--select", "-s", "selected", multiple=True, metavar="FIELD", help="Only these fields."
    )
    @click.option("--search", metavar="TEXT", help="With all of these words; `app*`: beginning so.")
    @click.option(
        "--in",
        "searched",
        multiple=True,
        metavar="FIELD",
        help="Where the words stand; repeatable.",
    )
    @click.option(
        "--near", "place", nargs=2, metavar="FIELD LAT,LNG", help="Nearest first, by a geo point."
    )
    @click.option("--within", "radius", metavar="METERS", help="At most so far: 500, or 5km.")
    @group_option
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        collection: str,
        filters: tuple[str, ...],
        some: tuple[str, ...],
        whole: str | None,
        orders: tuple[str, ...],
        cursors: dict[str, Any],
        offset: int | None,
        limit: int | None,
        selected: tuple[str, ...],
        search: str | None,
        searched: tuple[str, ...],
        place: tuple[str, str] | None,
        radius: str | None,
        group: bool,
        **rest: Any,
    ) -> Any:
        query: dict[str, Any] = {"collection": collection, "group": group, **cursors}
        query |= arguments.conditions(collection, filters, some, whole)
        given = {
            "order_by": list(map(arguments.order, orders)),
            "offset": offset,
            "limit": limit,
            "select": list(selected),
        }
        query |= {name: member for name, member in given.items() if member}
        query |= _near(place, radius)
        query |= _search(search, searched)
        return command(*args, query=query, **rest)

    return wrapped  # type: ignore[return-value]


def _cursor_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Those that say between which values of the order, as one argument `cursors`."""

    @functools.wraps(command)
    def wrapped(*args: Any, **rest: Any) -> Any:
        cursors: dict[str, Any] = {}
        for option, member, before in _CURSORS:
            text = rest.pop(option.removeprefix("--").replace("-", "_"))
            if text is None:
                continue
            if member in cursors:
                raise click.UsageError(f"there is one {member}: give one of its two options")
            cursors[member] = arguments.cursor(text, before=before)
        return command(*args, cursors=cursors, **rest)

    for option, member, before in reversed(_CURSORS):
        side = "From" if member == "start" else "To"
        included = before == (member == "start")
        text = f"{side} this value of the order{'' if included else ', without it'}; or an array."
        wrapped = click.option(option, metavar="VALUE", help=text)(wrapped)
    return wrapped


def with_numbers(command: Command) -> Command:
    """Gives a command the options about numbers and groups, as one argument `aggregated`: the
    members of an aggregation beside its query; none if documents are wanted."""

    @click.option("--count", "counts", is_flag=True, help="How many documents, not the documents.")
    @click.option("--sum", "sums", multiple=True, metavar="FIELD", help="The sum of a field.")
    @click.option(
        "--avg", "averages", multiple=True, metavar="FIELD", help="The average of a field."
    )
    @click.option("--min", "minima", multiple=True, metavar="FIELD", help="The least value.")
    @click.option("--max", "maxima", multiple=True, metavar="FIELD", help="The greatest value.")
    @click.option(
        "--group-by", "groups", multiple=True, metavar="FIELD", help="Those for each value."
    )
    @click.option(
        "--distinct", "values", multiple=True, metavar="FIELD", help="The distinct values."
    )
    @functools.wraps(command)
    def wrapped(
        *args: Any, counts: bool, groups: tuple[str, ...], values: tuple[str, ...], **rest: Any
    ) -> Any:
        fields = {option: rest.pop(option) for option, _, _ in _NUMBERS}
        aggregates = [{"op": "count", "alias": "count"}] if counts else []
        aggregates += [
            {"op": op, "field": field, "alias": f"{word} {field}"}
            for option, op, word in _NUMBERS
            for field in fields[option]
        ]
        grouped = [*groups, *values]
        aggregated = (
            {"aggregates": aggregates, "group_by": grouped} if aggregates or grouped else {}
        )
        return command(*args, aggregated=aggregated, **rest)

    return wrapped  # type: ignore[return-value]


def _near(place: tuple[str, str] | None, radius: str | None) -> dict[str, Any]:
    if place is None:
        if radius is not None:
            raise click.UsageError("--within needs --near")
        return {}
    field, center = place
    try:
        latitude, longitude = map(_finite, center.split(","))
        near: dict[str, Any] = {"field": field, "center": {"$geo": [latitude, longitude]}}
        if radius is not None:
            unit = 1_000 if radius.endswith("km") else 1
            near["radius_meters"] = _finite(radius.removesuffix("km").removesuffix("m")) * unit
    except ValueError:
        raise click.UsageError(
            "a place is two numbers, such as `--near at 48.2,16.4`, and a distance is one, such as "
            "`--within 500` or `--within 5km`"
        ) from None
    return {"near": near}


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _search(text: str | None, fields: tuple[str, ...]) -> dict[str, Any]:
    if (text is not None) != bool(fields):
        raise click.UsageError(
            "--search goes with --in, which names a field to search; it may be repeated"
        )
    return {} if text is None else {"search": {"text": text, "fields": list(fields)}}
