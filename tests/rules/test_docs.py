"""The examples of docs/rules, executed: rules are checked, tests pass, programs run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from baas_rules import Ruleset, check, parse_cases, run_cases

DOCS = Path(__file__).parents[2] / "docs" / "rules"
PAGES = sorted(DOCS.glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples(page: Path) -> None:
    rules = ""
    names: dict[str, Any] = {}
    for language, text in blocks(page):
        match language:
            case "rules":
                rules = text
                assert check(rules) == []
            case "yaml":
                failures = [
                    f"{one.case.name}: {one.failure}"
                    for one in run_cases(Ruleset.parse(rules), parse_cases(text).cases)
                    if not one.passed
                ]
                assert failures == []
            case "python":
                exec(compile(text, str(page), "exec"), names)
            case "sh":
                pass  # needs a data folder: tests/baas/cli/test_rules_docs.py
            case _:
                pytest.fail(f"{page.name} has a block of {language}, which nothing executes")


def test_there_are_examples_of_every_kind() -> None:
    kinds = [language for page in PAGES for language, _ in blocks(page)]
    assert {"rules", "yaml", "python", "sh"} == set(kinds)


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (DOCS / target).exists(), f"{page.name}: {target}"
