"""A disk that counts, that waits where a test wants it to, and that fails on demand."""

from __future__ import annotations

import errno as errno_module
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..files import Bytes, File, Files, Mapping

__all__ = ["FaultyFiles"]

Hook = Callable[[str, str], None]


class FaultyFiles(Files):
    """The real file system, except for what a test asks for.

    Operations are named ``create``, ``open``, ``map``, ``pread``, ``pwrite``, ``fdatasync``, ``fsync``,
    ``set_mode``, ``set_owner``, ``replace``, ``link``, ``unlink``, ``mkdir``, ``rmdir``, ``names``, ``sync_folder``
    and ``msync``.

    Args:
        really_sync: False makes syncs return at once, for suites that test no crash.
    """

    def __init__(self, *, really_sync: bool = False):
        self.really_sync = really_sync
        self.counts: Counter[str] = Counter()
        """How often each operation was begun."""
        self.before: Hook | None = None
        """Called with the operation and its path before it is done; what it raises, the operation raises."""
        self.after: Hook | None = None
        """The same, when it has been done."""
        self._lock = threading.Lock()

    @contextmanager
    def failing(self, operation: str, errno: int = errno_module.EIO, *, path: str = "") -> Iterator[list[str]]:
        """Let an operation (``"*"``: every one) fail on paths that contain `path`.

        Yields:
            The paths it failed on so far.
        """
        failed: list[str] = []
        outer = self.before

        def fail(done: str, where: str) -> None:
            if outer is not None:
                outer(done, where)
            if operation in (done, "*") and path in where:
                failed.append(where)
                raise OSError(errno, os.strerror(errno), where)

        self.before = fail
        try:
            yield failed
        finally:
            self.before = outer

    @contextmanager
    def failing_at(self, number: int, errno: int = errno_module.EIO, *, after: bool = False) -> Iterator[list[str]]:
        """Let the operation with this number fail (1: the next one), once.

        Args:
            number: counts all operations, or with `after` those that change something.
            errno: of the OSError.
            after: fail when the operation has been done.

        Yields:
            The path it failed on, or nothing as long as it did not come to that.
        """
        failed: list[str] = []
        numbers = iter(range(1, number + 1))

        def fail(_: str, where: str) -> None:
            if next(numbers, None) == number:
                failed.append(where)
                raise OSError(errno, os.strerror(errno), where)

        name = "after" if after else "before"
        outer = getattr(self, name)
        setattr(self, name, fail)
        try:
            yield failed
        finally:
            setattr(self, name, outer)

    def begin(self, operation: str, path: str) -> None:
        """Count, and let the test interfere."""
        with self._lock:
            self.counts[operation] += 1
        if self.before is not None:
            self.before(operation, path)

    def end(self, operation: str, path: str) -> None:
        """Let the test interfere with what has been done."""
        if self.after is not None:
            self.after(operation, path)

    # ---- the contract of Files

    def open(
        self, path: str, *, create: bool = False, exclusive: bool = False, read_only: bool = False, mode: int = 0o600
    ) -> File:
        """As `Files.open`; the operation is ``create`` or ``open``."""
        operation = "create" if create else "open"
        self.begin(operation, path)
        real = super().open(path, create=create, exclusive=exclusive, read_only=read_only, mode=mode)
        try:
            self.end(operation, path)
        except BaseException:
            real.close()
            raise
        return _FaultyFile(self, real)

    def map(self, path: str, length: int) -> Mapping:
        """As `Files.map`."""
        self.begin("map", path)
        return _FaultyMapping(self, super().map(path, length))

    def names(self, folder: str) -> list[str]:
        """As `Files.names`."""
        self.begin("names", folder)
        return super().names(folder)

    def mkdir(self, path: str) -> None:
        """As `Files.mkdir`."""
        self.begin("mkdir", path)
        super().mkdir(path)
        self.end("mkdir", path)

    def replace(self, source: str, target: str) -> None:
        """As `Files.replace`; the path is the target's."""
        self.begin("replace", target)
        super().replace(source, target)
        self.end("replace", target)

    def link(self, source: str, target: str) -> None:
        """As `Files.link`; the path is the target's."""
        self.begin("link", target)
        super().link(source, target)
        self.end("link", target)

    def unlink(self, path: str) -> None:
        """As `Files.unlink`."""
        self.begin("unlink", path)
        super().unlink(path)
        self.end("unlink", path)

    def rmdir(self, path: str) -> None:
        """As `Files.rmdir`."""
        self.begin("rmdir", path)
        super().rmdir(path)
        self.end("rmdir", path)

    def sync_folder(self, path: str) -> None:
        """As `Files.sync_folder`."""
        self.begin("sync_folder", path)
        if self.really_sync:
            super().sync_folder(path)
        self.end("sync_folder", path)


class _FaultyFile(File):
    def __init__(self, disk: FaultyFiles, real: File):
        super().__init__(real.descriptor, real.path)
        self._disk = disk

    def pread(self, length: int, offset: int) -> bytes:
        self._disk.begin("pread", self.path)
        return super().pread(length, offset)

    def pwrite(self, data: Bytes, offset: int) -> None:
        self._disk.begin("pwrite", self.path)
        super().pwrite(data, offset)
        self._disk.end("pwrite", self.path)

    def fdatasync(self) -> None:
        self._disk.begin("fdatasync", self.path)
        if self._disk.really_sync:
            super().fdatasync()
        self._disk.end("fdatasync", self.path)

    def fsync(self) -> None:
        self._disk.begin("fsync", self.path)
        if self._disk.really_sync:
            super().fsync()
        self._disk.end("fsync", self.path)

    def set_owner(self, uid: int, gid: int) -> None:
        self._disk.begin("set_owner", self.path)
        super().set_owner(uid, gid)

    def set_mode(self, mode: int) -> None:
        self._disk.begin("set_mode", self.path)
        super().set_mode(mode)


class _FaultyMapping(Mapping):
    def __init__(self, disk: FaultyFiles, real: Mapping):
        super().__init__(real._memory, real.path)
        self._disk = disk

    def sync(self) -> None:
        self._disk.begin("msync", self.path)
        if self._disk.really_sync:
            super().sync()
