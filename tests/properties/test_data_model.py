"""What a table accepts comes back equal, now and after a reopening; what would not is refused before it is logged."""

from __future__ import annotations

import datetime
import decimal
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sessiondb
from properties.quiet_files import QuietFiles
from properties.strategies import any_keys, blobs, json_values, texts
from sessiondb import ValidationError

wild_values: st.SearchStrategy[Any] = st.recursive(
    json_values
    | st.floats()
    | st.integers()
    | st.binary(max_size=5)
    | st.decimals()
    | st.datetimes()
    | st.uuids()
    | st.text(alphabet=st.characters(), max_size=4)
    | st.frozensets(st.integers(), max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(texts | st.integers() | st.booleans() | st.none(), inner, max_size=3)
    ),
    max_leaves=6,
)


def round_trip(folder: Path, records: dict[str, Any], type: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is read at once, and after the file was written and opened again."""
    files = QuietFiles()
    location = folder / "store.json"
    with sessiondb.open(location, files=files) as db:
        db.drop("t")
        table = db.table("t", type)
        table.put_many(records)
        now = {key: table[key] for key in records}
    with sessiondb.open(location, files=files) as db:
        return now, dict(db.table("t", type).items())


def test_every_json_value_comes_back_equal_and_of_the_same_types(effort: settings, tmp_path: Path) -> None:
    @effort
    @given(st.dictionaries(any_keys, json_values, min_size=1, max_size=8))
    def check(records: dict[str, Any]) -> None:
        now, later = round_trip(tmp_path, records, Any)
        # By repr: 1, 1.0 and True are equal in Python, but three values here; and the order of fields is kept.
        assert repr(now) == repr(records)
        assert repr(later) == repr({key: records[key] for key in sorted(records, key=str.encode)})

    check()


def test_bytes_come_back_equal(effort: settings, tmp_path: Path) -> None:
    @effort
    @given(st.dictionaries(any_keys, blobs, min_size=1, max_size=8))
    def check(records: dict[str, bytes]) -> None:
        assert round_trip(tmp_path, records, bytes) == (records, records)

    check()


def test_any_other_python_value_is_refused_with_nothing_logged_or_comes_back_equal(effort: settings) -> None:
    with sessiondb.open("memory:") as db:
        table = db.table("t")

        @effort
        @given(wild_values)
        def check(record: Any) -> None:
            before = db.position()
            table_before = table.get("k")
            try:
                table["k"] = record
            except ValidationError:
                assert db.position() == before
                assert table.get("k") == table_before
            else:
                assert table["k"] == record

        check()


class Item(msgspec.Struct):
    name: str
    price: decimal.Decimal | None = None


class Order(msgspec.Struct, rename="camel", omit_defaults=True):
    order_id: int
    placed_at: datetime.datetime
    items: list[Item] = []
    tags: set[str] = set()
    weights: dict[str, float] = {}
    pair: tuple[int, str] | None = None
    number: uuid.UUID | None = None
    raw: bytes = b""
    note: str | msgspec.UnsetType = msgspec.UNSET


@dataclass
class Point:
    x: float
    y: float = 0.0
    labels: list[str] = field(default_factory=list)


finite = st.floats(allow_nan=False, allow_infinity=False)
orders = st.builds(
    Order,
    st.integers(-(2**63), 2**63 - 1),
    st.datetimes(timezones=st.none() | st.just(datetime.UTC)),
    st.lists(st.builds(Item, texts, st.none() | st.decimals(allow_nan=False, allow_infinity=False)), max_size=2),
    st.sets(texts, max_size=3),
    st.dictionaries(texts, finite, max_size=2),
    st.none() | st.tuples(st.integers(-5, 5), texts),
    st.none() | st.uuids(),
    blobs,
    texts | st.just(msgspec.UNSET),
)


def test_every_typed_record_comes_back_equal(effort: settings, tmp_path: Path) -> None:
    @effort
    @given(st.dictionaries(any_keys, orders, min_size=1, max_size=4))
    def check(records: dict[str, Order]) -> None:
        assert round_trip(tmp_path, records, Order) == (records, records)

    check()


def test_every_dataclass_comes_back_equal(effort: settings, tmp_path: Path) -> None:
    @effort
    @given(
        st.dictionaries(any_keys, st.builds(Point, finite, finite, st.lists(texts, max_size=2)), min_size=1, max_size=4)
    )
    def check(records: dict[str, Point]) -> None:
        assert round_trip(tmp_path, records, Point) == (records, records)

    check()


def test_a_key_is_accepted_if_and_only_if_the_data_model_says_so(effort: settings) -> None:
    with sessiondb.open("memory:") as db:
        table = db.table("t")

        @effort
        @given(st.text(alphabet=st.characters(), max_size=200) | any_keys)
        def check(key: str) -> None:
            surrogate = any("\ud800" <= character <= "\udfff" for character in key)
            good = key and not surrogate and "\0" not in key and len(key.encode()) <= 480
            if good:
                table[key] = 1
                assert key in table
            else:
                with pytest.raises(ValidationError):
                    table[key] = 1
                assert key not in table

        check()


def test_what_a_caller_does_to_a_record_changes_nothing_stored(effort: settings) -> None:
    with sessiondb.open("memory:") as db:
        table = db.table("t")

        @effort
        @given(st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=3))
        def check(record: list[list[int]]) -> None:
            table["k"] = record
            expected = repr(record)
            for copy in (record, table["k"], table.get_many(["k"])["k"], dict(table.items())["k"]):
                copy.append([0])
                copy[0].append(1)
                assert repr(table["k"]) == expected

        check()
