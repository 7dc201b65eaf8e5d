"""What the README claims is true. Each test quotes the words it proves, so that none changes without the other."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest

import sessiondb
from docs.pages import ROOT, blocks_of
from sessiondb.codec import DEPTH_MAX, KEY_BYTES_MAX, RECORD_BYTES_MAX
from sessiondb.config import SyncLevel
from sessiondb.opening import BUILT_IN
from sessiondb.testing import FaultyFiles
from sessiondb.wal.format import PAYLOAD_BYTES_MAX

README = ROOT / "README.md"
TEXT = re.sub(r"\s+", " ", README.read_text("utf-8"))
PACKAGES = ["engine/sessiondb", "backends/sessiondb_backends", "bench/sessiondb_bench", "tools/sessiondb_tools"]


def says(words: str) -> None:
    assert words in TEXT, "the README does not say this any more: change this test with it"


def killed(program: str) -> None:
    """Run a program that kills itself."""
    ended = subprocess.run([sys.executable, "-c", f"import os, signal, sys, sessiondb\n{program}"], timeout=60)
    assert ended.returncode == -signal.SIGKILL


# ---- the text


def test_the_two_commands_stand_alone_in_blocks_of_their_own() -> None:
    shell = [block.text for block in blocks_of(README) if block.language == "sh"]
    assert shell == ['pip install ".[all]" && sessiondb demo\n', 'pip install ".[test]" && pytest\n']
    says("In a virtual environment with Python 3.11 or newer, from a checkout.")


def test_the_first_line_says_what_it_is_and_the_first_paragraph_that_it_never_unpickles() -> None:
    assert README.read_text("utf-8").splitlines()[0].startswith("# sessiondb: durable records for Python programs")
    says("Nothing is ever pickled or unpickled.")


def test_the_changelog_has_the_version() -> None:
    assert f"\n## {sessiondb.__version__} - " in (ROOT / "CHANGELOG.md").read_text("utf-8")
    says(f"Version {sessiondb.__version__}, not released yet")


# ---- no pickle


def test_no_module_can_unpickle() -> None:
    says("Nothing is ever pickled or unpickled.")
    refused = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "copyreg", "jsonpickle"}
    modules = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    assert len(modules) > 30
    modules.remove(ROOT / "bench" / "sessiondb_bench" / "subjects" / "object_peers.py")  # other stores, measured
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.partition(".")[0] not in refused, f"{path.relative_to(ROOT)}:{node.lineno}"


# ---- durability


@pytest.mark.parametrize(("level", "syncs"), [("always", 1), ("interval", 0), ("never", 0)])
def test_only_always_waits_for_a_sync(level: SyncLevel, syncs: int, empty_folder: Path) -> None:
    says("the log is on disk (`fdatasync`)")
    disk = FaultyFiles()
    with sessiondb.open("store.json", files=disk, sync=level, sync_interval_ms=3_600_000) as db:
        before = disk.counts["fdatasync"]
        db.table("t")["a"] = 1
        assert disk.counts["fdatasync"] - before == syncs


@pytest.mark.parametrize("level", ["always", "interval", "never"])
def test_an_interval_commit_is_synced_by_the_background(level: SyncLevel, empty_folder: Path) -> None:
    """Also a single call's: once only a database of level ``interval`` had a thread that syncs."""
    says("it is synced within `sync_interval_ms` (1,000)")
    says("for the whole database or for a single call")
    synced = threading.Event()
    disk = FaultyFiles()
    with sessiondb.open("store.json", files=disk, sync=level, sync_interval_ms=10) as db:
        disk.after = lambda operation, path: synced.set() if operation == "fdatasync" else None
        db.table("t").put("a", 1, sync="interval")
        assert synced.wait(30)


def test_a_misspelt_level_is_refused(empty_folder: Path) -> None:
    """Once it was taken for ``never``."""
    with sessiondb.open("store.json") as db:
        table = db.table("t")
        for call in (lambda level: table.put("a", 1, sync=level), lambda level: table.delete_prefix("", sync=level)):
            table["b"] = 1
            with pytest.raises(sessiondb.UsageError, match="always, interval, never"):
                call("alwasy")
        assert dict(table) == {"b": 1}


@pytest.mark.parametrize("level", ["always", "interval", "never"])
def test_kill_9_loses_nothing_at_any_level(level: str, empty_folder: Path) -> None:
    says("after `kill -9` of the program")
    killed(f"""
t = sessiondb.open("store.json", sync={level!r}).table("t")
for number in range(200):
    t[str(number)] = number
os.kill(os.getpid(), signal.SIGKILL)
""")
    with sessiondb.table("store.json", "t") as table:
        assert dict(table) == {str(number): number for number in sorted(range(200), key=str)}


def test_a_durable_commit_makes_all_before_it_durable(empty_folder: Path) -> None:
    says("What is lost is always the end of the history")
    with sessiondb.open("store.json", sync="never") as db:
        table = db.table("t")
        table["a"] = 1
        assert db.stats().durable_lsn == 0
        table.put("b", 2, sync="always")
        assert db.stats().durable_lsn == 2


def test_half_a_batch_never_comes_back(empty_folder: Path) -> None:
    says("**A batch is all or nothing**")
    killed("""
t = sessiondb.open("store.json", sync="never").table("t")
t["before"] = 0
t.put_many({str(number): "x" * 50 for number in range(100)})
os.kill(os.getpid(), signal.SIGKILL)
""")
    (segment,) = Path("store.json.wal").glob("*.seg")
    data = segment.read_bytes()
    end = len(data.rstrip(b"\0"))
    segment.write_bytes(data[: end - 1000] + bytes(len(data) - end + 1000))
    with sessiondb.open("store.json") as db:
        assert list(db.table("t")) == ["before"]
        assert db.recovery_report.torn_tail is not None
        assert Path(str(db.recovery_report.torn_tail.quarantine)).stat().st_size > 1000
    says("is cut, kept in `quarantine/` and reported")


# ---- damage


def changed(path: Path, offset: int) -> bytes:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    return bytes(data)


def test_a_damaged_json_file_is_refused_and_left_as_it_is(empty_folder: Path) -> None:
    says("**Damage is detected, not served.**")
    with sessiondb.table("store.json") as table:
        table["a"] = {"n": 1}
    path = Path("store.json")
    data = changed(path, path.stat().st_size - 30)
    with pytest.raises(sessiondb.CorruptionError):
        sessiondb.open("store.json")
    assert path.read_bytes() == data


def test_a_damaged_log_is_refused_with_file_offset_and_log_position(empty_folder: Path) -> None:
    says("is a `CorruptionError` that names file, offset and log position; nothing is changed then.")
    killed("""
t = sessiondb.open("store.json").table("t")
for number in range(50):
    t[str(number)] = number
os.kill(os.getpid(), signal.SIGKILL)
""")
    (segment,) = Path("store.json.wal").glob("*.seg")
    data = changed(segment, 1000)
    with pytest.raises(sessiondb.CorruptionError) as caught:
        sessiondb.open("store.json")
    assert caught.value.path == str(segment.resolve())
    assert caught.value.offset is not None
    assert caught.value.offset <= 1000
    assert caught.value.lsn is not None
    assert segment.read_bytes() == data


@pytest.mark.parametrize("location", ["store.db", "store.lmdb"])
def test_a_damaged_record_is_never_served(location: str, empty_folder: Path) -> None:
    says("every record in SQLite and LMDB a checksum")
    says("`sessiondb check` reads everything there is.")
    with sessiondb.open(location) as db:
        db.table("t").put_many({"a": "what was stored", "b": "something else"})
        db.checkpoint()
    path = Path(location)
    file = path / "data.mdb" if path.is_dir() else path
    data = file.read_bytes()
    assert b"what was stored" in data
    file.write_bytes(data.replace(b"what was stored", b"what was stoned"))
    with sessiondb.open(location) as db:
        with pytest.raises(sessiondb.CorruptionError, match="'a'"):
            db.table("t")["a"]
        assert db.table("t")["b"] == "something else"
        assert any("'a'" in problem for problem in db.check())


def test_after_a_failed_sync_the_store_refuses_writes_until_it_is_opened_again(empty_folder: Path) -> None:
    says("The call raises `DurabilityUnknownError`, and the store refuses writes until it has been opened again")
    disk = FaultyFiles(really_sync=True)
    with sessiondb.table("store.json", files=disk) as table:
        table["a"] = 1
        with disk.failing("fdatasync"), pytest.raises(sessiondb.DurabilityUnknownError):
            table["b"] = 2
        with pytest.raises(sessiondb.StoreFailedError):
            table["c"] = 3
    with sessiondb.table("store.json", files=disk) as table:
        table["c"] = 3
        assert {"a": 1, "c": 3}.items() <= dict(table).items() <= {"a": 1, "b": 2, "c": 3}.items()


@pytest.mark.parametrize("name", ["store.json", "store.db", "store.lmdb"])
@pytest.mark.parametrize("content", [b'{"mine": 1}', b"SQLite format 3\0" + bytes(84), b"hello\n", b"{}", b"[1]"])
def test_a_file_of_another_program_is_left_alone(content: bytes, name: str, empty_folder: Path) -> None:
    says("**Nothing foreign is overwritten.**")
    path = Path(name)
    path.write_bytes(content)
    with pytest.raises(sessiondb.WrongBackendError):
        sessiondb.open(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("record", "path"),
    [
        ({"n": float("nan")}, "$.n"),
        ({"list": [1, (2, 3)]}, "$.list[1]"),
        ({"data": {"raw": b"x"}}, "$.data.raw"),
        ({"by_number": {1: 2}}, "$.by_number"),
    ],
)
def test_what_json_would_change_is_refused_with_its_path(record: object, path: str, empty_folder: Path) -> None:
    says("A value that JSON would change (NaN, a tuple, bytes in a dict, an integer key) is a `ValidationError`")
    with sessiondb.open("store.json") as db:
        with pytest.raises(sessiondb.ValidationError) as caught:
            db.table("t")["a"] = record
        assert caught.value.path == path
        assert db.position().lsn == 0


def test_a_commit_is_visible_before_it_is_durable(empty_folder: Path) -> None:
    says("a commit is *visible* to other threads before it is *durable*")
    seen = []
    disk = FaultyFiles()
    with sessiondb.open("store.json", files=disk) as db:
        table = db.table("t")
        disk.before = lambda operation, path: seen.append(table.get("a")) if operation == "fdatasync" else None
        table["a"] = 1
        disk.before = None
    assert seen == [1]


# ---- limits


def test_a_second_process_is_told_who_has_the_store(empty_folder: Path) -> None:
    says("gets a `StoreBusyError` that names the process")
    with sessiondb.open("store.json"):
        ended = subprocess.run(
            [sys.executable, "-c", "import sessiondb; sessiondb.open('store.json', lock_timeout=0)"],
            stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert ended.returncode == 1
    assert re.search(rf"StoreBusyError: .*process {os.getpid()}\b", ended.stderr)


def test_readers_share_a_store_but_not_with_a_writer(empty_folder: Path) -> None:
    says("Several read-only openers share a store, but not with a writer.")
    with sessiondb.table("store.json") as table:
        table["a"] = 1
    program = "import sessiondb; print(dict(sessiondb.table('store.json', {}lock_timeout=0)))"
    with sessiondb.open("store.json", read_only=True):
        reader = subprocess.run(
            [sys.executable, "-c", program.format("read_only=True, ")], capture_output=True, text=True, timeout=60
        )
        writer = subprocess.run([sys.executable, "-c", program.format("")], capture_output=True, text=True, timeout=60)
    assert reader.stdout == "{'a': 1}\n", reader.stderr
    assert "StoreBusyError" in writer.stderr


def test_the_backends_are_those_that_the_readme_names() -> None:
    says("**Backends:** JSON file, SQLite, LMDB, PostgreSQL, and memory (which keeps nothing).")
    assert sorted(BUILT_IN) == ["json", "lmdb", "memory", "postgresql", "sqlite"]


def test_lmdb_is_an_extra_and_the_rest_needs_two_packages() -> None:
    says("`pip install .` is enough for JSON and SQLite, and needs `msgspec` and `portalocker`.")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert [re.split(r"\W", need)[0] for need in project["dependencies"]] == ["msgspec", "portalocker"]
    assert [re.split(r"\W", need)[0] for need in project["optional-dependencies"]["lmdb"]] == ["lmdb"]


def test_windows_is_refused(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says("Windows is refused with an error")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        with pytest.raises(sessiondb.UsageError, match="Windows"):
            sessiondb.open("store.json")


def test_a_write_does_not_touch_the_json_file(empty_folder: Path) -> None:
    says("a checkpoint rewrites the file. Writes do not")
    with sessiondb.table("store.json") as table:
        table.put_many({str(number): number for number in range(1000)})
    before = Path("store.json").stat()
    with sessiondb.table("store.json") as table:
        table["0"] = "changed"
        after = Path("store.json").stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_size) == (before.st_ino, before.st_mtime_ns, before.st_size)


def test_the_limits_are_those_of_the_code() -> None:
    says("at most 480 UTF-8 bytes. Records: at most 64 MiB, nested at most 200 levels deep. One commit: at most 1 GiB.")
    assert (KEY_BYTES_MAX, RECORD_BYTES_MAX, DEPTH_MAX, PAYLOAD_BYTES_MAX) == (480, 64 << 20, 200, 1 << 30)


def test_changing_what_was_read_changes_nothing_stored(empty_folder: Path) -> None:
    says('`table["a"]["n"] += 1` changes a copy')
    with sessiondb.table("store.json") as table:
        table["a"] = {"n": 1}
        table["a"]["n"] += 1
        assert table["a"] == {"n": 1}
