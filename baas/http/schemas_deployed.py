"""Schemas of a project's documents over HTTP, for administrators: read, check, deploy, history."""

from __future__ import annotations

from typing import Any

from baas.errors import InvalidArgument
from baas.http.accounts import NO_PARAMETERS, encode_moment
from baas.http.answers import Answer, json_answer
from baas.http.jobs import encode_job
from baas.http.requests import Request
from baas.projects.schema_releases import SchemaDeployment, SchemaNote, SchemaRelease
from baas.services import schema_deployments, schemas
from baas.services.schemas import ReleasesDiff
from baas.wire.objects import check_array, check_boolean, check_integer, check_object, check_string

_DEPLOYMENT = frozenset({"schemas", "message", "if_release", "allow_existing"})
_DIFF = frozenset({"from", "to"})
_DIFFED = frozenset({"schemas", "from"})
_CHECK = frozenset({"schemas", "page_size", "page_token"})


async def get_schemas(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    release = await schemas.get_schemas(request.context, request.caller, request.params["project"])
    return json_answer(_encode_release(release))


async def get_schema_release(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    params = request.params
    release = await schemas.get_schemas(
        request.context, request.caller, params["project"], params["id"]
    )
    return json_answer(_encode_release(release))


async def deploy_schemas(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    tree = await request.read_json()
    members = check_object(tree, "", allowed=_DEPLOYMENT, required=("schemas",))
    release = await schema_deployments.deploy_schemas(
        request.context,
        request.caller,
        request.params["project"],
        _sources(request, members),
        _deployment(members),
        allow_existing=check_boolean(members.get("allow_existing", False), "allow_existing"),
    )
    return json_answer(_encode_release(release))


async def start_deployment(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    allowed = _DEPLOYMENT | {"dry_run"}
    members = check_object(await request.read_json(), "", allowed=allowed, required=("schemas",))
    job = await schema_deployments.start_deployment(
        request.context,
        request.caller,
        request.params["project"],
        _sources(request, members),
        _deployment(members),
        allow_existing=check_boolean(members.get("allow_existing", False), "allow_existing"),
        dry_run=check_boolean(members.get("dry_run", False), "dry_run"),
    )
    return json_answer(encode_job(job), status=202)


async def diff_schema_releases(request: Request) -> Answer:
    query = request.query(_DIFF)
    if "from" not in query:
        raise InvalidArgument(
            "`from` names the older release", reason="InvalidParameter", details={"field": "from"}
        )
    found = await schemas.diff_releases(
        request.context, request.caller, request.params["project"], query["from"], query.get("to")
    )
    return json_answer(_encode_diff(found))


async def diff_schemas(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_DIFFED, required=("schemas",))
    old = members.get("from")
    found = await schemas.diff_sources(
        request.context,
        request.caller,
        request.params["project"],
        _sources(request, members),
        None if old is None else check_string(old, "from"),
    )
    return json_answer(_encode_diff(found))


async def list_schema_releases(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    notes = await schemas.list_releases(request.context, request.caller, request.params["project"])
    return json_answer({"releases": [_encode_note(note) for note in notes]})


async def check_documents(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_CHECK, required=())
    request.database = request.params["database"]
    most = schemas.CHECK_PAGE_MAX
    token = members.get("page_token")
    page = await schemas.check_documents(
        request.context,
        request.caller,
        request.database_name,
        _sources(request, members) if "schemas" in members else None,
        page_size=check_integer(
            members.get("page_size", most), "page_size", minimum=1, maximum=most
        ),
        page_token=None if token is None else check_string(token, "page_token"),
    )
    tree: dict[str, Any] = {
        "checked": page.checked,
        "failed": page.failed,
        "found": page.found,
        "waiting": page.is_waiting,
    }
    if page.next_page_token is not None:
        tree["next_page_token"] = page.next_page_token
    return json_answer(tree)


def _sources(request: Request, members: dict[str, Any]) -> list[Any]:
    maximum = request.context.settings.limits.schemas_max
    return check_array(members["schemas"], "schemas", maximum=maximum)


def _deployment(members: dict[str, Any]) -> SchemaDeployment:
    if_release = members.get("if_release")
    return SchemaDeployment(
        message=check_string(members.get("message", ""), "message"),
        if_release=None if if_release is None else check_string(if_release, "if_release"),
    )


def _encode_diff(found: ReleasesDiff) -> dict[str, Any]:
    diff = found.diff
    return {
        "from": found.old,
        "to": found.new,
        "added": diff.added,
        "changed": diff.changed,
        "removed": diff.removed,
        "diff": diff.text,
    }


def _encode_release(release: SchemaRelease) -> dict[str, Any]:
    return {**_encode_note(release.note), "schemas": release.sources}


def _encode_note(note: SchemaNote) -> dict[str, Any]:
    return {
        "release": note.id,
        "deployed_at": encode_moment(note.deployed),
        "author": note.author,
        "message": note.message,
    }
