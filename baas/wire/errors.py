"""The one table from error codes to HTTP status and WebSocket close code, and errors as JSON."""

from __future__ import annotations

from typing import Any

from baas.errors import BaasError, Code

TEXT_CHARACTERS_MAX = 1_000
# Close codes 4000-4999 belong to the application; the last three digits echo the HTTP status.
_TABLE: dict[Code, tuple[int, int]] = {
    Code.CANCELLED: (499, 4499),
    Code.UNKNOWN: (500, 4500),
    Code.INVALID_ARGUMENT: (400, 4400),
    Code.DEADLINE_EXCEEDED: (504, 4504),
    Code.NOT_FOUND: (404, 4404),
    Code.ALREADY_EXISTS: (409, 4409),
    Code.PERMISSION_DENIED: (403, 4403),
    Code.RESOURCE_EXHAUSTED: (429, 4429),
    Code.FAILED_PRECONDITION: (412, 4412),
    Code.ABORTED: (409, 4409),
    Code.OUT_OF_RANGE: (416, 4416),
    Code.UNIMPLEMENTED: (501, 4501),
    Code.INTERNAL: (500, 4500),
    Code.UNAVAILABLE: (503, 4503),
    Code.DATA_LOSS: (500, 4500),
    Code.UNAUTHENTICATED: (401, 4401),
}

# A few reasons have a status of their own in HTTP; the code in the body stays the table's.
_REASON_STATUS: dict[str, int] = {
    "RequestTooLarge": 413,
    "MethodNotAllowed": 405,
    "UnsupportedMediaType": 415,
    "BodyTimeout": 408,
    "LengthRequired": 411,
    "ObjectTooLarge": 413,
}


def http_status(error: BaasError) -> int:
    """The HTTP status that carries the error."""
    return _REASON_STATUS.get(error.reason) or _TABLE[error.code][0]


def close_code(error: BaasError) -> int:
    """The WebSocket close code that follows the error's message."""
    return _TABLE[error.code][1]


def _shorten(text: str) -> str:
    """What a caller sent is quoted in errors, and can be of any length."""
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[: TEXT_CHARACTERS_MAX - 1] + "…"


def encode_error(error: BaasError, request_id: str) -> dict[str, Any]:
    """`{"error": {...}}`: the one shape of every error on every face."""
    details = None if error.details is None else dict(error.details)
    if details is not None and isinstance(details.get("field"), str):
        details["field"] = _shorten(details["field"])
    return {
        "error": {
            "code": error.code.value,
            "reason": error.reason,
            "message": _shorten(error.message),
            "details": details,
            "request_id": request_id,
        }
    }
