"""Measuring in turns, on a clock that the test moves."""

from __future__ import annotations

import pytest

from sessiondb_bench import turns as module
from sessiondb_bench.histogram import Histogram
from sessiondb_bench.results import measured
from sessiondb_bench.turns import Turns, in_turns, probe


class Clock:
    """Stands still but for `take`."""

    def __init__(self):
        self.now = 0
        self.slowness = 1

    def perf_counter_ns(self):
        return self.now

    def take(self, nanoseconds):
        self.now += nanoseconds * self.slowness


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_floor_and_store_take_turns_with_the_same_arguments():
    done = []
    turns = Turns(lambda number: (number,), lambda number: done.append(("floor", number)), 2)
    in_turns(lambda number: done.append(("mine", number)), turns, 4)
    assert done == [
        ("floor", 0), ("floor", 1), ("mine", 0), ("mine", 1), ("floor", 2), ("floor", 3), ("mine", 2), ("mine", 3),
    ]  # fmt: skip


def test_a_machine_that_becomes_slower_changes_the_times_and_not_the_ratio(clock):
    def mine(number):
        clock.take(3_000)
        if number == 49:
            clock.slowness = 10

    turns = Turns(lambda number: (number,), lambda _: clock.take(2_000), 10)
    taken = in_turns(mine, turns, 100)
    assert (min(taken), max(taken)) == (3_000, 30_000)
    assert (min(turns.floor_ns), max(turns.floor_ns)) == (2_000, 20_000)
    assert turns.ratio(taken) == 1.5


def test_fast_operations_are_compared_in_slices_and_each_goes_first_in_turn(clock):
    order = []

    def mine(_):
        order.append("mine")
        clock.take(30)

    def floor(_):
        order.append("floor")
        clock.take(20)

    turns = Turns(lambda number: (number,), floor, 2, mine=mine)
    assert turns.ratio(in_turns(mine, turns, 4)) == 1.5
    one_by_one = ["floor", "floor"], ["mine", "mine"]
    assert order == [*one_by_one[0], "floor", "floor", "mine", "mine", *one_by_one[1],
                     *one_by_one[0], "mine", "mine", "floor", "floor", *one_by_one[1]]  # fmt: skip


def test_another_program_that_gets_in_between_now_and_then_changes_no_ratio(clock):
    done = 0

    def mine(_):
        nonlocal done
        done += 1
        clock.take(4_000_000 if done % 300 == 0 else 30)

    turns = Turns(lambda number: (number,), lambda _: clock.take(20), 640, mine=mine)
    assert turns.ratio(in_turns(mine, turns, 1_280)) == 1.5


def test_what_prepares_an_operation_is_not_timed_and_comes_right_before_it(clock):
    done = []

    def prepare(number):
        done.append(f"prepare {number}")
        clock.take(1_000_000)

    turns = Turns(lambda number: (number,), lambda _: clock.take(7), 2, prepare=prepare, first=5)
    assert in_turns(lambda number: done.append(f"do {number}"), turns, 2) == [0, 0]
    assert done == ["prepare 5", "do 5", "prepare 6", "do 6"]
    assert turns.floor_ns == [7, 7]


def test_without_a_floor_there_is_no_ratio(clock):
    turns = Turns(lambda number: (), None, 3)
    taken = in_turns(lambda: clock.take(5), turns, 6)
    assert taken == [5] * 6
    assert turns.ratio(taken) is None


def test_a_measurement_gets_the_floors_name_and_the_ratio(clock):
    turns = Turns(lambda number: (), lambda: clock.take(100), 2)
    taken = in_turns(lambda: clock.take(250), turns, 4)
    histogram = Histogram()
    histogram.add_all(taken)
    line = measured("put", "x", "peer", "kill", histogram, seconds=1, record_bytes=300, records=1)
    compared = turns.compared(line, taken, "pwrite")
    assert (compared.floor, compared.ratio) == ("pwrite", 2.5)
    assert turns.floor_histogram().count == 4


def test_probing_stops_after_a_few_operations_or_a_tenth_of_a_second(clock):
    assert probe(lambda: clock.take(1_000), lambda _: (), None) == [1_000] * 20
    assert probe(lambda: clock.take(60_000_000), lambda _: (), None) == [60_000_000] * 2
    assert probe(lambda number: clock.take(number + 1), lambda number: (number,), None, 3) == [1, 2, 3]
