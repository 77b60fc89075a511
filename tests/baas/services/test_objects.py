"""Use cases on objects that HTTP's tests do not show."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from baas.buckets.names import BucketName
from baas.buckets.objects import Declared
from baas.errors import PermissionDenied, TokenInvalid
from baas.model.writes import DeleteWrite
from baas.services import documents, objects
from baas.services.authentication import identify
from tests.baas.services.worlds import EVE, NAME, OPERATOR, World, path

PLACE = BucketName("demo", "files")
RULES = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents { match /none { allow read: if false; } }
}
service firebase.storage {
  match /b/{bucket}/o {
    match /{name=**} {
      allow write: if %s;
    }
  }
}
"""
MEMBER = "firestore.exists(/databases/(default)/documents/members/$(request.auth.uid))"


async def deploy(world: World, condition: str) -> None:
    await world.context.projects.rulesets.deploy("demo", RULES % condition, allow_open=True)


@pytest.mark.parametrize("taken_away", ["rules", "membership"])
async def test_right_that_ends_while_bytes_come_is_asked_for_again(
    world: World, taken_away: str
) -> None:
    await world.context.objects.create_bucket("demo", "files")
    await deploy(world, MEMBER)
    await world.put(members__eve={"active": True})

    async def chunks() -> AsyncIterator[bytes]:
        yield b"half"
        if taken_away == "rules":
            await deploy(world, "false")
        else:
            gone = DeleteWrite(path("members/eve"))
            await documents.commit(world.context, OPERATOR, NAME, [gone])
        yield b"half"

    with pytest.raises(PermissionDenied):
        await objects.put_object(world.context, EVE, PLACE, "a", chunks(), Declared(size=8))
    assert await world.context.objects.find(PLACE, "a") is None


async def test_upload_of_a_user_who_is_disabled_meanwhile_is_refused(world: World) -> None:
    await world.context.objects.create_bucket("demo", "files")
    await deploy(world, "request.auth != null")
    accounts = world.context.accounts
    signed_in = await accounts.sign_up("demo", "eve@example.com", "correct horse")
    caller = await identify(world.context, "demo", signed_in.id_token)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"half"
        await accounts.users.update("demo", signed_in.user.uid, disabled=True)
        yield b"half"

    with pytest.raises(TokenInvalid):
        await objects.put_object(world.context, caller, PLACE, "a", chunks(), Declared(size=8))
    assert await world.context.objects.find(PLACE, "a") is None
