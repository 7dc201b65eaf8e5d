"""The targets: each is measured beside what it is compared with, and judged right. Nobody asserts a time."""

import pytest

from sessiondb_bench.results import load_run
from sessiondb_bench.subjects.floors import CODED, ZEROED
from sessiondb_bench.system.plan import BACKENDS, Plan
from sessiondb_bench.targets import __main__ as command
from sessiondb_bench.targets import whole
from sessiondb_bench.targets.puts import batches, durable_puts, large_files
from sessiondb_bench.targets.reads import hot_gets
from sessiondb_bench.targets.target import Target, blocks_in_turns, latencies_in_turns, ratio_of, table_of


@pytest.fixture
def plan(tmp_path):
    return Plan(folder=str(tmp_path), rounds=1, replayed=30, replayed_batch=10, moved=40, alone_s=0.0, commits=5)


def target(measured, asked, **values):
    fields = {"name": "x", "store": "json", "guarantee": "power", "record_bytes": 300, "records": 1, **values}
    return Target(measured=measured, asked=asked, **fields)


# ---- judging


@pytest.mark.parametrize(
    ("measured", "asked", "at_least", "reached"),
    [(1.25, 1.25, False, True), (1.26, 1.25, False, False), (300_000, 300_000, True, True),
     (299_999, 300_000, True, False), (7.0, None, False, None)],
)  # fmt: skip
def test_a_target_is_reached_up_to_its_bound(measured, asked, at_least, reached):
    assert target(measured, asked, at_least=at_least).reached is reached


def test_the_table_says_no_where_it_is_no():
    text = table_of([target(2.92, 1.5), target(384_622, 300_000, at_least=True), target(15.6, None)]).splitlines()
    assert text[2:] == [
        "| x | <= 1.50 | 2.92 | **no** |  |", "| x | >= 300,000 | 384,622 | yes |  |", "| x |  | 15.60 |  |  |",
    ]  # fmt: skip


def test_a_ratio_stands_in_the_run_as_a_ratio_and_a_rate_does_not():
    one = target(1.1, 1.25, floor=ZEROED).measurement()
    assert (one.ratio, one.floor) == (1.1, ZEROED)
    assert one.counts == {"measured": 1.1, "asked_at_most": 1.25, "reached": 1}
    rate = target(5.0, 4.0, at_least=True).measurement()
    assert (rate.ratio, rate.counts) == (None, {"measured": 5.0, "asked_at_least": 4.0, "reached": 1})


# ---- turns


def test_works_take_turns_the_first_changes_and_a_first_round_is_not_counted():
    calls = []
    works = {name: lambda number, name=name: calls.append((name, number)) for name in "ab"}
    taken = latencies_in_turns(2, 3, works)
    assert [name for name, _ in calls[::3]] == ["a", "b", "b", "a", "a", "b"]
    assert [number for name, number in calls if name == "a"] == list(range(9))
    assert {name: [len(part) for part in parts] for name, parts in taken.items()} == {"a": [3, 3], "b": [3, 3]}


def test_blocks_are_timed_as_a_whole_for_each_operation_in_them():
    done = []
    taken = blocks_in_turns(2, {"a": lambda: done.append("a") or 4, "b": lambda: done.append("b") or 4})
    assert done == ["a", "b", "b", "a", "a", "b"]
    assert {name: len(figures) for name, figures in taken.items()} == {"a": 2, "b": 2}


def test_the_median_of_the_rounds_ratios_counts_and_not_the_ratio_of_medians():
    assert ratio_of([[2, 2, 9], [30], [4]], [[1, 1, 1], [10], [4]]) == 2
    assert ratio_of([6.0], [4.0]) == 1.5


# ---- measuring


def test_a_durable_put_is_compared_with_the_disk_and_with_durable_stores_only(plan):
    names = [one.name for one in durable_puts(plan, 1, 2)]
    assert names[0] == f"durable put : {ZEROED}"
    assert "durable put : lmdb sync" in names
    assert not any("nosync" in name for name in names)


def test_a_batch_is_compared_with_one_write(plan):
    (one,) = batches(plan, 1, 1)
    assert (one.asked, one.floor) == (1.5, ZEROED)
    assert one.measured > 0


def test_hot_gets_are_measured_in_the_three_places_where_a_record_is_in_memory(plan):
    targets = hot_gets(plan, 1, 10, 20)
    assert [(one.floor, one.store) for one in targets] == [(CODED, "json"), (CODED, "json"), (CODED, "sqlite")]


def test_a_large_file_is_compared_with_a_small_one(plan):
    (one,) = large_files(plan, 1, 10, large=300)
    assert one.name == "JSON put at 300 records : at 100"


def test_checkpoints_are_judged_where_something_was_asked(plan):
    targets = whole.checkpoints(plan)
    assert [(one.store, one.asked) for one in targets] == [
        (backend, asked)
        for backend in BACKENDS
        for asked in ((None, None) if backend == "json" else (100_000, 3.0))
    ]  # fmt: skip


def test_shared_syncs_are_counted(plan):
    (one,) = whole.shared_syncs(plan)
    assert 0 < one.measured <= 1
    assert one.detail.endswith(": 40, counted")


def test_replay_is_measured_from_small_and_large_transactions(plan, monkeypatch):
    answers = {
        1: {"records": 30, "replay_ns": 1e8, "open_ns": 2e8},
        10: {"records": 30, "replay_ns": 1e5, "open_ns": 1e6},
    }
    monkeypatch.setattr(whole, "replays", lambda _plan, _backend, batch: [answers[batch]])
    assert [(one.measured, one.reached) for one in whole.replay(plan)] == [(300, False), (300_000, True)]


def test_a_run_is_printed_and_written_whatever_comes_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "measure", lambda plan, quick: [target(9.0, 1.0, floor=ZEROED)])
    monkeypatch.setattr(command, "missing_peers", lambda: {"rocksdict sync": "it is not installed", "ZODB": "neither"})
    work = tmp_path / "work"
    work.mkdir()
    assert command.main(["--quick", "--dir", str(work), "--output", str(tmp_path / "run.json")]) == 0
    run = load_run(tmp_path / "run.json")
    assert [one.operation for one in run.measurements] == ["target: x"]
    printed = capsys.readouterr().out
    assert "| x | <= 1.00 | 9.00 | **no** |" in printed
    assert "not measured: rocksdict sync: it is not installed" in printed
    assert "ZODB" not in printed
    assert list(work.iterdir()) == []
