"""A project under rules, for tests of the use cases: below HTTP, above a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baas.app import App
from baas.database.names import DatabaseName
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import And, FieldFilter, Operator, Query
from baas.model.values import Value
from baas.model.writes import SetWrite
from baas.projects.jobs import Job, JobState
from baas.services import documents, jobs
from baas.services.caller import Caller, CallerKind
from baas.services.context import Context
from baas.testing import make_settings, started_app

NAME = DatabaseName("demo")
OPERATOR = Caller(CallerKind.ADMIN, uid="operator")
SECRET = Caller(CallerKind.SECRET_KEY, project="demo")


def user(uid: str, **claims: Any) -> Caller:
    return Caller(CallerKind.USER, uid, {"sub": uid, **claims}, project="demo")


ADA, EVE = user("ada"), user("eve")


def path(text: str) -> DocumentPath:
    return DocumentPath.parse(text)


def query(collection: str, *filters: tuple[str, str, Value], limit: int | None = None) -> Query:
    """A query of equality filters and the like, all of which must hold."""
    made = tuple(
        FieldFilter(FieldPath.parse(field), Operator(word), value) for field, word, value in filters
    )
    where = None if not made else made[0] if len(made) == 1 else And(made)
    return Query(CollectionPath.parse(collection), where=where, limit=limit)


@dataclass
class World:
    app: App
    context: Context

    async def deploy(self, *matches: str, functions: str = "") -> None:
        """Puts rules in force, made of `match` blocks below the documents root."""
        source = (
            "rules_version = '2'; service cloud.firestore {"
            " match /databases/{database}/documents {" + functions + "\n".join(matches) + "}}"
        )
        await self.context.projects.rulesets.deploy("demo", source, allow_open=True)

    async def put(self, **documents_by_path: Mapping[str, Value]) -> None:
        """Writes documents past the rules; `a__b` stands for the path `a/b`."""
        writes = [
            SetWrite(path(name.replace("__", "/")), dict(fields))
            for name, fields in documents_by_path.items()
        ]
        await documents.commit(self.context, OPERATOR, NAME, writes)


async def over(world: World, job: Job) -> Job:
    """The job when it does not run any more."""
    async with asyncio.timeout(90):
        while True:
            job = await jobs.get_job(world.context, OPERATOR, "demo", job.id)
            if job.state is not JobState.RUNNING:
                return job
            await asyncio.sleep(0.01)


@asynccontextmanager
async def open_world(data: Path, **settings: Any) -> AsyncIterator[World]:
    """A started application with the project `demo`, whose rules deny everything."""
    async with started_app(make_settings(data, **settings)) as app:
        await app.context.projects.create_project("demo")
        yield World(app, app.context)
