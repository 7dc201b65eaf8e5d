"""`StorageContract` bites: each of the mistakes that storages were seen to make fails the test that is about it."""

import inspect
import threading
from contextlib import suppress

import msgspec
import pytest

import sessiondb
from sessiondb import UNSET, DuplicateKeyError, SessionDBError, TableStorage
from sessiondb.testing.storage_contract import StorageContract
from sessiondb.testing.storage_under_test import CALLS, THREADS, Entity, StorageUnderTest


class InitializeSaysNoTheSecondTime(TableStorage):
    """False for "it was there" reads like a failure."""

    done = False

    def initialize(self):
        super().initialize()
        done, self.done = self.done, True
        return not done


class ErrorsAreEmpty(TableStorage):
    def get_entities(self, *arguments, **how):
        try:
            return super().get_entities(*arguments, **how)
        except SessionDBError:
            return []


class ClosedIsAbsent(TableStorage):
    def get_entity(self, id):
        return None if self._table is None else super().get_entity(id)


class StateIsAddedTo(TableStorage):
    def write_state(self, state):
        super().write_state({**self.read_state(), **state})


class NoneIsAnEmptyState(TableStorage):
    def write_state(self, state):
        super().write_state(state or {})


class StateInTwoSteps(TableStorage):
    """Delete all, then insert all, as two transactions."""

    def write_state(self, state):
        super().write_state({})
        super().write_state(state)


class IdsOfAStateAreNotLookedAt(TableStorage):
    def write_state(self, state):
        super().write_state({entity.id: entity for entity in state.values()})


class CreateReplaces(TableStorage):
    def create_entity(self, entity):
        self._ready().put(entity.id, entity)
        return entity


class DeleteAlwaysSaysTrue(TableStorage):
    def delete_entity(self, id):
        super().delete_entity(id)
        return True


class DeleteNeverSaysTrue(TableStorage):
    def delete_entity(self, id):
        super().delete_entity(id)
        return False


class UpdateCreates(TableStorage):
    def update_entity(self, id, changes):
        with suppress(DuplicateKeyError, SessionDBError):
            self.create_entity(Entity(id=id))
        return super().update_entity(id, changes)


class UpdateLosesTheOtherFields(TableStorage):
    def update_entity(self, id, changes):
        if not self.entity_exists(id):
            return None
        self._ready().put(id, Entity(id=id, **{name: value for name, value in changes.items() if value is not UNSET}))
        return self.get_entity(id)


class UpdateCannotClear(TableStorage):
    def update_entity(self, id, changes):
        return super().update_entity(id, {name: value for name, value in changes.items() if value not in (None, UNSET)})


class UpdateMergesDeeply(TableStorage):
    def update_entity(self, id, changes):
        before = self.get_entity(id)
        if before is not None and "parts" in changes:
            changes = {**changes, "parts": before.parts | changes["parts"]}
        return super().update_entity(id, changes)


class UpdateLosesUpdates(TableStorage):
    """Select, merge in Python, write all columns; here all threads select before any of them writes."""

    meet = threading.Barrier(THREADS)

    def update_entity(self, id, changes):
        entity = self.get_entity(id)
        self.meet.wait(30)
        columns = {name: getattr(entity, name) for name in ("name", "group_name", "note", "number")}
        return super().update_entity(id, columns | changes)


class EntitiesAreShared(TableStorage):
    def __init__(self, table):
        super().__init__(table)
        self.cached = {}

    def get_entity(self, id):
        return self.cached.setdefault(id, super().get_entity(id))


class IdsAreTurnedIntoText(TableStorage):
    def get_entity(self, id):
        return super().get_entity(str(id))

    def entity_exists(self, id):
        return super().entity_exists(str(id))


class EmptyTextIsNull(TableStorage):
    def create_entity(self, entity):
        super().create_entity(msgspec.structs.replace(entity, note=entity.note or UNSET))
        return entity


class OptionsAreIgnored(TableStorage):
    def get_entities(self, where=None, *, order_by=(), limit=None, offset=0):
        return super().get_entities()


class LimitComesBeforeTheConditions(TableStorage):
    def get_entities(self, where=None, *, order_by=(), limit=None, offset=0):
        whole = super().get_entities(where, order_by=order_by)
        return super().get_entities(where, order_by=order_by, limit=limit, offset=offset) and whole[:limit]


class NullComesFirst(TableStorage):
    def get_entities(self, where=None, *, order_by=(), limit=None, offset=0):
        found = super().get_entities(where, order_by=order_by, limit=limit, offset=offset)
        return sorted(found, key=lambda entity: "group_name" in str(order_by) and entity.group_name is not None)


BITES = [
    (InitializeSaysNoTheSecondTime, "test_initialize_says_true_and_keeps_what_is_there", {}),
    (ErrorsAreEmpty, "test_what_cannot_be_read_is_an_exception_and_never_empty", {"call": "get_entities"}),
    (ClosedIsAbsent, "test_after_close_every_call_says_that_it_is_closed", {"call": "get_entity"}),
    (StateIsAddedTo, "test_a_written_state_replaces_the_one_before", {}),
    (NoneIsAnEmptyState, "test_what_is_no_state_is_refused_and_not_taken_for_an_empty_one", {"nothing": None}),
    (StateInTwoSteps, "test_a_state_with_an_entity_that_cannot_be_stored_is_refused_as_a_whole", {}),
    (
        IdsOfAStateAreNotLookedAt,
        "test_a_state_with_an_entity_under_another_id_or_twice_is_refused_as_a_whole",
        {},
    ),
    (CreateReplaces, "test_an_id_that_exists_is_not_created_again", {}),
    (DeleteAlwaysSaysTrue, "test_an_unknown_id_is_none_or_false_everywhere", {"id": "b"}),
    (DeleteNeverSaysTrue, "test_a_deleted_entity_is_gone_and_only_the_first_delete_says_true", {}),
    (UpdateCreates, "test_an_unknown_id_is_none_or_false_everywhere", {"id": "b"}),
    (UpdateLosesTheOtherFields, "test_an_update_sets_the_fields_it_names_and_keeps_all_others", {}),
    (UpdateCannotClear, "test_an_update_tells_null_false_empty_zero_and_removed_apart", {}),
    (UpdateMergesDeeply, "test_an_update_replaces_a_nested_object_as_a_whole", {}),
    (UpdateLosesUpdates, "test_updates_of_different_fields_are_not_lost", {}),
    (EntitiesAreShared, "test_nobody_shares_an_entity", {}),
    (IdsAreTurnedIntoText, "test_an_id_that_is_no_text_is_an_error_everywhere", {"id": 1}),
    (EmptyTextIsNull, "test_a_created_entity_is_there", {}),
    (OptionsAreIgnored, "test_a_question_that_makes_no_sense_is_an_error_also_when_there_is_nothing_to_find", {}),
    (OptionsAreIgnored, "test_entities_are_those_that_satisfy_all_conditions", {}),
    (LimitComesBeforeTheConditions, "test_limit_and_offset_cut_pages_out_of_the_whole", {}),
    (NullComesFirst, "test_entities_come_in_the_order_asked_for_and_those_without_the_field_last", {}),
]  # fmt: skip


def run(storage_class, test, arguments, tmp_path):
    """Run one test of the contract on a class of storages."""
    with sessiondb.open("memory:") as db:

        class Contract(StorageContract):
            def make_storage(self, tmp_path):
                return storage_class(db.table("entities", Entity, id="id"))

            def damage(self, tmp_path):
                db.close()

        contract = Contract()
        method = getattr(contract, test)
        if "tmp_path" in inspect.signature(method).parameters:
            method(tmp_path=tmp_path, **arguments)
        else:
            method(StorageUnderTest(lambda: contract.make_storage(tmp_path), stored=False), **arguments)


@pytest.mark.parametrize(
    ("mistake", "test", "arguments"), BITES, ids=[f"{one.__name__}-{test}" for one, test, _ in BITES]
)
def test_a_mistake_fails_the_test_that_is_about_it(mistake, test, arguments, tmp_path):
    run(TableStorage, test, arguments, tmp_path)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run(mistake, test, arguments, tmp_path)


def test_every_call_that_needs_an_open_storage_is_tried():
    others = {"get_storage_location", "close"}
    public = {name for name in dir(sessiondb.DatabaseStorage) if not name.startswith("_")}
    assert public == CALLS.keys() | others
