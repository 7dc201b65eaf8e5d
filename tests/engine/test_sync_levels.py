"""When a commit is durable: syncs are counted, never timed."""

import threading

import pytest

import sessiondb
from sessiondb import Position, UsageError
from sessiondb.testing import FaultyFiles


class Gate:
    """Holds every fdatasync of a segment until it is opened."""

    def __init__(self, files):
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        files.before = self

    def __call__(self, operation, path):
        if operation == "fdatasync" and path.endswith(".seg"):
            self.entered.release()
            assert self.open.wait(30)


def syncs_during(files, work):
    before = files.counts["fdatasync"]
    work()
    return files.counts["fdatasync"] - before


WRITES = {
    "put": lambda table, sync: table.put("a", 1, sync=sync),
    "insert": lambda table, sync: table.insert("new", 1, sync=sync),
    "patch": lambda table, sync: table.patch("object", {"n": 1}, sync=sync),
    "modify": lambda table, sync: table.modify("a", lambda n: n + 1, sync=sync),
    "put_many": lambda table, sync: table.put_many({"a": 1, "b": 2}, sync=sync),
    "delete_many": lambda table, sync: table.delete_many(["a"], sync=sync),
    "delete_prefix": lambda table, sync: table.delete_prefix("a", sync=sync),
}


@pytest.mark.parametrize("level", ["always", "interval", "never"])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_the_level_of_the_call_wins_over_the_level_of_the_database(open_db, files, write, level):
    for default in ("always", "interval", "never"):
        db = open_db(sync=default, sync_interval_ms=3_600_000)
        table = db.table("t")
        table.put_many({"a": 1, "object": {}}, sync="always")
        table.delete_many(["new"], sync="always")
        assert syncs_during(files, lambda table=table: write(table, level)) == (level == "always")
        db.close()


@pytest.mark.parametrize("level", ["always", "interval", "never"])
def test_what_takes_no_level_has_the_databases(open_db, files, level):
    db = open_db(sync=level, sync_interval_ms=3_600_000)
    table = db.table("t")

    def work():
        table["a"] = 1
        del table["a"]
        table.update(a=1, b=2)
        table.pop("a")
        table.setdefault("c", 3)
        table.popitem()
        table.replace("c", 3, 4)
        table.clear()
        db.drop("t")

    assert syncs_during(files, work) == (9 if level == "always" else 0)


def test_a_batch_takes_one_sync(db, files):
    assert syncs_during(files, lambda: db.table("t").put_many({f"{n}": n for n in range(1_000)})) == 1


def test_a_read_takes_no_sync(db, files):
    table = db.table("t")
    table["a"] = 1

    def read():
        assert table["a"] == table.get("a") == 1
        assert len(table) == len(list(table.scan())) == table.count() == 1
        assert "b" not in table
        db.stats()

    before = files.counts.copy()
    read()
    assert files.counts["fdatasync"] + files.counts["fsync"] == before["fdatasync"] + before["fsync"]


def test_a_call_that_changes_nothing_takes_no_sync_and_no_lsn(db, files):
    table = db.table("t")
    table["a"] = 1
    position = db.position()

    def nothing():
        assert table.delete_many(["b"]) == table.delete_prefix("b") == 0
        assert table.pop("b", None) is None
        assert table.replace("a", 2, 3) is False
        assert table.setdefault("a", 2) == 1
        assert table.put_many({}) == position
        assert db.drop("nothing") is False

    assert syncs_during(files, nothing) == 0
    assert db.position() == position


def test_sync_makes_everything_durable_with_one_sync(open_db, files):
    db = open_db(sync="never")
    last = [db.table("t").put(f"{n}", n) for n in range(10)][-1]
    assert db.stats().durable_lsn < last.lsn
    assert syncs_during(files, db.sync) == 1
    assert db.stats().durable_lsn == last.lsn
    assert syncs_during(files, db.sync) == 0
    assert db.sync() == last


def test_wait_durable_syncs_only_when_it_must(open_db, files):
    db = open_db(sync="never")
    first, second = db.table("t").put("a", 1), db.table("t").put("b", 2)
    assert syncs_during(files, lambda: db.wait_durable(first)) == 1
    assert syncs_during(files, lambda: db.wait_durable(second)) == 0  # the sync for the first covered it


@pytest.mark.parametrize("position", [Position(1, 2), Position(2, 1), Position(9, 9)], ids=str)
def test_a_position_that_the_store_has_not_reached_is_refused(db, position):
    assert db.table("t").put("a", 1) == Position(1, 1)
    with pytest.raises(UsageError, match=str(position)):
        db.wait_durable(position)


def test_positions_are_dense_ordered_and_printed(db):
    table = db.table("t")
    positions = [table.put("a", 1), table.insert("b", 2), table.put_many({"c": 3, "d": 4}), table.put("a", 5)]
    assert positions == [Position(1, lsn) for lsn in (1, 2, 3, 4)]
    assert positions == sorted(positions, reverse=True)[::-1]
    assert [str(position) for position in positions] == ["1:1", "1:2", "1:3", "1:4"]
    assert db.position() == positions[-1]


def test_the_interval_syncs_by_itself(open_db, files):
    synced = threading.Event()

    def watch(operation, path):
        if operation == "fdatasync":
            synced.set()

    db = open_db(sync="interval", sync_interval_ms=1)
    files.after = watch
    position = db.table("t").put("a", 1)
    assert synced.wait(30)
    db.wait_durable(position)
    files.after = None


def test_never_is_not_synced_before_close_but_then(open_db, files):
    db = open_db(sync="never", sync_interval_ms=1)
    before = files.counts["fdatasync"]
    db.table("t")["a"] = 1
    assert files.counts["fdatasync"] == before
    db.close()
    assert files.counts["fdatasync"] > before


def test_threads_share_a_sync(open_db, files):
    """One thread syncs; seven append meanwhile; one more sync serves all seven."""
    db = open_db()
    table = db.table("t")
    gate = Gate(files)
    first = threading.Thread(target=table.put, args=("first", 0))
    first.start()
    assert gate.entered.acquire(timeout=30)
    others = [threading.Thread(target=table.put, args=(f"{n}", n)) for n in range(7)]
    for thread in others:
        thread.start()
    while db.position().lsn < 8:
        threading.Event().wait(0.001)
    gate.open.set()
    for thread in [first, *others]:
        thread.join()
    files.before = None
    stats = db.stats()
    assert (stats.commits, stats.syncs, stats.durable_lsn) == (8, 2, 8)


def test_many_commits_of_many_threads_take_far_fewer_syncs(open_db, files):
    """Eight threads, 50 commits each; a sync lasts until all of the others have appended and wait for the next."""
    threads_max, rounds = 8, 50
    db = open_db()
    table = db.table("t")
    running = [threads_max]
    lock = threading.Lock()

    def wait_for_the_others(operation, path):
        if operation != "fdatasync":
            return
        durable = db.stats().durable_lsn
        while db.position().lsn < durable + running[0]:
            threading.Event().wait(0.0001)

    def work(name):
        for number in range(rounds):
            table.put(f"{name}-{number}", number)
        with lock:
            running[0] -= 1

    files.before = wait_for_the_others
    threads = [threading.Thread(target=work, args=(name,)) for name in range(threads_max)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    files.before = None
    stats = db.stats()
    assert stats.commits == stats.durable_lsn == threads_max * rounds == len(table)
    # One sync for the first of a round, one for all others, who appended while it ran.
    assert stats.syncs <= 2 * rounds + threads_max


def test_a_commit_is_not_acknowledged_by_a_sync_that_began_before_its_append(open_db, files):
    db = open_db()
    table = db.table("t")
    gate = Gate(files)
    first = threading.Thread(target=table.put, args=("first", 0))
    first.start()
    assert gate.entered.acquire(timeout=30)
    done = threading.Event()
    late = threading.Thread(target=lambda: (table.put("late", 1), done.set()))
    late.start()
    while db.position().lsn < 2:
        threading.Event().wait(0.001)
    assert not done.is_set()
    gate.open.set()
    first.join()
    late.join()
    files.before = None
    assert db.stats().syncs == 2


def test_nobody_appends_under_a_sync_or_waits_for_one_who_need_not(open_db, files):
    """While one thread syncs, commits that need no sync go on, and so do reads."""
    db = open_db()
    table = db.table("t")
    gate = Gate(files)
    first = threading.Thread(target=table.put, args=("first", 0))
    first.start()
    assert gate.entered.acquire(timeout=30)
    for number in range(100):
        table.put("a", number, sync="never")
        assert table["a"] == number
    assert len(table) == 2
    gate.open.set()
    first.join()


def test_an_unknown_level_is_refused_before_anything_is_logged(db):
    table = db.table("t")
    table.put_many({"a": 1, "object": {}})
    for write in WRITES.values():
        with pytest.raises(UsageError, match="sometimes"):
            write(table, "sometimes")
    with pytest.raises(UsageError, match="sometimes"):
        db.drop("t", sync="sometimes")
    assert db.position() == Position(1, 1)


def test_the_log_of_a_real_disk_is_synced_for_real(tmp_path):
    files = FaultyFiles(really_sync=True)
    with sessiondb.open(tmp_path / "x.json", files=files) as db:
        db.table("t")["a"] = 1
        assert files.counts["fdatasync"] == 1
