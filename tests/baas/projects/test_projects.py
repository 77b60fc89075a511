"""Projects: making, changing, deleting; nothing of a deleted one comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest

from baas.database.names import DatabaseName
from baas.database.scan import scan_documents
from baas.errors import AlreadyExists, BaasError, InvalidArgument
from baas.model.paths import DocumentPath
from baas.model.timestamps import Timestamp
from baas.model.writes import SetWrite
from baas.projects.projects import Projects
from baas.projects.records import ApiKeyKind, Project, check_origins
from tests.baas.projects.conftest import World
from tests.untold import Untold

OTHER_RULES = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /notes/{note} { allow read: if request.auth != null; }
  }
}
"""


async def reason_of(work: Awaitable[Any]) -> str:
    with pytest.raises(BaasError) as caught:
        await work
    return caught.value.reason


async def test_a_project_has_a_default_database_and_denies_everything(world: World) -> None:
    made = await world.projects.create_project("chat", origins=["https://chat.example.com/"])
    assert (made.id, made.name, made.databases) == ("chat", "chat", ("(default)",))
    assert made.origins == ("https://chat.example.com",)
    for projects in (world.projects, world.another()):
        assert await projects.get_project("chat") == made
        assert await projects.list_projects() == (made,)
        release = await projects.rulesets.get_release("chat")
        assert (release.ruleset_id, release.note.deployed, release.version) == ("default", None, 0)
        assert "allow read, write: if false" in release.source
    await world.databases.open(DatabaseName("chat"))


async def test_who_is_told_what_is_committed_meets_no_older_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one who repeats a request of which the first answer was lost."""
    projects = world.projects
    await projects.create_project("chat")
    await projects.get_project("chat")
    engine = (await world.databases.system(None))._engine

    async def make_again_and_use() -> None:
        with pytest.raises(AlreadyExists):
            await projects.create_database("chat", "archive")
        await projects.check_database(DatabaseName("chat", "archive"))

    untold = Untold(engine, monkeypatch)
    making = asyncio.create_task(projects.create_database("chat", "archive"))
    await untold.committed.wait()
    again = asyncio.create_task(make_again_and_use())
    await asyncio.wait([again], timeout=0.2)  # it would fail by now
    untold.tell()
    await again
    await making


async def test_nothing_is_refused_for_what_memory_still_says(world: World) -> None:
    """A commit can be read in the database a moment before memory has followed it: whoever read
    there that a move is over may go on."""
    made = await world.projects.create_project("chat")
    world.projects._cache["chat"] = replace(made, moving="a move that is over")
    assert await world.projects.read_project("chat") == made
    await world.projects.create_database("chat", "archive")
    world.projects._cache["chat"] = replace(made, moving="a move that is over")
    await world.projects.delete_project("chat")


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "ab",
        "a" * 31,
        "Chat",
        "1chat",
        "chat_app",
        "../chat",
        "chat/x",
        "chät",
        "chat\n",
        None,
        7,
        ["chat"],
        "__system__",
    ],
)
async def test_bad_ids_make_no_files(world: World, bad: object) -> None:
    with pytest.raises(InvalidArgument):
        await world.projects.create_project(bad)
    assert not (world.settings.data / "projects").exists()


@pytest.mark.parametrize(
    ("given", "origins"),
    [
        ([], ()),
        (["*"], ("*",)),
        (["http://localhost:5173"], ("http://localhost:5173",)),
        (["HTTPS://App.Example.com"], ("https://app.example.com",)),
        (
            ["https://a.example:443", "http://a.example:80"],
            ("https://a.example", "http://a.example"),
        ),
        (["https://a.example", "https://a.example/"], ("https://a.example",)),
        (["http://[::1]:8080"], ("http://[::1]:8080",)),
    ],
)
def test_origins(given: list[str], origins: tuple[str, ...]) -> None:
    assert check_origins(given) == origins
    assert check_origins(list(origins)) == origins


@pytest.mark.parametrize(
    "bad",
    [
        "https://a.example",
        None,
        [None],
        [""],
        ["a.example"],
        ["null"],
        ["ftp://a.example"],
        ["https://"],
        ["https://a.example/path"],
        ["https://a.example?x"],
        ["https://user@a.example"],
        ["https://a.example:99999"],
        ["https://a.example:x"],
        ["https://*.example"] * 101,
        ["https://bücher.example"],
    ],
)
def test_bad_origins(bad: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_origins(bad)
    assert caught.value.reason == "InvalidOrigin"


async def test_update(projects: Projects) -> None:
    made = await projects.create_project("chat", name="Chat")
    changed = await projects.update_project("chat", name="Talk")
    assert (changed.name, changed.origins, changed.created) == ("Talk", (), made.created)
    changed = await projects.update_project("chat", origins=["*"])
    assert (changed.name, changed.origins) == ("Talk", ("*",))
    assert await projects.get_project("chat") == changed
    assert await reason_of(projects.update_project("nowhere", name="x")) == "ProjectNotFound"
    assert await reason_of(projects.update_project("chat", name="a\nb")) == "InvalidName"
    assert await reason_of(projects.update_project("chat", name="x" * 101)) == "InvalidName"


async def test_of_many_at_once_one_creates_the_project(projects: Projects) -> None:
    outcomes = await asyncio.gather(
        *(projects.create_project("chat", name=f"n{n}") for n in range(20)), return_exceptions=True
    )
    assert sum(isinstance(one, Project) for one in outcomes) == 1
    assert sum(isinstance(one, AlreadyExists) for one in outcomes) == 19


async def test_databases(world: World) -> None:
    projects = world.projects
    await projects.create_project("chat")
    await projects.create_database("chat", "archive")
    assert (await projects.get_project("chat")).databases == ("(default)", "archive")
    await projects.check_database(DatabaseName("chat", "archive"))
    assert await projects.list_all_databases() == [
        DatabaseName("chat", one) for one in ("__system__", "(default)", "archive")
    ]
    await world.databases.open(DatabaseName("chat", "archive"))
    assert await reason_of(projects.create_database("chat", "archive")) == "DatabaseExists"
    assert await reason_of(projects.create_database("chat", "(default)")) == "DatabaseExists"
    for bad in ("default", "__system__", "../archive", "Archive", None):
        assert await reason_of(projects.create_database("chat", bad)) in (
            "InvalidDatabaseId",
            "InvalidArgument",
        )
    assert await reason_of(projects.check_database(DatabaseName("chat", "x"))) == "DatabaseNotFound"
    assert await reason_of(projects.check_database(DatabaseName("chat", "__system__"))) == (
        "DatabaseNotFound"
    )
    assert await reason_of(projects.check_database(DatabaseName("nowhere"))) == "ProjectNotFound"


async def test_nothing_of_a_deleted_project_comes_back(world: World) -> None:
    projects = world.projects
    first = await projects.create_project("chat", name="Chat", origins=["*"])
    _, key = await projects.keys.create("chat", ApiKeyKind.SECRET, "server")
    await projects.create_database("chat", "archive")
    await projects.rulesets.deploy("chat", OTHER_RULES)
    database = await world.databases.open(DatabaseName("chat"))
    incarnation = database.incarnation
    note = DocumentPath(("notes", "a"))
    await database.run_transaction(
        lambda transaction: transaction.write([SetWrite(note, {"x": 1})]),
        request_time=Timestamp(world.clock.now_microseconds()),
    )
    told: list[str] = []
    projects.watch_deletions(told.append)

    await projects.delete_project("chat")

    assert told == ["chat"]
    assert not (world.settings.data / "projects" / "chat").exists()
    for one in (projects, world.another()):
        assert await reason_of(one.get_project("chat")) == "ProjectNotFound"
        assert await one.list_projects() == ()
        assert await reason_of(one.keys.authenticate("chat", key)) == "ApiKeyInvalid"
    assert await reason_of(projects.delete_project("chat")) == "ProjectNotFound"
    left = [
        one async for batch in scan_documents(await world.databases.system(None)) for one in batch
    ]
    assert left == []

    second = await projects.create_project("chat")
    assert second.incarnation != first.incarnation
    assert (second.databases, second.origins) == (("(default)",), ())
    assert await reason_of(projects.keys.authenticate("chat", key)) == "ApiKeyInvalid"
    assert await projects.keys.list_all("chat") == ()
    assert (await projects.rulesets.get_release("chat")).ruleset_id == "default"
    database = await world.databases.open(DatabaseName("chat"))
    assert database.incarnation != incarnation
    assert await database.get_documents([note]) == [None]


async def test_a_deletion_that_was_cut_off_is_finished(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    projects = world.projects
    await projects.create_project("chat")
    _, key = await projects.keys.create("chat", ApiKeyKind.SECRET, "server")

    async def fail(project: str) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr(world.databases, "delete_project", fail)
        with pytest.raises(OSError, match="the disk is gone"):
            await projects.delete_project("chat")
    # Gone for everybody, and the id is not free.
    for one in (projects, world.another()):
        assert await reason_of(one.get_project("chat")) == "ProjectNotFound"
        assert await reason_of(one.keys.authenticate("chat", key)) == "ApiKeyInvalid"
        assert await reason_of(one.create_project("chat")) == "ProjectBeingDeleted"
        assert await reason_of(one.update_project("chat", name="x")) == "ProjectNotFound"
        assert await reason_of(one.keys.create("chat", ApiKeyKind.SECRET, "")) == "ProjectNotFound"
        assert await reason_of(one.rulesets.deploy("chat", OTHER_RULES)) == "ProjectNotFound"
    assert await world.another().finish_deletions() == ["chat"]
    assert await world.another().finish_deletions() == []
    await projects.create_project("chat")
