"""The server's secret: made once, private, and useless for what it was not made for."""

import base64
import stat
from pathlib import Path

import pytest

from baas.accounts.sealing import SECRET_VARIABLE, ServerSecret
from baas.clock import SystemClock
from baas.errors import DataLoss, InvalidArgument

CLOCK = SystemClock()


def test_the_secret_is_made_once_and_private(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = ServerSecret.load(data, CLOCK, {})
    again = ServerSecret.load(data, CLOCK, {})
    assert first.derive("x") == again.derive("x")
    assert first.derive("x") != first.derive("y")
    assert stat.S_IMODE((data / "secret.key").stat().st_mode) == 0o600
    assert [path.name for path in data.iterdir()] == ["secret.key"]


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    text = base64.b64encode(b"k" * 32).decode()
    given = ServerSecret.load(tmp_path / "data", CLOCK, {SECRET_VARIABLE: text})
    assert given.derive("x") == ServerSecret(b"k" * 32).derive("x")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("text", ["", "short", base64.b64encode(b"k" * 31).decode(), "é" * 44])
def test_a_damaged_secret_is_told_without_showing_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "secret.key").write_text(text, encoding="utf-8")
    for environment in ({}, {SECRET_VARIABLE: text}):
        with pytest.raises(InvalidArgument) as caught:
            ServerSecret.load(tmp_path, CLOCK, environment)
        assert caught.value.reason == "InvalidSecretKey"
        assert not text or text not in caught.value.message


def test_sealed_bytes_open_in_their_place_only() -> None:
    secret = ServerSecret(b"k" * 32)
    sealed = secret.seal(b"private", place="projects/a/keys/1", clock=CLOCK)
    assert b"private" not in sealed
    assert secret.open(sealed, place="projects/a/keys/1") == b"private"
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for broken, place, opener in (
        (sealed, "projects/b/keys/1", secret),
        (changed, "projects/a/keys/1", secret),
        (b"", "projects/a/keys/1", secret),
        (sealed, "projects/a/keys/1", ServerSecret(b"j" * 32)),
    ):
        with pytest.raises(DataLoss):
            opener.open(broken, place=place)
