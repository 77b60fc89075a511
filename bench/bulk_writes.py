"""Bulk writes beside a bare executemany of the same rows and entries.

The product takes 500 documents a request over HTTP, on a few connections, with an index to keep.
The floor gets the very rows that this has left (documents, entries, log), sorted as they were
written, and puts them into an empty database of the same schema, 500 a transaction, as durable.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import apsw
import httpx
import orjson

from baas.storage.sqlite_schema import TABLES
from bench.servers import Target, seed_fields
from bench.servers import product as serving

BATCH = 500
REQUESTS = (60, 200)  # a small database, and one that is past what SQLite keeps in memory
CONNECTIONS = 4
_DOCUMENTS = "documents(key, path, created, version, data) VALUES (?, ?, ?, ?, ?)"
_ENTRIES = 'entries("index", key, document) VALUES (?, ?, (SELECT id FROM documents WHERE key = ?))'
_LOG = "log(version, ordinal, path, deleted) VALUES (?, ?, ?, ?)"


def table(folder: Path, *, rounds: int) -> str:
    """A Markdown table: documents a second, and the ratio to the floor of the same round."""
    folder.mkdir()
    lines = []
    callers = (("an administrator", True), ("a user, rules on", False))
    for requests, (name, is_operator) in product(REQUESTS, callers):
        found = [
            _round(folder / f"{requests}-{is_operator:d}-{number}", requests, is_operator)
            for number in range(rounds)
        ]
        bare, whole = (statistics.median(pair[side] for pair in found) for side in (0, 1))
        cpu = [statistics.median(pair[side] for pair in found) for side in (2, 3)]
        ratio = statistics.median(one[1] / one[0] for one in found)
        lines.append(
            f"| {BATCH * requests:,} by {name} | {bare:,.0f} | {whole:,.0f} | **{ratio:.2f}** "
            f"| {cpu[0]:.1f} / {cpu[1]:.1f}: {cpu[0] / cpu[1]:.2f} |"
        )
    title = f"## Bulk writes, {BATCH} documents a request, {CONNECTIONS} connections, one index"
    head = "| documents | executemany/s | baas/s | **ratio** | CPU us floor / baas: ratio |"
    return "\n".join([title, "", head, "|---|---|---|---|---|", *lines, ""])


def _round(folder: Path, requests: int, is_operator: bool) -> tuple[float, float, float, float]:
    folder.mkdir()
    with serving("uvicorn", folder, documents=BATCH, delay=(None, 0)) as target:
        operator = json.loads((folder / "data" / "server.json").read_text("utf-8"))["token"]
        _make_index(target, operator)
        rate, cpu = _write(target, requests, operator if is_operator else target.token)
    files = sorted((folder / "data").rglob("*.sqlite*"), key=lambda file: -file.stat().st_size)
    floor, floor_cpu = _write_rows(files[0], folder / "floor.sqlite")
    return floor, rate, floor_cpu, cpu


def _make_index(target: Target, operator: str) -> None:
    url = f"{target.url}/api/v1/admin/projects/bench/databases/(default)/indexes"
    body = {"collection": "posts", "fields": [{"field": "score"}]}
    headers = {"Authorization": f"Bearer {operator}"}
    assert httpx.post(url, json=body, headers=headers, timeout=60).is_success


def _bodies(uid: str, requests: int) -> Iterator[bytes]:
    for start in range(0, BATCH * requests, BATCH):
        writes = [
            {"set": f"posts/b{number:07}", "fields": seed_fields(number, uid)}
            for number in range(start, start + BATCH)
        ]
        yield orjson.dumps({"writes": writes})


def _write(target: Target, requests: int, token: str) -> tuple[float, float]:
    """Documents a second, and the server's CPU for each."""
    waiting = list(_bodies(target.uid, requests))
    url = f"{target.url}/api/v1/projects/bench/documents:bulk-write"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def work() -> None:
        with httpx.Client(timeout=60) as client:
            while waiting:
                try:
                    body = waiting.pop()
                except IndexError:
                    return
                answer = client.post(url, content=body, headers=headers)
                assert answer.is_success, answer.text
                assert b'"error"' not in answer.content

    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    cpu, began = target.cpu_seconds(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    count = BATCH * requests
    return count / took, (target.cpu_seconds() - cpu) * 1e6 / count


def _write_rows(source: Path, copy: Path) -> tuple[float, float]:
    """Documents a second of a bare executemany, and its CPU for each: of nothing else, such as
    reading the rows that it is to write."""
    known = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)
    documents = _rows(known, "SELECT key, path, created, version, data FROM documents")
    entries: dict[bytes, list[Any]] = {}
    sql = 'SELECT e."index", e.key, d.key FROM entries e JOIN documents d ON d.id = e.document'
    for row in _rows(known, sql):
        entries.setdefault(row[2], []).append(row)
    known.close()
    documents = [row for row in documents if row[1].startswith("posts/b")]
    documents.sort(key=lambda row: (row[3], row[1]))
    batches = []
    for start in range(0, len(documents), BATCH):
        batch = documents[start : start + BATCH]
        batches.append(
            (
                batch,
                [entry for row in batch for entry in entries.get(row[0], ())],
                [(row[3], ordinal, row[1], 0) for ordinal, row in enumerate(batch)],
            )
        )
    connection = apsw.Connection(str(copy))
    _rows(connection, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + TABLES)
    cpu, began = time.process_time(), time.perf_counter()
    for rows, index, log in batches:
        with connection:
            connection.executemany(f"INSERT INTO {_DOCUMENTS}", rows)
            connection.executemany(f"INSERT INTO {_ENTRIES}", index)
            connection.executemany(f"INSERT INTO {_LOG}", log)
    took = time.perf_counter() - began
    cpu = time.process_time() - cpu
    connection.close()
    return len(documents) / took, cpu * 1e6 / len(documents)


def _rows(connection: apsw.Connection, sql: str) -> list[Any]:
    return list(connection.execute(sql))
