"""Indexes of resident tables (memory, JSON file): what they read, how they change from state to state, their pauses."""

import random

import pytest

from sessiondb.backend import Position, TableChanges
from sessiondb.query import (
    Condition,
    Equal,
    FieldReader,
    Order,
    Predicate,
    absent,
    between,
    one_of,
    prefix,
    sort_key,
)
from sessiondb_backends.resident import ResidentView, fold


def no_pause():
    pass


def folded(state, images=None, pace=no_pause, **indexes):
    return fold(state, {"t": TableChanges("json", False, images or {}, indexes)}, pace)


def view_of(state):
    return ResidentView(Position(1, 1), state)


def keys(view, where, order=(), limit=None):
    found = view.find("t", [Condition(field, test) for field, test in where.items()], order, limit)
    assert found.exact
    return [key for key, _ in found.rows]


@pytest.fixture
def images():
    return {f"k{n:04}": b'{"f":%d,"g":"%d","h":%d}' % (n % 100, n % 7, n) for n in range(1_000)}


@pytest.fixture
def read(monkeypatch):
    """The images that were looked into, in order."""
    looked_at = []
    read_fields = FieldReader.read
    monkeypatch.setattr(FieldReader, "read", lambda self, image: looked_at.append(image) or read_fields(self, image))
    return looked_at


def test_an_indexed_search_looks_into_no_record_again(images, read):
    view = view_of(folded({}, images, f=True))
    assert len(keys(view, {"f": Equal(7)})) == 10
    assert len(read) == 1_000  # the index, made at its first use
    read.clear()
    for test, count in ((Equal(7), 10), (one_of(1, 2), 20), (between(90, None), 100), (absent, 0)):
        assert len(keys(view, {"f": test})) == view.count_found("t", [Condition("f", test)]) == count
    assert read == []


def test_other_conditions_are_looked_for_among_the_matches_of_the_best_index_only(images, read):
    view = view_of(folded({}, images, f=True, g=True))
    keys(view, {"f": Equal(7), "g": Equal("0")})
    read.clear()
    assert keys(view, {"g": Equal("0"), "f": Equal(7)}) == ["k0007", "k0707"]
    assert len(read) == 10
    assert view.count_found("t", [Condition("f", Equal(7)), Condition("h", between(500, None))]) == 5


def test_no_index_is_made_before_it_is_needed(images, read):
    state = folded({}, images, f=True)
    view = view_of(folded(state, {"k0001": b"{}"}))
    assert view.get("t", "k0001") == b"{}"
    assert keys(view, {})[:2] == ["k0000", "k0001"]
    assert read == []


def test_a_fold_looks_into_what_changed_only(images, read):
    state = folded({}, images, f=True)
    keys(view_of(state), {"f": Equal(7)})
    read.clear()
    state = folded(state, {"k0007": b'{"f":8}', "new": b'{"f":7}', "k0107": None, "never": None})
    assert len(read) == 2
    read.clear()
    expected = ["k0207", "k0307", "k0407", "k0507", "k0607", "k0707", "k0807", "k0907", "new"]
    assert keys(view_of(state), {"f": Equal(7)}) == expected
    assert "k0007" in keys(view_of(state), {"f": Equal(8)})
    assert read == []


def test_many_folds_read_each_change_a_few_times_and_keep_few_layers(images, read):
    state = folded({}, images, f=True)
    keys(view_of(state), {"f": Equal(7)})
    read.clear()
    for number in range(400):
        state = folded(state, {f"k{number:04}": b'{"f":%d}' % (number % 5)})
        assert len(state["t"].index("f")._layers) < 12
    assert len(read) < 400 * 12
    assert view_of(state).index_problems() == []


def test_a_fold_builds_anew_when_half_of_the_records_changed(images):
    state = folded({}, images, h=True)
    assert len(keys(view_of(state), {"h": between(0, 9)})) == 10
    state = folded(state, {key: b'{"h":%d}' % (5_000 - n) for n, key in enumerate(images) if n % 2})
    index = state["t"].index("h")
    assert index._layers == ()
    assert index._base._numbers.is_in_order()  # as before: the first search does not have to sort
    assert keys(view_of(state), {"h": between(4_990, None)}) == ["k0001", "k0003", "k0005", "k0007", "k0009"]


def test_a_search_that_sorts_by_an_index_reads_no_more_than_it_returns(images, read):
    view = view_of(folded({}, images, h=True))
    keys(view, {}, [Order("h", True)], 1)
    read.clear()
    found = view.find("t", [], [Order("h", True)], 3)
    assert (found.exact, found.ordered) == (True, True)
    assert [key for key, _ in found.rows] == ["k0999", "k0998", "k0997"]
    assert read == []
    where = {"g": Equal("0")}
    assert keys(view, where, [Order("h", True), Order("f", False)], 2) == ["k0994", "k0987"]
    assert len(read) < 20


def test_records_with_lists_leave_the_sorting_to_the_engine(images):
    view = view_of(folded({}, {**images, "list": b'{"h":[1]}'}, h=True))
    found = view.find("t", [], [Order("h", False)], 3)
    assert not found.ordered
    assert len(list(found.rows)) == 1_001


def test_a_large_part_of_the_records_comes_in_key_order_too(images):
    view = view_of(folded({}, dict(reversed(images.items())), f=True))
    for test in (between(0, 90), between(0, 1), Equal(5), one_of(*range(50))):
        found = keys(view, {"f": test})
        assert found == sorted(found)
        assert found == keys(view_of(folded({}, images)), {"f": test})


@pytest.mark.parametrize("count", [10, 400, 800])
def test_the_work_on_an_index_pauses_often(images, monkeypatch, count):
    """Between two pauses at most 200 records are read: about 150 us."""
    state = folded({}, images, f=True)
    keys(view_of(state), {"f": Equal(7)})
    since, longest = [0], [0]
    read_fields = FieldReader.read

    def counted(self, image):
        since[0] += 1
        longest[0] = max(longest[0], since[0])
        return read_fields(self, image)

    monkeypatch.setattr(FieldReader, "read", counted)
    for _ in range(5):
        state = folded(state, dict.fromkeys(list(images)[:count], b'{"f":1}'), lambda: since.__setitem__(0, 0))
    assert 0 < longest[0] <= 200


def test_an_older_view_keeps_its_index_while_later_states_change():
    chance = random.Random(5)
    values = [b"null", b"true", b"1", b"1.0", b"-3", b'"a"', b'"ab"', b'"b"', b"[1]", b"{}", b"18446744073709551615"]
    tests = [
        Equal(None),
        Equal(True),
        Equal(1),
        Equal("a"),
        absent,
        one_of(1, True, "b"),
        prefix("a"),
        between(0, None),
    ]
    state, views = folded({}, f=True, g=True), []
    for _ in range(60):
        size = chance.choice([1, 2, 10, 60])
        changed = {}
        for _ in range(size):
            fields = [b'"%s":%s' % (name, chance.choice(values)) for name in (b"f", b"g") if chance.random() < 0.8]
            changed[f"k{chance.randrange(200)}"] = None if chance.random() < 0.2 else b"{" + b",".join(fields) + b"}"
        state = folded(state, changed)
        views.append(view_of(state))
        view = chance.choice(views)
        records = view.state["t"].records
        for _ in range(5):
            where = [Condition(chance.choice("fgx"), chance.choice(tests)) for _ in range(chance.randrange(1, 3))]
            order = [Order(chance.choice("fg"), chance.random() < 0.5) for _ in range(chance.randrange(3))]
            limit = chance.choice([None, 0, 1, 5])
            wanted = sorted((row for row in records.items() if Predicate(where).matches(row[1])), key=sort_key(order))
            found = view.find("t", where, order, limit)
            rows = list(found.rows)
            assert found.exact
            assert rows == wanted[:limit] if found.ordered else sorted(rows) == sorted(wanted)
            assert view.count_found("t", where) in (None, len(wanted))
    assert all(view.index_problems() == [] for view in views[::10])


def test_an_index_on_a_table_of_bytes_is_ignored():
    state = fold({}, {"b": TableChanges("bytes", False, {"a": b"\xff"}, {"f": True})}, no_pause)
    assert view_of(state).indexes("b") == frozenset()
    state = fold(state, {"b": TableChanges(None, False, {}, {"f": True})}, no_pause)
    assert view_of(state).indexes("b") == frozenset()


def test_an_index_alone_makes_a_table_of_json_even_without_a_kind():
    state = fold({}, {"t": TableChanges(None, False, {}, {"f": True}), "u": TableChanges(None, False, {})}, no_pause)
    assert view_of(state).tables() == {"t": "json"}
    assert view_of(state).indexes("t") == {"f"}
