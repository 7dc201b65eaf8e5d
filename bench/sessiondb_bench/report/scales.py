"""Where an axis is marked, and with which words."""

from __future__ import annotations

import math

from .charts import Unit
from .wording import amount, duration, ratio, size

__all__ = ["said", "ticks", "ticks_between"]

_LINEAR = (1, 2, 2.5, 5, 10)
_HALVES = tuple(number / 2 for number in range(2, 20))
_BINARY = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def said(value: float, unit: Unit) -> str:
    """A mark on an axis; times get microseconds, milliseconds or seconds."""
    if value == 0:
        return "0"
    if unit == "time":
        number, _, word = duration(value).partition(" ")
        return f"{_bare(number)} {word}"
    if unit == "bytes":
        number, _, word = size(value).partition(" ")
        return f"{_bare(number)} {word}"
    if unit == "ratio":
        return f"{_bare(ratio(value)[:-1])}×"
    return f"{value:,.0f}" if abs(value) >= 1 and value == int(value) else _bare(amount(value))


def _bare(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number


def ticks(low: float, high: float, *, log: bool, unit: Unit) -> tuple[list[float], list[float]]:
    """Marks with words, and those between them without."""
    if not log:
        return _linear(low, high, unit), []
    if unit == "bytes":
        main = _powers(low, high, 2.0, (1,))
        return main if len(main) > 1 else _linear(low, high, unit), []
    decades = math.log10(high / low)
    digits = (1,) if decades > 2.6 else (1, 2, 5) if decades > 0.9 else _HALVES
    main = _powers(low, high, 10.0, digits)
    if len(main) < 2:
        return _linear(low, high, unit), ticks_between(low, high)
    return main[:: math.ceil(len(main) / 9)], ticks_between(low, high)


def ticks_between(low: float, high: float) -> list[float]:
    """1 to 9 of each decade, which shows that the axis is logarithmic."""
    return _powers(low, high, 10.0, tuple(range(1, 10)))


def _powers(low: float, high: float, base: float, digits: tuple[float, ...]) -> list[float]:
    first, last = math.floor(math.log(low, base)), math.ceil(math.log(high, base))
    every = [digit * base**power for power in range(first, last + 1) for digit in digits]
    inside = [value for value in every if low <= value <= high]
    return inside[:: max(math.ceil(len(inside) / 9), 1)] if base == 2.0 else inside


def _linear(low: float, high: float, unit: Unit) -> list[float]:
    """Round steps from zero on, four to seven of them."""
    span = high - low
    steps = _BINARY if unit == "bytes" else _LINEAR
    base = 1024.0 if unit == "bytes" else 10.0
    power = base ** math.floor(math.log(span / 4, base))
    step = next((power * digit for digit in steps if span / (power * digit) <= 6), power * base)
    return [step * number for number in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)]
