"""Use cases on accounts: who may, and what an unknown project answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from baas.errors import BaasError, NotFound, PermissionDenied, Unauthenticated
from baas.services import accounts
from baas.services.authentication import identify
from baas.services.caller import ANONYMOUS, Caller, CallerKind
from baas.services.context import Context
from baas.services.projects import create_project
from baas.testing import make_settings, started_app

ADMIN = Caller(CallerKind.ADMIN, uid="operator")
OTHERS = [
    ANONYMOUS,
    Caller(CallerKind.USER, uid="ada", project="chat"),
    Caller(CallerKind.SECRET_KEY, project="chat"),
]
EMAIL, PASSWORD = "ada@example.com", "correct horse"

UseCase = Callable[[Context, Caller], Awaitable[Any]]
ADMINISTRATION: dict[str, UseCase] = {
    "list": lambda context, caller: accounts.list_users(context, caller, "chat"),
    "find": lambda context, caller: accounts.find_user(context, caller, "chat", EMAIL),
    "create": lambda context, caller: accounts.create_user(
        context, caller, "chat", EMAIL, PASSWORD
    ),
    "get": lambda context, caller: accounts.get_user(context, caller, "chat", "ada"),
    "update": lambda context, caller: accounts.update_user(
        context, caller, "chat", "ada", disabled=True
    ),
    "delete": lambda context, caller: accounts.delete_user(context, caller, "chat", "ada"),
    "rotate": lambda context, caller: accounts.rotate_signing_key(context, caller, "chat"),
}


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[Context]:
    async with started_app(make_settings(tmp_path / "data")) as app:
        await create_project(app.context, ADMIN, "chat")
        yield app.context


@pytest.mark.parametrize("use_case", ADMINISTRATION.values(), ids=ADMINISTRATION.keys())
async def test_only_administrators_administrate(context: Context, use_case: UseCase) -> None:
    for caller in OTHERS:
        with pytest.raises(PermissionDenied):
            await use_case(context, caller)


@pytest.mark.parametrize("use_case", ADMINISTRATION.values(), ids=ADMINISTRATION.keys())
async def test_projects_that_do_not_exist(context: Context, use_case: UseCase) -> None:
    await context.projects.delete_project("chat")
    with pytest.raises(NotFound) as caught:
        await use_case(context, ADMIN)
    assert caught.value.reason == "ProjectNotFound"


@pytest.mark.parametrize("project", ["nowhere", "../other", "__system__", ""])
async def test_apps_of_unknown_projects(context: Context, project: str) -> None:
    for work in (
        accounts.sign_up(context, project, EMAIL, PASSWORD, address=None),
        accounts.sign_in(context, project, EMAIL, PASSWORD, address=None),
        accounts.refresh(context, project, "x"),
        accounts.sign_out(context, project, "x"),
        accounts.get_jwks(context, project),
    ):
        with pytest.raises(BaasError) as caught:
            await work
        assert caught.value.reason in ("ProjectNotFound", "InvalidProjectId", "InvalidPath")
    assert not (context.settings.data / "projects" / "nowhere").exists()


async def test_the_life_of_an_account(context: Context) -> None:
    signed_up = await accounts.sign_up(context, "chat", EMAIL, PASSWORD, address="203.0.113.9")
    caller = await identify(context, "chat", signed_up.id_token)
    assert await accounts.get_me(context, caller) == signed_up.user
    signed_in = await accounts.sign_in(context, "chat", EMAIL, PASSWORD, address="203.0.113.9")
    refreshed = await accounts.refresh(context, "chat", signed_in.refresh_token)
    await accounts.sign_out(context, "chat", refreshed.refresh_token)
    with pytest.raises(Unauthenticated):
        await identify(context, "chat", refreshed.id_token)
    assert await identify(context, "chat", signed_up.id_token) == caller

    uid = signed_up.user.uid
    found = await accounts.find_user(context, ADMIN, "chat", EMAIL)
    assert found is not None
    assert found.uid == uid
    await accounts.rotate_signing_key(context, ADMIN, "chat")
    assert len((await accounts.get_jwks(context, "chat"))["keys"]) == 2
    await accounts.update_user(context, ADMIN, "chat", uid, disabled=True)
    with pytest.raises(Unauthenticated):
        await identify(context, "chat", signed_up.id_token)
    await accounts.delete_user(context, ADMIN, "chat", uid)
    assert (await accounts.list_users(context, ADMIN, "chat")).users == ()


async def test_me_is_for_users(context: Context) -> None:
    for caller in (ANONYMOUS, ADMIN, Caller(CallerKind.SECRET_KEY, project="chat")):
        with pytest.raises(Unauthenticated):
            await accounts.get_me(context, caller)
