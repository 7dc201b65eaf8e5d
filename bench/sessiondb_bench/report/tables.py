"""Every figure of a run as tables: one for each guarantee, and one of what was counted."""

from __future__ import annotations

from collections.abc import Sequence

from ..results import GUARANTEES, Measurement, Run
from .charts import Table
from .choosing import by_guarantee, is_timed
from .wording import (
    NOTHING,
    clock,
    count_of,
    duration,
    named,
    plain,
    rate,
    ratio,
    series_name,
    settings,
    size,
    survives,
)

__all__ = ["command_table", "figure_tables", "guarantee_table", "run_table"]

_FIGURES = ("operation", "store", "settings", "floor", "ratio", "n", "median", "p95", "p99", "max", "throughput")


def guarantee_table() -> Table:
    """The three promises."""
    rows = [(name, f"{GUARANTEES[name]}") for name in reversed(GUARANTEES)]
    return Table("What a write that returned survives; only equals are compared", ("guarantee", "it survives"), rows, 2)


def run_table(runs: Sequence[Run]) -> Table:
    """Where each run took place."""
    head = (
        "run", "started", "suite", "sessiondb", "commit", "machine", "memory", "system", "Python", "file system",
        "load before", "load after", "figures",
    )  # fmt: skip
    return Table("Where and when", head, [_run_row(number, run) for number, run in enumerate(runs, 1)], 10)


def _run_row(number: int, run: Run) -> tuple[str, ...]:
    place = run.environment
    after = NOTHING if place.load_after is None else f"{place.load_after:.2f}"
    return (
        str(number), clock(run.started), plain(run.suite), plain(run.version), plain(run.commit) or "not known",
        f"{named(place.cores, 'core')}, {plain(place.cpu)}, {plain(place.machine)}", size(place.memory_bytes),
        plain(place.system), plain(place.python), plain(place.file_system), f"{place.load_before:.2f}", after,
        f"{len(run.measurements):,}",
    )  # fmt: skip


def command_table(runs: Sequence[Run]) -> Table:
    """How to do each run again."""
    same: dict[tuple[str, str], list[int]] = {}
    for number, run in enumerate(runs, 1):
        versions = ", ".join(f"{plain(name)} {plain(version)}" for name, version in run.environment.versions.items())
        same.setdefault((plain(run.command) or "not known", versions), []).append(number)
    rows = [(_ranges(numbers), *words) for words, numbers in same.items()]
    return Table("How to measure again, and with what", ("run", "command", "versions"), rows, 3)


def _ranges(numbers: Sequence[int]) -> str:
    """``1-3, 5``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def figure_tables(run: Run) -> list[Table]:
    """All measurements."""
    tables = []
    for guarantee, group in by_guarantee(filter(is_timed, run.measurements)).items():
        notes: list[str] = []
        rows = [_figure_row(one, notes) for one in group]
        tables.append(Table(survives(guarantee), _FIGURES, rows, 4, tuple(notes)))
    counted = [one for one in run.measurements if one.counts]
    for guarantee, group in by_guarantee(counted).items():
        notes = []
        rows = [row for one in group for row in _count_rows(one, notes)]
        caption = f"Counted, not timed. {survives(guarantee)}"
        tables.append(Table(caption, ("operation", "store", "settings", "what", "how much"), rows, 4, tuple(notes)))
    return tables


def _marked(one: Measurement, notes: list[str]) -> str:
    """The series, with the number of its note."""
    name, note = series_name(one), plain(one.note)
    if not note:
        return name
    if note not in notes:
        notes.append(note)
    return f"{name} [{notes.index(note) + 1}]"


def _figure_row(one: Measurement, notes: list[str]) -> tuple[str, ...]:
    return (
        plain(one.operation), _marked(one, notes), settings(one), plain(one.floor) or NOTHING, ratio(one.ratio),
        f"{one.operations:,}", duration(one.median_us), duration(one.p95_us),
        duration(one.p99_us), duration(one.max_us), rate(one.per_second, one.unit),
    )  # fmt: skip


def _count_rows(one: Measurement, notes: list[str]) -> list[tuple[str, ...]]:
    head = (plain(one.operation), _marked(one, notes), settings(one))
    return [(*head, plain(name).replace("_", " "), count_of(name, value)) for name, value in one.counts.items()]
