"""Whole-system figures: that they are taken, what they count, and how they are written. Nobody asserts a time."""

import json
import subprocess
from types import SimpleNamespace

import pytest

from sessiondb.checkpoint import Checkpointer
from sessiondb.errors import StoreFailedError
from sessiondb_bench.results import load_run
from sessiondb_bench.system import __main__ as command
from sessiondb_bench.system import disk, memory, pauses, replay, starting, syncs
from sessiondb_bench.system.child import run_in_child, run_until_killed
from sessiondb_bench.system.figures import counted, from_latencies, lines, median
from sessiondb_bench.system.plan import BACKENDS, Plan

TINY = {
    "rounds": 2, "replayed": 50, "replayed_batch": 7, "moved": 60, "alone_s": 0.0, "sizes": (20,), "reads": 5,
    "memtable": 500, "puts": 40, "durable_puts": 10, "keys": 10, "every": 20, "threads": (1, 3), "commits": 6,
    "starts": 2,
}  # fmt: skip


@pytest.fixture
def plan(tmp_path):
    return Plan(folder=str(tmp_path), **TINY)


# ---- syncs


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_thread_at_always_syncs_once_for_each_commit(backend, plan):
    counts = syncs.commits(plan, backend, 1, "always").counts
    assert counts == {"commits": 6, "syncs": 6, "syncs_of_files": 6, "syncs_per_commit": 1}


def test_several_threads_share_syncs_and_never_need_more_than_one_each(plan):
    one = syncs.commits(plan, "json", 4, "always")
    assert one.counts["commits"] == one.operations == 24
    assert 0 < one.counts["syncs"] == one.counts["syncs_of_files"] <= 24
    assert one.threads == 4


def test_commits_that_do_not_wait_for_the_disk_sync_nothing(plan):
    one = syncs.commits(plan, "json", 2, "never")
    assert one.counts["syncs"] == one.counts["syncs_of_files"] == 0
    assert one.guarantee == "kill"


def test_an_error_in_a_thread_is_raised_where_it_was_asked_for(plan, monkeypatch):
    def fail(*_):
        raise StoreFailedError("the disk is full")

    monkeypatch.setattr(syncs, "_work", fail)
    with pytest.raises(StoreFailedError, match="the disk is full"):
        syncs.commits(plan, "json", 2, "always")


# ---- replay


def test_replay_counts_what_a_killed_program_left(plan, tmp_path):
    answers = replay.replays(plan, "json", 7)
    assert [(one["records"], one["transactions"]) for one in answers] == [(50, 8)] * 2
    assert all(0 < one["replay_ns"] <= one["open_ns"] for one in answers)
    assert len(list(tmp_path.iterdir())) == 1, "the copies are removed"


def test_a_child_that_fails_says_why(plan):
    with pytest.raises(RuntimeError, match=r"(?s)fill failed with exit code 1.*does not exist"):
        run_in_child(memory.fill, location=f"{plan.folder}/none/x.json", count=1, record_bytes=300)


def test_a_child_that_should_have_been_killed_and_was_not_is_an_error(plan):
    with pytest.raises(RuntimeError, match="was not killed"):
        run_until_killed(replay.open_and_die, location=f"{plan.folder}/none/x.json", output=f"{plan.folder}/answer")


# ---- pauses


@pytest.mark.parametrize("backend", BACKENDS)
def test_puts_are_watched_without_and_beside_a_checkpoint(backend, plan):
    alone, beside, rate = pauses.measure(Plan(folder=plan.folder, **{**TINY, "rounds": 1, "backends": (backend,)}))
    assert (alone.operation, beside.operation) == ("put without a checkpoint", "put beside a checkpoint")
    assert alone.operations >= 1
    assert beside.operations == sum(count for _, count in beside.histogram) >= 1
    assert beside.counts["p99_ratio_to_without"] > 0
    assert rate.counts.keys() == {"records_per_second_beside_a_writer", "records_per_second_asked_for"}


def test_a_checkpoint_that_fails_is_no_figure(plan, monkeypatch):
    def fail(*_):
        raise StoreFailedError("no room")

    monkeypatch.setattr(Checkpointer, "run", fail)
    with pytest.raises(StoreFailedError, match="no room"):
        pauses.watch(plan, "json")


# ---- disk and memory, in processes of their own


def test_disk_and_memory_have_a_measurement_for_each_question(plan, monkeypatch):
    for module in (disk, memory):
        monkeypatch.setattr(module, "run_in_child", lambda function, **arguments: function(**arguments))
    small = Plan(folder=plan.folder, **{**TINY, "backends": ("json",)})
    assert [(one.operation, one.sync) for one in disk.measure(small)] == [
        ("bytes written", "never"), ("bytes written", "always"), ("idle store", ""),
    ]  # fmt: skip
    assert [(one.operation, one.records) for one in memory.measure(small)] == [
        ("memory of a process that reads", 20), ("memory of the memtable", 500),
    ]  # fmt: skip


# ---- start


def test_commands_are_started_in_turns_and_the_first_start_is_not_counted(plan, monkeypatch):
    started = []

    def run(words, **options):
        assert not any(name.startswith("SESSIONDB_") for name in options["env"])
        assert "PYTHONDONTWRITEBYTECODE" not in options["env"], "it would be compiled at each start"
        started.append(tuple(words[1:3]))
        return SimpleNamespace(returncode=0, stderr=b"")

    monkeypatch.setattr(starting.subprocess, "run", run)
    monkeypatch.setenv("SESSIONDB_SYNC", "never")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    measurements = starting.measure(Plan(folder=plan.folder, **{**TINY, "backends": ("json",)}))
    assert len(started) == 3 * len(measurements) == 3 * 6
    assert started[:6] == started[6:12] == started[12:]
    assert all(one.operations == 2 for one in measurements)
    assert [one.ratio is None for one in measurements] == [True] + 5 * [False]


def test_a_command_that_fails_is_no_figure(plan, monkeypatch):
    monkeypatch.setattr(starting, "command", lambda: ["false"])
    with pytest.raises(RuntimeError, match="false --version ended with 1"):
        starting.measure(Plan(folder=plan.folder, **{**TINY, "backends": ()}))


def test_the_command_of_this_python_is_found():
    done = subprocess.run([*starting.command(), "--version"], capture_output=True, check=True)
    assert done.stdout.startswith(b"sessiondb ")


# ---- the run as a whole


def test_a_run_is_printed_and_written_and_leaves_nothing_behind(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Plan, "quick", classmethod(lambda cls, **values: cls(**{**TINY, **values})))
    work = tmp_path / "work"
    work.mkdir()
    words = ["--quick", "--part", "syncs", "--backend", "json", "--dir", str(work)]
    assert command.main([*words, "--output", str(tmp_path / "run.json")]) == 0
    run = load_run(tmp_path / "run.json")
    assert (run.suite, run.command.split()[:3]) == ("system", ["python", "-m", "sessiondb_bench.system"])
    assert [one.threads for one in run.measurements] == [1, 3]
    assert list(work.iterdir()) == []
    assert "put (syncs counted): json, sync always, 6 records" in capsys.readouterr().out


def test_folders_and_the_servers_address_are_not_told_in_the_file(tmp_path, monkeypatch):
    dropped = []
    monkeypatch.setattr(Plan, "drop_schema", lambda plan: dropped.append(plan.dsn))
    monkeypatch.setattr(command, "measure", lambda plan, parts: [])
    server = "postgresql://me:secret@host/db"
    assert (
        command.main([f"--dsn={server}", "--dir", str(tmp_path), "--output", f"{tmp_path}/x.json", "--part", "disk"])
        == 0
    )
    told = "--backend json --backend sqlite --backend lmdb --backend postgres --part disk --dsn URL"
    assert load_run(tmp_path / "x.json").command == f"python -m sessiondb_bench.system {told}"
    assert dropped == [server]


def test_what_is_written_on_a_server_is_not_guessed(plan, monkeypatch):
    monkeypatch.setattr(
        disk, "run_in_child", lambda *_, **__: {"user_bytes": 1, "all_written_bytes": 2, "disk_bytes": 3}
    )
    served = Plan(folder=plan.folder, dsn="postgresql://host/db", **{**TINY, "backends": ("postgres",)})
    assert [one.counts for one in disk.measure(served)] == [{"user_bytes": 1}, {"user_bytes": 1}]


def test_where_memory_cannot_be_looked_at_the_rest_is_measured_and_the_run_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "resident", lambda: None)
    monkeypatch.setitem(command.PARTS, "disk", lambda plan: [])
    words = ["--part", "memory", "--part", "disk", "--output", f"{tmp_path}/x.json"]
    assert command.main(words) == 0
    (sentence,) = load_run(tmp_path / "x.json").left_out
    assert sentence.startswith("memory: ")
    assert f"not measured: {sentence}" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--dir", "--output"])
def test_a_place_that_is_not_there_is_refused_before_anything_is_measured(option, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        command.main([option, f"{tmp_path}/none/x"])
    assert end.value.code == 2
    assert option in capsys.readouterr().err


def test_postgres_needs_a_server(capsys):
    with pytest.raises(SystemExit) as end:
        command.main(["--backend", "postgres"])
    assert end.value.code == 2
    assert "needs --dsn URL" in capsys.readouterr().err


def test_every_part_that_can_be_asked_for_is_there():
    assert list(command.PARTS) == ["replay", "pauses", "syncs", "disk", "memory", "start"]


# ---- figures


@pytest.mark.parametrize(("values", "middle"), [([], 0.0), ([3, 1, 2], 2), ([4, 1, 3, 2], 2.5)])
def test_the_median_is_the_middle(values, middle):
    assert median(values) == middle


def test_what_was_counted_is_printed_without_times():
    one = counted("idle store", "json", {"bytes": 28672, "share": 0.5}, guarantee="power", record_bytes=300, records=0)
    text = "\n".join(lines([one]))
    assert "28,672" in text
    assert "0.500" in text
    assert " us" not in text
    assert json.loads(json.dumps(one.counts)) == one.counts


def test_what_was_timed_is_printed_with_its_longest():
    one = from_latencies(
        "put", "json", [1000, 2000, 9_000_000], guarantee="power", counts={}, record_bytes=300, records=3
    )
    assert "max 9,000" in "\n".join(lines([one]))
