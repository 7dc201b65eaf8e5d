"""`sessiondb demo`: it proves what it says, its proofs can fail, and it leaves behind what it should."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import sessiondb
from sessiondb_tools.demo import kill
from sessiondb_tools.demo import run as demo_run
from sessiondb_tools.demo.candidates import CANDIDATES, available
from sessiondb_tools.demo.kill import Killed, run_and_kill
from sessiondb_tools.demo.latency import Latency, table_rows
from sessiondb_tools.demo.plan import NUMBER_FIELD, Plan, with_number
from sessiondb_tools.demo.proof import Expected
from sessiondb_tools.exit_codes import CommandError

from .conftest import tree

RECORDS = [(f"k{n}", {"n": n}) for n in range(23)]
SHORT = ["--seconds", "1.5", "--rounds", "2"]


@pytest.fixture
def json_only(monkeypatch):
    """The demo on one backend, for what does not depend on it."""
    monkeypatch.setattr(demo_run, "CANDIDATES", CANDIDATES[:1])


def writes_in_order(plan: Plan, steps: int):
    return [plan.write(thread, step) for step in range(steps) for thread in range(plan.threads)]


# ---- the plan


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7, 23])
def test_every_write_has_its_own_number_and_its_threads_keys(number):
    plan = Plan(RECORDS[:number])
    writes = writes_in_order(plan, 40)
    assert len({write.number for write in writes}) == len(writes)
    owner = {}
    for write in writes:
        thread, step = plan.step_of(write.number)
        assert plan.write(thread, step) == write
        for key, record in write.records.items():
            assert owner.setdefault(key, thread) == thread
            assert record[NUMBER_FIELD] == write.number
    assert owner.keys() == dict(RECORDS[:number]).keys(), "every record is written"


def test_batches_are_part_of_the_plan():
    sizes = [len(Plan(RECORDS).write(0, step).records) for step in range(10)]
    assert sizes == [1, 1, 1, 1, 5, 1, 1, 1, 1, 5]


def test_a_record_that_is_no_object_is_wrapped():
    assert with_number([1], 7) == {"value": [1], NUMBER_FIELD: 7}
    assert with_number({"a": 1}, 7) == {"a": 1, NUMBER_FIELD: 7}


# ---- the proof


def after(steps: int) -> tuple[Plan, Expected, dict]:
    """Everything acknowledged up to a step, and the state that this leads to."""
    plan = Plan(RECORDS)
    expected = Expected(plan)
    state = {}
    for write in writes_in_order(plan, steps):
        expected.acknowledge(write.number)
        state |= write.records
    return plan, expected, state


def test_what_was_acknowledged_is_proved():
    _, expected, state = after(9)
    verdict = expected.prove(state)
    assert verdict.problems == []
    assert verdict.records == len(state)
    assert len(verdict.absent) == 4
    assert expected.writes == 36
    assert expected.batches == 4
    assert expected.records == 32 + 4 * 5


def test_a_write_under_way_may_be_there_as_a_whole():
    _, expected, state = after(9)
    batch = expected.under_way()[2]
    assert batch.is_batch
    state |= batch.records
    verdict = expected.prove(state)
    assert verdict.problems == []
    assert verdict.whole == [batch]
    assert expected.prove(state).problems == [], "and then it must stay"
    assert expected.prove({**state, **after(9)[2]}).problems != []


@pytest.mark.parametrize("change", ["lost", "stale", "damaged", "invented", "half"])
def test_a_proof_fails_for(change):
    _, expected, state = after(9)
    batch = expected.under_way()[1]
    if change == "lost":
        del state["k5"]
    elif change == "stale":
        state["k5"] = {**state["k5"], NUMBER_FIELD: state["k5"][NUMBER_FIELD] - 1}
    elif change == "damaged":
        state["k5"] = {**state["k5"], "n": None}
    elif change == "invented":
        state["other"] = 1
    else:
        state |= dict(list(batch.records.items())[:2])
    (problem,) = expected.prove(state).problems
    named = {"lost": "LOST: record 'k5'", "stale": "'k5' has the wrong value", "damaged": "'k5' has the wrong value",
             "invented": "'other' is there and was never written", "half": "by half: 2 of its 5 records"}  # fmt: skip
    assert named[change] in problem


def test_acknowledgements_out_of_order_are_the_writers_mistake():
    expected = Expected(Plan(RECORDS))
    expected.acknowledge(0)
    with pytest.raises(ValueError, match="step 1 was next"):
        expected.acknowledge(8)


# ---- the killing


def pairs(path: Path) -> str:
    path.write_text("".join(json.dumps(pair) + "\n" for pair in RECORDS))
    return str(path)


def test_a_killed_writer_has_acknowledged_only_what_is_there(tmp_path, location):
    killed = run_and_kill(location, pairs(tmp_path / "in.jsonl"), [0, 0, 0, 0], 0.1)
    assert killed.acknowledged
    expected = Expected(Plan(RECORDS))
    for number in killed.acknowledged:
        expected.acknowledge(number)
    with sessiondb.open(location, create=False) as db:
        assert db.recovery_report.clean is False
        assert expected.prove(dict(db.table("records").scan())).problems == []


def test_a_writer_that_cannot_open_the_store_is_an_error(tmp_path):
    with pytest.raises(CommandError, match=r"the demo's writer did not start: .*does not exist"):
        run_and_kill(str(tmp_path / "none" / "s.json"), pairs(tmp_path / "in.jsonl"), [0, 0, 0, 0], 0.1)


def test_a_writer_that_ends_by_itself_is_an_error(tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho ready\necho 0\necho gone >&2\nexit 0\n")
    python.chmod(0o700)
    monkeypatch.setattr(kill.sys, "executable", str(python))
    with pytest.raises(CommandError, match="the demo's writer ended by itself: gone"):
        run_and_kill("x", "y", [0], 5)


def test_half_a_number_at_the_end_of_the_pipe_is_no_acknowledgement():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        os.write(writing, b"ready\n12\n13")
        os.close(writing)
        lines = kill._Lines(pipe)
        assert lines.read_until(None) == ["ready", "12"]


# ---- the whole


def test_the_demo_proves_measures_and_leaves_nothing_behind(run, tmp_path):
    done = run("demo", "--seconds", "4", "--rounds", "1")
    assert done.code == 0, done.err
    assert "60 records from the sample" in done.out
    assert "killed (SIGKILL) after" in done.out
    assert len(re.findall(r"proved: \d+ records? as acknowledged; .* 0 by half", done.out)) == 3
    assert "segment header  epoch 1" in done.out
    assert len(re.findall(r"recovered in [\d.]+ ms", done.out)) == 3
    assert done.out.count("checked, as `sessiondb check` does: fine") == 3
    assert done.out.count('"torn_tail":') == 1
    for title in ("JSON file", "SQLite", "LMDB"):
        assert f"\n{title}: 4 threads, a checkpoint every 500" in done.out
        assert re.search(rf"^{title}: PROVED over \d kills? and [\d,]+ acknowledged writes", done.out, re.MULTILINE)
    assert os.listdir(tmp_path) == []


def test_latencies_of_each_backend_are_shown_side_by_side(run):
    done = run("demo", "--seconds", "4", "--rounds", "1")
    table = done.out.split("\nlatency on the disk of ")[1].splitlines()[1:14]
    assert table[0].split() == ["p50", "p99", "calls"]
    kinds = ["put, durable", "put, sync='never'", "get, just written", "get, checkpointed"]
    for index, line in enumerate(table[1:]):
        first = kinds[index // 3] if index % 3 == 0 else ""
        backend = ("JSON file", "SQLite", "LMDB")[index % 3]
        assert re.fullmatch(rf"{first} +{backend} +[\d,.]+ us +[\d,.]+ us +[\d,]+", line), line
        assert len(line) <= 80


def test_latencies_are_shown_for_the_backends_that_were_measured():
    rows = table_rows(
        [("A", [Latency("x", 3, 1.25, 2000.0), Latency("y", 1, 1, 1)]), ("B", [Latency("x", 4, 1, 1)] * 2)]
    )
    assert rows == [
        ("", "", "p50", "p99", "calls"),
        ("x", "A", "1.2 us", "2,000.0 us", "3"), ("", "B", "1.0 us", "1.0 us", "4"),
        ("y", "A", "1.0 us", "1.0 us", "1"), ("", "B", "1.0 us", "1.0 us", "4"),
    ]  # fmt: skip


def test_a_backend_without_its_driver_is_left_out_and_said(run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    runs, left_out = available(CANDIDATES, str(tmp_path))
    assert [candidate.title for candidate in runs] == ["JSON file", "SQLite"]
    (sentence,) = left_out
    assert sentence.startswith(
        "LMDB is left out: the LMDB backend needs the package lmdb, which is not installed; next: pip"
    )
    assert os.listdir(tmp_path) == []
    done = run("demo", "--seconds", "2", "--rounds", "1")
    assert done.code == 0
    assert f"\n{sentence}\n" in done.out
    assert "LMDB: PROVED" not in done.out
    assert run("demo", "--seconds", "1", "--rounds", "1", "--json").json["left_out"] == left_out


def test_the_demo_in_a_folder_keeps_the_stores_and_its_advice_works(run, tmp_path):
    done = run("demo", "--seconds", "3", "--rounds", "1", "--dir", str(tmp_path / "here"))
    assert done.code == 0, done.err
    (kept,) = os.listdir(tmp_path / "here")
    names = {"demo.json", "demo.json.wal", "demo.db", "demo.db.wal", "demo.lmdb", "input.jsonl"}
    assert names <= set(os.listdir(tmp_path / "here" / kept))
    advice = done.out.split("try next:\n")[1].splitlines()
    assert len(advice) == 8
    for line in advice:
        words = shlex.split(line)
        assert words[0] == "sessiondb" or words[1:3] == ["-m", "sessiondb_tools"]
        assert run(*words[1 if words[0] == "sessiondb" else 3 :]).code == 0, line


@pytest.mark.usefixtures("json_only")
def test_two_demos_in_one_folder_are_two_stores(run, tmp_path):
    for _ in range(2):
        assert run("demo", "--seconds", "1", "--rounds", "1", "--dir", str(tmp_path)).code == 0
    assert len(list(tmp_path.glob("demo-*/demo.json"))) == 2


@pytest.mark.usefixtures("json_only")
def test_the_advice_without_a_folder_works(run):
    done = run("demo", "--seconds", "1", "--rounds", "1")
    advice = done.out.split("try next:\n")[1].splitlines()
    for line in advice[:-1]:
        words = shlex.split(line)
        assert run(*words[1 if words[0] == "sessiondb" else 3 :]).code == 0, line
    assert advice[-1].endswith(" demo --dir .")


def test_the_demo_takes_an_input(run, tmp_path):
    source = tmp_path / "own.json"
    source.write_text(json.dumps([{"name": "ä", "x": [1]}, {"name": "b"}]))
    arguments = ["--input", str(source), "--id", "name", "--dir", str(tmp_path / "out")]
    done = run("demo", "--seconds", "3", "--rounds", "1", *arguments, "--json")
    assert done.code == 0, done.err
    assert [result["backend"] for result in done.json["results"]] == ["JSON file", "SQLite", "LMDB"]
    for result in done.json["results"]:
        with sessiondb.open(result["location"], create=False) as db:
            found = dict(db.table("records").scan())
        for record in found.values():
            assert record.pop(NUMBER_FIELD) >= 0
        assert found == {"ä": {"name": "ä", "x": [1]}, "b": {"name": "b"}}


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ('[{"a": 1}, 5]', ["record-1", "record-2"]),
        ('{"a": 1}\n{"a": 2}\n', ["record-1", "record-2"]),
        ('{"x": {"a": 1}, "y": null}', ["x", "y"]),
        ('{"x":\n {"a": 1}}', ["x"]),
    ],
)
def test_the_input_of_the_demo_needs_no_id(tmp_path, text, keys):
    source = tmp_path / "in.json"
    source.write_text(text)
    assert [key for key, _ in demo_run._records(str(source), None)[1]] == keys


def test_of_a_large_input_the_demo_takes_the_first_records(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_run, "RECORDS_MAX", 3)
    source = tmp_path / "in.jsonl"
    source.write_text('{"a": 1}\n' * 5)
    name, records = demo_run._records(str(source), None)
    assert name == f"the first of {source}"
    assert len(records) == 3


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--input", "none.json"], 3), (["--seconds", "0"], 2), (["--seconds", "nan"], 2), (["--rounds", "0"], 2),
        (["--input", "empty.json"], 2), (["--input", "bad.json"], 2), (["--dir", "bad.json"], 3),
    ],
)  # fmt: skip
def test_a_bad_call_of_the_demo_is_said(run, tmp_path, arguments, code):
    (tmp_path / "empty.json").write_text("[]")
    (tmp_path / "bad.json").write_text("[NaN]")
    done = run("demo", *arguments)
    assert done.code == code
    assert done.err.startswith("sessiondb demo: ")


# ---- proofs that fail


def lose_a_record(read_back):
    def call(location):
        with sessiondb.open(location, create=False) as db:
            del db.table("records")["task-102"]
        return read_back(location)

    return call


@pytest.mark.usefixtures("json_only")
def test_a_lost_record_fails_the_demo_and_the_store_is_kept(run, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_run, "read_back", lose_a_record(demo_run.read_back))
    done = run("demo", *SHORT)
    assert done.code == 1
    assert "LOST: record 'task-102' was acknowledged and is not there" in done.out
    assert "NOT PROVED: " in done.out  # the record, and the batch it was in if it was in one
    assert "PROVED over" not in done.out
    assert "try next" not in done.out
    (kept,) = tmp_path.glob("sessiondb-demo-*")
    assert str(kept) in done.err
    assert (kept / "demo.json").exists()


@pytest.mark.usefixtures("json_only")
def test_a_lost_record_fails_the_demo_in_json_too(run, monkeypatch):
    monkeypatch.setattr(demo_run, "read_back", lose_a_record(demo_run.read_back))
    done = run("demo", *SHORT, "--json")
    assert done.code == 1
    assert done.json["proved"] is False
    assert Path(done.json["folder"]).exists()


@pytest.mark.usefixtures("json_only")
def test_an_acknowledgement_of_what_was_not_written_fails_the_demo(run, monkeypatch):
    """A writer that acknowledges too early is found out: the pipe says more than the store has."""
    really = demo_run.acknowledged

    def too_early(location, records, steps, seconds):
        killed = really(location, records, steps, seconds)
        expected = Expected(Plan(demo_run._records(None, None)[1]))
        expected.steps = list(steps)
        for number in killed.acknowledged:
            expected.acknowledge(number)
        numbers = []
        for _ in range(2):  # one more may be there in truth, two more cannot
            numbers += [write.number for write in expected.under_way()]
            for write in expected.under_way():
                expected.acknowledge(write.number)
        return Killed(killed.acknowledged + numbers, killed.seconds)

    monkeypatch.setattr(demo_run, "acknowledged", too_early)
    done = run("demo", *SHORT)
    assert done.code == 1
    assert "has the wrong value" in done.out or "LOST" in done.out


@pytest.mark.usefixtures("json_only")
def test_a_store_that_does_not_open_fails_the_demo(run, monkeypatch):
    def damaged(location):
        raise sessiondb.CorruptionError("a bad byte", path=location)

    monkeypatch.setattr(demo_run, "read_back", damaged)
    done = run("demo", *SHORT)
    assert done.code == 1
    assert "the store does not open: a bad byte" in done.out


def test_the_demo_as_a_process_says_its_progress_and_ends_with_0(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "sessiondb_tools", "demo", "--seconds", "2", "--rounds", "1", "--json"],
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert result["proved"] is True
    assert result["folder"] is None
    assert result["left_out"] == []
    for each in result["results"]:
        (round_,) = each["rounds"]
        assert round_["acknowledged"] == each["acknowledged"] > 0
        assert len(each["latency"]) == 4


def test_a_writer_whose_demo_died_ends_too(tmp_path):
    """Nobody reads its acknowledgements any more: it must not write on for ever."""
    writer = subprocess.Popen(
        [sys.executable, "-m", "sessiondb_tools.demo.writer", str(tmp_path / "s.json"), pairs(tmp_path / "in.jsonl"),
         "0", "0", "0", "0"], stdout=subprocess.PIPE,
    )  # fmt: skip
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        writer.stdout.close()
        assert writer.wait(30) == 0


def test_the_sample_is_of_sessions():
    name, records = demo_run._records(None, None)
    assert name == "the sample"
    assert len(records) == 60
    fields = ["session", "repoUrl", "repoName", "branch", "createdAt", "taskId", "repoPath"]
    assert all(list(record) == fields and key == record["session"] for key, record in records)


# ---- on a server


def stores_in(pg_admin, schema) -> set[str]:
    """Every namespace of which anything is there."""
    found = set()
    for table in ("meta", "owners", "tables", "records"):
        rows = pg_admin.execute(f'SELECT DISTINCT ns FROM "{schema}".sessiondb_{table}').fetchall()
        found |= {name for (name,) in rows}
    return found


def views_in(pg_admin, schema) -> list[str]:
    rows = pg_admin.execute("SELECT viewname FROM pg_views WHERE schemaname = %s", [schema]).fetchall()
    return [name for (name,) in rows]


def test_on_a_server_the_demo_proves_the_same_and_leaves_nothing(alpha, pg_admin, pg_schema, tmp_path):
    with alpha.open() as db:
        db.table("mine")["a"] = 1
    before = tree(alpha.log)
    done = alpha("demo", *SHORT)
    assert done.code == 0, done.out + done.err
    assert done.err == ""
    assert re.search(r"^PostgreSQL: PROVED over \d kills? and ", done.out, re.MULTILINE)
    assert "written to the new namespace demo_" in done.out
    assert "checked, as `sessiondb check` does: fine" in done.out
    assert stores_in(pg_admin, pg_schema) == {"team"}
    assert views_in(pg_admin, pg_schema) == ["team_mine"]
    assert list(tmp_path.glob("sessiondb-demo-*")) == []
    assert tree(alpha.log) == before


def test_on_a_server_the_demo_keeps_its_store_when_it_is_told_to(alpha, pg_admin, pg_schema, tmp_path):
    done = alpha("demo", "--dir", "kept", "--seconds", "1", "--rounds", "1", "--json")
    assert done.code == 0, done.err
    (result,) = done.json["results"]
    (namespace,) = stores_in(pg_admin, pg_schema)
    assert f"namespace={namespace}&" in result["location"]
    assert "//***@" in result["location"]
    location = f"{alpha.url.partition('&namespace')[0]}&namespace={namespace}&log_dir={done.json['folder']}"
    assert alpha("tables", db=location).out == "records  json  60 records\n"


def test_the_demo_runs_on_a_server_or_on_files_of_its_own(run, tmp_path):
    for location in ("x.json", str(tmp_path / "x.db"), "memory:"):
        done = run("demo", "--db", location)
        assert done.code == 2
        assert "--db is for postgresql:// URLs" in done.err


def test_a_server_that_is_away_ends_the_demo(run, tmp_path):
    done = run("demo", "--db", "postgresql://me:geheim@127.0.0.1:1/x", *SHORT)
    assert done.code == 3
    assert "the demo's writer did not start" in done.err
    assert "geheim" not in done.out + done.err
    assert list(tmp_path.glob("sessiondb-demo-*")) == []
