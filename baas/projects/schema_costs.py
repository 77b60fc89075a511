"""What a JSON Schema may cost: how many of its parts are asked, at most, on the way from a document
to its deepest value. Schemas that refer to parts of themselves can double their cost with each
reference; such are refused before they are in force, not when a document is slow.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

_SAME_PLACE = ("allOf", "anyOf", "oneOf")
_SAME_PLACE_ONE = ("not", "if", "then", "else")
# Of a value's schemas that stand beside each other under these, only one is asked.
_CHILD_ELSE = ("additionalProperties", "items")
_CHILD_ONE = ("unevaluatedProperties", "unevaluatedItems", "contains", "propertyNames")


def depth_of(tree: Any) -> int:
    """How deep objects and arrays are nested."""
    depth, level = 0, [tree]
    while level:
        depth += 1
        level = [
            child
            for node in level
            for child in (
                node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
            )
        ]
    return depth


def cost_of(schema: dict[str, Any], *, depth_max: int, cost_max: int) -> int:
    """The parts that are asked along the most expensive path through a document of `depth_max`
    levels; counting stops past `cost_max`."""
    return _Costs(schema, cost_max).of(schema, depth_max)


class _Costs:
    def __init__(self, root: dict[str, Any], cost_max: int) -> None:
        self._root = root
        self._cost_max = cost_max
        self._known: dict[tuple[int, int], int] = {}
        self._open: set[tuple[int, int]] = set()
        self._anchors: dict[str, Any] = {}
        _find_anchors(root, self._anchors)

    def of(self, node: Any, depth: int) -> int:
        if not isinstance(node, dict) or depth < 0:
            return 1
        key = (id(node), depth)
        known = self._known.get(key)
        if known is not None:
            return known
        if key in self._open:
            return 0  # comes back to itself at the same value: the validator stops there
        self._open.add(key)
        cost = 1
        for child in self._same_place(node):
            cost += self.of(child, depth)
            if cost > self._cost_max:
                break
        if cost <= self._cost_max:
            cost += self._below(node, depth - 1)
        self._open.discard(key)
        self._known[key] = cost = min(cost, self._cost_max + 1)
        return cost

    def _same_place(self, node: dict[str, Any]) -> Iterable[Any]:
        for name in ("$ref", "$dynamicRef"):
            if isinstance(node.get(name), str):
                yield self._resolve(node[name])
        for name in _SAME_PLACE:
            if isinstance(node.get(name), list):
                yield from node[name]
        for name in _SAME_PLACE_ONE:
            if name in node:
                yield node[name]
        if isinstance(node.get("dependentSchemas"), dict):
            yield from node["dependentSchemas"].values()

    def _below(self, node: dict[str, Any], depth: int) -> int:
        if depth < 0:
            return 0
        properties, prefixes = node.get("properties"), node.get("prefixItems")
        apart = [node[name] for name in _CHILD_ELSE if name in node]
        apart += properties.values() if isinstance(properties, dict) else ()
        apart += prefixes if isinstance(prefixes, list) else ()
        cost = max([self.of(child, depth) for child in apart], default=0)
        if isinstance(node.get("patternProperties"), dict):
            cost += sum(self.of(child, depth) for child in node["patternProperties"].values())
        return cost + sum(self.of(node[name], depth) for name in _CHILD_ONE if name in node)

    def _resolve(self, reference: str) -> Any:
        _, _, fragment = reference.partition("#")
        if not fragment:
            return self._root if reference.startswith("#") else None
        if not fragment.startswith("/"):
            return self._anchors.get(fragment)
        found: Any = self._root
        for part in unquote(fragment).split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict):
                found = found.get(name)
            elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
                found = found[int(name)]
            else:
                return None
        return found


def _find_anchors(tree: Any, anchors: dict[str, Any]) -> None:
    if isinstance(tree, dict):
        for name in ("$anchor", "$dynamicAnchor"):
            if isinstance(tree.get(name), str):
                anchors.setdefault(tree[name], tree)
        for child in tree.values():
            _find_anchors(child, anchors)
    elif isinstance(tree, list):
        for child in tree:
            _find_anchors(child, anchors)
