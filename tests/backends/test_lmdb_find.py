"""Finding in LMDB: whichever index answers, the answer is that of `sessiondb.query`; and the index is really used."""

import json
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessiondb.backend import Position, TableChanges
from sessiondb.errors import CorruptionError
from sessiondb.query import (
    Absent,
    Between,
    Condition,
    Equal,
    OneOf,
    Order,
    Predicate,
    Prefix,
    absent,
    between,
    sort_key,
)
from sessiondb.testing import FaultyFiles
from sessiondb.testing.backend_under_test import no_pause
from sessiondb_backends import lmdb_find, lmdb_snapshot
from sessiondb_backends.lmdb import LmdbBackend
from sessiondb_backends.lmdb_format import index_database, index_key


def advance(backend, images, indexes=None, *, dropped=False):
    """One apply to table ``t``; returns a view of it."""
    at = backend.position()
    change = TableChanges("json", dropped, images, indexes or {})
    backend.apply({"t": change}, at, Position(at.epoch, at.lsn + 1), no_pause)
    return backend.read()


@pytest.fixture
def backend(tmp_path):
    opened = LmdbBackend.open(FaultyFiles(), str(tmp_path / "x.lmdb"), create=True)
    yield opened
    opened.close()


LONG = "x" * 505
VALUES = [
    None, True, False, 0, 1, 1.0, -0.0, 0.5, -3, 2**53, 2**53 + 1, 2.0**53, 2**63 - 1, 2**63, 2.0**63, 2**64 - 1,
    2.0**64, 1e308, -1e308, 5e-324, "", "a", "ab", "a\0", "é", "😀", "\uffff", "1", LONG, LONG + "xxxx", LONG + "xxxxx",
    LONG + "xxxxxa", LONG + "xxxxxb", LONG * 3, LONG * 3 + "a", [], [1, [2]], ["a"], {"f": 1}, {},
    ["x" * 600, 1], ["x" * 600, 2],
]  # fmt: skip
scalars = st.sampled_from([value for value in VALUES if not isinstance(value, (list, dict))])
documents = st.fixed_dictionaries(
    {}, optional={"f": st.sampled_from(VALUES), "g": st.sampled_from(VALUES[:12]), "é'\"": st.sampled_from(VALUES)}
).map(lambda document: json.dumps(document, ensure_ascii=False).encode()) | st.sampled_from(
    [b"1", b"null", b'"f"', b"[]", b'[{"f":1}]', b'{"f":1,"f":2}']
)  # fmt: skip
images = st.dictionaries(st.sampled_from([f"{n:02}" for n in range(40)]), st.none() | documents, max_size=40)
fields = st.sampled_from(["f", "f", "g", "é'\""])
ends = st.sampled_from([value for value in VALUES if isinstance(value, str)])
number_ends = st.sampled_from([value for value in VALUES if type(value) in (int, float)])
tests = st.one_of(
    st.just(absent),
    scalars.map(Equal),
    st.lists(scalars, max_size=5).map(lambda found: OneOf(tuple(found))),
    ends.map(Prefix),
    st.builds(Between, ends, ends),
    st.builds(Between, number_ends, number_ends | st.none()),
    st.builds(Between, st.none(), ends | number_ends),
    st.builds(Between, st.booleans(), st.booleans()),
)
conditions = st.lists(st.builds(Condition, fields, tests), max_size=3)
orders = st.lists(st.builds(Order, fields, st.booleans(), st.none()), max_size=3)


def reference(state, where, order):
    matches = Predicate(where).matches
    return sorted(((key, image) for key, image in state.items() if matches(image)), key=sort_key(order))


def check(view, state, where, order, limit):
    """Compare with the reference, limit and order as they were promised."""
    wanted = reference(state, where, order)
    found = view.find("t", where, order, limit)
    rows = list(found.rows)
    assert found.exact
    if found.ordered:
        assert rows == (wanted if limit is None else wanted[:limit])
    else:
        assert sorted(rows) == sorted(wanted)
    assert view.count_found("t", where) in (None, len(wanted))


slow = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@slow
@given(st.data())
def test_any_question_is_answered_as_the_reference_answers_it(backend, data):
    """Records come and go, indexes are made before and after them and removed; slices of one entry and of many."""
    state = {}
    advance(backend, {}, dropped=True).close()
    for _ in range(data.draw(st.integers(1, 3))):
        changes = data.draw(images)
        advance(backend, changes, data.draw(st.dictionaries(fields, st.booleans(), max_size=3))).close()
        state |= changes
    state = {key: image for key, image in state.items() if image is not None}
    sizes = data.draw(st.sampled_from([(1, 1, 1), (16, 64, 256)]))
    keys_max = data.draw(st.sampled_from([3, 1_000]))
    with pytest.MonkeyPatch.context() as patch, closing(backend.read()) as view:
        patch.setattr(lmdb_find, "SLICE_ENTRIES", sizes)
        patch.setattr(lmdb_find, "SORTED_KEYS_MAX", keys_max)
        patch.setattr(lmdb_snapshot, "COUNT_KEYS", sizes[0])
        for _ in range(5):
            where, order = tuple(data.draw(conditions)), tuple(data.draw(orders))
            check(view, state, where, order, data.draw(st.none() | st.integers(0, 5)))
        assert dict(view.scan("t")) == state
    assert backend.check() == []


@pytest.mark.parametrize("test", [Equal([1]), OneOf((1, [1])), Between(1, "a"), Between([1], None)], ids=repr)
def test_conditions_that_no_caller_should_make_are_left_to_the_reference(test):
    assert lmdb_find.ranges_of(test) is None


@pytest.mark.parametrize("test", [Equal(float("nan")), OneOf((float("nan"),)), Between(float("nan"), 1)], ids=repr)
def test_nothing_equals_what_is_no_number(test):
    assert lmdb_find.ranges_of(test) == []


# ---- which index, and how much is read


@pytest.fixture
def counted(backend, monkeypatch):
    """A view of 5,000 records with indexes, and the number of images it fetched or scanned."""
    records = {
        f"{n:04}": b'{"id":"%04d","status":"%s","n":%d,"few":%d}'
        % (4999 - n, b"open" if n % 2 else b"done", n, n // 100)
        for n in range(5_000)
    }
    view = advance(backend, records, {"id": True, "status": True, "n": True})
    read = []
    for name in ("fetch", "slice"):
        real = getattr(view, name)

        def reading(*arguments, real=real, **options):
            result = real(*arguments, **options)
            read.extend(result)
            return result

        monkeypatch.setattr(view, name, reading)
    return view, records, read


@pytest.mark.parametrize(
    ("where", "order", "limit", "most"),
    [
        ([("id", Equal("0007"))], [], None, 1),
        ([("id", OneOf(("0007", "0008", "none")))], [], None, 2),
        ([("id", Prefix("001"))], [], None, 10),
        ([("n", Between(10, 19))], [("n", True)], None, 10),
        ([("n", Between(10, None))], [("n", False)], 5, 16),
        ([("id", Absent())], [], None, 0),
        ([("status", Equal("open")), ("id", Equal("0007"))], [], None, 1),
        ([("id", Equal("0007")), ("status", Equal("open"))], [("few", False)], 3, 1),
        ([("few", Equal(7)), ("n", Between(700, 705))], [], None, 6),
        ([], [("n", True)], 3, 16),
        ([], [("n", True), ("id", False)], 3, 16),
        ([("status", Equal("open"))], [("n", True)], 10, 16 + 64),
        ([("few", Equal(49))], [("n", True)], 10, 16),
    ],
    ids=str,
)  # fmt: skip
def test_only_what_the_best_index_names_is_read(counted, where, order, limit, most):
    view, records, read = counted
    where = tuple(Condition(*item) for item in where)
    order = tuple(Order(*item) for item in order)
    check(view, records, where, order, limit)
    assert len(read) <= most


def test_counting_by_an_index_reads_no_record(counted):
    view, _, read = counted
    for test, wanted in [
        (Equal("open"), 2_500), (Equal("x"), 0), (OneOf(("open", "done")), 5_000), (Prefix("o"), 2_500),
        (between("done", "done"), 2_500), (absent, 0),
    ]:  # fmt: skip
        assert view.count_found("t", (Condition("status", test),)) == wanted
    assert view.count_found("t", (Condition("n", between(10, 3_000)),)) == 2_991
    assert view.count_found("t", ()) == 5_000
    assert read == []
    assert view.count_found("t", (Condition("few", Equal(1)),)) is None


def test_an_index_is_built_in_slices_while_others_run(backend):
    records = {f"{n:04}": b'{"n":%d}' % n for n in range(3_000)}
    advance(backend, records)
    pauses = []
    change = TableChanges("json", False, {}, {"n": True})
    backend.apply({"t": change}, Position(1, 1), Position(1, 2), lambda: pauses.append(None))
    assert len(pauses) > 25


def test_large_records_are_fetched_a_few_at_a_time(backend, monkeypatch):
    records = {f"{n:03}": b'{"f":1,"text":"%s"}' % (b"x" * 100_000) for n in range(60)}
    view = advance(backend, records, {"f": True})
    sizes = []
    real = view.fetch
    monkeypatch.setattr(view, "fetch", lambda table, names: sizes.append(len(names)) or real(table, names))
    assert len(list(view.find("t", (Condition("f", Equal(1)),)).rows)) == 60
    assert max(sizes) <= 16


# ---- damage


def spoil(backend, change):
    """Change the index on ``f`` of table ``t`` around the backend."""
    handle = backend._environment.handles[index_database(1)]
    with backend._environment.env.begin(write=True, db=handle) as transaction:
        change(transaction)


def test_an_index_that_names_a_missing_record_is_damage(backend):
    advance(backend, {"a": b'{"f":1}', "b": b'{"f":1}'}, {"f": True})
    spoil(backend, lambda index: index.put(index_key(1), b"nobody"))
    with pytest.raises(CorruptionError, match="an index names the record 'nobody', which is not there"):
        list(backend.read().find("t", (Condition("f", Equal(1)),)).rows)
    assert backend.check() == ["table 't': the index on 'f' has a wrong entry for the record 'nobody'"]


def test_check_says_what_an_index_lacks_and_what_it_has_too_much(backend):
    advance(backend, {f"{n}": b'{"f":%d}' % n for n in range(3)}, {"f": True})

    def change(index):
        assert index.delete(index_key(1), b"1")
        index.put(index_key(7), b"2")

    spoil(backend, change)
    # As many entries as records: every record is looked for.
    assert backend.check() == ["table 't': the index on 'f' lacks the record '1'"]
    spoil(backend, lambda index: index.put(index_key(8), b"0"))
    assert backend.check() == [
        "table 't': the index on 'f' lacks the record '1'",
        "table 't': the index on 'f' has a wrong entry for the record '2'",
        "table 't': the index on 'f' has a wrong entry for the record '0'",
    ]


def test_an_apply_never_goes_on_after_it_read_a_damaged_record(backend, tmp_path):
    """Its index entry could not be found again."""
    advance(backend, {"a": b'{"f":"what it was"}'}, {"f": True}).close()
    data = tmp_path / "x.lmdb" / "data.mdb"
    stored = data.read_bytes()
    with data.open("r+b") as stream:
        at = stored.find(b'{"f":"what it was"}')
        while at >= 0:
            stream.seek(at + 10)
            stream.write(b"!")
            at = stored.find(b'{"f":"what it was"}', at + 1)
    with pytest.raises(CorruptionError, match="table 't': the record 'a' does not match"):
        advance(backend, {"a": b'{"f":2}', "b": b'{"f":2}'})
    assert backend.position() == Position(1, 1)
    assert backend.read().get("t", "b") is None
