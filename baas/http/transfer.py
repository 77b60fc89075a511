"""Export and import of a database over HTTP, as JSON lines in constant memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from baas.http.answers import Answer, StreamAnswer, json_answer
from baas.http.requests import Request, integer_parameter
from baas.model.paths import CollectionPath, DocumentPath
from baas.services import transfer

_EXPORT = frozenset({"collection", "version", "after", "end"})
_VERSION_MAX = 2**63 - 1
_IMPORT = frozenset({"skip_lines"})


async def export_documents(request: Request) -> StreamAnswer:
    query = request.query(_EXPORT)
    collection, after = query.get("collection"), query.get("after")
    version = integer_parameter(query, "version", -1, minimum=0, maximum=_VERSION_MAX)
    request.database = request.params["database"]
    export = await transfer.export_documents(
        request.context,
        request.caller,
        request.database_name,
        collection=None if collection is None else CollectionPath.parse(collection),
        version=None if version < 0 else version,
        after=None if after is None else DocumentPath.parse(after),
        has_end=query.get("end") == "true",
    )
    answer = StreamAnswer(_generator(export.chunks))
    answer.headers.append((b"x-baas-version", b"%d" % export.version))
    answer.headers.append((b"x-baas-incarnation", export.incarnation.encode()))
    return answer


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
