"""Use cases on administrators."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from baas.app import App
from baas.errors import PermissionDenied, TokenInvalid
from baas.services import admins
from baas.services.authentication import identify
from baas.services.caller import ANONYMOUS, Caller, CallerKind
from baas.services.context import Context
from baas.testing import make_settings, started_app

OPERATOR = Caller(CallerKind.ADMIN, uid="operator")
EMAIL, PASSWORD = "ada@example.com", "correct horse"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with started_app(make_settings(tmp_path / "data")) as app:
        yield app


@pytest.fixture
def context(app: App) -> Context:
    return app.context


async def test_the_first_administrator_comes_by_the_printed_link(
    app: App, context: Context, tmp_path: Path
) -> None:
    session = await admins.set_up(context, app.setup_token, EMAIL, PASSWORD)
    caller = await identify(context, None, session.token)
    assert await admins.get_me(context, caller) == session.admin
    with pytest.raises(TokenInvalid):
        await admins.set_up(context, app.setup_token, "eve@example.com", PASSWORD)
    signed_in = await admins.sign_in(context, EMAIL, PASSWORD, address=None)
    await admins.sign_out(context, await identify(context, None, signed_in.token))
    with pytest.raises(TokenInvalid):
        await identify(context, None, signed_in.token)
    await admins.get_me(context, caller)


async def test_no_link_is_printed_once_there_is_an_administrator(tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data")
    async with started_app(settings) as first:
        token = first.setup_token
    async with started_app(settings) as second:
        assert second.setup_token not in (None, token)
        await admins.create_admin(second.context, OPERATOR, EMAIL, PASSWORD)
    async with started_app(settings) as third:
        assert third.setup_token is None
        assert [one.email for one in await admins.list_admins(third.context, OPERATOR)] == [EMAIL]


async def test_the_operator_has_no_account(context: Context) -> None:
    assert await admins.get_me(context, OPERATOR) is None
    await admins.sign_out(context, OPERATOR)


async def test_only_administrators_administrate(context: Context) -> None:
    for caller in (
        ANONYMOUS,
        Caller(CallerKind.USER, uid="ada", project="chat"),
        Caller(CallerKind.SECRET_KEY, project="chat"),
    ):
        for work in (
            admins.get_me(context, caller),
            admins.sign_out(context, caller),
            admins.create_admin(context, caller, EMAIL, PASSWORD),
            admins.list_admins(context, caller),
        ):
            with pytest.raises(PermissionDenied):
                await work
