"""Files into a bucket and back from the command line, without a running server."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from baas.cli import objects, uploads
from baas.cli.client import Client
from baas.cli.failures import UNREACHABLE, CommandFailed
from tests.baas.cli.conftest import Command

LARGE = random.Random(3).randbytes(5_000)


@pytest.fixture(autouse=True)
def made(baas: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    baas("project", "create", "chat")
    assert baas("bucket", "create", "-p", "chat").out == "created bucket default\n"


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 1,000 bytes, so that little goes in many."""
    monkeypatch.setattr(uploads, "PART_BYTES", 1_000)
    monkeypatch.setattr(uploads, "PAUSE_SECONDS_FIRST", 0.001)


def test_there_and_back(baas: Command, tmp_path: Path) -> None:
    source = tmp_path / "photo.png"
    source.write_bytes(b"\x89PNG\r\n\x1a\n" + LARGE)
    outcome = baas("object", "put", str(source), "a/", "-p", "chat", "--metadata", "who=Zoë=x")
    assert outcome.out == "put a/photo.png (4.9 KiB)\n"
    listed = baas("object", "ls", "a/", "-p", "chat", "--json").json["objects"]
    assert [(one["name"], one["content_type"], one["metadata"]) for one in listed] == [
        ("a/photo.png", "image/png", {"who": "Zoë=x"})
    ]
    assert baas("object", "get", "a/photo.png", "-p", "chat").out == "got photo.png (4.9 KiB)\n"
    assert Path("photo.png").read_bytes() == source.read_bytes()
    assert baas("object", "rm", "a/photo.png", "-p", "chat").out == "removed a/photo.png\n"
    assert baas("object", "ls", "-p", "chat").out == "no objects\n"
    again = baas("object", "rm", "a/photo.png", "-p", "chat")
    assert (again.code, again.err) == (1, "error: there is no object `a/photo.png`\n")


def test_through_pipes(baas: Command) -> None:
    put = baas("object", "put", "-", "x", "-p", "chat", "--content-type", "text/x", stdin=b"a\nb")
    assert put.out == "put x (3 B)\n"
    got = baas("object", "get", "x", "-", "-p", "chat")
    assert (got.out, got.err) == ("a\nb", "")
    assert baas("object", "put", "-", "-p", "chat", stdin=b"a").code == 1
    empty = baas("object", "put", "-", "empty", "-p", "chat", "--json")
    assert empty.json[0]["size"] == 0


def test_folders_go_and_come(baas: Command, tmp_path: Path) -> None:
    site = tmp_path / "site"
    texts = {"index.html": "<p>", "css/a b.css": "p {}", "deep/er/ü.txt": "x", ".hidden": ""}
    for name, text in texts.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text, encoding="utf-8")
    (site / "dangling").symlink_to("nowhere")
    put = baas("object", "put", "-r", str(site), "-p", "chat")
    assert put.out == "put 4 objects into default\n"
    assert "left out" in put.err
    assert "dangling" in put.err
    names = [
        one["name"] for one in baas("object", "ls", "-r", "-p", "chat", "--json").json["objects"]
    ]
    assert sorted(names) == sorted(f"site/{name}" for name in texts)
    folded = baas("object", "ls", "site/", "-p", "chat", "--json").json
    assert folded["prefixes"] == ["site/css/", "site/deep/"]

    got = baas("object", "get", "-r", "site/", "back", "-p", "chat")
    assert got.out == "got 4 objects into back\n"
    for name, text in texts.items():
        assert Path("back", name).read_text(encoding="utf-8") == text
    assert baas("object", "get", "-r", "site/css/", "-p", "chat").out == "got 1 objects into .\n"
    assert Path("a b.css").exists()
    refused = baas("object", "get", "-r", "site/", "back", "-p", "chat")
    assert refused.code == 1
    assert refused.err.count("the file exists; replace it with --force") == 4
    assert baas("object", "get", "-r", "site/", "back", "-p", "chat", "--force").code == 0

    assert baas("object", "rm", "-r", "site/", "--yes", "-p", "chat").out == "removed 4 objects\n"


def test_a_large_file_goes_in_parts(baas: Command, tmp_path: Path, small_parts: None) -> None:
    for size in (999, 1_000, 1_001, 5_000):
        source = tmp_path / f"{size}.bin"
        source.write_bytes(LARGE[:size])
        assert baas("object", "put", str(source), "-p", "chat").code == 0
        assert baas("object", "get", source.name, f"got{size}", "-p", "chat").code == 0
        assert Path(f"got{size}").read_bytes() == LARGE[:size]
    assert baas("object", "put", "-", "piped", "-p", "chat", stdin=LARGE).out == (
        "put piped (4.9 KiB)\n"
    )
    assert list(uploads.cache_folder().iterdir()) == []


def test_an_upload_that_was_cut_off_goes_on(
    baas: Command, tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "large.bin"
    source.write_bytes(LARGE)
    sent: list[tuple[str, int]] = []
    real = Client.call

    async def call(self: Client, method: str, path: str, **rest: object) -> object:
        if method == "PATCH":
            if len(sent) == 2:
                raise CommandFailed("the server cannot be reached: gone", exit_code=UNREACHABLE)
            headers = rest["headers"]
            assert isinstance(headers, dict)
            sent.append((path, int(headers["Content-Length"])))
        return await real(self, method, path, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Client, "call", call)
    broken = baas("object", "put", str(source), "-p", "chat")
    assert broken.code == UNREACHABLE
    assert str(source) in broken.err
    upload = {path for path, _ in sent}

    sent.clear()
    sent.append(("before", 0))
    sent.append(("before", 0))
    sent.append(("before", 0))
    assert baas("object", "put", str(source), "-p", "chat").code == 0
    assert {path for path, _ in sent[3:]} == upload
    assert [size for _, size in sent[3:]] == [1_000, 1_000, 1_000]
    assert baas("object", "get", "large.bin", "back", "-p", "chat").code == 0
    assert Path("back").read_bytes() == LARGE


def test_an_upload_whose_file_was_touched_begins_again(
    baas: Command, tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "large.bin"
    source.write_bytes(LARGE)
    with monkeypatch.context() as patch:
        patch.setattr(uploads, "_append", _unreachable)
        assert baas("object", "put", str(source), "-p", "chat").code == UNREACHABLE
    source.write_bytes(LARGE[::-1])
    os.utime(source, ns=(1, 1))
    assert baas("object", "put", str(source), "-p", "chat").code == 0
    assert baas("object", "get", "large.bin", "back", "-p", "chat").code == 0
    assert Path("back").read_bytes() == LARGE[::-1]


async def _unreachable(*arguments: object) -> int:
    raise CommandFailed("gone", exit_code=UNREACHABLE)


def test_names_never_lead_out_of_the_target_folder(baas: Command, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    names = [
        "../evil",
        "a/../../evil",
        "//evil",
        "a//b",
        "back\\slash",
        "link/evil",
        "x" * 300,
        "ok",
    ]
    for name in names:
        assert baas("object", "put", "-", name, "-p", "chat", stdin=b"x").code in (0, 1)
    Path("target").mkdir()
    Path("target", "link").symlink_to(outside)
    got = baas("object", "get", "-r", "", "target", "-p", "chat")
    assert got.code == 1
    assert "got 1 objects" in got.out
    assert "a link leads out of the folder" in got.err
    assert "holds what a file's name must not" in got.err
    assert list(outside.iterdir()) == []
    assert sorted(str(path) for path in Path("target").rglob("*") if path.is_file()) == [
        "target/ok"
    ]
    assert not (tmp_path / "evil").exists()
    assert not Path("evil").exists()
    single = baas("object", "get", "a/../../evil/..", "-p", "chat")
    assert (single.code, "names no file" in single.err) == (1, True)


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/etc/x", "a//x", "", "a/", ".", "a/./x", "a\\x", "a\0x", "x" * 256],
)
def test_what_cannot_be_a_file_becomes_none(tmp_path: Path, name: str) -> None:
    """Also where a server, another one perhaps, let such a name pass."""
    with pytest.raises(objects._LeftOut):
        objects._file_for(tmp_path / "target", name, force=True)
    assert not (tmp_path / "target").exists()


def test_a_file_is_replaced_whole_or_not_at_all(
    baas: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    baas("object", "put", "-", "x", "-p", "chat", stdin=b"new")
    Path("x").write_text("mine", encoding="utf-8")
    refused = baas("object", "get", "x", "-p", "chat")
    assert (refused.code, refused.err) == (1, "error: `x` exists; replace it with --force\n")
    assert baas("object", "get", "nothing", "x", "--force", "-p", "chat").code == 1
    with monkeypatch.context() as patch:
        # Bytes that do not arrive as they were stored are found by their checksum.
        patch.setattr(uploads, "_pieces", _garbled)
        damaged = baas("object", "get", "x", "--force", "-p", "chat")
    assert "its checksum is wrong" in damaged.err
    assert Path("x").read_text(encoding="utf-8") == "mine"
    assert os.listdir() == ["x"]
    assert baas("object", "get", "x", "--force", "-p", "chat").code == 0
    assert Path("x").read_bytes() == b"new"


async def _garbled(answer: object) -> object:
    yield b"neu"


def test_wrong_lines_are_told_apart(baas: Command, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    for arguments, text in (
        (("put", "nowhere"), "there is no `nowhere` here"),
        (("put", str(folder)), "is a folder; upload all of it with -r"),
        (("put", "-r", __file__), "is no folder; leave -r out"),
        (("put", __file__, "--metadata", "broken"), "is not of the form KEY=VALUE"),
        (("get", "x", "no/such/place"), "there is no folder `no/such`"),
        (("get", "x", "-b", "other"), "other"),
    ):
        outcome = baas("object", *arguments, "-p", "chat")
        assert (outcome.code, text in outcome.err) == (1, True), outcome.err
    assert baas("object", "put", "-p", "chat").code == 2


def test_no_clobber_keeps_what_is_there(baas: Command) -> None:
    line = ("object", "put", "-", "x", "-p", "chat", "--no-clobber")
    assert baas(*line, stdin=b"one").code == 0
    refused = baas(*line, stdin=b"two")
    assert (refused.code, "exists" in refused.err) == (1, True)
    assert baas("object", "get", "x", "-", "-p", "chat").out == "one"


def test_buckets_are_made_listed_and_deleted(baas: Command) -> None:
    assert baas("bucket", "create", "photos", "-p", "chat").out == "created bucket photos\n"
    assert baas("bucket", "create", "photos", "-p", "chat").code == 1
    assert baas("bucket", "create", "No Good", "-p", "chat").code == 1
    listed = json.loads(baas("bucket", "list", "-p", "chat", "--json").out)
    assert sorted(one["id"] for one in listed) == ["default", "photos"]
    baas("object", "put", "-", "x", "-p", "chat", "-b", "photos", stdin=b"x")
    assert baas("bucket", "delete", "photos", "-p", "chat").code == 1
    line = ("bucket", "delete", "photos", "-p", "chat", "-r", "--yes")
    assert baas(*line).out == "deleted bucket photos\n"
    assert "photos" not in baas("bucket", "list", "-p", "chat").out
