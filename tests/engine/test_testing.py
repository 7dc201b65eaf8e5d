"""What `sessiondb.testing` offers to users of the library: the fixture and the faulty disk."""

import errno
import os

import pytest

import sessiondb
from sessiondb.testing import FaultyFiles
from sessiondb.testing.fixtures import sessiondb_store

__all__ = ["sessiondb_store"]


def test_the_fixture_is_an_empty_database_of_its_own(sessiondb_store, tmp_path):
    assert sessiondb_store.tables() == {}
    assert sessiondb_store.location.startswith(os.path.realpath(tmp_path))
    sessiondb_store.table("t")["a"] = {"n": 1}
    assert sessiondb_store.table("t")["a"] == {"n": 1}


def test_the_fixture_starts_anew_for_each_test(sessiondb_store):
    assert sessiondb_store.tables() == {}


def test_the_faulty_disk_counts_operations(path):
    files = FaultyFiles()
    with sessiondb.open(path, files=files) as db:
        before = files.counts.copy()
        db.table("t")["a"] = 1
        assert files.counts - before == {"pwrite": 2, "fdatasync": 1}  # zeros for growth, the frame


def test_the_faulty_disk_fails_on_demand_and_only_then(path):
    files = FaultyFiles()
    with files.failing("create", errno.EROFS, path=".json") as failed:
        with pytest.raises(sessiondb.StoreFailedError, match="Read-only file system"):
            sessiondb.open(path, files=files)
        assert failed
    sessiondb.open(path, files=files).close()


def test_the_faulty_disk_fails_at_a_number_once(path):
    files = FaultyFiles()
    with files.failing_at(2) as failed:
        assert files.names(str(path.parent)) == []
        with pytest.raises(OSError, match="Input/output error"):
            files.names(str(path.parent))
        assert files.names(str(path.parent)) == []
    assert failed == [str(path.parent)]
