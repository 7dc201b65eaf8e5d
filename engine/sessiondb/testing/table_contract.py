"""The contract of `sessiondb.Table`: the same on every backend, before and after the store was opened again."""

from __future__ import annotations

from typing import Any

import pytest

from ..errors import DuplicateKeyError, UsageError, ValidationError
from .find_contract import FindContract
from .record_contract import RecordContract
from .table_under_test import TableUnderTest

__all__ = ["TableContract", "TableUnderTest"]


class TableContract(RecordContract, FindContract):
    """Subclass it in a test module and set `url`, for example to ``"json:///{path}.json"``.

    Every test runs twice: plain, and with the store closed and opened again before each read.
    """

    # ---- the mapping

    def test_a_new_table_is_empty(self, records: TableUnderTest) -> None:
        assert len(records.read) == 0
        assert not records.read
        assert list(records.read) == []
        assert records.read.get("a") is None
        assert "a" not in records.read

    def test_what_was_set_is_there(self, records: TableUnderTest) -> None:
        records.write["a"] = {"n": 1}
        assert records.read["a"] == {"n": 1}
        assert records.read.get("a") == {"n": 1}
        assert "a" in records.read
        assert len(records.read) == 1

    def test_setting_again_replaces_the_record_wholesale(self, records: TableUnderTest) -> None:
        records.write["a"] = {"n": 1, "old": True}
        records.write["a"] = {"n": 2}
        assert records.read["a"] == {"n": 2}
        assert len(records.read) == 1

    def test_a_missing_key_is_a_key_error_or_the_default(self, records: TableUnderTest) -> None:
        records.write["a"] = 1
        with pytest.raises(KeyError):
            records.read["b"]
        assert records.read.get("b", "default") == "default"

    def test_a_deleted_record_is_gone(self, records: TableUnderTest) -> None:
        records.write.put_many({"a": 1, "b": 2})
        del records.write["a"]
        assert dict(records.read) == {"b": 2}
        with pytest.raises(KeyError):
            del records.write["a"]
        records.write["a"] = 3
        assert dict(records.read) == {"a": 3, "b": 2}

    def test_nobody_shares_a_record(self, records: TableUnderTest) -> None:
        mine = {"list": [1]}
        records.write["a"] = mine
        mine["list"].append(2)
        assert records.read["a"] == {"list": [1]}
        records.write["a"]["list"].append(3)
        assert records.read["a"] == {"list": [1]}

    def test_iteration_is_in_the_order_of_the_keys_utf8_bytes(self, records: TableUnderTest) -> None:
        keys = ["\U00010000", "b", "\uffff", "a", "é", "B", "10", "9"]
        for number, key in enumerate(keys):
            records.write[key] = number
        in_order = sorted(keys, key=str.encode)
        assert list(records.read) == in_order
        assert list(reversed(records.read)) == in_order[::-1]
        assert list(records.read.keys()) == in_order
        assert [key for key, _ in records.read.items()] == in_order
        assert list(records.read.values()) == [keys.index(key) for key in in_order]

    def test_order_holds_across_checkpoints(self, records: TableUnderTest) -> None:
        for key in "bdf":
            records.write[key] = "backend"
        records.database.checkpoint()
        for key in "ace":
            records.write[key] = "log"
        del records.write["d"]
        assert "".join(records.read) == "abcef"
        assert "".join(reversed(records.read)) == "fecba"
        assert len(records.read) == 5

    def test_pop_gives_the_record_and_deletes_it(self, records: TableUnderTest) -> None:
        records.write["a"] = 1
        assert records.read.pop("a") == 1
        assert "a" not in records.read
        assert records.write.pop("a", "default") == "default"
        with pytest.raises(KeyError):
            records.write.pop("a")

    def test_popitem_takes_the_first_record(self, records: TableUnderTest) -> None:
        records.write.put_many({"b": 2, "a": 1})
        assert records.read.popitem() == ("a", 1)
        assert dict(records.read) == {"b": 2}
        records.write.clear()
        with pytest.raises(KeyError):
            records.read.popitem()

    def test_setdefault_stores_only_what_is_missing(self, records: TableUnderTest) -> None:
        assert records.write.setdefault("a", 1) == 1
        assert records.write.setdefault("a", 2) == 1
        assert dict(records.read) == {"a": 1}

    def test_update_takes_what_dict_update_takes(self, records: TableUnderTest) -> None:
        records.write.update({"a": 1})
        records.write.update([("b", 2)], c=3)
        records.write.update(d=4)
        assert dict(records.read) == {"a": 1, "b": 2, "c": 3, "d": 4}

    def test_clear_empties_the_table_and_keeps_it(self, records: TableUnderTest) -> None:
        records.write.update(a=1, b=2)
        records.write.clear()
        assert dict(records.read) == {}
        assert records.database.tables() == {"records": "json"}

    # ---- one record

    def test_insert_refuses_a_key_that_exists(self, records: TableUnderTest) -> None:
        records.write.insert("a", 1)
        with pytest.raises(DuplicateKeyError) as caught:
            records.read.insert("a", 2)
        assert (caught.value.table, caught.value.key) == ("records", "a")
        assert records.read["a"] == 1
        del records.write["a"]
        records.write.insert("a", 3)
        assert records.read["a"] == 3

    def test_insert_takes_the_key_from_the_id_field(self, records: TableUnderTest) -> None:
        table = records.of(dict, id="id")
        table.write.insert({"id": "a", "n": 1})
        assert table.read["a"] == {"id": "a", "n": 1}
        with pytest.raises(ValidationError):
            table.write.insert({"n": 1})

    def test_insert_without_a_key_needs_an_id_field(self, records: TableUnderTest) -> None:
        with pytest.raises(UsageError, match="id="):
            records.write.insert({"id": "a"})

    def test_patch_changes_some_fields(self, records: TableUnderTest) -> None:
        records.write["a"] = {"n": 1, "m": {"x": 1}, "gone": 0}
        assert records.write.patch("a", {"n": 2, "m": {"y": 2}}) == {"n": 2, "m": {"y": 2}, "gone": 0}
        assert records.read["a"] == {"n": 2, "m": {"y": 2}, "gone": 0}

    def test_patch_of_a_missing_record_is_a_key_error(self, records: TableUnderTest) -> None:
        with pytest.raises(KeyError):
            records.write.patch("a", {"n": 1})
        assert dict(records.read) == {}

    def test_modify_reads_changes_and_writes(self, records: TableUnderTest) -> None:
        records.write["a"] = {"n": 1}
        assert records.read.modify("a", lambda record: {"n": record["n"] + 1}) == {"n": 2}
        assert records.read["a"] == {"n": 2}

    def test_modify_of_a_missing_record_takes_the_default(self, records: TableUnderTest) -> None:
        with pytest.raises(KeyError):
            records.write.modify("a", lambda record: record)
        assert records.write.modify("a", lambda n: n + 1, default=10) == 11
        assert records.read["a"] == 11

    def test_modify_that_raises_changes_nothing(self, records: TableUnderTest) -> None:
        records.write["a"] = {"n": 1}

        def fail(record: Any) -> Any:
            record["n"] = 2
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            records.write.modify("a", fail)
        assert records.read["a"] == {"n": 1}

    def test_replace_stores_only_over_what_is_expected(self, records: TableUnderTest) -> None:
        records.write["a"] = {"n": 1, "m": 2}
        assert records.read.replace("a", {"m": 2, "n": 1}, {"n": 2}) is True
        assert records.read.replace("a", {"n": 1}, {"n": 3}) is False
        assert records.read.replace("b", {"n": 1}, {"n": 3}) is False
        assert dict(records.read) == {"a": {"n": 2}}

    # ---- many records

    def test_put_many_takes_a_mapping_or_pairs(self, records: TableUnderTest) -> None:
        records.write.put_many({"a": 1, "b": 2})
        records.write.put_many((key, 3) for key in "cc")
        records.write.put_many({})
        assert dict(records.read) == {"a": 1, "b": 2, "c": 3}

    def test_put_many_stores_all_or_nothing(self, records: TableUnderTest) -> None:
        with pytest.raises(ValidationError):
            records.write.put_many([("a", 1), ("b", float("nan"))])
        assert dict(records.read) == {}

    def test_get_many_gives_what_exists_in_the_order_asked_for(self, records: TableUnderTest) -> None:
        records.write.update(a=1, b=2)
        records.database.checkpoint()
        records.write.update(c=3, d=4)
        del records.write["b"]
        assert list(records.read.get_many(["d", "x", "b", "a", "d"]).items()) == [("d", 4), ("a", 1)]
        assert records.read.get_many([]) == {}

    def test_delete_many_counts_what_there_was(self, records: TableUnderTest) -> None:
        records.write.update(a=1, b=2, c=3)
        assert records.read.delete_many(["c", "x", "a", "a"]) == 2
        assert records.read.delete_many(["c"]) == 0
        assert dict(records.read) == {"b": 2}

    def test_delete_prefix_counts_what_there_was(self, records: TableUnderTest) -> None:
        records.write.update({"a": 0, "ab": 1, "ab\U0010ffff": 2, "abc": 3, "ac": 4, "b": 5})
        assert records.read.delete_prefix("ab") == 3
        assert records.read.delete_prefix("ab") == 0
        assert list(records.read) == ["a", "ac", "b"]
        assert records.write.delete_prefix("") == 3
        assert list(records.read) == []

    # ---- ranges

    def test_scan_gives_pairs_in_key_order(self, records: TableUnderTest) -> None:
        records.write.update({"a1": 1, "a2": 2, "b1": 3, "b2": 4, "c": 5})
        read = records.read

        def keys(*args: Any, **options: Any) -> list[str]:
            return [key for key, _ in read.scan(*args, **options)]

        assert list(read.scan("a")) == [("a1", 1), ("a2", 2)]
        assert keys() == ["a1", "a2", "b1", "b2", "c"]
        assert keys(reverse=True) == ["c", "b2", "b1", "a2", "a1"]
        assert keys("b", reverse=True, limit=1) == ["b2"]
        assert keys(start="a2", stop="b2") == ["a2", "b1"]
        assert keys("b", start="b2") == ["b2"]
        assert keys("b", stop="b2") == ["b1"]
        assert keys("b", start="a", stop="z") == ["b1", "b2"]
        assert keys(start="b2", stop="a1") == []
        assert keys(limit=0) == []
        assert keys(limit=99) == keys()
        assert keys("nothing") == []

    def test_scan_by_prefix_knows_the_last_characters(self, records: TableUnderTest) -> None:
        keys = ["a", "a\U0010ffff", "a\U0010ffff\U0010ffff", "b", "\ud7ff", "\ud7ffx", "\ue000", "\U0010ffff"]
        records.write.put_many(dict.fromkeys(keys, 0))
        assert [key for key, _ in records.read.scan("a\U0010ffff")] == ["a\U0010ffff", "a\U0010ffff\U0010ffff"]
        assert [key for key, _ in records.read.scan("\ud7ff")] == ["\ud7ff", "\ud7ffx"]
        assert [key for key, _ in records.read.scan("\U0010ffff")] == ["\U0010ffff"]

    def test_a_scan_shows_the_moment_of_the_call(self, records: TableUnderTest) -> None:
        records.write.update(a=1, b=2, c=3)
        table = records.read
        scan = table.scan()
        table.update(a=9, bb=9)
        del table["b"]
        records.database.checkpoint()
        table["c"] = 9
        assert list(scan) == [("a", 1), ("b", 2), ("c", 3)]
        assert dict(table) == {"a": 9, "bb": 9, "c": 9}

    def test_count_counts_all_or_a_prefix(self, records: TableUnderTest) -> None:
        records.write.update({"a1": 1, "a2": 2})
        records.database.checkpoint()
        records.write.update({"a2": 0, "a3": 3, "b": 4})
        del records.write["a1"]
        assert records.read.count() == len(records.read) == 3
        assert records.read.count("a") == 2
        assert records.read.count("x") == 0

    # ---- tables

    def test_tables_do_not_see_each_other(self, records: TableUnderTest) -> None:
        records.write["a"] = 1
        other = records.of(name="other")
        other.write["a"] = 2
        assert dict(other.read) == {"a": 2}
        assert records.database.tables() == {"other": "json", "records": "json"}
        assert records.database.table("records")["a"] == 1

    def test_a_dropped_table_is_gone_and_may_come_back_as_another_kind(self, records: TableUnderTest) -> None:
        records.write.update(a=1, b=2)
        assert records.database.drop("records") is True
        assert records.database.drop("records") is False
        assert dict(records.read) == {}
        assert records.database.tables() == {}
        blobs = records.of(bytes)
        blobs.write["b"] = b"\xff"
        assert dict(blobs.read) == {"b": b"\xff"}
        assert records.database.tables() == {"records": "bytes"}

    def test_records_after_a_drop_are_the_only_ones(self, records: TableUnderTest) -> None:
        records.write.update(a=1, b=2)
        records.database.checkpoint()
        records.database.drop("records")
        records.write["b"] = 3
        records.write["c"] = 4
        assert dict(records.read) == {"b": 3, "c": 4}
        assert len(records.read) == 2
        assert records.read.get("a") is None
