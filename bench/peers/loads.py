"""What is measured: the rows, the documents, and how one request of each looks to a peer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

DOCUMENT_ID = "seed%011d"  # 15 characters: what PocketBase asks for
AUTHOR = "author%09d"  # as long as the ids that peers give
PAGE = 20
SMALL, LARGE, OWNED = 10_000, 100_000, 10_000
AUTHORS = 100  # of the collections that many write to; the caller is one of them
VAST = 1_000_000
OF_MANY = frozenset({"owned", "asked", "vast"})
BOUND_MIN, BOUND_MAX = 100_000, 999_999  # of scores, below which there are enough documents
FILE_SMALL, FILE_LARGE = 10_000, 10_000_000  # bytes
UPDATED_FROM = 2_000_000  # scores from here on were written by the update load
ACCOUNT = {"email": "bench@example.com", "password": "a-long-password"}

Check = Literal[
    "created",
    "document",
    "page",
    "updated",
    "deleted",
    "increased",
    "in turns",
    "file",
    "uploaded",
]


@dataclass(frozen=True)
class Call:
    """One HTTP request. In the path and the body `{n}` stands for the request's number, `{id}` for
    the document of that number, `{any}` for a document at random, `{author}` for one of 99 authors
    and `{bound}` for a score at random: nobody could answer those from what was asked before."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str | None = None


@dataclass(frozen=True)
class Row:
    """One line of the tables. `beside`: updates a second that a second client makes meanwhile."""

    name: str
    title: str
    is_write: bool
    connections: int
    collection: str
    check: Check
    count: int = 1  # documents that requests choose from; of files, their bytes
    total: int | None = None  # what the answer has to say how many there are
    beside: int = 0
    is_large: bool = False  # only where the million documents are wanted


def _read(name: str, title: str, collection: str, **more: Any) -> Row:
    return Row(name, title, False, 100, collection, "page", **more)


_BY_AUTHOR = "query: `author == …`, by score, 20 of"
_RANGE = "query: `score < …`, by score, 20 of"
ROWS = (
    Row("create", "create, no rule", True, 500, "free", "created"),
    Row("create-rule", "create, rule `author == me`", True, 500, "ruled", "created"),
    Row("get", "get one", False, 100, "small", "document", count=SMALL),
    Row("list-10k", "list 20 of 10k", False, 100, "small", "page"),
    Row("list-10k-total", "list 20 of 10k, with total", False, 100, "small", "page", total=SMALL),
    Row("list-100k", "list 20 of 100k", False, 100, "large", "page"),
    Row("list-100k-total", "list 20 of 100k, with total", False, 100, "large", "page", total=LARGE),
    Row("list-mine", "list 20, rule `author == me`", False, 100, "owned", "page"),
    Row(
        "list-updates",
        "list 20 of 10k during 300 updates/s",
        False,
        100,
        "small",
        "page",
        count=SMALL,
        beside=300,
    ),
    _read(
        "list-100k-total-updates",
        "list 20 of 100k, with total, during 300 updates/s",
        "large",
        count=LARGE,
        total=LARGE,
        beside=300,
    ),
    _read("query-10k", f"{_BY_AUTHOR} 10k", "asked"),
    _read("range-10k", f"{_RANGE} 10k", "asked"),
    _read(
        "query-updates",
        f"{_BY_AUTHOR} 10k during 300 updates/s",
        "asked",
        count=OWNED,
        beside=300,
    ),
    _read("query-1m", f"{_BY_AUTHOR} 1m", "vast", is_large=True),
    _read("range-1m", f"{_RANGE} 1m", "vast", is_large=True),
    Row("update", "update one field", True, 100, "small", "updated", count=SMALL),
    Row("delete", "delete", True, 100, "doomed", "deleted", count=10**9),
    Row("increment", "add 1 to one counter", True, 100, "counter", "increased"),
    Row("transactions", "one counter, read and written in turns", True, 20, "counter", "in turns"),
    Row("file-get-10k", "download of 10 KB", False, 100, "files", "file", count=FILE_SMALL),
    Row("file-get-10m", "download of 10 MB", False, 8, "files", "file", count=FILE_LARGE),
    Row("file-put-10k", "upload of 10 KB", True, 50, "files", "uploaded", count=FILE_SMALL),
    Row("file-put-10m", "upload of 10 MB", True, 4, "files", "uploaded", count=FILE_LARGE),
)


def seeded(number: int, author: str) -> dict[str, Any]:
    """A document that is there before the loads: about 340 bytes of JSON."""
    return {
        "title": f"title {number}",
        "body": "lorem ipsum " * 12,
        "author": author,
        "score": number * 7919 % 1_000_000,
        "ratio": 0.5,
        "tags": ["one", "two", "three"],
        "place": {"city": "Zürich", "zip": "8001"},
        "public": True,
    }


def file_bytes(size: int) -> bytes:
    """A file of so many bytes, which no compression could spare."""
    return hashlib.shake_128(b"file").hexdigest((size + 1) // 2)[:size].encode()


def created(author: Any) -> str:
    """The document that the create loads send, of the same shape and size; a template."""
    fields = seeded(0, "") | {"title": "title {n}", "author": author}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class Seed:
    """The collections before the first load. `doomed` is how many documents the delete load may
    delete in all rounds together; `free` and `ruled` start empty."""

    doomed: int
    is_large: bool = False

    def sizes(self) -> dict[str, int]:
        sizes = {"small": SMALL, "large": LARGE, "owned": OWNED, "asked": OWNED, "counter": 1}
        return sizes | {"doomed": self.doomed, "vast": VAST if self.is_large else 0}


def author_of(collection: str, number: int, me: str) -> str:
    """Who wrote a seeded document: where many do, the caller one in a hundred."""
    if collection not in OF_MANY or number % AUTHORS == 0:
        return me
    return AUTHOR % (number % AUTHORS)
