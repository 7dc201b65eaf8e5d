"""The demo from end to end, on each backend: rounds of killing and proving, the log, a check; then latencies."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import resources
from itertools import islice
from typing import Any

import msgspec

import sessiondb
from sessiondb.errors import SessionDBError
from sessiondb.files import Files
from sessiondb.location import parse_location
from sessiondb.opening import backend_class
from sessiondb.stats import RecoveryReport

from ..exit_codes import DAMAGE, FINE, USAGE, CommandError
from ..inspection import inspect
from ..locations import Place
from ..output import compact, count, print_json, print_table
from ..records_input import RecordsInput, checked
from ..verbs.log_dump import dump
from .candidates import CANDIDATES, Candidate, available
from .kill import Killed, run_and_kill
from .latency import Latency, measure, table_rows
from .plan import NUMBER_FIELD, Plan
from .proof import Expected, Verdict
from .server import OnServer
from .writer import CHECKPOINT_RECORDS, TABLE

__all__ = ["run_demo"]

RECORDS_MAX = 20_000
LAST_FRAMES = 3
FRACTION_FOR_LATENCY = 0.15
SECONDS_ROUND_COSTS = 0.7
"""First guess of what a round takes besides the writing: two starts and a proof."""


class Round(msgspec.Struct):
    """One kill and what came of it."""

    seconds: float
    acknowledged: int
    records: int
    under_way_whole: int
    under_way_absent: int
    recovery: RecoveryReport | None
    problems: list[str]


class Result(msgspec.Struct):
    """What came of one candidate."""

    backend: str
    location: str
    rounds: list[Round]
    acknowledged: int
    acknowledged_records: int
    batches: int
    problems: list[str]
    latency: list[Latency]


class _Printer:
    """Progress for people; nothing with ``--json``."""

    def __init__(self, quiet: bool):
        self.quiet = quiet

    def __call__(self, text: str = "") -> None:
        if not self.quiet:
            print(text, flush=True)


def run_demo(
    *,
    input_path: str | None,
    id_field: str | None,
    folder: str | None,
    seconds: float,
    rounds: int,
    as_json: bool,
    server: OnServer | None = None,
) -> int:
    """Run the demo and return the exit code.

    Args:
        input_path: a file of records, ``None`` for the sample.
        id_field: the field that holds their keys.
        folder: where to keep the store; ``None``: in a temporary folder that is removed.
        seconds: the time box.
        rounds: how often to kill, if the time allows.
        as_json: print the result as JSON and nothing else.
        server: run on this one and on nothing else.
    """
    deadline = time.monotonic() + seconds
    say = _Printer(as_json)
    source, records = _records(input_path, id_field)
    work = _work_folder(folder)
    kept = folder is not None
    where = "new stores" if server is None else f"the new namespace {server.namespace} of a server, with a log"
    say(f"{count(len(records), 'record')} from {source}, written to {where} in {work}")
    say(f"(each write adds its number to the record, as {NUMBER_FIELD!r}, so that an old copy would show)")
    try:
        candidates: Sequence[Candidate | OnServer] = [] if server is None else [server]
        left_out: list[str] = []
        if server is None:
            candidates, left_out = available(CANDIDATES, work)
        for sentence in left_out:
            say(sentence)
        _write_records(f"{work}/input.jsonl", records)
        results: list[Result] = []
        for index, candidate in enumerate(candidates):
            left = (deadline - time.monotonic()) / (len(candidates) - index)
            results.append(_Demo(candidate, work, records, rounds, left, say, in_detail=index == 0).run())
        proved = not any(result.problems for result in results)
        kept = kept or not proved
        if as_json:
            print_json({"proved": proved, "folder": work if kept else None, "results": results, "left_out": left_out})
        _show_latency(results, work, say)
        _conclude(results, work, kept, proved, say)
        if server is not None and kept:
            say(f"what is on the server is kept, too: namespace {server.namespace}")
        if proved:
            _try_next(results, records, folder is not None, say)
    finally:
        if not kept:
            if server is not None:
                server.remove(server.location(work))
            shutil.rmtree(work, ignore_errors=True)
    return FINE if proved else DAMAGE


def _records(path: str | None, id_field: str | None) -> tuple[str, list[tuple[str, Any]]]:
    """What to write, and where it comes from."""
    if path is None:
        with resources.as_file(resources.files("sessiondb_tools") / "sample.jsonl") as sample:
            return "the sample", _take(str(sample), id_field or "session")
    records = _take(path, id_field)
    if not records:
        raise CommandError(f"{path} holds no records; next: choose another file, or leave out --input", USAGE)
    first = "the first of " if len(records) == RECORDS_MAX else ""
    return f"{first}{path}", records


def _take(path: str, id_field: str | None) -> list[tuple[str, Any]]:
    with RecordsInput(path, id_field, numbered=True) as source:
        return [(entry.key, entry.record) for entry in islice(checked(source, TABLE), RECORDS_MAX)]


def _work_folder(folder: str | None) -> str:
    if folder is None:
        return tempfile.mkdtemp(prefix="sessiondb-demo-")
    os.makedirs(folder, exist_ok=True)
    return tempfile.mkdtemp(prefix="demo-", dir=os.path.abspath(folder))


def _write_records(path: str, records: list[tuple[str, Any]]) -> None:
    with open(path, "wb") as file:
        file.writelines(msgspec.json.encode(pair) + b"\n" for pair in records)


class _Demo:
    """The demo on one candidate."""

    def __init__(
        self,
        candidate: Candidate | OnServer,
        work: str,
        records: list[tuple[str, Any]],
        rounds: int,
        seconds: float,
        say: _Printer,
        *,
        in_detail: bool,
    ):
        self._candidate = candidate
        self._in_detail = in_detail
        self._work = work
        self._path = candidate.location(work)
        self._records = records
        self._expected = Expected(Plan(records))
        self._rounds_max = rounds
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds * (1 - FRACTION_FOR_LATENCY)
        self._say = say
        self._rounds: list[Round] = []

    def run(self) -> Result:
        """All rounds, the check, the latencies."""
        say = self._say
        threads = len(self._expected.steps)
        say(f"\n{self._candidate.title}: {threads} threads, a checkpoint every {CHECKPOINT_RECORDS} changes of records")
        cost = SECONDS_ROUND_COSTS
        problems: list[str] = []
        while len(self._rounds) < self._rounds_max and not problems:
            left = self._deadline - time.monotonic()
            if self._rounds and left < cost:
                break
            began = time.monotonic()
            share = left / (self._rounds_max - len(self._rounds)) - cost
            wrote = self._round(random.uniform(0.05, max(0.1, share)))
            cost = time.monotonic() - began - wrote
            problems += self._rounds[-1].problems
        if not problems:
            problems += self._verify()
        latency = [] if problems else self._measure()
        expected = self._expected
        shown = self._candidate.shown(self._path)
        return Result(
            self._candidate.title, shown, self._rounds, expected.writes, expected.records, expected.batches, problems,
            latency,
        )  # fmt: skip

    # ---- a round

    def _round(self, seconds: float) -> float:
        """Write, kill, recover, prove; returns how long it wrote."""
        say, expected = self._say, self._expected
        before = expected.writes, expected.records, expected.batches
        killed = acknowledged(self._path, f"{self._work}/input.jsonl", expected.steps, seconds)
        for number in killed.acknowledged:
            expected.acknowledge(number)
        writes, records, batches = (
            now - then for now, then in zip((expected.writes, expected.records, expected.batches), before, strict=True)
        )
        say(
            f"round {len(self._rounds) + 1}: killed (SIGKILL) after {killed.seconds:.2f} s and "
            f"{count(writes, 'acknowledged write')}: {count(records, 'record')}, {count(batches, 'batch')}"
        )
        if not self._rounds and self._in_detail:
            self._show_log()
        made = Round(killed.seconds, writes, records, 0, 0, None, [])
        self._rounds.append(made)
        try:
            found, made.recovery = read_back(self._path)
        except SessionDBError as error:
            made.problems.append(f"the store does not open: {error}")
            return killed.seconds
        verdict = expected.prove(found)
        made.problems += verdict.problems
        made.under_way_whole, made.under_way_absent = len(verdict.whole), len(verdict.absent)
        self._show_recovery(made.recovery)
        self._show_verdict(verdict)
        return killed.seconds

    def _show_recovery(self, report: RecoveryReport) -> None:
        say = self._say
        text = (
            f"  recovered in {report.duration_ms:.1f} ms: the backend had LSN {report.applied_lsn}, "
            f"{count(report.transactions, 'transaction')} replayed up to LSN {report.last_lsn}"
        )
        say(text)
        for notice in report.notices:
            say(f"  notice: {notice}")

    def _show_verdict(self, verdict: Verdict) -> None:
        say = self._say
        if verdict.problems:
            say(f"  NOT PROVED: {count(len(verdict.problems), 'problem')}")
            return
        whole = len(verdict.whole)
        under_way = whole + len(verdict.absent)
        say(
            f"  proved: {count(verdict.records, 'record')} as acknowledged; of {count(under_way, 'write')} possibly "
            f"under way {whole} there as a whole, {len(verdict.absent)} not at all, 0 by half"
        )

    def _show_log(self) -> None:
        """The last frames, as the kill left them."""
        say = self._say
        if say.quiet:
            return
        lines = [str(line) for line in dump(Files(), self._place(), as_json=False, last=LAST_FRAMES)]
        segments = [index for index, line in enumerate(lines) if ".seg  " in line]
        # A kill just behind a checkpoint leaves the newest segment without a frame: show the one before as well.
        filled = [index for index in segments if any("TRANSACTION" in line for line in lines[index:])]
        say("  the log as the kill left it, its last frames:")
        for line in lines[(filled or segments)[-1] :]:
            say(f"    {line[:150]}{'...' if len(line) > 150 else ''}")

    # ---- after the rounds

    def _place(self) -> Place:
        location = parse_location(self._path)
        backend = backend_class(location.scheme)
        folder = backend.log_folder(location.path)
        assert folder is not None
        return Place(location, backend, folder)

    def _verify(self) -> list[str]:
        look = inspect(Files(), self._place(), locked=True, depth="check")
        self._say(f"checked, as `sessiondb check` does: {'DAMAGE' if look.problems else 'fine'}")
        if self._in_detail:
            self._say("the last recovery's report: " + compact(self._rounds[-1].recovery))
        return [problem.text for problem in look.problems]

    def _measure(self) -> list[Latency]:
        folder = f"{self._work}/latency"
        location = self._candidate.location(folder, "_latency")
        os.mkdir(folder)
        try:
            return measure(location, self._records[:1000], self._seconds * FRACTION_FOR_LATENCY)
        finally:
            self._candidate.remove(location)
            shutil.rmtree(folder, ignore_errors=True)


def acknowledged(location: str, records: str, steps: list[int], seconds: float) -> Killed:
    """Write and kill: what was acknowledged."""
    return run_and_kill(location, records, steps, seconds)


def read_back(location: str) -> tuple[dict[str, Any], RecoveryReport]:
    """Open the store, which recovers it, and read everything."""
    with sessiondb.open(location, create=False) as db:
        return dict(db.table(TABLE).scan()), db.recovery_report


def _show_latency(results: list[Result], work: str, say: _Printer) -> None:
    measured = [(result.backend, result.latency) for result in results if result.latency]
    if say.quiet or not measured:
        return
    say(f"\nlatency on the disk of {work}, one thread, one call after the other:")
    print_table(table_rows(measured), right=[2, 3, 4])
    say("(a put writes to the log, whatever the backend; just written: from memory, on every backend;")
    say("checkpointed: from the backend, without the cache)")


def _conclude(results: list[Result], work: str, kept: bool, proved: bool, say: _Printer) -> None:
    say()
    for result in results:
        kills = count(len(result.rounds), "kill")
        totals = f"{count(result.acknowledged, 'acknowledged write')} ({count(result.acknowledged_records, 'record')})"
        if result.problems:
            say(f"{result.backend}: FAILED after {kills} and {totals}:")
            for problem in result.problems[:10]:
                say(f"  {problem}")
        else:
            say(f"{result.backend}: PROVED over {kills} and {totals}: 0 lost, 0 wrong, 0 batches by half")
    if not proved:
        problems = sum(len(result.problems) for result in results)
        print(
            f"sessiondb demo: the proof failed: {count(problems, 'problem')} in the stores in {work}, which are kept; "
            "next: report it as a bug, with that folder",
            file=sys.stderr,
        )
    elif kept:
        say(f"the stores are kept in {work}")
    else:
        say("the stores were temporary and are removed now (--dir DIR keeps them)")


def _try_next(results: list[Result], records: list[tuple[str, Any]], kept: bool, say: _Printer) -> None:
    """Commands that work as they stand."""
    program = "sessiondb" if shutil.which("sessiondb") else f"{shlex.quote(sys.executable)} -m sessiondb_tools"
    say("\ntry next:")
    if kept:
        for index, result in enumerate(results):
            at = f"--db {shlex.quote(result.location)}"
            if index == 0:
                say(f"  {program} status {at}")
                say(f"  {program} get {shlex.quote(records[0][0])} {at}")
            say(f"  {program} list --limit 3 {at}")
            say(f"  {program} check {at}")
        if any("***" in result.location for result in results):
            say("(with user and password for ***)")
    else:
        say(f'  {program} put first \'{{"hello": "world"}}\' --db my.json')
        say(f"  {program} get first --db my.json")
        say(f"  {program} status --db my.json")
        say(f"  {program} demo --dir .")
