"""Says at the end what was held out, as tests tell it by `record_property("summary", …)`."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    told = [
        str(value)
        for report in terminalreporter.getreports("passed")
        if report.when == "call"
        for name, value in report.user_properties
        if name == "summary"
    ]
    if told:
        terminalreporter.section("faults")
        for line in told:
            terminalreporter.line(line)
