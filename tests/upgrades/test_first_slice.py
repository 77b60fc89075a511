"""A data folder that the first slice wrote is served as it stands: documents, history, indexes,
users, rules. `first_slice.tar.xz` was made with that version's own commands."""

from __future__ import annotations

import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from baas.app import App
from baas.database.names import DatabaseName
from baas.model.paths import CollectionPath, DocumentPath, FieldPath
from baas.model.queries import FieldFilter, Operator, Order, Query
from baas.model.timestamps import Timestamp
from baas.model.values import Reference
from baas.model.writes import SetWrite
from baas.services import past
from baas.services.documents import commit
from baas.services.projects import create_key
from baas.testing import app_client, make_settings, started_app
from tests.baas.services.worlds import OPERATOR

NAME = DatabaseName("demo")
FIXTURE = Path(__file__).with_name("first_slice.tar.xz")


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path, filter="data")
    settings = make_settings(tmp_path / "data", index_idle_seconds=0)
    async with started_app(settings) as opened:
        yield opened


async def test_everything_is_there_and_goes_on(app: App) -> None:
    context = app.context
    database = await context.databases.open(NAME)
    (ada, eve) = await database.get_documents(
        [DocumentPath.parse("users/ada"), DocumentPath.parse("users/eve")]
    )
    assert eve is None
    assert ada is not None
    assert ada.fields == {
        "name": "Ada",
        "born": 1816,
        "tags": ["math", "engine"],
        "since": Timestamp(1767323045000006),
    }
    versions = await past.list_versions(context, OPERATOR, NAME, ada.path, page_size=9)
    assert [one.kind.value for one in versions.versions] == ["updated", "created"]
    group = FieldFilter(FieldPath(("group",)), Operator.EQUAL, 3)
    query = Query(
        CollectionPath(("many",)), where=group, order_by=(Order(FieldPath(("n",))),), limit=5
    )
    async with database.snapshot() as snapshot:
        snapshot.meter()
        found, _ = await snapshot.read_first(query, bytes_max=1_000_000)
        told = snapshot.explain(query, returned=5, seconds=0.0)
        friend = DocumentPath.parse("users/eve")
        (image,) = await snapshot.read_history(friend, below=2**62, limit=9)
        (then,) = await snapshot.get_documents_at([friend], image.version)
    assert [one.fields["n"] for one in found] == [3, 10, 17, 24, 31]
    assert [scan.kind for scan in told.scans] == ["index"]
    assert then is not None
    assert len(then.data) == image.size
    assert then.fields["friend"] == Reference(DocumentPath.parse("users/ada"))
    result = await commit(context, OPERATOR, NAME, [SetWrite(ada.path, {"born": 1815})])
    assert result.version > ada.version


async def test_its_users_sign_in_under_its_rules(app: App) -> None:
    _, key = await create_key(app.context, OPERATOR, "demo", kind="publishable", name="")
    async with app_client(app) as client:
        answer = await client.post(
            "/api/v1/projects/demo/accounts:sign-in",
            json={"email": "ada@example.com", "password": "correct horse battery"},
            headers={"x-api-key": key or ""},
        )
        assert answer.status_code == 200
        bearer = {"authorization": f"Bearer {answer.json()['id_token']}"}
        base = "/api/v1/projects/demo/documents"
        denied = await client.get(f"{base}/users/ada", headers=bearer)
        assert denied.status_code == 403
        missing = await client.get(f"{base}/users/{answer.json()['user']['uid']}", headers=bearer)
        assert missing.status_code == 404
