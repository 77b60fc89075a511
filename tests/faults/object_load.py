"""Objects put, replaced and deleted without end, and what has to be there after a kill: every
object that is listed has exactly the bytes that its metadata tells, and is one that was put."""

from __future__ import annotations

import asyncio
import hashlib
import random
from typing import Any

import httpx

BUCKET = "crash"
NAMES = 6  # of each writer: most puts replace an object
BYTES_MAX = 150_000
_GONE = ""  # instead of a digest


class ObjectLoad:
    """Writers of objects, each with names of its own. `possible` holds, for each name, the digests
    that it may have: one, unless the outcome of the last request is unknown."""

    def __init__(self, project: str, chance: random.Random) -> None:
        self.puts = 0
        self.possible: dict[str, set[str]] = {}
        self._base = f"/api/v1/projects/{project}/buckets/{BUCKET}/objects"
        self._chance = chance

    async def write(self, writer: int, client: httpx.AsyncClient, stopped: asyncio.Event) -> None:
        """Until the server is gone."""
        while not stopped.is_set():
            name = f"of{writer}/object{self._chance.randrange(NAMES)}"
            before = self.possible.get(name, {_GONE})
            body, digest = b"", _GONE
            if self._chance.random() < 0.85 or before == {_GONE}:
                body = self._chance.randbytes(self._chance.randrange(BYTES_MAX))
                digest = hashlib.sha256(body).hexdigest()
            self.possible[name] = before | {digest}
            url = f"{self._base}/{name}"
            try:
                answer = (
                    await client.put(url, content=body)
                    if digest is not _GONE
                    else await client.delete(url)
                )
            except httpx.HTTPError:
                return
            assert answer.is_success, answer.text
            self.possible[name] = {digest}
            self.puts += digest is not _GONE

    def check(self, client: httpx.Client) -> None:
        """What is listed can be read, whole; what was acknowledged is listed. From now on what was
        found is known."""
        listed: list[dict[str, Any]] = []
        token: str | None = ""
        while token is not None:
            answer = client.get(self._base, params={"page_token": token} if token else {})
            assert answer.is_success, answer.text
            listed += answer.json()["objects"]
            token = answer.json().get("next_page_token")
        found: dict[str, str] = {}
        for item in listed:
            answer = client.get(f"{self._base}/{item['name']}")
            assert answer.status_code == 200, f"{item['name']} is listed: {answer.text}"
            digest = hashlib.sha256(answer.content).hexdigest()
            assert digest == item["sha256"] == answer.headers["x-baas-sha256"]
            assert len(answer.content) == item["size"]
            found[item["name"]] = digest
        for name, digests in self.possible.items():
            assert found.get(name, _GONE) in digests, f"object {name} is not what was put"
        assert found.keys() <= self.possible.keys()
        self.possible = {name: {found.get(name, _GONE)} for name in self.possible}
