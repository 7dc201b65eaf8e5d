"""Marks on axes: enough of them, in the range, told apart by their words."""

from __future__ import annotations

import pytest

from sessiondb_bench.report.charts import Unit
from sessiondb_bench.report.scales import said, ticks

UNITS: list[Unit] = ["time", "bytes", "count", "ratio"]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("wide", [1.33, 1.9, 3.0, 7.0, 40.0, 900.0, 1e6, 1e13])
def test_a_logarithmic_axis_has_marks_wherever_it_begins(unit: Unit, wide: float) -> None:
    for step in range(0, 200, 9):
        low = (1.0 if unit == "bytes" else 0.01) * 1.11**step
        main, between = ticks(low, low * wide, log=True, unit=unit)
        check(main, low, low * wide, unit)
        assert all(low <= value <= low * wide for value in between)


@pytest.mark.parametrize("unit", UNITS)
def test_a_linear_axis_has_round_marks_from_zero_on(unit: Unit) -> None:
    for step in range(0, 200, 9):
        high = 0.01 * 1.2**step
        main, between = ticks(0.0, high, log=False, unit=unit)
        assert main[0] == 0
        assert between == []
        check(main, 0.0, high, unit)


def test_an_axis_below_zero_has_a_mark_at_zero() -> None:
    assert 0 in ticks(-5.4, 9.0, log=False, unit="bytes")[0]


def check(main: list[float], low: float, high: float, unit: Unit) -> None:
    assert 2 <= len(main) <= 14, (low, high, main)
    assert all(low <= value <= high * (1 + 1e-8) for value in main)
    words = [said(value, unit) for value in main]
    assert len(set(words)) == len(words), (low, high, words)


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [(0, "time", "0"), (100, "time", "100 µs"), (1_000, "time", "1 ms"), (2.5, "time", "2.5 µs"), (5e6, "time", "5 s"),
     (1024, "bytes", "1 KiB"), (1.25, "ratio", "1.25×"), (10, "ratio", "10×"), (20_000, "count", "20,000"),
     (0.2, "count", "0.2")],
)  # fmt: skip
def test_marks_have_words_with_units(value: float, unit: Unit, words: str) -> None:
    assert said(value, unit) == words
