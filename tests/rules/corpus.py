"""Holds the engine to real rules files and the cases their own tests assert.

    python -m tests.rules.corpus FILES [CASES]

FILES is a folder with the public files that CASES/files.tsv and CASES/rules.tsv name, in any
layout: they are known by their SHA-256. CASES has those lists and the `*.jsonl` cases; without it,
they are looked for below FILES. Neither is part of this repository. Prints how many files parse and
how many cases agree, each disagreement, and what is absent; exits with 1 unless all that is there
parses and agrees. Other files called `*.rules` below FILES, which no list names, are parsed,
checked and linted too; how many have errors, and which, is told, but is no failure: some are broken
on purpose, or were mended by their authors.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path as FilePath
from typing import Any

from baas_rules import (
    AllOf,
    AnyOf,
    Auth,
    Constraint,
    Decision,
    FieldConstraint,
    LatLng,
    ListOrder,
    ListRequest,
    Lookup,
    Path,
    Request,
    ResourceDocument,
    Ruleset,
    Severity,
    Timestamp,
    check,
    lint,
)
from baas_rules.decision import OBJECT_SERVICE
from baas_rules.parser import parse
from baas_rules.source import Source

# The codelab's last template, with the edit that its own comment asks the reader to make.
_CODELAB = "firebase+quickstart-testing.rules"
_CODELAB_SHA256 = "6baabd3ab19ca3db3fa2d1d06b7404a7d8cbe2fb689d7b7eb466bebe9d61edef"

Json = Any


@dataclass
class Report:
    parsed: int = 0
    unparsed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    absent_files: list[str] = field(default_factory=list)
    agreeing: int = 0
    differing: list[str] = field(default_factory=list)
    absent_cases: int = 0
    others: int = 0
    other_errors: list[str] = field(default_factory=list)


def files_by_hash(folder: FilePath) -> dict[str, FilePath]:
    found: dict[str, FilePath] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and ".git" not in path.parts:
            found[hashlib.sha256(path.read_bytes()).hexdigest()] = path
    return found


def _table(path: FilePath) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        yield from csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)


def check_files(files: Mapping[str, FilePath], cases: FilePath, report: Report) -> None:
    for row in _table(cases / "files.tsv"):
        label = f"{row['repo']} {row['path']} @{row['commit'][:8]}"
        path = files.get(row["sha256"])
        if path is None:
            report.absent_files.append(label)
            continue
        text = path.read_text(encoding="utf-8")
        found = parse(Source(text))[1]
        errors = [one for one in found if one.severity is Severity.ERROR]
        if errors:
            report.unparsed.append(f"{label}\n{errors[0]}")
            continue
        report.parsed += 1
        refused = [one for one in check(text) if one.severity is Severity.ERROR]
        if refused:
            report.refused.append(f"{label}\n{refused[0]}")


def check_others(files: Mapping[str, FilePath], cases: FilePath, report: Report) -> None:
    listed = {row["sha256"] for name in ("files.tsv", "rules.tsv") for row in _table(cases / name)}
    for digest, path in files.items():
        if digest in listed or path.suffix != ".rules":
            continue
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        report.others += 1
        errors = [one for one in check(text) if one.severity is Severity.ERROR]
        if errors:
            report.other_errors.append(f"{path.name}: {errors[0].message}")
        lint(text)


def check_cases(files: Mapping[str, FilePath], cases: FilePath, report: Report) -> None:
    hashes = {row["rules"]: row["sha256"] for row in _table(cases / "rules.tsv")}
    hashes[_CODELAB] = _CODELAB_SHA256
    rulesets: dict[str, Ruleset | None] = {}
    for path in sorted(cases.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            case = json.loads(line)
            name = case["rules"]
            if name not in rulesets:
                rulesets[name] = _ruleset(name, files.get(hashes.get(name, "")))
            ruleset = rulesets[name]
            if ruleset is None:
                report.absent_cases += 1
                continue
            told = run_case(ruleset, case)
            if told is None:
                report.agreeing += 1
            else:
                report.differing.append(f"{path.name}:{number} {told}")


def _ruleset(name: str, path: FilePath | None) -> Ruleset | None:
    if path is None:
        return None
    text = path.read_text(encoding="utf-8")
    if name == _CODELAB:
        text = text.replace("allow write: if //", "allow read, write: if //")
    return Ruleset.parse(text, name=name)


# --- one case ----------------------------------------------------------------------------------


@dataclass
class World:
    """The documents of a case, before and after its writes."""

    before: dict[tuple[str, ...], Json]
    after: dict[tuple[str, ...], Json]

    def document(self, lookup: Lookup) -> ResourceDocument | None:
        data = (self.after if lookup.after else self.before).get(lookup.path)
        return None if data is None else ResourceDocument(lookup.path, data)


def run_case(ruleset: Ruleset, case: Json) -> str | None:
    """None if the engine agrees, else what it says."""
    time = _timestamp(case["time"])
    auth = None
    if case["auth"] is not None:
        auth = Auth(case["auth"]["uid"], case["auth"]["token"])
    before = {_segments(path): _value(data, time) for path, data in case["seed"].items()}
    world = World(before, dict(before))
    if case["service"] == "storage":
        allowed, why = _object_case(ruleset, case, auth, time, world)
    elif case["method"] == "list":
        allowed, why = _list_case(ruleset, case, auth, time, world)
    else:
        writes = case["writes"] if case["method"] == "commit" else [case]
        for write in writes:
            if write["method"] in ("create", "update", "delete"):
                world.after[_segments(write["path"])] = _value(write["after"], time)
        allowed, why = True, ""
        for write in writes:
            granted, told = _document_case(ruleset, write, auth, time, world)
            if not granted:
                allowed, why = False, told
    if allowed == (case["expect"] == "allow"):
        return None
    return f"expected {case['expect']}: {case['note']}\n{why}"


def _document_case(
    ruleset: Ruleset, case: Json, auth: Auth | None, time: Timestamp, world: World
) -> tuple[bool, str]:
    path = _segments(case["path"])
    stored = world.before.get(path)
    after = world.after.get(path) if case["method"] in ("create", "update") else None
    request = Request(
        method=case["method"],
        path=path,
        auth=auth,
        time=time,
        resource=None if stored is None else ResourceDocument(path, stored),
        new_resource=None if after is None else ResourceDocument(path, after),
    )
    return _decide(ruleset, request, world)


def _decide(ruleset: Ruleset, request: Request, world: World) -> tuple[bool, str]:
    documents: dict[Lookup, ResourceDocument | None] = {}
    while True:
        decision = ruleset.decide(request, documents)
        if not decision.missing:
            return decision.allowed, str(ruleset.explain(request, documents))
        documents.update((lookup, world.document(lookup)) for lookup in decision.missing)


def _list_case(
    ruleset: Ruleset, case: Json, auth: Auth | None, time: Timestamp, world: World
) -> tuple[bool, str]:
    query = case["query"]
    request = ListRequest(
        collection=_segments(case["path"]),
        auth=auth,
        time=time,
        group=bool(query.get("collection_group")),
        where=_all_of(query.get("where") or [], time),
        order_by=tuple(
            ListOrder(tuple(name.split(".")), direction == "desc")
            for name, direction in query.get("orderBy") or []
        ),
        limit=query.get("limit"),
        offset=query.get("offset") or 0,
    )
    documents: dict[Lookup, ResourceDocument | None] = {}
    while True:
        decision: Decision = ruleset.prove_list(request, documents)
        if not decision.missing:
            return decision.allowed, str(ruleset.explain_list(request, documents))
        documents.update((lookup, world.document(lookup)) for lookup in decision.missing)


def _all_of(filters: list[Json], time: Timestamp) -> Constraint | None:
    if not filters:
        return None
    return AllOf(tuple(_constraint(one, time) for one in filters))


def _constraint(one: Json, time: Timestamp) -> Constraint:
    if one[0] in ("or", "and") and isinstance(one[1], list):
        parts = tuple(_constraint(part, time) for part in one[1])
        return AnyOf(parts) if one[0] == "or" else AllOf(parts)
    name, operator, value = one
    return FieldConstraint(tuple(name.split(".")), operator, _value(value, time))


def _object_case(
    ruleset: Ruleset, case: Json, auth: Auth | None, time: Timestamp, world: World
) -> tuple[bool, str]:
    path = ("b", case["bucket"], "o", *_segments(case["path"]))
    stored = _object(case["objects"].get(case["path"]), case)
    data = _object(case["data"], case) if case["method"] in ("create", "update") else None
    request = Request(
        method=case["method"],
        path=path,
        auth=auth,
        time=time,
        resource=stored,
        new_resource=data,
        service=OBJECT_SERVICE,
    )
    return _decide(ruleset, request, world)


def _object(data: Json, case: Json) -> dict[str, Any] | None:
    if data is None:
        return None
    made = {"name": case["path"], "bucket": case["bucket"], "metadata": {}, **data}
    if "timeCreated" in made:
        made["timeCreated"] = made["updated"] = _timestamp(made["timeCreated"])
    return made


# --- values ------------------------------------------------------------------------------------


def _segments(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/"))


def _timestamp(text: str) -> Timestamp:
    return Timestamp.from_datetime(datetime.fromisoformat(text.replace("Z", "")))


def _value(value: Json, time: Timestamp) -> Any:
    if isinstance(value, list):
        return [_value(item, time) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((tag, content),) = value.items()
        match tag:
            case "__time__":
                return _timestamp(content)
            case "__server_time__":
                return time
            case "__geo__":
                return LatLng(float(content[0]), float(content[1]))
            case "__bytes__":
                return b64decode(content)
            case "__ref__":
                return Path(("databases", "(default)", "documents", *_segments(content)))
            case "__float__":
                return float(content)
    return {key: _value(item, time) for key, item in value.items()}


def main(arguments: list[str]) -> int:
    folder = FilePath(arguments[0]) if arguments else None
    cases = FilePath(arguments[1]) if len(arguments) == 2 else None
    if folder is not None and cases is None:
        cases = next((path.parent for path in sorted(folder.rglob("files.tsv"))), None)
    if folder is None or cases is None or len(arguments) > 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    files = files_by_hash(folder)
    report = Report()
    check_files(files, cases, report)
    check_cases(files, cases, report)
    check_others(files, cases, report)
    for text in (*report.unparsed, *report.refused, *report.differing):
        sys.stdout.write(f"{text}\n\n")
    sys.stdout.writelines(f"{text}\n" for text in report.other_errors)
    sys.stdout.write(
        f"files: {report.parsed} parsed, {len(report.unparsed)} not, "
        f"{len(report.refused)} of the parsed refused by the checker, "
        f"{len(report.absent_files)} absent\n"
        f"cases: {report.agreeing} agreeing, {len(report.differing)} differing, "
        f"{report.absent_cases} absent\n"
        f"files that are not listed: {report.others}, with errors: {len(report.other_errors)}\n"
    )
    return 1 if report.unparsed or report.differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
