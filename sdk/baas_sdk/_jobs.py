"""Jobs: what the server does of its own chunk by chunk. Everything but the sending."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Self, TypeVar
from uuid import uuid4

from baas_sdk import _writes
from baas_sdk._flow import check_timeout, timed_out
from baas_sdk._paths import DatabaseName, url_path
from baas_sdk._requests import Call, Request
from baas_sdk._values import Tree, dumps, parse_time
from baas_sdk.errors import Cancelled, FailedPrecondition, InvalidArgument

PAUSE_SECONDS_FIRST, PAUSE_SECONDS_MAX = 0.05, 1.0
J = TypeVar("J", bound="BaseJob")


class JobState(Enum):
    """How it is with a job."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class JobFailure:
    """The first document that a job could not write."""

    path: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class JobProgress:
    """`seen` of `total` documents (None: not known; as the job began) were looked at, `written`
    deleted or updated, and `failed` could not be."""

    seen: int
    written: int
    failed: int
    total: int | None
    first_failure: JobFailure | None

    @property
    def fraction(self) -> float | None:
        """Of what is to be done, from 0 to 1; None while the total is not known."""
        if self.total is None:
            return None
        return min(1.0, self.seen / self.total) if self.total else 1.0


@dataclass(frozen=True, slots=True)
class JobTold:
    """A job as the server told of it."""

    id: str
    kind: str
    database: str | None
    state: JobState
    error: str | None
    created: datetime
    updated: datetime
    progress: JobProgress


class BaseJob:
    """What a job was when the server last told of it."""

    def __init__(self, client: Any, told: JobTold) -> None:
        self._client = client
        self._told = told

    @property
    def id(self) -> str:
        """By which `client.get_job` finds it again, in another process, too."""
        return self._told.id

    @property
    def kind(self) -> str:
        """`delete-recursive` or `update-by-query`; an administrator sees others, too."""
        return self._told.kind

    @property
    def database(self) -> str | None:
        """The database that it works on; None: all of the project's."""
        return self._told.database

    @property
    def state(self) -> JobState:
        """Running or how it ended, when the server last told."""
        return self._told.state

    @property
    def error(self) -> str | None:
        """Why it failed, if it did."""
        return self._told.error

    @property
    def create_time(self) -> datetime:
        """When it was begun."""
        return self._told.created

    @property
    def update_time(self) -> datetime:
        """When it last came further."""
        return self._told.updated

    @property
    def progress(self) -> JobProgress:
        """How far it had come when the server last told."""
        return self._told.progress

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.kind} {self.state.value}>"

    def _load(self, told: JobTold) -> Self:
        self._told = told
        return self

    def _get_call(self) -> Call[Self]:
        return get_job(self._client._options.home, self.id).then(self._load)

    def _cancel_call(self) -> Call[Self]:
        return cancel_job(self._client._options.home, self.id).then(self._load)

    def _pauses(self, timeout: float | None) -> Iterator[float]:
        """How long to wait before each further look, while it runs. Raises what the job ended with,
        if not well, and DeadlineExceeded."""
        seconds = PAUSE_SECONDS_FIRST
        allowed = check_timeout(timeout, float("inf"))
        deadline = time.monotonic() + allowed
        while True:
            if self.state is not JobState.RUNNING:
                return self._check_is_done()
            left = deadline - time.monotonic()
            if left <= 0:
                raise timed_out(allowed)
            yield min(seconds, left)
            seconds = min(seconds * 1.5, PAUSE_SECONDS_MAX)

    def _check_is_done(self) -> None:
        if self.state is JobState.FAILED:
            raise FailedPrecondition(f"job `{self.id}` failed: {self.error}", reason="JobFailed")
        if self.state is JobState.CANCELLED:
            raise Cancelled(
                f"job `{self.id}` was cancelled when it had written {self.progress.written}"
                " documents",
                reason="JobCancelled",
            )


def start_deletion(home: DatabaseName, path: str) -> Call[JobTold]:
    """A document or a collection with everything below. Carries a key by which the server begins
    it once, however often this has to be sent."""
    return _start(home, "delete-recursive", {"path": path})


def start_update(home: DatabaseName, query: Tree, updates: _writes.Updates) -> Call[JobTold]:
    """An update of every document of a query; begun once, as a deletion."""
    write = _writes.update_write(home, "any/document", updates)
    del write["update"]
    return _start(home, "update-by-query", {"query": query, "update": write})


def get_job(home: DatabaseName, job_id: str) -> Call[JobTold]:
    """A job as it is now."""
    return Call(Request("GET", _job_url(home, job_id), is_idempotent=True), _parse)


def cancel_job(home: DatabaseName, job_id: str) -> Call[JobTold]:
    """Ends a job after the chunk that it is at. Sent twice, the second one would be refused."""
    return Call(Request("POST", _job_url(home, job_id) + ":cancel"), _parse)


def list_jobs(home: DatabaseName) -> Call[list[JobTold]]:
    """The jobs of the project, newest first."""
    request = Request("GET", _jobs_url(home), is_idempotent=True)
    return Call(request, lambda tree: [_parse(item) for item in tree["jobs"]])


def _start(home: DatabaseName, verb: str, body: Tree) -> Call[JobTold]:
    request = Request(
        "POST",
        f"{home.documents_url}:{verb}",
        body=dumps(body),
        headers=(("Idempotency-Key", uuid4().hex),),
        is_idempotent=True,
    )
    return Call(request, _parse)


def _jobs_url(home: DatabaseName) -> str:
    return f"/api/v1/projects/{url_path(home.project)}/jobs"


def _job_url(home: DatabaseName, job_id: str) -> str:
    if not isinstance(job_id, str) or not job_id or "/" in job_id:
        raise InvalidArgument(f"a job's id is a non-empty string without `/`, not `{job_id!r}`")
    return f"{_jobs_url(home)}/{url_path(job_id)}"


def _parse(tree: Any) -> JobTold:
    return JobTold(
        str(tree["id"]),
        str(tree["kind"]),
        tree["database"],
        JobState(tree["state"]),
        tree["error"],
        parse_time(tree["created"]),
        parse_time(tree["updated"]),
        _parse_progress(tree["progress"]),
    )


def _parse_progress(tree: Mapping[str, Any]) -> JobProgress:
    first = tree["first_failure"]
    return JobProgress(
        int(tree["seen"]),
        int(tree["written"]),
        int(tree["failed"]),
        tree["total"],
        None if first is None else JobFailure(first["path"], first["reason"], first["message"]),
    )
