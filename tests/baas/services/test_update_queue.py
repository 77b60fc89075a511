from __future__ import annotations

import pytest

from baas.database.listeners import Update
from baas.database.views import ChangeKind, DocumentChange
from baas.encoding.documents import StoredDocument
from baas.model.paths import DocumentPath
from baas.services.update_queue import UpdateQueue


def update(version: int, data_bytes: int = 0) -> Update:
    """An update that counts as `data_bytes` and 200 more."""
    document = StoredDocument(DocumentPath(("a", "b")), b"x" * data_bytes, created=1, version=1)
    return Update(version, [DocumentChange(ChangeKind.ADDED, -1, 0, document)], 1)


def drained(queue: UpdateQueue[str]) -> list[tuple[str, int | None]]:
    found: list[tuple[str, int | None]] = []
    while (first := queue.first) is not None:
        found.append((first[0], None if first[1] is None else first[1].version))
        queue.pop()
    return found


def queue_of(*, messages: int = 10, size: int = 10_000) -> UpdateQueue[str]:
    return UpdateQueue(messages_max=messages, bytes_max=size)


@pytest.mark.parametrize(("count", "fits"), [(3, True), (4, False)])
def test_the_limit_of_messages_is_exact(count: int, fits: bool) -> None:
    queue = queue_of(messages=3)
    kept = [queue.push("a", update(number), is_first=False) for number in range(count)]
    assert all(kept) is fits
    assert drained(queue) == ([("a", 0), ("a", 1), ("a", 2)] if fits else [("a", None)])


@pytest.mark.parametrize(("size", "fits"), [(600, True), (601, False)])
def test_the_limit_of_bytes_is_exact(size: int, fits: bool) -> None:
    queue = queue_of(size=1_000)
    queue.push("a", update(1), is_first=False)
    assert queue.push("b", update(2, size), is_first=False) is fits
    assert drained(queue) == ([("a", 1), ("b", 2)] if fits else [("a", None), ("b", None)])


def test_what_is_behind_takes_nothing_until_the_whole_is_there() -> None:
    queue = queue_of(messages=1)
    queue.push("a", update(1), is_first=False)
    queue.push("a", update(2), is_first=False)
    queue.pop()
    queue.push("a", update(3), is_first=False)
    assert len(queue) == 0
    queue.push_whole("a", update(4))
    queue.pop()
    queue.push("a", update(5), is_first=False)
    assert drained(queue) == [("a", 5)]


def test_a_large_first_answer_drops_nobody() -> None:
    queue = queue_of(size=1_000)
    queue.push("a", update(1), is_first=False)
    assert queue.push("b", update(2, 5_000), is_first=True)
    assert drained(queue) == [("a", 1), ("b", None)]


def test_a_forgotten_key_leaves_room() -> None:
    queue = queue_of(size=1_200)
    queue.push("a", update(1, 700), is_first=False)
    queue.push("b", update(2), is_first=True)
    queue.forget("a")
    queue.forget("c")
    assert queue.push("b", update(3, 500), is_first=False)
    assert drained(queue) == [("b", 2), ("b", 3)]
