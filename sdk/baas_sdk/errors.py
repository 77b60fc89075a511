"""Every error that the client raises.

    SdkError(code, reason, message, details, request_id)
    ├ InvalidArgument ─ InvalidPath, InvalidValue, InvalidQuery, RulesetRejected,
    │                   SchemaRejected     (also
    ValueError) ├ FailedPrecondition
    ├ Unauthenticated ─ TokenExpired, TokenInvalid
    ├ Aborted ─ TransactionConflict
    ├ PermissionDenied
    ├ OutOfRange ─ ResumeTokenExpired
    ├ NotFound  ├ AlreadyExists
    ├ ResourceExhausted ─ QuotaExceeded, TooManyListeners
    └ Unimplemented, Cancelled, DeadlineExceeded, Unavailable, Internal, DataLoss

`code` is one of the 16 gRPC names, `reason` a stable CamelCase word to match on, `message` a
sentence for people, `details` a JSON object or None, `request_id` the server's name for the call,
to be found in its log (None if the error arose in the client). Bad input raises InvalidArgument or
one of its children before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar


class Code(Enum):
    """The gRPC codes, each told from its neighbour."""

    CANCELLED = "CANCELLED"  # the caller went away; nobody waits for the answer
    UNKNOWN = "UNKNOWN"  # an error that carries no code of its own
    INVALID_ARGUMENT = "INVALID_ARGUMENT"  # wrong whatever the state of the system
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"  # the time ran out; the work may have been done
    NOT_FOUND = "NOT_FOUND"  # a thing that was named does not exist
    ALREADY_EXISTS = "ALREADY_EXISTS"  # a thing that was to be created exists
    PERMISSION_DENIED = "PERMISSION_DENIED"  # the caller is known and may not
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"  # a limit or quota was met
    FAILED_PRECONDITION = "FAILED_PRECONDITION"  # wrong in this state; retrying alone won't help
    ABORTED = "ABORTED"  # a conflict; retry the whole read-modify-write
    OUT_OF_RANGE = "OUT_OF_RANGE"  # past the end of what is kept, such as an old resume token
    UNIMPLEMENTED = "UNIMPLEMENTED"  # not offered by this server
    INTERNAL = "INTERNAL"  # a broken invariant: a defect of the server or of this client
    UNAVAILABLE = "UNAVAILABLE"  # for now; retry the same call
    DATA_LOSS = "DATA_LOSS"  # stored data is damaged
    UNAUTHENTICATED = "UNAUTHENTICATED"  # who calls is not established


class SdkError(Exception):
    """The root. Subclasses fix `code`; `reason` defaults to the class's own name."""

    code: ClassVar[Code] = Code.UNKNOWN
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        details: Mapping[str, Any] | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).__name__
        self.details = details
        self.request_id = request_id


class InvalidArgument(SdkError, ValueError):
    """Wrong whatever the state of the system; also a ValueError."""

    code = Code.INVALID_ARGUMENT


class InvalidPath(InvalidArgument):
    """A document, collection or field path is malformed or too long."""


class InvalidValue(InvalidArgument):
    """A value is of no known type, too large or too deep; `details["field"]` says where."""


class InvalidQuery(InvalidArgument):
    """A query contradicts itself or passes a limit."""


class RulesetRejected(InvalidArgument):
    """A ruleset does not parse or check; `details["diagnostics"]` lists every finding."""


class SchemaRejected(InvalidArgument):
    """A JSON Schema is malformed, or asks for what is not done here; `details["place"]` says
    where."""


class FailedPrecondition(SdkError):
    """The state does not allow it, such as another `update_time` than the one demanded."""

    code = Code.FAILED_PRECONDITION


class Unauthenticated(SdkError):
    """Who calls is not established: wrong e-mail or password, a bad key or token."""

    code = Code.UNAUTHENTICATED


class TokenExpired(Unauthenticated):
    """A token that was valid and is past its time; the client refreshes its own ones by itself."""


class TokenInvalid(Unauthenticated):
    """A token, key or session that was never valid here, or has been revoked."""


class Aborted(SdkError):
    """A conflict: read again and repeat the whole read-modify-write."""

    code = Code.ABORTED
    retryable = True


class TransactionConflict(Aborted):
    """Something that the transaction read was changed before it could commit."""


class PermissionDenied(SdkError):
    """The security rules do not allow it. The server never says why."""

    code = Code.PERMISSION_DENIED


class OutOfRange(SdkError):
    """Past the end of what is kept."""

    code = Code.OUT_OF_RANGE


class ResumeTokenExpired(OutOfRange):
    """The log no longer reaches back to the token; listeners start again by themselves."""


class NotFound(SdkError):
    """A thing that was named does not exist. (Getting a missing document raises nothing.)"""

    code = Code.NOT_FOUND


class AlreadyExists(SdkError):
    """A thing that was to be created exists."""

    code = Code.ALREADY_EXISTS


class ResourceExhausted(SdkError):
    """A limit was met; later the same call may succeed."""

    code = Code.RESOURCE_EXHAUSTED
    retryable = True


class QuotaExceeded(ResourceExhausted):
    """A limit of size or number; retrying the same call does not help."""

    retryable = False


class TooManyListeners(ResourceExhausted):
    """The connection or the project holds as many targets as it may."""


class Unimplemented(SdkError):
    """This server does not offer it."""

    code = Code.UNIMPLEMENTED


class Cancelled(SdkError):
    """The call was given up, such as by closing the client under it."""

    code = Code.CANCELLED


class DeadlineExceeded(SdkError):
    """The time ran out. Of a write it is not known whether it happened."""

    code = Code.DEADLINE_EXCEEDED


class Unavailable(SdkError):
    """The server cannot be reached or does not serve for now."""

    code = Code.UNAVAILABLE
    retryable = True


class Internal(SdkError):
    """A defect of the server, or an answer that this client cannot understand."""

    code = Code.INTERNAL


class DataLoss(SdkError):
    """Stored data is damaged."""

    code = Code.DATA_LOSS


def _tree(root: type[SdkError]) -> dict[str, type[SdkError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


_BY_NAME = _tree(SdkError)
_BY_REASON: dict[str, type[SdkError]] = {
    **_BY_NAME,
    "IdTokenExpired": TokenExpired,
    "IdTokenInvalid": TokenInvalid,
}
_BY_CODE: dict[str, type[SdkError]] = {
    item.code.value: item
    for item in _BY_NAME.values()
    if SdkError in item.__bases__ or item is SdkError
}
_BY_STATUS = {
    400: InvalidArgument,
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    408: DeadlineExceeded,
    409: Aborted,
    412: FailedPrecondition,
    413: QuotaExceeded,
    429: ResourceExhausted,
    500: Internal,
    501: Unimplemented,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_from_wire(body: object, *, request_id: str | None = None) -> SdkError:
    """The error that `{"code", "reason", "message", …}` names; Internal if it is no such object.

    The class is the one that the reason names, if it is of that code, else the code's own.
    """
    if not isinstance(body, Mapping) or not isinstance(body.get("code"), str):
        return Internal(f"the server sent an error of no known form: `{body!r}`")
    by_code = _BY_CODE.get(body["code"], SdkError)
    reason = body.get("reason")
    by_reason = _BY_REASON.get(reason) if isinstance(reason, str) else None
    chosen = by_reason if by_reason is not None and by_reason.code is by_code.code else by_code
    details = body.get("details")
    named = body.get("request_id", request_id)
    return chosen(
        str(body.get("message", "")),
        reason=reason if isinstance(reason, str) else None,
        details=details if isinstance(details, Mapping) else None,
        request_id=named if isinstance(named, str) else None,
    )


def error_from_status(status: int, text: str, *, request_id: str | None = None) -> SdkError:
    """The error of an answer that is not this API's, such as a proxy's page."""
    kind = _BY_STATUS.get(status, Internal if status >= 500 else SdkError)
    return kind(
        f"HTTP status {status} without an error of this API: `{text[:200]}`",
        reason="UnexpectedAnswer",
        request_id=request_id,
    )
