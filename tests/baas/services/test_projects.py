"""Use cases on projects: who may, and what deletion means for those who are signed in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from baas.errors import BaasError, NotFound, PermissionDenied, TokenInvalid
from baas.services import accounts, projects
from baas.services.authentication import identify
from baas.services.caller import ANONYMOUS, Caller, CallerKind
from baas.services.context import Context
from baas.testing import make_settings, started_app

ADMIN = Caller(CallerKind.ADMIN, uid="operator")
OTHERS = [
    ANONYMOUS,
    Caller(CallerKind.USER, uid="ada", project="chat"),
    Caller(CallerKind.SECRET_KEY, project="chat"),
]
EMAIL, PASSWORD = "ada@example.com", "correct horse"

UseCase = Callable[[Context, Caller], Awaitable[Any]]
USE_CASES: dict[str, UseCase] = {
    "create": lambda context, caller: projects.create_project(context, caller, "new"),
    "list": lambda context, caller: projects.list_projects(context, caller),
    "get": lambda context, caller: projects.get_project(context, caller, "chat"),
    "update": lambda context, caller: projects.update_project(context, caller, "chat", name="x"),
    "delete": lambda context, caller: projects.delete_project(context, caller, "chat"),
    "create key": lambda context, caller: projects.create_key(
        context, caller, "chat", kind="secret"
    ),
    "list keys": lambda context, caller: projects.list_keys(context, caller, "chat"),
    "revoke key": lambda context, caller: projects.revoke_key(context, caller, "chat", "x"),
    "list databases": lambda context, caller: projects.list_databases(context, caller, "chat"),
    "create database": lambda context, caller: projects.create_database(
        context, caller, "chat", "archive"
    ),
}


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[Context]:
    async with started_app(make_settings(tmp_path / "data")) as app:
        await projects.create_project(app.context, ADMIN, "chat")
        yield app.context


@pytest.mark.parametrize("use_case", USE_CASES.values(), ids=USE_CASES.keys())
async def test_only_administrators(context: Context, use_case: UseCase) -> None:
    for caller in OTHERS:
        with pytest.raises(PermissionDenied):
            await use_case(context, caller)
    assert [one.id for one in await projects.list_projects(context, ADMIN)] == ["chat"]


@pytest.mark.parametrize(
    "use_case",
    [use_case for name, use_case in USE_CASES.items() if name not in ("create", "list")],
    ids=[name for name in USE_CASES if name not in ("create", "list")],
)
async def test_unknown_projects(context: Context, use_case: UseCase) -> None:
    await projects.delete_project(context, ADMIN, "chat")
    with pytest.raises(NotFound) as caught:
        await use_case(context, ADMIN)
    assert caught.value.reason == "ProjectNotFound"


async def test_a_project_made_again_knows_no_old_token_key_or_user(context: Context) -> None:
    _, secret = await projects.create_key(context, ADMIN, "chat", kind="secret")
    signed_in = await accounts.sign_up(context, "chat", EMAIL, PASSWORD, address=None)
    tokens = (signed_in.id_token, secret)
    for token in tokens:
        await identify(context, "chat", token)
    await projects.delete_project(context, ADMIN, "chat")
    for token in tokens:
        with pytest.raises(BaasError):
            await identify(context, "chat", token)
    await projects.create_project(context, ADMIN, "chat")
    for token in tokens:
        with pytest.raises(TokenInvalid):
            await identify(context, "chat", token)
    with pytest.raises(TokenInvalid):
        await accounts.refresh(context, "chat", signed_in.refresh_token)
    await accounts.sign_up(context, "chat", EMAIL, PASSWORD, address=None)


async def test_keys_and_databases(context: Context) -> None:
    key, text = await projects.create_key(context, ADMIN, "chat", kind="secret", name="jobs")
    assert (await identify(context, "chat", text)).kind is CallerKind.SECRET_KEY
    assert await projects.list_keys(context, ADMIN, "chat") == (key,)
    await projects.revoke_key(context, ADMIN, "chat", key.id)
    with pytest.raises(TokenInvalid):
        await identify(context, "chat", text)
    await projects.create_database(context, ADMIN, "chat", "archive")
    assert await projects.list_databases(context, ADMIN, "chat") == ("(default)", "archive")
