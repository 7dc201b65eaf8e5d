"""Every verb on every backend: the same answers, the same outcomes, and verbs that read change nothing."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

import sessiondb
from sessiondb.wal.format import FrameHeader, SegmentName
from sessiondb.wal.operations import Index, Unindex, encode_operations
from sessiondb.wal.reader import Frame
from sessiondb_tools.frame_text import frame_json, frame_lines
from sessiondb_tools.main import VERBS

from .conftest import change_byte, frames_of, log_of, segment_of, tear, tree

READING = [
    ["get", "a"], ["list"], ["find", "n:=1"], ["tables"], ["status"], ["check"], ["log", "dump"], ["log", "verify"],
    ["export"],
]  # fmt: skip
WRITING = [
    ["put", "a", "1"],
    ["patch", "a", "n:=2"],
    ["delete", "a"],
    ["checkpoint"],
    ["import", "in.json", "--replace"],
]


@pytest.fixture(autouse=True)
def input_file(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('{"a": {"n": 3}}')


def kept(folder: Path) -> dict[str, bytes]:
    """What holds data: not what a backend's library makes for readers to find one another."""
    return {path: data for path, data in tree(folder).items() if not path.endswith(("-shm", "lock.mdb"))}


def test_all_verbs_on_a_store_are_tried_here():
    tried = {" ".join(verb[: 2 if verb[0] == "log" else 1]) for verb in READING + WRITING}
    others = {"demo", "init", "config show", "completion", "migrate", "search"}
    assert tried == {verb for verb in VERBS if not verb.startswith("bench ")} - others


def test_a_record_is_stored_read_changed_found_and_removed(run, location):
    assert run("put", "k", '{"n": 1, "ü": [null]}', "--db", location).code == 0
    assert run("get", "k", "--json", "--db", location).json == {"n": 1, "ü": [None]}
    assert run("patch", "k", "n:=2", "--json", "--db", location).json == {"n": 2, "ü": [None]}
    assert run("checkpoint", "--db", location).out.endswith(f"into {location}, which is at 1:2\n")
    assert run("find", "n:=2", "--keys", "--db", location).out == "k\n"
    assert run("list", "--db", location).out == 'k\t{"n":2,"ü":[null]}\n'
    assert run("delete", "k", "--db", location).code == 0
    assert run("get", "k", "--db", location).code == 1
    assert run("checkpoint", "--db", location).code == 0
    assert run("list", "--db", location).out == ""
    assert run("tables", "--db", location).out == "records  json  0 records\n"


def test_what_is_in_the_backend_and_what_is_in_the_log_is_read_alike(run, any_store):
    assert run("get", "a", "--json", "--db", any_store).json == {"n": 1}
    assert run("list", "--db", any_store).out == 'a\t{"n":1}\nb\t[null,2.5,"ü"]\nc\t"text"\n'
    assert run("tables", "--db", any_store).out == "blobs    bytes   1 record\nrecords  json   3 records\n"
    assert run("get", "logo", "--table", "blobs", "--json", "--db", any_store).json == "AP8="


def test_reading_changes_nothing(run, any_store, tmp_path):
    before = kept(tmp_path)
    for verb in READING:
        assert run(*verb, "--db", any_store).code == 0, verb
        assert run(*verb, "--db", any_store, "--json").code == 0, verb
        assert kept(tmp_path) == before, verb


def test_reading_after_a_kill_changes_nothing(run, any_killed_store, tmp_path):
    before = kept(tmp_path)
    for verb in READING:
        verb = ["get", "key-9"] if verb[0] == "get" else verb
        assert run(*verb, "--db", any_killed_store).code == 0, verb
        assert kept(tmp_path) == before, verb


def test_a_store_that_is_not_there_is_not_made_by_looking(run, location, tmp_path):
    before = sorted(os.listdir(tmp_path))
    for verb in READING + WRITING:
        if verb[0] not in ("put", "import"):
            done = run(*verb, "--db", location)
            assert done.code == 3, verb
            assert f"there is no store at {location}; next: " in done.err
            assert sorted(os.listdir(tmp_path)) == before, verb


def test_what_is_foreign_is_left_alone(run, location, tmp_path):
    foreign = Path(location)
    if location.endswith(".lmdb"):
        foreign.mkdir()
        foreign = foreign / "notes.txt"
    foreign.write_text("not yours")
    before = tree(tmp_path)
    for verb in READING + WRITING:
        done = run(*verb, "--db", location)
        assert done.code == 3, verb
        assert "expected" in done.err
        assert tree(tmp_path) == before, verb


def test_a_store_that_is_open_elsewhere_is_said_with_its_holder(run, any_busy_store):
    for verb in READING + WRITING:
        if verb[0] in ("log", "check"):  # these look at the files as they are at one moment
            assert run(*verb, "--db", any_busy_store).code == 0, verb
        else:
            done = run(*verb, "--db", any_busy_store, "--wait", "0")
            assert done.code == 3, verb
            assert re.search(r"process \d+", done.err), verb


def test_the_status_says_what_is_where(run, any_store):
    with sessiondb.open(any_store) as db:
        db.table("records", indexes=["n"])
        db.checkpoint()
    done = run("status", "--db", any_store)
    assert done.code == 0
    backend = {".json": "json", ".db": "sqlite", ".lmdb": "lmdb"}[os.path.splitext(any_store)[1]]
    assert re.search(rf"^backend +{backend}, format \d+, [\d,]+ bytes$", done.out, re.MULTILINE)
    assert "records     4 records in 2 tables\n" in done.out
    assert "            records: 3 records (json), index on n\n" in done.out
    found = run("status", "--db", any_store, "--json").json
    assert found["state"] == "ready"
    assert found["backend_bytes"] > 0
    assert found["tables"]["records"] == {"kind": "json", "records": 3, "indexes": ["n"]}
    assert found["tables"]["blobs"] == {"kind": "bytes", "records": 1, "indexes": []}
    assert found["cache"].keys() == {"hits", "misses", "bytes"}


def test_the_status_of_a_busy_store_tells_what_the_files_show(run, any_busy_store):
    found = run("status", "--db", any_busy_store, "--json")
    assert found.code == 3
    assert found.json["state"] == "busy"
    assert found.json["holder"]["pid"] > 0
    assert found.json["tables"]["records"] == {"kind": "json", "records": 3, "indexes": []}
    assert found.json["problems"] == []


def test_the_log_is_dumped_from_where_the_backend_has_it(run, any_killed_store):
    assert [frame["lsn"] for frame in frames_of(run, any_killed_store)] == [6, 7, 8, 9, 10]
    assert "(needed)" in run("log", "dump", "--db", any_killed_store).out


def test_the_log_is_dumped_without_the_backends_data(run, any_killed_store):
    from .test_check import remove_data

    remove_data(any_killed_store)
    assert len(frames_of(run, any_killed_store)) == 5
    for verb in (["get", "key-1"], ["put", "a", "1"], ["delete", "a"]):
        done = run(*verb, "--db", any_killed_store)
        assert done.code == 1, verb
        assert "missing, but its log is" in done.err


def test_declared_indexes_are_shown_in_the_dump():
    payload = encode_operations([Index("t", "name"), Unindex("a b", "x\n")])
    frame = Frame(128, FrameHeader(0, len(payload), 1, 0, 1, 0, 0, 0, 1, 0), payload)
    assert frame_json(SegmentName(1, 1), frame)["operations"] == [
        {"op": "index", "table": "t", "field": "name"}, {"op": "unindex", "table": "a b", "field": "x\n"},
    ]  # fmt: skip
    assert [line.strip() for line in frame_lines(frame)[1:]] == ["index   t  name", 'unindex a b  "x\\n"']


def test_a_torn_tail_and_damage_of_the_log_are_told_apart(run, any_killed_store):
    tear(any_killed_store)
    assert run("log", "verify", "--db", any_killed_store, "--json").json["torn_tail"]["bytes"] > 0
    assert "a torn tail of" in run("status", "--db", any_killed_store).out
    change_byte(segment_of(any_killed_store), frames_of(run, any_killed_store)[1]["offset"] + 42)
    assert run("log", "verify", "--db", any_killed_store).code == 1
    done = run("status", "--db", any_killed_store)
    assert done.code == 1
    assert "state       damaged\n" in done.out
    assert "records     5 records in 1 table, as of the last checkpoint\n" in done.out


def test_what_recovery_cut_is_in_quarantine(run, any_killed_store):
    tear(any_killed_store)
    assert run("put", "a", "1", "--db", any_killed_store).code == 0
    (file,) = run("status", "--db", any_killed_store, "--json").json["quarantine"]
    assert Path(file["path"]).parent == log_of(any_killed_store) / "quarantine"


def test_records_are_imported_in_batches(run, location, tmp_path):
    records = [{"id": f"r{n:05}", "n": n} for n in range(2_500)]
    (tmp_path / "many.json").write_text(json.dumps(records))
    done = run("import", "many.json", "--id", "id", "--db", location, "--json")
    assert done.code == 0, done.err
    assert (done.json["written"], done.json["batches"]) == (2_500, 3)
    assert run("find", "--between", "n:=2490", "null", "--count", "--db", location).out == "10\n"
    assert run("check", "--db", location).code == 0
