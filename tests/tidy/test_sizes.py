"""Sizes that keep the tree readable (CONTRIBUTING.md): limits, not aims."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for folder in ("baas", "rules/baas_rules", "sdk/baas_sdk")
    for path in (ROOT / folder).rglob("*.py")
)
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 800
CLASS_LINES_MAX = 350
FLOOR_LINES_MAX = 80
FORBIDDEN_NAMES = {"utils", "helpers", "common", "manager", "misc"}


def _long_nodes(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            limit = FUNCTION_LINES_MAX
        elif isinstance(node, ast.ClassDef):
            limit = CLASS_LINES_MAX
        else:
            continue
        assert node.end_lineno is not None
        lines = node.end_lineno - node.lineno + 1
        if lines > limit:
            yield f"{node.name}: {lines} lines, at most {limit}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_function_or_class_is_too_long(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= FILE_LINES_MAX
    assert list(_long_nodes(ast.parse(text))) == []


def test_no_room_is_called_utils() -> None:
    assert [path for path in SOURCES if FORBIDDEN_NAMES & {*path.parts, path.stem}] == []


def test_the_floor_stays_a_floor() -> None:
    assert len((ROOT / "bench" / "floor.py").read_text().splitlines()) <= FLOOR_LINES_MAX
