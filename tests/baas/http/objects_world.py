"""A project with a bucket, rules of objects, and clients of several kinds, on either store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from baas.app import App
from baas.clock import Clock
from baas.testing import app_client, make_settings, started_app

RULES = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /{document=**} { allow read, write: if false; }
  }
}
service firebase.storage {
  match /b/{bucket}/o {
    match /users/{uid}/{file=**} {
      allow read, delete: if request.auth.uid == uid;
      allow create: if request.auth.uid == uid && request.resource.size < 1000;
      allow update: if request.auth.uid == uid && resource.metadata.get('locked', 'no') != 'yes'
                    && request.resource.contentType == resource.contentType;
    }
    match /public/{file=**} { allow get: if request.auth != null || request.auth == null; }
    match /listed/{file} { allow read: if request.auth != null; }
    match /listed { allow list: if request.auth != null; }
    match /members/{file} {
      allow read: if firestore.exists(/databases/(default)/documents/members/$(request.auth.uid));
    }
    match /checked/{file} {
      allow create: if request.resource.md5Hash == 'XUFAKrxLKna5cZ2REBfFkg=='
                    && request.resource.contentType.matches('text/.*')
                    && request.resource.metadata.owner == request.auth.uid
                    && request.resource.name == 'checked/' + file
                    && request.resource.bucket == bucket;
    }
  }
}
"""
PASSWORD = "difference engine"
ADMIN = "/api/v1/admin/projects/demo"
BUCKET = "/api/v1/projects/demo/buckets/default"
OBJECTS = f"{BUCKET}/objects"
UPLOADS = f"{BUCKET}/uploads"


@dataclass
class ObjectWorld:
    """`user` is ada, `other` is bob; `uid` is ada's. Without users, which cost the time of hashing
    passwords, both are strangers."""

    app: App
    operator: httpx.AsyncClient
    anonymous: httpx.AsyncClient
    user: httpx.AsyncClient
    other: httpx.AsyncClient
    secret: httpx.AsyncClient
    uid: str

    @property
    def mine(self) -> str:
        """The folder of ada."""
        return f"{OBJECTS}/users/{self.uid}"


@asynccontextmanager
async def object_world(
    data: Path,
    *,
    clock: Clock | None = None,
    rules: str = RULES,
    users: bool = True,
    **settings: Any,
) -> AsyncIterator[ObjectWorld]:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(started_app(make_settings(data, **settings), clock))

        async def client(token: str | None) -> httpx.AsyncClient:
            return await stack.enter_async_context(app_client(app, token))

        operator, anonymous = await client(app.operator_token), await client(None)
        ok(await operator.post("/api/v1/admin/projects", json={"id": "demo"}))
        ok(await operator.put(f"{ADMIN}/rules", json={"source": rules, "allow_open": True}))
        ok(await operator.post(f"{ADMIN}/buckets", json={"id": "default"}))
        key = ok(await operator.post(f"{ADMIN}/keys", json={"kind": "publishable"}))["key"]
        secret = ok(await operator.post(f"{ADMIN}/keys", json={"kind": "secret"}))["key"]
        sessions = [
            ok(
                await anonymous.post(
                    "/api/v1/projects/demo/accounts:sign-up",
                    json={"email": f"{name}@example.com", "password": PASSWORD},
                    headers={"x-api-key": key},
                )
            )
            for name in (("ada", "bob") if users else ())
        ]
        if not users:
            yield ObjectWorld(
                app, operator, anonymous, anonymous, anonymous, await client(secret), uid=""
            )
            return
        yield ObjectWorld(
            app=app,
            operator=operator,
            anonymous=anonymous,
            user=await client(sessions[0]["id_token"]),
            other=await client(sessions[1]["id_token"]),
            secret=await client(secret),
            uid=sessions[0]["user"]["uid"],
        )


def ok(answer: httpx.Response) -> Any:
    """The answer's JSON, if it is one of success."""
    assert answer.is_success, answer.text
    return answer.json()


def reason(answer: httpx.Response) -> tuple[int, str]:
    """The status and reason of an error."""
    return answer.status_code, answer.json()["error"]["reason"]


DENIED = (403, "PermissionDenied")
