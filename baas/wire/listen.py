"""Messages of the listen protocol: JSON texts, told apart by `type`.

client   hello, listen, unlisten, auth, ping
server   welcome, added, snapshot, removed, pong, error

A snapshot is spliced around the stored bytes of its documents. What all receivers share of it (the
changes) is encoded apart from what is each one's own, so that it is made once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeAlias

import msgspec
import orjson

from baas.encoding.documents import StoredDocument
from baas.errors import BaasError, InvalidArgument
from baas.model.paths import DocumentPath
from baas.model.queries import Query
from baas.wire.documents import encode_document, encode_time
from baas.wire.errors import encode_error
from baas.wire.objects import check_array
from baas.wire.queries import decode_query
from baas.wire.writes import decode_document_path

PING_SECONDS = 30
PART_BYTES = 256 * 1024  # a snapshot is cut into messages of about this size
_TARGET_MAX = 2**31 - 1


class Hello(msgspec.Struct, tag="hello", tag_field="type", frozen=True, forbid_unknown_fields=True):
    """The first message: who listens. `api_key` is a publishable key of the project."""

    token: str | None = None
    api_key: str | None = None


class Listen(
    msgspec.Struct, tag="listen", tag_field="type", frozen=True, forbid_unknown_fields=True
):
    """Starts a target: a query, or documents by path. The client chooses the number."""

    target: int
    query: msgspec.Raw = msgspec.Raw()
    documents: msgspec.Raw = msgspec.Raw()
    resume_token: str | None = None


class Unlisten(
    msgspec.Struct, tag="unlisten", tag_field="type", frozen=True, forbid_unknown_fields=True
):
    """Ends a target."""

    target: int


class Auth(msgspec.Struct, tag="auth", tag_field="type", frozen=True, forbid_unknown_fields=True):
    """Another token for the connection; null for none."""

    token: str | None


class Ping(msgspec.Struct, tag="ping", tag_field="type", frozen=True, forbid_unknown_fields=True):
    """Is answered by a pong."""


ClientMessage: TypeAlias = Hello | Listen | Unlisten | Auth | Ping

_DECODER = msgspec.json.Decoder(ClientMessage)


class ChangeLike(Protocol):
    """A change of a target's list. `kind.value` is `added`, `modified` or `removed`."""

    @property
    def kind(self) -> Any: ...
    @property
    def old_index(self) -> int: ...
    @property
    def new_index(self) -> int: ...
    @property
    def document(self) -> StoredDocument: ...


def decode_client_message(data: str | bytes) -> ClientMessage:
    """One message of a client. Raises InvalidArgument that says what is wrong where."""
    try:
        message: ClientMessage = _DECODER.decode(data)
    except msgspec.ValidationError as error:
        raise _malformed(f"the message is not valid: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(f"the message is not valid JSON: {error}") from error
    except UnicodeEncodeError as error:
        raise _malformed("the message is not valid Unicode") from error
    if isinstance(message, Listen | Unlisten) and not 0 < message.target <= _TARGET_MAX:
        raise _malformed(f"`target` must be from 1 to {_TARGET_MAX}, not {message.target}")
    return message


def decode_target(message: Listen, *, documents_max: int) -> Query | tuple[DocumentPath, ...]:
    """What is to be listened to. Raises InvalidArgument; contradictions within the query are
    `model.queries.check_query`'s to find."""
    if bool(message.query) == bool(message.documents):
        raise _malformed("`listen` needs either `query` or `documents`")
    if message.query:
        return decode_query(_loads(message.query, "query"), "query")
    tree = check_array(_loads(message.documents, "documents"), "documents", maximum=documents_max)
    if not tree:
        raise _malformed("`documents` must name at least one document")
    paths = [decode_document_path(item, f"documents[{index}]") for index, item in enumerate(tree)]
    return tuple(dict.fromkeys(paths))


def encode_welcome() -> bytes:
    """The answer to a good hello."""
    return b'{"type":"welcome","ping_seconds":%d}' % PING_SECONDS


def encode_added(target: int) -> bytes:
    """The target is allowed; snapshots follow."""
    return b'{"type":"added","target":%d}' % target


def encode_removed(target: int, error: BaasError | None, request_id: str) -> bytes:
    """Nothing more comes of the target."""
    if error is None:
        return b'{"type":"removed","target":%d,"error":null}' % target
    return orjson.dumps({"type": "removed", "target": target, **encode_error(error, request_id)})


def encode_pong() -> bytes:
    """The answer to a ping."""
    return b'{"type":"pong"}'


def encode_connection_error(error: BaasError, request_id: str) -> bytes:
    """The last message before the connection is closed."""
    return orjson.dumps({"type": "error", **encode_error(error, request_id)})


def encode_changes(changes: Iterable[ChangeLike]) -> Iterator[bytes]:
    """The changes as the insides of JSON arrays of about PART_BYTES each; at least one."""
    part: list[bytes] = []
    size = 0
    for change in changes:
        item = encode_change(change)
        if part and size + len(item) > PART_BYTES:
            yield b",".join(part)
            part, size = [], 0
        part.append(item)
        size += len(item)
    yield b",".join(part)


def encode_change(change: ChangeLike) -> bytes:
    """One change. A removed document is named and not told again."""
    if change.new_index < 0:
        path = orjson.dumps("/".join(change.document.path.segments))
        document = b'{"path":%b}' % path
    else:
        document = encode_document(change.document)
    return b'{"kind":"%b","old_index":%d,"new_index":%d,"document":%b}' % (
        change.kind.value.encode("ascii"),
        change.old_index,
        change.new_index,
        document,
    )


def encode_snapshot_part(target: int, version: int, changes: bytes, *, reset: bool) -> bytes:
    """A part of a snapshot that is not its last."""
    return (
        b'{"type":"snapshot","target":%d,"version":%d,"reset":%b,"final":false,"changes":[%b]}'
    ) % (target, version, _boolean(reset), changes)


def encode_snapshot(
    target: int,
    version: int,
    changes: bytes,
    *,
    reset: bool,
    read_time: int,
    resume_token: str,
    count: int,
) -> bytes:
    """A snapshot, or the last part of one: with it the target's list is the answer at `version`."""
    return (
        b'{"type":"snapshot","target":%d,"version":%d,"read_time":%b,"resume_token":"%b",'
        b'"reset":%b,"final":true,"changes":[%b],"count":%d}'
    ) % (
        target,
        version,
        encode_time(read_time),
        resume_token.encode("ascii"),
        _boolean(reset),
        changes,
        count,
    )


def _boolean(value: bool) -> bytes:
    return b"true" if value else b"false"


def _loads(raw: msgspec.Raw, at: str) -> Any:
    try:
        return orjson.loads(bytes(raw))
    except orjson.JSONDecodeError as error:
        raise _malformed(f"`{at}` is not valid JSON: {error}") from error


def _malformed(message: str) -> InvalidArgument:
    return InvalidArgument(message, reason="MalformedMessage")
