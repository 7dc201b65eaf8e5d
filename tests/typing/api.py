"""Pins the public signatures: checked by ``mypy --strict``, never run. Types are API.

What must be an error carries a ``type: ignore`` with its code; mypy warns when that is not needed any more.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, MutableMapping, ValuesView
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, assert_type

import msgspec

import sessiondb
from sessiondb import (
    UNSET,
    Database,
    DatabaseStorage,
    JsonFileStorage,
    LmdbStorage,
    Position,
    PostgresStorage,
    RecoveryReport,
    SqliteStorage,
    Stats,
    Table,
    TableStorage,
    absent,
    between,
    one_of,
    prefix,
)
from sessiondb.files import Files
from sessiondb.testing import BackendContract, FaultyFiles, ReplacementContract, StorageContract, TableContract
from sessiondb.testing.storage_contract import Entity


class Session(msgspec.Struct):
    session: str
    branch: str | None = None


@dataclass
class Job:
    id: str


class Doc(TypedDict):
    id: str


def opening(path: Path) -> None:
    assert_type(sessiondb.open(path), Database)
    assert_type(sessiondb.open("memory:"), Database)
    assert_type(
        sessiondb.open(
            "x.json", sync="interval", sync_interval_ms=10, lock_timeout=1.5, checkpoint_bytes=1,
            checkpoint_records=1, checkpoint_age_s=0, read_only=True, create=False, files=Files(),
        ),
        Database,
    )  # fmt: skip
    sessiondb.open(b"x.json")  # type: ignore[arg-type]
    sessiondb.open("x.json", "always")  # type: ignore[call-arg]
    sessiondb.open("x.json", sync="sometimes")  # type: ignore[arg-type]
    with sessiondb.open(path) as db:
        assert_type(db, Database)
    with sessiondb.table(path) as table:
        assert_type(table, Table[Any])


def settings(path: Path) -> None:
    assert_type(sessiondb.open(), Database)
    assert_type(sessiondb.open(sync="always"), Database)
    sessiondb.open(None)  # type: ignore[arg-type]
    sessiondb.open(sync=None)  # type: ignore[arg-type]
    config = sessiondb.load_config(path, url=None, backend="sqlite", lock_timeout=1)
    assert_type(config, sessiondb.Config)
    assert_type(config.location, str)
    assert_type(config.backend, str)
    assert_type(config.file, str | None)
    assert_type(config.settings["sync"].source, str)
    dicts: DatabaseStorage[dict[str, Any], dict[str, dict[str, Any]]] = sessiondb.create_storage()
    sessions: DatabaseStorage[Session, dict[str, Session]] = sessiondb.create_storage(config, Session, id="session")
    assert_type(sessions.get_entity("a"), Session | None)
    print(dicts)
    sessiondb.load_config("x.toml", "sqlite")  # type: ignore[call-arg]


def databases(db: Database) -> None:
    assert_type(db.location, str)
    assert_type(db.tables(), dict[str, Literal["json", "bytes"]])
    assert_type(db.drop("t"), bool)
    assert_type(db.drop("t", sync="never"), bool)
    assert_type(db.position(), Position)
    assert_type(db.sync(), Position)
    assert_type(db.stats(), Stats)
    assert_type(db.recovery_report, RecoveryReport)
    db.wait_durable(db.position())
    db.checkpoint()
    db.close()
    db.wait_durable(1)  # type: ignore[arg-type]
    assert_type(db.stats().last_checkpoint_error, str | None)
    assert_type(db.position() < db.sync(), bool)


def tables(db: Database) -> None:
    assert_type(db.table("t"), Table[Any])
    assert_type(db.table("t", Session), Table[Session])
    assert_type(db.table("t", Session, id="session"), Table[Session])
    assert_type(db.table("t", Job, id="id", enc_hook=str, dec_hook=lambda kind, value: value), Table[Job])
    assert_type(db.table("t", Doc), Table[Doc])
    assert_type(db.table("t", bytes), Table[bytes])
    assert_type(db.table("t", dict[str, int]), Table[dict[str, int]])
    db.table(1)  # type: ignore[call-overload]
    db.table("t", Session, "session")  # type: ignore[call-overload]


def one_line(path: Path) -> None:
    assert_type(sessiondb.table(path), Table[Any])
    assert_type(sessiondb.table(path, "sessions", Session, id="session"), Table[Session])
    assert_type(sessiondb.table(path, "blobs", bytes, sync="never"), Table[bytes])


def one_record(table: Table[Session], record: Session) -> None:
    mapping: MutableMapping[str, Session] = table
    assert_type(mapping["a"], Session)
    assert_type(table["a"], Session)
    assert_type(table.get("a"), Session | None)
    assert_type(table.get("a", record), Session)
    assert_type(table.get("a", 1), Session | int)
    assert_type(table.put("a", record), Position)
    assert_type(table.put("a", record, sync="never"), Position)
    assert_type(table.insert(record), Position)
    assert_type(table.insert("a", record, sync="interval"), Position)
    assert_type(table.patch("a", {"branch": UNSET}), Session)
    assert_type(table.modify("a", lambda found: found), Session)
    assert_type(table.modify("a", lambda found: found, default=record, sync="always"), Session)
    assert_type(table.replace("a", record, record), bool)
    assert_type(table.pop("a"), Session)
    assert_type(table.pop("a", None), Session | None)
    assert_type(table.popitem(), tuple[str, Session])
    assert_type(table.setdefault("a", record), Session)
    assert_type("a" in table, bool)
    table["a"] = record
    del table["a"]
    table["a"] = {"session": "a"}  # type: ignore[assignment]
    table[1]  # type: ignore[index]
    table.put("a", 1)  # type: ignore[arg-type]
    table.put("a", record, "never")  # type: ignore[call-arg]
    table.put("a", record, sync="sometimes")  # type: ignore[arg-type]
    table.modify("a", lambda found: 1)  # type: ignore[arg-type, return-value]


def many_records(table: Table[Session], record: Session) -> None:
    assert_type(table.get_many(["a"]), dict[str, Session])
    assert_type(table.get_many(key for key in "ab"), dict[str, Session])
    assert_type(table.put_many({"a": record}), Position)
    assert_type(table.put_many([("a", record)], sync="never"), Position)
    assert_type(table.delete_many(["a"]), int)
    assert_type(table.delete_prefix("a"), int)
    assert_type(table.count(), int)
    assert_type(table.count("a"), int)
    assert_type(len(table), int)
    assert_type(table.scan(), Iterator[tuple[str, Session]])
    assert_type(
        table.scan("a", start="a", stop="b", reverse=True, limit=1),
        Iterator[tuple[str, Session]],
    )
    assert_type(iter(table), Iterator[str])
    assert_type(table.keys(), KeysView[str])
    assert_type(table.values(), ValuesView[Session])
    assert_type(table.items(), ItemsView[str, Session])
    assert_type(table.name, str)
    table.update({"a": record}, b=record)
    table.clear()
    table.close()
    table.scan("a", "b")  # type: ignore[call-arg]
    table.put_many({"a": 1})  # type: ignore[arg-type]
    with table as same:
        assert_type(same, Table[Session])


def queries(table: Table[Session]) -> None:
    assert_type(table.find(), Iterator[tuple[str, Session]])
    assert_type(table.find({"branch": "main"}, order_by="-branch"), Iterator[tuple[str, Session]])
    assert_type(
        table.find({"session": prefix("a"), "branch": absent}, order_by=["branch", "-session"], limit=1, offset=2),
        Iterator[tuple[str, Session]],
    )
    assert_type(table.count(where={"branch": one_of("a", None), "session": between("a", "b")}), int)
    assert_type(table.indexes(), list[str])
    assert_type(table.create_index("branch"), bool)
    assert_type(table.drop_index("branch"), bool)
    table.find("branch")  # type: ignore[arg-type]
    table.find({"branch": "main"}, "branch")  # type: ignore[call-arg]
    prefix(1)  # type: ignore[arg-type]


def up(document: dict[str, Any]) -> dict[str, Any]:
    return document


def tables_with_indexes_and_versions(db: Database, path: Path) -> None:
    assert_type(db.table("t", Session, indexes=["branch"], version=2, upgrades={1: up}), Table[Session])
    assert_type(db.table("t", indexes=("branch",)), Table[Any])
    assert_type(sessiondb.table(path, "t", Session, indexes=["branch"], version=2, upgrades={1: up}), Table[Session])
    assert_type(db.check(), list[str])
    assert_type(db.stats().cache_hits, int)
    assert_type(db.stats().backend_bytes, int | None)
    db.table("t", version="2")  # type: ignore[call-overload]


def storages(table: Table[Session], record: Session, path: Path) -> None:
    assert_type(table.as_storage(), TableStorage[Session])
    assert_type(JsonFileStorage(path, Session, id="session"), JsonFileStorage[Session])
    assert_type(SqliteStorage("x.db", Job, table="jobs", indexes=["id"], sync="never"), SqliteStorage[Job])
    assert_type(LmdbStorage("lmdb:///x", Doc, version=2, upgrades={1: dict}), LmdbStorage[Doc])
    assert_type(PostgresStorage("postgresql://h/d", Job, id="id"), PostgresStorage[Job])
    storage: DatabaseStorage[Session, dict[str, Session]] = JsonFileStorage(path, Session, id="session")
    assert_type(storage.initialize(), bool)
    assert_type(storage.read_state(), dict[str, Session])
    storage.write_state({"a": record})
    assert_type(storage.get_entity("a"), Session | None)
    assert_type(storage.get_entities(), list[Session])
    assert_type(
        storage.get_entities({"branch": sessiondb.absent}, order_by=["-branch"], limit=1, offset=1), list[Session]
    )
    assert_type(storage.create_entity(record), Session)
    assert_type(storage.update_entity("a", {"branch": UNSET}), Session | None)
    assert_type(storage.delete_entity("a"), bool)
    assert_type(storage.entity_exists("a"), bool)
    assert_type(storage.get_storage_location(), str)
    storage.close()
    with table.as_storage() as same:
        assert_type(same, TableStorage[Session])
    with JsonFileStorage(path, Session) as other:
        assert_type(other, JsonFileStorage[Session])
    storage.get_entity(1)  # type: ignore[arg-type]
    storage.create_entity(1)  # type: ignore[arg-type]
    storage.write_state([record])  # type: ignore[arg-type]
    storage.get_entities({}, ["branch"])  # type: ignore[call-arg]
    JsonFileStorage(path)  # type: ignore[call-arg]
    JsonFileStorage(path, Session, "session")  # type: ignore[call-arg]
    wrong: DatabaseStorage[Job, dict[str, Job]] = JsonFileStorage(path, Session)  # type: ignore[arg-type]
    print(wrong)
    DatabaseStorage()  # type: ignore[abstract]


def migration(path: Path) -> None:
    result = sessiondb.migrate(path, "t.db", execute=True, replace=True, layout="array", lock_timeout=1)
    assert_type(result, sessiondb.MigrationResult)
    assert_type(result.source.tables["t"].records, int)
    assert_type(result.backup, str | None)
    assert_type([misfit.key for misfit in result.misfits], list[str])
    sessiondb.migrate(path, path, progress=lambda step: print(step.what, step.done / step.total))
    sessiondb.migrate(path, path, True)  # type: ignore[call-arg]
    sessiondb.migrate(path)  # type: ignore[call-arg]


def errors() -> None:
    error: sessiondb.SessionDBError = sessiondb.ValidationError("no", table="t", key="a", path="$.x")
    unknown: sessiondb.StoreFailedError = sessiondb.DurabilityUnknownError("no")
    backend: sessiondb.StoreFailedError = sessiondb.BackendUnavailableError("no")
    assert_type(sessiondb.ValidationError("no").path, str)
    assert_type(sessiondb.DuplicateKeyError("t", "a").key, str)
    assert_type(sessiondb.CorruptionError("no", path="x").offset, int | None)
    print(error, unknown, backend)


class MyBackendTest(BackendContract):
    uses_files = False


class MyReplacementTest(ReplacementContract):
    uses_files = False


class MyTableTest(TableContract):
    url = "mine:///{path}"


class MyStorageTest(StorageContract):
    def make_storage(self, tmp_path: Path) -> DatabaseStorage[Entity, dict[str, Entity]]:
        return JsonFileStorage(tmp_path / "x", Entity)


def for_tests(path: Path) -> None:
    files = FaultyFiles(really_sync=True)
    with files.failing("fdatasync", 5, path=".seg") as failed:
        assert_type(failed, list[str])
    assert_type(files.counts["fsync"], int)
    sessiondb.open(path, files=files)
