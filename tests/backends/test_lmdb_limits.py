"""The LMDB backend when there is too little room, or no driver."""

import ctypes
import errno
import os
import resource
import sys
from contextlib import contextmanager

import pytest

import sessiondb
from lmdb_stores import in_child, put_bytes, run
from sessiondb.backend import Position
from sessiondb.errors import BackendError, ConfigError
from sessiondb.testing import FaultyFiles
from sessiondb_backends import lmdb_env
from sessiondb_backends.lmdb import LmdbBackend

FILES = FaultyFiles()


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "x.lmdb")


@pytest.fixture
def backend(path):
    opened = LmdbBackend.open(FILES, path, create=True)
    yield opened
    opened.close()


# ---- too little room


def test_a_full_map_leaves_the_old_state_and_is_no_end(path, monkeypatch):
    backend = LmdbBackend.open(FILES, path, create=True)
    put_bytes(backend, {"a": b"1"}).close()
    backend.close()
    monkeypatch.setattr(lmdb_env, "MAP_BYTES", (1 << 20,))
    backend = LmdbBackend.open(FILES, path, create=False)
    with pytest.raises(BackendError, match="address space"):
        put_bytes(backend, {f"{n}": bytes(10_000) for n in range(200)})
    assert (backend.position(), dict(backend.read().scan("t"))) == (Position(1, 1), {"a": b"1"})
    put_bytes(backend, {"b": b"2"}).close()
    backend.close()
    monkeypatch.undo()
    backend = LmdbBackend.open(FILES, path, create=False)
    assert put_bytes(backend, {f"{n}": bytes(10_000) for n in range(200)}).count("t") == 202
    assert backend.check() == []
    backend.close()


def test_a_small_address_space_gets_a_smaller_map(path):
    backend = LmdbBackend.open(FILES, path, create=True)
    put_bytes(backend, {"a": b"1"}).close()
    backend.close()

    def open_it(limit):
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        mine = LmdbBackend.open(FILES, path, create=False)
        return mine._environment.env.info()["map_size"], put_bytes(mine, {"b": b"2"}).get("t", "a")

    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    assert in_child(lambda: open_it(used + (1 << 37))) == str((1 << 36, b"1"))
    assert in_child(lambda: open_it(used + (1 << 33))) == str((1 << 32, b"1"))
    assert "LMDB cannot open the environment" in in_child(lambda: open_it(used + (1 << 25)))


@contextmanager
def small_disk(folder, size):
    """A file system of its own; skips where none can be mounted."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() or libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=%d" % size):
        pytest.skip(f"no file system can be mounted here: {errno.errorcode.get(ctypes.get_errno(), 'not root')}")
    try:
        yield
    finally:
        libc.umount2(os.fsencode(folder), 2)


def test_a_full_disk_leaves_the_old_state_and_is_no_end(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, 4 << 20):
        backend = LmdbBackend.open(FILES, str(folder / "x.lmdb"), create=True)
        put_bytes(backend, {"a": b"1"}).close()
        for _ in range(3):
            with pytest.raises(BackendError, match=r"No space left|failing or full"):
                put_bytes(backend, {f"{n}": bytes(100_000) for n in range(60)})
            assert (backend.position(), dict(backend.read().scan("t"))) == (Position(1, 1), {"a": b"1"})
        assert backend.check() == []
        put_bytes(backend, {"b": b"2"}).close()
        backend.close()
        backend = LmdbBackend.open(FILES, str(folder / "x.lmdb"), create=False)
        assert dict(backend.read().scan("t")) == {"a": b"1", "b": b"2"}
        assert backend.check() == []
        backend.close()


def test_a_disk_without_room_for_a_new_store_says_so_and_gets_one_later(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, 64 << 10):
        path = str(folder / "x.lmdb")
        (folder / "ballast").write_bytes(bytes(60 << 10))
        with pytest.raises(BackendError, match=r"No space left|failing or full"):
            LmdbBackend.open(FILES, path, create=True)
        assert LmdbBackend.exists(FILES, path) is False
        (folder / "ballast").unlink()
        LmdbBackend.open(FILES, path, create=True).close()


# ---- the driver


def test_the_driver_is_imported_only_when_a_store_is_used():
    code = "import sys, sessiondb_backends.lmdb; print('lmdb' in sys.modules)"
    assert run(code) == "False\n"


def test_without_the_driver_the_error_says_what_to_install_and_nothing_is_made(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(ConfigError, match=r'next: pip install "sessiondb\[lmdb\]"'):
        sessiondb.open(path, files=FILES)
    assert not os.path.exists(path)


def test_an_old_driver_is_refused(path, monkeypatch):
    import lmdb

    monkeypatch.setattr(lmdb, "__version__", "1.6.2")
    with pytest.raises(ConfigError, match=r'needs lmdb 3.0 or later, found 1.6.2; next: pip install -U "sessiondb'):
        sessiondb.open(path, files=FILES)
    assert not os.path.exists(path)
