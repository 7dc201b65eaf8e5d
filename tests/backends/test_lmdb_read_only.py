"""A store in LMDB that is opened read-only: nothing is changed, and nothing is read that a writer may overwrite."""

import os
import threading
from pathlib import Path

import pytest

from lmdb_stores import put_json
from sessiondb.backend import Position
from sessiondb.errors import BackendError, ClosedError, ReadOnlyError
from sessiondb.testing import FaultyFiles
from sessiondb.testing.backend_under_test import no_pause
from sessiondb_backends.lmdb import LmdbBackend


def folder_state(path):
    """Every file's bytes and times."""
    files = sorted(file for file in Path(path).rglob("*") if file.is_file())
    return {str(file): (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.lmdb"


@pytest.fixture
def files():
    return FaultyFiles()


@pytest.fixture
def backend(path, files):
    opened = LmdbBackend.open(files, str(path), create=True)
    yield opened
    opened.close()


def test_opening_read_only_changes_and_syncs_nothing(backend, path):
    put_json(backend, a=b"1").close()
    backend.close()
    (path / "lock.mdb").unlink()
    before = folder_state(path)
    files = FaultyFiles()
    opened = LmdbBackend.open(files, str(path), create=False, read_only=True)
    assert dict(opened.read().scan("t")) == {"a": b"1"}
    assert opened.check() == []
    with pytest.raises(ReadOnlyError):
        opened.apply({}, Position(1, 1), Position(1, 2), no_pause)
    opened.close()
    assert folder_state(path) == before
    assert set(files.counts) <= {"open", "pread", "names"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_can_be_opened_read_only(backend, path):
    put_json(backend, a=b"1").close()
    backend.close()
    (path / "lock.mdb").unlink()
    path.chmod(0o500)
    (path / "data.mdb").chmod(0o400)
    try:
        opened = LmdbBackend.open(FaultyFiles(), str(path), create=False, read_only=True)
        assert opened.read().get("t", "a") == b"1"
        opened.close()
    finally:
        path.chmod(0o700)


def test_views_of_a_store_opened_read_only_end_with_it(backend, path, files):
    """Without LMDB's lock file nothing would keep the next writer from the pages that they read."""
    put_json(backend, a=b"1", b=b"2").close()
    backend.close()
    opened = LmdbBackend.open(files, str(path), create=False, read_only=True)
    view = opened.read()
    scan = view.scan("t")
    assert next(scan) == ("a", b"1")
    view.get("t", "a")
    opened.close()
    for read in (lambda: view.get("t", "a"), lambda: view.count("t"), lambda: list(view.scan("t"))):
        with pytest.raises(ClosedError, match="after its end"):
            read()
    writer = LmdbBackend.open(files, str(path), create=False)
    put_json(writer, a=b"3").close()
    writer.close()


def test_a_read_that_a_close_overtakes_says_that_it_is_closed(backend, path, files):
    put_json(backend, **{f"{n}": b"%d" % n for n in range(100)}).close()
    backend.close()
    for _ in range(20):
        opened = LmdbBackend.open(files, str(path), create=False, read_only=True)
        view, ready = opened.read(), threading.Barrier(4)
        ended = []

        def read(view=view, ready=ready, ended=ended):
            ready.wait()
            try:
                while True:
                    assert view.get("t", "7") == b"7"
                    assert len(list(view.scan("t"))) == 100
            except ClosedError:
                ended.append(True)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        ready.wait()
        opened.close()
        for thread in threads:
            thread.join()
        assert ended == [True] * 3


def test_a_store_that_is_open_read_only_here_is_not_opened_for_writing(backend, path, files):
    backend.close()
    reader = LmdbBackend.open(files, str(path), create=False, read_only=True)
    with pytest.raises(BackendError, match="read-only in this process"):
        LmdbBackend.open(files, str(path), create=False)
    reader.close()
    LmdbBackend.open(files, str(path), create=False).close()
