"""Rows: names to the left, marks on a common axis, the same values as text to the right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from .charts import Chart, Row, RowsPanel
from .lettering import (
    HEADING,
    SMALL,
    TEXT,
    drawable,
    fitted,
    head_height,
    width_of,
    wrapped,
    write,
    write_head,
)
from .palette import GRID, INK, KINDS, MUTED, PAPER
from .scales import said, ticks

__all__ = ["draw_rows"]

WIDTH, MARGIN, GAP = 11.0, 0.25, 0.15
ROW, HEAD_ROW, AXIS, LEGEND = 0.27, 0.26, 0.62, 0.3
LONGEST_NAME = 4.3
_MARKS = {"median": ("o", 5.0), "p99": ("D", 4.0), "max": ("x", 4.5), "ratio": ("o", 5.5)}
_WORDS = {"median": "median", "p99": "p99", "max": "longest", "ratio": "ratio"}
_FINE = 4
"""Buckets of a histogram that make one step of a hump: an eighth of an octave."""


class _Layout(NamedTuple):
    """Of the whole figure, in inches: the panels stand in line."""

    left: float
    right: float
    columns: tuple[float, ...]
    """Right ends of the columns of text."""


def draw_rows(chart: Chart) -> Any:
    """A figure of panels of rows."""
    from matplotlib.figure import Figure

    panels = [panel for panel in chart.panels if isinstance(panel, RowsPanel)]
    layout = _layout(panels)
    room = WIDTH - 2 * MARGIN
    head = head_height(chart.title, chart.subtitle, room) + LEGEND
    figure = Figure(figsize=(WIDTH, head + sum(map(_height, panels)) + 0.1))
    write_head(figure, chart.title, chart.subtitle, MARGIN, room)
    top = figure.get_size_inches()[1] - head
    _legend(figure, panels, top + 0.1)
    for panel in panels:
        _draw_panel(figure, panel, layout, top)
        top -= _height(panel)
    return figure


def _layout(panels: Sequence[RowsPanel]) -> _Layout:
    rows = [row for panel in panels for row in panel.rows]
    names = min(max(width_of(row.label, TEXT) for row in rows), LONGEST_NAME)
    ends, right = [], WIDTH - MARGIN
    for number in reversed(range(max(len(panel.column_heads) for panel in panels))):
        texts = [row.columns[number] for row in rows] + [panel.column_heads[number] for panel in panels]
        ends.append(right)
        right -= max(width_of(text, TEXT) for text in texts) + GAP
    return _Layout(MARGIN + names + GAP, right - 0.05, tuple(reversed(ends)))


def _titles(panel: RowsPanel) -> list[str]:
    return wrapped(panel.title, WIDTH - 2 * MARGIN, HEADING, bold=True)


def _height(panel: RowsPanel) -> float:
    return 0.2 * len(_titles(panel)) + 0.3 + _body(panel) + AXIS


def _body(panel: RowsPanel) -> float:
    return sum(ROW + (HEAD_ROW if has else 0) for has in _has_heading(panel))


def _has_heading(panel: RowsPanel) -> list[bool]:
    before = ["", *(row.heading for row in panel.rows)]
    return [bool(row.heading) and row.heading != last for row, last in zip(panel.rows, before, strict=False)]


def _draw_panel(figure: Any, panel: RowsPanel, layout: _Layout, top: float) -> None:
    y = top - 0.12
    for line in _titles(panel):
        write(figure, MARGIN, y, line, HEADING, bold=True)
        y -= 0.2
    for end, text in zip(layout.columns, panel.column_heads, strict=True):
        write(figure, end, y - 0.08, text, SMALL, colour=MUTED, right=True)
    upper = y - 0.16
    lower = upper - _body(panel)
    axes = _axes(figure, panel, layout, lower, upper)
    y = upper
    for row, has_heading in zip(panel.rows, _has_heading(panel), strict=True):
        if has_heading:
            y -= HEAD_ROW
            write(
                figure,
                MARGIN,
                y + 0.05,
                fitted(row.heading, layout.right - MARGIN, SMALL),
                SMALL,
                colour=MUTED,
                bold=True,
            )
        y -= ROW
        _draw_row(figure, axes, row, layout, y, panel)


def _axes(figure: Any, panel: RowsPanel, layout: _Layout, lower: float, upper: float) -> Any:
    wide, high = figure.get_size_inches()
    place = (layout.left / wide, lower / high, (layout.right - layout.left) / wide, (upper - lower) / high)
    axes = figure.add_axes(place, facecolor="none")
    low, high_value = _range(panel)
    if panel.axis.log:
        axes.set_xscale("log")
    axes.set_xlim(low, high_value)
    axes.set_ylim(lower, upper)
    main, between = ticks(low, high_value, log=panel.axis.log, unit=panel.axis.unit)
    axes.set_xticks(main, [said(value, panel.axis.unit) for value in main], fontsize=SMALL, color=MUTED)
    axes.set_xticks(between, [""] * len(between), minor=True)
    axes.set_yticks([])
    axes.tick_params(axis="x", which="both", color=MUTED, length=3)
    axes.tick_params(axis="x", which="minor", length=2, width=0.5)
    axes.grid(axis="x", which="major", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(MUTED)
    axes.set_xlabel(drawable(panel.axis.label), fontsize=SMALL, color=MUTED, parse_math=False)
    if panel.reference is not None:
        axes.axvline(panel.reference, color=INK, linewidth=1.1, linestyle=(0, (4, 2)), zorder=1.5)
    return axes


def _range(panel: RowsPanel) -> tuple[float, float]:
    values = [value for row in panel.rows for value in row.marks.values()]
    values += [bound for row in panel.rows for bound, count in row.histogram if count]
    values += [] if panel.reference is None else [panel.reference]
    low, high = min(values), max(values)
    if panel.axis.log:
        room = max((high / low) ** 0.04, 1.15)
        return low / room, high * room
    return 0.0, high * 1.06


def _draw_row(figure: Any, axes: Any, row: Row, layout: _Layout, y: float, panel: RowsPanel) -> None:
    colour, base = KINDS[row.kind], y + ROW * 0.3
    name = fitted(row.label, LONGEST_NAME, TEXT)
    write(figure, layout.left - GAP, base, name, TEXT, right=True, middle=True)
    for end, text in zip(layout.columns, row.columns, strict=True):
        write(figure, end, base, text, TEXT, right=True, middle=True)
    if row.histogram:
        _hump(axes, row, base)
    values = list(row.marks.values())
    start = panel.reference if panel.reference is not None else min(values)
    axes.plot([start, max(values) if max(values) > start else min(values)], [base, base], color=colour, linewidth=1.2)
    for name, value in row.marks.items():
        marker, size = _MARKS[name]
        hollow = name == "p99" or row.kind == "floor"
        axes.plot(
            [value], [base], marker=marker, markersize=size, color=colour, markeredgewidth=1.2, zorder=3,
            markerfacecolor=PAPER if hollow else colour, clip_on=False,
        )  # fmt: skip


def _hump(axes: Any, row: Row, base: float) -> None:
    """The histogram in steps, as high as the row has room."""
    steps: dict[int, int] = {}
    for bound, count in row.histogram:
        step = math.ceil(math.log2(bound) * 32 / _FINE - 1e-6)
        steps[step] = steps.get(step, 0) + count
    most = max(steps.values(), default=0)
    if not most:
        return
    xs: list[float] = []
    ys: list[float] = []
    for step in sorted(steps):
        left, right = 2 ** ((step - 1) * _FINE / 32), 2 ** (step * _FINE / 32)
        high = base + ROW * 0.62 * steps[step] / most
        xs += [left, left, right, right]
        ys += [base, high, high, base]
    axes.fill(xs, ys, color=KINDS[row.kind], alpha=0.28, linewidth=0)


def _legend(figure: Any, panels: Sequence[RowsPanel], y: float) -> None:
    """Marks and colours, once for the figure."""
    from matplotlib.lines import Line2D

    wide, high = figure.get_size_inches()
    rows = [row for panel in panels for row in panel.rows]
    handles = []
    for name in dict.fromkeys(name for row in rows for name in row.marks if name != "ratio"):
        marker, size = _MARKS[name]
        face = PAPER if name == "p99" else INK
        handles.append(
            Line2D(
                [],
                [],
                linestyle="",
                marker=marker,
                markersize=size,
                color=INK,
                markerfacecolor=face,
                label=_WORDS[name],
            )
        )
    for kind in ("sessiondb", "peer", "floor"):
        if any(row.kind == kind for row in rows):
            face = PAPER if kind == "floor" else KINDS[kind]
            label = {"sessiondb": "sessiondb", "peer": "another store (peer)", "floor": "floor (hollow)"}[kind]
            handles.append(
                Line2D(
                    [],
                    [],
                    linewidth=1.5,
                    marker="o",
                    markersize=5,
                    color=KINDS[kind],
                    markerfacecolor=face,
                    label=label,
                )
            )
    figure.legend(
        handles=handles, loc="center left", bbox_to_anchor=(MARGIN / wide - 0.01, (y + 0.05) / high), frameon=False,
        ncols=len(handles), fontsize=SMALL, labelcolor=MUTED, handletextpad=0.4, columnspacing=1.4, borderpad=0,
    )  # fmt: skip
