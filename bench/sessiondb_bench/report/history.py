"""What became of the ratios from run to run: charts over runs, and tables side by side."""

from __future__ import annotations

from collections.abc import Sequence

from ..results import GUARANTEES, Measurement, Run
from .charts import Axis, Chart, Sheet, Table
from .choosing import by_operation, has_ratio, is_timed
from .courses import Course, Figure, line_chart
from .wording import NOTHING, clock, duration, listing, plain, ratio, series_name, settings, survives

__all__ = ["history_charts", "history_tables", "run_tick"]

MOST_COLUMNS = 8
Identity = tuple[tuple[str, str, str, int, int, int], str, str, str]
Tracked = dict[Identity, dict[int, Measurement]]
_RATIO = Figure(lambda one: one.ratio, "times the floor of the same run", "ratio", ratio)


def run_tick(run: Run) -> str:
    """A run on an axis or at the top of a column: its date and commit."""
    commit = plain(run.commit)
    name = commit[:9] + ("+" if commit.endswith("+") and len(commit) > 9 else "")
    return f"{clock(run.started)[:10]}\n{name or 'no commit'}"


def _identity(one: Measurement) -> Identity:
    """What must be equal to be compared; a ratio to another floor is another ratio."""
    return (one.identity, one.guarantee, one.kind, one.floor)


def _tracked(runs: Sequence[Run]) -> Tracked:
    """What was measured in at least two runs, by the number of the run; measured twice counts as measured last."""
    found: Tracked = {}
    for number, run in enumerate(runs):
        for one in run.measurements:
            found.setdefault(_identity(one), {})[number] = one
    return {identity: each for identity, each in found.items() if len(each) > 1}


def history_charts(runs: Sequence[Run], sheet: Sheet) -> list[Chart]:
    """Ratios over runs, a picture for each operation."""
    courses: list[Course] = []
    for each in _tracked(runs).values():
        points = tuple((float(number), each[number].ratio if number in each else None) for number in range(len(runs)))
        if sum(has_ratio(one) for one in each.values()) > 1:
            newest = each[max(each)]
            courses.append(Course(newest, series_name(newest), points))
    ticks = tuple(run_tick(run) for run in runs)
    breaks = tuple(number - 0.5 for number in range(1, len(runs)) if _place(runs[number]) != _place(runs[number - 1]))
    told = "1.0 is as fast as the floor. A gap: not measured in that run."
    if breaks:
        told += " At a dotted line machine or file system changed."
    charts = []
    axis = Axis("run", "count", log=False)
    for operation in by_operation(course.one for course in courses):
        mine = [course for course in courses if plain(course.one.operation) == operation]
        title = f"Run by run: {operation}, ratio to the floor"
        subtitle, named = _with_settings(mine)
        floors = f"Floor: {listing(dict.fromkeys(plain(course.one.floor) for course in mine))}. {told}"
        charts.append(
            line_chart(named, axis, _RATIO, title, subtitle, floors, sheet, ticks=ticks, breaks=breaks, reference=1.0)
        )
    return charts


def _with_settings(courses: list[Course]) -> tuple[str, list[Course]]:
    """Settings that all share, once; those that differ, in the names."""
    different = {settings(course.one) for course in courses}
    if len(different) == 1:
        return different.pop(), courses
    named = [course._replace(label=f"{course.label} ({settings(course.one)})") for course in courses]
    return "", named


def _place(run: Run) -> tuple[str, str, int, str]:
    environment = run.environment
    return (environment.machine, environment.cpu, environment.cores, environment.file_system)


def history_tables(runs: Sequence[Run]) -> list[Table]:
    """Ratios and medians side by side, first of what has a ratio."""
    tracked = _tracked(runs)
    ratios = {key: each for key, each in tracked.items() if sum(one.ratio is not None for one in each.values()) > 1}
    times = {key: each for key, each in tracked.items() if key not in ratios and any(map(is_timed, each.values()))}
    return [
        *_side_by_side("Ratios to the floor, and medians", runs, ratios),
        *_side_by_side("Medians of what has no ratio", runs, times),
    ]


def _said(one: Measurement) -> str:
    words = ([] if one.ratio is None else [ratio(one.ratio)]) + ([duration(one.median_us)] if is_timed(one) else [])
    return " ".join([words[0], *(f"({word})" for word in words[1:])]) if words else NOTHING


def _side_by_side(caption: str, runs: Sequence[Run], tracked: Tracked) -> list[Table]:
    tables = []
    numbers = [number for number in range(len(runs)) if any(number in each for each in tracked.values())][
        -MOST_COLUMNS:
    ]
    left_out = len({number for each in tracked.values() for number in each}) - len(numbers)
    for guarantee in reversed(GUARANTEES):
        rows = [
            (plain(each[max(each)].operation), series_name(each[max(each)]), settings(each[max(each)]),
             *(_said(each[number]) if number in each else NOTHING for number in numbers))
            for key, each in tracked.items() if key[1] == guarantee
        ]  # fmt: skip
        if rows:
            more = f" (the last {len(numbers)} runs; {left_out} older in the pictures)" if left_out else ""
            heads = [f"run {number + 1}: {run_tick(runs[number])}".replace("\n", " ") for number in numbers]
            tables.append(
                Table(f"{caption}{more}. {survives(guarantee)}", ("operation", "store", "settings", *heads), rows, 3)
            )
    return tables
