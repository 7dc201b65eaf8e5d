"""The memory backend keeps the contract of backends; what outlives a process is skipped."""

import pytest

import sessiondb
from sessiondb.testing import BackendContract, TableContract
from sessiondb_backends.memory import MemoryBackend


class TestMemoryBackend(BackendContract):
    backend_class = MemoryBackend


class TestMemoryTables(TableContract):
    url = "memory:"
    durable = False


def test_every_open_makes_a_database_of_its_own():
    with sessiondb.open("memory:") as one, sessiondb.open("memory:") as other:
        one.table("t")["a"] = 1
        assert other.tables() == {}


def test_memory_takes_no_path():
    with pytest.raises(sessiondb.UsageError, match="takes no path"):
        sessiondb.open("memory:///x")


def test_memory_cannot_be_opened_read_only():
    with pytest.raises(sessiondb.UsageError, match="keeps nothing"):
        sessiondb.open("memory:", read_only=True)


def test_a_checkpoint_moves_records_into_the_backend():
    with sessiondb.open("memory:") as db:
        db.table("t")["a"] = {"n": 1}
        db.checkpoint()
        stats = db.stats()
        assert (stats.applied_lsn, stats.log_bytes, stats.log_segments) == (1, 0, 0)
        assert db.table("t")["a"] == {"n": 1}
