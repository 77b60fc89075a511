"""The examples of docs/values.md are true."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from baas.encoding import json_values
from baas.encoding.documents import decode_fields, encode_fields
from baas.errors import InvalidValue
from baas.model.values import is_identical

PAGE = (Path(__file__).parents[2] / "docs" / "values.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language; an example that nobody would run is a mistake."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found, language
    return found


def lines(language: str) -> list[str]:
    return [line for block in blocks(language) for line in block.splitlines()]


@pytest.mark.parametrize("text", blocks("json"))
def test_examples_are_the_written_form(text: str) -> None:
    tree = orjson.loads(text)
    fields = json_values.decode_fields_tree(tree)
    assert json_values.encode_fields_tree(fields) == tree
    stored = encode_fields(fields)
    assert stored == orjson.dumps(tree, option=orjson.OPT_SORT_KEYS)
    assert is_identical(decode_fields(stored), fields)


@pytest.mark.parametrize("line", lines("jsonl"))
def test_sent_forms_are_stored_as_said(line: str) -> None:
    sent, stored = orjson.loads(line)
    returned = json_values.encode_value(json_values.decode_value(sent))
    assert orjson.dumps(returned) == orjson.dumps(stored)


@pytest.mark.parametrize("line", lines("jsonl-refused"))
def test_refused_forms_are_refused(line: str) -> None:
    with pytest.raises(InvalidValue):
        json_values.decode_fields_tree({"a": orjson.loads(line)})


def test_no_block_is_left_out() -> None:
    fences = re.findall(r"^```(\S+)$", PAGE, re.MULTILINE)
    assert set(fences) == {"json", "jsonl", "jsonl-refused"}
