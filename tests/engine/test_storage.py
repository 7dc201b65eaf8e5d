"""`DatabaseStorage` over each backend keeps the contract; and what only our implementations promise."""

import os
import threading
from pathlib import Path

import msgspec
import pytest

import sessiondb
from sessiondb import (
    ClosedError,
    CorruptionError,
    JsonFileStorage,
    LmdbStorage,
    ReadOnlyError,
    SessionDBError,
    SqliteStorage,
    StoreFailedError,
    TableStorage,
    UnsupportedFormatError,
    UsageError,
    ValidationError,
    WrongBackendError,
)
from sessiondb import storage as storage_module
from sessiondb.location import Location
from sessiondb.storage import StateStorage
from sessiondb.testing import FaultyFiles
from sessiondb.testing.storage_contract import Entity, StorageContract
from sessiondb.writing import RANGE_ATTEMPTS

NAMES = {JsonFileStorage: "x.json", SqliteStorage: "x.db", LmdbStorage: "x.lmdb"}


@pytest.fixture(params=NAMES, ids=lambda kind: kind.__name__)
def kind(request):
    """A class of storages that open a location."""
    return request.param


@pytest.fixture
def make(kind, tmp_path):
    """Makes a storage of entities at one location; what is still open after the test is closed."""
    made = []

    def make_it(**options):
        made.append(kind(tmp_path / NAMES[kind], Entity, **options))
        return made[-1]

    yield make_it
    for storage in made:
        storage.close()


class Note(msgspec.Struct):
    id: str
    text: str = ""


# ---- the contract


class TestJsonFileStorage(StorageContract):
    def make_storage(self, tmp_path):
        return JsonFileStorage(tmp_path / "x.json", Entity, sync="never")

    def damage(self, tmp_path):
        text = (tmp_path / "x.json").read_bytes()
        (tmp_path / "x.json").write_bytes(text[:-10] + b" " + text[-9:])


class TestSqliteStorage(StorageContract):
    def make_storage(self, tmp_path):
        return SqliteStorage(tmp_path / "x.db", Entity, sync="never")

    def damage(self, tmp_path):
        (tmp_path / "x.db").write_bytes(b"SQLite format 3\0" + bytes(5000))


class TestLmdbStorage(StorageContract):
    def make_storage(self, tmp_path):
        return LmdbStorage(tmp_path / "x.lmdb", Entity, sync="never")

    def damage(self, tmp_path):
        (tmp_path / "x.lmdb" / "data.mdb").write_bytes(bytes(20_000))


class TestTableAsStorage(StorageContract):
    """A storage over a table of memory; the database lives as long as the test."""

    @pytest.fixture(autouse=True)
    def database(self):
        with sessiondb.open("memory:") as self.db:
            yield

    def make_storage(self, tmp_path):
        return self.db.table("entities", Entity, id="id").as_storage()

    def damage(self, tmp_path):
        self.db.close()


class ListStorage(StateStorage[Entity, list[Entity]]):
    """A storage whose state is a list."""

    def _state_of(self, entities):
        return list(entities.values())

    def _entities_of(self, state):
        if not isinstance(state, list):
            raise UsageError(f"a state is a list, not {state!r}")
        return [(entity.id, entity) for entity in state]


class TestAStateOfAnotherType(TestTableAsStorage):
    """Two hooks are enough for it."""

    def make_storage(self, tmp_path):
        return ListStorage(self.db.table("entities", Entity, id="id"))

    def state(self, *entities):
        return list(entities)

    def entities(self, state):
        return state

    def bad_states(self, entity):
        return [[entity, entity]]


# ---- where it is


def test_making_a_storage_touches_nothing(kind, tmp_path):
    kind(tmp_path / "x", Note).close()
    assert os.listdir(tmp_path) == []


def test_the_class_decides_on_the_backend_and_not_the_suffix(kind, tmp_path):
    for name in ("a.json", "b.db", "c.lmdb", "d.txt", "e"):
        with kind(tmp_path / name, Note) as storage:
            storage.create_entity(Note("a"))
            assert storage.get_storage_location() == os.path.realpath(tmp_path / name)
        with sessiondb.open(f"{kind.scheme}:///{tmp_path}/{name}") as db:
            assert db.stats().backend == kind.scheme
            assert list(db.table("records")) == ["a"]


def test_a_location_is_a_path_as_text_or_object_or_a_url(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WHERE", str(tmp_path))
    wanted = os.path.realpath(tmp_path / "x")
    for path in ("x", "./x", "~/x", "$WHERE/x", wanted, Path("x"), f"{kind.scheme}:///x", f"{kind.scheme}:///{wanted}"):
        assert kind(path, Note).get_storage_location() == wanted


def test_a_path_object_is_taken_as_it_is(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHERE", "/somewhere")
    for name in ("$WHERE", "~", "x:y", "json:///x"):
        assert kind(Path(name), Note).get_storage_location() == os.path.realpath(tmp_path / name)
    with kind(Path("$WHERE"), Note) as storage:
        storage.create_entity(Note("a"))
    assert "$WHERE" in os.listdir(tmp_path)


def test_the_current_folder_counts_when_the_storage_is_made(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = kind("x", Note)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    with storage:
        storage.create_entity(Note("a"))
    assert os.listdir(tmp_path / "other") == []
    assert (tmp_path / "x").exists()


@pytest.mark.parametrize("path", ["", "a\0b", b"x", 1, None, "memory:", "postgresql://u:pw@h/db", "xx:y"], ids=repr)
def test_a_location_of_another_kind_is_refused_at_once(kind, path):
    with pytest.raises((UsageError, TypeError)) as caught:
        kind(path, Note)
    assert "pw" not in str(caught.value)


def test_a_url_of_another_backend_is_refused_at_once(kind):
    others = {"json", "sqlite", "lmdb"} - {kind.scheme}
    for other in others:
        with pytest.raises(UsageError, match=f"opens {kind.scheme} locations, not '{other}'"):
            kind(f"{other}:///x", Note)


def test_missing_folders_are_made_and_are_durable_before_anything_is_in_them(kind, tmp_path):
    files = FaultyFiles()
    steps = []
    files.after = lambda operation, path: steps.append((operation, path))
    root = os.path.realpath(tmp_path)
    with kind(tmp_path / "a" / "b" / "x", Note, files=files, sync="never") as storage:
        storage.create_entity(Note("a"))
    assert steps[:5] == [
        ("sync_folder", os.path.dirname(root)),  # the folder that is there: nobody knows who made it, and when
        ("mkdir", f"{root}/a"),
        ("sync_folder", root),
        ("mkdir", f"{root}/a/b"),
        ("sync_folder", f"{root}/a"),
    ]
    files.after = None
    with kind(tmp_path / "a" / "b" / "x", Note) as storage:
        assert storage.get_entity("a") == Note("a")


def test_a_folder_that_was_made_and_not_synced_is_synced_by_the_next_who_needs_it(kind, tmp_path):
    files = FaultyFiles()
    storage = kind(tmp_path / "a" / "x", Note, files=files)
    with files.failing("sync_folder", path=str(tmp_path)) as failed:
        with pytest.raises(StoreFailedError, match="folder"):
            storage.initialize()
        assert failed
    (tmp_path / "a").mkdir(exist_ok=True)
    synced = []
    files.before = lambda operation, path: synced.append(path) if operation == "sync_folder" else None
    storage.initialize()
    files.before = None
    storage.close()
    assert synced[0] == os.path.realpath(tmp_path)


@pytest.mark.parametrize("options", [{"create": False}, {"read_only": True}], ids=str)
def test_nothing_is_made_where_nothing_may_be_made(kind, tmp_path, options):
    storage = kind(tmp_path / "a" / "x", Note, **options)
    for _ in range(2):
        with pytest.raises(UsageError, match="no database"):
            storage.read_state()
    storage.close()
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_an_error(kind, tmp_path):
    (tmp_path / "file").write_text("")
    storage = kind(tmp_path / "file" / "x", Note)
    with pytest.raises((StoreFailedError, UsageError), match=str(tmp_path / "file")):
        storage.initialize()
    storage.close()


def test_an_unknown_option_is_refused_at_once(kind, tmp_path):
    with pytest.raises(TypeError, match="nobody"):
        kind(tmp_path / "x", Note, nobody=1)
    with pytest.raises(UsageError, match="sync"):
        kind(tmp_path / "x", Note, sync="sometimes")


@pytest.mark.parametrize(
    ("location", "text"),
    [
        (Location("json", "/srv/a@b?c.json"), "/srv/a@b?c.json"),
        (Location("memory", ""), "memory:"),
        (Location("postgresql", "//host/db"), "postgresql://host/db"),
        (Location("postgresql", "//user:pw@host:5432/db?sslmode=require&password=pw"), "postgresql://host:5432/db"),
        (Location("postgresql", "//user:p@w@host/db"), "postgresql://host/db"),
        (Location("postgresql", "//user:p/w@host/db"), "postgresql://host/db"),
        (Location("postgresql", "//user:p?w@host/db"), "postgresql:"),
        (Location("postgresql", "//host/db?user=a@b&password=pw"), "postgresql:"),
        (Location("mine", "user:pw@host"), "mine:host"),
    ],
)
def test_a_location_for_people_holds_no_password(location, text):
    assert str(location) == text


# ---- failed is never absent


FOREIGN = {
    "text": b"{ invalid json }",
    "another program's": b'{"foo": 1}',
    "a number": b"42",
    "SQLite": b"SQLite format 3\0" + bytes(100),
    "noise": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_file_of_somebody_else_is_an_error_and_untouched(tmp_path, what):
    """The predecessor read an empty list, and the next create wrote it over the file."""
    path = tmp_path / "x.json"
    path.write_bytes(FOREIGN[what])
    storage = JsonFileStorage(path, Note)
    calls = [
        storage.initialize, storage.read_state, storage.get_entities, lambda: storage.create_entity(Note("a")),
        lambda: storage.write_state({"a": Note("a")}), lambda: storage.get_entity("a"),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises((WrongBackendError, CorruptionError)):
            call()
    storage.close()
    assert path.read_bytes() == FOREIGN[what]


def test_after_a_failure_to_open_the_next_call_tries_again(make, tmp_path):
    files = FaultyFiles()
    storage = make(files=files)
    with files.failing("create", path="OPEN") as failed:
        with pytest.raises(StoreFailedError):
            storage.initialize()
        with pytest.raises(StoreFailedError):
            storage.read_state()
        assert failed
    assert storage.initialize() is True
    assert storage.read_state() == {}


@pytest.mark.parametrize("error", [KeyError("a"), LookupError("no"), ValueError("no")], ids=repr)
def test_an_error_in_a_hook_is_no_absent_entity(error):
    """`Table.patch` raises KeyError for an absent record, and a hook may raise one too."""

    class Own:
        pass

    class Holder(msgspec.Struct):
        id: str
        own: Own | None = None

    def dec_hook(type, value):
        raise error

    with sessiondb.open("memory:") as db:
        db.table("t")["a"] = {"id": "a", "own": 1}
        storage = db.table("t", Holder, id="id", dec_hook=dec_hook, enc_hook=lambda value: 1).as_storage()
        calls = [
            lambda: storage.update_entity("a", {}), lambda: storage.get_entity("a"), storage.read_state,
            storage.get_entities, lambda: storage.write_state({}),
        ]  # fmt: skip
        for call in calls:
            with pytest.raises((type(error), ValidationError)):
                call()
        assert storage.entity_exists("a")


def test_a_state_does_not_overwrite_what_its_author_cannot_have_read(db):
    """Whoever cannot read the state, catches that and goes on with an empty one, loses nothing."""
    table = db.table("t")
    table.put_many({"a": {"id": "a"}, "b": {"id": "b", "text": 1}})
    before = db.position()
    storage = db.table("t", Note, id="id").as_storage()
    with pytest.raises(ValidationError):
        storage.read_state()
    for state in ({}, {"a": Note("a", "new")}, {"b": Note("b")}):
        with pytest.raises(ValidationError, match="'b'"):
            storage.write_state(state)
    assert db.position() == before
    assert storage.delete_entity("b") is True  # one at a time, and knowing it
    storage.write_state({"a": Note("a", "new")})
    assert storage.read_state() == {"a": Note("a", "new")}


def test_a_read_only_storage_reads_and_refuses_to_write(kind, tmp_path):
    with kind(tmp_path / "x", Note) as storage:
        storage.create_entity(Note("a"))
    with kind(tmp_path / "x", Note, read_only=True) as storage:
        assert storage.read_state() == {"a": Note("a")}
        for write in (
            lambda: storage.write_state({}), lambda: storage.create_entity(Note("b")),
            lambda: storage.update_entity("a", {"text": "b"}), lambda: storage.delete_entity("a"),
        ):  # fmt: skip
            with pytest.raises(ReadOnlyError):
                write()


# ---- who closes what


def test_a_storage_over_a_table_leaves_the_table_open(db):
    table = db.table("t", Note, id="id")
    with table.as_storage() as storage:
        storage.create_entity(Note("a"))
    assert table["a"] == Note("a")
    with sessiondb.table("memory:", "t", Note, id="id") as owner:
        owner.as_storage().close()
        owner["a"] = Note("a")


def test_a_storage_over_a_table_of_a_closed_database_says_so(open_db):
    db = open_db()
    storage = db.table("t", Note, id="id").as_storage()
    assert storage.initialize() is True
    db.close()
    for call in (storage.initialize, storage.read_state, lambda: storage.write_state({})):
        with pytest.raises(ClosedError):
            call()


def test_a_closed_storage_has_let_its_location_go(make):
    first = make(sync="never")
    first.initialize()
    with pytest.raises(UsageError, match="other options"):
        make(sync="always").initialize()
    first.close()
    assert make(sync="always").initialize() is True


def test_a_storage_that_cannot_have_its_table_has_let_its_location_go(kind, tmp_path):
    bad = kind(tmp_path / "x", Note, id="nobody")
    for _ in range(2):
        with pytest.raises(UsageError, match="nobody"):
            bad.initialize()
    with kind(tmp_path / "x", Note, sync="never") as storage:  # other options: it would be refused
        assert storage.read_state() == {}
    bad.close()


def test_one_location_may_be_opened_by_several_storages_of_a_process(make):
    first, second = make(), make()
    first.create_entity(Entity(id="a"))
    assert second.get_entity("a") == Entity(id="a")
    first.close()
    assert second.get_entity("a") == Entity(id="a")


def test_a_table_without_an_id_is_refused(db):
    with pytest.raises(UsageError, match="id"):
        db.table("t", Note).as_storage()
    with pytest.raises(UsageError, match="id"):
        TableStorage(db.table("t"))


def test_the_table_and_its_options_are_handed_on(kind, tmp_path):
    how = {"id": "name", "table": "people", "indexes": ["number"]}
    with kind(tmp_path / "x", Entity, **how) as storage:
        storage.create_entity(Entity(id="a", name="n", number=5))
        assert storage.get_entity("n") == Entity(id="a", name="n", number=5)
    with sessiondb.open(f"{kind.scheme}:///{tmp_path}/x") as db:
        assert list(db.table("people")) == ["n"]
        assert db.table("people", Entity).indexes() == ["number"]


def test_many_threads_that_need_it_first_open_it_once(make):
    storage = make()
    start = threading.Barrier(8)
    failures = []

    def work(number):
        try:
            start.wait(30)
            storage.create_entity(Entity(id=f"k{number}"))
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(storage.read_state()) == 8
    storage.close()
    # Opened twice, the store would still be in use under other options.
    assert len(make(sync="never").read_state()) == 8


# ---- writing the whole state


def test_what_is_the_same_is_not_written_again(db):
    storage = db.table("t", Note, id="id").as_storage()
    state = {f"k{number}": Note(f"k{number}") for number in range(10)}
    storage.write_state(state)
    records = db.stats().log_records
    position = db.position()
    storage.write_state(state)
    assert db.position() == position
    del state["k1"]
    state["k2"] = Note("k2", "new")
    state["k3b"] = Note("k3b")
    storage.write_state(state)
    assert db.position().lsn == position.lsn + 1  # one transaction
    assert db.stats().log_records == records + 3
    assert storage.read_state() == state


def test_a_state_that_is_there_already_is_durable_when_the_call_returns(db, files):
    """Somebody else's commit may be visible and not on the disk yet."""
    table = db.table("t", Note, id="id")
    table.put("a", Note("a"), sync="never")
    before = files.counts["fdatasync"]
    table.as_storage().write_state({"a": Note("a")})
    assert files.counts["fdatasync"] == before + 1


def test_an_older_program_does_not_take_a_newer_ones_fields_away(db):
    table = db.table("t")
    stored = {
        "a": {"id": "a", "text": "x", "new": 1},
        "b": {"new": {"deep": [1]}, "id": "b", "text": "x"},
        "c": {"id": "c", "text": "x"},
    }
    table.put_many(stored)
    position = db.position()
    storage = db.table("t", Note, id="id").as_storage()
    state = storage.read_state()
    storage.write_state(state)
    assert db.position() == position
    state["b"].text = "y"
    storage.write_state(state)
    assert dict(table) == {**stored, "b": {"new": {"deep": [1]}, "id": "b", "text": "y"}}


def test_an_older_program_does_not_take_nested_fields_away_from_what_it_leaves_alone(db):
    class Part(msgspec.Struct):
        size: int = 0

    class Whole(msgspec.Struct):
        id: str
        part: Part

    table = db.table("t")
    stored = {"a": {"id": "a", "part": {"size": 1, "new": 2}}, "b": {"id": "b", "part": {"size": 1}}}
    table.put_many(stored)
    storage = db.table("t", Whole, id="id").as_storage()
    state = storage.read_state()
    state["b"].part.size = 3
    storage.write_state(state)
    assert dict(table) == {**stored, "b": {"id": "b", "part": {"size": 3}}}


def test_records_of_an_earlier_version_are_upgraded_when_they_change(db):
    table = db.table("t")
    old = {id: {"id": id, "words": ["x", "y"]} for id in "abc"}
    table.put_many(old)
    upgrades = {1: lambda document: {"id": document["id"], "text": " ".join(document["words"])}}
    storage = db.table("t", Note, id="id", version=2, upgrades=upgrades).as_storage()
    state = storage.read_state()
    assert state == {id: Note(id, "x y") for id in "abc"}
    before = db.position()
    storage.write_state(state)
    assert db.position() == before
    assert storage.update_entity("a", {"text": "z"}) == Note("a", "z")
    state = storage.read_state()
    del state["b"]
    state["c"].text = "new"
    storage.write_state(state)
    assert storage.read_state() == {"a": Note("a", "z"), "c": Note("c", "new")}


def test_records_of_a_later_version_are_not_touched(db):
    later = db.table("t", Note, id="id", version=2, upgrades={1: dict})
    later["a"] = Note("a")
    position = db.position()
    storage = db.table("t", Note, id="id").as_storage()
    for call in (
        storage.read_state, lambda: storage.get_entity("a"), lambda: storage.update_entity("a", {"text": "b"}),
        lambda: storage.write_state({"a": Note("a", "b")}), lambda: storage.write_state({}),
    ):  # fmt: skip
        with pytest.raises(UnsupportedFormatError):
            call()
    assert db.position() == position


@pytest.mark.parametrize(("before", "after"), [(1, True), (1, 1.0), (0.0, -0.0), (False, 0), (None, 0)], ids=repr)
def test_values_that_python_calls_equal_are_written_all_the_same(db, before, after):
    storage = db.table("t", dict, id="id").as_storage()
    storage.write_state({"a": {"id": "a", "n": before}})
    storage.write_state({"a": {"id": "a", "n": after}})
    assert repr(storage.get_entity("a")) == repr({"id": "a", "n": after})


def interrupt(monkeypatch, action, times):
    """Have something happen between the look at the table and the commit, so many times."""
    difference = storage_module._difference
    calls = []

    def interrupted(table, view, images):
        operations = difference(table, view, images)
        if len(calls) < times:
            action(len(calls))
        calls.append(operations)
        return operations

    monkeypatch.setattr(storage_module, "_difference", interrupted)
    return calls


@pytest.mark.parametrize("checkpoint", [False, True])
def test_what_changes_while_the_state_is_written_is_replaced_too(db, monkeypatch, checkpoint):
    table = db.table("t", Note, id="id")
    table.put_many({id: Note(id) for id in "abc"})

    def action(number):
        table["a"] = Note("a", f"late {number}")
        table[f"new{number}"] = Note(f"new{number}")
        del table["bc"[number]]
        if checkpoint:
            db.checkpoint()

    calls = interrupt(monkeypatch, action, 2)
    state = {"a": Note("a"), "b": Note("b")}
    table.as_storage().write_state(state)
    assert len(calls) == 3
    assert dict(table) == state


def test_changes_of_other_tables_do_not_disturb(db, monkeypatch):
    table = db.table("t", Note, id="id")
    calls = interrupt(monkeypatch, lambda number: db.table("other").put("a", number), 1)
    table.as_storage().write_state({"a": Note("a")})
    assert len(calls) == 1


def test_a_writer_that_never_pauses_has_to_wait_in_the_end(open_db, monkeypatch):
    table = open_db().table("t", Note, id="id")
    calls = interrupt(monkeypatch, lambda number: table.put("a", Note("a", str(number))), RANGE_ATTEMPTS)
    table.as_storage().write_state({"b": Note("b")})
    assert len(calls) == RANGE_ATTEMPTS + 1
    assert dict(table) == {"b": Note("b")}


def test_a_failed_write_of_a_state_leaves_the_one_before(make, tmp_path):
    files = FaultyFiles()
    storage = make(files=files)
    before = {"a": Entity(id="a"), "b": Entity(id="b")}
    storage.write_state(before)
    with files.failing("pwrite", path=".seg"), pytest.raises(SessionDBError):
        storage.write_state({"a": Entity(id="a", number=2), "c": Entity(id="c")})
    assert storage.read_state() == before
    storage.close()
    assert make(files=files).read_state() == before
