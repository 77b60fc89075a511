"""A new incarnation, for data that was copied back."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from baas.errors import PermissionDenied
from baas.services import documents, projects
from tests.baas.services.worlds import NAME, OPERATOR, SECRET, World, open_world, path


@pytest.fixture(params=["sqlite", "mongodb"])
async def any_world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    more: dict[str, Any] = {}
    if request.param == "mongodb":
        more = {
            "engine": "mongodb",
            "mongodb_uri": request.getfixturevalue("mongodb_uri"),
            "mongodb_database": f"t{secrets.token_hex(6)}",
        }
    async with open_world(tmp_path / "data", **more) as opened:
        yield opened


async def test_everything_stays_and_every_database_is_another(any_world: World) -> None:
    context = any_world.context
    await any_world.put(users__ada={"n": 1})
    before = await context.databases.open(NAME)
    with pytest.raises(PermissionDenied):
        await projects.start_incarnations(context, SECRET)
    ((name, incarnation),) = await projects.start_incarnations(context, OPERATOR)
    assert name == NAME
    after = await context.databases.open(NAME)
    assert before.incarnation != after.incarnation == incarnation
    assert after.version == before.version
    found = await documents.get_document(context, OPERATOR, NAME, path("users/ada"))
    assert found is not None
    assert found.fields == {"n": 1}
    await any_world.put(users__ada={"n": 2})
