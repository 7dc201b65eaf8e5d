"""The contract of `sessiondb.DatabaseStorage`, part 1: entities, alone and several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from ..errors import DuplicateKeyError, UsageError, ValidationError
from ..query import absent, between, one_of, prefix
from ..storage import DatabaseStorage
from .storage_under_test import Entity, StorageSetup, StorageUnderTest

__all__ = ["EntityContract"]


class EntityContract(StorageSetup):
    """Tests of entities; part of `sessiondb.testing.StorageContract`."""

    # ---- one entity

    def test_a_created_entity_is_there(self, storage: StorageUnderTest) -> None:
        entity = Entity(id="a", name="n", group_name="g", number=0, open=False, parts={"l": [1, {}]}, note="")
        assert storage.write.create_entity(entity) == entity
        assert storage.read.get_entity("a") == entity
        assert storage.read.entity_exists("a") is True

    def test_an_id_that_exists_is_not_created_again(self, storage: StorageUnderTest) -> None:
        storage.write.create_entity(Entity(id="a", number=1))
        with pytest.raises(DuplicateKeyError):
            storage.read.create_entity(Entity(id="a", number=2))
        assert storage.read.get_entities() == [Entity(id="a", number=1)]

    @pytest.mark.parametrize("id", ["b", "A", "a ", "#a", "", "a\0", "k" * 10_000], ids=lambda id: ascii(id)[:9])
    def test_an_unknown_id_is_none_or_false_everywhere(self, storage: StorageUnderTest, id: str) -> None:
        storage.write.create_entity(Entity(id="a"))
        assert storage.read.get_entity(id) is None
        assert storage.read.entity_exists(id) is False
        assert storage.write.update_entity(id, {"number": 2}) is None
        assert storage.write.delete_entity(id) is False
        assert storage.read.get_entities() == [Entity(id="a")]

    @pytest.mark.parametrize("id", [1, None, b"a", ("a",)], ids=repr)
    def test_an_id_that_is_no_text_is_an_error_everywhere(self, storage: StorageUnderTest, id: Any) -> None:
        calls: list[Callable[[], object]] = [
            lambda: storage.write.get_entity(id),
            lambda: storage.write.entity_exists(id),
            lambda: storage.write.update_entity(id, {"number": 2}),
            lambda: storage.write.delete_entity(id),
            lambda: storage.write.create_entity(Entity(id=id)),
        ]
        for call in calls:
            with pytest.raises(ValidationError):
                call()
        assert storage.read.get_entities() == []

    @pytest.mark.parametrize("bad", [{"id": ""}, {"id": "a\0b"}, {"number": "x"}, {"parts": {"x": float("inf")}}])
    def test_an_entity_that_cannot_be_stored_is_refused(self, storage: StorageUnderTest, bad: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            storage.write.create_entity(Entity(**{"id": "a", **bad}))
        assert storage.read.get_entities() == []

    def test_an_update_sets_the_fields_it_names_and_keeps_all_others(self, storage: StorageUnderTest) -> None:
        before = Entity(id="a", name="n", group_name="g", number=5, open=False, note="x")
        storage.write.create_entity(before)
        after = msgspec.structs.replace(before, group_name="h")
        assert storage.write.update_entity("a", {"group_name": "h"}) == after
        assert storage.read.get_entity("a") == after
        after = msgspec.structs.replace(after, number=0)
        assert storage.write.update_entity("a", {"number": 0}) == after
        assert storage.read.get_entity("a") == after

    def test_an_update_of_nothing_returns_the_entity(self, storage: StorageUnderTest) -> None:
        storage.write.create_entity(Entity(id="a", number=5))
        assert storage.write.update_entity("a", {}) == Entity(id="a", number=5)
        assert storage.read.get_entity("a") == Entity(id="a", number=5)

    def test_an_update_tells_null_false_empty_zero_and_removed_apart(self, storage: StorageUnderTest) -> None:
        storage.write.create_entity(Entity(id="a", name="n", group_name="g", number=5, note="x"))
        changes = {"name": "", "group_name": None, "number": 0, "open": False, "note": msgspec.UNSET}
        assert storage.write.update_entity("a", changes) == Entity(id="a", number=0, open=False)
        assert storage.read.get_entity("a") == Entity(id="a", number=0, open=False)
        assert storage.write.update_entity("a", {"number": msgspec.UNSET}) == Entity(id="a", number=1, open=False)

    def test_an_update_replaces_a_nested_object_as_a_whole(self, storage: StorageUnderTest) -> None:
        storage.write.create_entity(Entity(id="a", parts={"old": 1, "both": 1}))
        storage.write.update_entity("a", {"parts": {"both": 2}})
        assert storage.read.get_entity("a") == Entity(id="a", parts={"both": 2})

    @pytest.mark.parametrize(
        "bad", [{"id": "b"}, {"nobody": 1}, {"number": "x"}, {"parts": {"x": float("nan")}}, {1: 1}], ids=repr
    )
    def test_an_update_that_does_not_fit_changes_nothing(
        self, storage: StorageUnderTest, bad: Mapping[str, Any]
    ) -> None:
        storage.write.create_entity(Entity(id="a"))
        with pytest.raises(ValidationError):
            storage.write.update_entity("a", {"name": "n", **bad})
        assert storage.read.get_entities() == [Entity(id="a")]

    def test_a_deleted_entity_is_gone_and_only_the_first_delete_says_true(self, storage: StorageUnderTest) -> None:
        storage.write.create_entity(Entity(id="a"))
        storage.write.create_entity(Entity(id="b"))
        assert storage.write.delete_entity("a") is True
        assert storage.read.delete_entity("a") is False
        assert storage.read.entity_exists("a") is False
        assert storage.read.get_entity("a") is None
        assert storage.read.get_entities() == [Entity(id="b")]
        storage.write.create_entity(Entity(id="a", number=2))
        assert storage.read.get_entity("a") == Entity(id="a", number=2)

    def test_nobody_shares_an_entity(self, storage: StorageUnderTest) -> None:
        mine = Entity(id="a", parts={"l": [1]})
        storage.write.create_entity(mine).parts["l"].append(2)
        mine.parts["l"].append(3)
        takers: list[Callable[[DatabaseStorage[Entity, Any]], Entity | None]] = [
            lambda storage: storage.get_entity("a"),
            lambda storage: storage.get_entities()[0],
            lambda storage: self.entities(storage.read_state())[0],
            lambda storage: storage.update_entity("a", {}),
        ]
        for take in takers:
            taken = take(storage.write)
            assert taken == Entity(id="a", parts={"l": [1]})
            taken.parts["l"].append(4)
        state = self.state(Entity(id="a", parts={"l": [1]}))
        storage.write.write_state(state)
        self.entities(state)[0].parts["l"].append(5)
        assert storage.read.get_entity("a") == Entity(id="a", parts={"l": [1]})

    # ---- several entities

    def _some(self, storage: StorageUnderTest) -> None:
        for entity in (
            Entity(id="a", name="pear", number=3, group_name="x"),
            Entity(id="b", name="apple", number=1, note="n"),
            Entity(id="c", name="plum", number=2, open=False, group_name="y"),
            Entity(id="d", name="apricot", number=2, group_name="x", note=""),
        ):
            storage.write.create_entity(entity)

    def test_entities_are_those_that_satisfy_all_conditions(self, storage: StorageUnderTest) -> None:
        self._some(storage)
        cases: list[tuple[dict[str, Any] | None, str]] = [
            (None, "abcd"),
            ({}, "abcd"),
            ({"name": "plum"}, "c"),
            ({"name": "Plum"}, ""),
            ({"group_name": "x"}, "ad"),
            ({"group_name": None}, "b"),
            ({"group_name": "x", "number": 2}, "d"),
            ({"open": False}, "c"),
            ({"number": between(2, 3)}, "acd"),
            ({"number": between(3, None)}, "a"),
            ({"name": between("apple", "pear")}, "abd"),
            ({"number": one_of(1, 3)}, "ab"),
            ({"name": prefix("ap")}, "bd"),
            ({"note": absent}, "ac"),
            ({"note": "n"}, "b"),
            ({"note": ""}, "d"),
        ]
        read = storage.read
        found = [(where, "".join(entity.id for entity in read.get_entities(where))) for where, _ in cases]
        assert found == cases

    def test_entities_come_in_the_order_asked_for_and_those_without_the_field_last(
        self, storage: StorageUnderTest
    ) -> None:
        self._some(storage)
        cases: list[tuple[str | Sequence[str], str]] = [
            ((), "abcd"),
            (["name"], "bdac"),
            ("name", "bdac"),
            (["-name"], "cadb"),
            (["number"], "bcda"),
            (["-number", "name"], "adcb"),
            (["group_name", "-name"], "adcb"),
            (["-group_name"], "cadb"),
            (["note"], "dbac"),
            (["-note"], "bdac"),
        ]
        read = storage.read
        found = [(order, "".join(entity.id for entity in read.get_entities(order_by=order))) for order, _ in cases]
        assert found == cases

    def test_limit_and_offset_cut_pages_out_of_the_whole(self, storage: StorageUnderTest) -> None:
        for number in range(10):
            storage.write.create_entity(Entity(id=f"k{number}", number=-number))
        read = storage.read
        whole = read.get_entities(order_by="number")
        assert [entity.number for entity in whole] == list(range(-9, 1))
        assert read.get_entities(order_by="number", limit=4) == whole[:4]
        assert read.get_entities(order_by="number", limit=4, offset=4) == whole[4:8]
        assert read.get_entities(order_by="number", offset=8) == whole[8:]
        assert read.get_entities({"number": between(-8, None)}, order_by="number", limit=2, offset=1) == whole[2:4]
        assert read.get_entities(limit=3, offset=2) == whole[::-1][2:5]
        assert read.get_entities(limit=0) == []
        assert read.get_entities(offset=10) == []

    def test_a_question_that_makes_no_sense_is_an_error_also_when_there_is_nothing_to_find(
        self, storage: StorageUnderTest
    ) -> None:
        bad: list[dict[str, Any]] = [
            {"where": {"nobody": 1}},
            {"where": {"number": [1, 2]}},
            {"where": ["name"]},
            {"order_by": ["nobody"]},
            {"order_by": ["-nobody"]},
            {"limit": -1},
            {"limit": "1"},
            {"offset": -1},
        ]
        for how in bad:
            with pytest.raises(UsageError):
                storage.write.get_entities(**how)
        self._some(storage)
        read = storage.read
        for how in bad:
            with pytest.raises(UsageError):
                read.get_entities(**how)
