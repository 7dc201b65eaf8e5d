"""`sessiondb check`: what is read, what damage is said to be, torn tails, busy stores; nothing is changed."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sessiondb
from sessiondb.backend import BackendView, Position
from sessiondb.memtable import Memtable
from sessiondb.wal.operations import Delete, Drop, Put, PutBytes
from sessiondb_backends.json_file import JsonFileBackend
from sessiondb_backends.resident import ResidentView
from sessiondb_tools.record_check import TableLook, check_changes, check_table

from .conftest import change_byte, frames_of, log_of, segment_of, tear


def test_a_whole_store_is_fine_and_what_was_read_is_counted(run, any_store):
    with sessiondb.open(any_store) as db:
        db.table("records", indexes=["n", "name"])
        db.checkpoint()
    done = run("check", "--db", any_store)
    assert done.code == 0, done.out
    assert re.fullmatch(
        rf"location  {re.escape(any_store)}\n"
        r"backend   (json|sqlite|lmdb), format \d+, at 1:\d+, [\d,]+ bytes: fine\n"
        r"records   4 records in 2 tables of the backend: each read\n"
        r"          blobs: 1 record \(bytes\)\n"
        r"          records: 3 records \(json\), indexes on n, name\n"
        r"log       1 segment, [\d,]+ bytes; 1 needed, all read\n"
        r"          0 transactions behind the backend, up to LSN \d+, with 0 changes\n"
        r"verdict   fine\n",
        done.out,
    ), done.out
    assert done.err == ""


def test_a_store_whose_writer_was_killed_is_fine(run, any_killed_store):
    done = run("check", "--db", any_killed_store)
    assert done.code == 0, done.out
    assert "records   5 records in 1 table of the backend: each read\n" in done.out
    assert "5 transactions behind the backend, up to LSN 10, with 5 changes\n" in done.out


def test_what_was_found_as_json(run, any_killed_store):
    found = run("check", "--db", any_killed_store, "--json").json
    assert found["location"] == any_killed_store
    assert found["fine"] is True
    assert found["problems"] == found["notices"] == []
    assert found["backend"]["position"] == "1:5"
    assert found["backend"]["bytes"] > 0
    assert found["tables"] == {"records": {"kind": "json", "records": 5, "indexes": [], "read": 5}}
    assert found["log"].pop("bytes") > 0
    assert found["log"] == {"segments": 1, "needed": 1, "transactions": 5, "changes": 5, "last_lsn": 10}


def test_a_torn_tail_is_fine_with_a_notice(run, any_killed_store):
    tear(any_killed_store)
    done = run("check", "--db", any_killed_store)
    assert done.code == 0, done.out
    assert re.search(r"notice +a torn tail of \d+ bytes in 0\S+\.seg at offset \d+", done.out)
    assert done.out.endswith("verdict   fine\n")


def test_damage_in_the_log_is_told_with_its_place_and_does_not_hide_the_backend(run, any_killed_store):
    frames = frames_of(run, any_killed_store)
    change_byte(segment_of(any_killed_store), frames[2]["offset"] + 42)
    done = run("check", "--db", any_killed_store)
    assert done.code == 1
    place = f"{segment_of(any_killed_store)}, offset {frames[2]['offset']}, LSN"
    assert re.search(rf"^DAMAGE +the log is damaged: .*{re.escape(place)}.*next: ", done.out, re.MULTILINE)
    assert "5 records in 1 table of the backend: each read" in done.out
    assert "verdict   damaged (1 finding): do not write; copy the store aside\n" in done.out
    found = run("check", "--db", any_killed_store, "--json")
    assert found.code == 1
    assert found.json["fine"] is False
    assert [problem["part"] for problem in found.json["problems"]] == ["log"]


def damage_json(path: str) -> None:
    Path(path).write_bytes(Path(path).read_bytes().replace(b'"text"', b'"tExt"'))


def damage_sqlite(path: str) -> None:
    """The record as SQLite has it says something else, and SQLite is happy with it."""
    with sqlite3.connect(path) as connection:
        for name, kind in connection.execute("SELECT name, type FROM sqlite_schema").fetchall():
            columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')] if kind == "table" else []
            if {"key", "record"} <= set(columns):
                connection.execute(f'UPDATE "{name}" SET record = replace(record, \'"text"\', \'"tExt"\')')
    connection.close()


def damage_lmdb(path: str) -> None:
    file = Path(path, "data.mdb")
    data = file.read_bytes()
    assert b'"text"' in data
    file.write_bytes(data.replace(b'"text"', b'"tExt"'))


DAMAGE: dict[str, Callable[[str], None]] = {".json": damage_json, ".db": damage_sqlite, ".lmdb": damage_lmdb}


def test_a_damaged_record_is_found_on_every_backend(run, location):
    with sessiondb.open(location) as db:
        db.table("records").put_many({"a": {"n": 1}, "c": "text"})
        db.checkpoint()
    DAMAGE[os.path.splitext(location)[1]](location)
    done = run("check", "--db", location)
    assert done.code == 1, done.out
    assert re.search(r"^DAMAGE ", done.out, re.MULTILINE)
    assert "damaged (" in done.out
    assert run("check", "--db", location, "--json").json["problems"][0]["part"] == "backend"


def test_where_a_damaged_backend_cannot_be_read_on_that_is_not_said_twice_and_the_other_tables_are_read(
    run, store, monkeypatch
):
    """LMDB, for one, refuses everything once it has met a bad page: that is damage, not a failure to look."""

    class Damaged(ResidentView):
        def scan(self, table: str, *arguments: Any, **options: Any) -> Iterator[Any]:
            if table == "blobs":
                raise sessiondb.BackendError("the transaction is dead")
            return super().scan(table, *arguments, **options)

    monkeypatch.setattr(JsonFileBackend, "read", lambda self: Damaged(self._view.position, self._view.state))
    done = run("check", "--db", store)
    assert done.code == 3
    assert "the transaction is dead" in done.err
    monkeypatch.setattr(JsonFileBackend, "check", lambda self: ["a bad page"])
    done = run("check", "--db", store)
    assert done.code == 1, done.err
    assert "bytes: damaged\nDAMAGE    a bad page\n" in done.out
    assert "records   4 records in 2 tables of the backend: 3 could be read\n" in done.out
    assert "blobs: 1 record (bytes), 0 read\n" in done.out
    assert "(1 finding)" in done.out


def test_a_missing_store_beside_its_log_is_damage(run, any_killed_store):
    remove_data(any_killed_store)
    done = run("check", "--db", any_killed_store)
    assert done.code == 1, done.out
    assert re.search(r"DAMAGE +the store \S+ is missing, but its log is there; next: ", done.out)
    assert "the log was not judged" in done.out
    assert re.search(r"backend +\w+, not read\n", done.out)


def remove_data(store: str) -> None:
    """Remove what is not the log."""
    if not store.endswith(".lmdb"):
        for path in Path(store).parent.glob(f"{Path(store).name}*"):
            if path != log_of(store):
                path.unlink()
        return
    for path in Path(store).iterdir():
        if path != log_of(store):
            path.unlink()


def test_an_older_log_beside_the_store_is_damage(run, tmp_path, killed_store):
    """The log of before a recovery that cut it, put back by hand: two histories, which must not be mixed."""
    log = log_of(killed_store)
    shutil.copytree(log, tmp_path / "old")
    tear(killed_store)
    with sessiondb.open(killed_store) as db:
        db.checkpoint()
        assert db.position().epoch == 2
    shutil.rmtree(log)
    shutil.move(tmp_path / "old", log)
    done = run("check", "--db", killed_store)
    assert done.code == 1
    assert "DAMAGE    the log is older than the store: it ends in epoch 1, the store is at 2:9" in done.out


def test_a_store_without_a_log_folder_is_fine_with_a_notice(run, store):
    shutil.rmtree(log_of(store))
    done = run("check", "--db", store)
    assert done.code == 0
    assert "log       none\n" in done.out
    assert "notice    there is no log" in done.out


def test_a_store_that_is_open_elsewhere_is_checked_as_it_is_now(run, any_busy_store):
    done = run("check", "--db", any_busy_store)
    assert done.code == 0, done.out
    assert re.search(r"notice +process \d+ .* has the store open", done.out)


def test_what_is_not_there_or_foreign_or_newer_cannot_be_checked(run, location, tmp_path):
    assert run("check", "--db", location).code == 3
    foreign = tmp_path / "package.json"
    foreign.write_text('{"name": "x"}')
    assert run("check", "--db", str(foreign)).code == 3


# ---- reading every record


class Shown(BackendView):
    """A view of one table that shows what it is told to."""

    def __init__(self, rows: list[tuple[str, bytes]]):
        self.position = Position(1, 1)
        self._rows = rows

    def tables(self) -> dict[str, Any]:
        return {"t": "json"}

    def get(self, table: str, key: str) -> bytes | None:
        return dict(self._rows).get(key)

    def get_many(self, table: str, keys: Any) -> dict[str, bytes]:
        return {key: image for key, image in self._rows if key in keys}

    def scan(self, table: str, start: Any = None, stop: Any = None, *, reverse: bool = False) -> Iterator[Any]:
        return iter(self._rows)

    def count(self, table: str) -> int:
        return len(self._rows)


def problems_of(rows: list[tuple[str, bytes]], kind: Any = "json", counted: int | None = None) -> list[str]:
    look = TableLook(kind, len(rows) if counted is None else counted, [])
    return check_table(Shown(rows), "t", look).problems


def test_records_that_are_json_under_keys_in_order_are_fine():
    assert problems_of([("a", b"1"), ("b", b'{"x":[null]}'), ("ü", b'""')]) == []
    assert problems_of([("a", b"\xff\x00")], kind="bytes") == []


@pytest.mark.parametrize("image", [b"", b"{", b"1 2", b"NaN", b'"\xff"', b"[" * 5000])
def test_a_record_that_is_no_json_is_named_with_its_table_and_key(image):
    first, summary = problems_of([("a", b"1"), ("b", image)])
    assert first.startswith(f"table 't': key b: it is no JSON ({len(image):,} byte")
    assert summary == "table 't': 1 of 2 records cannot be read; next: put them anew, or restore a backup"


def test_of_many_bad_records_ten_are_named_and_all_are_counted():
    problems = problems_of([(f"k{n:03}", b"{") for n in range(25)] + [("z", b"1")])
    assert len(problems) == 11
    assert problems[-1].startswith("table 't': 25 of 26 records cannot be read, the first 10 are named above")


def test_keys_out_of_order_twice_or_impossible_are_found():
    assert "its key comes behind b, out of order" in problems_of([("b", b"1"), ("a", b"1")])[0]
    assert "out of order" in problems_of([("a", b"1"), ("a", b"1")])[0]
    assert "key" in problems_of([("k" * 481, b"1")])[0]


def test_a_count_that_is_wrong_is_found():
    assert problems_of([("a", b"1")], counted=3) == [
        "table 't' counts 3 records, 1 were found; next: copy the store aside and restore a backup"
    ]


def test_where_reading_stops_the_records_before_it_have_been_read_and_checked():
    class Stops(Shown):
        def scan(self, *arguments: Any, **options: Any) -> Iterator[Any]:
            yield from self._rows
            raise sessiondb.CorruptionError("a bad byte", path="x")

    checked = check_table(Stops([("a", b"1"), ("b", b"{")]), "t", TableLook("json", 5, []))
    assert checked.read == 2
    assert len(checked.problems) == 2
    assert "a bad byte" in str(checked.stopped_by)


def test_records_in_the_log_are_read_too():
    memtable = Memtable(0)
    memtable.apply(1, [Put("t", "a", b"1"), Put("t", "b", b"{"), Delete("t", "c"), PutBytes("x", "y", b"\xff")], -1)
    first, summary = check_changes(memtable, {"t": "json"})
    assert first.startswith("the log's records of table 't': key b: it is no JSON (1 byte)")
    assert summary.startswith("the log's records of table 't': 1 of 3 records cannot be read")


def test_a_log_whose_records_are_of_another_kind_than_the_backends_is_found():
    memtable = Memtable(0)
    memtable.apply(1, [Put("t", "a", b"1")], -1)
    (problem,) = check_changes(memtable, {"t": "bytes"})
    assert problem.startswith("table 't' holds bytes records, but the log has json records for it")
    memtable = Memtable(0)
    memtable.apply(1, [Drop("t"), Put("t", "a", b"1")], -1)
    assert list(check_changes(memtable, {"t": "bytes"})) == []
