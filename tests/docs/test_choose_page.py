"""What the how-to on backends and the page on locations say of files is true. Tests quote the words they prove."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from itertools import cycle
from pathlib import Path

import pytest

import sessiondb
from docs.pages import ROOT

TEXT = re.sub(r"\s+", " ", (ROOT / "docs" / "how-to" / "choose-a-backend.md").read_text("utf-8"))
LOCATIONS = (ROOT / "docs" / "reference" / "locations.md").read_text("utf-8")
KEEPING = ["x.json", "x.db", "x.lmdb"]


def says(words: str) -> None:
    assert words in TEXT, "the page does not say this any more: change this test with it"


def names() -> list[str]:
    return [path.as_posix() for path in sorted(Path().rglob("*")) if path.is_file()]


def files() -> dict[str, bytes]:
    """Not while a store is open: reading its files would take SQLite's and LMDB's locks away."""
    return {name: Path(name).read_bytes() for name in names()}


def size(path: str) -> int:
    return Path(path).stat().st_size


@pytest.mark.parametrize("location", KEEPING)
def test_a_store_has_the_files_that_the_page_names(location: str, empty_folder: Path) -> None:
    with sessiondb.open(location) as db:
        db.table("t")["a"] = 1
        db.checkpoint()
        found = {re.sub(r"[0-9a-f-]{25}\.seg", "*.seg", path) for path in names()}
    named = {name for row in re.findall(r"^\| (`x\..*?) \|", LOCATIONS, re.MULTILINE) for name in row.split("`")[1::2]}
    named |= {"x.json.wal/CKPT", "x.json.wal/LOCK"}  # shown without their folder
    for path in found:
        log = re.sub(r"^x\.(db\.wal|lmdb/wal)/", "x.json.wal/", path)  # "the same files as that of a JSON store"
        assert log in named, path


@pytest.mark.parametrize("location", KEEPING)
def test_reading_only_changes_and_creates_nothing(location: str, empty_folder: Path) -> None:
    says("`read_only=True` changes nothing and creates nothing, on all three, also after a crash.")
    program = f"""
import os, sessiondb
db = sessiondb.open({location!r})
table = db.table("t", indexes=["n"])
table["a"] = {{"n": 1}}
db.checkpoint()
unread = table.find({{"n": 1}})
table["b"] = {{"n": 1}}
db.checkpoint()
table["c"] = {{"n": 1}}
os.kill(os.getpid(), {signal.SIGKILL:d})
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == -signal.SIGKILL
    before = files()
    with sessiondb.open(location, read_only=True) as db:
        assert [key for key, _ in db.table("t").find({"n": 1})] == ["a", "b", "c"]
        assert db.check() == []
        assert names() == list(before)
    assert files() == before


@pytest.mark.parametrize(("location", "file"), [("x.db", "x.db-wal"), ("x.lmdb", "x.lmdb/data.mdb")])
def test_a_long_read_takes_disk_space(location: str, file: str, empty_folder: Path) -> None:
    says("**A long read takes disk space.**")
    letters = cycle("abc")

    def write() -> int:
        for _ in range(5):
            letter = next(letters)  # the same bytes again would change no page
            table.put_many({str(number): letter * 1000 for number in range(200)})
            db.checkpoint()
        return size(file)

    with sessiondb.open(location) as db:
        table = db.table("t")
        write()
        normal = write()
        found = table.find()
        next(found)
        assert write() > normal + 500_000
        del found
        write()
        if location == "x.db":
            says("SQLite's is given back by the next checkpoint after the read.")
            assert size(file) <= normal


@pytest.mark.parametrize(("location", "file"), [("x.json", "x.json"), ("x.db", "x.db"), ("x.lmdb", "x.lmdb/data.mdb")])
def test_only_the_json_file_shrinks_and_the_others_use_their_free_pages(
    location: str, file: str, empty_folder: Path
) -> None:
    says("| the file shrinks | at every checkpoint | no: free pages are used again | no: free pages are used again |")
    records = {str(number): "x" * 1000 for number in range(2000)}
    with sessiondb.open(location) as db:
        table = db.table("t")
        table.put_many(records)
        db.checkpoint()
        table.clear()
        db.checkpoint()
    emptied = size(file)
    assert (emptied < 1_000) == (location == "x.json")
    if location != "x.json":
        with sessiondb.open(location) as db:
            for _ in range(3):
                db.table("t").put_many(records)
                db.checkpoint()
                db.table("t").clear()
                db.checkpoint()
        assert size(file) < 2.5 * emptied


def test_without_its_package_lmdb_is_a_config_error_with_the_pip_line(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = re.sub(r"\s+", " ", (ROOT / "docs" / "reference" / "errors.md").read_text("utf-8"))
    assert "an LMDB location without the package `lmdb`" in errors
    says('Needs `pip install "sessiondb[lmdb]"`.')
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(sessiondb.ConfigError, match=r'pip install "sessiondb\[lmdb\]"'):
        sessiondb.open("x.lmdb")
    assert files() == {}
