"""Sign-in, tokens and their refresh, with both clients against a scripted server."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from baas_sdk import User, errors

from tests.sdk.faces import Face, OpenFace
from tests.sdk.peer import Peer, Received, Reply, document, error_reply, signed_in

ACCOUNTS = "/api/v1/projects/demo/accounts"
EXPIRED = ("UNAUTHENTICATED", "IdTokenExpired")


class Server:
    """Answers documents for the newest id token, and refreshes; counts both."""

    def __init__(self, *, expires_in: float = 3600) -> None:
        self.expires_in = expires_in
        self.number = 1
        self.refreshed: list[str] = []
        self.refused = 0
        self.refresh_reply: Reply | None = None
        self._lock = threading.Lock()

    def __call__(self, received: Received) -> Reply:
        with self._lock:
            if received.path.endswith((":sign-in", ":sign-up")):
                return Reply(json=signed_in(self.number, expires_in=self.expires_in))
            if received.path.endswith(":refresh"):
                self.refreshed.append(received.json()["refresh_token"])
                if self.refresh_reply is not None:
                    return self.refresh_reply
                self.number += 1
                return Reply(json=signed_in(self.number))
            if received.headers.get("authorization") != f"Bearer id{self.number}":
                self.refused += 1
                return error_reply(401, *EXPIRED)
            return Reply(json=document("c/a"))


async def test_signing_up_and_in(peer: Peer, face: Face) -> None:
    peer.reply(Reply(status=201, json=signed_in(1)), Reply(json=signed_in(2, uid="u2")))
    auth: Any = face.client.auth
    assert auth.current_user is None

    user: Any = await face.call(auth.sign_up, "ada@example.com", "pass word")
    assert user == User("u1", "ada@example.com", True)
    assert user.profile["email"] == "ada@example.com"
    assert auth.current_user == user
    assert (await face.call(auth.sign_in, "b@example.com", "pw")).uid == "u2"

    assert [received.path for received in peer.requests] == [
        f"{ACCOUNTS}:sign-up",
        f"{ACCOUNTS}:sign-in",
    ]
    assert peer.requests[0].json() == {"email": "ada@example.com", "password": "pass word"}
    assert peer.requests[0].headers["x-api-key"] == "baas_pk_x"
    assert "authorization" not in peer.requests[1].headers
    user = auth.current_user
    assert user.uid == "u2"


async def test_calls_carry_the_id_token_until_sign_out(peer: Peer, face: Face) -> None:
    peer.reply(Reply(json=signed_in(1)), *[Reply(json=document("c/a"))], Reply(json={}))
    await face.call(face.client.auth.sign_in, "a@b.c", "pw")
    await face.call(face.client.document("c/a").get)
    await face.call(face.client.auth.sign_out)
    peer.reply(Reply(json=document("c/a")))
    await face.call(face.client.document("c/a").get)
    await face.call(face.client.auth.sign_out)

    assert peer.requests[1].headers["authorization"] == "Bearer id1"
    assert peer.requests[2].path == f"{ACCOUNTS}:sign-out"
    assert peer.requests[2].json() == {"refresh_token": "refresh1"}
    assert "authorization" not in peer.requests[3].headers
    assert len(peer.requests) == 4
    assert face.client.auth.current_user is None


async def test_sign_out_forgets_even_if_the_server_is_not_told(peer: Peer, face: Face) -> None:
    peer.reply(Reply(json=signed_in(1)), error_reply(403, "PERMISSION_DENIED"))
    await face.call(face.client.auth.sign_in, "a@b.c", "pw")

    with pytest.raises(errors.PermissionDenied):
        await face.call(face.client.auth.sign_out)
    assert face.client.auth.current_user is None
    assert await face.call(face.client.auth.id_token) is None


async def test_a_wrong_password_is_not_repeated(peer: Peer, face: Face) -> None:
    peer.reply(error_reply(401, "UNAUTHENTICATED", "InvalidCredentials"))

    with pytest.raises(errors.Unauthenticated) as caught:
        await face.call(face.client.auth.sign_in, "a@b.c", "pw")
    assert caught.value.reason == "InvalidCredentials"
    assert len(peer.requests) == 1


@pytest.mark.parametrize("arguments", [("", "pw"), ("a@b.c", ""), (None, "pw"), ("a@b.c", 5)])
async def test_empty_credentials_are_not_sent(
    peer: Peer, face: Face, arguments: tuple[Any, Any]
) -> None:
    with pytest.raises(errors.InvalidArgument):
        await face.call(face.client.auth.sign_in, *arguments)
    assert peer.requests == []


async def test_a_token_about_to_end_is_refreshed_first(peer: Peer, face: Face) -> None:
    server = Server(expires_in=0)
    peer.reply(server)
    await face.call(face.client.auth.sign_in, "a@b.c", "pw")
    await face.call(face.client.document("c/a").get)
    await face.call(face.client.document("c/a").get)

    assert server.refreshed == ["refresh1"]
    assert server.refused == 0


async def test_an_expired_token_is_refreshed_once_for_all_who_wait(peer: Peer, face: Face) -> None:
    server = Server()
    peer.reply(server)
    await face.call(face.client.auth.sign_in, "a@b.c", "pw")
    server.number = 7  # the server's clock is ahead: id1 has expired there

    found = await asyncio.gather(*(face.call(face.client.document("c/a").get) for _ in range(20)))

    assert all(item.exists for item in found)
    assert server.refreshed == ["refresh1"]
    assert face.client.auth.current_user.uid == "u1"


async def test_a_session_that_is_over_signs_out(peer: Peer, face: Face) -> None:
    server = Server(expires_in=0)
    server.refresh_reply = error_reply(401, "UNAUTHENTICATED", "TokenInvalid")
    peer.reply(server)
    await face.call(face.client.auth.sign_in, "a@b.c", "pw")

    with pytest.raises(errors.TokenInvalid):
        await face.call(face.client.document("c/a").get)
    assert face.client.auth.current_user is None


async def test_a_refresh_that_fails_for_now_keeps_the_session(peer: Peer, face: Face) -> None:
    server = Server(expires_in=0)
    server.refresh_reply = error_reply(503, "UNAVAILABLE")
    peer.reply(server)
    await face.call(face.client.auth.sign_in, "a@b.c", "pw")

    with pytest.raises(errors.Unavailable):
        await face.call(face.client.document("c/a").get)
    assert face.client.auth.current_user is not None
    # A refresh token must not be sent twice: the second time might pass for theft.
    assert server.refreshed == ["refresh1"]
    server.refresh_reply = None
    assert (await face.call(face.client.document("c/a").get)).exists


async def test_a_token_that_still_holds_is_used_while_it_cannot_be_refreshed(
    peer: Peer, face: Face
) -> None:
    server = Server()
    server.refresh_reply = error_reply(503, "UNAVAILABLE")
    peer.reply(server)
    await face.call(face.client.auth.sign_in, "a@b.c", "pw")
    tokens = face.client._session.tokens
    object.__setattr__(tokens, "refresh_at", 0.0)  # due for refresh, though not at its end

    assert (await face.call(face.client.document("c/a").get)).exists
    assert server.refreshed == ["refresh1"]


async def test_a_refresh_does_not_sign_in_again_who_signed_out(peer: Peer, face: Face) -> None:
    server = Server(expires_in=0)
    hold = threading.Event()
    asked = threading.Event()

    def answer(received: Received) -> Reply:
        if received.path.endswith(":refresh"):
            asked.set()
            return Reply(json=signed_in(2), hold=hold)
        if received.path.endswith(":sign-out"):
            return Reply(json={})
        return server(received)

    peer.reply(answer)
    await face.call(face.client.auth.sign_in, "a@b.c", "pw")
    refreshing = asyncio.create_task(face.call(face.client.auth.id_token))
    await asyncio.to_thread(asked.wait, 20)
    await face.call(face.client.auth.sign_out)
    hold.set()

    assert await refreshing is None
    assert face.client.auth.current_user is None


async def test_cancelling_a_call_does_not_lose_the_refresh(peer: Peer, open_face: OpenFace) -> None:
    face = open_face(peer.url, is_async=True)
    server = Server(expires_in=0)
    hold = threading.Event()
    asked = threading.Event()

    def answer(received: Received) -> Reply:
        reply = server(received)
        if received.path.endswith(":refresh"):
            asked.set()
            reply.hold = hold
        return reply

    peer.reply(answer)
    await face.client.auth.sign_in("a@b.c", "pw")
    call = asyncio.create_task(face.client.document("c/a").get())
    await asyncio.to_thread(asked.wait, 20)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    hold.set()

    assert (await face.client.document("c/a").get()).exists
    assert server.refreshed == ["refresh1"]
    await face.close()


async def test_the_id_token_may_be_had_and_forced(peer: Peer, face: Face) -> None:
    peer.reply(Server())
    assert await face.call(face.client.auth.id_token) is None
    await face.call(face.client.auth.sign_in, "a@b.c", "pw")

    assert await face.call(face.client.auth.id_token) == "id1"
    assert await face.call(face.client.auth.id_token, force_refresh=True) == "id2"


async def test_the_user_may_be_read_again(peer: Peer, face: Face) -> None:
    peer.reply(Reply(json=signed_in(1)), Reply(json={"uid": "u1", "email": "new@b.c"}))
    await face.call(face.client.auth.sign_in, "a@b.c", "pw")

    assert (await face.call(face.client.auth.reload)).email == "new@b.c"
    assert peer.requests[1].path == f"{ACCOUNTS}/me"
    assert peer.requests[1].headers["authorization"] == "Bearer id1"


async def test_a_given_token_is_sent_while_nobody_is_signed_in(
    peer: Peer, is_async: bool, open_face: OpenFace
) -> None:
    face = open_face(peer.url, is_async=is_async, token="given")
    peer.reply(Reply(json=document("c/a")), error_reply(401, *EXPIRED))

    await face.call(face.client.document("c/a").get)
    with pytest.raises(errors.TokenExpired):
        await face.call(face.client.document("c/a").get)
    assert {received.headers["authorization"] for received in peer.requests} == {"Bearer given"}
    await face.close()


async def test_an_answer_without_tokens_is_internal(peer: Peer, face: Face) -> None:
    peer.reply(Reply(json={"user": {"uid": "u"}}), Reply(json=signed_in(1) | {"user": 5}))

    for _ in range(2):
        with pytest.raises(errors.Internal):
            await face.call(face.client.auth.sign_in, "a@b.c", "pw")
    assert face.client.auth.current_user is None


async def test_secrets_do_not_show(peer: Peer, face: Face) -> None:
    peer.reply(Reply(json=signed_in(1)))
    await face.call(face.client.auth.sign_in, "a@b.c", "pw")

    assert "id1" not in repr(face.client._session.tokens)
    assert "refresh1" not in repr(face.client._session.tokens)
