"""A simulated disk: the `files` layer in memory, with a record of everything that was done to it.

`SimulatedDisk` keeps the contract of `sessiondb.files`. What a running process sees is the live state (the page
cache and the directory cache); what a power cut may leave is worked out from `SimulatedDisk.log` by `crash.states`.
The record holds creations, writes (through a file or a mapping), syncs, renames, links, removals, folder syncs,
and what the workload announces: ``issued`` before a transaction is handed to the engine, ``returned`` when the call is
back, ``ack`` when the engine has said that it is durable, ``opened`` after a recovery.

Backends that do their own file I/O (SQLite, LMDB) keep what they hold in `SimulatedDisk.stores`, changed by `step`
only: the whole content at once, durable at once, with nothing in between (see `crash.atomic`).

Stops and faults:

* `kill`: the process dies; the page cache stays, all locks go, its open files are dead.
* `hook`: called before every operation; it may raise, or ask for half a write.
* `fail_sync`: a sync fails the way Linux lets it fail: the unsynced sectors never reach the disk, reads go on
  showing them until the cache is dropped, the next sync says OK.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from itertools import count

from sessiondb.files import Bytes, File, Files, FileStat, Mapping

from .ops import FOLDER, HALF, LATE, WHOLE, Op, Stored

__all__ = ["SimulatedDisk"]

_devices = count(1 << 20)


class Inode:
    """A file's contents as processes see them."""

    __slots__ = ("data", "dropped", "exclusive", "mode", "number", "shared")

    def __init__(self, number: int, data: bytes | bytearray):
        self.number = number
        self.data: bytes | bytearray = data
        """``bytes`` until the first write: many disks share what none of them changes."""
        self.mode = 0o600
        self.dropped: bytes | None = None
        """After a failed sync: what the disk really holds."""
        self.exclusive: object | None = None
        self.shared: set[object] = set()

    def write(self, data: Bytes, offset: int) -> None:
        """Change the bytes, making the file longer where needed."""
        live = self.data
        if not isinstance(live, bytearray):
            live = self.data = bytearray(live)
        if offset > len(live):
            live.extend(bytes(offset - len(live)))
        live[offset : offset + len(data)] = data


class SimulatedFile(File):
    """An open file of a simulated disk."""

    def __init__(self, disk: SimulatedDisk, inode: Inode, path: str, *, read_only: bool):
        super().__init__(disk.next_descriptor(), path)
        self._disk = disk
        self._inode = inode
        self._life = disk.life
        self._read_only = read_only

    def _act(self, kind: str) -> object:
        if self.descriptor < 0 or self._life != self._disk.life:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), self.path)
        hook = self._disk.hook
        return None if hook is None else hook(kind, self.path)

    def pread(self, length: int, offset: int) -> bytes:
        self._act("pread")
        return bytes(self._inode.data[offset : offset + length])

    def pwrite(self, data: Bytes, offset: int) -> None:
        wish = self._act("pwrite")
        if self._read_only:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), self.path)
        written = bytes(data)[: len(data) // 2] if wish == HALF else bytes(data)
        if written:
            self._inode.write(written, offset)
            self._disk.record(Op("write", self.path, self._inode.number, offset, written))
        if wish in (HALF, WHOLE):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)

    def size(self) -> int:
        self._act("size")
        return len(self._inode.data)

    def identity(self) -> tuple[int, int]:
        return (self._disk.device, self._inode.number)

    def fdatasync(self) -> None:
        self._act("fdatasync")
        self._disk.record(Op("sync", self.path, self._inode.number))
        after, self._disk.after_sync = self._disk.after_sync, None
        if after is not None:
            after()

    def fsync(self) -> None:
        self._act("fsync")
        self._disk.record(Op("sync", self.path, self._inode.number))

    def drop_cache(self) -> None:
        self._act("drop_cache")
        inode = self._inode
        if inode.dropped is not None:
            inode.data, inode.dropped = inode.dropped, None

    def set_owner(self, uid: int, gid: int) -> None:
        self._act("set_owner")

    def set_mode(self, mode: int) -> None:
        self._act("set_mode")
        self._inode.mode = mode

    def close(self) -> None:
        if self.descriptor >= 0:
            self.descriptor = -1
            if self._life == self._disk.life:
                self.unlock()

    def try_lock(self, shared: bool) -> bool:
        """As flock does: the lock belongs to this open file."""
        inode = self._inode
        others = inode.shared - {self}
        if inode.exclusive not in (None, self) or (others and not shared):
            return False
        self.unlock()
        if shared:
            inode.shared.add(self)
        else:
            inode.exclusive = self
        return True

    def unlock(self) -> None:
        """Let go of the lock, if there is one."""
        self._inode.shared.discard(self)
        if self._inode.exclusive is self:
            self._inode.exclusive = None


class SimulatedMapping(Mapping):
    """A mapping of a simulated file: its writes are writes that no sync has followed yet."""

    def __init__(self, disk: SimulatedDisk, inode: Inode, path: str):
        self.path = path
        self._disk = disk
        self._inode = inode
        self._life = disk.life
        self._closed = False

    def _must_live(self) -> None:
        if self._closed or self._life != self._disk.life:
            raise ValueError("mmap closed or invalid")

    def read(self, length: int, offset: int) -> bytes:
        self._must_live()
        return bytes(self._inode.data[offset : offset + length])

    def write(self, data: bytes, offset: int) -> None:
        self._must_live()
        self._inode.write(data, offset)
        self._disk.record(Op("write", self.path, self._inode.number, offset, bytes(data), mapped=True))

    def sync(self) -> None:
        self._must_live()
        hook = self._disk.hook
        if hook is not None:
            hook("msync", self.path)
        self._disk.record(Op("sync", self.path, self._inode.number))

    def close(self) -> None:
        self._closed = True


class SimulatedDisk(Files):
    """A disk in memory.

    Args:
        names: path to inode number (`FOLDER` for a folder): all of it is durable.
        contents: inode number to bytes: all of it is durable.
        stores: path to what a backend stored there.
        keep_log: record what is done, for `crash.states`.
    """

    def __init__(self, names: dict[str, int] | None = None, contents: dict[int, bytes] | None = None,
                 stores: dict[str, Stored] | None = None, *, keep_log: bool = True):  # fmt: skip
        contents = contents or {}
        self.device = next(_devices)
        self.names_before = dict(names or {"/sim": FOLDER})
        self.contents_before = dict(contents)
        self.stores_before = dict(stores or {})
        self.stores = dict(self.stores_before)
        self.in_flight: list[tuple[SimulatedDisk, str, Stored]] = []
        """Steps that a server has still to do; their senders were told that they failed."""
        self.entries = dict(self.names_before)
        self.inodes = {number: Inode(number, data) for number, data in contents.items()}
        self.log: list[Op] | None = [] if keep_log else None
        self.life = 0
        """Grows when the process dies: what it had open is dead."""
        self.hook: Callable[[str, str], object] | None = None
        """Called with the operation's name and path before each operation; raises to make it fail."""
        self.after_sync: Callable[[], object] | None = None
        """Called once, when the disk has done an fdatasync and the engine does not know yet: others are working too."""
        self._next_inode = max(contents, default=0) + 1
        self._next_descriptor = 1000

    # ---- the record

    def settle(self, history: object) -> None:
        """Begin the record anew: everything that processes see now is durable, and `history` is what led to it."""
        self.names_before = dict(self.entries)
        self.contents_before = {number: bytes(inode.data) for number, inode in self.inodes.items()}
        self.stores_before = dict(self.stores)
        self.log = [Op("history", "", data=history)]

    def record(self, op: Op) -> None:
        """Add to the log."""
        if self.log is not None:
            self.log.append(op)

    # ---- stops and faults

    def kill(self) -> None:
        """The process that used the disk dies."""
        self.life += 1
        self.hook = self.after_sync = None
        for inode in self.inodes.values():
            inode.exclusive = None
            inode.shared.clear()

    def fail_sync(self, path: str, durable: bytes) -> None:
        """Let a sync of the file fail: from now on the disk holds `durable`, and the cache hides that."""
        inode = self.inodes[self.entries[path]]
        inode.dropped = durable
        self.record(Op("sync_failed", path, inode.number))

    def copy(self, *, keep_log: bool = True) -> SimulatedDisk:
        """Another disk with the same live contents, all of them durable."""
        contents = {number: bytes(self.inodes[number].data) for number in self.entries.values() if number != FOLDER}
        return SimulatedDisk(self.entries, contents, self.stores, keep_log=keep_log)

    def file_bytes(self, path: str) -> bytes:
        """What a process would read from the file."""
        return bytes(self.inodes[self.entries[path]].data)

    def paths(self) -> list[str]:
        """Every file's path."""
        return sorted(path for path, number in self.entries.items() if number != FOLDER)

    def next_descriptor(self) -> int:
        """A number that no open file has."""
        self._next_descriptor += 1
        return self._next_descriptor

    # ---- what backends do by themselves

    def look(self, path: str) -> Stored | None:
        """What a backend has stored at the path."""
        self._act("look", path)
        return self.stores.get(path)

    def step(self, path: str, make: Callable[[], Stored]) -> None:
        """Let a backend store what `make` returns: atomic, and durable at once; the path's folder must be there."""
        wish = self._act("step", path)
        self._folder_of(path)
        self.land()
        stored = make()
        self.in_flight.append((self, path, stored))
        if wish != LATE:
            self.land()
        if wish in (LATE, WHOLE):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    def land(self) -> None:
        """What a server was told is done there, whatever became of its senders; whoever locks it waits for that."""
        while self.in_flight:
            disk, path, stored = self.in_flight.pop(0)
            self.stores[path] = stored
            disk.record(Op("step", path, data=stored))

    # ---- the contract of Files

    def _act(self, kind: str, path: str) -> object:
        return None if self.hook is None else self.hook(kind, path)

    def _folder_of(self, path: str) -> str:
        folder = path.rpartition("/")[0]
        number = self.entries.get(folder)
        if number is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if number != FOLDER:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return folder

    def _inode(self, path: str) -> Inode:
        number = self.entries.get(path)
        if number is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if number == FOLDER:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return self.inodes[number]

    def open(
        self, path: str, *, create: bool = False, exclusive: bool = False, read_only: bool = False, mode: int = 0o600
    ) -> File:
        missing = path not in self.entries
        self._act("create" if create and missing else "open", path)
        if create and missing:
            self._folder_of(path)
            inode = Inode(self._next_inode, b"")
            inode.mode = mode
            self._next_inode += 1
            self.inodes[inode.number] = inode
            self.entries[path] = inode.number
            self.record(Op("create", path, inode.number))
        elif create and exclusive:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        else:
            inode = self._inode(path)
        return SimulatedFile(self, inode, path, read_only=read_only)

    def map(self, path: str, length: int) -> Mapping:
        self._act("map", path)
        inode = self._inode(path)
        if len(inode.data) < length:
            raise ValueError("mmap length is greater than file size")
        return SimulatedMapping(self, inode, path)

    def stat(self, path: str) -> FileStat | None:
        self._act("stat", path)
        number = self.entries.get(path)
        if number is None:
            return None
        if number == FOLDER:
            return FileStat(0, (self.device, hash(path)), True, 0o700, os.geteuid(), os.getegid())
        inode = self.inodes[number]
        return FileStat(len(inode.data), (self.device, number), False, inode.mode, os.geteuid(), os.getegid())

    def names(self, folder: str) -> list[str]:
        self._act("names", folder)
        if self.entries.get(folder) != FOLDER:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
        start = f"{folder}/"
        rests = (path[len(start) :] for path in self.entries if path.startswith(start))
        return sorted(rest for rest in rests if "/" not in rest)

    def mkdir(self, path: str) -> None:
        self._act("mkdir", path)
        self._folder_of(path)
        if path in self.entries:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        self.entries[path] = FOLDER
        self.record(Op("mkdir", path, FOLDER))

    def replace(self, source: str, target: str) -> None:
        self._act("replace", target)
        inode = self._inode(source)
        self._folder_of(target)
        del self.entries[source]
        self.entries[target] = inode.number
        self.record(Op("replace", target, inode.number, data=source))

    def link(self, source: str, target: str) -> None:
        self._act("link", target)
        inode = self._inode(source)
        self._folder_of(target)
        if target in self.entries:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        self.entries[target] = inode.number
        self.record(Op("link", target, inode.number, data=source))

    def unlink(self, path: str) -> None:
        self._act("unlink", path)
        self._inode(path)
        number = self.entries.pop(path)
        self.record(Op("unlink", path, number))

    def sync_folder(self, path: str) -> None:
        self._act("sync_folder", path)
        if path != "/" and self.entries.get(path) != FOLDER:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self.record(Op("sync_folder", path, FOLDER))

    def try_lock(self, file: File, *, shared: bool = False) -> bool:
        self._act("lock", file.path)
        assert isinstance(file, SimulatedFile)
        return file.try_lock(shared)

    def boot_id(self) -> bytes:
        return b"simulated boot 1"
