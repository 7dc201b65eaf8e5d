"""Behind a transaction pooler: nothing that one transaction leaves behind is needed by the next, or harms it."""

import pytest

import sessiondb
from postgres.fixtures import port_of
from postgres.pooler import Pooler
from postgres.test_postgres_statements import use_everything
from sessiondb.errors import BackendError
from sessiondb.testing import FaultyFiles
from sessiondb_backends.postgres import PostgresBackend
from sessiondb_backends.postgres_idle import IDLE_S


@pytest.fixture
def pooler(pg_dsn):
    between = Pooler(port_of(pg_dsn))
    yield between
    between.close()


@pytest.fixture
def path(pooler, pg_dsn, pg_path):
    return pg_path.replace(f":{port_of(pg_dsn)}/", f":{pooler.port}/")


LEFT_BEHIND = {
    "settings": "SELECT name FROM pg_settings WHERE source = 'session' AND name NOT IN ('client_encoding')",
    "prepared statements": "SELECT name FROM pg_prepared_statements",
    "cursors": "SELECT name FROM pg_cursors WHERE name <> ''",
    "channels": "SELECT * FROM pg_listening_channels()",
    "locks": "SELECT locktype FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'",
    "temporary tables": "SELECT relname FROM pg_class WHERE relpersistence = 't'",
}


def nothing_left_behind(pooler):
    for statement in LEFT_BEHIND.values():
        for answer in pooler.ask_all(statement.encode()):
            assert b"SELECT 0\0" in answer, answer


def test_everything_works_when_each_transaction_has_another_connection(pooler, path):
    use_everything(f"{path}&prepare=off")
    nothing_left_behind(pooler)
    longest = max(pooler.used, key=len)
    assert len(longest) > 10
    assert len(set(longest)) > 3


def test_a_database_is_written_read_let_go_and_taken_over(pooler, path, tmp_path):
    url = f"postgresql:{path}&prepare=off&log_dir={tmp_path}"
    for host in ("one", "other", "one"):
        with sessiondb.open(f"{url}/{host}", cache_bytes=0) as db:
            table = db.table("t", indexes=["n"])
            idle = db._store.backend._idle
            now = [0.0]
            idle.clock = lambda: now[0]  # noqa: B023
            for round in range(3):
                table.put_many({f"{n:03}": {"n": n, "round": round} for n in range(200)})
                scan = table.scan()
                db.checkpoint()
                now[0] += IDLE_S
                idle.tick()
                assert [key for key, _ in table.find({"n": 7})] == ["007"]
                assert len(list(scan)) == 200
                assert table["199"] == {"n": 199, "round": round}
            assert db.check() == []
    nothing_left_behind(pooler)


def test_prepared_statements_say_what_to_do_where_they_do_not_work(pooler, path):
    with pytest.raises(BackendError, match=r"prepared statement .* does not exist.*next: behind a .* prepare=off"):
        use_everything(path)


def test_a_client_that_goes_away_in_a_transaction_leaves_it_to_nobody(pooler, path):
    first = PostgresBackend.open(FaultyFiles(), f"{path}&prepare=off", create=True)
    link = first._links.take()
    link.command(b"BEGIN; SET LOCAL lock_timeout = 1234")
    link.drop()
    use_everything(f"{path}&prepare=off")
    first.close()
    nothing_left_behind(pooler)


def test_what_a_session_keeps_is_found(pooler, path):
    """The test of the test."""
    backend = PostgresBackend.open(FaultyFiles(), f"{path}&prepare=off", create=True)
    link = backend._links.take()
    link.pgconn.exec_(b"SET lock_timeout = 1234")
    backend._links.give(link)
    backend.close()
    with pytest.raises(AssertionError, match="lock_timeout"):
        nothing_left_behind(pooler)
