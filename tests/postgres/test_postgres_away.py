"""The server goes away while a store is open: writing goes on into the log, nothing waits for ever, nothing is lost."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

import sessiondb
from postgres.fixtures import new_name, path_of, port_of
from postgres.proxy import Wire
from postgres.waiting import until
from sessiondb.errors import BackendUnavailableError, DurabilityUnknownError, StoreFailedError
from sessiondb.location import parse_location
from sessiondb_backends.postgres import PostgresBackend

TIMEOUT_S = 0.3


@pytest.fixture
def wire(pg_dsn):
    passed = Wire(port_of(pg_dsn))
    yield passed
    passed.close()


@pytest.fixture
def url(wire, pg_dsn, pg_shared_schema, tmp_path):
    """A store behind the wire."""
    dsn = pg_dsn.replace(f":{port_of(pg_dsn)}/", f":{wire.port}/")
    return "postgresql:" + path_of(dsn, schema=pg_shared_schema, namespace=new_name(), log_dir=tmp_path / "logs")


def open_store(url, **options):
    return sessiondb.open(url, **{"checkpoint_age_s": 3600, "lock_timeout": 0.05, **options})


def records(url):
    """What the server has, as somebody sees it who only reads, and has no log."""
    with sessiondb.open(url.replace("/logs", "/others-logs"), read_only=True) as db:
        return dict(db.table("t"))


def files_of(url):
    folder = Path(PostgresBackend.log_folder(parse_location(url).path))
    # HEAD and OPEN say who has it open now.
    return {path.name: path.read_bytes() for path in folder.glob("*") if path.suffix == ".seg" or path.name == "OWNER"}


def go_away(wire):
    wire.is_up = False
    wire.cut()


def come_back(wire):
    wire.is_up = True


# ---- writing


def test_writes_go_on_into_the_log_up_to_the_cap_then_fail_with_the_cause_and_resume(wire, url):
    db = open_store(url, checkpoint_records=10)
    table = db.table("t")
    table["first"] = {"n": -1}
    db.checkpoint()
    go_away(wire)
    written = []

    def write():
        while True:
            table[f"{len(written):03}"] = {"n": len(written)}
            written.append(f"{len(written):03}")

    with pytest.raises(StoreFailedError) as caught:
        write()
    assert not isinstance(caught.value, DurabilityUnknownError)
    for part in ("the log is full", "0.05 s", "cannot connect", "nothing was written", "next: "):
        assert part in str(caught.value)
    assert len(written) == 41  # more than four times the limit
    assert db.stats().back_pressure_waits > 0
    assert "040" in table
    assert "cannot connect" in db.stats().last_checkpoint_error
    come_back(wire)
    until(lambda: db.stats().applied_lsn == db.stats().last_lsn, "checkpoints resume by themselves")
    assert db.stats().last_checkpoint_error is None
    table["last"] = {"n": 1}
    db.checkpoint()
    assert records(url).keys() == {"first", "last", *written}
    db.close()


def test_a_writer_that_waits_for_room_goes_on_as_soon_as_the_server_is_back(wire, url):
    """However long the pause between two attempts has become meanwhile."""
    db = open_store(url, checkpoint_records=5, lock_timeout=60)
    table = db.table("t")
    go_away(wire)
    for number in range(21):
        table[f"{number:03}"] = {"n": number}
    until(lambda: db.stats().checkpoint_failures >= 3, "attempts fail")
    writer = threading.Thread(target=lambda: table.put("last", {"n": 1}))
    writer.start()
    until(lambda: db.stats().back_pressure_waits > 0, "the writer waits")
    come_back(wire)
    writer.join(50)
    assert not writer.is_alive()
    assert "last" in table
    db.close()
    assert "last" in records(url)


def test_many_writers_wait_for_room_and_all_of_them_get_it(wire, url):
    db = open_store(url, checkpoint_records=5, lock_timeout=60)
    table = db.table("t")
    go_away(wire)
    for number in range(21):
        table[f"{number:03}"] = {"n": number}
    writers = [threading.Thread(target=lambda n=n: table.put(f"more{n}", {"n": n})) for n in range(5)]
    for writer in writers:
        writer.start()
    until(lambda: db.stats().back_pressure_waits >= 5, "the writers wait")
    come_back(wire)
    for writer in writers:
        writer.join(50)
    assert not any(writer.is_alive() for writer in writers)
    db.close()
    assert len(records(url)) == 26


def test_a_close_ends_the_wait_of_a_writer(wire, url):
    db = open_store(url, checkpoint_records=5, lock_timeout=600)
    table = db.table("t")
    go_away(wire)
    for number in range(21):
        table[f"{number:03}"] = {"n": number}
    failed = []

    def write():
        try:
            table["more"] = {"n": 1}
        except sessiondb.SessionDBError as error:
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    until(lambda: db.stats().back_pressure_waits > 0, "the writer waits")
    db.close()
    writer.join(50)
    assert not writer.is_alive()
    come_back(wire)
    with open_store(url) as again:
        assert ("more" in again.table("t")) is (not failed)
        assert len(again.table("t")) == 21 + (not failed)


# ---- reading, looking, closing


def test_what_the_memory_has_is_read_and_stats_say_how_it_is(wire, url):
    db = open_store(url)
    table = db.table("t")
    table["old"] = {"n": 1}
    table["older"] = {"n": 0}
    db.checkpoint()
    assert table["old"] == {"n": 1}  # it is in the cache now
    table["new"] = {"n": 2}
    go_away(wire)
    assert table["new"] == {"n": 2}
    assert table["old"] == {"n": 1}
    for read in (lambda: table["older"], lambda: dict(table), lambda: list(table.find({"n": 0})), lambda: len(table)):
        with pytest.raises(BackendUnavailableError, match="next: look at the server"):
            read()
    with pytest.raises(BackendUnavailableError):
        db.checkpoint()
    stats = db.stats()
    assert (stats.state, stats.backend_bytes, stats.checkpoint_failures) == ("open", None, 1)
    assert "cannot" in stats.last_checkpoint_error
    assert "cannot" in db.check()[0]
    come_back(wire)
    assert dict(table).keys() == {"old", "older", "new"}
    assert db.stats().backend_bytes > 0
    db.close()


def test_closing_keeps_the_log_and_opening_says_that_the_server_is_away(wire, url):
    db = open_store(url)
    db.table("t")["a"] = {"n": 1}
    go_away(wire)
    db.close()
    before = files_of(url)
    assert any(name.endswith(".seg") for name in before)
    for options in ({}, {"read_only": True}):
        with pytest.raises(BackendUnavailableError, match="next: look at the server"):
            open_store(url, **options)
    assert files_of(url) == before
    come_back(wire)
    with open_store(url) as db:
        assert dict(db.table("t")) == {"a": {"n": 1}}
    assert records(url) == {"a": {"n": 1}}


def test_a_first_opening_while_the_server_is_away_makes_nothing(wire, url, tmp_path):
    go_away(wire)
    for options in ({}, {"read_only": True}):
        with pytest.raises(BackendUnavailableError):
            open_store(url, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_goes_away_in_the_middle_of_opening_leaves_everything_for_the_next_one(wire, url, monkeypatch):
    """Before each of the connections and questions that opening takes."""
    with open_store(url) as db:
        db.table("t")["a"] = {"n": 0}
    ask = PostgresBackend.ownership, PostgresBackend.position, PostgresBackend.read, PostgresBackend.take_over
    names = ("ownership", "position", "read", "take_over")
    for number, (name, method) in enumerate(zip(names, ask, strict=True), 1):
        db = open_store(url)
        db.table("t")["a"] = {"n": number}
        monkeypatch.setattr(sessiondb.store.Store, "_settle", lambda self: None)
        db.close()
        monkeypatch.undo()

        def away_first(self, *arguments, method=method):
            go_away(wire)
            return method(self, *arguments)

        monkeypatch.setattr(PostgresBackend, name, away_first)
        with pytest.raises(BackendUnavailableError):
            open_store(url)
        monkeypatch.undo()
        come_back(wire)
        with open_store(url) as db:
            assert dict(db.table("t")) == {"a": {"n": number}}


# ---- COMMITs of which nobody knows what became


@pytest.mark.parametrize("moment", ["before", "after"])
def test_every_commit_of_opening_writing_and_closing_may_be_cut(wire, url, moment):
    """One after the other, until the program runs through without one: what it had acknowledged is there each time."""
    number = 0
    while True:
        wire.cuts[:] = ["pass"] * number + [moment]
        with open_store(url) as db:
            table = db.table("t")
            assert len(table) == number
            table[f"{number:03}"] = {"n": number}
            db.checkpoint()
            table[f"{number:03}"] = {"n": number, "again": True}
        if wire.cuts:
            break
        wire.cuts.clear()
        assert records(url) == {f"{n:03}": {"n": n, "again": True} for n in range(number + 1)}
        number += 1
    assert number >= 4
    wire.cuts.clear()


def test_a_take_over_that_lands_when_its_host_has_given_up_is_its_own(wire, url, tmp_path):
    """The COMMIT is on its way while the host opens again: it waits for it, and knows both of its ids."""
    url += f"&timeout={TIMEOUT_S}"
    db = open_store(url)
    db.table("t")["a"] = {"n": 1}
    go_away(wire)
    db.close()
    come_back(wire)
    wire.cuts[:] = ["pass", "hold"]  # opening first makes durable what it will find
    with pytest.raises(BackendUnavailableError):
        open_store(url)
    assert wire.held
    with pytest.raises(BackendUnavailableError):
        open_store(url)
    wire.release()
    with open_store(url) as db:
        assert dict(db.table("t")) == {"a": {"n": 1}}
    assert records(url) == {"a": {"n": 1}}


def test_a_checkpoint_that_lands_when_its_host_has_given_up_is_its_own(wire, url):
    url += f"&timeout={TIMEOUT_S}"
    db = open_store(url)
    db.table("t")["a"] = {"n": 1}
    wire.cuts[:] = ["hold"]
    with pytest.raises(BackendUnavailableError):
        db.checkpoint()
    db.table("t")["b"] = {"n": 2}
    wire.release()
    db.checkpoint()
    assert records(url) == {"a": {"n": 1}, "b": {"n": 2}}
    db.close()


# ---- a server that is stopped: it answers nothing, and closes nothing


def test_deadlines_hold_when_the_server_is_stopped(own_server, tmp_path):
    place = path_of(own_server.dsn, timeout=TIMEOUT_S, connect_timeout=2, log_dir=tmp_path / "logs")
    url = f"postgresql:{place}"
    db = open_store(url, checkpoint_records=5)
    table = db.table("t")
    table["old"] = {"n": 1}
    db.checkpoint()
    done = []

    def work():
        for number in range(21):
            table[f"{number:03}"] = {"n": number}
        for call in (
            lambda: table["old"],
            lambda: table.put("too much", {"n": 1}),
            lambda: sessiondb.open(url.replace("/logs", "/others-logs")),
        ):
            with pytest.raises(StoreFailedError) as caught:
                call()
            done.append(str(caught.value))
        assert db.stats().backend_bytes is None
        db.close()
        done.append("closed")
        with pytest.raises(BackendUnavailableError):
            open_store(url)
        done.append("not opened")

    own_server.signal(signal.SIGSTOP)
    try:
        worker = threading.Thread(target=work)
        worker.start()
        worker.join(90)
        assert not worker.is_alive()
    finally:
        own_server.signal(signal.SIGCONT)
    assert len(done) == 5
    assert "the log is full" in done[1]
    assert not (tmp_path / "others-logs").exists()
    with open_store(url) as again:
        assert again.table("t").keys() == {"old", *(f"{number:03}" for number in range(21))}


def test_a_server_that_does_not_answer_keeps_no_other_store_from_being_opened(tmp_path, monkeypatch):
    asked, answer = threading.Event(), threading.Event()

    def exists(*_):
        asked.set()
        answer.wait(60)
        raise StoreFailedError("it does not answer")

    monkeypatch.setattr(PostgresBackend, "exists", exists)
    refused = []

    def open_it():
        with pytest.raises(StoreFailedError) as caught:
            sessiondb.open(f"postgresql://127.0.0.1/none?log_dir={tmp_path}/logs")
        refused.append(caught.value)

    opener = threading.Thread(target=open_it)
    opener.start()
    try:
        assert asked.wait(60)
        with sessiondb.open(tmp_path / "x.json") as db:
            db.table("t")["a"] = 1
        assert opener.is_alive()
    finally:
        answer.set()
        opener.join(60)
    assert len(refused) == 1
