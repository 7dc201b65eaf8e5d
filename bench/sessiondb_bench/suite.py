"""The latency suite's middle: from an operation to a pytest-benchmark entry and a line of a run.

``pytest bench`` is `bench/suite` with `bench/conftest.py`; what they do not have to do themselves is here.
"""

from __future__ import annotations

import random
import re
import shlex
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from .histogram import Histogram
from .records import key_of, session_record
from .results import GUARANTEES, Guarantee, Kind, Measurement, measured
from .subjects.floors import CODED, GROWING, UNSYNCED, ZEROED
from .subjects.subject import Subject
from .turns import FAST_NS, Turns, Work, probe

__all__ = [
    "BATCH",
    "FLOOR_OF_WRITES",
    "Collected",
    "Label",
    "NewPairs",
    "Sizes",
    "Task",
    "command_of",
    "fill",
    "free_name",
    "label_of",
    "measure",
    "table_of",
    "without_places",
]

FLOOR_OF_WRITES: dict[Guarantee, str] = {"nothing": CODED, "kill": UNSYNCED, "power": ZEROED}
"""The floor under a write of one frame, for each guarantee: never one that gives another."""
TURNS = 16
"""Engine and floor take so many turns, if there are enough operations."""
BATCH = 100
"""Records of a batch and of a scan."""


class Sizes(NamedTuple):
    """How much is measured.

    Attributes:
        records: in the store.
        record_bytes: of one of them, as JSON.
        seconds: for each operation, roughly, and as long again for its floor.
    """

    records: int
    record_bytes: int
    seconds: float

    def rounds(self, taken_ns: float, least: int, most: int) -> int:
        """How many operations of that length to do."""
        around_ns = 8_000  # what is done around each of them
        return max(least, min(most, int(self.seconds * 1e9 / (taken_ns + around_ns))))


class Label(NamedTuple):
    """Whose operation it is, and under which guarantee."""

    store: str
    kind: Kind
    guarantee: Guarantee
    sync: str = ""


def label_of(subject: Subject) -> Label:
    """The label of a subject."""
    return Label(subject.name, subject.kind, subject.guarantee, subject.sync)


class Task(NamedTuple):
    """An operation to measure.

    Attributes:
        label: whose.
        operation: as it stands in results.
        work: it.
        arguments: for operation number so and so, of the floor too.
        floor: name and operation of what takes turns with it; ``None``: nothing does.
        prepare: done before each operation, and not timed.
        repeatable: doing it again and again changes nothing; then fast ones are compared by the block.
        units: how many of `unit` one operation moves.
        unit: what throughput counts.
        records: in the store, if that is not what the sizes say.
        least, most: bounds of the number of operations.
        note: what a reader must know.
    """

    label: Label
    operation: str
    work: Work
    arguments: Callable[[int], tuple[Any, ...]] = lambda _: ()
    floor: tuple[str, Work] | None = None
    prepare: Callable[[int], object] | None = None
    repeatable: bool = False
    units: int = 1
    unit: str = "operations"
    records: int | None = None
    least: int = 10
    most: int = 20_000
    note: str = ""


class Collected:
    """What a run has measured so far, and what it could not measure."""

    def __init__(self) -> None:
        self.measurements: list[Measurement] = []
        self.missing: dict[str, str] = {}
        self._floors: dict[tuple[Any, ...], tuple[Measurement, Histogram]] = {}

    def add(self, measurement: Measurement) -> None:
        """One operation of one store."""
        self.measurements.append(measurement)

    def add_floor(self, measurement: Measurement, histogram: Histogram) -> None:
        """A floor by itself, or its part of a measurement: what is measured of it in a run is put together."""
        _, known = self._floors.setdefault(measurement.identity, (measurement, Histogram()))
        known.merge(histogram)

    def all(self) -> list[Measurement]:
        """Everything, with a line for each floor."""
        floors = [
            msgspec.structs.replace(
                measured(
                    one.operation, one.store, "floor", one.guarantee, histogram, seconds=histogram.total_ns / 1e9,
                    record_bytes=one.record_bytes, records=one.records, unit=one.unit,
                    units=round(one.per_second * one.seconds / one.operations) * histogram.count,
                ),
                note=one.note,
            )
            for one, histogram in self._floors.values()
        ]  # fmt: skip
        return self.measurements + floors


_FLOOR_GUARANTEES: dict[str, Guarantee] = {CODED: "nothing", UNSYNCED: "kill", GROWING: "power", ZEROED: "power"}


def measure(benchmark: Any, task: Task, sizes: Sizes, collected: Collected) -> None:
    """Measure with pytest-benchmark, one operation a round, the floor taking turns, and collect the line.

    Args:
        benchmark: the fixture of pytest-benchmark.
        task: what.
        sizes: how much.
        collected: where the line goes.
    """
    label = task.label
    benchmark.group = f"{task.operation} | survives {GUARANTEES[label.guarantee]}"
    if benchmark.disabled:
        benchmark.pedantic(task.work, setup=Turns(task.arguments, None, 1, prepare=task.prepare).next)
        return
    few = probe(task.work, task.arguments, task.prepare, min(20, task.most // 4 or 1))
    taken = statistics.median(few)
    rounds = sizes.rounds(taken, task.least, max(1, task.most - len(few)))
    block = max(1, rounds // TURNS)
    rounds -= rounds % block
    floor_name, floor = task.floor or ("", None)
    mine = task.work if task.repeatable and taken < FAST_NS else None
    turns = Turns(task.arguments, floor, block, mine=mine, prepare=task.prepare, first=len(few))
    benchmark.pedantic(task.work, setup=turns.next, rounds=rounds, iterations=1)
    latencies = [round(second * 1e9) for second in benchmark.stats.stats.data]
    histogram = Histogram()
    histogram.add_all(latencies)
    line = _line(task, label, histogram, sizes)
    line = turns.compared(line, latencies, floor_name)
    if floor is None and label.kind == "floor":
        collected.add_floor(line, histogram)
    else:
        collected.add(line)
    if floor is not None:
        of_floor = Label(floor_name, "floor", _FLOOR_GUARANTEES.get(floor_name, "nothing"))
        floor_histogram = turns.floor_histogram()
        collected.add_floor(_line(task, of_floor, floor_histogram, sizes), floor_histogram)
    told = {name: value for name, value in msgspec.to_builtins(line).items() if name not in ("histogram", "counts")}
    benchmark.extra_info.update(told)


def _line(task: Task, label: Label, histogram: Histogram, sizes: Sizes) -> Measurement:
    return measured(
        task.operation, label.store, label.kind, label.guarantee, histogram, seconds=histogram.total_ns / 1e9,
        record_bytes=sizes.record_bytes,
        records=sizes.records if task.records is None else task.records, sync=label.sync,
        units=task.units * histogram.count, unit=task.unit, note=task.note if label.kind != "floor" else "",
    )  # fmt: skip


def fill(subject: Subject, sizes: Sizes) -> None:
    """Put all records into a subject that is empty, and let none of them wait to be moved."""
    records = [(key_of(number), session_record(number, sizes.record_bytes)) for number in range(sizes.records)]
    subject.put(*records[0])
    for start in range(0, len(records), 1_000):
        subject.put_many(records[start : start + 1_000])
    subject.settle()


class NewPairs:
    """Keys that are there, in no order, each time with a record that is not there yet.

    SQLite writes and syncs nothing at all when a row is replaced by the same bytes.

    Args:
        sizes: of the store.
    """

    def __init__(self, sizes: Sizes):
        numbers = random.Random(1).sample(range(sizes.records), min(sizes.records, 10 * BATCH))
        self._pairs = [(key_of(number), session_record(number, sizes.record_bytes)) for number in numbers]
        self._made = 0

    def changes(self) -> dict[str, Any]:
        """Two fields, of the same size and never the same."""
        self._made += 1
        return {"taskId": f"#{self._made:07}", "commitCount": 10_000 + self._made % 90_000}

    def pair(self, number: int) -> tuple[str, dict[str, Any]]:
        """Key and record."""
        key, record = self._pairs[number % len(self._pairs)]
        self._made += 1
        text = record.get("lastCommitMessage", "")
        if len(text) < 8:
            return key, {**record, "taskId": f"#{self._made:07}"}
        return key, {**record, "lastCommitMessage": f"{self._made:08x}{text[8:]}"}

    def batch(self, number: int) -> list[tuple[str, dict[str, Any]]]:
        """As many as a batch has, of different keys."""
        size = min(BATCH, len(self._pairs))
        return [self.pair(number * size + each) for each in range(size)]


def table_of(measurements: list[Measurement]) -> list[str]:
    """The run for people: a table for each operation and guarantee, in the order of the ratios."""
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for one in measurements:
        groups.setdefault((one.operation, one.guarantee), []).append(one)
    lines = []
    for (operation, guarantee), group in groups.items():
        lines += ["", f"{operation} - survives {GUARANTEES[guarantee]}", _HEAD]
        for one in sorted(group, key=lambda one: 1.0 if one.ratio is None else one.ratio):
            name = f"{one.store} {one.sync}" if one.kind == "sessiondb" else one.store
            ratio = "" if one.ratio is None else f"{one.ratio:8.2f} : {one.floor}"
            lines.append(
                f"  {name:36}{one.median_us:12,.1f}{one.p95_us:12,.1f}{one.p99_us:12,.1f}{one.max_us:12,.1f}"
                f"{one.per_second:14,.0f} {one.unit:10} {ratio}".rstrip()
            )
    return lines


_HEAD = f"  {'':36}{'median':>12}{'p95':>12}{'p99':>12}{'max':>12}{'per second':>14} {'':10} {'ratio':>8}"


def free_name(folder: Path, day: str, commit: str) -> Path:
    """Where a run of that day and commit goes: never over another run.

    Args:
        folder: of the results.
        day: ``2026-11-23``.
        commit: as in a run; empty when it is not known.
    """
    name = f"{day}-{commit.replace('+', '-changed') or 'unknown'}"
    tried, number = folder / f"{name}.json", 1
    while tried.exists():
        number += 1
        tried = folder / f"{name}-{number}.json"
    return tried


def command_of(arguments: Iterable[object], root: Path) -> str:
    """The command line that reproduces a run, without where this machine has its folders.

    Args:
        arguments: of pytest.
        root: the checkout, in which paths are told relative to it.
    """
    words = ["pytest"]
    for word in map(str, arguments):
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        path = Path(value)
        if not path.is_absolute():
            words.append(word)
        elif path.is_relative_to(root):
            words.append(f"{option}{equals}{path.relative_to(root)}")
        elif not option and words[-1].startswith("--"):
            words.pop()  # the option whose value it is
    return shlex.join(words)


def without_places(reason: str) -> str:
    """A reason for a file that others read: without paths, and without the server that did not answer."""
    return re.sub(
        r"\S*/\S*", "...", re.sub(r"(does not answer|failed|did not start): .*", r"\1", reason, flags=re.DOTALL)
    )
