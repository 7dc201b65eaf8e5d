"""`sessiondb import` of what sqlitedict, diskcache, shelve and dbm leave behind; their files never change."""

from __future__ import annotations

import base64
import dbm
import dbm.dumb
import importlib.util
import json
import os
import pickle
import shelve
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import sessiondb
from sessiondb_tools.importing import sqlite_source
from sessiondb_tools.main import main
from sessiondb_tools.verbs import import_

PACKED = Path(__file__).parent / "left_behind"
_spec = importlib.util.spec_from_file_location("left_behind_make", PACKED / "make.py")
assert _spec is not None
assert _spec.loader is not None
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)
CONVERTED = {
    "tuple": [1, "two"],
    "set": [1, 2, 3],
    "bytes": "AP8=",
    "time": "2026-01-02T03:04:05.000006Z",
    "big": str(2**80),
    "numbered": {"1": "one"},
    "blob": base64.b64encode(make.OTHERS["blob"]).decode(),
}
"""What becomes of `make.OTHERS`."""


@pytest.fixture(params=["committed", "made now"])
def left_behind(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Gives the path of a file or folder that the real package made: long ago, or just now where it is installed."""

    def path(name: str) -> str:
        if request.param == "committed":
            make.unpack((PACKED / f"{name}.packed").read_text(), tmp_path)
        else:
            package = {"words": "sqlitedict", "compressed": "sqlitedict", "tiny": "tinydb"}.get(
                name.split(".")[0], "diskcache"
            )
            if importlib.util.find_spec(package) is None:
                pytest.skip(f"{package} is not installed: the extra bench brings it")
            make.MAKERS[name](tmp_path / name)
        return str(tmp_path / name)

    return path


@pytest.fixture(autouse=True)
def unchanged(tmp_path: Path) -> Iterator[Any]:
    """Give it a path, and that is checked at the end: every byte, every name, every time of change."""
    before: dict[str, dict[str, tuple[bytes, int]]] = {}
    yield lambda path: before.update({path: state(path)})
    for path, was in before.items():
        assert state(path) == was


def state(path: str) -> dict[str, tuple[bytes, int]]:
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    begin = "" if os.path.isdir(path) else os.path.basename(path)
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.startswith(begin):
                with open(os.path.join(parent, name), "rb") as file:
                    found[os.path.join(parent, name)] = (file.read(), os.fstat(file.fileno()).st_mtime_ns)
    return found


def stored(path: Path | str, table: str = "records", kind: Any = Any) -> dict[str, Any]:
    with sessiondb.open(str(path), create=False) as db:
        return dict(db.table(table, kind).scan())


@pytest.fixture
def into(tmp_path: Path) -> str:
    return str(tmp_path / "target.json")


# ---- sqlitedict


def test_a_table_of_sqlitedict_is_read(run, left_behind, into, unchanged):
    path = left_behind("words.sqlite")
    unchanged(path)
    done = run("import", path, "--source-table", "unnamed", "--convert", "all", "--db", into)
    assert done.code == 0, done.err
    assert stored(into) == make.PLAIN | CONVERTED


def test_text_in_sqlitedict_is_json(run, left_behind, into):
    done = run("import", "--from", "sqlitedict", left_behind("words.sqlite"), "--source-table", "as JSON", "--db", into)
    assert done.code == 0, done.err
    assert stored(into) == make.PLAIN


def test_compressed_values_have_to_be_named(run, left_behind, into):
    path = left_behind("compressed.sqlite")
    done = run("import", path, "--db", into)
    assert done.code == 2
    assert "it may be compressed: --values zlib+pickle" in done.err
    assert run("import", path, "--values", "zlib+pickle", "--db", into).code == 0
    assert stored(into) == make.PLAIN


def test_more_than_one_table_needs_a_choice(run, left_behind, into):
    path = left_behind("words.sqlite")
    assert "it has 2 tables (as JSON, unnamed)" in run("import", path, "--db", into).err
    done = run("import", path, "--source-table", "other", "--db", into)
    assert done.code == 2
    assert "it has no table 'other'" in done.err
    assert not os.path.exists(into)


def test_what_json_cannot_hold_is_listed_and_nothing_is_written(run, left_behind, into):
    done = run("import", left_behind("words.sqlite"), "--source-table", "unnamed", "--db", into)
    assert done.code == 2
    listed = done.err.splitlines()
    assert len(listed) == len(make.OTHERS) + 1
    assert "unreadable: row 5, key tuple: JSON cannot hold a tuple (--convert tuples would)" in listed
    assert any(line.startswith("unreadable: row 8, key time: JSON cannot hold a datetime") for line in listed)
    assert f"{len(make.OTHERS)} entries cannot be stored, {len(make.PLAIN)} can; nothing was written" in listed[-1]
    assert not os.path.exists(into)


def test_what_json_cannot_hold_may_be_left_out(run, left_behind, into):
    arguments = ["--source-table", "unnamed", "--skip-unreadable", "--convert", "sets"]
    done = run("import", left_behind("words.sqlite"), *arguments, "--db", into, "--json")
    assert done.code == 0
    assert (done.json["written"], done.json["unreadable"]) == (len(make.PLAIN) + 1, len(make.OTHERS) - 1)
    assert len(done.err.splitlines()) == len(make.OTHERS) - 1
    assert stored(into) == make.PLAIN | {"set": [1, 2, 3]}


def sqlitedict_file(path: Path, rows: dict[Any, Any], mode: str = "DELETE") -> str:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute('CREATE TABLE IF NOT EXISTS "unnamed" (key TEXT PRIMARY KEY, value BLOB)')
        connection.executemany("REPLACE INTO unnamed VALUES (?, ?)", rows.items())
    return str(path)


class Basket:
    """A class of the program that was left."""


def test_objects_of_other_programs_are_named_and_never_made(run, tmp_path, into):
    rows = {"a": pickle.dumps({"n": 1}), "b": pickle.dumps([Basket()]), "c": b"rubbish", "d": pickle.dumps(1)[:-1]}
    path = sqlitedict_file(tmp_path / "s.sqlite", rows)
    done = run("import", path, "--db", into)
    assert done.code == 2
    assert "row 2, key b: it holds a " in done.err
    assert "Basket, which is no plain data" in done.err
    assert "row 3, key c: the pickle is damaged at offset 0" in done.err
    assert "row 4, key d: the pickle is damaged" in done.err
    assert run("import", path, "--skip-unreadable", "--db", into).code == 0
    assert stored(into) == {"a": {"n": 1}}


def test_values_that_are_no_bytes_and_keys_that_are_no_text_have_their_way(run, tmp_path, into):
    rows = {"n": 5, "null": None, "f": 1.5, b"\xff": pickle.dumps(1), "": pickle.dumps(1)}
    path = sqlitedict_file(tmp_path / "s.sqlite", rows)
    done = run("import", path, "--skip-unreadable", "--db", into)
    assert done.code == 0
    assert "row 4, key b'\\xff': the key is a bytes object" in done.err
    assert "a key is not empty" in done.err
    assert stored(into) == {"n": 5, "null": None, "f": 1.5}


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("msgpack", lambda value: sessiondb_msgpack(value)),
        ("json", lambda value: json.dumps(value).encode()),
        ("zlib+json", lambda value: zlib.compress(json.dumps(value).encode())),
    ],
)
def test_other_encodings_are_named(run, tmp_path, into, encoding, encode):
    path = sqlitedict_file(tmp_path / "s.sqlite", {"a": encode({"n": [1, None]})})
    assert run("import", path, "--values", encoding, "--db", into).code == 0
    assert stored(into) == {"a": {"n": [1, None]}}


def sessiondb_msgpack(value: object) -> bytes:
    import msgspec

    return msgspec.msgpack.encode(value)


def test_bytes_make_a_table_of_bytes(run, tmp_path, into):
    path = sqlitedict_file(tmp_path / "s.sqlite", {"a": b"\xff", "b": zlib.compress(b"x")})
    assert run("import", path, "--values", "bytes", "--db", into).code == 0
    assert stored(into, kind=bytes) == {"a": b"\xff", "b": zlib.compress(b"x")}
    assert run("import", path, "--values", "zlib+bytes", "--skip-unreadable", "--replace", "--db", into).code == 0
    assert stored(into, kind=bytes) == {"a": b"\xff", "b": b"x"}


def test_a_value_that_is_too_large_is_listed(run, tmp_path, into, monkeypatch):
    monkeypatch.setattr(sqlite_source, "RECORD_BYTES_MAX", 1_000)
    path = sqlitedict_file(tmp_path / "s.sqlite", {"a": b"x" * 1_001, "b": pickle.dumps(1)})
    done = run("import", path, "--skip-unreadable", "--db", into)
    assert "key a: it has 1001 bytes, the limit of a record is 1000" in done.err
    assert stored(into) == {"b": 1}


# ---- the state in which SQLite left the file


def killed_writer(path: Path, mode: str) -> None:
    """Another program writes ten rows, and is killed; without WAL mode in the middle of writing more."""
    program = f"""
import os, pickle, sqlite3
connection = sqlite3.connect({str(path)!r}, isolation_level=None)
connection.execute("PRAGMA journal_mode={mode}")
connection.execute("CREATE TABLE unnamed (key TEXT PRIMARY KEY, value BLOB)")
for number in range(10):
    connection.execute("INSERT INTO unnamed VALUES (?, ?)", (f"k{{number}}", pickle.dumps(number)))
if "{mode}" != "WAL":
    connection.execute("PRAGMA cache_size=2")
    connection.execute("BEGIN")
    for number in range(500):
        connection.execute("INSERT INTO unnamed VALUES (?, ?)", (f"x{{number}}", b"x" * 500))
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_rows_that_are_only_in_the_log_of_sqlite_are_read(run, tmp_path, into):
    killed_writer(tmp_path / "s.sqlite", "WAL")
    log = tmp_path / "s.sqlite-wal"
    before = (tmp_path / "s.sqlite").read_bytes(), log.read_bytes()
    (tmp_path / "s.sqlite-shm").unlink()
    assert before[1]
    for _ in range(2):
        assert run("import", str(tmp_path / "s.sqlite"), "--replace", "--db", into).code == 0
        assert stored(into) == {f"k{number}": number for number in range(10)}
        assert ((tmp_path / "s.sqlite").read_bytes(), log.read_bytes()) == before


def test_a_cleanly_closed_database_is_read_without_a_trace(run, tmp_path, into, unchanged):
    path = sqlitedict_file(tmp_path / "s.sqlite", {"a": pickle.dumps(1)}, "WAL")
    unchanged(path)
    assert run("import", path, "--db", into).code == 0
    assert stored(into) == {"a": 1}


def test_a_journal_that_is_left_over_is_refused_and_kept(run, tmp_path, into, unchanged):
    killed_writer(tmp_path / "s.sqlite", "DELETE")
    path = str(tmp_path / "s.sqlite")
    unchanged(path)
    done = run("import", path, "--db", into)
    assert done.code == 2
    assert f"a program was interrupted while it wrote, and left {path}-journal to undo that" in done.err
    assert "copy both files to another folder" in done.err


def test_a_journal_without_a_meaning_is_no_matter(run, tmp_path, into, unchanged):
    path = sqlitedict_file(tmp_path / "s.sqlite", {"a": pickle.dumps(1)}, "PERSIST")
    assert (tmp_path / "s.sqlite-journal").stat().st_size
    unchanged(path)
    assert run("import", path, "--db", into).code == 0


def test_a_database_that_is_being_written_is_refused(run, tmp_path, into, monkeypatch):
    monkeypatch.setattr(sqlite_source, "BUSY_S", 0.0)
    path = sqlitedict_file(tmp_path / "s.sqlite", {"a": pickle.dumps(1)})
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        done = run("import", path, "--db", into)
    assert done.code == 3
    assert "another program is writing to it; nothing was written; next: try again when it has ended" in done.err


def test_both_readings_find_the_same_while_another_program_writes(tmp_path, into, monkeypatch):
    path = sqlitedict_file(tmp_path / "s.sqlite", {f"k{n}": pickle.dumps(n) for n in range(10)}, "WAL")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("SELECT count(*) FROM unnamed").fetchall()  # now it has the database open
        opened = import_.open_for_writing

        def meanwhile(*arguments: Any, **options: Any) -> sessiondb.Database:
            writer.execute("DELETE FROM unnamed WHERE key > 'k4'")
            writer.execute("INSERT INTO unnamed VALUES ('new', x'80')")
            return opened(*arguments, **options)

        monkeypatch.setattr(import_, "open_for_writing", meanwhile)
        assert main(["import", path, "--db", into]) == 0
    assert stored(into) == {f"k{n}": n for n in range(10)}


def test_a_change_that_was_not_to_be_expected_is_seen(tmp_path, into, monkeypatch, capsys):
    """A database that nobody had open is taken for one that does not change: that is looked at afterwards."""
    path = sqlitedict_file(tmp_path / "s.sqlite", {f"k{n}": pickle.dumps(n) for n in range(10)}, "WAL")
    opened = import_.open_for_writing

    def meanwhile(*arguments: Any, **options: Any) -> sessiondb.Database:
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("DELETE FROM unnamed")
        return opened(*arguments, **options)

    monkeypatch.setattr(import_, "open_for_writing", meanwhile)
    monkeypatch.setattr(import_, "BATCH_RECORDS_MAX", 5)
    assert main(["import", path, "--db", into]) in (2, 3)
    said = capsys.readouterr().err
    assert "another program wrote to it while it was read" in said
    assert "had been written when the input changed; next: run the import again with --replace" in said


def test_a_damaged_database_is_said(run, tmp_path, into, unchanged):
    path = sqlitedict_file(tmp_path / "s.sqlite", {f"k{n}": b"x" * 1_000 for n in range(50)})
    content = bytearray(Path(path).read_bytes())
    content[4096:12288] = b"\xa5" * 8192
    Path(path).write_bytes(content)
    unchanged(path)
    done = run("import", path, "--db", into)
    assert done.code == 2
    assert "the database is damaged" in done.err
    assert not os.path.exists(into)


def test_damage_that_sqlite_cannot_put_into_words_is_said(run, tmp_path, into):
    """SQLite puts the damaged text into its message, and Python's module failed to decode that."""
    path = sqlitedict_file(tmp_path / "s.sqlite", {"a": pickle.dumps(1)})
    content = Path(path).read_bytes()
    assert content.count(b"TEXT PRIMARY") == 1
    Path(path).write_bytes(content.replace(b"TEXT PRIMARY", b"TEXT \xff\xfeIMARY"))
    done = run("import", path, "--db", into)
    assert done.code == 2
    assert "the database is damaged (" in done.err


def test_a_view_is_no_table(run, tmp_path, into):
    """A view could compute anything, and for ever."""
    path = tmp_path / "s.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE VIEW unnamed (key, value) AS SELECT 'k', randomblob(1000000000)")
    done = run("import", "--from", "sqlitedict", str(path), "--db", into)
    assert "no table of sqlitedict in this database (it has no table)" in done.err


def test_a_kill_between_batches_leaves_whole_batches_and_the_source(tmp_path, into, unchanged):
    path = sqlitedict_file(tmp_path / "s.sqlite", {f"k{n}": pickle.dumps({"n": n}) for n in range(1_000)})
    unchanged(path)
    program = f"""
import os
from sessiondb_tools import main
from sessiondb_tools.verbs import import_
from sessiondb.table import Table
import_.BATCH_RECORDS_MAX, put_many, done = 100, Table.put_many, []
def counted(self, records):
    put_many(self, records)
    done.append(1)
    if len(done) == 3: os.kill(os.getpid(), 9)
Table.put_many = counted
main.main(["import", {path!r}, "--db", {into!r}])
"""
    killed = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert killed.returncode == -9
    assert stored(into) == {f"k{n}": {"n": n} for n in range(300)}
    assert main(["import", path, "--replace", "--db", into]) == 0
    assert len(stored(into)) == 1_000


def test_rows_are_read_in_bounded_memory(tmp_path):
    import tracemalloc

    from sessiondb_tools.importing.checking import check_source
    from sessiondb_tools.importing.plain import Plainer
    from sessiondb_tools.importing.source import Choices
    from sessiondb_tools.importing.sqlitedict import open_source

    rows = {f"k{n}": pickle.dumps({"text": "x" * 20_000}) for n in range(500)}
    source = open_source(sqlitedict_file(tmp_path / "s.sqlite", rows), Choices(Plainer(), 0.0))
    with closing(source):
        tracemalloc.start()
        try:
            assert len(check_source(source, "t", Any, skip=False, report=print).keys) == 500
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert os.path.getsize(tmp_path / "s.sqlite") > 10_000_000
    assert peak < 1_000_000


# ---- diskcache


def test_a_cache_is_read_with_the_values_in_files(run, left_behind, into, unchanged):
    path = left_behind("cache")
    unchanged(path)
    done = run("import", path, "--convert", "all", "--skip-unreadable", "--db", into)
    assert done.code == 0
    assert done.err == "unreadable: row 17, key ('pair', 1): the key is a tuple, which is no text\n"
    assert "1 entry left out: cannot be stored\nentries with a tag, which is not kept: 1\n" in done.out
    odd = {"7": "seven", "key": "odd key", "1.5": "odd key"}
    assert stored(into) == make.PLAIN | CONVERTED | make.LARGE | odd


def test_a_cache_may_be_named_by_its_database(run, left_behind, into):
    path = os.path.join(left_behind("cache"), "cache.db")
    done = run("import", path, "--convert", "all", "--skip-unreadable", "--db", into, "--json")
    assert done.json["written"] == len(make.PLAIN | CONVERTED | make.LARGE) + 3


def test_keys_that_are_no_text_are_refused_as_well(run, left_behind, into):
    done = run("import", left_behind("cache"), "--convert", "tuples,sets,bytes,times,decimals", "--db", into)
    assert done.code == 2
    assert "key b'key': the key is a bytes object, which is no text (--convert keys would)" in done.err
    assert "key 1.5: the key is a float, which is no text (--convert keys would)" in done.err


def test_all_shards_of_a_fanout_cache_are_read(run, left_behind, into, unchanged):
    path = left_behind("shards")
    unchanged(path)
    assert run("import", path, "--db", into).code == 0
    assert stored(into) == {f"k{n}": {"n": n} for n in range(20)}


def test_a_missing_shard_is_said(run, left_behind, into):
    path = left_behind("shards")
    os.rename(os.path.join(path, "001"), os.path.join(path, "kept"))
    done = run("import", path, "--db", into)
    assert done.code == 2
    assert "the shard 001 is missing, but 002 is there" in done.err


def test_compressed_json_is_read_where_it_is_known(run, left_behind, into):
    assert run("import", left_behind("json_disk_6"), "--db", into).code == 0
    assert stored(into) == make.PLAIN | make.LARGE


def test_compressed_json_is_recognized_and_has_to_be_named(run, left_behind, into):
    path = left_behind("json_disk")
    done = run("import", path, "--db", into)
    assert done.code == 2
    assert "the key is compressed JSON, as JSONDisk writes it (--values zlib+json would read it)" in done.err
    assert run("import", path, "--values", "zlib+json", "--db", into).code == 0
    assert stored(into) == make.PLAIN | make.LARGE


CACHE = """
CREATE TABLE Settings (key TEXT NOT NULL UNIQUE, value);
CREATE TABLE Cache (rowid INTEGER PRIMARY KEY, key BLOB, raw INTEGER, store_time REAL, expire_time REAL,
  access_time REAL, access_count INTEGER DEFAULT 0, tag BLOB, size INTEGER DEFAULT 0, mode INTEGER DEFAULT 0,
  filename TEXT, value BLOB);
"""


def cache(folder: Path, *rows: tuple[Any, ...]) -> str:
    """A cache with rows of key, expire_time, mode, filename and value."""
    folder.mkdir()
    with closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        connection.executescript(CACHE)
        statement = "INSERT INTO Cache (key, raw, expire_time, mode, filename, value) VALUES (?, 1, ?, ?, ?, ?)"
        connection.executemany(statement, rows)
    return str(folder)


def test_what_has_expired_is_left_out_and_what_will_expire_is_refused(run, tmp_path, into):
    now = time.time()
    rows = [("old", now - 1, 1, None, 1), ("new", now + 100_000, 1, None, 2), ("kept", None, 1, None, 3)]
    path = cache(tmp_path / "c", *rows)
    done = run("import", path, "--db", into)
    assert done.code == 2
    assert "1 entry would expire, as new at 20" in done.err
    assert "records do not expire here; nothing was written; next: --ignore-expiry stores them for ever" in done.err
    done = run("import", path, "--ignore-expiry", "--db", into)
    assert done.code == 0
    assert "1 entry left out: expired\n1 entry stored for ever: the time to expire is not kept\n" in done.out
    assert stored(into) == {"new": 2, "kept": 3}


def test_a_cache_that_only_has_expired_entries_is_no_error(run, tmp_path, into):
    done = run("import", cache(tmp_path / "c", ("old", 1.0, 1, None, 1)), "--db", into, "--json")
    assert (done.code, done.json["written"], done.json["expired"]) == (0, 0, 1)


ESCAPES = {
    "upwards": "../secret",
    "from the root": "/etc/hostname",
    "through a link": "link",
    "with a NUL": "a\x00b",
    "a folder": "folder",
    "a pipe": "pipe",
    "nothing": "absent",
    "the folder itself": ".",
}


@pytest.mark.parametrize("case", ESCAPES)
def test_no_file_outside_the_cache_is_read(run, tmp_path, into, case):
    (tmp_path / "secret").write_text("secret")
    path = cache(tmp_path / "c", ("a", None, 3, ESCAPES[case], None))
    os.symlink("../secret", f"{path}/link")
    os.mkdir(f"{path}/folder")
    os.mkfifo(f"{path}/pipe")
    done = run("import", path, "--db", into)
    assert done.code == 2
    assert "unreadable: row 1, key a: its file " in done.err
    assert not os.path.exists(into)


def test_a_value_that_no_diskcache_writes_is_listed(run, tmp_path, into):
    rows = [("a", None, 9, None, 1), ("b", None, 4, None, 5), ("c", None, 3, b"\xff", None), ("d", None, 4, None, None)]
    done = run("import", cache(tmp_path / "c", *rows), "--db", into)
    assert "key a: its mode is 9, which no diskcache writes" in done.err
    assert "key b: bytes are expected in the database, found int" in done.err
    assert "key c: no UTF-8 text" in done.err
    assert "4 entries cannot be stored" in done.err


def test_keys_that_become_equal_are_refused(run, tmp_path, into):
    path = cache(tmp_path / "c", ("7", None, 1, None, 1), (7, None, 1, None, 2))
    done = run("import", path, "--db", into)
    assert done.code == 2
    assert "unreadable: row 2, key 7: the key 7 is there already" in done.err
    assert run("import", path, "--skip-unreadable", "--db", into).code == 0
    assert stored(into) == {"7": 1}


def test_what_else_is_in_the_folder_of_a_fanout_cache_is_said(run, left_behind, into):
    path = left_behind("shards")
    os.makedirs(f"{path}/deque/jobs")
    done = run("import", path, "--db", into)
    assert done.out.endswith(f"not read: the caches in {path}/deque\n")


# ---- shelve and dbm


def test_a_shelf_is_read(run, tmp_path, into, unchanged):
    path = str(tmp_path / "shelf")
    with shelve.open(path) as shelf:
        shelf.update(make.PLAIN | make.OTHERS | {"ü": 1})
    files = [each for each in tmp_path.iterdir() if each.name.startswith("shelf")]
    for each in files:
        unchanged(str(each))
    done = run("import", "--from", "shelve", path, "--convert", "all", "--db", into)
    assert done.code == 0, done.err
    assert stored(into) == make.PLAIN | CONVERTED | {"ü": 1}


def dumb(path: Path, rows: dict[bytes, bytes]) -> str:
    with dbm.dumb.open(str(path), "c") as database:
        for key, value in rows.items():
            database[key] = value
    return str(path)


@pytest.mark.parametrize("suffix", ["", ".dat", ".dir", ".bak"])
def test_a_dbm_is_found_by_any_of_its_names(run, tmp_path, into, suffix):
    path = dumb(tmp_path / "d", {b"a": b"1"})
    Path(f"{path}.bak").touch()
    assert run("import", "--from", "dbm", path + suffix, "--values", "json", "--db", into).code == 0
    assert stored(into) == {"a": 1}


def test_odd_keys_of_a_dumb_dbm_are_read(run, tmp_path, into, unchanged):
    keys = ["'", '"', "\\", "'\"", "\n\t\r", "ü", "\x85\xa0\xad", "\x7f", "😀", "a, (1, 2)", "\\x41", "k" * 480]
    path = dumb(tmp_path / "d", {key.encode(): key.encode() for key in keys})
    unchanged(f"{path}.d")
    assert run("import", "--from", "dbm", path, "--values", "text", "--db", into).code == 0
    assert stored(into) == {key: key for key in keys}


def test_a_dbm_needs_a_word_about_its_values(run, tmp_path, into):
    path = dumb(tmp_path / "d", {b"a": b"\xff", b"\xff": b"x"})
    done = run("import", "--from", "dbm", path, "--db", into)
    assert done.code == 2
    assert "say what they hold with --values" in done.err
    done = run("import", "--from", "dbm", path, "--values", "bytes", "--skip-unreadable", "--db", into)
    assert "unreadable: entry 2: the key b'\\xff' is no UTF-8 text" in done.err
    assert stored(into, kind=bytes) == {"a": b"\xff"}


BAD_LINES = {
    "code": b"__import__('os').system('touch run'), (0, 1)\n",
    "no pair": b"'a', 0\n",
    "a negative offset": b"'a', (-1, 1)\n",
    "an unknown escape": b"'\\u0041', (0, 1)\n",
    "no quote": b"a, (0, 1)\n",
    "another literal": b"b'a', (0, 1)\n",
    "nested": b"'a', (" * 1_000 + b"\n",
    "very long": b"'" + b"x" * 2_000_000 + b"', (0, 1)\n",
    "cut off": b"'a', (0, ",
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_line_of_a_dumb_dbm_is_named(run, tmp_path, into, case):
    (tmp_path / "d.dir").write_bytes(b"'ok', (0, 1)\n" + BAD_LINES[case])
    (tmp_path / "d.dat").write_bytes(b"1")
    done = run("import", "--from", "dbm", str(tmp_path / "d"), "--values", "json", "--db", into)
    assert done.code == 2
    assert "d.dir: line 2 is damaged" in done.err
    assert not (tmp_path / "run").exists()


def test_a_very_long_key_is_listed_in_short(run, tmp_path, into):
    path = dumb(tmp_path / "d", {b"x" * 50_000: b"1"})
    done = run("import", "--from", "dbm", path, "--values", "json", "--db", into)
    assert "the key has 50000 UTF-8 bytes, the limit is 480" in done.err
    assert len(done.err) < 2_000


def test_a_value_behind_the_end_of_a_dumb_dbm_is_listed(run, tmp_path, into):
    (tmp_path / "d.dir").write_bytes(b"'a', (0, 1)\n'b', (0, 999999999999999999)\n'c', (1, 1)\n")
    (tmp_path / "d.dat").write_bytes(b"1")
    done = run("import", "--from", "dbm", str(tmp_path / "d"), "--values", "json", "--skip-unreadable", "--db", into)
    assert done.err.count("behind the end of the .dat file") == 2
    assert stored(into) == {"a": 1}


def test_a_dbm_of_sqlite_is_read_on_every_python(run, tmp_path, into, unchanged):
    path = tmp_path / "s"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE Dict (key BLOB UNIQUE NOT NULL, value BLOB NOT NULL)")
        connection.executemany(
            "INSERT INTO Dict VALUES (?, ?)", [(b"a", pickle.dumps({"n": 1})), ("ü".encode(), pickle.dumps(2))]
        )
    unchanged(str(path))
    assert run("import", "--from", "shelve", str(path), "--db", into).code == 0
    assert stored(into) == {"a": {"n": 1}, "ü": 2}


@pytest.mark.parametrize("name", ["gnu", "ndbm"])
def test_the_dbms_of_other_libraries_are_read_where_python_has_them(run, tmp_path, into, unchanged, name):
    module = pytest.importorskip(
        f"dbm.{name}", reason=f"this Python was built without dbm.{name}", exc_type=ImportError
    )
    path = str(tmp_path / "d")
    with module.open(path, "n") as database:
        for number in range(1_000):
            database[f"k{number}"] = pickle.dumps({"n": number})
    unchanged(path)
    assert run("import", "--from", "shelve", path, "--db", into).code == 0
    assert stored(into) == {f"k{n}": {"n": n} for n in range(1_000)}


def test_a_dbm_that_this_python_cannot_read_is_said(run, tmp_path, into, monkeypatch):
    (tmp_path / "d").write_bytes(0x13579ACE.to_bytes(4, "little") + bytes(100))
    monkeypatch.setitem(sys.modules, "dbm.gnu", None)
    done = run("import", "--from", "shelve", str(tmp_path / "d"), "--db", into)
    assert done.code == 3
    assert "dbm.gnu wrote it, which this Python was built without" in done.err


def test_a_pipe_that_has_a_name_is_read(run, tmp_path, into):
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["sh", "-c", "echo '{\"a\": 1}' > pipe"], cwd=tmp_path):
        assert run("import", str(tmp_path / "pipe"), "--db", into).code == 0
    assert stored(into) == {"a": 1}


def test_names_of_the_source_do_not_reach_the_terminal_raw(run, tmp_path, into):
    evil = "\x1b]0;evil\x07\n"
    path = sqlitedict_file(tmp_path / "s.sqlite", {evil: pickle.dumps({evil: (1,)}), "b": f"c{evil}\n.".encode()})
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f'CREATE TABLE "{evil}" (a)')
    done = run("import", path, "--db", into)
    assert done.code == 2
    assert len(done.err.splitlines()) == 3
    assert done.err.replace("\n", "").isprintable()
    done = run("import", path, "--source-table", "x", "--db", into)
    assert done.err.replace("\n", "").isprintable()


# ---- which kind it is


def test_a_dbm_is_not_guessed_to_be_a_shelf(run, tmp_path, into):
    done = run("import", dumb(tmp_path / "d", {b"a": b"1"}), "--db", into)
    assert done.code == 2
    assert "a dbm (dumb); nothing was written; next: say who wrote it: --from shelve, or --from dbm" in done.err


WRONG = {
    "sqlitedict": ("json.txt", "it does not begin as a SQLite database does"),
    "diskcache": ("json.txt", "no folder of diskcache, but a file"),
    "shelve": ("json.txt", "no dbm that Python writes"),
    "json": ("s.sqlite", "no records: it begins with 'S'"),
    "jsonl": ("s.sqlite", "no records: it begins with 'S'"),
    "csv": ("s.sqlite", "not UTF-8"),
    "tinydb": ("s.sqlite", "no TinyDB: it begins with 'S'"),
    "redis": ("s.sqlite", "no dump of Redis: it begins with 'S'"),
    "sessions": ("s.sqlite", "the database has no table of sessions"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_kind_is_a_clear_error(run, tmp_path, into, kind):
    (tmp_path / "json.txt").write_text('{"a": 1}')
    sqlitedict_file(tmp_path / "s.sqlite", {"a": pickle.dumps(1), "b": b"\xff\xfe\n"})
    name, said = WRONG[kind]
    arguments = ["--id", "id"] if kind in ("jsonl", "csv") else []
    done = run("import", "--from", kind, str(tmp_path / name), *arguments, "--db", into)
    assert done.code == 2
    assert said in done.err
    assert "nothing was written; next: " in done.err
    assert not os.path.exists(into)


@pytest.mark.parametrize("kind", ["sqlitedict", "diskcache", "shelve", "csv", "tinydb", "redis", "sessions"])
def test_nothing_at_the_path_is_said(run, tmp_path, into, kind):
    done = run("import", "--from", kind, str(tmp_path / "absent"), "--db", into)
    assert done.code == 3
    assert "No such file or directory" in done.err


def test_a_store_of_sessiondb_is_not_imported(run, tmp_path, into):
    path = str(tmp_path / "own.db")
    with sessiondb.open(path) as db:
        db.table("t")["a"] = 1
        db.checkpoint()
    done = run("import", path, "--db", into)
    assert done.code == 2
    assert "a store of sessiondb, no foreign database" in done.err


def test_a_database_of_another_program_is_not_guessed(run, tmp_path, into):
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        connection.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name)")
    done = run("import", str(tmp_path / "x.db"), "--db", into)
    assert done.code == 2
    assert "a SQLite database of a kind that is not known (it has users)" in done.err


def test_an_option_without_a_meaning_is_an_error(run, tmp_path, into):
    path = sqlitedict_file(tmp_path / "s.sqlite", {"a": pickle.dumps(1)})
    done = run("import", path, "--id", "x", "--db", into)
    assert done.code == 2
    assert "--id has no meaning for --from sqlitedict" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--convert", "tuple"], "--convert 'tuple' is unknown; next: choose among them (tuples: "),
        (["--values", "yaml"], "--values yaml is unknown"),
        (["--from", "yaml"], "invalid choice"),
        (["--delimiter", "ab"], "--delimiter 'ab' is not one character"),
    ],
)
def test_an_unknown_word_is_an_error(run, tmp_path, into, arguments, said):
    done = run("import", sqlitedict_file(tmp_path / "s.sqlite", {}), *arguments, "--db", into)
    assert done.code == 2
    assert said in done.err
