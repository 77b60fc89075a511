"""Writes: what `set`, `create`, `update` and `delete` put into a commit. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, TypeAlias

from baas_sdk._paths import DatabaseName, FieldPath
from baas_sdk._transforms import DELETE_FIELD, Transform
from baas_sdk._values import (
    VALUE_DEPTH_MAX,
    Tree,
    check_key,
    encode_value,
    escape_key,
    format_time,
    parse_time,
)
from baas_sdk.errors import InvalidArgument, InvalidValue

# Mappings are invariant in their keys, so each kind that callers have is named.
Updates: TypeAlias = Mapping[str, Any] | Mapping[FieldPath, Any] | Mapping[str | FieldPath, Any]


@dataclass(frozen=True, slots=True)
class WriteOption:
    """A condition on the document as it is before the write; made by `client.write_option`."""

    exists: bool | None = None
    last_update_time: str | None = None

    def encode(self) -> dict[str, Tree]:
        """The write's `precondition`."""
        if self.exists is not None:
            return {"exists": self.exists}
        return {"update_time": self.last_update_time}


def write_option(
    *, exists: bool | None = None, last_update_time: datetime | str | None = None
) -> WriteOption:
    """Raises InvalidArgument unless exactly one condition is given."""
    if (exists is None) == (last_update_time is None):
        raise InvalidArgument("give exactly one of `exists` and `last_update_time`")
    if isinstance(last_update_time, datetime):
        if last_update_time.utcoffset() is None:
            raise InvalidValue("`last_update_time` has no time zone; pass a snapshot's update_time")
        last_update_time = format_time(last_update_time)
    if exists is not None and not isinstance(exists, bool):
        raise InvalidArgument(f"`exists` is True or False, not `{exists!r}`")
    return WriteOption(exists, last_update_time)


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What one write did. `update_time` is None for a delete, and the old time if nothing changed.
    `transform_results` has one value per transform, in the order of the fields; None for arrays."""

    update_time: datetime | None
    transform_results: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What a commit did: all of its writes at one time, or none."""

    commit_time: datetime
    write_results: tuple[WriteResult, ...]


def set_write(
    home: DatabaseName,
    path: str,
    data: Mapping[str, Any],
    merge: bool | Iterable[str | FieldPath] = False,
) -> dict[str, Tree]:
    """Replaces the document; with `merge` writes the given fields (True) or the listed ones
    only."""
    if isinstance(merge, bool):
        extract = _Extract(home, wants_leaves=merge)
        fields = extract.walk(_check_data(data), ())
        write: dict[str, Tree] = {"set": path, "fields": fields}
        if merge:
            write["mask"] = [str(leaf) for leaf in extract.leaves + extract.deletes]
        elif extract.deletes:
            raise InvalidValue(
                f"`{extract.deletes[0]}`: DELETE_FIELD needs `merge`, or use update()",
                details={"field": str(extract.deletes[0])},
            )
    else:
        chosen = _check_merge_paths(merge)
        extract = _Extract(home, wants_leaves=True)
        fields = extract.walk(_only(_check_data(data), chosen), ())
        _check_deletes_named(extract.deletes, chosen)
        transformed = {field for field, _ in extract.transforms}
        write = {"set": path, "fields": fields}
        write["mask"] = [str(field) for field in chosen if field not in transformed]
    return _with_transforms(write, extract)


def create_write(home: DatabaseName, path: str, data: Mapping[str, Any]) -> dict[str, Tree]:
    """Writes a document that must not exist."""
    extract = _Extract(home)
    fields = extract.walk(_check_data(data), ())
    if extract.deletes:
        raise InvalidValue(
            f"`{extract.deletes[0]}`: DELETE_FIELD has no meaning in a new document",
            details={"field": str(extract.deletes[0])},
        )
    return _with_transforms({"create": path, "fields": fields}, extract)


def update_write(
    home: DatabaseName,
    path: str,
    updates: Updates,
    option: WriteOption | None = None,
) -> dict[str, Tree]:
    """Changes the named fields of a document that must exist; keys are field paths."""
    if not isinstance(updates, Mapping):
        raise InvalidValue(f"update() takes a dict of field paths, not `{updates!r}`")
    if not updates:
        raise InvalidArgument("update() needs at least one field")
    named = {FieldPath.parse(key): value for key, value in updates.items()}
    if len(named) < len(updates):
        raise InvalidArgument("update() names a field twice, in two spellings")
    _check_apart(list(named), "update()")
    extract = _Extract(home)
    fields: dict[str, Tree] = {}
    for field, value in named.items():
        _update_one(extract, fields, field, value)
    write: dict[str, Tree] = {"update": path, "fields": fields}
    if extract.deletes:
        write["delete"] = [str(field) for field in extract.deletes]
    if option is not None:
        write["precondition"] = _check_option(option).encode()
    return _with_transforms(write, extract)


def delete_write(path: str, option: WriteOption | None = None) -> dict[str, Tree]:
    """Deletes the document; one that does not exist is no error unless the option says so."""
    write: dict[str, Tree] = {"delete": path}
    if option is not None:
        write["precondition"] = _check_option(option).encode()
    return write


def parse_commit(answer: Mapping[str, Any], decode: Any) -> CommitResult:
    """The answer of a commit. `decode` makes a Python value of a transform's result."""
    results = tuple(parse_write_result(item, decode) for item in answer["write_results"])
    return CommitResult(parse_time(answer["commit_time"]), results)


def parse_write_result(item: Mapping[str, Any], decode: Any) -> WriteResult:
    """What one write did."""
    time = item["update_time"]
    return WriteResult(
        None if time is None else parse_time(time),
        tuple(decode(value) for value in item.get("transform_results") or ()),
    )


class _Extract:
    """One walk over a write's data: plain values to JSON, the sentinels set aside."""

    def __init__(self, home: DatabaseName, *, wants_leaves: bool = False) -> None:
        self.home = home
        self.wants_leaves = wants_leaves
        self.leaves: list[FieldPath] = []
        self.deletes: list[FieldPath] = []
        self.transforms: list[tuple[FieldPath, dict[str, Tree]]] = []

    def walk(self, data: Mapping[Any, Any], at: tuple[str, ...]) -> dict[str, Tree]:
        """The map without its sentinels, and without maps that held nothing else."""
        if len(at) >= VALUE_DEPTH_MAX:
            raise InvalidValue(f"`{FieldPath(*at)}`: maps nest at most {VALUE_DEPTH_MAX} deep")
        fields: dict[str, Tree] = {}
        for key, value in data.items():
            here = (*at, check_key(key, at))
            if isinstance(value, Transform):
                self.transforms.append((FieldPath(*here), value.encode(self.home, here)))
            elif value is DELETE_FIELD:
                self.deletes.append(FieldPath(*here))
            elif isinstance(value, Mapping) and value:
                inner = self.walk(value, here)
                if inner:
                    fields[escape_key(key)] = inner
            else:
                fields[escape_key(key)] = encode_value(value, self.home, here)
                if self.wants_leaves:
                    self.leaves.append(FieldPath(*here))
        return fields


def _update_one(
    extract: _Extract, fields: dict[str, Tree], field: FieldPath, value: object
) -> None:
    if isinstance(value, Transform):
        extract.transforms.append((field, value.encode(extract.home, field.parts)))
    elif value is DELETE_FIELD:
        extract.deletes.append(field)
    elif isinstance(value, Mapping):
        before = len(extract.deletes)
        # A map of which only transforms remain still replaces what was there: by an empty one.
        fields[str(field)] = extract.walk(value, field.parts)
        if len(extract.deletes) > before:
            raise InvalidValue(
                f"`{extract.deletes[-1]}`: in update() DELETE_FIELD stands at a key of its own,"
                f' such as {{"{extract.deletes[-1]}": DELETE_FIELD}}',
                details={"field": str(extract.deletes[-1])},
            )
    else:
        fields[str(field)] = encode_value(value, extract.home, field.parts)


def _with_transforms(write: dict[str, Tree], extract: _Extract) -> dict[str, Tree]:
    if extract.transforms:
        write["transforms"] = [
            {"field": str(field), **operation} for field, operation in extract.transforms
        ]
    return write


def _check_data(data: object) -> Mapping[Any, Any]:
    if not isinstance(data, Mapping):
        raise InvalidValue(f"a document's data is a dict, not `{data!r}`")
    return data


def _check_option(option: object) -> WriteOption:
    if not isinstance(option, WriteOption):
        raise InvalidArgument(f"an option is made by client.write_option(…), not `{option!r}`")
    return option


def _check_merge_paths(merge: Iterable[str | FieldPath]) -> list[FieldPath]:
    if isinstance(merge, str | FieldPath):
        raise InvalidArgument(f"`merge` is True, False or a list of field paths, not `{merge!r}`")
    paths = [FieldPath.parse(path) for path in merge]
    if not paths:
        raise InvalidArgument("`merge` lists no field; give at least one, or True for all")
    _check_apart(paths, "`merge`")
    return paths


def _check_apart(paths: Sequence[FieldPath], where: str) -> None:
    ordered = sorted(paths, key=lambda path: path.parts)
    for before, after in pairwise(ordered):
        if before.is_prefix_of(after):
            raise InvalidArgument(f"{where} names both `{before}` and `{after}`, which overlap")


def _check_deletes_named(deletes: Sequence[FieldPath], chosen: Sequence[FieldPath]) -> None:
    for field in deletes:
        if field not in chosen:
            raise InvalidValue(
                f"`{field}`: DELETE_FIELD must be listed in `merge` by its own path",
                details={"field": str(field)},
            )


def _only(data: Mapping[Any, Any], chosen: Sequence[FieldPath]) -> dict[str, Any]:
    """The part of the data that the paths name. Raises InvalidArgument for a path that is not
    there."""
    kept: dict[str, Any] = {}
    for field in chosen:
        source: Any = data
        target = kept
        for depth, part in enumerate(field.parts):
            if not isinstance(source, Mapping) or part not in source:
                raise InvalidArgument(f"`merge` lists `{field}`, which the data does not hold")
            source = source[part]
            if depth < len(field.parts) - 1:
                target = target.setdefault(part, {})
        target[field.parts[-1]] = source
    return kept
