"""`sessiondb export`: records as JSON Lines from every backend, and what another host's take-over left behind."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sessiondb
from sessiondb.files import Files
from sessiondb_tools.exporting.lines import record_line
from sessiondb_tools.standing import read_run

from .conftest import tree

RECORDS = [
    {"table": "blobs", "key": "logo", "base64": "AP8="},
    {"table": "records", "key": "a", "record": {"n": 1}},
    {"table": "records", "key": "b", "record": [None, 2.5, "ü"]},
    {"table": "records", "key": "c", "record": "text"},
]


# ---- records


def test_every_record_of_every_table_is_a_line(run, any_store):
    done = run("export", "--db", any_store)
    assert (done.code, done.err) == (0, "")
    assert done.lines == RECORDS
    assert '"ü"' in done.out


def test_tables_are_chosen_by_name(run, any_store):
    assert run("export", "--table", "blobs", "--db", any_store).lines == RECORDS[:1]
    assert run("export", "--table", "records", "--table", "blobs", "--db", any_store).lines == RECORDS
    done = run("export", "--table", "other", "--table", "blobs", "--db", any_store)
    assert done.code == 2
    assert "there is no table other in" in done.err
    assert "it has: blobs, records;" in done.err
    assert done.out == ""


def test_what_is_in_the_log_only_is_there(run, any_killed_store):
    assert [line["key"] for line in run("export", "--db", any_killed_store).lines] == [f"key-{n}" for n in range(10)]


def test_a_store_without_tables_gives_nothing(run, location):
    sessiondb.open(location).close()
    done = run("export", "--db", location)
    assert (done.code, done.out) == (0, "")


def test_records_come_as_they_are_stored(run, tmp_path):
    """Digits, escapes and fields of later versions are not touched."""
    path = str(tmp_path / "x.json")
    image = b'{"$v":2,"x":1.10,"y":1e2,"z":"\\u00e4"}'
    with sessiondb.open(path) as db:
        db.table("records")["a"] = 0
        store = db._store
        assert store is not None
        store.views.triple.active.tables["records"].entries["a"].image = image
        with store.pin() as view:
            (pair,) = view.scan("records")
    assert record_line("records", "json", *pair) == b'{"table":"records","key":"a","record":' + image + b"}\n"


def test_a_document_in_several_lines_becomes_one(run, alpha, pg_admin, pg_schema):
    """People with SQL may store such a one: `json` keeps it."""
    with alpha.open() as db:
        db.table("records")["a"] = 1
    pg_admin.execute(f"""UPDATE "{pg_schema}".sessiondb_records SET record = '{{\r\n "x" : 1.10 }}'""")
    assert alpha("export").out == '{"table":"records","key":"a","record":{"x":1.10}}\n'


def test_records_go_to_a_new_file_that_only_its_owner_reads(run, any_store, tmp_path):
    before = sorted(os.listdir(tmp_path))
    done = run("export", "--output", "out.jsonl", "--db", any_store)
    assert (done.code, done.out) == (0, "wrote 4 records of 2 tables to out.jsonl (jsonl)\n")
    path = tmp_path / "out.jsonl"
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == RECORDS
    assert path.stat().st_mode & 0o777 == 0o600
    assert set(os.listdir(tmp_path)) - set(before) <= {"out.jsonl", "s.db-shm"}
    done = run("export", "--output", "out2.jsonl", "--json", "--db", any_store)
    assert done.json == {"records": 4, "tables": ["blobs", "records"], "output": "out2.jsonl", "format": "jsonl"}
    assert run("export", "--output", "-", "--db", any_store).lines == RECORDS


def test_nothing_is_overwritten(run, store, tmp_path):
    for path in (tmp_path / "mine.txt", tmp_path / "folder"):
        path.mkdir() if path.name == "folder" else path.write_text("mine")
        before = tree(tmp_path)
        done = run("export", "--output", str(path), "--db", store)
        assert done.code == 2
        assert f"there is something at {path} already, and it is kept" in done.err
        assert tree(tmp_path) == before


def test_a_file_that_cannot_be_finished_is_not_there(run, store, tmp_path, monkeypatch):
    before = sorted(os.listdir(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("sessiondb_tools.exporting.lines.record_line", lambda table, *_: {"blobs": b"first"}[table])
        with pytest.raises(KeyError):
            run("export", "--output", "out.jsonl", "--db", store)
    assert sorted(os.listdir(tmp_path)) == before
    done = run("export", "--output", "none/out.jsonl", "--db", store)
    assert done.code == 3
    assert "No such file or directory" in done.err


def test_the_file_is_durable_before_it_has_its_name(store, tmp_path, monkeypatch, run):
    calls = []
    for name in ("replace", "sync_folder"):
        real = getattr(Files, name)
        monkeypatch.setattr(Files, name, lambda self, *a, name=name, real=real: (calls.append(name), real(self, *a))[1])
    real_sync = sessiondb.files.File.fsync
    monkeypatch.setattr(sessiondb.files.File, "fsync", lambda self: (calls.append("fsync"), real_sync(self))[1])
    assert run("export", "--output", "out.jsonl", "--db", store).code == 0
    assert calls == ["fsync", "replace", "sync_folder"]


def test_much_is_written_in_pieces(run, tmp_path):
    path = str(tmp_path / "x.db")
    with sessiondb.open(path) as db:
        db.table("records").put_many({f"k{n:04}": "x" * 3000 for n in range(1000)})
    assert len(run("export", "--db", path).lines) == 1000
    run("export", "--output", "out.jsonl", "--db", path)
    assert (tmp_path / "out.jsonl").read_text() == run("export", "--db", path).out


def test_who_reads_may_go_away(tmp_path, killed_store):
    with sessiondb.open(killed_store) as db:
        db.table("records").put_many({f"k{n:04}": "x" * 3000 for n in range(1000)})
    command = f"{sys.executable} -m sessiondb_tools export --db {killed_store}; echo $? >&2"
    done = subprocess.run(["bash", "-c", f"({command}) | head -1"], capture_output=True, text=True, check=True)
    assert done.stderr == "141\n"


def test_a_busy_store_and_one_that_is_not_there(run, busy_store, tmp_path):
    assert run("export", "--wait", "0", "--db", busy_store).code == 3
    assert run("export", "--db", str(tmp_path / "none.json")).code == 3
    assert not (tmp_path / "none.json").exists()


def test_a_damaged_record_ends_the_export_and_leaves_no_file(run, tmp_path):
    path = tmp_path / "x.db"
    with sessiondb.open(path) as db:
        db.table("records").put_many({"a": "text", "b": "other"})
        db.checkpoint()
    path.write_bytes(path.read_bytes().replace(b'"text"', b'"tExt"'))
    done = run("export", "--output", "out.jsonl", "--db", str(path))
    assert done.code == 1
    assert "does not match its checksum" in done.err
    assert not (tmp_path / "out.jsonl").exists()


# ---- what never reached the server


@pytest.fixture
def stranded(alpha, beta):
    """A host that goes on committing, because it does not know yet that another one has taken the store over."""

    def work(db):
        jobs, blobs = db.table("jobs"), db.table("blobs", bytes)
        jobs["old"] = 1
        db.checkpoint()
        beta.open().close()
        jobs.put_many({"a": {"n": 1.10}, "b": "ü"})
        blobs["logo"] = b"\x00\xff"
        del jobs["old"]
        db.drop("blobs")
        jobs.create_index("n")  # asks for a checkpoint, at which it is told

    alpha.killed(work)
    return alpha


def test_each_change_is_a_line_in_the_order_in_which_they_were_made(stranded):
    before = tree(stranded.log)
    done = stranded("export", "--stranded")
    assert (done.code, done.err) == (0, "")
    lines = done.lines
    assert [line.pop("time")[:2] for line in lines] == ["20"] * 6
    assert lines == [
        {"lsn": 2, "table": "jobs", "op": "put", "key": "a", "record": {"n": 1.1}},
        {"lsn": 2, "table": "jobs", "op": "put", "key": "b", "record": "ü"},
        {"lsn": 3, "table": "blobs", "op": "put_bytes", "key": "logo", "base64": "AP8="},
        {"lsn": 4, "table": "jobs", "op": "delete", "key": "old"},
        {"lsn": 5, "table": "blobs", "op": "drop"},
        {"lsn": 6, "table": "jobs", "op": "index", "field": "n"},
    ]
    assert base64.b64decode(lines[2]["base64"]) == b"\x00\xff"
    assert list(done.lines[0]) == ["lsn", "time", "table", "op", "key", "record"]
    assert tree(stranded.log) == before
    assert stranded("export", "--stranded", "--table", "blobs").lines == [done.lines[2], done.lines[4]]


def test_they_go_to_a_file_with_a_word_on_what_they_are(stranded, tmp_path):
    done = stranded("export", "--stranded", "--output", "out.jsonl")
    assert done.code == 0
    run = r"5 transactions \(6 changes\), LSN 2 to 6, from 20\S+Z to 20\S+Z"
    assert re.fullmatch(rf"wrote 6 lines to out\.jsonl: {run}\n", done.out)
    assert (tmp_path / "out.jsonl").read_text("utf-8") == stranded("export", "--stranded").out
    found = stranded("export", "--stranded", "--output", "out2.jsonl", "--json").json
    assert (found["lines"], found["transactions"], found["first_lsn"], found["last_lsn"]) == (6, 5, 2, 6)
    assert stranded("export", "--stranded", "--output", "out.jsonl").code == 2


def test_where_nothing_is_stranded_there_is_nothing_to_export(stranded, beta, tmp_path):
    done = beta("export", "--stranded", "--output", "out.jsonl")
    assert (done.code, done.out) == (0, "")
    assert re.match(r"sessiondb export: nothing is stranded on this host: the store is owned by this host \(", done.err)
    assert not (tmp_path / "out.jsonl").exists()


def test_only_a_store_on_a_server_can_have_left_something_behind(run, any_store):
    done = run("export", "--stranded", "--db", any_store)
    assert done.code == 2
    assert "is not on a server" in done.err


def test_a_transaction_that_does_not_decode_is_damage(stranded, monkeypatch):
    monkeypatch.setattr(
        "sessiondb.recovery.decode_operations", lambda payload: (_ for _ in ()).throw(ValueError("odd"))
    )
    done = stranded("export", "--stranded")
    assert done.code == 1
    assert "the transaction does not decode: odd" in done.err


def test_a_log_without_frames_behind_an_lsn_has_no_run(killed_store):
    files, folder = Files(), f"{killed_store}.wal"
    with sessiondb.open(killed_store, read_only=True) as db:
        uuid = bytes.fromhex(db.stats().uuid)
    run = read_run(files, folder, uuid, 8)
    assert run is not None
    assert (run.first_lsn, run.last_lsn, run.transactions, run.changes) == (9, 10, 2, 2)
    assert str(read_run(files, folder, uuid, 9)).startswith("1 transaction (1 change), LSN 10, of 20")
    assert read_run(files, folder, uuid, 10) is None
    assert Path(folder).exists()
