"""Reads docker-compose.yml: as much of its language as the file uses, and nothing silently left
out. Raises ComposeError for the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_KNOWN = {
    "build", "cap_drop", "command", "depends_on", "entrypoint", "environment", "healthcheck",
    "image", "init", "networks", "ports", "read_only", "restart", "security_opt",
    "stop_grace_period", "tmpfs", "volumes",
}  # fmt: skip
_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Z0-9_]+)(?:(?P<kind>:[-?])(?P<rest>[^}]*))?\})"
)
_PUBLISHED = re.compile(r"(?:(?P<host>[\d.]+):)?(?P<outer>\d+):(?P<inner>\d+)")


class ComposeError(Exception):
    """The file is not as it must be; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Service:
    """One container of the file. `folders` and `files` are paths within it: what is mounted there
    is writable, or is the given file of the repository."""

    name: str
    image: str
    build: str | None
    entrypoint: tuple[str, ...] | None
    command: tuple[str, ...]
    environment: Mapping[str, str]
    ports: Mapping[int, int]  # within -> on the host
    volumes: Mapping[str, str]  # path within -> name of the volume
    tmpfs: tuple[str, ...]
    files: Mapping[str, str]  # path within -> path in the repository
    healthcheck: tuple[str, ...] | None
    needs: Mapping[str, str]
    networks: tuple[str, ...]
    read_only: bool

    @property
    def folders(self) -> tuple[str, ...]:
        return (*self.volumes, *self.tmpfs)


def load_compose(file: Path, variables: Mapping[str, str]) -> dict[str, Service]:
    """The services by name, in an order in which each comes after those that it needs."""
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ComposeError(f"`{file}` is not valid YAML: {error}") from error
    services = {
        name: _service(name, _filled_in(body, variables, f"services.{name}"))
        for name, body in tree["services"].items()
    }
    declared = set(tree.get("volumes") or ())
    for service in services.values():
        for wanted, known, kind in (
            (service.volumes.values(), declared, "volume"),
            (service.networks, set(tree.get("networks") or ()), "network"),
            (service.needs, set(services), "service"),
        ):
            for stranger in set(wanted) - known:
                raise ComposeError(f"`{service.name}` names the {kind} `{stranger}`: there is none")
    return _in_order(services)


def variables_in(file: Path) -> set[str]:
    """The names of all variables that the file takes from its environment."""
    return {found["name"] for found in _VARIABLE.finditer(_without_comments(file)) if found["name"]}


def _without_comments(file: Path) -> str:
    lines = file.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))


def _service(name: str, body: Mapping[str, Any]) -> Service:
    for key in body.keys() - _KNOWN:
        raise ComposeError(f"`services.{name}.{key}` is not known to `make cluster`")
    volumes: dict[str, str] = {}
    files: dict[str, str] = {}
    for text in body.get("volumes", ()):
        source, _, target = text.removesuffix(":ro").partition(":")
        (files if source.startswith("./") else volumes)[target] = source
    healthcheck = body.get("healthcheck")
    return Service(
        name=name,
        image=body["image"],
        build=body.get("build"),
        entrypoint=_words(name, "entrypoint", body["entrypoint"]) if "entrypoint" in body else None,
        command=_words(name, "command", body.get("command", ())),
        environment={key: str(value) for key, value in body.get("environment", {}).items()},
        ports=dict(_published(name, text) for text in body.get("ports", ())),
        volumes=volumes,
        tmpfs=tuple(text.partition(":")[0] for text in body.get("tmpfs", ())),
        files=files,
        healthcheck=_health_command(name, healthcheck) if healthcheck else None,
        needs={key: value["condition"] for key, value in body.get("depends_on", {}).items()},
        networks=tuple(body.get("networks", ())),
        read_only=bool(body.get("read_only", False)),
    )


def _words(name: str, key: str, value: Any) -> tuple[str, ...]:
    """A command as a list: a text would be split by a shell, each by its own rules."""
    if isinstance(value, str) or not all(isinstance(word, str) for word in value):
        raise ComposeError(f"`services.{name}.{key}` has to be a list of texts")
    return tuple(value)


def _health_command(name: str, body: Mapping[str, Any]) -> tuple[str, ...]:
    first, *rest = _words(name, "healthcheck.test", body["test"])
    if first != "CMD":
        raise ComposeError(f"`services.{name}.healthcheck.test` has to begin with CMD")
    return tuple(rest)


def _published(name: str, text: str) -> tuple[int, int]:
    found = _PUBLISHED.fullmatch(text)
    if found is None:
        raise ComposeError(f"`services.{name}.ports` has `{text}`; it takes address:outer:inner")
    return int(found["inner"]), int(found["outer"])


def _filled_in(value: Any, variables: Mapping[str, str], place: str) -> Any:
    """The value with its `${…}` replaced, as docker compose does it."""
    if isinstance(value, dict):
        return {key: _filled_in(item, variables, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_filled_in(item, variables, place) for item in value]
    if not isinstance(value, str):
        return value

    def replace(found: re.Match[str]) -> str:
        if found["dollar"]:
            return "$"
        given = variables.get(found["name"], "")
        if given:
            return given
        if found["kind"] == ":-":
            return str(found["rest"])
        raise ComposeError(
            f"`{place}`: the variable {found['name']} {found['rest'] or 'is missing'}"
        )

    return _VARIABLE.sub(replace, value)


def _in_order(services: Mapping[str, Service]) -> dict[str, Service]:
    ordered: dict[str, Service] = {}

    def add(name: str, path: Sequence[str]) -> None:
        if name in path:
            raise ComposeError(
                f"services need each other in a circle: {' -> '.join((*path, name))}"
            )
        for needed in services[name].needs:
            add(needed, (*path, name))
        ordered.setdefault(name, services[name])

    for name in services:
        add(name, ())
    return ordered
