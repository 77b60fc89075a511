"""`baas rules audit`: what strangers could do to a project's live data."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import click
import orjson

from baas.cli.client import Client, path_of, run
from baas.cli.failures import CommandFailed
from baas.cli.options import Target, json_option, project_option, with_target
from baas.cli.output import note, print_json, print_table

_ALLOW = re.compile(r"(anonymous|user|\*):([a-z,]+|\*):(.+)")
_METHODS = frozenset({"get", "list", "create", "update", "delete"})


@dataclass(frozen=True, slots=True)
class _Allowed:
    """An exposure that is meant."""

    caller: str
    methods: frozenset[str]
    path: str

    def covers(self, finding: Mapping[str, Any]) -> bool:
        return (
            self.caller in ("*", finding["caller"])
            and finding["method"] in self.methods
            and fnmatchcase(finding["path"], self.path)
        )


@click.command("audit")
@project_option
@click.option(
    "--sample",
    type=click.IntRange(1, 500),
    default=20,
    show_default=True,
    help="Look at most at so many documents of a collection, and objects of a folder.",
)
@click.option(
    "--allow",
    "allow",
    multiple=True,
    metavar="CALLER:METHODS:PATH",
    help="What is meant to be exposed, as in `anonymous:get,list:posts/{id}`; `*` for any.",
)
@json_option
@with_target
def audit_rules(
    project: str, sample: int, allow: Sequence[str], as_json: bool, target: Target
) -> None:
    """Tell what anybody, and anybody who signs up, could list, get, create, update and delete.

    The rules in force are asked about a sample of the live data; nothing is written. Exit code 1
    if something is exposed that no --allow names.
    """
    meant = [_parse(text) for text in allow]
    path = path_of("projects", project, "rules") + ":audit"

    async def work(client: Client) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        found: list[dict[str, Any]] = []
        rest = b""
        async for chunk in client.stream(path, params={"sample": str(sample)}):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                told = orjson.loads(line)
                if "done" in told:
                    return found, told["done"]
                if "error" in told:
                    raise CommandFailed(f"the audit ended early: {told['error']['message']}")
                if "finding" in told:
                    found.append(told["finding"])
                elif sys.stderr.isatty():
                    note(f"looking at {told['progress']['place']}:/{told['progress']['path']}")
        raise CommandFailed("the audit ended early")

    found, done = run(target, work)
    findings = [
        {**finding, "meant": any(one.covers(finding) for one in meant)} for finding in found
    ]
    exposed = [finding for finding in findings if not finding["meant"]]
    if as_json:
        print_json({**done, "findings": findings, "exposed": len(exposed)})
    else:
        _print(findings)
        note(f"{done['decisions']} decisions; {len(exposed)} exposures that no --allow names")
        if not done["complete"]:
            note("there are more collections or folders than are looked at")
    if exposed:
        raise click.exceptions.Exit(1)


def _print(findings: Sequence[Mapping[str, Any]]) -> None:
    rows = [
        (
            one["caller"],
            one["method"],
            f"{one['place']}:/{one['path']}",
            f"{one['allowed']} of {one['tried']}",
            one["example"],
            "meant" if one["meant"] else "EXPOSED",
        )
        for one in findings
    ]
    columns = ("caller", "may", "path", "sample", "example", "")
    print_table(columns, rows, empty="strangers can do nothing to what is there")


def _parse(text: str) -> _Allowed:
    found = _ALLOW.fullmatch(text)
    methods = frozenset(found[2].split(",")) if found is not None else frozenset()
    if found is not None and found[2] == "*":
        methods = _METHODS
    if found is None or not methods <= _METHODS:
        raise CommandFailed(
            f"`--allow {text}` is not CALLER:METHODS:PATH, as in `anonymous:get:posts/{{id}}`; "
            "callers are anonymous and user, methods get, list, create, update and delete"
        )
    return _Allowed(found[1], methods, found[3].replace("[", "[[]"))
