"""The bytes on disk, held still: stores made once and kept for every release.

``tests/golden/v1/STATE/store`` is a store as today's format version writes it, ``expected.json`` is what a reader
must find in it, ``annotated`` has every file as text, with each field's offset, bytes, name and value.

To write them anew after a deliberate change of the bytes::

    SESSIONDB_REGENERATE_GOLDEN=1 pytest tests/golden

A released version's folder is never written again: a change of the bytes then takes a new format version, a new
folder, and a reader that still reads the old one.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

import sessiondb
from golden.annotate import annotate
from golden.states import STATES, STORE, Expected, GoldenFiles, build
from sessiondb.wal.format import FORMAT_VERSION
from sessiondb_backends.json_format import FORMAT_VERSION as JSON_FORMAT_VERSION

HERE = Path(__file__).parent
VERSION = f"v{FORMAT_VERSION}"
REGENERATE = os.environ.get("SESSIONDB_REGENERATE_GOLDEN") == "1"

every_golden_store = pytest.mark.parametrize(
    "folder", [pytest.param(path, id=f"{path.parent.name}/{path.name}") for path in sorted(HERE.glob("v*/*"))]
)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def expected_of(folder: Path) -> Expected:
    return msgspec.json.decode((folder / "expected.json").read_bytes(), type=Expected)


def plain(table: sessiondb.Table[Any], kind: str) -> dict[str, Any]:
    return {key: record.hex() if kind == "bytes" else record for key, record in table.items()}


@pytest.mark.parametrize("name", STATES)
def test_todays_writer_writes_exactly_these_bytes(name: str, tmp_path: Path) -> None:
    build(name, tmp_path / "store")
    written = contents(tmp_path / "store")
    folder = HERE / VERSION / name
    if REGENERATE:
        regenerate(folder, tmp_path / "store", STATES[name][1])
    assert contents(folder / "store") == written
    assert expected_of(folder) == STATES[name][1]


def regenerate(folder: Path, made: Path, expected: Expected) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made, folder / "store")
    text = msgspec.json.format(msgspec.json.encode(expected), indent=2)
    (folder / "expected.json").write_bytes(text + b"\n")
    for path in sorted((folder / "store").rglob("*")):
        if path.is_file() and path.stat().st_size:
            note = folder / "annotated" / f"{path.name}.txt"
            note.parent.mkdir(exist_ok=True)
            note.write_text(annotate(path), encoding="utf-8")


@every_golden_store
def test_todays_reader_finds_exactly_these_records(folder: Path, tmp_path: Path) -> None:
    """Without changing a byte, and then for good."""
    expected = expected_of(folder)
    shutil.copytree(folder / "store", tmp_path / "store")
    location = tmp_path / "store" / STORE
    before = contents(tmp_path / "store")
    for read_only in (True, False):
        with sessiondb.open(location, read_only=read_only, files=GoldenFiles()) as db:
            report = db.recovery_report
            found = {
                name: plain(db.table(name, bytes if kind == "bytes" else Any), kind)
                for name, kind in db.tables().items()
            }
        assert found == expected.tables
        assert repr(found) == repr(expected.tables), "also in the order and the types of all values"
        assert (report.applied_lsn, report.last_lsn) == (expected.applied_lsn, expected.last_lsn)
        assert (report.torn_tail.bytes if report.torn_tail else 0) == expected.torn_bytes
        assert report.undurable_lost == expected.undurable_lost
        if read_only:
            assert contents(tmp_path / "store") == before
        else:
            assert report.epoch == expected.epoch
    with sessiondb.open(location, files=GoldenFiles()) as db:
        assert db.recovery_report.clean
        assert db.position() == sessiondb.Position(expected.epoch, expected.last_lsn)


@every_golden_store
def test_every_file_has_its_annotated_text(folder: Path) -> None:
    files = {path.name: path for path in (folder / "store").rglob("*") if path.is_file() and path.stat().st_size}
    notes = {
        path.name.removesuffix(".txt"): path.read_text(encoding="utf-8") for path in (folder / "annotated").iterdir()
    }
    assert notes == {name: annotate(path) for name, path in files.items()}


def test_log_and_json_file_have_one_version_number_for_the_golden_folder() -> None:
    """When one of them moves on, the folder's name has to say both."""
    assert FORMAT_VERSION == JSON_FORMAT_VERSION == 1
    assert {path.name for path in HERE.glob("v*")} == {"v1"}
    assert {path.name for path in (HERE / VERSION).iterdir()} == set(STATES)
