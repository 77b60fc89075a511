"""Names over HTTP: collections below a place, documents that only have something below."""

from __future__ import annotations

from typing import Any

import orjson

from baas.http.answers import Answer, json_answer
from baas.http.requests import Request
from baas.model.paths import CollectionPath
from baas.services import names
from baas.wire.documents import encode_document, encode_time
from baas.wire.objects import check_integer, check_object, check_string
from baas.wire.writes import decode_document_path

_NO_PARAMETERS: frozenset[str] = frozenset()
_COLLECTIONS = frozenset({"parent", "page_size", "page_token"})
_PAGE_SIZE = 1_000


async def list_collection_ids(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_COLLECTIONS)
    parent, token = members.get("parent"), members.get("page_token")
    maximum = request.context.settings.limits.query_page_documents_max
    size = members.get("page_size", min(_PAGE_SIZE, maximum))
    page = await names.list_collections(
        request.context,
        request.caller,
        request.database_name,
        None if parent is None else decode_document_path(parent, "parent"),
        page_size=check_integer(size, "page_size", minimum=1, maximum=maximum),
        page_token=None if token is None else check_string(token, "page_token"),
    )
    tree: dict[str, Any] = {"collections": page.ids}
    if page.next_token is not None:
        tree["next_page_token"] = page.next_token
    return json_answer(tree)


async def list_children(request: Request, *, page_size: int, page_token: str | None) -> Answer:
    """A list of documents with `show_missing`."""
    page = await names.list_children(
        request.context,
        request.caller,
        request.database_name,
        CollectionPath.parse(request.document_path),
        page_size=page_size,
        page_token=page_token,
    )
    items = [
        b'{"path":%b,"missing":true}' % orjson.dumps(str(path))
        if document is None
        else encode_document(document)
        for path, document in page.children
    ]
    rest = b""
    if page.next_token is not None:
        rest = b',"next_page_token":"%b"' % page.next_token.encode()
    return Answer(
        b'{"documents":[%b],"read_time":%b%b}'
        % (b",".join(items), encode_time(page.read_time.microseconds), rest)
    )
