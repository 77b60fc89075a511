"""Keeps several workers running: each a copy of this process as it is when they start.

The parent opens no database and starts no thread, so there is nothing that a copy could share by
mistake; what has been imported is shared, as long as nobody writes to it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import mmap
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import structlog

RESTART_SECONDS_MIN = 0.1
RESTART_SECONDS_MAX = 30.0
HEALTHY_SECONDS = 60.0  # who lived for so long is started again at once
KILL_SECONDS = 5.0  # beyond the time that draining may take
LOOK_SECONDS = 0.5  # between two looks at whether all workers beat
SILENT_SECONDS = 15.0  # who has not beaten for so long is killed
NOT_STARTED = 3
_PR_SET_PDEATHSIG = 1
_log = structlog.get_logger("baas.workers")

Say = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Which worker a process is. `is_new`: the first one in this place since the server started.
    `ready` is to be called once, when it serves; its word is given to whoever started the first
    ones. `beat` is to be called again and again from then on, more often than LOOK_SECONDS: a
    process that is stopped holds the locks that it has, and all others wait for it."""

    index: int
    is_new: bool
    ready: Say
    beat: Callable[[], None]


@dataclass(slots=True)
class _Worker:
    index: int
    pid: int = 0  # 0: none is running
    ready: int = -1  # where it says that it serves
    word: bytes | None = None
    started: float = 0.0
    starts: int = 0
    failures: int = 0
    due: float = field(default=0.0)  # when it is started again
    beats: int = 0  # as last seen
    silent_looks: int = 0


class Supervisor:
    """`run` is what a worker does, in a process of its own; it gives back the exit code. `on_ready`
    is called once all serve, with the word of the first; `on_death` whenever one has ended."""

    def __init__(
        self,
        count: int,
        run: Callable[[Place], int],
        *,
        on_ready: Callable[[bytes], None],
        on_death: Callable[[], None],
        drain_seconds: float,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        self._workers = [_Worker(index) for index in range(count)]
        self._run = run
        self._on_ready = on_ready
        self._on_death = on_death
        self._drain_seconds = drain_seconds
        self._silent_looks_max = silent_seconds / LOOK_SECONDS
        self._beats = memoryview(mmap.mmap(-1, 8 * count)).cast("Q")  # shared with the workers
        self._look_at = 0.0
        self._is_ready = False
        self._code = 0
        self._kill_at: float | None = None  # set once all are to end
        self._told = 0

    def serve(self) -> int:
        """Until SIGTERM or SIGINT, which all workers are told; or until a worker cannot start while
        none has served yet, whose exit code it gives back. SIGUSR2 is passed on to all workers."""
        with _signals() as signals:
            gc.collect()
            gc.freeze()
            self._start(self._workers[0])
            while any(worker.pid for worker in self._workers) or self._kill_at is None:
                self._wait(signals)
                self._reap()
                self._listen()
                self._start_due()
                self._look()
                if self._kill_at is not None and time.monotonic() > self._kill_at:
                    self._signal(signal.SIGKILL)
        return self._code

    def _wait(self, signals: socket.socket) -> None:
        watched = select.poll()
        watched.register(signals, select.POLLIN)
        for worker in self._workers:
            if worker.ready >= 0:
                watched.register(worker.ready, select.POLLIN)
        times = [worker.due for worker in self._workers if worker.due]
        times.append(self._look_at if self._kill_at is None else self._kill_at)
        watched.poll(max(0.0, min(times) - time.monotonic()) * 1_000 + 1)
        with contextlib.suppress(BlockingIOError):
            for number in signals.recv(64):
                if number == signal.SIGUSR2:
                    self._signal(signal.SIGUSR2)
                elif number != signal.SIGCHLD:
                    self._stop()

    def _stop(self) -> None:
        """Tells all workers to end; a second time, at once."""
        self._told += 1
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._drain_seconds + KILL_SECONDS
        for worker in self._workers:
            worker.due = 0.0
        self._signal(signal.SIGTERM if self._told == 1 else signal.SIGINT)

    def _signal(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, number)

    def _reap(self) -> None:
        for worker in self._workers:
            if worker.pid:
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
                if pid:
                    self._note_end(worker, os.waitstatus_to_exitcode(status))

    def _note_end(self, worker: _Worker, code: int) -> None:
        self._listen()  # to its last word
        pid, worker.pid = worker.pid, 0
        was_ready, worker.word = worker.word is not None, None
        if worker.ready >= 0:
            os.close(worker.ready)
            worker.ready = -1
        if self._kill_at is not None:
            return
        if not self._is_ready:
            _log.error("a worker could not start", worker=worker.index, code=code)
            self._code = code if code > 0 else NOT_STARTED
            self._stop()
            return
        now = time.monotonic()
        if was_ready and now - worker.started > HEALTHY_SECONDS:
            worker.failures = 0
        pause = min(RESTART_SECONDS_MIN * 2**worker.failures, RESTART_SECONDS_MAX)
        worker.failures = min(worker.failures + 1, 16)
        worker.due = now + pause
        _log.error(
            "a worker has ended, and is started again",
            worker=worker.index,
            pid=pid,
            code=code,
            pause_seconds=pause,
        )
        self._on_death()

    def _listen(self) -> None:
        """To workers that say that they serve. Once the first one does, the others are started: it
        has made what the server needs."""
        for worker in self._workers:
            if worker.ready >= 0 and worker.word is None:
                with contextlib.suppress(BlockingIOError):
                    word = os.read(worker.ready, 65_536)
                    if word:
                        worker.word = word
                        os.close(worker.ready)
                        worker.ready = -1
        if self._is_ready or self._kill_at is not None or self._workers[0].word is None:
            return
        for worker in self._workers:
            if not worker.starts:
                self._start(worker)
        if all(worker.word is not None for worker in self._workers):
            self._is_ready = True
            self._on_ready(self._workers[0].word)

    def _look(self) -> None:
        """Kills who is silent. Looks are counted, not time: if this process was stopped together
        with its workers, none of them has been silent for longer than it."""
        now = time.monotonic()
        if now < self._look_at or self._kill_at is not None:
            return
        self._look_at = now + LOOK_SECONDS
        for worker in self._workers:
            before, worker.beats = worker.beats, self._beats[worker.index]
            is_silent = worker.pid and worker.word is not None and worker.beats == before
            worker.silent_looks = worker.silent_looks + 1 if is_silent else 0
            if worker.silent_looks > self._silent_looks_max:
                worker.silent_looks = 0
                _log.error("a worker is silent, and is killed", worker=worker.index, pid=worker.pid)
                os.kill(worker.pid, signal.SIGKILL)

    def _start_due(self) -> None:
        now = time.monotonic()
        for worker in self._workers:
            if worker.due and worker.due <= now:
                self._start(worker)

    def _start(self, worker: _Worker) -> None:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            self._become(worker, parent, writing)
        os.close(writing)
        worker.pid, worker.ready, worker.word = pid, reading, None
        worker.started, worker.due = time.monotonic(), 0.0
        worker.starts += 1

    def _become(self, worker: _Worker, parent: int, writing: int) -> None:
        """The rest of a worker's life."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # until the worker does what it asks for
            die_with_parent(parent)
            for other in self._workers:
                if other.ready >= 0:
                    os.close(other.ready)

            def say(word: bytes) -> None:
                os.write(writing, word)
                os.close(writing)

            def beat() -> None:
                self._beats[worker.index] += 1

            code = self._run(Place(worker.index, worker.starts == 0, say, beat))
        except BaseException:
            _log.exception("a worker ended")
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


def die_with_parent(parent: int) -> None:
    """A worker whose parent is killed would serve on, and keep the folder locked. Linux only;
    elsewhere it has to be ended by hand."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was quicker
            os._exit(1)


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket that has a byte for each signal."""
    reading, writing = socket.socketpair()
    reading.setblocking(False)
    writing.setblocking(False)
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR2)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)
        reading.close()
        writing.close()
