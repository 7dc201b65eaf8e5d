"""The disk is full when a store is made: an error that says so, and a whole store or none."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from crash.test_full_disk import fill
from crash.test_full_disk import small_disk as small_disk
from sessiondb.files import Files
from sessiondb.opening import backend_class

MAKE = """
import sys
from sessiondb.errors import BackendError
from sessiondb.files import Files
from sessiondb.opening import backend_class

backend, path = backend_class(sys.argv[1]), sys.argv[2]
try:
    opened = backend.open(Files(), path, create=True)
    print("made" if opened.check() == [] else "damaged")
    opened.close()
except BackendError:
    print("refused")
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("scheme", ["json", "sqlite", "lmdb"])
def test_a_store_that_is_made_on_a_full_disk_is_whole_or_not_there(scheme: str, small_disk: Path) -> None:
    """Two stories.

    LMDB's lock file was a hole that it mapped: the process ended with SIGBUS. And SQLite says nothing when the
    checkpoint fails that it makes at the end: the file was renamed without its log, and was damaged from then on.
    """
    backend, files = backend_class(scheme), Files()
    ends: Counter[str] = Counter()
    path = small_disk / "store"
    for left_kb in (0, *range(4, 132, 8)):
        ballast = fill(small_disk, left_kb)
        done = subprocess.run(
            [sys.executable, "-c", MAKE, scheme, str(path)], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), f"{left_kb} KiB left"
        ends[done.stdout.strip()] += 1
        ballast.unlink()
        if backend.exists(files, str(path)):
            opened = backend.open(files, str(path), create=False)
            assert opened.check() == [], f"{left_kb} KiB left"
            opened.close()
        for file in sorted(small_disk.rglob("*"), reverse=True):
            if file.is_dir():
                file.rmdir()
            else:
                file.unlink()
    assert ends.keys() == {"made", "refused"}
