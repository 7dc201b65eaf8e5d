"""Moving everything that a store holds to another place: what is moved, what is refused, and what stays as it was."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from itertools import pairwise
from pathlib import Path

import pytest

import sessiondb
from sessiondb import (
    CorruptionError,
    DurabilityUnknownError,
    StoreBusyError,
    StoreFailedError,
    UsageError,
    WrongBackendError,
)
from sessiondb.migration import building
from sessiondb.migration.target import Target
from sessiondb.testing import FaultyFiles

SUFFIXES = ("json", "db", "lmdb")
PAIRS = [(one, other) for one in SUFFIXES for other in SUFFIXES]


@pytest.fixture
def tmp_path(tmp_path):
    """In memory where that can be: many of these tests wait for nothing but the disk."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="sessiondb-", dir="/dev/shm") as name:
        yield Path(name)


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]}-to-{pair[1]}")
def places(request, tmp_path):
    """A source with something in it, and a place where nothing is."""
    source, target = (str(tmp_path / f"{name}.{suffix}") for name, suffix in zip("st", request.param, strict=True))
    fill(source)
    return source, target


@pytest.fixture(params=SUFFIXES)
def filled(request, tmp_path):
    """A source, and a target with other records in it; some of both are in their logs only."""
    source, target = str(tmp_path / "s.json"), str(tmp_path / f"t.{request.param}")
    fill(source)
    fill_old(target)
    return source, target


def fill(path):
    with sessiondb.open(path) as db:
        table = db.table("docs", indexes=["n"], version=2, upgrades={1: lambda document: document})
        table.put_many({f"k{n:03}": {"n": n, "text": "ü\0" * (n % 5)} for n in range(300)})
        db.table("blobs", bytes).put_many({"logo": b"\0\xff", "none": b""})
        db.table("old")["a"] = 1
        db.checkpoint()
        table.put("late", {"n": None})
        del table["k000"]
        del db.table("old")["a"]
        db.table("odd").put_many({"#87": False, "87": "", "task#087": 0, "é": None, "\U0001f600": 1.50})


def fill_old(path):
    with sessiondb.open(path) as db:
        db.table("docs", indexes=["x"]).put_many({"k001": {"x": 1}, "mine": {"x": 2}})
        db.checkpoint()
        db.table("other")["late"] = "in the log"


def everything(path, **options):
    """All that a program can see of a store."""
    with sessiondb.open(path, create=False, **options) as db:
        assert db.check() == []
        with db._open.pin() as view:
            kinds = view.tables()
            return {name: (kind, dict(view.scan(name)), sorted(view.indexes(name))) for name, kind in kinds.items()}


def bytes_of(folder):
    """Every file's bytes, but for OPEN: it says who looked last."""
    files = (file for file in sorted(Path(folder).rglob("*")) if file.is_file() and file.name != "OPEN")
    return {str(file): file.read_bytes() for file in files if file.name not in ("lock.mdb",)}


def leftovers(folder):
    return [str(path) for path in Path(folder).rglob("*migrating*")]


# ---- what is moved


def test_a_preview_says_what_would_be_done_and_changes_nothing(places, tmp_path):
    source, target = places
    before = bytes_of(tmp_path)
    result = sessiondb.migrate(source, target)
    assert (result.outcome, result.executed, result.refusals, result.misfits) == ("preview", False, [], [])
    assert result.source.records == 300 + 2 + 5
    assert result.source.tables["docs"].indexes == ["$v", "n"]
    assert {name: table.records for name, table in result.source.tables.items()} == {
        "blobs": 2, "docs": 300, "odd": 5, "old": 0,
    }  # fmt: skip
    assert bytes_of(tmp_path) == before
    assert not os.path.exists(target)
    assert not os.path.exists(f"{target}.wal")


def test_everything_is_moved_and_the_source_keeps_every_byte(places, tmp_path):
    source, target = places
    before, expected = bytes_of(tmp_path), everything(source, read_only=True)
    result = sessiondb.migrate(source, target, execute=True)
    assert (result.outcome, result.executed, result.backup, result.replaced) == ("migrated", True, None, None)
    after = bytes_of(tmp_path)
    assert {name: after[name] for name in before} == before
    assert everything(target) == expected
    assert expected["docs"][1]["late"].startswith(b'{"$v":2')
    assert leftovers(tmp_path) == []


def test_the_new_store_opens_without_a_word_and_takes_more(places, caplog):
    source, target = places
    sessiondb.migrate(source, target, execute=True)
    with sessiondb.open(target) as db:
        assert db.recovery_report.clean
        db.table("docs", version=2, upgrades={1: lambda document: document})["more"] = {"n": 7}
    with sessiondb.open(target) as db:
        assert [key for key, _ in db.table("docs").find({"n": 7})] == ["k007", "more"]
    assert caplog.messages == []


def test_a_second_run_finds_that_nothing_is_to_be_done(places, tmp_path):
    source, target = places
    sessiondb.migrate(source, target, execute=True)
    before = everything(target, read_only=True)
    for execute in (False, True):
        result = sessiondb.migrate(source, target, execute=execute)
        assert (result.outcome, result.executed, result.refusals) == ("already there", execute, [])
    assert everything(target) == before


def test_round_the_circle_everything_comes_back(tmp_path):
    fill(tmp_path / "a.json")
    places = [tmp_path / name for name in ("a.json", "b.db", "c.lmdb", "d.json", "e.lmdb", "f.db", "g.json")]
    for source, target in pairwise(places):
        sessiondb.migrate(source, target, execute=True)
    digests = {sessiondb.migrate(place, tmp_path / "x.json").source.digest for place in places}
    assert len(digests) == 1
    assert everything(places[-1]) == everything(places[0])


def test_a_store_whose_process_was_killed_is_moved_with_what_its_log_holds(tmp_path):
    source, target = tmp_path / "s.db", tmp_path / "t.json"
    program = f"""
        import os, sessiondb
        db = sessiondb.open({str(source)!r})
        db.table("t")["a"] = 1
        db.checkpoint()
        db.table("t")["b"] = 2
        os.kill(os.getpid(), 9)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False).returncode == -signal.SIGKILL
    before = bytes_of(f"{source}.wal")
    files = FaultyFiles()
    result = sessiondb.migrate(source, target, execute=True, files=files)
    assert result.source.tables["t"].records == 2
    assert bytes_of(f"{source}.wal") == before
    assert everything(target)["t"][1] == {"a": b"1", "b": b"2"}


def test_what_the_log_holds_is_made_durable_before_it_is_moved(tmp_path):
    fill(tmp_path / "s.db")
    synced = []
    files = FaultyFiles()
    files.before = lambda done, path: synced.append(path) if done in ("fsync", "create") else None
    sessiondb.migrate(tmp_path / "s.db", tmp_path / "t.json", execute=True, files=files)
    first_write = next(place for place, path in enumerate(synced) if "t.json" in path)
    assert any("s.db.wal" in path for path in synced[:first_write])


def test_a_torn_tail_of_the_source_is_told_and_left_where_it_is(tmp_path):
    source = tmp_path / "s.db"
    fill(source)
    (segment,) = Path(f"{source}.wal").glob("*.seg")
    data = segment.read_bytes()
    end = len(data.rstrip(b"\0"))
    segment.write_bytes(data[: end - 5] + bytes(len(data) - end + 5))
    Path(f"{source}.wal/HEAD").unlink()
    before = bytes_of(f"{source}.wal")
    result = sessiondb.migrate(source, tmp_path / "t.json", execute=True)
    assert "torn tail" in result.notices[0]
    assert bytes_of(f"{source}.wal") == before


def test_an_empty_source_makes_an_empty_store(tmp_path):
    sessiondb.open(tmp_path / "s.json").close()
    with sessiondb.open(tmp_path / "t.db") as db:
        db.table("t", indexes=["n"])
    for target in ("t.db", "u.lmdb"):  # an index alone is nothing to lose
        assert sessiondb.migrate(tmp_path / "s.json", tmp_path / target, execute=True).outcome == "migrated"
        assert everything(tmp_path / target) == {}
    assert not [name for name in os.listdir(tmp_path) if "before" in name], "there was nothing to keep"


def test_progress_is_told_step_by_step(tmp_path):
    fill(tmp_path / "s.json")
    fill_old(tmp_path / "t.db")
    seen = []
    sessiondb.migrate(tmp_path / "s.json", tmp_path / "t.db", execute=True, replace=True, progress=seen.append)
    assert list(dict.fromkeys(step.what for step in seen)) == [
        "reading the source", "reading the target", "writing", "reading it back", "reading the copy of what was there",
    ]  # fmt: skip
    ends = {step.what: (step.done, step.total) for step in seen}
    assert ends["reading the source"] == ends["writing"] == ends["reading it back"] == (307, 307)
    assert ends["reading the target"] == (3, 3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_in_memory_at_one_time_is_bounded_where_the_backend_lets_it(tmp_path, monkeypatch, suffix):
    """A JSON file is in memory as a whole whenever it is open."""
    monkeypatch.setattr(building, "BATCH_RECORDS", 40)
    fill(tmp_path / "s.json")
    sizes = []
    batches = building.batches

    def watched(*arguments, **options):
        for changes in batches(*arguments, **options):
            sizes.append(sum(len(change.images) for change in changes.values()))
            yield changes

    monkeypatch.setattr(building, "batches", watched)
    sessiondb.migrate(tmp_path / "s.json", tmp_path / f"t.{suffix}", execute=True)
    assert sum(sizes) == 307
    assert max(sizes) <= 40 or suffix == "json"
    assert everything(tmp_path / f"t.{suffix}") == everything(tmp_path / "s.json")


def test_long_records_are_batched_by_their_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(building, "BATCH_BYTES", 1000)
    with sessiondb.open(tmp_path / "s.db") as db:
        db.table("t").put_many({f"{n}": "x" * 400 for n in range(20)})
    sessiondb.migrate(tmp_path / "s.db", tmp_path / "t.db", execute=True)
    assert everything(tmp_path / "t.db") == everything(tmp_path / "s.db")
    with sessiondb.open(tmp_path / "t.db") as db:
        assert db.position().lsn == 7


# ---- a target that holds something


def test_a_target_with_records_is_refused_and_keeps_every_byte(filled, tmp_path):
    source, target = filled
    before = bytes_of(tmp_path)
    preview = sessiondb.migrate(source, target)
    assert preview.replaced.records == 3
    assert "holds 3 records" in preview.refusals[0]
    assert "--replace" in preview.refusals[0]
    with pytest.raises(UsageError, match=r"holds 3 records.*nothing was changed"):
        sessiondb.migrate(source, target, execute=True)
    assert bytes_of(tmp_path) == before


def test_a_target_is_copied_aside_before_it_is_replaced(filled):
    source, target = filled
    old, new = everything(target, read_only=True), everything(source, read_only=True)
    result = sessiondb.migrate(source, target, execute=True, replace=True)
    assert result.outcome == "migrated"
    assert result.replaced.tables.keys() == old.keys() == {"docs", "other"}
    assert everything(target) == new
    assert "-before-" in result.backup
    assert everything(result.backup, read_only=True) == old


def test_the_copy_can_be_put_back_by_another_migration(filled, tmp_path):
    source, target = filled
    old, new = everything(target, read_only=True), everything(source, read_only=True)
    backup = sessiondb.migrate(source, target, execute=True, replace=True).backup
    back = sessiondb.migrate(backup, target, execute=True, replace=True)
    assert everything(target) == old
    assert everything(back.backup, read_only=True) == new
    assert back.backup != backup
    assert leftovers(tmp_path) == []


def test_the_copy_can_be_put_back_by_hand(filled):
    source, target = filled
    old = everything(target, read_only=True)
    backup = sessiondb.migrate(source, target, execute=True, replace=True).backup
    if os.path.isdir(target):
        shutil.rmtree(target)
    else:
        os.remove(target)
        shutil.rmtree(f"{target}.wal")
    os.rename(backup, target)
    assert everything(target) == old


def test_a_second_copy_does_not_touch_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "gmtime", lambda: time.struct_time((2026, 1, 2, 3, 4, 5, 0, 0, 0)))
    for name in "abc":
        with sessiondb.open(tmp_path / f"{name}.json") as db:
            db.table("t")[name] = name
    copies = [
        sessiondb.migrate(tmp_path / f"{name}.json", tmp_path / "c.json", execute=True, replace=True).backup
        for name in "ab"
    ]
    assert [os.path.basename(copy) for copy in copies] == [
        "c-before-20260102-030405.json", "c-before-20260102-030405-2.json",
    ]  # fmt: skip
    assert [list(everything(copy)["t"][1]) for copy in copies] == [["c"], ["a"]]


def test_the_new_file_has_the_mode_of_the_old_one(tmp_path):
    for name, inner in (("t.json", ""), ("t.db", ""), ("t.lmdb", "/data.mdb")):
        fill_old(tmp_path / name)
        os.chmod(f"{tmp_path}/{name}{inner}", 0o640)
        fill_source = tmp_path / f"s-{name}.json"
        fill(fill_source)
        result = sessiondb.migrate(fill_source, tmp_path / name, execute=True, replace=True)
        modes = [os.stat(f"{place}{inner}").st_mode & 0o777 for place in (tmp_path / name, result.backup)]
        assert modes == [0o640, 0o640]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_source_never_empties_a_target(tmp_path, suffix):
    sessiondb.open(tmp_path / "s.json").close()
    fill_old(tmp_path / f"t.{suffix}")
    before = bytes_of(tmp_path)
    assert "holds no record" in sessiondb.migrate(tmp_path / "s.json", tmp_path / f"t.{suffix}").refusals[0]
    with pytest.raises(UsageError, match="holds no record"):
        sessiondb.migrate(tmp_path / "s.json", tmp_path / f"t.{suffix}", execute=True, replace=True)
    assert bytes_of(tmp_path) == before


@pytest.mark.parametrize("damage", ["missing", "no store", "empty file", "damaged"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_source_that_cannot_be_read_never_touches_a_target(tmp_path, suffix, damage):
    source, target = tmp_path / f"s.{suffix}", tmp_path / "t.json"
    fill_old(target)
    data = source / "data.mdb" if suffix == "lmdb" else source
    if damage != "missing":
        fill(source)
        with sessiondb.open(source) as db:
            db.checkpoint()
    if damage == "no store":
        data.write_bytes(b"#!/bin/sh\necho hello\n")
    elif damage == "empty file":
        data.write_bytes(b"")
    elif damage == "damaged":
        whole = data.read_bytes()
        at = whole.index(b'"n":123') + 5
        data.write_bytes(whole[:at] + b"9" + whole[at + 1 :])
    before = bytes_of(tmp_path)
    for execute in (False, True):
        with pytest.raises((UsageError, WrongBackendError, CorruptionError)) as caught:
            sessiondb.migrate(source, target, execute=execute, replace=True)
        assert isinstance(caught.value, UsageError if damage == "missing" else (WrongBackendError, CorruptionError))
    assert bytes_of(tmp_path) == before


def test_records_that_no_backend_would_notice_are_named_and_counted(tmp_path, monkeypatch):
    fill(tmp_path / "s.json")
    monkeypatch.setattr("sessiondb_backends.json_file.JsonFileBackend.check", lambda backend: [])
    with sessiondb.open(tmp_path / "s.json", read_only=True) as db:
        images = db._open.backend._view.state["docs"].records
        for key in sorted(images)[:14]:
            images[key] = b"{no JSON"
        with pytest.raises(CorruptionError, match=r"'k001': it is no JSON.*; and 4 more .*untouched"):
            sessiondb.migrate(tmp_path / "s.json", tmp_path / "t.db", execute=True)
    assert sorted(os.listdir(tmp_path)) == ["s.json", "s.json.wal"]


def test_a_target_that_cannot_be_read_is_left_as_it_is(tmp_path):
    fill(tmp_path / "s.json")
    fill_old(tmp_path / "t.db")
    with sessiondb.open(tmp_path / "t.db") as db:
        db.checkpoint()
    data = (tmp_path / "t.db").read_bytes()
    (tmp_path / "t.db").write_bytes(data.replace(b'{"x":2}', b'{"x":3}'))
    (tmp_path / "foreign.json").write_text('{"mine": 1}')
    before = bytes_of(tmp_path)
    for name, error in (("t.db", CorruptionError), ("foreign.json", WrongBackendError)):
        with pytest.raises(error):
            sessiondb.migrate(tmp_path / "s.json", tmp_path / name, execute=True, replace=True)
    assert bytes_of(tmp_path) == before


def test_a_log_without_its_store_at_the_target_is_not_taken_for_nothing(tmp_path):
    fill(tmp_path / "s.json")
    fill_old(tmp_path / "t.db")
    os.remove(tmp_path / "t.db")
    for execute in (False, True):
        with pytest.raises(CorruptionError, match="the log of one is there"):
            sessiondb.migrate(tmp_path / "s.json", tmp_path / "t.db", execute=execute)


# ---- who else is there


def holder(path):
    program = f"""
        import sessiondb, sys
        db = sessiondb.open({str(path)!r})
        print("open", flush=True)
        sys.stdin.read()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"open\n"
    return process


@pytest.mark.parametrize("which", ["source", "target"])
def test_a_store_that_another_process_has_open_is_refused_with_its_name(tmp_path, which):
    source, target = tmp_path / "s.json", tmp_path / "t.db"
    fill(source)
    fill_old(target)
    process = holder(source if which == "source" else target)
    try:
        for execute in (False, True):
            with pytest.raises(StoreBusyError, match=f"process {process.pid} "):
                sessiondb.migrate(source, target, execute=execute, replace=True, lock_timeout=0)
    finally:
        process.kill()
        process.communicate()
    assert sessiondb.migrate(source, target, execute=True, replace=True).outcome == "migrated"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_of_two_migrations_to_the_same_place_one_does_it(tmp_path, suffix):
    fill(tmp_path / "s.json")
    places = [str(tmp_path / "s.json"), str(tmp_path / f"t.{suffix}")]
    program = f"""
        import sessiondb, sys
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            print(sessiondb.migrate(*{places!r}, execute=True).outcome)
        except sessiondb.StoreFailedError as error:
            print("changed" if "has changed" in str(error) else error)
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    outcomes = sorted(process.communicate()[0].strip() for process in processes)
    assert outcomes in (["already there", "migrated"], ["changed", "migrated"])
    assert everything(tmp_path / f"t.{suffix}") == everything(tmp_path / "s.json")


def test_a_source_that_is_being_read_elsewhere_can_be_moved(tmp_path):
    fill(tmp_path / "s.json")
    with sessiondb.open(tmp_path / "s.json", read_only=True) as db:
        assert sessiondb.migrate(tmp_path / "s.json", tmp_path / "t.db", execute=True).outcome == "migrated"
        assert len(db.table("odd")) == 5


def test_a_store_that_this_process_has_open_is_refused(tmp_path):
    fill(tmp_path / "s.json")
    fill_old(tmp_path / "t.db")
    with sessiondb.open(tmp_path / "s.json"), pytest.raises(UsageError, match="open in this process"):
        sessiondb.migrate(tmp_path / "s.json", tmp_path / "t.db")
    with sessiondb.open(tmp_path / "t.db"), pytest.raises(UsageError, match="open in this process"):
        sessiondb.migrate(tmp_path / "s.json", tmp_path / "t.db", lock_timeout=0)
    with sessiondb.open(tmp_path / "t.db", read_only=True), pytest.raises(StoreBusyError):
        sessiondb.migrate(tmp_path / "s.json", tmp_path / "t.db", execute=True, replace=True, lock_timeout=0)


def test_a_target_that_changed_after_it_was_looked_at_is_left_as_it_is(tmp_path, monkeypatch):
    fill(tmp_path / "s.json")
    fill_old(tmp_path / "t.db")
    held = Target.held

    def late(self):
        with sessiondb.open(tmp_path / "t.db") as db:
            db.table("other")["later"] = "than the look"
        return held(self)

    monkeypatch.setattr(Target, "held", late)
    with pytest.raises(StoreFailedError, match="has changed since"):
        sessiondb.migrate(tmp_path / "s.json", tmp_path / "t.db", execute=True, replace=True)
    assert list(everything(tmp_path / "t.db")["other"][1]) == ["late", "later"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nobody_can_make_a_store_at_the_target_meanwhile(tmp_path, monkeypatch, suffix):
    fill(tmp_path / "s.json")
    place = tmp_path / f"t.{suffix}"
    build = building.build

    def slow(*arguments, **options):
        with pytest.raises(StoreBusyError):
            sessiondb.open(place, lock_timeout=0)
        build(*arguments, **options)

    monkeypatch.setattr("sessiondb.migration.run.build", slow)
    assert sessiondb.migrate(tmp_path / "s.json", place, execute=True).outcome == "migrated"


# ---- the same store


def test_a_store_is_not_moved_onto_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, inner in (("s.json", ""), ("s.db", ""), ("s.lmdb", None)):
        fill(name)
        os.symlink(name, f"link-{name}")
        names = [name, f"./{name}", str(tmp_path / name), tmp_path / name, f"link-{name}"]
        if inner is not None:
            os.link(name, f"hard-{name}")
            names.append(f"hard-{name}")
        for target in names:
            for execute in (False, True):
                with pytest.raises(UsageError, match="the same store"):
                    sessiondb.migrate(name, target, execute=execute, replace=True)


@pytest.mark.parametrize(
    ("source", "target", "problem"),
    [
        ("s.json", "memory:", "keeps nothing"),
        ("memory:", "t.json", "keeps nothing"),
        ("s.json", "no-such-folder/t.json", "does not exist"),
        ("no-such-folder/s.json", "t.json", "no database|does not exist"),
        ("s.json", "t.txt", "names no backend"),
        ("s.json", "mysql://h/d", "no backend"),
        ("s.json", "", "a path or a URL"),
    ],
)
def test_places_that_make_no_sense_are_refused(tmp_path, monkeypatch, source, target, problem):
    monkeypatch.chdir(tmp_path)
    fill("s.json")
    for execute in (False, True):
        with pytest.raises(UsageError, match=problem):
            sessiondb.migrate(source, target, execute=execute)
    assert sorted(os.listdir()) == ["s.json", "s.json.wal"]


def test_a_store_of_another_kind_at_the_target_is_not_replaced(tmp_path):
    fill(tmp_path / "s.json")
    fill_old(f"json:///{tmp_path}/t.db")
    with pytest.raises(WrongBackendError, match="expected a sessiondb SQLite database, found a sessiondb JSON file"):
        sessiondb.migrate(tmp_path / "s.json", tmp_path / "t.db", execute=True, replace=True)


# ---- what was written is looked at


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_new_store_that_lacks_something_never_takes_the_place(tmp_path, monkeypatch, suffix):
    source, place = tmp_path / "s.json", tmp_path / f"t.{suffix}"
    fill(source)
    fill_old(place)
    old = everything(place)
    batches = building.batches

    def lossy(*arguments, **options):
        for changes in batches(*arguments, **options):
            changes["docs"].images.pop("k007", None)
            yield changes

    monkeypatch.setattr(building, "batches", lossy)
    with pytest.raises(StoreFailedError, match=r"reads back as something else \(table 'docs'\); nothing was replaced"):
        sessiondb.migrate(source, place, execute=True, replace=True)
    assert everything(place) == old
    assert leftovers(tmp_path) == []
    assert [name for name in os.listdir(tmp_path) if "before" in name] == []


def test_a_new_store_without_an_index_never_takes_the_place(tmp_path, monkeypatch):
    fill(tmp_path / "s.json")
    batches = building.batches
    monkeypatch.setattr(
        building, "batches",
        lambda *arguments, **options: (
            {name: change._replace(indexes={}) for name, change in changes.items()}
            for changes in batches(*arguments, **options)
        ),
    )  # fmt: skip
    with pytest.raises(StoreFailedError, match="reads back as something else"):
        sessiondb.migrate(tmp_path / "s.json", tmp_path / "t.db", execute=True)
    assert not (tmp_path / "t.db").exists()


def test_a_copy_that_lacks_something_keeps_the_target_where_it_is(tmp_path, monkeypatch):
    fill(tmp_path / "s.json")
    fill_old(tmp_path / "t.json")
    old = everything(tmp_path / "t.json")
    with sessiondb.open(tmp_path / "wrong.json") as db:
        db.table("other")["x"] = 1
    wrong = (str(tmp_path / "wrong.json"), "wrong.json")
    monkeypatch.setattr(
        "sessiondb_backends.json_file.JsonFileBackend.copy_aside", classmethod(lambda *arguments: wrong)
    )
    with pytest.raises(StoreFailedError, match=r"the copy wrong.json does not hold what .*; nothing was replaced"):
        sessiondb.migrate(tmp_path / "s.json", tmp_path / "t.json", execute=True, replace=True)
    assert everything(tmp_path / "t.json") == old


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("moment", ["build", "copy_aside", "remove_log"])
def test_a_ctrl_c_leaves_both_stores_and_nothing_else(tmp_path, monkeypatch, suffix, moment):
    source, place = tmp_path / "s.json", tmp_path / f"t.{suffix}"
    fill(source)
    fill_old(place)
    old = everything(place)
    owner = "run.build" if moment == "build" else f"target.Target.{moment}"
    with monkeypatch.context() as patch:

        def interrupted(*_, **__):
            raise KeyboardInterrupt

        patch.setattr(f"sessiondb.migration.{owner}", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sessiondb.migrate(source, place, execute=True, replace=True)
    assert everything(place) == old
    assert leftovers(tmp_path) == []
    assert sessiondb.migrate(source, place, execute=True, replace=True).outcome == "migrated"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_last_step_that_fails_leaves_the_old_store_with_a_log(tmp_path, suffix):
    source, place = tmp_path / "s.json", tmp_path / f"t.{suffix}"
    fill(source)
    fill_old(place)
    old = everything(place)
    files = FaultyFiles()
    name = "data.mdb" if suffix == "lmdb" else f"/t.{suffix}"

    def fail(done, path):
        if done == "replace" and path.endswith(name):
            raise OSError(28, "No space left on device", path)

    with sessiondb.open(place, files=files):
        pass
    files.before = fail
    with pytest.raises(StoreFailedError, match="No space left"):
        sessiondb.migrate(source, place, execute=True, replace=True, files=files)
    with sessiondb.open(place) as db:
        assert db.recovery_report.clean
    assert everything(place) == old
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_switch_whose_sync_fails_is_not_called_off(tmp_path, suffix):
    """The new store is in the place; only a power cut could bring the old one back."""
    source, place = tmp_path / "s.json", tmp_path / f"t.{suffix}"
    fill(source)
    fill_old(place)
    files = FaultyFiles()
    name = "data.mdb" if suffix == "lmdb" else f"/t.{suffix}"
    replaced = []

    def fail(done, path):
        if done == "sync_folder" and replaced and path == os.path.dirname(replaced[0]):
            raise OSError(5, "Input/output error", path)

    def watch(done, path):
        if done == "replace" and path.endswith(name) and "migrating" not in path:
            replaced.append(path)

    with sessiondb.open(place) as db:
        db.checkpoint()  # so that the only replacement that is seen is the last step
    files.before, files.after = fail, watch
    with pytest.raises(DurabilityUnknownError, match="run the same again"):
        sessiondb.migrate(source, place, execute=True, replace=True, files=files)
    assert everything(place) == everything(source)
    assert sessiondb.migrate(source, place, execute=True).outcome == "already there"


# ---- leftovers


def test_what_an_interrupted_migration_left_is_removed_and_named(tmp_path):
    fill(tmp_path / "s.json")
    for name in ("t.json.migrating", "t.json.migrating.tmp", "t.json.migrating-copy"):
        (tmp_path / name).write_text("half")
    for _ in range(2):
        preview = sessiondb.migrate(tmp_path / "s.json", tmp_path / "t.json")
        assert preview.notices == []
    result = sessiondb.migrate(tmp_path / "s.json", tmp_path / "t.json", execute=True)
    assert len(result.notices) == 3
    assert all(notice.startswith("removed what an interrupted migration left: ") for notice in result.notices)
    assert leftovers(tmp_path) == []
    (tmp_path / "t.json.migrating-copy").write_text("half")
    again = sessiondb.migrate(tmp_path / "s.json", tmp_path / "t.json", execute=True)
    assert (again.outcome, len(again.notices)) == ("already there", 1)
    assert leftovers(tmp_path) == []


def test_a_sqlite_file_that_another_program_has_open_is_not_replaced(tmp_path):
    """Its log would be laid over the new file."""
    fill(tmp_path / "s.json")
    fill_old(tmp_path / "t.db")
    with sessiondb.open(tmp_path / "t.db") as db:
        db.checkpoint()
    old = everything(tmp_path / "t.db")
    program = f"""
        import sqlite3, sys
        other = sqlite3.connect({str(tmp_path / "t.db")!r}, isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM sessiondb_meta").fetchall()
        print("open", flush=True)
        sys.stdin.read()
    """
    with sessiondb.open(tmp_path / "t.db") as db:  # something is in the log, so that a checkpoint writes
        db.table("other")["more"] = 1
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"open\n"
    try:
        with pytest.raises(StoreFailedError, match="another program has it open"):
            sessiondb.migrate(tmp_path / "s.json", tmp_path / "t.db", execute=True, replace=True)
    finally:
        process.kill()
        process.communicate()
    found = everything(tmp_path / "t.db")
    assert found["other"][1].pop("more") == b"1"
    assert found == old
