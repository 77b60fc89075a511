"""The listen machine by itself: scripted connections, no sockets, a clock that the test moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import orjson
import pytest
from baas_sdk import errors
from baas_sdk._listen import (
    BACKOFF_SECONDS_FIRST,
    BACKOFF_SECONDS_MAX,
    RESYNCS_MAX,
    Failed,
    ListenMachine,
    Phase,
    Shown,
    SnapshotBuffer,
    State,
    difference,
)
from baas_sdk._snapshots import ChangeType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@dataclass(frozen=True)
class Doc:
    path: str
    update_time: Any


QUERY = {"query": {"collection": "c"}}


def doc(name: str, version: int = 1) -> dict[str, Any]:
    return {"path": f"c/{name}", "update_time": version}


def parse(tree: dict[str, Any]) -> Doc:
    return Doc(tree["path"], tree["update_time"])


def added(name: str, index: int, version: int = 1) -> dict[str, Any]:
    return {"kind": "added", "old_index": -1, "new_index": index, "document": doc(name, version)}


def modified(name: str, old: int, new: int, version: int) -> dict[str, Any]:
    return {"kind": "modified", "old_index": old, "new_index": new, "document": doc(name, version)}


def removed(name: str, index: int) -> dict[str, Any]:
    return {"kind": "removed", "old_index": index, "new_index": -1, "document": doc(name)}


class Script:
    """A machine and the server's side of its connection."""

    def __init__(self) -> None:
        self.now = 100.0
        self.machine = ListenMachine(api_key="baas_pk_x", random=lambda: 1.0)

    def add(self, *, flipped: bool = False) -> int:
        return self.machine.add(QUERY, parse, self.now, flipped=flipped)

    def connect(self, token: str | None = "t1") -> list[dict[str, Any]]:
        """Connects when it is due, welcomes, and returns what the client then asks for."""
        assert self.machine.connect_at is not None
        self.now = max(self.now, self.machine.connect_at)
        self.machine.connected(token, self.now)
        assert self.sent() == [{"type": "hello", "token": token, "api_key": "baas_pk_x"}]
        self.receive(type="welcome", ping_seconds=30)
        return self.sent()

    def sent(self) -> list[dict[str, Any]]:
        return [orjson.loads(text) for text in self.machine.take_messages()]

    def receive(self, **message: Any) -> None:
        self.machine.received(orjson.dumps(message), self.now)

    def snapshot(self, target: int, changes: Sequence[Any], **rest: Any) -> None:
        message = {
            "version": 1,
            "read_time": "2026-01-01T00:00:00Z",
            "resume_token": "r1",
            "reset": False,
            "final": True,
            **rest,
        }
        self.receive(type="snapshot", target=target, changes=changes, **message)

    def lose(self, error: errors.SdkError | None = None) -> None:
        self.machine.lost(error or errors.Unavailable("gone"), self.now)

    def shown(self) -> list[tuple[list[str], list[tuple[str, str, int, int]]]]:
        """What the app sees: names with versions, and changes in short."""
        found = []
        for event in self.machine.take_events():
            assert isinstance(event, Shown), event
            found.append((names(event.state.documents), steps(event.state.changes)))
        return found

    def failures(self) -> list[tuple[int, errors.SdkError]]:
        found = []
        for event in self.machine.take_events():
            assert isinstance(event, Failed), event
            found.append((event.key, event.error))
        return found


def names(documents: Sequence[Doc]) -> list[str]:
    return [f"{item.path.removeprefix('c/')}{item.update_time}" for item in documents]


def steps(changes: Any) -> list[tuple[str, str, int, int]]:
    return [
        (item.type.name.lower(), names([item.document])[0], item.old_index, item.new_index)
        for item in changes
    ]


@pytest.fixture
def script() -> Script:
    return Script()


def test_without_targets_nothing_is_wanted(script: Script) -> None:
    assert script.machine.phase is Phase.IDLE
    assert script.machine.connect_at is None
    assert script.machine.deadline is None


def test_the_first_snapshot_is_shown_even_if_empty(script: Script) -> None:
    key = script.add()
    assert script.machine.connect_at == script.now

    assert script.connect() == [{"type": "listen", "target": 1, **QUERY}]
    script.receive(type="added", target=1)
    script.snapshot(1, [], reset=True, count=0)

    (event,) = script.machine.take_events()
    assert event == Shown(key, State((), (), "2026-01-01T00:00:00Z"))


def test_changes_are_applied_in_order(script: Script) -> None:
    script.add()
    script.connect()
    script.snapshot(1, [added("a", 0), added("b", 1), added("c", 2)], count=3)
    script.snapshot(
        1, [removed("a", 0), modified("c", 1, 0, 2), added("d", 1, 2)], version=2, count=3
    )

    assert script.shown() == [
        (
            ["a1", "b1", "c1"],
            [("added", "a1", -1, 0), ("added", "b1", -1, 1), ("added", "c1", -1, 2)],
        ),
        (
            ["c2", "d2", "b1"],
            [("removed", "a1", 0, -1), ("modified", "c2", 1, 0), ("added", "d2", -1, 1)],
        ),
    ]


def test_parts_are_shown_only_when_final(script: Script) -> None:
    script.add()
    script.connect()
    script.snapshot(1, [added("a", 0)], final=False, reset=True)
    assert script.shown() == []
    script.snapshot(1, [added("b", 1)], count=2)

    assert script.shown() == [(["a1", "b1"], [("added", "a1", -1, 0), ("added", "b1", -1, 1)])]


def test_a_connection_resumes_from_what_was_shown(script: Script) -> None:
    script.add()
    script.connect()
    script.snapshot(1, [added("a", 0)], resume_token="r1")
    script.snapshot(1, [added("x", 1)], final=False, resume_token="never")
    script.shown()

    script.lose()
    assert script.connect() == [{"type": "listen", "target": 2, **QUERY, "resume_token": "r1"}]
    script.snapshot(2, [added("b", 1)], resume_token="r2", count=2)

    assert script.shown() == [(["a1", "b1"], [("added", "b1", -1, 1)])]


def test_nothing_new_after_a_reconnection_is_not_shown(script: Script) -> None:
    script.add()
    script.connect()
    script.snapshot(1, [added("a", 0)], resume_token="r1")
    script.shown()

    script.lose()
    script.connect()
    script.snapshot(2, [], resume_token="r2", count=1)
    assert script.shown() == []
    script.lose()
    assert script.connect()[0]["resume_token"] == "r2"
    script.snapshot(3, [added("a", 0)], reset=True, resume_token="r3", count=1)
    assert script.shown() == []


def test_after_a_reset_only_the_difference_is_shown(script: Script) -> None:
    script.add()
    script.connect()
    script.snapshot(1, [added("a", 0), added("b", 1), added("c", 2)])
    script.shown()

    script.snapshot(
        1, [added("b", 0), added("c", 1, 2), added("d", 2)], reset=True, version=9, count=3
    )

    assert script.shown() == [
        (
            ["b1", "c2", "d1"],
            [("removed", "a1", 0, -1), ("modified", "c2", 1, 1), ("added", "d1", -1, 2)],
        )
    ]


@pytest.mark.parametrize(
    "change",
    [
        removed("z", 0),
        removed("a", 1),
        removed("a", -1),
        modified("z", 0, 0, 2),
        modified("a", 0, 1, 2),
        added("b", 2),
        {"kind": "swapped"},
    ],
)
def test_changes_that_do_not_fit_start_the_target_afresh(
    script: Script, change: dict[str, Any]
) -> None:
    script.add()
    script.connect()
    script.snapshot(1, [added("a", 0)])
    script.shown()

    script.snapshot(1, [change])

    assert script.sent() == [
        {"type": "unlisten", "target": 1},
        {"type": "listen", "target": 2, **QUERY},
    ]
    script.snapshot(1, [added("late", 0)])
    script.snapshot(2, [added("a", 0), added("b", 1)], reset=True, count=2)
    assert script.shown() == [(["a1", "b1"], [("added", "b1", -1, 1)])]


def test_a_wrong_count_starts_the_target_afresh(script: Script) -> None:
    script.add()
    script.connect()
    script.snapshot(1, [added("a", 0)], count=2)

    assert script.shown() == []
    assert script.sent()[-1] == {"type": "listen", "target": 2, **QUERY}


def test_snapshots_that_never_fit_end_the_target(script: Script) -> None:
    key = script.add()
    script.connect()
    for target in range(1, RESYNCS_MAX + 2):
        script.snapshot(target, [], count=5)

    ((failed, error),) = script.failures()
    assert failed == key
    assert isinstance(error, errors.Internal)


def test_several_targets_share_the_connection(script: Script) -> None:
    first, second = script.add(), script.add()
    assert [message["target"] for message in script.connect()] == [1, 2]
    third = script.add()
    assert script.sent() == [{"type": "listen", "target": 3, **QUERY}]

    script.snapshot(2, [added("b", 0)])
    script.snapshot(3, [added("c", 0)])
    script.snapshot(1, [added("a", 0)])

    assert [event.key for event in script.machine.take_events()] == [second, third, first]


def test_a_removed_target_is_silent_and_the_last_ends_the_connection(script: Script) -> None:
    first, second = script.add(), script.add()
    script.connect()
    script.snapshot(1, [added("a", 0)])
    script.machine.remove(first, script.now)

    assert script.machine.take_events() == []
    assert script.sent() == [{"type": "unlisten", "target": 1}]
    assert script.machine.broken_by is None
    script.machine.remove(second, script.now)
    script.machine.remove(second, script.now)
    script.lose(script.machine.broken_by)
    assert script.machine.connect_at is None


def test_a_target_that_takes_the_place_of_the_last_one_does_not_wait(script: Script) -> None:
    first = script.add()
    script.connect()
    script.machine.remove(first, script.now)
    script.add()
    script.lose(script.machine.broken_by)

    assert script.machine.connect_at == script.now
    assert script.connect() == [{"type": "listen", "target": 3, **QUERY}]


def test_a_target_removed_before_the_connection_leaves_nothing(script: Script) -> None:
    key = script.add()
    script.machine.remove(key, script.now)

    assert script.machine.phase is Phase.IDLE
    assert script.machine.connect_at is None


@pytest.mark.parametrize(
    "code",
    [
        "PERMISSION_DENIED",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "UNAUTHENTICATED",
        "RESOURCE_EXHAUSTED",
        "INTERNAL",
    ],
)
def test_an_error_ends_its_target_only(script: Script, code: str) -> None:
    first, second = script.add(), script.add()
    script.connect()
    script.snapshot(2, [added("b", 0)])
    script.machine.take_events()

    script.receive(type="removed", target=1, error={"code": code, "message": "no"})

    ((failed, error),) = script.failures()
    assert failed == first
    assert error.code.value == code
    script.lose()
    assert [message["resume_token"] for message in script.connect()] == ["r1"]
    assert second


def test_a_token_that_is_too_old_starts_the_target_afresh(script: Script) -> None:
    script.add()
    script.connect()
    script.snapshot(1, [added("a", 0)])
    script.shown()
    script.receive(
        type="removed",
        target=1,
        error={"code": "OUT_OF_RANGE", "reason": "ResumeTokenExpired", "message": "old"},
    )

    assert script.sent() == [{"type": "listen", "target": 2, **QUERY}]
    script.snapshot(2, [added("b", 0)], count=1)
    assert script.shown() == [
        (["b1"], [("removed", "a1", 0, -1), ("added", "b1", -1, 0)]),
    ]


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "ABORTED"])
def test_a_passing_error_of_the_connection_is_waited_out(script: Script, code: str) -> None:
    script.add()
    script.connect()
    script.snapshot(1, [added("a", 0)])
    script.shown()
    script.receive(type="error", error={"code": code, "message": "later"})

    assert script.machine.broken_by is not None
    script.lose(script.machine.broken_by)
    assert script.connect()[0]["resume_token"] == "r1"
    assert script.machine.take_events() == []


@pytest.mark.parametrize("code", ["UNAVAILABLE", "ABORTED"])
def test_a_passing_error_of_a_target_is_waited_out_by_it_alone(script: Script, code: str) -> None:
    script.add()
    script.add()
    script.connect()
    script.snapshot(1, [added("a", 0)])
    script.shown()
    for failures in range(3):
        number = [1, 3, 4][failures]
        script.receive(type="removed", target=number, error={"code": code, "message": "later"})
        assert script.machine.broken_by is None
        pause = BACKOFF_SECONDS_FIRST * 2**failures
        assert script.machine.deadline == script.now + pause
        script.machine.time_passed(script.now)
        assert script.sent() == []
        script.now += pause
        script.machine.time_passed(script.now)
        (message,) = script.sent()
        assert (message["target"], message["resume_token"]) == (
            number + (2 if number == 1 else 1),
            "r1",
        )
    script.snapshot(5, [added("b", 1)])
    assert script.shown() == [(["a1", "b1"], [("added", "b1", -1, 1)])]


def test_a_target_that_waits_is_started_with_a_new_connection(script: Script) -> None:
    script.add()
    script.connect()
    script.receive(type="removed", target=1, error={"code": "UNAVAILABLE", "message": "later"})
    script.lose()

    assert script.connect() == [{"type": "listen", "target": 2, **QUERY}]
    script.now += 1
    script.machine.time_passed(script.now)
    assert script.sent() == []


def test_an_error_that_will_not_pass_ends_all_targets(script: Script) -> None:
    keys = [script.add(), script.add()]
    script.connect()
    script.receive(type="error", error={"code": "NOT_FOUND", "message": "no such project"})
    script.lose(script.machine.broken_by)

    assert [key for key, _ in script.failures()] == keys
    assert script.machine.phase is Phase.IDLE


def test_an_expired_token_is_refreshed(script: Script) -> None:
    key = script.add()
    expired = {"code": "UNAUTHENTICATED", "reason": "IdTokenExpired", "message": "old"}
    for _ in range(2):
        script.connect("t1")
        script.receive(type="removed", target=1, error=expired)
        script.receive(type="error", error=expired)
        assert script.machine.rejected_token == "t1"
        script.lose(script.machine.broken_by)
    script.connect("t2")
    assert script.machine.rejected_token is None
    script.receive(type="error", error=expired)

    ((failed, error),) = script.failures()
    assert failed == key
    assert isinstance(error, errors.TokenExpired)


def test_a_snapshot_forgives_earlier_refreshes(script: Script) -> None:
    script.add()
    expired = {"code": "UNAUTHENTICATED", "reason": "IdTokenExpired", "message": "old"}
    for target in range(1, 6):
        script.connect()
        script.snapshot(target, [added("a", 0)], reset=True)
        script.receive(type="error", error=expired)
        script.lose(script.machine.broken_by)

    assert len(script.shown()) == 1


def test_a_new_token_is_told(script: Script) -> None:
    script.add()
    script.connect("t1")
    script.machine.token_changed("t1", script.now)
    assert script.sent() == []
    script.machine.token_changed("t2", script.now)
    script.machine.token_changed(None, script.now)

    assert script.sent() == [{"type": "auth", "token": "t2"}, {"type": "auth", "token": None}]


ENDED = {"code": "UNAUTHENTICATED", "reason": "IdTokenInvalid", "message": "the session has ended"}


def test_what_ends_with_a_token_that_is_not_shown_any_more_is_asked_for_again(
    script: Script,
) -> None:
    """The server hears of the end of the session before it hears of the token that follows."""
    script.add()
    script.connect("t1")
    script.snapshot(1, [added("a", 0)], reset=True)
    assert len(script.shown()) == 1
    script.machine.token_changed(None, script.now)
    script.receive(type="removed", target=1, error=ENDED)

    assert [message["type"] for message in script.sent()] == ["auth", "listen"]
    script.snapshot(2, [added("b", 1)])
    assert [names for names, _ in script.shown()] == [["a1", "b1"]]


def test_what_ends_with_the_token_that_is_shown_ends(script: Script) -> None:
    key = script.add()
    script.connect("t1")
    script.machine.token_changed("t2", script.now)
    script.receive(type="removed", target=1, error=ENDED)
    script.receive(type="removed", target=2, error=ENDED)

    ((failed, error),) = script.failures()
    assert failed == key
    assert isinstance(error, errors.TokenInvalid)


def test_a_token_that_changes_during_the_greeting_is_told_after_it(script: Script) -> None:
    script.add()
    script.machine.connected("t1", script.now)
    script.machine.token_changed("t2", script.now)
    assert [message["type"] for message in script.sent()] == ["hello"]
    script.receive(type="welcome", ping_seconds=30)

    assert [message["type"] for message in script.sent()] == ["auth", "listen"]


def test_silence_is_broken_by_a_ping_and_then_given_up(script: Script) -> None:
    script.add()
    script.connect()
    assert script.machine.deadline == script.now + 30
    script.now += 29
    script.machine.time_passed(script.now)
    assert script.sent() == []
    script.now += 1
    script.machine.time_passed(script.now)
    assert script.sent() == [{"type": "ping"}]
    script.receive(type="pong")
    for _ in range(2):
        script.now += 30
        script.machine.time_passed(script.now)
    assert len(script.sent()) == 2
    assert script.machine.broken_by is None
    assert script.machine.deadline == script.now + 15
    script.now += 15
    script.machine.time_passed(script.now)

    assert isinstance(script.machine.broken_by, errors.Unavailable)


def test_a_greeting_has_a_limit(script: Script) -> None:
    script.add()
    script.machine.connected(None, script.now)
    assert script.machine.deadline == script.now + 10
    script.machine.time_passed(script.now + 10)

    assert isinstance(script.machine.broken_by, errors.Unavailable)


def test_pauses_grow_to_a_limit_and_shrink_after_success(script: Script) -> None:
    script.add()
    pauses = []
    for _ in range(12):
        script.lose()
        assert script.machine.connect_at is not None
        pauses.append(script.machine.connect_at - script.now)
        script.connect()

    assert pauses[:4] == [BACKOFF_SECONDS_FIRST * 2**power for power in range(4)]
    assert pauses[-1] == BACKOFF_SECONDS_MAX
    script.snapshot(12, [added("a", 0)], count=1)
    script.lose()
    assert script.machine.connect_at == script.now + BACKOFF_SECONDS_FIRST


def test_pauses_are_spread() -> None:
    machine = ListenMachine(api_key=None, random=lambda: 0.0)
    machine.add(QUERY, parse, 0.0)
    machine.lost(None, 0.0)

    assert machine.connect_at == BACKOFF_SECONDS_FIRST / 2


@pytest.mark.parametrize(
    "text",
    ["{", "5", "[]", "{}", '{"type":"snapshot"}', '{"type":"snapshot","target":1}', b"\xff"],
)
def test_a_message_that_cannot_be_read_breaks_the_connection(
    script: Script, text: str | bytes
) -> None:
    script.add()
    script.connect()
    script.machine.received(text, script.now)

    assert isinstance(script.machine.broken_by, errors.Internal)
    script.lose(script.machine.broken_by)
    assert script.connect()  # and it is tried again


def test_messages_of_a_newer_server_are_ignored(script: Script) -> None:
    script.add()
    script.connect()
    script.receive(type="confetti", target=1)

    assert script.machine.broken_by is None


def test_the_opposite_order_is_shown_with_its_own_indexes(script: Script) -> None:
    script.add(flipped=True)
    script.connect()
    script.snapshot(1, [added("c", 0), added("b", 1)], count=2)
    script.snapshot(1, [removed("b", 1), added("d", 0)], version=2, count=2)

    assert script.shown() == [
        (["b1", "c1"], [("added", "b1", -1, 0), ("added", "c1", -1, 1)]),
        (["c1", "d1"], [("removed", "b1", 0, -1), ("added", "d1", -1, 1)]),
    ]


# --- difference and buffer ------------------------------------------------------------------------

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

_lists = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 2)), unique_by=lambda item: item[0]
).map(lambda items: [Doc(f"c/{name}", version) for name, version in items])


def applied(before: Sequence[Doc], changes: Sequence[Any]) -> list[Doc]:
    documents = list(before)
    for change in changes:
        if change.type is not ChangeType.ADDED:
            gone = documents.pop(change.old_index)
            assert gone.path == change.document.path
        if change.type is not ChangeType.REMOVED:
            documents.insert(change.new_index, change.document)
    return documents


@UNHURRIED
@given(_lists, _lists)
def test_differences_lead_from_one_list_to_the_other(before: list[Doc], after: list[Doc]) -> None:
    assert applied(before, difference(before, after)) == after


@UNHURRIED
@given(_lists)
def test_equal_lists_have_no_difference(documents: list[Doc]) -> None:
    assert difference(documents, list(documents)) == ()


def test_only_what_changed_is_named_where_others_move() -> None:
    before = [Doc("c/a", 1), Doc("c/b", 1), Doc("c/c", 1)]
    after = [Doc("c/b", 1), Doc("c/c", 1), Doc("c/a", 2)]

    assert steps(difference(before, after)) == [("modified", "a2", 0, 2)]


@UNHURRIED
@given(st.lists(st.tuples(_lists, st.booleans()), max_size=12))
def test_a_slow_reader_skips_states_but_no_change(script: list[tuple[list[Doc], bool]]) -> None:
    buffer: SnapshotBuffer[Doc] = SnapshotBuffer(maximum=2)
    shown: list[Doc] = []
    newest: list[Doc] = []
    for documents, reads in script:
        changes = difference(newest, documents)
        buffer.push(State(tuple(documents), changes, "t"))
        newest = documents
        if reads:
            state = buffer.pop()
            if state is not None:
                shown = applied(shown, state.changes)
                assert shown == list(state.documents)
    while (state := buffer.pop()) is not None:
        shown = applied(shown, state.changes)
        assert shown == list(state.documents)

    assert shown == newest


# --- a server that works, a network that does not -------------------------------------------------

_commits = st.lists(_lists, min_size=1, max_size=6)


def on_the_wire(changes: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {
            "kind": change.type.name.lower(),
            "old_index": change.old_index,
            "new_index": change.new_index,
            "document": {"path": change.document.path, "update_time": change.document.update_time},
        }
        for change in changes
    ]


@UNHURRIED
@given(_commits, st.data())
def test_whatever_breaks_the_app_ends_with_the_servers_list(
    commits: list[list[Doc]], data: st.DataObject
) -> None:
    script = Script()
    script.add()
    app: list[Doc] = []
    seen: list[list[Doc]] = []

    def take() -> None:
        nonlocal app
        for event in script.machine.take_events():
            assert isinstance(event, Shown)
            app = applied(app, event.state.changes)
            assert app == list(event.state.documents)
            seen.append(app)

    def serve(base: list[Doc], to: list[Doc], target: int, *, reset: bool, token: str) -> None:
        changes = on_the_wire(difference(base, to))
        cut = data.draw(st.integers(0, len(changes)))
        script.snapshot(target, changes[:cut], final=False, reset=reset)
        if data.draw(st.booleans()):
            script.lose()  # in the midst of a snapshot
            take()
            return
        script.snapshot(target, changes[cut:], resume_token=token, count=len(to))
        take()

    at_token: dict[str, list[Doc]] = {}
    target: int | None = None
    server: list[Doc] = []
    for number, documents in enumerate(commits):
        if script.machine.phase is Phase.WAITING:
            (message,) = script.connect()
            target = message["target"]
            base = at_token.get(message.get("resume_token", ""), [])
            reset = "resume_token" not in message or data.draw(st.booleans())
            at_token[f"r{number}"] = documents
            serve([] if reset else base, documents, target, reset=reset, token=f"r{number}")
        else:
            assert target is not None
            at_token[f"r{number}"] = documents
            serve(server, documents, target, reset=False, token=f"r{number}")
        server = documents
        if data.draw(st.booleans()) and script.machine.phase is Phase.OPEN:
            script.lose()
    if script.machine.phase is Phase.WAITING:
        (message,) = script.connect()
        base = at_token.get(message.get("resume_token", ""), [])
        reset = "resume_token" not in message
        changes = on_the_wire(difference([] if reset else base, server))
        script.snapshot(message["target"], changes, reset=reset, count=len(server))
        take()

    assert app == server
    assert all(before != after for before, after in pairwise(seen))
