"""`sessiondb bench run`, `compare` and `report`: on small stores; nobody asserts a figure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sessiondb_bench.results import Measurement, Run, load_run, save_run
from sessiondb_bench.subjects.engine import EngineSubject
from sessiondb_tools.benchmarks import measuring, selection, workplace
from sessiondb_tools.progress import Progress

from .conftest import tree

SMALL = ["bench", "run", "--records", "40", "--time", "0.1", "--workloads", "fillrandom"]
MEMORY = [*SMALL, "--backends", "memory", "--no-peers"]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is idle, whatever it does."""
    monkeypatch.setattr(workplace, "load", lambda: 0.0)


@pytest.fixture
def result(run: Any, tmp_path: Path) -> str:
    """A result of one workload on one backend."""
    path = str(tmp_path / "before.json")
    assert run(*MEMORY, "--output", path).code == 0
    return path


def changed(path: str, name: str, **fields: Any) -> str:
    """The same result with other fields of its measurements, and without ratios."""
    found = load_run(path)
    for measurement in found.measurements:
        measurement.ratio = None
        for field, value in fields.items():
            setattr(measurement, field, value)
    other = str(Path(path).with_name(name))
    save_run(found, other)
    return other


# ---- run


def test_backends_floors_and_other_stores_are_measured_and_nothing_is_left_behind(run: Any, tmp_path: Path) -> None:
    done = run(*SMALL, "--workloads", "ycsb-a,readseq", "--json")
    assert (done.code, done.err) == (0, "")
    found = done.json
    stores = {(each["store"], each.get("sync", "")) for each in found["measurements"] if each["kind"] == "sessiondb"}
    assert stores == {("memory", "")} | {
        (backend, sync) for backend in ("json", "sqlite", "lmdb") for sync in ("always", "never")
    }
    assert {each["kind"] for each in found["measurements"]} == {"sessiondb", "floor", "peer"}
    operations = {each["operation"] for each in found["measurements"]}
    assert operations == {"ycsb-a", "ycsb-a (read)", "ycsb-a (update)", "readseq"}
    assert found["suite"] == "workloads"
    assert "problem" not in found or found["problem"] == ""
    assert os.listdir(tmp_path) == []


def test_what_survives_less_stands_in_another_group(run: Any) -> None:
    done = run(*SMALL, "--backends", "json,memory", "--sync", "all")
    assert done.code == 0
    lines = [line.strip() for line in done.out.splitlines()]
    titles = ["survives a power cut", "survives kill -9 only", "survives nothing"]
    at = [lines.index(title) for title in titles]
    assert at == sorted(at)

    def group(name: str) -> str:
        (line,) = [number for number, line in enumerate(lines) if line.startswith(name)]
        return [title for title, first in zip(titles, at, strict=True) if first < line][-1]

    assert group("sessiondb json, always") == group("floor: pwrite + fdatasync, zero-filled") == titles[0]
    assert group("sqlite3 WAL FULL") == titles[0]
    assert group("sessiondb json, interval") == group("sessiondb json, never") == group("floor: pwrite  ") == titles[1]
    assert group("sqlite3 WAL NORMAL") == titles[1]
    assert group("sessiondb memory") == group("floor: dict + msgspec") == titles[2]


def test_the_result_says_how_to_do_it_again_without_folders_and_servers(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    assert run(*MEMORY, "--dir", str(tmp_path), "--output", str(path), "--threads", "1,2", "--seed", "7").code == 0
    found = load_run(path)
    assert found.command == (
        "sessiondb bench run --backends memory --sync always,never --workloads fillrandom --threads 1,2 --records 40 "
        "--size 300 --time 0.1 --seed 7 --no-peers"
    )
    assert str(tmp_path) not in path.read_text()
    again = run(*found.command.split()[1:], "--json").json
    assert [each["operation"] for each in again["measurements"]] == [each.operation for each in found.measurements]


def test_the_output_file_is_the_only_thing_that_is_written(run: Any, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    done = run(*MEMORY, "--dir", str(tmp_path / "here"), "--output", str(tmp_path / "out.json"))
    assert done.err == f"wrote the result to {tmp_path}/out.json\n"
    assert sorted(os.listdir(tmp_path)) == ["here", "out.json"]
    assert os.listdir(tmp_path / "here") == []


def test_a_result_replaces_a_result_and_nothing_else(run: Any, result: str, store: str, tmp_path: Path) -> None:
    assert run(*MEMORY, "--output", result).code == 0
    (tmp_path / "before.json.partial").mkdir()
    before = tree(tmp_path)
    for path in (store, str(tmp_path), "/dev/null", str(tmp_path / "none" / "x.json"), result):
        done = run(*MEMORY, "--output", path)
        assert (done.code, done.out) == (2, "")
        assert "--output" in done.err
    assert {name: data for name, data in tree(tmp_path).items() if name in before} == before


def test_words_that_are_not_known_are_wrong_usage(run: Any, tmp_path: Path) -> None:
    for words, said in (
        (["--backends", "mongo"], "--backends has 'mongo'; it must be of memory, json"),
        (["--backends", "sqlitee"], "did you mean sqlite?"),
        (["--backends", "postgres"], "takes a server; next: --dsn postgresql://"),
        (["--dsn", "json:///x.json"], "--dsn takes a URL postgresql://"),
        (["--sync", "often"], "--sync has 'often'"),
        (["--workloads", "ycsb-z"], "did you mean ycsb-"),
        (["--workloads", "ycsb-a,,"], "without empty places"),
        (["--threads", "0"], "from 1 to 256"),
        (["--threads", "two"], "whole numbers"),
        (["--threads", "50"], "every thread needs one"),
        (["--records", "5000001"], "from 1 to 5,000,000"),
        (["--size", "199"], "from 200 to 1,048,576"),
        (["--time", "nan"], "--time is nan"),
        (["--dir", str(tmp_path / "none")], "is no folder"),
    ):
        done = run(*SMALL, *words)
        assert (done.code, done.out) == (2, ""), words
        assert said in done.err
    assert os.listdir(tmp_path) == []


def test_a_backend_without_its_driver_is_left_out_and_said_but_not_when_it_was_asked_for(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lmdb", None)
    found = run(*SMALL, "--json").json
    assert not [each for each in found["measurements"] if each["store"].startswith("lmdb")]
    (said,) = [sentence for sentence in found["left_out"] if sentence.startswith("sessiondb lmdb")]
    assert "next: pip install" in said
    done = run(*SMALL, "--backends", "json,lmdb")
    assert done.code == 2
    assert "next: pip install" in done.err


def test_other_stores_that_are_not_installed_are_named(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "missing_peers", lambda: {"A": "no module a", "B": "no module b"})
    monkeypatch.setattr(selection, "peer_subjects", list)
    done = run(*SMALL, "--backends", "memory")
    assert 'not installed, and left out: A, B; next: pip install "sessiondb[bench]"' in done.out


def test_a_folder_in_memory_is_warned_of(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(workplace, "file_system", lambda folder: "tmpfs")
    monkeypatch.setattr(workplace, "load", lambda: 1_000.0)
    done = run(*MEMORY)
    assert done.code == 0
    assert f"{tmp_path} is in memory (tmpfs): syncs cost nothing there" in done.err
    assert "the machine is busy (load 1000 on" in done.err


def test_without_a_folder_it_works_where_a_disk_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR")
    assert workplace._parent() == ("/var/tmp" if os.access("/var/tmp", os.W_OK) else "/tmp")


def test_a_failure_is_an_error_and_what_was_measured_is_kept_apart(
    run: Any, result: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def settle(self: EngineSubject) -> None:
        raise OSError(28, "No space left on device", "x.db")

    monkeypatch.setattr(EngineSubject, "settle", settle)
    whole = Path(result).read_bytes()
    done = run(*MEMORY, "--workloads", "fillrandom,readrandom", "--output", result)
    assert done.code == 3
    assert "bench run: readrandom on sessiondb memory failed: OSError: [Errno 28] No space left" in done.err
    assert "NOT WHOLE: readrandom on sessiondb memory failed" in done.out
    assert Path(result).read_bytes() == whole
    partial = load_run(f"{result}.partial")
    assert "No space left" in partial.problem
    assert {each.operation for each in partial.measurements} == {"fillrandom"}
    compared = run("bench", "compare", result, f"{result}.partial")
    assert "NEW is not whole" in compared.err
    assert sorted(os.listdir(tmp_path)) == ["before.json", "before.json.partial"]


def test_a_record_that_is_lost_is_damage(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EngineSubject, "settle", lambda self: self.table.clear())
    done = run(*MEMORY, "--workloads", "readrandom")
    assert done.code == 1
    assert "was stored, and was not found" in done.err


def test_a_result_that_cannot_be_written_is_printed_all_the_same(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(measuring, "save_run", full)
    done = run(*MEMORY, "--output", "out.json")
    assert done.code == 3
    assert "sessiondb memory" in done.out
    assert "could not be written to out.json: No space left on device; next:" in done.err


def test_progress_tells_the_workload_and_the_time(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    class Watched(Progress):
        def show(self, *told: Any) -> None:
            shown.append(told)

    monkeypatch.setattr(measuring, "Progress", Watched)
    assert run(*MEMORY, "--workloads", "fillseq,fillrandom", "--time", "0.2").code == 0
    assert ("fillseq: sessiondb memory (workload 1 of 2)", 0, 1, "seconds") in shown
    assert ("fillrandom: dict + msgspec (workload 2 of 2)", 0, 1, "seconds") in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_can_be_interrupted_and_leaves_only_what_was_measured(tmp_path: Path, number: int) -> None:
    words = ["--time", "2", "--records", "5", "--threads", "1,2", "--workloads", "fillseq,ycsb-a,ycsb-b,ycsb-c"]
    (tmp_path / "work").mkdir()
    program = f"""
import os, signal, sys
from sessiondb_bench import running
from sessiondb_tools.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # who starts tests in the background ignores it
begin = running.Running._run_workload
def tell(self, name, *others):
    if name == "ycsb-b":
        os.kill(os.getpid(), {int(number)})
    begin(self, name, *others)
running.Running._run_workload = tell
sys.exit(main(sys.argv[1:]))
"""
    arguments = [*SMALL, *words, "--dir", str(tmp_path / "work"), "--output", str(tmp_path / "out.json")]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 130, done.stderr
    assert done.stderr.endswith("sessiondb: interrupted\n")
    assert os.listdir(tmp_path / "work") == []
    assert load_run(tmp_path / "out.json.partial").problem == "it was interrupted"
    assert not (tmp_path / "out.json").exists()


def test_two_runs_in_one_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "sessiondb_tools", *SMALL, "--no-peers", "--backends", "json,sqlite,lmdb"]
    both = [subprocess.Popen([*words, "--dir", str(tmp_path)], stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [each.wait(60) for each in both] == [0, 0]
    assert os.listdir(tmp_path) == []


def test_on_a_server_it_works_in_a_schema_of_its_own_and_removes_it(
    run: Any, pg_dsn: str, pg_admin: Any, tmp_path: Path
) -> None:
    done = run(*SMALL, "--backends", "postgres", "--workloads", "readrandom,fillrandom", "--sync", "always",
               "--no-peers", "--dsn", pg_dsn, "--json")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert "postgres" in {each["store"] for each in done.json["measurements"]}
    assert done.json["command"].endswith("--no-peers --dsn URL")
    left = pg_admin.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'sessiondb\\_bench\\_%'").fetchall()
    assert left == []
    assert os.listdir(tmp_path) == []


def test_a_schema_that_the_url_names_stays_with_what_is_in_it(run: Any, pg_path: str, tmp_path: Path) -> None:
    url = f"postgresql:{pg_path}"
    assert run("put", "a", "1", "--db", url).code == 0
    assert run(*SMALL, "--backends", "postgres", "--sync", "always", "--no-peers", "--dsn", url).code == 0
    assert run("list", "--db", url, "--json").json == {"key": "a", "record": 1}


def test_a_server_that_does_not_answer_is_said_before_anything_is_measured(run: Any) -> None:
    done = run(*SMALL, "--dsn", "postgresql://me:secret@127.0.0.1:1/app")
    assert (done.code, done.out) == (3, "")
    assert "127.0.0.1:1" in done.err
    assert "secret" not in done.err


# ---- compare


def test_the_same_result_is_no_regression(run: Any, result: str) -> None:
    done = run("bench", "compare", result, result)
    assert done.code == 0
    assert "none more than 1.25 times as slow as before" in done.out


def test_a_regression_is_exit_code_1(run: Any, result: str) -> None:
    fast = changed(result, "fast.json", median_us=10.0, p99_us=20.0, operations=100)
    slow = changed(result, "slow.json", median_us=13.0, p99_us=90.0, operations=100)
    done = run("bench", "compare", fast, slow)
    assert done.code == 1
    assert "1 figure compared, 1 more than 1.25 times as slow as before" in done.out
    assert "SLOWER" in done.out
    assert "compared by times" in done.err
    assert run("bench", "compare", slow, fast).code == 0
    assert run("bench", "compare", fast, slow, "--bound", "1.5").code == 0
    assert run("bench", "compare", fast, slow, "--bound", "1.5", "--p99-bound", "4").code == 1
    found = run("bench", "compare", fast, slow, "--json").json
    assert found["regressions"] == 1
    (factor,) = [each["factor"] for each in found["changes"] if each["judged"]]
    assert factor == pytest.approx(1.3)


def test_what_only_one_of_them_has_is_said(run: Any, result: str) -> None:
    assert run(*MEMORY, "--workloads", "fillrandom,fillseq", "--output", "both.json").code == 0
    done = run("bench", "compare", result, "both.json", "--bound", "1000")
    assert done.code == 0
    assert "only in NEW: fillseq on sessiondb memory (40 of 300 bytes)" in done.out


def test_nothing_in_common_is_exit_code_3(run: Any, result: str) -> None:
    done = run("bench", "compare", result, changed(result, "other.json", records=41))
    assert done.code == 3
    assert "no figure of sessiondb in common" in done.err


def test_what_is_no_result_is_said(run: Any, result: str, store: str, tmp_path: Path) -> None:
    newer = tmp_path / "newer.json"
    newer.write_text(json.dumps(json.loads(Path(result).read_text()) | {"format_version": 2}))
    half = tmp_path / "half.json"
    half.write_bytes(Path(result).read_bytes()[:300])
    for path, code, said in (
        (store, 2, "no result of `sessiondb bench run`"), (half, 2, "no result"), (tmp_path, 2, "cannot read"),
        (tmp_path / "none", 2, "cannot read"), (newer, 3, "next: upgrade sessiondb"),
    ):  # fmt: skip
        for verb in (["compare", result, str(path)], ["report", str(path), "--output", "x.html"]):
            done = run("bench", *verb)
            assert (done.code, done.out) == (code, ""), path
            assert said in done.err


@pytest.mark.parametrize("bound", ["0.9", "nan", "inf"])
def test_a_bound_below_one_is_wrong_usage(run: Any, result: str, bound: str) -> None:
    assert run("bench", "compare", result, result, "--bound", bound).code == 2
    assert run("bench", "compare", result, result, "--p99-bound", bound).code == 2


# ---- report


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[Run], Any, list[str]]]:
    """What is to be drawn, and nothing is."""
    calls: list[tuple[list[Run], Any, list[str]]] = []

    def write_report(runs: list[Run], target: Any, formats: list[str]) -> list[Path]:
        calls.append((runs, target, formats))
        return [Path(target)]

    monkeypatch.setattr("sessiondb_bench.report.write_report", write_report)
    return calls


def test_a_report_has_the_format_that_its_name_says(run: Any, result: str, drawn: Any) -> None:
    assert run("bench", "report", result, "--output", "x.html").out == "wrote x.html\n"
    assert run("bench", "report", result, result, "--output", "x.md").code == 0
    assert run("bench", "report", result, "--output", "x.md", "--format", "markdown,svg", "--json").json == {
        "files": ["x.md"]
    }
    assert [(len(runs), formats) for runs, _, formats in drawn] == [
        (1, ["html"]), (2, ["markdown"]), (1, ["markdown", "svg"])
    ]  # fmt: skip


def test_a_result_without_measurements_is_not_drawn(run: Any, result: str, drawn: Any) -> None:
    empty = load_run(result)
    empty.measurements = []
    save_run(empty, "empty.json")
    assert run("bench", "report", "empty.json", "--output", "x.html").code == 2
    assert drawn == []


def test_without_matplotlib_the_report_says_how_to_get_it(
    run: Any, result: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run("bench", "report", result, "--output", "x.html")
    assert done.code == 2
    assert "matplotlib" in done.err
    assert "sessiondb[bench]" in done.err
    assert not Path("x.html").exists()


def test_measurements_are_of_the_kind_that_reports_take(result: str) -> None:
    for measurement in load_run(result).measurements:
        assert isinstance(measurement, Measurement)
        assert sum(number for _, number in measurement.histogram) == measurement.operations
