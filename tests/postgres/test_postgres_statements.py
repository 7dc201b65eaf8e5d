"""What the backend says to the server: nothing that outlives a transaction, the namespace always, and little else.

`postgres.watching` looks at the statements of every test of this folder. Here all kinds of statements are made to be
sent, and the watch itself is tested.
"""

import pytest

import sessiondb
from postgres.watching import facts_of
from sessiondb.backend import TableChanges
from sessiondb.query import Condition, Equal, Order
from sessiondb.testing import FaultyFiles
from sessiondb.testing.backend_under_test import advance, declare, deletions
from sessiondb_backends.postgres import PostgresBackend
from sessiondb_backends.postgres_schema import Names


def open_at(path, **how):
    return PostgresBackend.open(FaultyFiles(), path, **{"create": True, **how})


def use_everything(path):
    """Each statement that there is, at least once."""
    backend = open_at(path)
    assert PostgresBackend.exists(FaultyFiles(), path)
    for number in range(2):
        position = backend.position()
        backend.take_over(bytes([number] * 16), bytes([number - 1] * 16) if number else b"", "here", position)
        assert backend.ownership(bytes([number] * 16)).is_current
    images = {f"{n:04}": b'{"f":"%d","g;\'%%s":%d}' % (n, n) for n in range(1_500)}
    advance(backend, declare("t", images, f=True)).close()
    view = backend.read()
    for limit in (None, 3):
        assert len(list(view.find("t", (), (Order("f", False, "text"),), limit).rows)) == (limit or 1_500)
    view = advance(backend, {"t": TableChanges("json", False, {"0000": None, "x": b'{"f":"\\u0000"}'}, {"f": False})})
    assert view.count("t") == len(list(view.scan("t"))) == len(dict(view.find("t", ()).rows)) == 1_500
    assert len(list(view.scan("t", "0002", "0900", reverse=True))) == 898
    assert view.get("t", "0001") == view.get_many("t", ["0001"])["0001"]
    assert view.count_found("t", (Condition("f", Equal("7")),)) == 1
    assert len(list(view.find("t", (Condition("g;'%s", Equal(7)),)).rows)) == 1
    backend.settle()
    view.close()
    advance(backend, deletions("t", dropped=True)).close()
    advance(
        backend, {**declare("u", {"a": b'{"h":1}'}, h=True), "b": TableChanges("bytes", False, {"a": b"1"})}
    ).close()
    backend.settle()
    assert backend.check() == []
    assert backend.size() > 0
    backend.close()


@pytest.mark.parametrize("parameter", ["prepare=on", "prepare=off"])
def test_every_kind_of_statement_is_sent_and_looked_at(pg_path, pg_schema, watch, parameter):
    use_everything(f"{pg_path}&{parameter}")
    names = Names(pg_schema, "team")
    missing = {
        name for name, value in vars(names).items() if isinstance(value, bytes) and value.decode() not in watch.said
    }
    assert missing == set()
    begun = {statement.split()[0] for statement in watch.said}
    assert begun >= {"BEGIN", "COMMIT", "ROLLBACK", "CREATE", "DROP", "COMMENT", "DECLARE", "FETCH", "SET"}
    assert sum(facts_of(statement).touches for statement in watch.said) > 20


def test_a_whole_database_is_looked_at_too(pg_path, tmp_path, watch):
    with sessiondb.open(f"postgresql:{pg_path}&log_dir={tmp_path}") as db:
        db.table("t", indexes=["n"]).put_many({f"{n}": {"n": n} for n in range(50)})
        db.checkpoint()
        assert [key for key, _ in db.table("t").find({"n": 3})] == ["3"]
    assert any(statement.startswith("INSERT") for statement in watch.said)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("SET search_path = x", "outlives"),
        ("BEGIN; SET statement_timeout = 1", "outlives"),
        ("SET SESSION x = 1", "SESSION"),
        ("RESET ALL", "RESET"),
        ("LISTEN x", "LISTEN"),
        ("SELECT pg_advisory_lock(1)", "PG_ADVISORY"),
        ("SELECT pg_try_advisory_lock(1)", "PG_TRY"),
        ("CREATE TEMP TABLE x (a int)", "TEMP"),
        ("PREPARE x AS SELECT 1", "PREPARE"),
        ("COPY t FROM STDIN", "COPY"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "HOLD"),
        ('SELECT ctid FROM "s"."sessiondb_records" WHERE ns = \'a\'', "CTID"),
        ('SELECT 1 FROM "s"."sessiondb_records"', "does not name"),
        ('SELECT 1 FROM "s"."sessiondb_records" WHERE key = \'ns = 1\'', "does not name"),
        ('UPDATE "s"."sessiondb_meta" SET lsn = 1 WHERE ns = %s', "no constant"),
        ('INSERT INTO "s"."sessiondb_meta" (ns) VALUES (%s)', "no constant"),
        ('CREATE INDEX "i" ON "s"."sessiondb_records" (key)', "does not name"),
        ('CREATE OR REPLACE VIEW "v" AS SELECT key FROM "s"."sessiondb_records"', "does not name"),
    ],
)
def test_what_the_watch_finds(statement, problem):
    assert problem in " ".join(facts_of(statement).problems)


def test_what_the_watch_lets_pass():
    for statement in (
        "BEGIN; SET LOCAL lock_timeout = 50",
        """SELECT 1 FROM "s"."sessiondb_records" WHERE ns = 'a' AND (record->>'set x; LISTEN ''y'::text) = 'COPY'""",
        """INSERT INTO "s"."sessiondb_meta" (ns, a) VALUES ('a', %s)""",
        """INSERT INTO "s"."sessiondb_records" (ns) SELECT 'a', k FROM unnest(%s::text[]) AS new(k)""",
    ):
        assert facts_of(statement).problems == (), statement
        assert facts_of(statement).namespaces <= {"a"}


def test_the_watch_sees_a_transaction_that_was_left_open(pg_path, watch):
    backend = open_at(pg_path)
    view = backend.read()
    assert watch.left_open() == []
    link = backend._links.take()
    link.rows(backend._names.read_meta)
    link.command(b"BEGIN")
    assert watch.left_open() == [link]
    backend._links.give(link)
    assert watch.left_open() == []
    view.close()
    backend.close()


def test_the_watch_fails_the_test_that_says_such_a_thing(pg_path):
    backend = open_at(pg_path)
    link = backend._links.take()
    link.rows(backend._names.read_meta)
    for statement in (b"SET work_mem = '4MB'", b'SELECT 1 FROM "x"."sessiondb_meta" WHERE ns = \'another\''):
        with pytest.raises(AssertionError):
            link.command(statement)
    backend._links.give(link)
    backend.close()


def test_statements_are_prepared_only_where_that_is_wanted(pg_path):
    for parameter, some in (("prepare=on", True), ("prepare=off", False)):
        backend = open_at(f"{pg_path}&{parameter}")
        view = backend.read()
        view.get_many("t", ["a"])
        prepared = view.source.ask("look", lambda link: link.rows(b"SELECT count(*) FROM pg_prepared_statements"))
        assert (prepared[0][0] > 0) is some
        view.close()
        backend.close()
