"""A fake bucket for `Peer`: it speaks the documented protocol of objects, and fails as it is told.

The real server's ways are in tests/acceptance; here are those that it cannot be brought to.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.sdk.peer import TIME, Received, Reply, error_reply

Fault = Callable[[Received], Reply | None]
BASE = "/api/v1/projects/demo/buckets/default"


class FakeBucket:
    """Objects in memory. `faults` are asked first, one for each request; None lets it pass."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.bytes: dict[str, bytes] = {}
        self.uploads: dict[str, dict[str, Any]] = {}
        self.faults: list[Fault] = []
        self.seen: list[str] = []
        self._generation = 0

    def __call__(self, received: Received) -> Reply:
        path, _, query = received.path.removeprefix(BASE).partition("?")
        name, _, verb = path.removeprefix("/objects/").partition(":")
        self.seen.append(f"{received.method} {path}")
        for fault in list(self.faults):
            reply = fault(received)
            if reply is not None:
                return reply
        if path == "/objects":
            return self._list({key: value[0] for key, value in parse_qs(query).items()})
        if path.startswith("/uploads/"):
            return self._upload(received, path.removeprefix("/uploads/"))
        return self._object(received, unquote(name), verb)

    def store(self, name: str, data: bytes, **said: Any) -> dict[str, Any]:
        self._generation += 1
        made = {
            "bucket": "default",
            "name": name,
            "size": len(data),
            "content_type": "application/octet-stream",
            "sniffed_type": None,
            "etag": f"e{self._generation}",
            "sha256": hashlib.sha256(data).hexdigest(),
            "metadata": {},
            "create_time": TIME,
            "update_time": TIME,
            "generation": self._generation,
            **said,
        }
        self.objects[name], self.bytes[name] = made, data
        return made

    def _refused(self, headers: dict[str, str], name: str) -> Reply | None:
        there = self.objects.get(name)
        wanted = headers.get("if-match")
        if headers.get("if-none-match") == "*" and there is not None:
            return error_reply(412, "FAILED_PRECONDITION", "ConditionFailed")
        if wanted is not None and (there is None or f'"{there["etag"]}"' != wanted):
            return error_reply(412, "FAILED_PRECONDITION", "ConditionFailed")
        return None

    def _object(self, received: Received, name: str, verb: str) -> Reply:
        headers = received.headers
        refused = self._refused(headers, name)
        if refused is not None:
            return refused
        if verb == "upload":
            upload = f"u{len(self.uploads)}"
            self.uploads[upload] = {"name": name, "data": b"", **received.json()}
            return Reply(json={"upload": upload, "offset": 0, "expires_at": TIME})
        if received.method == "PUT":
            said = {"content_type": headers.get("content-type")}
            return Reply(json=self.store(name, received.body, **said))
        if name not in self.objects:
            return error_reply(404, "NOT_FOUND", "ObjectNotFound")
        there = self.objects[name]
        if verb == "metadata":
            if received.method == "PATCH":
                there.update(received.json())
            return Reply(json=there)
        if received.method == "DELETE":
            del self.objects[name], self.bytes[name]
            return Reply(json={})
        return self._content(received, name)

    def _content(self, received: Received, name: str) -> Reply:
        data, there = self.bytes[name], self.objects[name]
        headers = {"ETag": f'"{there["etag"]}"', "X-Baas-Sha256": there["sha256"]}
        ranged = re.match(r"bytes=(\d+)-(\d*)", received.headers.get("range", ""))
        status = 200
        if ranged:
            status, first = 206, int(ranged[1])
            data = data[first : int(ranged[2]) + 1 if ranged[2] else None]
        headers["Content-Length"] = str(len(data))
        return Reply(status, headers=headers, chunks=[data])

    def _upload(self, received: Received, rest: str) -> Reply:
        upload, _, verb = rest.partition(":")
        found = self.uploads.get(upload)
        if found is None:
            return error_reply(404, "NOT_FOUND", "UploadNotFound")
        if verb == "finish":
            said = {key: found[key] for key in ("content_type", "metadata") if key in found}
            del self.uploads[upload]
            return Reply(json=self.store(found["name"], found["data"], **said))
        if received.method == "PATCH":
            if int(received.headers["upload-offset"]) != len(found["data"]):
                reply = error_reply(409, "ABORTED", "WrongOffset")
                reply.json["error"]["details"] = {"offset": len(found["data"])}
                return reply
            found["data"] += received.body
        if received.method == "DELETE":
            del self.uploads[upload]
            return Reply(json={})
        return Reply(json={"offset": len(found["data"]), "size": found.get("size")})

    def _list(self, asked: dict[str, str]) -> Reply:
        prefix, size = asked.get("prefix", ""), int(asked.get("page_size", "100"))
        names = sorted(name for name in self.objects if name.startswith(prefix))
        after = asked.get("page_token", "")
        page = [name for name in names if name > after]
        body: dict[str, Any] = {
            "objects": [self.objects[name] for name in page[:size]],
            "prefixes": [],
        }
        if len(page) > size:
            body["next_page_token"] = page[size - 1]
        return Reply(json=body)


def lost_answer(bucket: FakeBucket, method: str, path: str) -> Fault:
    """The next such request is done, and its answer is lost."""

    def fault(received: Received) -> Reply | None:
        if received.method != method or path not in received.path:
            return None
        bucket.faults.remove(fault)
        bucket(received)
        return Reply(cut=True, chunks=[b""])

    return fault


def half_arrived(bucket: FakeBucket) -> Fault:
    """Of the next part of an upload half arrives, before the connection is lost."""

    def fault(received: Received) -> Reply | None:
        if received.method != "PATCH" or "/uploads/" not in received.path:
            return None
        bucket.faults.remove(fault)
        upload = bucket.uploads[received.path.rpartition("/")[2]]
        upload["data"] += received.body[: len(received.body) // 2]
        return Reply(cut=True, chunks=[b""])

    return fault


def cut_download(bucket: FakeBucket, after: int) -> Fault:
    """The next download is cut after so many bytes."""

    def fault(received: Received) -> Reply | None:
        if received.method != "GET" or ":" in received.path:
            return None
        bucket.faults.remove(fault)
        reply = bucket(received)
        assert reply.chunks is not None
        reply.chunks = [reply.chunks[0][:after]]
        reply.cut = True
        return reply

    return fault
