"""API keys: shown once, stored hashed, of one project, revoked at once."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest

from baas.database.scan import scan_documents
from baas.errors import BaasError, InvalidArgument, NotFound
from baas.projects.keys import KEYS_PER_PROJECT_MAX, check_kind
from baas.projects.projects import Projects
from baas.projects.records import ApiKeyKind
from tests.baas.projects.conftest import World

PUBLISHABLE, SECRET = ApiKeyKind.PUBLISHABLE, ApiKeyKind.SECRET


@pytest.fixture(autouse=True)
async def made(projects: Projects) -> None:
    await projects.create_project("chat")
    await projects.create_project("other")


async def reason_of(work: Awaitable[Any]) -> str:
    with pytest.raises(BaasError) as caught:
        await work
    return caught.value.reason


@pytest.mark.parametrize(("kind", "prefix"), [(PUBLISHABLE, "baas_pk_"), (SECRET, "baas_sk_")])
async def test_keys(world: World, kind: ApiKeyKind, prefix: str) -> None:
    key, text = await world.projects.keys.create("chat", kind, "web")
    assert text.startswith(prefix)
    assert len(text) == len(prefix) + 32
    assert (key.kind, key.name, key.revoked) == (kind, "web", None)
    assert key.text == (text if kind is PUBLISHABLE else None)
    assert text.startswith(key.prefix)
    assert len(key.prefix) == len(prefix) + 6
    for projects in (world.projects, world.another()):
        for _ in range(2):
            assert await projects.keys.authenticate("chat", text) == key
        assert await projects.keys.list_all("chat") == (key,)


async def test_a_secret_key_is_stored_hashed_only(world: World) -> None:
    _, text = await world.projects.keys.create("chat", SECRET, "server")
    database = await world.databases.system(None)
    seen = b""
    async for documents in scan_documents(database):
        seen += b"".join(str(one.path).encode() + one.data for one in documents)
    assert text.encode() not in seen
    assert text.removeprefix("baas_sk_")[10:].encode() not in seen


async def test_a_key_is_of_one_project(projects: Projects) -> None:
    _, text = await projects.keys.create("chat", SECRET, "")
    await projects.keys.authenticate("chat", text)
    assert await reason_of(projects.keys.authenticate("other", text)) == "ApiKeyInvalid"
    assert await reason_of(projects.keys.authenticate("nowhere", text)) == "ApiKeyInvalid"


async def test_revocation_takes_effect_at_once(world: World) -> None:
    keys = world.projects.keys
    key, text = await keys.create("chat", SECRET, "")
    other, other_text = await keys.create("chat", SECRET, "")
    await keys.authenticate("chat", text)
    await keys.revoke("chat", key.id)
    await keys.revoke("chat", key.id)
    for one in (keys, world.another().keys):
        assert await reason_of(one.authenticate("chat", text)) == "ApiKeyInvalid"
        assert await one.authenticate("chat", other_text) == other
    listed = {one.id: one.revoked for one in await keys.list_all("chat")}
    assert listed[key.id] is not None
    assert listed[other.id] is None


async def test_a_key_is_revoked_within_its_project_only(projects: Projects) -> None:
    key, text = await projects.keys.create("chat", SECRET, "")
    for project, identifier in (
        ("other", key.id),
        ("chat", "nothing"),
        ("chat", ""),
        ("chat", f"x/{key.id}"),
        ("", key.id),
        ("chat/keys", key.id),
    ):
        with pytest.raises(NotFound):
            await projects.keys.revoke(project, identifier)
    await projects.keys.authenticate("chat", text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "baas_pk_",
        "baas_sk_" + "A" * 32,
        "x",
        "baas_sk_" + "A" * 500,
        "baas_sk_../x",
        "baas_sk_é",
    ],
)
async def test_guessed_keys(projects: Projects, text: str) -> None:
    assert await reason_of(projects.keys.authenticate("chat", text)) == "ApiKeyInvalid"


async def test_the_number_of_keys_is_bounded(projects: Projects) -> None:
    for _ in range(KEYS_PER_PROJECT_MAX):
        await projects.keys.create("chat", PUBLISHABLE, "")
    assert await reason_of(projects.keys.create("chat", PUBLISHABLE, "")) == "TooManyKeys"
    await projects.delete_project("chat")
    assert await projects.keys.list_all("chat") == ()


async def test_keys_of_unknown_projects(projects: Projects) -> None:
    assert await reason_of(projects.keys.create("nowhere", SECRET, "")) == "ProjectNotFound"


@pytest.mark.parametrize("kind", ["admin", "", None, 7, ["secret"], {"secret": 1}])
def test_unknown_kinds(kind: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_kind(kind)
    assert caught.value.reason == "InvalidKeyKind"
