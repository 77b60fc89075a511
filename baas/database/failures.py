"""What callers are told of a failing engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from baas.ending import GivenUp
from baas.errors import Aborted, BaasError, DataLoss, FailedPrecondition, Internal, Unavailable
from baas.storage.engine import (
    EngineConflict,
    EngineCorrupt,
    EngineFenced,
    EngineFull,
    EngineOverloaded,
    EngineUnknown,
    StorageError,
)
from baas.storage.placed_store import EngineNotConfigured, StoreElsewhere
from baas.storage.store import StoreForeign, StoreMissing


def as_baas_error(error: Exception) -> BaasError:
    """What a caller is told of a failing engine."""
    told: BaasError
    if isinstance(error, BaasError):
        return error
    if isinstance(error, EngineCorrupt):
        told = DataLoss("stored data is damaged", reason="StoredDataDamaged")
    elif isinstance(error, EngineConflict):
        told = Aborted("another server committed first; repeat the call", reason="CommitConflict")
    elif isinstance(error, EngineFenced):
        told = Unavailable(
            "writes to the database are paused for a moment, while it is moved; try again soon",
            reason="WritesPaused",
        )
    elif isinstance(error, EngineUnknown | GivenUp):
        told = Unavailable(
            "whether the commit happened could not be found out", reason="CommitOutcomeUnknown"
        )
    elif isinstance(error, StoreMissing):
        told = Unavailable("the database was removed", reason="DatabaseClosed")
    elif isinstance(error, StoreElsewhere):
        told = Unavailable(str(error), reason="ProjectElsewhere")
    elif isinstance(error, StoreForeign):
        told = FailedPrecondition(str(error), reason="StoreOfAnotherServer")
    elif isinstance(error, EngineNotConfigured):
        told = FailedPrecondition(str(error), reason="EngineNotConfigured")
    elif isinstance(error, EngineFull):
        told = Unavailable("the server's disk is full; nothing was written", reason="StorageFull")
    elif isinstance(error, EngineOverloaded):
        told = Unavailable(
            "the store has no memory for so much at once; nothing was written. Make smaller"
            " commits, or give it a larger cache",
            reason="StorageOverloaded",
        )
    elif isinstance(error, StorageError):
        told = Unavailable("the database cannot be reached now", reason="StorageUnavailable")
    else:
        told = Internal("the commit failed")
    told.__cause__ = error
    return told


@contextmanager
def baas_errors() -> Iterator[None]:
    """What the engine raises, as callers of a database know it."""
    try:
        yield
    except StorageError as error:
        raise as_baas_error(error) from error
