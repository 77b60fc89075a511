"""Rules: what a decision costs beside an empty Python call, and how long files take to compile."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from baas_rules import (
    Auth,
    FieldConstraint,
    ListRequest,
    Request,
    ResourceDocument,
    Ruleset,
    Timestamp,
)
from baas_rules.environment import Environment
from baas_rules.grants import Statements
from baas_rules.parser import parse
from baas_rules.scopes import Outline, outlines
from baas_rules.source import Source

_NOW = Timestamp(1_700_000_000_000_000)
_ADA = Auth("ada", {"email": "ada@example.com"})
_PATH = ("notes", "n1")
Call = Callable[..., object]

_CALLS = 20_000
_ROUNDS = 9
_GENERATED_BYTES = 255 * 1024

_SOURCE = """rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /notes/{note} {
      allow get: if request.auth.uid == resource.data.owner;
      allow update: if request.auth.uid == resource.data.owner
        && request.resource.data.diff(resource.data).affectedKeys().hasOnly(['text', 'updated']);
      allow list: if request.auth.uid == resource.data.owner;
    }
  }
}
"""


def table(folder: Path | None, *, rounds: int = _ROUNDS) -> str:
    """Markdown. `folder` has public rules files whose compilation is timed too."""
    lines = [
        "## Rules: processor time, ratio to an empty Python call of the same run\n",
        "| what | ratio | wanted |",
        "|---|---|---|",
    ]
    for name, ratio, wanted in _ratios(rounds):
        lines.append(f"| {name} | **{ratio:.1f}** | {wanted} |")
    lines += ["", "| file to compile | KiB | ms | ms per KiB |", "|---|---|---|---|"]
    for name, size, seconds in _compilations(folder):
        kib = size / 1024
        lines.append(f"| {name} | {kib:.0f} | {seconds * 1000:.0f} | {seconds * 1000 / kib:.1f} |")
    return "\n".join(lines) + "\n"


def _empty(request: object, documents: object) -> None:
    pass


def _ratios(rounds: int) -> list[tuple[str, float, str]]:
    rules = Ruleset.parse(_SOURCE)
    old = {"owner": "ada", "text": "hello", "updated": Timestamp(0), "n": 1, "tags": ["a"]}
    new = {**old, "text": "better", "updated": _NOW}
    stored, changed = ResourceDocument(_PATH, old), ResourceDocument(_PATH, new)
    owner = Request("get", _PATH, _ADA, _NOW, stored)
    update = Request("update", _PATH, _ADA, _NOW, stored, changed)
    listed = ListRequest(("notes",), _ADA, _NOW, where=FieldConstraint(("owner",), "==", "ada"))
    assert rules.decide(owner, {}).allowed
    assert rules.decide(update, {}).allowed
    assert rules.prove_list(listed, {}).allowed
    rows: list[tuple[str, Call, tuple[object, object], str]] = [
        ("owner check of 7 nodes, the condition", *_condition(rules, owner), "15"),
        ("owner check of 7 nodes, the whole decision", rules.decide, (owner, {}), ""),
        ("19 nodes with a map diff, the condition", *_condition(rules, update), "60"),
        ("19 nodes with a map diff, the whole decision", rules.decide, (update, {}), ""),
        ("the owner check proved for a list", rules.prove_list, (listed, {}), ""),
    ]
    return [(name, _ratio(call, given, rounds), wanted) for name, call, given, wanted in rows]


def _outlines(source: str) -> tuple[Outline, ...]:
    tree, _ = parse(Source(source))
    assert tree is not None
    return outlines(tree)


def _condition(rules: Ruleset, request: Request) -> tuple[Call, tuple[object, object]]:
    """The compiled condition that a request meets, without the way to it; and what it takes."""
    (outline,) = _outlines(rules.source)
    statements = Statements(outline)
    path = ("databases", request.database, "documents", *request.path)
    ((asked, captures),) = statements.askable[request.method].tree.match(path)
    (run,) = asked.runs
    environment = Environment(request, {})
    environment.captures = captures
    return run, (environment, ())


def _ratio(call: Call, given: tuple[object, object], rounds: int) -> float:
    """Median over rounds, in each of which both run in turns."""
    found = [_timed(call, *given) / _timed(_empty, *given) for _ in range(rounds)]
    return statistics.median(found)


def _timed(call: Call, first: object, second: object) -> float:
    """With the loop around it, as `timeit` does."""
    repeated = range(_CALLS)
    started = time.process_time()
    for _ in repeated:
        call(first, second)
    return time.process_time() - started


def _compilations(folder: Path | None) -> list[tuple[str, int, float]]:
    sources = [("generated", generated())]
    if folder is not None:
        files = sorted(folder.rglob("*.rules"), key=lambda path: -path.stat().st_size)[:10]
        sources += [(f"public file {at}", path.read_text()) for at, path in enumerate(files, 1)]
    return [(name, len(text.encode()), _compile_seconds(text)) for name, text in sources]


def _compile_seconds(text: str) -> float:
    times: list[float] = []
    for _ in range(3):
        started = time.process_time()
        Ruleset.parse(text)
        times.append(time.process_time() - started)
    return min(times)


def generated(size: int = _GENERATED_BYTES) -> str:
    """A file of about so many bytes, like those of large apps: many collections, each with the
    checks of its fields."""
    blocks: list[str] = []
    length = 200
    while length < size:
        at = len(blocks)
        block = f"""    match /collection{at}/{{id{at}}} {{
      function valid{at}() {{
        let data = request.resource.data;
        return data.keys().hasOnly(['owner', 'name', 'state', 'count{at}'])
          && data.name is string && data.name.size() <= {at % 90 + 10}
          && data.state in ['new', 'open', 'done{at}'] && data.count{at} >= 0;
      }}
      allow read: if request.auth != null && resource.data.owner == request.auth.uid;
      allow create: if request.auth != null && valid{at}()
        && request.resource.data.owner == request.auth.uid;
      allow update: if valid{at}() && request.resource.data.diff(resource.data).affectedKeys()
        .hasOnly(['name', 'state', 'count{at}']) || request.auth.token.admin == true;
    }}
"""
        blocks.append(block)
        length += len(block)
    return (
        "rules_version = '2';\nservice cloud.firestore {\n"
        "  match /databases/{database}/documents {\n" + "".join(blocks[:-1]) + "  }\n}\n"
    )
