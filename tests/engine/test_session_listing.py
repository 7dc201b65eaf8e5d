"""Pages of sessions are those that a sort of all sessions gives, however few rows were asked for."""

from __future__ import annotations

import random

import pytest

import sessiondb
from sessiondb import SessionRecord, SessionStorage
from sessiondb.sessions import listing
from sessiondb.sessions.moments import moment_of

DAYS = ["2025-06-21", "2025-06-22", "2025-06-23", "2025-06-24", "2025-06-28"]
TIMES = ["", "T00:00:00Z", "T00:00:00.5Z", "T23:59:59-12:00", "T00:00:00+14:00", " 12:00", "T12:00:00.000Z", "T25:00Z"]


def made(chance: random.Random, number: int) -> SessionRecord:
    record = SessionRecord(session=f"s{number:02}", branch=chance.choice(["x", "y"]))
    if chance.random() < 0.9:
        record.created_at = chance.choice(DAYS) + chance.choice(TIMES)
    if chance.random() < 0.2:
        record.created_at = chance.choice([None, "", "zz", "1750680000", "2025"])
    return record


def sorted_plainly(records: list[SessionRecord], *, descending: bool) -> list[str]:
    dated = [(moment_of(each.created_at), each.session) for each in records if moment_of(each.created_at)]
    dated.sort(key=lambda pair: pair[1])
    dated.sort(key=lambda pair: pair[0], reverse=descending)
    others = sorted(each.session for each in records if not moment_of(each.created_at))
    return [session for _, session in dated] + others


@pytest.mark.parametrize("spare", [1, 3, 50])
@pytest.mark.parametrize("seed", range(8))
def test_every_page_is_cut_out_of_the_same_order(monkeypatch, spare, seed):
    monkeypatch.setattr(listing, "SPARE_ROWS", spare)
    chance = random.Random(seed)
    with sessiondb.open("memory:") as db:
        storage = SessionStorage.over(db)
        records = [made(chance, number) for number in range(40)]
        for number, record in enumerate(records):
            storage.create_entity(record)
            if number == 25:
                db.checkpoint()
        for descending in (False, True):
            order = "-created_at" if descending else "created_at"
            whole = sorted_plainly(records, descending=descending)
            assert [each.session for each in storage.list_sessions(order_by=order)] == whole
            of_x = sorted_plainly([each for each in records if each.branch == "x"], descending=descending)
            for limit in (1, 2, 7, 39, 60):
                for offset in (0, 1, 13):
                    found = storage.list_sessions(order_by=order, limit=limit, offset=offset)
                    assert [each.session for each in found] == whole[offset : offset + limit]
                    found = storage.list_sessions(branch="x", order_by=order, limit=limit, offset=offset)
                    assert [each.session for each in found] == of_x[offset : offset + limit]


def test_what_no_date_may_stand_before_is_no_reason_to_stop(monkeypatch):
    """Texts that are no dates hide in the order of the texts where the moments of what follows are."""
    monkeypatch.setattr(listing, "SPARE_ROWS", 1)
    with sessiondb.open("memory:") as db:
        storage = SessionStorage.over(db)
        for number, text in enumerate(["1", "2", "2024-99-99", "2025-01-02T00:00:00+14:00", "2025-01-01T20:00:00Z"]):
            storage.create_entity(SessionRecord(session=str(number), created_at=text))
        for limit in range(1, 6):
            assert (
                "".join(each.session for each in storage.list_sessions(order_by="created_at", limit=limit))
                == "34012"[:limit]
            )
            assert (
                "".join(each.session for each in storage.list_sessions(order_by="-created_at", limit=limit))
                == "43012"[:limit]
            )


def test_behind_a_day_that_there_is_not_an_earlier_moment_may_stand(monkeypatch):
    monkeypatch.setattr(listing, "SPARE_ROWS", 1)
    with sessiondb.open("memory:") as db:
        storage = SessionStorage.over(db)
        for number, text in enumerate(["2025-01-31T23:00:00Z", "2025-01-32", "2025-02-01T00:00:00+14:00"]):
            storage.create_entity(SessionRecord(session=str(number), created_at=text))
        for order, whole in (("created_at", "201"), ("-created_at", "021")):
            for limit in (1, 2, 3):
                found = storage.list_sessions(order_by=order, limit=limit)
                assert "".join(each.session for each in found) == whole[:limit]


def test_a_page_does_not_read_what_stands_behind_it(monkeypatch):
    """A record behind the page that is no session is none of its business, however many rows were asked for."""
    with sessiondb.open("memory:") as db:
        raw = db.table("sessions")
        raw.put_many({f"s{n}": {"session": f"s{n}", "createdAt": f"2025-06-0{n}", "branch": "x"} for n in range(1, 6)})
        raw["s9"] = {"session": "s9", "createdAt": "2025-06-09", "branch": 9}
        storage = SessionStorage.over(db)
        for how in ({}, {"order_by": "created_at"}, {"status_not_in": ["CLOSED"]}, {"created_after": "2025-06-01"}):
            assert len(storage.list_sessions(limit=5, **how)) == 5
            with pytest.raises(sessiondb.ValidationError):
                storage.list_sessions(limit=6, **how)
