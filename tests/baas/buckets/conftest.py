"""Both stores: the local disk, and a real S3-compatible server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from baas.buckets.blobs import BlobStore
from baas.buckets.local_blobs import LocalBlobs
from baas.buckets.remote_blobs import RemoteBlobs
from tests.s3 import S3Server, s3_server

__all__ = ["s3_server"]


@pytest_asyncio.fixture(params=["local", "packed", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    made: BlobStore
    if request.param != "s3":
        made = LocalBlobs(tmp_path / "objects", packed=request.param == "packed")
    else:
        server: S3Server = request.getfixturevalue("s3_server")
        made = RemoteBlobs(f"{server.url}/{uuid4().hex}")
    await made.check()
    yield made
    await made.close()
