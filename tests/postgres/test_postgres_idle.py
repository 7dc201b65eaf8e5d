"""Nobody reads: the newest state keeps no transaction open. And nothing that is being read is lost because of that."""

import os
import threading

import pytest

import sessiondb
from postgres.proxy import Wire
from sessiondb.backend import Position, TableChanges
from sessiondb.errors import BackendUnavailableError, FencedError
from sessiondb.query import Order
from sessiondb.testing import FaultyFiles
from sessiondb.testing.backend_under_test import advance, contents, json_images, no_pause
from sessiondb_backends.postgres import PostgresBackend
from sessiondb_backends.postgres_idle import IDLE_S


class Opened:
    """A backend whose clock is the test's."""

    def __init__(self, path, **how):
        self.backend = PostgresBackend.open(FaultyFiles(), path, **{"create": True, **how})
        self.idle = self.backend._idle
        self.now = 0.0
        self.idle.clock = lambda: self.now
        self.idle._wake = lambda: None  # no thread: the test looks itself

    def wait(self, seconds=IDLE_S):
        self.now += seconds
        return self.idle.tick()

    def fill(self, lsn, count=300):
        images = {f"{n:04}": b'{"n":%d,"at":%d}' % (n * 7 % count, lsn) for n in range(count)}
        self.backend.apply({"t": TableChanges("json", False, images)}, Position(1, lsn - 1), Position(1, lsn), no_pause)


@pytest.fixture
def opened(pg_path):
    found = Opened(pg_path)
    found.fill(1)
    yield found
    found.backend.close()


@pytest.fixture
def transactions(pg_admin, pg_schema):
    """How many transactions our connections have open: those that hold a snapshot keep vacuum from its work."""

    def count():
        found = pg_admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND state = 'idle in transaction'",
            [pg_schema],
        ).fetchone()
        return found[0]

    return count


@pytest.fixture
def pg_path(pg_path, pg_schema):
    return f"{pg_path}&application_name={pg_schema}"


def at_of(rows):
    return {image.rpartition(b":")[2] for _, image in rows}


def test_the_newest_state_is_let_go_when_nobody_has_read_it_for_a_while(opened, transactions):
    view = opened.backend.read()
    assert transactions() == 1
    assert opened.wait(IDLE_S - 1) == 1
    assert transactions() == 1
    assert view.get("t", "0000") == b'{"n":0,"at":1}'  # read again: it is in use
    assert opened.wait(IDLE_S - 1) == 1
    assert transactions() == 1
    assert opened.wait(1) is None
    assert transactions() == 0
    assert view.get("t", "0000") == b'{"n":0,"at":1}'
    assert transactions() == 1
    assert opened.wait() is None
    assert transactions() == 0


def test_what_is_being_read_goes_on_after_a_pause_and_a_checkpoint(opened, transactions):
    """The scans had let their transaction go; the checkpoint takes it back before it makes their state an old one."""
    view = opened.backend.read()
    scan = view.scan("t")
    by_cursor = view.find("t", (), (Order("n", True, "integer"),)).rows
    first = [next(scan), next(by_cursor)]
    assert opened.wait() is None
    assert transactions() == 0
    opened.fill(2)
    assert transactions() == 1
    assert opened.backend.read().get("t", "0000") == b'{"n":0,"at":2}'
    for begun, rows in zip(first, (scan, by_cursor), strict=True):
        seen = [begun, *rows]
        assert len(dict(seen)) == len(seen) == 300
        assert at_of(seen) == {b"1}"}


@pytest.mark.parametrize("pauses", [1, 2])
def test_a_sorted_find_goes_on_after_a_pause(opened, pauses):
    """Its cursor has ended with the transaction; the connection that comes next may be the same one."""
    view = opened.backend.read()
    whole = list(view.find("t", (), (Order("n", True, "integer"),)).rows)
    rows = view.find("t", (), (Order("n", True, "integer"),)).rows
    found = []
    for number, row in enumerate(rows):
        found.append(row)
        if number in (3, 100):
            for _ in range(pauses):
                opened.wait()
    assert found == whole
    list(view.find("t", (), (Order("n", True, "integer"),), 1).rows)
    del rows
    assert view.get("t", "0000") == b'{"n":0,"at":1}'


def test_an_older_state_keeps_its_transaction(opened, transactions):
    old = opened.backend.read()
    opened.fill(2)
    new = opened.backend.read()
    for _ in range(3):
        assert opened.wait() == IDLE_S
        assert transactions() == 1
    assert at_of(old.scan("t")) == {b"1}"}
    assert at_of(new.scan("t")) == {b"2}"}
    old.close()
    del old
    assert opened.wait() is None
    assert transactions() == 0  # also that of the old one, which was garbage


def test_nothing_is_let_go_while_a_checkpoint_is_under_way(opened, transactions):
    view = opened.backend.read()
    waits = []

    def pause():
        # As the thread would: another one than that of the checkpoint.
        thread = threading.Thread(target=lambda: waits.append(opened.wait()))
        thread.start()
        thread.join()

    opened.backend.apply(json_images(a=b"1"), Position(1, 1), Position(1, 2), pause)
    assert waits
    assert set(waits) == {IDLE_S}
    assert transactions() == 1
    assert view.get("t", "a") is None
    assert view.get("t", "0000") == b'{"n":0,"at":1}'


def test_a_state_that_somebody_reads_just_now_is_left_alone(opened, transactions):
    view = opened.backend.read()
    ticks = []

    def question(link):
        thread = threading.Thread(target=lambda: ticks.append(opened.wait()))
        thread.start()
        thread.join()
        return link.rows(b"SELECT 1")

    assert view.source.ask("look", question) == [(1,)]
    assert ticks == [IDLE_S]
    assert transactions() == 1


def test_whoever_only_reads_keeps_the_transaction(opened, pg_path, transactions):
    """When the owner's next checkpoint comes is not known there."""
    reader = Opened(pg_path, create=False, read_only=True)
    view = reader.backend.read()
    reader.wait()
    assert transactions() == 1
    opened.fill(2)
    assert at_of(view.scan("t")) == {b"1}"}
    reader.backend.close()


def test_whoever_was_taken_over_while_nothing_was_pinned_is_told_so_at_the_next_read(opened, pg_path):
    view = opened.backend.read()
    opened.wait()
    other = Opened(pg_path)
    other.backend.take_over(b"o" * 16, b"", "other", Position(1, 1))
    for _ in range(2):
        with pytest.raises(FencedError, match=r"a view of .* at 1:1 has ended.*another owner.*at 2:1 now; next: open"):
            view.get("t", "0000")
    with pytest.raises(FencedError):
        opened.fill(2)
    other.backend.close()


def test_whoever_was_taken_over_while_it_read_goes_on_reading(opened, pg_path, transactions):
    view = opened.backend.read()
    other = Opened(pg_path)
    other.backend.take_over(b"o" * 16, b"", "other", Position(1, 1))
    assert opened.wait() == IDLE_S
    assert transactions() == 1
    assert at_of(view.scan("t")) == {b"1}"}
    other.backend.close()


def test_a_server_that_is_away_changes_nothing(pg_dsn, pg_path):
    from postgres.fixtures import port_of

    wire = Wire(port_of(pg_dsn))
    opened = Opened(pg_path.replace(f":{port_of(pg_dsn)}/", f":{wire.port}/"))
    opened.fill(1)
    view = opened.backend.read()
    opened.wait()
    wire.is_up = False
    wire.cut()
    with pytest.raises(BackendUnavailableError):
        opened.fill(2)  # it could not take back what was let go
    assert opened.wait() is None
    wire.is_up = True
    assert at_of(view.scan("t")) == {b"1}"}
    wire.is_up = False
    wire.cut()
    assert opened.wait() == IDLE_S
    wire.is_up = True
    opened.fill(2)
    assert at_of(view.scan("t")) == {b"1}"}
    view.close()
    opened.backend.close()
    wire.close()


def test_a_transaction_that_the_server_ended_is_taken_back_before_a_checkpoint(opened, pg_admin, transactions):
    """As `idle_in_transaction_session_timeout` does, which may be shorter than our patience."""
    view = opened.backend.read()
    scan = view.scan("t")
    next(scan)
    pid = view.source._link.info.backend_pid
    pg_admin.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
    opened.fill(2)
    assert at_of(scan) == {b"1}"}


def test_a_closed_backends_views_are_found_again(opened, transactions):
    view = opened.backend.read()
    opened.wait()
    opened.backend.close()
    assert contents(view)["t"][0] == "json"
    assert transactions() == 1
    view.close()
    del view
    assert transactions() == 0


# ---- the thread


def idle_threads():
    return [thread for thread in threading.enumerate() if thread.name == "sessiondb-postgres-idle"]


def test_a_thread_lets_go_and_sleeps_and_ends_with_the_backend(pg_path, transactions):
    now = [0.0]
    backend = PostgresBackend.open(FaultyFiles(), pg_path, create=True)
    backend._idle.clock = lambda: now[0]
    before = set(idle_threads())
    view = advance(backend, json_images(a=b"1"))
    (thread,) = set(idle_threads()) - before
    for _ in range(3):
        assert view.get("t", "a") == b"1"
        now[0] += IDLE_S
        backend._idle._wake()
        while view.source.is_pinned:
            pass
        while transactions():
            pass
    backend.close()
    assert not thread.is_alive()


def test_reading_only_takes_no_thread(opened, pg_path):
    before = idle_threads()
    reader = PostgresBackend.open(FaultyFiles(), pg_path, create=False, read_only=True)
    reader.read().close()
    assert idle_threads() == before
    reader.close()


def test_an_idle_database_lets_go_and_goes_on(pg_path, tmp_path, transactions):
    with sessiondb.open(f"postgresql:{pg_path}&log_dir={tmp_path}", cache_bytes=0) as db:
        db.table("t")["a"] = {"n": 1}
        db.checkpoint()
        now = [0.0]
        idle = db._store.backend._idle
        idle.clock = lambda: now[0]
        base = db._store.views.triple.base
        base.source.used, base.source._clock = 0.0, idle.clock
        now[0] = IDLE_S
        idle._wake()
        while transactions():
            pass
        assert db.table("t")["a"] == {"n": 1}
        db.table("t")["a"] = {"n": 2}
        db.checkpoint()
        assert db.table("t")["a"] == {"n": 2}


def test_a_forked_child_leaves_the_parents_transactions_and_thread_alone(pg_path, transactions):
    backend = PostgresBackend.open(FaultyFiles(), pg_path, create=True)
    view = advance(backend, json_images(a=b"1"))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            backend.abandon()
            backend.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert transactions() == 1
    assert view.get("t", "a") == b"1"
    backend.close()
