"""Queries over HTTP: pages, JSON lines, counts and other numbers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import lru_cache
from typing import Any

from baas.http import transactions
from baas.http.answers import JSON_LINES, Answer, AnyAnswer, StreamAnswer, json_answer
from baas.http.requests import Request, parse_body
from baas.model.queries import Query, number_query
from baas.services import queries
from baas.wire.aggregates import decode_aggregates, encode_results
from baas.wire.documents import encode_document, encode_documents, encode_time, time_text
from baas.wire.objects import check_object
from baas.wire.queries import decode_query

_NO_PARAMETERS: frozenset[str] = frozenset()
_QUERY = frozenset({"query"})
_QUERY_READ = frozenset({"query", "transaction"})
_TRANSACTION = b'"transaction"'
_AGGREGATE = frozenset({"query", "aggregates"})
STREAM_CHUNK_BYTES = 32 * 1024
QUERIES_KEPT = 1_024
QUERY_BYTES_KEPT_MAX = 2_048


async def run_query(request: Request) -> AnyAnswer:
    body = await request.read_body()
    if _TRANSACTION in body:
        members = check_object(parse_body(body), "", allowed=_QUERY_READ, required=("query",))
        if "transaction" in members:
            query = decode_query(members["query"])
            return await transactions.run_query(request, query, members["transaction"])
    query = _read_query(request, body)
    name = request.database_name
    if request.accepts(JSON_LINES):
        stream = await queries.stream_query(request.context, request.caller, name, query)
        return StreamAnswer(_lines(stream))
    page = await queries.run_query(request.context, request.caller, name, query)
    return Answer(
        b'{"documents":%b,"read_time":%b%b}'
        % (
            encode_documents(page.documents),
            encode_time(page.read_time.microseconds),
            b',"more":true' if page.more else b"",
        )
    )


async def count(request: Request) -> Answer:
    query = _read_query(request, await request.read_body())
    found = await queries.count(request.context, request.caller, request.database_name, query)
    return Answer(
        b'{"count":%d,"read_time":%b}' % (found.count, encode_time(found.read_time.microseconds))
    )


async def aggregate(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(
        await request.read_json(), "", allowed=_AGGREGATE, required=("query", "aggregates")
    )
    query = decode_query(members["query"])
    aggregates = decode_aggregates(members["aggregates"])
    found = await queries.aggregate(
        request.context, request.caller, request.database_name, query, aggregates
    )
    return json_answer(
        {
            "results": encode_results(found.results),
            "read_time": time_text(found.read_time.microseconds),
        }
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
