"""Driving subjects: everything is done, timed and looked at, by one thread or by many."""

from __future__ import annotations

import threading

import pytest

from sessiondb_bench.driver import STEPS_MIN, AbsentRecordError, TooSlowError, drive, load
from sessiondb_bench.records import key_of
from sessiondb_bench.workloads import Sizes, Step, steps

from .stand_ins import Bare, Forgetful, Plain

SIZES = Sizes(1_000, 300, 1)
LONG = 60.0


def loaded(subject=None, sizes=SIZES):
    subject = subject or Plain()
    load(subject, sizes, LONG)
    return subject


def test_a_store_is_filled_in_batches_where_it_has_them():
    for subject in (loaded(), loaded(Bare())):
        assert sorted(subject.records) == [key_of(number) for number in range(1_000)]
    assert loaded().calls == []
    assert loaded(Bare()).calls == ["put"] * 1_000


def test_a_store_that_takes_too_long_to_fill_is_not_waited_for():
    subject = Bare()
    with pytest.raises(TooSlowError, match="only 1,000 of 5,000 records"):
        load(subject, Sizes(5_000, 300, 1), 0.0)
    assert len(subject.records) < 5_000


def test_every_step_is_done_and_timed_by_kind():
    subject = loaded()
    plan = steps("ycsb-a", SIZES, 0, 0)
    turn = drive(subject, [plan], LONG)
    assert {kind: histogram.count for kind, histogram in turn.histograms.items()} == {
        kind: sum(step.kind == kind for step in plan) for kind in ("read", "update")
    }
    assert subject.calls == ["get" if step.kind == "read" else "put" for step in plan]
    assert turn.seconds > 0


@pytest.mark.parametrize("name", ["ycsb-d", "ycsb-e", "ycsb-f", "readrandom", "overwrite", "fillseq"])
def test_every_workload_runs_with_one_thread_and_with_four(name):
    for threads in (1, 4):
        sizes = Sizes(1_000, 300, threads)
        plans = [steps(name, sizes, thread, 0) for thread in range(threads)]
        turn = drive(loaded(), plans, LONG)
        assert sum(histogram.count for histogram in turn.histograms.values()) == sum(map(len, plans))


def test_reading_on_reads_every_record_once():
    for threads in (1, 3):
        sizes = Sizes(999, 300, threads)
        subject = loaded(sizes=sizes)
        turn = drive(subject, [steps("readseq", sizes, thread, 0) for thread in range(threads)], LONG)
        assert turn.records == 900
        assert subject.calls == ["scan"] * threads


def test_when_the_time_is_up_a_few_steps_are_done_all_the_same():
    turn = drive(loaded(), [steps("readrandom", SIZES, 0, 0)], 0.0)
    assert turn.histograms["read"].count == STEPS_MIN
    assert drive(loaded(), [steps("readrandom", SIZES, 0, 0)[:3]], 0.0).histograms["read"].count == 3


def test_a_record_that_is_not_found_is_an_error_and_no_fast_read():
    for plans in ([[Step("read", (key_of(5_000),))]], [[Step("scan", (key_of(5_000), 9))]] * 2):
        with pytest.raises(AbsentRecordError, match="'task-0005000' was stored, and was not found"):
            drive(loaded(), plans, LONG)
    subject = Forgetful()
    load(subject, SIZES, LONG)
    with pytest.raises(AbsentRecordError):
        drive(subject, [steps("readseq", SIZES, 0, 0)], LONG)


def test_threads_work_at_the_same_time():
    together = threading.Barrier(4)

    class Meeting(Plain):
        def get(self, key):
            together.wait(30)
            return super().get(key)

    turn = drive(loaded(Meeting()), [[Step("read", (key_of(0),))]] * 4, LONG)
    assert turn.histograms["read"].count == 4


def test_an_error_in_one_thread_ends_all_of_them():
    class Breaking(Plain):
        def get(self, key):
            if key == key_of(1):
                raise OSError("the disk is gone")
            return super().get(key)

    before = threading.active_count()
    endless = [Step("read", (key_of(0),))] * 100_000
    with pytest.raises(OSError, match="the disk is gone"):
        drive(loaded(Breaking()), [endless, [Step("read", (key_of(1),))]], LONG)
    assert threading.active_count() == before


def test_the_thread_beside_works_as_long_as_the_others_and_is_not_counted():
    wrote = threading.Event()

    class Waiting(Plain):
        def put(self, key, record):
            super().put(key, record)
            wrote.set()

        def get(self, key):
            assert wrote.wait(30)
            return super().get(key)

    before, subject = threading.active_count(), loaded(Waiting())
    turn = drive(subject, [steps("readwhilewriting", SIZES, 0, 0)], LONG, beside=steps("readwhilewriting", SIZES, 1, 0))
    assert turn.histograms.keys() == {"read"}
    assert "put" in subject.calls
    assert threading.active_count() == before


def test_an_error_beside_is_an_error():
    class Full(Plain):
        def put(self, key, record):
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        drive(loaded(Full()), [[Step("read", (key_of(0),))]], LONG, beside=[Step("write", (key_of(0), {}))])


def test_an_operation_that_a_subject_has_not_is_said_so():
    with pytest.raises(NotImplementedError):
        drive(loaded(Bare()), [steps("ycsb-e", SIZES, 0, 0)], LONG)
