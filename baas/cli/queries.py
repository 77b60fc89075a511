"""`baas query`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import click
import orjson

from baas.cli.client import APPS_API, Client, path_of, run
from baas.cli.failures import CommandFailed
from baas.cli.indexes import field_texts
from baas.cli.options import Target, database_option, project_option, with_target
from baas.cli.output import note, print_table

# Longer operators first: `<=` is not `<` and then `=…`.
_OPERATORS = (
    *("array-contains-any", "array-contains", "not-in", "in"),
    *("==", "!=", "<=", ">=", "<", ">"),
)
_CONDITION = re.compile(
    r"^(?P<field>(?:`(?:[^`\\]|\\.)*`|[^\s<>=!`])+)\s*"
    r"(?P<op>==|!=|<=|>=|<|>|\s(?:array-contains-any|array-contains|not-in|in)\s)\s*(?P<value>.+)$",
    re.DOTALL,
)
_PAGE = 1_000
_NUMBERS = (
    ("sums", "sum", "sum"),
    ("averages", "average", "avg"),
    ("minima", "minimum", "min"),
    ("maxima", "maximum", "max"),
)
_CELL_CHARACTERS_MAX = 60


@click.command("query")
@click.argument("collection")
@project_option
@database_option
@click.option(
    "--where",
    "-w",
    "conditions",
    multiple=True,
    metavar="CONDITION",
    help="Such as 'population > 100000', 'country in [\"CH\",\"FR\"]'; several must all hold.",
)
@click.option(
    "--order", "-o", "orders", multiple=True, metavar="FIELD[:desc]", help="May be repeated."
)
@click.option("--search", metavar="TEXT", help="With all of these words; `app*`: beginning so.")
@click.option(
    "--in", "searched", multiple=True, metavar="FIELD", help="Where the words stand; repeatable."
)
@click.option("--limit", "-n", type=click.IntRange(1), help="At most so many documents.")
@click.option("--select", "-s", "fields", multiple=True, metavar="FIELD", help="Only these fields.")
@click.option(
    "--near", "place", nargs=2, metavar="FIELD LAT,LNG", help="Nearest first, by a geo point."
)
@click.option("--within", "radius", metavar="METERS", help="At most so far: 500, or 5km.")
@click.option("--group", is_flag=True, help="Search all collections of this id.")
@click.option("--table", "as_table", is_flag=True, help="A table for people, not JSON lines.")
@click.option("--explain", is_flag=True, help="Tell how the query was answered, on stderr.")
@click.option("--count", "counts", is_flag=True, help="How many documents, not the documents.")
@click.option("--sum", "sums", multiple=True, metavar="FIELD", help="The sum of a field.")
@click.option("--avg", "averages", multiple=True, metavar="FIELD", help="The average of a field.")
@click.option("--min", "minima", multiple=True, metavar="FIELD", help="The least value of a field.")
@click.option("--max", "maxima", multiple=True, metavar="FIELD", help="The greatest value.")
@click.option("--group-by", "groups", multiple=True, metavar="FIELD", help="Those for each value.")
@click.option("--distinct", "values", multiple=True, metavar="FIELD", help="The distinct values.")
@with_target
def query_command(
    collection: str,
    project: str,
    database: str,
    conditions: tuple[str, ...],
    orders: tuple[str, ...],
    search: str | None,
    searched: tuple[str, ...],
    limit: int | None,
    fields: tuple[str, ...],
    place: tuple[str, str] | None,
    radius: str | None,
    group: bool,
    as_table: bool,
    explain: bool,
    target: Target,
    **wanted: Any,
) -> None:
    """Print the documents of COLLECTION that match, one JSON object a line; or numbers of them, or
    of each group of them.

    A value is JSON, or text as it stands. For example:

    baas query -p demo cities -w 'country == CH' -o population:desc -n 10

    baas query -p demo notes --search 'red app*' --in title --in body
    """  # fmt: skip
    query = _query(collection, conditions, orders, limit=limit, fields=fields, group=group)
    query |= _near(place, radius)
    query |= _search(search, searched)
    path = path_of("projects", project, "databases", database, "documents") + ":query"
    aggregated = _aggregated(**wanted)
    if aggregated:
        path = path.removesuffix(":query") + ":aggregate"
        run(target, lambda client: _print_groups(client, path, query, aggregated, explain))
        return
    gathered: list[dict[str, Any]] = []

    async def work(client: Client) -> None:
        body: dict[str, Any] = {"query": query, "page_size": _PAGE, "explain": explain}
        while True:
            page = await client.call("POST", path, api=APPS_API, json=body)
            if as_table:
                gathered.extend(page["documents"])
            else:
                for document in page["documents"]:
                    click.echo(orjson.dumps(document).decode())
            if page.get("explain") is not None:
                for line in _explained(page["explain"]):
                    note(line)
                body["explain"] = False
            if "next_page_token" not in page:
                return
            body["page_token"] = page["next_page_token"]

    run(target, work)
    if as_table:
        _print_documents(gathered, fields)


def _aggregated(
    counts: bool,
    groups: tuple[str, ...],
    values: tuple[str, ...],
    **fields: tuple[str, ...],
) -> dict[str, Any]:
    """The members of an aggregation beside its query; none if documents are wanted."""
    aggregates = [{"op": "count", "alias": "count"}] if counts else []
    aggregates += [
        {"op": op, "field": field, "alias": f"{word} {field}"}
        for option, op, word in _NUMBERS
        for field in fields[option]
    ]
    if not (aggregates or groups or values):
        return {}
    return {"aggregates": aggregates, "group_by": [*groups, *values]}


async def _print_groups(
    client: Client, path: str, query: dict[str, Any], aggregated: dict[str, Any], explain: bool
) -> None:
    body: dict[str, Any] = {"query": query, **aggregated, "explain": explain}
    while True:
        page = await client.call("POST", path, api=APPS_API, json=body)
        for group in page.get("groups") or [page]:
            told = {**group.get("group", {}), **group.get("results", {})}
            if told:
                click.echo(orjson.dumps(told).decode())
        if page.get("explain") is not None:
            for line in _explained(page["explain"]):
                note(line)
            body["explain"] = False
        if "next_page_token" not in page:
            return
        body["page_token"] = page["next_page_token"]


def _query(
    collection: str,
    conditions: tuple[str, ...],
    orders: tuple[str, ...],
    *,
    limit: int | None,
    fields: tuple[str, ...],
    group: bool,
) -> dict[str, Any]:
    query: dict[str, Any] = {"collection": collection, "group": group}
    filters = [_filter(text) for text in conditions]
    if filters:
        query["where"] = filters[0] if len(filters) == 1 else {"and": filters}
    if orders:
        query["order_by"] = [_order(text) for text in orders]
    if limit is not None:
        query["limit"] = limit
    if fields:
        query["select"] = list(fields)
    return query


def _near(place: tuple[str, str] | None, radius: str | None) -> dict[str, Any]:
    if place is None:
        if radius is not None:
            raise CommandFailed("`--within` needs `--near`", exit_code=2)
        return {}
    field, center = place
    try:
        latitude, longitude = map(_finite, center.split(","))
        near: dict[str, Any] = {"field": field, "center": {"$geo": [latitude, longitude]}}
        if radius is not None:
            unit = 1_000 if radius.endswith("km") else 1
            near["radius_meters"] = _finite(radius.removesuffix("km").removesuffix("m")) * unit
    except ValueError:
        raise CommandFailed(
            "a place is two numbers, such as `--near at 48.2,16.4`, and a distance is one, such as "
            "`--within 500` or `--within 5km`",
            exit_code=2,
        ) from None
    return {"near": near}


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _filter(text: str) -> dict[str, Any]:
    """`field op value`, the value as JSON or as plain text."""
    found = _CONDITION.match(text.strip())
    if found is None:
        known = ", ".join(_OPERATORS)
        raise CommandFailed(
            f"`{text}` is no condition; it is a field, one of {known}, and a value", exit_code=2
        )
    value = found["value"].strip()
    try:
        operand = orjson.loads(value)
    except orjson.JSONDecodeError:
        operand = value
    return {"field": found["field"], "op": found["op"].strip(), "value": operand}


def _search(text: str | None, fields: tuple[str, ...]) -> dict[str, Any]:
    if (text is not None) != bool(fields):
        raise CommandFailed(
            "--search goes with --in, which names a field to search; it may be repeated",
            exit_code=2,
        )
    return {} if text is None else {"search": {"text": text, "fields": list(fields)}}


def _order(text: str) -> dict[str, str]:
    name, colon, direction = text.rpartition(":")
    if colon and direction in ("asc", "desc"):
        return {"field": name, "direction": direction}
    return {"field": text}


def _explained(told: dict[str, Any]) -> Iterator[str]:
    for scan in told["scans"]:
        yield _scan(scan)
    if not told["scans"]:
        yield "nothing can match: nothing was read"
    for index in told["missing_indexes"]:
        state = "is being built" if index["building"] else "is built when the query comes again"
        yield f"an index of {_index(index)} would have spared that; it {state}"
    yield (
        f"{told['entries_scanned']} entries scanned, {told['keys_counted']} keys counted, "
        f"{told['documents_read']} documents read, {told['returned']} returned, "
        f"in {told['seconds'] * 1_000:.1f} ms"
    )
    yield from (f"hint: {hint}" for hint in told["hints"])


def _scan(scan: dict[str, Any]) -> str:
    kind = scan["kind"]
    if kind == "collection":
        return "read the whole collection"
    if kind == "total":
        return "the total of the collection was known"
    if kind == "document":
        return "got one document by its name"
    where = "the collection by name"
    if kind == "words":
        where = f"index {scan['index']['id']} of {_index(scan['index'])}"
        checked = "" if scan["exact"] else "; what has them is checked against the filter"
        return f"read the entries of the words in {where}{checked}"
    if kind in ("index", "near"):
        where = f"index {scan['index']['id']} of {_index(scan['index'])}"
    if kind == "near":
        where += ", nearest first"
    backwards = ", backwards" if scan["direction"] == "desc" else ""
    checked = "" if scan["exact"] else "; each document is checked against the whole query"
    return f"scanned {where}{backwards}, {scan['ranges']} range(s){checked}"


def _index(index: dict[str, Any]) -> str:
    return f"{index['collection']} ({index['scope']}): {', '.join(field_texts(index))}"


def _print_documents(documents: list[dict[str, Any]], fields: tuple[str, ...]) -> None:
    names = list(fields) or list(
        dict.fromkeys(name for document in documents for name in document["fields"])
    )
    rows = [[one["path"], *(_cell(one["fields"].get(name)) for name in names)] for one in documents]
    columns = ["path", *names]
    if documents and "distance_meters" in documents[0]:
        columns.insert(1, "meters")
        for row, one in zip(rows, documents, strict=True):
            row.insert(1, f"{one['distance_meters']:.0f}")
    print_table(columns, rows, empty="no documents")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= _CELL_CHARACTERS_MAX else text[: _CELL_CHARACTERS_MAX - 1] + "…"
