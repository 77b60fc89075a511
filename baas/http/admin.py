"""Administration over HTTP: administrators, projects, keys, databases, users."""

from __future__ import annotations

from typing import Any

from baas.accounts.admins import Admin, AdminSession
from baas.http.accounts import NO_PARAMETERS, encode_moment, encode_user, read_credentials
from baas.http.answers import Answer, json_answer
from baas.http.requests import Request, integer_parameter
from baas.model.paths import DocumentPath
from baas.projects.records import ApiKey, Project
from baas.services import accounts, admins, documents, projects
from baas.wire.documents import time_text
from baas.wire.objects import check_boolean, check_object

_SETUP = frozenset({"token", "email", "password"})
_PROJECT = frozenset({"id", "name", "origins", "engine"})
_PROJECT_CHANGE = frozenset({"name", "origins"})
_KEY = frozenset({"kind", "name"})
_DATABASE = frozenset({"id"})
_USER_CHANGE = frozenset({"disabled", "email_verified", "password", "claims"})
_PAGE = frozenset({"page_size", "page_token"})
_USERS = _PAGE | {"email"}
_PARENT = frozenset({"parent"})


# Administrators


async def set_up(request: Request) -> Answer:
    members = await _body(request, _SETUP, ("token", "email", "password"))
    session = await admins.set_up(
        request.context, members["token"], members["email"], members["password"]
    )
    return json_answer(_encode_session(session), status=201)


async def sign_in_admin(request: Request) -> Answer:
    email, password = await read_credentials(request)
    session = await admins.sign_in(request.context, email, password, address=request.address)
    return json_answer(_encode_session(session))


async def sign_out_admin(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    await admins.sign_out(request.context, request.caller)
    return json_answer({})


async def get_admin(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    admin = await admins.get_me(request.context, request.caller)
    if admin is None:
        return json_answer({"id": "operator", "email": None, "created": None})
    return json_answer(_encode_admin(admin))


async def list_admins(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    found = await admins.list_admins(request.context, request.caller)
    return json_answer({"admins": [_encode_admin(admin) for admin in found]})


async def create_admin(request: Request) -> Answer:
    email, password = await read_credentials(request)
    admin = await admins.create_admin(request.context, request.caller, email, password)
    return json_answer(_encode_admin(admin), status=201)


async def start_incarnations(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    found = await projects.start_incarnations(request.context, request.caller)
    return json_answer(
        {
            "databases": [
                {"project": name.project, "database": name.database, "incarnation": incarnation}
                for name, incarnation in found
            ]
        }
    )


# Projects


async def list_projects(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    found = await projects.list_projects(request.context, request.caller)
    return json_answer({"projects": [_encode_project(request, one) for one in found]})


async def create_project(request: Request) -> Answer:
    members = await _body(request, _PROJECT, ("id",))
    project = await projects.create_project(
        request.context,
        request.caller,
        members["id"],
        name=members.get("name", ""),
        origins=members.get("origins", []),
        engine=members.get("engine"),
    )
    return json_answer(_encode_project(request, project), status=201)


async def get_project(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    project = await projects.get_project(request.context, request.caller, request.params["project"])
    return json_answer(_encode_project(request, project))


async def update_project(request: Request) -> Answer:
    members = await _body(request, _PROJECT_CHANGE)
    project = await projects.update_project(
        request.context,
        request.caller,
        request.params["project"],
        name=members.get("name"),
        origins=members.get("origins"),
    )
    return json_answer(_encode_project(request, project))


async def delete_project(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    await projects.delete_project(request.context, request.caller, request.params["project"])
    return json_answer({})


async def list_keys(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    keys = await projects.list_keys(request.context, request.caller, request.params["project"])
    return json_answer({"keys": [_encode_key(key, key.text) for key in keys]})


async def create_key(request: Request) -> Answer:
    members = await _body(request, _KEY, ("kind",))
    key, text = await projects.create_key(
        request.context,
        request.caller,
        request.params["project"],
        kind=members["kind"],
        name=members.get("name", ""),
    )
    return json_answer(_encode_key(key, text), status=201)


async def revoke_key(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    params = request.params
    await projects.revoke_key(request.context, request.caller, params["project"], params["id"])
    return json_answer({})


async def list_databases(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    found = await projects.list_databases(
        request.context, request.caller, request.params["project"]
    )
    return json_answer({"databases": [{"id": identifier} for identifier in found]})


async def create_database(request: Request) -> Answer:
    members = await _body(request, _DATABASE, ("id",))
    identifier = await projects.create_database(
        request.context, request.caller, request.params["project"], members["id"]
    )
    return json_answer({"id": identifier}, status=201)


async def list_collections(request: Request) -> Answer:
    parent = request.query(_PARENT).get("parent")
    request.database = request.params["database"]
    found = await documents.list_collection_ids(
        request.context,
        request.caller,
        request.database_name,
        None if not parent else DocumentPath.parse(parent),
    )
    return json_answer({"collections": found})


# Users


async def list_users(request: Request) -> Answer:
    query = request.query(_USERS)
    project = request.params["project"]
    if "email" in query:
        found = await accounts.find_user(request.context, request.caller, project, query["email"])
        return json_answer({"users": [] if found is None else [encode_user(found)]})
    page = await accounts.list_users(
        request.context,
        request.caller,
        project,
        page_size=integer_parameter(query, "page_size", 100, minimum=1, maximum=1_000),
        page_token=query.get("page_token"),
    )
    tree: dict[str, Any] = {"users": [encode_user(user) for user in page.users]}
    if page.next_page_token is not None:
        tree["next_page_token"] = page.next_page_token
    return json_answer(tree)


async def create_user(request: Request) -> Answer:
    email, password = await read_credentials(request)
    user = await accounts.create_user(
        request.context, request.caller, request.params["project"], email, password
    )
    return json_answer(encode_user(user), status=201)


async def get_user(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    params = request.params
    user = await accounts.get_user(
        request.context, request.caller, params["project"], params["uid"]
    )
    return json_answer(encode_user(user))


async def update_user(request: Request) -> Answer:
    members = await _body(request, _USER_CHANGE)
    flags = {
        name: check_boolean(members[name], name)
        for name in ("disabled", "email_verified")
        if name in members
    }
    params = request.params
    user = await accounts.update_user(
        request.context,
        request.caller,
        params["project"],
        params["uid"],
        disabled=flags.get("disabled"),
        email_verified=flags.get("email_verified"),
        password=members.get("password"),
        claims=members.get("claims"),
    )
    return json_answer(encode_user(user))


async def delete_user(request: Request) -> Answer:
    request.query(NO_PARAMETERS)
    params = request.params
    await accounts.delete_user(request.context, request.caller, params["project"], params["uid"])
    return json_answer({})


# In JSON


async def _body(
    request: Request, allowed: frozenset[str], required: tuple[str, ...] = ()
) -> dict[str, Any]:
    request.query(NO_PARAMETERS)
    return check_object(await request.read_json(), "", allowed=allowed, required=required)


def _encode_admin(admin: Admin) -> dict[str, Any]:
    return {"id": admin.id, "email": admin.email, "created": encode_moment(admin.created)}


def _encode_session(session: AdminSession) -> dict[str, Any]:
    return {
        "token": session.token,
        "expires_at": time_text(session.expires_at * 1_000_000),
        "admin": _encode_admin(session.admin),
    }


def _encode_project(request: Request, project: Project) -> dict[str, Any]:
    place = project.place or request.context.databases.placements.own
    return {
        "id": project.id,
        "name": project.name,
        "origins": list(project.origins),
        "databases": list(project.databases),
        "created": encode_moment(project.created),
        "engine": place.engine,
        "node": place.node,
        "moving": project.moving,
    }


def _encode_key(key: ApiKey, text: str | None) -> dict[str, Any]:
    return {
        "id": key.id,
        "kind": key.kind.value,
        "name": key.name,
        "prefix": key.prefix,
        "key": text,
        "created": encode_moment(key.created),
        "revoked": encode_moment(key.revoked),
    }
