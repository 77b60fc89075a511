"""Large objects through a real server: uploaded, downloaded and measured in constant memory of this
process too. `python -m tests.baas.buckets.large GIGABYTES` is `make objects-5g`."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.processes import ServerProcess, checked

PIECE = 1024 * 1024
MEGABYTE = 1024 * 1024
BASE = "/api/v1/projects/large/buckets/default"


class Content:
    """`size` bytes that need not be kept: each piece differs from all others."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._noise = os.urandom(PIECE - 8)

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        end = self.size if stop is None else stop
        while start < end:
            number, skip = divmod(start, PIECE)
            piece = (number.to_bytes(8, "big") + self._noise)[skip : skip + end - start]
            start += len(piece)
            yield piece

    def sha256(self) -> str:
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()


class Peak:
    """How far the memory of a process rises above what it is now."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        # Starts the kernel's high-water mark anew.
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        self._start = self._read("VmRSS")

    @property
    def growth(self) -> int:
        """In bytes."""
        return self._read("VmHWM") - self._start

    def _read(self, name: str) -> int:
        for line in Path(f"/proc/{self._pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(name)


def open_large_project(server: ServerProcess) -> httpx.Client:
    """A project with a bucket; a client with all rights."""
    server.create_project("large")
    with server.admin() as admin:
        checked(admin.post("/projects/large/buckets", json={"id": "default"}))
    headers = {"authorization": f"Bearer {server.operator_token}"}
    client = httpx.Client(base_url=server.url, headers=headers, timeout=600)
    # What is loaded at first use is no cost of size.
    checked(client.put(f"{BASE}/objects/warm", content=b"x" * 3 * MEGABYTE))
    assert len(client.get(f"{BASE}/objects/warm").content) == 3 * MEGABYTE
    return client


def put(client: httpx.Client, name: str, content: Content) -> dict[str, Any]:
    headers = {"content-length": str(content.size), "content-type": "application/x-large"}
    return checked(client.put(f"{BASE}/objects/{name}", content=content.pieces(), headers=headers))


def download_sha256(client: httpx.Client, name: str) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with client.stream("GET", f"{BASE}/objects/{name}") as answer:
        assert answer.status_code == 200, answer.read()
        for piece in answer.iter_bytes():
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size


def upload_with_kill(server: ServerProcess, content: Content) -> dict[str, Any]:
    """A resumable upload whose server is killed in the middle and started again."""
    headers = {"authorization": f"Bearer {server.operator_token}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=600) as client:
        made = checked(client.post(f"{BASE}/objects/resumed:upload", json={"size": content.size}))
        upload = f"{BASE}/uploads/{made['upload']}"

        def pieces() -> Iterator[bytes]:
            sent = 0
            for piece in content.pieces():
                yield piece
                sent += len(piece)
                if sent > content.size // 2:
                    server.kill()

        with suppress(httpx.HTTPError):
            client.patch(upload, content=pieces(), headers={"upload-offset": "0"})
    server.start()
    headers = {"authorization": f"Bearer {server.operator_token}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=600) as client:
        offset = checked(client.get(upload))["offset"]
        assert 0 < offset < content.size
        sys.stderr.write(f"killed; goes on at {offset / MEGABYTE:,.0f} MB\n")
        rest = content.pieces(offset)
        sent = {"upload-offset": str(offset)}
        assert content.size == checked(client.patch(upload, content=rest, headers=sent))["offset"]
        return checked(client.post(f"{upload}:finish"))


def main() -> int:
    size = int(float(sys.argv[1]) * 1000**3)
    content = Content(size)
    wanted = content.sha256()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        server = ServerProcess(Path(folder) / "data").start()
        try:
            with closing(open_large_project(server)) as client:
                assert server.process is not None
                peak = Peak(server.process.pid)
                started = time.monotonic()
                assert wanted == put(client, "whole", content)["sha256"]
                middle = time.monotonic()
                up = peak.growth
                assert (wanted, size) == download_sha256(client, "whole")
                ended = time.monotonic()
                sys.stdout.write(
                    f"upload {size / (middle - started) / 1e6:.0f} MB/s, "
                    f"download {size / (ended - middle) / 1e6:.0f} MB/s, "
                    f"memory +{up / MEGABYTE:.0f} MiB and +{peak.growth / MEGABYTE:.0f} MiB\n"
                )
                assert peak.growth < 40 * MEGABYTE
                checked(client.delete(f"{BASE}/objects/whole"))
            started = time.monotonic()
            assert wanted == upload_with_kill(server, content)["sha256"]
            sys.stdout.write(
                f"resumed after kill -9: {size / 1e9:.1f} GB in "
                f"{time.monotonic() - started:.0f} s, checksum right\n"
            )
        finally:
            server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
