"""Conditions and orders: every line of the tables in `sessiondb.query`, and the index in memory."""

import random
import sys
import threading
from itertools import product

import msgspec
import pytest

from sessiondb.errors import UsageError
from sessiondb.field_index import FieldIndex, sorted_in_pieces
from sessiondb.query import (
    ABSENT,
    Between,
    Condition,
    Equal,
    FieldReader,
    Order,
    Predicate,
    absent,
    between,
    matcher,
    one_of,
    prefix,
    sort_key,
)

DOCUMENTS = {
    "absent": b'{"other":1}',
    "null": b'{"f":null}',
    "false": b'{"f":false}',
    "true": b'{"f":true}',
    "zero": b'{"f":0}',
    "one": b'{"f":1}',
    "one point": b'{"f":1.0}',
    "half": b'{"f":0.5}',
    "minus": b'{"f":-3}',
    "huge": b'{"f":18446744073709551615}',
    "huge float": b'{"f":18446744073709551616.0}',
    "empty": b'{"f":""}',
    "digit": b'{"f":"1"}',
    "a": b'{"f":"a"}',
    "ab": b'{"f":"ab"}',
    "b": b'{"f":"b"}',
    "nul": b'{"f":"a\\u0000"}',
    "e": '{"f":"é"}'.encode(),
    "ffff": '{"f":"\uffff"}'.encode(),
    "10000": '{"f":"\U00010000"}'.encode(),
    "list": b'{"f":[1]}',
    "object": b'{"f":{"f":1}}',
    "a number": b"1",
    "a text": b'"f"',
    "a list": b'[{"f":1}]',
    "nothing": b"null",
}
NUMBERS = {"zero", "one", "one point", "half", "minus", "huge", "huge float"}
TEXTS = {"empty", "digit", "a", "ab", "b", "nul", "e", "ffff", "10000"}
NO_OBJECT = {"a number", "a text", "a list", "nothing"}


def found(test, *, field="f"):
    """Names of the documents in which the field passes."""
    matches = Predicate([Condition(field, test)]).matches
    return {name for name, image in DOCUMENTS.items() if matches(image)}


# ---- the table of values


def test_only_absent_finds_a_document_without_the_field_or_none_that_is_an_object():
    assert found(absent) == {"absent", *NO_OBJECT}
    everything = [Equal(None), Equal(False), Equal(0), Equal(""), prefix(""), between(None, 10**30), between("", None)]
    for test in everything:
        assert not found(test) & {"absent", *NO_OBJECT}


def test_null_is_found_by_none_and_by_nothing_else():
    assert found(Equal(None)) == {"null"}
    assert found(one_of(None)) == {"null"}
    for test in (absent, Equal(False), Equal(0), Equal(""), prefix(""), between(None, 10**30), between("", None)):
        assert "null" not in found(test)


def test_true_is_not_1_and_false_is_not_0():
    assert found(Equal(True)) == {"true"}
    assert found(Equal(False)) == {"false"}
    assert found(Equal(1)) == {"one", "one point"}
    assert found(Equal(0)) == {"zero"}
    assert found(between(0, 1)) == {"zero", "one", "one point", "half"}
    assert found(one_of(True, 0)) == {"true", "zero"}


def test_numbers_are_compared_by_value():
    assert found(Equal(1)) == found(Equal(1.0)) == {"one", "one point"}
    assert found(Equal(-0.0)) == {"zero"}
    assert found(Equal(2**64 - 1)) == {"huge"}
    assert found(Equal(2.0**64)) == {"huge float"}
    assert found(between(2**64 - 1, None)) == {"huge", "huge float"}
    assert found(between(None, -0.1)) == {"minus"}
    assert found(between(None, 2**65)) == NUMBERS


def test_a_number_is_not_its_text():
    assert found(Equal("1")) == {"digit"}
    assert found(between("0", "9")) == {"digit"}


def test_texts_are_compared_by_code_points():
    assert found(between("\uffff", None)) == {"ffff", "10000"}
    assert found(between("\U00010000", None)) == {"10000"}
    assert found(between(None, "ab")) == {"empty", "digit", "a", "nul", "ab"}
    assert found(between("", None)) == TEXTS
    assert found(Equal("a\0")) == {"nul"}
    assert found(Equal("e\u0301")) == set()


def test_no_condition_finds_lists_and_objects():
    every = [absent, prefix(""), between(None, 2**65), between("", None), *map(Equal, [None, True, 0, 1, "", "[1]"])]
    for test in every:
        assert not found(test) & {"list", "object"}
    assert found(Equal(1), field="list") == set()


def test_between_includes_both_ends_and_none_leaves_one_open():
    assert found(between("a", "b")) == {"a", "nul", "ab", "b"}
    assert found(between("b", "a")) == set()
    assert found(between(0.5, 0.5)) == {"half"}
    assert found(between("é", None)) == {"e", "ffff", "10000"}


def test_one_of_finds_any_of_its_values_and_nothing_without_one():
    assert found(one_of("a", 1, None)) == {"a", "one", "one point", "null"}
    assert found(one_of(["a", "b"])) == found(one_of({"a", "b"})) == found(one_of("a", "b")) == {"a", "b"}
    assert found(one_of()) == found(one_of([])) == set()


def test_prefix_finds_texts_only():
    assert found(prefix("")) == TEXTS
    assert found(prefix("a")) == {"a", "ab", "nul"}
    assert found(prefix("a\0")) == {"nul"}
    assert found(prefix("1")) == {"digit"}


def test_all_conditions_must_hold_also_on_one_field():
    matches = Predicate(
        [Condition("f", between("a", None)), Condition("f", prefix("a")), Condition("g", absent)]
    ).matches
    assert [name for name, image in DOCUMENTS.items() if matches(image)] == ["a", "ab", "nul"]
    assert not matches(b'{"f":"a","g":null}')
    assert Predicate([]).matches(b"[]")


def test_between_without_ends_and_a_prefix_that_is_no_text_are_refused():
    with pytest.raises(UsageError, match=r"no condition.*next: "):
        between(None, None)
    with pytest.raises(UsageError, match="a prefix is a str"):
        prefix(1)


# ---- order


def ordered(*order, documents=DOCUMENTS):
    return [key for key, _ in sorted(documents.items(), key=sort_key([Order(*item) for item in order]))]


def test_order_is_bool_number_text_others_and_last_null_and_absent():
    last = sorted(["absent", "null", *NO_OBJECT])
    assert ordered(("f", False)) == [
        "false", "true", "minus", "zero", "half", "one", "one point", "huge", "huge float", "empty", "digit", "a",
        "nul", "ab", "b", "e", "ffff", "10000", "list", "object", *last,
    ]  # fmt: skip


def test_null_and_absent_come_last_in_both_directions():
    last = sorted(["absent", "null", *NO_OBJECT])
    assert ordered(("f", True)) == [
        "object", "list", "10000", "ffff", "e", "b", "ab", "nul", "a", "digit", "empty", "huge float", "huge", "one",
        "one point", "half", "zero", "minus", "true", "false", *last,
    ]  # fmt: skip


def test_ties_are_broken_by_the_next_field_and_in_the_end_by_the_key_ascending():
    documents = {
        "c": b'{"f":1,"g":1}',
        "b": b'{"f":1.0,"g":1}',
        "a": b'{"f":1}',
        "d": b'{"f":1,"g":2}',
        "e": b'{"g":9}',
    }
    assert ordered(("f", False), ("g", False), documents=documents) == ["b", "c", "d", "a", "e"]
    assert ordered(("f", True), ("g", True), documents=documents) == ["d", "b", "c", "a", "e"]
    assert ordered(("f", True), documents=documents) == ["a", "b", "c", "d", "e"]
    assert ordered(("g", True), ("f", True), documents=documents) == ["e", "d", "b", "c", "a"]
    assert ordered(documents=documents) == ["a", "b", "c", "d", "e"]


def test_a_converter_says_what_stored_values_stand_for():
    documents = {"a": b'{"f":"10"}', "b": b'{"f":"9"}', "c": b'{"f":null}', "d": b"{}"}
    for descending, expected in ((False, ["b", "a", "c", "d"]), (True, ["a", "b", "c", "d"])):
        key_of = sort_key([Order("f", descending)], {"f": int})
        assert [key for key, _ in sorted(documents.items(), key=key_of)] == expected


# ---- reading fields


@pytest.mark.parametrize("name", ["f", "", " ", "é", "😀", "$", "a.b", "'", '"', "\\", "\n", "\0", "f0", "__class__"])
def test_any_field_name_can_be_read(name):
    image = msgspec.json.encode({"other": 0, name: [1], name + name + "x": 2})
    assert FieldReader([name]).read(image) == ([1],)
    assert FieldReader(["missing", name]).read(image) == (ABSENT, [1])
    assert Predicate([Condition(name, absent)]).matches(b'{"other":0}')


def test_fields_are_read_once_and_in_order():
    reader = FieldReader(["b", "a", "b"])
    assert reader.fields == ("b", "a")
    assert reader.read(b'{"a":null,"c":[[[]]],"b":{"x":1}}') == ({"x": 1}, None)
    assert reader.read(b"[]") == (ABSENT, ABSENT)
    with pytest.raises(msgspec.DecodeError):
        reader.read(b'{"a"')


# ---- the index in memory

VALUES = [
    ABSENT, None, False, True, 0, 1, 1.0, -2.5, 2**53 + 1, 2**64 - 1, 2.0**64, "", "a", "a\0", "ab", "abc", "b", "é",
    "\uffff", "\U00010000", "\U0010ffff", "1",
]  # fmt: skip
LISTS = [[], [1], {}]
TESTS = [
    absent, *(Equal(value) for value in VALUES if value is not ABSENT), one_of(), one_of(1, True, "a", 1.0, "zz"),
    one_of(None, ""), prefix(""), prefix("a"), prefix("a\0"), prefix("\U0010ffff"), prefix("zz"), between(0, None),
    between(None, 1), between(0.5, 2**64), between("a", None), between(None, "b"), between("b", "a"),
    between("a", "b"), between("\uffff", "\U00010000"), Between(False, None), Between(True, True),
]  # fmt: skip


def indexed(held):
    index = FieldIndex()
    for key, value in held.items():
        index.add(value, key)
    return index


def passing(held, test):
    return sorted(key for key, value in held.items() if matcher(test)(value))


@pytest.mark.parametrize("test", TESTS, ids=repr)
def test_an_index_finds_what_the_predicate_finds_each_key_once(test):
    held = {f"{number}-{copy}": value for copy in range(3) for number, value in enumerate(VALUES + LISTS)}
    assert sorted(indexed(held).candidates(test)) == passing(held, test)
    assert list(FieldIndex().candidates(test)) == []


def test_an_index_follows_adding_and_discarding():
    chance = random.Random(4)
    index, held = FieldIndex(), {}
    for step in range(3_000):
        key, value = f"k{chance.randrange(100)}", chance.choice([*VALUES, *LISTS, chance.randrange(50), str(step % 50)])
        if key in held:
            index.discard(held[key], key)
        held[key] = value
        index.add(value, key)
        if step % 200 == 0:
            for test in TESTS:
                assert sorted(index.candidates(test)) == passing(held, test)


def test_discarding_what_is_not_there_is_harmless():
    index = FieldIndex()
    index.discard("a", "k")
    index.discard([1], "k")
    index.add("a", "k")
    index.add("a", "k")
    index.discard("a", "other")
    assert list(index.candidates(Equal("a"))) == ["k"]
    for _ in range(2):
        index.discard("a", "k")
        assert list(index.candidates(Equal("a"))) == []
        assert list(index.candidates(prefix(""))) == []


def test_without_discarding_an_index_names_every_key_that_ever_held_the_value():
    index = FieldIndex()
    for value in ("a", "b", 1):
        index.add(value, "k")
    for test in (Equal("a"), Equal("b"), Equal(1), between("a", "b"), one_of("a", "b", 1)):
        assert list(index.candidates(test)) == ["k"]


@pytest.mark.parametrize("test", [Between("a", 1), Between(False, 1), Between([], None)], ids=repr)
def test_an_index_says_when_it_cannot_help(test):
    index = indexed({"a": "a", "b": 1})
    assert index.candidates(test) is None
    assert index.estimate(test) is None


def test_an_index_gives_its_caller_a_copy():
    index = indexed({"a": 1, "b": 1})
    for test in (Equal(1), between(0, 9)):
        candidates = index.candidates(test)
        index.add(1, "c")
        assert sorted(candidates) == ["a", "b"]
        index.discard(1, "c")


def test_an_estimate_is_right_for_single_values_and_near_for_ranges():
    index = indexed({f"{number:04}": number % 100 for number in range(1_000)})
    assert index.estimate(Equal(5)) == 10
    assert index.estimate(one_of(5, 6, 1_000)) == 20
    assert index.estimate(absent) == 0
    assert index.estimate(between(10, 19)) == 100
    assert index.estimate(between("a", None)) == 0


def test_an_index_remembers_that_it_does_not_know_all():
    index = indexed({"a": 1, "b": None, "c": ABSENT})
    assert not index.partial
    index.add([1], "d")
    assert index.partial


def test_values_come_in_the_order_of_sort_key():
    held = {f"{number}": value for number, value in enumerate(VALUES)}
    bools, numbers, texts = indexed(held).in_order()
    assert bools == [False, True]
    assert numbers == sorted({value for value in VALUES if type(value) in (int, float)})
    assert texts == sorted(value for value in VALUES if isinstance(value, str))
    assert sorted(map(repr, indexed(held).values())) == sorted(repr(value) for value in VALUES if repr(value) != "1.0")


@pytest.mark.parametrize("count", [0, 1, 4_000, 4_001, 30_000])
def test_sorting_in_pieces_sorts(count):
    chance = random.Random(count)
    for values in (
        [chance.random() for _ in range(count)],
        [chance.choice([1, 2.5, 2**70]) for _ in range(count)],
        list(range(count)),
        list(range(count, 0, -1)),
        [str(chance.randrange(10**6)) for _ in range(count)],
    ):
        pauses = []
        before = list(values)
        assert sorted_in_pieces(values, lambda pauses=pauses: pauses.append(1)) == sorted(values)
        assert values == before
        assert len(pauses) > count // 1_000 or count <= 4_000


def test_readers_go_on_while_one_thread_adds():
    """A reader sees at least what was added before its call, and nothing breaks under it."""
    interval = sys.getswitchinterval()
    index = FieldIndex()
    values = [*VALUES, *range(300), *map(str, range(300))]
    done = []
    wrong = []

    def add():
        for number, value in product(range(20), values):
            index.add(value, f"{number}")
            done.append((value, f"{number}"))

    def read():
        tests = [Equal(None), Equal(5), prefix(""), between(0, None), one_of(True, "7", 7)]
        while writer.is_alive():
            for test in tests:
                count = len(done)
                expected = {key for value, key in done[:count] if matcher(test)(value)}
                if not expected <= set(index.candidates(test)):
                    wrong.append(test)
                index.estimate(test)

    sys.setswitchinterval(1e-5)
    try:
        writer = threading.Thread(target=add)
        readers = [threading.Thread(target=read) for _ in range(2)]
        for thread in (writer, *readers):
            thread.start()
        for thread in (writer, *readers):
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
