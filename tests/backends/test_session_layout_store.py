"""Session files as databases: opened as they are, written where they change, adopted or refused when others edit."""

import errno
import json
import shutil
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

import sessiondb
from sessiondb import SessionRecord
from sessiondb.checkpoint import Checkpointer
from sessiondb.memtable import Memtable
from sessiondb.testing import FaultyFiles
from sessiondb.wal.operations import Delete, Drop, Put
from sessiondb_backends.session_layout_shapes import parse_sessions

RECORDS = [
    {"session": "task#002", "repoUrl": "file:///srv/one", "repoName": "local/one", "createdAt": "2031-04-29T15:23:00Z",
     "taskId": "#002"},
    {"session": "004", "repoUrl": ".", "createdAt": "2031-04-30T10:00:00.000Z", "branch": "004", "prApproved": False},
    {"session": "#87", "repoUrl": "/", "remote": {"authMethod": "ssh", "depth": 1}, "empty": "", "é": [1, 2.5, None]},
]  # fmt: skip
SHAPES = {
    "array": RECORDS,
    "state": {"sessions": RECORDS, "baseDir": "/srv/state"},
    "sessions": {"sessions": RECORDS, "metadata": {"customField": 1}},
    "backup": {"timestamp": "t", "version": "1.0", "data": {"sessions": RECORDS, "baseDir": "/srv/state"}},
    "keyed": {record["session"]: record for record in RECORDS},
}


def as_js(value):
    return json.dumps(value, indent=2, ensure_ascii=False).encode()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "session-db.json"


@pytest.fixture
def files():
    return FaultyFiles()


@pytest.fixture(autouse=True)
def _no_background(monkeypatch):
    monkeypatch.setattr(Checkpointer, "became_dirty", lambda self, due: None)


def opened(path, files, **options):
    return sessiondb.open(path, files=files, lock_timeout=0, **options)


def put_one(path, files, key="new"):
    with opened(path, files) as db:
        db.table("sessions")[key] = {"session": key}


def killed(path, files, tmp_path, change):
    """A store that holds `change` in its log only, as a kill leaves it; in a folder of its own."""
    other = tmp_path / "killed"
    other.mkdir()
    with opened(path, files) as db:
        change(db.table("sessions"))
        shutil.copy(path, other)
        shutil.copytree(f"{path}.wal", other / f"{path.name}.wal")
    return other / path.name


# ---- as it is


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("write", [as_js, lambda value: json.dumps(value).encode() + b"\n"], ids=["js", "hand"])
def test_a_file_that_is_only_looked_at_keeps_every_byte(path, files, shape, write):
    data = write(SHAPES[shape])
    path.write_bytes(data)
    inode = path.stat().st_ino
    with opened(path, files) as db:
        table = db.table("sessions", indexes=["taskId", "createdAt"])
        assert db.tables() == {"sessions": "json"}
        assert table["004"] == RECORDS[1]
        assert [record for _, record in table.find({"taskId": "#002"})] == [RECORDS[0]]
        assert db.stats().layout.name == shape
        assert db.recovery_report.notices == []
    with opened(path, files) as db:
        assert db.recovery_report.clean
        assert db.table("sessions").indexes() == ["createdAt", "taskId"]
        assert db.stats().log_records == 0
    assert path.read_bytes() == data
    assert path.stat().st_ino == inode
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}.wal"]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_session_that_is_added_stands_behind_the_others_which_keep_their_bytes(path, files, shape):
    path.write_bytes(as_js(SHAPES[shape]))
    new = {"session": "new", "repoName": "r", "odd": {"x": []}}
    with opened(path, files) as db:
        db.table("sessions")["new"] = new
    changed = json.loads(as_js(SHAPES[shape]))
    if shape == "keyed":
        changed["new"] = new
    else:
        holder = changed if shape == "array" else changed.get("data", changed)["sessions"]
        holder.append(new)
    assert path.read_bytes() == as_js(changed)
    with opened(path, files) as db:
        assert db.table("sessions")["new"] == new
        del db.table("sessions")["new"]
    assert path.read_bytes() == as_js(SHAPES[shape])


def test_typed_sessions_keep_what_the_type_does_not_know(path, files):
    path.write_bytes(as_js(RECORDS))
    with opened(path, files) as db:
        sessions = db.table("sessions", SessionRecord, id="session")
        assert sessions["004"].pr_approved is False
        sessions.patch("#87", {"branch": "main"})
        sessions.patch("task#002", {"task_id": sessiondb.UNSET})
    changed = json.loads(as_js(RECORDS))
    changed[2]["branch"] = "main"
    del changed[0]["taskId"]
    assert path.read_bytes() == as_js(changed)


def test_a_session_of_a_later_version_is_refused_wherever_its_marker_stands(path, files):
    """The engine looks for a record's version in the first field only; a field that is new stands last in the file."""
    path.write_bytes(as_js({"a": {"branch": "x"}, "b": {"session": "b", "branch": "y", "$v": 2}}))
    upgrades = {1: lambda document: document}
    with opened(path, files) as db:
        sessions = db.table("sessions", dict, id="session", version=2, upgrades=upgrades)
        sessions.patch("a", {"branch": "z"})
    with opened(path, files) as db:
        old = db.table("sessions", SessionRecord, id="session")
        for key in ("a", "b"):
            with pytest.raises(sessiondb.UnsupportedFormatError, match="version 2"):
                old.get(key)
        with pytest.raises(sessiondb.UnsupportedFormatError, match="version 2"):
            old.patch("b", {"branch": "q"})
    assert json.loads(path.read_bytes()) == {
        "a": {"branch": "z", "$v": 2}, "b": {"session": "b", "branch": "y", "$v": 2}
    }  # fmt: skip


def test_217_sessions_and_one_more(path, files):
    many = [{"session": f"task#{number:03}", "repoUrl": "/", "createdAt": "2031"} for number in range(217)]
    path.write_bytes(as_js(many))
    with opened(path, files) as db:
        db.table("sessions", id="session").insert({"session": "x"})
        assert len(db.table("sessions")) == 218
    assert path.read_bytes() == as_js([*many, {"session": "x"}])


@pytest.mark.parametrize("data", [b"", b"\n"], ids=ascii)
def test_an_empty_file_holds_no_session_until_it_gets_one(path, files, data):
    path.write_bytes(data)
    with opened(path, files) as db:
        assert len(db.table("sessions")) == 0
        assert db.stats().layout.name == "empty"
    assert path.read_bytes() == data
    put_one(path, files)
    assert path.read_bytes() == as_js([{"session": "new"}])
    with opened(path, files) as db:
        assert db.stats().layout.name == "array"


def test_whoever_wants_another_table_in_an_empty_file_is_told_how_to_get_one(path, files):
    path.write_bytes(b"")
    with pytest.raises(sessiondb.UsageError, match=r"migrate.*remove it and its \.wal folder"):
        sessiondb.table(path, "t", files=files)
    path.unlink()
    shutil.rmtree(f"{path}.wal")
    with sessiondb.table(path, "t", files=files) as table:
        table["a"] = 1


def test_duplicates_are_counted_and_the_first_is_the_record(path, files):
    path.write_bytes(as_js([{"session": "a", "n": 1}, {"session": "b"}, {"session": "a", "n": 2}]))
    with opened(path, files) as db:
        sessions = db.table("sessions")
        assert dict(sessions) == {"a": {"session": "a", "n": 1}, "b": {"session": "b"}}
        assert db.stats().layout.duplicates == 1
        sessions.patch("a", {"n": 3})
        db.checkpoint()
        assert db.stats().layout.duplicates == 1
    assert path.read_bytes() == as_js([{"session": "a", "n": 3}, {"session": "b"}, {"session": "a", "n": 2}])
    with opened(path, files) as db:
        del db.table("sessions")["a"]
    assert path.read_bytes() == as_js([{"session": "b"}])


def test_a_session_that_is_deleted_and_made_again_between_two_checkpoints_has_no_copies_and_is_last(path, files):
    path.write_bytes(as_js([{"session": "a", "n": 1}, {"session": "b"}, {"session": "a", "n": 2}]))
    with opened(path, files) as db:
        sessions = db.table("sessions")
        del sessions["a"]
        sessions["a"] = {"session": "a", "n": 3}
    assert path.read_bytes() == as_js([{"session": "b"}, {"session": "a", "n": 3}])


def test_the_memtable_tells_which_keys_were_made_again():
    table = Memtable(0)
    table.apply(1, [Put("t", "a", b"1"), Put("t", "b", b"1"), Delete("t", "c"), Put("t", "c", b"2")], -1)
    table.apply(2, [Delete("t", "a"), Delete("t", "c"), Delete("t", "b"), Put("t", "a", b"3")], -1)
    table.apply(3, [Put("t", "c", b"3"), Put("u", "x", b"1")], -1)
    changes = table.changes(lambda: None)
    assert changes["t"].images == {"a": b"3", "b": None, "c": b"3"}
    assert list(changes["t"].recreated) == ["a", "c"]
    assert list(changes["u"].recreated) == []


# ---- what it cannot hold


def test_another_table_is_refused_before_anything_is_written(path, files):
    path.write_bytes(as_js(RECORDS))
    with opened(path, files) as db:
        with pytest.raises(sessiondb.UsageError, match=r"one table, 'sessions', and cannot hold 't'.*migrate"):
            db.table("t")
        with pytest.raises(sessiondb.UsageError, match=r"always has its table.*clear"):
            db.drop("sessions")
        with pytest.raises(sessiondb.UsageError, match="json records"):
            db.table("sessions", bytes)
        assert db.drop("t") is False
        assert db.position().lsn == 0
    with pytest.raises(sessiondb.UsageError, match="migrate"):
        sessiondb.table(path, files=files)
    assert path.read_bytes() == as_js(RECORDS)


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"n": 1}, "is missing"), ({"session": "b"}, "is another"), ({"session": None}, "is another"),
        ({"session": 7}, "is another"), (["session"], "is an object"), ("a", "is an object"), (0, "is an object"),
    ],
)  # fmt: skip
def test_a_record_without_its_key_is_refused_before_anything_is_written(path, files, record, problem):
    path.write_bytes(as_js(RECORDS))
    with opened(path, files) as db:
        sessions = db.table("sessions")
        for call in (
            lambda: sessions.put("a", record),
            lambda: sessions.put_many({"ok": {"session": "ok"}, "a": record}),
            lambda: sessions.modify("004", lambda _: record),
        ):
            with pytest.raises(sessiondb.ValidationError, match=problem) as caught:
                call()
            assert caught.value.table == "sessions"
        with pytest.raises(sessiondb.ValidationError):
            sessions.patch("004", {"session": sessiondb.UNSET})
        assert db.position().lsn == 0
    assert path.read_bytes() == as_js(RECORDS)


@pytest.mark.parametrize(
    "data",
    [b"{ invalid json }", b'{"foo":1}', b"42", b'"x"', b"[1]", b'[{"id":"a"}]', b"{}", b'[{"session":"a"}'],
    ids=ascii,
)
@pytest.mark.parametrize("read_only", [False, True], ids=["write", "read"])
def test_everything_else_is_refused_with_file_and_place_and_left_alone(path, files, data, read_only):
    path.write_bytes(data)
    with pytest.raises(sessiondb.WrongBackendError, match=r"at .*session-db.json \(.*\); it is untouched") as caught:
        opened(path, files, read_only=read_only)
    assert "offset" in str(caught.value) or "no array" in str(caught.value)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == data


def test_a_database_and_a_session_file_are_not_taken_for_each_other(tmp_path, files):
    (tmp_path / "sessions.db").write_bytes(b"[]")
    with pytest.raises(sessiondb.WrongBackendError):
        opened(tmp_path / "sessions.db", files)
    with opened(f"json:///{tmp_path}/sessions.db", files) as db:
        assert db.stats().layout.name == "array"
    (tmp_path / "x.json").write_bytes(b"SQLite format 3\0" + bytes(100))
    with pytest.raises(sessiondb.WrongBackendError, match="SQLite"):
        opened(tmp_path / "x.json", files)


# ---- new files


@pytest.mark.parametrize(("layout", "data"), [("array", b"[]"), ("sessions", b'{\n  "sessions": []\n}')])
def test_a_new_file_has_a_session_layout_only_when_that_is_asked_for(path, files, layout, data):
    with opened(path, files, layout=layout) as db:
        assert db.stats().layout.name == layout
        assert db.recovery_report.clean
        assert path.read_bytes() == data
        assert path.stat().st_mode & 0o777 == 0o600
    with opened(path, files, layout=layout) as db:
        db.table("sessions")["a"] = {"session": "a"}
    assert json.loads(path.read_bytes()) == (
        [{"session": "a"}] if layout == "array" else {"sessions": [{"session": "a"}]}
    )
    native = path.with_name("native.json")
    for how in ({}, {"layout": "native"}):
        with opened(native, files, **how) as db:
            assert db.stats().layout is None
    assert native.read_bytes().startswith(b'{"sessiondb"')


@pytest.mark.parametrize("layout", ["state", "backup", "keyed"])
def test_a_layout_that_needs_more_than_sessions_is_made_by_nobody(path, files, layout):
    with pytest.raises(sessiondb.UsageError, match="cannot be made"):
        opened(path, files, layout=layout)
    assert not path.exists()


@pytest.mark.parametrize("layout", ["", "x", 7, "empty"])
def test_an_unknown_layout_is_refused(path, files, layout):
    with pytest.raises(sessiondb.UsageError, match="layout is"):
        opened(path, files, layout=layout)
    assert not path.exists()


def test_a_layout_that_the_file_does_not_have_is_refused(path, files):
    path.write_bytes(as_js(RECORDS))
    for layout in ("native", "sessions"):
        with pytest.raises(sessiondb.UsageError, match=r"has the layout 'array', which it keeps"):
            opened(path, files, layout=layout)
    native = path.with_name("native.json")
    opened(native, files).close()
    with pytest.raises(sessiondb.UsageError, match="has the native layout"):
        opened(native, files, layout="array")
    with pytest.raises(sessiondb.UsageError, match="only JSON files have layouts"):
        sessiondb.open(path.with_name("x.db"), layout="array")


def test_the_layout_is_compared_when_an_open_store_is_shared(path, files):
    path.write_bytes(as_js(RECORDS))
    with opened(path, files):
        opened(path, files, layout="array").close()
        opened(path, files).close()
        with pytest.raises(sessiondb.UsageError, match="does not have the layout 'native'"):
            opened(path, files, layout="native")


# ---- when others edit


def test_an_edit_is_adopted_as_a_transaction(path, files):
    path.write_bytes(as_js(RECORDS))
    put_one(path, files)
    edited = as_js([RECORDS[1], {"session": "edited"}])
    path.write_bytes(edited)
    with opened(path, files) as db:
        assert list(db.table("sessions")) == ["004", "edited"]
        assert db.position().lsn == db.stats().applied_lsn == db.stats().durable_lsn == 2
        assert any("another program changed the file" in notice for notice in db.recovery_report.notices)
        assert db.recovery_report.last_lsn == 2
        frames = list(db._open.log.frames(1, 2))
    assert len(frames) == 1
    assert path.read_bytes() == edited
    with opened(path, files) as db:
        assert db.recovery_report.notices == []
        assert db.position().lsn == 2


def test_the_transaction_of_an_adoption_holds_all_that_is_there(path, files):
    path.write_bytes(as_js(RECORDS))
    with opened(path, files) as db:
        db.table("sessions", indexes=["taskId", "branch"])
    path.write_bytes(as_js([{"session": "a", "taskId": "1", "branch": ["not", "indexable"]}]))
    with opened(path, files) as db:
        (frame,) = db._open.log.frames(2, 3)
        operations = sessiondb.wal.operations.decode_operations(frame.payload)
        assert operations[0] == Drop("sessions")
        assert [operation.key for operation in operations[1:-1]] == ["a"]
        assert operations[-1].field == "taskId"
        assert db.table("sessions").indexes() == ["taskId"]
        with pytest.raises(sessiondb.ValidationError, match="indexed"):
            db.table("sessions", indexes=["branch"])


@pytest.mark.parametrize("shape", SHAPES)
def test_an_edit_may_change_the_shape(path, files, shape):
    path.write_bytes(as_js([{"session": "x"}]))
    put_one(path, files)
    path.write_bytes(as_js(SHAPES[shape]))
    with opened(path, files) as db:
        assert len(db.table("sessions")) == 3
        assert db.stats().layout.name == shape
    assert path.read_bytes() == as_js(SHAPES[shape])


def test_an_edit_over_a_log_that_holds_something_is_refused_and_both_are_kept(path, files, tmp_path):
    path.write_bytes(as_js(RECORDS))
    put_one(path, files)
    target = killed(path, files, tmp_path, lambda sessions: sessions.put("late", {"session": "late"}))
    was = target.read_bytes()
    edited = as_js([{"session": "edited"}])
    target.write_bytes(edited)
    before = {file: file.read_bytes() for file in target.parent.rglob("*") if file.is_file() and file.name != "OPEN"}
    for read_only in (False, True):
        with pytest.raises(sessiondb.FencedError, match=r"LSN 2 to 2.*both are kept.*--keep-file.*--keep-log"):
            opened(target, files, read_only=read_only)
    assert {file: file.read_bytes() for file in before} == before
    # What the message says can be done today:
    target.write_bytes(was)
    with opened(target, files) as db:
        assert "late" in db.table("sessions")


def test_a_refused_file_is_taken_as_it_is_when_the_log_is_moved_away(path, files, tmp_path):
    path.write_bytes(as_js(RECORDS))
    target = killed(path, files, tmp_path, lambda sessions: sessions.put("late", {"session": "late"}))
    target.write_bytes(as_js([{"session": "edited"}]))
    with pytest.raises(sessiondb.FencedError):
        opened(target, files)
    Path(f"{target}.wal").rename(f"{target}.wal.aside")
    with opened(target, files) as db:
        assert list(db.table("sessions")) == ["edited"]


def test_an_edit_is_shown_but_not_adopted_by_a_reader(path, files):
    path.write_bytes(as_js(RECORDS))
    put_one(path, files)
    path.write_bytes(as_js([{"session": "edited"}]))
    before = {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()}
    with opened(path, files, read_only=True) as db:
        assert list(db.table("sessions")) == ["edited"]
        assert "adopted by who opens to write" in db.recovery_report.notices[0]
    assert {file: file.read_bytes() for file in before} == before


def test_an_edit_while_it_is_open_stops_checkpoints_and_loses_nothing(path, files):
    path.write_bytes(as_js(RECORDS))
    db = opened(path, files)
    db.table("sessions")["new"] = {"session": "new"}
    edited = as_js([{"session": "edited"}])
    path.write_bytes(edited)
    with pytest.raises(sessiondb.FencedError, match="another program changed"):
        db.checkpoint()
    assert "new" in db.table("sessions")
    db.close()
    assert path.read_bytes() == edited
    with pytest.raises(sessiondb.FencedError, match="both are kept"):
        opened(path, files)


def test_what_the_old_program_wrote_during_a_checkpoint_is_kept_and_counted(path, files):
    path.write_bytes(as_js(RECORDS))

    def write_in_place(operation, where):
        if operation == "link":
            files.after = None
            path.write_bytes(as_js([{"session": "foreign"}]))

    with opened(path, files) as db:
        db.table("sessions")["new"] = {"session": "new"}
        files.after = write_in_place
        db.checkpoint()
        (kept,) = db.stats().layout.conflicts
        assert db.check() == [problem for problem in db.check() if kept in problem] != []
    assert json.loads(Path(kept).read_bytes()) == [{"session": "foreign"}]
    with opened(path, files) as db:
        assert len(db.table("sessions")) == 4


# ---- when it is gone


def test_a_missing_file_is_an_error_and_never_empty(path, files):
    path.write_bytes(as_js(RECORDS))
    opened(path, files).close()
    path.rename(f"{path}.aside")
    for how in ({}, {"read_only": True}, {"layout": "array"}, {"create": False}):
        with pytest.raises(sessiondb.CorruptionError, match=r"missing, but its log is here.*\.prev"):
            opened(path, files, **how)
    assert not path.exists()
    Path(f"{path}.aside").rename(path)
    with opened(path, files) as db:
        assert len(db.table("sessions")) == 3


def test_a_read_only_open_leaves_nothing_behind(path, files):
    path.write_bytes(as_js(RECORDS))
    with opened(path, files, read_only=True) as db:
        assert len(db.table("sessions")) == 3
        with pytest.raises(sessiondb.ReadOnlyError):
            db.table("sessions")["a"] = {"session": "a"}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_native_store_that_was_emptied_is_not_taken_for_a_session_file(path, files):
    with opened(path, files) as db:
        db.table("t")["a"] = 1
    path.write_bytes(b"")
    with pytest.raises(sessiondb.WrongBackendError, match=r"found an empty file .*native layout"):
        opened(path, files)
    assert path.read_bytes() == b""


def test_a_storage_over_a_session_file_replaces_its_state_in_place(path):
    path.write_bytes(as_js({"sessions": RECORDS, "baseDir": "/srv/state"}))
    storage = sessiondb.JsonFileStorage(path, dict, id="session", table="sessions")
    state = storage.read_state()
    assert list(state) == ["#87", "004", "task#002"]
    storage.create_entity({"session": "x"})
    del state["004"]
    storage.write_state({**state, "y": {"session": "y"}})
    storage.close()
    kept = [RECORDS[0], RECORDS[2], {"session": "y"}]
    assert path.read_bytes() == as_js({"sessions": kept, "baseDir": "/srv/state"})


def test_checkpoints_at_any_time_lead_to_the_same_sessions(path, files):
    changes = [("a", {}), ("004", None), ("#87", {"x": 1}), ("004", {}), ("a", None), ("task#002", {"taskId": "1"})]
    contents = set()
    for moments in ((), (1,), (2, 4), (1, 2, 3, 4, 5, 6)):
        target = path.with_name(f"{len(moments)}.json")
        target.write_bytes(as_js(RECORDS))
        with opened(target, files) as db:
            sessions = db.table("sessions")
            for number, (key, change) in enumerate(changes, 1):
                if change is None:
                    del sessions[key]
                else:
                    sessions[key] = {**sessions.get(key, {"session": key}), **change}
                if number in moments:
                    db.checkpoint()
        contents.add(target.read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize("half_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("edited", [False, True], ids=["ours", "edited"])
def test_whatever_fails_once_nothing_acknowledged_is_missing_afterwards(path, half_done, edited):
    """Each operation on files fails once, from the opening to the close; the next one to open finds everything."""
    for number in count(1):
        target = path.with_name(f"{number}.json")
        target.write_bytes(as_js(RECORDS))
        put_one(target, FaultyFiles())
        expected = {"task#002", "004", "#87", "new"}
        if edited:
            target.write_bytes(as_js([{"session": "edited"}]))
            expected = {"edited"}
        files = FaultyFiles()
        failing = files.failing_at(number, errno.EIO, after=half_done)
        with failing as failed, suppress(sessiondb.SessionDBError), opened(target, files) as db:
            db.table("sessions")["a"] = {"session": "a"}
            expected.add("a")
            db.checkpoint()
            db.table("sessions")["b"] = {"session": "b"}
            expected.add("b")
        with opened(target, FaultyFiles()) as db:
            found = set(db.table("sessions"))
            assert expected <= found <= {*expected, "a", "b"}
            assert db.check() == []
        assert set(parse_sessions(target.read_bytes()).images) == found
        if not failed:
            break
    assert number > 60
