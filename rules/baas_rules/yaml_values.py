"""YAML text to nodes with places, and nodes to rule values. Every error says the line."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import Any, Final

import yaml

from baas_rules.errors import RulesError
from baas_rules.values import LatLng, Path, Timestamp

TEXT_BYTES_MAX: Final = 1024 * 1024
NODES_MAX: Final = 100_000  # aliases counted as often as they are used
DEPTH_MAX: Final = 50


class TestFileError(RulesError):
    """A file of tests is not what it should be; `line` counts from 1."""

    __test__ = False  # for pytest

    def __init__(self, message: str, line: int) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line


class ServerTime:
    """Stands for the request's time until that is known."""


SERVER_TIME: Final = ServerTime()


def load(text: str) -> yaml.Node:
    """The root node. Raises TestFileError."""
    if len(text.encode(errors="replace")) > TEXT_BYTES_MAX:
        raise TestFileError(f"the file has more than {TEXT_BYTES_MAX} bytes", 1)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise TestFileError(f"this is not YAML: {error.problem}", line) from None
    except (yaml.YAMLError, RecursionError, ValueError):
        raise TestFileError("this is not YAML", 1) from None
    if root is None:
        raise TestFileError("the file is empty", 1)
    _check_size(root)
    return root


def _check_size(root: yaml.Node) -> None:
    pending: list[tuple[yaml.Node, int]] = [(root, 0)]
    count = 0
    while pending:
        node, depth = pending.pop()
        count += 1
        if count > NODES_MAX or depth > DEPTH_MAX:
            raise TestFileError("the file is too large, or nested too deep", line_of(node))
        if isinstance(node, yaml.MappingNode):
            pending.extend((part, depth + 1) for pair in node.value for part in pair)
        elif isinstance(node, yaml.SequenceNode):
            pending.extend((part, depth + 1) for part in node.value)


def line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def entries(node: yaml.Node, what: str) -> Iterator[tuple[str, yaml.Node]]:
    """The entries of a mapping with string keys, each key once."""
    if not isinstance(node, yaml.MappingNode):
        raise TestFileError(f"{what} is a mapping", line_of(node))
    seen: set[str] = set()
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else None
        if name is None:
            raise TestFileError(f"a key of {what} is a text", line_of(key))
        if name in seen:
            raise TestFileError(f"`{name}` is given twice", line_of(key))
        seen.add(name)
        yield name, value


def items(node: yaml.Node, what: str) -> list[yaml.Node]:
    if not isinstance(node, yaml.SequenceNode):
        raise TestFileError(f"{what} is a list", line_of(node))
    return list(node.value)


def text(node: yaml.Node, what: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise TestFileError(f"{what} is a text", line_of(node))
    return str(node.value)


def value(node: yaml.Node) -> Any:
    """A rule value: as in the documents' JSON, types that JSON lacks are tagged, such as
    `{$timestamp: …}`; a plain YAML time is a timestamp."""
    if isinstance(node, yaml.SequenceNode):
        return [value(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        made = dict(entries(node, "a map"))
        if len(made) == 1:
            ((tag, item),) = made.items()
            if tag.startswith("$") and not tag.startswith("$$"):
                return _tagged(tag, item)
        return {
            name[1:] if name.startswith("$$") else name: value(item) for name, item in made.items()
        }
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    try:
        made = yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError, OverflowError):
        raise TestFileError(f"`{node.value}` is no value", line_of(node)) from None
    if isinstance(made, datetime):
        return timestamp(made)
    if isinstance(made, date):
        return timestamp(datetime.combine(made, time()))
    if isinstance(made, int) and not isinstance(made, bool) and not -(2**63) <= made < 2**63:
        raise TestFileError("the integer does not fit 64 bits", line_of(node))
    return made


def timestamp(moment: datetime) -> Timestamp:
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return Timestamp.from_datetime(moment)


def _tagged(tag: str, node: yaml.Node) -> Any:
    try:
        match tag:
            case "$timestamp":
                made = value(node)
                return (
                    made
                    if isinstance(made, Timestamp)
                    else timestamp(datetime.fromisoformat(str(made)))
                )
            case "$server_time":
                return SERVER_TIME
            case "$bytes":
                return b64decode(text(node, tag), validate=True)
            case "$ref":
                segments = tuple(text(node, tag).strip("/").split("/"))
                return Path(("databases", "(default)", "documents", *segments))
            case "$geo":
                latitude, longitude = value(node)
                return LatLng(float(latitude), float(longitude))
            case "$double":
                return float(str(value(node)))
            case "$int":
                return int(str(value(node)))
    except (ValueError, TypeError, Base64Error):
        raise TestFileError(f"this is no value for {tag}", line_of(node)) from None
    known = "$timestamp, $server_time, $bytes, $ref, $geo, $double and $int"
    raise TestFileError(f"unknown tag `{tag}`: there are {known}", line_of(node))


def with_time(found: Any, now: Timestamp) -> Any:
    """The value with the request's time where it was to be filled in."""
    if found is SERVER_TIME:
        return now
    if isinstance(found, list):
        return [with_time(item, now) for item in found]
    if isinstance(found, dict):
        return {name: with_time(item, now) for name, item in found.items()}
    return found
