"""Real files without syncs, and the moment of a SIGKILL.

A killed process leaves what the page cache holds: every write that it has made, none that it has not, synced or
not. So a copy of the folder taken before the n-th operation is exactly what a SIGKILL there would leave, and the
process that made it can go on and be closed in an orderly way: no descriptor and no thread leaks.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sessiondb.files import Bytes, File, Files, Mapping

__all__ = ["QuietFiles"]


class _QuietFile(File):
    files: QuietFiles

    def pwrite(self, data: Bytes, offset: int) -> None:
        if self.files.is_moment():
            # A SIGKILL can also come in the middle of a write.
            super().pwrite(bytes(data)[: len(data) * self.files.eighths // 8], offset)
            self.files.take_snapshot()
        super().pwrite(data, offset)

    def fdatasync(self) -> None:
        self.files.count()

    def fsync(self) -> None:
        self.files.count()


class _QuietMapping(Mapping):
    files: QuietFiles

    def write(self, data: bytes, offset: int) -> None:
        self.files.count()
        super().write(data, offset)

    def sync(self) -> None:
        self.files.count()


class QuietFiles(Files):
    """The real file system with syncs that do nothing, and one snapshot of a folder at a chosen operation."""

    def __init__(self) -> None:
        self.eighths = 0
        self._countdown = -1
        self._source = Path()
        self._target = Path()

    def snapshot_at(self, operation: int, eighths: int, source: Path, target: Path) -> None:
        """Before the operation with this number, counted from now, copy `source` to `target`.

        Args:
            operation: 0 is the next operation that changes something.
            eighths: if it is a write, how much of it is done before.
            source: an existing folder.
            target: a folder that does not exist.
        """
        self._countdown, self.eighths, self._source, self._target = operation, eighths, source, target

    def snapshot_now(self) -> None:
        """If the operation has not come, the moment is now."""
        if self._countdown >= 0:
            self._countdown = -1
            self.take_snapshot()

    def is_moment(self) -> bool:
        """Count one operation; whether it is the chosen one."""
        if self._countdown < 0:
            return False
        self._countdown -= 1
        return self._countdown < 0

    def take_snapshot(self) -> None:
        """Copy the folder."""
        shutil.copytree(self._source, self._target)

    def count(self) -> None:
        """Count one operation, and take the snapshot before it if it is the chosen one."""
        if self.is_moment():
            self.take_snapshot()

    def open(
        self, path: str, *, create: bool = False, exclusive: bool = False, read_only: bool = False, mode: int = 0o600
    ) -> File:
        if create:
            self.count()
        real = super().open(path, create=create, exclusive=exclusive, read_only=read_only, mode=mode)
        quiet = _QuietFile(real.descriptor, path)
        quiet.files = self
        return quiet

    def map(self, path: str, length: int) -> Mapping:
        real = super().map(path, length)
        quiet = _QuietMapping(real._memory, path)
        quiet.files = self
        return quiet

    def mkdir(self, path: str) -> None:
        self.count()
        super().mkdir(path)

    def replace(self, source: str, target: str) -> None:
        self.count()
        super().replace(source, target)

    def unlink(self, path: str) -> None:
        self.count()
        super().unlink(path)

    def sync_folder(self, path: str) -> None:
        self.count()
