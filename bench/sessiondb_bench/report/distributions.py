"""Charts of rows: how long an operation took on each store, what that is to its floor, and what a checkpoint does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from ..results import Measurement
from .charts import PART_ROWS, Axis, Chart, Row, RowsPanel, Sheet, in_parts
from .choosing import by_guarantee, by_operation, has_ratio, is_timed, kind_order, representative
from .wording import amount, count_of, duration, listing, named, plain, ratio, series_name, settings, survives

__all__ = ["ALONE", "BESIDE", "latency_charts", "pause_charts", "ratio_charts"]

ALONE, BESIDE = "put without a checkpoint", "put beside a checkpoint"
"""What `sessiondb_bench.system` calls what writers see."""
TIME = Axis("latency (log axis)", "time", log=True)
HUMPS = (
    "The hump over a row shows how the operations spread (its height is scaled row by row; no hump: only these marks "
    "were kept). n is the number of operations."
)
_SURVIVING = {"power": "survives a power cut", "kill": "survives kill -9", "nothing": "survives nothing"}
RATIOS = (
    "Median divided by the median of the floor that stands after the store's name, taken in turns in one run. 1.0, the "
    "dashed line, is as fast as the floor, 2.0 takes twice as long. Different operations have different floors."
)
OWN_AXES = "Each panel has its own axis: do not compare across panels, their stores do not promise the same."


def latency_charts(measurements: Sequence[Measurement], sheet: Sheet) -> list[Chart]:
    """One for each operation that was timed."""
    timed = [one for one in measurements if is_timed(one) and one.operation not in (ALONE, BESIDE)]
    return [_latency_chart(name, group, sheet) for name, group in by_operation(timed).items()]


def _latency_chart(operation: str, measurements: list[Measurement], sheet: Sheet) -> Chart:
    chosen = representative(measurements)
    usual = _usual(chosen)
    panels = _panels(chosen, lambda one: [_latency_row(one, usual)], TIME, ("median", "p99", "n"), sheet.rows)
    beyond = len(measurements) - len(chosen)
    caption = f"Dot: median. Diamond: p99. Cross: the longest. {HUMPS}"
    if len(panels) > 1:
        caption += f" {OWN_AXES}"
    caption += _few(chosen)
    if beyond:
        caption += f" {named(beyond, 'measurement')} with other settings: in the tables."
    return Chart(
        sheet.name(f"latency {operation}"), f"Latency of {operation}", f"{_setting(usual)}\n{sheet.footing}",
        _alt(f"Latency of {operation}.", panels), caption, panels, len(chosen) - _rows(panels),
    )  # fmt: skip


def _few(measurements: Iterable[Measurement]) -> str:
    few = any(one.operations < 100 for one in measurements)
    return " Where n is below 100, p99 is no more than the longest." if few else ""


def _usual(chosen: Sequence[Measurement]) -> Measurement:
    numbers = Counter(one.records for one in chosen)
    most = max(numbers, key=lambda number: (numbers[number], number))
    return next(one for one in chosen if one.records == most)


def _setting(usual: Measurement) -> str:
    return settings(usual) + (f"; {plain(usual.unit)}" if usual.unit != "operations" else "")


def _row_name(one: Measurement, usual: Measurement) -> str:
    other = one.records != usual.records and one.records
    return series_name(one) + (f" ({one.records:,} records)" if other else "")


def _latency_row(one: Measurement, usual: Measurement) -> Row:
    return Row(
        _row_name(one, usual), one.kind, {"median": one.median_us, "p99": one.p99_us, "max": one.max_us},
        tuple(one.histogram), (duration(one.median_us), duration(one.p99_us), f"{one.operations:,}"),
    )  # fmt: skip


def _panels(
    chosen: Iterable[Measurement], rows_of: Callable[[Measurement], list[Row]], axis: Axis, heads: tuple[str, ...],
    most_rows: int, *, reference: float | None = None, in_order: bool = False,
) -> tuple[RowsPanel, ...]:  # fmt: skip
    """A panel for each guarantee, in parts where it is long; never more rows than a picture holds."""
    panels, free = [], most_rows
    groups = by_guarantee(chosen)
    for number, (guarantee, group) in enumerate(groups.items()):
        ordered = group if in_order else sorted(group, key=kind_order)
        most = max(free // (len(groups) - number), 1)
        rows = [row for one in ordered for row in rows_of(one)][:most]
        free -= len(rows)
        parts = in_parts(rows, PART_ROWS)
        for part_number, part in enumerate(parts, 1):
            more = f" (part {part_number} of {len(parts)})" if len(parts) > 1 else ""
            panels.append(RowsPanel(survives(guarantee) + more, tuple(part), axis, heads, reference))
    return tuple(panels)


def _rows(panels: Iterable[RowsPanel]) -> int:
    return sum(len(panel.rows) for panel in panels)


def _alt(first: str, panels: Iterable[RowsPanel]) -> str:
    """The picture in words."""
    told = [first]
    for panel in panels:
        rows = [" ".join([row.heading, row.label, ", ".join(_told(panel, row))]).strip() for row in panel.rows]
        told.append(f"{panel.title}: {listing(rows, 8)}.")
    return " ".join(told)


def _told(panel: RowsPanel, row: Row) -> list[str]:
    return [f"{head} {text}" for head, text in zip(panel.column_heads, row.columns, strict=True) if head != "n"]


def ratio_charts(measurements: Sequence[Measurement], sheet: Sheet) -> list[Chart]:
    """One for each guarantee: every operation that was taken in turns with its floor."""
    chosen = [
        one
        for group in by_operation(one for one in measurements if has_ratio(one)).values()
        for one in sorted(representative(group), key=lambda one: (one.ratio or 0, series_name(one)))
    ]
    return [_ratio_chart(guarantee, group, sheet) for guarantee, group in by_guarantee(chosen).items()]


def _ratio_chart(guarantee: str, group: list[Measurement], sheet: Sheet) -> Chart:
    values = [one.ratio for one in group if one.ratio is not None]
    wide = max(values) > 4 or min(values) < 0.25
    label = "times the floor of the same run" + (" (log axis)" if wide else "")
    usual = settings(_usual(group))
    panels = _panels(
        group, lambda one: [_ratio_row(one, usual)], Axis(label, "ratio", wide), ("ratio", "median"), sheet.rows,
        reference=1.0, in_order=True,
    )  # fmt: skip
    title = f"Ratios to the floor: {_SURVIVING[guarantee]}"
    subtitle = f"{usual}, where nothing else is said\n{sheet.footing}" if usual else sheet.footing
    alt, left_out = _alt(f"{title}.", panels), len(group) - _rows(panels)
    return Chart(sheet.name(f"ratios {guarantee}"), title, subtitle, alt, RATIOS, panels, left_out)


def _ratio_row(one: Measurement, usual: str) -> Row:
    value = one.ratio or 0.0
    words = settings(one)
    heading = plain(one.operation) + (f" ({words})" if words not in ("", usual) else "")
    return Row(
        f"{series_name(one)} : {plain(one.floor)}", one.kind, {"ratio": value}, (),
        (ratio(value), duration(one.median_us) if is_timed(one) else ""), heading,
    )  # fmt: skip


def pause_charts(measurements: Sequence[Measurement], sheet: Sheet) -> list[Chart]:
    """What writers see of a checkpoint, if that was measured: each store without and with one."""
    timed = [one for one in measurements if is_timed(one) and one.operation in (ALONE, BESIDE)]
    beside = [one for one in timed if one.operation == BESIDE]
    if not beside:
        return []
    alone = {one.identity[1:]: one for one in timed if one.operation == ALONE}

    def rows(one: Measurement) -> list[Row]:
        without = alone.get(one.identity[1:])
        heading = series_name(one) + (f", {settings(one)}" if settings(one) else "")
        pair = ([("without a checkpoint", without)] if without else []) + [("while one runs", one)]
        return [_pause_row(label, each, heading) for label, each in pair]

    panels = _panels(beside, rows, TIME, ("median", "p99", "longest", "n"), sheet.rows)
    told = [
        f"{series_name(one)}: p99 {amount(one.counts['p99_ratio_to_without'])} times that without"
        for one in beside
        if one.counts.get("p99_ratio_to_without", 0) > 0
    ]
    caption = f"One thread puts durably. Dot: median. Diamond: p99. Cross: the longest single wait. {HUMPS}"
    caption += _few(beside)
    if told:
        caption += f" Medians of rounds: {listing(told)}."
    title = "What writers see of a checkpoint"
    return [Chart(sheet.name("pauses"), title, sheet.footing, _alt(f"{title}.", panels), caption, panels)]


def _pause_row(label: str, one: Measurement, heading: str) -> Row:
    columns = (duration(one.median_us), duration(one.p99_us), duration(one.max_us), count_of("n", one.operations))
    marks = {"median": one.median_us, "p99": one.p99_us, "max": one.max_us}
    return Row(label, one.kind, marks, tuple(one.histogram), columns, heading)
