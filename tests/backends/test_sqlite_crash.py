"""The SQLite backend when something goes wrong: kills, full disks, forks, logs that a crash left, read-only media."""

import gc
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from sessiondb.backend import Position, TableChanges
from sessiondb.errors import BackendError, CorruptionError, FencedError, SessionDBError
from sessiondb.query import Condition, Equal
from sessiondb.testing import FaultyFiles
from sessiondb.testing.backend_under_test import advance, contents, no_pause
from sessiondb_backends import sqlite_connection
from sessiondb_backends.sqlite import SqliteBackend

OLD = {f"k{n:04}": b'{"v":"old","n":%d}' % n for n in range(600)}
NEW = {f"k{n:04}": (b'{"v":"new","n":%d}' % n if n % 3 else None) for n in range(800)}
AFTER = {key: image for key, image in (OLD | NEW).items() if image is not None}
CHANGES = {
    "t": TableChanges("json", False, NEW, {"v": False, "n": True}),
    "u": TableChanges("json", False, {"a": b"{}"}),
    "gone": TableChanges(None, True, {}),
}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "x.db")


def make(path):
    """A store at 1:1, open."""
    backend = SqliteBackend.open(FaultyFiles(), path, create=True)
    changes = {"t": TableChanges("json", False, OLD, {"v": True}), "gone": TableChanges("bytes", False, {"a": b"\0"})}
    backend.apply(changes, Position(1, 0), Position(1, 1), no_pause)
    return backend


def state_of(backend):
    """``"old"`` or ``"new"``; anything else fails."""
    assert backend.check() == []
    view = backend.read()
    found = (view.position, contents(view), view.indexes("t"))
    by_condition = view.count_found("t", (Condition("v", Equal("old")),))
    view.close()
    if found[0] == Position(1, 1):
        assert found[1:] == ({"t": ("json", OLD), "gone": ("bytes", {"a": b"\0"})}, {"v"})
        assert by_condition == 600
        return "old"
    assert found == (Position(1, 2), {"t": ("json", AFTER), "u": ("json", {"a": b"{}"})}, {"n"})
    assert by_condition == 0
    return "new"


def crashed_copy(path, target):
    """What is on the disk now, as a crash of every process would leave it (the kernel lives on)."""
    for suffix in ("", "-wal"):
        shutil.copy(path + suffix, target + suffix)
    return target


def in_a_child(work):
    """Run `work` in a forked child, which must die in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(99)
    return os.waitpid(child, 0)[1]


# ---- kills


def test_a_kill_anywhere_in_apply_leaves_the_old_state_or_the_new_one(path):
    make(path).close()
    states = set()
    for steps in range(1, 200):
        target = f"{path}.{steps}"
        shutil.copy(path, target)

        def work(target=target, steps=steps):
            backend = SqliteBackend.open(FaultyFiles(), target, create=False)
            left = iter(range(steps))

            def pace():
                if next(left, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)

            backend.apply(CHANGES, Position(1, 1), Position(1, 2), pace)
            os.kill(os.getpid(), signal.SIGKILL)

        assert in_a_child(work) == signal.SIGKILL
        backend = SqliteBackend.open(FaultyFiles(), target, create=False)
        states.add(state_of(backend))
        backend.apply(CHANGES, Position(1, 1), Position(1, 2), no_pause)
        assert state_of(backend) == "new"
        backend.close()
        if "new" in states:
            break
    assert states == {"old", "new"}
    assert steps > 10


@pytest.mark.parametrize("when", ["commit", "checkpoint"])
def test_a_kill_from_outside_leaves_the_old_state_or_the_new_one(path, when):
    """The child is killed at some moment in a loop of commits, or of commits and checkpoints."""
    program = """if True:
        import sys
        from sessiondb.backend import Position, TableChanges
        from sessiondb.files import Files
        from sessiondb_backends.sqlite import SqliteBackend
        backend = SqliteBackend.open(Files(), sys.argv[1], create=True)
        for lsn in range(1, 10**9):
            images = {f"k{n}": b"%d" % lsn for n in range(300)}
            backend.apply({"t": TableChanges("json", False, images)}, Position(1, lsn - 1), Position(1, lsn), id)
            if sys.argv[2] == "checkpoint":
                backend.settle()
            print(lsn, flush=True)
    """
    program = program.replace(", id)", ", lambda: None)")
    with subprocess.Popen([sys.executable, "-c", program, path, when], stdout=subprocess.PIPE) as child:
        for line in child.stdout:
            if int(line) >= 20:
                break
        child.kill()
        acknowledged = max([int(line), *map(int, child.stdout.read().split())])
    backend = SqliteBackend.open(FaultyFiles(), path, create=False)
    lsn = backend.position().lsn
    assert lsn in (acknowledged, acknowledged + 1)
    assert contents(backend.read()) == {"t": ("json", {f"k{n}": b"%d" % lsn for n in range(300)})}
    assert backend.check() == []
    backend.close()


def test_an_exception_in_apply_leaves_the_old_state(path):
    backend = make(path)
    for error in (KeyboardInterrupt, ZeroDivisionError):

        def pace(error=error):
            raise error

        with pytest.raises(error):
            backend.apply(CHANGES, Position(1, 1), Position(1, 2), pace)
        assert state_of(backend) == "old"
    with pytest.raises(FencedError):
        backend.apply(CHANGES, Position(1, 7), Position(1, 8), no_pause)
    backend.apply(CHANGES, Position(1, 1), Position(1, 2), no_pause)
    assert state_of(backend) == "new"
    backend.close()


def test_who_was_fenced_runs_no_checkpoint_of_sqlite_any_more(path, monkeypatch):
    """Somebody else writes the file now and may run one: two can lose data in SQLite 3.7.0 to 3.51.2."""
    backend = make(path)
    other = SqliteBackend.open(FaultyFiles(), path, create=False)
    other.apply({}, Position(1, 1), Position(2, 1), no_pause)
    with pytest.raises(FencedError):
        backend.apply(CHANGES, Position(1, 1), Position(1, 2), no_pause)
    with monkeypatch.context() as patch:
        patch.setattr("sessiondb_backends.sqlite.checkpoint", lambda *_: pytest.fail("a second checkpoint"))
        with pytest.raises(FencedError):
            backend.apply(CHANGES, Position(1, 1), Position(1, 2), no_pause)
        backend.settle()
        backend.close()
    assert other.position() == Position(2, 1)
    other.close()


# ---- a full disk


def test_a_full_disk_leaves_the_old_state_and_the_next_apply_may_succeed(path):
    backend = make(path)
    pages = backend._writer.execute("PRAGMA page_count").fetchone()[0]
    large = {"big": TableChanges("json", False, {f"{n}": b'"%s"' % (b"x" * 3_000) for n in range(300)})}
    for room in (0, 1, 7, 50, 150):
        backend._writer.execute(f"PRAGMA max_page_count = {pages + room}")
        with pytest.raises(BackendError, match=r"full; .* next: free space"):
            backend.apply({**CHANGES, **large}, Position(1, 1), Position(1, 2), no_pause)
        assert state_of(backend) == "old"
    backend._writer.execute("PRAGMA max_page_count = 1000000")
    backend.apply(CHANGES, Position(1, 1), Position(1, 2), no_pause)
    assert state_of(backend) == "new"
    backend.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system: needs root")
def test_a_really_full_disk_leaves_the_old_state(tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", mount], capture_output=True).returncode:
        pytest.skip("no tmpfs here")
    try:
        backend = make(str(mount / "x.db"))
        backend.settle()
        large = {"big": TableChanges("json", False, {f"{n}": b'"%s"' % (b"x" * 3_000) for n in range(600)})}
        with pytest.raises(BackendError, match="next:"):
            backend.apply({**CHANGES, **large}, Position(1, 1), Position(1, 2), no_pause)
        assert state_of(backend) == "old"
        assert os.path.getsize(mount / "x.db-wal") == 0  # what was undone takes up no space
        (mount / "filler").write_bytes(b"x" * (os.statvfs(mount).f_bavail * 4096 - 400_000))
        backend.apply(CHANGES, Position(1, 1), Position(1, 2), no_pause)
        (mount / "more").write_bytes(b"x" * (os.statvfs(mount).f_bavail * 4096))
        with pytest.raises(BackendError, match=r"full; .* next: free space"):
            backend.settle()  # there is no room to move SQLite's log into the database file
        assert state_of(backend) == "new"
        (mount / "more").unlink()
        (mount / "filler").unlink()
        backend.settle()
        backend.close()
        assert sorted(os.listdir(mount)) == ["x.db"]
    finally:
        gc.collect()
        subprocess.run(["umount", "-l", mount], check=True)


# ---- what a crash left


def test_a_store_opens_with_the_log_that_a_crash_left_and_that_log_is_gone_then(path):
    backend = make(path)
    copy = crashed_copy(path, f"{path}.copy")
    backend.apply(CHANGES, Position(1, 1), Position(1, 2), no_pause)
    second = crashed_copy(path, f"{path}.second")
    backend.close()
    for crashed, state in ((copy, "old"), (second, "new")):
        assert os.path.getsize(f"{crashed}-wal") > 0
        opened = SqliteBackend.open(FaultyFiles(), crashed, create=False)
        assert os.path.getsize(f"{crashed}-wal") == 0
        assert state_of(opened) == state
        opened.close()
        assert not os.path.exists(f"{crashed}-wal")


def test_opening_syncs_the_log_before_sqlite_reads_it(path):
    """Its writer may have been killed before its sync: what is shown must be on disk, as our log is let go for it."""
    backend = make(path)
    copy = crashed_copy(path, f"{path}.copy")
    backend.close()
    files = FaultyFiles()
    synced = []

    def watch(operation, where):
        if operation in ("fsync", "sync_folder"):
            synced.append((operation, where))
            assert not os.path.exists(f"{copy}-shm")  # SQLite has not begun

    files.after = watch
    SqliteBackend.open(files, copy, create=False).close()
    assert synced == [("fsync", copy), ("fsync", f"{copy}-wal"), ("sync_folder", os.path.dirname(copy))]


@pytest.mark.parametrize("operation", ["fsync", "sync_folder"])
def test_a_sync_that_fails_while_opening_is_an_error(path, operation):
    make(path).close()
    files = FaultyFiles()
    with files.failing(operation), pytest.raises(BackendError, match="next:"):
        SqliteBackend.open(files, path, create=False)
    backend = SqliteBackend.open(files, path, create=False)
    assert state_of(backend) == "old"
    backend.close()


def torn(path, keep):
    os.truncate(f"{path}-wal", keep)


@pytest.mark.parametrize("keep", [1, 32, 100, 5_000, -1, -3_000])
def test_a_torn_log_of_sqlite_shows_the_state_before(path, keep):
    make(path).close()
    backend = SqliteBackend.open(FaultyFiles(), path, create=False)
    backend.apply(CHANGES, Position(1, 1), Position(1, 2), no_pause)
    copy = crashed_copy(path, f"{path}.copy")
    backend.close()
    torn(copy, keep if keep > 0 else os.path.getsize(f"{copy}-wal") + keep)
    opened = SqliteBackend.open(FaultyFiles(), copy, create=False)
    assert state_of(opened) == "old"
    opened.close()


def test_a_damaged_store_with_a_log_is_refused_and_nothing_is_changed(path):
    backend = make(path)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE sessiondb_meta SET lsn = 9")
    copy = crashed_copy(path, f"{path}.copy")
    backend.close()
    before = {suffix: Path(copy + suffix).read_bytes() for suffix in ("", "-wal")}
    for read_only in (False, True):
        with pytest.raises(CorruptionError):
            SqliteBackend.open(FaultyFiles(), copy, create=False, read_only=read_only)
    assert {suffix: Path(copy + suffix).read_bytes() for suffix in ("", "-wal")} == before
    assert not os.path.exists(f"{copy}-shm")


def test_a_close_that_cannot_empty_sqlites_log_loses_nothing(path, monkeypatch, caplog):
    backend = make(path)

    def fail(connection, mode):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    monkeypatch.setattr("sessiondb_backends.sqlite.checkpoint", fail)
    with pytest.raises(BackendError, match="I/O"):
        backend.settle()
    with caplog.at_level(logging.WARNING, "sessiondb.sqlite"):
        backend.close()
    assert "not emptied" in caplog.text
    monkeypatch.undo()
    backend = SqliteBackend.open(FaultyFiles(), path, create=False)
    assert state_of(backend) == "old"
    backend.close()


# ---- read-only


def snapshot_of(folder):
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in sorted(Path(folder).iterdir())}


@pytest.mark.parametrize("keep", [None, 0, 1, 32, 100, 20_000], ids=["whole", "empty", "1", "32", "100", "20000"])
def test_reading_only_changes_nothing_whatever_log_a_crash_left(tmp_path, path, keep):
    backend = make(path)
    backend.settle()
    backend.apply(CHANGES, Position(1, 1), Position(1, 2), no_pause)
    folder = tmp_path / "crashed"
    folder.mkdir()
    copy = crashed_copy(path, str(folder / "x.db"))
    backend.close()
    if keep is not None:
        torn(copy, keep)
    before = snapshot_of(folder)
    for _ in range(2):
        opened = SqliteBackend.open(FaultyFiles(), copy, create=False, read_only=True)
        assert state_of(opened) == ("new" if keep is None else "old")
        assert opened.position() == Position(1, 2 if keep is None else 1)
        view = opened.read()
        opened.close()
        with pytest.raises(BackendError, match="closed"):  # from now on somebody may write what it reads without locks
            view.get("t", "k0001")
        assert snapshot_of(folder) == before
    gc.collect()
    assert snapshot_of(folder) == before
    opened = SqliteBackend.open(FaultyFiles(), copy, create=False)
    assert state_of(opened) == ("new" if keep is None else "old")
    opened.close()


def test_an_iteration_of_a_read_only_store_ends_with_it(path):
    make(path).close()
    opened = SqliteBackend.open(FaultyFiles(), path, create=False, read_only=True)
    scan = opened.read().scan("t")
    next(scan)
    opened.close()
    with pytest.raises(BackendError, match="closed"):
        list(scan)


def as_nobody(path, *, read_only):
    """What a user without rights sees of the store: records and position, or the error."""
    read, write = os.pipe()

    def work():
        os.setgid(65534)
        os.setuid(65534)
        try:
            backend = SqliteBackend.open(FaultyFiles(), path, create=False, read_only=read_only)
            answer = f"{backend.read().count('t')} {backend.position()}"
            backend.close()
        except SessionDBError as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(write, answer.encode())
        os._exit(0)

    assert in_a_child(work) == 0
    os.close(write)
    with open(read) as answer:
        return answer.read()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user: needs root")
@pytest.mark.parametrize("with_log", [False, True])
def test_a_store_that_cannot_be_written_can_be_read(with_log):
    """As on read-only media: neither the folder nor the files can be written."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/x.db"
        backend = make(path)
        if with_log:
            backend.apply(CHANGES, Position(1, 1), Position(1, 2), no_pause)
            path = crashed_copy(path, f"{folder}/y.db")
        backend.close()
        for file in Path(folder).iterdir():
            file.chmod(0o444)
        os.chmod(folder, 0o555)
        before = snapshot_of(folder)
        assert as_nobody(path, read_only=True) == (f"{len(AFTER)} 1:2" if with_log else f"{len(OLD)} 1:1")
        answer = as_nobody(path, read_only=False)
        assert answer.startswith("BackendError")
        assert "next: check the" in answer
        assert snapshot_of(folder) == before


# ---- forks


def test_a_forked_child_touches_nothing_and_the_parent_goes_on(path):
    backend = make(path)
    view = backend.read()
    scan = view.scan("t")
    next(scan)

    def work():
        nonlocal view, scan
        ok = sqlite_connection._connections == {}
        backend.abandon()
        del view, scan
        gc.collect()
        backend.close()
        os._exit(0 if ok else 1)

    assert in_a_child(work) == 0
    assert dict([("k0000", OLD["k0000"]), *scan]) == OLD
    backend.apply(CHANGES, Position(1, 1), Position(1, 2), no_pause)
    backend.settle()
    assert state_of(backend) == "new"
    assert dict(view.scan("t")) == OLD
    view.close()
    backend.close()


def test_a_forked_child_that_ends_as_programs_do_leaves_the_log_to_its_parent(tmp_path):
    """Also when the parent is gone: the child's interpreter must not close the parent's connections."""
    program = """if True:
        import os, sys, warnings
        warnings.simplefilter("ignore")
        from sessiondb.backend import Position, TableChanges
        from sessiondb.files import Files
        from sessiondb_backends.sqlite import SqliteBackend
        backend = SqliteBackend.open(Files(), sys.argv[1], create=True)
        backend.apply({"t": TableChanges("json", False, {"a": b"1"})}, Position(1, 0), Position(1, 1), lambda: None)
        view = backend.read()
        read, write = os.pipe()
        if os.fork():
            os._exit(0)  # the parent dies, its connections are the child's copies now
        os.read(read, 0)
        sys.stdin.read()
    """
    path = str(tmp_path / "x.db")
    child = subprocess.Popen([sys.executable, "-c", program, path], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.wait() == 0
    before = Path(f"{path}-wal").read_bytes()
    assert before
    child.stdin.close()
    assert child.stderr.read() == b""  # until the grandchild has ended too
    child.stderr.close()
    assert Path(f"{path}-wal").read_bytes() == before


def test_a_child_may_open_the_store_itself_when_the_parent_has_closed_it(path):
    make(path).close()

    def work():
        backend = SqliteBackend.open(FaultyFiles(), path, create=False)
        backend.apply(CHANGES, Position(1, 1), Position(1, 2), no_pause)
        backend.close()
        os._exit(0)

    assert in_a_child(work) == 0
    backend = SqliteBackend.open(FaultyFiles(), path, create=False)
    assert state_of(backend) == "new"
    backend.close()


# ---- size


def test_opening_does_not_read_the_records(tmp_path, monkeypatch):
    """The statements of an open are the same for any number of records, and none reads a table of records."""
    seen = []
    connect = sqlite3.connect

    def traced(*args, **options):
        connection = connect(*args, **options)
        connection.set_trace_callback(seen[-1].append)
        return connection

    for records in (1, 3_000):
        path = str(tmp_path / f"{records}.db")
        backend = SqliteBackend.open(FaultyFiles(), path, create=True)
        images = {f"k{n}": b'{"n":%d}' % n for n in range(records)}
        advance(backend, {"t": TableChanges("json", False, images, {"n": True})}).close()
        backend.close()
        seen.append([])
        monkeypatch.setattr(sqlite3, "connect", traced)
        backend = SqliteBackend.open(FaultyFiles(), path, create=False)
        view = backend.read()
        assert view.count("t") == records
        assert view.tables() == {"t": "json"}
        monkeypatch.undo()
        view.close()
        backend.close()
    assert seen[0] == seen[1]
    assert not any("sessiondb_1" in statement for statement in seen[0])


def test_others_run_while_records_are_applied(path):
    """`pace` is called after every small piece, also of large records and of deletions."""
    backend = SqliteBackend.open(FaultyFiles(), path, create=True)
    for images in (
        {f"k{n:05}": b"%d" % n for n in range(5_000)},
        {f"k{n:05}": b'"%s"' % (b"x" * 100_000) for n in range(50)},
        {f"k{n:05}": None for n in range(5_000)},
    ):
        before = backend.position()
        pauses = count()
        changes = {"t": TableChanges("json", False, images)}
        backend.apply(changes, before, Position(1, before.lsn + 1), lambda pauses=pauses: next(pauses))
        assert next(pauses) >= 45
    backend.close()


def test_readers_are_not_held_up_by_an_apply(path):
    backend = make(path)
    inside, go_on = threading.Event(), threading.Event()

    def pace():
        inside.set()
        assert go_on.wait(30)

    writer = threading.Thread(target=backend.apply, args=(CHANGES, Position(1, 1), Position(1, 2), pace))
    writer.start()
    try:
        assert inside.wait(30)
        began = time.monotonic()
        assert state_of(backend) == "old"
        assert backend.position() == Position(1, 1)
        assert time.monotonic() - began < 30
    finally:
        go_on.set()
        writer.join()
    assert state_of(backend) == "new"
    backend.close()
