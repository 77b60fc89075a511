"""Documents over HTTP: bodies and parameters to use cases, their results to bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

import orjson

from baas.database.presentation import project
from baas.database.transaction import CommitResult
from baas.encoding.documents import StoredDocument
from baas.errors import InvalidArgument, InvalidPath, NotFound
from baas.http import names, transactions
from baas.http.answers import Answer, json_answer
from baas.http.idempotency import NO_KEY, RequestKey, digest, read_key
from baas.http.requests import Request, boolean_parameter, integer_parameter, parse_body
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.timestamps import Timestamp
from baas.model.writes import NO_PRECONDITION, DeleteWrite, Precondition, Write, WriteResult
from baas.services import documents, past, queries
from baas.services.bulk_writes import Outcome
from baas.services.bulk_writes import bulk_write as write_in_bulk
from baas.services.transactions import DocumentsRead
from baas.wire.documents import (
    encode_document,
    encode_documents,
    encode_new_time,
    encode_time,
    time_text,
)
from baas.wire.errors import encode_error
from baas.wire.objects import check_array, check_object, check_string, invalid
from baas.wire.queries import decode_field_paths, read_field_paths
from baas.wire.writes import (
    decode_commit,
    decode_create,
    decode_document_path,
    decode_set,
    decode_time,
    decode_update,
    encode_write_result,
)

_NO_PARAMETERS: frozenset[str] = frozenset()
_GET_PARAMETERS = frozenset({"read_time", "select"})
_LIST_PARAMETERS = frozenset({"page_size", "page_token", "total", "show_missing"})
_DELETE_PARAMETERS = frozenset({"update_time", "exists"})
_CREATE_PARAMETERS = frozenset({"id"})
_COMMIT = frozenset({"writes", "request_id", "transaction", "reads", "queries", "aggregations"})
_BULK_WRITE = frozenset({"writes", "request_id"})
_BATCH_GET = frozenset({"documents", "transaction", "read_time", "select"})
_PROJECTIONS_PER_TURN = 20
PAGE_SIZE_DEFAULT = 100


async def get_document(request: Request) -> Answer:
    query = request.query(_GET_PARAMETERS)
    path = DocumentPath.parse(request.document_path)
    select = read_field_paths(query["select"], "select") if "select" in query else None
    if "read_time" in query:
        time = decode_time(query["read_time"], "read_time")
        (document,) = (await _get_at(request, [path], time)).documents
    else:
        document = await documents.get_document(
            request.context, request.caller, request.database_name, path
        )
    if document is None:
        raise NotFound(f"no document at `{path}`", reason="DocumentNotFound")
    return Answer(encode_document(document if select is None else project(document, select)))


async def list_documents(request: Request) -> Answer:
    query = request.query(_LIST_PARAMETERS)
    maximum = request.context.settings.limits.query_page_documents_max
    size = integer_parameter(query, "page_size", PAGE_SIZE_DEFAULT, minimum=1, maximum=maximum)
    with_total = boolean_parameter(query, "total") is True
    if boolean_parameter(query, "show_missing"):
        if with_total:
            raise InvalidArgument(
                "`total` counts documents that exist; it does not go with `show_missing`",
                reason="InvalidParameter",
            )
        return await names.list_children(
            request, page_size=size, page_token=query.get("page_token")
        )
    page = await queries.list_documents(
        request.context,
        request.caller,
        request.database_name,
        CollectionPath.parse(request.document_path),
        page_size=size,
        page_token=query.get("page_token"),
        with_total=with_total,
    )
    rest = b"" if page.total is None else b',"total":%d' % page.total
    if page.next_token is not None:
        rest += b',"next_page_token":"%b"' % page.next_token.encode()
    return Answer(
        b'{"documents":%b,"read_time":%b%b}'
        % (encode_documents(page.documents), encode_time(page.read_time.microseconds), rest)
    )


async def create_document(request: Request) -> Answer:
    document_id = request.query(_CREATE_PARAMETERS).get("id")
    new_paths: tuple[DocumentPath, ...] = ()
    collection = CollectionPath.parse(request.document_path)
    body = await request.read_body()
    key = read_key(request, body)
    if document_id is None and key.id is not None:
        path = documents.document_path_of(request.caller, key.id, key.digest, collection)
    elif document_id is None:
        path = documents.new_document_path(request.context, collection)
        new_paths = (path,)
    else:
        if "/" in document_id:
            raise InvalidPath("a document id cannot contain `/`")
        path = DocumentPath.parse(f"{request.document_path}/{document_id}")
    write = decode_create(path, parse_body(body))
    return _tell(write, await _commit(request, write, key, new_paths), status=201)


async def set_document(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    path = DocumentPath.parse(request.document_path)
    body = await request.read_body()
    write = decode_set(path, parse_body(body))
    return _tell(write, await _commit(request, write, read_key(request, body)))


async def update_document(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    path = DocumentPath.parse(request.document_path)
    body = await request.read_body()
    write = decode_update(path, parse_body(body))
    return _tell(write, await _commit(request, write, read_key(request, body)))


async def delete_document(request: Request) -> Answer:
    query = request.query(_DELETE_PARAMETERS)
    if len(query) > 1:
        raise InvalidArgument("`exists` and `update_time` exclude each other", reason="InvalidBody")
    precondition = NO_PRECONDITION
    if "update_time" in query:
        precondition = Precondition(update_time=decode_time(query["update_time"], "update_time"))
    elif "exists" in query:
        precondition = Precondition(exists=boolean_parameter(query, "exists"))
    path = DocumentPath.parse(request.document_path)
    write = DeleteWrite(path, precondition)
    return _tell(write, await _commit(request, write, read_key(request, b"")))


async def commit(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    body = await request.read_body()
    members = check_object(parse_body(body), "", allowed=_COMMIT, required=("writes",))
    limits = request.context.settings.limits
    writes = decode_commit(members["writes"], writes_max=limits.commit_writes_max)
    key = read_commit_key(request, members, body)
    if "transaction" in members:
        result = await transactions.commit(request, writes, members, key)
    else:
        transactions.check_no_reads(members)
        result = await documents.commit(
            request.context,
            request.caller,
            request.database_name,
            writes,
            request_id=key.id,
            request_digest=key.digest,
        )
    return json_answer(
        {
            # A commit of nothing to an empty database has no version.
            "commit_time": time_text(
                documents.read_time(request.context, result.version).microseconds
            ),
            "write_results": [encode_write_result(item) for item in result.write_results],
        }
    )


async def bulk_write(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    body = await request.read_body()
    members = check_object(parse_body(body), "", allowed=_BULK_WRITE, required=("writes",))
    writes = decode_commit(
        members["writes"], writes_max=request.context.settings.limits.commit_writes_max
    )
    key = read_commit_key(request, members, body)
    outcomes = await write_in_bulk(
        request.context,
        request.caller,
        request.database_name,
        writes,
        request_id=key.id,
        request_digest=key.digest,
    )
    return json_answer({"results": _encode_outcomes(request, outcomes)})


def _encode_outcomes(request: Request, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Most writes of a request have one and the same result."""
    found: list[dict[str, Any]] = []
    last: Outcome | None = None
    for outcome in outcomes:
        if outcome is not last:
            last, tree = outcome, _encode_outcome(request, outcome)
        found.append(tree)
    return found


def _encode_outcome(request: Request, outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, WriteResult):
        return encode_write_result(outcome)
    request.context.denials.note(request.id, outcome)
    return encode_error(outcome, request.id)


async def batch_get(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(
        await request.read_json(), "", allowed=_BATCH_GET, required=("documents",)
    )
    maximum = request.context.settings.limits.batch_get_documents_max
    paths = [
        decode_document_path(item, f"documents[{index}]")
        for index, item in enumerate(
            check_array(members["documents"], "documents", maximum=maximum)
        )
    ]
    select = None
    if "select" in members:
        select = decode_field_paths(members["select"], "select")
    rest = b""
    found: documents.DocumentsAtTime | DocumentsRead
    if "transaction" in members and "read_time" in members:
        raise invalid("read_time", "does not go with `transaction`, which has a time of its own")
    if "read_time" in members:
        time = decode_time(members["read_time"], "read_time")
        found = await _get_at(request, paths, time)
    elif "transaction" in members:
        found = await transactions.get_documents(request, paths, members["transaction"])
        rest = b',"transaction":"%b"' % found.token.encode()
    else:
        found = await documents.get_documents(
            request.context, request.caller, request.database_name, paths
        )
    shown = found.documents if select is None else await _project_all(found.documents, select)
    items = [
        b'{"path":%b,"document":%b}'
        % (orjson.dumps(str(path)), b"null" if document is None else encode_document(document))
        for path, document in zip(paths, shown, strict=True)
    ]
    return Answer(
        b'{"documents":[%b],"read_time":%b%b}'
        % (b",".join(items), encode_time(found.read_time.microseconds), rest)
    )


async def _project_all(
    found: Sequence[StoredDocument | None], select: tuple[FieldPath, ...]
) -> list[StoredDocument | None]:
    shown = []
    for number, document in enumerate(found, 1):
        shown.append(None if document is None else project(document, select))
        if number % _PROJECTIONS_PER_TURN == 0:
            await asyncio.sleep(0)  # they may be large; others get their turn
    return shown


async def _get_at(
    request: Request, paths: list[DocumentPath], time: Timestamp
) -> documents.DocumentsAtTime:
    return await past.get_documents_at(
        request.context, request.caller, request.database_name, paths, time
    )


def read_commit_key(request: Request, members: dict[str, Any], body: bytes) -> RequestKey:
    """The key of a request whose body may name it, too."""
    key = read_key(request, body)
    request_id = members.get("request_id")
    if request_id is None:
        return key
    check_string(request_id, "request_id", maximum=128)
    if key is not NO_KEY and key.id != request_id:
        raise InvalidArgument(
            "`request_id` and the header `Idempotency-Key` differ; give one of them",
            reason="InvalidIdempotencyKey",
        )
    return RequestKey(request_id, digest(request, body))


def _commit(
    request: Request, write: Write, key: RequestKey, new_paths: tuple[DocumentPath, ...] = ()
) -> Awaitable[CommitResult[None]]:
    return documents.commit(
        request.context,
        request.caller,
        request.database_name,
        (write,),
        request_id=key.id,
        request_digest=key.digest,
        new_paths=new_paths,
    )


def _tell(write: Write, result: CommitResult[None], *, status: int = 200) -> Answer:
    """What the only write of a commit has done."""
    time = encode_new_time(result.version)
    path = orjson.dumps("/".join(write.path.segments))
    (written,) = result.write_results
    if written.update_time is None:
        return Answer(b'{"path":%b,"commit_time":%b}' % (path, time))
    updated = written.update_time.microseconds
    transforms = b""
    if written.transform_results:
        transforms = b',"transform_results":' + orjson.dumps(
            encode_write_result(written)["transform_results"]
        )
    return Answer(
        b'{"path":%b,"update_time":%b,"commit_time":%b%b}'
        % (path, time if updated == result.version else encode_time(updated), time, transforms),
        status=status,
    )
