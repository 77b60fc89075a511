"""The blocking and the asyncio client are one client in two ways of waiting."""

from __future__ import annotations

import inspect
import re
from typing import Any

import baas_sdk
import pytest
from baas_sdk import (
    async_bulk_writer,
    async_client,
    async_jobs,
    async_listeners,
    async_objects,
    async_transactions,
    bulk_writer,
    client,
    jobs,
    listeners,
    objects,
    transactions,
)

MODULES = [
    (client, async_client),
    (bulk_writer, async_bulk_writer),
    (jobs, async_jobs),
    (listeners, async_listeners),
    (objects, async_objects),
    (transactions, async_transactions),
]
PAIRS = [
    (getattr(blocking, name.removeprefix("Async")), getattr(asynchronous, name))
    for blocking, asynchronous in MODULES
    for name in dir(asynchronous)
    if name.startswith("Async") and getattr(asynchronous, name).__module__ == asynchronous.__name__
]
# What is a context manager or an iterator, and what Python calls it in each world.
SPECIAL = {
    "__enter__": "__aenter__",
    "__exit__": "__aexit__",
    "__iter__": "__aiter__",
    "__next__": "__anext__",
}
WORDS = {
    "Iterator": "AsyncIterator",
    "Transport": "AsyncTransport",
    "BlobReader": "AsyncBlobReader",
    "BlobWriter": "AsyncBlobWriter",
    "Work": "AsyncWork",
}


def members(kind: type) -> dict[str, Any]:
    return {
        name: member
        for name, member in inspect.getmembers(kind)
        if (not name.startswith("_") or name in {"__init__", *SPECIAL, *SPECIAL.values()})
    }


def asynchronous(text: str) -> str:
    """The blocking annotation as its twin has it."""
    for pair in PAIRS:
        text = re.sub(rf"\b{pair[0].__name__}\b", pair[1].__name__, text)
    for word, twin in WORDS.items():
        text = re.sub(rf"\b{word}\b", twin, text)
    return text


def test_every_class_has_a_twin() -> None:
    blocking = {
        name
        for module, _ in MODULES
        for name, kind in vars(module).items()
        if inspect.isclass(kind) and kind.__module__ == module.__name__
    }

    assert {pair[0].__name__ for pair in PAIRS} == blocking
    assert len(PAIRS) >= 13


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].__name__)
def test_twins_have_the_same_members(pair: tuple[type, type]) -> None:
    expected = {SPECIAL.get(name, name) for name in members(pair[0])}

    assert set(members(pair[1])) == expected


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].__name__)
def test_twins_have_the_same_signatures(pair: tuple[type, type]) -> None:
    for name, member in members(pair[0]).items():
        twin = members(pair[1])[SPECIAL.get(name, name)]
        if not callable(member) or inspect.isclass(member):
            continue
        mine, its = inspect.signature(member), inspect.signature(twin)
        assert [
            (item.name, item.kind, item.default, asynchronous(str(item.annotation)))
            for item in mine.parameters.values()
        ] == [
            (item.name, item.kind, item.default, str(item.annotation))
            for item in its.parameters.values()
        ], name
        assert asynchronous(str(mine.return_annotation)) == str(its.return_annotation), name


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].__name__)
def test_twins_say_the_same(pair: tuple[type, type]) -> None:
    for name, member in members(pair[0]).items():
        twin = members(pair[1])[SPECIAL.get(name, name)]
        if name.startswith("_") or not (callable(member) or isinstance(member, property)):
            continue
        assert member.__doc__, f"{pair[0].__name__}.{name} has no docstring"
        assert twin.__doc__, f"{pair[1].__name__}.{name} has no docstring"


def test_exports_are_complete() -> None:
    assert len(baas_sdk.__all__) == len(set(baas_sdk.__all__))
    public = {
        name
        for name, value in vars(baas_sdk).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert set(baas_sdk.__all__) == public


def test_every_export_is_documented() -> None:
    for name in baas_sdk.__all__:
        value = getattr(baas_sdk, name)
        assert not inspect.isclass(value) or value.__doc__, name
