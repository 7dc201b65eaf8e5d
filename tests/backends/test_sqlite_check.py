"""`check` of the SQLite backend finds what reading alone does not."""

import random
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sessiondb.backend import Position, TableChanges
from sessiondb.errors import CorruptionError, SessionDBError
from sessiondb.testing import FaultyFiles
from sessiondb.testing.backend_under_test import contents, no_pause
from sessiondb_backends.sqlite import SqliteBackend
from sessiondb_backends.sqlite_reader import Reader

RECORDS = {f"k{n:03}": b'{"n":%d,"x":"%s"}' % (n, b"x" * 50) for n in range(120)}
EXPECTED = {"t": ("json", RECORDS), "b": ("bytes", {"raw": b"\0\xff" * 2_000})}


@pytest.fixture
def store(tmp_path):
    """A closed store: table ``t`` with an index on ``n``, and a table of bytes."""
    path = str(tmp_path / "x.db")
    backend = SqliteBackend.open(FaultyFiles(), path, create=True)
    changes = {
        "t": TableChanges("json", False, RECORDS, {"n": True}),
        "b": TableChanges("bytes", False, {"raw": b"\0\xff" * 2_000}),
    }
    backend.apply(changes, Position(1, 0), Position(1, 1), no_pause)
    assert backend.check() == []
    backend.close()
    return path


def check(path):
    backend = SqliteBackend.open(FaultyFiles(), path, create=False)
    try:
        return backend.check()
    finally:
        backend.close()


def spoil(path, *statements):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


SPOILED = {
    "a record is gone": (["DELETE FROM sessiondb_1 WHERE key = 'k007'"], "has 119 records, 120 are on record"),
    "a record is changed": (["UPDATE sessiondb_1 SET record = '{}' WHERE key = 'k007'"], "'k007'.*checksum"),
    "a record was added": (["INSERT INTO sessiondb_1 VALUES ('z', NULL, 1, '{}')"], "'z'.*checksum"),
    "bytes became text": (["UPDATE sessiondb_2 SET record = 'x'"], "types text and text"),
    "an index is gone": (["DROP INDEX sessiondb_1_1"], "index on 'n' of table 't' is missing"),
    "an index is another one": (
        ["DROP INDEX sessiondb_1_1", "CREATE INDEX sessiondb_1_1 ON sessiondb_1(json_extract(record, '$.\"x\"'), key)"],
        "index on 'n' of table 't' is missing or another one",
    ),
    "the records of a table are gone": (["DROP TABLE sessiondb_2"], "no such table"),
    "there are records of no table": (["CREATE TABLE sessiondb_9(key)"], "sessiondb_9 belongs to no table"),
}


@pytest.mark.parametrize(("statements", "message"), SPOILED.values(), ids=SPOILED)
def test_check_says_what_another_program_did(store, statements, message):
    spoil(store, *statements)
    (problem, *more) = check(store)
    assert re.search(message, problem)
    assert all("on record" in problem for problem in more)


def test_check_names_some_of_many_and_counts_them(store):
    spoil(store, "UPDATE sessiondb_1 SET crc = 1")
    problems = check(store)
    assert len(problems) == 21
    assert "120 records of table 't' are damaged in all" in problems[-1]


def test_check_compares_every_index_with_its_records(store):
    """An index that was built over other records: SQLite itself would not notice when it reads."""
    with closing(sqlite3.connect(store, isolation_level=None)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'sessiondb_1_1'").fetchone()
    data = bytearray(Path(store).read_bytes())
    start = (page - 1) * 4096
    place = data.index(b"k007", start, start + 4096)
    data[place : place + 4] = b"k008"
    Path(store).write_bytes(data)
    assert any("sessiondb_1_1" in problem for problem in check(store))


def test_check_of_an_open_store_sees_what_is_in_sqlites_log(store):
    backend = SqliteBackend.open(FaultyFiles(), store, create=False)
    backend.apply({"t": TableChanges("json", False, {"new": b"1"})}, Position(1, 1), Position(1, 2), no_pause)
    assert backend.check() == []
    backend.close()


def test_a_changed_byte_is_refused_or_found_or_harmless(store, tmp_path):
    """Bytes all over the file, one at a time: what is shown as good is good."""
    whole = Path(store).read_bytes()
    damaged = str(tmp_path / "damaged.db")
    verdicts = {"refused": 0, "found": 0, "harmless": 0}
    chance = random.Random(4)
    for offset in [*range(0, 100, 3), *chance.sample(range(100, len(whole)), 400)]:
        changed = bytearray(whole)
        changed[offset] ^= chance.choice([1, 0x80, 0xFF])
        Path(damaged).write_bytes(changed)
        try:
            backend = SqliteBackend.open(FaultyFiles(), damaged, create=False)
        except SessionDBError:
            verdicts["refused"] += 1
            continue
        problems = backend.check()
        try:
            view = backend.read()
            found = contents(view)
            counts = {name: view.count(name) for name in found}
            by_key = {name: view.get_many(name, EXPECTED[name][1]) for name in found}
            view.close()
        except CorruptionError:
            assert problems
            verdicts["found"] += 1
        else:
            if problems:
                verdicts["found"] += 1
            else:
                assert found == EXPECTED
                assert counts == {"t": 120, "b": 1}
                assert by_key == {name: records for name, (_, records) in EXPECTED.items()}
                verdicts["harmless"] += 1
        finally:
            backend.close()
    assert min(verdicts.values()) > 10


@pytest.mark.parametrize("reverse", [False, True])
def test_rows_that_a_damaged_page_shows_out_of_order_are_damage(tmp_path, monkeypatch, reverse):
    """The memtable hides what it has replaced only from rows that come in order."""
    path = str(tmp_path / "x.db")
    backend = SqliteBackend.open(FaultyFiles(), path, create=True)
    images = {f"k{number}": b"1" for number in range(5)}
    backend.apply({"t": TableChanges("json", False, images)}, Position(1, 0), Position(1, 1), no_pause)
    view = backend.read()
    records = Reader.records

    def swapped(self, *arguments):
        rows = list(records(self, *arguments))
        rows[2], rows[3] = rows[3], rows[2]
        return iter(rows)

    monkeypatch.setattr(Reader, "records", swapped)
    with pytest.raises(CorruptionError, match="not in order"):
        list(view.scan("t", reverse=reverse))
    view.close()
    backend.close()
