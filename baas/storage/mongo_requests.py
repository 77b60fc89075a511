"""The answers to requests, which lie in the rows of the log: read, added, kept, forgotten."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from operator import attrgetter

from bson.binary import Binary

from baas.storage.engine import REQUESTS_PAGE_BYTES, RequestAnswer
from baas.storage.mongo_client import MongoConnection
from baas.storage.mongo_layout import Row, Rows
from baas.storage.mongo_wire import Document, Session

_LOOKED_AT_ROWS = 1_000  # of the log at a time: most may hold no answers
_ADDED_ROWS, _ADDED_BYTES = 1_000, 4 * 1024 * 1024  # by one command

Find = Callable[[Document], Awaitable[list[Document]]]


async def read_requests(find: Find, rows: Rows, after: int, limit: int) -> list[RequestAnswer]:
    """As `Snapshot.read_requests`, by finds of one snapshot."""
    holding: list[str] = []
    size = 0
    async with aclosing(_rows_with_answers(find, rows, after)) as found:
        async for row in found:
            holding.append(row["_id"])
            size += row["answers"]
            if len(holding) >= limit or size >= REQUESTS_PAGE_BYTES:
                # Those of the first row may all be at `after` or below.
                if answers := await _read_answers(find, holding, after):
                    return _first_page(answers, limit)
                holding, size = [], 0
    return _first_page(await _read_answers(find, holding, after), limit)


async def _rows_with_answers(find: Find, rows: Rows, after: int) -> AsyncGenerator[Document]:
    """The `_id`s of rows with commits above `after`, and how many bytes of answers they hold. What
    was trimmed comes first: it is older."""
    for start, end in ((rows.kept(after), rows.all()["$lt"]), (rows.log(after), rows.kept(0))):
        looked_at: list[Document] = [{"_id": start}]
        while looked_at:
            command: Document = {
                "find": "log",
                "filter": {"_id": {"$gt": looked_at[-1]["_id"], "$lt": end}},
                "projection": {"answers": 1},
                "sort": {"_id": 1},
                "limit": _LOOKED_AT_ROWS,
            }
            looked_at = await find(command)
            for row in looked_at:
                if row.get("answers"):
                    yield row


async def _read_answers(find: Find, row_ids: list[str], after: int) -> list[RequestAnswer]:
    if not row_ids:
        return []
    command: Document = {
        "find": "log",
        "filter": {"_id": {"$in": row_ids}},
        "projection": {"commits.version": 1, "commits.request": 1, "commits.response": 1},
    }
    answers = [
        RequestAnswer(commit["version"], commit["request"], bytes(commit["response"]))
        for row in await find(command)
        for commit in row["commits"]
        if "request" in commit and commit["version"] > after
    ]
    answers.sort(key=attrgetter("version"))
    return answers


def _first_page(answers: Sequence[RequestAnswer], limit: int) -> list[RequestAnswer]:
    page: list[RequestAnswer] = []
    size = 0
    for answer in answers[:limit]:
        page.append(answer)
        size += answer.size
        if size >= REQUESTS_PAGE_BYTES:
            break
    return page


async def add_requests(
    connection: MongoConnection, rows: Rows, session: Session, answers: Sequence[RequestAnswer]
) -> tuple[int, int]:
    """Adds answers, each as a row that was trimmed and kept for it, unless they are there; how many
    were added, and their bytes."""
    added = size = 0
    for batch in _batches(answers):
        updates = [
            {
                "q": {"_id": rows.kept(answer.version)},
                "u": {"$setOnInsert": _kept_row(rows, answer)},
                "upsert": True,
            }
            for answer in batch
        ]
        result = await connection.write_in(session, {"update": "log", "updates": updates})
        upserted = result.get("upserted", ())
        added += len(upserted)
        size += sum(batch[one["index"]].size for one in upserted)
    return added, size


def _kept_row(rows: Rows, answer: RequestAnswer) -> Document:
    told = {
        "version": answer.version,
        "request": answer.id,
        "response": Binary(answer.response),
    }
    return {
        "commits": [told],
        "requests": [rows.request(answer.id)],
        "answers": answer.size,
    }


def _batches(answers: Sequence[RequestAnswer]) -> Iterator[list[RequestAnswer]]:
    batch: list[RequestAnswer] = []
    size = 0
    for answer in answers:
        if batch and (len(batch) >= _ADDED_ROWS or size + answer.size > _ADDED_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(answer)
        size += answer.size
    if batch:
        yield batch


async def keep_requests(
    connection: MongoConnection,
    rows: Rows,
    session: Session,
    span: dict[str, str],
    requests_before: int,
) -> int:
    """Of rows of log that are about to go, what their younger requests were answered; the bytes of
    that."""
    wanted = {"_id": span | {"$gte": max(span["$gte"], rows.log(requests_before))}}
    command = {
        "find": "log",
        "filter": {**wanted, "requests": {"$exists": True}},
        "projection": {"commits.paths": 0},
    }
    kept = [
        {
            "_id": rows.kept(row["commits"][-1]["version"]),
            "commits": [commit for commit in row["commits"] if "request" in commit],
            "requests": row["requests"],
            "answers": row.get("answers", 0),
        }
        for row in await connection.read_in(session, command)
        if row["_id"] < rows.kept(0)
    ]
    if kept:
        await connection.write_in(session, {"insert": "log", "documents": kept})
    return _answers(kept)


async def forget_requests(
    connection: MongoConnection, rows: Rows, session: Session, head_id: str, limit: int
) -> tuple[int, Document]:
    """Forgets the oldest answers: those of rows of log that were trimmed, then those of others,
    from where the head says that there are some. How many rows, and what becomes of the head."""
    kept = {"$gte": rows.kept(0), "$lt": rows.all()["$lt"]}
    found = await _find_answers(connection, session, {"_id": kept}, limit)
    if found:
        deletion = {"q": {"_id": {"$in": [row["_id"] for row in found]}}, "limit": 0}
        await connection.write_in(session, {"delete": "log", "deletes": [deletion]})
        return len(found), {"$inc": {"request_bytes": -_answers(found)}}
    command: Document = {"find": "heads", "filter": {"_id": head_id}}
    (head,) = await connection.read_in(session, command)
    span = {"$gte": rows.log(head.get("requests_from", 0)), "$lt": rows.kept(0)}
    query = {"_id": span, "requests": {"$exists": True}}
    found = await _find_answers(connection, session, query, limit)
    if not found:
        return 0, {}
    gone = ("requests", "answers", "commits.$[].request", "commits.$[].response")
    update = {
        "q": {"_id": {"$in": [row["_id"] for row in found]}},
        "u": {"$unset": dict.fromkeys(gone, "")},
        "multi": True,
    }
    await connection.write_in(session, {"update": "log", "updates": [update]})
    return len(found), {
        "$inc": {"request_bytes": -_answers(found)},
        "$set": {"requests_from": found[-1]["commits"][-1]["version"] + 1},
    }


async def _find_answers(
    connection: MongoConnection, session: Session, query: Document, limit: int
) -> list[Document]:
    command: Document = {
        "find": "log",
        "filter": query,
        "projection": {"answers": 1, "commits.version": 1},
        "sort": {"_id": 1},
        "limit": limit,
    }
    return await connection.read_in(session, command)


def _answers(rows: Iterable[Row]) -> int:
    return sum(row.get("answers", 0) for row in rows)
