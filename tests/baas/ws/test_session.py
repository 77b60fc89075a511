from __future__ import annotations

import orjson
import pytest

from baas.database.listeners import DocumentsTarget, QueryTarget, Update
from baas.database.views import ChangeKind, DocumentChange
from baas.encoding.documents import StoredDocument, encode_fields
from baas.errors import InvalidArgument, PermissionDenied, TokenExpired
from baas.model.paths import CollectionPath, DocumentPath
from baas.model.queries import Query
from baas.services.listen import TargetAdded, TargetRemoved, TargetUpdated
from baas.settings import Limits
from baas.wire.listen import PART_BYTES
from baas.ws.session import (
    AddTarget,
    Answer,
    Authenticate,
    Greet,
    ListenProtocol,
    Phase,
    RemoveTarget,
)


def opened() -> ListenProtocol:
    protocol = ListenProtocol(Limits(), request_id="r1")
    assert protocol.receive('{"type":"hello","token":"t","api_key":"k"}') == Greet("t", "k")
    assert orjson.loads(protocol.welcome()) == {"type": "welcome", "ping_seconds": 30}
    return protocol


def test_messages_become_commands() -> None:
    protocol = opened()
    query = '{"type":"listen","target":1,"query":{"collection":"a"},"resume_token":"x"}'
    wanted = QueryTarget(Query(CollectionPath(("a",))))
    assert protocol.receive(query) == AddTarget(1, wanted, "x")
    documents = '{"type":"listen","target":2,"documents":["a/b","a/c","a/b"]}'
    paths = (DocumentPath(("a", "b")), DocumentPath(("a", "c")))
    assert protocol.receive(documents) == AddTarget(2, DocumentsTarget(paths), None)
    assert protocol.receive('{"type":"unlisten","target":2}') == RemoveTarget(2)
    assert protocol.receive('{"type":"unlisten","target":3}') is None
    assert protocol.receive('{"type":"auth","token":null}') == Authenticate(None)
    assert protocol.receive('{"type":"ping"}') == Answer('{"type":"pong"}')


def test_a_number_is_free_again_once_its_end_was_told() -> None:
    protocol = opened()
    message = '{"type":"listen","target":1,"documents":["a/b"]}'
    protocol.receive(message)
    with pytest.raises(InvalidArgument, match="in use"):
        protocol.receive(message)
    (told,) = protocol.tell(TargetRemoved(1, PermissionDenied()))
    error = orjson.loads(told)["error"]
    assert (error["code"], error["request_id"]) == ("PERMISSION_DENIED", "r1")
    assert isinstance(protocol.receive(message), AddTarget)


def test_what_is_no_target_is_refused_by_its_number() -> None:
    protocol = opened()
    for body in ('"documents":[]', '"documents":["a"]', '"documents":1', '"query":{"x":1}'):
        answer = protocol.receive('{"type":"listen","target":5,' + body + "}")
        assert isinstance(answer, Answer)
        assert orjson.loads(answer.message)["target"] == 5
    both = protocol.receive('{"type":"listen","target":5,"documents":[],"query":{}}')
    assert isinstance(both, Answer)


def test_the_message_limit_is_exact() -> None:
    limits = Limits(listen_message_bytes_max=40)
    message = '{"type":"hello"}'
    protocol = ListenProtocol(limits, request_id="r")
    assert isinstance(protocol.receive(message.ljust(40)), Greet)
    with pytest.raises(InvalidArgument, match="longer than 40"):
        protocol.receive(message.ljust(41))


def test_farewell_names_the_close_code() -> None:
    protocol = opened()
    farewell = protocol.farewell(TokenExpired("the token has expired"))
    assert (farewell.code, farewell.reason) == (4401, "TokenExpired")
    assert orjson.loads(farewell.message)["error"]["code"] == "UNAUTHENTICATED"
    assert protocol.phase is Phase.CLOSED


def _updated(count: int, size: int, *, reset: bool) -> TargetUpdated:
    changes = [
        DocumentChange(
            ChangeKind.ADDED,
            -1,
            number,
            StoredDocument(
                DocumentPath(("a", str(number))),
                encode_fields({"text": "x" * size}),
                created=1,
                version=2,
            ),
        )
        for number in range(count)
    ]
    return TargetUpdated(9, Update(7, changes, count, reset), 1_000_000, "token")


def test_a_snapshot_says_everything_once() -> None:
    (message,) = opened().tell(_updated(1, 3, reset=True))
    assert orjson.loads(message) == {
        "type": "snapshot",
        "target": 9,
        "version": 7,
        "read_time": "1970-01-01T00:00:01.000000Z",
        "resume_token": "token",
        "reset": True,
        "final": True,
        "changes": [
            {
                "kind": "added",
                "old_index": -1,
                "new_index": 0,
                "document": {
                    "path": "a/0",
                    "fields": {"text": "xxx"},
                    "create_time": "1970-01-01T00:00:00.000001Z",
                    "update_time": "1970-01-01T00:00:00.000002Z",
                },
            }
        ],
        "count": 1,
    }


@pytest.mark.parametrize("count", [0, 3, 1_001])
def test_parts_join_to_the_whole(count: int) -> None:
    event = _updated(count, PART_BYTES // 2 if count == 3 else 300, reset=True)
    for _ in range(2):  # the second receiver gets what was encoded for the first
        parts = [orjson.loads(message) for message in opened().tell(event)]
        assert [part["final"] for part in parts] == [False] * (len(parts) - 1) + [True]
        assert [part["reset"] for part in parts] == [True] + [False] * (len(parts) - 1)
        indexes = [change["new_index"] for part in parts for change in part["changes"]]
        assert indexes == list(range(count))
    assert (len(parts) > 1) == (count > 0)


@pytest.mark.parametrize(("size", "is_kept"), [(300, True), (1_000_000, False)])
def test_what_is_encoded_is_kept_within_bounds(size: int, is_kept: bool) -> None:
    """A hundred documents of a MiB, encoded and kept with the answer, took as much again."""
    event = _updated(10, size, reset=True)
    messages = opened().tell(event)
    assert next(messages)
    assert (event.update.encoded.value is not None) == is_kept


def test_an_added_target_is_told() -> None:
    assert list(opened().tell(TargetAdded(4))) == ['{"type":"added","target":4}']
