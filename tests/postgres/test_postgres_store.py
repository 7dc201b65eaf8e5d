"""The PostgreSQL store: what is told apart, who may do what, what others find there, and what is never said."""

import threading
from pathlib import Path

import pytest

from sessiondb.backend import Position, TableChanges
from sessiondb.errors import (
    BackendError,
    CorruptionError,
    FencedError,
    SessionDBError,
    UnsupportedFormatError,
    WrongBackendError,
)
from sessiondb.query import Condition, Equal
from sessiondb.testing import FaultyFiles
from sessiondb.testing.backend_under_test import advance, contents, declare, deletions, json_images, no_pause
from sessiondb_backends import postgres_link
from sessiondb_backends.postgres import PostgresBackend


def open_at(path, **how):
    return PostgresBackend.open(FaultyFiles(), path, **{"create": True, **how})


@pytest.fixture
def backend(pg_path):
    opened = open_at(pg_path)
    opened.apply(json_images(a=b'{"n":1}', b=b'{"n":2}'), Position(1, 0), Position(1, 1), no_pause)
    yield opened
    opened.close()


@pytest.fixture
def execute(pg_admin, pg_schema):
    """SQL as somebody else on the server runs it, in our schema."""
    pg_admin.execute(f"SET search_path = {pg_schema}")
    return pg_admin.execute


# ---- what is there


@pytest.mark.parametrize(
    "table",
    [
        "sessiondb_meta(ns text, uuid uuid, format integer, mode text, epoch bigint)",
        "sessiondb_records(ns text, key text)",
        "sessiondb_meta(ns text, uuid uuid, format integer, mode text, epoch bigint, lsn bigint)",  # of any language
        "sessiondb_tables(id bigint)",
    ],
)
def test_tables_of_another_program_are_refused_and_untouched(pg_path, pg_schema, execute, table):
    execute(f"CREATE SCHEMA {pg_schema}")
    execute(f"CREATE TABLE {table}")
    for call in (lambda: PostgresBackend.exists(FaultyFiles(), pg_path), lambda: open_at(pg_path)):
        with pytest.raises(WrongBackendError, match=r"expected .* found a relation sessiondb_\w+ .* untouched; next:"):
            call()
    relations = "SELECT count(*) FROM pg_class WHERE relnamespace = %s::regnamespace"
    assert execute(relations, [pg_schema]).fetchone() == (1,)


def test_other_tables_in_the_schema_are_left_alone(pg_path, pg_schema, execute):
    execute(f"CREATE SCHEMA {pg_schema}")
    execute("CREATE TABLE users(name text); INSERT INTO users VALUES ('x')")
    execute("CREATE VIEW team_users AS SELECT 1 AS one")
    backend = open_at(pg_path)
    advance(backend, json_images("users", a=b'{"n":1}')).close()
    backend.settle()
    assert execute("SELECT * FROM users").fetchall() == [("x",)]
    assert execute("SELECT * FROM team_users").fetchall() == [(1,)]
    assert execute("SELECT * FROM team_users_2").fetchall() == [("a", "1")]
    backend.close()


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM sessiondb_meta",
        "DROP TABLE sessiondb_records",
        "UPDATE sessiondb_meta SET lsn = -1",
        "UPDATE sessiondb_tables SET kind = 'text'",
        """UPDATE sessiondb_tables SET fields = '{"a":1}'""",
    ],
)
def test_a_part_that_is_missing_or_wrong_is_damage_and_never_empty(backend, pg_path, execute, damage):
    backend.close()
    execute(damage)
    for create in (False, True):
        with pytest.raises(CorruptionError, match="next:"):
            open_at(pg_path, create=create)


def test_tables_that_vanish_under_an_open_store_are_damage(backend, execute):
    execute("DROP TABLE sessiondb_records")
    view = backend.read()
    for call in (
        lambda: view.get("t", "a"),
        lambda: backend.apply(json_images(a=b"1"), Position(1, 1), Position(1, 2), no_pause),
    ):
        with pytest.raises(CorruptionError, match="missing"):
            call()
    assert backend.position() == Position(1, 1)
    assert "missing" in " ".join(backend.check())


def test_another_store_in_the_place_of_this_one_is_noticed(backend, execute):
    execute("UPDATE sessiondb_meta SET uuid = gen_random_uuid()")
    for call in (backend.position, lambda: backend.apply({}, Position(1, 1), Position(1, 2), no_pause)):
        with pytest.raises(CorruptionError, match="another store"):
            call()
    assert "another store" in backend.check()[0]


def test_a_store_of_another_mode_is_of_a_later_version(backend, pg_path, execute):
    execute("UPDATE sessiondb_meta SET mode = 'direct'")
    with pytest.raises(UnsupportedFormatError, match=r"mode direct.* upgrade"):
        open_at(pg_path)
    with pytest.raises(UnsupportedFormatError):
        backend.apply({}, Position(1, 1), Position(1, 2), no_pause)


def test_check_finds_records_that_are_not_as_they_were_written(backend, execute):
    advance(backend, {"b": TableChanges("bytes", False, {"x": b"\0"})}).close()
    assert backend.check() == []
    execute("UPDATE sessiondb_records SET record = NULL WHERE key = 'a'")
    execute("UPDATE sessiondb_records SET blob = NULL, record = '1' WHERE key = 'x'")
    execute("INSERT INTO sessiondb_records SELECT ns, 'ghost', key, record, blob, NULL, 1 FROM sessiondb_records")
    problems = " | ".join(backend.check())
    assert "'a' of table 't'" in problems
    assert "'x' of table 'b'" in problems
    assert "'ghost'" in problems


def test_namespaces_of_one_schema_know_nothing_of_each_other(backend, pg_path):
    other = open_at(f"{pg_path}-2")
    advance(other, declare("t", {"z": b'{"n":9}'}, n=True)).close()
    assert contents(other.read()) == {"t": ("json", {"z": b'{"n":9}'})}
    assert contents(backend.read()) == {"t": ("json", {"a": b'{"n":1}', "b": b'{"n":2}'})}
    assert other.read().find("t", (Condition("n", Equal(1)),)).rows.__next__  # an index of its own
    assert dict(other.read().find("t", (Condition("n", Equal(1)),)).rows) == {}
    advance(other, deletions("t", dropped=True)).close()
    assert backend.read().count("t") == 2
    assert other.identity() != backend.identity()
    other.close()


def test_many_may_make_the_same_store_at_once(pg_path):
    start = threading.Barrier(6)
    made, failed = [], []

    def make():
        start.wait()
        try:
            backend = open_at(pg_path)
            made.append(backend.identity())
            backend.close()
        except SessionDBError as error:
            failed.append(error)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(made) == 6
    assert len(set(made)) == 1


def test_reading_only_makes_and_changes_nothing(pg_path, pg_schema, pg_admin):
    with pytest.raises(BackendError, match="no store"):
        open_at(pg_path, read_only=True)
    assert pg_admin.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [pg_schema]).fetchone() is None
    open_at(pg_path).close()
    where = f"SELECT xmin::text FROM {pg_schema}.sessiondb_meta"
    before = pg_admin.execute(where).fetchall()
    backend = open_at(pg_path, read_only=True)
    with pytest.raises(BackendError, match="open it for writing"):
        backend.apply({}, Position(1, 0), Position(1, 1), no_pause)
    backend.close()
    assert pg_admin.execute(where).fetchall() == before


def test_a_document_that_the_server_does_not_take_is_stored_all_the_same(backend, caplog):
    """Nested more deeply than the server's JSON parser goes."""
    deep = b"[" * 40_000 + b"]" * 40_000
    view = advance(backend, {"t": TableChanges("json", False, {"deep": deep, "c": b'{"n":1}'})})
    assert view.get("t", "deep") == deep
    assert [key for key, _ in view.find("t", (Condition("n", Equal(1)),)).rows if key != "deep"] == ["a", "c"]
    assert "stored as bytes" in caplog.text
    view.close()


def test_the_ddl_can_be_read_and_run_first(pg_path, pg_admin, pg_schema):
    statements = PostgresBackend.ddl(pg_path)
    assert statements[0] == f'CREATE SCHEMA IF NOT EXISTS "{pg_schema}"'
    for statement in statements * 2:
        pg_admin.execute(statement)
    assert PostgresBackend.exists(FaultyFiles(), pg_path) is False
    backend = open_at(pg_path)
    assert contents(backend.read()) == {}
    backend.close()


# ---- owners


def test_the_owner_before_is_fenced_and_changes_nothing(backend, pg_path):
    other = open_at(pg_path)
    other.apply({}, Position(1, 1), Position(2, 1), no_pause)
    with pytest.raises(FencedError, match=r"2:1, not at 1:1: another owner .* next: stop writing here"):
        backend.apply(json_images(a=b"9"), Position(1, 1), Position(1, 2), no_pause)
    assert contents(other.read()) == {"t": ("json", {"a": b'{"n":1}', "b": b'{"n":2}'})}
    other.close()


def test_of_two_owners_at_once_one_is_fenced(backend, pg_path):
    """The second waits for the first one's transaction, and then finds another position."""
    other = open_at(pg_path)
    inside, go_on = threading.Event(), threading.Event()
    fenced = []

    def pause():
        inside.set()
        go_on.wait(10)

    def write(owner, image, pace, lsn):
        try:
            owner.apply(json_images(a=image), Position(1, 1), Position(1, lsn), pace)
        except FencedError:
            fenced.append(image)

    first = threading.Thread(target=write, args=(backend, b'"first"', pause, 2))
    first.start()
    assert inside.wait(10)
    second = threading.Thread(target=write, args=(other, b'"second"', no_pause, 3))
    second.start()
    go_on.set()
    first.join()
    second.join()
    assert fenced == [b'"second"']
    assert backend.read().get("t", "a") == b'"first"'
    other.close()


def test_a_commit_is_durable_whatever_the_roles_default_is(pg_path, monkeypatch):
    seen = []
    command = postgres_link.Link.command

    def spy(link, statement):
        if statement == b"COMMIT":
            seen.append(link.rows(b"SELECT current_setting('synchronous_commit'), current_setting('fsync')")[0])
        command(link, statement)

    monkeypatch.setattr(postgres_link.Link, "command", spy)
    options = "options=-csynchronous_commit%3Doff%20-cdefault_transaction_isolation%3Dserializable"
    backend = open_at(f"{pg_path}&{options}")
    backend.apply({}, Position(1, 0), Position(1, 1), lambda: None)
    assert len(seen) == 3
    assert {commit for commit, _ in seen} == {"on"}
    backend.close()


# ---- indexes, and what stands beside a record


def test_a_reader_keeps_an_unwanted_index_for_a_while_and_nobody_waits(backend, execute):
    indexes = "SELECT count(*) FROM pg_indexes WHERE schemaname = current_schema() AND indexname LIKE 'sessiondb_i_%'"
    view = advance(backend, declare("t", f=True))
    assert execute(indexes).fetchone() == (2,)
    assert view.get("t", "a") == b'{"n":1}'
    advance(backend, declare("t", f=False)).close()
    backend.settle()
    assert execute(indexes).fetchone() == (2,)
    assert view.get("t", "a") == b'{"n":1}'
    view.close()
    backend.settle()
    assert execute(indexes).fetchone() == (0,)


def test_an_index_that_somebody_removed_is_made_again(backend, execute):
    advance(backend, declare("t", f=True)).close()
    names = "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND indexname LIKE 'sessiondb_i_%'"
    for (name,) in execute(names).fetchall():
        execute(f"DROP INDEX {name}")
    backend.settle()
    assert len(execute(names).fetchall()) == 2


def test_the_version_beside_a_record_is_the_lsn_that_wrote_it(backend, execute):
    advance(backend, json_images(b=b"3")).close()
    rows = execute("SELECT key, version, expires_at FROM sessiondb_records ORDER BY key").fetchall()
    assert rows == [("a", 1, None), ("b", 2, None)]


def test_the_format_page_shows_the_ddl():
    page = Path(__file__).parents[2].joinpath("docs/format/postgres.md").read_text(encoding="utf-8")
    ddl = "".join(f"{statement};\n" for statement in PostgresBackend.ddl("//host/database"))
    assert f"```sql\n{ddl}```" in page
