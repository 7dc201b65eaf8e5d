"""What the report says, in order, before it is HTML or Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..results import Run
from .charts import Chart, Sheet, Table
from .checking import moment
from .choosing import numbered
from .courses import count_charts, size_charts, thread_charts
from .distributions import latency_charts, pause_charts, ratio_charts
from .history import history_charts, history_tables
from .missing import missing
from .tables import command_table, figure_tables, guarantee_table, run_table
from .wording import clock, listing, named, plain

__all__ = ["Document", "Section", "document"]

ALL_FULL, MOST_FULL = 3, 6
"""So few runs are all shown in full; of more, the newest of each command, and never more than so many."""
MOST_CHARTS = 40
"""Of one kind, of one run: a file of a thousand operations does not become a thousand pictures."""
READING = (
    "Look at ratios, not at microseconds: another machine, and the same machine an hour later, has other times. A "
    "ratio was taken in turns with its floor in one run. A floor is the least that the work can cost: the same bytes "
    "written and synced, the same record decoded. Peers are other stores, set as their names say.",
    "What survives a power cut, what survives kill -9 and what survives nothing are different work. They stand in "
    "panels and tables of their own, and no figure of one is an answer to a figure of another.",
    "p99 is the time that 99 of 100 operations did not exceed. Percentiles come from buckets and are at most 2.2 % "
    "too high; the longest time is exact.",
)
SIDE_BY_SIDE = (
    "Ratios may be compared from run to run. Medians, in parentheses, are times of different hours or machines: "
    "compare them when it is the machines or disks that you want to compare."
)


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    level: int = 2
    paragraphs: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    anchor: str = ""


@dataclass(frozen=True)
class Document:
    """The whole report."""

    title: str
    summary: str
    sections: tuple[Section, ...]

    @property
    def charts(self) -> list[Chart]:
        """All pictures, in order."""
        return [chart for section in self.sections for chart in section.charts]


def document(runs: Sequence[Run]) -> Document:
    """The report of runs that `checking.check_runs` has accepted, oldest first."""
    ordered = sorted(runs, key=moment)
    taken: set[str] = set()
    full = _in_full(ordered)
    sections = [
        Section("How to read this", paragraphs=READING, tables=(guarantee_table(),)),
        Section("Runs", paragraphs=_told_of_runs(ordered, full), tables=(run_table(ordered), command_table(ordered))),
    ]
    sections += _history(ordered, taken)
    for number in full:
        sections += _run_sections(number, ordered[number], taken, alone=len(ordered) == 1)
    sections.append(_missing(ordered))
    anchors: set[str] = set()
    naming = Sheet("", {}, anchors)
    placed = (Section(**{**vars(section), "anchor": naming.name(section.title)}) for section in sections)
    return Document("sessiondb: benchmarks", _summary(ordered), tuple(placed))


def _summary(runs: Sequence[Run]) -> str:
    figures = sum(len(run.measurements) for run in runs)
    dates = list(dict.fromkeys(clock(run.started)[:10] for run in runs))
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return f"{named(len(runs), 'run')}, {when}, {named(figures, 'measurement')}."


def _in_full(runs: Sequence[Run]) -> list[int]:
    """A few, or of runs of the same command the newest; of many commands the newest runs."""
    if len(runs) <= ALL_FULL:
        return [number for number, run in enumerate(runs) if run.measurements][::-1]
    newest = {(run.suite, run.command): number for number, run in enumerate(runs) if run.measurements}
    return sorted(newest.values(), reverse=True)[:MOST_FULL]


def _told_of_runs(runs: Sequence[Run], full: Sequence[int]) -> tuple[str, ...]:
    told = []
    if len(full) < len(runs):
        told.append(
            f"All figures are shown of {listing([f'run {number + 1}' for number in full])}; of the others, what they "
            "have in common with another run."
        )
    told += [f"Run {number} holds no measurement." for number, run in enumerate(runs, 1) if not run.measurements]
    told += [
        f"Run {number} ended before its end: {plain(run.problem)}" for number, run in enumerate(runs, 1) if run.problem
    ]
    busy = [
        f"run {number} (load {run.environment.load_before:.2f} on {named(run.environment.cores, 'core')})"
        for number, run in enumerate(runs, 1)
        if run.environment.load_before > run.environment.cores / 2
    ]
    if busy:
        told.append(f"The machine was busy before {listing(busy)}: believe its times less, and its ratios with care.")
    changed = [f"run {number}" for number, run in enumerate(runs, 1) if run.commit.endswith("+")]
    if changed:
        told.append(f"A + after a commit: its files had been changed ({listing(changed)}).")
    return tuple(told)


def _footing(run: Run) -> str:
    place = run.environment
    commit = plain(run.commit) or "commit not known"
    return (
        f"{clock(run.started)}, sessiondb {plain(run.version)} ({commit}); {named(place.cores, 'core')}, "
        f"{plain(place.cpu)}, {plain(place.file_system)}, load {place.load_before:.2f}"
    )


def _history(runs: Sequence[Run], taken: set[str]) -> list[Section]:
    """What was measured in two of the runs, if there is such a thing."""
    tables = history_tables(runs)
    if not tables:
        return []
    every = [one for run in runs for one in run.measurements]
    shown, told = _at_most(history_charts(runs, Sheet("", numbered(every), taken)))
    told = (SIDE_BY_SIDE, *told)
    return [Section("Run by run", paragraphs=told, charts=shown, tables=tuple(tables))]


def _at_most(charts: Sequence[Chart]) -> tuple[tuple[Chart, ...], tuple[str, ...]]:
    """The first charts, and a word on the others."""
    if len(charts) <= MOST_CHARTS:
        return tuple(charts), ()
    left_out = listing([chart.title for chart in charts[MOST_CHARTS:]], 20)
    return tuple(charts[:MOST_CHARTS]), (f"Not drawn, but in the tables: {left_out}.",)


def _run_sections(number: int, run: Run, taken: set[str], *, alone: bool) -> Iterable[Section]:
    sheet = Sheet(_footing(run), numbered(run.measurements), taken)
    title = f"Run {number + 1}: {plain(run.suite)}, {clock(run.started)}"
    if not alone:
        yield Section(title)
    level = 2 if alone else 3
    groups = {
        "Ratios to the floor": ratio_charts(run.measurements, sheet),
        "Latency": latency_charts(run.measurements, sheet),
        "Throughput over threads": thread_charts(run.measurements, sheet),
        "Cost against store size": size_charts(run.measurements, sheet),
        "Checkpoint pauses": pause_charts(run.measurements, sheet),
        "Counted": count_charts(run.measurements, sheet),
    }
    for name, charts in groups.items():
        if charts:
            shown, told = _at_most(charts)
            yield Section(name, level, told, shown)
    yield Section("All figures", level, tables=tuple(figure_tables(run)))


def _missing(runs: Sequence[Run]) -> Section:
    told = [
        f"Run {number} left out: {plain(sentence)}" for number, run in enumerate(runs, 1) for sentence in run.left_out
    ]
    rows = missing(runs)
    if not rows:
        return Section("What is missing", paragraphs=(*told, "There is nothing else that this report could draw."))
    table = Table("Not measured in these runs", ("what", "why it is not drawn", "what would measure it"), rows, 3)
    return Section("What is missing", paragraphs=tuple(told), tables=(table,))
