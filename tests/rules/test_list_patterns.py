"""Ways in which public rules allow lists: what must be proved, and what must not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from baas_rules import parse_cases, run_cases

from tests.rules.worlds import ruleset

FILE = yaml.compose(
    (Path(__file__).parent / "list_patterns.yaml").read_text(encoding="utf-8"),
    Loader=yaml.SafeLoader,
)
assert isinstance(FILE, yaml.MappingNode)
TABLE: dict[str, Any] = {key.value: value for key, value in FILE.value}
PATTERNS = [{key.value: value for key, value in one.value} for one in TABLE["patterns"].value]
PATTERNS_MIN = 60


def _plain(node: yaml.Node | None) -> str:
    return "" if node is None else str(node.value)


def _tests(pattern: dict[str, yaml.Node], verdict: str, expected: str) -> list[yaml.Node]:
    """The queries of a pattern, as tests in the language of `parse_cases`."""
    found = pattern.get(verdict)
    made: list[yaml.Node] = []
    collection = _plain(pattern.get("list")) or _plain(pattern["match"]).split("/")[1]
    for query in found.value if found is not None else ():
        entries = list(query.value)
        names = {key.value for key, _ in entries}
        if "list" not in names:
            entries.append((_scalar("list"), _scalar(collection)))
        if "as" not in names:
            entries.append((_scalar("as"), _scalar("ada")))
        entries.append((_scalar("expect"), _scalar(expected)))
        made.append(yaml.MappingNode("tag:yaml.org,2002:map", entries, query.start_mark))
    return made


def _scalar(text: str) -> yaml.ScalarNode:
    return yaml.ScalarNode("tag:yaml.org,2002:str", text)


def test_there_are_enough_and_all_are_different() -> None:
    assert len(PATTERNS) >= PATTERNS_MIN
    assert len({_plain(one["name"]) for one in PATTERNS}) == len(PATTERNS)
    texts = {(_plain(one["match"]), _plain(one["when"])) for one in PATTERNS}
    assert len(texts) == len(PATTERNS)
    assert all("pass" in one or "fail" in one for one in PATTERNS)


@pytest.mark.parametrize("pattern", PATTERNS, ids=[_plain(one["name"]) for one in PATTERNS])
def test_pattern(pattern: dict[str, yaml.Node]) -> None:
    rules = ruleset(
        f"{_plain(TABLE['functions'])}\n"
        f"match {_plain(pattern['match'])} {{ allow list: if {_plain(pattern['when'])}; }}"
    )
    tests = _tests(pattern, "pass", "allow") + _tests(pattern, "fail", "deny")
    source = yaml.serialize(
        yaml.MappingNode(
            "tag:yaml.org,2002:map",
            [
                (_scalar("documents"), TABLE["documents"]),
                (_scalar("callers"), yaml.compose("{ada: {uid: ada}}", Loader=yaml.SafeLoader)),
                (_scalar("tests"), yaml.SequenceNode("tag:yaml.org,2002:seq", tests)),
            ],
        ),
        Dumper=yaml.SafeDumper,
    )
    for result in run_cases(rules, parse_cases(source).cases):
        assert result.passed, result.failure
