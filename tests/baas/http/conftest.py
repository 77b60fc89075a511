"""A started application with one project, one user, and clients of several kinds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest_asyncio

from baas.app import App
from baas.testing import app_client, make_settings, started_app
from tests.undisturbed import undisturbed

__all__ = ["undisturbed"]

RULES = """
rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /users/{uid} {
      allow read, write: if request.auth != null && request.auth.uid == uid;
      match /{document=**} {
        allow read, write: if request.auth != null && request.auth.uid == uid;
      }
    }
    match /public/{id} {
      allow read: if request.auth != null || request.auth == null;
    }
    match /owned/{id} {
      allow read, update, delete: if resource.data.owner == request.auth.uid;
      allow create: if request.resource.data.owner == request.auth.uid;
    }
    match /guarded/{id} {
      allow read, write: if exists(/databases/$(database)/documents/members/$(request.auth.uid));
    }
    match /paired/{id} {
      allow write: if getAfter(/databases/$(database)/documents/public/$(id)).data.n == 1;
    }
  }
}
"""
PROJECT = "demo"
BASE = f"/api/v1/projects/{PROJECT}/documents"
ADMIN = f"/api/v1/admin/projects/{PROJECT}"
PASSWORD = "difference engine"


@dataclass
class World:
    """What a test works with: clients with the rights that their names say."""

    app: App
    operator: httpx.AsyncClient
    anonymous: httpx.AsyncClient
    user: httpx.AsyncClient
    secret: httpx.AsyncClient
    uid: str
    api_key: str
    id_token: str
    refresh_token: str
    secret_key: str


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with started_app(make_settings(tmp_path / "data")) as app, open_world(app) as opened:
        yield opened


@pytest_asyncio.fixture
async def dev_world(tmp_path: Path) -> AsyncIterator[World]:
    """The same in development mode."""
    settings = make_settings(tmp_path / "dev", dev=True)
    async with started_app(settings) as app, open_world(app) as opened:
        yield opened


class open_world:
    """A project with rules, a user and keys."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._clients: list[httpx.AsyncClient] = []

    def _client(self, token: str | None) -> httpx.AsyncClient:
        client = app_client(self._app, token)
        self._clients.append(client)
        return client

    async def __aenter__(self) -> World:
        operator = self._client(self._app.operator_token)
        created = await operator.post("/api/v1/admin/projects", json={"id": PROJECT})
        assert created.status_code == 201, created.text
        deployed = await operator.put(f"{ADMIN}/rules", json={"source": RULES, "allow_open": True})
        assert deployed.status_code == 200, deployed.text
        publishable = await operator.post(f"{ADMIN}/keys", json={"kind": "publishable"})
        secret = await operator.post(f"{ADMIN}/keys", json={"kind": "secret", "name": "jobs"})
        anonymous = self._client(None)
        signed_up = await anonymous.post(
            f"/api/v1/projects/{PROJECT}/accounts:sign-up",
            json={"email": "ada@example.com", "password": PASSWORD},
            headers={"x-api-key": publishable.json()["key"]},
        )
        assert signed_up.status_code == 201, signed_up.text
        session = signed_up.json()
        return World(
            app=self._app,
            operator=operator,
            anonymous=anonymous,
            user=self._client(session["id_token"]),
            secret=self._client(secret.json()["key"]),
            uid=session["user"]["uid"],
            api_key=publishable.json()["key"],
            id_token=session["id_token"],
            refresh_token=session["refresh_token"],
            secret_key=secret.json()["key"],
        )

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.aclose()
