"""Rules of a project over HTTP, for administrators: read, check, deploy, history, rollback."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from typing import Any, assert_never

import orjson

from baas.errors import InvalidArgument
from baas.http.accounts import NO_PARAMETERS, encode_moment
from baas.http.answers import Answer, StreamAnswer, json_answer
from baas.http.requests import Request, integer_parameter
from baas.projects.rulesets import Deployment, Release, ReleaseNote
from baas.services import rules_audit, rulesets
from baas.wire.objects import check_boolean, check_object, check_string

_DEPLOYMENT = frozenset({"message", "allow_open", "if_release"})
_RULES = _DEPLOYMENT | {"source"}
_ROLLBACK = _DEPLOYMENT | {"release"}
_SOURCE = frozenset({"source"})
_PAGE = frozenset({"page_size", "page_token"})
_AUDIT = frozenset({"sample"})
_DIFF = frozenset({"from", "to"})
RELEASES_PAGE_MAX = 100


async def get_rules(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    release = await rulesets.get_rules(request.context, request.caller, request.params["project"])
    return json_answer(_encode_release(release))


async def deploy_rules(request: Request) -> Answer:
    members = await _body(request, _RULES, ("source",))
    release = await rulesets.deploy_rules(
        request.context,
        request.caller,
        request.params["project"],
        check_string(members["source"], "source"),
        _decode_deployment(members),
    )
    return json_answer(_encode_release(release))


async def roll_back_rules(request: Request) -> Answer:
    members = await _body(request, _ROLLBACK, ("release",))
    release = await rulesets.roll_back_rules(
        request.context,
        request.caller,
        request.params["project"],
        check_string(members["release"], "release"),
        _decode_deployment(members),
    )
    return json_answer(_encode_release(release))


async def check_rules(request: Request) -> Answer:
    members = await _body(request, _SOURCE, ("source",))
    found = await rulesets.check_rules(
        request.context,
        request.caller,
        request.params["project"],
        check_string(members["source"], "source"),
    )
    return json_answer({"diagnostics": found})


async def list_releases(request: Request) -> Answer:
    query = request.query(_PAGE)
    page = await rulesets.list_releases(
        request.context,
        request.caller,
        request.params["project"],
        page_size=integer_parameter(query, "page_size", 20, minimum=1, maximum=RELEASES_PAGE_MAX),
        page_token=query.get("page_token"),
    )
    tree: dict[str, Any] = {
        "releases": [_encode_note(note, note.id == page.in_force) for note in page.notes]
    }
    if page.next_token is not None:
        tree["next_page_token"] = page.next_token
    return json_answer(tree)


async def get_release(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    params = request.params
    past = await rulesets.get_past_release(
        request.context, request.caller, params["project"], params["id"]
    )
    return json_answer({**_encode_note(past.note, past.is_in_force), "source": past.source})


async def diff_releases(request: Request) -> Answer:
    query = request.query(_DIFF)
    if "from" not in query:
        raise InvalidArgument(
            "`from` names the older release", reason="InvalidParameter", details={"field": "from"}
        )
    found = await rulesets.diff_releases(
        request.context,
        request.caller,
        request.params["project"],
        query["from"],
        query.get("to"),
    )
    return json_answer({"from": found.old, "to": found.new, "diff": found.diff})


async def audit_rules(request: Request) -> StreamAnswer:
    query = request.query(_AUDIT)
    events = await rules_audit.audit_rules(
        request.context,
        request.caller,
        request.params["project"],
        sample=integer_parameter(
            query,
            "sample",
            rules_audit.SAMPLE_DEFAULT,
            minimum=1,
            maximum=rules_audit.SAMPLE_MAX,
        ),
    )
    return StreamAnswer(_audit_lines(events))


async def _audit_lines(events: AsyncGenerator[rules_audit.AuditEvent]) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        async for event in events:
            yield orjson.dumps(_encode_audit(event), option=orjson.OPT_APPEND_NEWLINE)


def _encode_audit(event: rules_audit.AuditEvent) -> dict[str, Any]:
    match event:
        case rules_audit.Finding():
            return {"finding": asdict(event)}
        case rules_audit.AuditProgress():
            return {"progress": asdict(event)}
        case rules_audit.AuditDone():
            return {"done": asdict(event)}
        case _:
            assert_never(event)


async def _body(
    request: Request, allowed: frozenset[str], required: tuple[str, ...]
) -> dict[str, Any]:
    request.query(NO_PARAMETERS)
    return check_object(await request.read_json(), "", allowed=allowed, required=required)


def _decode_deployment(members: dict[str, Any]) -> Deployment:
    if_release = members.get("if_release")
    return Deployment(
        message=check_string(members.get("message", ""), "message"),
        allow_open=check_boolean(members.get("allow_open", False), "allow_open"),
        if_release=None if if_release is None else check_string(if_release, "if_release"),
    )


def _encode_release(release: Release) -> dict[str, Any]:
    note = release.note
    return {
        "source": release.source,
        "ruleset": note.id,
        "deployed_at": encode_moment(note.deployed),
        "author": note.author,
        "message": note.message,
        "rollback_of": note.rollback_of,
    }


def _encode_note(note: ReleaseNote, in_force: bool) -> dict[str, Any]:
    return {
        "release": note.id,
        "deployed_at": encode_moment(note.deployed),
        "author": note.author,
        "message": note.message,
        "rollback_of": note.rollback_of,
        "in_force": in_force,
    }
