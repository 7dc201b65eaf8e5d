"""Charts of lines: over threads, and over the size of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from ..results import Measurement
from .charts import Axis, Chart, Line, LinesPanel, Sheet, Unit, in_parts
from .choosing import Series, by_guarantee, by_operation, is_timed, series
from .wording import amount, count_of, duration, listing, plain, rate, series_name, size, survives

__all__ = [
    "PER_COMMIT",
    "TELLING_BYTES",
    "Course",
    "Figure",
    "count_charts",
    "line_chart",
    "size_charts",
    "thread_charts",
]

MOST_LINES = 8
PER_COMMIT = "syncs_per_commit"
TELLING_BYTES = ("resident_bytes", "disk_bytes", "memtable_bytes", "open_bytes", "closed_bytes", "peak_bytes")
"""Counts that are drawn over the size of the store; the others are in the tables."""
Along = Literal["threads", "records"]
_ALONG: dict[Along, str] = {"threads": "threads", "records": "records in the store"}


class Figure(NamedTuple):
    """What is drawn along the axis: its value, the label of its axis, and how it is said."""

    value: Callable[[Measurement], float | None]
    label: str
    unit: Unit
    say: Callable[[float], str]


class Course(NamedTuple):
    """A series, its name, and its points."""

    one: Measurement
    label: str
    points: tuple[tuple[float, float | None], ...]


def thread_charts(measurements: Sequence[Measurement], sheet: Sheet) -> list[Chart]:
    """Throughput of each operation that was measured with several numbers of threads."""
    charts = []
    for operation, group in by_operation(measurements).items():
        for unit in dict.fromkeys(plain(one.unit) for one in group):
            figure = Figure(lambda one: one.per_second or None, f"{unit} per second", "count", _rates(unit))
            courses = _courses([one for one in group if plain(one.unit) == unit], "threads", figure)
            told = "All threads together."
            charts += _over(courses, "threads", figure, f"Throughput of {operation} over threads", told, sheet)
    return charts


def _rates(unit: str) -> Callable[[float], str]:
    return lambda value: rate(value, unit)


def size_charts(measurements: Sequence[Measurement], sheet: Sheet) -> list[Chart]:
    """Median latency of each operation that was measured in stores of several sizes."""
    figure = Figure(lambda one: one.median_us, "median latency", "time", duration)
    charts = []
    for operation, group in by_operation(filter(is_timed, measurements)).items():
        courses = _courses(group, "records", figure)
        charts += _over(courses, "records", figure, f"Latency of {operation} over store size", "", sheet)
    return charts


def count_charts(measurements: Sequence[Measurement], sheet: Sheet) -> list[Chart]:
    """Bytes over the size of the store, and syncs of each commit over threads."""
    charts = []
    for operation, group in by_operation(measurements).items():
        for name in TELLING_BYTES:
            label = name.replace("_", " ")
            figure = Figure(_count(name), label, "bytes", size)
            courses = _courses(group, "records", figure)
            charts += _over(courses, "records", figure, f"{operation}: {label} over store size", "", sheet)
        figure = Figure(_count(PER_COMMIT), "syncs for each commit", "count", lambda y: count_of(PER_COMMIT, y))
        courses = _courses(group, "threads", figure)
        charts += _over(courses, "threads", figure, f"{operation}: syncs for each commit", "Counted, not timed.", sheet)
    return charts


def _count(name: str) -> Callable[[Measurement], float | None]:
    return lambda one: one.counts.get(name)


def _courses(measurements: Iterable[Measurement], along: Along, figure: Figure) -> list[Course]:
    """Of each series its points, where there are at least two."""
    groups: dict[Series, list[Measurement]] = {}
    for one in measurements:
        if figure.value(one) is not None and getattr(one, along) > 0:
            groups.setdefault(series(one), []).append(one)
    courses = []
    for group in groups.values():
        alike = _most_alike(group, along)
        points = {float(getattr(one, along)): figure.value(one) for one in alike}
        if len(points) > 1:
            courses.append(Course(alike[0], series_name(alike[0]), tuple(sorted(points.items()))))
    return courses


def _most_alike(group: list[Measurement], along: Along) -> list[Measurement]:
    """Those that differ in nothing else; over threads, if there is one of these only, those of one size of record.

    Where each thread writes so many records, a store that more threads filled holds more.
    """

    def largest(names: list[str]) -> list[Measurement]:
        kinds: dict[tuple[int, ...], list[Measurement]] = {}
        for one in group:
            kinds.setdefault(tuple(getattr(one, name) for name in names), []).append(one)
        return max(kinds.values(), key=lambda each: len({getattr(one, along) for one in each}))

    if along == "records":
        return largest(["record_bytes", "threads"])
    strict = largest(["record_bytes", "records"])
    return strict if len({one.threads for one in strict}) > 1 else largest(["record_bytes"])


def _over(courses: list[Course], along: Along, figure: Figure, title: str, told: str, sheet: Sheet) -> list[Chart]:
    if not courses:
        return []
    xs = [x for course in courses for x, _ in course.points]
    wide = max(xs) / min(xs) > 8
    axis = Axis(_ALONG[along] + (" (log axis)" if wide else ""), "count", wide)
    sizes = sorted({course.one.record_bytes for course in courses if course.one.record_bytes})
    setting = f"{listing([size(number) for number in sizes], 3)} a record" if sizes else ""
    return [line_chart(courses, axis, figure, title, f"{setting}\n{sheet.footing}".strip(), told, sheet)]


def line_chart(
    courses: list[Course], x: Axis, figure: Figure, title: str, subtitle: str, told: str, sheet: Sheet, *,
    ticks: tuple[str, ...] = (), breaks: tuple[float, ...] = (), reference: float | None = None,
) -> Chart:  # fmt: skip
    """A picture of courses, a panel or more for each guarantee."""
    panels: list[LinesPanel] = []
    guarantees = by_guarantee(course.one for course in courses)
    free = sheet.rows
    for number, guarantee in enumerate(guarantees):
        mine = [course for course in courses if course.one.guarantee == guarantee]
        mine = mine[: max(free // (len(guarantees) - number), 1)]
        free -= len(mine)
        y, bottom, top = _y_axis(mine, figure, reference)
        ordered = sorted(mine, key=lambda course: -_known(course)[-1][1])
        parts = in_parts(ordered, MOST_LINES)
        for part_number, part in enumerate(parts, 1):
            heading = survives(guarantee) + (f" (part {part_number} of {len(parts)})" if len(parts) > 1 else "")
            lines = tuple(
                Line(course.label, course.one.kind, sheet.numbers[series(course.one)], course.points) for course in part
            )
            panels.append(LinesPanel(heading, lines, x, y, bottom, top, ticks, breaks, reference))
    shown = sum(len(panel.lines) for panel in panels)
    return Chart(
        sheet.name(title), title, subtitle, _alt(title, panels, x, figure.say), f"{told} {_axes_told(panels)}".strip(),
        tuple(panels), len(courses) - shown,
    )  # fmt: skip


def _known(course: Course | Line) -> list[tuple[float, float]]:
    return [(x, y) for x, y in course.points if y is not None]


def _y_axis(courses: Iterable[Course], figure: Figure, reference: float | None) -> tuple[Axis, float, float]:
    """From zero, unless the largest is so far above the smallest that it could not be read."""
    every = [y for course in courses for _, y in _known(course)] + ([] if reference is None else [reference])
    low, high = min(every), max(every)
    if low > 0 and high / low > 20:
        return Axis(f"{figure.label} (log axis)", figure.unit, log=True), low / 1.4, high * 1.4
    return Axis(figure.label, figure.unit, log=False), min(0.0, low * 1.08), high * 1.08 if high > 0 else 1.0


def _axes_told(panels: Sequence[LinesPanel]) -> str:
    logs = [panel.y.log for panel in panels]
    told = "Values are on logarithmic axes." if all(logs) else "Values begin at 0"
    if not all(logs):
        told += ", except on the axes that are marked as logarithmic." if any(logs) else "."
    return told + (" Each panel has its own axis, and its own promise." if len(panels) > 1 else "")


def _alt(title: str, panels: Iterable[LinesPanel], x: Axis, say: Callable[[float], str]) -> str:
    """The picture in words."""
    told = [f"{title}."]
    for panel in panels:
        lines = []
        for line in panel.lines:
            (first_x, first_y), (last_x, last_y) = _known(line)[0], _known(line)[-1]
            at = [panel.ticks[int(at)].replace("\n", " ") if panel.ticks else amount(at) for at in (first_x, last_x)]
            lines.append(f"{line.label} from {say(first_y)} at {at[0]} to {say(last_y)} at {at[1]}")
        told.append(f"{panel.title}: {listing(lines, 8)}.")
    return " ".join([*told, f"Along: {x.label}."])
