"""The only place where settings, engines and faces meet: the ASGI application, and the process that
serves it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import gc
import multiprocessing
import os
import resource
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import orjson
import structlog
import uvicorn
from starlette.types import Receive, Scope, Send

from baas import __version__
from baas.accounts.accounts import Accounts
from baas.accounts.passwords import PasswordPool
from baas.accounts.sealing import ServerSecret, check_secret
from baas.backups.backups import Backups
from baas.backups.place import BackupPlace
from baas.backups.tasks import Tasks
from baas.backups.writing import Sources
from baas.buckets.blobs import STORE_KINDS, BlobStore
from baas.buckets.collector import Collector
from baas.buckets.local_blobs import LocalBlobs
from baas.buckets.objects import Objects
from baas.buckets.signing import UrlSigner
from baas.buckets.thumbnails import Thumbnails
from baas.buckets.uploads import Uploads
from baas.clock import Clock, SystemClock
from baas.database.registry import Databases
from baas.errors import BaasError, FailedPrecondition, InvalidArgument
from baas.http.face import HttpFace
from baas.http.logs import AccessLog, configure_logs
from baas.http.protocol import BoundedHttpProtocol
from baas.moves.leftovers import Leftovers
from baas.moves.mover import Mover
from baas.moves.tasks import Move, Moves
from baas.projects.erasures import Erasures
from baas.projects.identity import server_identity
from baas.projects.jobs import JobKind, Jobs
from baas.projects.projects import Projects
from baas.projects.retention import RetentionRules
from baas.projects.ttl import TtlPolicies
from baas.services import schema_deployments
from baas.services.authentication import OPERATOR_PREFIX
from baas.services.backup_runner import BackupRunner
from baas.services.context import Context
from baas.services.denial_traces import PLACES_MAX, DenialTraces
from baas.services.job_runner import JobRunner
from baas.services.jobs import ReadAsked, UpdateByQuery
from baas.services.listen import ListenHub
from baas.services.move_runner import MoveRunner
from baas.services.proofs import Proofs
from baas.services.ttl_runner import TtlRunner
from baas.settings import Settings
from baas.stacks import tell_stacks
from baas.storage.placed_store import PlacedStore, Placements
from baas.storage.sharing import SharedMarks, Sharing, decode_slot, encode_slot
from baas.storage.sqlite_store import SqliteStore
from baas.storage.store import Store
from baas.wire.jobs import decode_update_by_query
from baas.wire.queries import decode_query
from baas.workers.channel import Channel
from baas.workers.supervisor import die_with_parent
from baas.ws.face import ListenFace
from baas.ws.protocol import BoundedWebSocketProtocol

SERVERS = ("uvicorn", "granian")
COMMITTED, WORKER_DIED, DENIED = b"c", b"w", b"d"  # what workers tell each other
WORKERS_MAX = PLACES_MAX
BACKLOG = 2048
KEEP_ALIVE_SECONDS = 65  # longer than the 60 of common proxies, which then are the ones to close
UNREAD_MILLISECONDS = 90_000  # for a client that stands still, with an answer on its way
LISTENERS_DRAIN_SECONDS = 3.0  # to take in the last word; who does not read is cut off
DESCRIPTORS_PER_DATABASE = 7  # two for each of three connections, one of all; snapshots: two more
DESCRIPTORS_OF_OTHERS = 500  # sockets of a small server, logs, objects being moved
DRAIN_SIGNAL = signal.SIGUSR1
LOCK_WAIT_SECONDS, LOCK_LOOK_SECONDS = 5.0, 0.02  # for what a killed server leaves to end
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_log = structlog.get_logger("baas.app")


@dataclass(frozen=True, slots=True)
class WorkerPart:
    """What one of several workers has of the server that they are together. The folder's lock and
    `<data>/server.json` are their parent's. `marks`: of SQLite files. `is_first`: it makes what
    there is one of, such as the set-up link."""

    channel: Channel
    marks: SharedMarks
    operator_token: str
    is_first: bool
    on_started: Callable[[App], None]


class Runner(Protocol):
    """What goes on in the background."""

    def start(self) -> None: ...

    async def close(self) -> None: ...


class App:
    """One server on one data folder, as an ASGI application.

    `start` takes the folder's lock and opens what every request needs; `drain` ends the listeners;
    `stop` closes everything. The ASGI lifespan calls them. With `url`, the server makes itself
    known to the command line in `<data>/server.json`. With `part`, it is one of several workers.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        url: str | None = None,
        pid: int | None = None,
        part: WorkerPart | None = None,
    ) -> None:
        check_settings(settings)
        self.settings = settings
        self.operator_token = part.operator_token if part else make_operator_token()
        self._part = part
        self.setup_token: str | None = None
        self.collector: Collector | None = None
        self._clock = clock
        self._url = url
        self._pid = pid or os.getpid()
        self._access_log = AccessLog(clock, _write_to_stderr) if settings.access_log else None
        # Six characters tell the runs of a server apart in its request ids.
        instance = secrets.token_hex(3) + "-"
        self._http = HttpFace(self._access_log, instance=instance)
        self.answer = self._http.answer  # one HTTP request, not by ASGI; see `baas.http.protocol`
        self._ws = ListenFace(instance=instance)
        self._closing = contextlib.AsyncExitStack()

    @property
    def context(self) -> Context:
        """What the use cases work with, between `start` and `stop`."""
        assert self._http.context is not None, "the application has not been started"
        return self._http.context

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        kind = scope["type"]
        if kind == "http":
            return self._http(scope, receive, send)
        if kind == "websocket":
            return self._ws(scope, receive, send)
        if kind == "lifespan":
            return self._lifespan(receive, send)
        raise AssertionError(f"unknown ASGI scope `{kind}`")

    async def start(self) -> None:
        """Opens everything. Raises FailedPrecondition if another server has the data folder."""
        async with contextlib.AsyncExitStack() as stack:
            data = self.settings.data
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._part is None:
                stack.enter_context(lock_folder(data))
            context = await self._open(stack)
            if self._url is not None and not self.settings.dev:
                # A command may still open the folder: to deploy others.
                found = await context.projects.list_projects()
                await context.projects.rulesets.check_none_open(one.id for one in found)
            self._http.context = context
            self._ws.hub = ListenHub(context)
            if self._url is not None and self._part is None:
                stack.enter_context(announce(data, self._url, self.operator_token, self._pid))
            self._closing = stack.pop_all()

    async def drain(self) -> None:
        """Ends the listeners, each with a message that says why; requests go on."""
        await self._ws.drain(min(self.settings.drain_seconds, LISTENERS_DRAIN_SECONDS))

    async def stop(self) -> None:
        """Closes everything; safe to call twice."""
        await self.drain()
        self._ws.hub = None
        self._http.context = None
        await self._closing.aclose()
        if self._access_log is not None:
            self._access_log.flush()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except BaasError as error:
            _log.error("start failed", reason=error.reason, error=error.message)
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        except OSError as error:  # the disk is full, or the folder somebody else's
            _log.error("start failed", reason="OperatingSystem", error=str(error))
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        except Exception:
            _log.exception("start failed")
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        if self._url is not None:
            settle_memory()
            settle_threads()
            if self._part is None:
                greet(self.settings, self._url, self.setup_token)
            else:
                self._part.on_started(self)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _open(self, stack: contextlib.AsyncExitStack) -> Context:
        settings, clock = self.settings, self._clock
        secret = ServerSecret.load(settings.data, clock)
        node = load_node(settings.data, clock)
        databases = self._make_databases(stack, node)
        await _open_own(databases, secret, clock)
        if self._part is not None and self._part.channel.index > 0:
            node += f"-{self._part.channel.index}"
        passwords = PasswordPool(
            threads=settings.password_threads, queue_max=settings.limits.password_queue_max
        )
        stack.callback(passwords.close)
        projects = Projects(databases, settings=settings, clock=clock, node=node)
        stack.push_async_callback(projects.close)
        accounts = Accounts(
            databases, secret=secret, passwords=passwords, settings=settings, clock=clock
        )
        projects.watch_deletions(accounts.forget_project)
        stack.push_async_callback(Leftovers(databases, projects.store).close)
        projects.places.watch(accounts.forget_project)
        await projects.places.load()
        _warn_of_missing_engine(settings, databases.placements)
        for project in await projects.finish_deletions():
            _log.info("deletion finished", project=project)
        if databases.is_shared or settings.mongodb_uri:
            projects.start_finishing()
        if self._part is None or self._part.is_first:
            self.setup_token = await accounts.admins.make_setup_token(node)
        blobs = make_blobs(settings)
        stack.push_async_callback(blobs.close)
        await blobs.check()
        objects = Objects(databases, blobs, settings, clock)
        thumbnails = Thumbnails(blobs, settings)
        stack.push_async_callback(thumbnails.close)

        self.collector = make_collector(objects, projects)
        stack.push_async_callback(self.collector.close)
        denials = self._make_denials(projects)
        self.collector.start()
        _warn_of_local_bytes(settings)
        sources = Sources(databases, projects, objects, clock)
        backups = make_backups(settings, sources, accounts, secret, node)
        stack.push_async_callback(backups.place.store.close)
        erasures = Erasures(databases, clock)
        context = Context(
            settings=settings,
            clock=clock,
            databases=databases,
            projects=projects,
            accounts=accounts,
            objects=objects,
            uploads=Uploads(objects),
            thumbnails=thumbnails,
            url_signer=UrlSigner(objects, secret.derive("object-urls")),
            secret=secret,
            denials=denials,
            proofs=Proofs(),
            jobs=_make_jobs(databases, projects, erasures, clock, node),
            backups=backups,
            moves=Moves(projects.store, databases.placements, clock),
            erasures=erasures,
            ttl_policies=TtlPolicies(
                databases, clock, node=node, most=settings.limits.ttl_policies_max
            ),
            retention=RetentionRules(databases, settings, clock),
            operator_token=self.operator_token,
        )
        self._start_background(stack, context)
        return context

    def _make_databases(self, stack: contextlib.AsyncExitStack, node: str) -> Databases:
        engines = ("sqlite", "mongodb") if self.settings.mongodb_uri else ("sqlite",)
        placements = Placements(self.settings.engine, node=node, engines=engines)
        self._store = make_store(self.settings, self._clock, placements, self._join(stack))
        store = self._store
        stack.push_async_callback(store.close)
        databases = Databases(store, self.settings, self._clock, placements)
        stack.push_async_callback(databases.close)
        return databases

    def _make_denials(self, projects: Projects) -> DenialTraces:
        denials = DenialTraces(self.settings, self._clock)
        projects.watch_deletions(denials.forget_project)
        if self._part is not None:
            channel = self._part.channel
            denials.share(channel.index, functools.partial(channel.send, DENIED))
            channel.handle(DENIED, denials.hear)
        return denials

    def _start_background(self, stack: contextlib.AsyncExitStack, context: Context) -> None:
        """What goes on by itself: jobs, backups, moves, and what expires."""
        workers: list[Runner] = [
            JobRunner(context, _READ_ASKED),
            TtlRunner(context),
            BackupRunner(context.backups, context.clock),
        ]
        if self._part is None or self._part.channel.index == 0:  # one of each data folder
            moving = MoveRunner(context.moves, functools.partial(self._make_mover, context))
            context.projects.places.on_move = moving.wake  # also by another node, or worker
            workers.append(moving)
        for worker in workers:
            stack.push_async_callback(worker.close)
            worker.start()

    def _make_mover(self, context: Context, move: Move) -> Mover:
        databases, projects = context.databases, context.projects
        return Mover(databases, projects, self._store, context.moves, self._clock, move)

    def _join(self, stack: contextlib.AsyncExitStack) -> Sharing | None:
        """Hears of the other workers from now on."""
        part = self._part
        if part is None:
            return None
        channel = part.channel
        sharing = Sharing(part.marks, lambda slot: channel.send(COMMITTED, encode_slot(slot)))
        channel.handle(COMMITTED, lambda message: sharing.hear(decode_slot(message)))
        channel.handle(WORKER_DIED, lambda message: sharing.wake_all())
        channel.on_crowded(lambda: sharing.hear(None))
        channel.start()
        stack.callback(channel.close)
        return sharing


@contextlib.contextmanager
def announce(data: Path, url: str, token: str, pid: int) -> Iterator[None]:
    """`<data>/server.json` while the server runs: who can read the folder may administrate."""
    file = server_file(data)
    content = {"url": url, "token": token, "pid": pid}
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(orjson.dumps(content))
    fresh.replace(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def make_operator_token() -> str:
    """For the command line, good for as long as the server runs."""
    return OPERATOR_PREFIX + secrets.token_urlsafe(32)


_READ_ASKED = ReadAsked(
    update=lambda tree: UpdateByQuery(*decode_update_by_query(tree)), query=decode_query
)


def _make_jobs(
    databases: Databases, projects: Projects, erasures: Erasures, clock: Clock, node: str
) -> Jobs:
    jobs = Jobs(databases, clock, node=node)
    jobs.endings = dict.fromkeys(schema_deployments.KINDS, projects.schemas.end)
    jobs.endings[JobKind.ERASE_BY_QUERY] = erasures.end
    return jobs


def _warn_of_missing_engine(settings: Settings, placements: Placements) -> None:
    far = [name for name, place in placements.known().items() if place.engine == "mongodb"]
    if far and not settings.mongodb_uri:
        text = "projects are on MongoDB, and refused until `mongodb_uri` is set"
        _log.error(text, projects=sorted(far))


def _warn_of_local_bytes(settings: Settings) -> None:
    for name in ("objects", "backups"):
        if settings.engine == "mongodb" and getattr(settings, name) == "local":
            _log.warning(
                f"{name} are on the local disk of this node, where no other node can read them; "
                f"the setting `{name}` takes a store that all nodes share"
            )


def server_file(data: Path) -> Path:
    """Where a running server says its address, its operator's token and its process."""
    return data / "server.json"


def create_app(
    settings: Settings,
    clock: Clock | None = None,
    *,
    url: str | None = None,
    pid: int | None = None,
    part: WorkerPart | None = None,
) -> App:
    """The ASGI application of one server, or of one of its workers. Raises InvalidArgument for
    settings that contradict."""
    return App(settings, clock or SystemClock(), url=url, pid=pid, part=part)


def settle_threads() -> None:
    """Lets the thread that writes come to its turn sooner: SQLite gives the interpreter up at each
    step, and a busy loop gave it back after the usual 5 ms only. Measured (`make bench`): creates
    at 64 connections 1.2 times as fast, bulk writes 1.1 times."""
    sys.setswitchinterval(0.001)


def settle_memory() -> None:
    """Keeps the cyclic collector from walking, every few hundred requests, what start-up made and
    nothing will ever free. Measured: a seventh of the time of a create (`make bench`).

    The threshold is above what 500 writes on their way are made of: else each wave of them is
    walked, once and again, only to be found in use. It bounds what cycles may leave behind."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


def allow_descriptors(settings: Settings) -> None:
    """As many as the system lets this user have. The usual soft limit of 1,024 is for programs that
    call `select`; databases alone would be past it at 150. Says so if there are too few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # then the soft limit stays
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = DESCRIPTORS_PER_DATABASE if settings.engine == "sqlite" else 0
    wanted = 2 * settings.open_databases_max * files + DESCRIPTORS_OF_OTHERS
    if limit != resource.RLIM_INFINITY and limit < wanted:
        text = "few descriptors: raise `ulimit -n` or lower `open_databases_max`"
        _log.warning(text, limit=limit, wanted=wanted)


async def _open_own(databases: Databases, secret: ServerSecret, clock: Clock) -> None:
    """The server's own database, before any other. Raises FailedPrecondition where that, or what
    the stores hold, is of another server."""
    own = await databases.system(None, create=True)
    await check_secret(secret, own, clock)
    await databases.claim(await server_identity(own, clock))


def load_node(data: Path, clock: Clock) -> str:
    """What tells this server from others on the same store: kept in `<data>/node`."""
    file = data / "node"
    if not file.exists():
        file.write_text(clock.random_bytes(8).hex() + "\n", encoding="ascii")
    return file.read_text(encoding="ascii").strip()


def make_store(
    settings: Settings, clock: Clock, placements: Placements, sharing: Sharing | None = None
) -> PlacedStore:
    """Where the databases live: SQLite files in the data folder, and MongoDB if that is set.
    Nothing is opened yet. `sharing`: SQLite files are shared."""
    stores: dict[str, Store] = {
        "sqlite": SqliteStore(
            settings.data, clock, synchronous=settings.synchronous, sharing=sharing
        )
    }
    if settings.mongodb_uri:
        from baas.storage.mongo_store import MongoStore  # its driver: 7 MiB and a tenth of a second

        stores["mongodb"] = MongoStore(
            settings.mongodb_uri,
            settings.mongodb_database,
            clock,
            timeout_seconds=settings.mongodb_timeout_seconds,
        )
    return PlacedStore(stores, placements)


def make_blobs(settings: Settings) -> BlobStore:
    """Where the bytes of objects are kept. Raises InvalidArgument for a URL of none."""
    if settings.objects == "local":
        synced = settings.synchronous == "full"
        return LocalBlobs(settings.data / "objects", synced=synced, packed=True)
    from baas.buckets.remote_blobs import RemoteBlobs  # its library: 4 MiB

    return RemoteBlobs(settings.objects)


def make_collector(objects: Objects, projects: Projects) -> Collector:
    """Collects what objects leave behind, of all projects. Not started yet."""

    async def project_ids() -> list[str]:
        return [project.id for project in await projects.list_projects()]

    collector = Collector(objects, project_ids, projects.places.is_here)
    projects.watch_deletions(collector.forget_project)
    return collector


def make_backups(
    settings: Settings, sources: Sources, accounts: Accounts, secret: ServerSecret, node: str
) -> Backups:
    """Backups of this server. Raises InvalidArgument for a URL of no store."""
    place = BackupPlace(make_backup_store(settings))
    tasks = Tasks(sources.databases, sources.clock, node=node)
    return Backups(sources, accounts, secret, place, tasks, settings.limits)


def make_backup_store(settings: Settings) -> BlobStore:
    """Where backups are kept. Raises InvalidArgument for a URL of no store."""
    if settings.backups.startswith(STORE_KINDS):
        from baas.buckets.remote_blobs import RemoteBlobs

        return RemoteBlobs(settings.backups)
    folder = settings.data / "backups" if settings.backups == "local" else Path(settings.backups)
    return LocalBlobs(folder, synced=settings.synchronous == "full")


def check_settings(settings: Settings) -> None:
    """Raises InvalidArgument for what must not be started."""
    if settings.dev and settings.host not in _LOOPBACK:
        raise InvalidArgument(
            f"development mode explains denials to everybody, so it listens on loopback only, "
            f"not on `{settings.host}`; leave out --dev or --host",
            reason="InvalidSettings",
        )
    if settings.server not in SERVERS:
        raise InvalidArgument(
            f"`server` is `{settings.server}`; known are `uvicorn` and `granian`",
            reason="InvalidSettings",
        )
    if settings.workers < 1 or settings.workers > WORKERS_MAX:
        raise InvalidArgument(
            f"`workers` must be from 1 to {WORKERS_MAX}", reason="InvalidSettings"
        )
    if settings.workers > 1 and settings.server != "uvicorn":
        raise InvalidArgument(
            "several workers need the server `uvicorn`: leave out `server`, or `workers`",
            reason="InvalidSettings",
        )
    if settings.engine == "mongodb" and not settings.mongodb_uri:
        raise InvalidArgument(
            "the engine `mongodb` needs `mongodb_uri`, as in mongodb://host,host/?replicaSet=name",
            reason="InvalidSettings",
        )
    kind, _, place = settings.objects.partition("://")
    if settings.objects != "local" and not (f"{kind}://" in STORE_KINDS and place.strip("/")):
        raise InvalidArgument(
            f"`objects` is `{settings.objects}`; it takes `local`, or a bucket as in "
            "`s3://bucket/prefix`",
            reason="InvalidSettings",
        )


@contextlib.contextmanager
def lock_folder(data: Path) -> Iterator[None]:
    """Holds `<data>/lock`. Raises FailedPrecondition if another process does; the lock of a process
    that died is free, as soon as its workers are gone, which takes them a moment."""
    with (data / "lock").open("a+b") as file:
        deadline = time.monotonic() + LOCK_WAIT_SECONDS
        while not _try_lock(file):
            file.seek(0)
            holder = file.read(20).decode("ascii", "replace").strip() or "unknown"
            if _is_running(holder) or time.monotonic() > deadline:
                raise FailedPrecondition(
                    f"the data folder `{data}` is in use by the process {holder}",
                    reason="DataFolderInUse",
                )
            time.sleep(LOCK_LOOK_SECONDS)
        file.truncate(0)
        file.write(b"%d\n" % os.getpid())
        file.flush()
        yield


def _try_lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    except PermissionError:
        pass
    return True


def serve(settings: Settings, clock: Clock | None = None) -> int:
    """Serves until SIGTERM or SIGINT: then stops accepting, tells the listeners, lets open requests
    finish for up to `drain_seconds`, closes the databases and returns 0."""
    check_settings(settings)
    configure_logs(settings.log_level, for_people=settings.dev)
    allow_descriptors(settings)
    with contextlib.closing(bind(settings)) as listening:
        port = listening.getsockname()[1]
        url = url_of(settings, port)
        if settings.server == "granian":
            listening.close()
            return _serve_granian(replace(settings, port=port), url)
        return serve_uvicorn(create_app(settings, clock, url=url), listening)


def url_of(settings: Settings, port: int) -> str:
    """Where a server listens."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{port}"


def bind(settings: Settings, *, is_one_of_many: bool = False) -> socket.socket:
    """A listening socket; `is_one_of_many`: others listen at the same address, and the system deals
    connections out. Raises FailedPrecondition if the address cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_one_of_many:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Taken over by the connections: what a client does not take in is not kept for ever.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MILLISECONDS)
        listening.bind((settings.host, settings.port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        raise FailedPrecondition(
            f"cannot listen on `{settings.host}:{settings.port}`: {error}",
            reason="AddressUnavailable",
        ) from error
    return listening


class _UvicornServer(uvicorn.Server):
    """Uvicorn that tells the listeners before it drains."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        tell_stacks()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()  # nobody new from here on
        await self._app.drain()
        await super().shutdown(sockets)


def serve_uvicorn(app: App, listening: socket.socket) -> int:
    """Serves until SIGTERM or SIGINT; the exit code."""
    settings = app.settings
    config = uvicorn.Config(
        app,
        interface="asgi3",
        loop="uvloop" if sys.platform != "win32" else "auto",
        http=BoundedHttpProtocol,
        ws=BoundedWebSocketProtocol,
        ws_per_message_deflate=False,
        ws_max_size=settings.limits.listen_message_bytes_max,
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        # The address of a proxy is believed only once there is a setting that names the proxy.
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    server = _UvicornServer(config, app)
    # Uvicorn raises the signal again once it is done; by then the work is done, and 0 is the code.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run(sockets=[listening])
    return 0 if server.started else 3


def _serve_granian(settings: Settings, url: str) -> int:
    try:
        # An optional dependency: `pip install baas[granian]`.
        from granian.constants import Interfaces
        from granian.server import MPServer
    except ImportError as error:
        raise FailedPrecondition(
            "the server `granian` is not installed: pip install 'baas[granian]'",
            reason="ServerNotInstalled",
        ) from error

    class Server(MPServer):
        """Granian, whose worker tells its listeners before their connections are cut."""

        def shutdown(self, exit_code: int = 0) -> None:
            for worker in multiprocessing.active_children():
                if worker.pid is not None:
                    os.kill(worker.pid, DRAIN_SIGNAL)
            _wait_drained(settings)
            super().shutdown(exit_code)  # type: ignore[no-untyped-call]

    server = Server(
        "baas.app",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=1,  # one process owns a data folder
        websockets=True,
        backlog=BACKLOG,
        log_enabled=False,
        # The worker drains by itself; a second more, and it is killed.
        workers_kill_timeout=round(settings.drain_seconds) + 1,
    )
    loader = functools.partial(_load_worker, settings, url, os.getpid())
    server.serve(target_loader=loader, wrap_loader=False)
    return 0


class _WorkerApp(App):
    """The application in Granian's worker process, which is told to drain by a signal."""

    async def start(self) -> None:
        tell_stacks()
        await super().start()
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []
        loop.add_signal_handler(DRAIN_SIGNAL, lambda: tasks.append(loop.create_task(self._told())))

    async def _told(self) -> None:
        await self.drain()
        # The parent waits for this.
        server_file(self.settings.data).unlink(missing_ok=True)


def _wait_drained(settings: Settings) -> None:
    deadline = time.monotonic() + settings.drain_seconds
    while server_file(settings.data).exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def _load_worker(settings: Settings, url: str, pid: int) -> App:
    """The application, in Granian's worker process."""
    die_with_parent(pid)
    configure_logs(settings.log_level, for_people=settings.dev)
    return _WorkerApp(settings, SystemClock(), url=url, pid=pid)


def greet(settings: Settings, url: str, setup_token: str | None) -> None:
    """Tells the people at the terminal where everything is."""
    mode = " (development mode)" if settings.dev else ""
    lines = [
        f"baas {__version__}{mode}, data in {settings.data.absolute()}",
        f"  API       {url}/api/v1/",
        f"  docs      {url}/docs",
        f"  console   {url}/console/",
    ]
    if setup_token is not None:
        # Behind `#`, so that no server and no proxy ever sees it.
        lines.append(f"  set-up    {url}/console/#/setup?token={setup_token}")
        lines.append("            (once, for the first administrator)")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _write_to_stderr(data: bytes) -> None:
    with contextlib.suppress(OSError):  # lines are lost, and nothing else is
        sys.stderr.buffer.write(data)
        sys.stderr.buffer.flush()
