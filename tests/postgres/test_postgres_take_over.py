"""Two hosts, one server, at the same time: whoever comes in between, histories never mix, and nothing is lost silently.

What the simulator found (``tests/crash/test_take_over.py``) on the real server, and two programs that take the store
from each other while both are killed.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import sessiondb
from postgres.fixtures import new_name, path_of
from sessiondb.backend import Position, TableChanges
from sessiondb.checkpoint import Checkpointer
from sessiondb.errors import FencedError
from sessiondb.files import Files
from sessiondb.location import parse_location
from sessiondb.ownership import stranded
from sessiondb.recovery import survey
from sessiondb_backends.postgres import PostgresBackend


@pytest.fixture
def new_url(pg_dsn, pg_shared_schema, tmp_path):
    """The URL of one store for a host whose logs are in the folder of this name."""
    namespace = new_name()
    return lambda host: (
        "postgresql:" + path_of(pg_dsn, schema=pg_shared_schema, namespace=namespace, log_dir=tmp_path / host)
    )


def open_store(url, **options):
    return sessiondb.open(url, **{"checkpoint_age_s": 3600, **options})


def kill(db):
    """As if its process had died: nothing is moved, and the locks are free."""
    db._store._settle = lambda: None
    db.close()


def folder_of(url):
    return Path(PostgresBackend.log_folder(parse_location(url).path))


def records(url):
    with open_store(url, read_only=True) as db:
        return dict(db.table("t"))


class Rival:
    """Another host, quick enough to come in between: it takes the store over, and makes a checkpoint."""

    def __init__(self, url):
        self.backend = PostgresBackend.open(Files(), parse_location(url).path, create=False)
        self.turns = 0

    def comes_before(self, monkeypatch, name):
        """The next call of this method of another backend finds that the rival was there."""
        method = getattr(PostgresBackend, name)

        def late(backend, *arguments):
            if backend is not self.backend and not self.turns:
                self.turns += 1
                self.take_over()
            return method(backend, *arguments)

        monkeypatch.setattr(PostgresBackend, name, late)

    def take_over(self):
        epoch, lsn = (before := self.backend.position()).epoch + 1, before.lsn
        self.backend.take_over(os.urandom(16), b"", "rival", before)
        changes = {"t": TableChanges("json", False, {"a": b'{"n":"rival"}'})}
        self.backend.apply(changes, Position(epoch, lsn), Position(epoch, lsn + 1), lambda: None)


@pytest.fixture
def rival(new_url):
    with open_store(new_url("one")) as db:
        db.table("t")["a"] = {"n": 1}
    made = Rival(new_url("one"))
    yield made
    made.backend.close()


@pytest.mark.parametrize("name", ["ownership", "take_over", "read"])
def test_who_is_taken_over_while_it_opens_never_writes_upon_the_others_state(new_url, rival, monkeypatch, name):
    """Once it was opened on the other one's state, at its position, and the next checkpoint passed for the other's."""
    rival.comes_before(monkeypatch, name)
    try:
        with open_store(new_url("one")) as db:
            assert db.table("t")["a"] == {"n": "rival"}
            db.table("t")["b"] = {"n": 1}
    except FencedError:
        assert name == "read"
    assert rival.turns == 1
    found = records(new_url("third"))
    assert found.pop("a") == {"n": "rival"}
    assert found == ({} if name == "read" else {"b": {"n": 1}})


@pytest.mark.parametrize("name", ["apply", "position", "read"])
def test_who_is_taken_over_in_a_checkpoint_is_fenced_at_once_and_for_good(new_url, rival, monkeypatch, name):
    """Once the view that it then read was the other one's, and the checkpoint after that passed for the other's."""
    db = open_store(new_url("one"))
    db.table("t")["b"] = {"n": 1}
    rival.comes_before(monkeypatch, name)
    for _ in range(2):
        with pytest.raises(FencedError, match="another owner"):
            db.checkpoint()
    with pytest.raises(FencedError):
        db.table("t")["c"] = {"n": 1}
    assert db.stats().state == "fenced"
    db.close()
    expected = {"a": {"n": "rival"}, **({} if name == "apply" else {"b": {"n": 1}})}
    assert records(new_url("third")) == expected
    if name == "apply":
        with pytest.raises(FencedError, match="LSN 2 to 2 "):
            open_store(new_url("one"))
    else:
        with open_store(new_url("one")) as db:
            assert dict(db.table("t")) == expected


class Interrupted(Files):
    """Stops when it should remove the n-th segment."""

    def __init__(self, left):
        self.left = left

    def unlink(self, path):
        if path.endswith(".seg"):
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        super().unlink(path)


@pytest.mark.parametrize("removed", [0, 1, 2])
def test_an_old_log_of_which_a_part_was_removed_when_the_process_died_is_no_damage(new_url, monkeypatch, removed):
    """Once the newest segment went first; the end of what was left looked cut off, and the host could open no more."""
    with monkeypatch.context() as patch:
        patch.setattr(Checkpointer, "_drop_segments", lambda self, log: None)
        db = open_store(new_url("one"))
        for number in range(2):
            db.table("t")[f"k{number}"] = {"n": number}
            db.checkpoint()
        kill(db)
    assert len(list(folder_of(new_url("one")).glob("*.seg"))) == 3
    with open_store(new_url("other")) as db:
        db.table("t")["more"] = {"n": 9}
    with pytest.raises(KeyboardInterrupt):
        open_store(new_url("one"), files=Interrupted(removed))
    with open_store(new_url("one")) as db:
        assert dict(db.table("t")) == {"k0": {"n": 0}, "k1": {"n": 1}, "more": {"n": 9}}


def test_the_torn_tail_of_an_old_log_is_kept_and_reported(new_url):
    db = open_store(new_url("one"))
    db.table("t")["a"] = {"n": 1}
    db.checkpoint()
    uuid = db._open.identity.uuid
    kill(db)
    folder = folder_of(new_url("one"))
    contents = survey(Files(), str(folder), uuid, 1).contents
    with open(folder / str(contents.newest.name), "r+b") as segment:
        segment.seek(contents.end)
        segment.write(b"half a frame")
    with open_store(new_url("other")) as db:
        db.table("t")["a"] = {"n": 2}
    with open_store(new_url("one")) as db:
        (notice,) = [notice for notice in db.recovery_report.notices if "torn tail" in notice]
        assert dict(db.table("t")) == {"a": {"n": 2}}
    (kept,) = (folder / "quarantine").iterdir()
    assert str(kept) in notice
    assert kept.read_bytes() == b"half a frame"


# ---- two programs that take the store from each other

BUSY = """
import os, random, sys
import sessiondb
from sessiondb.errors import FencedError
from sessiondb.files import Files
from sessiondb.location import parse_location
from sessiondb.ownership import stranded
from sessiondb_backends.postgres import PostgresBackend

url, name, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
rng, folder = random.Random(seed), PostgresBackend.log_folder(parse_location(url).path)

def say(*words):
    os.write(1, (" ".join(map(str, words)) + chr(10)).encode())

say("started")
number = 0
while True:
    try:
        db = sessiondb.open(url, checkpoint_records=20, checkpoint_age_s=3600)
    except FencedError:
        backend = PostgresBackend.open(Files(), parse_location(url).path, create=False, read_only=True)
        if stranded(Files(), folder, backend) is not None:
            say("moved", aside := f"{folder}.{seed}.{number}")
            number += 1
            os.rename(folder, aside)
        backend.close()
        continue
    table = db.table("t")
    for _ in range(rng.randrange(60)):
        key = f"{name}-{seed}-{number}"
        number += 1
        try:
            table[key] = {"n": number}
        except FencedError:
            break
        say("wrote", key)
    try:
        db.close()
    except FencedError:
        pass
"""


class Program:
    """A host whose program is started again whenever it is killed."""

    def __init__(self, url, name):
        self.url, self.name = url, name
        self.written, self.aside = set(), []
        self.starts = 0
        self._process = None

    def start(self, seed):
        self.starts += 1
        command = [sys.executable, "-c", BUSY, self.url, self.name, str(seed)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)

    def read(self, lines):
        """So many lines of what it says."""
        for _ in range(lines):
            self._hear(self._process.stdout.readline())

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        with self._process as process:
            for line in process.stdout:
                self._hear(line)
        assert process.returncode == -signal.SIGKILL, "the program ended by itself"

    def _hear(self, line):
        word, _, what = line.decode().strip().partition(" ")
        if word == "wrote":
            self.written.add(what)
        elif word == "moved":
            self.aside.append(what)

    def logs(self):
        """The folders of its logs that are there, with what is in each that never reached the server."""
        path = parse_location(self.url).path
        folder = PostgresBackend.log_folder(path)
        backend = PostgresBackend.open(Files(), path, create=False, read_only=True)
        try:
            for place in (*self.aside, folder):
                found = stranded(Files(), place, backend)
                if found is not None:
                    memtable = survey(Files(), place, backend.identity().uuid, found.first_lsn - 1).memtable
                    changes = memtable.changes(lambda: None)
                    yield place, set(changes["t"].images)
        finally:
            backend.close()


def two_programs(new_url, rng, kills):
    """Both run, and one or the other is killed; then everything that was acknowledged is looked for."""
    programs = [Program(new_url(name), name) for name in ("one", "other")]
    for number, program in enumerate(programs):
        program.start(number)
    for number in range(kills):
        program = rng.choice(programs)
        program.read(rng.randrange(1, 150))
        program.kill()
        program.start(100 + number)
    for program in programs:
        program.kill()
    for program in programs:  # the last owner's log is replayed, the other one's is stranded or empty
        with contextlib.suppress(FencedError):
            open_store(program.url).close()
    there = records(new_url("third")).keys()
    counts: Counter[str] = Counter()
    for program in programs:
        lost = set().union(*(keys for _, keys in program.logs()))
        assert not lost & there, "what is said to be stranded is on the server"
        assert program.written <= lost | there, f"gone without a word: {sorted(program.written - lost - there)[:9]}"
        counts.update(acknowledged=len(program.written), stranded=len(program.written & lost))
        counts.update(moved_away=len(program.aside), starts=program.starts)
    return dict(counts)


def test_two_programs_that_take_the_store_from_each_other_lose_nothing_without_a_word(new_url):
    assert two_programs(new_url, random.Random(2), kills=2)["acknowledged"] > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_programs_that_take_the_store_from_each_other_through_forty_kills(new_url, tell):
    found = two_programs(new_url, random.Random(40), kills=40)
    tell(f"PostgreSQL, two programs and forty kills: {found}, 0 missing")
