"""Locations, options, and what opening does before anything is read."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import sessiondb
from sessiondb import CorruptionError, UsageError
from sessiondb.config import Options
from sessiondb.location import parse_location


@pytest.mark.parametrize(
    ("text", "scheme", "path"),
    [
        ("x.json", "json", "HERE/x.json"),
        ("x", "json", "HERE/x"),
        ("x.JSON", "json", "HERE/x.JSON"),
        ("/srv/x.json", "json", "/srv/x.json"),
        ("~/x.json", "json", "HOME/x.json"),
        ("a/../b.json", "json", "HERE/b.json"),
        ("x.db", "sqlite", "HERE/x.db"),
        ("x.sqlite", "sqlite", "HERE/x.sqlite"),
        ("x.lmdb", "lmdb", "HERE/x.lmdb"),
        ("json:///x", "json", "HERE/x"),
        ("json:///x.db", "json", "HERE/x.db"),
        ("json:///a/b.json", "json", "HERE/a/b.json"),
        ("json:////srv/x.json", "json", "/srv/x.json"),
        ("JSON:///x", "json", "HERE/x"),
        ("json:///~/x", "json", "HOME/x"),
        ("sqlite:////srv/x.db", "sqlite", "/srv/x.db"),
        ("memory:", "memory", ""),
        ("memory://", "memory", ""),
        ("mine://host/x", "mine", "//host/x"),
        (Path("/srv/x.json"), "json", "/srv/x.json"),
        (Path("mem:ory.json"), "json", "HERE/mem:ory.json"),
    ],
    ids=repr,
)
def test_a_location_is_a_path_or_a_url(text, scheme, path):
    path = path.replace("HERE", os.path.realpath(".")).replace("HOME", os.path.realpath(os.path.expanduser("~")))
    assert parse_location(text)[:2] == (scheme, path)


@pytest.mark.parametrize(
    "text",
    ["", "x\0.json", b"x.json", "x.txt", "x.json.bak", "json:x", "json:/x", "json://x", "json:///", "memory:x"],
    ids=ascii,
)
def test_a_location_that_is_none_is_refused(text):
    with pytest.raises(UsageError):
        parse_location(text)


@pytest.mark.parametrize("text", [None, 7, ["x"]], ids=str)
def test_what_is_no_location_at_all_is_refused(text):
    with pytest.raises((UsageError, TypeError)):
        sessiondb.open(text)


def test_variables_in_a_path_are_expanded(monkeypatch):
    monkeypatch.setenv("STATE", "/srv/state")
    assert parse_location("$STATE/x.json").path == "/srv/state/x.json"
    assert parse_location("json:///${STATE}/x.json").path == "/srv/state/x.json"


def test_symlinks_are_resolved(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert parse_location(tmp_path / "link" / "x.json").path == str(tmp_path / "real" / "x.json")


def test_a_scheme_that_nobody_provides_is_refused():
    with pytest.raises(UsageError, match=r"no backend for 'nobody'.*built in: "):
        sessiondb.open("nobody://x")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sync", "sometimes"), ("sync", None), ("sync", True), ("sync", []),
        ("sync_interval_ms", 0), ("sync_interval_ms", 1.5), ("sync_interval_ms", True), ("sync_interval_ms", "1"),
        ("lock_timeout", -1), ("lock_timeout", float("nan")), ("lock_timeout", "10"), ("lock_timeout", None),
        ("checkpoint_bytes", 0), ("checkpoint_bytes", -1), ("checkpoint_bytes", 1e6),
        ("checkpoint_records", 0), ("checkpoint_records", None),
        ("checkpoint_age_s", -0.1), ("checkpoint_age_s", False),
    ],
    ids=str,
)  # fmt: skip
def test_an_option_out_of_range_is_refused_by_name(path, name, value):
    with pytest.raises(UsageError, match=name):
        sessiondb.open(path, **{name: value})
    assert os.listdir(path.parent) == []


def test_options_are_the_documented_defaults():
    assert msgspec.structs.asdict(Options()) == {
        "sync": "always", "sync_interval_ms": 1_000, "lock_timeout": 10.0, "checkpoint_bytes": 16 * 1024 * 1024,
        "checkpoint_records": 50_000, "checkpoint_age_s": 60.0, "cache_bytes": 32 * 1024 * 1024,
        "read_only": False, "create": True, "layout": None,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["", "a\nb", "a\0b", "x" * 201, "é" * 101, "\ud800", None, 7, b"t"], ids=ascii)
def test_a_table_name_that_cannot_be_stored_is_refused(db, name):
    for use in (db.table, db.drop):
        with pytest.raises(UsageError, match="name"):
            use(name)


@pytest.mark.parametrize("name", ["t", "a b", "é", "😀", "x" * 200, "select * from t", "../t", "."], ids=ascii)
def test_any_printable_name_is_a_table(db, open_db, name):
    db.table(name)["a"] = 1
    db.close()
    assert open_db().tables() == {name: "json"}


# ---- imports

LAZY = ["portalocker", "sqlite3", "lmdb", "psycopg", "sessiondb_backends", "sessiondb_tools", "sessiondb_bench",
        "argparse", "pytest", "sessiondb.testing", "asyncio"]  # fmt: skip


def modules_after(code):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_importing_sessiondb_imports_no_driver_no_lock_and_no_command():
    loaded = modules_after("import sessiondb")
    assert "sessiondb" in loaded
    assert [name for name in LAZY if name in loaded] == []


def test_a_memory_database_imports_only_its_own_backend():
    loaded = modules_after("import sessiondb\nwith sessiondb.open('memory:') as db: db.table('t')['a'] = 1")
    assert "sessiondb_backends.memory" in loaded
    assert "sessiondb_backends.json_file" not in loaded
    assert "portalocker" not in loaded


def test_everything_that_is_promised_is_there():
    assert sorted(sessiondb.__all__, key=str.casefold)
    for name in sessiondb.__all__:
        assert getattr(sessiondb, name) is not None
    assert isinstance(sessiondb.__version__, str)


def test_a_log_that_is_older_than_the_store_is_refused(open_db, path, tmp_path):
    """Somebody restores a copy of the log, but not of the file that it belongs to: two histories must not be mixed."""
    db = open_db()
    table = db.table("t")
    for number in range(20):
        table[f"k{number}"] = number
    shutil.copytree(f"{path}.wal", tmp_path / "copy")
    file = path.read_bytes()
    db.close()
    path.write_bytes(file)  # as it was: nothing is in it yet
    (tmp_path / "x.json.wal").rename(tmp_path / "gone")
    shutil.copytree(tmp_path / "copy", f"{path}.wal")
    segment = next((tmp_path / "x.json.wal").glob("*.seg"))
    data = bytearray(segment.read_bytes())
    data[600:] = bytes(len(data) - 600)
    segment.write_bytes(data)
    (tmp_path / "x.json.wal" / "HEAD").unlink()
    db = open_db()
    assert db.recovery_report.epoch == 2
    db.table("t")["new"] = 1
    db.close()  # the file is of epoch 2 now
    before = path.read_bytes()
    (tmp_path / "x.json.wal").rename(tmp_path / "newer")
    (tmp_path / "copy").rename(f"{path}.wal")
    for options in ({}, {"read_only": True}):
        with pytest.raises(CorruptionError, match="the log is older than the store"):
            open_db(**options)
    assert path.read_bytes() == before
