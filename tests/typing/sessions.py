"""What type checkers must say about sessions. Checked by mypy, never run."""

import datetime
from pathlib import Path
from typing import Any, assert_type

from msgspec import UnsetType

import sessiondb
from sessiondb import (
    UNSET,
    Database,
    DatabaseStorage,
    SessionDbState,
    SessionMisfit,
    SessionRecord,
    SessionStorage,
    between,
)


def records(record: SessionRecord, state: SessionDbState, misfit: SessionMisfit) -> None:
    assert_type(record.session, str)
    assert_type(record.task_id, str | None | UnsetType)
    assert_type(record.pr_approved, bool | None | UnsetType)
    assert_type(record.commit_count, int | None | UnsetType)
    assert_type(record.pull_request, dict[str, Any] | None | UnsetType)
    assert_type(state.sessions, list[SessionRecord])
    assert_type(state.base_dir, str)
    assert_type(misfit.key, str)
    assert_type(misfit.path, str)
    assert_type(misfit.problem, str)
    assert_type(misfit.error, sessiondb.SessionDBError)
    SessionRecord(session="a", branch=None, created_at=UNSET, github={"owner": "x"})
    SessionRecord("a")  # type: ignore[call-arg]
    SessionRecord()  # type: ignore[call-arg]
    SessionRecord(session="a", nobody=1)  # type: ignore[call-arg]
    SessionRecord(session="a", commit_count="1")  # type: ignore[arg-type]
    misfit.key = "b"  # type: ignore[misc]


def opening(path: Path, db: Database) -> None:
    assert_type(SessionStorage(path, base_dir="/srv", sync="never"), SessionStorage)
    assert_type(SessionStorage(), SessionStorage)
    assert_type(SessionStorage(sessiondb.load_config()), SessionStorage)
    assert_type(SessionStorage.over(db, base_dir=path, table="mine"), SessionStorage)
    with SessionStorage("sqlite:///x.db") as storage:
        assert_type(storage, SessionStorage)
    SessionStorage(db)  # type: ignore[arg-type]
    SessionStorage(path, "/srv")  # type: ignore[call-arg]


def entities(sessions: SessionStorage, record: SessionRecord) -> None:
    storage: DatabaseStorage[SessionRecord, SessionDbState] = sessions
    assert_type(storage.read_state(), SessionDbState)
    storage.write_state(SessionDbState([record]))
    assert_type(sessions.get_entity("a"), SessionRecord | None)
    assert_type(sessions.get_entities({"branch": "main"}, order_by="-created_at", limit=1), list[SessionRecord])
    assert_type(sessions.create_entity(record), SessionRecord)
    assert_type(sessions.update_entity("a", {"pr_state": UNSET}), SessionRecord | None)
    assert_type(sessions.delete_entity("a"), bool)
    storage.write_state([record])  # type: ignore[arg-type]
    wrong: DatabaseStorage[SessionRecord, dict[str, SessionRecord]] = sessions  # type: ignore[assignment]
    print(wrong)


def questions(sessions: SessionStorage, misfits: list[SessionMisfit]) -> None:
    assert_type(sessions.get_session_by_task_id("#101"), SessionRecord | None)
    assert_type(sessions.list_sessions(), list[SessionRecord])
    assert_type(
        sessions.list_sessions(
            {"agent_id": between("a", "b")},
            task_id="101",
            repo_name="x",
            branch="main",
            status_not_in={"CLOSED"},
            created_after="2025-06-23",
            created_before=datetime.datetime.now(datetime.UTC),
            order_by=["-created_at", "session"],
            limit=5,
            offset=5,
            misfits=misfits,
        ),
        list[SessionRecord],
    )
    assert_type(sessions.search("x", order_by="session", limit=1, offset=1, misfits=misfits), list[SessionRecord])
    assert_type(sessions.list_misfits(), list[SessionMisfit])
    assert_type(sessions.base_dir, str)
    assert_type(sessions.get_session_workdir("a"), str | None)
    sessions.list_sessions(created_after=5)  # type: ignore[arg-type]
    sessions.list_sessions({}, "101")  # type: ignore[call-arg]
    sessions.search("x", "session")  # type: ignore[call-arg]
    sessions.get_session_by_task_id(101)  # type: ignore[arg-type]
