"""Worlds for the use cases."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from baas.accounts.sealing import SECRET_VARIABLE
from baas.services.context import Context
from baas.testing import make_settings, started_app
from tests.baas.services.worlds import World, open_world
from tests.mongo import engine_settings
from tests.undisturbed import undisturbed

__all__ = ["undisturbed"]


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path / "data") as opened:
        yield opened


@pytest_asyncio.fixture
async def dev_world(tmp_path: Path) -> AsyncIterator[World]:
    """The same in development mode."""
    async with open_world(tmp_path / "dev", dev=True) as opened:
        yield opened


@pytest_asyncio.fixture(params=["sqlite", "mongodb"])
async def any_world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """One of its own for each test, on both engines."""
    async with open_world(tmp_path / "data", **engine_settings(request, request.param)) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "mongodb"])
async def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """One world for all tests of a module, on both engines; each in a `room` of its own."""
    folder = tmp_path_factory.mktemp("world")
    async with open_world(folder / "data", **engine_settings(request, request.param)) as opened:
        yield opened


@pytest.fixture
def room() -> str:
    """The id of a collection that nobody else uses."""
    return f"r{secrets.token_hex(5)}"


@pytest_asyncio.fixture
async def nodes(
    tmp_path: Path, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Context]]:
    """Two servers of one MongoDB."""
    monkeypatch.setenv(SECRET_VARIABLE, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    name = f"t{secrets.token_hex(6)}"
    async with AsyncExitStack() as stack:
        contexts = []
        for number in range(2):
            settings = make_settings(
                tmp_path / f"node{number}",
                engine="mongodb",
                mongodb_uri=mongodb_uri,
                mongodb_database=name,
            )
            app = await stack.enter_async_context(started_app(settings))
            contexts.append(app.context)
        await contexts[0].projects.create_project("demo")
        yield contexts
