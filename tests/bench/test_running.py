"""A whole run: who takes part, what is left of it, what comes out; with subjects that need no disk."""

from __future__ import annotations

import os
from typing import Any

import pytest

from sessiondb_bench.driver import AbsentRecordError, Measured
from sessiondb_bench.histogram import Histogram
from sessiondb_bench.running import Candidate, Plan, Running, WorkloadFailedError
from sessiondb_bench.subjects.floors import CODED, ZEROED

from .stand_ins import Bare, Forgetful, Plain

PLAN = Plan(["fillrandom"], [1], [50], 300, seconds=30.0, turns=2, turns_max=2)


def running(folder, plan=PLAN, *subjects: type[Plain], **options: Any) -> Running:
    candidates = [Candidate(subject.name, subject) for subject in subjects or (Plain,)]
    return Running(plan, candidates, str(folder), **options)


def ran(folder, plan=PLAN, *subjects: type[Plain]) -> Running:
    made = running(folder, plan, *subjects)
    made.run()
    return made


class Synced(Plain):
    name, guarantee, sync = "synced", "power", "always"


class DictFloor(Plain):
    name, kind = CODED, "floor"


class DiskFloor(Plain):
    name, kind, guarantee = ZEROED, "floor", "power"


class Alone(Plain):
    name, threads_safe = "alone", False


def test_every_workload_is_measured_with_every_number_of_threads_and_records(tmp_path):
    made = ran(tmp_path, PLAN._replace(workloads=["fillseq", "ycsb-c"], threads=[1, 2], records=[40, 80]))
    assert [(each.operation, each.threads, each.records) for each in made.measurements] == [
        (name, threads, records) for records in (40, 80) for threads in (1, 2) for name in ("fillseq", "ycsb-c")
    ]
    assert {each.operations for each in made.measurements} == {80, 160}, "in two turns"
    assert {each.record_bytes for each in made.measurements} == {300}
    assert made.left_out == []


def test_every_turn_has_a_fresh_store_that_is_closed_and_removed(tmp_path):
    made: list[Plain] = []

    class Kept(Plain):
        def __init__(self, folder):
            super().__init__(folder)
            assert os.listdir(folder) == []
            assert os.listdir(tmp_path) == [os.path.basename(folder)], "no other store is there"
            made.append(self)

    ran(tmp_path, PLAN._replace(workloads=["fillseq", "readrandom"]), Kept, type("Other", (Kept,), {"name": "other"}))
    assert len({subject.folder for subject in made}) == len(made) == 8
    assert {subject.closed for subject in made} == {1}
    assert [subject.settled for subject in made] == [0] * 4 + [1] * 4, "what is read was moved to where it is read from"
    assert os.listdir(tmp_path) == []


def test_in_each_turn_all_do_the_same_operations(tmp_path):
    did: dict[str, list[list[tuple[str, ...]]]] = {}

    class Watched(Plain):
        def __init__(self, folder):
            super().__init__(folder)
            self.asked: list[tuple[str, ...]] = []
            did.setdefault(self.name, []).append(self.asked)

        def put(self, key, record):
            self.asked.append(("put", key))
            super().put(key, record)

        def get(self, key):
            self.asked.append(("get", key))
            return super().get(key)

    ran(tmp_path, PLAN._replace(workloads=["ycsb-a"]), Watched, type("Other", (Watched,), {"name": "other"}))
    assert did["plain"] == did["other"]
    assert did["plain"][0] != did["plain"][1]


def test_a_mixed_workload_has_its_kinds_beside_the_whole(tmp_path):
    made = ran(tmp_path, PLAN._replace(workloads=["ycsb-f"], records=[200]), Plain, DictFloor)
    found = {each.operation: each for each in made.measurements if each.store == "plain"}
    assert found.keys() == {"ycsb-f", "ycsb-f (read)", "ycsb-f (read-modify-write)"}
    whole, *parts = found.values()
    assert whole.operations == sum(part.operations for part in parts) == 400
    assert whole.per_second == pytest.approx(sum(part.per_second for part in parts))
    assert whole.ratio is None, "a median of several kinds says nothing"
    assert all(part.ratio for part in parts)


def test_ratios_are_to_the_floor_of_the_same_guarantee_and_of_reads_to_the_dict(tmp_path):
    plan = PLAN._replace(workloads=["fillrandom", "readrandom"])
    made = ran(tmp_path, plan, Plain, Synced, DictFloor, DiskFloor)
    floors = {(each.operation, each.store): each.floor for each in made.measurements}
    assert floors["fillrandom", "plain"] == CODED
    assert floors["fillrandom", "synced"] == ZEROED
    assert floors["readrandom", "plain"] == floors["readrandom", "synced"] == CODED
    assert {each.ratio for each in made.measurements if each.store == each.floor} == {1.0}


def test_a_ratio_is_the_median_of_those_of_the_turns(tmp_path, monkeypatch):
    """So that it is the same when all are slow for a while, even if that is half of the time."""
    turns = {"plain": iter([20, 2_000, 3_000]), CODED: iter([10, 1_000, 1_000])}

    def drive(subject, *_: Any, **__: Any) -> Measured:
        histogram = Histogram()
        histogram.add(next(turns[subject.name]))
        return Measured({"write": histogram}, 1.0, 0)

    monkeypatch.setattr("sessiondb_bench.running.drive", drive)
    made = ran(tmp_path, PLAN._replace(turns=3, turns_max=3), Plain, DictFloor)
    assert made.measurements[0].ratio == pytest.approx(2.0, rel=0.03)


def test_of_a_mix_the_floor_of_writes_does_the_writes_so_that_they_have_a_ratio(tmp_path):
    class File(Bare):
        name, kind, guarantee = ZEROED, "floor", "power"

        def patch(self, key, changes):
            self.put(key, changes)

    plan = PLAN._replace(workloads=["ycsb-a", "ycsb-f", "readrandom"], records=[200])
    made = ran(tmp_path, plan, Synced, DictFloor, File)
    found = {(each.operation, each.store): each.floor for each in made.measurements}
    assert [operation for operation, store in found if store == ZEROED] == [
        "ycsb-a (update)",
        "ycsb-f (read-modify-write)",
    ]
    assert found["ycsb-a (update)", "synced"] == found["ycsb-f (read-modify-write)", "synced"] == ZEROED
    assert found["ycsb-a (read)", "synced"] == CODED
    assert made.left_out == [f"left out of readrandom: {ZEROED}: bare writes, and nothing else"]


def test_without_a_floor_there_is_no_ratio(tmp_path):
    (measurement,) = ran(tmp_path).measurements
    assert (measurement.ratio, measurement.floor) == (None, "")


def test_who_cannot_do_something_is_left_out_of_it_and_it_is_said(tmp_path):
    plan = PLAN._replace(workloads=["fillseq", "fillsync", "readrandom", "ycsb-e"], threads=[1, 2])
    made = ran(tmp_path, plan, Plain, Synced, Bare, Alone)
    assert {(each.operation, each.threads) for each in made.measurements if each.store == "bare"} == {
        ("fillseq", 1), ("fillseq", 2)
    }  # fmt: skip
    assert sorted(made.left_out) == [
        "left out of fillseq (threads 2), readrandom (threads 2), ycsb-e (threads 2): alone: "
        "several threads may not use it at the same time",
        "left out of fillsync: plain; bare; alone: it does not wait for the disk",
        "left out of readrandom: bare: it writes, and nothing else",
        "left out of ycsb-e: bare: it cannot read in the order of keys",
    ]
    assert not [each for each in made.measurements if each.operation == "fillsync" and each.store != "synced"]


def test_reading_while_writing_takes_two_threads(tmp_path):
    made = ran(tmp_path, PLAN._replace(workloads=["readwhilewriting"]), Plain, Alone)
    assert [each.store for each in made.measurements] == ["plain"]
    assert made.left_out == ["left out of readwhilewriting: alone: several threads may not use it at the same time"]


def test_who_takes_too_long_to_fill_is_tried_once(tmp_path, monkeypatch):
    monkeypatch.setattr("sessiondb_bench.running.LOAD_S_MIN", 0.0)
    opened = []

    class Slow(Bare):
        name = "slow"

        def __init__(self, folder):
            super().__init__(folder)
            opened.append(self)

    made = ran(tmp_path, PLAN._replace(workloads=["overwrite", "readrandom"], records=[3_000], seconds=1e-9), Slow)
    assert len(opened) == 1
    (sentence,) = made.left_out
    assert sentence.startswith("left out of overwrite, readrandom: slow: only 1,000 of 3,000 records could be stored")


def test_an_error_ends_the_run_and_names_the_place_and_what_was_finished_stays(tmp_path):
    class Failing(Plain):
        name = "failing"

        def get(self, key):
            raise OSError(28, "No space left on device")

    made = running(tmp_path, PLAN._replace(workloads=["fillseq", "readrandom", "overwrite"]), Plain, Failing)
    with pytest.raises(WorkloadFailedError, match=r"readrandom on failing failed: OSError: .*No space left") as raised:
        made.run()
    assert isinstance(raised.value.__cause__, OSError)
    assert [(each.operation, each.store) for each in made.measurements] == [
        ("fillseq", "plain"), ("fillseq", "failing")
    ]  # fmt: skip
    assert os.listdir(tmp_path) == []


def test_a_store_that_cannot_be_made_ends_the_run(tmp_path):
    class Broken(Plain):
        def __init__(self, folder):
            raise PermissionError(13, "Permission denied")

    with pytest.raises(WorkloadFailedError, match="fillrandom on plain failed: PermissionError"):
        ran(tmp_path, PLAN, Broken)
    assert os.listdir(tmp_path) == []


def test_a_store_that_does_not_close_ends_the_run_unless_it_failed_before(tmp_path):
    class Stuck(Plain):
        def close(self):
            raise OSError("it does not close")

    with pytest.raises(WorkloadFailedError, match="it does not close"):
        ran(tmp_path, PLAN, Stuck)

    class Worse(Stuck):
        def put(self, key, record):
            raise OSError("it does not write")

    with pytest.raises(WorkloadFailedError, match="it does not write"):
        ran(tmp_path, PLAN, Worse)


def test_a_store_that_loses_records_is_an_error(tmp_path):
    with pytest.raises(WorkloadFailedError, match="was not found") as raised:
        ran(tmp_path, PLAN._replace(workloads=["readrandom"]), Forgetful)
    assert isinstance(raised.value.__cause__, AbsentRecordError)


def test_ctrl_c_leaves_no_store_behind(tmp_path):
    class Interrupted(Plain):
        def put(self, key, record):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ran(tmp_path, PLAN, Interrupted)
    assert os.listdir(tmp_path) == []


def test_when_stores_take_all_the_time_there_are_fewer_turns(tmp_path):
    made = ran(tmp_path, PLAN._replace(seconds=1e-9, turns=5))
    assert made.measurements[0].operations <= 50, "one turn of five"


def test_when_there_is_time_there_are_more_turns(tmp_path):
    made = ran(tmp_path, PLAN._replace(turns_max=6))
    assert made.measurements[0].operations == 6 * 50


def test_progress_is_told_at_every_turn(tmp_path):
    told = []
    made = running(tmp_path, PLAN._replace(workloads=["fillseq", "fillsync"]), Plain, Synced,
                   watch=lambda what, done, total: told.append((what, done, total)))  # fmt: skip
    made.run()
    assert told == [
        ("fillseq: plain", 0, 2), ("fillseq: synced", 0, 2), ("fillseq: synced", 0, 2), ("fillseq: plain", 0, 2),
        ("fillsync: plain", 1, 2), ("fillsync: synced", 1, 2), ("fillsync: synced", 1, 2),
    ]  # fmt: skip
