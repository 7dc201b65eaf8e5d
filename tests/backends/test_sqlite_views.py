"""Views of the SQLite backend: what they pin, what they let go, and the SQL views that people look at."""

import gc
import os
import sqlite3
import threading
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessiondb.backend import Position, TableChanges
from sessiondb.errors import BackendError, CorruptionError
from sessiondb.query import Condition, Equal, prefix
from sessiondb.testing import FaultyFiles
from sessiondb.testing.backend_under_test import advance, contents, json_images, no_pause
from sessiondb_backends import sqlite_connection
from sessiondb_backends.sqlite import SqliteBackend
from sessiondb_backends.sqlite_reader import Reader


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "x.db")


@pytest.fixture
def backend(path):
    opened = SqliteBackend.open(FaultyFiles(), path, create=True)
    yield opened
    opened.close()


def log_bytes(path):
    return os.path.getsize(f"{path}-wal")


def many(number, size=300):
    return {f"k{n:04}": b'{"n":%d,"x":"%s"}' % (number, b"x" * size) for n in range(200)}


# ---- SQLite's log stays small


def test_sqlites_log_does_not_grow_while_the_newest_view_is_always_open(backend, path):
    current = backend.read()
    for number in range(50):
        newer = advance(backend, {"t": TableChanges("json", False, many(number))})
        grown = log_bytes(path)
        current.close()
        current = newer
        backend.settle()
        assert log_bytes(path) == 0
        assert grown < 1_000_000
        assert dict(current.scan("t")) == many(number)
    current.close()


def test_a_view_that_is_kept_for_long_only_delays_that(backend, path):
    old = advance(backend, {"t": TableChanges("json", False, many(0))})
    backend.settle()
    current = old
    for number in range(1, 5):
        newer = advance(backend, {"t": TableChanges("json", False, many(number))})
        if current is not old:
            current.close()
        current = newer
        backend.settle()
    assert log_bytes(path) > 0
    assert dict(old.scan("t")) == many(0)
    assert dict(current.scan("t")) == many(4)
    old.close()
    backend.settle()
    assert log_bytes(path) == 0
    assert dict(current.scan("t")) == many(4)
    current.close()


def test_views_of_many_states_keep_theirs(backend):
    views = [advance(backend, json_images(a=b"%d" % number)) for number in range(12)]
    backend.settle()
    assert [view.get("t", "a") for view in views] == [b"%d" % number for number in range(12)]
    for view in views:
        view.close()


def test_a_scan_goes_on_while_its_view_moves_to_a_new_transaction(backend):
    view = advance(backend, {"t": TableChanges("json", False, many(1))})
    scan = view.scan("t")
    begun = [next(scan) for _ in range(3)]
    reader = view.readers.first
    backend.settle()
    assert view.readers.first is not reader
    assert dict([*begun, *scan]) == many(1)
    view.close()


def test_reading_goes_on_in_other_threads_while_the_store_settles(backend):
    view = advance(backend, {"t": TableChanges("json", False, many(1))})
    stop = threading.Event()
    wrong = []

    def read():
        while not stop.is_set():
            wrong.extend(key for key, image in many(1).items() if view.get("t", key) != image)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            backend.settle()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    view.close()


def test_look_ups_and_other_queries_do_not_wait_for_a_long_query(backend, monkeypatch):
    """A sort or a count keeps its connection busy until it is done."""
    view = advance(backend, {"t": TableChanges("json", False, many(1))})
    inside, go_on = threading.Event(), threading.Event()
    fetch = Reader.fetch

    def slow(self, sql, parameters=()):
        with self.lock:
            inside.set()
            assert go_on.wait(30)
            return fetch(self, sql, parameters)

    counted = []
    with monkeypatch.context() as patch:
        patch.setattr(Reader, "fetch", slow)
        counter = threading.Thread(target=lambda: counted.append(view.count_found("t", (Condition("x", prefix("x")),))))
        counter.start()
        assert inside.wait(30)
    try:
        assert view.get("t", "k0001") == many(1)["k0001"]
        assert view.get_many("t", many(1)) == many(1)
        assert dict(view.scan("t")) == many(1)
        assert view.count_found("t", (Condition("n", Equal(1)),)) == 200
    finally:
        go_on.set()
        counter.join()
    assert counted == [200]
    assert len(view.readers._idle) == 2
    view.close()


def test_queries_use_the_same_few_connections_again(backend):
    view = advance(backend, {"t": TableChanges("json", False, many(1))})
    scans = [view.scan("t") for _ in range(7)]
    for scan in scans:
        next(scan)
    for scan in scans:
        assert len(list(scan)) == 199
    assert len(view.readers._idle) == 4
    idle = list(view.readers._idle)
    for _ in range(3):
        assert len(list(view.scan("t"))) == 200
        assert len(list(view.find("t", (Condition("n", Equal(1)),)).rows)) == 200
    assert view.readers._idle == idle
    del idle
    backend.settle()
    assert view.readers._idle == []
    view.close()


# ---- what a view holds


def test_a_view_that_is_garbage_closes_its_connection(backend, path):
    gc.collect()
    before = len(sqlite_connection._connections)
    view = advance(backend, json_images(a=b"1"))
    scan = view.scan("t")
    next(scan)
    assert len(sqlite_connection._connections) == before + 2  # one for look-ups, one for the scan
    circle = [view]
    circle.append(circle)
    del view, scan, circle
    gc.collect()
    assert len(sqlite_connection._connections) == before


def test_a_closed_view_says_so(backend):
    view = advance(backend, json_images(a=b"1"))
    view.close()
    view.close()
    for read in (lambda: view.get("t", "a"), lambda: view.get_many("t", ["a"]), lambda: view.scan("t")):
        with pytest.raises(BackendError, match=r"closed; next:"):
            read()


def test_views_outlive_the_backend_and_a_new_one_on_the_same_file(backend, path):
    old = advance(backend, json_images(a=b"1"))
    backend.close()
    second = SqliteBackend.open(FaultyFiles(), path, create=False)
    advance(second, json_images(a=b"2")).close()
    second.settle()
    assert old.get("t", "a") == b"1"
    second.close()
    assert contents(old) == {"t": ("json", {"a": b"1"})}
    old.close()


def test_a_store_that_is_closed_without_views_is_one_file(backend, path):
    advance(backend, json_images(a=b"1")).close()
    backend.close()
    assert os.listdir(os.path.dirname(path)) == ["x.db"]


@pytest.mark.parametrize("key", ["", "\ud800", "a\0", "a\0b", "x" * 100_000], ids=ascii)
def test_keys_that_no_record_has_are_absent(backend, key):
    view = advance(backend, json_images(a=b"1"))
    assert view.get("t", key) is None
    assert view.get_many("t", [key, "a"]) == {"a": b"1"}
    assert len(list(view.scan("t", key))) == (key < "a" or key == "")
    assert len(list(view.scan("t", None, key))) == (key > "a")
    view.close()


# ---- damage of single records


def spoil(path, statement):
    """Change the closed store with another program."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sessiondb_1 SET record = '{\"n\":7}' WHERE key = 'b'",
        "UPDATE sessiondb_1 SET record = CAST(X'7b226e223a22ff227d' AS TEXT) WHERE key = 'b'",  # no UTF-8
        "UPDATE sessiondb_1 SET crc = crc + 1 WHERE key = 'b'",
        "UPDATE sessiondb_1 SET record = (SELECT record FROM sessiondb_1 WHERE key = 'a') WHERE key = 'b'",
    ],
)
def test_a_record_that_does_not_match_its_checksum_is_never_served(backend, path, statement):
    images = {"a": b'{"n":1}', "b": b'{"n":2}', "c": b'{"n":2}'}
    advance(backend, {"t": TableChanges("json", False, images, {"n": True})}).close()
    backend.close()
    spoil(path, statement)
    backend = SqliteBackend.open(FaultyFiles(), path, create=False)
    view = backend.read()
    assert view.get("t", "a") == b'{"n":1}'
    reads = [
        lambda: view.get("t", "b"),
        lambda: view.get_many("t", ["a", "b", "c"]),
        lambda: list(view.scan("t")),
        lambda: list(view.scan("t", reverse=True)),
        lambda: list(view.find("t", ()).rows),
    ]
    for read in reads:
        with pytest.raises(CorruptionError, match=r"'b' of table 't' .* x?.*next:"):
            read()
    assert any("'b'" in problem for problem in backend.check())
    view.close()
    backend.close()


def test_a_record_that_was_moved_to_another_key_is_never_served(backend, path):
    advance(backend, json_images(a=b"1")).close()
    backend.close()
    spoil(path, "UPDATE sessiondb_1 SET key = 'b'")
    backend = SqliteBackend.open(FaultyFiles(), path, create=False)
    view = backend.read()
    with pytest.raises(CorruptionError):
        view.get("t", "b")
    view.close()
    backend.close()


def test_json_that_does_not_parse_is_damage_for_a_condition_too(backend, path):
    advance(backend, json_images(a=b'{"n":1}')).close()
    backend.close()
    spoil(path, "UPDATE sessiondb_1 SET record = '{'")
    backend = SqliteBackend.open(FaultyFiles(), path, create=False)
    view = backend.read()
    with pytest.raises(CorruptionError, match="malformed"):
        list(view.find("t", (Condition("n", Equal(1)),)).rows)
    view.close()
    backend.close()


# ---- counting


KEYS = st.sampled_from([f"k{n}" for n in range(12)])
STEP = st.tuples(st.booleans(), st.dictionaries(KEYS, st.one_of(st.none(), st.just(b"{}"), st.just(b"1"))))


@given(st.lists(STEP, max_size=12))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_count_is_that_of_the_records_whatever_was_put_and_deleted(tmp_path_factory, steps):
    path = str(tmp_path_factory.mktemp("count") / "x.db")
    backend = SqliteBackend.open(FaultyFiles(), path, create=True)
    expected = {}
    for number, (dropped, images) in enumerate(steps):
        position = Position(1, number)
        backend.apply({"t": TableChanges("json", dropped, images)}, position, Position(1, number + 1), no_pause)
        expected = ({} if dropped else expected) | images
        expected = {key: image for key, image in expected.items() if image is not None}
        view = backend.read()
        assert view.count("t") == len(expected)
        assert dict(view.scan("t")) == expected
        view.close()
    assert backend.check() == []
    backend.close()


# ---- SQL views for people


def columns(path, view):
    with closing(sqlite3.connect(path)) as connection:
        cursor = connection.execute(f'SELECT * FROM "{view}" ORDER BY key')
        return [column[0] for column in cursor.description], cursor.fetchall()


def sql_views(path):
    with closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'")]


def test_a_view_named_after_the_table_shows_the_fields_as_columns(backend, path):
    advance(backend, json_images("sessions", a=b'{"branch":"main","n":1}', b=b'{"n":null,"tags":["x"]}')).close()
    assert columns(path, "sessions") == (
        ["key", "branch", "n", "tags"], [("a", "main", 1, None), ("b", None, None, '["x"]')]
    )  # fmt: skip


def test_new_fields_become_columns_of_the_view(backend, path):
    advance(backend, json_images(a=b'{"x":1}')).close()
    images = {f"b{n:03}": b'{"x":1}' for n in range(500)} | {"b333": b'{"x":1,"late":true}'}
    advance(backend, {"t": TableChanges("json", False, images)}).close()
    assert columns(path, "t")[0] == ["key", "x", "late"]
    advance(backend, json_images(a=b"{}")).close()
    assert columns(path, "t")[0] == ["key", "x", "late"]


def test_records_without_fields_and_bytes_show_as_they_are(backend, path):
    changes = {**json_images(a=b"1", b=b'"x"'), "raw": TableChanges("bytes", False, {"k": b"\0\xff"})}
    advance(backend, changes).close()
    assert columns(path, "t") == (["key", "record"], [("a", "1"), ("b", '"x"')])
    assert columns(path, "raw") == (["key", "record"], [("k", b"\0\xff")])


def test_fields_with_odd_names_are_columns_where_sql_can_name_them(backend, path):
    record = b'{"key":1,"KEY":2,"a b":3,"a\'b":4,"\xc3\xa9":5,"a.b":6,"[0]":7,"select":8,"":9,"q\\"":10,"b\\\\":11}'
    advance(backend, json_images(a=record)).close()
    assert columns(path, "t") == (
        ["key", "key_", "KEY__", "a b", "a'b", "é", "a.b", "[0]", "select"], [("a", *range(1, 9))]
    )  # fmt: skip


def test_a_view_has_a_bounded_number_of_columns(backend, path):
    record = b"{" + b",".join(b'"f%d":%d' % (n, n) for n in range(3_000)) + b"}"
    advance(backend, json_images(a=record)).close()
    assert len(columns(path, "t")[0]) == 201
    advance(backend, json_images(b=b'{"%s":1}' % (b"x" * 5_000))).close()
    assert len(columns(path, "t")[0]) == 201


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        (["t", "T"], ["t", "T (2)"]),
        (["T (2)", "t", "T"], ["T (2)", "t", "T (3)"]),
        (["t", "T (2)", "T"], ["t", "T (2)", "T (3)"]),
        (["sqlite_x", "SESSIONDB_META", "sessiondb_1"], ["(1) sqlite_x", "(2) SESSIONDB_META", "(3) sessiondb_1"]),
        (['a"b', "a'b", "select", " ", "é", "É"], ['a"b', "a'b", "select", " ", "é", "É"]),
    ],
)
def test_a_name_that_is_taken_in_sql_gets_another_view(backend, path, tables, expected):
    advance(backend, {name: TableChanges("json", False, {"a": b'{"x":1}'}) for name in tables}).close()
    assert sql_views(path) == expected
    assert backend.check() == []


def test_a_view_keeps_clear_of_what_others_made_in_the_file(backend, path):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE VIEW mine AS SELECT 1 AS one")
    advance(backend, json_images("mine", a=b'{"x":1}')).close()
    assert sql_views(path) == ["mine", "mine (1)"]


def test_a_dropped_table_takes_its_view_and_its_sql_table_along(backend, path):
    advance(backend, {name: TableChanges("json", False, {"a": b"{}"}, {"f": True}) for name in ("t", "u")}).close()
    advance(backend, {"t": TableChanges(None, True, {})}).close()
    with closing(sqlite3.connect(path)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert {name for name in names if not name.startswith("sqlite_")} == {
        "sessiondb_meta", "sessiondb_tables", "sessiondb_2", "sessiondb_2_1", "u"
    }  # fmt: skip


def test_a_view_is_made_in_the_same_step_as_its_records(backend, path):
    """A reader of another program sees both or neither."""
    advance(backend, json_images(a=b'{"x":1}')).close()
    seen = []

    def look():
        with closing(sqlite3.connect(path)) as connection:
            seen.append((columns(path, "t")[0], connection.execute("SELECT count(*) FROM t").fetchone()))

    images = {f"b{n}": b'{"y":2}' for n in range(1_000)}
    backend.apply({"t": TableChanges("json", False, images)}, Position(1, 1), Position(1, 2), look)
    assert set(map(str, seen)) == {str((["key", "x"], (1,)))}
    assert columns(path, "t")[0] == ["key", "x", "y"]
