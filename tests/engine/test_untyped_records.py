"""The data model of untyped tables: every value that would not come back equal is refused, with its path."""

import datetime
import decimal
import enum
import sys
import uuid
from collections import OrderedDict
from dataclasses import dataclass

import msgspec
import pytest

import sessiondb
from sessiondb import UNSET, ValidationError


@dataclass
class Point:
    x: int


class Record(msgspec.Struct):
    x: int


class Level(enum.Enum):
    LOW = "low"


NAN = float("nan")
INFINITY = float("inf")


@pytest.fixture
def table(db, all_bytes):
    """An untyped table; afterwards it is still empty, and so are its files."""
    table = db.table("t")
    before = all_bytes()
    yield table
    assert dict(table) == {}
    assert all_bytes() == before


REFUSED = {
    "nan": (NAN, "$"),
    "infinity": (INFINITY, "$"),
    "minus infinity": ({"a": -INFINITY}, "$.a"),
    "nan deep down": ({"a": [{"b": [0.0, NAN]}]}, "$.a[0].b[1]"),
    "bytes": ({"a": b"x"}, "$.a"),
    "bytearray": ({"a": bytearray(b"x")}, "$.a"),
    "memoryview": ({"a": memoryview(b"x")}, "$.a"),
    "tuple": ({"a": (1, 2)}, "$.a"),
    "empty tuple": ({"a": ()}, "$.a"),
    "tuple in a list": ([[], [(1,)]], "$[1][0]"),
    "set": ({"a": {1}}, "$.a"),
    "frozenset": ({"a": frozenset()}, "$.a"),
    "int key": ({"a": {1: 2}}, "$.a"),
    "float key": ({"a": {1.5: 2}}, "$.a"),
    "int and str key": ({"a": {1: 0, "1": 0}}, "$.a"),
    "int key at the top": ({1: 2}, "$"),
    "datetime": ({"at": datetime.datetime(2026, 1, 1)}, "$.at"),
    "date": ({"at": datetime.date(2026, 1, 1)}, "$.at"),
    "timedelta": ({"at": datetime.timedelta(1)}, "$.at"),
    "decimal": ({"n": decimal.Decimal("1.5")}, "$.n"),
    "uuid": ({"n": uuid.UUID(int=1)}, "$.n"),
    "enum": ({"n": Level.LOW}, "$.n"),
    "struct": ({"n": Record(1)}, "$.n"),
    "dataclass": ({"n": [Point(1)]}, "$.n[0]"),
    "unset": ({"n": UNSET}, "$"),
    "lone surrogate": ({"a": ["ok", "x\ud800"]}, "$.a[1]"),
    "lone surrogate in a key": ({"a": {"\udfff": 1}}, "$.a"),
    "int over 64 bits": ({"a": [1, 2**64]}, "$.a[1]"),
    "int under 64 bits": ({"a": -(2**63) - 1}, "$.a"),
    "huge int": ({"a": 10**400}, "$.a"),
    "object": ({"a": object()}, "$.a"),
    "function": ({"a": [len]}, "$.a[0]"),
    "complex": ({"a": 1j}, "$.a"),
    "generator": ({"a": iter(())}, "$.a"),
}


@pytest.mark.parametrize(("value", "where"), REFUSED.values(), ids=REFUSED)
def test_a_value_that_would_not_come_back_is_refused_before_anything_is_logged(table, value, where):
    for write in (
        lambda: table.put("k", value),
        lambda: table.insert("k", value),
        lambda: table.put_many({"a": 1, "k": value}),
        lambda: table.modify("k", lambda _: value, default=0),
        lambda: table.setdefault("k", value),
        lambda: table.update(k=value),
    ):
        with pytest.raises(ValidationError) as caught:
            write()
        assert (caught.value.table, caught.value.key) == ("t", "k")
        assert caught.value.path.startswith(where)
        assert "'t'" in str(caught.value)
        assert "'k'" in str(caught.value)


REFUSED_FIELDS = {name: case for name, case in REFUSED.items() if isinstance(case[0], dict) and name != "unset"}


@pytest.mark.parametrize(("value", "where"), REFUSED_FIELDS.values(), ids=REFUSED_FIELDS)
def test_patch_refuses_the_same_values_with_the_same_path(db, value, where):
    table = db.table("t")
    table["k"] = {"before": 1}
    with pytest.raises(ValidationError) as caught:
        table.patch("k", value)
    assert (caught.value.table, caught.value.key) == ("t", "k")
    assert caught.value.path.startswith(where)
    assert dict(table) == {"k": {"before": 1}}


def test_a_cycle_is_refused(table):
    record = {}
    record["self"] = record
    with pytest.raises(ValidationError, match="nested too deeply"):
        table["k"] = record


@pytest.mark.parametrize("step", [1, 7])
def test_nesting_is_either_refused_or_stored_for_good(db, step):
    """At no depth does an encoder, a decoder or a comparison run out of stack after it was logged."""
    table = db.table("t")
    for depth in range(1, sys.getrecursionlimit() + 50, step):
        value = []
        for _ in range(depth):
            value = [value]
        key = str(depth)
        try:
            table.put(key, value, sync="never")
        except ValidationError:
            assert key not in table
        else:
            found, depth_found = table[key], 0
            while found:
                found, depth_found = found[0], depth_found + 1
            assert depth_found == depth


def test_a_nesting_of_ninety_objects_and_lists_is_fine(db):
    value = []
    for _ in range(90):
        value = {"a": [value]}
    table = db.table("t")
    table["k"] = value
    assert table["k"] == value


class Text(str):
    __slots__ = ()


class Number(int):
    pass


@pytest.mark.parametrize(
    ("value", "stored"),
    [(OrderedDict(b=1, a=2), {"b": 1, "a": 2}), (Text("x"), "x"), ({Text("k"): [Text("v")]}, {"k": ["v"]})],
    ids=["ordered dict", "text", "text inside"],
)
def test_a_subclass_that_equals_its_base_is_stored_as_the_base(db, value, stored):
    table = db.table("t")
    try:
        table["k"] = value
    except ValidationError:
        assert "k" not in table
        return
    assert table["k"] == stored
    assert type(table["k"]) is type(stored)


def test_a_subclass_of_str_is_a_key_like_any_other(db):
    table = db.table("t")
    table[Text("k")] = 1
    assert table["k"] == table[Text("k")] == table.get(Text("k")) == 1
    assert Text("k") in table
    assert [type(key) for key in table] == [str]


def test_the_order_of_fields_is_kept(db, open_db):
    record = {"z": 1, "a": {"y": 1, "b": 2}, "m": 3}
    db.table("t")["k"] = record
    db.close()
    assert repr(open_db().table("t")["k"]) == repr(record)


@pytest.mark.parametrize("value", [None, False, 0, "", 0.0], ids=repr)
def test_a_false_value_is_not_absence_anywhere(db, value):
    table = db.table("t")
    table["k"] = value
    assert "k" in table
    assert len(table) == 1
    assert repr(table.get("k", "default")) == repr(value)
    assert repr(table.setdefault("k", "default")) == repr(value)
    assert repr(table.modify("k", lambda old: [old])) == repr([value])
    table["k"] = value
    with pytest.raises(sessiondb.DuplicateKeyError):
        table.insert("k", 1)
    assert table.replace("k", value, value) is True
    assert repr(table.get_many(["k"])) == repr({"k": value})
    assert repr(list(table.scan())) == repr([("k", value)])
    assert repr(table.pop("k", "default")) == repr(value)
    assert table.pop("k", "default") == "default"


def test_a_function_of_modify_that_returns_nothing_is_refused(db):
    table = db.table("t")
    table["k"] = {"n": 1}
    with pytest.raises(ValidationError, match="returned None"):
        table.modify("k", lambda record: record.update(n=2))
    assert table["k"] == {"n": 1}


def test_patch_of_something_that_is_no_object_is_refused(db):
    table = db.table("t")
    table["k"] = [1]
    with pytest.raises(ValidationError, match="no JSON object"):
        table.patch("k", {"a": 1})
    assert table["k"] == [1]


@pytest.mark.parametrize("field", [1, None, b"a", "\ud800", ("a",)], ids=ascii)
def test_patch_refuses_a_field_whose_name_is_no_text(db, field):
    table = db.table("t")
    table["k"] = {"a": 1}
    with pytest.raises(ValidationError):
        table.patch("k", {field: 1})
    assert table["k"] == {"a": 1}


def test_patch_of_nothing_changes_nothing(db):
    table = db.table("t")
    table["k"] = {"a": 1}
    assert table.patch("k", {}) == {"a": 1}
    assert table.patch("k", {"absent": UNSET}) == {"a": 1}


def test_errors_do_not_print_whole_records(db):
    with pytest.raises(ValidationError) as caught:
        db.table("t")["k"] = {"a": {"b" * 10_000, "c" * 10_000}}
    assert len(str(caught.value)) < 400
