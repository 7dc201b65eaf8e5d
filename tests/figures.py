"""What long tests have counted, printed at the end of the run: with several workers a test's own output is not seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

__all__ = ["Tell"]

Tell = Callable[[str], None]
"""Takes a sentence with figures."""


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """For the summary of the run."""
    return lambda text: record_property("figures", text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    told = [str(text) for report in reports if getattr(report, "when", "") == "call"
            for name, text in report.user_properties if name == "figures"]  # fmt: skip
    if told:
        terminalreporter.section("figures")
        for text in told:
            terminalreporter.write_line(text)
