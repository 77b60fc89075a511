"""Transactions over HTTP: their own endpoints, and the part of reads and commits that carry one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from baas.database.transaction import CommitResult
from baas.http.answers import Answer, json_answer
from baas.http.idempotency import RequestKey
from baas.http.requests import Request
from baas.model.aggregates import Aggregation
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.model.writes import Write
from baas.services import transactions
from baas.services.transactions import (
    AggregationSeen,
    DocumentSeen,
    DocumentsRead,
    QuerySeen,
    ReadsSeen,
)
from baas.wire.aggregates import decode_aggregation, encode_groups
from baas.wire.documents import encode_documents, encode_time, time_text
from baas.wire.objects import check_array, check_boolean, check_object, check_string, invalid
from baas.wire.queries import decode_query
from baas.wire.writes import decode_document_path, decode_time

_NO_PARAMETERS: frozenset[str] = frozenset()
_BEGIN = frozenset({"read_only", "read_time", "retry"})
_ROLLBACK = frozenset({"transaction"})
_READ = frozenset({"path", "update_time"})
_QUERY_READ = frozenset({"query", "seen"})
_AGGREGATION_READ = frozenset({"query", "aggregates", "group_by", "seen"})
_TOKEN_CHARACTERS_MAX = 200
_SEEN_CHARACTERS_MAX = 64


async def begin_transaction(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(await request.read_json(), "", allowed=_BEGIN)
    read_time, retry = members.get("read_time"), members.get("retry")
    begun = await transactions.begin(
        request.context,
        request.caller,
        request.database_name,
        read_only=check_boolean(members.get("read_only", False), "read_only"),
        read_time=None if read_time is None else decode_time(read_time, "read_time"),
        retry=None if retry is None else _token(retry, "retry"),
    )
    if request.exchange.is_gone:
        # Others wait behind the turn that it has waited for.
        await transactions.roll_back(
            request.context, request.caller, request.database_name, begun.token
        )
    return json_answer(
        {"transaction": begun.token, "read_time": time_text(begun.read_time.microseconds)}
    )


async def roll_back(request: Request) -> Answer:
    request.query(_NO_PARAMETERS)
    members = check_object(
        await request.read_json(), "", allowed=_ROLLBACK, required=("transaction",)
    )
    token = _token(members["transaction"], "transaction")
    await transactions.roll_back(request.context, request.caller, request.database_name, token)
    return json_answer({})


async def get_documents(
    request: Request, paths: Sequence[DocumentPath], token: Any
) -> DocumentsRead:
    """The documents of a batch get in a transaction."""
    return await transactions.get_documents(
        request.context,
        request.caller,
        request.database_name,
        paths,
        _token(token, "transaction"),
    )


async def run_query(request: Request, query: Query, token: Any) -> Answer:
    """A query in a transaction: whole, whatever the client accepts."""
    request.query(_NO_PARAMETERS)
    found = await transactions.run_query(
        request.context,
        request.caller,
        request.database_name,
        query,
        _token(token, "transaction"),
    )
    return Answer(
        b'{"documents":%b,"read_time":%b,"transaction":"%b","seen":"%b"}'
        % (
            encode_documents(found.documents),
            encode_time(found.read_time.microseconds),
            found.token.encode(),
            found.seen.encode(),
        )
    )


async def aggregate(request: Request, aggregation: Aggregation, token: Any) -> Answer:
    """An aggregation in a transaction: all groups."""
    found = await transactions.aggregate(
        request.context,
        request.caller,
        request.database_name,
        aggregation,
        _token(token, "transaction"),
    )
    return json_answer(
        {
            **encode_groups(aggregation, found.groups),
            "read_time": time_text(found.read_time.microseconds),
            "transaction": found.token,
            "seen": found.seen,
        }
    )


async def commit(
    request: Request, writes: Sequence[Write], members: dict[str, Any], key: RequestKey
) -> CommitResult[None]:
    """A commit that ends a transaction."""
    token = _token(members["transaction"], "transaction")
    return await transactions.commit(
        request.context,
        request.caller,
        request.database_name,
        writes,
        _decode_reads(members),
        token,
        request_id=key.id,
        request_digest=key.digest,
    )


def check_no_reads(members: dict[str, Any]) -> None:
    """Raises InvalidArgument if a commit names what it has read, and no transaction."""
    for name in ("reads", "queries", "aggregations"):
        if name in members:
            raise invalid(name, "needs `transaction`, in which it was read")


def _decode_reads(members: dict[str, Any]) -> ReadsSeen:
    return ReadsSeen(
        [
            _decode_read(item, f"reads[{number}]")
            for number, item in enumerate(check_array(members.get("reads", []), "reads"))
        ],
        [
            _decode_query_read(item, f"queries[{number}]")
            for number, item in enumerate(check_array(members.get("queries", []), "queries"))
        ],
        [
            _decode_aggregation_read(item, f"aggregations[{number}]")
            for number, item in enumerate(
                check_array(members.get("aggregations", []), "aggregations")
            )
        ],
    )


def _decode_read(tree: Any, at: str) -> DocumentSeen:
    members = check_object(tree, at, allowed=_READ, required=("path", "update_time"))
    time = members["update_time"]
    return DocumentSeen(
        decode_document_path(members["path"], f"{at}.path"),
        None if time is None else decode_time(time, f"{at}.update_time"),
    )


def _decode_query_read(tree: Any, at: str) -> QuerySeen:
    members = check_object(tree, at, allowed=_QUERY_READ, required=("query", "seen"))
    seen = check_string(members["seen"], f"{at}.seen", maximum=_SEEN_CHARACTERS_MAX)
    return QuerySeen(decode_query(members["query"], f"{at}.query"), seen)


def _decode_aggregation_read(tree: Any, at: str) -> AggregationSeen:
    members = check_object(tree, at, allowed=_AGGREGATION_READ, required=("query", "seen"))
    seen = check_string(members["seen"], f"{at}.seen", maximum=_SEEN_CHARACTERS_MAX)
    return AggregationSeen(decode_aggregation(members, at), seen)


def _token(tree: Any, at: str) -> str:
    return check_string(tree, at, maximum=_TOKEN_CHARACTERS_MAX)
