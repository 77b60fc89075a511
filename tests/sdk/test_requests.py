"""Requests as they would be sent, and answers of every form, without sending anything."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from baas_sdk import _requests, errors
from baas_sdk._options import make_options
from baas_sdk._paths import DatabaseName
from baas_sdk._requests import Answer
from baas_sdk._session import Session, Tokens, parse_signed_in

HOME = DatabaseName("demo")
TIME = "2026-01-01T00:00:00.000000Z"


def answer(tree: Any, status: int = 200) -> Answer:
    return Answer(status, orjson.dumps(tree), "q1")


def test_reads_and_commits_may_be_repeated_and_account_calls_not() -> None:
    assert _requests.get_document(HOME, "c/d").request.is_idempotent
    assert _requests.batch_get(HOME, ["c/d"]).request.is_idempotent
    assert _requests.query(HOME, {}).request.is_idempotent
    assert _requests.aggregate(HOME, {}, {}, lambda tree: tree).request.is_idempotent
    assert _requests.list_documents(HOME, "c", page_size=1, page_token=None).request.is_idempotent
    assert _requests.commit(HOME, [], lambda tree: tree).request.is_idempotent
    assert _requests.sign_out(HOME, "r").request.is_idempotent
    assert not _requests.sign_up(HOME, "a", "b", 0).request.is_idempotent
    assert not _requests.sign_in(HOME, "a", "b", 0).request.is_idempotent
    assert not _requests.refresh(HOME, "r", 0).request.is_idempotent


def test_account_calls_are_not_authorized() -> None:
    for call in (
        _requests.sign_up(HOME, "a", "b", 0),
        _requests.sign_in(HOME, "a", "b", 0),
        _requests.refresh(HOME, "r", 0),
    ):
        assert not call.request.is_authorized
    assert _requests.get_me(HOME).request.is_authorized


def test_every_commit_has_an_id_of_its_own() -> None:
    bodies = {_requests.commit(HOME, [], lambda tree: tree).request.body for _ in range(50)}

    assert len(bodies) == 50


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:1", "ws://h:1/api/v1/projects/demo/databases/(default)/documents:listen"),
        ("https://h/x", "wss://h/x/api/v1/projects/demo/databases/(default)/documents:listen"),
    ],
)
def test_the_sockets_address(url: str, expected: str) -> None:
    assert _requests.listen_url(url, HOME) == expected


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"5", b"[]", b"{}", b'{"document":{}}', b'{"done":true}', b'{"done":false}'],
)
def test_a_line_of_another_form_is_internal(line: bytes) -> None:
    with pytest.raises(errors.Internal):
        _requests.parse_query_line(line)


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"documents": [], "read_time": TIME},
        {"documents": [{"path": "c/d"}], "read_time": TIME},
        {"documents": [{"path": "c/d", "document": None}], "read_time": "soon"},
    ],
)
def test_a_batch_of_another_form_is_internal(tree: Any) -> None:
    call = _requests.batch_get(HOME, ["c/d"])
    with pytest.raises(errors.Internal) as caught:
        call.result(answer(tree))
    assert caught.value.reason in ("UnexpectedAnswer", "Internal")


def test_an_error_without_a_body_is_judged_by_its_status() -> None:
    found = Answer(503, b"").error()

    assert isinstance(found, errors.Unavailable)
    assert isinstance(
        answer({"error": {"code": "ABORTED", "message": "m"}}, 409).error(), errors.Aborted
    )
    assert answer({"error": {"code": "ABORTED", "message": "m"}}, 409).error().request_id == "q1"
    assert isinstance(answer({"error": "x"}, 409).error(), errors.Internal)


def signed_in(number: int, now: float = 0, **rest: Any) -> Any:
    tree = {
        "id_token": f"id{number}",
        "refresh_token": f"r{number}",
        "expires_in": 3600,
        "user": {"uid": "u"},
        **rest,
    }
    return parse_signed_in(tree, now)


def test_tokens_are_due_before_their_end() -> None:
    tokens = signed_in(1, now=100).tokens

    assert not tokens.is_due(100 + 3539)
    assert tokens.is_due(100 + 3540)
    assert tokens.ends_at == 3700
    assert signed_in(1, expires_in=4).tokens.refresh_at == 3


def test_a_session_tells_of_each_change() -> None:
    session = Session()
    told: list[str | None] = []
    session.on_change = lambda: told.append(session.id_token)
    session.clear()
    session.sign_in(signed_in(1))
    first = session.tokens
    assert first is not None
    session.refresh(first, signed_in(2, user=None))
    session.refresh(first, signed_in(3))  # of tokens that are gone
    assert session.user is not None
    session.clear()

    assert told == ["id1", "id2", None]


def test_a_session_ends_only_by_a_refusal_of_its_own_token() -> None:
    session = Session()
    session.sign_in(signed_in(1))
    used = session.tokens
    assert used is not None
    assert not session.refresh_failed(used, errors.Unavailable("m"))
    assert session.id_token == "id1"
    other = Tokens("x", "y", 0, 0)
    assert session.refresh_failed(other, errors.TokenInvalid("m"))
    assert session.id_token == "id1"
    assert session.refresh_failed(used, errors.TokenInvalid("m"))
    assert session.id_token is None


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:1", True),
        ("http://localhost", True),
        ("http://[::1]:8080", True),
        ("https://example.org", False),
        ("http://10.0.0.1", False),
    ],
)
def test_loopback_is_known(url: str, loopback: bool) -> None:
    options = make_options(
        url, project="p", database="d", api_key=None, token=None, timeout=1, retry=None
    )

    assert options.is_loopback is loopback
