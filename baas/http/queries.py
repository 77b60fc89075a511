"""Queries over HTTP: pages, JSON lines, counts."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from functools import lru_cache
from typing import Any

import orjson

from baas.database.explain import Explanation
from baas.http import transactions
from baas.http.answers import JSON_LINES, Answer, AnyAnswer, StreamAnswer
from baas.http.indexes import encode_definition
from baas.http.requests import Request, parse_body
from baas.model.queries import Query, number_query
from baas.services import aggregations, past, queries
from baas.wire.documents import encode_document, encode_documents, encode_time
from baas.wire.objects import (
    check_boolean,
    check_integer,
    check_object,
    check_string,
    invalid,
)
from baas.wire.queries import decode_query
from baas.wire.writes import decode_time

_NO_PARAMETERS: frozenset[str] = frozenset()
_QUERY = frozenset({"query"})
_QUERY_READ = frozenset({"query", "transaction", "page_size", "page_token", "explain", "read_time"})
# Of nearly all queries none is there, and they need not be parsed to know it.
_MORE = re.compile(rb'"(?:transaction|page_size|page_token|explain|read_time)"')
STREAM_CHUNK_BYTES = 32 * 1024
QUERIES_KEPT = 1_024
QUERY_BYTES_KEPT_MAX = 2_048


async def run_query(request: Request) -> AnyAnswer:
    body = await request.read_body()
    if _MORE.search(body) is not None:
        members = check_object(parse_body(body), "", allowed=_QUERY_READ, required=("query",))
        if len(members) > 1:
            return await _run_query_with(request, members)
    query = _read_query(request, body)
    name = request.database_name
    if request.accepts(JSON_LINES):
        stream = await queries.stream_query(request.context, request.caller, name, query)
        return StreamAnswer(_lines(stream))
    page = await queries.run_query(request.context, request.caller, name, query)
    return _page_answer(page)


async def _run_query_with(request: Request, members: dict[str, Any]) -> Answer:
    """A query with more beside it: a page, an explanation, a transaction."""
    request.query(_NO_PARAMETERS)
    query = decode_query(members["query"])
    if "transaction" in members:
        if len(members) > 2:
            raise invalid("transaction", "goes with a query alone: no pages, no `explain`")
        return await transactions.run_query(request, query, members["transaction"])
    if "read_time" in members:
        if len(members) > 2:
            raise invalid("read_time", "goes with a query alone: no pages, no `explain`")
        time = decode_time(members["read_time"], "read_time")
        name = request.database_name
        page = await past.run_query_at(request.context, request.caller, name, query, time)
        return _page_answer(page)
    size = members.get("page_size")
    if size is not None:
        maximum = request.context.settings.limits.query_page_documents_max
        size = check_integer(size, "page_size", minimum=1, maximum=maximum)
    token = members.get("page_token")
    if token is not None:
        check_string(token, "page_token")
    explain = check_boolean(members.get("explain", False), "explain")
    page = await queries.run_query_page(
        request.context,
        request.caller,
        request.database_name,
        query,
        queries.PageRequest(size, token, explain),
    )
    return _page_answer(page)


def _page_answer(page: queries.QueryPage) -> Answer:
    rest = b""
    if page.next_token is not None:
        rest = b',"more":true,"next_page_token":"%b"' % page.next_token.encode()
    if page.explanation is not None:
        rest += b',"explain":' + orjson.dumps(encode_explanation(page.explanation))
    return Answer(
        b'{"documents":%b,"read_time":%b%b}'
        % (encode_documents(page.documents), encode_time(page.read_time.microseconds), rest)
    )


def encode_explanation(told: Explanation) -> dict[str, Any]:
    """The member `explain` of an answer."""
    building = set(told.building)
    return {
        "scans": [
            {
                "kind": scan.kind,
                "index": None
                if scan.index is None
                else encode_definition(scan.index.definition) | {"id": str(scan.index.number)},
                "ranges": scan.ranges,
                "direction": "desc" if scan.descending else "asc",
                "exact": scan.exact,
            }
            for scan in told.scans
        ],
        "missing_indexes": [
            {**encode_definition(item), "building": item in building} for item in told.missing
        ],
        "entries_scanned": told.entries_scanned,
        "keys_counted": told.keys_counted,
        "documents_read": told.documents_read,
        "returned": told.returned,
        "seconds": round(told.seconds, 6),
        "hints": list(told.hints),
    }


async def count(request: Request) -> Answer:
    query = _read_query(request, await request.read_body())
    found = await aggregations.count(request.context, request.caller, request.database_name, query)
    return Answer(
        b'{"count":%d,"read_time":%b}' % (found.count, encode_time(found.read_time.microseconds))
    )


def _read_query(request: Request, body: bytes) -> Query:
    """The body's query. Callers ask the same again and again, so small ones are read once."""
    request.query(_NO_PARAMETERS)
    if 0 < len(body) <= QUERY_BYTES_KEPT_MAX:
        return _parse_kept_query(body)
    return _parse_query(parse_body(body))


@lru_cache(maxsize=QUERIES_KEPT)
def _parse_kept_query(body: bytes) -> Query:
    return number_query(_parse_query(parse_body(body)))


def _parse_query(tree: Any) -> Query:
    members = check_object(tree, "", allowed=_QUERY, required=("query",))
    return decode_query(members["query"])


async def _lines(stream: queries.DocumentStream) -> AsyncGenerator[bytes]:
    """One JSON object per line; lines go out in pieces of about 32 KiB."""
    gathered: list[bytes] = []
    size = 0
    total = 0
    async for batch in stream.batches:
        for document in batch:
            line = b'{"document":%b}\n' % encode_document(document)
            gathered.append(line)
            size += len(line)
            total += 1
            if size >= STREAM_CHUNK_BYTES:
                yield b"".join(gathered)
                gathered, size = [], 0
    gathered.append(
        b'{"done":true,"read_time":%b,"count":%d}\n'
        % (encode_time(stream.read_time.microseconds), total)
    )
    yield b"".join(gathered)
