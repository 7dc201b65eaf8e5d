"""Backends that do their own file I/O, on the simulated disk: what they store is one atomic, durable step.

SQLite and LMDB write their files themselves, so no `Files` sees how. What they promise of a transaction (all or
nothing, durable on return) is taken for granted here, and proved by kills and power cuts of real file systems
(`test_kill.py`, `test_powercut.py`); what the engine makes of it is what the simulator checks. The real backends do the
work, on real files in a scratch folder. After each `apply` the files' bytes are what the simulated disk holds of
the store; opening puts them back. The log is on the simulated disk as ever.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from sessiondb import opening
from sessiondb.backend import Backend, BackendView, Changes, Identity, Pace, Position
from sessiondb.errors import BackendError
from sessiondb.files import Files
from sessiondb_backends.memory import MemoryBackend

from .disk import SimulatedDisk
from .ops import Stored

__all__ = ["SCHEMES", "AtomicBackend", "AtomicMemory", "clean_up", "fast_folder"]

OPEN_MAX = 6
"""Real backends that stay open for the next one who opens the same content."""
PASSING = ("lock.mdb",)
"""Files that say nothing about what is stored; neither does SQLite's -shm."""

_T = TypeVar("_T")


SCHEMES = {
    "simlmdb": "crash.atomic:AtomicLmdb",
    "simmemory": "crash.atomic:AtomicMemory",
    "simpostgres": "crash.atomic_server:AtomicServer",
    "simsqlite": "crash.atomic:AtomicSqlite",
}
"""For `sessiondb.opening.BUILT_IN`, while a test runs."""


class AtomicBackend(Backend):
    """Stores by steps of a simulated disk.

    Nothing is kept in memory: every call goes to what the disk holds now.
    """

    def __init__(self, disk: SimulatedDisk, path: str):
        self._disk = disk
        self._path = path

    # ---- what a real backend is put into and made from

    @classmethod
    @abstractmethod
    def content_path(cls, path: str) -> str:
        """Where on the disk the content is."""

    @classmethod
    @abstractmethod
    def begin(cls) -> Stored:
        """A new, empty store."""

    @classmethod
    @abstractmethod
    def real(cls, stored: Stored) -> Backend:
        """A backend that holds this."""

    @classmethod
    @abstractmethod
    def change(cls, stored: Stored, how: Callable[[Backend], None]) -> Stored:
        """What the store is after a change; when that fails, nothing has happened."""

    failure: ClassVar[type[BackendError]] = BackendError

    @classmethod
    def attempt(cls, call: Callable[[], _T]) -> _T:
        """Have the disk do something."""
        try:
            return call()
        except OSError as error:
            raise cls.failure(f"the step failed: {error}; next: try again") from error

    # ---- the protocol

    @classmethod
    def exists(cls, files: Files, path: str) -> bool:
        """Whether a step has left something there."""
        assert isinstance(files, SimulatedDisk)
        return cls.attempt(lambda: files.look(cls.content_path(path))) is not None

    @classmethod
    def open(cls, files: Files, path: str, *, create: bool, read_only: bool = False) -> AtomicBackend:
        """Open what is there, or make a store in one step."""
        assert isinstance(files, SimulatedDisk)
        if not cls.exists(files, path):
            if not create:
                raise BackendError(f"nothing is at {path}")
            cls.attempt(lambda: files.step(cls.content_path(path), cls.begin))
        return cls(files, path)

    @property
    def _real(self) -> Backend:
        stored = self.attempt(lambda: self._disk.look(self.content_path(self._path)))
        if stored is None:
            raise BackendError(f"nothing is at {self._path} any more")
        return self.real(stored)

    def identity(self) -> Identity:
        """As stored."""
        return self._real.identity()

    def position(self) -> Position:
        """As stored."""
        return self._real.position()

    def read(self) -> BackendView:
        """A view of the real backend."""
        return self._real.read()

    def apply(self, changes: Changes, expected: Position, position: Position, pace: Pace) -> None:
        """One step."""
        self._step(lambda real: real.apply(changes, expected, position, pace))

    def settle(self) -> None:
        """Another step, if that changes any file."""
        path = self.content_path(self._path)
        before = self.attempt(lambda: self._disk.look(path))
        assert before is not None
        after = self.change(before, lambda real: real.settle())
        if after.digest != before.digest:
            self.attempt(lambda: self._disk.step(path, lambda: after))

    def _step(self, how: Callable[[Backend], None]) -> None:
        path = self.content_path(self._path)
        self.attempt(lambda: self._disk.step(path, lambda: self.change(self._disk.stores[path], how)))

    def check(self) -> list[str]:
        """What the real backend finds."""
        return self._real.check()

    def size(self) -> int:
        """As the real backend says."""
        return self._real.size()

    def close(self) -> None:
        """Nothing is held."""


class AtomicMemory(AtomicBackend):
    """The memory backend with a disk: content is uuid, position and state, which is never mutated."""

    scheme = "simmemory"

    @classmethod
    def log_folder(cls, path: str) -> str:
        """Beside it."""
        return f"{path}.wal"

    @classmethod
    def content_path(cls, path: str) -> str:
        """The path."""
        return path

    @classmethod
    def begin(cls) -> Stored:
        """Empty."""
        return cls._save(MemoryBackend(os.urandom(16)))

    @classmethod
    def real(cls, stored: Stored) -> Backend:
        """Made anew each time: it costs nothing."""
        uuid, position, state = stored.content
        backend = MemoryBackend(uuid)
        backend._position, backend._state = position, state
        return backend

    @classmethod
    def change(cls, stored: Stored, how: Callable[[Backend], None]) -> Stored:
        """Folded in."""
        backend = cls.real(stored)
        how(backend)
        return cls._save(backend)

    @staticmethod
    def _save(backend: Any) -> Stored:
        view = backend.read()
        total = hashlib.blake2b(backend.identity().uuid, digest_size=16)
        for name in sorted(view.tables()):
            total.update(repr((name, list(view.scan(name)), sorted(view.indexes(name)))).encode())
        total.update(str(view.position).encode())
        return Stored(total.digest(), (backend.identity().uuid, backend._position, backend._state))


# ---- real files


class _Scratch:
    """Where the real backends of this process have their files, and which of them are open."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._number = 0
        self._open: OrderedDict[bytes, tuple[Backend, Path]] = OrderedDict()

    def place(self) -> Path:
        """A folder that nothing is in."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="sessiondb-", dir=fast_folder()))
        self._number += 1
        made = self._folder / str(self._number)
        made.mkdir()
        return made

    def take(self, digest: bytes) -> tuple[Backend, Path] | None:
        """An open backend that holds this content; whoever takes it puts it back or closes it."""
        return self._open.pop(digest, None)

    def put(self, digest: bytes, backend: Backend, place: Path) -> None:
        """Keep a backend open, for a while."""
        for old in (self.take(digest), self._open.popitem(last=False)[1] if len(self._open) >= OPEN_MAX else None):
            if old is not None:
                remove(*old)
        self._open[digest] = (backend, place)

    def clean_up(self) -> None:
        """Close and remove everything."""
        while self._open:
            remove(*self._open.popitem()[1])
        if self._folder is not None:
            shutil.rmtree(self._folder)
            self._folder = None


def remove(backend: Backend, place: Path) -> None:
    """Close the backend and remove its files."""
    try:
        backend.close()
    finally:
        shutil.rmtree(place)


def fast_folder() -> str | None:
    """A folder in memory, where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


_scratch = _Scratch()


def clean_up() -> None:
    """Close and remove what the real backends of this process have open: at the end of a test."""
    _scratch.clean_up()


class AtomicFiles(AtomicBackend):
    """A real backend on real files: content is each file's bytes, by name.

    A backend that has a content open serves everyone who opens that content: nobody changes it but `change`, which
    takes it away from them.
    """

    real_scheme: ClassVar[str]

    @classmethod
    def _path_in(cls, place: Path) -> str:
        return str(place / "store")

    @classmethod
    def begin(cls) -> Stored:
        """As the real backend creates it."""
        place = _scratch.place()
        backend = opening.backend_class(cls.real_scheme).open(Files(), cls._made(place), create=True)
        stored = cls._save(place)
        _scratch.put(stored.digest, backend, place)
        return stored

    @classmethod
    def _made(cls, place: Path) -> str:
        """The path, after what the engine does before it opens a store."""
        return cls._path_in(place)

    @classmethod
    def real(cls, stored: Stored) -> Backend:
        """One that is open already, or opened from a copy of the files."""
        backend, place = _scratch.take(stored.digest) or cls._materialize(stored)
        _scratch.put(stored.digest, backend, place)
        return backend

    @classmethod
    def change(cls, stored: Stored, how: Callable[[Backend], None]) -> Stored:
        """On the real files; a failure leaves what is stored as it was."""
        backend, place = _scratch.take(stored.digest) or cls._materialize(stored)
        try:
            how(backend)
            after = cls._save(place)
        except BaseException:
            remove(backend, place)
            raise
        _scratch.put(after.digest, backend, place)
        return after

    @classmethod
    def _materialize(cls, stored: Stored) -> tuple[Backend, Path]:
        place = _scratch.place()
        path = cls._made(place)
        for name, data in stored.content.items():
            (place / name).write_bytes(data)
        try:
            return opening.backend_class(cls.real_scheme).open(Files(), path, create=False), place
        except BaseException:
            shutil.rmtree(place)
            raise

    @classmethod
    def _save(cls, place: Path) -> Stored:
        content = {}
        total = hashlib.blake2b(digest_size=16)
        for file in sorted(place.rglob("*")):
            if not file.is_file() or file.name in PASSING or file.name.endswith("-shm"):
                continue
            name = str(file.relative_to(place))
            data = content[name] = file.read_bytes()
            total.update(f"{name} {len(data)} ".encode())
            total.update(data)
        return Stored(total.digest(), content)


class AtomicSqlite(AtomicFiles):
    """The SQLite backend."""

    scheme = "simsqlite"
    real_scheme = "sqlite"

    @classmethod
    def log_folder(cls, path: str) -> str:
        """Beside it."""
        return f"{path}.wal"

    @classmethod
    def content_path(cls, path: str) -> str:
        """The file."""
        return path


class AtomicLmdb(AtomicFiles):
    """The LMDB backend: a folder."""

    scheme = "simlmdb"
    real_scheme = "lmdb"

    @classmethod
    def log_folder(cls, path: str) -> str:
        """Inside it."""
        return f"{path}/wal"

    @classmethod
    def content_path(cls, path: str) -> str:
        """The data file in it."""
        return f"{path}/data.mdb"

    @classmethod
    def _made(cls, place: Path) -> str:
        path = cls._path_in(place)
        os.mkdir(path, 0o700)
        os.mkdir(f"{path}/wal", 0o700)
        return path
