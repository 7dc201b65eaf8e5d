"""The server dies, stops, or is cut off: nothing is lost, nothing waits for ever, and reads find their state again."""

import signal
import threading

import psycopg
import pytest

from postgres.proxy import Wire
from sessiondb.backend import Position, TableChanges
from sessiondb.errors import BackendUnavailableError, FencedError
from sessiondb.testing import FaultyFiles
from sessiondb.testing.backend_under_test import contents, json_images, no_pause
from sessiondb_backends import postgres_link
from sessiondb_backends.postgres import PostgresBackend


def open_at(path, **how):
    return PostgresBackend.open(FaultyFiles(), path, create=True, **how)


def path_of(dsn, **parameters):
    return f"{dsn.partition(':')[2]}?" + "&".join(f"{name}={value}" for name, value in parameters.items())


@pytest.fixture
def wire(pg_dsn):
    passed = Wire(int(psycopg.conninfo.conninfo_to_dict(pg_dsn)["port"]))
    yield passed
    passed.close()


@pytest.fixture
def cut_path(wire, pg_dsn, pg_schema):
    """A location behind the wire."""
    dsn = pg_dsn.replace(f":{psycopg.conninfo.conninfo_to_dict(pg_dsn)['port']}/", f":{wire.port}/")
    return path_of(dsn, schema=pg_schema, log_dir="/nowhere")


@pytest.fixture
def backend(cut_path):
    opened = open_at(cut_path)
    opened.apply(json_images(a=b"1"), Position(1, 0), Position(1, 1), no_pause)
    yield opened
    opened.close()


# ---- COMMIT


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_commit_whose_answer_is_lost_is_made_once(backend, wire, moment):
    wire.cuts.append(moment)
    backend.apply(json_images(a=b"2", b=b"2"), Position(1, 1), Position(1, 2), no_pause)
    assert wire.cuts == []
    assert backend.position() == Position(1, 2)
    assert contents(backend.read()) == {"t": ("json", {"a": b"2", "b": b"2"})}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_commit_that_is_lost_again_and_again_is_unavailable_and_may_be_made_again(backend, wire, moment, monkeypatch):
    monkeypatch.setattr("sessiondb_backends.postgres.PAUSE_S", 0.0)
    wire.cuts.extend([moment] * 4)
    with pytest.raises(BackendUnavailableError):
        backend.apply(json_images(a=b"2"), Position(1, 1), Position(1, 2), no_pause)
    assert wire.cuts == []
    assert backend.position() == Position(1, 1 if moment == "before" else 2)
    backend.apply(json_images(a=b"2"), Position(1, 1), Position(1, 2), no_pause)
    assert contents(backend.read()) == {"t": ("json", {"a": b"2"})}


def test_a_commit_that_is_lost_to_another_owner_is_fenced(backend, wire, pg_dsn, pg_schema):
    """Between the lost COMMIT and the second try another owner takes the store over."""
    wire.cuts.append("before")
    other = open_at(path_of(pg_dsn, schema=pg_schema))
    other.apply({}, Position(1, 1), Position(2, 1), no_pause)
    with pytest.raises(FencedError, match=r"is at 2:1, not at 1:1: another owner"):
        backend.apply(json_images(a=b"2"), Position(1, 1), Position(1, 2), no_pause)
    assert contents(other.read()) == {"t": ("json", {"a": b"1"})}
    other.close()


def test_a_commit_that_the_server_is_not_sure_of_is_made_again(backend, monkeypatch):
    """Cancelled while it waits for a standby, a COMMIT succeeds with a warning."""
    commits = []
    command = postgres_link.Link.command

    def spy(link, statement):
        command(link, statement)
        if statement == b"COMMIT":
            commits.append(link)
            if len(commits) == 1:
                link.notes.append("canceling wait for synchronous replication due to user request")

    monkeypatch.setattr(postgres_link.Link, "command", spy)
    backend.apply(json_images(a=b"2"), Position(1, 1), Position(1, 2), no_pause)
    assert len(commits) == 2
    assert commits[0].closed
    assert backend.position() == Position(1, 2)


# ---- reads


def test_a_view_finds_its_state_again_when_its_connection_was_cut(backend, wire):
    view = backend.read()
    scan = view.scan("t")
    wire.cut()
    assert view.get("t", "a") == b"1"
    wire.cut()
    assert list(scan) == [("a", b"1")]
    wire.cut()
    assert backend.position() == Position(1, 1)


def test_an_older_view_whose_connection_was_cut_says_that_its_state_is_gone(backend, wire):
    view = backend.read()
    backend.apply(json_images(a=b"2"), Position(1, 1), Position(1, 2), no_pause)
    wire.cut()
    for _ in range(2):
        with pytest.raises(BackendUnavailableError, match=r"view .* at 1:1, and the store is at 1:2 now; next: take"):
            view.get("t", "a")
    assert backend.read().get("t", "a") == b"2"


def test_a_sorted_find_goes_on_where_it_was_cut(backend, wire):
    from sessiondb.query import Order

    images = {f"{n:04}": b'{"n":%d}' % (n * 7 % 100) for n in range(3_000)}
    backend.apply({"s": TableChanges("json", False, images)}, Position(1, 1), Position(1, 2), no_pause)
    view = backend.read()
    whole = list(view.find("s", (), (Order("n", True, "integer"),)).rows)
    rows = view.find("s", (), (Order("n", True, "integer"),)).rows
    found = []
    for number, row in enumerate(rows):
        found.append(row)
        if number in (5, 500, 2_000):
            wire.cut()
    assert found == whole
    assert len(found) == 3_000


def test_a_server_that_cannot_be_reached_is_unavailable_and_not_empty(backend, wire, cut_path):
    view = backend.read()
    wire.is_up = False
    wire.cut()
    for call in (
        backend.position,
        backend.read,
        lambda: view.get("t", "a"),
        lambda: list(view.scan("t")),
        lambda: backend.apply({}, Position(1, 1), Position(1, 2), no_pause),
        lambda: PostgresBackend.exists(FaultyFiles(), cut_path),
        lambda: open_at(cut_path),
    ):
        with pytest.raises(BackendUnavailableError, match="next: look at the server"):
            call()
    assert "cannot" in backend.check()[0]
    wire.is_up = True
    assert view.get("t", "a") == b"1"
    backend.apply({}, Position(1, 1), Position(1, 2), no_pause)
    assert backend.position() == Position(1, 2)


def test_a_transaction_that_the_server_ends_for_being_idle_is_begun_again(pg_dsn, pg_schema, pg_admin):
    path = path_of(pg_dsn, schema=pg_schema, options="-cidle_in_transaction_session_timeout%3D50")
    backend = open_at(path)
    backend.apply(json_images(a=b"1"), Position(1, 0), Position(1, 1), no_pause)
    view = backend.read()
    ended = view.source._link.info.backend_pid
    while pg_admin.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [ended]).fetchone():
        pass
    assert view.get("t", "a") == b"1"
    backend.close()


def test_connections_that_died_while_they_waited_are_replaced_at_once(backend, wire):
    views = [backend.read() for _ in range(3)]
    for view in views:
        view.close()
    del view, views
    backend._links.tidy()
    assert len(backend._links._idle) == 2
    wire.cut()
    assert backend.position() == Position(1, 1)
    assert backend.read().get("t", "a") == b"1"


# ---- the server itself


def test_kill_9_of_the_server_during_apply_leaves_the_old_state_or_the_new_one(own_server):
    path = path_of(own_server.dsn, timeout=20)
    backend = open_at(path)
    keys = [f"{n:05}" for n in range(3_000)]
    backend.apply(
        {"t": TableChanges("json", False, dict.fromkeys(keys, b"0"))}, Position(1, 0), Position(1, 1), no_pause
    )
    for lsn, steps in ((1, 3), (2, 30), (3, 50)):
        left = [steps]

        def kill_at(left=left):
            left[0] -= 1
            if left[0] == 0:
                own_server.kill()

        images = dict.fromkeys(keys, b"%d" % lsn)
        with pytest.raises(BackendUnavailableError):
            backend.apply({"t": TableChanges("json", False, images)}, Position(1, lsn), Position(1, lsn + 1), kill_at)
        own_server.start()
        view = backend.read()
        assert view.position == Position(1, lsn)
        assert dict(view.scan("t")) == dict.fromkeys(keys, b"%d" % (lsn - 1))
        assert backend.check() == []
        backend.apply({"t": TableChanges("json", False, images)}, Position(1, lsn), Position(1, lsn + 1), no_pause)
    own_server.kill()
    own_server.start()
    assert backend.position() == Position(1, 4)
    assert dict(backend.read().scan("t")) == images
    backend.close()


def test_a_stopped_server_is_late_and_then_goes_on(own_server, monkeypatch):
    """SIGSTOP: it answers nothing and closes nothing, and the kernel answers keepalives for it."""
    monkeypatch.setattr("sessiondb_backends.postgres.PAUSE_S", 0.0)
    path = path_of(own_server.dsn, timeout=0.3, connect_timeout=2)
    backend = open_at(path)
    backend.apply(json_images(a=b"1"), Position(1, 0), Position(1, 1), no_pause)
    view = backend.read()
    idle = backend.read()
    idle.close()
    own_server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(BackendUnavailableError, match="next: look at the server"):
            view.get("t", "a")
        failed = []

        def write():
            try:
                backend.apply(json_images(a=b"2"), Position(1, 1), Position(1, 2), no_pause)
            except BackendUnavailableError as error:
                failed.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        writer.join(60)
        assert len(failed) == 1
    finally:
        own_server.signal(signal.SIGCONT)
    assert view.get("t", "a") == b"1"
    backend.apply(json_images(a=b"2"), Position(1, 1), Position(1, 2), no_pause)
    assert backend.read().get("t", "a") == b"2"
    backend.close()


def test_ctrl_c_in_a_statement_closes_the_connection_and_cancels_nothing(backend, monkeypatch):
    """A COMMIT that is cancelled while it waits for a standby says that it is done."""
    link = backend._links.take()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(postgres_link, "_within", lambda steps, patience: _then(steps, interrupt))
    with pytest.raises(KeyboardInterrupt):
        link.rows(b"SELECT pg_sleep(100)")
    assert link.closed


def _then(steps, action):
    yield next(steps)
    action()
