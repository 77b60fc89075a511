"""Jobs over HTTP, for administrators, and for secret keys below their project."""

from __future__ import annotations

from typing import Any

import orjson

from baas.http.answers import Answer, json_answer
from baas.http.idempotency import read_key
from baas.http.requests import Request, parse_body
from baas.projects.jobs import Job, JobKind
from baas.services import jobs
from baas.services.erasing_jobs import EraseByQuery
from baas.services.jobs import UpdateByQuery
from baas.wire.documents import time_text
from baas.wire.jobs import decode_subtree, decode_update_by_query
from baas.wire.objects import check_boolean, check_object, check_string
from baas.wire.queries import decode_query

_NO_PARAMETERS: frozenset[str] = frozenset()
_PATH = frozenset({"path"})
_ERASE_HOW = ("present", "deleted", "rewrite")
_ERASE = frozenset({"query", *_ERASE_HOW})


async def start_deletion(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    body = await request.read_body()
    members = check_object(parse_body(body), "", allowed=_PATH, required=("path",))
    job = await jobs.start_deletion(
        request.context,
        request.caller,
        request.database_name,
        decode_subtree(check_string(members["path"], "path")),
        request_id=read_key(request, body).id,
    )
    return json_answer(encode_job(job), status=202)


async def delete_recursive(request: Request) -> Answer:
    request.database = request.params["database"]
    return await start_deletion(request)


async def start_update(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    body = await request.read_body()
    tree = parse_body(body)
    job = await jobs.start_update(
        request.context,
        request.caller,
        request.database_name,
        UpdateByQuery(*decode_update_by_query(tree)),
        orjson.dumps(tree).decode(),
        request_id=read_key(request, body).id,
    )
    return json_answer(encode_job(job), status=202)


async def update_by_query(request: Request) -> Answer:
    request.database = request.params["database"]
    return await start_update(request)


async def erase_by_query(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_ERASE, required=("query",))
    how = [check_boolean(members.get(name, False), name) for name in _ERASE_HOW]
    asked = EraseByQuery(decode_query(members["query"]), *how)
    request.database = request.params["database"]
    job = await jobs.start_erasure(
        request.context, request.caller, request.database_name, asked, members["query"]
    )
    return json_answer(encode_job(job), status=202)


async def list_jobs(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    found = await jobs.list_jobs(request.context, request.caller, request.params["project"])
    return json_answer({"jobs": [encode_job(job, is_listed=True) for job in found]})


async def get_job(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    params = request.params
    job = await jobs.get_job(request.context, request.caller, params["project"], params["id"])
    return json_answer(encode_job(job))


async def cancel_job(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    params = request.params
    job = await jobs.cancel_job(request.context, request.caller, params["project"], params["id"])
    return json_answer(encode_job(job))


async def list_own_jobs(request: Request) -> Answer:
    return await list_jobs(request)


async def get_own_job(request: Request) -> Answer:
    return await get_job(request)


async def cancel_own_job(request: Request) -> Answer:
    return await cancel_job(request)


def encode_job(job: Job, *, is_listed: bool = False) -> dict[str, Any]:
    """What a caller sees of a job; in a list, not all that it has to tell."""
    progress = job.progress
    found = [] if is_listed else orjson.loads(job.found)
    return {
        "id": job.id,
        "kind": job.kind.value,
        "database": job.database,
        "asked": orjson.loads(job.spec),
        "state": job.state.value,
        "error": job.error,
        "author": job.author,
        "created": time_text(job.created.microseconds),
        "updated": time_text(job.updated.microseconds),
        "progress": {
            "seen": progress.seen,
            "written": progress.written,
            "failed": progress.failed,
            "total": progress.total,
            "first_failure": progress.first_failure,
            **({"images": progress.images} if job.kind is JobKind.ERASE_BY_QUERY else {}),
        },
        **({"found": found} if found else {}),
    }
