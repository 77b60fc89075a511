"""A server of one process, or of several that share its data folder and its port."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import socket
from collections.abc import Callable
from dataclasses import replace

from baas import app
from baas.app import App, WorkerPart, announce, bind, create_app, greet, lock_folder
from baas.clock import SystemClock
from baas.http.logs import configure_logs
from baas.settings import Settings
from baas.storage.sharing import SharedMarks
from baas.workers.channel import Channel, Inboxes
from baas.workers.supervisor import Place, Supervisor

# What a server imports when it starts: so that all workers have one copy of it.
_LATER = ("uvloop", "uvicorn.loops.uvloop", "uvicorn.lifespan.on")
_LATER_FOR_MONGODB = ("baas.storage.mongo_store",)
BEAT_SECONDS = 0.25  # of each event loop: seen by the supervisor, every LOOK_SECONDS
_LATER_FOR_REMOTE = ("baas.buckets.remote_blobs",)


def serve(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT, with as many processes as `workers` says; the exit code. As
    `app.serve`; and a worker that dies is replaced."""
    app.check_settings(settings)
    if settings.workers == 1:
        return app.serve(settings)
    configure_logs(settings.log_level, for_people=settings.dev)
    app.allow_descriptors(settings)
    with contextlib.ExitStack() as stack:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        stack.enter_context(lock_folder(settings.data))
        first = stack.enter_context(bind(settings, is_one_of_many=True))
        port = first.getsockname()[1]
        settings = replace(settings, port=port)
        others = [
            stack.enter_context(bind(settings, is_one_of_many=True))
            for _ in range(settings.workers - 1)
        ]
        return _Workers(settings, [first, *others], stack).serve()


class _Workers:
    """Several processes, each with a socket of its own that listens at the server's port. The
    sockets stay while a worker is replaced: whoever connects meanwhile waits."""

    def __init__(
        self, settings: Settings, sockets: list[socket.socket], stack: contextlib.ExitStack
    ) -> None:
        self._settings = settings
        self._sockets = sockets
        self._stack = stack
        self._url = app.url_of(settings, settings.port)
        self._token = app.make_operator_token()
        self._inboxes = Inboxes(settings.workers)
        stack.callback(self._inboxes.close)
        self._marks = SharedMarks(settings.data / "workers")

    def serve(self) -> int:
        for name in _imports(self._settings):
            importlib.import_module(name)
        nobody = Channel(self._inboxes, -1)
        supervisor = Supervisor(
            self._settings.workers,
            self._run,
            on_ready=self._greet,
            on_death=lambda: nobody.send(app.WORKER_DIED),
            drain_seconds=self._settings.drain_seconds,
        )
        return supervisor.serve()

    def _run(self, place: Place) -> int:
        for index, listening in enumerate(self._sockets):
            if index != place.index:
                listening.close()

        def started(one: App) -> None:
            place.ready((one.setup_token or "-").encode())
            _beat_on(asyncio.get_running_loop(), place.beat)

        part = WorkerPart(
            Channel(self._inboxes, place.index),
            self._marks,
            self._token,
            is_first=place.index == 0 and place.is_new,
            on_started=started,
        )
        worker = create_app(self._settings, SystemClock(), url=self._url, part=part)
        return app.serve_uvicorn(worker, self._sockets[place.index])

    def _greet(self, word: bytes) -> None:
        self._stack.enter_context(
            announce(self._settings.data, self._url, self._token, os.getpid())
        )
        token = word.decode()
        greet(self._settings, self._url, None if token == "-" else token)


def _beat_on(loop: asyncio.AbstractEventLoop, beat: Callable[[], None]) -> None:
    beat()
    loop.call_later(BEAT_SECONDS, _beat_on, loop, beat)


def _imports(settings: Settings) -> tuple[str, ...]:
    names: tuple[str, ...] = _LATER
    if settings.mongodb_uri:
        names += _LATER_FOR_MONGODB
    if settings.objects != "local":
        names += _LATER_FOR_REMOTE
    return names
