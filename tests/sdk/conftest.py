from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.sdk.faces import Face
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
async def face(peer: Peer, is_async: bool) -> AsyncIterator[Face]:
    made = Face(peer.url, is_async=is_async)
    yield made
    await made.close()
