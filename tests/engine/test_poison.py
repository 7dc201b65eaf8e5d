"""A failed sync poisons the store: nobody is told durable, nobody retries, reads go on, opening anew recovers."""

import errno
import threading

import pytest

from sessiondb import DurabilityUnknownError, Position, StoreFailedError


@pytest.fixture
def poisoned(open_db, files):
    """A store with LSN 1 durable and LSN 2 poisoned by a failed sync."""
    db = open_db()
    table = db.table("t")
    table["a"] = "durable"
    with files.failing("fdatasync") as failed, pytest.raises(DurabilityUnknownError):
        table["b"] = "unknown"
    assert len(failed) == 1
    return db


def test_the_waiter_is_told_that_nobody_knows(open_db, files, path):
    table = open_db().table("t")
    with files.failing("fdatasync"), pytest.raises(DurabilityUnknownError) as caught:
        table["a"] = 1
    message = str(caught.value)
    for part in ("Input/output error", "behind LSN 0", f"{path}.wal", "unknown", "next: "):
        assert part in message
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_every_failed_sync_poisons_whatever_its_cause(open_db, files, error):
    db = open_db()
    with files.failing("fdatasync", error), pytest.raises(DurabilityUnknownError):
        db.table("t")["a"] = 1
    assert db.stats().state == "poisoned"


def test_later_writes_fail_and_touch_nothing(poisoned, files, all_bytes):
    table = poisoned.table("t")
    before, syncs = all_bytes(), files.counts["fdatasync"]
    writes = [
        lambda: table.put("c", 1), lambda: table.put("c", 1, sync="never"), lambda: table.insert("c", 1),
        lambda: table.delete_many(["a"]), lambda: table.modify("a", str), lambda: poisoned.drop("t"),
        lambda: poisoned.checkpoint(),
    ]  # fmt: skip
    for write in writes:
        with pytest.raises(StoreFailedError, match=r"poisoned|sync of the log failed"):
            write()
    assert all_bytes() == before
    assert files.counts["fdatasync"] == syncs


def test_reads_go_on_up_to_the_durable_lsn(poisoned):
    table = poisoned.table("t")
    assert dict(table) == {"a": "durable"}
    assert table.get("b") is None
    assert "b" not in table
    assert len(table) == 1
    assert poisoned.position() == Position(1, 1)
    assert poisoned.tables() == {"t": "json"}


def test_stats_say_why(poisoned):
    stats = poisoned.stats()
    assert (stats.state, stats.durable_lsn, stats.last_lsn) == ("poisoned", 1, 1)
    assert "Input/output error" in stats.failure


def test_waiting_for_the_lost_position_says_unknown(open_db, files):
    db = open_db()
    lost = db.table("t").put("a", 1, sync="never")
    with files.failing("fdatasync"), pytest.raises(DurabilityUnknownError):
        db.sync()
    with pytest.raises(DurabilityUnknownError):
        db.wait_durable(lost)


def test_all_waiters_of_one_failed_sync_are_told(open_db, files):
    db = open_db()
    table = db.table("t")
    go_on = threading.Event()
    outcomes = []

    def fail_late(operation, path):
        if operation == "fdatasync":
            assert go_on.wait(30)
            raise OSError(errno.EIO, "failed late", path)

    def put(key):
        try:
            table.put(key, 1)
        except StoreFailedError as error:
            outcomes.append(type(error))

    files.before = fail_late
    threads = [threading.Thread(target=put, args=(f"{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    while db.position().lsn < 6:
        threading.Event().wait(0.001)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert outcomes == [DurabilityUnknownError] * 6
    assert dict(table) == {}


def test_a_sync_that_covers_several_commits_takes_back_all_of_them(open_db, files):
    db = open_db(sync="never")
    table = db.table("t")
    table.put_many({"a": 1, "b": 1})
    db.sync()
    table["a"] = 2
    del table["b"]
    table["c"] = 2
    db.drop("u")
    with files.failing("fdatasync"), pytest.raises(DurabilityUnknownError):
        db.sync()
    assert dict(table) == {"a": 1, "b": 1}


def test_taking_back_goes_down_to_what_the_backend_and_older_segments_hold(open_db, files):
    db = open_db()
    table = db.table("t")
    table.put("old", 1)
    db.checkpoint()
    table.put("middle", 1)
    with files.failing("replace"), pytest.raises(StoreFailedError):
        db.checkpoint()  # leaves a frozen memtable and a second segment
    table.put("new", 1)
    table.put("old", 2, sync="never")
    with files.failing("fdatasync"), pytest.raises(DurabilityUnknownError):
        table.put("lost", 1)
    assert dict(table) == {"old": 1, "middle": 1, "new": 1}


def test_an_iteration_begun_before_keeps_its_state(open_db, files):
    db = open_db(sync="never")
    table = db.table("t")
    table.update(a=1, b=2)
    scan = table.scan()
    with files.failing("fdatasync"), pytest.raises(DurabilityUnknownError):
        db.sync()
    assert list(scan) == [("a", 1), ("b", 2)]
    assert list(table.scan()) == []


def test_opening_again_recovers_with_the_next_epoch(poisoned, open_db):
    poisoned.close()
    db = open_db()
    report = db.recovery_report
    assert (report.epoch_before, report.epoch) == (1, 2)
    assert any("poisoned" in notice for notice in report.notices)
    assert db.stats().state == "open"
    table = db.table("t")
    assert table["a"] == "durable"
    assert table.get("b", "unknown") == "unknown"
    assert table.put("c", 1).epoch == 2
    db.close()
    db = open_db()
    assert (db.recovery_report.clean, db.stats().epoch) == (True, 2)
    assert dict(db.table("t")).keys() >= {"a", "c"}


def test_closing_a_poisoned_store_releases_it_and_changes_nothing(poisoned, all_bytes, open_db):
    before = all_bytes()
    poisoned.close()
    assert all_bytes() == before
    open_db(lock_timeout=0)


def test_whether_a_position_of_an_earlier_epoch_survived_cannot_be_told(poisoned, open_db):
    poisoned.close()
    db = open_db()
    with pytest.raises(DurabilityUnknownError, match="next: "):
        db.wait_durable(Position(1, 2))
    assert db.stats().state == "open"


def test_a_failed_sync_at_the_seal_poisons(open_db, files):
    db = open_db(sync="never")
    db.table("t")["a"] = 1
    db.sync()
    with files.failing("fdatasync"), pytest.raises(StoreFailedError):
        db.checkpoint()
    assert db.stats().state == "poisoned"
    assert dict(db.table("t")) == {"a": 1}
    db.close()
    db = open_db()
    assert db.stats().epoch == 2
    assert dict(db.table("t")) == {"a": 1}


@pytest.mark.parametrize(("operation", "place"), [("fsync", ".seg"), ("sync_folder", ".wal")])
def test_a_failed_sync_of_a_new_segment_poisons(open_db, files, operation, place):
    db = open_db()
    db.table("t")["a"] = 1
    with files.failing(operation, path=place) as failed, pytest.raises(StoreFailedError):
        db.checkpoint()
    assert failed
    assert db.stats().state == "poisoned"
    assert dict(db.table("t")) == {"a": 1}
    db.close()
    db = open_db()
    assert db.stats().epoch == 2
    assert dict(db.table("t")) == {"a": 1}


def test_a_failed_last_sync_is_said_by_close_and_everything_is_released(open_db, files):
    db = open_db(sync="never")
    db.table("t")["a"] = 1
    with files.failing("fdatasync"), pytest.raises(StoreFailedError):
        db.close()
    assert open_db(lock_timeout=0).stats().epoch == 2


# ---- failed writes, which are no failed syncs


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG], ids=errno.errorcode.get)
def test_a_failed_append_changes_nothing_and_the_next_one_works(open_db, files, error):
    db = open_db()
    table = db.table("t")
    table["a"] = 1
    numbers = []

    def fail_once(operation, path):
        if operation == "pwrite" and not numbers:
            numbers.append(1)
            raise OSError(error, "no", path)

    files.before = fail_once
    with pytest.raises(StoreFailedError, match=r"nothing was written.*next: ") as caught:
        table["b"] = 2
    assert not isinstance(caught.value, DurabilityUnknownError)
    assert dict(table) == {"a": 1}
    assert db.stats().state == "open"
    table["c"] = 3
    db.close()
    db = open_db()
    assert db.recovery_report.torn_tail is None
    assert db.stats().epoch == 1
    assert dict(db.table("t")) == {"a": 1, "c": 3}


def test_half_an_append_is_zeroed(open_db, files, path):
    """The bytes reach the file, then the write fails: nothing but zeros may stand behind the end."""
    db = open_db()
    table = db.table("t")
    table["a"] = 1
    with files.failing_at(1, errno.ENOSPC, after=True) as failed, pytest.raises(StoreFailedError):
        table["b"] = "a remarkable text"
    assert failed[0].endswith(".seg")
    (segment,) = (path.parent / "x.json.wal").glob("*.seg")
    assert b"a remarkable text" not in segment.read_bytes()
    assert dict(table) == {"a": 1}
    table["c"] = 3
    assert dict(table) == {"a": 1, "c": 3}


def test_an_append_that_cannot_be_taken_back_poisons(open_db, files):
    db = open_db()
    table = db.table("t")
    table["a"] = 1
    with files.failing("pwrite", path=".seg"), pytest.raises(DurabilityUnknownError, match="could not be taken back"):
        table["b"] = 2
    assert db.stats().state == "poisoned"
    with pytest.raises(StoreFailedError, match="poisoned"):
        table["c"] = 3
    assert table["a"] == 1
    assert "b" not in table
    db.close()
    db = open_db()
    assert db.table("t")["a"] == 1
    assert "b" not in db.table("t")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_disk_that_is_full_while_the_segment_grows_changes_nothing(open_db, files, after, number):
    """The record is longer than the segment, so zeros are written first."""
    db = open_db()
    table = db.table("t")
    with files.failing_at(number, errno.ENOSPC, after=after) as failed, pytest.raises(StoreFailedError):
        table["big"] = "x" * 50_000
    assert failed
    assert dict(table) == {}
    table["small"] = 1
    db.close()
    db = open_db()
    assert db.recovery_report.torn_tail is None
    assert dict(db.table("t")) == {"small": 1}
