"""Says at the end what was held out, as tests tell it by `record_property("summary", …)`, and with
which seeds."""

from __future__ import annotations

import pytest

from tests.faults.seeds import IS_LONG, SEED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = [one for one in terminalreporter.getreports("passed") if one.when == "call"]
    told = [
        str(value)
        for report in passed
        for name, value in report.user_properties
        if name == "summary"
    ]
    if IS_LONG:  # a run that held says what it was, too
        for report in passed:
            seeds = [line for line in report.capstdout.splitlines() if line.startswith(SEED)]
            told += [f"{report.nodeid}: {line.partition(':')[0]}" for line in seeds]
    if told:
        terminalreporter.section("faults")
        for line in told:
            terminalreporter.line(line)
