"""The contract of `sessiondb.SessionStorage`, part 1: finding sessions by task, filter, date, order and text."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from .. import absent, between, one_of, prefix
from ..errors import UsageError
from ..sessions import SessionRecord
from ..sessions.codec import SessionCodec
from .session_under_test import SessionSetup, SessionsUnderTest, ids, record

__all__ = ["SessionListingContract"]

DAY = datetime.datetime(2025, 6, 1, 12, tzinfo=datetime.UTC)

DATES = {
    # In the order of their moments; as texts they stand in another one.
    "minus": "2025-06-22T23:00:00-01:00",  # the 23rd at midnight, as the next two
    "plain": "2025-06-23",
    "plus": "2025-06-23T14:00:00+14:00",
    "ms": "2025-06-23T16:46:12.000Z",
    "s": "2025-06-23T16:46:12Z",
    "us": "2025-06-23T16:46:12.000001Z",
    "half": "2025-06-23T16:46:12.5Z",
    "space": "2025-06-23 16:46:13",
    "early": "2025-06-24T06:00:00+13:00",  # the 23rd at 17:00
    "late": "2025-06-23T18:00:00-12:00",  # the 24th at 6:00
}
SAME = [{"minus", "plain", "plus"}, {"ms", "s"}]
UNDATED: dict[str, dict[str, Any]] = {
    "absent": {},
    "empty": {"created_at": ""},
    "epoch": {"created_at": "1750697172144"},
    "no-day": {"created_at": "2025-02-30"},
    "null": {"created_at": None},
    "padded": {"created_at": " 2025-06-23"},
    "words": {"created_at": "yesterday"},
}
IN_ORDER = "minus plain plus ms s us half space early late"
BACKWARDS = "late early space half us ms s minus plain plus"


PAGES: list[tuple[int | None, int]] = [
    (5, 0), (5, 5), (7, 25), (3, 30), (0, 0), (1, 29), (None, 28), (2**63 - 1, 1), (1, 2**70),
]  # fmt: skip
"""Limit and offset."""

SENSELESS: list[dict[str, Any]] = [
    {"order_by": "nobody"}, {"order_by": "-createdAt"}, {"order_by": ["created_at", "nobody"]},
    {"order_by": 1}, {"order_by": "-"}, {"where": {"nobody": 1}}, {"where": {"repoName": "x"}},
    {"where": ["branch"]}, {"where": {"branch": ["x"]}}, {"where": {"branch": "x"}, "branch": "y"},
    {"where": {"created_at": absent}, "created_after": "2025-01-01"}, {"repo_name": 7}, {"branch": b"x"},
    {"status_not_in": "CLOSED"}, {"status_not_in": [1]}, {"status_not_in": 7},
    {"created_after": "yesterday"}, {"created_before": ""}, {"created_after": 1750697172},
    {"created_before": datetime.datetime(2025, 6, 23)}, {"where": {"created_at": between("x", None)}},
    {"limit": -1}, {"limit": "1"}, {"offset": -1}, {"limit": True},
    {"limit": -1, "order_by": "-created_at"}, {"offset": -1, "created_after": "2025-01-01"},
]  # fmt: skip
"""What cannot be asked."""


class SessionListingContract(SessionSetup):
    """Tests of lists; part of `sessiondb.testing.session_contract.SessionContract`."""

    @pytest.fixture
    def some(self, sessions: SessionsUnderTest) -> SessionsUnderTest:
        """Sessions of two repositories, some of them in the backend before others came."""
        sessions.write.create_entity(record("a", task_id="#101", repo_name="api", branch="main", status="ACTIVE"))
        sessions.write.create_entity(record("b", task_id="102", repo_name="web", branch="main", status="MERGED"))
        sessions.write.create_entity(record("c", repo_name="api", status=None))
        sessions.checkpoint()
        sessions.write.create_entity(record("d", task_id="mt#283", repo_name="API", branch="", status="CLOSED"))
        sessions.write.create_entity(record("e", task_id=None, branch="x"))
        return sessions

    # ---- filters

    def test_filters_find_what_is_exactly_so(self, some: SessionsUnderTest) -> None:
        cases: list[tuple[dict[str, Any], str]] = [
            ({}, "a b c d e"),
            ({"repo_name": "api"}, "a c"),
            ({"repo_name": "ap"}, ""),
            ({"branch": "main"}, "a b"),
            ({"branch": ""}, "d"),
            ({"repo_name": "api", "branch": "main"}, "a"),
            ({"status_not_in": ["MERGED", "CLOSED"]}, "a c e"),
            ({"status_not_in": []}, "a b c d e"),
            ({"status_not_in": ["merged"]}, "a b c d e"),
            ({"where": {"status": one_of("MERGED", "CLOSED")}, "branch": "main"}, "b"),
            ({"where": {"repo_name": absent}}, "e"),
            ({"where": {"task_id": None}}, "e"),
            ({"where": {"repo_name": prefix("a")}, "status_not_in": {"ACTIVE"}}, "c"),
            ({"task_id": "101"}, "a"),
            ({"task_id": "#101", "repo_name": "web"}, ""),
            ({"status_not_in": ["ACTIVE"], "limit": 2, "offset": 1}, "c d"),
            ({"status_not_in": ["ACTIVE"], "order_by": "-session", "limit": 2}, "e d"),
        ]
        storage = some.read
        assert [(asked, ids(storage.list_sessions(**asked))) for asked, _ in cases] == cases

    def test_a_task_id_is_found_with_and_without_its_number_sign(self, some: SessionsUnderTest) -> None:
        some.write.create_entity(record("f", task_id="##9"))
        some.write.create_entity(record("g", task_id="task#001"))
        some.write.create_entity(record("h", task_id=""))
        cases = {
            "101": "a", "#101": "a", "102": "b", "#102": "b", "mt#283": "d", "283": None, "#283": None, "#mt#283": "d",
            "9": None, "#9": None, "##9": "f", "task#001": "g", "001": None, "1": None, " 101": None, "MT#283": None,
        }  # fmt: skip
        storage = some.read
        found = {task_id: storage.get_session_by_task_id(task_id) for task_id in cases}
        assert {task_id: each and each.session for task_id, each in found.items()} == cases
        for task_id in ("", "#", None, 101):
            with pytest.raises(UsageError):
                storage.get_session_by_task_id(task_id)  # type: ignore[arg-type]
            if task_id is not None:
                with pytest.raises(UsageError):
                    storage.list_sessions(task_id=task_id)  # type: ignore[arg-type]

    def test_of_several_sessions_of_a_task_the_one_that_was_made_first_is_its_session(
        self, sessions: SessionsUnderTest
    ) -> None:
        sessions.write.create_entity(record("a", task_id="7"))
        sessions.write.create_entity(record("b", task_id="#7", created_at="2025-06-23T16:46:12Z"))
        sessions.write.create_entity(record("c", task_id="7", created_at="2025-06-23T16:46:12.5Z"))
        first = sessions.read.get_session_by_task_id("7")
        assert first is not None
        assert first.session == "b"
        assert ids(sessions.write.list_sessions(task_id="#7")) == "a b c"
        sessions.write.delete_entity("b")
        sessions.write.delete_entity("c")
        last = sessions.read.get_session_by_task_id("7")
        assert last is not None
        assert last.session == "a"

    # ---- pages and orders

    def test_pages_are_cut_out_of_the_whole(self, sessions: SessionsUnderTest) -> None:
        for number in range(30):
            day = (DAY + datetime.timedelta(number)).isoformat()
            sessions.write.create_entity(record(f"s{number:02}", created_at=day, commit_count=-number))
        storage = sessions.read
        for order in ((), "-created_at", "commit_count", ["-commit_count", "created_at"]):
            whole = storage.list_sessions(order_by=order)
            assert len(whole) == 30
            for limit, offset in PAGES:
                end = None if limit is None else offset + limit
                assert storage.list_sessions(order_by=order, limit=limit, offset=offset) == whole[offset:end]
        assert ids(storage.list_sessions(order_by="-created_at", limit=3)) == "s29 s28 s27"

    def test_sessions_without_the_field_come_last_in_both_directions(self, sessions: SessionsUnderTest) -> None:
        for number in (2, 1, 3):
            sessions.write.create_entity(
                record(f"s{number}", last_activity_at=f"2026-01-0{number}", commit_count=number)
            )
        sessions.write.create_entity(record("a"))
        sessions.write.create_entity(record("b", last_activity_at=None, commit_count=None))
        storage = sessions.read
        for field in ("last_activity_at", "commit_count"):
            assert ids(storage.list_sessions(order_by=field)) == "s1 s2 s3 a b"
            assert ids(storage.list_sessions(order_by=f"-{field}")) == "s3 s2 s1 a b"
            assert ids(storage.list_sessions(order_by=f"-{field}", limit=4)) == "s3 s2 s1 a"

    def test_ties_are_broken_by_the_next_field_and_in_the_end_by_id(self, sessions: SessionsUnderTest) -> None:
        noon, later = "2025-06-23T12:00:00Z", "2025-06-23T12:00:00.001Z"
        for id, repo_name, created_at in (
            ("d", "api", noon), ("b", "web", noon), ("c", "api", later), ("a", "web", "2025-06-23T14:00:00.000+02:00"),
            ("e", None, later),
        ):  # fmt: skip
            sessions.write.create_entity(record(id, repo_name=repo_name, created_at=created_at))
        cases = [
            (["created_at"], "a b d c e"),
            (["-created_at"], "c e a b d"),
            (["created_at", "repo_name"], "d a b c e"),
            (["created_at", "-repo_name", "-session"], "b a d c e"),
            (["repo_name", "-created_at"], "c d a b e"),
            (["-repo_name", "created_at", "-session"], "b a d c e"),
        ]
        storage = sessions.read
        assert [(order, ids(storage.list_sessions(order_by=order))) for order, _ in cases] == cases
        assert [(order, ids(storage.get_entities(order_by=order))) for order, _ in cases] == cases
        for order, found in cases:
            assert ids(storage.list_sessions(order_by=order, limit=2, offset=1)) == found[2:5]

    def test_a_question_that_makes_no_sense_is_an_error_also_when_there_is_nothing_to_find(
        self, sessions: SessionsUnderTest
    ) -> None:
        for number in range(2):
            storage = sessions.read
            for asked in SENSELESS:
                with pytest.raises(UsageError):
                    pytest.fail(f"{asked}: {storage.list_sessions(**asked)}")
            sessions.write.create_entity(record(f"a{number}"))

    # ---- dates

    def _dated(self, sessions: SessionsUnderTest) -> None:
        for id, text in sorted(DATES.items()):
            sessions.write.create_entity(record(id, created_at=text, last_activity_at=text))
        sessions.checkpoint()
        for id, fields in UNDATED.items():
            sessions.write.create_entity(record(id, **fields))

    def test_dates_are_sorted_as_moments_and_what_is_none_comes_last(self, sessions: SessionsUnderTest) -> None:
        self._dated(sessions)
        last = " ".join(sorted(UNDATED))
        storage = sessions.read
        assert ids(storage.list_sessions(order_by="created_at")) == f"{IN_ORDER} {last}"
        assert ids(storage.list_sessions(order_by="-created_at")) == f"{BACKWARDS} {last}"
        assert ids(storage.get_entities(order_by="-created_at", limit=4, offset=1)) == " ".join(BACKWARDS.split()[1:5])
        assert ids(storage.list_sessions(order_by="last_activity_at", limit=11)) == f"{IN_ORDER} {last.split()[0]}"

    def test_ranges_of_dates_hold_both_ends_whatever_is_written_behind_the_seconds(
        self, sessions: SessionsUnderTest
    ) -> None:
        self._dated(sessions)
        storage = sessions.read
        names = IN_ORDER.split()
        for low in (None, *names):
            for high in (None, *names):
                first = 0 if low is None else min(names.index(each) for each in _same(low))
                last = len(names) if high is None else 1 + max(names.index(each) for each in _same(high))
                ends = (None if low is None else DATES[low], None if high is None else DATES[high])
                expected = names[first:last] if any(ends) else [*names, *sorted(UNDATED)]
                found = storage.list_sessions(created_after=ends[0], created_before=ends[1], order_by="created_at")
                assert ids(found) == " ".join(expected), ends
                if any(ends):
                    condition = between(*ends)
                    assert ids(storage.get_entities({"last_activity_at": condition}, order_by="created_at")) == ids(
                        found
                    )
        assert ids(storage.list_sessions(created_after="2025-06-24", limit=5)) == "late"
        assert ids(storage.list_sessions({"created_at": "2025-06-23"})) == "plain"

    def test_a_range_may_be_given_as_moments(self, sessions: SessionsUnderTest) -> None:
        self._dated(sessions)
        low = datetime.datetime(2025, 6, 23, 16, 46, 12, 1, datetime.UTC)
        high = datetime.datetime(2025, 6, 23, 18, 46, 12, 500_000, datetime.timezone(datetime.timedelta(hours=2)))
        assert ids(sessions.read.list_sessions(created_after=low, created_before=high)) == "half us"

    def test_the_first_and_the_last_year_have_dates_too(self, sessions: SessionsUnderTest) -> None:
        texts = ["0001-01-01T00:00:00+23:59", "0001-01-01", "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:60-23:59"]
        for number, text in enumerate(texts):
            sessions.write.create_entity(record(f"s{number}", created_at=text))
        storage = sessions.read
        for number, text in enumerate(texts):
            assert ids(storage.list_sessions(created_after=text, created_before=text)) == f"s{number}"
            assert len(storage.list_sessions(created_after=text)) == 4 - number
            assert len(storage.list_sessions(created_before=text)) == number + 1

    # ---- indexes

    def test_indexes_are_used_so_that_hardly_more_than_the_matches_is_decoded(
        self, sessions: SessionsUnderTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert sessions.write._ready().indexes() == ["created_at", "repo_name", "task_id"]
        documents = {}
        for number in range(900):
            day = (DAY + datetime.timedelta(number // 3, number % 7)).isoformat()
            id, repo_name, status = f"s{number:03}", f"repo{number % 90}", "ACTIVE" if number % 2 else "CLOSED"
            documents[id] = {
                "session": id,
                "taskId": f"#{number}",
                "repoName": repo_name,
                "createdAt": day,
                "status": status,
            }
        sessions.raw.put_many(documents)
        storage = sessions.read
        decoded: list[str] = []
        decode = SessionCodec.decode

        def counting(codec: SessionCodec, key: str, image: bytes) -> SessionRecord:
            decoded.append(key)
            return decode(codec, key, image)

        monkeypatch.setattr(SessionCodec, "decode", counting)
        cases: list[tuple[dict[str, Any], int, int]] = [
            ({"task_id": "17"}, 1, 1),
            ({"repo_name": "repo17"}, 10, 10),
            ({"repo_name": "repo17", "status_not_in": ["CLOSED"]}, 10, 10),
            ({"created_after": DAY, "created_before": DAY + datetime.timedelta(1, 60)}, 6, 12),
            ({"order_by": "-created_at", "limit": 5}, 5, 60),
            ({"order_by": "created_at", "limit": 5, "offset": 5, "status_not_in": ["CLOSED"]}, 5, 70),
            ({"order_by": ["-created_at", "session"], "limit": 100}, 100, 150),
        ]
        for asked, number, most in cases:
            decoded.clear()
            assert len(storage.list_sessions(**asked)) == number
            assert len(decoded) <= most, asked
        decoded.clear()
        assert storage.get_session_by_task_id("#899") is not None
        assert decoded == ["s899"]

    # ---- search

    def test_a_search_looks_for_a_part_of_some_fields_whatever_the_case(self, sessions: SessionsUnderTest) -> None:
        for each in (
            record("Task#1", branch="elsewhere"),
            record("b", repo_name="Local/SHOP"),
            record("c", repo_url="file:///shop"),
            record("d", task_id="MT#12"),
            record("e", pr_branch="pr/Größe"),
            record("f", pr_state={"branchName": "Pr/shop"}),
            record("g", pr_state={"exists": True}, pull_request={"title": "shop"}, github={"repo": "shop"}),
            record("h", last_commit_message="shop", agent_id="shop", branch="shop"),
        ):
            sessions.write.create_entity(each)
        cases = {
            "shop": "b c f", "SHOP": "b c f", "task#1": "Task#1", "mt#12": "d", "GRÖSSE": "e", "größe": "e",
            "#1": "Task#1 d", "elsewhere": "", "%": "", "pr/": "e f", "nobody": "",
        }  # fmt: skip
        storage = sessions.read
        assert {query: ids(storage.search(query)) for query in cases} == cases
        assert ids(storage.search("shop", order_by="-session", limit=2)) == "f c"
        assert ids(storage.search("shop", offset=2, limit=2)) == "f"
        for bad in ("", None, 7):
            with pytest.raises(UsageError):
                storage.search(bad)  # type: ignore[arg-type]


def _same(name: str) -> set[str]:
    """Those that are of the same moment."""
    return next((names for names in SAME if name in names), {name})
