"""The rules files that we ship are in the form that `baas rules fmt` gives them."""

from pathlib import Path

import pytest
from baas_rules import format_source

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    path
    for folder in ("bench", "cluster", "demo", "docs")
    for path in (ROOT / folder).rglob("*.rules")
)


def test_there_are_rules_files() -> None:
    assert len(FILES) >= 3


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_shipped_rules_file_is_formatted(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert format_source(text, name=path.name) == text
