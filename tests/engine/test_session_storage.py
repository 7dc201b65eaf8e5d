"""`SessionStorage` itself: where it opens what, folders, settings, who closes what, and files of another program."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

import sessiondb
from sessiondb import (
    UNSET,
    ClosedError,
    ConfigError,
    CorruptionError,
    ReadOnlyError,
    SessionDbState,
    SessionRecord,
    SessionStorage,
    StoreFailedError,
    UsageError,
    ValidationError,
    WrongBackendError,
)
from sessiondb.testing import FaultyFiles

SUFFIXES = [".json", ".db", ".lmdb"]


@pytest.fixture(params=SUFFIXES)
def location(request, tmp_path):
    """Where nothing is yet."""
    return tmp_path / f"x{request.param}"


@pytest.fixture
def make(location):
    """Makes a storage there; what is still open after the test is closed."""
    made = []

    def make_it(**options):
        made.append(SessionStorage(location, **options))
        return made[-1]

    yield make_it
    for storage in made:
        storage.close()


A = SessionRecord(session="a", task_id="#1")


# ---- where it opens what


def test_making_a_storage_touches_nothing(make, tmp_path, location):
    assert make().get_storage_location() == os.path.realpath(location)
    assert os.listdir(tmp_path) == []


def test_a_storage_opens_with_the_first_call_and_another_one_sees_what_it_wrote(make):
    make().create_entity(A)
    make().close()
    assert make().get_entity("a") == A
    assert make().initialize() is True


def test_the_with_block_opens_and_closes_it(make, tmp_path):
    with make() as storage:
        assert os.listdir(tmp_path) != []
    for call in (storage.initialize, storage.list_sessions, storage.list_misfits, lambda: storage.search("x")):
        with pytest.raises(ClosedError, match="closed"):
            call()
    with pytest.raises(ClosedError):
        print(storage.base_dir)
    storage.close()


def test_a_storage_that_was_never_opened_can_be_closed(make):
    storage = make()
    storage.close()
    with pytest.raises(ClosedError):
        storage.read_state()


def test_missing_folders_are_made(tmp_path):
    for suffix in SUFFIXES:
        with SessionStorage(tmp_path / "p" / "q" / f"x{suffix}") as storage:
            storage.create_entity(A)


@pytest.mark.parametrize("options", [{"create": False}, {"read_only": True}], ids=str)
def test_nothing_is_made_where_nothing_may_be_made(tmp_path, options):
    storage = SessionStorage(tmp_path / "p" / "x.json", **options)
    with pytest.raises(UsageError, match="no database"):
        storage.read_state()
    storage.close()
    assert os.listdir(tmp_path) == []


def test_memory_needs_no_folder():
    with SessionStorage("memory:") as storage:
        storage.create_entity(A)
        assert storage.list_sessions(task_id="1") == [A]
        assert storage.read_state() == SessionDbState([A], "")


def test_a_location_is_a_path_or_a_url_and_is_taken_from_the_folder_of_now(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WHERE", str(tmp_path))
    for location in ("x.db", "~/x.db", "$WHERE/x.db", Path("x.db"), "sqlite:///x.db"):
        storage = SessionStorage(location, base_dir="~/base")
        monkeypatch.chdir("/")
        assert storage.get_storage_location() == os.path.realpath(tmp_path / "x.db")
        assert storage.base_dir == str(tmp_path / "base")
        monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("location", ["", "x.txt", "memory:x", "a\0b", "nobody:x", 7, None])
def test_a_location_that_is_none_is_refused(location):
    with pytest.raises((UsageError, TypeError)):
        SessionStorage(location).initialize()


def test_options_are_those_of_open(tmp_path):
    with pytest.raises(TypeError, match="nobody"):
        SessionStorage(tmp_path / "x", nobody=1)
    with pytest.raises(UsageError, match="sync"):
        SessionStorage(tmp_path / "x", sync="sometimes")
    with SessionStorage(tmp_path / "x", table="mine", sync="never") as storage:
        storage.create_entity(A)
        assert storage.list_misfits() == []
        with sessiondb.open(tmp_path / "x", sync="never") as db:
            assert db.tables() == {"mine": "json"}


def test_without_a_location_the_settings_say_where(tmp_path, monkeypatch):
    monkeypatch.setenv("SESSIONDB_URL", f"sqlite:///{tmp_path}/there.db")
    with SessionStorage(sync="never") as storage:
        storage.create_entity(A)
        assert storage.base_dir == os.path.realpath(tmp_path)
    with SessionStorage(sessiondb.load_config(url=f"sqlite:///{tmp_path}/there.db"), read_only=True) as storage:
        assert storage.list_sessions() == [A]
    with pytest.raises(UsageError):
        SessionStorage(create=False, sync="sometimes")
    with pytest.raises(TypeError, match="sync"):
        SessionStorage(sessiondb.load_config(), sync="never")
    monkeypatch.setenv("SESSIONDB_BACKEND", "json")
    with pytest.raises(ConfigError):
        SessionStorage()
    with SessionStorage(tmp_path / "x.json") as storage:  # with a location nothing of that is read
        assert storage.list_sessions() == []


# ---- failed is never absent


@pytest.mark.parametrize("content", [b"{ invalid json }", b'{"foo": 1}', b"42", b'"x"', b"SQLite format 3\0", b"\xff"])
def test_a_file_of_somebody_else_is_an_error_and_untouched(tmp_path, content):
    """The predecessor read no sessions, and the next one it wrote replaced the file."""
    path = tmp_path / "x.json"
    path.write_bytes(content)
    storage = SessionStorage(path)
    calls = [
        storage.initialize, storage.read_state, storage.list_sessions, storage.list_misfits,
        lambda: storage.list_sessions(misfits=[]), lambda: storage.create_entity(A), lambda: storage.search("a"),
        lambda: storage.write_state(SessionDbState([A])), lambda: storage.get_session_by_task_id("1"),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises((WrongBackendError, CorruptionError)):
            call()
    storage.close()
    assert path.read_bytes() == content


def test_a_sqlite_file_named_as_json_and_the_reverse_are_refused(tmp_path):
    with SessionStorage(tmp_path / "x.db") as storage:
        storage.create_entity(A)
    with pytest.raises(WrongBackendError, match="SQLite"):
        SessionStorage(f"json:///{tmp_path}/x.db").read_state()
    (tmp_path / "y.db").write_text("[]")
    with pytest.raises(WrongBackendError):
        SessionStorage(tmp_path / "y.db").read_state()
    assert (tmp_path / "y.db").read_text() == "[]"


def test_after_a_failure_to_open_the_next_call_tries_again(make):
    files = FaultyFiles()
    storage = make(files=files)
    with files.failing("create", path="OPEN") as failed:
        for call in (storage.initialize, storage.list_sessions):
            with pytest.raises(StoreFailedError):
                call()
        assert failed
    assert storage.list_sessions() == []


def test_a_failed_index_lets_the_next_call_try_again(make, monkeypatch):
    make().create_entity(A)
    storage = make()
    with monkeypatch.context() as patched:
        patched.setattr(sessiondb.Table, "create_index", lambda table, name: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            storage.list_sessions()
    assert storage.list_sessions() == [A]


def test_many_threads_that_need_it_first_open_it_once(make):
    storage = make()
    start = threading.Barrier(6)
    failures = []

    def work(number):
        try:
            start.wait(30)
            storage.create_entity(SessionRecord(session=f"s{number}", task_id="1"))
            assert storage.get_session_by_task_id("1") is not None
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(storage.list_sessions(task_id="#1")) == 6
    storage.close()
    assert len(make(sync="never").list_sessions()) == 6  # with other options: nobody has it open any more


# ---- reading only


def test_a_read_only_storage_answers_without_indexes_and_refuses_to_write(make, location):
    with sessiondb.open(location) as db:
        db.table("sessions").put_many({"a": {"session": "a", "taskId": "#1"}, "b": {"session": "b", "branch": 1}})
    storage = make(read_only=True)
    assert storage.get_session_by_task_id("1") == A
    assert storage._ready().indexes() == []
    assert [misfit.key for misfit in storage.list_misfits()] == ["b"]
    for write in (
        lambda: storage.create_entity(SessionRecord(session="c")), lambda: storage.delete_entity("a"),
        lambda: storage.update_entity("a", {"branch": "x"}), lambda: storage.write_state(SessionDbState([A])),
    ):  # fmt: skip
        with pytest.raises((ReadOnlyError, ValidationError)):
            write()


# ---- over a database that is open


def test_a_storage_over_a_database_leaves_it_open(db):
    storage = SessionStorage.over(db)
    with storage:
        storage.create_entity(A)
        assert storage.get_storage_location() == db.location
    with pytest.raises(ClosedError):
        storage.get_entity("a")
    assert db.table("sessions")["a"] == {"session": "a", "taskId": "#1"}
    assert SessionStorage.over(db, table="others").list_sessions() == []


def test_a_storage_over_a_database_that_was_closed_says_so(open_db):
    db = open_db()
    other = open_db()  # the store stays open
    storage = SessionStorage.over(db)
    db.close()
    for call in (
        storage.initialize, storage.list_sessions, storage.list_misfits, storage.read_state,
        lambda: storage.search("x"), lambda: storage.get_session_by_task_id("1"),
    ):  # fmt: skip
        with pytest.raises(ClosedError):
            call()
    with pytest.raises(ClosedError):
        SessionStorage.over(db)
    assert SessionStorage.over(other).list_sessions() == []


def test_a_table_of_bytes_holds_no_sessions(db):
    db.table("sessions", bytes)["a"] = b"{}"
    with pytest.raises(UsageError, match="bytes"):
        SessionStorage.over(db)


# ---- the base directory


def test_the_base_directory_is_the_stores_folder_unless_somebody_says_otherwise(make, location):
    storage = make()
    storage.create_entity(A)
    folder = os.path.realpath(location.parent)
    assert storage.base_dir == storage.read_state().base_dir == folder
    assert storage.get_session_workdir("a") == f"{folder}/sessions/a"
    given = make(base_dir="/srv/x/")
    assert given.get_session_workdir("a") == "/srv/x/sessions/a"
    assert make(base_dir=Path("~")).base_dir == os.path.abspath("~")  # a path object is taken as it is
    assert not (location.parent / "sessions").exists()


def test_without_a_base_directory_there_is_no_working_directory():
    with SessionStorage("memory:") as storage:
        storage.create_entity(A)
        with pytest.raises(UsageError, match="base_dir="):
            storage.get_session_workdir("a")
        assert storage.get_session_workdir("b") is None


@pytest.mark.parametrize("base_dir", ["", b"/x", "a\0b", 7])
def test_a_base_directory_that_is_no_path_is_refused(base_dir):
    with pytest.raises((UsageError, TypeError)):
        SessionStorage("memory:", base_dir=base_dir)


def test_the_base_directory_of_a_state_goes_where_the_sessions_go_or_is_refused(tmp_path):
    """It is not stored with the sessions: a state that says another one would be changed by writing it."""
    with SessionStorage(tmp_path / "x.json", base_dir="/old") as old:
        old.create_entity(A)
        state = old.read_state()
    with SessionStorage(tmp_path / "y.db") as new, pytest.raises(UsageError, match=r"/old.*base_dir=\.\.\."):
        new.write_state(state)
    with SessionStorage(tmp_path / "y.db", base_dir=state.base_dir) as new:
        new.write_state(state)
        assert new.read_state() == state


# ---- files that another program made


def test_a_file_of_the_other_program_opens_and_stays_as_it_is(tmp_path):
    path = tmp_path / "session-db.json"
    text = json.dumps(
        {
            "sessions": [
                {"session": "task#2", "taskId": "#2", "createdAt": "2025-06-23T16:46:12Z", "extra": {"a": 1}},
                {"session": "1", "createdAt": "yesterday", "repoName": "local/shop"},
            ],
            "baseDir": "/home/somebody/git",
        },
        indent=2,
    )
    path.write_text(text)
    with SessionStorage(path) as storage:
        assert [each.session for each in storage.list_sessions(order_by="-created_at")] == ["task#2", "1"]
        assert storage.search("SHOP")[0].session == "1"
        assert storage.base_dir == "/home/somebody/git"
        storage.write_state(storage.read_state())
    assert path.read_text() == text
    with SessionStorage(path, base_dir="/mine") as storage:
        found = storage.get_session_by_task_id("2")
        assert found is not None
        assert storage.get_session_workdir(found.session) == "/mine/sessions/task#2"
        storage.update_entity("1", {"branch": "main"})
    assert path.read_text() == text.replace('"local/shop"', '"local/shop",\n      "branch": "main"')


def test_a_new_file_in_the_other_programs_shape_is_made_when_that_is_asked_for(tmp_path):
    with SessionStorage(tmp_path / "x.json", layout="array") as storage:
        storage.create_entity(A)
    assert json.loads((tmp_path / "x.json").read_text()) == [{"session": "a", "taskId": "#1"}]
    with SessionStorage(tmp_path / "x.json") as storage:
        assert storage.get_session_by_task_id("1") == A


# ---- records


def test_a_record_shows_the_fields_that_are_there_and_no_token():
    record = SessionRecord(session="a", branch=None, github={"owner": "acme", "token": "t0k3n"}, pr_approved=False)
    text = repr(record)
    assert (
        text == "SessionRecord(session='a', branch=None, github={'owner': 'acme', 'token': '***'}, pr_approved=False)"
    )
    assert repr(SessionDbState([record])) == f"SessionDbState(sessions=[{text}], base_dir='')"
    assert record.github == {"owner": "acme", "token": "t0k3n"}
    assert not record.status
    assert record.status is UNSET


def test_the_names_of_sessions_are_imported_when_they_are_used():
    assert {"SessionRecord", "SessionDbState", "SessionMisfit", "SessionStorage"} <= set(sessiondb.__all__)
    assert sessiondb.SessionRecord is SessionRecord
    with pytest.raises(AttributeError, match="nobody"):
        print(sessiondb.nobody)
