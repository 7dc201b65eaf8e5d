"""Texts in pictures: measured before they are placed, so that nothing lies over something else."""

from __future__ import annotations

import textwrap
from functools import cache
from typing import Any

from .palette import INK, MUTED
from .wording import shortened

__all__ = ["HEADING", "INCH", "SMALL", "TEXT", "TITLE", "fitted", "width_of", "wrapped", "write"]

INCH = 72.0
"""Points."""
TITLE, HEADING, TEXT, SMALL = 13.0, 9.5, 8.5, 7.5
"""Sizes of letters in points."""


@cache
def _font() -> Any:
    from matplotlib.font_manager import findfont, get_font

    return get_font(findfont("DejaVu Sans"))


@cache
def _drawable() -> frozenset[int]:
    return frozenset(_font().get_charmap())


def drawable(text: str) -> str:
    """The text with a sign for each letter that the font does not have."""
    return "".join(
        letter if ord(letter) in _drawable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def width_of(text: str, points: float, *, bold: bool = False) -> float:
    """How wide a line is, in inches; bold letters are at most an eighth wider."""
    font = _font()
    font.set_size(points, 72)
    font.set_text(drawable(text), 0.0)
    return float(font.get_width_height()[0]) / 64 / INCH * (1.13 if bold else 1.0)


def fitted(text: str, inches: float, points: float) -> str:
    """As much of the text as has room, its middle left out."""
    longest = len(text)
    while longest > 4 and width_of(shortened(text, longest), points) > inches:
        longest -= max(1, longest // 40)
    return shortened(text, longest)


def wrapped(text: str, inches: float, points: float, *, bold: bool = False) -> list[str]:
    """Lines that have room; at most four."""
    letters = max(int(len(text) * inches / max(width_of(text, points, bold=bold), 0.01) * 0.97), 20)
    lines = textwrap.wrap(text, letters) or [""]
    return [*lines[:3], shortened(" ".join(lines[3:]), letters)] if len(lines) > 3 else lines


def write(
    figure: Any, x: float, y: float, text: str, points: float, *, colour: str = INK, bold: bool = False,
    right: bool = False, middle: bool = False,
) -> None:  # fmt: skip
    """Put a line into a figure; x and y in inches from its lower left corner."""
    wide, high = figure.get_size_inches()
    figure.text(
        x / wide, y / high, drawable(text), fontsize=points, color=colour, fontweight="bold" if bold else "normal",
        ha="right" if right else "left", va="center_baseline" if middle else "baseline", parse_math=False,
    )  # fmt: skip


def write_head(figure: Any, title: str, subtitle: str, left: float, room: float) -> None:
    """Title and the small lines under it, from the top down."""
    _, high = figure.get_size_inches()
    y = high - 0.32
    for line in wrapped(title, room, TITLE, bold=True):
        write(figure, left, y, line, TITLE, bold=True)
        y -= 0.24
    for line in head_lines(subtitle, room):
        write(figure, left, y, line, SMALL, colour=MUTED)
        y -= 0.15


def head_lines(subtitle: str, room: float) -> list[str]:
    """The small lines."""
    return [line for part in subtitle.splitlines() if part for line in wrapped(part, room, SMALL)]


def head_height(title: str, subtitle: str, room: float) -> float:
    """What `write_head` takes, in inches."""
    return 0.2 + 0.24 * len(wrapped(title, room, TITLE, bold=True)) + 0.15 * len(head_lines(subtitle, room)) + 0.08
