"""Rules tried out over HTTP, for administrators: the playground and the runner of tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from baas_rules import Auth, CaseResult, Explanation, Lookup
from baas_rules.coverage import Reached
from baas_rules.decision import DOCUMENT_SERVICE, METHODS, OBJECT_SERVICE
from baas_rules.limits import EXPRESSIONS_MAX

from baas.database.names import DEFAULT_DATABASE
from baas.encoding.json_values import decode_fields_tree, encode_fields_tree
from baas.http.accounts import NO_PARAMETERS
from baas.http.answers import Answer, json_answer
from baas.http.requests import Request
from baas.model.timestamps import Timestamp
from baas.model.values import Fields
from baas.services import rules_tests, rules_trials
from baas.services.explanations import cut_text, encode_explanation, valid_text
from baas.services.rules_trials import LIVE, Trial, TrialCaller, TrialResult
from baas.wire.documents import time_text
from baas.wire.objects import check_boolean, check_object, check_string, invalid
from baas.wire.queries import decode_query
from baas.wire.writes import decode_time

_SERVICES = {"documents": DOCUMENT_SERVICE, "objects": OBJECT_SERVICE}
_TRIAL = frozenset(
    {
        *("source", "service", "database", "bucket", "method", "path", "query", "by_folder"),
        *("caller", "before", "after", "documents", "time"),
    }
)
_CALLER = frozenset({"user", "uid", "claims"})
_TESTS = frozenset({"source", "tests"})
STEPS_MAX = 5_000  # shown of one explanation
ATTEMPTS_MAX = 500
DOCUMENTS_MAX = 100


async def explain_rules(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_TRIAL, required=("method",))
    result = await rules_trials.explain_trial(
        request.context, request.caller, request.params["project"], _decode_trial(members)
    )
    return json_answer(valid_text(_encode_result(result)))


async def test_rules(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_TESTS, required=("tests",))
    run = await rules_tests.run_rules_tests(
        request.context,
        request.caller,
        request.params["project"],
        check_string(members["tests"], "tests"),
        members.get("source"),
    )
    passed = sum(result.passed for result in run.results)
    tree = {
        "release": run.release,
        "passed": passed,
        "failed": len(run.results) - passed,
        "not_run": run.not_run,
        "results": [_encode_case(result) for result in run.results],
        "coverage": {
            "percent": round(run.coverage.percent(), 1),
            "statements": [_encode_reached(one) for one in run.coverage.statements],
            "expressions": [_encode_reached(one) for one in run.coverage.expressions],
        },
    }
    return json_answer(valid_text(tree))


# What is tried ------------------------------------------------------------------------------------


def _decode_trial(members: dict[str, Any]) -> Trial:
    method = check_string(members["method"], "method")
    if method not in METHODS:
        raise invalid("method", f"is one of {', '.join(METHODS)}")
    service = check_string(members.get("service", "documents"), "service")
    if service not in _SERVICES:
        raise invalid("service", "is `documents` or `objects`")
    of_objects = service == "objects"
    if ("database" if of_objects else "bucket") in members:
        raise invalid("database" if of_objects else "bucket", f"does not go with `{service}`")
    if of_objects and "bucket" not in members:
        raise invalid("bucket", "is missing", reason="MissingField")
    place = members["bucket"] if of_objects else members.get("database", DEFAULT_DATABASE)
    of_query = method == "list" and not of_objects
    if "path" not in members and not of_query:
        raise invalid("path", "is missing", reason="MissingField")
    time = members.get("time")
    return Trial(
        service=_SERVICES[service],
        place=check_string(place, "bucket" if of_objects else "database"),
        method=method,
        path=check_string(members.get("path", ""), "path"),
        query=decode_query(members["query"]) if of_query and "query" in members else None,
        by_folder=check_boolean(members.get("by_folder", False), "by_folder"),
        caller=decode_caller(members.get("caller")),
        before=decode_fields(members["before"], "before") if "before" in members else LIVE,
        after=decode_fields(members.get("after"), "after"),
        documents=decode_documents(members.get("documents", {})),
        time=None if time is None else decode_time(time, "time"),
        source=members.get("source"),
    )


def decode_caller(tree: Any) -> TrialCaller:
    if tree is None:
        return TrialCaller()
    members = check_object(tree, "caller", allowed=_CALLER)
    if ("user" in members) == ("uid" in members):
        raise invalid("caller", "has `user` or `uid`; without a caller nobody is signed in")
    claims = members.get("claims", {})
    if type(claims) is not dict:
        raise invalid("caller.claims", "must be an object")
    names = {
        name: check_string(members[name], f"caller.{name}", maximum=maximum)
        for name, maximum in (("user", 320), ("uid", 128))
        if name in members
    }
    return TrialCaller(**names, claims=claims)


def decode_fields(tree: Any, at: str) -> Fields | None:
    return None if tree is None else decode_fields_tree(tree, at)


def decode_documents(tree: Any) -> dict[str, Fields | None]:
    if type(tree) is not dict:
        raise invalid("documents", "must be an object of paths and fields")
    if len(tree) > DOCUMENTS_MAX:
        raise invalid("documents", f"has more than {DOCUMENTS_MAX} members", reason="TooMany")
    return {path: decode_fields(fields, f"documents.{path}") for path, fields in tree.items()}


# What came of it ----------------------------------------------------------------------------------


def _encode_result(result: TrialResult) -> dict[str, Any]:
    return {
        **encode_told(result.explanation, result.before, result.documents, steps_max=STEPS_MAX),
        **encode_asked(result.release, result.time, result.auth),
    }


def encode_asked(release: str | None, time: Timestamp, auth: Auth | None) -> dict[str, Any]:
    """What was asked, as whom, and when."""
    return {
        "release": release,
        "time": time_text(time.microseconds),
        "auth": None if auth is None else {"uid": auth.uid, "token": dict(auth.token)},
        "expressions_max": EXPRESSIONS_MAX,
    }


def encode_told(
    told: Explanation,
    before: Fields | None,
    documents: Mapping[Lookup, Fields | None],
    *,
    steps_max: int,
) -> dict[str, Any]:
    """One decision and its steps, with the documents that it rests on."""
    return {
        "allowed": told.allowed,
        "subject": told.subject,
        "before": encode_fields(before),
        **encode_explanation(told, steps_max=steps_max, attempts_max=ATTEMPTS_MAX),
        "lookups": [
            {
                "path": "/".join(found.lookup.path),
                "database": found.lookup.database or None,
                "after": found.lookup.after,
                "fields": encode_fields(documents.get(found.lookup)),
            }
            for found in told.lookups
        ],
    }


def encode_fields(fields: Fields | None) -> dict[str, Any] | None:
    return None if fields is None else encode_fields_tree(fields)


def _encode_case(result: CaseResult) -> dict[str, Any]:
    case = result.case
    return {
        "name": case.name,
        "line": case.line,
        "passed": result.passed,
        "failure": result.failure or None,
    }


def _encode_reached(one: Reached) -> dict[str, Any]:
    return {
        "text": cut_text(one.text),
        "line": one.line,
        "column": one.column,
        "true": one.true,
        "false": one.false,
        "error": one.error,
        "other": one.other,
        "gap": one.gap(),
    }
