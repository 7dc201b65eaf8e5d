"""The data model, the same on every backend: what may be stored comes back equal, everything else is refused."""

from __future__ import annotations

import enum
from typing import Any

import msgspec
import pytest

from ..errors import UsageError, ValidationError
from .table_under_test import TableSetup, TableUnderTest
from .view_contract import ODD_KEYS

__all__ = ["RecordContract"]

STORABLE: list[Any] = [
    None, False, True, 0, 1, -1, 2**63, 2**64 - 1, -(2**63), 2**53 + 1, 0.0, -0.0, 0.1, 1e300, 5e-324, 1e22,
    "", "a", "é", "e\u0301", "\0", "\u2028", "😀", "\U0010ffff", "\ud7ff\ue000", '"\\/\b\f\n\r\t\x1f\x7f',
    "x" * 100_000, [], [[]], [None, False, 0, ""], {}, {"": {}}, {"a": None}, {"a": [{"b": [1]}]},
    {"\0": 1, "é": 2, '"': 3},
]  # fmt: skip
"""JSON values that every backend must give back as they are."""


class Level(enum.Enum):
    """An enumeration, as a field's type."""

    LOW = "low"
    HIGH = "high"


class Part(msgspec.Struct):
    """A nested record."""

    name: str
    size: int = 0


class Typed(msgspec.Struct, rename="camel", kw_only=True):
    """A record whose encoded names differ from the attributes'."""

    task_id: str
    branch_name: str | None = None
    note: str | msgspec.UnsetType = msgspec.UNSET
    level: Level = Level.LOW
    parts: list[Part] = []
    pair: tuple[int, str] = (0, "")
    tags: set[str] = set()
    raw: bytes = b""


class RecordContract(TableSetup):
    """Tests of records; part of `sessiondb.testing.TableContract`."""

    @pytest.mark.parametrize("value", STORABLE, ids=lambda value: ascii(value)[:20])
    def test_a_json_value_comes_back_as_it_was(self, records: TableUnderTest, value: Any) -> None:
        records.write["a"] = value
        records.write["b"] = {"field": [value]}
        read = records.read
        assert repr(read["a"]) == repr(value)  # repr: 0, 0.0, -0.0 and False are different values
        assert repr(read["b"]) == repr({"field": [value]})

    def test_false_empty_zero_null_and_absent_stay_different(self, records: TableUnderTest) -> None:
        values: dict[str, Any] = {"false": False, "text": "", "zero": 0, "null": None, "list": [], "object": {}}
        records.write.put_many(values)
        records.write["fields"] = values
        read = records.read
        for key, value in values.items():
            assert key in read
            assert repr(read[key]) == repr(value)
            assert repr(read.get(key, "default")) == repr(value)
        assert "absent" not in read
        assert read.get("absent", "default") == "default"
        assert repr(read["fields"]) == repr(values)
        assert records.write.pop("null", "default") is None
        assert "null" not in records.read

    def test_odd_keys_come_back_as_they_were(self, records: TableUnderTest) -> None:
        records.write.put_many({key: key for key in ODD_KEYS})
        read = records.read
        assert list(read) == sorted(ODD_KEYS, key=str.encode)
        assert all(read[key] == key for key in ODD_KEYS)

    @pytest.mark.parametrize("key", ["", "a\0b", "\ud800", "k" * 481, "é" * 241, 1, None, b"a", ("a",)], ids=ascii)
    def test_a_key_that_cannot_be_stored_is_refused(self, records: TableUnderTest, key: Any) -> None:
        writes: list[Any] = [
            lambda table: table.put(key, 1),
            lambda table: table.insert(key, 1),
            lambda table: table.put_many({"a": 1, key: 1}),
            lambda table: table.delete_many([key]),
            lambda table: table.modify(key, lambda record: record, default=1),
            lambda table: table.patch(key, {}),
            lambda table: table.replace(key, 1, 1),
        ]
        for write in writes:
            with pytest.raises(ValidationError):
                write(records.write)
        assert key not in records.read
        assert dict(records.read) == {}

    @pytest.mark.parametrize(
        "value",
        [float("nan"), float("inf"), float("-inf"), b"a", (1,), {1}, {1: 2}, "\ud800", {"\ud800": 1}, 2**64, ...],
        ids=ascii,
    )
    def test_a_value_that_would_not_come_back_is_refused_with_its_path(
        self, records: TableUnderTest, value: Any
    ) -> None:
        with pytest.raises(ValidationError) as caught:
            records.write["a"] = {"list": [0, {"field": value}]}
        assert (caught.value.table, caught.value.key) == ("records", "a")
        assert caught.value.path.startswith("$.list[1].field")
        assert dict(records.read) == {}

    def test_typed_records_come_back_equal(self, records: TableUnderTest) -> None:
        table = records.of(Typed, id="task_id")
        full = Typed(
            task_id="a", branch_name="main", note="n", level=Level.HIGH, parts=[Part("p", 1)], pair=(1, "x"),
            tags={"u"}, raw=b"\0\xff",
        )  # fmt: skip
        table.write.insert(full)
        table.write.insert(Typed(task_id="b"))
        assert table.read["a"] == full
        assert table.read["b"] == Typed(task_id="b")
        assert table.read["b"].note is msgspec.UNSET

    def test_records_are_stored_under_their_encoded_names(self, records: TableUnderTest) -> None:
        records.of(Typed).write["a"] = Typed(task_id="a", branch_name="main")
        stored = records.of().read["a"]
        assert stored["taskId"] == "a"
        assert stored["branchName"] == "main"
        assert "note" not in stored

    def test_fields_the_type_does_not_know_survive_patch_and_modify(self, records: TableUnderTest) -> None:
        records.write["a"] = {"future": {"x": 1}, "taskId": "a", "branchName": "old"}
        table = records.of(Typed)
        table.write.patch("a", {"branch_name": "new"})
        table.write.modify("a", lambda record: msgspec.structs.replace(record, note="n"))
        stored = records.of().read["a"]
        assert (stored["future"], stored["branchName"], stored["note"]) == ({"x": 1}, "new", "n")
        records.of(Typed).write["a"] = Typed(task_id="a")
        assert "future" not in records.of().read["a"]

    def test_patch_keeps_what_is_absent_stores_none_and_removes_unset(self, records: TableUnderTest) -> None:
        table = records.of(Typed)
        table.write["a"] = Typed(task_id="a", branch_name="main", note="n")
        table.write.patch("a", {"branch_name": None, "note": msgspec.UNSET})
        assert table.read["a"] == Typed(task_id="a", branch_name=None)
        stored = records.of().read["a"]
        assert stored["branchName"] is None
        assert "note" not in stored

    def test_the_id_cannot_change(self, records: TableUnderTest) -> None:
        table = records.of(Typed, id="task_id")
        table.write.insert(Typed(task_id="a"))
        with pytest.raises(ValidationError, match="id"):
            table.write.patch("a", {"task_id": "b"})
        with pytest.raises(ValidationError, match="task_id"):
            table.write.modify("a", lambda record: msgspec.structs.replace(record, task_id="b"))
        with pytest.raises(ValidationError, match="task_id"):
            table.write["b"] = Typed(task_id="a")
        assert dict(table.read) == {"a": Typed(task_id="a")}

    @pytest.mark.parametrize("data", [b"", b"\0", bytes(range(256)), b"null", "é".encode(), b"x" * 100_000], ids=len)
    def test_a_bytes_table_gives_back_the_same_bytes(self, records: TableUnderTest, data: bytes) -> None:
        blobs = records.of(bytes)
        blobs.write["a"] = data
        blobs.write["b"] = bytearray(data)
        assert dict(blobs.read) == {"a": data, "b": data}
        assert type(blobs.read["b"]) is bytes

    def test_a_table_holds_one_kind_of_record(self, records: TableUnderTest) -> None:
        records.write["a"] = 1
        for _ in range(2):
            with pytest.raises(UsageError, match="json"):
                records.database.table("records", bytes)
            records.database.checkpoint()
        blobs = records.of(bytes, name="blobs")
        blobs.write["a"] = b""
        with pytest.raises(UsageError, match="bytes"):
            records.database.table("blobs")
        with pytest.raises(ValidationError):
            blobs.write["a"] = "text"
        assert dict(blobs.read) == {"a": b""}
