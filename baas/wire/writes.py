"""Writes in JSON: the bodies of single writes, the list of a commit, and what a commit answers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from baas.encoding import json_values
from baas.encoding.documents import encode_plain_fields
from baas.errors import BaasError
from baas.model.paths import DocumentPath, FieldPath
from baas.model.timestamps import Timestamp
from baas.model.values import Fields, Value
from baas.model.writes import (
    NO_PRECONDITION,
    ArrayRemove,
    ArrayUnion,
    DeleteWrite,
    FieldTransform,
    Increment,
    Maximum,
    Minimum,
    Precondition,
    ServerTimestamp,
    SetWrite,
    Transform,
    VerifyWrite,
    Write,
    WriteResult,
)
from baas.wire.documents import time_text
from baas.wire.objects import (
    check_array,
    check_boolean,
    check_object,
    check_string,
    invalid,
    join,
    kind_of,
)
from baas.wire.queries import decode_field_path, decode_field_paths

CREATE_BODY = frozenset({"fields", "transforms"})
SET_BODY = frozenset({"fields", "merge", "mask", "transforms", "precondition"})
UPDATE_BODY = frozenset({"fields", "delete", "transforms", "precondition"})
_VERBS = ("set", "update", "create", "delete", "verify")
_VERB_MEMBERS = {
    "set": SET_BODY | {"set"},
    "update": UPDATE_BODY | {"update"},
    "create": CREATE_BODY | {"create"},
    "delete": frozenset({"delete", "precondition"}),
    "verify": frozenset({"verify", "precondition"}),
}
_PRECONDITION = frozenset({"exists", "update_time"})
_TRANSFORMS = ("server_time", "increment", "maximum", "minimum", "array_union", "array_remove")
_TRANSFORM_MEMBERS = frozenset({"field", *_TRANSFORMS})
_MUST_EXIST = Precondition(exists=True)
_MUST_NOT_EXIST = Precondition(exists=False)
_TRANSFORMS_MAX = 500
_FIELD_PATHS_MAX = 20_000  # in Firestore no document has more fields


def decode_create(path: DocumentPath, tree: Any, at: str = "") -> SetWrite:
    """`{"fields", "transforms"?}`: fails if the document exists."""
    members = check_object(tree, at, allowed=CREATE_BODY, required=("fields",))
    return _create(path, members, at)


def decode_set(path: DocumentPath, tree: Any, at: str = "") -> SetWrite:
    """`{"fields", "merge"? | "mask"?, "transforms"?, "precondition"?}`. Without `merge` or `mask`
    the document is replaced; `merge` writes the fields given; `mask` writes the listed ones, and
    deletes those of them that `fields` lacks."""
    members = check_object(tree, at, allowed=SET_BODY, required=("fields",))
    return _set(path, members, at)


def decode_update(path: DocumentPath, tree: Any, at: str = "") -> SetWrite:
    """`{"fields": {"a.b": 1}, "delete": ["c"], "transforms"?, "precondition"?}`: the keys of
    `fields` are field paths. The document must exist unless the precondition says otherwise."""
    return _update(path, check_object(tree, at, allowed=UPDATE_BODY), at)


def decode_commit(tree: Any, *, writes_max: int) -> list[Write]:
    """The `writes` of a commit, each an object with one of the verbs."""
    items = check_array(tree, "writes", maximum=writes_max)
    return [
        _decode_plain_set(item) or _decode_write(item, f"writes[{index}]")
        for index, item in enumerate(items)
    ]


def _decode_plain_set(tree: Any) -> SetWrite | None:
    """A write `{"set": path, "fields": {…}}`, of which there are hundreds in one request, spared
    the names of its places. None for any other, and for one that `_decode_write` will refuse."""
    if type(tree) is not dict or len(tree) != 2:
        return None
    text, fields = tree.get("set"), tree.get("fields")
    if type(text) is not str or type(fields) is not dict:
        return None
    try:
        path = DocumentPath.parse_new(text)
        decoded = json_values.decode_fields_tree(fields)
    except BaasError:
        return None
    if decoded is not fields:
        return SetWrite(path, decoded)
    # Encoded while it is at hand: hundreds of documents later it is in no cache any more.
    return SetWrite(path, fields, None, (), NO_PRECONDITION, True, encode_plain_fields(fields))


def decode_document_path(tree: Any, at: str) -> DocumentPath:
    """A document path, with the place in the error."""
    text = check_string(tree, at)
    try:
        return DocumentPath.parse(text)
    except BaasError as error:
        raise type(error)(
            f"`{at}`: {error.message}", reason=error.reason, details={"field": at}
        ) from error


def encode_write_result(result: WriteResult) -> dict[str, Any]:
    """`{"update_time", "transform_results"?}`."""
    tree: dict[str, Any] = {
        "update_time": None
        if result.update_time is None
        else time_text(result.update_time.microseconds)
    }
    if result.transform_results:
        tree["transform_results"] = [
            json_values.encode_value(value) for value in result.transform_results
        ]
    return tree


def decode_precondition(tree: Any, at: str) -> Precondition:
    """`{"exists": bool}` or `{"update_time": "…Z"}`."""
    members = check_object(tree, at, allowed=_PRECONDITION)
    if len(members) > 1:
        raise invalid(at, "may hold `exists` or `update_time`, not both")
    if "exists" in members:
        exists = check_boolean(members["exists"], join(at, "exists"))
        return _MUST_EXIST if exists else _MUST_NOT_EXIST
    if "update_time" in members:
        return Precondition(
            update_time=decode_time(members["update_time"], join(at, "update_time"))
        )
    return NO_PRECONDITION


def decode_time(tree: Any, at: str) -> Timestamp:
    """An RFC 3339 time."""
    text = check_string(tree, at)
    try:
        return Timestamp.parse(text)
    except BaasError as error:
        raise invalid(at, error.message, reason=error.reason) from error


def _decode_write(tree: Any, at: str) -> Write:
    if type(tree) is not dict:
        raise invalid(at, f"must be an object, not {kind_of(tree)}")
    # `delete` is also a member of an update, so the verbs are tried in this order.
    verb = next((name for name in _VERBS if name in tree), None)
    if verb is None:
        raise invalid(
            at, "must have one of `set`, `update`, `create`, `delete`, `verify`, with a path"
        )
    required = () if verb in ("update", "delete") else ("fields",)
    if verb == "verify":
        required = ("precondition",)
    members = check_object(tree, at, allowed=_VERB_MEMBERS[verb], required=required)
    path = decode_document_path(members[verb], join(at, verb))
    if verb == "set":
        return _set(path, members, at)
    if verb == "update":
        return _update(path, members, at)
    if verb == "create":
        return _create(path, members, at)
    precondition = _precondition(members, at, NO_PRECONDITION)
    if verb == "delete":
        return DeleteWrite(path, precondition)
    return VerifyWrite(path, precondition)


def _create(path: DocumentPath, members: dict[str, Any], at: str) -> SetWrite:
    fields = _fields(members, at)
    return SetWrite(
        path,
        fields,
        None,
        _transforms(members, at),
        _MUST_NOT_EXIST,
        fields is members["fields"],
    )


def _set(path: DocumentPath, members: dict[str, Any], at: str) -> SetWrite:
    fields = _fields(members, at)
    mask: tuple[FieldPath, ...] | None = None
    merge = check_boolean(members.get("merge", False), join(at, "merge"))
    if members.get("mask") is not None:
        if merge:
            raise invalid(join(at, "mask"), "excludes `merge`; give one of them")
        mask = decode_field_paths(members["mask"], join(at, "mask"))
        _check_apart(mask, join(at, "mask"))
        _check_covered(fields, mask, join(at, "fields"))
    elif merge:
        mask = tuple(_leaves(fields))
    return SetWrite(
        path,
        fields,
        mask,
        _transforms(members, at),
        _precondition(members, at, NO_PRECONDITION),
        fields is members["fields"],
    )


def _update(path: DocumentPath, members: dict[str, Any], at: str) -> SetWrite:
    place = join(at, "fields")
    tree = members.get("fields", {})
    if type(tree) is not dict:
        raise invalid(place, f"must be an object, not {kind_of(tree)}")
    if len(tree) > _FIELD_PATHS_MAX:
        raise invalid(
            place,
            f"has {len(tree)} field paths; at most {_FIELD_PATHS_MAX} are allowed",
            reason="TooMany",
        )
    mask = [decode_field_path(name, place) for name in tree]
    is_flat = True
    for field, name in zip(mask, tree, strict=True):
        if field.segments != (name,):
            is_flat = False
    if is_flat:
        fields = json_values.decode_fields_tree(tree, place)
    else:
        fields = {}
        for field, (name, value) in zip(mask, tree.items(), strict=True):
            _put(fields, field, json_values.decode_value(value, join(place, name)))
    if "delete" in members:
        mask.extend(decode_field_paths(members["delete"], join(at, "delete")))
    transforms = _transforms(members, at)
    if not mask and not transforms:
        raise invalid(at, "changes nothing; give `fields`, `delete` or `transforms`")
    if len(mask) > 1:
        _check_apart(mask, place)
    precondition = _precondition(members, at, _MUST_EXIST)
    return SetWrite(path, fields, tuple(mask), transforms, precondition, fields is tree)


def _fields(members: dict[str, Any], at: str) -> Fields:
    tree = members["fields"]
    if type(tree) is not dict:
        raise invalid(join(at, "fields"), f"must be an object, not {kind_of(tree)}")
    return json_values.decode_fields_tree(tree, join(at, "fields"))


def _precondition(members: dict[str, Any], at: str, default: Precondition) -> Precondition:
    tree = members.get("precondition")
    return default if tree is None else decode_precondition(tree, join(at, "precondition"))


def _put(fields: Fields, path: FieldPath, value: Value) -> None:
    inner = fields
    for segment in path.segments[:-1]:
        below = inner.setdefault(segment, {})
        # Overlapping paths end here; _check_apart names them.
        if not isinstance(below, dict):
            return
        inner = below
    inner[path.segments[-1]] = value


def _leaves(fields: Fields, prefix: tuple[str, ...] = ()) -> Sequence[FieldPath]:
    """The paths that a merge writes: every value that is no map, and every empty map."""
    found: list[FieldPath] = []
    for name, value in fields.items():
        if isinstance(value, dict) and value:
            found.extend(_leaves(value, (*prefix, name)))
        else:
            found.append(FieldPath((*prefix, name)))
    return found


def _check_apart(paths: Sequence[FieldPath], at: str) -> None:
    """No path may be another one or lie within it: which of them wins would be chance."""
    ordered = sorted(paths, key=lambda path: path.segments)
    for before, after in pairwise(ordered):
        if after.segments[: len(before.segments)] == before.segments:
            raise invalid(at, f"names both `{before}` and `{after}`, which overlap")


def _check_covered(fields: Fields, mask: Sequence[FieldPath], at: str) -> None:
    """With a mask, fields outside of it would be silently lost."""
    covered = {path.segments for path in mask}
    for leaf in _leaves(fields):
        segments = leaf.segments
        if not any(segments[:length] in covered for length in range(1, len(segments) + 1)):
            raise invalid(at, f"holds `{leaf}`, which `mask` does not list")


def _transforms(members: dict[str, Any], at: str) -> tuple[FieldTransform, ...]:
    tree = members.get("transforms")
    if not tree and (tree is None or type(tree) is list):
        return ()
    inner = join(at, "transforms")
    return tuple(
        _transform(item, f"{inner}[{index}]")
        for index, item in enumerate(check_array(tree, inner, maximum=_TRANSFORMS_MAX))
    )


def _transform(tree: Any, at: str) -> FieldTransform:
    members = check_object(tree, at, allowed=_TRANSFORM_MEMBERS, required=("field",))
    kinds = [name for name in _TRANSFORMS if name in members]
    if len(kinds) != 1:
        raise invalid(at, "must have exactly one of " + ", ".join(f"`{n}`" for n in _TRANSFORMS))
    field = decode_field_path(members["field"], join(at, "field"))
    return FieldTransform(field, _operation(kinds[0], members[kinds[0]], join(at, kinds[0])))


def _operation(kind: str, tree: Any, at: str) -> Transform:
    if kind == "server_time":
        if tree is not True:
            raise invalid(at, "must be true")
        return ServerTimestamp()
    if kind in ("array_union", "array_remove"):
        values = tuple(
            json_values.decode_value(value, f"{at}[{index}]")
            for index, value in enumerate(check_array(tree, at))
        )
        return ArrayUnion(values) if kind == "array_union" else ArrayRemove(values)
    operand = json_values.decode_value(tree, at)
    if isinstance(operand, bool) or not isinstance(operand, int | float):
        raise invalid(at, f"must be a number, not {kind_of(tree)}")
    if kind == "increment":
        return Increment(operand)
    return Maximum(operand) if kind == "maximum" else Minimum(operand)
