"""Lines over threads, over the size of the store and over runs, with their names beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .charts import Chart, Line, LinesPanel
from .lettering import HEADING, SMALL, TEXT, drawable, fitted, head_height, wrapped, write, write_head
from .palette import DASHES, GRID, INK, MARKERS, MUTED, PAPER, SERIES
from .scales import said, ticks

__all__ = ["draw_lines"]

WIDTH, MARGIN = 11.0, 0.25
LEFT, NAMES = 0.95, 4.1
NAME_ROW, LEAST_BODY, AXIS = 0.22, 2.1, 0.62
MOST_TICKS = 8


def draw_lines(chart: Chart, panels: Sequence[LinesPanel]) -> Any:
    """A figure of panels of lines."""
    from matplotlib.figure import Figure

    room = WIDTH - 2 * MARGIN
    head = head_height(chart.title, chart.subtitle, room) + 0.1
    figure = Figure(figsize=(WIDTH, head + sum(map(_height, panels)) + 0.1))
    write_head(figure, chart.title, chart.subtitle, MARGIN, room)
    top = figure.get_size_inches()[1] - head
    for panel in panels:
        _draw_panel(figure, panel, top)
        top -= _height(panel)
    return figure


def _titles(panel: LinesPanel) -> list[str]:
    return wrapped(panel.title, WIDTH - 2 * MARGIN, HEADING, bold=True)


def _axis(panel: LinesPanel) -> float:
    return AXIS + (0.15 if panel.ticks else 0.0)


def _body(panel: LinesPanel) -> float:
    return max(LEAST_BODY, NAME_ROW * len(panel.lines) + 0.1)


def _height(panel: LinesPanel) -> float:
    return 0.2 * len(_titles(panel)) + 0.15 + _body(panel) + _axis(panel)


def _draw_panel(figure: Any, panel: LinesPanel, top: float) -> None:
    wide, high = figure.get_size_inches()
    y = top - 0.12
    for words in _titles(panel):
        write(figure, MARGIN, y, words, HEADING, bold=True)
        y -= 0.2
    upper = y + 0.05
    lower = upper - _body(panel)
    right = WIDTH - MARGIN - NAMES
    place = (LEFT / wide, lower / high, (right - LEFT) / wide, (upper - lower) / high)
    axes = figure.add_axes(place, facecolor="none")
    _set_x(axes, panel)
    _set_y(axes, panel)
    for number, line in enumerate(panel.lines):
        _draw_line(axes, line, len(panel.lines) - 1 - number)
    for at in panel.breaks:
        axes.axvline(at, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
    if panel.reference is not None:
        axes.axhline(panel.reference, color=INK, linewidth=1.1, linestyle=(0, (4, 2)), zorder=1.5)
    for number, line in enumerate(panel.lines):
        _name(figure, line, len(panel.lines) - 1 - number, right + 0.3, upper - 0.12 - number * NAME_ROW)


def _look(line: Line, above: int) -> dict[str, Any]:
    """Markers are the larger the more lines are drawn above them: where lines lie over each other, all are seen."""
    colour = MUTED if line.kind == "floor" else SERIES[line.style % len(SERIES)]
    dashes = DASHES[line.kind]
    return {
        "color": colour, "marker": MARKERS[line.style % len(MARKERS)], "markersize": 5.0 + 0.5 * above,
        "linewidth": 1.5, "linestyle": (0, dashes) if dashes else "-", "markeredgewidth": 1.1,
        "markerfacecolor": PAPER if line.kind == "floor" else colour,
    }  # fmt: skip


def _draw_line(axes: Any, line: Line, above: int) -> None:
    xs = [x for x, _ in line.points]
    ys = [math.nan if y is None else y for _, y in line.points]
    axes.plot(xs, ys, clip_on=False, zorder=3, **_look(line, above))


def _name(figure: Any, line: Line, above: int, x: float, y: float) -> None:
    """A piece of the line and its name; the order is that of the right ends."""
    from matplotlib.lines import Line2D

    wide, high = figure.get_size_inches()
    piece = Line2D(
        [x / wide, (x + 0.18) / wide, (x + 0.36) / wide], [y / high] * 3, markevery=[1], **_look(line, above)
    )
    piece.set_transform(figure.transFigure)
    figure.add_artist(piece)
    write(figure, x + 0.44, y, fitted(line.label, WIDTH - MARGIN - x - 0.44, TEXT), TEXT, middle=True)


def _set_x(axes: Any, panel: LinesPanel) -> None:
    xs = sorted({x for line in panel.lines for x, _ in line.points})
    if panel.ticks:
        step = math.ceil(len(panel.ticks) / MOST_TICKS)
        numbers = range(len(panel.ticks) - 1, -1, -step)[::-1]
        shown = [float(number) for number in numbers]
        axes.set_xlim(-0.4, len(panel.ticks) - 0.6)
        words = [drawable(panel.ticks[number]) for number in numbers]
    else:
        if panel.x.log:
            axes.set_xscale("log")
            room = (xs[-1] / xs[0]) ** 0.04
            axes.set_xlim(xs[0] / room, xs[-1] * room)
        else:
            axes.set_xlim(0, xs[-1] * 1.04)
        shown = _marked(xs, log=panel.x.log)
        words = [said(x, "count") for x in shown]
    axes.set_xticks(shown, words, fontsize=SMALL, color=MUTED, parse_math=False)
    axes.set_xticks([], minor=True)
    axes.set_xlabel(panel.x.label, fontsize=SMALL, color=MUTED)


def _marked(xs: list[float], *, log: bool) -> list[float]:
    """What was measured, as far as its words have room."""
    low = xs[0] if log else 0.0
    place = [math.log(x / low) if log else x for x in xs]
    least = (place[-1] - (place[0] if log else 0.0)) / 9
    shown = [len(xs) - 1]
    for number in range(len(xs) - 2, -1, -1):
        if place[shown[-1]] - place[number] >= least:
            shown.append(number)
    return [xs[number] for number in reversed(shown)]


def _set_y(axes: Any, panel: LinesPanel) -> None:
    if panel.y.log:
        axes.set_yscale("log")
    axes.set_ylim(panel.bottom, panel.top)
    main, between = ticks(panel.bottom, panel.top, log=panel.y.log, unit=panel.y.unit)
    axes.set_yticks(main, [said(value, panel.y.unit) for value in main], fontsize=SMALL, color=MUTED)
    axes.set_yticks(between, [""] * len(between), minor=True)
    axes.tick_params(axis="both", which="both", color=MUTED, length=3)
    axes.tick_params(axis="y", which="minor", length=2, width=0.5)
    axes.grid(axis="y", which="major", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("bottom", "left"))
        spine.set_color(MUTED)
    axes.set_ylabel(drawable(panel.y.label), fontsize=SMALL, color=MUTED, parse_math=False)
