"""Native JSON goes through JavaScript and back without loss: `codec.mjs` on a real Node.js."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from baas.encoding import json_values
from baas.model.values import Value, is_identical
from tests.baas.model.strategies import values
from tests.conformance.vectors import load
from tests.effort import examples

pytestmark = pytest.mark.node
CODEC = Path(__file__).with_name("codec.mjs")
VALUES = load("values")


class Node:
    """The codec as a process: one JSON text in, one out. An answer may be `{"error": …}`, so give
    it maps with other keys."""

    def __init__(self, command: str) -> None:
        self._process = subprocess.Popen(
            [command, str(CODEC)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def through(self, tree: Any) -> Any:
        """What JavaScript makes of the tree: decoded there and encoded again."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(orjson.dumps(tree) + b"\n")
        self._process.stdin.flush()
        return orjson.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    command = shutil.which(os.environ.get("BAAS_NODE") or "node")
    if command is None:
        pytest.fail("NOT RUN: there is no Node.js as BAAS_NODE says, or `node` on PATH")
    process = Node(command)
    try:
        yield process
    finally:
        process.close()


@pytest.mark.parametrize("vector", VALUES["values"], ids=lambda vector: vector["name"])
def test_vectors_survive_javascript(node: Node, vector: dict[str, Any]) -> None:
    value = json_values.decode_value(vector["json"])
    for form in [vector["json"], *vector.get("reads", [])]:
        returned = node.through({"value": form})["value"]
        assert json_values.encode_value(json_values.decode_value(returned)) == vector["json"]
        assert is_identical(json_values.decode_value(returned), value)


@pytest.mark.parametrize("vector", VALUES["refused"], ids=lambda vector: vector["name"])
def test_javascript_refuses_the_same(node: Node, vector: dict[str, Any]) -> None:
    assert "error" in node.through({"a": vector["json"]})


@settings(max_examples=examples(400))
@given(value=values)
def test_any_value_survives_javascript(node: Node, value: Value) -> None:
    returned = node.through({"value": json_values.encode_value(value)})["value"]
    assert is_identical(json_values.decode_value(returned), value)
