"""Servers without their start-up: a process that has imported everything, and forks one per line.
Importing is nine tenths of a start, which tests that kill servers need by the dozen.

python -m tests.nursery
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import uvicorn.protocols.http.httptools_impl
import uvicorn.protocols.websockets.websockets_impl
import uvloop

import baas.app
from baas.cli.main import run

IMPORTED = (baas.app, uvicorn, uvloop)  # what `serve` imports when it is called


def main() -> None:
    """One server at a time: its process id when it begins, its exit status when it has ended."""
    for line in sys.stdin:
        asked = json.loads(line)
        server = os.fork()
        if server == 0:
            sys.exit(_serve(asked))
        _tell(server)
        _tell(os.waitstatus_to_exitcode(os.waitpid(server, 0)[1]))


def _serve(asked: dict[str, Any]) -> int:
    log = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.environ.clear()
    os.environ.update(asked["environment"])
    return run(asked["arguments"])


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
