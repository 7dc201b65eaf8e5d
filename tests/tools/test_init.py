"""``sessiondb init``: makes a store, never destroys one."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

import sessiondb
from sessiondb_backends.postgres import PostgresBackend

from .conftest import log_of, tree

SERVER = "postgresql://me:s3cr3t@127.0.0.1:1/app?namespace=team"


def test_an_empty_store_is_made_on_each_backend(run: Any, location: str) -> None:
    done = run("init", "--db", location)
    kind = {"json": "json", "db": "sqlite", "lmdb": "lmdb"}[location.rpartition(".")[2]]
    assert (done.code, done.out, done.err) == (0, f"made a {kind} store at {location}\n", "")
    with sessiondb.open(location, create=False) as db:
        assert db.tables() == {}
    assert stat.S_IMODE(os.stat(location).st_mode) & 0o077 == 0


def test_a_store_that_is_there_stays_as_it_is(run: Any, any_store: str, tmp_path: Path) -> None:
    before = tree(tmp_path)
    done = run("init", "--db", any_store)
    assert done.code == 0
    assert done.out.endswith(f"store at {any_store} already; it was left as it is\n")
    assert tree(tmp_path) == before


def test_a_store_that_another_process_has_stays_as_it_is(run: Any, any_busy_store: str) -> None:
    done = run("init", "--db", any_busy_store, "--wait", "0")
    assert (done.code, done.err) == (0, "")
    assert "already" in done.out


def test_it_may_be_run_again(run: Any, location: str) -> None:
    assert run("init", "--db", location, "--json").json["created"] is True
    assert run("put", "a", "1", "--db", location).code == 0
    again = run("init", "--db", location, "--json").json
    assert again["created"] is False
    assert again["location"] == location
    assert run("get", "a", "--db", location).out == "1\n"


def test_two_at_once_make_one_store(command: Any, location: str) -> None:
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(command("init", "--db", location).returncode)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0]
    with sessiondb.open(location, create=False) as db:
        assert db.check() == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.json", b'{"name": "package"}'), ("x.json", b"SQLite format 3\0" + bytes(100)), ("x.json", b"\0\1\2"),
        ("x.db", b'[{"session": "a"}]'), ("x.db", b"hello"), ("x.lmdb", b"a file"),
    ],
)  # fmt: skip
def test_something_else_is_refused_and_left_alone(run: Any, tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    done = run("init", "--db", str(path))
    assert done.code == 3
    assert "untouched" in done.err or "found" in done.err
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == [name]


def test_a_folder_of_something_else_is_refused(run: Any, tmp_path: Path) -> None:
    for name in ("x.json", "x.db", "x.lmdb"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "mine").write_text("mine")
        assert run("init", "--db", str(tmp_path / name)).code == 3
        assert [str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).rglob("*")] == [
            "inner", "inner/mine",
        ]  # fmt: skip


@pytest.mark.parametrize("suffix", ["json", "db"])
def test_a_log_without_its_store_is_not_begun_anew(run: Any, tmp_path: Path, suffix: str) -> None:
    path = str(tmp_path / f"x.{suffix}")
    with sessiondb.open(path) as db:
        db.table("t")["a"] = 1
    for file in (path, f"{path}-wal", f"{path}-shm"):
        Path(file).unlink(missing_ok=True)
    before = tree(log_of(path))
    done = run("init", "--db", path)
    assert done.code == 1
    assert "is missing, but its log is there" in done.err
    assert not os.path.exists(path)
    assert tree(log_of(path)) == before


def test_its_folders_are_made(run: Any, tmp_path: Path, location: str) -> None:
    deep = str(tmp_path / "a" / "b" / os.path.basename(location))
    assert run("init", "--db", deep).code == 0
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert run("list", "--db", deep).code == 0


def test_the_configured_store_is_made(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSIONDB_BACKEND", "sqlite")
    monkeypatch.setenv("SESSIONDB_SQLITE_PATH", str(tmp_path / "deep" / "x.data"))
    assert run("init").out == f"made a sqlite store at {tmp_path}/deep/x.data\n"
    assert run("tables").code == 0


def test_without_settings_the_default_store_is_made(run: Any, tmp_path: Path) -> None:
    assert run("init").out == f"made a json store at {tmp_path}/state/sessiondb/sessions.json\n"


def test_what_keeps_nothing_cannot_be_made(run: Any) -> None:
    assert run("init", "--db", "memory:").code == 2


def test_a_folder_that_cannot_be_made_is_said(run: Any, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    done = run("init", "--db", str(tmp_path / "a" / "b" / "x.json"))
    assert done.code == 3
    assert "next:" in done.err


# ---- what a server needs


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("it connects")

    monkeypatch.setattr("psycopg.Connection.connect", refuse)
    monkeypatch.setattr("psycopg.connect", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)


@pytest.mark.usefixtures("no_network")
def test_the_statements_for_a_server_are_printed_and_nothing_is_done(run: Any, tmp_path: Path) -> None:
    done = run("init", "--print", "--db", SERVER)
    assert (done.code, done.err) == (0, "")
    statements = PostgresBackend.ddl(SERVER.removeprefix("postgresql:"))
    assert done.out == "".join(f"{statement.rstrip().rstrip(';')};\n" for statement in statements)
    assert "CREATE TABLE" in done.out
    assert "s3cr3t" not in done.out
    printed = run("init", "--print", "--json", "--db", SERVER).json
    assert printed["statements"] == statements
    assert "s3cr3t" not in str(printed)
    assert os.listdir(tmp_path) == []


def test_nothing_has_to_be_prepared_for_a_file(run: Any, location: str, tmp_path: Path) -> None:
    done = run("init", "--print", "--db", location)
    assert (done.code, done.out) == (0, "")
    assert "there is nothing to prepare" in done.err
    assert run("init", "--print", "--json", "--db", location).json["statements"] == []
    assert os.listdir(tmp_path) == []


def test_a_server_that_cannot_be_reached_is_said_without_the_password(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSIONDB_URL", SERVER)
    done = run("init")
    assert done.code == 3
    assert "(chosen by SESSIONDB_URL)" in done.err
    assert "s3cr3t" not in done.err
    shutil.rmtree(tmp_path / "state", ignore_errors=True)
    assert os.listdir(tmp_path) == [], "no other store is made instead"


# ---- on a server


@pytest.fixture
def server_url(pg_path: str, tmp_path: Path) -> str:
    """Of a store that is not there yet, in a schema of its own."""
    return f"postgresql:{pg_path}&log_dir={tmp_path}/logs"


def test_a_store_on_a_server_is_made_and_found_again(
    run: Any, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSIONDB_BACKEND", "postgresql")
    monkeypatch.setenv("SESSIONDB_POSTGRESQL_URL", server_url)
    assert run("get", "a").code == 3
    assert run("init", "--json").json["created"] is True
    with sessiondb.create_storage() as storage:
        assert type(storage) is sessiondb.PostgresStorage
        storage.create_entity({"id": "a", "n": 1})
    done = run("init")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("already; its SQL indexes and views are up to date\n")
    assert run("get", "a", "--json").json == {"id": "a", "n": 1}


def test_making_it_again_takes_nothing_over(run: Any, server_url: str) -> None:
    with sessiondb.open(server_url) as db:
        db.table("records")["a"] = 1
        before = db.position()
        assert run("init", "--db", server_url).code == 0
        db.table("records")["b"] = 2
        db.checkpoint()
        assert db.position().epoch == before.epoch


def test_statements_that_were_run_before_make_no_difference(run: Any, server_url: str, pg_admin: Any) -> None:
    """The schema is there then, and the store is not: once that was taken for a store that is damaged."""
    pg_admin.execute(run("init", "--print", "--db", server_url).out)
    assert run("init", "--db", server_url).out.startswith("made a postgresql store at postgresql://")
    assert run("put", "a", "1", "--db", server_url).code == 0
