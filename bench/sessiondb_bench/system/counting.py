"""Counting what reaches the operating system: bytes written and syncs, by kind of file, and what the kernel says."""

from __future__ import annotations

import os
import threading
from collections import Counter
from typing import NamedTuple

from sessiondb.files import Bytes, File, Files

__all__ = [
    "CountingFiles",
    "Resident",
    "allocated",
    "kind_of",
    "resident",
    "sync_all",
    "written_by_process",
    "written_to_device",
]


def kind_of(path: str) -> str:
    """``log``, ``lock``, ``head`` or ``store``: what a file of a store is for."""
    name = os.path.basename(path)
    if name.endswith(".seg"):
        return "log"
    if name == "HEAD":
        return "head"
    return "lock" if name in ("OPEN", "CKPT", "LOCK") else "store"


class CountingFiles(Files):
    """The real file system, counting.

    It sees what the engine and the JSON backend write. SQLite and LMDB write by themselves: see `written_by_process`.

    Attributes:
        written: bytes by `kind_of` file. HEAD is written through shared memory, which is not counted.
        syncs: fdatasync and fsync by kind of file; ``folder`` for folders.
    """

    def __init__(self) -> None:
        self.written: Counter[str] = Counter()
        self.syncs: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, counts: Counter[str], kind: str, number: int = 1) -> None:
        """Count, from any thread."""
        with self._lock:
            counts[kind] += number

    def open(
        self, path: str, *, create: bool = False, exclusive: bool = False, read_only: bool = False, mode: int = 0o600
    ) -> File:
        """As `Files.open`."""
        opened = super().open(path, create=create, exclusive=exclusive, read_only=read_only, mode=mode)
        return _CountingFile(self, opened)

    def sync_folder(self, path: str) -> None:
        """As `Files.sync_folder`."""
        self.add(self.syncs, "folder")
        super().sync_folder(path)


class _CountingFile(File):
    def __init__(self, files: CountingFiles, opened: File):
        super().__init__(opened.descriptor, opened.path)
        self._files = files
        self._kind = kind_of(opened.path)

    def pwrite(self, data: Bytes, offset: int) -> None:
        super().pwrite(data, offset)
        self._files.add(self._files.written, self._kind, len(data))

    def fdatasync(self) -> None:
        self._files.add(self._files.syncs, self._kind)
        super().fdatasync()

    def fsync(self) -> None:
        self._files.add(self._files.syncs, self._kind)
        super().fsync()


def written_by_process() -> int | None:
    """Bytes given to write calls of every kind since this process began, whoever in it made them.

    From /proc/self/io; ``None`` where there is none. Its other figure, ``write_bytes``, is of no use here: a byte that
    is changed in a large folio of the page cache counts as all of the folio, though only a page of it is written.
    """
    try:
        with open("/proc/self/io") as file:
            return {name: int(value) for name, value in (line.split(": ") for line in file)}["wchar"]
    except (OSError, KeyError, ValueError):
        return None


def written_to_device(folder: str) -> int | None:
    """Bytes written to the device that the folder is on since the machine started, by everybody.

    From /sys/dev/block; ``None`` where the file system has no device of its own.
    """
    number = os.stat(folder).st_dev
    try:
        with open(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat") as file:
            return int(file.read().split()[6]) * 512
    except (OSError, IndexError, ValueError):
        return None


class Resident(NamedTuple):
    """Resident memory of this process, in bytes."""

    own: int
    """Of the program itself."""
    mapped: int
    """Pages of files: the kernel takes them back when it needs them."""
    peak: int
    """The most that both were together."""


def resident() -> Resident | None:
    """From /proc/self/status; ``None`` where there is none."""
    try:
        with open("/proc/self/status") as file:
            fields = dict(line.split(":", 1) for line in file)
        own, mapped, peak = (int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile", "VmHWM"))
        return Resident(own, mapped, peak)
    except (OSError, KeyError, ValueError):
        return None


def sync_all(folder: str) -> None:
    """Make the files below a folder durable, and leave those of other programs alone."""
    for parent, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(os.path.join(parent, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def allocated(folder: str) -> Counter[str]:
    """Bytes that the files below a folder take on the disk, by `kind_of` file; what is a hole takes nothing."""
    sizes: Counter[str] = Counter()
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            sizes[kind_of(path)] += os.stat(path).st_blocks * 512
    return sizes
