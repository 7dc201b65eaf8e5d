"""Workloads: each is what its name says, and the same for everyone who runs it."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from sessiondb_bench.records import key_of
from sessiondb_bench.workloads import FAMILIES, WORKLOADS, Sizes, is_mixed, record_pool, steps

SIZES = Sizes(2_000, 300, 1)
TWO = Sizes(2_000, 300, 2)


def keys(name, sizes=SIZES, thread=0):
    return [step.arguments[0] for step in steps(name, sizes, thread, 0)]


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_mix_is_the_one_that_is_promised(name):
    found = Counter(step.kind for step in steps(name, Sizes(20_000, 300, 1), 0, 0))
    total = sum(found.values())
    assert sum(WORKLOADS[name].mix.values()) == pytest.approx(1)
    for kind, share in WORKLOADS[name].mix.items():
        assert found[kind] / total == pytest.approx(share, abs=0.03)
    assert found.keys() == WORKLOADS[name].mix.keys()


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_same_seed_makes_the_same_steps_and_nothing_else_does(name):
    assert steps(name, SIZES, 0, 0) == steps(name, SIZES, 0, 0)
    if WORKLOADS[name].keys != "in order":
        assert steps(name, SIZES, 0, 0) != steps(name, SIZES, 0, 1)
        assert steps(name, SIZES, 0, 0) != steps(name, SIZES._replace(seed=2), 0, 0)
        assert steps(name, TWO, 0, 0) != steps(name, TWO, 1, 0)


def test_the_names_are_those_of_ycsb_and_db_bench():
    assert FAMILIES["ycsb"] == [f"ycsb-{letter}" for letter in "abcdef"]
    assert set(FAMILIES["db_bench"]) == {
        "fillseq", "fillrandom", "fillsync", "overwrite", "readrandom", "readseq", "readwhilewriting"
    }  # fmt: skip
    assert FAMILIES["all"] == list(WORKLOADS)


def test_fillseq_writes_every_key_once_and_in_order_each_thread_its_part():
    assert keys("fillseq") == [key_of(number) for number in range(2_000)]
    assert keys("fillseq", TWO, 0) + keys("fillseq", TWO, 1) == keys("fillseq")


def test_readseq_reads_every_record_once():
    assert [step.arguments for step in steps("readseq", SIZES, 0, 0)] == [(key_of(0), 2_000, 100)] * 20
    assert [step.arguments for step in steps("readseq", TWO, 1, 0)] == [(key_of(1_000), 1_000, 100)] * 10


def test_fillsync_is_a_hundredth_of_fillrandom():
    assert len(steps("fillsync", SIZES, 0, 0)) == 20
    assert WORKLOADS["fillsync"].synced_only


@pytest.mark.parametrize("name", [name for name, workload in WORKLOADS.items() if workload.loaded])
def test_only_records_that_are_there_are_read(name):
    """Those that were loaded, and those that the same thread has inserted before."""
    for thread in (0, 1):
        there = {key_of(number) for number in range(2_000)}
        for step in steps(name, TWO, thread, 0):
            if step.kind == "insert":
                assert step.arguments[0] not in there
                there.add(step.arguments[0])
            else:
                assert step.arguments[0] in there


def test_threads_insert_different_records():
    inserted = [
        {step.arguments[0] for step in steps("ycsb-d", Sizes(20_000, 300, 2), thread, 0) if step.kind == "insert"}
        for thread in (0, 1)
    ]
    assert len(inserted[0]) > 100
    assert not inserted[0] & inserted[1]


def test_workload_d_reads_what_is_new():
    """More than half of its reads go to a hundredth of the records, the last ones."""
    read = [step.arguments[0] for step in steps("ycsb-d", SIZES, 0, 0) if step.kind == "read"]
    assert sum(key >= key_of(1_980) for key in read) > len(read) / 3


def test_scans_have_every_length_up_to_a_hundred():
    lengths = [step.arguments[1] for step in steps("ycsb-e", Sizes(100_000, 300, 1), 0, 0) if step.kind == "scan"]
    assert set(lengths) == set(range(1, 101))


def test_the_writer_beside_overwrites():
    beside = steps("readwhilewriting", SIZES, 1, 0)
    assert {step.kind for step in beside} == {"write"}
    assert {step.kind for step in steps("readwhilewriting", SIZES, 0, 0)} == {"read"}


def test_what_is_written_has_the_size_that_was_asked_for():
    for size in (200, 300, 5_000):
        pool = record_pool(size)
        assert {len(msgspec.json.encode(record)) for record in pool} == {size}
        assert len({msgspec.json.encode(record) for record in pool}) == len(pool) == 500
    assert len(record_pool(1 << 20)) == 16
    assert not [record for record in record_pool(300, others=True) if record in record_pool(300)]


@pytest.mark.parametrize("name", [name for name, each in WORKLOADS.items() if each.loaded])
def test_hardly_anything_is_replaced_by_what_is_there(name):
    """SQLite compares, and neither writes nor syncs then: `sqlite3 WAL FULL` looked fifty times as fast as it is."""
    loaded = record_pool(300)
    there = {key_of(number): loaded[number % len(loaded)] for number in range(2_000)}
    same = 0
    for step in [step for thread in (0, 1) for step in steps(name, SIZES, thread, 0) if thread == 0 or "while" in name]:
        if step.kind in ("update", "write"):
            key, record = step.arguments
            same += there[key] == record
            there[key] = record
        elif step.kind == "modify":
            key, changes = step.arguments
            same += there[key] == (changed := {**there[key], **changes})
            there[key] = changed
    assert same <= 2, "of 2,000; the pool is finite"


def test_every_thread_has_something_to_do():
    for name in WORKLOADS:
        for thread in range(3):
            assert steps(name, Sizes(3, 300, 3), thread, 0)


def test_steps_are_bounded():
    assert len(steps("readrandom", Sizes(5_000_000, 300, 1), 0, 0)) == 100_000


def test_only_a_workload_of_several_kinds_is_mixed():
    assert is_mixed("ycsb-a")
    assert not is_mixed("ycsb-c")
    assert not is_mixed("ycsb-a (read)")
    assert not is_mixed("get (cold)")
