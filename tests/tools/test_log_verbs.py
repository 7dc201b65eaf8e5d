"""`log dump` and `log verify`: whole logs, torn tails, damage, stores that are being written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import sessiondb

from .conftest import change_byte, frames_of, segment_of, tear, tree

# ---- log dump


def test_the_log_is_dumped_with_offsets_headers_and_records(run, killed_store):
    done = run("log", "dump", "--db", killed_store)
    assert done.code == 0
    lines = done.out.splitlines()
    assert re.fullmatch(r"00000001-0000000000000001.seg  16,384 bytes  \(needed\)", lines[0])
    assert re.match(
        r" {9}0  segment header  epoch 1  first LSN 1  salt [0-9a-f]{8}  crc [0-9a-f]{8}  20\d\d-", lines[1]
    )
    assert "follows nothing" in lines[2]
    first = (
        r" {7}128  TRANSACTION  LSN 1  +length 26  +undurable 1  +20\S+Z  crc [0-9a-f]{8}  prev [0-9a-f]{8}  payload"
    )
    assert re.match(first, lines[3])
    assert lines[4] == '              put     records  key-0  {"n":0}'
    assert re.fullmatch(r" +\d+  end \(zeros\)", lines[-1])
    assert sum("TRANSACTION" in line for line in lines) == 10


def test_the_log_is_dumped_as_json(run, killed_store):
    segment, *frames, end = run("log", "dump", "--db", killed_store, "--json").lines
    assert segment["kind"] == "segment"
    assert segment["first_lsn"] == 1
    assert segment["role"] == "needed"
    assert [frame["lsn"] for frame in frames] == list(range(1, 11))
    assert frames[0]["offset"] == 128
    assert frames[3]["prev"] == frames[2]["crc"]
    assert frames[9]["type"] == "TRANSACTION"
    assert frames[9]["operations"] == [{"op": "put", "table": "records", "key": "key-9", "record": {"n": 9}}]
    assert end["kind"] == "end"
    assert end["reason"] == "zeros"


def test_every_operation_and_segment_is_shown(run, tmp_path):
    path = str(tmp_path / "x.json")
    with sessiondb.open(path) as db:
        db.table("blobs", bytes)["b"] = b"\x01\xfe"
        table = db.table("records")
        table.put_many({"a": "x" * 500, "b\n": 1})
        del table["a"]
        db.drop("blobs")
        shown = run("log", "dump", "--json", "--db", path)
        text = run("log", "dump", "--db", path)
    operations = [operation for line in shown.lines for operation in line.get("operations", [])]
    assert operations == [
        {"op": "put_bytes", "table": "blobs", "key": "b", "base64": "Af4="},
        {"op": "put", "table": "records", "key": "a", "record": "x" * 500},
        {"op": "put", "table": "records", "key": "b\n", "record": 1},
        {"op": "delete", "table": "records", "key": "a"},
        {"op": "drop", "table": "blobs"},
    ]
    assert "put     blobs  b  2 bytes: 01 fe\n" in text.out
    assert "xxx... (502 characters)\n" in text.out
    assert 'put     records  "b\\n"  1\n' in text.out
    assert "delete  records  a\n" in text.out
    assert "drop    blobs\n" in text.out


def test_only_the_last_frames_are_shown_when_asked(run, killed_store):
    lines = run("log", "dump", "--last", "2", "--db", killed_store, "--json").lines
    assert [line.get("lsn") for line in lines] == [None, 9, 10, None]
    assert run("log", "dump", "--last", "-1", "--db", killed_store).code == 2
    assert [line["kind"] for line in run("log", "dump", "--last", "0", "--db", killed_store, "--json").lines] == [
        "segment", "end",
    ]  # fmt: skip


def test_sealed_and_left_over_segments_are_shown_too(run, killed_store):
    old = segment_of(killed_store)
    copy = old.read_bytes()
    run("checkpoint", "--db", killed_store)
    (new,) = Path(f"{killed_store}.wal").glob("*.seg")
    old.write_bytes(copy)  # as after a power cut that undid the unlink
    lines = run("log", "dump", "--json", "--db", killed_store).lines
    assert [(line["segment"], line["role"]) for line in lines if line["kind"] == "segment"] == [
        (old.name, "leftover: not needed any more"), (new.name, "needed"),
    ]  # fmt: skip
    assert len([line for line in lines if line["kind"] == "frame"]) >= 10
    assert "follows 00000001-0000000000000001.seg up to offset" in run("log", "dump", "--db", killed_store).out


def test_behind_damage_the_dump_goes_on_with_what_can_be_read(run, killed_store):
    frames = frames_of(run, killed_store)
    change_byte(segment_of(killed_store), frames[3]["offset"] + 42)
    lines = run("log", "dump", "--db", killed_store, "--json").lines
    assert [line["lsn"] for line in lines if line["kind"] == "frame"] == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    (gap,) = [line for line in lines if line["kind"] == "gap"]
    assert gap["offset"] == frames[3]["offset"]
    assert gap["next"] == frames[4]["offset"]
    assert gap["reason"] == "the payload's checksum is wrong"
    text = run("log", "dump", "--db", killed_store)
    assert text.code == 0
    stop = f"STOP: the payload's checksum is wrong; {gap['bytes']} bytes cannot be read; the next readable frame is at"
    assert stop in text.out


def test_a_damaged_frame_header_is_stepped_over(run, killed_store):
    frames = frames_of(run, killed_store)
    change_byte(segment_of(killed_store), frames[3]["offset"] + 4)
    lines = run("log", "dump", "--db", killed_store, "--json").lines
    assert [line["lsn"] for line in lines if line["kind"] == "frame"] == [1, 2, 3, 5, 6, 7, 8, 9, 10]


def test_where_nothing_is_readable_any_more_the_dump_says_why(run, killed_store):
    frames = frames_of(run, killed_store)
    change_byte(segment_of(killed_store), frames[9]["offset"] + 44)
    text = run("log", "dump", "--db", killed_store).out.splitlines()
    assert re.fullmatch(
        rf" +{frames[9]['offset']}  STOP: the payload's checksum is wrong; \d+ bytes cannot be read; "
        "nothing readable behind it",
        text[-1],
    )


def test_a_segment_whose_header_is_damaged_is_said_and_the_others_are_shown(run, killed_store):
    change_byte(segment_of(killed_store), 40)
    done = run("log", "dump", "--db", killed_store)
    assert done.code == 0
    assert "STOP: the segment's header is damaged" in done.out


def test_the_log_is_dumped_without_the_stores_file(run, killed_store):
    os.unlink(killed_store)
    assert len(frames_of(run, killed_store)) == 10
    Path(killed_store).write_bytes(b"")
    assert len(frames_of(run, killed_store)) == 10


def test_a_dump_of_a_store_without_a_log_says_so(run, store, tmp_path):
    for path in Path(f"{store}.wal").iterdir():
        path.unlink()
    Path(f"{store}.wal").rmdir()
    assert run("log", "dump", "--db", store).out == f"there is no log ({store}.wal)\n"
    assert run("log", "dump", "--db", store, "--json").out == ""


# ---- log verify


def test_a_whole_store_is_fine(run, store, killed_store):
    for path in (store, killed_store):
        done = run("log", "verify", "--db", path)
        assert done.code == 0
        assert done.out.endswith("verdict   fine\n")
        assert done.err == ""
    assert run("log", "verify", "--db", killed_store, "--json").json == {
        "location": killed_store, "fine": True, "problems": [], "notices": [], "applied": "1:0", "last_lsn": 10,
        "segments": 1, "transactions": 10, "torn_tail": None,
    }  # fmt: skip


def test_a_torn_tail_is_fine_with_a_notice(run, killed_store):
    tear(killed_store)
    before = tree(".")
    done = run("log", "verify", "--db", killed_store)
    assert done.code == 0
    assert re.search(r"notice +a torn tail of \d+ bytes in 0\S+\.seg at offset \d+ \(the payload's checksum", done.out)
    found = run("log", "verify", "--db", killed_store, "--json").json
    assert found["fine"] is True
    assert found["last_lsn"] == 9
    assert found["torn_tail"]["problem"] == "the payload's checksum is wrong"
    assert tree(".") == before, "verifying cuts nothing"


def test_a_damaged_frame_is_damage_with_its_place(run, killed_store):
    frames = frames_of(run, killed_store)
    change_byte(segment_of(killed_store), frames[3]["offset"] + 42)
    before = tree(".")
    done = run("log", "verify", "--db", killed_store)
    assert done.code == 1
    assert re.search(
        rf"DAMAGE +the log is damaged: .*{segment_of(killed_store)}, offset {frames[3]['offset']}", done.out
    )
    assert "verdict   damaged" in done.out
    found = run("log", "verify", "--db", killed_store, "--json")
    assert found.code == 1
    assert found.json["fine"] is False
    assert len(found.json["problems"]) == 1
    assert tree(".") == before


@pytest.mark.parametrize("place", ["header of the segment", "last frame", "missing segment"])
def test_other_damage_of_the_log_is_found(run, killed_store, place):
    segment = segment_of(killed_store)
    if place == "missing segment":
        segment.unlink()
    else:
        change_byte(segment, 20 if place.startswith("header") else frames_of(run, killed_store)[9]["offset"])
    assert run("log", "verify", "--db", killed_store).code == 1


def test_damage_of_the_stores_file_is_found(run, store):
    path = Path(store)
    path.write_bytes(path.read_bytes().replace(b'"text"', b'"tExt"'))
    done = run("log", "verify", "--db", store)
    assert done.code == 1
    assert "does not match its digest" in done.out
    assert "the log was not judged" in done.out


@pytest.mark.parametrize("content", [None, b"", b"\0" * 400])
def test_a_missing_or_empty_file_beside_its_log_is_damage(run, killed_store, content):
    os.unlink(killed_store)
    if content is not None:
        Path(killed_store).write_bytes(content)
    done = run("log", "verify", "--db", killed_store)
    assert done.code == 1
    assert "its log is there" in done.out


def test_a_store_without_a_log_folder_is_fine_with_a_notice(run, store):
    for path in Path(f"{store}.wal").iterdir():
        path.unlink()
    Path(f"{store}.wal").rmdir()
    done = run("log", "verify", "--db", store)
    assert done.code == 0
    assert "notice    there is no log" in done.out


def test_a_missing_store_cannot_be_verified(run, tmp_path):
    assert run("log", "verify", "--db", str(tmp_path / "none.json")).code == 3


def test_a_leftover_segment_is_a_notice(run, killed_store):
    old = segment_of(killed_store)
    copy = old.read_bytes()
    run("checkpoint", "--db", killed_store)
    old.write_bytes(copy)
    done = run("log", "verify", "--db", killed_store)
    assert done.code == 0
    assert "1 segment not needed any more" in done.out


def test_verifying_keeps_writers_out_and_lets_readers_in(run, killed_store, monkeypatch):
    """The look holds OPEN shared: a writer's append cannot be taken for damage."""
    from sessiondb_tools import inspection

    look = inspection._look
    seen = []

    def observe(files, place, depth):
        with sessiondb.open(killed_store, read_only=True) as db:
            seen.append(db.table("records")["key-1"])
        with pytest.raises(sessiondb.StoreBusyError):
            sessiondb.open(killed_store, lock_timeout=0)
        return look(files, place, depth)

    monkeypatch.setattr(inspection, "_look", observe)
    assert run("log", "verify", "--db", killed_store).code == 0
    assert seen == [{"n": 1}]


def test_a_store_that_is_open_elsewhere_is_verified_as_it_is_now(run, busy_store):
    done = run("log", "verify", "--db", busy_store)
    assert done.code == 0
    assert re.search(r"notice +process \d+ .* has the store open", done.out)


@pytest.mark.parametrize("verb", [["log", "verify"], ["check"]], ids=" ".join)
def test_a_store_that_is_written_meanwhile_is_never_called_damaged(run, location, verb):
    program = f"""
        import sessiondb, threading
        db = sessiondb.open({location!r}, checkpoint_records=300)
        t = db.table("records")
        t["first"] = 0
        print("open", flush=True)
        n = 0
        while True:
            t.put(f"k{{n % 100}}", {{"n": n}}, sync="never")
            n += 1
    """
    writing = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE)
    with writing:
        try:
            assert writing.stdout is not None
            writing.stdout.readline()
            outcomes = [run(*verb, "--db", location, "--json") for _ in range(20)]
        finally:
            writing.kill()
    assert {outcome.code for outcome in outcomes} <= {0, 3}, outcomes
    assert any(outcome.code == 0 for outcome in outcomes)
    assert all(json.loads(outcome.out)["fine"] for outcome in outcomes if outcome.code == 0)


def test_damage_is_found_also_while_the_store_is_open_elsewhere(run, tmp_path):
    path = str(tmp_path / "w.json")
    program = f"""
        import sessiondb, sys
        t = sessiondb.open({path!r}).table("records")
        for n in range(10): t[f"k{{n}}"] = n
        print("open", flush=True)
        sys.stdin.read()
    """
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            change_byte(segment_of(path), 170)
            assert run("log", "verify", "--db", path).code == 1
        finally:
            holder.kill()
