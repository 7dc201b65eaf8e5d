"""`sessiondb migrate`: a preview first, then one store holds what the other holds."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

import sessiondb
from sessiondb_tools.progress import Progress

from .conftest import change_byte, kill_writer, tree


def records(location, table="records"):
    with sessiondb.open(location, read_only=True) as db:
        return dict(db.table(table).items())


def without_open(folder):
    return {name: data for name, data in tree(folder).items() if not name.endswith(("/OPEN", "/lock.mdb"))}


@pytest.fixture(params=["t.json", "t.db", "t.lmdb"])
def target(request, tmp_path):
    return str(tmp_path / request.param)


@pytest.fixture
def full_target(target):
    with sessiondb.open(target) as db:
        db.table("records")["mine"] = 1
    return target


def test_a_preview_says_what_would_be_done_and_changes_nothing(run, store, target, tmp_path):
    before = without_open(tmp_path)
    ended = run("migrate", store, target)
    assert ended.code == 0
    assert without_open(tmp_path) == before
    assert "json, 4 records in 2 tables, digest " in ended.out
    assert "records: 3 records (json)" in ended.out
    assert "a preview: 4 records would be moved; nothing was changed; next: --execute" in ended.out
    assert ended.err == ""


def test_execute_does_it_and_a_second_time_finds_it_done(run, store, target):
    ended = run("migrate", store, target, "--execute")
    assert (ended.code, ended.err) == (0, "")
    assert "moved 4 records, each read back and compared" in ended.out
    assert records(target) == records(store)
    again = run("migrate", store, target, "--execute")
    assert again.code == 0
    assert "nothing is to be done" in again.out
    assert run("check", "--db", target).code == 0


@pytest.mark.parametrize("words", [["--dry-run"], ["--dry-run", "--execute"], ["--execute", "--dry-run"]])
def test_a_dry_run_is_a_preview_whatever_else_is_said(run, store, full_target, tmp_path, words):
    before = without_open(tmp_path)
    ended = run("migrate", store, full_target, "--replace", *words)
    assert ended.code == 0
    assert "what is there would be copied aside first; nothing was changed" in ended.out
    assert without_open(tmp_path) == before


def test_a_target_with_records_is_refused_without_replace(run, store, full_target, tmp_path):
    before = without_open(tmp_path)
    for words in ([], ["--execute"]):
        ended = run("migrate", store, full_target, *words)
        assert ended.code == 2
        assert "holds 1 record; next: " in ended.err
        assert "--replace" in ended.err
        assert ended.err.count("\n") == 1
    assert without_open(tmp_path) == before


def test_what_was_there_is_copied_aside_and_can_be_put_back(run, store, full_target):
    ended = run("migrate", store, full_target, "--replace", "--execute", "--json")
    backup = ended.json["backup"]
    assert records(full_target) == records(store)
    assert records(backup) == {"mine": 1}
    assert run("migrate", backup, full_target, "--replace", "--execute").code == 0
    assert records(full_target) == {"mine": 1}


def test_json_is_the_result_that_python_gets(run, store, target):
    printed = run("migrate", store, target, "--json")
    assert printed.out.count("\n") == 1
    result = sessiondb.migrate(store, target)
    assert printed.json == json.loads(msgspec.json.encode(result))
    done = run("migrate", store, target, "--execute", "--json").json
    assert (done["outcome"], done["executed"], done["source"]["records"]) == ("migrated", True, 4)
    assert done["source"]["tables"]["blobs"]["kind"] == "bytes"


def test_every_record_that_does_not_fit_is_listed(run, tmp_path):
    source = str(tmp_path / "s.db")
    with sessiondb.open(source) as db:
        db.table("sessions").put_many({"a": {"session": "a"}, "b": {"n": 1}, "c\n": [1]})
    ended = run("migrate", source, "t.json", "--layout", "array")
    assert ended.code == 2
    assert "table sessions, key b: has no `session`" in ended.out
    assert 'table sessions, key "c\\n": ' in ended.out
    assert "2 records of the source would not come back as they are" in ended.err
    found = run("migrate", source, "t.json", "--layout", "array", "--json").json
    assert [misfit["key"] for misfit in found["misfits"]] == ["b", "c\n"]
    assert run("migrate", source, "t.json", "--layout", "array", "--execute").code == 2
    assert not (tmp_path / "t.json").exists()


def test_what_only_the_log_holds_is_moved(run, tmp_path):
    source = kill_writer(str(tmp_path / "k.db"), checkpoint_at=5)
    assert run("migrate", source, "t.json", "--execute").code == 0
    assert len(records("t.json")) == 10


def test_a_busy_source_is_named_with_its_holder(run, busy_store, tmp_path):
    ended = run("migrate", busy_store, "t.db", "--execute", "--wait", "0")
    assert ended.code == 3
    assert "process " in ended.err
    assert not (tmp_path / "t.db").exists()


def test_a_damaged_source_is_damage_and_the_target_is_left_alone(run, store, full_target):
    change_byte(Path(store), 300)
    ended = run("migrate", store, full_target, "--replace", "--execute")
    assert ended.code == 1
    assert "does not match its digest" in ended.err
    assert records(full_target) == {"mine": 1}


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ([], 2, "required: SOURCE, TARGET"),
        (["s.json"], 2, "required: TARGET"),
        (["s.json", "s.json"], 2, "the same store"),
        (["nothing.json", "t.json"], 2, "no database"),
        (["s.json", "t.db", "--layout", "array"], 2, "only JSON files have layouts"),
        (["s.json", "no/t.db"], 2, "does not exist"),
        (["s.json", "t.db", "--wait", "-1"], 2, "lock_timeout"),
        (["s.json", "memory:"], 2, "keeps nothing"),
    ],
)
def test_bad_usage_is_told(run, store, words, code, text):
    ended = run("migrate", *words, "--execute")
    assert ended.code == code
    assert text in ended.err


def test_a_ctrl_c_leaves_both_stores_as_they_were(command, tmp_path):
    """Sent while the source is read: it is large enough for that."""
    with sessiondb.open("big.db", sync="never") as db:
        for number in range(8):
            db.table("t").put_many({f"{number:02}-{n:05}": {"n": n, "text": "x" * 50} for n in range(3000)})
    with sessiondb.open("t.lmdb") as db:
        db.table("records")["mine"] = 1
    process = subprocess.Popen(
        [sys.executable, "-m", "sessiondb_tools", "migrate", "big.db", "t.lmdb", "--replace", "--execute"],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    while process.poll() is None and not (tmp_path / "t.lmdb/migrating").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    if process.returncode == 130:
        assert err == b"sessiondb: interrupted\n"
        assert records("t.lmdb") == {"mine": 1}
        assert not (tmp_path / "t.lmdb/migrating").exists()
    else:  # it was quicker
        assert (process.returncode, err) == (0, b"")
    assert command("migrate", "big.db", "t.lmdb", "--replace", "--execute").returncode == 0
    assert len(records("t.lmdb", "t")) == 24_000


# ---- the bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_bar_shows_after_a_while_and_is_gone_in_the_end(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream, clock = Terminal(), Clock()
    bar = Progress(stream, clock)
    bar.show("reading", 10, 100)
    assert stream.getvalue() == ""
    clock.now = 1.0
    bar.show("reading", 50, 100)
    bar.show("reading", 51, 100)  # too soon after the last one
    assert stream.getvalue() == "\rreading  [############............]  50 of 100 records"
    clock.now = 2.0
    bar.show("x", 1_000, 1_000)
    last = stream.getvalue().rpartition("\r")[2]
    assert last.startswith("x  [########################]  1,000 of 1,000 records")
    bar.end()
    assert stream.getvalue().endswith("\r" + " " * len(last.rstrip()) + "\r")
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("why", ["no terminal", "dumb", "nothing to count"])
def test_there_is_no_bar_where_it_could_not_be_drawn(monkeypatch, why):
    monkeypatch.setenv("TERM", "dumb" if why == "dumb" else "xterm")
    stream, clock = io.StringIO() if why == "no terminal" else Terminal(), Clock()
    bar = Progress(stream, clock)
    clock.now = 5.0
    bar.show("reading", 5, 0 if why == "nothing to count" else 10)
    bar.end()
    assert stream.getvalue() == ""


def test_piped_output_has_no_bar_in_it(command, store):
    ended = command("migrate", store, "t.db", "--execute", env=os.environ | {"TERM": "xterm"})
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"\r" not in ended.stdout
