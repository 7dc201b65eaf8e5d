"""Checkpoints: what sets them off, what a failed one leaves behind, and how writers are held back."""

import errno
import gc
import logging
import threading

import pytest

import sessiondb
from sessiondb import BackendError, StoreFailedError, checkpoint
from sessiondb.memtable import TableLayer


@pytest.fixture
def checkpointed(files):
    """Set when a checkpoint has replaced the JSON file."""
    done = threading.Event()

    def watch(operation, path):
        if operation == "replace":
            done.set()

    files.after = watch
    return done


def wait_for(condition):
    """Polls: for states that no operation on files announces."""
    for _ in range(30_000):
        if condition():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it did not come to that")


def fill(table):
    """Puts records until that fails."""
    for number in range(1_000):
        table[f"{number:04}"] = "x" * 50


def test_a_checkpoint_moves_everything_and_empties_the_log(db, open_db, path):
    table = db.table("t")
    table.put_many({f"{n}": n for n in range(100)})
    db.checkpoint()
    stats = db.stats()
    assert (stats.applied_lsn, stats.last_lsn, stats.durable_lsn) == (1, 1, 1)
    assert (stats.log_bytes, stats.log_records, stats.log_segments) == (0, 0, 1)
    assert (stats.checkpoints, stats.checkpoint_failures, stats.last_checkpoint_error) == (1, 0, None)
    assert stats.backend_bytes == path.stat().st_size
    assert b'"99":99' in path.read_bytes()
    assert len(table) == 100


def test_a_checkpoint_of_nothing_does_nothing(db, path):
    before = path.read_bytes()
    db.checkpoint()
    assert db.stats().checkpoints == 0
    assert path.read_bytes() == before


def test_records_set_off_a_checkpoint(open_db, checkpointed):
    db = open_db(checkpoint_records=10, checkpoint_age_s=3_600)
    table = db.table("t")
    checkpointed.clear()
    for number in range(9):
        table[f"{number}"] = number
    assert not checkpointed.is_set()
    table["9"] = 9
    assert checkpointed.wait(30)


def test_bytes_set_off_a_checkpoint(open_db, checkpointed):
    db = open_db(checkpoint_bytes=10_000, checkpoint_age_s=3_600)
    checkpointed.clear()
    db.table("t")["a"] = "x" * 5_000
    assert not checkpointed.is_set()
    db.table("t")["a"] = "x" * 5_000
    assert checkpointed.wait(30)


def test_age_sets_off_a_checkpoint(open_db, checkpointed):
    db = open_db(checkpoint_age_s=0.01)
    checkpointed.clear()
    db.table("t")["a"] = 1
    assert checkpointed.wait(30)
    wait_for(lambda: db.stats().applied_lsn == 1)


def test_nothing_sets_off_a_checkpoint_while_nothing_changes(open_db, files):
    db = open_db(checkpoint_age_s=0)
    before = files.counts["replace"]
    assert db.table("t").get("a") is None
    db.close()
    assert files.counts["replace"] == before


def test_what_was_recovered_is_checkpointed_when_it_is_enough(open_db, files, checkpointed):
    db = open_db()
    db.table("t").put_many({f"{n}": n for n in range(100)})
    with files.failing("replace"):
        db.close()
    checkpointed.clear()
    db = open_db(checkpoint_records=50)
    assert checkpointed.wait(30)
    assert len(db.table("t")) == 100


def test_a_clean_close_makes_a_checkpoint_of_a_json_file(db, open_db, path):
    db.table("t")["a"] = 1
    db.close()
    assert b'"a":1' in path.read_bytes()
    report = open_db().recovery_report
    assert (report.clean, report.transactions, report.applied_lsn) == (True, 0, 1)


def test_the_size_of_the_json_file_raises_the_limit(open_db, files):
    """Rewriting a large file for a few changes would write many times what was changed."""
    db = open_db(checkpoint_bytes=1_000, sync="never")
    db.table("t").put_many({f"{n:04}": "x" * 100 for n in range(1_000)})
    db.checkpoint()
    db.close()
    db = open_db(checkpoint_bytes=1_000, checkpoint_age_s=3_600, sync="never")
    before = files.counts["replace"]
    for number in range(100):
        db.table("t")[f"new {number}"] = "x" * 500
    assert files.counts["replace"] == before
    for number in range(300):
        db.table("t")[f"more {number}"] = "x" * 500
    wait_for(lambda: files.counts["replace"] > before)


def test_reads_and_writes_go_on_while_a_checkpoint_runs(db, files):
    inside, go_on = threading.Event(), threading.Event()

    def stop(operation, path):
        if operation == "replace":
            inside.set()
            assert go_on.wait(30)

    table = db.table("t")
    table["a"] = 1
    files.before = stop
    thread = threading.Thread(target=db.checkpoint)
    thread.start()
    assert inside.wait(30)
    table["b"] = 2
    assert dict(table) == {"a": 1, "b": 2}
    stats = db.stats()
    assert (stats.applied_lsn, stats.last_lsn, stats.durable_lsn) == (0, 2, 2)
    go_on.set()
    thread.join()
    assert dict(table) == {"a": 1, "b": 2}
    assert db.stats().applied_lsn == 1


# ---- failures


@pytest.mark.parametrize("operation", ["create", "fsync", "replace", "sync_folder"])
def test_a_checkpoint_that_was_asked_for_raises_and_loses_nothing(db, open_db, files, path, operation):
    table = db.table("t")
    table["a"] = 1
    before = path.read_bytes()
    place = "" if operation == "sync_folder" else "x.json"
    with files.failing(operation, errno.ENOSPC, path=place) as failed:
        with pytest.raises(StoreFailedError, match="space"):
            db.checkpoint()
        assert failed
        if operation != "sync_folder":
            assert path.read_bytes() == before
        stats = db.stats()  # the background thread may have tried too
        assert stats.checkpoints == 0
        assert stats.checkpoint_failures >= 1
        assert "space" in stats.last_checkpoint_error
    assert table["a"] == 1


def test_after_a_failed_checkpoint_writes_go_on_and_the_next_one_moves_everything(db, open_db, files):
    table = db.table("t")
    table["a"] = 1
    with files.failing("replace"), pytest.raises(BackendError):
        db.checkpoint()
    assert db.stats().state == "open"
    table["b"] = 2
    table["a"] = 3
    assert dict(table) == {"a": 3, "b": 2}
    db.checkpoint()
    stats = db.stats()
    assert (stats.applied_lsn, stats.last_checkpoint_error, stats.log_records) == (3, None, 0)
    db.close()
    assert dict(open_db().table("t")) == {"a": 3, "b": 2}


def test_a_failed_background_checkpoint_is_seen_logged_and_tried_again(open_db, files, caplog):
    caplog.set_level(logging.ERROR, "sessiondb")
    db = open_db(checkpoint_records=5)
    table = db.table("t")
    with files.failing("replace", errno.EDQUOT) as failed:
        table.put_many({f"{n}": n for n in range(5)})
        wait_for(lambda: len(failed) >= 2)
        wait_for(lambda: db.stats().checkpoint_failures >= 2)
        stats = db.stats()
        assert stats.state == "open"
        assert "quota" in stats.last_checkpoint_error.lower()
        assert len(table) == 5
    wait_for(lambda: db.stats().last_checkpoint_error is None)
    stats = db.stats()
    assert stats.applied_lsn == 1
    assert stats.checkpoint_failures >= 2
    record = next(record for record in caplog.records if "a checkpoint failed" in record.message)
    assert (record.name, record.levelname) == ("sessiondb.checkpoint", "ERROR")
    assert "quota" in record.message.lower()
    assert "next attempt" in record.message


def test_a_checkpoint_that_fails_at_close_leaves_the_log_to_the_next_open(db, open_db, files, caplog):
    db.table("t")["a"] = 1
    with files.failing("replace"):
        db.close()
    assert any("no checkpoint at close" in record.message for record in caplog.records)
    db = open_db()
    assert db.recovery_report.transactions == 1
    assert db.recovery_report.epoch == db.recovery_report.epoch_before
    assert db.table("t")["a"] == 1


def test_a_backend_that_reports_success_and_stored_nothing_is_caught(db, files, monkeypatch):
    """The position is read back from the location: only what is really stored may let the log go."""
    db.table("t")["a"] = 1
    monkeypatch.setattr(type(files), "replace", lambda self, source, target: None)
    with pytest.raises(BackendError, match="the log is kept"):
        db.checkpoint()
    monkeypatch.undo()
    assert db.stats().applied_lsn == 0
    assert db.table("t")["a"] == 1
    db.checkpoint()
    assert db.stats().applied_lsn == 1


def test_segments_that_cannot_be_removed_do_no_harm(db, open_db, files, caplog):
    db.table("t")["a"] = 1
    with files.failing("unlink", errno.EACCES, path=".seg"):
        db.checkpoint()
    assert any("could not be removed" in record.message for record in caplog.records)
    db.table("t")["a"] = 2
    db.checkpoint()
    assert db.stats().log_segments == 1
    db.close()
    assert dict(open_db().table("t")) == {"a": 2}


# ---- back-pressure


@pytest.mark.parametrize(
    "options", [{"checkpoint_records": 10}, {"checkpoint_bytes": 1_000, "checkpoint_records": 10_000}], ids=str
)
def test_a_log_that_no_checkpoint_shortens_is_bounded(open_db, files, options):
    db = open_db(lock_timeout=0.05, sync="never", **options)
    table = db.table("t")
    with files.failing("replace", errno.ENOSPC):
        with pytest.raises(StoreFailedError) as caught:
            fill(table)
        stats = db.stats()
        assert stats.log_records <= 4 * options["checkpoint_records"] + 1
        assert stats.log_bytes <= 4 * 1_000 or "checkpoint_bytes" not in options
        assert stats.back_pressure_waits >= 1
        message = str(caught.value)
        for part in ("the log is full", "0.05 s", "No space left on device", "nothing was written", "next: "):
            assert part in message
        written = len(table)
        assert table[f"{written - 1:04}"] == "x" * 50
        with pytest.raises(StoreFailedError, match="the log is full"):
            table.put("one more", "x" * 50)
        assert "one more" not in table
    table["works again"] = 1
    assert len(table) == written + 1
    db.close()
    assert len(open_db().table("t")) == written + 1


def test_a_writer_that_waits_helps_with_the_checkpoint(open_db, files):
    db = open_db(checkpoint_records=10, sync="never")
    table = db.table("t")
    with files.failing("replace") as failed:
        for number in range(40):
            table[f"{number}"] = number
        wait_for(lambda: failed)
    for number in range(40, 200):
        table[f"{number}"] = number
    assert len(table) == 200
    assert db.stats().log_records <= 41


def test_without_checkpoints_a_writer_waits_no_longer_than_lock_timeout_says(open_db, files):
    """`lock_timeout` 0: it tries once and says why."""
    db = open_db(checkpoint_records=1, lock_timeout=0, sync="never")
    with files.failing("replace"), pytest.raises(StoreFailedError, match="within 0"):
        fill(db.table("t"))


def test_one_transaction_over_the_cap_is_taken_by_an_empty_log(open_db):
    db = open_db(checkpoint_records=1, checkpoint_bytes=100, lock_timeout=0)
    table = db.table("t")
    table.put_many({f"{n}": "x" * 100 for n in range(100)})
    assert len(table) == 100


def test_a_read_only_database_refuses_a_checkpoint(db, open_db):
    db.table("t")["a"] = 1
    db.close()
    with pytest.raises(sessiondb.ReadOnlyError):
        open_db(read_only=True).checkpoint()


def test_a_memtable_that_has_been_moved_is_freed_slice_by_slice(open_db, monkeypatch):
    db = open_db()
    db.table("t").put_many({f"k{number}": number for number in range(3_000)})
    seen = []
    let_go = checkpoint._let_go

    def watched(parts, pace):
        layers = [found for found in gc.get_objects() if type(found) is TableLayer]
        seen.append((len(parts), any(len(layer.entries) == 3_000 for layer in layers)))
        let_go(parts, lambda: seen.append(len(parts)))

    monkeypatch.setattr(checkpoint, "_let_go", watched)
    db.checkpoint()
    assert seen == [(6_000, False), *range(5_500, -1, -500)]


def test_a_range_that_holds_nothing_makes_nothing_due(db):
    """Nothing was committed: a checkpoint that is due with nothing to move would be due for ever."""
    db._open.committer.commit_built(lambda view: [])
    assert db.position().lsn == 0
    assert db._open.checkpointer._seconds_until_due() is None
