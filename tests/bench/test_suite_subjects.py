"""Every subject keeps what it is given, as far as its label says."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from types import SimpleNamespace

import msgspec
import pytest

from sessiondb.errors import UsageError
from sessiondb_bench.records import key_of, session_record
from sessiondb_bench.results import GUARANTEES
from sessiondb_bench.subjects import engine_subject, floor_subjects, missing_peers, peer_subjects, peers
from sessiondb_bench.subjects.engine import location_in
from sessiondb_bench.subjects.floors import ZEROED_BYTES, FileFloor

RECORDS = [(key_of(number), session_record(number)) for number in range(30)]
ENGINES = {
    f"{backend} {sync}": lambda folder, backend=backend, sync=sync: engine_subject(backend, sync, folder)
    for backend in ("memory", "json", "sqlite", "lmdb")
    for sync in ("always", "interval", "never")
}
FLOORS = {name: make for name, make in floor_subjects() if name.startswith("dict")}
STORES = ENGINES | FLOORS | dict(peer_subjects())
LABELS = {
    "sqlite3 WAL FULL": "power", "sqlite3 WAL NORMAL": "kill", "lmdb sync": "power", "lmdb nosync": "kill",
    "rocksdict sync": "power", "rocksdict nosync": "kill", "plyvel sync": "power", "plyvel nosync": "kill",
    "diskcache": "kill", "sqlitedict": "kill", "TinyDB": "nothing", "ZODB": "power", "dict": "nothing",
    "dict + msgspec": "nothing", "pwrite": "kill", "pwrite + fdatasync, growing file": "power",
    "pwrite + fdatasync, zero-filled file": "power",
}  # fmt: skip
NOT_FOR_THREADS = {"TinyDB", "shelve", "ZODB"}


@pytest.mark.parametrize("name", STORES)
def test_what_was_put_is_read_back_before_and_after_it_has_settled(name, tmp_path):
    with STORES[name](str(tmp_path)) as subject:
        subject.put_many(RECORDS[:20])
        for key, record in RECORDS[20:]:
            subject.put(key, record)
        subject.put(*RECORDS[0])
        for _ in range(2):
            assert [(key, subject.get(key)) for key, _ in RECORDS] == RECORDS
            assert list(subject.scan(key_of(10), 5)) == RECORDS[10:15]
            assert list(subject.scan(key_of(28), 5)) == RECORDS[28:]
            assert subject.get("no such key") is None
            subject.settle()


@pytest.mark.parametrize("name", STORES)
def test_a_patch_changes_its_fields_and_a_deleted_record_is_gone(name, tmp_path):
    with STORES[name](str(tmp_path)) as subject:
        subject.put_many([(key, dict(record)) for key, record in RECORDS])
        subject.patch(key_of(3), {"taskId": None})
        subject.delete(key_of(4))
        for _ in range(2):
            assert subject.get(key_of(3)) == RECORDS[3][1] | {"taskId": None}
            assert subject.get(key_of(4)) is None
            subject.settle()


@pytest.mark.parametrize("name", [name for name in STORES if name not in FLOORS and not name.startswith("memory")])
def test_what_was_put_is_there_after_closing_and_opening_again(name, tmp_path):
    with STORES[name](str(tmp_path)) as subject:
        subject.put_many(RECORDS)
    with STORES[name](str(tmp_path)) as subject:
        assert list(subject.scan("", 100)) == RECORDS


def test_every_label_says_what_is_documented(tmp_path):
    there = floor_subjects() + peer_subjects()
    for number, (name, make) in enumerate(there):
        folder = tmp_path / str(number)
        folder.mkdir()
        with make(str(folder)) as subject:
            assert subject.name == name
            assert subject.guarantee in GUARANTEES
            assert subject.threads_safe == (name not in NOT_FOR_THREADS)
            assert subject.kind == ("floor" if number < len(floor_subjects()) else "peer")
            if name != "shelve":  # that depends on the dbm of this Python
                assert subject.guarantee == LABELS[name]


def test_the_engines_labels_follow_its_sync_level(tmp_path):
    found = {}
    for number, (name, make) in enumerate(ENGINES.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        with make(str(folder)) as subject:
            found[name] = (subject.kind, subject.guarantee, subject.sync)
    assert {kind for kind, _, _ in found.values()} == {"sessiondb"}
    assert found["memory always"][1:] == ("nothing", "")
    assert found["json always"][1:] == ("power", "always")
    assert found["lmdb interval"][1:] == ("kill", "interval")
    assert found["sqlite never"][1:] == ("kill", "never")


KILLING = """
import json, os, signal, sys
from sessiondb_bench.records import key_of, session_record
from sessiondb_bench.subjects import engine_subject, peer_subjects

makers = dict(peer_subjects())
for backend in ("json", "sqlite", "lmdb"):
    makers[backend] = lambda folder, backend=backend: engine_subject(backend, "never", folder)
told = {}
for name, make in makers.items():
    folder = os.path.join(sys.argv[1], name)
    os.mkdir(folder)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        subject = make(folder)
        for number in range(15):
            subject.put(key_of(number), session_record(number))
        subject.put_many([(key_of(number), session_record(number)) for number in range(15, 20)])
        subject.patch(key_of(1), {"taskId": "patched"})
        subject.delete(key_of(0))
        os.write(writing, subject.guarantee.encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.close(writing)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, name
    told[name] = os.read(reading, 100).decode()
print(json.dumps(told))
"""


def test_what_is_said_to_survive_a_kill_does(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLING, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    surviving = [name for name, guarantee in told.items() if guarantee != "nothing"]
    assert {"json", "sqlite", "lmdb", "sqlite3 WAL FULL", "sqlite3 WAL NORMAL", "lmdb nosync"} <= set(surviving)
    makers = dict(peer_subjects()) | {name: ENGINES[f"{name} never"] for name in ("json", "sqlite", "lmdb")}
    expected = dict(RECORDS[1:20])
    expected[key_of(1)] = expected[key_of(1)] | {"taskId": "patched"}
    for name in surviving:
        with makers[name](str(tmp_path / name)) as subject:
            assert dict(subject.scan("", 100)) == expected, name


@pytest.mark.parametrize("name", [name for name in STORES if name not in NOT_FOR_THREADS])
def test_several_threads_use_a_store_at_once(name, tmp_path):
    with STORES[name](str(tmp_path)) as subject:
        assert subject.threads_safe
        subject.put(*RECORDS[0])
        problems = []

        def work(part):
            try:
                for key, record in RECORDS[part::3]:
                    subject.put(key, record)
                    assert subject.get(key) == record
            except BaseException as error:  # noqa: BLE001 - told below, in the test's own thread
                problems.append(error)

        threads = [threading.Thread(target=work, args=(part,)) for part in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
        assert [(key, subject.get(key)) for key, _ in RECORDS] == RECORDS


def test_a_store_on_a_server_is_made_measured_and_removed(pg_dsn, pg_shared_schema, pg_admin, tmp_path):
    dsn = f"{pg_dsn}{'&' if '?' in pg_dsn else '?'}schema={pg_shared_schema}"
    with engine_subject("postgres", "always", str(tmp_path), dsn=dsn, cache=0) as subject:
        subject.put_many(RECORDS)
        subject.settle()
        assert list(subject.scan("", 100)) == RECORDS
        assert (subject.name, subject.guarantee) == ("postgres", "power")
        assert f"log_dir={tmp_path}" in subject.location
        namespace = subject.location.partition("namespace=")[2].partition("&")[0]
        counting = f"SELECT count(*) FROM {pg_shared_schema}.sessiondb_records WHERE ns = %s"
        assert pg_admin.execute(counting, [namespace]).fetchone() == (30,)
    assert pg_admin.execute(counting, [namespace]).fetchone() == (0,)


def test_a_store_on_a_server_goes_into_the_schema_that_is_said_and_never_into_a_namespace_that_is():
    location = location_in("/logs", "postgres", "postgres://me@host/db?schema=mine&namespace=precious&sslmode=require")
    assert location.startswith("postgresql://me@host/db?schema=mine&sslmode=require&namespace=bench_")
    assert location.endswith("&log_dir=/logs")
    assert "precious" not in location


def test_a_server_that_is_not_said_and_a_backend_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(UsageError, match="give its URL"):
        engine_subject("postgres", "always", str(tmp_path))
    with pytest.raises(UsageError, match="no backend 'redis'"):
        engine_subject("redis", "always", str(tmp_path))
    with pytest.raises(UsageError, match="sync is 'sometimes'"):
        engine_subject("json", "sometimes", str(tmp_path))


def test_a_peer_that_is_not_installed_is_left_out_with_its_reason(monkeypatch):
    absent = peers.Peer(lambda folder: None, ("no_such_module_anywhere",), "no-such-package")
    monkeypatch.setitem(peers.PEERS, "absent", absent)
    assert missing_peers()["absent"] == "No module named 'no_such_module_anywhere'; next: pip install no-such-package"
    assert "absent" not in dict(peer_subjects())
    assert "sqlite3 WAL FULL" in dict(peer_subjects())


def test_a_sqlite_that_keeps_quiet_about_another_level_of_sync_is_not_measured(tmp_path, monkeypatch):
    real = peers.Sqlite3Peer.__init__.__globals__["sqlite3"]

    class Weaker(real.Connection):
        def execute(self, statement, *arguments):
            return super().execute(statement.replace("=FULL", "=NORMAL"), *arguments)

    def connect(*arguments, **options):
        return real.connect(*arguments, **options, factory=Weaker)

    quiet = SimpleNamespace(connect=connect, OperationalError=real.OperationalError)
    monkeypatch.setitem(peers.Sqlite3Peer.__init__.__globals__, "sqlite3", quiet)
    with pytest.raises(real.OperationalError, match="synchronous 1"):
        peers.Sqlite3Peer(str(tmp_path), "FULL")


@pytest.mark.parametrize(("synced", "zeroed"), [(False, False), (True, False), (True, True)])
def test_a_bare_file_gets_a_frame_a_write_with_every_record_of_a_batch(synced, zeroed, tmp_path):
    with FileFloor("bare", str(tmp_path), synced=synced, zeroed=zeroed) as floor:
        floor.put(*RECORDS[0])
        one = floor._position
        floor.put_many(RECORDS)
        batch = floor._position - one
        assert one > len(msgspec.json.encode(RECORDS[0][1]))
        assert batch > 30 * 300
        size = (tmp_path / "frames").stat().st_size
        assert size == (ZEROED_BYTES if zeroed else one + batch)
        with pytest.raises(NotImplementedError):
            floor.get(key_of(0))


def test_a_zero_filled_file_never_grows(tmp_path, monkeypatch):
    monkeypatch.setattr("sessiondb_bench.subjects.floors.ZEROED_BYTES", 1 << 20)
    with FileFloor("bare", str(tmp_path), synced=False, zeroed=True) as floor:
        floor.put(*RECORDS[0])
        for _ in range(120):
            floor.put_many(RECORDS)
        assert (tmp_path / "frames").stat().st_size == 1 << 20
