"""Commits read again from the log, and the memory of recent ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baas.database import log as log_module
from baas.database.database import Database
from baas.database.indexes import IndexDefinition, IndexField, IndexKind
from baas.database.log import CommitEvent, RecentCommits
from baas.encoding import keys
from baas.encoding.documents import StoredDocument
from baas.errors import ResumeTokenExpired
from baas.model.paths import FieldPath
from baas.model.values import Fields
from baas.storage.engine import Change
from tests.baas.database.acts import delete, doc, fields, increment, put, write
from tests.baas.database.engines import SteeredEngine
from tests.effort import examples

Image = Fields | None


def image(document: StoredDocument | None) -> Image:
    return None if document is None else document.fields


def images(event: CommitEvent) -> dict[str, tuple[Image, Image]]:
    return {str(change.path): (image(change.old), image(change.new)) for change in event.changes}


def versions(event: CommitEvent) -> list[tuple[int | None, int | None]]:
    return [
        (
            None if change.old is None else change.old.version,
            None if change.new is None else change.new.version,
        )
        for change in event.changes
    ]


async def read_all(database: Database, after: int, limit: int) -> list[CommitEvent]:
    events: list[CommitEvent] = []
    async with database.snapshot() as snapshot:
        while found := await snapshot.read_commits(after, limit=limit):
            events += found
            after = found[-1].version
    return events


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_log_tells_the_same_as_the_feed(database: Database, limit: int) -> None:
    told: list[CommitEvent] = []
    database.subscribe(told.append)
    await write(database, put("c/a", {"n": 1}), put("c/b", {"n": 1}))
    await write(database, increment("c/a"), delete("c/b"))
    await write(database, put("c/b", {"n": 9}), delete("c/a"))
    await write(database, put("c/a", {"n": 5}))
    read = await read_all(database, 0, limit)
    assert [event.version for event in read] == [event.version for event in told]
    assert [images(event) for event in read] == [images(event) for event in told]
    assert [versions(event) for event in read] == [versions(event) for event in told]
    assert [event.version for event in await read_all(database, told[1].version, limit)] == [
        event.version for event in told[2:]
    ]


async def test_log_is_read_up_to_the_snapshot_and_no_further(database: Database) -> None:
    await write(database, put("c/a", {"n": 1}))
    async with database.snapshot() as snapshot:
        await write(database, put("c/a", {"n": 2}))
        (event,) = await snapshot.read_commits(0)
        assert images(event) == {"c/a": (None, {"n": 1})}
        (change,) = await snapshot.read_net_changes(0)
        assert image(change.new) == {"n": 1}


async def test_net_changes_compare_two_versions(database: Database) -> None:
    start = await write(database, put("c/kept", {}), put("c/changed", {"n": 1}), put("c/gone", {}))
    await write(database, put("c/new", {"n": 1}), put("c/changed", {"n": 2}))
    await write(database, delete("c/gone"), put("c/passing", {}), put("c/changed", {"n": 3}))
    await write(database, delete("c/passing"), put("c/new", {"n": 2}))
    async with database.snapshot() as snapshot:
        changes = await snapshot.read_net_changes(start.version)
        assert await snapshot.read_net_changes(snapshot.version) == []
    assert [(str(change.path), image(change.old), image(change.new)) for change in changes] == [
        ("c/changed", {"n": 1}, {"n": 3}),
        ("c/gone", {}, None),
        ("c/new", None, {"n": 2}),
    ]


async def test_net_changes_over_more_than_one_read_of_the_log(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "_READ_RECORDS", 3)
    for number in range(10):
        await write(database, put(f"c/{number}", {}), increment("c/n"))
    async with database.snapshot() as snapshot:
        assert len(await snapshot.read_net_changes(0)) == 11


async def test_resuming_is_possible_exactly_as_far_as_the_log_reaches(
    database: Database, engine: SteeredEngine
) -> None:
    made = [(await write(database, increment("c/a"))).version for _ in range(5)]
    await engine.trim(made[2], limit=100)
    assert await database.read_oldest_version() == made[2]
    async with database.snapshot() as snapshot:
        (change,) = await snapshot.read_net_changes(made[2])
        assert (image(change.old), image(change.new)) == ({"n": 3}, {"n": 5})
        events = await snapshot.read_commits(made[2])
        assert [images(event)["c/a"] for event in events] == [
            ({"n": 3}, {"n": 4}),
            ({"n": 4}, {"n": 5}),
        ]
        for read in (snapshot.read_net_changes, snapshot.read_commits):
            with pytest.raises(ResumeTokenExpired):
                await read(made[2] - 1)
    assert await fields(database, "c/a") == [{"n": 5}]


# Recent commits -----------------------------------------------------------------------------------


def event(version: int, *names: str, size: int = 1) -> CommitEvent:
    return CommitEvent(
        version,
        [
            Change(
                keys.document_key(doc(name)),
                doc(name),
                None,
                StoredDocument(doc(name), b"x" * size, created=version, version=version),
            )
            for name in names
        ],
    )


def changed_at(recent: RecentCommits, name: str) -> int:
    """The version of the last known change of a document; 0 if none is known."""
    found = [version for version in range(20) if recent.has_changed([doc(name).segments], version)]
    return found[-1] + 1 if found else 0


def test_recent_commits_know_the_last_change_of_each_document() -> None:
    recent = RecentCommits(10)
    recent.add(event(11, "c/a", "c/b"))
    recent.add(event(12, "c/a"))
    assert [changed_at(recent, name) for name in ("c/a", "c/b", "c/x")] == [12, 11, 0]
    assert [found.version for found in recent.since(0)] == [12, 11]
    assert [found.version for found in recent.since(11)] == [12]
    assert [found.version for found in recent.since(12)] == []


def test_recent_commits_forget_the_oldest_and_say_up_to_where(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_module, "RECENT_COMMITS_MAX", 2)
    recent = RecentCommits(10)
    recent.add(event(11, "c/a", "c/b"))
    recent.add(event(12, "c/a"))
    assert recent.floor == 10
    recent.add(event(13, "c/c"))
    assert recent.floor == 11
    assert [changed_at(recent, name) for name in ("c/a", "c/b", "c/c")] == [12, 0, 13]


def test_recent_commits_are_bounded_in_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "RECENT_CHANGES_MAX", 3)
    recent = RecentCommits(0)
    recent.add(event(1, "c/a", "c/b"))
    recent.add(event(2, "c/c"))
    assert recent.floor == 0
    recent.add(event(3, "c/d"))
    assert (recent.floor, [found.version for found in recent.since(0)]) == (1, [3, 2])


def test_recent_commits_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "RECENT_BYTES_MAX", 100)
    recent = RecentCommits(0)
    recent.add(event(1, "c/a", size=60))
    recent.add(event(2, "c/b", size=60))
    assert recent.floor == 1
    recent.add(event(3, "c/c", size=200))
    assert (recent.floor, list(recent.since(0)), changed_at(recent, "c/c")) == (
        3,
        [],
        0,
    )


def test_after_forgetting_everything_nothing_is_known() -> None:
    recent = RecentCommits(0)
    recent.add(event(1, "c/a"))
    recent.forget_all(7)
    assert (recent.floor, list(recent.since(0)), changed_at(recent, "c/a")) == (
        7,
        [],
        0,
    )


def test_what_is_kept_of_commits_is_decoded_no_more_unless_somebody_looks() -> None:
    recent = RecentCommits(0)
    made = StoredDocument(doc("c/a"), b'{"n":1}', created=1, version=1, fields={"n": 1})
    recent.add(CommitEvent(1, [Change(keys.document_key(doc("c/a")), doc("c/a"), None, made)]))
    assert made._fields is None
    assert made.fields == {"n": 1}


_names = st.sampled_from([f"c/{name}" for name in ("a", "b\n", "ü", "..x", "e/f/g")])
_versions = st.integers(1, 99)
_image = st.none() | st.tuples(st.sampled_from([b"", b"{}", b'{"n":1}']), _versions, _versions)
_commits = st.lists(st.dictionaries(_names, st.tuples(_image, _image), min_size=1), max_size=8)


def _event_of(version: int, told: dict[str, tuple[Any, Any]]) -> CommitEvent:
    def stored(name: str, image: Any) -> StoredDocument | None:
        return None if image is None else StoredDocument(doc(name), *image)

    return CommitEvent(
        version,
        [
            Change(keys.document_key(doc(name)), doc(name), stored(name, old), stored(name, new))
            for name, (old, new) in told.items()
        ],
    )


def _told(event: CommitEvent) -> object:
    return event.version, [
        (
            change.key,
            change.path,
            [
                image and (image.path, image.data, image.created, image.version)
                for image in (change.old, change.new)
            ],
        )
        for change in event.changes
    ]


@settings(max_examples=examples(60), deadline=None)
@given(commits=_commits, asked=st.sets(_names, max_size=3), most=st.integers(1, 12))
def test_commits_that_are_kept_packed_tell_the_same(
    commits: list[dict[str, tuple[Any, Any]]], asked: set[str], most: int
) -> None:
    documents = [doc(name).segments for name in asked]

    def remember(packed_from: int) -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(log_module, "PACKED_CHANGES_MIN", packed_from)
            patch.setattr(log_module, "RECENT_CHANGES_MAX", most)
            recent = RecentCommits(0)
            for version, told in enumerate(commits, 1):
                recent.add(_event_of(version, told))
        return (
            recent.floor,
            [_told(found) for found in recent.since(0)],
            [recent.has_changed(documents, version) for version in range(len(commits) + 1)],
        )

    assert remember(1) == remember(3) == remember(1_000)


async def test_of_what_was_written_entries_and_answers_are_not_kept(database: Database) -> None:
    """A document of many words or elements has thousands, beside which it is small itself."""
    tags = IndexField(FieldPath(("tags",)), kind=IndexKind.ARRAY)
    await database.index_keeper.build(IndexDefinition("c", False, (tags,)))
    await database.index_keeper.wait()
    told: list[CommitEvent] = []
    counts: list[int] = []

    def note(event: CommitEvent) -> None:
        told.append(event)
        counts.extend(
            [
                sum([len(found.keys) for found in [*one.added_entries, *one.removed_entries]])
                for one in event.changes
            ]
        )

    database.subscribe(note)
    await write(database, put("c/a", {"tags": [1, 2, 3]}), request_id="once")
    await write(database, put("c/a", {"tags": [3, 4]}))
    assert counts == [3, 3]
    for event in told:
        assert event.response == b""
        assert [(one.added_entries, one.removed_entries) for one in event.changes] == [((), ())]
    answer = await write(database, put("c/a", {"tags": [1, 2, 3]}), request_id="once")
    assert answer.replayed
