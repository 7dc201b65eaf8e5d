"""What the whole-system figures count is what was written and synced."""

import os
import sys

import pytest

import sessiondb
from sessiondb_bench.records import key_of, session_record
from sessiondb_bench.system.child import run_in_child
from sessiondb_bench.system.counting import CountingFiles, allocated, kind_of, resident, written_by_process
from sessiondb_bench.system.disk import amplification, idle
from sessiondb_bench.system.memory import fill, read_store, weigh_memtable
from sessiondb_bench.system.plan import NO_CHECKPOINTS

linux = pytest.mark.skipif(sys.platform != "linux", reason="counted by /proc")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("00000001-0000000000000001.seg", "log"), ("HEAD", "head"), ("OPEN", "lock"), ("CKPT", "lock"), ("LOCK", "lock"),
     ("x.json", "store"), ("data.mdb", "store")],
)  # fmt: skip
def test_a_file_is_counted_as_what_it_is_for(name, kind):
    assert kind_of(f"/some/x.json.wal/{name}") == kind


def test_bytes_and_syncs_are_counted_by_kind_of_file(tmp_path):
    files = CountingFiles()
    for name, bytes_written, syncs in (("a.seg", 100, 2), ("b.seg", 11, 0), ("x.json", 7, 1)):
        file = files.open(f"{tmp_path}/{name}", create=True)
        file.pwrite(bytes(bytes_written), 5)
        for _ in range(syncs):
            file.fdatasync()
        file.fsync()
        file.close()
    files.sync_folder(str(tmp_path))
    assert files.written == {"log": 111, "store": 7}
    assert files.syncs == {"log": 4, "store": 2, "folder": 1}


def test_space_is_what_the_disk_gives_and_not_the_size_of_a_hole(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.seg").write_bytes(b"x" * 5000)
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 30)
    sizes = allocated(str(tmp_path))
    assert 5000 <= sizes["log"] <= 64 * 1024
    assert sizes["store"] < 64 * 1024


@linux
def test_the_kernel_counts_what_this_process_writes(tmp_path):
    before = written_by_process()
    (tmp_path / "x").write_bytes(bytes(100_000))
    assert written_by_process() - before >= 100_000
    found = resident()
    assert 0 < found.own <= found.peak


def _log_bytes(folder, count, record_bytes):
    """What a log of so many single puts holds, counted with the sizes of the format."""
    from sessiondb.wal.format import SEGMENT_HEADER_BYTES, frame_bytes
    from sessiondb.wal.operations import Put, encode_operations

    payload = len(encode_operations([Put("records", key_of(0), bytes(record_bytes))]))
    return SEGMENT_HEADER_BYTES + count * frame_bytes(payload)


def test_bytes_written_into_a_json_store_are_those_of_its_frames_and_files(tmp_path):
    """30 puts and one checkpoint at the end: the file when it was made, the file that replaced it, nothing else."""
    (tmp_path / "empty").mkdir()
    with sessiondb.open(f"{tmp_path}/empty/sessions.json", **NO_CHECKPOINTS):
        made = os.path.getsize(f"{tmp_path}/empty/sessions.json")
    folder = tmp_path / "full"
    folder.mkdir()
    location = f"{folder}/sessions.json"
    counts = amplification(location, str(folder), count=30, keys=10, every=30, record_bytes=300, sync="always")
    assert counts["commits"] == 30
    assert counts["user_bytes"] == 30 * (len(key_of(0)) + 300)
    assert counts["live_user_bytes"] <= 10 * (len(key_of(0)) + 300)
    assert counts["store_written_by_engine_bytes"] == made + os.path.getsize(location)
    frames = _log_bytes(folder, 30, 300)
    # Frames are written over zeros that were written before; then a seal, and the next segment's header.
    assert frames < counts["log_written_bytes"] < 4 * frames + 64 * 1024
    assert counts["log_bytes_per_user_byte"] == counts["log_written_bytes"] / counts["user_bytes"]
    assert counts["disk_bytes"] == allocated(str(folder)).total()
    with sessiondb.open(location, read_only=True) as database:
        assert database.stats().log_records == 0
        assert 0 < len(database.table("records")) <= 10


@linux
@pytest.mark.parametrize(("backend", "suffix"), [("sqlite", ".db"), ("lmdb", ".lmdb")])
def test_what_a_backend_writes_by_itself_is_counted_by_the_kernel(backend, suffix, tmp_path):
    counts = amplification(f"{tmp_path}/x{suffix}", str(tmp_path), count=60, keys=60, every=20, record_bytes=300,
                           sync="never")  # fmt: skip
    live = counts["live_user_bytes"]
    assert counts["backend_written_bytes"] >= live
    assert counts["all_written_bytes"] >= counts["log_written_bytes"] + counts["backend_written_bytes"]
    assert counts["write_amplification"] > counts["log_bytes_per_user_byte"]
    assert counts["disk_store_bytes"] >= live


def test_an_idle_store_takes_a_few_pages(tmp_path):
    counts = idle(f"{tmp_path}/sessions.json", str(tmp_path))
    assert counts["files"] == len([name for _, _, names in os.walk(tmp_path) for name in names])
    assert 0 < counts["closed_bytes"] <= counts["closed_with_one_record_bytes"] < 1 << 20


@linux
@pytest.mark.parametrize(("backend", "suffix"), [("json", ".json"), ("sqlite", ".db"), ("lmdb", ".lmdb")])
def test_memory_is_looked_at_while_every_record_is_read(backend, suffix, tmp_path):
    location = f"{tmp_path}/x{suffix}"
    assert fill(location, 50, 300)["backend_bytes"] >= 50 * 300
    counts = read_store(backend, location, 50, 20)
    assert counts["scanned_records"] == 50
    assert counts["peak_bytes"] >= counts["resident_bytes"] > 0


@linux
def test_a_memtable_weighs_at_least_what_it_holds(tmp_path):
    counts = run_in_child(weigh_memtable, location=f"{tmp_path}/x.json", count=3_000, record_bytes=300)
    assert counts["memtable_bytes"] == pytest.approx(3_000 * counts["memtable_bytes_per_record"])
    assert counts["memtable_bytes_per_record"] > 300


def test_the_workload_writes_records_of_the_size_that_it_says():
    import msgspec

    assert {len(msgspec.json.encode(session_record(number, 300))) for number in range(100)} == {300}
