"""Queries of the SQLite backend: the same answers as `sessiondb.query`, and the indexes are used."""

import random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessiondb.backend import TableChanges
from sessiondb.query import Absent, Between, Condition, Equal, OneOf, Order, Prefix, absent, between, one_of, prefix
from sessiondb.testing import FaultyFiles
from sessiondb.testing.backend_under_test import advance, declare
from sessiondb.testing.documents import check_answer, matches
from sessiondb_backends.sqlite import SqliteBackend
from sessiondb_backends.sqlite_reader import Reader


@pytest.fixture
def backend(tmp_path):
    opened = SqliteBackend.open(FaultyFiles(), str(tmp_path / "x.db"), create=True)
    yield opened
    opened.close()


@pytest.fixture
def explained(monkeypatch):
    """What SQLite's planner says of every statement that streams records."""
    plans = []
    stream = Reader.stream

    def spy(self, sql, parameters=()):
        plans.append(" | ".join(row[3] for row in self.fetch(f"EXPLAIN QUERY PLAN {sql}", parameters)))
        return stream(self, sql, parameters)

    monkeypatch.setattr(Reader, "stream", spy)
    return plans


# ---- the same answers

NUMBERS = [
    0, 1, -1, 2**31, 2**53 - 1, 2**53, 2**53 + 1, 10**18, 10**18 + 1, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1,
    -(2**63), 0.0, -0.0, 1.0, 0.1, 0.30000000000000004, 1.0000000000000002, 0.9999999999999999, 1e15 + 0.5, 1e308,
    1.7976931348623157e308, 5e-324, 2.2250738585072014e-308, 2.0**53, 2.0**63, 2.0**64, -(2.0**63), 1e19, 1.5e300,
    123456789.123456789, 4.35, 1e23, 9007199254740993.0,
]  # fmt: skip
TEXTS = [
    "", "a", "A", "ab", "a\0", "a\0b", "\0", "b", "1", "1.0", "true", "null", "[1]", '{"f":1}', "'", '"', "\\", "%",
    "é", "e\u0301", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff", "😀", "x" * 2_000, "a ", " a", "\x7f",
]  # fmt: skip

number = st.sampled_from(NUMBERS) | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
text = st.sampled_from(TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
scalar = st.none() | st.booleans() | number | text
value = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2), max_leaves=4
)
FIELDS = ["f", "g", "a b", "a.b", "$", "'", "[0]", "é", "F", "key", "record", 'a"b', "a\\b", "", "\n"]
field = st.sampled_from(FIELDS)
document = st.dictionaries(field, value, max_size=3) | value
condition = st.one_of(
    st.just(Absent()),
    st.builds(Equal, scalar),
    st.builds(OneOf, st.lists(scalar, max_size=4).map(tuple)),
    st.builds(Prefix, text),
    st.builds(Between, st.none() | number, number),
    st.builds(Between, number, st.none() | number),
    st.builds(Between, st.none() | text, text),
    st.builds(Between, text, st.none() | text),
)
conditions = st.lists(st.builds(Condition, field, condition), max_size=2).map(tuple)
orders = st.lists(st.builds(Order, field, st.booleans(), st.none()), max_size=2).map(tuple)


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), document, max_size=12),
    st.lists(st.tuples(conditions, orders, st.none() | st.integers(0, 5)), min_size=1, max_size=8),
    st.lists(st.sampled_from(["f", "g", "a b"]), unique=True),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_find_and_count_answer_as_the_reference_does(backend, records, questions, indexed):
    images = {key: msgspec.json.encode(record) for key, record in records.items()}
    indexes = dict.fromkeys(indexed, True)
    view = advance(backend, {"t": TableChanges("json", True, dict(images), indexes)})
    for where, order, limit in questions:
        check_answer(view, images, where, order, limit)
        assert view.count_found("t", where) in (None, len(matches(images, where)))
        assert view.find("t", where).exact
    view.close()


@given(
    st.sampled_from(["integer", "text"]),
    st.lists(st.none() | st.sampled_from(NUMBERS[:14]) | st.integers(-(2**63), 2**64 - 1), max_size=9),
    st.lists(st.none() | text, max_size=9),
    st.booleans(),
    st.none() | st.integers(0, 9),
    st.booleans(),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_fields_of_one_kind_are_sorted_as_the_reference_does(
    backend, kind, numbers, texts, descending, limit, has_index
):
    """Large integers, a text with NUL, nulls: SQLite's order is taken only where it is the right one."""
    values = numbers if kind == "integer" else texts
    images = {f"k{n * 7 % 10}": msgspec.json.encode({"f": held, "g": n % 2}) for n, held in enumerate(values)}
    images["none"] = b"{}"
    view = advance(backend, {"t": TableChanges("json", True, dict(images), {"f": True} if has_index else {})})
    for order in ((Order("f", descending, kind),), (Order("g", True, "integer"), Order("f", descending, kind))):
        check_answer(view, images, (), order, limit)
        check_answer(view, images, (Condition("g", Equal(1)),), order, limit)
    view.close()


def test_documents_that_are_not_written_as_sessiondb_writes_them_are_found_all_the_same(backend):
    """Names that are escaped without need, or there twice: SQLite would see another field."""
    images = {
        "a": b'{"\\u0066":1}', "b": b'{"f":1,"f":2}', "c": b'{"f":2,"f":1}', "d": b'{ "f" : 1 }', "e": b'{"f":1}',
    }  # fmt: skip
    for indexes in ({}, {"f": True}):
        view = advance(backend, {"t": TableChanges("json", True, dict(images), indexes)})
        check_answer(view, images, (Condition("f", Equal(1)),), (Order("f", False, "integer"),), 3)
        assert sorted(key for key, _ in view.find("t", (Condition("f", Equal(1)),)).rows) == ["a", "c", "d", "e"]
        view.close()


def test_a_condition_on_a_field_that_once_held_a_nul_is_decided_in_python(backend):
    advance(backend, declare("t", {"a": b'{"f":"a\\u0000","g":"x"}', "b": b'{"f":"a","g":"x"}'})).close()
    view = advance(backend, declare("t", {"a": None}))
    assert view.count_found("t", (Condition("f", Equal("a")),)) is None
    assert view.count_found("t", (Condition("g", Equal("x")),)) == 1
    check_answer(view, {"b": b'{"f":"a","g":"x"}'}, (Condition("f", prefix("a")),))
    view.close()


# ---- indexes are used

FOUND_BY_INDEX = [
    Equal("t5"), Equal(5), Equal(1.0), Equal(0.5), Equal(True), Equal(None), absent, one_of("t1", "t2"), one_of(1, 2),
    one_of("t1", None, 3), one_of(*range(1_000)), one_of(*map(str, range(1_000))), prefix("t5"), between(5, 9),
    between(990, None), between(None, 3), between("t5", "t6"), between("t99", None), between(None, "t0"),
    between(0.5, 1.5),
]  # fmt: skip


def filled(backend, records, **indexes):
    shuffled = list(range(records))
    random.Random(1).shuffle(shuffled)
    images = {f"k{n:05}": b'{"f":"t%d","n":%d}' % (other, other) for n, other in enumerate(shuffled)}
    return advance(backend, declare("t", images, **indexes))


@pytest.mark.parametrize("test", FOUND_BY_INDEX, ids=str)
def test_a_condition_on_an_indexed_field_uses_the_index(backend, explained, test):
    view = filled(backend, 1_000, f=True, n=True)
    for name in ("f", "n"):
        for _ in view.find("t", (Condition(name, test),)).rows:
            pass
        index = "sessiondb_1_1" if name == "f" else "sessiondb_1_2"
        plan = explained.pop()
        assert index in plan
        assert "SCAN sessiondb" not in plan
    view.close()


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(("name", "kind"), [("f", "text"), ("n", "integer")])
def test_an_order_on_an_indexed_field_uses_the_index(backend, explained, name, kind, descending):
    view = filled(backend, 1_000, f=True, n=True)
    found = view.find("t", (), (Order(name, descending, kind),), 3)
    assert found.exact
    assert found.ordered
    assert len(list(found.rows)) == 3
    (plan,) = explained
    assert f"SCAN sessiondb_1 USING INDEX sessiondb_1_{1 if name == 'f' else 2}" in plan
    assert plan.count("TEMP B-TREE FOR ORDER BY") == 0
    view.close()


def test_a_scan_begins_at_its_start(backend, explained):
    view = filled(backend, 1_000)
    assert len(list(view.scan("t", "k00500", "k00510"))) == 10
    assert len(list(view.scan("t", "k00990", reverse=True))) == 10
    assert all("SEARCH sessiondb_1 USING INDEX sqlite_autoindex_sessiondb_1_1 (key>?" in plan for plan in explained)
    view.close()


def test_only_matches_are_read(backend, monkeypatch):
    view = filled(backend, 1_000, n=True)
    read = []
    stream = Reader.stream

    def spy(self, sql, parameters=()):
        for chunk in stream(self, sql, parameters):
            read.extend(chunk)
            yield chunk

    monkeypatch.setattr(Reader, "stream", spy)
    assert len(list(view.find("t", (Condition("n", between(10, 19)),)).rows)) == 10
    assert len(read) == 10
    read.clear()
    assert len(list(view.find("t", (Condition("n", between(10, None)),), (Order("n", True, "integer"),), 5).rows)) == 5
    assert len(read) == 5
    view.close()


def test_rows_come_in_small_pieces(backend, monkeypatch):
    images = {f"k{n:04}": b'{"f":"%s"}' % (b"x" * 10_000) for n in range(500)}
    view = advance(backend, {"t": TableChanges("json", False, images)})
    sizes = []
    stream = Reader.stream

    def spy(self, sql, parameters=()):
        for chunk in stream(self, sql, parameters):
            sizes.append(sum(len(row[1]) for row in chunk))
            yield chunk

    monkeypatch.setattr(Reader, "stream", spy)
    assert sum(1 for _ in view.scan("t")) == 500
    assert max(sizes) < 200_000
    view.close()


def test_an_index_that_sql_cannot_name_is_remembered_and_not_used(backend, tmp_path):
    images = {"a": b'{"x\\"y":1}', "b": b"{}"}
    advance(backend, declare("t", images, **{'x"y': True})).close()
    backend.close()
    again = SqliteBackend.open(FaultyFiles(), str(tmp_path / "x.db"), create=False)
    view = again.read()
    assert view.indexes("t") == {'x"y'}
    check_answer(view, images, (Condition('x"y', Equal(1)),))
    assert again.check() == []
    view.close()
    view = advance(again, declare("t", **{'x"y': False}))
    assert view.indexes("t") == frozenset()
    view.close()
    again.close()


def test_the_number_of_a_dropped_index_may_be_used_again(backend):
    images = {"a": b'{"f":1,"g":2,"h":3}'}
    for indexes in ({"f": True, "g": True}, {"f": False, "h": True}, {"g": False, "f": True}, {"h": False}):
        view = advance(backend, declare("t", images, **indexes))
        for name, held in (("f", 1), ("g", 2), ("h", 3)):
            check_answer(view, images, (Condition(name, Equal(held)),))
        view.close()
    assert view.catalog["t"].indexes.keys() == {"f"}
    assert backend.check() == []
