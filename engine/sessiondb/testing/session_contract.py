"""The contract of `sessiondb.SessionStorage`: the same on every backend, whatever stands in the records."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from .. import UNSET
from ..errors import DuplicateKeyError, UsageError, ValidationError
from ..sessions import SessionDbState, SessionMisfit, SessionRecord
from .session_listing_contract import SessionListingContract
from .session_under_test import BASE_DIR, EVERYTHING, SessionsUnderTest, ids, record

__all__ = ["SessionContract"]

ODD: dict[str, dict[str, Any]] = {
    "task#087": {
        "newField": {"b": 1, "a": [None, 1.5]}, "session": "task#087", "createdAt": "2024-04-29T15:23:00Z",
        "prState": {"later": True, "branchName": "x"}, "taskId": " #087 ", "created": None, "z": "", "branch": "",
    },
    "087": {"session": "087", "createdAt": "29 April", "lastActivityAt": " 2025-01-01", "commitCount": 0},
    "#87": {"createdAt": None, "session": "#87", "prApproved": False, "repoUrl": "."},
}  # fmt: skip
"""What was really stored: fields that nobody knows, in any order, dates that are none, texts with spaces."""

MISFITS: dict[str, tuple[Any, str]] = {
    "list": ([], "$"),
    "text": ("text", "$"),
    "nothing": ({}, "$"),
    "branch": ({"session": "branch", "branch": 7, "repoName": "api", "taskId": "5"}, "$.branch"),
    "object": ({"session": "object", "prState": "open"}, "$.prState"),
    "count": ({"session": "count", "commitCount": 1.5, "createdAt": "2025-01-03"}, "$.commitCount"),
    "moved": ({"session": "elsewhere"}, "$.session"),
}
"""Key to a document that is no session, and where it is wrong."""


class SessionContract(SessionListingContract):
    """Subclass it in a test module and name the backend's `url`, as for `sessiondb.testing.TableContract`.

    Every test runs twice: plain, and with the store opened again before each read.
    """

    # ---- one session

    def test_every_field_comes_back_and_is_stored_under_its_own_name(self, sessions: SessionsUnderTest) -> None:
        made = SessionRecord(**{name: value for name, (_, value) in EVERYTHING.items()})
        assert sessions.write.create_entity(made) == made
        assert sessions.read.get_entity("task#101") == made
        assert sessions.write.entity_exists("task#101") is True
        assert sessions.raw["task#101"] == dict(EVERYTHING.values())
        assert set(SessionRecord.__struct_fields__) == EVERYTHING.keys()

    def test_what_is_missing_stays_missing_and_is_no_null(self, sessions: SessionsUnderTest) -> None:
        sessions.write.create_entity(record("a"))
        sessions.write.create_entity(record("b", branch=None, task_id="", commit_count=0, pr_approved=False, github={}))
        a, b = sessions.read.read_state().sessions
        assert all(getattr(a, name) is UNSET for name in EVERYTHING if name != "session")
        assert [b.branch, b.task_id, b.commit_count, b.pr_approved, b.github, b.status] == [
            None,
            "",
            0,
            False,
            {},
            UNSET,
        ]
        assert sessions.raw["a"] == {"session": "a"}
        stored = '{"session": "b", "taskId": "", "branch": null, "github": {}, "prApproved": false, "commitCount": 0}'
        assert sessions.stored()["b"] == stored

    def test_ids_are_taken_as_they_are(self, sessions: SessionsUnderTest) -> None:
        for number, id in enumerate(("87", "#87", "task#087", "087", " 87")):
            sessions.write.create_entity(record(id, commit_count=number))
        for number, id in enumerate(("87", "#87", "task#087", "087", " 87")):
            assert sessions.write.get_entity(id) == record(id, commit_count=number)
        assert len(sessions.read.list_sessions()) == 5

    def test_a_session_that_is_not_there_is_none_or_false(self, sessions: SessionsUnderTest) -> None:
        sessions.write.create_entity(record("a"))
        for id in ("b", "A", "", "a\0", "x" * 1_000):
            assert sessions.write.get_entity(id) is None
            assert sessions.write.update_entity(id, {"branch": "x"}) is None
            assert sessions.write.delete_entity(id) is False
            assert sessions.write.entity_exists(id) is False
            assert sessions.write.get_session_workdir(id) is None
        assert ids(sessions.read.list_sessions()) == "a"
        assert [sessions.write.delete_entity("a"), sessions.read.delete_entity("a")] == [True, False]

    def test_a_session_that_is_there_is_not_created_again(self, sessions: SessionsUnderTest) -> None:
        sessions.write.create_entity(record("a", branch="x"))
        with pytest.raises(DuplicateKeyError):
            sessions.read.create_entity(record("a", branch="y"))
        assert sessions.read.read_state().sessions == [record("a", branch="x")]

    def test_an_update_sets_clears_and_replaces_what_it_names_and_nothing_else(
        self, sessions: SessionsUnderTest
    ) -> None:
        made = record("a", branch="x", pr_branch="pr/a", pr_state={"branchName": "pr/a", "old": 1}, commit_count=3)
        sessions.write.create_entity(made)
        made = msgspec.structs.replace(made, status="ACTIVE")
        assert sessions.write.update_entity("a", {"status": "ACTIVE"}) == made
        made = msgspec.structs.replace(made, commit_count=0, branch=None)
        assert sessions.read.update_entity("a", {"commit_count": 0, "branch": None}) == made
        made = msgspec.structs.replace(made, pr_state={"branchName": "pr/b"})
        assert sessions.write.update_entity("a", {"pr_state": {"branchName": "pr/b"}}) == made
        made = msgspec.structs.replace(made, pr_branch=UNSET, pr_state=UNSET)
        assert sessions.write.update_entity("a", {"pr_branch": UNSET, "pr_state": UNSET}) == made
        assert sessions.read.get_entity("a") == made
        assert sessions.raw["a"] == {"session": "a", "branch": None, "status": "ACTIVE", "commitCount": 0}

    def test_the_id_cannot_change(self, sessions: SessionsUnderTest) -> None:
        sessions.write.create_entity(record("a"))
        with pytest.raises(ValidationError):
            sessions.write.update_entity("a", {"session": "b", "branch": "x"})
        assert sessions.read.read_state().sessions == [record("a")]

    @pytest.mark.parametrize(
        ("fields", "path"),
        [
            ({"created_at": 5}, "$.createdAt"),
            ({"commit_count": "3"}, "$.commitCount"),
            ({"pr_approved": 1}, "$.prApproved"),
            ({"pr_state": []}, "$.prState"),
            ({"pull_request": {"a": [1, float("nan")]}}, "$.pull_request.a[1]"),
            ({"branch": "\ud800"}, "$.branch"),
            ({"task_id": "a\0b"}, "$.taskId"),
            ({"repo_name": "x" * 1_001}, "$.repoName"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_what_cannot_be_stored_is_refused_with_table_key_and_path(
        self, sessions: SessionsUnderTest, fields: dict[str, Any], path: str
    ) -> None:
        sessions.write.create_entity(record("a"))
        calls: list[Any] = [
            lambda: sessions.write.create_entity(record("b", **fields)),
            lambda: sessions.write.update_entity("a", fields),
            lambda: sessions.write.write_state(SessionDbState([record("a", **fields)])),
        ]
        for call in calls:
            with pytest.raises(ValidationError) as caught:
                call()
            assert caught.value.table == "sessions"
            assert caught.value.key in ("a", "b")
            assert caught.value.path.replace("_", "").lower() == path.replace("_", "").lower()
        assert sessions.read.read_state().sessions == [record("a")]

    # ---- nothing is lost

    def test_nothing_is_dropped_trimmed_or_dated_anew_by_reading(self, sessions: SessionsUnderTest) -> None:
        sessions.raw.put_many(ODD)
        before = sessions.stored()
        storage = sessions.read
        storage.write_state(storage.read_state())
        storage.list_sessions(order_by=["-created_at", "last_activity_at"], created_before="2026-01-01")
        storage.search("87")
        storage.get_session_by_task_id("087")
        for key in ODD:
            storage.update_entity(key, {})
        assert sessions.stored() == before == {key: json.dumps(ODD[key]) for key in sorted(ODD)}

    def test_what_sessions_do_not_know_stays_through_updates_and_states(self, sessions: SessionsUnderTest) -> None:
        sessions.raw.put_many(ODD)
        sessions.read.update_entity("task#087", {"branch": "main"})
        state = sessions.write.read_state()
        for each in state.sessions:
            each.status = "CLOSED"
        sessions.write.write_state(state)
        expected = {key: {**document, "status": "CLOSED"} for key, document in ODD.items()}
        expected["task#087"]["branch"] = "main"
        assert sessions.stored() == {key: json.dumps(expected[key]) for key in sorted(ODD)}

    # ---- the whole state

    def test_the_state_is_all_sessions_and_the_base_directory(self, sessions: SessionsUnderTest) -> None:
        assert sessions.read.read_state() == SessionDbState([], BASE_DIR)
        for id in "bca":
            sessions.write.create_entity(record(id))
        assert sessions.read.read_state() == SessionDbState([record(id) for id in "abc"], BASE_DIR)

    def test_a_written_state_is_all_that_is_there(self, sessions: SessionsUnderTest) -> None:
        for some in ("cab", "bd", ""):
            sessions.write.write_state(SessionDbState([record(id, branch=some) for id in some]))
            assert sessions.read.read_state() == SessionDbState(
                [record(id, branch=some) for id in sorted(some)], BASE_DIR
            )
        sessions.write.write_state(SessionDbState([record("a")], BASE_DIR))
        assert ids(sessions.read.list_sessions()) == "a"

    def test_what_is_no_state_is_refused_and_nothing_is_written(self, sessions: SessionsUnderTest) -> None:
        sessions.write.create_entity(record("a"))
        bad: list[Any] = [
            None, {}, [], [record("b")], SessionDbState(None), SessionDbState("b"),  # type: ignore[arg-type]
            SessionDbState([], "/elsewhere"), SessionDbState([record("b"), record("b")]),
            SessionDbState([{"session": "b"}]), SessionDbState([None]),  # type: ignore[list-item]
            SessionDbState([record("b"), record("")]),
        ]  # fmt: skip
        for state in bad:
            with pytest.raises((UsageError, ValidationError)):
                sessions.write.write_state(state)
        assert sessions.read.read_state().sessions == [record("a")]

    # ---- what is no session

    @pytest.mark.parametrize("key", MISFITS)
    def test_what_is_no_session_is_an_error_with_table_key_and_path(
        self, sessions: SessionsUnderTest, key: str
    ) -> None:
        document, path = MISFITS[key]
        sessions.raw.put_many({"a": {"session": "a"}, key: document})
        storage = sessions.read
        calls: list[Any] = [
            lambda: storage.get_entity(key),
            storage.read_state,
            storage.get_entities,
            storage.list_sessions,
            lambda: storage.list_sessions(order_by="-created_at"),
            lambda: storage.search(key),
            lambda: storage.update_entity(key, {"status": "CLOSED"}),
            lambda: storage.write_state(SessionDbState([record("a")])),
            lambda: storage.write_state(SessionDbState([record("a"), record(key)])),
        ]
        for call in calls:
            with pytest.raises(ValidationError) as caught:
                call()
            assert (caught.value.table, caught.value.key, caught.value.path) == ("sessions", key, path)
        assert sessions.raw[key] == document
        assert sessions.read.delete_entity(key) is True
        assert ids(sessions.read.list_sessions()) == "a"

    def test_what_is_no_session_is_listed_in_its_place(self, sessions: SessionsUnderTest) -> None:
        sessions.write.create_entity(record("a", repo_name="api", created_at="2025-01-02"))
        sessions.write.create_entity(record("z", repo_name="api", created_at="2025-01-04"))
        sessions.raw.put_many({key: document for key, (document, _) in MISFITS.items()})
        storage = sessions.read
        everything = sorted([*MISFITS, "a", "z"])
        shown: list[str] = []
        for offset in range(0, len(everything), 2):
            misfits: list[SessionMisfit] = []
            fit = storage.list_sessions(limit=2, offset=offset, misfits=misfits)
            shown += sorted([each.session for each in fit] + [each.key for each in misfits])
        assert shown == everything
        misfits = []
        assert ids(storage.list_sessions(repo_name="api", order_by="-created_at", misfits=misfits)) == "z a"
        assert ids(storage.search("BRAN", misfits=misfits)) == ""
        assert [each.key for each in misfits] == ["branch", "branch"]
        misfits = []
        found = storage.list_sessions(created_after="2025-01-02T00:00:01Z", order_by="created_at", misfits=misfits)
        assert (ids(found), [each.key for each in misfits]) == ("z", ["count"])
        assert ids(storage.list_sessions(order_by="created_at", limit=1)) == "a"

    def test_all_that_is_no_session_is_listed_with_what_is_wrong(self, sessions: SessionsUnderTest) -> None:
        assert sessions.write.list_misfits() == []
        sessions.write.create_entity(record("a"))
        sessions.raw.put_many({key: document for key, (document, _) in MISFITS.items()})
        listed = sessions.read.list_misfits()
        assert [(each.key, each.document, each.path) for each in listed] == [
            (key, *MISFITS[key]) for key in sorted(MISFITS)
        ]
        for each in listed:
            assert each.problem in str(each.error)
            assert repr(each.key) in str(each.error)

    def test_an_update_mends_what_is_no_session(self, sessions: SessionsUnderTest) -> None:
        sessions.raw["a"] = {"session": "a", "commitCount": "3", "x": 1}
        assert sessions.read.update_entity("a", {"commit_count": 3}) == record("a", commit_count=3)
        assert sessions.read.list_misfits() == []
        assert sessions.raw["a"] == {"session": "a", "commitCount": 3, "x": 1}

    def test_what_keeps_a_field_from_having_its_index_is_listed_and_all_others_are_found(
        self, sessions: SessionsUnderTest, caplog: pytest.LogCaptureFixture
    ) -> None:
        long = "x" * 1_001
        sessions.raw.put_many({
            "a": {"session": "a", "repoName": long}, "b": {"session": "b", "taskId": "#5", "repoName": "api"},
            "c": {"session": "c", "taskId": ["#5"]},
        })  # fmt: skip
        storage = sessions.read
        found = storage.get_session_by_task_id("5")
        assert found is not None
        assert found.session == "b"
        assert ids(storage.list_sessions(repo_name=long)) == "a"
        assert [(each.key, each.path) for each in storage.list_misfits()] == [("a", "$.repoName"), ("c", "$.taskId")]
        assert "have no index on task_id: table 'sessions': key 'c'" in caplog.text
        storage.delete_entity("c")
        storage.update_entity("a", {"repo_name": "api"})
        assert sessions.read.list_misfits() == []

    # ---- working directories

    def test_a_working_directory_is_in_the_base_directory(self, sessions: SessionsUnderTest) -> None:
        for id in ("task#101", "feature/x", "a b", "..x"):
            sessions.write.create_entity(record(id, repo_path="/elsewhere"))
            assert sessions.read.get_session_workdir(id) == f"{BASE_DIR}/sessions/{id}"

    @pytest.mark.parametrize("id", ["..", ".", "../x", "a/../../b", "/etc", "a//b", "a/"])
    def test_no_working_directory_is_outside_the_base_directory(self, sessions: SessionsUnderTest, id: str) -> None:
        sessions.write.create_entity(record(id))
        with pytest.raises(ValidationError, match="folder"):
            sessions.read.get_session_workdir(id)
        assert sessions.write.get_session_workdir("..x") is None
