"""The past of documents over HTTP, for administrators: versions, restores, erasures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from baas.database.names import DatabaseName
from baas.errors import InvalidArgument
from baas.http.answers import Answer, json_answer
from baas.http.jobs import encode_job
from baas.http.requests import Request, integer_parameter
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.timestamps import Timestamp
from baas.projects.erasures import Erasure
from baas.services import erasures, past, restores
from baas.services.past import DocumentVersion
from baas.wire.documents import time_text
from baas.wire.jobs import decode_subtree
from baas.wire.objects import check_array, check_boolean, check_object, check_string
from baas.wire.writes import decode_document_path, decode_time

_NO_PARAMETERS: frozenset[str] = frozenset()
_PAGE = frozenset({"page_size", "page_token"})
_HISTORY = _PAGE | {"path"}
_RESTORE = frozenset({"path", "at", "recursive"})
_PLAN = _RESTORE | {"page_token"}
_HOW = frozenset({"present", "rewrite"})
_ERASE = _HOW | {"path"}
_BATCH_ERASE = _HOW | {"documents"}


async def list_versions(request: Request) -> Answer:
    query = request.query(_HISTORY)
    if "path" not in query:
        raise InvalidArgument("`path` names a document", reason="InvalidParameter")
    page = await past.list_versions(
        request.context,
        request.caller,
        _name(request),
        DocumentPath.parse(query["path"]),
        page_size=integer_parameter(query, "page_size", 100, minimum=1, maximum=1_000),
        page_token=query.get("page_token"),
    )
    tree: dict[str, Any] = {"versions": [_encode_version(version) for version in page.versions]}
    if page.next_page_token is not None:
        tree["next_page_token"] = page.next_page_token
    return json_answer(tree)


async def plan_restore(request: Request) -> Answer:
    members = await _read_members(request, _PLAN)
    path, at, recursive = _read_restore(members)
    token = members.get("page_token")
    plan = await restores.plan_restore(
        request.context,
        request.caller,
        _name(request),
        path,
        at,
        recursive=recursive,
        page_token=None if token is None else check_string(token, "page_token"),
    )
    tree: dict[str, Any] = {
        "created": plan.created,
        "updated": plan.updated,
        "deleted": plan.deleted,
        "erased": plan.erased,
        "changes": [{"path": str(one.path), "kind": one.kind} for one in plan.changes],
    }
    if plan.next_page_token is not None:
        tree["next_page_token"] = plan.next_page_token
    return json_answer(tree)


async def restore(request: Request) -> Answer:
    path, at, recursive = _read_restore(await _read_members(request, _RESTORE))
    job = await restores.start_restore(
        request.context, request.caller, _name(request), path, at, recursive=recursive
    )
    return json_answer(encode_job(job), status=202)


async def erase(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_ERASE, required=("path",))
    path = decode_document_path(members["path"], "path")
    (erasure,) = await _erase(request, [path], members)
    return json_answer(_encode_erasure(erasure))


async def batch_erase(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(
        await request.read_json(), "", allowed=_BATCH_ERASE, required=("documents",)
    )
    maximum = request.context.settings.limits.erase_documents_max
    texts = check_array(members["documents"], "documents", maximum=maximum)
    paths = [
        decode_document_path(text, f"documents[{number}]") for number, text in enumerate(texts)
    ]
    found = await _erase(request, paths, members)
    return json_answer({"erasures": [_encode_erasure(erasure) for erasure in found]})


async def _erase(
    request: Request, paths: Sequence[DocumentPath], members: Mapping[str, Any]
) -> list[Erasure]:
    return await erasures.erase_documents(
        request.context,
        request.caller,
        _name(request),
        paths,
        present=check_boolean(members.get("present", False), "present"),
        rewrite=check_boolean(members.get("rewrite", False), "rewrite"),
    )


async def list_erasures(request: Request) -> Answer:
    query = request.query(_PAGE)
    page = await erasures.list_erasures(
        request.context,
        request.caller,
        _name(request),
        page_size=integer_parameter(query, "page_size", 100, minimum=1, maximum=1_000),
        page_token=query.get("page_token"),
    )
    tree: dict[str, Any] = {"erasures": [_encode_erasure(erasure) for erasure in page.erasures]}
    if page.next_page_token is not None:
        tree["next_page_token"] = page.next_page_token
    return json_answer(tree)


async def _read_members(request: Request, allowed: frozenset[str]) -> Mapping[str, Any]:
    request.query(_NO_PARAMETERS)
    return check_object(await request.read_json(), "", allowed=allowed, required=("path", "at"))


def _read_restore(
    members: Mapping[str, Any],
) -> tuple[CollectionPath | DocumentPath, Timestamp, bool]:
    return (
        decode_subtree(check_string(members["path"], "path")),
        decode_time(members["at"], "at"),
        check_boolean(members.get("recursive", False), "recursive"),
    )


def _encode_version(version: DocumentVersion) -> dict[str, Any]:
    return {
        "time": time_text(version.time.microseconds),
        "kind": version.kind.value,
        "bytes": version.size,
        "erased": version.is_erased,
    }


def _encode_erasure(erasure: Erasure) -> dict[str, Any]:
    return {
        "id": erasure.id,
        "path": erasure.path,
        "query": None if erasure.query is None else orjson.loads(erasure.query),
        "present": erasure.present,
        "documents": erasure.documents,
        "images": erasure.images,
        "author": erasure.author,
        "time": time_text(erasure.time.microseconds),
    }


def _name(request: Request) -> DatabaseName:
    request.database = request.params["database"]
    return request.database_name
