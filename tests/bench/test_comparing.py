"""Comparing two runs: what is compared with what, what a regression is, and what is said of the rest."""

from __future__ import annotations

import msgspec
import pytest

from sessiondb_bench.comparing import compare
from sessiondb_bench.results import Environment, Measurement, Run

ENVIRONMENT = Environment(
    machine="x86_64", cpu="Intel", cores=2, memory_bytes=8 << 30, system="Linux 6.18", python="CPython 3.11.7",
    file_system="ext4", versions={}, load_before=0.2,
)  # fmt: skip


def put(**changed) -> Measurement:
    fields = {
        "operation": "fillrandom", "store": "json", "kind": "sessiondb", "guarantee": "power", "sync": "always",
        "record_bytes": 300, "records": 100, "operations": 1_000, "seconds": 1.0, "median_us": 100.0, "p95_us": 150.0,
        "p99_us": 200.0, "max_us": 900.0, "per_second": 9_000.0, "floor": "bare", "ratio": 1.1,
    }  # fmt: skip
    return Measurement(**{**fields, **changed})


def run(*measurements: Measurement, **changed) -> Run:
    return Run("sessiondb bench run", "workloads", "2026-11-23T02:00:00+00:00", "0.1.0", "abc",
               msgspec.structs.replace(ENVIRONMENT, **changed.pop("environment", {})), list(measurements),
               **changed)  # fmt: skip


def compared(old: Measurement, new: Measurement, **bounds):
    (change,) = compare(run(old), run(new), **bounds).changes
    return change


def test_a_ratio_is_compared_where_both_have_it_to_the_same_floor():
    change = compared(put(), put(median_us=300.0, ratio=1.21))
    assert (change.basis, change.factor) == ("ratio", pytest.approx(1.1))
    assert not change.is_regression, "the machine is slower, and its floor is, too"


@pytest.mark.parametrize("without", [{"ratio": None, "floor": ""}, {"floor": "another"}])
def test_else_the_median_is_compared_and_it_is_said(without):
    for old, new in ((put(), put(median_us=130.0, **without)), (put(**without), put(median_us=130.0))):
        change = compared(old, new)
        assert (change.basis, change.factor, change.is_regression) == ("median", pytest.approx(1.3), True)
        (warning,) = compare(run(old), run(new)).warnings
        assert warning.startswith("1 of 1 are compared by times")


def test_of_a_mix_the_throughput_is_compared():
    change = compared(put(operation="ycsb-a"), put(operation="ycsb-a", median_us=9_000.0, per_second=4_500.0))
    assert (change.basis, change.factor, change.is_regression) == ("throughput", pytest.approx(2.0), True)
    assert change.p99_factor is None
    assert compared(put(operation="ycsb-a (read)"), put(operation="ycsb-a (read)")).basis == "ratio"


@pytest.mark.parametrize(
    ("ratio", "bound", "regression"), [(1.37, 1.25, False), (1.38, 1.25, True), (1.38, 1.3, False), (0.5, 1.0, False)]
)
def test_beyond_the_bound_is_a_regression(ratio, bound, regression):
    found = compare(run(put()), run(put(ratio=ratio)), bound=bound)
    assert bool(found.regressions) == regression


def test_the_99th_percentile_is_judged_when_it_is_asked_for():
    """Against the floor, too: here floor and percentile are both twice as slow."""
    slower = put(median_us=200.0, p99_us=800.0)
    assert compared(put(), slower).p99_factor == pytest.approx(2.0)
    assert not compared(put(), slower).is_regression
    assert compared(put(), slower, p99_bound=1.5).is_regression
    assert not compared(put(), put(median_us=200.0, p99_us=400.0), p99_bound=1.5).is_regression


@pytest.mark.parametrize("kind", ["floor", "peer"])
def test_only_our_own_figures_are_judged(kind):
    assert not compared(put(kind=kind), put(kind=kind, ratio=9.0)).is_regression


def test_a_figure_of_few_operations_is_shown_and_not_judged():
    change = compared(put(), put(ratio=9.0, operations=49))
    assert (change.is_few, change.is_regression) == (True, False)
    assert compared(put(), put(ratio=9.0, operations=50)).is_regression


@pytest.mark.parametrize(
    "other",
    [{"operation": "overwrite"}, {"store": "lmdb"}, {"sync": "never"}, {"record_bytes": 200}, {"records": 9},
     {"threads": 2}, {"guarantee": "kill"}, {"kind": "peer"}],
)  # fmt: skip
def test_what_is_not_the_same_is_never_compared(other):
    found = compare(run(put()), run(put(**other)))
    assert found.changes == []
    assert found.only_old == [put()]
    assert found.only_new == [put(**other)]


def test_the_second_of_the_same_is_compared_with_the_second():
    found = compare(run(put(ratio=1.0), put(ratio=2.0)), run(put(ratio=1.0), put(ratio=2.0), put(ratio=3.0)))
    assert [change.factor for change in found.changes] == [1.0, 1.0]
    assert [each.ratio for each in found.only_new] == [3.0]


def test_a_figure_of_zero_is_not_divided_by():
    for changed in ({"ratio": None, "median_us": 0.0}, {"operation": "ycsb-a", "per_second": 0.0}):
        found = compare(run(put(**changed)), run(put(**changed)))
        assert found.changes == []
        assert found.only_old != []


def test_it_is_said_when_machines_differ():
    found = compare(run(put()), run(put(), environment={"cpu": "another", "file_system": "xfs"}))
    (warning,) = found.warnings
    assert "different machines or systems: processor Intel" in warning
    assert "file system ext4 and xfs" in warning


def test_it_is_said_when_the_floor_itself_moved():
    floor = {"kind": "floor", "store": "bare", "floor": "bare", "ratio": 1.0}
    found = compare(run(put(**floor)), run(put(median_us=250.0, **floor)))
    assert found.warnings == ["the machine itself changed: the floor 'bare' took 2.50 times as long in fillrandom"]


def test_it_is_said_when_a_run_is_not_whole():
    found = compare(run(put(), problem="it was interrupted"), run(put()))
    assert found.warnings == ["OLD is not whole: it was interrupted"]
