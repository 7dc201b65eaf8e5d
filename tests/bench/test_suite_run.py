"""The suite as people run it, with stores so small that it is over at once; nobody asserts its figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from sessiondb_bench.histogram import Histogram
from sessiondb_bench.results import load_run, measured
from sessiondb_bench.suite import (
    Collected,
    Label,
    Sizes,
    Task,
    command_of,
    free_name,
    measure,
    table_of,
    without_places,
)

ROOT = Path(__file__).parents[2]


def run_suite(tmp_path, *words, **environment):
    """What was written, the native JSON, and what was printed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    (tmp_path / "stores").mkdir()
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "bench", "--bench-records=120", "--bench-seconds=0.002", "-p",
            "no:cacheprovider", f"--bench-dir={tmp_path / 'stores'}", f"--run-file={tmp_path / 'run.json'}",
            f"--benchmark-json={tmp_path / 'native.json'}", *words,
        ],
        cwd=ROOT, env=inherited | environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "stores").iterdir()) == [], "every store is gone"
    return load_run(tmp_path / "run.json"), json.loads((tmp_path / "native.json").read_text()), done.stdout


def test_a_run_measures_every_kind_of_store_and_says_what_it_could_not_measure(tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "plyvel.py").write_text("raise ImportError('broken on purpose')")
    run, native, printed = run_suite(
        tmp_path, "-k", "test_put and (memory or lmdb-never or postgres-never or plyvel-sync or zero) or test_get_cold"
        " or test_find[sqlite-index] or (test_checkpoint and json)",
        PYTHONPATH=str(tmp_path / "broken"), SESSIONDB_TEST_PG_DSN="postgresql://nobody@127.0.0.1:1/nothing",
    )  # fmt: skip
    lines = {(line.operation, line.store, line.sync): line for line in run.measurements}
    assert {kind for line in run.measurements for kind in [line.kind]} == {"sessiondb", "floor"}
    put = lines["put", "lmdb", "never"]
    assert (put.guarantee, put.floor, put.records, put.record_bytes) == ("kill", "pwrite", 120, 300)
    assert put.ratio is not None
    assert ("put", "pwrite", "") in lines, "the floor that took turns has its line"
    zeroed = lines["put", "pwrite + fdatasync, zero-filled file", ""]
    assert (zeroed.kind, zeroed.guarantee, zeroed.ratio) == ("floor", "power", None)
    assert len(lines) == len(run.measurements), "no line is there twice"
    assert lines["get (cold)", "sqlite", "always"].floor == "dict + msgspec"
    assert lines["checkpoint", "json", ""].unit == "records"
    assert lines["find (index)", "sqlite", "always"].note == "2 of the records satisfy it"
    assert not any(store == "postgres" for _, store, _ in lines)

    left_out = dict(line.split(": ", 1) for line in run.left_out)
    assert left_out["plyvel sync"] == "broken on purpose; next: pip install plyvel"
    assert left_out["postgres"] == "the server does not answer"
    assert "NOT MEASURED: plyvel sync: broken on purpose" in printed
    assert "NOT MEASURED: postgres: the server does not answer" in printed

    assert (run.suite, run.problem) == ("latency", "")
    assert str(tmp_path) not in run.command
    assert run.command.startswith("pytest bench --bench-records=120")
    entry = next(entry for entry in native["benchmarks"] if entry["name"] == "test_put[lmdb-never]")
    assert {"p95_us", "p99_us", "per_second", "ratio", "guarantee"} <= entry["extra_info"].keys()
    assert entry["stats"]["rounds"] == put.operations
    assert "node" not in native["machine_info"]


def line(operation="put", store="x", guarantee="kill", took=(1_000,), kind="peer", units=None):
    histogram = Histogram()
    histogram.add_all(took)
    return measured(
        operation, store, kind, guarantee, histogram, seconds=histogram.total_ns / 1e9, record_bytes=300, records=9,
        units=units,
    ), histogram  # fmt: skip


def test_a_floor_that_was_measured_beside_several_stores_is_one_line():
    collected = Collected()
    collected.add(line(store="mine")[0])
    collected.add_floor(*line(store="pwrite", kind="floor", took=(1_000, 2_000), units=20))
    collected.add_floor(*line(store="pwrite", kind="floor", took=(3_000,), units=10))
    mine, floor = collected.all()
    assert (mine.store, floor.store, floor.operations) == ("mine", "pwrite", 3)
    assert floor.max_us == 3
    assert round(floor.per_second * floor.seconds) == 30


def test_the_table_never_puts_stores_of_different_guarantees_together():
    rows = [line(store=f"store {guarantee}", guarantee=guarantee)[0] for guarantee in ("nothing", "kill", "power")]
    text = "\n".join(table_of(rows))
    tables = [table for table in text.split("\n\n") if table.strip()]
    assert len(tables) == 3
    for guarantee, table in zip(("nothing", "kill", "power"), tables, strict=True):
        assert f"store {guarantee} " in table
        assert table.count("store ") == 1


def test_a_run_never_takes_the_name_of_another(tmp_path):
    assert free_name(tmp_path, "2026-01-02", "abc+").name == "2026-01-02-abc-changed.json"
    assert free_name(tmp_path, "2026-01-02", "").name == "2026-01-02-unknown.json"
    for number in ("", "-2"):
        (tmp_path / f"2026-01-02-abc{number}.json").touch()
    assert free_name(tmp_path, "2026-01-02", "abc").name == "2026-01-02-abc-3.json"


class Disabled:
    """The fixture of pytest-benchmark under ``--benchmark-disable``."""

    disabled = True
    group = None

    def pedantic(self, target, setup):
        args, kwargs = setup()
        target(*args, **kwargs)


def test_with_benchmarks_disabled_everything_is_done_once_and_nothing_collected():
    done, collected = [], Collected()
    task = Task(Label("x", "peer", "kill"), "put", done.append, lambda number: (number,), ("pwrite", done.append))
    measure(Disabled(), task, Sizes(10, 300, 1.0), collected)
    assert done == [0]
    assert collected.all() == []


def test_there_are_as_many_operations_as_the_time_allows_within_bounds():
    sizes = Sizes(10, 300, 0.1)
    assert sizes.rounds(2_000, 10, 20_000) == 10_000
    assert sizes.rounds(10_000_000, 10, 20_000) == 10
    assert sizes.rounds(100, 10, 5_000) == 5_000


def test_the_command_of_a_run_has_no_folder_of_this_machine(tmp_path):
    root = tmp_path / "checkout"
    words = [
        "bench",
        "-q",
        "--bench-dir",
        "/mnt/disk",
        "--run-file=/home/me/x",
        "-k",
        "put or get",
        f"{root}/bench/suite",
    ]
    assert command_of(words, root) == "pytest bench -q -k 'put or get' bench/suite"
    assert command_of([f"--bench-dir={root}/here", "bench", "/elsewhere/x.py"], root) == "pytest --bench-dir=here bench"


def test_what_is_left_out_is_told_without_the_places_of_this_machine():
    assert without_places("plyvel: cannot load /home/me/x.so: gone; next: pip install plyvel") == (
        "plyvel: cannot load ... gone; next: pip install plyvel"
    )
    assert without_places("postgres: the server does not answer: connection to db.example.org\nfailed") == (
        "postgres: the server does not answer"
    )
