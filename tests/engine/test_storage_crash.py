"""A whole state is written at once or not at all, also when the process dies in the middle, on every backend."""

import inspect
import os
import signal
import subprocess
import sys

import msgspec
import pytest

from crash.conftest import fast_folder
from crash.killing import DyingFiles
from sessiondb import JsonFileStorage, LmdbStorage, SqliteStorage

__all__ = ["fast_folder"]

KINDS = [JsonFileStorage, SqliteStorage, LmdbStorage]


class Note(msgspec.Struct):
    id: str
    text: str = ""


def state_of(generation, size):
    """Entities that stay and change, and some that are only in this generation."""
    ids = [f"k{number}" for number in range(size)] + [f"k{number}-{generation}" for number in range(size // 2)]
    return {id: Note(id, f"{generation} {'x' * (generation * 37 % 200)}") for id in sorted(ids)}


# ---- at every operation on the log's files


STATES = [{}, *(state_of(generation, 6) for generation in range(1, 4)), {}, state_of(5, 3)]


def write_states(kind, path, files, acknowledge):
    storage = kind(path, Note, files=files, checkpoint_records=25)
    for state in STATES[1:]:
        storage.write_state(state)
        acknowledge()
    storage.close()


def die_at(kind, path, fatal, moment):
    """Write the states in a child that dies there; whether it did, and how many states it had written by then."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            write_states(kind, path, DyingFiles(fatal=fatal, moment=moment), lambda: os.write(writing, b"."))
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        written = len(pipe.read())
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9, written


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_death_at_any_operation_leaves_one_state_as_a_whole(kind, fast_folder):
    files = DyingFiles()
    write_states(kind, fast_folder / "count", files, lambda: None)
    deaths = 0
    for fatal in range(files.count):
        path = fast_folder / str(fatal)
        died, written = die_at(kind, path, fatal, ("before", "half", "after")[fatal % 3])
        deaths += died
        with kind(path, Note) as storage:
            found = storage.read_state()
        assert found in STATES[written : written + 2], f"operation {fatal}, {written} states were written"
    assert deaths >= files.count // 2  # nothing dies in the middle of what has no middle


# ---- at any moment


BUSY = f"""
import sys
import msgspec
import sessiondb

{inspect.getsource(Note)}
{inspect.getsource(state_of)}
kind, path, generation = sys.argv[1:]
with getattr(sessiondb, kind)(path, Note, checkpoint_records=100) as storage:
    while True:
        generation = int(generation) + 1
        storage.write_state(state_of(generation, 20))
        print(generation, flush=True)
"""


def kill_when(kind, path, generation, after):
    """SIGKILL a process when it has written so many states; the last that it acknowledged."""
    arguments = [sys.executable, "-c", BUSY, kind.__name__, str(path), str(generation)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        told = [int(child.stdout.readline()) for _ in range(after)]
        child.send_signal(signal.SIGKILL)
        told += [int(line) for line in child.stdout if line.endswith(b"\n")]
    assert child.returncode == -signal.SIGKILL
    return told[-1]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_sigkill_leaves_the_last_acknowledged_state_or_the_next_as_a_whole(kind, tmp_path):
    generation = 0
    for after in (1, 7, 40):
        acknowledged = kill_when(kind, tmp_path / "x", generation, after)
        with kind(tmp_path / "x", Note) as storage:
            found = storage.read_state()
        generation = int(found["k0"].text.split()[0])
        assert generation in (acknowledged, acknowledged + 1)
        assert found == state_of(generation, 20)
