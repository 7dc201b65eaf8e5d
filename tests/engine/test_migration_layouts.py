"""Session files as source and target of a migration: lossless, or refused with every record that would change."""

import json
import os
import tempfile
from pathlib import Path

import pytest

import sessiondb
from sessiondb import UsageError

RECORDS = [
    {"session": "#87", "repoName": "local/x", "createdAt": "2024-04-29T15:23:00Z", "prApproved": False, "n": 1.0},
    {"session": "87", "taskId": "#002", "remote": {"authMethod": "ssh", "depth": 1}, "unknown": None},
    {"session": "task#087", "text": "ü\u0000", "big": 18446744073709551615},
]
SHAPES = {
    "array": json.dumps(RECORDS, indent=2),
    "compact": json.dumps(RECORDS, separators=(",", ":")) + "\n",
    "state": json.dumps({"sessions": RECORDS, "baseDir": "/home/me/git"}, indent=2),
    "sessions": json.dumps({"sessions": RECORDS}),
    "backup": json.dumps({"timestamp": "2025-06-23T16:46:12.144Z", "version": "1.0", "data": {"sessions": RECORDS}}),
    "keyed": json.dumps({record["session"]: {**record, "branch": "b"} for record in RECORDS}),
}


@pytest.fixture
def tmp_path(tmp_path):
    """In memory where that can be."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="sessiondb-", dir="/dev/shm") as name:
        yield Path(name)


def sessions_of(path):
    with sessiondb.open(path, create=False, read_only=True) as db:
        assert list(db.tables()) == ["sessions"]
        return dict(db.table("sessions").items())


# ---- session files as sources


@pytest.mark.parametrize("target", ["t.json", "t.db", "t.lmdb"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_session_file_is_moved_and_keeps_every_byte(tmp_path, shape, target):
    source = tmp_path / "s.json"
    source.write_text(SHAPES[shape])
    result = sessiondb.migrate(source, tmp_path / target, execute=True)
    assert (result.outcome, result.source.records) == ("migrated", 3)
    assert source.read_text() == SHAPES[shape]
    assert not (tmp_path / "s.json.wal").exists(), "only who writes has a log"
    extra = {"branch": "b"} if shape == "keyed" else {}
    assert sessions_of(tmp_path / target) == {record["session"]: {**record, **extra} for record in RECORDS}


def test_numbers_and_texts_keep_their_spelling(tmp_path):
    source = tmp_path / "s.json"
    source.write_text('[ {"session": "a", "n": 1.50, "m": 1E2, "t": "\\u00fc\\/"} ]')
    for target in ("t.db", "u.json"):
        sessiondb.migrate(source, tmp_path / target, execute=True)
        with sessiondb.open(tmp_path / target) as db, db._open.pin() as view:
            assert view.get("sessions", "a") == b'{"session":"a","n":1.50,"m":1E2,"t":"\\u00fc\\/"}'
    sessiondb.migrate(tmp_path / "t.db", tmp_path / "v.json", execute=True, layout="array")
    assert json.loads((tmp_path / "v.json").read_text()) == json.loads(source.read_text())
    assert "1.50" in (tmp_path / "v.json").read_text()


@pytest.mark.parametrize("text", ["", "  \n", "[]", '{"sessions": []}'])
def test_a_session_file_without_sessions_moves_as_one(tmp_path, text):
    (tmp_path / "s.json").write_text(text)
    assert sessiondb.migrate(tmp_path / "s.json", tmp_path / "t.db", execute=True).outcome == "migrated"
    assert sessions_of(tmp_path / "t.db") == {}
    with sessiondb.open(tmp_path / "u.db") as db:
        db.table("t")["a"] = 1
    with pytest.raises(UsageError, match="holds no record"):
        sessiondb.migrate(tmp_path / "s.json", tmp_path / "u.db", execute=True, replace=True)


def test_what_only_a_session_file_has_a_place_for_is_told(tmp_path):
    (tmp_path / "s.json").write_text(SHAPES["state"])
    result = sessiondb.migrate(tmp_path / "s.json", tmp_path / "t.db")
    assert result.refusals == []
    assert len(result.notices) == 1
    assert "the file's own field baseDir ('/home/me/git')" in result.notices[0]
    (tmp_path / "b.json").write_text(SHAPES["backup"].replace('"data": {', '"more": {"a": 1}, "data": {"x": [], '))
    notices = sessiondb.migrate(tmp_path / "b.json", tmp_path / "u.db").notices
    assert [notice.rpartition(" ")[2] for notice in notices] == ["timestamp", "version", "more", "x"]
    for shape in ("array", "keyed", "sessions"):
        (tmp_path / "c.json").write_text(SHAPES[shape])
        assert sessiondb.migrate(tmp_path / "c.json", tmp_path / "u.db").notices == []


def test_sessions_behind_another_one_with_the_same_key_are_listed_and_nothing_is_moved(tmp_path):
    source = tmp_path / "s.json"
    records = [*RECORDS, {"session": "87", "n": 2}, {"session": "#87", "n": 3}, {"session": "87", "n": 4}]
    source.write_text(json.dumps(records))
    preview = sessiondb.migrate(source, tmp_path / "t.db")
    assert [(misfit.table, misfit.key) for misfit in preview.misfits] == [
        ("sessions", "87"), ("sessions", "#87"), ("sessions", "87"),
    ]  # fmt: skip
    assert "3 records of the source would not come back as they are" in preview.refusals[0]
    with pytest.raises(UsageError, match=r"behind another session with the same key.*nothing was changed"):
        sessiondb.migrate(source, tmp_path / "t.db", execute=True, replace=True)
    assert os.listdir(tmp_path) == ["s.json"]


# ---- session files as targets


def fill(path, **records):
    with sessiondb.open(path) as db:
        table = db.table("sessions", indexes=["taskId"])
        table.put_many({record["session"]: record for record in RECORDS} | records)


@pytest.mark.parametrize("source", ["s.json", "s.db", "s.lmdb"])
@pytest.mark.parametrize("layout", ["array", "sessions"])
def test_a_new_session_file_is_what_other_programs_expect(tmp_path, source, layout):
    fill(tmp_path / source)
    result = sessiondb.migrate(tmp_path / source, tmp_path / "t.json", execute=True, layout=layout)
    assert (result.layout, result.executed) == (layout, True)
    found = json.loads((tmp_path / "t.json").read_text())
    assert (found if layout == "array" else found["sessions"]) == RECORDS
    assert sessions_of(tmp_path / "t.json") == {record["session"]: record for record in RECORDS}
    with sessiondb.open(tmp_path / "t.json") as db:
        assert db.recovery_report.clean
        assert db.stats().layout.name == layout
        assert db.table("sessions").indexes() == ["taskId"]
        db.table("sessions")["new"] = {"session": "new"}


def test_a_second_run_finds_a_session_file_in_its_place(tmp_path):
    fill(tmp_path / "s.db")
    sessiondb.migrate(tmp_path / "s.db", tmp_path / "t.json", execute=True, layout="array")
    before = (tmp_path / "t.json").read_bytes()
    for layout in ("array", None):
        again = sessiondb.migrate(tmp_path / "s.db", tmp_path / "t.json", execute=True, layout=layout)
        assert again.outcome == "already there"
    assert (tmp_path / "t.json").read_bytes() == before
    with pytest.raises(UsageError, match="holds 3 records"):  # it would have to be written anew
        sessiondb.migrate(tmp_path / "s.db", tmp_path / "t.json", execute=True, layout="sessions")


def test_native_is_the_name_of_the_layout_that_is_not_one(tmp_path):
    fill(tmp_path / "s.db")
    result = sessiondb.migrate(tmp_path / "s.db", tmp_path / "t.json", execute=True, layout="native")
    assert result.layout is None
    assert (tmp_path / "t.json").read_bytes().startswith(b'{"sessiondb"')


def test_every_record_that_a_session_file_cannot_hold_is_listed(tmp_path):
    with sessiondb.open(tmp_path / "s.db") as db:
        db.table("sessions").put_many(
            {"a": {"session": "a"}, "b": {"session": "other"}, "c": {"n": 1}, "d": [1], "e": None, "f": {"session": 7}}
        )
        db.table("blobs", bytes)["logo"] = b"\0"
        db.table("other").put_many({"a": {"session": "a"}, "x": 1})
    preview = sessiondb.migrate(tmp_path / "s.db", tmp_path / "t.json", layout="array")
    found = {(misfit.table, misfit.key): misfit.problem for misfit in preview.misfits}
    assert found.keys() == {
        ("sessions", "b"), ("sessions", "c"), ("sessions", "d"), ("sessions", "e"), ("sessions", "f"),
        ("blobs", "logo"), ("other", "a"), ("other", "x"),
    }  # fmt: skip
    assert "another than its key" in found["sessions", "b"]
    assert "only" in found["other", "a"]
    assert "8 records" in preview.refusals[0]
    with pytest.raises(UsageError, match="would not come back as they are"):
        sessiondb.migrate(tmp_path / "s.db", tmp_path / "t.json", layout="array", execute=True)
    assert not (tmp_path / "t.json").exists()


def test_a_table_of_bytes_named_sessions_does_not_fit(tmp_path):
    with sessiondb.open(tmp_path / "s.db") as db:
        db.table("sessions", bytes)["a"] = b'{"session":"a"}'
    (misfit,) = sessiondb.migrate(tmp_path / "s.db", tmp_path / "t.json", layout="array").misfits
    assert misfit.problem == "a session file holds no bytes"


@pytest.mark.parametrize(
    ("target", "layout", "problem"),
    [
        ("t.json", "state", "native, array, sessions"),
        ("t.json", "keyed", "native, array, sessions"),
        ("t.json", "no such", "native, array, sessions"),
        ("t.db", "array", "only JSON files have layouts"),
        ("t.db", "native", "only JSON files have layouts"),
        ("t.lmdb", "array", "only JSON files have layouts"),
    ],
)
def test_a_layout_that_a_new_store_cannot_have_is_refused(tmp_path, target, layout, problem):
    fill(tmp_path / "s.db")
    for execute in (False, True):
        with pytest.raises(UsageError, match=problem):
            sessiondb.migrate(tmp_path / "s.db", tmp_path / target, layout=layout, execute=execute)


# ---- a session file that is replaced


@pytest.fixture
def old(tmp_path):
    """A session file that was written to, with a copy of a session in it."""
    path = tmp_path / "t.json"
    records = [{"session": "x", "n": 1}, {"session": "x", "n": 2}, {"session": "y"}]
    path.write_text(json.dumps({"sessions": records, "baseDir": "/here"}, indent=4))
    with sessiondb.open(path) as db:
        db.table("sessions", indexes=["n"])["z"] = {"session": "z"}
    assert (tmp_path / "t.json.prev").exists()
    assert (tmp_path / "t.json.wal" / "MARK").exists()
    return path


@pytest.mark.parametrize("layout", [None, "array"])
def test_the_copy_of_a_session_file_is_the_same_byte_for_byte(tmp_path, old, layout):
    text = old.read_bytes()
    fill(tmp_path / "s.db")
    result = sessiondb.migrate(tmp_path / "s.db", old, execute=True, replace=True, layout=layout)
    assert Path(result.backup).read_bytes() == text
    assert sessions_of(old) == {record["session"]: record for record in RECORDS}
    assert not (tmp_path / "t.json.prev").exists(), "that was the copy's"
    assert (tmp_path / "t.json.wal" / "MARK").exists() == (layout is not None)
    with sessiondb.open(old) as db:
        assert db.recovery_report.clean
        db.table("sessions")["more"] = {"session": "more"}
        db.checkpoint()
        assert db.check() == []


def test_the_copy_of_a_session_file_is_put_back_by_hand(tmp_path, old):
    text = old.read_bytes()
    fill(tmp_path / "s.db")
    backup = sessiondb.migrate(tmp_path / "s.db", old, execute=True, replace=True).backup
    old.rename(tmp_path / "away.json")
    (tmp_path / "t.json.wal").rename(tmp_path / "away.json.wal")
    os.rename(backup, old)
    with sessiondb.open(old) as db:
        assert db.stats().layout.duplicates == 1
        assert sorted(db.table("sessions")) == ["x", "y", "z"]
    assert old.read_bytes() == text


def test_what_somebody_wrote_into_a_session_files_past_is_not_removed(tmp_path, old):
    (tmp_path / "t.json.prev").write_text('["written by another program"]')
    fill(tmp_path / "s.db")
    sessiondb.migrate(tmp_path / "s.db", old, execute=True, replace=True)
    assert (tmp_path / "t.json.prev").read_text() == '["written by another program"]'
