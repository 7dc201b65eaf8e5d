"""The record cache: never a record that is not the newest, never more than its budget."""

from __future__ import annotations

import sys
import threading
import time

import pytest

import sessiondb
from sessiondb.backend import TableChanges
from sessiondb.cache import ENTRY_BYTES, RecordCache


def put(table, **images):
    return {table: TableChanges("json", False, images)}


def test_what_was_read_is_found_again_and_counted():
    cache = RecordCache(100_000, 5)
    assert cache.get(5, "t", "a") is None
    cache.add(5, "t", "a", b"1")
    assert cache.get(5, "t", "a") == b"1"
    assert (cache.hits, cache.misses) == (1, 1)
    assert cache.get(5, "u", "a") is None


def test_a_checkpoint_takes_out_what_it_changed_and_keeps_the_rest():
    cache = RecordCache(100_000, 5)
    for key in ("a", "b", "c"):
        cache.add(5, "t", key, b"1")
    cache.advance(7, put("t", a=b"2", b=None))
    assert cache.get(7, "t", "a") is None
    assert cache.get(7, "t", "b") is None
    assert cache.get(7, "t", "c") == b"1"


def test_a_reader_of_an_older_view_neither_finds_nor_adds():
    cache = RecordCache(100_000, 5)
    cache.advance(7, put("t", a=b"2"))
    cache.add(5, "t", "a", b"1")  # read before the checkpoint, remembered behind it
    assert cache.get(7, "t", "a") is None
    cache.add(7, "t", "a", b"2")
    assert cache.get(5, "t", "a") is None
    assert cache.get(7, "t", "a") == b"2"


def test_a_dropped_table_is_forgotten():
    cache = RecordCache(100_000, 5)
    cache.add(5, "t", "a", b"1")
    cache.add(5, "u", "a", b"1")
    cache.advance(6, {"t": TableChanges(None, True, {})})
    assert cache.get(6, "t", "a") is None
    assert cache.get(6, "u", "a") == b"1"


def test_the_least_recently_used_goes_first_and_the_budget_holds():
    budget = 20 * (ENTRY_BYTES + 2)
    cache = RecordCache(budget, 1)
    for number in range(100):
        cache.add(1, "t", chr(48 + number), b"1")
        cache.get(1, "t", "0")
        assert cache.bytes <= budget
    assert cache.get(1, "t", "0") == b"1"
    assert cache.get(1, "t", "1") is None
    assert cache.bytes == budget


def test_a_record_of_more_than_a_sixteenth_of_the_budget_is_not_kept():
    cache = RecordCache(16_000, 1)
    cache.add(1, "t", "a", b"x" * 1_001)
    assert cache.bytes == 0


def test_readers_and_a_checkpoint_at_the_same_time_never_mix_two_states():
    """Every checkpoint changes every record to its own LSN: whoever finds another number has seen another state."""
    keys = [f"k{number:02}" for number in range(24)]
    cache = RecordCache(18 * (ENTRY_BYTES + 7), 0)  # some are always thrown out
    wrong: list[tuple[int, bytes]] = []
    now = [0]
    done = threading.Event()

    def read():
        while not done.is_set():
            lsn = now[0]
            for key in keys:
                image = cache.get(lsn, "t", key)
                if image is None:
                    cache.add(lsn, "t", key, b"%d" % lsn)
                elif image != b"%d" % lsn:
                    wrong.append((lsn, image))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    readers = [threading.Thread(target=read) for _ in range(3)]
    try:
        for reader in readers:
            reader.start()
        for lsn in range(1, 1500):
            cache.advance(lsn, put("t", **dict.fromkeys(keys, b"%d" % lsn)))
            now[0] = lsn
        until = time.monotonic() + 60
        while not cache.hits and time.monotonic() < until:
            time.sleep(0.001)
    finally:
        done.set()
        for reader in readers:
            reader.join(60)
        sys.setswitchinterval(interval)
    assert wrong == []
    assert cache.hits > 0
    assert cache.bytes <= cache.bytes_max


def test_bytes_are_counted_out_again():
    cache = RecordCache(100_000, 1)
    for number in range(50):
        cache.add(1, "t", f"k{number}", b"x" * number)
    cache.advance(2, put("t", **dict.fromkeys(f"k{number}" for number in range(50))))
    assert cache.bytes == 0


@pytest.fixture
def cached(tmp_path):
    with sessiondb.open(tmp_path / "x.db") as db:
        yield db


def test_a_second_read_is_a_hit_and_a_write_is_seen_at_once(cached):
    t = cached.table("t")
    t["a"] = {"n": 1}
    t["b"] = {"n": 1}
    cached.checkpoint()
    for _ in range(3):
        assert t["a"] == {"n": 1}
    assert (cached.stats().cache_hits, cached.stats().cache_misses) == (2, 1)
    t["a"] = {"n": 2}
    assert t["a"] == {"n": 2}
    cached.checkpoint()
    assert t["a"] == {"n": 2}
    del t["a"]
    cached.checkpoint()
    assert "a" not in t
    assert t.get_many(["a", "b"]) == {"b": {"n": 1}}


def test_no_two_callers_share_an_object(cached):
    t = cached.table("t")
    t["a"] = {"list": [1]}
    cached.checkpoint()
    first = t["a"]
    first["list"].append(2)
    assert t["a"] == {"list": [1]}
    assert t.get_many(["a"])["a"] == {"list": [1]}


def test_a_budget_of_nothing_is_no_cache(tmp_path):
    with sessiondb.open(tmp_path / "x.db", cache_bytes=0) as db:
        t = db.table("t")
        t["a"] = 1
        db.checkpoint()
        assert t["a"] == t["a"] == 1
        assert db.stats().cache_hits == db.stats().cache_misses == db.stats().cache_bytes == 0


def test_a_pinned_scan_of_an_older_state_does_not_see_the_cache(cached):
    t = cached.table("t")
    t["a"] = 1
    cached.checkpoint()
    with cached._open.pin() as view:
        t["a"] = 2
        cached.checkpoint()
        assert t["a"] == t["a"] == 2
        assert view.get("t", "a") == b"1"
        assert view.get_many("t", ["a"]) == {"a": b"1"}
