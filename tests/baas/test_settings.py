from pathlib import Path

import pytest

from baas.errors import InvalidArgument
from baas.settings import Settings, load_settings


def test_sources_win_in_order(tmp_path: Path) -> None:
    file = tmp_path / "baas.toml"
    file.write_text('port = 1\nhost = "a"\nlog_level = "debug"\n[limits]\ncommit_writes_max = 7\n')
    environment = {"BAAS_PORT": "2", "BAAS_HOST": "b", "BAAS_UNRELATED": "x"}
    settings = load_settings(file=file, environment=environment, flags={"port": 3, "host": None})
    assert (settings.port, settings.host, settings.log_level) == (3, "b", "debug")
    assert settings.limits.commit_writes_max == 7


def test_nothing_given_means_the_defaults(tmp_path: Path) -> None:
    assert load_settings(file=tmp_path / "absent.toml", environment={}) == Settings()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("port = ", "is not valid TOML"),
        ("porto = 1", "sets `porto`, which is no setting"),
        ("[limits]\nporto = 1", "sets `porto`, which is no setting"),
        ("limits = 3", "it is a table"),
        ('port = "many"', "sets `port` to `many`; it takes a whole number from 0 (default `8080`)"),
        ("port = -1", "sets `port` to `-1`"),
        ("port = true", "sets `port` to `True`"),
        ('dev = "maybe"', "it takes true or false"),
        ('server = "apache"', "it takes `uvicorn` or `granian`"),
    ],
)
def test_bad_files_are_refused_precisely(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "baas.toml"
    file.write_text(text)
    with pytest.raises(InvalidArgument) as caught:
        load_settings(file=file, environment={})
    assert says in caught.value.message
    assert caught.value.reason == "InvalidSettings"


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(InvalidArgument, match="BAAS_DRAIN_SECONDS sets `drain_seconds` to `soon`"):
        load_settings(environment={"BAAS_DRAIN_SECONDS": "soon"})


@pytest.mark.parametrize(("text", "value"), [("1", True), ("no", False), (" ON ", True)])
def test_booleans_are_read_from_words(text: str, value: bool) -> None:
    assert load_settings(environment={"BAAS_DEV": text}).dev is value
