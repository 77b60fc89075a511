"""Bulk writes: many writes in one request, each of which succeeds or fails alone.

They are committed many at a time all the same, since that is what makes them fast: a write that
fails is left out of its commit. Writes to one document happen in order, each in a commit after the
one before; between documents no order is promised. Rules see each write as if it were alone. One
whose rules look at another document of the same commit gets a commit of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import Any, TypeAlias

from baas.database.names import DatabaseName
from baas.database.transaction import COMMIT_FULL, CommitResult, Transaction
from baas.errors import BaasError, PermissionDenied, error_of
from baas.model.timestamps import Timestamp
from baas.model.writes import VerifyWrite, Write, WriteResult
from baas.services.authorizer import DECISIONS_PER_TURN, Authorizer
from baas.services.caller import Caller
from baas.services.context import Context
from baas.services.documents import (
    caller_request_id,
    commit,
    find_database,
    may_get,
    open_database,
    request_time,
    rules_of,
)
from baas.services.schema_guard import MayRead, check_schemas_each, prepare

Outcome: TypeAlias = WriteResult | BaasError
# Of decisions, until others get their turn. Not less: what is left half done for others is in no
# cache of the processor's when it goes on.
_TURN_SECONDS = 0.002


async def bulk_write(
    context: Context,
    caller: Caller,
    name: DatabaseName,
    writes: Sequence[Write],
    *,
    request_id: str | None = None,
    request_digest: bytes = b"",
) -> list[Outcome]:
    """What became of each write, in order. Not atomic: some may be done and others not.

    The same `request_id` again answers the same and writes nothing more; if the first request was
    cut off, the repetition does the rest. Raises Unavailable (`CommitOutcomeUnknown`) if only such
    a repetition can tell what became of a write: under another id it might be done twice.
    """
    work = _BulkWrite(context, caller, name, request_id, request_digest)
    outcomes: list[Outcome] = [WriteResult(None)] * len(writes)
    failure: BaasError | None = None
    postponed: dict[tuple[str, ...], Outcome] = {}  # documents of which a write is to come again
    for number, wave in enumerate(_waves(writes)):
        places = wave
        if postponed:
            # What comes later to them may not happen before.
            places = [place for place in wave if writes[place].path.segments not in postponed]
            for place in set(wave).difference(places):
                outcomes[place] = postponed[writes[place].path.segments]
        if failure is None:
            try:
                found = await work.write_wave(number, [writes[place] for place in places])
            except BaasError as error:
                if _is_to_be_repeated(error, request_id):
                    raise
                failure = error
        if failure is not None:
            # What comes later to the same documents may not happen before.
            found = [failure] * len(places)
        for place, outcome in zip(places, found, strict=True):
            outcomes[place] = outcome
            if isinstance(outcome, BaasError) and outcome.reason == COMMIT_FULL:
                postponed[writes[place].path.segments] = outcome
    return outcomes


def _waves(writes: Sequence[Write]) -> Iterator[Sequence[int]]:
    """The places of the first writes to all documents, then of the second ones, and so on."""
    if len({write.path.segments for write in writes}) == len(writes):
        yield range(len(writes))
        return
    waves: list[list[int]] = []
    counts: dict[tuple[str, ...], int] = {}
    for place, write in enumerate(writes):
        segments = write.path.segments
        number = counts[segments] = counts.get(segments, -1) + 1
        if number == len(waves):
            waves.append([])
        waves[number].append(place)
    yield from waves


class _BulkWrite:
    """One request under way."""

    def __init__(
        self,
        context: Context,
        caller: Caller,
        name: DatabaseName,
        request_id: str | None,
        request_digest: bytes,
    ) -> None:
        self._context = context
        self._caller = caller
        self._name = name
        self._request_id = request_id
        self._request_digest = request_digest
        self._time = request_time(context)

    async def write_wave(self, number: int, writes: Sequence[Write]) -> list[Outcome]:
        """Writes to different documents. Raises if none of them could be written."""
        body = _Wave(self._context, self._caller, self._name, writes, self._time)
        database = find_database(self._context, self._name) or await open_database(
            self._context, self._name
        )
        await prepare(self._context, database)
        result = await database.run_transaction(
            body.run,
            request_time=self._time,
            request_id=caller_request_id(
                self._caller, self._request_id, self._request_digest, f"{number}"
            ),
            request_digest=self._request_digest,
        )
        outcomes: list[Outcome] = list(result.write_results)
        failed, alone = _told(result, body)
        for place, error in failed.items():
            outcomes[place] = error
        for place in alone:
            outcomes[place] = await self._write_alone(f"{number}.{place}", writes[place])
        return outcomes

    async def _write_alone(self, part: str, write: Write) -> Outcome:
        try:
            result = await commit(
                self._context,
                self._caller,
                self._name,
                (write,),
                request_id=self._request_id,
                request_digest=self._request_digest,
                request_part=part,
            )
        except BaasError as error:
            if _is_to_be_repeated(error, self._request_id):
                raise
            return error
        return result.write_results[0]


class _Wave:
    """Writes to different documents in one commit. May run several times; `failed` and `alone` are
    of the last one."""

    def __init__(
        self,
        context: Context,
        caller: Caller,
        name: DatabaseName,
        writes: Sequence[Write],
        time: Timestamp,
    ) -> None:
        self.failed: dict[int, BaasError] = {}
        self.alone: list[int] = []
        self._context = context
        self._caller = caller
        self._name = name
        self._writes = writes
        self._time = time

    @cached_property
    def _places(self) -> dict[tuple[str, ...], int]:
        return {write.path.segments: place for place, write in enumerate(self._writes)}

    async def run(self, transaction: Transaction) -> None:
        self.failed = await transaction.write_each(self._writes)
        self.alone = []
        may_read: MayRead | None = None
        if not self._caller.bypasses_rules:
            # What may be told of a failure, and of a document that is only verified, is a question
            # of its own to the rules.
            self.alone = [
                place for place, write in enumerate(self._writes) if type(write) is VerifyWrite
            ]
            self.alone += [place for place in self.failed if place not in self.alone]
            self.failed = {}
            may_read = await self._check_rules(transaction)
        unfit = await check_schemas_each(self._context, self._name.project, transaction, may_read)
        for segments, error in (unfit | transaction.stage_each()).items():
            self.failed[self._places[segments]] = error
        if self.failed or self.alone:
            transaction.memo = {
                "failed": [
                    [place, error.code.value, error.reason, error.message]
                    for place, error in self.failed.items()
                ],
                "alone": self.alone,
            }

    async def _check_rules(self, transaction: Transaction) -> MayRead:
        context, caller, name = self._context, self._caller, self._name
        ruleset = await rules_of(context, caller, name, transaction)
        make = partial(Authorizer, context, caller, name, ruleset, self._time)
        authorizer = make()
        now = context.clock.monotonic_seconds
        began = now()
        for number, change in enumerate(transaction.changes, 1):
            if number % DECISIONS_PER_TURN == 0 and now() - began > _TURN_SECONDS:
                await asyncio.sleep(0)
                began = now()
            if authorizer.allows_plainly(change):
                continue
            denial: PermissionDenied | None = None
            try:
                await authorizer.check_change(change, transaction)
            except PermissionDenied as error:
                denial = error
            looked_up = authorizer.looked_up
            if looked_up:
                authorizer = make()  # each write is a question of its own
            elif denial is None:
                continue
            segments = change.path.segments
            if any(other != segments and other in self._places for other in looked_up):
                self.alone.append(self._places[segments])
                transaction.leave_out(change.path)
            elif denial is not None:
                self.failed[self._places[segments]] = denial
                transaction.leave_out(change.path)
        return partial(may_get, make, transaction)


def _is_to_be_repeated(error: BaasError, request_id: str | None) -> bool:
    return request_id is not None and error.reason == "CommitOutcomeUnknown"


def _told(result: CommitResult[None], body: _Wave) -> tuple[dict[int, BaasError], Sequence[int]]:
    """What failed, and what is to be written alone: as the first request was told."""
    if not result.replayed:
        return body.failed, body.alone
    memo: dict[str, Any] = result.memo or {"failed": [], "alone": []}
    failed = {place: error_of(code, reason, text) for place, code, reason, text in memo["failed"]}
    return failed, memo["alone"]
