"""The SQLite backend keeps the contract of backends; its file is told from foreign ones, made and opened safely."""

import fcntl
import os
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

import pytest

import sessiondb
from sessiondb.backend import Position
from sessiondb.errors import BackendError, CorruptionError, UnsupportedFormatError, WrongBackendError
from sessiondb.files import Files
from sessiondb.testing import BackendContract, FaultyFiles, TableContract
from sessiondb.testing.backend_under_test import contents, json_images, no_pause
from sessiondb_backends import sqlite_connection
from sessiondb_backends.sqlite import SqliteBackend
from sessiondb_backends.sqlite_schema import APPLICATION_ID, Meta, encode_meta


class TestSqliteBackend(BackendContract):
    backend_class = SqliteBackend
    uses_files = False

    def damage(self, path):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE sessiondb_meta SET lsn = lsn + 1")

    def make_newer(self, path):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 2")


class TestSqliteTables(TableContract):
    url = "sqlite:///{path}.db"


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "x.db")


@pytest.fixture
def store(path):
    """A closed store with two records in table ``t``."""
    backend = SqliteBackend.open(FaultyFiles(), path, create=True)
    backend.apply(json_images(a=b'{"n":1}', b=b'{"n":2}'), Position(1, 0), Position(1, 1), no_pause)
    backend.close()
    return path


def connections_of(path):
    """The open connections to one store; another test's may wait for the garbage collector."""
    return [connection for place, connection in sqlite_connection._connections.values() if place.path == path]


def folder_of(path):
    """Every file and folder around the path, with bytes and times."""
    return {
        file.name: (b"" if file.is_dir() else file.read_bytes(), file.stat().st_mtime_ns)
        for file in sorted(Path(path).parent.iterdir())
    }


def change(path, *statements):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


# ---- what is no store


def put_empty(path):
    Path(path).touch()


def put_text(path):
    Path(path).write_text("SQLite format 3 is what I am not\n" * 10)


def put_folder(path):
    os.mkdir(path)


def put_json_store(path):
    sessiondb.open(f"json:///{path}", files=FaultyFiles()).close()


def put_short_header(path):
    Path(path).write_bytes(b"SQLite format 3\0")


def put_empty_sqlite(path):
    change(path, "PRAGMA user_version = 1", "VACUUM")


def put_foreign_sqlite(path):
    change(path, "CREATE TABLE sessiondb_meta(id, format, uuid, epoch, lsn, crc)", "CREATE TABLE users(name)")


def put_foreign_sqlite_with_a_log(path):
    """As after a crash of the other program: its last commit is in the -wal file only."""
    change(path, "PRAGMA journal_mode = WAL", "CREATE TABLE users(name)")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO users VALUES ('x')")
        saved = {suffix: Path(path + suffix).read_bytes() for suffix in ("", "-wal")}
    for suffix, data in saved.items():
        Path(path + suffix).write_bytes(data)


FOREIGN = [
    put_empty, put_text, put_folder, put_json_store, put_short_header, put_empty_sqlite, put_foreign_sqlite,
    put_foreign_sqlite_with_a_log,
]  # fmt: skip


@pytest.mark.parametrize("put", FOREIGN, ids=lambda put: put.__name__)
def test_what_is_no_store_is_refused_and_never_touched(path, put):
    put(path)
    before = folder_of(path)
    with pytest.raises(WrongBackendError, match=r"expected a sessiondb SQLite database, found an? .* untouched; next:"):
        SqliteBackend.exists(FaultyFiles(), path)
    for create in (False, True):
        for read_only in (False, True):
            with pytest.raises(WrongBackendError):
                SqliteBackend.open(FaultyFiles(), path, create=create, read_only=read_only)
    if put is not put_json_store:  # has a folder for its own log, of the same name
        with pytest.raises(WrongBackendError):
            sessiondb.open(f"sqlite:///{path}")
    assert folder_of(path) == before


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_a_log_of_sqlite_without_its_database_file_is_damage_and_nothing_is_made(store, suffix):
    os.unlink(store)
    Path(store + suffix).write_bytes(b"left behind")
    before = folder_of(store)
    with pytest.raises(CorruptionError, match="missing"):
        SqliteBackend.exists(FaultyFiles(), store)
    with pytest.raises(CorruptionError, match="missing"):
        SqliteBackend.open(FaultyFiles(), store, create=True)
    assert folder_of(store) == before


# ---- creation


def test_a_new_store_is_one_file_that_only_its_owner_can_read(path):
    backend = SqliteBackend.open(FaultyFiles(), path, create=True)
    assert {os.stat(path + suffix).st_mode & 0o777 for suffix in ("", "-wal", "-shm")} == {0o600}
    backend.close()
    assert os.listdir(os.path.dirname(path)) == ["x.db"]


def test_a_creation_that_fails_at_any_step_leaves_nothing_at_the_path(path):
    for number in count(1):
        files = FaultyFiles()
        with files.failing_at(number) as failed, suppress(BackendError):
            SqliteBackend.open(files, path, create=True).close()
        if not failed:
            break
        if os.path.exists(path):
            backend = SqliteBackend.open(FaultyFiles(), path, create=False)
            assert contents(backend.read()) == {}
            backend.close()
            os.unlink(path)
        assert SqliteBackend.exists(FaultyFiles(), path) is False
    assert number > 8


def test_leftovers_of_an_unfinished_creation_are_no_store_and_go_with_the_next_one(path):
    for suffix in ("", "-wal", "-journal", "-shm"):
        Path(f"{path}.tmp{suffix}").write_bytes(b"half")
    assert SqliteBackend.exists(FaultyFiles(), path) is False
    SqliteBackend.open(FaultyFiles(), path, create=True).close()
    assert os.listdir(os.path.dirname(path)) == ["x.db"]


def test_the_name_of_a_file_may_hold_what_means_something_in_a_url(tmp_path):
    path = str(tmp_path / "a b?mode=memory&%41#é'\".db")
    with sessiondb.open(tmp_path / os.path.basename(path), files=FaultyFiles()) as db:
        db.table("t")["a"] = 1
        db.checkpoint()
    assert os.path.isfile(path)
    with sessiondb.open(tmp_path / os.path.basename(path), files=FaultyFiles()) as db:
        assert dict(db.table("t")) == {"a": 1}


# ---- damage, later versions


def flip(path, offset, bits=0xFF):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ bits]))


@pytest.mark.parametrize("offset", [0, 17, 68], ids=["magic", "page size", "application id"])
def test_a_damaged_header_is_damage_where_a_log_belongs_to_the_file(store, offset):
    os.mkdir(f"{store}.wal")
    flip(store, offset)
    before = folder_of(store)
    for read_only in (False, True):
        with pytest.raises(CorruptionError):
            SqliteBackend.open(FaultyFiles(), store, create=True, read_only=read_only)
    assert folder_of(store) == before


DAMAGE = {
    "the row of sessiondb_meta is another one": ["UPDATE sessiondb_meta SET epoch = 2"],
    "the row of sessiondb_meta is missing": ["DELETE FROM sessiondb_meta"],
    "sessiondb_meta is missing": ["DROP TABLE sessiondb_meta"],
    "a row of sessiondb_tables is another one": ["UPDATE sessiondb_tables SET name = 'u'"],
    "a column of sessiondb_tables has another type": ["UPDATE sessiondb_tables SET records = 'many'"],
    "sessiondb_tables is missing": ["DROP TABLE sessiondb_tables"],
}


@pytest.mark.parametrize("statements", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_catalog_is_refused_and_nothing_is_changed(store, statements):
    change(store, *statements)
    before = folder_of(store)
    for read_only in (False, True):
        with pytest.raises(CorruptionError, match=r"x\.db.*next:"):
            SqliteBackend.open(FaultyFiles(), store, create=True, read_only=read_only)
    assert folder_of(store) == before


def test_a_cut_file_is_damage(store):
    os.truncate(store, 5000)
    with pytest.raises(CorruptionError):
        SqliteBackend.open(FaultyFiles(), store, create=True)


def test_a_format_version_of_nobody_is_damage(store):
    change(store, "PRAGMA user_version = 0")
    with pytest.raises(CorruptionError, match="version is 0"):
        SqliteBackend.open(FaultyFiles(), store, create=True)


def test_a_later_version_in_the_catalog_is_refused_and_nothing_is_changed(store):
    backend = SqliteBackend.open(FaultyFiles(), store, create=False)
    identity = backend.identity()._replace(format_version=2)
    backend.close()
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("DELETE FROM sessiondb_meta")
        connection.execute(
            "INSERT INTO sessiondb_meta VALUES (1, ?, ?, ?, ?, ?)", encode_meta(Meta(identity, Position(1, 1)))
        )
    before = folder_of(store)
    with pytest.raises(UnsupportedFormatError, match="upgrade"):
        SqliteBackend.open(FaultyFiles(), store, create=True)
    assert folder_of(store) == before


# ---- connections


def test_every_connection_has_taken_what_makes_it_safe(store):
    backend = SqliteBackend.open(FaultyFiles(), store, create=False)
    view = backend.read()
    connections = connections_of(store)
    assert len(connections) == 2
    for connection in connections:
        found = {
            pragma: connection.execute(f"PRAGMA {pragma}").fetchone()[0]
            for pragma in ("journal_mode", "synchronous", "wal_autocheckpoint", "fullfsync", "checkpoint_fullfsync")
        }
        assert found == {
            "journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 0, "fullfsync": 1,
            "checkpoint_fullfsync": 1,
        }  # fmt: skip
        assert connection.isolation_level is None
    assert sorted(connection.execute("PRAGMA query_only").fetchone()[0] for connection in connections) == [0, 1]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        view.readers.first.connection.execute("DELETE FROM sessiondb_meta")
    view.close()
    backend.close()


def test_a_setting_that_does_not_take_is_an_error(path, monkeypatch):
    """A database in memory, for example, has no write-ahead log, and SQLite says nothing."""
    monkeypatch.setattr(sqlite_connection, "WRITER", "mode=memory")
    place = sqlite_connection.Place(path, (0, 0), "mode=memory")
    with pytest.raises(BackendError, match=r"did not take journal_mode = WAL .* next:"):
        sqlite_connection.connect(place)
    assert not sqlite_connection.is_open((0, 0))


@pytest.mark.parametrize("lacking", ["threads", "JSON"])
def test_a_sqlite_that_is_not_able_is_named_and_nothing_is_made(path, monkeypatch, lacking):
    if lacking == "threads":
        monkeypatch.setattr(sqlite3, "threadsafety", 1)
    else:

        class Old:
            def execute(self, sql):
                raise sqlite3.OperationalError("no such function: json_type")

            def close(self):
                pass

        monkeypatch.setattr(sqlite3, "connect", lambda _: Old())
    sqlite_connection.must_be_able.cache_clear()
    with pytest.raises(BackendError, match=f"has no .*{lacking}.*; next: use a Python"):
        SqliteBackend.open(FaultyFiles(), path, create=True)
    assert os.listdir(os.path.dirname(path)) == []


def test_the_header_says_whose_file_it_is(store):
    header = Path(store).read_bytes()[:100]
    assert header[68:72] == APPLICATION_ID.to_bytes(4, "big") == b"SdDb"
    assert header[18:20] == b"\2\2"  # write-ahead logging, also when it is closed


def test_looking_for_the_store_keeps_sqlites_locks(store):
    """Any close of the file in this process would drop them: POSIX locks belong to process and file."""
    backend = SqliteBackend.open(FaultyFiles(), store, create=False)
    view = backend.read()
    program = """if True:
        import fcntl, sys
        with open(sys.argv[1], "r+b") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
            except OSError:
                print("locked")
    """
    assert SqliteBackend.exists(FaultyFiles(), store) is True
    second = SqliteBackend.open(FaultyFiles(), store, create=False)
    second.close()
    ran = subprocess.run([sys.executable, "-c", program, store], capture_output=True, text=True, check=True)
    assert ran.stdout == "locked\n"
    view.close()
    backend.close()
    with open(store, "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)


def test_nothing_stays_open_behind_a_closed_store(store):
    backend = SqliteBackend.open(FaultyFiles(), store, create=False)
    view = backend.read()
    scan = view.scan("t")
    assert next(scan) == ("a", b'{"n":1}')
    backend.close()
    view.close()
    assert len(connections_of(store)) == 1  # the scan's
    assert list(scan) == [("b", b'{"n":2}')]
    del scan
    assert connections_of(store) == []
    assert not sqlite_connection.is_open(Files().stat(store).identity)


def test_a_file_that_took_the_stores_place_is_noticed(store, tmp_path):
    backend = SqliteBackend.open(FaultyFiles(), store, create=False)
    os.rename(store, tmp_path / "moved")
    for call in (backend.position, lambda: backend.apply({}, Position(1, 1), Position(1, 2), no_pause)):
        with pytest.raises(CorruptionError, match="removed or replaced"):
            call()
    SqliteBackend.open(FaultyFiles(), f"{store}2", create=True).close()
    os.rename(f"{store}2", store)
    with pytest.raises(CorruptionError, match="removed or replaced"):
        backend.position()
    os.rename(tmp_path / "moved", store)
    assert backend.position() == Position(1, 1)
    backend.close()


def test_a_foreign_writer_is_waited_for_and_then_named_as_the_cause(store, monkeypatch):
    monkeypatch.setattr(sqlite_connection, "BUSY_S", 0.01)
    backend = SqliteBackend.open(FaultyFiles(), store, create=False)
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BackendError, match=r"locked.* next: end the other program"):
            backend.apply(json_images(a=b"9"), Position(1, 1), Position(1, 2), no_pause)
        other.execute("ROLLBACK")
    backend.apply(json_images(a=b"9"), Position(1, 1), Position(1, 2), no_pause)
    assert backend.read().get("t", "a") == b"9"
    backend.close()


def test_a_closed_or_read_only_store_cannot_be_written(store):
    for read_only in (False, True):
        backend = SqliteBackend.open(FaultyFiles(), store, create=False, read_only=read_only)
        if not read_only:
            backend.close()
        with pytest.raises(BackendError, match="open it for writing"):
            backend.apply({}, Position(1, 1), Position(1, 2), no_pause)
        with pytest.raises(BackendError, match="open it for writing"):
            backend.settle()
        backend.close()
