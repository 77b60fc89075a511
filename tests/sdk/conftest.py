from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.sdk.faces import Face, OpenFace
from tests.sdk.peer import Peer


@pytest.fixture(scope="session")
def running_peer() -> Iterator[Peer]:
    with Peer() as running:
        yield running


@pytest.fixture
def peer(running_peer: Peer) -> Peer:
    running_peer.forget()
    return running_peer


@pytest.fixture(params=["blocking", "asyncio"])
def is_async(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "asyncio")


@pytest.fixture
async def open_face() -> AsyncIterator[OpenFace]:
    """Makes clients as `Face` does, and closes them whatever becomes of the test."""
    made: list[Face] = []

    def open_one(url: str, *, is_async: bool, **settings: Any) -> Face:
        made.append(Face(url, is_async=is_async, **settings))
        return made[-1]

    yield open_one
    for face in made:
        await face.close()


@pytest.fixture
async def face(open_face: OpenFace, peer: Peer, is_async: bool) -> Face:
    return open_face(peer.url, is_async=is_async)
