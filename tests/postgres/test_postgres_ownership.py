"""Two hosts, one store: who writes, what the other one is told, and that nothing is lost without a word."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import sessiondb
from sessiondb.errors import CorruptionError, FencedError
from sessiondb.files import Files
from sessiondb.ownership import ATTEMPTS, Owners, Stranded, claim, is_current, read_owners, stranded
from sessiondb.testing import OwnershipContract
from sessiondb_backends.postgres import PostgresBackend


class TestPostgresOwnership(OwnershipContract):
    backend_class = PostgresBackend
    uses_files = False

    @pytest.fixture
    def path(self, pg_path):
        return pg_path


class Host:
    """One machine: a folder for its logs."""

    def __init__(self, folder: Path, pg_path: str):
        folder.mkdir()
        self.path = f"{pg_path}&log_dir={folder}"
        self.url = f"postgresql:{self.path}"
        self.logs = folder

    @property
    def folder(self) -> str:
        return PostgresBackend.log_folder(self.path) or ""

    def open(self, **options):
        # The process knows a store by its log folder, so both hosts may live in it.
        return sessiondb.open(self.url, **{"checkpoint_age_s": 3600, **options})

    def backend(self):
        return PostgresBackend.open(Files(), self.path, create=False)

    def stranded(self):
        backend = self.backend()
        try:
            return stranded(Files(), self.folder, backend)
        finally:
            backend.close()


@pytest.fixture
def one(tmp_path, pg_path):
    return Host(tmp_path / "one", pg_path)


@pytest.fixture
def other(tmp_path, pg_path):
    return Host(tmp_path / "other", pg_path)


def records(db):
    return dict(db.table("t"))


def kill(db):
    """As if its process had died: nothing is moved, and the locks are free."""
    db._store._settle = lambda: None
    db.close()


def test_a_clean_close_moves_everything_to_the_server(one, other):
    with one.open() as db:
        db.table("t")["a"] = {"n": 1}
    with other.open() as db:
        assert records(db) == {"a": {"n": 1}}
        assert db.recovery_report.notices == [
            f"the store was taken over from the host {os.uname().nodename}, which cannot write to it any more"
        ]
    with other.open() as db:
        assert db.recovery_report.clean


def test_the_owners_log_is_replayed_when_it_comes_back(one):
    db = one.open()
    db.table("t")["a"] = {"n": 1}
    kill(db)
    with one.open() as db:
        assert db.recovery_report.transactions == 1
        assert records(db) == {"a": {"n": 1}}
    assert one.stranded() is None


def test_each_opening_is_an_epoch_of_its_own(one, other):
    epochs = []
    for host in (one, one, other, one):
        with host.open() as db:
            epochs.append(db.stats().epoch)
    assert epochs == sorted(set(epochs))


def test_the_owner_before_is_fenced_at_its_next_checkpoint(one, other):
    first = one.open()
    first.table("t")["a"] = {"n": 1}
    first.checkpoint()
    first.table("t")["b"] = {"n": 2}
    with other.open() as second:
        assert records(second) == {"a": {"n": 1}}
        second.table("t")["c"] = {"n": 3}
        with pytest.raises(FencedError, match="another owner"):
            first.checkpoint()
        assert first.stats().state == "fenced"
        assert records(first) == {"a": {"n": 1}, "b": {"n": 2}}
        for write in (
            lambda: first.table("t").put("d", {"n": 4}),
            lambda: first.table("t").pop("a"),
            first.checkpoint,
        ):
            with pytest.raises(FencedError):
                write()
    first.close()
    with other.open() as second:
        assert records(second) == {"a": {"n": 1}, "c": {"n": 3}}


def test_what_never_reached_the_server_keeps_the_host_from_opening(one, other):
    first = one.open()
    first.table("t")["a"] = {"n": 1}
    first.checkpoint()
    for number in range(3):
        first.table("t")[f"b{number}"] = {"n": number}
    kill(first)
    with other.open():
        pass
    assert one.stranded() == Stranded(2, 4, os.uname().nodename)
    assert other.stranded() is None
    before = {path.name: path.read_bytes() for path in Path(one.folder).glob("*.seg")}
    for _ in range(2):
        with pytest.raises(FencedError, match=r"LSN 2 to 4 .*--stranded"):
            one.open()
    assert {path.name: path.read_bytes() for path in Path(one.folder).glob("*.seg")} == before
    with one.open(read_only=True) as db:
        assert records(db) == {"a": {"n": 1}}
    shutil.move(one.folder, one.logs / "aside")
    with one.open() as db:
        assert records(db) == {"a": {"n": 1}}


def test_a_host_whose_log_is_all_on_the_server_takes_over_again(one, other):
    for number, host in enumerate([one, other] * 3):
        with host.open() as db:
            db.table("t")[f"k{number}"] = {"n": number}
            db.checkpoint()
            db.table("t")["last"] = {"n": number}
    with one.open() as db:
        assert records(db) == {**{f"k{number}": {"n": number} for number in range(6)}, "last": {"n": 5}}


def test_a_killed_take_over_leaves_no_old_log_to_replay(one, other, monkeypatch):
    with one.open() as db:
        db.table("t")["a"] = {"n": 1}
    with other.open() as db:
        db.table("t")["a"] = {"n": 2}

    def dies(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sessiondb.store.recover", dies)
        with pytest.raises(KeyboardInterrupt):
            one.open()
    with one.open() as db:
        assert records(db) == {"a": {"n": 2}}
        db.table("t")["b"] = {"n": 3}
    with other.open() as db:
        assert records(db) == {"a": {"n": 2}, "b": {"n": 3}}


@pytest.mark.parametrize("done", [False, True], ids=["not made", "made"])
def test_a_take_over_whose_answer_was_lost_is_made_again(one, monkeypatch, done):
    db = one.open()
    db.table("t")["a"] = {"n": 1}
    kill(db)
    take_over = PostgresBackend.take_over
    calls = []

    def loses_the_answer(self, owner, before, host, expected):
        calls.append(owner)
        if len(calls) > 1:
            return take_over(self, owner, before, host, expected)
        if done:
            take_over(self, owner, before, host, expected)
        raise sessiondb.errors.BackendUnavailableError("the connection was lost")

    monkeypatch.setattr(PostgresBackend, "take_over", loses_the_answer)
    with pytest.raises(sessiondb.errors.BackendUnavailableError):
        one.open()
    with one.open() as db:
        assert records(db) == {"a": {"n": 1}}
    assert len(set(calls)) == 2


def test_a_copy_of_the_log_is_another_owner(one, other):
    first = one.open()
    first.table("t")["a"] = {"n": 1}
    first.checkpoint()
    first.table("t")["b"] = {"n": 2}
    os.makedirs(os.path.dirname(other.folder), exist_ok=True)
    shutil.copytree(one.folder, other.folder)
    first.table("t")["c"] = {"n": 3}
    with other.open() as second:  # it has what was copied
        assert records(second) == {"a": {"n": 1}, "b": {"n": 2}}
    with pytest.raises(FencedError):
        first.checkpoint()
    first.close()
    with pytest.raises(CorruptionError, match="does not know its owner"):
        one.open()
    with other.open() as second:
        assert records(second) == {"a": {"n": 1}, "b": {"n": 2}}


def test_a_store_that_was_put_back_on_the_server_is_not_written_by_a_newer_log(one, pg_schema, pg_admin):
    with one.open() as db:
        db.table("t")["a"] = {"n": 1}
    tables = ("meta", "owners", "tables", "records")
    for table in tables:
        pg_admin.execute(f'CREATE TABLE "{pg_schema}".saved_{table} AS TABLE "{pg_schema}".sessiondb_{table}')
    with one.open() as db:
        db.table("t")["b"] = {"n": 2}
    for table in tables:
        pg_admin.execute(f'TRUNCATE "{pg_schema}".sessiondb_{table}')
        pg_admin.execute(f'INSERT INTO "{pg_schema}".sessiondb_{table} TABLE "{pg_schema}".saved_{table}')
    for options in ({}, {"read_only": True}):
        with pytest.raises(CorruptionError):
            one.open(**options)
    shutil.move(one.folder, one.logs / "aside")
    with one.open() as db:
        assert records(db) == {"a": {"n": 1}}


def test_a_lost_log_is_reported(one):
    with one.open() as db:
        db.table("t")["a"] = {"n": 1}
    for path in Path(one.folder).glob("*.seg"):
        path.unlink()
    with one.open() as db:
        assert any("the log was missing" in notice for notice in db.recovery_report.notices)


def test_hosts_that_take_over_at_once_end_with_one_owner(one, other, monkeypatch):
    for host in (one, other):
        host.open().close()
    backend, rival = one.backend(), other.backend()
    position = PostgresBackend.position
    turns = []

    def interrupted(self):
        found = position(self)
        if self is backend and len(turns) < 3:
            turns.append(None)
            claim(Files(), other.folder, rival, "the store")
        return found

    monkeypatch.setattr(PostgresBackend, "position", interrupted)
    claim(Files(), one.folder, backend, "the store")
    assert is_current(Files(), one.folder, backend)
    assert not is_current(Files(), other.folder, backend)
    turns[:] = [None] * -ATTEMPTS
    backend.close()
    rival.close()


@pytest.mark.parametrize("content", [b"", b"x\n", b"\n\n", b"00\n" * 2, b"\n" + b"00" * 15 + b"\n", b"\xff" * 66])
def test_a_damaged_owner_file_is_damage(one, content):
    one.open().close()
    Path(one.folder, "OWNER").write_bytes(content)
    with pytest.raises(CorruptionError, match="OWNER"):
        one.open()


def test_no_id_is_used_twice(one):
    found: list[Owners] = []
    for _ in range(3):
        one.open().close()
        found.append(read_owners(Files(), one.folder))
    assert [owners.before for owners in found] == [b"", found[0].asked, found[1].asked]
    assert len({owners.asked for owners in found}) == 3
