"""Runs the tests of rules, tells failures for people and as JUnit XML, and counts coverage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree

from baas_rules.cases import Access, Case
from baas_rules.coverage import Coverage
from baas_rules.decision import (
    OBJECT_SERVICE,
    AnyListRequest,
    Explanation,
    ListRequest,
    Lookup,
    ObjectListRequest,
    Request,
    ResourceDocument,
    Segments,
)
from baas_rules.ruleset import Ruleset
from baas_rules.yaml_values import TestFileError

_ROUNDS_MAX: Final = 20
_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Documents = dict[Lookup, ResourceDocument | None]


@dataclass(frozen=True, slots=True)
class CaseResult:
    """`failure` is empty if the test passed."""

    case: Case
    failure: str

    @property
    def passed(self) -> bool:
        return not self.failure


def run_cases(
    ruleset: Ruleset, cases: Sequence[Case], coverage: Coverage | None = None
) -> list[CaseResult]:
    """Every test, in order. Raises TestFileError if one cannot be: it updates what is missing."""
    return [_run(ruleset, case, coverage) for case in cases]


def _run(ruleset: Ruleset, case: Case, coverage: Coverage | None) -> CaseResult:
    explanations: list[Explanation] = []
    world = _World(case)
    for access in case.accesses:
        explanation = _explained(ruleset, case, access, world, coverage)
        explanations.append(explanation)
        if not explanation.allowed:
            break
    allowed = explanations[-1].allowed
    if allowed == case.allowed:
        return CaseResult(case, "")
    lines = [f"expected {'allow' if case.allowed else 'deny'} for {case.caller}"]
    for explanation in explanations if allowed else explanations[-1:]:
        lines.extend(str(explanation).splitlines())
        for attempt in explanation.attempts:
            if attempt.outcome == "granted":
                methods = ", ".join(attempt.methods)
                lines.append(
                    f"granted by allow {methods} (line {attempt.line}) of match {attempt.pattern}"
                )
    return CaseResult(case, "\n".join(lines))


class _World:
    """What is stored before and after the writes of one test."""

    def __init__(self, case: Case) -> None:
        objects = case.service == OBJECT_SERVICE
        self.before = {
            path: fields
            for path, fields in (case.objects if objects else case.documents).items()
            if fields is not None
        }
        self.after: dict[str, Any] = dict(self.before)
        self._documents = case.documents
        self._of_objects = objects
        for access in case.accesses:
            self._write(access)

    def _write(self, access: Access) -> None:
        old = self.after.get(access.path)
        if access.method == "delete":
            self.after.pop(access.path, None)
        elif access.data is not None:
            if access.method == "create" and old is not None and not self._of_objects:
                message = f"`{access.path}` exists: it can be set or updated"
                raise TestFileError(message, access.line)
            self.after[access.path] = access.data
        elif access.merge is not None:
            self.after[access.path] = _merged(old or {}, access.merge)
        if access.method == "update" and old is None:
            raise TestFileError(f"`{access.path}` does not exist", access.line)

    def find(self, lookup: Lookup) -> ResourceDocument | None:
        path = "/".join(lookup.path)
        if self._of_objects:
            fields = self._documents.get(path) if lookup.database == "(default)" else None
        else:
            fields = (self.after if lookup.after else self.before).get(path)
        return None if fields is None else ResourceDocument(lookup.path, fields)


def _merged(old: dict[str, Any], changes: Any) -> dict[str, Any]:
    made = dict(old)
    for name, value in changes.items():
        first, _, rest = name.partition(".")
        if not rest:
            made[first] = value
            continue
        inner = made.get(first)
        made[first] = _merged(inner if isinstance(inner, dict) else {}, {rest: value})
    return made


def _explained(
    ruleset: Ruleset, case: Case, access: Access, world: _World, coverage: Coverage | None
) -> Explanation:
    documents: Documents = {}
    asked = _asked(case, access, world)
    for _ in range(_ROUNDS_MAX):
        if isinstance(asked, Request):
            decision = ruleset.decide(asked, documents)
        else:
            decision = ruleset.prove_list(asked, documents)
        if not decision.missing:
            break
        documents.update((lookup, world.find(lookup)) for lookup in decision.missing)
    if isinstance(asked, Request):
        if coverage is not None:
            ruleset.cover(asked, documents, coverage)
        return ruleset.explain(asked, documents)
    if coverage is not None:
        ruleset.cover_list(asked, documents, coverage)
    return ruleset.explain_list(asked, documents)


def _asked(case: Case, access: Access, world: _World) -> Request | AnyListRequest:
    if access.method == "list":
        return _list(case, access)
    of_objects = case.service == OBJECT_SERVICE
    stored, after = world.before.get(access.path), world.after.get(access.path)
    method = access.method
    if method == "set":
        method = "create" if stored is None or of_objects else "update"
    written = method in ("create", "update")
    if of_objects:
        bucket, _, name = access.path.partition("/")
        return Request(
            method,
            ("b", bucket, "o", *name.split("/")),
            case.auth,
            case.time,
            _metadata(bucket, name, stored),
            _metadata(bucket, name, after) if written else None,
            service=OBJECT_SERVICE,
        )
    path: Segments = tuple(access.path.split("/"))
    return Request(
        method,
        path,
        case.auth,
        case.time,
        None if stored is None else ResourceDocument(path, stored),
        ResourceDocument(path, after) if written and after is not None else None,
        database=case.database,
    )


def _metadata(bucket: str, name: str, fields: Any) -> dict[str, Any] | None:
    """What an object has besides what the test says."""
    if fields is None:
        return None
    return {"bucket": bucket, "name": name, "size": 0, "metadata": {}, **fields}


def _list(case: Case, access: Access) -> AnyListRequest:
    if case.service == OBJECT_SERVICE:
        bucket, _, prefix = access.path.partition("/")
        return ObjectListRequest(bucket, prefix, case.auth, case.time)
    return ListRequest(
        collection=tuple(access.path.strip("/").split("/")),
        auth=case.auth,
        time=case.time,
        group=access.group,
        where=access.where,
        order_by=access.order_by,
        limit=access.limit,
        offset=access.offset,
        database=case.database,
    )


def junit(name: str, results: Sequence[CaseResult]) -> str:
    """The results as JUnit XML, which build servers read."""
    failures = sum(not result.passed for result in results)
    suite = ElementTree.Element(
        "testsuite",
        {"name": name, "tests": str(len(results)), "failures": str(failures), "errors": "0"},
    )
    for result in results:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {"name": _xml(result.case.name), "classname": name, "line": str(result.case.line)},
        )
        if not result.passed:
            first = result.failure.splitlines()[0]
            failure = ElementTree.SubElement(case, "failure", {"message": _xml(first)})
            failure.text = _xml(result.failure)
    return ElementTree.tostring(suite, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
