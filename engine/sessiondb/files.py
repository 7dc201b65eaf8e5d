"""The one place that touches the operating system's files.

Everything above takes a `Files` as an argument, so that tests can put a recording, faulty or simulated disk
under the whole engine. The contract of the operations, as the engine relies on it:

* `File.pwrite` writes all bytes or raises; what a failed call left behind is undefined.
* `File.fdatasync` makes the file's bytes and its size durable; `File.fsync` everything about the file. Neither
  makes the file's *name* durable: that takes `Files.sync_folder` on its folder.
* `Files.replace`, `Files.link`, `Files.unlink`, `Files.mkdir`, `Files.rmdir` and the creation of a file are atomic,
  and durable only after `Files.sync_folder`; until then a power cut may undo any of them, in any order.
* A `Mapping` is shared memory on a file: its writes are seen by all processes at once and reach the disk at
  some time, in any order. An aligned write of 8 bytes is never seen in part.

Errors are the operating system's own (`OSError`); the engine says what they mean.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat as stat_module
import sys
from typing import NamedTuple

__all__ = ["REAL_FILES", "Bytes", "File", "FileStat", "Files", "Mapping"]

Bytes = bytes | bytearray | memoryview


class FileStat(NamedTuple):
    """What `Files.stat` tells of a path (symlinks followed)."""

    size: int
    identity: tuple[int, int]
    """(device, inode): equal for two paths that name the same file."""
    is_folder: bool
    mode: int
    """Permission bits."""
    uid: int
    gid: int


class File:
    """An open file. Not thread-safe as a whole, but pread and syncs may run beside a pwrite."""

    def __init__(self, descriptor: int, path: str):
        self.descriptor = descriptor
        self.path = path

    def pread(self, length: int, offset: int) -> bytes:
        """Read up to `length` bytes; fewer only where the file ends."""
        data = os.pread(self.descriptor, length, offset)
        if len(data) == length or not data:
            return data
        parts = [data]
        got = len(data)
        while got < length:
            data = os.pread(self.descriptor, length - got, offset + got)
            if not data:
                break
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def pwrite(self, data: Bytes, offset: int) -> None:
        """Write all of `data` at `offset`, or raise OSError having written an unknown part of it."""
        written = os.pwrite(self.descriptor, data, offset)
        if written == len(data):
            return
        view = memoryview(data)
        while written < len(view):
            count = os.pwrite(self.descriptor, view[written:], offset + written)
            if count == 0:
                raise OSError(errno.EIO, "the file system wrote nothing", self.path)
            written += count

    def size(self) -> int:
        """The file's size in bytes."""
        return os.fstat(self.descriptor).st_size

    def identity(self) -> tuple[int, int]:
        """(device, inode) of the open file, to compare with `FileStat.identity` of its path."""
        info = os.fstat(self.descriptor)
        return (info.st_dev, info.st_ino)

    def fdatasync(self) -> None:
        """Make bytes and size durable (F_FULLFSYNC on macOS)."""
        if sys.platform == "darwin":
            fcntl.fcntl(self.descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fdatasync(self.descriptor)

    def fsync(self) -> None:
        """Make bytes and all metadata of the file durable (F_FULLFSYNC on macOS)."""
        if sys.platform == "darwin":
            fcntl.fcntl(self.descriptor, fcntl.F_FULLFSYNC)
        else:
            os.fsync(self.descriptor)

    def drop_cache(self) -> None:
        """Ask the kernel to forget clean cached pages: after a failed sync the cache may show what is not on disk."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def set_owner(self, uid: int, gid: int) -> None:
        """Change owner and group."""
        os.fchown(self.descriptor, uid, gid)

    def set_mode(self, mode: int) -> None:
        """Change the permission bits, whatever the umask."""
        os.fchmod(self.descriptor, mode)

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class Mapping:
    """A file's first bytes as shared memory."""

    def __init__(self, memory: mmap.mmap, path: str):
        self._memory = memory
        self.path = path

    def read(self, length: int, offset: int) -> bytes:
        """The bytes as any process sees them now."""
        return self._memory[offset : offset + length]

    def write(self, data: bytes, offset: int) -> None:
        """Store the bytes: seen by every process at once, on disk at some time."""
        self._memory[offset : offset + len(data)] = data

    def sync(self) -> None:
        """Make what was stored so far durable."""
        self._memory.flush()

    def close(self) -> None:
        """Unmap; a second call does nothing."""
        self._memory.close()


class Files:
    """The real file system."""

    def open(
        self,
        path: str,
        *,
        create: bool = False,
        exclusive: bool = False,
        read_only: bool = False,
        mode: int = 0o600,
    ) -> File:
        """Open a file for reading and writing.

        Args:
            path: the file.
            create: make it (empty, permission bits `mode`) when it is missing.
            exclusive: with `create`, raise FileExistsError when it is not missing.
            read_only: open for reading only.
            mode: permission bits of a new file.
        """
        flags = os.O_RDONLY if read_only else os.O_RDWR
        if create:
            flags |= os.O_CREAT | (os.O_EXCL if exclusive else 0)
        return File(os.open(path, flags | os.O_CLOEXEC, mode), path)

    def map(self, path: str, length: int) -> Mapping:
        """Map the first `length` bytes of an existing file that is at least as long, for reading and writing."""
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            return Mapping(mmap.mmap(descriptor, length), path)
        finally:
            os.close(descriptor)

    def stat(self, path: str) -> FileStat | None:
        """What is at the path, symlinks followed; ``None`` when nothing is there."""
        try:
            info = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        mode = stat_module.S_IMODE(info.st_mode)
        folder = stat_module.S_ISDIR(info.st_mode)
        return FileStat(info.st_size, (info.st_dev, info.st_ino), folder, mode, info.st_uid, info.st_gid)

    def names(self, folder: str) -> list[str]:
        """The names in a folder, sorted."""
        return sorted(os.listdir(folder))

    def mkdir(self, path: str) -> None:
        """Make one folder, readable by its owner only; FileExistsError when something is there."""
        os.mkdir(path, 0o700)

    def replace(self, source: str, target: str) -> None:
        """Rename, replacing what is at the target."""
        os.replace(source, target)

    def link(self, source: str, target: str) -> None:
        """Give a file a second name; FileExistsError when the name is taken."""
        os.link(source, target)

    def unlink(self, path: str) -> None:
        """Remove a name; FileNotFoundError when it is missing."""
        os.unlink(path)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder; FileNotFoundError when it is missing."""
        os.rmdir(path)

    def sync_folder(self, path: str) -> None:
        """Make creations, renames and removals in the folder durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if sys.platform == "darwin":
                fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            else:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def try_lock(self, file: File, *, shared: bool = False) -> bool:
        """Take the file's advisory lock without waiting; False when somebody else has it.

        The lock belongs to the open file: it goes when the last descriptor of it is closed, also by the death of
        the process.
        """
        if shared:
            try:
                fcntl.flock(file.descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True
        import portalocker  # only who opens a store for writing pays for it

        try:
            portalocker.lock(file.descriptor, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        except portalocker.AlreadyLocked:
            return False
        return True

    def boot_id(self) -> bytes:
        """16 bytes that change at every boot of the machine; zeros where the system does not tell."""
        try:
            with open("/proc/sys/kernel/random/boot_id", "rb") as file:
                return bytes.fromhex(file.read().strip().replace(b"-", b"").decode())
        except OSError:
            return bytes(16)


REAL_FILES = Files()
"""The file system; one object, since it is how a process knows a store that it has open."""
