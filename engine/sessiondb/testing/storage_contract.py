"""The contract of `sessiondb.DatabaseStorage`: one test for each sentence of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ..errors import ClosedError, DuplicateKeyError, SessionDBError, UsageError, ValidationError
from .entity_contract import EntityContract
from .storage_under_test import CALLS, THREADS, Entity, StorageUnderTest, together

__all__ = ["Entity", "StorageContract", "StorageUnderTest"]


class StorageContract(EntityContract):
    """Subclass it in a test module and give `make_storage` and `damage`; the methods on states too if `S` is no dict.

    Every test runs twice: plain, and with the storage closed and made anew before each read.
    """

    # ---- opening and closing

    def test_initialize_says_true_and_keeps_what_is_there(self, storage: StorageUnderTest) -> None:
        assert storage.write.initialize() is True
        storage.write.create_entity(Entity(id="a"))
        assert storage.write.initialize() is True
        assert storage.read.initialize() is True
        assert storage.read.get_entity("a") == Entity(id="a")

    @pytest.mark.parametrize("call", CALLS)
    def test_a_storage_that_was_not_initialised_is_opened_by_the_first_call(self, tmp_path: Path, call: str) -> None:
        with self.make_storage(tmp_path) as first:
            first.create_entity(Entity(id="a"))
        second = self.make_storage(tmp_path)
        try:
            answers: dict[str, Any] = {
                "write_state": None,
                "get_entity": Entity(id="a"),
                "create_entity": Entity(id="b"),
            }
            answers |= {"update_entity": Entity(id="a", number=2), "get_entities": [Entity(id="a")]}
            answers |= {"read_state": self.state(Entity(id="a"))}
            assert CALLS[call](second, self.state()) == answers.get(call, True)
        finally:
            second.close()

    def test_the_with_block_opens_and_closes_it(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        with storage as same:
            assert same is storage
            storage.create_entity(Entity(id="a"))
        with pytest.raises(ClosedError):
            storage.get_entity("a")

    @pytest.mark.parametrize("call", CALLS)
    def test_after_close_every_call_says_that_it_is_closed(self, storage: StorageUnderTest, call: str) -> None:
        storage.write.create_entity(Entity(id="a"))
        storage.write.close()
        storage.write.close()
        with pytest.raises(ClosedError):
            CALLS[call](storage.write, self.state(Entity(id="c")))
        storage.write.close()

    def test_a_storage_that_was_never_opened_can_be_closed(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        storage.close()
        with pytest.raises(ClosedError):
            storage.initialize()

    def test_the_location_is_a_text_whether_it_is_open_or_not(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        location = storage.get_storage_location()
        assert isinstance(location, str)
        assert location
        with storage:
            assert storage.get_storage_location() == location
        assert storage.get_storage_location() == location

    @pytest.mark.parametrize("call", CALLS)
    def test_what_cannot_be_read_is_an_exception_and_never_empty(self, tmp_path: Path, call: str) -> None:
        with self.make_storage(tmp_path) as storage:
            storage.create_entity(Entity(id="a"))
        damaged = self.make_storage(tmp_path)
        self.damage(tmp_path)
        try:
            for _ in range(2):  # an exception does not make the next call think that all is well
                with pytest.raises(SessionDBError):
                    CALLS[call](damaged, self.state(Entity(id="c")))
        finally:
            damaged.close()

    # ---- the whole state

    def test_the_state_of_a_new_storage_is_empty(self, storage: StorageUnderTest) -> None:
        assert self.entities(storage.read.read_state()) == []
        assert storage.read.get_entities() == []

    def test_the_state_is_all_entities(self, storage: StorageUnderTest) -> None:
        storage.write.create_entity(Entity(id="b", number=2))
        storage.write.create_entity(Entity(id="a", name="é"))
        assert storage.read.read_state() == self.state(Entity(id="a", name="é"), Entity(id="b", number=2))

    def test_a_written_state_replaces_the_one_before(self, storage: StorageUnderTest) -> None:
        first = [Entity(id=id, number=1) for id in "abc"]
        storage.write.write_state(self.state(*first))
        assert self.entities(storage.read.read_state()) == first
        second = [Entity(id="b", number=1), Entity(id="c", number=2), Entity(id="d", number=2)]
        storage.write.write_state(self.state(*second))
        assert self.entities(storage.read.read_state()) == second
        assert storage.read.get_entity("a") is None
        assert storage.read.get_entities() == second

    def test_a_written_state_may_be_empty(self, storage: StorageUnderTest) -> None:
        storage.write.write_state(self.state(Entity(id="a")))
        storage.write.write_state(self.state())
        assert self.entities(storage.read.read_state()) == []

    def test_writing_the_state_that_was_read_changes_nothing(self, storage: StorageUnderTest) -> None:
        entities = [
            Entity(id="a", open=False),
            Entity(id="b", note="", group_name=None),
            Entity(id="c", parts={"n": 0}),
        ]
        storage.write.write_state(self.state(*entities))
        state = storage.read.read_state()
        storage.write.write_state(state)
        assert self.entities(storage.read.read_state()) == entities

    @pytest.mark.parametrize("nothing", [None, 0, "a"], ids=repr)
    def test_what_is_no_state_is_refused_and_not_taken_for_an_empty_one(
        self, storage: StorageUnderTest, nothing: Any
    ) -> None:
        storage.write.create_entity(Entity(id="a"))
        with pytest.raises(UsageError):
            storage.write.write_state(nothing)
        assert storage.read.get_entities() == [Entity(id="a")]

    def test_a_state_with_an_entity_under_another_id_or_twice_is_refused_as_a_whole(
        self, storage: StorageUnderTest
    ) -> None:
        storage.write.create_entity(Entity(id="a"))
        for bad in self.bad_states(Entity(id="b")):
            with pytest.raises(ValidationError):
                storage.write.write_state(bad)
        assert storage.read.get_entities() == [Entity(id="a")]

    def test_a_state_with_an_entity_that_cannot_be_stored_is_refused_as_a_whole(
        self, storage: StorageUnderTest
    ) -> None:
        storage.write.create_entity(Entity(id="c"))
        for bad in (Entity(id="b", parts={"x": float("nan")}), Entity(id="")):
            with pytest.raises(ValidationError):
                storage.write.write_state(self.state(Entity(id="a"), bad))
        assert storage.read.get_entities() == [Entity(id="c")]

    # ---- several threads

    def test_of_several_that_create_an_id_one_succeeds(self, storage: StorageUnderTest) -> None:
        created: list[int] = []

        def create(number: int) -> None:
            try:
                storage.write.create_entity(Entity(id="a", number=number))
                created.append(number)
            except DuplicateKeyError:
                pass

        together(create)
        assert len(created) == 1
        assert storage.read.get_entities() == [Entity(id="a", number=created[0])]

    def test_of_several_that_delete_an_entity_one_is_told_that_it_was_there(self, storage: StorageUnderTest) -> None:
        storage.write.create_entity(Entity(id="a"))
        told: list[bool] = []
        together(lambda number: told.append(storage.write.delete_entity("a")))
        assert sorted(told) == [False] * (THREADS - 1) + [True]

    def test_updates_of_different_fields_are_not_lost(self, storage: StorageUnderTest) -> None:
        storage.write.create_entity(Entity(id="a"))
        fields = ("name", "group_name", "note", "number")

        def update(number: int) -> None:
            for count in range(20):
                storage.write.update_entity("a", {fields[number]: 20 if number == 3 else str(count)})

        together(update)
        assert storage.read.get_entity("a") == Entity(id="a", name="19", group_name="19", note="19", number=20)

    def test_of_several_states_one_wins_as_a_whole_and_readers_see_whole_ones(self, storage: StorageUnderTest) -> None:
        def state_of(number: int) -> list[Entity]:
            return [Entity(id=f"{key}{number if key > 3 else ''}", number=number) for key in range(7)]

        whole = [[], *(state_of(number) for number in range(THREADS - 1))]
        seen: list[list[Entity]] = []

        def work(number: int) -> None:
            for _ in range(15):
                if number < THREADS - 1:
                    storage.write.write_state(self.state(*state_of(number)))
                else:
                    seen.append(self.entities(storage.write.read_state()))
                    seen.append(storage.write.get_entities())

        together(work)
        assert all(state in whole for state in seen)
        assert self.entities(storage.read.read_state()) in whole[1:]
