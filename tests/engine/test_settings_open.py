"""Opening what the settings mean: `open()` without a location, `create_storage`, and no settings where none are due."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import sessiondb
from sessiondb import JsonFileStorage, LmdbStorage, PostgresStorage, SqliteStorage
from sessiondb.config import Options
from sessiondb.testing import FaultyFiles

ConfigError = sessiondb.ConfigError
SUFFIXES = {"json": "json", "sqlite": "db", "lmdb": "lmdb"}


class Note(msgspec.Struct):
    id: str
    text: str = ""


@pytest.fixture
def world(settings_world: Path) -> Path:
    return settings_world


# ---- with a location nothing else counts


class Watched(dict[str, str]):
    """An environment that tells which of our names were read."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.reads: list[str] = []

    def _note(self, name: object) -> None:
        if str(name).startswith(("SESSIONDB", "XDG", "HOME")):
            self.reads.append(str(name))

    def __getitem__(self, name: str) -> str:
        self._note(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self._note(name)
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._note(name)
        return super().get(name, default)

    def __iter__(self) -> Iterator[str]:
        self.reads.append("all of it")
        return super().__iter__()


@pytest.mark.parametrize("suffix", SUFFIXES.values())
def test_opening_a_location_reads_no_environment_and_no_file(
    world: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = world / "config/sessiondb/config.toml"
    users.parent.mkdir(parents=True)
    users.write_text('sync = "never"\nnonsense = 1')
    spoiled = {
        "SESSIONDB_SYNC": "never", "SESSIONDB_BACKEND": "bogus", "SESSIONDB_URL": "/elsewhere/x.json",
        "SESSIONDB_CONFIG": "/no/such/file", "SESSIONDB_NONSENSE": "1", "SESSIONDB_CACHE_BYTES": "-1",
    }  # fmt: skip
    watched = Watched(os.environ | spoiled)
    monkeypatch.setattr(os, "environ", watched)
    path = str(world / f"x.{suffix}")
    storage = {"json": JsonFileStorage, "db": SqliteStorage, "lmdb": LmdbStorage}[suffix]
    with sessiondb.open(path) as db:
        assert db._open.options == Options()
        db.table("t")["a"] = 1
    with sessiondb.open(path, sync="interval") as db:
        assert db._open.options == Options(sync="interval")
    with sessiondb.table(path, "t") as table:
        assert table["a"] == 1
    with storage(path, Note) as notes:
        notes.create_entity(Note("a"))
    assert watched.reads == []


@pytest.mark.parametrize("location", [None, ""])
def test_a_location_that_is_missing_is_not_taken_for_none_given(world: Path, location: Any) -> None:
    """``open(settings.get("db"))`` must not open something else when there is no such setting."""
    with pytest.raises((sessiondb.UsageError, TypeError)):
        sessiondb.open(location)
    assert list(world.rglob("*.json")) == []


# ---- without


def test_without_settings_the_default_store_is_made_with_its_folders(world: Path) -> None:
    with sessiondb.open() as db:
        db.table("t")["a"] = 1
        assert db.location == str(world / "state/sessiondb/sessions.json")
    assert stat.S_IMODE((world / "state/sessiondb").stat().st_mode) == 0o700
    with sessiondb.open() as db:
        assert db.table("t")["a"] == 1


def test_the_default_folders_are_durable_before_the_store(world: Path) -> None:
    files = FaultyFiles()
    done: list[tuple[str, str]] = []
    files.after = lambda operation, path: done.append((operation, path.removeprefix(f"{world}/").partition(".tmp")[0]))
    with sessiondb.open(files=files):
        pass
    folders = [each for each in done if each[0] in ("mkdir", "sync_folder")]
    made = [
        folders.index(("mkdir", path)) for path in ("state", "state/sessiondb", "state/sessiondb/sessions.json.wal")
    ]
    synced = [folders.index(("sync_folder", path)) for path in (str(world), "state")]
    assert made[0] < synced[0] < made[1] < synced[1] < made[2]


def test_a_configured_stores_folder_is_not_made(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is not mounted must not be taken for an empty store beside it."""
    monkeypatch.setenv("SESSIONDB_URL", str(world / "mnt/x.json"))
    with pytest.raises(sessiondb.UsageError, match=r"mnt does not exist; .*\(chosen by SESSIONDB_URL\)"):
        sessiondb.open()
    assert not (world / "mnt").exists()


def test_not_configured_not_there_and_empty_are_three_things(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConfigError, match=r"no store is configured, and there is none at the default place .*sessions.j"
    ):
        sessiondb.open(create=False)
    with pytest.raises(ConfigError, match="no store is configured"):
        sessiondb.open(read_only=True)
    assert not (world / "state").exists()
    monkeypatch.setenv("SESSIONDB_URL", str(world / "x.json"))
    with pytest.raises(sessiondb.UsageError, match=r"no database at .*x.json; .*chosen by SESSIONDB_URL\)"):
        sessiondb.open(create=False)
    with sessiondb.open():
        pass
    with sessiondb.open(create=False) as db:
        assert db.tables() == {}


def test_something_else_at_the_configured_place_is_said_with_the_setting(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = world / "x.db"
    foreign.write_text('[{"session": "a"}]')
    monkeypatch.setenv("SESSIONDB_BACKEND", "sqlite")
    monkeypatch.setenv("SESSIONDB_SQLITE_PATH", str(foreign))
    said = r"\(chosen by SESSIONDB_SQLITE_PATH, with SESSIONDB_BACKEND\)$"
    for attempt in (sessiondb.open, lambda: sessiondb.create_storage().initialize()):
        with pytest.raises(sessiondb.WrongBackendError, match=said):
            attempt()
    assert foreign.read_text() == '[{"session": "a"}]'
    with pytest.raises(sessiondb.WrongBackendError) as caught:
        sessiondb.open(str(foreign))
    assert "chosen by" not in str(caught.value), "who names a place knows where it chosen by"


def test_a_backend_that_is_not_installed_is_an_error_and_no_other_is_taken(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSIONDB_URL", "nosuch://x/y")
    for attempt in (sessiondb.open, lambda: sessiondb.create_storage().initialize()):
        with pytest.raises(sessiondb.UsageError, match=r"no backend for 'nosuch'.*chosen by SESSIONDB_URL"):
            attempt()
    monkeypatch.delenv("SESSIONDB_URL")
    monkeypatch.setenv("SESSIONDB_BACKEND", "lmdb")
    monkeypatch.setitem(sys.modules, "lmdb", None)
    for attempt in (sessiondb.open, lambda: sessiondb.create_storage().initialize()):
        with pytest.raises(ConfigError, match=r"package lmdb, which is not installed.*with SESSIONDB_BACKEND\)"):
            attempt()
    assert os.listdir(world / "state/sessiondb") == []


def test_what_the_operating_system_refuses_names_the_place(world: Path) -> None:
    (world / "state").write_text("a file")
    with pytest.raises(sessiondb.StoreFailedError, match="cannot make the folder"):
        sessiondb.open()
    assert (world / "state").read_text() == "a file"


# ---- storages


@pytest.mark.parametrize(
    ("scheme", "kind"), [("json", JsonFileStorage), ("sqlite", SqliteStorage), ("lmdb", LmdbStorage)]
)
def test_a_storage_of_the_chosen_backend_is_made(
    world: Path, scheme: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSIONDB_BACKEND", scheme)
    monkeypatch.setenv(f"SESSIONDB_{scheme.upper()}_PATH", str(world / "deep/er/x ~.data"))
    monkeypatch.setenv("SESSIONDB_SYNC", "interval")
    notes = sessiondb.create_storage(None, Note)
    assert type(notes) is kind
    assert notes.get_storage_location() == str(world / "deep/er/x ~.data")
    assert list(world.rglob("*.data")) == [], "making one opens nothing"
    with notes:
        assert notes.create_entity(Note("a", "b")) == Note("a", "b")
        assert notes._ready()._store.options == Options(sync="interval")
    with sessiondb.create_storage(None, Note, read_only=True) as notes:
        assert notes.read_state() == {"a": Note("a", "b")}
        with pytest.raises(sessiondb.ReadOnlyError):
            notes.create_entity(Note("c"))


def test_a_storage_of_dicts_is_made_of_settings_that_were_read_before(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = sessiondb.load_config(url=str(world / "x.db"))
    monkeypatch.setenv("SESSIONDB_URL", "/elsewhere/y.json")
    with sessiondb.create_storage(config) as storage:
        storage.create_entity({"id": "a", "n": None})
        assert storage.get_entity("a") == {"id": "a", "n": None}
        assert storage.get_storage_location() == str(world / "x.db")


def test_a_storage_on_a_server_opens_nothing_before_it_is_needed(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSIONDB_URL", "postgres://me:s3cr3t@127.0.0.1:1/app?namespace=x")
    storage = sessiondb.create_storage(None, Note)
    assert type(storage) is PostgresStorage
    assert storage.get_storage_location() == "postgresql://127.0.0.1:1/app"
    assert "s3cr3t" not in repr(storage)
    with pytest.raises(sessiondb.BackendUnavailableError, match="chosen by SESSIONDB_URL") as caught:
        storage.initialize()
    assert "s3cr3t" not in str(caught.value)
    assert not list(world.rglob("sessions.*")), "no other backend is taken instead"


def test_a_storage_in_memory_is_made(monkeypatch: pytest.MonkeyPatch, world: Path) -> None:
    monkeypatch.setenv("SESSIONDB_URL", "memory:")
    with sessiondb.create_storage(None, Note, table="notes", indexes=["text"]) as notes:
        notes.create_entity(Note("a", "b"))
        assert notes.get_entities({"text": "b"}) == [Note("a", "b")]
    assert list(world.rglob("*")) == [world / "work"]


def test_after_a_failure_the_next_call_tries_again(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The predecessor went on with a placeholder, and answered "empty" for the life of the process."""
    blocker = world / "place"
    blocker.write_text("in the way")
    monkeypatch.setenv("SESSIONDB_JSON_PATH", str(blocker / "x.json"))
    notes = sessiondb.create_storage(None, Note)
    for attempt in (notes.initialize, notes.read_state, lambda: notes.get_entity("a")):
        with pytest.raises(sessiondb.SessionDBError, match="chosen by SESSIONDB_JSON_PATH"):
            attempt()
    blocker.unlink()
    with notes:
        assert notes.read_state() == {}
