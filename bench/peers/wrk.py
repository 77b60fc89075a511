"""Runs wrk with requests that are described to it in a file."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bench.peers.loads import AUTHOR, BOUND_MAX, BOUND_MIN, DOCUMENT_ID, Call

SCRIPT = Path(__file__).parent / "wrk" / "load.lua"
_TOKEN = re.compile(r"\{(n|id|any|author|bound)\}")


@dataclass(frozen=True)
class Said:
    """What wrk says of one run. `answers` counts refused ones (status 400 and above) too; `broken`
    are connections that failed, and requests that took over 30 s."""

    answers: int
    bytes: int
    seconds: float
    refused: int
    broken: int
    p50_ms: float
    p99_ms: float

    @property
    def good(self) -> int:
        return self.answers - self.refused


class Wrk(AbstractContextManager["Wrk"]):
    """One run of wrk, begun with the block; `wait` gives what it says. It ends by itself after
    `seconds`, or when the request with the number `last` was sent; at the latest with the block."""

    def __init__(
        self,
        url: str,
        calls: Sequence[Call],
        *,
        connections: int,
        seconds: float,
        count: int = 1,
        first: int = 0,
        last: int = 0,
        rate: float = 0,
    ) -> None:
        program = shutil.which("wrk")
        if program is None:
            raise RuntimeError("`wrk` is missing: install the package `wrk`, then run again")
        self._folder = tempfile.TemporaryDirectory(prefix="baas-wrk-")
        described = Path(self._folder.name, "load.lua")
        text = _describe(calls, count=count, first=first, last=last, rate=rate)
        described.write_text(text, encoding="utf-8")
        self._command = [program, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
        self._command += ["--latency", "--timeout", "30s", "-s", str(SCRIPT), url, "--"]
        self._command.append(str(described))

    def __enter__(self) -> Wrk:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
        self._folder.cleanup()

    def wait(self) -> Said:
        """Raises RuntimeError if wrk says nothing."""
        output, errors = self._process.communicate()
        line = next((text for text in output.splitlines() if text.startswith("JSON ")), None)
        if line is None:
            raise RuntimeError(f"wrk said nothing: {output}{errors}")
        return Said(**json.loads(line[5:]))


def fill(template: str, number: int, count: int) -> str:
    """A template as the script would send it."""
    document = DOCUMENT_ID % (number % count)
    values = {"n": str(number), "author": AUTHOR % number, "bound": str(BOUND_MAX // 2)}
    return _TOKEN.sub(lambda match: values.get(match[1], document), template)


def _describe(calls: Sequence[Call], *, count: int, first: int, last: int, rate: float) -> str:
    requests = ",\n".join(_request(call) for call in calls)
    return (
        f"return {{id={_quoted(DOCUMENT_ID)}, count={count}, first={first}, last={last},"
        f" rate={rate}, seed={time.time_ns() % 2**31}, author={_quoted(AUTHOR)},"
        f" bounds={{{BOUND_MIN}, {BOUND_MAX}}}, requests={{\n{requests}}}}}\n"
    )


def _request(call: Call) -> str:
    headers = ", ".join(
        f"[{_quoted(name)}]={_quoted(value)}" for name, value in call.headers.items()
    )
    body = "false" if call.body is None else _pieces(call.body)
    is_fixed = not any(_TOKEN.search(text) for text in (call.path, call.body or ""))
    return (
        f"{{method={_quoted(call.method)}, path={_pieces(call.path)}, headers={{{headers}}},"
        f" body={body}, fixed={'true' if is_fixed else 'false'}}}"
    )


def _pieces(template: str) -> str:
    pieces = []
    for place, text in enumerate(_TOKEN.split(template)):
        if place % 2:
            pieces.append(f"{{{_quoted(text)}}}")
        elif text:
            pieces.append(f'{{"text", {_quoted(text)}}}')
    return "{" + ", ".join(pieces) + "}"


def _quoted(text: str) -> str:
    """A string of Lua, byte by byte where it is not plain."""
    out = [
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03d}"
        for byte in text.encode()
    ]
    return '"' + "".join(out) + '"'
