"""Commands without their start-up: a process that has imported everything, and forks one for each
that asks. Importing is nine tenths of a start, which tests need by the hundred.

python -m tests.nursery SOCKET

Who connects to the Unix socket sends one line, `{"arguments": …, "folder": …, "environment": …}`,
along with the files for standard input, output and error. The answers are two lines: the process
id, and the exit status once there is one. Who hangs up before has the process killed; all of them
are, and this one ends, when nobody holds the other end of its standard input any more.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

import uvicorn.protocols.http.httptools_impl
import uvicorn.protocols.websockets.websockets_impl
import uvloop

import baas.app
import baas.storage.mongo_store
from baas.cli import main as command_line

ASKED_BYTES_MAX = 1 << 20
# What commands import when they are called.
IMPORTED = (baas.app, baas.storage.mongo_store, uvicorn, uvloop)


class _Nursery:
    def __init__(self, address: str) -> None:
        self._listening = socket.socket(socket.AF_UNIX)
        self._address = address
        self._listening.bind(f"{address}.new")
        self._listening.listen(64)
        os.rename(f"{address}.new", address)  # who sees it can connect
        self._children: dict[int, socket.socket] = {}
        self._ended, self._wake = socket.socketpair()
        for end in (self._ended, self._wake):
            end.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._ended, selectors.EVENT_READ)

    def run(self) -> None:
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listening:
                    self._take(self._listening.accept()[0])
                elif key.fileobj is self._ended:
                    self._ended.recv(4096)
                    self._reap()
                elif isinstance(key.data, int):
                    self._forget(key.data)
                else:  # standard input
                    return self._end()

    def _end(self) -> None:
        for child in self._children:
            os.kill(child, signal.SIGKILL)
        for child in self._children:
            os.waitpid(child, 0)  # whoever comes next finds their ports and files free
        os.unlink(self._address)
        os.rmdir(os.path.dirname(self._address))

    def _take(self, caller: socket.socket) -> None:
        with caller.makefile("rb") as lines:
            line, files, _, _ = socket.recv_fds(caller, ASKED_BYTES_MAX, 3)
            line += b"" if line.endswith(b"\n") else lines.readline()
        if not line:
            return caller.close()
        child = os.fork()
        if child == 0:
            self._close(caller)
            sys.exit(_run(json.loads(line), files))
        for file in files:
            os.close(file)
        self._children[child] = caller
        self._selector.register(caller, selectors.EVENT_READ, child)
        _tell(caller, child)
        return None

    def _close(self, caller: socket.socket) -> None:
        """What a child has no business with."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for other in (caller, self._listening, self._ended, self._wake, *self._children.values()):
            other.close()

    def _forget(self, child: int) -> None:
        if child in self._children:  # else it ended at the same moment
            self._selector.unregister(self._children[child])
            os.kill(child, signal.SIGKILL)

    def _reap(self) -> None:
        for child, caller in list(self._children.items()):
            reaped, status = os.waitpid(child, os.WNOHANG)
            if reaped:
                del self._children[child]
                with suppress(KeyError):  # who hung up is not there any more
                    self._selector.unregister(caller)
                _tell(caller, os.waitstatus_to_exitcode(status))
                caller.close()


def _run(asked: dict[str, Any], files: list[int]) -> int:
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    return command_line.run(asked["arguments"])


def _tell(caller: socket.socket, number: int) -> None:
    with suppress(OSError):  # it hung up
        caller.sendall(b"%d\n" % number)


def main() -> None:
    for place in command_line._COMMANDS.values():
        import_module(f"baas.cli.{place.partition(':')[0]}")
    gc.freeze()  # collectors of children do not look at what was imported, and so do not copy it
    _Nursery(sys.argv[1]).run()


if __name__ == "__main__":
    main()
