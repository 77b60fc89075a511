"""Export and import: everything of one instant, lines with their place, and no unbounded memory."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from baas.database.names import DatabaseName
from baas.errors import (
    BaasError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
    ResumeTokenExpired,
)
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import FieldFilter, Operator, Query
from baas.model.timestamps import Timestamp
from baas.model.values import Fields, GeoPoint, Reference, Vector
from baas.model.writes import DeleteWrite, SetWrite
from baas.services import projects, transfer
from baas.services.caller import ANONYMOUS, Caller, CallerKind
from baas.services.context import Context
from baas.services.transfer import ImportResult
from baas.settings import Limits
from baas.testing import make_settings, started_app

ADMIN = Caller(CallerKind.ADMIN, uid="operator")
NAME = DatabaseName("chat")
ARCHIVE = DatabaseName("chat", "archive")

EVERYTHING: Fields = {
    "null": None,
    "bool": True,
    "int": 2**63 - 1,
    "double": 1.0,
    "nan": math.nan,
    "time": Timestamp(1_700_000_000_123_456),
    "text": "é\u2028\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16") + '"\n',
    "bytes": b"\x00\xff",
    "ref": Reference(DocumentPath(("users", "ada"))),
    "geo": GeoPoint(1.5, -2.5),
    "vector": Vector((1.0, 2.5)),
    "list": [1, "two", {"$three": 3}],
    "$map": {"$int": "no tag", "a.b": {}},
}


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[Context]:
    async with started_app(make_settings(tmp_path / "data")) as app:
        await projects.create_project(app.context, ADMIN, "chat")
        await projects.create_database(app.context, ADMIN, "chat", "archive")
        yield app.context


async def put(
    context: Context, documents: Mapping[str, Mapping[str, Any]], name: DatabaseName = NAME
) -> None:
    database = await context.databases.open(name)
    writes = [
        SetWrite(DocumentPath.parse(path), dict(fields)) for path, fields in documents.items()
    ]
    for start in range(0, len(writes), 500):
        chunk = writes[start : start + 500]
        await database.run_transaction(
            lambda transaction, chunk=chunk: transaction.write(chunk),  # type: ignore[misc]
            request_time=Timestamp(context.clock.now_microseconds()),
        )


async def exported(
    context: Context, name: DatabaseName = NAME, collection: str | None = None
) -> list[dict[str, Any]]:
    parsed = None if collection is None else CollectionPath.parse(collection)
    export = await transfer.export_documents(context, ADMIN, name, collection=parsed)
    text = b"".join([chunk async for chunk in export.chunks])
    return [json.loads(line) for line in text.splitlines()]


async def imported(
    context: Context, lines: list[bytes], name: DatabaseName = NAME, **options: Any
) -> ImportResult:
    return await transfer.import_documents(context, ADMIN, name, each(lines), **options)


async def each(lines: list[bytes]) -> AsyncIterator[bytes]:
    for line in lines:
        yield line


def line(path: str, **fields: Any) -> bytes:
    return json.dumps({"path": path, "fields": fields}).encode()


async def error_of(context: Context, lines: list[bytes], **options: Any) -> BaasError:
    with pytest.raises(BaasError) as caught:
        await imported(context, lines, **options)
    return caught.value


async def test_what_is_exported_and_imported_is_the_same(context: Context) -> None:
    documents: dict[str, Fields] = {
        "users/ada": EVERYTHING,
        "users/ada/orders/1": {"total": 1},
        "ghosts/nobody/orders/2": {},
        "users/__id7__": {"n": 7},
    }
    await put(context, documents)
    lines = await exported(context)
    assert {one["path"] for one in lines} == set(documents)
    assert all(one["create_time"].endswith("Z") and one["update_time"] for one in lines)
    result = await imported(context, [json.dumps(one).encode() for one in lines], ARCHIVE)
    assert result == ImportResult(4, 4)
    archive = await context.databases.open(ARCHIVE)
    database = await context.databases.open(NAME)
    paths = [DocumentPath.parse(path) for path in documents]
    before, after = await database.get_documents(paths), await archive.get_documents(paths)
    assert [one and one.data for one in after] == [one and one.data for one in before]
    assert [one["fields"] for one in await exported(context, ARCHIVE)] == [
        one["fields"] for one in lines
    ]


async def test_one_collection_is_exported_with_what_is_below(context: Context) -> None:
    await put(context, {path: {} for path in ("a/1", "a/1/b/2", "ab/3", "c/4", "c/4/a/5")})
    assert [one["path"] for one in await exported(context, collection="a")] == ["a/1", "a/1/b/2"]
    assert [one["path"] for one in await exported(context, collection="c/4/a")] == ["c/4/a/5"]
    assert await exported(context, collection="x") == []


async def test_the_servers_own_documents_are_not_exported(context: Context) -> None:
    await put(context, {f"cities/{n}": {"n": n} for n in range(500)})
    database = await context.databases.open(NAME)
    where = FieldFilter(FieldPath(("n",)), Operator.GREATER, 3)
    for _ in range(3):
        await database.run_query(Query(CollectionPath(("cities",)), where=where))
    await database.index_keeper.wait()
    assert database.indexes is not None
    assert {one["path"].split("/")[0] for one in await exported(context)} == {"cities"}


async def test_an_export_is_of_one_instant_however_slowly_it_is_read(context: Context) -> None:
    await put(context, {f"a/{n:05}": {"n": 0, "pad": "x" * 500} for n in range(2_000)})
    chunks = (await transfer.export_documents(context, ADMIN, NAME)).chunks
    first = await anext(chunks)
    await put(context, {f"a/{n:05}": {"n": 1} for n in range(2_000)} | {"b/1": {}})
    text = first + b"".join([chunk async for chunk in chunks])
    lines = [json.loads(one) for one in text.splitlines()]
    assert len(lines) == 2_000
    assert {one["fields"]["n"] for one in lines} == {0}


async def test_an_export_goes_on_as_of_its_version_whatever_is_written_since(
    context: Context,
) -> None:
    await put(context, {f"a/{n:04}": {"n": n} for n in range(1_200)})
    first = await transfer.export_documents(context, ADMIN, NAME)
    before = b"".join([chunk async for chunk in first.chunks]).splitlines(keepends=True)
    await put(context, {f"a/{n:04}": {"n": -1} for n in range(0, 1_200, 3)})
    await put(context, {"a/new": {}, "0/first": {}, "z/last": {}})
    database = await context.databases.open(NAME)
    gone = [DeleteWrite(DocumentPath.parse(f"a/{n:04}")) for n in range(0, 1_200, 7)]
    await database.run_transaction(
        lambda transaction: transaction.write(gone),
        request_time=Timestamp(context.clock.now_microseconds()),
    )
    for at in (0, 1, 700, 1_199, 1_200):
        after = DocumentPath.parse(json.loads(before[at - 1])["path"]) if at else None
        again = await transfer.export_documents(
            context, ADMIN, NAME, version=first.version, after=after, has_end=True
        )
        *rest, end = b"".join([chunk async for chunk in again.chunks]).splitlines(keepends=True)
        assert rest == before[at:]
        assert json.loads(end)["end"]["documents"] == len(rest)
    with pytest.raises(InvalidArgument):
        await transfer.export_documents(context, ADMIN, NAME, version=2**60)
    oldest = await database.read_oldest_version()
    with pytest.raises(ResumeTokenExpired):
        await transfer.export_documents(context, ADMIN, NAME, version=oldest - 1)


async def test_the_end_of_an_export_is_held_against_what_was_before_it(context: Context) -> None:
    await put(context, {f"a/{n}": {"n": n} for n in range(5)})
    export = await transfer.export_documents(context, ADMIN, NAME, has_end=True)
    lines = b"".join([chunk async for chunk in export.chunks]).splitlines()
    assert await imported(context, lines, ARCHIVE) == ImportResult(5, 6)
    for torn in (lines[1:], [*lines, lines[0]], [lines[1], lines[0], *lines[2:]]):
        error = await error_of(context, torn)
        assert (error.reason, (error.details or {})["line"]) == ("InvalidLine", len(torn))


async def test_an_export_that_nobody_reads_on_holds_nothing(context: Context) -> None:
    await put(context, {f"a/{n:05}": {"pad": "x" * 500} for n in range(2_000)})
    chunks = (await transfer.export_documents(context, ADMIN, NAME)).chunks
    await anext(chunks)
    await chunks.aclose()  # type: ignore[attr-defined]
    assert not (await context.databases.open(NAME)).is_in_use


async def test_an_empty_database(context: Context) -> None:
    assert await exported(context) == []
    assert await imported(context, []) == ImportResult(0, 0)
    assert await imported(context, [b"", b"  ", b"\r"]) == ImportResult(0, 3)


async def test_an_import_replaces_and_is_chunked(context: Context) -> None:
    await put(context, {"a/00000": {"old": True}})
    told: list[ImportResult] = []
    lines = [line(f"a/{n:05}", n=n) for n in range(1_201)]
    result = await imported(context, lines, progress=told.append)
    assert result == ImportResult(1_201, 1_201)
    assert [one.documents for one in told] == [500, 1_000, 1_201]
    documents = await exported(context)
    assert len(documents) == 1_201
    assert documents[0]["fields"] == {"n": 0}


async def test_chunks_are_bounded_in_bytes(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "CHUNK_BYTES_MAX", 1_000)
    told: list[ImportResult] = []
    await imported(context, [line(f"a/{n}", x="y" * 400) for n in range(6)], progress=told.append)
    assert [one.documents for one in told] == [2, 4, 6]


async def test_what_replaces_more_than_fits_into_a_commit_is_imported_in_several(
    tmp_path: Path,
) -> None:
    limits = Limits(commit_replaced_bytes_max=10_000)
    async with started_app(make_settings(tmp_path / "data", limits=limits)) as app:
        await projects.create_project(app.context, ADMIN, "chat")
        large = [line(f"a/{n}", x="y" * 4_000) for n in range(9)]
        await imported(app.context, large)
        told: list[ImportResult] = []
        small = [line(f"a/{n}", n=n) for n in range(9)]
        assert await imported(app.context, small, progress=told.append) == ImportResult(9, 9)
        assert told == [ImportResult(9, 9)]
        assert [one["fields"] for one in await exported(app.context)] == [
            {"n": n} for n in range(9)
        ]


async def test_a_line_that_is_repeated_counts_last(context: Context) -> None:
    await imported(context, [line("a/1", n=1), line("a/1", n=2)])
    assert [one["fields"] for one in await exported(context)] == [{"n": 2}]


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (b"{", "MalformedJson"),
        (b"[]", "InvalidValue"),
        (b"null", "InvalidValue"),
        (b"{}", "InvalidValue"),
        (b'{"path":"a/1"}', "InvalidValue"),
        (b'{"path":7,"fields":{}}', "InvalidValue"),
        (b'{"path":"a","fields":{}}', "InvalidPath"),
        (b'{"path":"a/../b/1","fields":{}}', "InvalidPath"),
        (b'{"path":"__indexes__/1","fields":{}}', "ReservedId"),
        (b'{"path":"a/1","fields":[]}', "InvalidValue"),
        (b'{"path":"a/1","fields":{"x":{"$int":"y"}}}', "InvalidValue"),
        (b'{"path":"a/1","fields":{},"rules":"off"}', "InvalidValue"),
        (b'{"path":"a/1","fields":{}}{}', "MalformedJson"),
        (b'\xff{"path":"a/1","fields":{}}', "MalformedJson"),
    ],
)
async def test_a_bad_line_is_named(context: Context, bad: bytes, cause: str) -> None:
    error = await error_of(context, [line("a/1"), b"", bad, line("a/2")])
    assert isinstance(error, InvalidArgument)
    assert error.reason == "InvalidLine"
    assert error.message.startswith("line 3: ")
    assert error.details is not None
    assert (error.details["line"], error.details["committed_lines"]) == (3, 0)
    assert await exported(context) == []
    if cause != "InvalidValue":
        assert error.details["cause"] == cause


async def test_a_document_that_is_too_large_is_named(context: Context) -> None:
    error = await error_of(context, [line("a/1"), line("a/2", x="y" * 1_100_000)])
    assert error.message.startswith("line 2: ")


async def test_an_import_goes_on_where_it_ended(context: Context) -> None:
    lines = [line(f"a/{n:05}", n=n) for n in range(1_100)]
    lines[700] = b"broken"
    error = await error_of(context, lines)
    assert error.details is not None
    assert (error.details["committed_lines"], error.details["committed_documents"]) == (500, 500)
    assert len(await exported(context)) == 500
    lines[700] = line("a/00700", n=-1)
    result = await imported(context, lines, skip_lines=500)
    assert result == ImportResult(600, 1_100)
    assert len(await exported(context)) == 1_100


async def test_an_error_of_the_source_says_how_far_it_came(context: Context) -> None:
    async def lines() -> AsyncIterator[bytes]:
        for number in range(600):
            yield line(f"a/{number}")
        raise QuotaExceeded("line 601 is too long", reason="RequestTooLarge")

    with pytest.raises(QuotaExceeded) as caught:
        await transfer.import_documents(context, ADMIN, NAME, lines())
    assert caught.value.reason == "RequestTooLarge"
    assert caught.value.details == {"committed_lines": 500, "committed_documents": 500}


async def test_only_administrators_and_only_databases_that_exist(context: Context) -> None:
    for caller, name, error in (
        (ANONYMOUS, NAME, PermissionDenied),
        (Caller(CallerKind.USER, uid="ada", project="chat"), NAME, PermissionDenied),
        (Caller(CallerKind.SECRET_KEY, project="chat"), NAME, PermissionDenied),
        (ADMIN, DatabaseName("nowhere"), NotFound),
        (ADMIN, DatabaseName("chat", "nowhere"), NotFound),
        (ADMIN, DatabaseName.system("chat"), NotFound),
        (ADMIN, DatabaseName.system(None), NotFound),
    ):
        with pytest.raises(error):
            await transfer.export_documents(context, caller, name)
        with pytest.raises(error):
            await transfer.import_documents(context, caller, name, each([line("a/1")]))
