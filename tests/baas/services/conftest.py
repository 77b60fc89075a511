"""Worlds for the use cases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.baas.services.worlds import World, open_world


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path / "data") as opened:
        yield opened


@pytest_asyncio.fixture
async def dev_world(tmp_path: Path) -> AsyncIterator[World]:
    """The same in development mode."""
    async with open_world(tmp_path / "dev", dev=True) as opened:
        yield opened
