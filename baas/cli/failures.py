"""What ends a command: one line for people, and the exit code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

UNREACHABLE = 3


class CommandFailed(Exception):
    """The command cannot go on; the text says why."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Refused(CommandFailed):
    """The server answered with an error."""

    def __init__(self, message: str, *, reason: str, details: dict[str, object]) -> None:
        super().__init__(message)
        self.reason = reason
        self.details = details


@contextlib.contextmanager
def going_on_without_us(how: str) -> Iterator[None]:
    """Whoever cannot reach the server any more is told how its work goes on."""
    try:
        yield
    except CommandFailed as failed:
        if failed.exit_code != UNREACHABLE:
            raise
        raise CommandFailed(f"{failed}; {how}", exit_code=UNREACHABLE) from failed
