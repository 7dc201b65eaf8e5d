"""The JSON file and its place: modes, links, leftovers, foreign files, full disks."""

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

import sessiondb
from later_version import make_later_version
from sessiondb.checkpoint import Checkpointer
from sessiondb.testing import FaultyFiles


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.json"


@pytest.fixture
def files():
    return FaultyFiles()


def mode(path):
    return Path(path).stat().st_mode & 0o777


def folder_bytes(folder):
    return {str(file): file.read_bytes() for file in sorted(Path(folder).rglob("*")) if file.is_file()}


def put_and_checkpoint(path, files, value=1):
    with sessiondb.open(path, files=files) as db:
        db.table("t")["a"] = value


def test_everything_is_made_for_its_owner_only(path, files):
    old = os.umask(0)
    try:
        put_and_checkpoint(path, files)
    finally:
        os.umask(old)
    assert mode(path) == 0o600
    assert mode(f"{path}.wal") == 0o700
    assert {mode(file) for file in Path(f"{path}.wal").iterdir()} == {0o600}


@pytest.mark.parametrize("bits", [0o600, 0o640, 0o664, 0o666], ids=oct)
def test_the_mode_is_kept_when_the_file_is_replaced(path, files, bits):
    put_and_checkpoint(path, files)
    path.chmod(bits)
    inode = path.stat().st_ino
    put_and_checkpoint(path, files, 2)
    assert path.stat().st_ino != inode
    assert mode(path) == bits


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_owner_is_kept_when_the_file_is_replaced(path, files):
    put_and_checkpoint(path, files)
    os.chown(path, 12_345, 54_321)
    put_and_checkpoint(path, files, 2)
    assert (path.stat().st_uid, path.stat().st_gid) == (12_345, 54_321)
    assert mode(path) == 0o600


def test_an_owner_that_cannot_be_kept_does_not_stop_a_checkpoint(path, files, monkeypatch):
    put_and_checkpoint(path, files)
    monkeypatch.setattr(os, "geteuid", lambda: 4_242)
    with files.failing("set_owner", errno.EPERM) as failed:
        put_and_checkpoint(path, files, 2)
    assert failed
    with sessiondb.open(path, files=files) as db:
        assert db.table("t")["a"] == 2


def test_a_leftover_temporary_file_is_ignored_and_replaced(path, files):
    put_and_checkpoint(path, files)
    leftover = Path(f"{path}.tmp")
    leftover.write_bytes(path.read_bytes().replace(b'"a":1', b'"a":9'))
    with sessiondb.open(path, files=files) as db:
        assert db.table("t")["a"] == 1
        assert leftover.exists()
        db.table("t")["b"] = 2
    assert not leftover.exists()


def test_a_leftover_temporary_file_alone_is_no_store(path, files):
    Path(f"{path}.tmp").write_bytes(b"half")
    with pytest.raises(sessiondb.UsageError, match="no database"):
        sessiondb.open(path, files=files, create=False)
    put_and_checkpoint(path, files)
    assert not Path(f"{path}.tmp").exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"SQLite format 3\0" + bytes(84), "a SQLite database"),
        (b'{"name": "package", "version": 1}', "a JSON file of another program"),
        (b'\n [{"id": 1}]', "a JSON file of another program"),
        (b"#!/bin/sh\necho hello\n", "an unknown file"),
        (b"\x89PNG\r\n\x1a\n", "an unknown file"),
    ],
    ids=["sqlite", "object", "array", "script", "binary"],
)
@pytest.mark.parametrize("read_only", [False, True], ids=["write", "read"])
def test_a_foreign_file_is_named_and_left_untouched(path, files, content, found, read_only):
    path.write_bytes(content)
    before = folder_bytes(path.parent)
    with pytest.raises(sessiondb.WrongBackendError, match=f"expected a sessiondb JSON file, found {found}") as caught:
        sessiondb.open(path, files=files, read_only=read_only)
    assert str(path) in str(caught.value)
    assert "next: " in str(caught.value)
    assert folder_bytes(path.parent) == before
    assert os.listdir(path.parent) == ["x.json"]


def test_a_folder_at_the_location_is_named_and_left_untouched(path, files):
    path.mkdir()
    (path / "data.mdb").write_bytes(b"x")
    with pytest.raises(sessiondb.WrongBackendError, match="found an LMDB folder"):
        sessiondb.open(path, files=files)
    assert folder_bytes(path.parent) == {str(path / "data.mdb"): b"x"}


def test_a_newer_format_is_refused_and_left_untouched(path, files):
    put_and_checkpoint(path, files)
    make_later_version(path, 12)
    before = folder_bytes(path.parent)
    with pytest.raises(sessiondb.UnsupportedFormatError, match=r"version 12.*upgrade"):
        sessiondb.open(path, files=files)
    assert folder_bytes(path.parent) == before


def test_a_newer_format_is_told_from_damage_whatever_its_header_looks_like(path, files):
    path.write_bytes(b'{"sessiondb":{"format":99,"entirely":"different"}}')
    with pytest.raises(sessiondb.UnsupportedFormatError, match="version 99"):
        sessiondb.open(path, files=files)


def test_a_symlink_is_followed_and_kept(tmp_path, files):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "x.json"
    link = tmp_path / "link.json"
    link.symlink_to(target)
    put_and_checkpoint(link, files)
    assert link.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link.json", "real"]
    assert sorted(os.listdir(tmp_path / "real")) == ["x.json", "x.json.wal"]
    with sessiondb.open(target, files=files) as db:
        assert db.table("t")["a"] == 1


@pytest.mark.parametrize("number", range(1, 12))
def test_a_full_disk_at_any_step_of_creation_leaves_nothing_half_made(path, number):
    files = FaultyFiles()
    full = files.failing_at(number, errno.ENOSPC, after=number % 2 == 0)
    with full as failed, suppress(sessiondb.StoreFailedError):
        sessiondb.open(path, files=files).close()
    assert failed
    with sessiondb.open(path, files=files, lock_timeout=0) as db:
        db.table("t")["a"] = 1
    with sessiondb.open(path, files=files) as db:
        assert dict(db.table("t")) == {"a": 1}
    assert not Path(f"{path}.tmp").exists()


def test_no_partial_file_stays_behind_a_full_disk(path, files, monkeypatch):
    monkeypatch.setattr(Checkpointer, "became_dirty", lambda self, due: None)  # nobody but this test tries
    put_and_checkpoint(path, files)
    before = path.read_bytes()
    with sessiondb.open(path, files=files) as db:
        db.table("t")["a"] = "x" * 10_000
        with (
            files.failing("pwrite", errno.ENOSPC, path=".tmp"),
            pytest.raises(sessiondb.StoreFailedError, match="space"),
        ):
            db.checkpoint()
        assert path.read_bytes() == before
        assert not Path(f"{path}.tmp").exists()
        assert db.table("t")["a"] == "x" * 10_000
        db.checkpoint()
        assert b"xxxx" in path.read_bytes()


def test_a_file_that_was_replaced_while_it_was_open_is_not_overwritten(path, tmp_path, files):
    """Nothing is overwritten after a failed read, and nothing foreign is taken for ours."""
    put_and_checkpoint(path, files)
    with sessiondb.open(tmp_path / "other.json", files=files) as other:
        other.table("t")["z"] = 1
    db = sessiondb.open(path, files=files)
    db.table("t")["b"] = 2
    os.replace(tmp_path / "other.json", path)
    foreign = path.read_bytes()
    with pytest.raises(sessiondb.SessionDBError):
        db.checkpoint()
    db.close()
    assert path.read_bytes() == foreign


def test_a_file_that_was_removed_while_it_was_open_is_an_error_and_the_log_stays(path, files):
    put_and_checkpoint(path, files)
    db = sessiondb.open(path, files=files)
    db.table("t")["b"] = 2
    path.rename(f"{path}.aside")
    with pytest.raises(sessiondb.StoreFailedError):
        db.checkpoint()
    db.close()
    with pytest.raises(sessiondb.CorruptionError, match="missing, but its log is here"):
        sessiondb.open(path, files=files)
    Path(f"{path}.aside").rename(path)
    with sessiondb.open(path, files=files) as db:
        assert dict(db.table("t")) == {"a": 1, "b": 2}
