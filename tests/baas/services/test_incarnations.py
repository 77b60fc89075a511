"""A new incarnation, for data that was copied back."""

from __future__ import annotations

import pytest

from baas.errors import PermissionDenied
from baas.services import documents, projects
from tests.baas.services.worlds import NAME, OPERATOR, SECRET, World, path


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
