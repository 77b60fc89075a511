"""Where sockets were made. One that is left open is found by the collector in the midst of some
later test, which then fails for it: the warning has to name the test that made it."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

_FRAMES_MAX = 12
_made: dict[int, str] = {}  # by id(): sockets have no room for it, and what is told has to be cheap
_init = socket.socket.__init__
_repr = socket.socket.__repr__


def remember_sockets() -> None:
    """From now on a socket's text says which test made it, and where."""
    setattr(socket.socket, "__init__", _init_and_remember)  # noqa: B010  mypy refuses the plain form
    setattr(socket.socket, "__repr__", _tell)  # noqa: B010


def _init_and_remember(made: socket.socket, *args: Any, **options: Any) -> None:
    _init(made, *args, **options)
    _made[id(made)] = f"{os.environ.get('PYTEST_CURRENT_TEST')}: {_place()}"


def _tell(made: socket.socket) -> str:
    return f"{_repr(made)[:-1]}, made in {_made.get(id(made), 'no test')}>"


def _place() -> str:
    """The calls that led here, the nearest first."""
    names = []
    frame = sys._getframe(2)
    for _ in range(_FRAMES_MAX):
        code = frame.f_code
        names.append(f"{os.path.basename(code.co_filename)}:{frame.f_lineno} {code.co_name}")
        if frame.f_back is None:
            break
        frame = frame.f_back
    return " < ".join(names)
