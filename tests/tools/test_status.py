"""`sessiondb status`: of a store that is fine, was killed, is damaged, is open elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

from .conftest import change_byte, frames_of, segment_of, tear


def test_the_status_of_a_store_that_was_closed(run, store):
    done = run("status", "--db", store)
    assert done.code == 0
    size = Path(store).stat().st_size
    assert done.out == (
        f"location    {store}\n"
        f"backend     json, format 1, {size} bytes\n"
        "state       ready\n"
        "records     4 records in 2 tables\n"
        "            blobs: 1 record (bytes)\n"
        "            records: 3 records (json)\n"
        "position    epoch 1, last LSN 2, durable 2, applied 2\n"
        "log         1 segment, 128 bytes on disk; 0 changes (0 bytes) not in the backend yet\n"
        "recovery    the store was closed cleanly\n"
        "checkpoint  last error: none known\n"
        "quarantine  empty\n"
    )


def test_the_status_as_json(run, store):
    found = run("status", "--db", store, "--json").json
    assert found["location"] == store
    assert found["backend"] == "json"
    assert found["format"] == 1
    assert re.fullmatch("[0-9a-f]{32}", found["uuid"])
    assert found["state"] == "ready"
    assert found["records"] == 4
    assert found["tables"]["records"] == {"kind": "json", "records": 3, "indexes": []}
    assert (found["epoch"], found["last_lsn"], found["durable_lsn"], found["applied_lsn"]) == (1, 2, 2, 2)
    assert found["log"] == {"segments": 1, "disk_bytes": 128, "bytes": 0, "records": 0}
    assert found["recovery"]["clean"] is True
    assert found["last_checkpoint_error"] is None
    assert found["quarantine"] == []


def test_the_status_of_a_store_whose_writer_was_killed(run, killed_store):
    done = run("status", "--db", killed_store)
    assert done.code == 0
    assert "records: 10 records (json)" in done.out
    assert "position    epoch 1, last LSN 10, durable 10, applied 0\n" in done.out
    assert "10 changes (260 bytes) not in the backend yet" in done.out
    assert "recovery    10 transactions to replay, up to LSN 10\n" in done.out


def test_a_torn_tail_is_shown_before_and_its_copy_after_it_was_cut(run, killed_store):
    tear(killed_store)
    before = run("status", "--db", killed_store)
    assert before.code == 0
    assert "a torn tail of" in before.out
    assert "quarantine  empty" in before.out
    run("put", "x", "1", "--db", killed_store)
    after = run("status", "--db", killed_store)
    assert re.search(r"quarantine +/.*/quarantine/.*\.torn \(\d+ bytes\)", after.out)
    (file,) = run("status", "--db", killed_store, "--json").json["quarantine"]
    assert file["bytes"] == Path(file["path"]).stat().st_size


def test_the_status_of_a_damaged_store_tells_what_it_can(run, killed_store):
    frames = frames_of(run, killed_store)
    change_byte(segment_of(killed_store), frames[3]["offset"] + 42)
    done = run("status", "--db", killed_store)
    assert done.code == 1
    assert "state       damaged\n" in done.out
    assert "by HEAD, a hint: epoch 1, last LSN 10, durable 10, applied 0" in done.out
    assert "problem     the log is damaged" in done.out
    assert done.err.startswith("sessiondb status: the log is damaged")
    assert run("status", "--db", killed_store, "--json").json["state"] == "damaged"


def test_the_status_of_a_store_whose_file_is_damaged_tells_what_it_can(run, store):
    path = Path(store)
    path.write_bytes(path.read_bytes().replace(b'"text"', b'"tExt"'))
    done = run("status", "--db", store)
    assert done.code == 1
    assert "format unknown" in done.out
    assert "1 segment, 128 bytes on disk" in done.out


def test_the_status_of_a_busy_store_names_the_holder_and_tells_what_it_can(run, busy_store):
    done = run("status", "--db", busy_store)
    assert done.code == 3
    assert re.search(r"state +busy: process \d+ \(-c\) has it open since 20\d\d-", done.out)
    assert "records     4 records in 2 tables, as of the last checkpoint\n" in done.out
    assert "by HEAD, a hint: epoch 1, last LSN 3, durable 3, applied 2\n" in done.out
    assert "1 change (" in done.out
    assert re.match(r"sessiondb status: the store is open elsewhere: process \d+", done.err)
    found = run("status", "--db", busy_store, "--json")
    assert found.code == 3
    assert found.json["state"] == "busy"
    assert found.json["holder"]["pid"] > 0


def test_the_status_of_a_store_without_its_file_is_damage(run, killed_store):
    Path(killed_store).unlink()
    done = run("status", "--db", killed_store)
    assert done.code == 1
    assert "missing, but its log is there" in done.err
    assert "last LSN 10, durable 10" in done.out


def test_the_status_of_a_store_whose_file_is_another_one_is_damage(run, killed_store):
    Path(killed_store).write_text("[]")
    done = run("status", "--db", killed_store)
    assert done.code == 1
    assert "found a JSON file of another program" in done.err
    assert "state       damaged" in done.out
