"""Every error that leaves a floor of the server.

    BaasError(code, reason, message, details)
    ├ InvalidArgument ─ InvalidPath, InvalidValue, InvalidQuery, RulesetRejected,
    │                   SchemaRejected
    ├ FailedPrecondition
    ├ Unauthenticated ─ TokenExpired, TokenInvalid
    ├ Aborted ─ TransactionConflict
    ├ PermissionDenied                      (never says why to the caller)
    ├ OutOfRange ─ ResumeTokenExpired
    ├ NotFound  ├ AlreadyExists
    ├ ResourceExhausted ─ QuotaExceeded, TooManyListeners
    └ Unimplemented, Cancelled, DeadlineExceeded, Unavailable, Internal, DataLoss

`code` is one of the 16 gRPC names, `reason` a stable CamelCase word that clients match on,
`message` a sentence for people (lower case, input in backticks), `details` a JSON object or None.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar


class Code(Enum):
    """The gRPC codes, each told from its neighbour."""

    CANCELLED = "CANCELLED"  # the caller went away; nobody waits for the answer
    UNKNOWN = "UNKNOWN"  # an error from elsewhere that carries no code of its own
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
    INTERNAL = "INTERNAL"  # a broken invariant: our defect
    UNAVAILABLE = "UNAVAILABLE"  # for now; retry the same call
    DATA_LOSS = "DATA_LOSS"  # stored data is damaged
    UNAUTHENTICATED = "UNAUTHENTICATED"  # who calls is not established


class BaasError(Exception):
    """The root. Subclasses fix `code`; `reason` defaults to the class's own name."""

    code: ClassVar[Code] = Code.UNKNOWN
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).__name__
        self.details = details


class InvalidArgument(BaasError):
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


class FailedPrecondition(BaasError):
    code = Code.FAILED_PRECONDITION


class Unauthenticated(BaasError):
    code = Code.UNAUTHENTICATED


class TokenExpired(Unauthenticated):
    """A token that was valid and is past its time: refresh it and call again."""


class TokenInvalid(Unauthenticated):
    """A token, key or session that was never valid here, or has been revoked."""


class Aborted(BaasError):
    code = Code.ABORTED
    retryable = True


class TransactionConflict(Aborted):
    """Something that the transaction read was changed before it could commit."""


class PermissionDenied(BaasError):
    """The caller may not. The text is the same for every cause.

    `trace` is what the app's developer is told beside; it never reaches the caller."""

    code = Code.PERMISSION_DENIED
    trace: object | None = None

    def __init__(
        self,
        message: str = "missing or insufficient permissions",
        *,
        reason: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, details=details)


class OutOfRange(BaasError):
    code = Code.OUT_OF_RANGE


class ResumeTokenExpired(OutOfRange):
    """The log no longer reaches back to the token: start again with a full snapshot."""


class NotFound(BaasError):
    code = Code.NOT_FOUND


class AlreadyExists(BaasError):
    code = Code.ALREADY_EXISTS


class ResourceExhausted(BaasError):
    code = Code.RESOURCE_EXHAUSTED
    retryable = True


class QuotaExceeded(ResourceExhausted):
    """A limit of size or number; retrying the same call does not help."""

    retryable = False


class TooManyListeners(ResourceExhausted):
    """The connection or the project holds as many targets as it may."""


class Unimplemented(BaasError):
    code = Code.UNIMPLEMENTED


class Cancelled(BaasError):
    code = Code.CANCELLED


class DeadlineExceeded(BaasError):
    code = Code.DEADLINE_EXCEEDED


class Unavailable(BaasError):
    code = Code.UNAVAILABLE
    retryable = True


class Internal(BaasError):
    code = Code.INTERNAL


class DataLoss(BaasError):
    code = Code.DATA_LOSS


def error_of(code: str, reason: str, message: str) -> BaasError:
    """An error that was written down, of the class of its code."""
    found = next(kind for kind in BaasError.__subclasses__() if kind.code.value == code)
    return found(message, reason=reason)


def answer_too_late(seconds: float) -> DeadlineExceeded:
    """Something hangs that should not. What was asked for may yet be done."""
    return DeadlineExceeded(
        f"the server came to no answer within {seconds:g} s; what was asked for may yet be done",
        reason="AnswerTooLate",
    )
