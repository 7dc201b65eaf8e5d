"""Fixtures for tests of the engine: a disk that does not wait, and a store on it."""

import os
from pathlib import Path

import pytest

import sessiondb
from sessiondb.testing import FaultyFiles


@pytest.fixture
def files():
    """A disk whose syncs return at once, and which counts them."""
    return FaultyFiles()


@pytest.fixture
def path(tmp_path):
    """Where a store may go; nothing is there."""
    return tmp_path / "x.json"


@pytest.fixture
def open_db(path, files):
    """Opens the store at `path` with the given options; what is still open after the test is closed."""
    opened = []

    def open_it(**options):
        db = sessiondb.open(path, files=files, **options)
        opened.append(db)
        return db

    yield open_it
    files.before = files.after = None
    for db in opened:
        db.close()


@pytest.fixture
def db(open_db):
    """A new, open store."""
    return open_db()


@pytest.fixture
def all_bytes(tmp_path):
    """Every file's bytes now, by path, but for OPEN: it says who looked last."""

    def read():
        names = (file for file in sorted(Path(tmp_path).rglob("*")) if file.is_file() and file.name != "OPEN")
        return {str(file): file.read_bytes() for file in names}

    return read


@pytest.fixture
def settings_world(tmp_path, monkeypatch):
    """No settings at all: the user's folders are in `tmp_path`, and the environment says nothing."""
    for name in [name for name in os.environ if name.startswith("SESSIONDB_")]:
        monkeypatch.delenv(name)
    for name, folder in {"HOME": "home", "XDG_CONFIG_HOME": "config", "XDG_STATE_HOME": "state"}.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path
