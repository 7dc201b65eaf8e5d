"""Queries of the PostgreSQL backend: the same answers as `sessiondb.query`, and the indexes are used."""

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
from sessiondb_backends.postgres import PostgresBackend
from sessiondb_backends.postgres_link import Link
from sessiondb_backends.postgres_query import after_prefix


@pytest.fixture
def backend(pg_path):
    opened = PostgresBackend.open(FaultyFiles(), pg_path, create=True)
    yield opened
    opened.close()


@pytest.fixture
def asked(monkeypatch):
    """Every statement that reads records, with its parameters."""
    statements = []
    rows, run = Link.rows, Link.run

    def note(statement, parameters):
        statement = statement.partition(b" FOR ")[2] if statement.startswith(b"DECLARE") else statement
        if b"sessiondb_records" in statement and not statement.startswith((b"EXPLAIN", b"INSERT")):
            statements.append((statement, parameters))

    def spy_rows(self, statement, parameters=(), *, often=False):
        note(statement, parameters)
        return rows(self, statement, parameters, often=often)

    def spy_run(self, statement, parameters=(), *, often=False):
        note(statement, parameters)
        return run(self, statement, parameters, often=often)

    monkeypatch.setattr(Link, "rows", spy_rows)
    monkeypatch.setattr(Link, "run", spy_run)
    return statements


def plans_of(view, asked):
    """What the planner says of each of the statements."""
    plans = []
    while asked:
        statement, parameters = asked.pop(0)
        explained = view.source.ask("explain", lambda link: link.rows(b"EXPLAIN " + statement, parameters))  # noqa: B023
        plans.append("\n".join(line for (line,) in explained))
    return plans


# ---- the same answers

NUMBERS = [
    0, 1, -1, 2**31, 2**53 - 1, 2**53, 2**53 + 1, 10**15, 10**18 + 1, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1, -(2**63),
    0.0, -0.0, 1.0, 0.1, 0.30000000000000004, 1.0000000000000002, 0.9999999999999999, 1e15 + 0.5, 999999999999999.9,
    1e308, 1.7976931348623157e308, 5e-324, 2.2250738585072014e-308, 2.0**53, 2.0**63, 2.0**64, -(2.0**63), 1e19, 1e16,
    1.5e300, 123456789.123456789, 4.35, 1e23, 1e-7, 9007199254740993.0, 1.0e22,
]  # fmt: skip
TEXTS = [
    "", "a", "A", "ab", "a\0", "a\0b", "\0", "b", "1", "1.0", "true", "null", "[1]", '{"f":1}', "'", '"', "\\", "%",
    "%s", "é", "e\u0301", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff", "😀", "x" * 599, "x" * 600,
    "x" * 601, "x" * 2_000, "x" * 600 + "a", "é" * 600 + "b", "a ", " a", "\x7f",
]  # fmt: skip

number = st.sampled_from(NUMBERS) | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
text = st.sampled_from(TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
scalar = st.none() | st.booleans() | number | text
value = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2), max_leaves=4
)
FIELDS = ["f", "g", "a b", "a.b", "$", "'", "[0]", "é", "F", "key", "record", 'a"b', "a\\b", "", "\n", "%", "%s", "0"]
field = st.sampled_from(FIELDS)
document = st.dictionaries(field, value, max_size=3) | value
condition = st.one_of(
    st.just(Absent()),
    st.builds(Equal, scalar),
    st.builds(OneOf, st.lists(scalar, max_size=4).map(tuple)),
    st.builds(OneOf, st.lists(number, min_size=17, max_size=20).map(tuple)),
    st.builds(Prefix, text),
    st.builds(Between, st.none() | number, number),
    st.builds(Between, number, st.none() | number),
    st.builds(Between, st.none() | text, text),
    st.builds(Between, text, st.none() | text),
)
conditions = st.lists(st.builds(Condition, field, condition), max_size=2).map(tuple)
orders = st.lists(st.builds(Order, field, st.booleans(), st.none()), max_size=2).map(tuple)
FIXED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), document, max_size=12),
    st.lists(st.tuples(conditions, orders, st.none() | st.integers(0, 5)), min_size=1, max_size=8),
    st.lists(st.sampled_from(["f", "g", "%"]), unique=True),
)
@FIXED
def test_find_and_count_answer_as_the_reference_does(backend, records, questions, indexed):
    images = {key: msgspec.json.encode(record) for key, record in records.items()}
    view = advance(backend, {"t": TableChanges("json", True, dict(images), dict.fromkeys(indexed, True))})
    for where, order, limit in questions:
        check_answer(view, images, where, order, limit)
        assert view.count_found("t", where) in (None, len(matches(images, where)))
        assert view.find("t", where).exact
    view.close()
    backend.settle()


@given(
    st.sampled_from(["integer", "text"]),
    st.lists(st.none() | st.sampled_from(NUMBERS[:14]) | st.integers(-(2**63), 2**64 - 1), max_size=9),
    st.lists(st.none() | text, max_size=9),
    st.booleans(),
    st.none() | st.integers(0, 9),
)
@FIXED
def test_fields_of_one_kind_are_sorted_as_the_reference_does(backend, kind, numbers, texts, descending, limit):
    values = numbers if kind == "integer" else texts
    images = {f"k{n * 7 % 10}": msgspec.json.encode({"f": held, "g": n % 2}) for n, held in enumerate(values)}
    images["none"] = b"{}"
    view = advance(backend, {"t": TableChanges("json", True, dict(images))})
    for order in ((Order("f", descending, kind),), (Order("g", True, "integer"), Order("f", descending, kind))):
        check_answer(view, images, (), order, limit)
        check_answer(view, images, (Condition("g", Equal(1)),), order, limit)
    view.close()


def test_numbers_are_compared_by_value_whatever_they_look_like(backend):
    """A stranger's spelling: another length, an exponent, more digits than a float has."""
    images = {
        "a": b'{"f":1.0000000000000000000}', "b": b'{"f":1e0}', "c": b'{"f":0.99999999999999999999}',
        "d": b'{"f":10e-1}',
        "e": b'{"f":0.1000000000000000055511151231257827}', "f": b'{"f":100000000000000000000000}', "g": b'{"f":1e23}',
        "h": b'{"f":4e-324}', "i": b'{"f":2}',
    }  # fmt: skip
    view = advance(backend, declare("t", images, f=True))
    for wanted in (1, 1.0, 0.1, 10**23, 1e23, 5e-324, 2):
        for test in (Equal(wanted), between(wanted, wanted), one_of(wanted, *range(50, 70)), between(wanted, None)):
            check_answer(view, images, (Condition("f", test),))
            count = view.count_found("t", (Condition("f", test),))
            assert count == len(matches(images, (Condition("f", test),)))
    view.close()


def test_documents_with_a_nul_or_a_lone_surrogate_are_stored_and_found(backend, pg_path):
    """PostgreSQL's JSON functions fail for the whole document."""
    images = {
        "a": b'{"f":"a\\u0000","g":"x"}', "b": b'{"g":"x","f":"a"}', "c": b'{"f":"\\ud800"}', "d": b'{"f":"\\\\u0000"}',
        "e": b'{"\\u0000":1,"f":"a"}',
    }  # fmt: skip
    view = advance(backend, declare("t", images, f=True))
    assert dict(view.scan("t")) == images == view.get_many("t", list(images))
    readable = {key: image for key, image in images.items() if key != "c"}
    view.close()
    view = advance(backend, declare("t", {"c": None}))
    for where in ((Condition("f", prefix("a")),), (Condition("g", Equal("x")),), (Condition("f", Equal("\\u0000")),)):
        for order in ((), (Order("f", True, "text"),)):
            check_answer(view, readable, where, order)
        assert view.count_found("t", where) == len(matches(readable, where))
    assert backend.check() == []
    view.close()


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("s", "t"), ("sa", "sb"), ("s\ud7ff", "s\ue000"), ("s\U0010ffff", "t"), ("sa\U0010ffff", "sb"),
        ("s\uffff", "s\U00010000"),
    ],
)  # fmt: skip
def test_the_end_of_a_prefix_is_the_next_text(text, after):
    assert after_prefix(text) == after


# ---- indexes are used

FOUND_BY_INDEX = [
    Equal("t5"), Equal(5), Equal(1.0), Equal(0.5), Equal(True), Equal(None), one_of("t1", "t2"), one_of(1, 2),
    one_of("t1", None, 3), one_of(*range(20)), one_of(*map(str, range(50))), prefix("t55"), between(5, 9),
    between(2_990, None), between(None, 3), between("t5", "t50"), between("t999", None), between(None, "t0"),
    between(0.5, 1.5),
]  # fmt: skip


def filled(backend, records, **indexes):
    shuffled = list(range(records))
    random.Random(1).shuffle(shuffled)
    images = {f"k{n:05}": b'{"f":"t%d","n":%d}' % (other, other) for n, other in enumerate(shuffled)}
    return advance(backend, declare("t", images, **indexes))


@pytest.fixture
def indexed(backend, pg_admin, pg_schema):
    view = filled(backend, 3_000, f=True, n=True)
    pg_admin.execute(f"ANALYZE {pg_schema}.sessiondb_records")
    yield view
    view.close()


def test_a_condition_on_an_indexed_field_uses_the_index(indexed, asked):
    for test in FOUND_BY_INDEX:
        for name in ("f", "n"):
            found = list(indexed.find("t", (Condition(name, test),)).rows)
            for plan in plans_of(indexed, asked):
                assert "sessiondb_i_" in plan, (name, test, len(found), plan)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(("name", "kind"), [("f", "text"), ("n", "integer")])
def test_an_order_on_an_indexed_field_uses_the_index(indexed, asked, name, kind, descending):
    found = indexed.find("t", (), (Order(name, descending, kind),), 3)
    assert found.exact
    assert found.ordered
    assert len(list(found.rows)) == 3
    (plan,) = plans_of(indexed, asked)
    assert "using sessiondb_i_" in plan
    assert "Seq Scan" not in plan


def test_a_scan_begins_at_its_start(indexed, asked):
    assert len(list(indexed.scan("t", "k00500", "k00510"))) == 10
    assert len(list(indexed.scan("t", "k02990", reverse=True))) == 10
    for plan in plans_of(indexed, asked):
        assert "sessiondb_records_pkey" in plan
        assert "Seq Scan" not in plan


def test_only_matches_are_read(indexed, monkeypatch):
    read = []
    rows = Link.rows

    def spy(self, statement, parameters=(), *, often=False):
        found = rows(self, statement, parameters, often=often)
        read.extend(found)
        return found

    monkeypatch.setattr(Link, "rows", spy)
    assert len(list(indexed.find("t", (Condition("n", between(10, 19)),)).rows)) == 10
    assert len(read) == 10
    read.clear()
    order = (Order("n", True, "integer"),)
    assert len(list(indexed.find("t", (Condition("n", between(10, None)),), order, 5).rows)) == 5
    assert len(read) == 5


def test_rows_come_in_small_pieces(backend, monkeypatch):
    images = {f"k{n:04}": b'{"f":"%s"}' % (b"x" * 10_000) for n in range(500)}
    view = advance(backend, {"t": TableChanges("json", False, images)})
    sizes = []
    rows = Link.rows

    def spy(self, statement, parameters=(), *, often=False):
        found = rows(self, statement, parameters, often=often)
        sizes.append(sum(len(row[1]) for row in found))
        return found

    monkeypatch.setattr(Link, "rows", spy)
    for pairs in (view.scan("t"), view.find("t", (), (Order("f", False, "text"),)).rows):
        assert sum(1 for _ in pairs) == 500
    assert max(sizes) < 1_500_000
    view.close()


def test_an_end_of_a_range_that_no_key_can_be_lies_between_two_keys(backend):
    images = dict.fromkeys(["a", "a\x01", "ab", "b", "\ud7ff", "\ue000"], b"0")
    view = advance(backend, declare("t", images))
    for bound in ("a\0", "a\0z", "\0", "a\ud800", "\udfff", "\ud800z", "b"):
        for start, stop in ((bound, None), (None, bound)):
            wanted = sorted(key for key in images if (key >= bound if start else key < bound))
            assert [key for key, _ in view.scan("t", start, stop)] == wanted
    assert view.get("t", "a\0") is view.get("t", "\ud800") is None
    assert view.get_many("t", ["a\0", "\ud800", "a"]) == {"a": b"0"}
    view.close()


def test_absent_is_found_without_an_index(indexed):
    assert list(indexed.find("t", (Condition("f", absent),)).rows) == []
