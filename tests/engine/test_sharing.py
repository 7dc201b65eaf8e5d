"""Who may have a store open: twice in one process, read-only, after close, after a fork, in another process."""

import os
import signal
import subprocess
import sys
import threading

import pytest

import sessiondb
from sessiondb import ClosedError, ReadOnlyError, StoreBusyError, UsageError

# ---- one process


def test_the_same_location_opened_twice_shares_one_engine(open_db, tmp_path):
    one, other = open_db(), open_db()
    one.table("t")["a"] = 1
    assert other.table("t")["a"] == 1
    assert one.stats().uuid == other.stats().uuid
    assert one.position() == other.position()
    one.close()
    other.table("t")["b"] = 2
    assert dict(other.table("t")) == {"a": 1, "b": 2}
    with pytest.raises(ClosedError):
        one.stats()


def test_other_ways_to_the_same_file_share_it_too(open_db, path, tmp_path, files, monkeypatch):
    db = open_db()
    db.table("t")["a"] = 1
    link = tmp_path / "link.json"
    link.symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLACE", str(tmp_path))
    for way in (link, "x.json", "./x.json", f"json:///{path}", "json:///x.json", "$PLACE/x.json", str(path)):
        with sessiondb.open(way, files=files) as same:
            assert same.table("t")["a"] == 1
            assert same.location == str(path)


@pytest.mark.parametrize(
    "options",
    [{"sync": "never"}, {"checkpoint_bytes": 1}, {"checkpoint_age_s": 1.0}, {"read_only": True}],
    ids=str,
)
def test_conflicting_options_are_refused(db, open_db, options):
    with pytest.raises(UsageError, match="other options"):
        open_db(**options)
    db.table("t")["a"] = 1


def test_create_and_lock_timeout_do_not_conflict(db, open_db):
    """They say how to open, not how the open database behaves."""
    open_db(create=False).table("t")["a"] = 1
    assert db.table("t")["a"] == 1


def test_after_the_last_close_other_options_are_fine(open_db):
    one, other = open_db(), open_db()
    one.close()
    other.close()
    open_db(sync="never")


def test_two_locations_are_two_stores(tmp_path, files):
    with sessiondb.open(tmp_path / "a", files=files) as a, sessiondb.open(tmp_path / "b", files=files) as b:
        a.table("t")["k"] = 1
        assert dict(b.table("t")) == {}
        assert a.stats().uuid != b.stats().uuid


# ---- close


def test_after_close_everything_says_closed(open_db, path):
    db = open_db()
    table = db.table("t")
    table["a"] = 1
    db.close()
    uses = [
        lambda: table["a"], lambda: table.get("a"), lambda: "a" in table, lambda: len(table), lambda: list(table),
        lambda: table.put("a", 1), lambda: table.insert("b", 1), lambda: table.pop("a"), lambda: table.clear(),
        lambda: table.delete_many(["a"]), lambda: table.get_many(["a"]), lambda: list(table.scan()),
        lambda: table.modify("a", str), lambda: table.patch("a", {}), lambda: table.replace("a", 1, 2),
        lambda: table.put_many({"a": 1}), lambda: table.update(a=1), lambda: table.popitem(), lambda: table.count(),
        lambda: db.table("t"), lambda: db.tables(), lambda: db.drop("t"), lambda: db.sync(), lambda: db.stats(),
        lambda: db.checkpoint(), lambda: db.position(), lambda: db.recovery_report,
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(ClosedError, match=r"closed.*next: ") as caught:
            use()
        assert str(path) in str(caught.value)
    assert db.location == str(path)
    assert "closed" in repr(db)
    db.close()


def test_a_table_that_outlives_its_database_says_closed_while_another_one_has_the_store_open(open_db):
    one, other = open_db(), open_db()
    table = one.table("t")
    one.close()
    with pytest.raises(ClosedError):
        table["a"] = 1
    with pytest.raises(ClosedError):
        table.get("a")
    assert dict(other.table("t")) == {}


def test_the_one_line_table_closes_its_database(path, files):
    with sessiondb.table(path, files=files) as table:
        table["a"] = {"n": 1}
        assert table.name == "records"
    with pytest.raises(ClosedError):
        table.get("a")
    with sessiondb.table(path, "records", dict, files=files) as table:
        assert dict(table) == {"a": {"n": 1}}


def test_a_one_line_table_that_cannot_be_made_leaves_nothing_open(path, files):
    with pytest.raises(UsageError):
        sessiondb.table(path, "t", int, files=files)
    sessiondb.open(path, files=files, sync="never").close()


def test_an_exception_in_the_block_closes_the_database_and_keeps_what_was_put(path, files):
    def work():
        with sessiondb.open(path, files=files) as db:
            db.table("t")["a"] = 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    with sessiondb.open(path, files=files) as db:
        assert db.table("t")["a"] == 1


def test_closing_leaves_no_thread_and_no_descriptor(path, files):
    sessiondb.open(path, files=files).close()
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with sessiondb.open(path, files=files, sync="interval", checkpoint_records=1) as db:
            db.table("t")["a"] = 1
        assert threading.active_count() == threads
        assert len(os.listdir("/proc/self/fd")) == descriptors


# ---- read-only


def test_a_read_only_database_reads_and_changes_nothing(db, open_db, all_bytes):
    db.table("t").update(a=1, b=2)
    db.close()
    before = all_bytes()
    db = open_db(read_only=True)
    table = db.table("t")
    assert dict(table) == {"a": 1, "b": 2}
    assert db.stats().state == "read-only"
    writes = [
        lambda: table.put("a", 1), lambda: table.insert("c", 1), lambda: table.pop("a"), lambda: table.clear(),
        lambda: table.modify("a", str), lambda: table.put_many({"c": 1}), lambda: table.popitem(),
        lambda: db.drop("t"), lambda: db.checkpoint(),
    ]  # fmt: skip
    for write in writes:
        with pytest.raises(ReadOnlyError, match=r"read-only.*next: "):
            write()
    assert dict(table) == {"a": 1, "b": 2}
    db.close()
    assert all_bytes() == before


def test_a_read_only_database_reads_the_log_of_a_store_that_was_not_closed(db, open_db, files, all_bytes):
    db.table("t")["a"] = 1
    with files.failing("replace"):
        db.close()
    before = all_bytes()
    db = open_db(read_only=True)
    assert dict(db.table("t")) == {"a": 1}
    assert db.recovery_report.transactions == 1
    db.close()
    assert all_bytes() == before


def test_nothing_is_made_for_a_read_only_open(open_db, path):
    with pytest.raises(UsageError, match="no database"):
        open_db(read_only=True)
    assert os.listdir(path.parent) == []


def test_a_store_without_its_log_folder_can_be_read(db, open_db, path):
    db.table("t")["a"] = 1
    db.close()
    (path.parent / "x.json.wal").rename(path.parent / "elsewhere")
    assert dict(open_db(read_only=True).table("t")) == {"a": 1}
    assert not (path.parent / "x.json.wal").exists()


# ---- fork


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_is_told_and_the_parent_goes_on(open_db, path):
    db = open_db()
    table = db.table("t")
    table["a"] = 1
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        words = []
        for use in (lambda: table["a"], lambda: table.put("b", 1), lambda: db.stats(), lambda: db.table("t")):
            try:
                use()
                words.append("no error")
            except ClosedError as error:
                words.append("parent" if "parent process" in str(error) else str(error))
            except BaseException as error:  # noqa: BLE001 - reported to the parent
                words.append(repr(error))
        try:
            sessiondb.open(path, lock_timeout=0)
        except StoreBusyError as error:
            words.append(f"busy {os.getppid()}" if str(os.getppid()) in str(error) else str(error))
        db.close()
        os.write(write_end, "|".join(words).encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        words = pipe.read().split("|")
    assert os.waitpid(pid, 0)[1] == 0
    assert words == ["parent"] * 4 + [f"busy {os.getpid()}"]
    table["b"] = 2
    db.checkpoint()
    db.close()
    assert dict(open_db(lock_timeout=0).table("t")) == {"a": 1, "b": 2}


# ---- another process

OTHER = """
import sys, sessiondb
db = sessiondb.open(sys.argv[1], read_only=sys.argv[2] == "read")
db.table("t").get("a")
if sys.argv[2] == "write":
    db.table("t")["other"] = 1
print("open", flush=True)
sys.stdin.read()
db.close()
"""


@pytest.fixture
def other(path, tmp_path):
    """Starts another process that has the store open until its input ends."""
    program = tmp_path / "other_program.py"
    program.write_text(OTHER)
    running = []

    def start(how):
        process = subprocess.Popen(
            [sys.executable, str(program), str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stdout.readline() == "open\n"
        return process

    yield start
    for process in running:
        if not process.stdin.closed:
            process.communicate()
        process.wait(30)


def test_a_second_process_is_told_who_has_the_store(other, open_db, path):
    process = other("write")
    for options in ({}, {"read_only": True}):
        with pytest.raises(StoreBusyError) as caught:
            open_db(lock_timeout=0, **options)
        message = str(caught.value)
        for part in (str(process.pid), "other_program.py", "since 20", f"{path}.wal", "next: "):
            assert part in message
    process.communicate()
    assert dict(open_db(lock_timeout=0).table("t")) == {"other": 1}


def test_readers_share_the_store_and_keep_a_writer_out(db, other, open_db):
    db.table("t")["a"] = 1
    db.close()
    process = other("read")
    with open_db(read_only=True, lock_timeout=0) as reader:
        assert reader.table("t")["a"] == 1
    with pytest.raises(StoreBusyError):
        open_db(lock_timeout=0)
    process.communicate()
    open_db(lock_timeout=0).table("t")["b"] = 2


def test_who_waits_gets_the_store_when_it_is_free(other, open_db):
    process = other("write")
    ending = threading.Thread(target=process.communicate)
    ending.start()
    assert dict(open_db(lock_timeout=30).table("t")) == {"other": 1}
    ending.join()


def test_a_killed_process_leaves_no_lock(other, open_db):
    process = other("write")
    process.send_signal(signal.SIGKILL)
    process.wait()
    db = open_db(lock_timeout=0)
    assert dict(db.table("t")) == {"other": 1}
    assert db.recovery_report.transactions == 1
