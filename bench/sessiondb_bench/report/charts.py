"""What a picture shows, before it is drawn: panels of rows (one value axis) or of lines (two axes).

A panel holds one guarantee only: what survives a power cut is never ranked with what does not. A picture may hold
several panels, each with its own axis.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar

from ..results import Kind
from .choosing import Series

__all__ = [
    "PART_ROWS",
    "Axis",
    "Chart",
    "Line",
    "LinesPanel",
    "Row",
    "RowsPanel",
    "Sheet",
    "Table",
    "Unit",
    "in_parts",
]

_T = TypeVar("_T")
Unit = Literal["time", "bytes", "count", "ratio"]
PART_ROWS = 40


@dataclass(frozen=True)
class Sheet:
    """What the charts of one run share.

    Attributes:
        footing: run and machine, in small letters inside each picture.
        numbers: of each series, the same in all pictures.
        taken: names of pictures and anchors so far.
        rows: most rows or lines in one picture; a file with more has the rest in its tables.
    """

    footing: str
    numbers: dict[Series, int]
    taken: set[str]
    rows: int = 120

    def name(self, words: str) -> str:
        """A name for files and anchors that is not taken yet."""
        base = re.sub(r"[^a-z0-9]+", "-", words.casefold()).strip("-")[:48].strip("-") or "chart"
        name, number = base, 1
        while name in self.taken:
            number += 1
            name = f"{base}-{number}"
        self.taken.add(name)
        return name


@dataclass(frozen=True)
class Table:
    """A table; the columns from number `numbers` on are numbers, and stand to the right."""

    caption: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Axis:
    """An axis; a linear one begins at zero, a logarithmic one says so in its label."""

    label: str
    unit: Unit
    log: bool


@dataclass(frozen=True)
class Row:
    """One store: its name, its marks on the value axis, and the same values as text.

    Attributes:
        marks: values by the name of the mark: ``median``, ``p99``, ``max``, ``ratio``.
        histogram: upper bound and count; drawn as a hump.
        columns: texts to the right.
        heading: stands above the first row of its group.
    """

    label: str
    kind: Kind
    marks: dict[str, float]
    histogram: tuple[tuple[float, int], ...] = ()
    columns: tuple[str, ...] = ()
    heading: str = ""


@dataclass(frozen=True)
class RowsPanel:
    """Rows under one heading, with a line at `reference` where there is one."""

    title: str
    rows: tuple[Row, ...]
    axis: Axis
    column_heads: tuple[str, ...] = ()
    reference: float | None = None


@dataclass(frozen=True)
class Line:
    """One store along an axis.

    Attributes:
        style: number of the store in the whole report, so that it looks the same everywhere.
        points: x and y, ascending; ``None`` for y where nothing was measured.
    """

    label: str
    kind: Kind
    style: int
    points: tuple[tuple[float, float | None], ...]


@dataclass(frozen=True)
class LinesPanel:
    """Lines under one heading.

    Attributes:
        ticks: names of x = 0, 1, 2 … instead of numbers.
        breaks: between which x something else changed: a dotted line.
        top, bottom: range of y, equal for panels that continue each other.
    """

    title: str
    lines: tuple[Line, ...]
    x: Axis
    y: Axis
    bottom: float
    top: float
    ticks: tuple[str, ...] = ()
    breaks: tuple[float, ...] = ()
    reference: float | None = None


@dataclass(frozen=True)
class Chart:
    """One picture.

    Attributes:
        name: of its files; letters, digits and hyphens.
        subtitle: settings and run, inside the picture, so that it can stand alone.
        alt: what it shows, for those who do not see it.
        caption: how to read it.
    """

    name: str
    title: str
    subtitle: str
    alt: str
    caption: str
    panels: tuple[RowsPanel, ...] | tuple[LinesPanel, ...]
    left_out: int = 0

    @property
    def told(self) -> str:
        """The caption, and what found no room."""
        return f"{self.caption} {self.left_out:,} more: in the tables only." if self.left_out else self.caption


def in_parts(items: Iterable[_T], most: int) -> list[list[_T]]:
    """Pieces of nearly equal length, none longer than `most`."""
    every = list(items)
    pieces = -(-len(every) // most) or 1
    bounds = [round(number * len(every) / pieces) for number in range(pieces + 1)]
    return [every[start:stop] for start, stop in pairwise(bounds)]
