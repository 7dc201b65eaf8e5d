"""The LMDB backend keeps the contract of backends and tables, and does what it can for durability."""

import errno
import gc
import os
import shutil
from pathlib import Path

import pytest

import sessiondb
from lmdb_stores import put_json
from sessiondb.backend import Position, TableChanges
from sessiondb.errors import BackendError, CorruptionError
from sessiondb.query import Condition, Equal, Order
from sessiondb.testing import BackendContract, FaultyFiles, TableContract
from sessiondb.testing.backend_under_test import no_pause
from sessiondb_backends import lmdb_env
from sessiondb_backends.lmdb import LmdbBackend
from sessiondb_backends.lmdb_format import MAGIC, State, decode_state, encode_state


def change_state(path, change):
    """Change every copy of the state record in the data file, around LMDB."""
    file = Path(path) / "data.mdb"
    data = file.read_bytes()
    at = data.find(MAGIC)
    assert at > 0
    with file.open("r+b") as stream:
        while at > 0:
            stream.seek(at)
            stream.write(change(data[at : at + 48]))
            at = data.find(MAGIC, at + 1)


class TestLmdbBackend(BackendContract):
    backend_class = LmdbBackend
    uses_files = False

    def damage(self, path):
        change_state(path, lambda state: state[:20] + bytes([state[20] ^ 1]) + state[21:])

    def make_newer(self, path):
        def newer(data):
            state = decode_state(data)
            return encode_state(State(state.identity._replace(format_version=2), state.position))

        change_state(path, newer)


class TestLmdbTables(TableContract):
    url = "lmdb:///{path}.lmdb"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.lmdb"


@pytest.fixture
def files():
    return FaultyFiles()


@pytest.fixture
def backend(path, files):
    opened = LmdbBackend.open(files, str(path), create=True)
    yield opened
    opened.close()


# ---- durability


def test_a_new_store_is_durable_when_open_returns(path):
    files = FaultyFiles()
    done = []
    files.before = lambda operation, where: done.append((operation, where.removeprefix(str(path.parent))))
    LmdbBackend.open(files, str(path), create=True).close()
    done = [step for step in done if step[0] in ("fsync", "replace", "sync_folder")]
    assert done == [
        ("fsync", "/x.lmdb/creating.mdb"),
        ("replace", "/x.lmdb/data.mdb"),
        ("sync_folder", "/x.lmdb"),
        ("sync_folder", ""),
    ]


def test_what_an_earlier_process_did_not_sync_is_durable_when_open_returns(backend, path):
    backend.close()
    files = FaultyFiles()
    LmdbBackend.open(files, str(path), create=False).close()
    assert files.counts["fsync"] == 1
    assert files.counts["sync_folder"] == 2


@pytest.mark.parametrize("operation", ["fsync", "sync_folder", "open", "pread", "names"])
def test_a_store_that_cannot_be_read_or_synced_is_a_failure_and_not_empty(backend, path, operation):
    put_json(backend, a=b"1").close()
    backend.close()
    files = FaultyFiles()
    with files.failing(operation), pytest.raises(BackendError):
        LmdbBackend.open(files, str(path), create=True)
    assert dict(LmdbBackend.open(files, str(path), create=False).read().scan("t")) == {"a": b"1"}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_creation_that_failed_at_any_step_can_be_made_again(tmp_path, after):
    for number in range(1, 100):
        path, files = str(tmp_path / f"{number}.lmdb"), FaultyFiles()
        with files.failing_at(number, errno.EIO, after=after) as failed:
            try:
                LmdbBackend.open(files, path, create=True).close()
            except BackendError:
                assert failed
        exists = LmdbBackend.exists(files, path)
        again = LmdbBackend.open(files, path, create=not exists)
        assert (again.position(), again.read().tables(), again.check()) == (Position(1, 0), {}, [])
        again.close()
        assert set(os.listdir(path)) <= {"data.mdb", "lock.mdb", "creating.mdb-lock"}
        if not failed:
            break
    assert number > 5


def test_what_an_unfinished_creation_left_is_no_store_and_is_replaced(path, files):
    (path / "wal").mkdir(parents=True)
    (path / "creating.mdb").write_bytes(b"half of it")
    (path / "creating.mdb-lock").write_bytes(b"")
    assert LmdbBackend.exists(files, str(path)) is False
    backend = LmdbBackend.open(files, str(path), create=True)
    assert backend.position() == Position(1, 0)
    backend.close()
    assert sorted(os.listdir(path)) == ["data.mdb", "lock.mdb", "wal"]


def test_files_are_readable_by_their_owner_only(backend, path):
    assert path.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o600}


# ---- one environment


def test_one_environment_is_shared_and_closed_with_the_last_view(backend, path, files):
    second = LmdbBackend.open(files, str(path), create=False)
    linked = path.parent / "link"
    linked.symlink_to(path)
    third = LmdbBackend.open(files, str(linked), create=False)
    key = backend._environment.key
    assert backend._environment is second._environment is third._environment
    view = put_json(second, a=b"1")
    for opened in (backend, second, third):
        opened.close()
        opened.close()
    assert view.get("t", "a") == b"1"
    assert key in lmdb_env._open
    view.close()
    view.close()
    assert key not in lmdb_env._open


def test_a_backend_that_nobody_refers_to_lets_go_of_its_environment(backend, path, files):
    key = backend._environment.key
    backend.close()
    LmdbBackend.open(files, str(path), create=False)
    view = LmdbBackend.open(files, str(path), create=False).read()
    assert view.tables() == {}
    del view
    gc.collect()
    assert key not in lmdb_env._open


def test_a_view_goes_with_its_last_reference_however_it_was_read(backend):
    """Its pages could not be used again until then: waiting for the garbage collector would let the file grow."""
    where, order = (Condition("n", Equal(1)),), (Order("n", True),)
    gc.disable()
    try:
        for number in range(30):
            at = backend.position()
            change = TableChanges("json", False, {"a": b'{"n":1}', "b": b"{}"}, {"n": True})
            view = backend.read()
            backend.apply({"t": change}, at, Position(1, at.lsn + 1), no_pause)
            assert (view.get("t", "a") is None) == (number == 0)  # after an apply: under the view's own lock
            view = backend.read()
            assert view.get("t", "a") == b'{"n":1}'
            assert len(list(view.scan("t"))) == len(view.get_many("t", "ab")) == 2
            assert next(view.scan("t"))[0] == next(view.find("t", (), order).rows)[0] == "a"
            assert (view.count_found("t", where), len(list(view.find("t", where, order, 1).rows))) == (1, 1)
        del view
        assert "no active readers" in backend._environment.env.readers()
    finally:
        gc.enable()


def test_checkpoint_after_checkpoint_uses_the_same_pages_again(path, files):
    """The engine lets go of a view when the next one is there."""
    with sessiondb.open(path, files=files) as db:
        sizes = []
        for number in range(30):
            db.table("t", bytes).put_many({f"{n}": bytes([number]) * 2_000 for n in range(200)})
            db.table("t", bytes).get("7")
            db.checkpoint()
            sizes.append(db.stats().backend_bytes)
        assert sizes[-1] <= 1.2 * sizes[4]
        assert db.check() == []


def test_a_handle_that_an_aborted_apply_opened_is_not_used(backend):
    def fail():
        raise BackendError("stop here")

    images = {"a": b"1"}
    with pytest.raises(BackendError, match="stop here"):
        backend.apply({"t": TableChanges("json", False, images)}, Position(1, 0), Position(1, 1), fail)
    backend.apply({"u": TableChanges("json", False, images)}, Position(1, 0), Position(1, 1), no_pause)
    assert dict(backend.read().scan("u")) == images
    assert backend.read().tables() == {"u": "json"}


def test_databases_of_dropped_tables_are_used_again(backend):
    lsn = 0
    old = backend.read()
    for _ in range(20):
        for dropped in (False, True):
            change = TableChanges(None if dropped else "json", dropped, {} if dropped else {"a": b"1"})
            backend.apply({"t": change}, Position(1, lsn), Position(1, lsn + 1), no_pause)
            lsn += 1
        with backend._environment.env.begin() as transaction:
            assert transaction.stat()["entries"] == 2
    assert old.tables() == {}


def test_thousands_of_tables_are_kept(path, files):
    backend = LmdbBackend.open(files, str(path), create=True)
    names = [f"table {n}" for n in range(2_500)]
    changes = {name: TableChanges("json", False, {"a": b"1"}) for name in names}
    backend.apply(changes, Position(1, 0), Position(1, 1), no_pause)
    backend.close()
    backend = LmdbBackend.open(files, str(path), create=False)
    more = {f"more {n}": TableChanges("json", False, {"a": b"1"}) for n in range(2_000)}
    backend.apply(more, Position(1, 1), Position(1, 2), no_pause)
    view = backend.read()
    assert len(view.tables()) == 4_500
    assert {view.get(name, "a") for name in view.tables()} == {b"1"}
    backend.close()


def test_more_tables_than_fit_are_an_error_that_says_what_to_do(path, files, monkeypatch):
    monkeypatch.setattr(lmdb_env, "DATABASES_MIN", 4)
    backend = LmdbBackend.open(files, str(path), create=True)
    many = {f"{n}": TableChanges("json", False, {"a": b"1"}) for n in range(5)}
    with pytest.raises(BackendError, match="open it again"):
        backend.apply(many, Position(1, 0), Position(1, 1), no_pause)
    assert backend.read().tables() == {}
    few = {"0": many["0"], "1": many["1"]}
    backend.apply(few, Position(1, 0), Position(1, 1), no_pause)
    backend.close()
    backend = LmdbBackend.open(files, str(path), create=False)
    backend.apply(many, Position(1, 1), Position(1, 2), no_pause)
    assert len(backend.read().tables()) == 5
    backend.close()


# ---- the file under it


@pytest.mark.parametrize("how", ["replaced", "removed"])
def test_a_data_file_that_was_replaced_is_noticed(backend, path, how):
    """Every write would go to a file without a name, and the log be let go."""
    put_json(backend, a=b"1").close()
    if how == "replaced":
        shutil.copy(path / "data.mdb", path / "copy")
        (path / "copy").replace(path / "data.mdb")
    else:
        (path / "data.mdb").unlink()
    for call in (backend.position, lambda: backend.apply({}, Position(1, 1), Position(1, 2), no_pause)):
        with pytest.raises(CorruptionError if how == "replaced" else BackendError, match=r"put .* back|missing"):
            call()


def test_a_damaged_record_is_never_served(backend, path):
    """Neither by a read of one record nor by one of many, and not under another key or in another table."""
    put_json(backend, a=b'{"text":"all is well"}', b=b"2")
    view = put_json(backend, "u", a=b"3")
    data = (path / "data.mdb").read_bytes()
    with (path / "data.mdb").open("r+b") as stream:
        at = data.find(b"all is well")
        while at >= 0:
            stream.seek(at)
            stream.write(b"all is bad!")
            at = data.find(b"all is well", at + 1)
    for read in (
        lambda: view.get("t", "a"),
        lambda: view.get_many("t", ["a"]),
        lambda: list(view.scan("t")),
        lambda: list(view.find("t", ()).rows),
    ):
        with pytest.raises(CorruptionError, match=r"table 't': the record 'a' does not match its checksum"):
            read()
    assert view.get("t", "b") == b"2"
    assert backend.check() == ["table 't': the record 'a' does not match its checksum"]


def test_the_size_is_that_of_the_data_file(backend, path):
    put_json(backend, a=b'"' + b"x" * 100_000 + b'"').close()
    assert backend.size() == (path / "data.mdb").stat().st_size > 100_000
