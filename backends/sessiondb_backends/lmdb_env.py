"""LMDB environments: one for each data file and process, shared, and never used across a fork.

Opening a file twice in one process would break LMDB's locks (they are POSIX locks, which belong to process and file),
so backends and views share one `Environment`, which is closed when the last of them lets go of it.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sessiondb.errors import BackendError, ClosedError, ConfigError, CorruptionError, SessionDBError

if TYPE_CHECKING:
    import lmdb

__all__ = ["MAP_BYTES", "Environment", "OutOfOrder", "driver", "failing", "failure"]

MAP_BYTES = (1 << 40, 1 << 36, 1 << 32, 1 << 30)
"""Sizes of the map, the first that the address space allows. It costs no memory and no disk; making it larger later
would end every read that is going on, so it is made large from the beginning."""
READERS_MAX = 1024
DATABASES_MIN = 4096
"""Tables and indexes that fit at least; twice as many as there are, if that is more."""

DAMAGE = {
    "OutOfOrder",
    "CorruptedError",
    "PageNotFoundError",
    "InvalidError",
    "CursorFullError",  # a tree is deeper than can be
    "NotFoundError",  # a database that the directory names is missing
    "IncompatibleError",  # or is none
    "BadTxnError",  # the transaction has met damage before, and is of no use any more
}
"""Names of errors that can only come from a damaged file."""

_T = TypeVar("_T")

_lock = threading.RLock()  # an RLock: a view that is garbage may be released inside the locked region
_open: dict[tuple[int, int], Environment] = {}


def driver() -> ModuleType:
    """The module ``lmdb``, imported now.

    Raises:
        ConfigError: it is not installed, or too old.
    """
    try:
        import lmdb
    except ImportError as error:
        raise ConfigError(
            'the LMDB backend needs the package lmdb, which is not installed; next: pip install "sessiondb[lmdb]"'
        ) from error
    version = getattr(lmdb, "__version__", "0")
    if int(version.split(".")[0]) < 3:
        # Before 2.1 a damaged file can crash the process; 3.0 can be told which of LMDB's formats to write.
        raise ConfigError(
            f'the LMDB backend needs lmdb 3.0 or later, found {version}; next: pip install -U "sessiondb[lmdb]"'
        )
    return lmdb


class OutOfOrder(Exception):
    """A damaged tree: its entries do not ascend. Following it might never end."""

    def __init__(self) -> None:
        super().__init__("entries are out of order, so pages are damaged")


def failure(error: Exception, what: str, path: str) -> SessionDBError:
    """An error of LMDB as one of ours: damage is told from refusal."""
    name = type(error).__name__
    if name in DAMAGE:
        return CorruptionError(f"LMDB cannot {what}: {error}", path=path)
    if name in ("MapFullError", "MapResizedError"):
        step = "give the process a larger address space (ulimit -v), then close the store and open it again"
    elif name == "ReadersFullError":
        step = f"close snapshots: at most {READERS_MAX} views of a store can be open at a time, in all processes"
    elif name == "DbsFullError":
        step = "close the store and open it again: that makes room for twice as many tables and indexes"
    elif name == "PanicError":
        step = "close the store and open it again"
    elif error.args and "Input/output error" in str(error):
        step = "look at the disk, which is failing or full (LMDB does not tell), then try again"
    else:
        step = "mend the cause and try again"
    return BackendError(f"LMDB cannot {what}: {error} ({path}); what was there is kept; next: {step}")


@contextmanager
def failing(errors: type[Exception], what: str, path: str) -> Iterator[None]:
    """Errors of LMDB (of the class `errors`) as ours."""
    try:
        yield
    except (errors, OutOfOrder) as error:
        raise failure(error, what, path) from error


class _Reader(Protocol):
    """What an environment must be able to stop in a forked child."""

    def forget(self, reason: str) -> None:
        """Answer every further call with `ClosedError`."""


class Environment:
    """An open LMDB environment, its handles of named databases, and who uses it."""

    def __init__(
        self, key: tuple[int, int], path: str, env: lmdb.Environment, errors: type[Exception], protected: bool
    ):
        self.path = path
        self.env = env
        self.errors = errors
        """`lmdb.Error`."""
        self.protected = protected
        """False: opened read-only and without LMDB's lock file, so nothing keeps a writer from pages in use."""
        self.writing = threading.Lock()
        """Held by whoever writes or opens handles: LMDB wants one transaction at a time for either."""
        self.handles: dict[bytes, lmdb._Database] = {}
        self.readers: weakref.WeakSet[_Reader] = weakref.WeakSet()
        self.gone = ""
        """Why it cannot be used any more; empty while it can."""
        self.key = key
        """Device and inode of the data file."""
        self._users = 0
        self._pid = os.getpid()

    @classmethod
    def attach(cls, key: tuple[int, int], path: str, databases: int, read_only: bool) -> Environment:
        """The environment of the data file with this (device, inode), opened or shared; `release` it.

        Args:
            key: from `Files.stat` of ``data.mdb``.
            path: the folder.
            databases: how many named databases there are.
            read_only: create and change nothing, the lock file included.

        Raises:
            BackendError: LMDB refused.
        """
        with _lock:
            found = _open.get(key)
            if found is None:
                found = _open[key] = cls._open(key, path, databases, read_only)
            elif not found.protected and not read_only:
                raise BackendError(f"{path} is open read-only in this process; next: close that first")
            found._users += 1
            return found

    @classmethod
    def _open(cls, key: tuple[int, int], path: str, databases: int, read_only: bool) -> Environment:
        lmdb = driver()

        def opened(map_size: int) -> Any:
            # Read-only means that nothing is created, so there is no lock file to register a reader in. That is safe
            # because the engine lets no writer have the store while a reader holds it. Without that guarantee LMDB
            # would serve pages that were overwritten meanwhile, silently (measured: 2,000 of 2,000 values wrong).
            return lmdb.Environment(
                path, map_size=map_size, subdir=True, mode=0o600, create=False, readonly=read_only,
                lock=not read_only, sync=True, metasync=True, map_async=False, writemap=False, readahead=True,
                max_readers=READERS_MAX, max_dbs=max(DATABASES_MIN, 2 * databases), max_spare_txns=0, lib_version=0,
            )  # fmt: skip

        env = _with_largest_map(opened, lmdb.Error, path)
        made = cls(key, path, env, lmdb.Error, protected=not read_only)
        try:
            with failing(lmdb.Error, "clear stale readers", path):
                if not read_only:
                    env.reader_check()  # reads of killed processes keep pages from being reused
        except BaseException:
            env.close()
            raise
        return made

    def retain(self) -> None:
        """One user more."""
        with _lock:
            self._users += 1

    def release(self) -> None:
        """One user less; the last one closes the environment."""
        if self.is_gone():
            return
        with _lock:
            self._users -= 1
            if self._users:
                return
            self.gone = f"the store at {self.path} is closed; next: open it again"
            _open.pop(self.key, None)
            self.handles.clear()
            self.env.close()

    def is_gone(self) -> bool:
        """Whether LMDB must not be called: closed, or the parent's. Right in a forked child from its first moment."""
        return bool(self.gone) or os.getpid() != self._pid

    def must_be_usable(self) -> None:
        """Raise unless LMDB may be called.

        Raises:
            ClosedError: closed, or the parent process's.
        """
        if self.is_gone():
            raise ClosedError(self.gone or f"the store at {self.path} belongs to the parent process")

    def open_handles(self, names: list[bytes]) -> None:
        """Open named databases that exist; the caller holds `writing`.

        A handle becomes the environment's own by the commit of the transaction that opened it, and only later
        transactions can use it. The driver ends read transactions without a commit, so it takes one for writing,
        though nothing is written.
        """
        if self.protected and names:
            with self.env.begin(write=True) as transaction:
                opened = {name: self.env.open_db(name, txn=transaction, create=False) for name in names}
        else:
            opened = {name: self.env.open_db(name, create=False) for name in names}
        self.handles.update(opened)

    def abandon(self) -> None:
        """In a forked child: never call LMDB for this environment again, not even to close it.

        Closing would clear the reader slots of the parent's views in the shared lock file; then the parent's next
        write would overwrite what they read.
        """
        if self.gone:
            return
        self.gone = f"the store at {self.path} belongs to the parent process; next: open it in this process"
        for reader in list(self.readers):
            reader.forget(self.gone)
        # For ever: the end of the interpreter clears every list, and would close what is in it.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.env))


def _with_largest_map(opened: Callable[[int], _T], errors: type[Exception], path: str) -> _T:
    for number, size in enumerate(MAP_BYTES):
        try:
            return opened(size)
        except errors as error:
            # A limit on the address space shows as ENOMEM; everything else is no matter of size.
            if type(error).__name__ != "MemoryError" or number == len(MAP_BYTES) - 1:
                raise failure(error, "open the environment", path) from error
    raise AssertionError("unreachable")


# ---- forks


def _forget_everything() -> None:
    """In a forked child: the environments are the parent's, and the same files may be opened anew."""
    global _lock
    _lock = threading.RLock()
    if not _open:
        return
    for environment in list(_open.values()):
        environment.abandon()
    _open.clear()
    _disown_driver_keys()


def _disown_driver_keys() -> None:
    """The driver refuses to open a file twice in a process, and takes what the parent has open for this process's."""
    try:
        from lmdb import _envid
    except ImportError:
        return
    inherited, child = _envid.env_keys, os.getpid()

    def env_keys(path: Any, subdir: Any) -> tuple[Any, ...]:
        keys: tuple[Any, ...] = inherited(path, subdir)  # type: ignore[no-untyped-call]
        return tuple((child, key) for key in keys)

    _envid.env_keys = env_keys


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_everything)
