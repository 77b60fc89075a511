"""How far back a database's history reaches, said for it alone; on both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import pytest

from baas.clock import VirtualClock
from baas.database import registry
from baas.database.names import DatabaseName
from baas.database.retention import Reach
from baas.errors import InvalidArgument, NotFound, PermissionDenied
from baas.model.paths import DocumentPath
from baas.model.values import Fields
from baas.model.writes import SetWrite
from baas.projects.retention import BYTES_MAX, BYTES_MIN, SECONDS_MAX, SECONDS_MIN, RetentionRule
from baas.services import projects, retention
from baas.services.caller import ANONYMOUS
from baas.services.documents import commit
from baas.testing import make_settings, started_app
from tests.baas.services.worlds import ADA, NAME, OPERATOR, World

pytestmark = pytest.mark.asyncio(loop_scope="module")
NOTHING = RetentionRule()


async def write(world: World, room: str, times: int, size: int) -> None:
    path = DocumentPath((room, "a"))
    for number in range(times):
        fields: Fields = {"n": number, "text": "x" * size}
        await commit(world.context, OPERATOR, NAME, [SetWrite(path, fields)])


async def test_what_is_said_for_a_database_holds_for_it_alone(shared: World, room: str) -> None:
    context = shared.context
    usual = Reach.of(context.settings)
    before = await retention.get_retention(context, OPERATOR, NAME)
    assert (before.rule, before.reach) == (NOTHING, usual)
    rule = RetentionRule(bytes=BYTES_MIN)
    try:
        said = await retention.set_retention(context, OPERATOR, NAME, rule)
        assert (said.rule, said.reach) == (rule, Reach(usual.seconds, BYTES_MIN))
        assert said.inherited == usual
        assert await context.retention.reach(DatabaseName("demo", "other")) == usual
        await write(shared, room, 6, 500_000)
        database = await context.databases.open(NAME)
        assert (await database.retention.read_kept()).history_bytes > BYTES_MIN
        await database.retention.trim(await context.retention.reach(NAME))
        kept = (await retention.get_retention(context, OPERATOR, NAME)).kept
        assert kept.history_bytes <= BYTES_MIN
        assert kept.oldest > 0
    finally:
        said = await retention.set_retention(context, OPERATOR, NAME, NOTHING)
    assert (said.rule, said.reach) == (NOTHING, usual)


async def test_databases_inherit_from_their_project_what_they_do_not_say(shared: World) -> None:
    context = shared.context
    usual = Reach.of(context.settings)
    default = RetentionRule(seconds=SECONDS_MIN, bytes=BYTES_MIN)
    try:
        said = await retention.set_project_retention(context, OPERATOR, "demo", default)
        assert (said.rule, said.inherited, said.reach) == (
            default,
            usual,
            Reach(SECONDS_MIN, BYTES_MIN),
        )
        silent = await retention.get_retention(context, OPERATOR, NAME)
        assert (silent.rule, silent.inherited, silent.reach) == (NOTHING, said.reach, said.reach)
        rule = RetentionRule(seconds=SECONDS_MAX)
        spoken = await retention.set_retention(context, OPERATOR, NAME, rule)
        assert spoken.reach == Reach(SECONDS_MAX, BYTES_MIN)
        # What belongs to the server, and to other projects, is not concerned.
        for other in (DatabaseName.system("demo"), DatabaseName("another")):
            assert await context.retention.reach(other) == usual
    finally:
        await retention.set_retention(context, OPERATOR, NAME, NOTHING)
        said = await retention.set_project_retention(context, OPERATOR, "demo", NOTHING)
    assert (said.rule, said.reach) == (NOTHING, usual)
    assert (await retention.get_retention(context, OPERATOR, NAME)).reach == usual


async def test_the_default_of_a_project_is_no_database(shared: World) -> None:
    with pytest.raises(NotFound):
        await retention.set_retention(
            shared.context, OPERATOR, DatabaseName("demo", "*"), RetentionRule(seconds=SECONDS_MIN)
        )
    assert await shared.context.retention.get_default("demo") == NOTHING


@pytest.mark.parametrize("is_default", [False, True])
@pytest.mark.parametrize(
    ("rule", "field"),
    [
        (RetentionRule(seconds=SECONDS_MIN - 1), "seconds"),
        (RetentionRule(seconds=SECONDS_MAX + 1), "seconds"),
        (RetentionRule(bytes=BYTES_MIN - 1), "bytes"),
        (RetentionRule(bytes=BYTES_MAX + 1), "bytes"),
    ],
)
async def test_rules_have_bounds(
    shared: World, rule: RetentionRule, field: str, is_default: bool
) -> None:
    context = shared.context
    if is_default:
        refused: Awaitable[object] = retention.set_project_retention(
            context, OPERATOR, NAME.project, rule
        )
    else:
        refused = retention.set_retention(context, OPERATOR, NAME, rule)
    with pytest.raises(InvalidArgument, match=f"`{field}` must be from") as caught:
        await refused
    assert caught.value.reason == "InvalidRetention"
    assert (caught.value.details or {})["field"] == field


async def test_only_administrators_ask_and_say(shared: World) -> None:
    for caller in (ANONYMOUS, ADA):
        with pytest.raises(PermissionDenied):
            await retention.get_retention(shared.context, caller, NAME)
        with pytest.raises(PermissionDenied):
            await retention.set_retention(shared.context, caller, NAME, NOTHING)
        with pytest.raises(PermissionDenied):
            await retention.get_project_retention(shared.context, caller, "demo")
        with pytest.raises(PermissionDenied):
            await retention.set_project_retention(shared.context, caller, "demo", NOTHING)
    with pytest.raises(NotFound):
        await retention.get_project_retention(shared.context, OPERATOR, "nowhere")
    with pytest.raises(NotFound):
        await retention.set_project_retention(shared.context, OPERATOR, "nowhere", NOTHING)
    for name in (DatabaseName("demo", "elsewhere"), DatabaseName("nowhere")):
        with pytest.raises(NotFound):
            await retention.set_retention(shared.context, OPERATOR, name, NOTHING)


async def test_the_server_forgets_by_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "TRIM_SECONDS", 0.01)
    clock = VirtualClock()
    short, usual = DatabaseName("demo", "short"), DatabaseName("demo")
    async with started_app(make_settings(tmp_path / "data"), clock) as app:
        context = app.context
        assert context is not None
        await projects.create_project(context, OPERATOR, "demo")
        await projects.create_database(context, OPERATOR, "demo", "short")
        for name in (short, usual):
            for number in range(3):
                write = SetWrite(DocumentPath(("a", "b")), {"n": number})
                await commit(context, OPERATOR, name, [write])
                clock.advance(1)
        await retention.set_retention(context, OPERATOR, short, RetentionRule(seconds=SECONDS_MIN))
        clock.advance(SECONDS_MIN + 10)
        async with asyncio.timeout(90):
            while (  # noqa: ASYNC110  nobody tells
                await retention.get_retention(context, OPERATOR, short)
            ).kept.history_bytes:
                await asyncio.sleep(0.01)
        assert (await retention.get_retention(context, OPERATOR, usual)).kept.history_bytes > 0


async def test_the_next_project_of_an_id_inherits_nothing(shared: World) -> None:
    context, name = shared.context, DatabaseName("short")
    await projects.create_project(context, OPERATOR, "short")
    rule = RetentionRule(seconds=SECONDS_MIN)
    await retention.set_project_retention(context, OPERATOR, "short", rule)
    await retention.set_retention(context, OPERATOR, name, rule)
    await projects.delete_project(context, OPERATOR, "short")
    await projects.create_project(context, OPERATOR, "short")
    found = await retention.get_retention(context, OPERATOR, name)
    assert (found.rule, found.reach) == (NOTHING, Reach.of(context.settings))
    await projects.delete_project(context, OPERATOR, "short")
