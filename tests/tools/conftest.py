"""The command, run in this process or in one of its own, in an environment far from the user's files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import sessiondb
from sessiondb_tools.main import main

from .hosts import Host


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one value that was printed."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The values that were printed, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in [name for name in os.environ if name.startswith("SESSIONDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run the command in this process."""

    def call(*arguments: str) -> Outcome:
        capfd.readouterr()
        code = main(list(arguments))
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run the command in a process of its own."""

    def call(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        options.setdefault("stdin", subprocess.DEVNULL)
        if "input" in options:
            del options["stdin"]
        return subprocess.run(
            [sys.executable, "-m", "sessiondb_tools", *arguments],
            capture_output=True,
            timeout=60,
            check=False,
            **options,
        )

    return call


LOCATIONS = {"json": "s.json", "sqlite": "s.db", "lmdb": "s.lmdb"}


@pytest.fixture(params=LOCATIONS)
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where no store is yet: on each backend."""
    return str(tmp_path / LOCATIONS[request.param])


@pytest.fixture
def any_store(location: str) -> str:
    """The records of `store` on each backend: all but one in the backend, and closed without a checkpoint."""
    with sessiondb.open(location) as db:
        fill(db)
        db.checkpoint()
    with sessiondb.open(location) as db:
        db.table("records")["c"] = "text"
    return location


@pytest.fixture
def any_busy_store(any_store: str) -> Iterator[str]:
    """A store on each backend that another process has open for writing, with a record in its log only."""
    yield from held(any_store)


@pytest.fixture
def any_killed_store(location: str) -> str:
    """A store on each backend with ten durable records whose process was killed: five are in the log only."""
    return kill_writer(location, checkpoint_at=5)


def fill(db: sessiondb.Database) -> None:
    """Three records in `records` and one in the bytes table `blobs`."""
    db.table("records").put_many({"a": {"n": 1}, "b": [None, 2.5, "ü"], "c": "text"})
    db.table("blobs", bytes)["logo"] = b"\x00\xff"


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store with three records in `records` and one in the bytes table `blobs`, cleanly closed."""
    path = str(tmp_path / "s.json")
    with sessiondb.open(path) as db:
        fill(db)
    return path


@pytest.fixture
def busy_store(store: str) -> Iterator[str]:
    """A store that another process has open for writing."""
    yield from held(store)


def held(path: str) -> Iterator[str]:
    """Have another process open the store, and put a record into it."""
    program = f"""
        import sessiondb, sys
        db = sessiondb.open({path!r})
        db.table("records")["d"] = "late"
        print("open", flush=True)
        sys.stdin.read()
    """
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == b"open\n"
        yield path
        holder.stdin.close()


@pytest.fixture
def killed_store(tmp_path: Path) -> str:
    """A store with ten durable records whose process was killed: they are in the log only."""
    return kill_writer(str(tmp_path / "k.json"))


def kill_writer(path: str, checkpoint_at: int | None = None) -> str:
    """Have a process write ten records, each durable, and kill itself."""
    program = f"""
        import os, sessiondb
        db = sessiondb.open({path!r})
        t = db.table("records")
        for n in range(10):
            if n == {checkpoint_at}:
                db.checkpoint()
            t.put(f"key-{{n}}", {{"n": n}})
        os.kill(os.getpid(), 9)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False)
    assert done.returncode == -9
    return path


def log_of(store: str) -> Path:
    """The folder of a store's log."""
    return Path(store, "wal") if store.endswith(".lmdb") else Path(f"{store}.wal")


def segment_of(store: str) -> Path:
    """The one segment of a store's log."""
    (segment,) = log_of(store).glob("*.seg")
    return segment


def tree(folder: str | os.PathLike[str]) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {str(path): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def frames_of(run: Callable[..., Outcome], store: str) -> list[Any]:
    """The frames that `log dump` shows."""
    return [line for line in run("log", "dump", "--db", store, "--json").lines if line["kind"] == "frame"]


def change_byte(path: Path, offset: int) -> None:
    """Damage one byte of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 0xFF
    path.write_bytes(data)


def tear(store: str) -> None:
    """Make the last record's frame incomplete, and HEAD silent, as a power cut would."""
    segment = segment_of(store)
    data = segment.read_bytes()
    end = len(data.rstrip(b"\0"))
    segment.write_bytes(data[: end - 5] + bytes(len(data) - end + 5))
    (log_of(store) / "HEAD").unlink()


@pytest.fixture
def alpha(tmp_path: Path, pg_path: str, run: Callable[..., Outcome]) -> Host:
    """One of two hosts that share a store on a server, which is not there yet."""
    return Host("alpha", tmp_path / "alpha", pg_path, run)


@pytest.fixture
def beta(tmp_path: Path, pg_path: str, run: Callable[..., Outcome]) -> Host:
    """The other one."""
    return Host("beta", tmp_path / "beta", pg_path, run)
