"""What is kept of a commit that carried a request id: enough to give the same answer again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from baas.database.transaction import CommitResult
from baas.encoding.json_values import decode_value, encode_value
from baas.model.timestamps import Timestamp
from baas.model.writes import WriteResult


def encode_response(results: Sequence[WriteResult]) -> bytes:
    """JSON: per write its update time in microseconds or null, and its transform results."""
    return orjson.dumps(
        [
            [
                None if result.update_time is None else result.update_time.microseconds,
                [encode_value(value) for value in result.transform_results],
            ]
            for result in results
        ]
    )


def decode_response(version: int, response: bytes) -> CommitResult[Any]:
    """The inverse; the result is marked as replayed and has no value."""
    results = [
        WriteResult(
            None if time is None else Timestamp(time),
            tuple([decode_value(value, "response") for value in values]),
        )
        for time, values in orjson.loads(response)
    ]
    return CommitResult(version, results, None, replayed=True)
