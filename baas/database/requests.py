"""What is kept of a commit that carried a request id: enough to give the same answer again, and to
tell whether it is the same that is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from baas.database.transaction import CommitResult
from baas.encoding.json_values import decode_value, encode_value
from baas.errors import BaasError, FailedPrecondition
from baas.model.timestamps import Timestamp
from baas.model.writes import WriteResult


@dataclass(frozen=True, slots=True)
class RequestKey:
    """By which a commit is known when it is asked for again; `digest` is of all that is asked."""

    id: str
    digest: bytes


def encode_response(results: Sequence[WriteResult], digest: bytes = b"", memo: Any = None) -> bytes:
    """JSON: what was asked, and per write its update time in microseconds or null, and its
    transform results, and what the body wants to be told again."""
    listed = [
        [
            None if result.update_time is None else result.update_time.microseconds,
            [encode_value(value) for value in result.transform_results],
        ]
        for result in results
    ]
    tree: dict[str, Any] = {"digest": digest.hex(), "results": listed}
    if memo is not None:
        tree["memo"] = memo
    return orjson.dumps(tree)


def decode_response(version: int, response: bytes, digest: bytes = b"") -> CommitResult[Any]:
    """The inverse; the result is marked as replayed and has no value. Raises FailedPrecondition
    (`IdempotencyKeyReused`) if something else was asked under the same id."""
    tree = orjson.loads(response)
    if isinstance(tree, list):  # written before digests were kept
        tree = {"digest": "", "results": tree}
    if digest and tree["digest"] not in ("", digest.hex()):
        raise FailedPrecondition(
            "this idempotency key was used for another request; repeat a request with the same "
            "method, path and body, or draw a new key for a new one",
            reason="IdempotencyKeyReused",
        )
    results = [
        WriteResult(
            None if time is None else Timestamp(time),
            tuple([decode_value(value, "response") for value in values]),
        )
        for time, values in tree["results"]
    ]
    return CommitResult(version, results, None, replayed=True, memo=tree.get("memo"))


def replay(version: int, response: bytes, digest: bytes) -> CommitResult[Any] | BaasError:
    """As `decode_response`, with the error in place of raising it."""
    try:
        return decode_response(version, response, digest)
    except FailedPrecondition as error:
        return error
