"""`baas rules try`: the playground on the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import orjson

from baas.cli.client import path_of, run
from baas.cli.failures import CommandFailed
from baas.cli.options import (
    Target,
    database_option,
    json_option,
    project_option,
    read_text,
    with_target,
)
from baas.cli.output import print_json, printable

_METHODS = ("get", "list", "create", "update", "delete")
_OPERATORS = (
    *("==", "!=", "<", "<=", ">", ">=", "in", "not-in"),
    *("array-contains", "array-contains-any"),
)
_WRITES = ("create", "update", "delete")
_NONE = "none"


@click.command("try")
@click.argument("method", type=click.Choice(_METHODS))
@click.argument("path")
@project_option
@database_option
@click.option("--bucket", help="PATH is an object of this bucket, or a prefix of objects.")
@click.option(
    "--rules",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
    help="Ask this file; without it, the rules in force.",
)
@click.option("--as", "uid", help="The uid of who asks; without it, nobody is signed in.")
@click.option("--user", help="The uid or e-mail address of a user of the project.")
@click.option("--claims", help="Claims of the token, as JSON, besides those of every token.")
@click.option("--after", metavar="JSON", help="What is to be stored, of create and update.")
@click.option("--before", help='What is there in place of what is stored, as JSON, or "none".')
@click.option(
    "--with",
    "others",
    nargs=3,
    multiple=True,
    metavar="METHOD PATH JSON",
    help='Another write of the same commit, which getAfter sees; of delete the JSON is "none".',
)
@click.option(
    "--where",
    nargs=3,
    multiple=True,
    metavar="FIELD OPERATOR VALUE",
    help="A filter of a list; the value as JSON, or else a string.",
)
@click.option("--order-by", multiple=True, metavar="FIELD[:desc]", help="An order of a list.")
@click.option("--limit", type=click.IntRange(min=1), help="The limit of a list.")
@click.option("--group", is_flag=True, help="List the collection group.")
@click.option("--time", help="The request's time, such as 2026-11-22T17:00:00Z.")
@json_option
@with_target
def try_rules(
    method: str,
    path: str,
    project: str,
    rules: Path | None,
    as_json: bool,
    target: Target,
    **options: Any,
) -> None:
    """Ask the rules whether METHOD of PATH would be allowed, and show every step of the decision.
    Nothing is written. Exit code 1 if it is denied."""
    is_batch = bool(options["others"])
    body = _trial(method, path, options)
    if is_batch:
        body = _batch(body, options)
    if rules is not None:
        body["source"] = read_text(rules)
    verb = "rules:explain-batch" if is_batch else "rules:explain"
    address = path_of("projects", project, verb)
    told = run(target, lambda client: client.call("POST", address, json=body))
    if as_json:
        print_json(told)
    else:
        lines = _batch_lines(told) if is_batch else _lines(told)
        click.echo(printable("\n".join(lines)))
    if not told["allowed"]:
        raise click.exceptions.Exit(1)


def _trial(method: str, path: str, options: Mapping[str, Any]) -> dict[str, Any]:
    bucket = options["bucket"]
    body: dict[str, Any] = {"method": method}
    if bucket is not None:
        body |= {"service": "objects", "bucket": bucket, "path": path}
    else:
        body["database"] = options["database"]
        if method != "list":
            body["path"] = path.strip("/")
    query = _query(path, options)
    if method == "list" and bucket is None:
        body["query"] = query
    elif len(query) > 1:
        raise CommandFailed("--where, --order-by, --limit and --group go with a list of documents")
    body["caller"] = _caller(options)
    if options["after"] is not None:
        body["after"] = _parse("--after", options["after"])
    if options["before"] is not None:
        none = options["before"] == _NONE
        body["before"] = None if none else _parse("--before", options["before"])
    if options["time"] is not None:
        body["time"] = options["time"]
    return body


def _batch(trial: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The same request as the first one of several writes."""
    if options["bucket"] is not None or trial["method"] not in _WRITES:
        raise CommandFailed(f"--with goes with {', '.join(_WRITES)} of a document")
    first = {name: trial[name] for name in ("method", "path", "before", "after") if name in trial}
    shared = {name: trial[name] for name in ("database", "caller", "time") if name in trial}
    return {**shared, "writes": [first, *(_other(*given) for given in options["others"])]}


def _other(method: str, path: str, text: str) -> dict[str, Any]:
    if method not in _WRITES:
        raise CommandFailed(f"unknown write `{method}` of --with: there are {', '.join(_WRITES)}")
    write: dict[str, Any] = {"method": method, "path": path.strip("/")}
    if text != _NONE:
        write["after"] = _parse("--with", text)
    return write


def _query(path: str, options: Mapping[str, Any]) -> dict[str, Any]:
    query: dict[str, Any] = {"collection": path.strip("/")}
    filters = [_filter(*given) for given in options["where"]]
    if filters:
        query["where"] = filters[0] if len(filters) == 1 else {"and": filters}
    if options["order_by"]:
        query["order_by"] = [_order(given) for given in options["order_by"]]
    if options["limit"] is not None:
        query["limit"] = options["limit"]
    if options["group"]:
        query["group"] = True
    return query


def _filter(field: str, operator: str, value: str) -> dict[str, Any]:
    if operator not in _OPERATORS:
        raise CommandFailed(f"unknown operator `{operator}`: there are {', '.join(_OPERATORS)}")
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError:
        parsed = value
    return {"field": field, "op": operator, "value": parsed}


def _order(given: str) -> dict[str, str]:
    field, _, direction = given.rpartition(":")
    if field and direction in ("asc", "desc"):
        return {"field": field, "direction": direction}
    return {"field": given}


def _caller(options: Mapping[str, Any]) -> dict[str, Any] | None:
    uid, user, claims = options["uid"], options["user"], options["claims"]
    if uid is not None and user is not None:
        raise CommandFailed("--as and --user exclude each other")
    if uid is None and user is None:
        if claims is not None:
            raise CommandFailed("--claims goes with --as or --user")
        return None
    who = {"uid": uid} if user is None else {"user": user}
    return who if claims is None else {**who, "claims": _parse("--claims", claims)}


def _parse(option: str, text: str) -> dict[str, Any]:
    try:
        tree = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CommandFailed(f"{option} is no JSON: {error}") from None
    if not isinstance(tree, dict):
        raise CommandFailed(f"{option} is a JSON object")
    return tree


# What is told ------------------------------------------------------------------------------------


def _batch_lines(told: Mapping[str, Any]) -> Iterator[str]:
    verdict = "allowed" if told["allowed"] else "denied"
    looked = f"{told['looked_up']} of {told['looked_up_max']} documents looked up"
    yield f"the commit of {len(told['writes'])} writes is {verdict}: {looked}"
    for write in told["writes"]:
        yield ""
        yield from _lines(write)


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    yield f"{told['subject']} is {'allowed' if told['allowed'] else 'denied'}"
    for reason in told["reasons"]:
        yield reason["message"]
        yield from (f"  {one['text']} is {one['value']}" for one in reason["values"])
        if reason["hint"]:
            yield f"  hint: {reason['hint']}"
    for attempt in told["attempts"]:
        bound = ", ".join(f"{name} = {value}" for name, value in attempt["captures"].items())
        yield (
            f"{attempt['outcome']}: allow {', '.join(attempt['methods'])} (line {attempt['line']})"
            f" of match {attempt['match']}" + (f" with {bound}" if bound else "")
        )
        yield from _steps(attempt["steps"])
    for found in told["lookups"]:
        state = "does not exist" if found["fields"] is None else "exists"
        after = " after the write" if found["after"] else ""
        yield f"looked up /{found['path']}{after}: {state}"
    yield f"cost: {told['expressions']} expressions, {len(told['lookups'])} lookups"


def _steps(steps: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for step in steps:
        came = step["value"] if step["error"] is None else f"error: {step['error']}"
        yield f"{'  ' * (step['depth'] + 1)}{step['text']} -> {came}"
