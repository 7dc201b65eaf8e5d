"""The contract of `Table.find`, `count` with conditions, and indexes: the same answers on every backend.

What a value equals and where it stands in an order is written out once more in `find_cases`, by hand.
"""

from __future__ import annotations

import datetime
import random
from typing import Any

import pytest

from .. import absent, between, one_of, prefix
from ..errors import UsageError, ValidationError
from .find_cases import ASCENDING, FOUND, RECORDS, Job, Level, by_bytes, keys
from .table_under_test import TableSetup, TableUnderTest

__all__ = ["FindContract"]


class FindContract(TableSetup):
    """Tests of queries; part of `sessiondb.testing.TableContract`."""

    @pytest.fixture(params=[False, True], ids=["no index", "indexed"])
    def asked(self, records: TableUnderTest, request: pytest.FixtureRequest) -> TableUnderTest:
        """A table of `RECORDS`, some of them in the backend before others came, with or without an index on ``f``."""
        records.of(indexes=["f"] if request.param else [])
        names = list(RECORDS)
        records.write.put_many({name: {"f": "to be replaced"} for name in names[::3]})
        records.write["gone"] = {"f": 1}
        records.write.put_many({name: RECORDS[name] for name in names[::2]})
        records.database.checkpoint()
        records.write.put_many({name: RECORDS[name] for name in names if name not in names[::2]})
        del records.write["gone"]
        return records

    @pytest.fixture
    def jobs(self, records: TableUnderTest) -> TableUnderTest:
        """A typed table with three records."""
        day = datetime.date(2026, 5, 1)
        records.of(Job, id="job_id", indexes=["repo_name", "due_on"])
        records.write.insert(Job(job_id="a", repo_name="x", run_count=3, is_open=True, due_on=day))
        records.write.insert(Job(job_id="b", repo_name="y", run_count=2, level=Level.HIGH, note="n"))
        records.database.checkpoint()
        records.write.insert(Job(job_id="c", repo_name="x", run_count=1, due_on=day + datetime.timedelta(1)))
        return records

    # ---- where

    def test_find_gives_everything_in_key_order_without_conditions(self, asked: TableUnderTest) -> None:
        found = list(asked.read.find())
        assert keys(found) == by_bytes(RECORDS)
        assert repr(dict(found)) == repr({name: RECORDS[name] for name in by_bytes(RECORDS)})
        assert keys(asked.write.find({})) == keys(found)

    def test_each_condition_finds_the_same_on_every_backend(self, asked: TableUnderTest) -> None:
        table = asked.read
        for wanted, names in FOUND:
            expected = by_bytes(names.split("|")) if names else []
            found = list(table.find({"f": wanted}))
            assert keys(found) == expected, f"{wanted!r}"
            assert repr([record for _, record in found]) == repr([RECORDS[name] for name in expected])
            assert table.count(where={"f": wanted}) == len(expected), f"{wanted!r}"

    def test_all_conditions_must_hold(self, asked: TableUnderTest) -> None:
        table = asked.read
        assert keys(table.find({"f": between(0, 1), "g": "x"})) == ["0", "1.0"]
        assert keys(table.find({"g": one_of("x", "y"), "f": prefix("a")})) == ["a", "ab"]
        assert keys(table.find({"f": 1, "g": absent})) == []
        assert keys(table.find({"f": absent, "other": 1, "nothing": absent})) == ["absent"]
        assert table.count(where={"g": "x", "f": absent}) == 0
        assert table.count(where={"g": "x"}) == 3
        assert table.count(where={}) == table.count() == len(RECORDS)

    def test_find_in_an_empty_table_finds_nothing(self, records: TableUnderTest) -> None:
        for indexes in ([], ["f"]):
            table = records.of(indexes=indexes).read
            assert list(table.find()) == list(table.find({"f": 1}, order_by="f", limit=3, offset=1)) == []
            assert table.count(where={"f": absent}) == 0

    @pytest.mark.parametrize("name", ["", " ", "a.b", "$", "'", '"', "\\", "é", "😀", "select", "a\nb"], ids=ascii)
    def test_fields_of_any_name_are_found(self, records: TableUnderTest, name: str) -> None:
        if name and name.isprintable():
            records.of(indexes=[name])
        records.write.put_many({"a": {name: 1}, "b": {name: "x"}, "c": {"other": {name: 1}}})
        table = records.read
        assert keys(table.find({name: 1})) == ["a"]
        assert keys(table.find({name: prefix("")})) == ["b"]
        assert keys(table.find({name: absent})) == ["c"]
        if not name.startswith("-") and name:
            assert keys(table.find(order_by=f"-{name}")) == ["b", "a", "c"]

    def test_nobody_shares_a_found_record(self, records: TableUnderTest) -> None:
        records.write["a"] = {"f": 1, "list": []}
        for _, record in records.read.find({"f": 1}):
            record["list"].append(1)
        assert dict(records.write.find({"f": 1})) == {"a": {"f": 1, "list": []}}

    # ---- order, limit, offset

    def test_null_and_absent_come_last_in_both_directions(self, asked: TableUnderTest) -> None:
        table = asked.read
        last = by_bytes(set(RECORDS) - set(ASCENDING))
        assert keys(table.find(order_by="f")) == ASCENDING + last
        descending = ASCENDING[::-1]
        ones = descending.index("1.0")
        descending[ones : ones + 2] = ["1", "1.0"]  # equal values: by key, ascending
        assert keys(table.find(order_by="-f")) == keys(table.find(order_by=["-f"])) == descending + last

    def test_ties_are_broken_by_the_next_field_and_in_the_end_by_key(self, records: TableUnderTest) -> None:
        rows = {"a": (1, 2), "b": (1, 1), "c": (0, 9), "d": (1, None), "e": (None, 5), "f": (1, 2)}
        records.write.put_many({key: {"x": x, "y": y} for key, (x, y) in rows.items()})
        table = records.read
        assert keys(table.find(order_by=["x", "y"])) == ["c", "b", "a", "f", "d", "e"]
        assert keys(table.find(order_by=["-x", "y"])) == ["b", "a", "f", "d", "c", "e"]
        assert keys(table.find(order_by=("-x", "-y"))) == ["a", "f", "b", "d", "c", "e"]
        assert keys(table.find(order_by="x")) == ["c", "a", "b", "d", "f", "e"]
        assert keys(table.find(order_by="nothing")) == list("abcdef")
        assert keys(table.find({"x": 1}, order_by="-y")) == ["a", "f", "b", "d"]

    @pytest.mark.parametrize("many", [2**53, 2**63 - 1, 2**63, 2**70])
    def test_a_limit_or_offset_may_be_of_any_size(self, asked: TableUnderTest, many: int) -> None:
        everything = keys(asked.read.find())
        assert keys(asked.read.find(limit=many)) == everything
        assert keys(asked.read.find(order_by="n", limit=many, offset=1)) == keys(asked.read.find(order_by="n"))[1:]
        assert keys(asked.read.find(offset=many)) == []
        assert keys(asked.read.find(offset=many, limit=many)) == []

    def test_limit_and_offset_cut_what_is_ordered(self, asked: TableUnderTest) -> None:
        table = asked.read
        for where, order_by in (
            ({}, ()), ({}, "f"), ({}, "-f"), ({"f": between("a", None)}, ()), ({"f": between("a", None)}, "-f"),
            ({"g": one_of("x", "y")}, ["g", "-f"]),
        ):  # fmt: skip
            full = keys(table.find(where, order_by=order_by))
            for limit, offset in ((0, 0), (1, 0), (3, 2), (None, 4), (2, 100), (100, 1)):
                found = keys(table.find(where, order_by=order_by, limit=limit, offset=offset))
                assert found == full[offset:][:limit]

    # ---- when

    def test_find_shows_the_moment_of_the_call(self, asked: TableUnderTest) -> None:
        table = asked.read
        searches = [table.find({"f": between("a", "b")}), table.find({"f": "a"}), table.find(order_by="-f", limit=1)]
        table["a"] = {"f": 7}
        table["aa"] = {"f": "a"}
        table["z"] = {"f": "\U0010ffff"}
        asked.database.checkpoint()
        del table["b"]
        assert [keys(search) for search in searches] == [["a", "ab", "b"], ["a"], ["10000"]]
        assert keys(table.find({"f": between("a", "b")})) == ["aa", "ab"]
        assert keys(table.find({"f": "a"})) == ["aa"]

    def test_any_mixture_of_backend_and_log_gives_the_same(self, records: TableUnderTest) -> None:
        chance = random.Random(11)
        plain = records.database.table("plain")
        indexed = records.of(indexes=["f", "g"]).write
        for _ in range(6):
            changes = {f"{chance.randrange(60):02}": chance.choice(list(RECORDS.values())) for _ in range(25)}
            for table in (plain, indexed):
                table.put_many(changes)
                table.delete_many(key for number, key in enumerate(changes) if number % 4 == 0)
            if chance.random() < 0.5:
                records.database.checkpoint()
            for wanted, _ in FOUND[:: chance.randrange(2, 5)]:
                found = [
                    list(table.find({"f": wanted}, order_by=order_by, limit=limit, offset=1))
                    for table in (plain, indexed)
                    for order_by, limit in ((["-g", "f"], 5), ((), None))
                ]
                assert repr(found[:2]) == repr(found[2:])

    # ---- typed tables

    def test_fields_go_by_their_names_in_python(self, jobs: TableUnderTest) -> None:
        table = jobs.read
        assert keys(table.find({"repo_name": "x"}, order_by="run_count")) == ["c", "a"]
        assert keys(table.find({"is_open": True, "run_count": between(1, 3)})) == ["a"]
        assert keys(table.find({"note": absent}, order_by=["-run_count"])) == ["a", "c"]
        assert keys(table.find({"note": "n"})) == ["b"]
        assert table.indexes() == ["due_on", "repo_name"]
        assert jobs.of().read.indexes() == ["dueOn", "repoName"]
        assert keys(jobs.write.find({"repoName": "y"})) == ["b"]

    def test_values_are_those_of_the_fields_type(self, jobs: TableUnderTest) -> None:
        table = jobs.read
        day = datetime.date(2026, 5, 1)
        assert keys(table.find({"level": Level.HIGH})) == ["b"]
        assert keys(table.find({"level": one_of(Level.LOW, Level.HIGH)})) == ["a", "b", "c"]
        assert keys(table.find({"due_on": day})) == ["a"]
        assert keys(table.find({"due_on": between(day, None)}, order_by="-due_on")) == ["c", "a"]
        assert keys(table.find({"due_on": None})) == ["b"]
        assert table.count(where={"due_on": between(None, day)}) == 1
        assert all(type(record) is Job for _, record in table.find())

    @pytest.mark.parametrize("name", ["repoName", "nothing", ""])
    def test_an_unknown_field_of_a_type_is_refused_and_the_fields_are_named(
        self, jobs: TableUnderTest, name: str
    ) -> None:
        table = jobs.read
        calls: list[Any] = [
            lambda: table.find({name: "x"}),
            lambda: table.find(order_by=[f"-{name}"]),
            lambda: table.count(where={name: "x"}),
            lambda: table.create_index(name),
            lambda: table.drop_index(name),
            lambda: jobs.database.table("records", Job, indexes=[name]),
        ]
        for call in calls:
            with pytest.raises(UsageError) as caught:
                call()
            assert not name or "repo_name" in str(caught.value)
        assert table.indexes() == ["due_on", "repo_name"]

    # ---- what is refused

    @pytest.mark.parametrize(
        "arguments",
        [
            {"where": {"f": []}}, {"where": {"f": {"x": 1}}}, {"where": {"f": float("nan")}},
            {"where": {"f": (1, 2)}}, {"where": {"f": ...}}, {"where": {"f": one_of(1, [2])}},
            {"where": {"f": between(1, "a")}}, {"where": {"f": between(float("nan"), 1)}}, {"where": ["f"]},
            {"where": {1: 1}}, {"order_by": 1}, {"order_by": [""]}, {"order_by": "-"}, {"limit": -1}, {"offset": -1},
            {"limit": 1.5}, {"limit": True}, {"offset": None},
        ],
        ids=ascii,
    )  # fmt: skip
    def test_a_search_that_means_nothing_is_refused_at_the_call(
        self, records: TableUnderTest, arguments: dict[str, Any]
    ) -> None:
        records.write["a"] = {"f": 1}
        with pytest.raises(UsageError):
            records.read.find(**arguments)

    def test_a_table_of_bytes_has_no_fields(self, records: TableUnderTest) -> None:
        blobs = records.of(bytes)
        blobs.write["a"] = b'{"f":1}'
        assert list(blobs.read.find()) == [("a", b'{"f":1}')]
        assert list(blobs.write.find(limit=0)) == []
        assert blobs.write.indexes() == []
        calls: list[Any] = [
            lambda: blobs.write.find({"f": 1}),
            lambda: blobs.write.find(order_by="f"),
            lambda: blobs.write.count(where={"f": 1}),
            lambda: blobs.write.create_index("f"),
            lambda: records.database.table("records", bytes, indexes=["f"]),
        ]
        for call in calls:
            with pytest.raises(UsageError):
                call()

    # ---- indexes

    def test_indexes_that_are_missing_are_made_in_a_transaction_and_stay(self, records: TableUnderTest) -> None:
        records.write["a"] = {"f": 1}
        before = records.database.position()
        assert records.database.table("records", indexes=["f"]).indexes() == ["f"]
        made = records.database.position()
        assert made.lsn == before.lsn + 1
        assert records.database.table("records", indexes=["f"]).indexes() == ["f"]
        assert records.database.position() == made
        assert records.read.indexes() == ["f"]
        assert keys(records.write.find({"f": 1})) == ["a"]

    def test_an_index_makes_the_table(self, records: TableUnderTest) -> None:
        assert records.write.indexes() == []
        assert records.write.create_index("f") is True
        assert records.database.tables() == {"records": "json"}
        assert records.read.indexes() == ["f"]
        assert records.database.tables() == {"records": "json"}
        assert len(records.write) == 0

    def test_an_index_is_made_and_dropped_while_the_table_is_in_use(self, asked: TableUnderTest) -> None:
        for _ in range(2):
            assert asked.read.create_index("g") is True
            assert asked.write.create_index("g") is False
            assert "g" in asked.read.indexes()
            assert keys(asked.write.find({"g": "x"})) == ["0", "1.0", "a"]
            assert asked.read.drop_index("g") is True
            assert asked.write.drop_index("g") is False
            assert "g" not in asked.read.indexes()
            assert keys(asked.write.find({"g": "x"})) == ["0", "1.0", "a"]
        assert asked.database.check() == []

    def test_indexes_go_with_a_dropped_table(self, asked: TableUnderTest) -> None:
        asked.database.drop("records")
        assert asked.database.table("records").indexes() == []
        assert list(asked.write.find({"f": "a"})) == []
        asked.write["new"] = {"f": "a"}
        table = asked.of().read
        assert keys(table.find({"f": "a"})) == ["new"]
        assert table.indexes() == []
        table["b"] = {"f": ["not checked"]}

    def test_check_finds_nothing_wrong_with_indexes(self, asked: TableUnderTest) -> None:
        assert keys(asked.read.find({"f": "a"})) == ["a"]
        assert asked.database.check() == []
        asked.write["a"] = {"f": "b"}
        asked.database.checkpoint()
        assert asked.database.check() == []

    @pytest.mark.parametrize(
        "value", [[], [1], {}, {"x": 1}, "x" * 1_001, "é" * 501, "a\0b", "\0"], ids=lambda value: ascii(value)[:12]
    )
    def test_what_no_index_can_hold_is_refused_with_its_place(self, records: TableUnderTest, value: Any) -> None:
        table = records.of(indexes=["f"]).write
        table["a"] = {"f": "x" * 1_000}
        before = records.database.position()
        calls: list[Any] = [
            lambda: table.put("a", {"f": value}),
            lambda: table.insert("a2", {"f": value}),
            lambda: table.put_many({"b": {"f": 1}, "a": {"f": value}}),
            lambda: table.patch("a", {"f": value}),
            lambda: table.modify("a", lambda record: {"f": value}),
            lambda: table.replace("a", {"f": "x" * 1_000}, {"f": value}),
        ]
        for number, call in enumerate(calls):
            with pytest.raises(ValidationError) as caught:
                call()
            key = "a2" if number == 1 else "a"
            assert (caught.value.table, caught.value.key, caught.value.path) == ("records", key, "$.f")
        assert records.database.position() == before
        table["b"] = {"g": value, "f": None}
        assert dict(records.read) == {"a": {"f": "x" * 1_000}, "b": {"g": value, "f": None}}

    def test_no_index_is_made_over_a_record_that_it_cannot_hold(self, records: TableUnderTest) -> None:
        records.write.put_many({"a": {"f": 1}, "b": {"f": [1]}})
        for _ in range(2):
            with pytest.raises(ValidationError) as caught:
                records.read.create_index("f")
            assert (caught.value.table, caught.value.key, caught.value.path) == ("records", "b", "$.f")
            with pytest.raises(ValidationError):
                records.database.table("records", indexes=["f"])
            assert records.read.indexes() == []
        assert dict(records.read) == {"a": {"f": 1}, "b": {"f": [1]}}
        records.write["c"] = {"f": {}}

    def test_after_an_index_is_dropped_its_field_holds_anything(self, records: TableUnderTest) -> None:
        records.of(indexes=["f"]).write["a"] = {"f": 1}
        records.of().write.drop_index("f")
        records.write["a"] = {"f": ["\0"]}
        assert keys(records.read.find({"f": absent})) == []
        assert dict(records.write) == {"a": {"f": ["\0"]}}
