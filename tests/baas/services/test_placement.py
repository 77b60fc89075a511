"""Projects at another engine than the server's own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from baas.app import App
from baas.buckets.blobs import BlobInfo
from baas.clock import SystemClock
from baas.database.names import DatabaseName
from baas.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from baas.model.queries import Query
from baas.model.writes import SetWrite
from baas.projects.records import PROJECTS
from baas.services import documents, projects
from baas.services.context import Context
from baas.testing import app_client, make_settings, started_app
from tests.baas.services.worlds import OPERATOR, path

SHOP = DatabaseName("shop")


@pytest.fixture
def mongodb(mongodb_uri: str) -> dict[str, Any]:
    return {"mongodb_uri": mongodb_uri, "mongodb_database": f"t{secrets.token_hex(6)}"}


@asynccontextmanager
async def server(data: Path, **settings: Any) -> AsyncIterator[App]:
    async with started_app(make_settings(data, **settings)) as app:
        yield app


async def put(context: Context, text: str, **fields: Any) -> None:
    await documents.commit(context, OPERATOR, SHOP, [SetWrite(path(text), fields)])


async def get(context: Context, text: str) -> dict[str, Any] | None:
    found = await documents.get_document(context, OPERATOR, SHOP, path(text))
    return None if found is None else dict(found.fields)


async def test_a_project_on_mongodb_beside_a_server_on_sqlite(
    tmp_path: Path, mongodb: dict[str, Any]
) -> None:
    data = tmp_path / "data"
    async with server(data, **mongodb) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop", engine="mongodb")
        await projects.create_project(context, OPERATOR, "near")
        await put(context, "notes/n", n=1)
        database = context.databases.find(SHOP)
        assert database is not None
        assert (database.is_near, context.databases.is_near) == (False, True)
        assert context.databases.far_projects == {"shop"}
        assert not (data / "projects" / "shop").exists()
        assert (data / "projects" / "near").exists()
        async with app_client(app, app.operator_token) as client:
            found = (await client.get("/api/v1/admin/projects")).json()["projects"]
        assert {one["id"]: one["engine"] for one in found} == {"near": "sqlite", "shop": "mongodb"}
    async with server(data, **mongodb) as app:
        assert await get(app.context, "notes/n") == {"n": 1}
        await projects.update_project(app.context, OPERATOR, "shop", name="Shop")
    async with server(data, **mongodb) as app:
        context = app.context
        assert await get(context, "notes/n") == {"n": 1}
        await projects.delete_project(context, OPERATOR, "shop")
        with pytest.raises(NotFound):
            await get(context, "notes/n")
        await projects.create_project(context, OPERATOR, "shop")
        assert await get(context, "notes/n") is None
        assert (data / "projects" / "shop").exists()


async def test_what_is_still_open_where_a_project_was_is_far_and_nobody_is_given_it(
    tmp_path: Path, mongodb: dict[str, Any]
) -> None:
    """A request that need not wait is answered outside of a task, where MongoDB can't be asked."""
    async with server(tmp_path / "data", **mongodb) as app:
        databases, places = app.context.databases, app.context.projects.places
        await projects.create_project(app.context, OPERATOR, "shop", engine="mongodb")
        await projects.create_database(app.context, OPERATOR, "shop", "other")
        await put(app.context, "notes/n", n=1)
        places.note("shop", None)
        assert databases.find(SHOP) is not None
        assert databases.far_projects == {"shop"}
        await asyncio.sleep(0)
        assert all(one.name.project != "shop" for one in databases.open_databases())
        assert databases.far_projects == {"shop"}
        await places.wait_closed()
        assert databases.far_projects == set()


async def test_a_project_is_not_taken_for_empty_where_its_engine_is_missing(
    tmp_path: Path, mongodb: dict[str, Any]
) -> None:
    data = tmp_path / "data"
    async with server(data, **mongodb) as app:
        await projects.create_project(app.context, OPERATOR, "shop", engine="mongodb")
    async with server(data) as app:
        with pytest.raises(FailedPrecondition) as raised:
            await get(app.context, "notes/n")
        assert raised.value.reason == "EngineNotConfigured"
        with pytest.raises(FailedPrecondition) as raised:
            await projects.create_project(app.context, OPERATOR, "other", engine="mongodb")
        assert raised.value.reason == "EngineNotConfigured"
        with pytest.raises(InvalidArgument) as invalid:
            await projects.create_project(app.context, OPERATOR, "other", engine="redis")
        assert invalid.value.reason == "InvalidEngine"
        await projects.create_project(app.context, OPERATOR, "other")


async def test_files_are_of_one_node(tmp_path: Path, mongodb: dict[str, Any]) -> None:
    own = {"engine": "mongodb", **mongodb}
    async with server(tmp_path / "one", **own) as one:
        secret = (tmp_path / "one" / "secret.key").read_bytes()
        (tmp_path / "two").mkdir(mode=0o700)
        (tmp_path / "two" / "secret.key").write_bytes(secret)
        async with server(tmp_path / "two", **own) as two:
            made = await projects.create_project(one.context, OPERATOR, "shop", engine="sqlite")
            assert made.place is not None
            assert made.place.node == one.context.databases.placements.node
            await put(one.context, "notes/n", n=1)
            await (await two.context.databases.system(None)).catch_up()
            with pytest.raises(Unavailable) as raised:
                await get(two.context, "notes/n")
            assert raised.value.reason == "ProjectElsewhere"
            with pytest.raises(Unavailable):
                await projects.delete_project(two.context, OPERATOR, "shop")
            assert two.collector is not None
            await two.collector.sweep()  # leaves it to the other node
            assert await get(one.context, "notes/n") == {"n": 1}
    async with server(tmp_path / "two", **own) as two:
        with pytest.raises(Unavailable):
            await get(two.context, "notes/n")


async def test_bytes_of_a_project_that_is_looked_for_at_the_wrong_place_are_kept(
    tmp_path: Path, mongodb: dict[str, Any]
) -> None:
    async with server(tmp_path / "data", **mongodb) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop", engine="mongodb")
        await context.databases.close_project("shop")
        context.databases.placements.set("shop", None)  # as before this node has heard of a move
        bytes_of = [[BlobInfo(f"{name}/content/part", 1, 1)] for name in ("shop", "gone")]
        assert app.collector is not None
        assert await app.collector._find_orphans("shop", bytes_of[0]) == []
        assert await app.collector._find_orphans("gone", bytes_of[1]) == bytes_of[1]


async def test_a_node_starts_where_another_one_left_a_deletion_of_what_only_it_has(
    tmp_path: Path, mongodb: dict[str, Any]
) -> None:
    own = {**mongodb, "engine": "mongodb"}
    async with server(tmp_path / "one", **own) as one:
        for name in ("far", "shop", "zoo"):
            engine = "mongodb" if name == "zoo" else "sqlite"
            await projects.create_project(one.context, OPERATOR, name, engine=engine)
            await one.context.projects._marks.take(name)  # and there it ended
        secret = (tmp_path / "one" / "secret.key").read_bytes()
    (tmp_path / "two").mkdir(mode=0o700)
    (tmp_path / "two" / "secret.key").write_bytes(secret)
    two = App(make_settings(tmp_path / "two", **own), FastClock())
    await two.start()
    try:
        assert await two.context.projects.finish_deletions() == []
        for _ in range(10):  # meanwhile what begins with the server has connected
            assert await left(two) == ["far", "shop"]
    finally:
        await two.stop()
    async with server(tmp_path / "one", **own) as one:
        assert await left(one) == []


class FastClock(SystemClock):
    """Of a node that comes when the claims of the other one are over."""

    def now_microseconds(self) -> int:
        return super().now_microseconds() + 300_000_000


async def left(app: App) -> list[str]:
    system = await app.context.databases.system(None)
    found = await system.run_query(Query(PROJECTS))
    return sorted(one.path.id for one in found.documents)


async def test_what_was_missed_is_learned_before_a_project_is_opened(
    tmp_path: Path, mongodb: dict[str, Any]
) -> None:
    async with server(tmp_path / "data", **mongodb) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop", engine="mongodb")
        await put(context, "notes/n", n=1)
        await context.databases.close_project("shop")
        # As after an outage: nothing that is remembered can be trusted.
        context.databases.placements.set("shop", None)
        context.databases.placements.doubt(context.projects.places.load)
        assert await get(context, "notes/n") == {"n": 1}


async def test_what_is_open_of_a_project_is_not_used_while_it_may_be_elsewhere(
    tmp_path: Path, mongodb: dict[str, Any]
) -> None:
    loads = 0

    async def fail() -> None:
        nonlocal loads
        loads += 1
        await asyncio.sleep(0.01)
        raise Unavailable("the server's own database is away")

    async with server(tmp_path / "data", **mongodb) as app:
        context = app.context
        await projects.create_project(context, OPERATOR, "shop", engine="mongodb")
        await put(context, "notes/n", n=1)
        placements = context.databases.placements
        placements.doubt(fail)
        asked = [get(context, "notes/n") for _ in range(20)]
        told = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(one) for one in told} == {Unavailable}
        assert loads == 1
        placements.doubt(context.projects.places.load)
        assert await get(context, "notes/n") == {"n": 1}
        assert not placements.are_doubtful


async def test_two_servers_have_no_mongodb_database_in_common(
    tmp_path: Path, mongodb: dict[str, Any]
) -> None:
    async with (
        server(tmp_path / "one", **mongodb) as one,
        server(tmp_path / "two", **mongodb) as two,
    ):
        await projects.create_project(one.context, OPERATOR, "shop", engine="mongodb")
        await put(one.context, "notes/n", n=1)
        for _ in range(2):
            with pytest.raises(FailedPrecondition) as raised:
                await projects.create_project(two.context, OPERATOR, "shop", engine="mongodb")
            assert raised.value.reason == "StoreOfAnotherServer"
            assert mongodb["mongodb_database"] in raised.value.message
            assert not await projects.list_projects(two.context, OPERATOR)
        await projects.create_project(two.context, OPERATOR, "shop")
        assert await get(two.context, "notes/n") is None
        await projects.delete_project(two.context, OPERATOR, "shop")
        assert await get(one.context, "notes/n") == {"n": 1}
        with pytest.raises(FailedPrecondition) as raised:
            async with server(tmp_path / "three", engine="mongodb", **mongodb):
                pass
        assert raised.value.reason == "StoreOfAnotherServer"
    async with server(tmp_path / "one", **mongodb) as one:
        assert await get(one.context, "notes/n") == {"n": 1}
