"""The README's comparison with other stores: checked against the versions it names, where they are installed."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from docs.pages import ROOT

README = (ROOT / "README.md").read_text("utf-8")


def needs(distribution: str) -> None:
    """Skip unless the version that the README speaks of is here."""
    named = re.search(rf"^\| `{distribution}` ([0-9.]+) \|", README, re.MULTILINE | re.IGNORECASE)
    assert named is not None, distribution
    try:
        installed = version(distribution)
    except PackageNotFoundError:
        pytest.skip(f"{distribution} is not installed")
    if installed != named[1]:
        pytest.skip(f"the README speaks of {distribution} {named[1]}, here is {installed}")


class Own:
    pass


def test_shelve_pickles(tmp_path: Path) -> None:
    import pickle
    import shelve

    with shelve.open(str(tmp_path / "x")) as shelf:
        shelf["a"] = Own()
        assert isinstance(pickle.loads(shelf.dict[b"a"]), Own)


def test_sqlitedict_pickles_and_turns_syncing_off() -> None:
    needs("sqlitedict")
    import sqlitedict

    assert sqlitedict.SqliteDict.__init__.__kwdefaults__ is None
    parameters = inspect.signature(sqlitedict.SqliteDict.__init__).parameters
    assert parameters["encode"].default is sqlitedict.encode
    assert "dumps(obj, protocol=PICKLE_PROTOCOL)" in inspect.getsource(sqlitedict.encode)
    assert "PRAGMA synchronous=OFF" in inspect.getsource(sqlitedict)


def test_diskcache_pickles_and_uses_wal_with_normal(tmp_path: Path) -> None:
    needs("diskcache")
    import diskcache
    from diskcache.core import DEFAULT_SETTINGS, MODE_PICKLE, MODE_RAW

    assert DEFAULT_SETTINGS["sqlite_journal_mode"] == "wal"
    assert DEFAULT_SETTINGS["sqlite_synchronous"] == 1  # NORMAL
    disk = diskcache.Disk(str(tmp_path), min_file_size=1 << 15)
    for value in ("text", b"bytes", 1, 1.5):
        assert disk.store(value, False)[1] == MODE_RAW
    for value in ({"a": 1}, [1], None, Own()):
        assert disk.store(value, False)[1] == MODE_PICKLE


def test_tinydb_overwrites_its_file_in_place(tmp_path: Path) -> None:
    needs("tinydb")
    import tinydb

    path = tmp_path / "x.json"
    with tinydb.TinyDB(path) as db:
        db.insert({"n": 1})
        first = path.stat().st_ino
        db.insert({"n": 2})
        assert path.stat().st_ino == first
        assert len(re.findall('"n"', path.read_text())) == 2
