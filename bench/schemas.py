"""Creates of documents of ten fields: with a schema, and with a unique field, beside none.

One server; the three collections take turns, so what slows the machine slows all of them.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from bench.servers import Target, product

CREATES = 1_000
CONNECTIONS = 8
_KINDS: dict[str, dict[str, Any]] = {
    "string": {"type": "string", "maxLength": 100},
    "integer": {"type": "integer", "minimum": 0},
}
_FIELDS = {f"f{number}": "integer" if number % 2 else "string" for number in range(10)}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": list(_FIELDS),
    "properties": {name: _KINDS[kind] for name, kind in _FIELDS.items()},
    "additionalProperties": False,
}
LOADS = {"plain": "no schema", "shaped": "a schema", "unique": "a schema, one unique field"}


def table(folder: Path, *, rounds: int) -> str:
    """A Markdown table: creates a second and the server's CPU, and ratios to those without."""
    folder.mkdir()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in LOADS}
    with product("uvicorn", folder, documents=100, delay=(None, 0)) as target:
        operator = json.loads((folder / "data" / "server.json").read_text("utf-8"))["token"]
        _deploy(target, operator)
        for number in range(rounds + 1):
            for name in LOADS:
                figure = _create(target, operator, name, number)
                if number:  # the first one warms up
                    found[name].append(figure)
    lines = [
        f"| create, ten fields, {LOADS[name]} | {_median(found[name], 0):,.0f} "
        f"| **{_ratio(found, name, 0):.2f}** | {_median(found[name], 1):.0f} "
        f"| {_ratio(found, name, 1):.2f} |"
        for name in LOADS
    ]
    title = f"## Schemas, {CONNECTIONS} connections"
    head = "| load | baas/s | **ratio to none** | CPU us | CPU: ratio to none |"
    return "\n".join([title, "", head, "|---|---|---|---|---|", *lines, ""])


def _median(figures: list[tuple[float, float]], side: int) -> float:
    return statistics.median(figure[side] for figure in figures)


def _ratio(found: dict[str, list[tuple[float, float]]], name: str, side: int) -> float:
    pairs = zip(found[name], found["plain"], strict=True)
    return statistics.median(one[side] / none[side] for one, none in pairs)


def _deploy(target: Target, operator: str) -> None:
    schemas = [
        {"x-collection": "shaped", **_SCHEMA},
        {"x-collection": "unique", "x-unique": [["f0"]], **_SCHEMA},
    ]
    answer = httpx.put(
        f"{target.url}/api/v1/admin/projects/bench/schemas",
        json={"schemas": schemas},
        headers={"Authorization": f"Bearer {operator}"},
    )
    assert answer.is_success, answer.text


def _create(target: Target, operator: str, collection: str, part: int) -> tuple[float, float]:
    """Creates a second, and the server's CPU for each."""
    url = f"{target.url}/api/v1/projects/bench/documents/{collection}"
    waiting = [
        {
            name: number if kind == "integer" else f"{name} {part} {number}"
            for name, kind in _FIELDS.items()
        }
        for number in range(CREATES)
    ]

    def work() -> None:
        with httpx.Client(timeout=60, headers={"Authorization": f"Bearer {operator}"}) as client:
            while waiting:
                try:
                    fields = waiting.pop()
                except IndexError:
                    return
                answer = client.post(url, json={"fields": fields})
                assert answer.is_success, answer.text

    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    cpu, began = target.cpu_seconds(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    return CREATES / took, (target.cpu_seconds() - cpu) * 1e6 / CREATES
