"""Export and import of a database over HTTP, as JSON lines in constant memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from baas.http.answers import Answer, StreamAnswer, json_answer
from baas.http.requests import Request, integer_parameter
from baas.model.paths import CollectionPath
from baas.services import transfer

_EXPORT = frozenset({"collection"})
_IMPORT = frozenset({"skip_lines"})


async def export_documents(request: Request) -> StreamAnswer:
    collection = request.query(_EXPORT).get("collection")
    request.database = request.params["database"]
    chunks = await transfer.export_documents(
        request.context,
        request.caller,
        request.database_name,
        collection=None if collection is None else CollectionPath.parse(collection),
    )
    return StreamAnswer(_generator(chunks))


async def import_documents(request: Request) -> Answer:
    """Answers once every line is committed. A body of any length is read as it comes; an error says
    how many lines are in the database, and `skip_lines` goes on from there."""
    query = request.query(_IMPORT)
    request.database = request.params["database"]
    result = await transfer.import_documents(
        request.context,
        request.caller,
        request.database_name,
        request.stream_lines(line_bytes_max=transfer.LINE_BYTES_MAX),
        skip_lines=integer_parameter(query, "skip_lines", 0, minimum=0, maximum=2**53),
    )
    return json_answer({"documents": result.documents, "lines": result.lines})


async def _generator(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    async for chunk in chunks:
        yield chunk
