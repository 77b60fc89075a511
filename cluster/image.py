"""Reads the Dockerfile: what `make cluster` and the tests need to know of it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction of one stage. `stage` is the name, or "" for the last one."""

    stage: str
    word: str
    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """What a container of the last stage starts with."""

    steps: tuple[Step, ...]
    settings: Mapping[str, str]  # BAAS_… of its environment
    healthcheck: tuple[str, ...]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    user: str
    port: int


def read_image(file: Path) -> Image:
    steps = tuple(_steps(file.read_text(encoding="utf-8")))
    last = {step.word: step.text for step in steps if step.stage == ""}
    variables = dict(word.split("=", 1) for word in shlex.split(last["ENV"]))
    return Image(
        steps=steps,
        settings={name: text for name, text in variables.items() if name.startswith("BAAS_")},
        healthcheck=_json_words(last["HEALTHCHECK"].partition(" CMD ")[2]),
        entrypoint=_json_words(last["ENTRYPOINT"]),
        command=_json_words(last["CMD"]),
        user=last["USER"],
        port=int(last["EXPOSE"]),
    )


def _steps(text: str) -> list[Step]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    stage = ""
    steps: list[Step] = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stage = rest.partition(" AS ")[2]
        steps.append(Step(stage, word, rest.strip()))
    return steps


def _json_words(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))
