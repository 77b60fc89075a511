"""For all tests of the server."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from typing import TypeAlias

import pytest
import structlog

Pair: TypeAlias = tuple[socket.socket, socket.socket]


@pytest.fixture(autouse=True)
def _logs_restored() -> Iterator[None]:
    """Whatever sets up the process's logs does so for one test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers = handlers
    root.setLevel(level)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """The server's end of a connection and the client's, neither of which waits."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs
