"""The store's locks: OPEN, CKPT and LOCK, taken in this order.

The files are made once and never deleted or replaced: a process that holds the lock of a deleted file and one
that holds the lock of its successor would both think they are alone. The locks belong to open files, so they go
with the process that held them, whatever killed it.

* OPEN: who has the store open. A writer holds it alone; read-only openers share it.
* CKPT: who moves changes into the backend.
* LOCK: who appends to the log.

Until several processes may share a store, a writer holds all three for as long as it is open.
"""

from __future__ import annotations

import os
import sys
import time

import msgspec

from .errors import StoreBusyError
from .files import File, Files

__all__ = ["Holder", "StoreLocks"]

RETRY_S_MIN = 0.001
RETRY_S_MAX = 0.05


class Holder(msgspec.Struct, frozen=True):
    """Who holds OPEN, as the file says (a hint for people; the lock itself is the truth)."""

    pid: int
    program: str
    since: str
    """UTC, ISO 8601."""

    def __str__(self) -> str:
        return f"process {self.pid} ({self.program}) since {self.since}"


class StoreLocks:
    """The locks of one open store."""

    def __init__(self, files: Files, folder: str):
        self._files = files
        self._folder = folder
        self._held: list[File] = []

    def acquire(self, *, read_only: bool, timeout: float) -> None:
        """Take the locks: all three, or OPEN shared when `read_only`.

        Args:
            read_only: only read; the lock file must exist.
            timeout: longest wait in seconds; 0 tries once.

        Raises:
            StoreBusyError: another process has the store.
            OSError: a lock file cannot be opened.
        """
        deadline = time.monotonic() + timeout
        try:
            for name in ("OPEN",) if read_only else ("OPEN", "CKPT", "LOCK"):
                self._held.append(self._acquire(name, read_only, deadline))
            if not read_only:
                self._sign()
        except BaseException:
            self.release()
            raise

    def _acquire(self, name: str, read_only: bool, deadline: float) -> File:
        path = f"{self._folder}/{name}"
        pause = RETRY_S_MIN
        while True:
            file = self._files.open(path, create=not read_only, read_only=read_only)
            try:
                if self._files.try_lock(file, shared=read_only):
                    info = self._files.stat(path)
                    if info is not None and info.identity == file.identity():
                        return file
                    # The folder was replaced while we waited: this lock guards nothing, take the new file's.
            except BaseException:
                file.close()
                raise
            file.close()
            if time.monotonic() >= deadline:
                raise StoreBusyError(self._busy())
            time.sleep(pause)
            pause = min(pause * 2, RETRY_S_MAX)

    def _busy(self) -> str:
        holder = read_holder(self._files, self._folder)
        who = "another process" if holder is None else str(holder)
        if self._only_readers():
            who = "another process, read-only,"
        return f"the store is open elsewhere: {who} has it ({self._folder}); next: wait for it, or end that process"

    def _only_readers(self) -> bool:
        """Whether nobody holds OPEN alone: then the signature in it is an earlier writer's."""
        file = self._files.open(f"{self._folder}/OPEN", read_only=True)
        try:
            return self._files.try_lock(file, shared=True)
        finally:
            file.close()

    def _sign(self) -> None:
        folder, program = os.path.split(sys.argv[0] if sys.argv else "")
        if program == "__main__.py":  # python -m PACKAGE
            program = os.path.basename(folder)
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        text = msgspec.json.encode(Holder(os.getpid(), program[:100] or "python", since))
        self._held[0].pwrite(text.ljust(256) + b"\n", 0)

    def release(self) -> None:
        """Let go of all, last taken first; a second call does nothing."""
        while self._held:
            self._held.pop().close()


def read_holder(files: Files, folder: str) -> Holder | None:
    """Who last signed OPEN; ``None`` when nobody did or it cannot be read."""
    try:
        file = files.open(f"{folder}/OPEN", read_only=True)
    except OSError:
        return None
    try:
        return msgspec.json.decode(file.pread(512, 0), type=Holder)
    except (OSError, msgspec.DecodeError):
        return None
    finally:
        file.close()
