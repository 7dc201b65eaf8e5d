"""Ctrl-C anywhere in a commit or a checkpoint leaves a store that is consistent, now and after it is opened again.

An interrupted write may have happened or not. But it happened as a whole or not at all, everything after it works,
and what reads said once stays so.
"""

import itertools
import linecache
import shutil
import sys
from contextlib import suppress

import pytest

import sessiondb
from sessiondb.memtable import Memtable
from sessiondb.wal.head import Head

BATCH = {"x": 1, "y": 2, "z": 3}


def check(db, before, batch=BATCH):
    """All of the batch or none of it; then one more write; returns what is there."""
    table = db.table("t")
    found = dict(table)
    assert found in (before, before | batch)
    assert len(table) == len(found)
    assert table.get_many(found) == found
    return found


def check_on(db, open_db, before):
    """The same now, after another write, after a checkpoint, and after opening again."""
    seen = check(db, before)
    db.table("t")["next"] = 1
    before, seen = before | {"next": 1}, seen | {"next": 1}
    found = check(db, before)
    assert found.items() >= seen.items()
    db.checkpoint()
    assert check(db, before) == found
    db.table("t")["last"] = 1
    db.close()
    again = open_db()
    assert dict(again.table("t")) == found | {"last": 1}
    assert again.recovery_report.torn_tail is None
    assert again.stats().epoch == 1
    again.close()


OPERATIONS = [("pwrite", ".seg"), ("fdatasync", ".seg")]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("operation", "place"), OPERATIONS)
def test_ctrl_c_at_an_operation_on_files(open_db, files, operation, place, moment):
    db = open_db()
    table = db.table("t")
    table["a"] = 0
    hits = []

    def interrupt(done, path):
        if done == operation and path.endswith(place) and not hits:
            hits.append(path)
            raise KeyboardInterrupt

    setattr(files, moment, interrupt)
    with pytest.raises(KeyboardInterrupt):
        table.put_many(BATCH)
    check_on(db, open_db, {"a": 0})


@pytest.mark.parametrize(
    ("owner", "name"), [(Memtable, "apply"), (Head, "publish"), (Head, "publish_durable")], ids=lambda x: str(x)
)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_ctrl_c_at_a_step_of_a_commit(open_db, monkeypatch, owner, name, after):
    db = open_db()
    table = db.table("t")
    table["a"] = 0
    real = getattr(owner, name)
    hits = []

    def interrupt(*args):
        if hits:
            return real(*args)
        hits.append(name)
        if after:
            real(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, interrupt)
    with pytest.raises(KeyboardInterrupt):
        table.put_many(BATCH)
    check_on(db, open_db, {"a": 0})


def test_ctrl_c_in_the_middle_of_the_memtable_is_not_seen_in_half(open_db, monkeypatch):
    db = open_db()
    table = db.table("t")
    table["a"] = 0
    real = Memtable.apply
    hits = []

    def half(self, lsn, operations, newest_reader):
        if hits:
            return real(self, lsn, operations, newest_reader)
        hits.append(lsn)
        real(self, lsn, operations[:1], newest_reader)
        raise KeyboardInterrupt

    monkeypatch.setattr(Memtable, "apply", half)
    with pytest.raises(KeyboardInterrupt):
        table.put_many(BATCH)
    for look in (lambda: table.get("x"), lambda: len(table), lambda: dict(table.scan()), lambda: "y" in table):
        look()
        check(db, {"a": 0})
    check_on(db, open_db, {"a": 0})


CLEANING_UP = {"release_role", "release", "_zero_pending", "__exit__", "close"}
"""Steps of microseconds that run while another exception is on its way."""


def may_be_interrupted(file_name, line_number):
    """Whether an exception raised by a trace function behaves there as one raised by a signal handler.

    It does not at a ``with``, ``try`` or ``finally`` (a lock would be taken and never released), nor at the first line
    inside of them: the interpreter takes it for the line before. And a lock must be released somewhere.
    """
    text = linecache.getline(file_name, line_number).strip()
    before = linecache.getline(file_name, line_number - 1).strip()
    return (
        not text.startswith(("with ", "try:", "finally:"))
        and ".release" not in text
        and not before.startswith(("with ", "try:", "finally:"))
    )


def interrupt_at_line(number, folders):
    """A trace function that raises KeyboardInterrupt at the n-th line executed in the engine."""
    lines = itertools.count(1)
    hit = []

    def trace(frame, event, _):
        file_name = frame.f_code.co_filename
        if frame.f_code.co_name in CLEANING_UP or not any(folder in file_name for folder in folders):
            return None
        if event == "line" and may_be_interrupted(file_name, frame.f_lineno) and next(lines) == number:
            hit.append(f"{file_name.rsplit('/', 1)[1]}:{frame.f_lineno}")
            raise KeyboardInterrupt
        return trace

    return trace, hit


def traced(number, work):
    """Runs `work` with Ctrl-C at the n-th line; returns where it came, or nothing when it was over before."""
    trace, hit = interrupt_at_line(number, ["/sessiondb/", "/sessiondb_backends/"])
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(KeyboardInterrupt):
            work()
    finally:
        sys.settrace(before)
    print(number, *hit)  # shown when the test hangs
    return hit


pytestmark = pytest.mark.timeout(20)


def reopened(path, files):
    with sessiondb.open(path, files=files, lock_timeout=0) as db:
        assert db.recovery_report.torn_tail is None
        return dict(db.table("t"))


@pytest.mark.parametrize("level", ["always", "never"])
def test_ctrl_c_at_every_line_of_a_commit(tmp_path, files, level):
    """Line by line through `put_many`: afterwards reads, writes, a checkpoint and a new open agree."""
    for number in itertools.count(1):
        path = tmp_path / f"{number}.json"
        db = sessiondb.open(path, files=files)
        table = db.table("t")
        table["a"] = 0
        hit = traced(number, lambda table=table: table.put_many(BATCH, sync=level))
        seen = check(db, {"a": 0})
        table["next"] = 1
        found = check(db, {"a": 0, "next": 1})
        assert found.items() >= seen.items(), hit
        if number % 2:
            db.checkpoint()
        db.close()
        assert reopened(path, files) == found, hit
        if not hit:
            break
    assert number > 20


def test_ctrl_c_at_every_line_of_a_commit_and_then_close(tmp_path, files):
    """No write follows that would clean up: what reads said before close is what the next open finds."""
    for number in itertools.count(1):
        path = tmp_path / f"{number}.json"
        db = sessiondb.open(path, files=files)
        table = db.table("t")
        table["a"] = 0
        if number % 2:
            db.checkpoint()
        hit = traced(number, lambda table=table: table.put_many(BATCH))
        seen = check(db, {"a": 0})
        db.close()
        assert reopened(path, files) == seen, hit
        if not hit:
            break


def test_ctrl_c_at_every_line_of_a_checkpoint(tmp_path, files):
    for number in itertools.count(1, 4):
        path = tmp_path / f"{number}.json"
        db = sessiondb.open(path, files=files)
        table = db.table("t")
        table["a"] = 0
        db.checkpoint()
        table.put_many(BATCH)
        hit = traced(number, db.checkpoint)
        everything = {"a": 0} | BATCH
        assert dict(table) == everything, hit
        table["next"] = 1
        db.checkpoint()
        assert db.stats().log_records == 0, hit
        table["last"] = 1
        db.close()
        assert reopened(path, files) == everything | {"next": 1, "last": 1}, hit
        if not hit:
            break
    assert number > 50


@pytest.mark.parametrize("start", ["new", "killed"])
def test_ctrl_c_at_every_line_of_opening(tmp_path, files, start):
    """Whatever was made half is finished or replaced by the next process, and no record is lost."""
    killed = tmp_path / "killed"
    killed.mkdir()
    if start == "killed":
        live = tmp_path / "live"
        live.mkdir()
        with sessiondb.open(live / "x.json", files=files) as db:
            db.table("t").put_many(BATCH)
            shutil.copytree(live, killed, dirs_exist_ok=True)
    for number in itertools.count(1, 13):
        interrupted, after = tmp_path / f"{number}-interrupted", tmp_path / f"{number}-after"
        shutil.copytree(killed, interrupted)
        path = interrupted / "x.json"
        hit = traced(number, lambda path=path: sessiondb.open(path, files=files).close())
        shutil.copytree(interrupted, after)  # what the next process finds
        assert reopened(after / "x.json", files) == (BATCH if start == "killed" else {}), hit
        if not hit:
            break
    assert number > 200
