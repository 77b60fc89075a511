"""Id tokens: only what we signed, for whom we signed it, for as long as we said."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from baas.accounts.signing import SigningKey, SigningKeys
from baas.accounts.tokens import (
    TOKEN_CHARACTERS_MAX,
    TokenCache,
    VerifiedToken,
    issuer,
    sign_id_token,
    verify_signature,
)
from baas.errors import TokenExpired, TokenInvalid

NOW = 1_700_000_000
KEY = SigningKey("kid-1", ec.generate_private_key(ec.SECP256R1()), NOW)
OLD_KEY = SigningKey("kid-0", ec.generate_private_key(ec.SECP256R1()), NOW - 9, NOW)
KEYS = SigningKeys(KEY, {"kid-0": OLD_KEY, "kid-1": KEY})
RSA_KEY = rsa.generate_private_key(65537, 2048)
PAYLOAD: dict[str, Any] = {
    "iss": issuer("chat"),
    "aud": "chat",
    "sub": "ada",
    "user_id": "ada",
    "auth_time": NOW,
    "iat": NOW,
    "exp": NOW + 3600,
    "baas": {"session": "s1", "sign_in_provider": "password"},
}
PUBLIC_PEM = KEY.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PUBLIC_DER = KEY.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def make(
    payload: dict[str, Any] | None = None,
    *,
    key: Any = KEY.private,
    algorithm: str = "ES256",
    kid: Any = "kid-1",
    **headers: Any,
) -> str:
    return jwt.encode(
        PAYLOAD | (payload or {}), key, algorithm=algorithm, headers={"kid": kid, **headers}
    )


def part(tree: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(tree).encode()).rstrip(b"=").decode()


def without(claim: str) -> str:
    payload = {name: value for name, value in PAYLOAD.items() if name != claim}
    return jwt.encode(payload, KEY.private, algorithm="ES256", headers={"kid": "kid-1"})


def hmac_with(secret: bytes) -> str:
    """HS256 with the public key as its secret; by hand, since the library refuses to."""
    text = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'kid-1'})}.{part(PAYLOAD)}"
    digest = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def verify(token: str, project: str = "chat", now: int = NOW) -> VerifiedToken:
    return verify_signature(token, KEYS, project=project, now=now)


def test_what_is_signed_is_verified() -> None:
    token = sign_id_token(
        KEYS,
        project="chat",
        uid="ada",
        session="s1",
        claims={"role": "x", "sub": "eve", "aud": "other", "exp": 1, "baas": {}, "iss": "eve"},
        auth_time=NOW,
        issued_at=NOW,
        lifetime_seconds=3600,
    )
    verified = verify(token)
    assert (verified.uid, verified.session, verified.expires_at) == ("ada", "s1", NOW + 3600)
    assert verified.claims == {**PAYLOAD, "role": "x"}
    with pytest.raises(TypeError):
        verified.claims["role"] = "admin"  # type: ignore[index]


def test_a_retired_key_still_verifies() -> None:
    assert verify(make(key=OLD_KEY.private, kid="kid-0")).uid == "ada"


FORGERIES: dict[str, Callable[[], str]] = {
    "alg none": lambda: jwt.encode(PAYLOAD, "", algorithm="none", headers={"kid": "kid-1"}),
    "alg none, signature kept": lambda: (
        f"{part({'alg': 'none', 'kid': 'kid-1'})}." + make().split(".", 1)[1]
    ),
    "alg None in capitals": lambda: f"{part({'alg': 'NONE', 'kid': 'kid-1'})}.{part(PAYLOAD)}.",
    "no alg": lambda: f"{part({'kid': 'kid-1'})}.{part(PAYLOAD)}.",
    "HS256 with the public key in PEM": lambda: hmac_with(PUBLIC_PEM),
    "HS256 with the public key in DER": lambda: hmac_with(PUBLIC_DER),
    "HS256 with nothing": lambda: hmac_with(b""),
    "RS256 by a stranger": lambda: make(key=RSA_KEY, algorithm="RS256"),
    "ES256 by a stranger": lambda: make(key=ec.generate_private_key(ec.SECP256R1())),
    "by our other key": lambda: make(key=OLD_KEY.private),
    "no kid": lambda: jwt.encode(PAYLOAD, KEY.private, algorithm="ES256"),
    "unknown kid": lambda: make(kid="kid-2"),
    "kid walks the file system": lambda: make(kid="../../secret.key"),
    "kid is empty": lambda: make(kid=""),
    "kid is a query": lambda: f"{part({'alg': 'ES256', 'kid': {'$ne': ''}})}.{part(PAYLOAD)}.AA",
    "kid is a list": lambda: f"{part({'alg': 'ES256', 'kid': ['kid-1']})}.{part(PAYLOAD)}.AA",
    "key in the header": lambda: make(
        key=RSA_KEY, algorithm="RS256", jwk={"kty": "oct", "k": "AA"}, jku="http://127.0.0.1/"
    ),
    "critical header": lambda: make(crit=["b64"], b64=False),
    "wrong audience": lambda: make({"aud": "other"}),
    "two audiences, ours not among them": lambda: make({"aud": ["other", "chat2"]}),
    "wrong issuer": lambda: make({"iss": issuer("other")}),
    "issuer of Google": lambda: make({"iss": "https://securetoken.google.com/chat"}),
    "sub is no string": lambda: make({"sub": 7}),
    "sub is empty": lambda: make({"sub": ""}),
    "exp is no number": lambda: make({"exp": "never"}),
    "exp is a list": lambda: make({"exp": [NOW + 9]}),
    "session is missing": lambda: make({"baas": {}}),
    "session is no string": lambda: make({"baas": {"session": 1}}),
    "our claim is no object": lambda: make({"baas": "s1"}),
    "payload changed": lambda: ".".join(
        [make().split(".")[0], part(PAYLOAD | {"sub": "eve"}), make().split(".")[2]]
    ),
    "signature cut": lambda: make()[:-4],
    "signature empty": lambda: make().rsplit(".", 1)[0] + ".",
    "signature of zeros": lambda: make().rsplit(".", 1)[0] + "." + "A" * 86,
    "two parts": lambda: make().rsplit(".", 1)[0],
    "four parts": lambda: make() + ".AA",
    "five parts": lambda: "a.b.c.d.e",
    "no token": lambda: "",
    "dots": lambda: "..",
    "garbage": lambda: "eyJ.\u00fc.\ud83d",
    "header is no object": lambda: f"{part([1])}.{part(PAYLOAD)}.AA",
    "payload is no object": lambda: jwt.api_jws.encode(
        b"[1]", KEY.private, algorithm="ES256", headers={"kid": "kid-1"}
    ),
    "deep payload": lambda: jwt.api_jws.encode(
        b"[" * 5000, KEY.private, algorithm="ES256", headers={"kid": "kid-1"}
    )[:TOKEN_CHARACTERS_MAX],
    "too long": lambda: make({"x": "y" * TOKEN_CHARACTERS_MAX}),
    **{f"without {name}": lambda name=name: without(name) for name in PAYLOAD if name != "user_id"},  # type: ignore[misc]
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
def test_forgeries_are_one_and_the_same_error(forgery: Callable[[], str]) -> None:
    with pytest.raises(TokenInvalid) as caught:
        verify(forgery())
    assert (caught.value.reason, caught.value.message) == (
        "IdTokenInvalid",
        "the id token is not valid",
    )


@pytest.mark.parametrize(("now", "is_good"), [(NOW, True), (NOW + 3599, True), (NOW + 3600, False)])
def test_expiry_to_the_second(now: int, is_good: bool) -> None:
    if is_good:
        assert verify(make(), now=now).uid == "ada"
    else:
        with pytest.raises(TokenExpired):
            verify(make(), now=now)


def test_a_forged_expired_token_is_forged_first() -> None:
    with pytest.raises(TokenInvalid):
        verify(make(key=OLD_KEY.private), now=NOW + 9999)


# The cache


def entry(uid: str = "ada", project: str = "chat", expires_at: int = NOW + 10) -> VerifiedToken:
    return VerifiedToken(project, uid, "s1", expires_at, MappingProxyType({}))


def test_the_cache_answers_for_the_same_project_until_expiry() -> None:
    cache = TokenCache()
    cache.put("t", entry(), epoch=cache.epoch)
    assert cache.get("t", "chat", NOW * 1_000_000) is not None
    assert cache.get("t", "other", NOW * 1_000_000) is None
    assert cache.get("u", "chat", NOW * 1_000_000) is None
    assert cache.get("t", "chat", (NOW + 10) * 1_000_000 - 1) is not None
    with pytest.raises(TokenExpired):
        cache.get("t", "chat", (NOW + 10) * 1_000_000)
    assert len(cache) == 0


def test_the_cache_forgets_the_least_recently_used() -> None:
    cache = TokenCache(tokens_max=3)
    for name in "abc":
        cache.put(name, entry(), epoch=cache.epoch)
    cache.get("a", "chat", NOW)
    cache.put("d", entry("bob"), epoch=cache.epoch)
    assert [name for name in "abcd" if cache.get(name, "chat", NOW)] == ["a", "c", "d"]
    assert len(cache) == 3


def test_evictions() -> None:
    cache = TokenCache()
    for name, uid, project in (("a", "ada", "chat"), ("b", "bob", "chat"), ("c", "ada", "other")):
        cache.put(name, entry(uid, project), epoch=cache.epoch)
    cache.evict_user("chat", "ada")
    assert cache.get("a", "chat", NOW) is None
    assert cache.get("b", "chat", NOW) is not None
    cache.evict_project("chat")
    assert cache.get("b", "chat", NOW) is None
    assert cache.get("c", "other", NOW) is not None
    cache.evict_user("nobody", "nobody")


def test_what_was_verified_before_an_eviction_is_not_put_in_after_it() -> None:
    cache = TokenCache()
    epoch = cache.epoch
    cache.evict_user("chat", "ada")
    cache.put("a", entry(), epoch=epoch)
    assert cache.get("a", "chat", NOW) is None
    epoch = cache.epoch
    cache.evict_project("chat")
    cache.put("a", entry(), epoch=epoch)
    assert len(cache) == 0
