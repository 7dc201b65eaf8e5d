"""Client and server die, at every operation and at random: nothing that was acknowledged is missing.

The long forms are marked ``slow``.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading

import pytest

import sessiondb
from crash.dying import Moment
from crash.oracle import read_tables
from postgres.dying import count_operations, die_at, target_of
from postgres.fixtures import new_name, path_of
from postgres.waiting import until
from sessiondb.errors import FencedError, StoreFailedError
from sessiondb.files import Files
from sessiondb.location import parse_location
from sessiondb.ownership import Stranded, stranded
from sessiondb_backends.postgres import PostgresBackend

WRITERS = 3


def open_store(url, **options):
    return sessiondb.open(url, **{"checkpoint_age_s": 3600, **options})


# ---- at every operation


@pytest.fixture
def new_url(pg_dsn, pg_shared_schema, tmp_path):
    """Makes URLs of stores that are not there: their logs are in the folder that is named."""

    def make(host="one", namespace=None):
        logs = tmp_path / host
        return "postgresql:" + path_of(pg_dsn, schema=pg_shared_schema, namespace=namespace or new_name(), log_dir=logs)

    return make


def must_be_right(store, history, where):
    lsn = store.views.visible_lsn
    assert history.returned <= lsn <= history.issued, f"{where}: LSN {lsn}"
    assert read_tables(store) == history.states[lsn], f"{where}: wrong state at LSN {lsn}"
    assert store.check() == [], where


def kill_and_look(new_url, fatal, moment, *, elsewhere):
    """Kill the program; then the same host opens, or another one, and then the first."""
    url = new_url()
    death = die_at(url, fatal, moment)
    where = f"{moment} operation {fatal}"
    if not elsewhere:
        for attempt in ("first", "second"):
            with open_store(url) as db:
                must_be_right(db._open, death.history, f"{where}, {attempt} recovery")
        return death.was_killed
    with open_store(new_url("other", url.partition("namespace=")[2].partition("&")[0])) as db:
        lsn, tables = db._open.views.visible_lsn, read_tables(db._open)
        assert lsn <= death.history.issued, where
        assert tables == death.history.states[lsn], f"{where}: not a state of the first host's history"
        db.table("other")["x"] = {"n": 1}
    backend = PostgresBackend.open(Files(), parse_location(url).path, create=False, read_only=True)
    found = stranded(Files(), target_of(url).folder, backend)
    backend.close()
    if found is None:
        assert death.history.returned <= lsn, f"{where}: nobody says that LSN {death.history.returned} is stranded"
        with open_store(url) as db:
            assert read_tables(db._open) == {**tables, "other": {"x": b'{"n":1}'}}
        return death.was_killed
    assert found == Stranded(lsn + 1, found.last_lsn, os.uname().nodename), where
    assert death.history.returned <= found.last_lsn <= death.history.issued, where
    with pytest.raises(FencedError, match=f"LSN {lsn + 1} to {found.last_lsn} "):
        open_store(url)
    return death.was_killed


def test_a_kill_at_some_operations_loses_nothing_that_had_returned(new_url):
    """A sample for the plain run."""
    count = count_operations(new_url())
    moments: tuple[Moment, ...] = ("before", "half", "after", "before")
    for number, fatal in enumerate(random.Random(5).sample(range(count), 4)):
        assert kill_and_look(new_url, fatal, moments[number], elsewhere=number % 2 == 1) or moments[number] == "half"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_kill_at_every_operation_loses_nothing_that_had_returned(new_url, tell):
    count = count_operations(new_url())
    kills = 0
    for fatal in range(count):
        kills += kill_and_look(new_url, fatal, "half" if fatal % 6 < 2 else "before", elsewhere=fatal % 2 == 1)
    tell(f"PostgreSQL, kills of the client at each of {count} operations: {kills}, 0 violations")
    assert kills > 150


# ---- the client, at random

BUSY = """
import os, sys, threading
import sessiondb

def work(number):
    handle = db.table("t", indexes=["n"])
    count = handle.get(f"w{number}-a", {"n": 0})["n"]
    while True:
        count += 1
        record = {"n": count, "text": "x" * (count * 7919 % 700)}
        handle.put_many({f"w{number}-{letter}": record for letter in "abc"})
        os.write(1, b"%d %d\\n" % (number, count))

db = sessiondb.open(sys.argv[1], checkpoint_records=40)
for number in range(3):
    threading.Thread(target=work, args=(number,)).start()
"""


def must_have(table, acknowledged):
    """Of each writer the last transaction that it was told of, whole, or the one after it."""
    for number in range(WRITERS):
        found = [table.get(f"w{number}-{letter}") for letter in "abc"]
        assert found[0] == found[1] == found[2], f"half a transaction of writer {number}: {found}"
        count = 0 if found[0] is None else found[0]["n"]
        expected = acknowledged.get(number, 0)
        assert count in (expected, expected + 1), f"writer {number} was told {expected}, the store has {count}"
        acknowledged[number] = count
        assert {key for key, _ in table.find({"n": count})} >= {f"w{number}-{letter}" for letter in "abc" if count}


def kill_busy_client(url, acknowledged, after):
    """SIGKILL a program when it has acknowledged `after` transactions, and look what is there."""
    process = subprocess.Popen([sys.executable, "-c", BUSY, url], stdout=subprocess.PIPE)
    assert process.stdout is not None
    seen = 0
    try:
        for line in process.stdout:
            seen += 1
            if seen == after:
                process.send_signal(signal.SIGKILL)
            if line.endswith(b"\n"):
                number, count = line.split()
                acknowledged[int(number)] = int(count)
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    with open_store(url, checkpoint_records=40) as db:
        assert db.check() == []
        must_have(db.table("t"), acknowledged)
    return seen


def test_a_sigkill_of_a_busy_client_loses_nothing_acknowledged(new_url):
    url, acknowledged = new_url(), {}
    for after in (1, 90):
        kill_busy_client(url, acknowledged, after)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thirty_sigkills_of_a_busy_client_lose_nothing_acknowledged(new_url, tell):
    rng = random.Random(30)
    url, acknowledged = new_url(), {}
    seen = sum(kill_busy_client(url, acknowledged, rng.randrange(1, 900)) for _ in range(30))
    tell(f"PostgreSQL, SIGKILLs of a busy client: 30; {seen} acknowledged, 0 missing")


# ---- the server, at random


class Load:
    """Programs that write, whatever happens to the server."""

    def __init__(self, db):
        self.db = db
        self.acknowledged = {}
        self.seen = 0
        self.failures = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]
        for thread in self._threads:
            thread.start()

    def _write(self, number):
        table = self.db.table("t", indexes=["n"])
        count = 0
        while not self._stop.is_set():
            record = {"n": count + 1, "text": "x" * (count * 7919 % 700)}
            try:
                table.put_many({f"w{number}-{letter}": record for letter in "abc"})
            except StoreFailedError as error:  # the log is full: "nothing was written"
                self.failures.append(error)
                continue
            count += 1
            self.acknowledged[number] = count
            self.seen += 1

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()


def kill_server_under_load(server, url, rng, kills):
    """Kill and start the server; returns how many transactions were acknowledged meanwhile, and how many refused."""
    db = open_store(url, checkpoint_records=200, lock_timeout=0.5)
    load = Load(db)
    try:
        for _ in range(kills):
            seen = load.seen + rng.randrange(1, 400)
            until(lambda seen=seen: load.seen >= seen, "the programs go on writing")
            server.kill()
            server.start()
            # One from before does not count: until the next one is done, what was read last has gone with the server.
            moved = db.stats().checkpoints
            until(lambda moved=moved: db.stats().checkpoints > moved, "checkpoints resume by themselves")
    finally:
        load.stop()
    for error in load.failures:
        assert "the log is full" in str(error)
    must_have(db.table("t"), dict(load.acknowledged))
    db.checkpoint()
    server.kill()
    server.start()
    with open_store(url.replace("/logs", "/others-logs"), read_only=True) as other:
        must_have(other.table("t"), dict(load.acknowledged))
        assert other.check() == []
    db.close()
    return load.seen, len(load.failures)


def test_a_server_that_is_killed_under_load_has_everything_when_it_is_back(own_server, tmp_path):
    url = "postgresql:" + path_of(own_server.dsn, log_dir=tmp_path / "logs")
    kill_server_under_load(own_server, url, random.Random(1), kills=2)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_forty_kills_of_the_server_under_load_lose_nothing_acknowledged(own_server, tmp_path, tell):
    url = "postgresql:" + path_of(own_server.dsn, log_dir=tmp_path / "logs")
    seen, refused = kill_server_under_load(own_server, url, random.Random(40), kills=40)
    tell(f"PostgreSQL, kills of the server under load: 41; {seen} acknowledged, 0 missing, {refused} refused")
