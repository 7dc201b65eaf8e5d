"""The LMDB backend: a folder with a memory-mapped B-tree; every checkpoint is one transaction of it.

LMDB writes changed pages to free places, syncs, and then writes one of its two meta pages, synced too: a reader and a
crash see the old tree or the new one. A view is a read transaction; the pages that it can see are not used again
while it lives.
"""

from __future__ import annotations

import weakref

from sessiondb.backend import Backend, Changes, Identity, Pace, Position
from sessiondb.errors import BackendError, CorruptionError, FencedError, ReadOnlyError, UnsupportedFormatError
from sessiondb.files import Files
from sessiondb.replacement import Replacement

from . import lmdb_check, lmdb_place, lmdb_replacement
from .lmdb_apply import Writer
from .lmdb_env import Environment, driver, failing
from .lmdb_format import DIRECTORY, FORMAT_VERSION, STATE_KEY, State, encode_state
from .lmdb_place import DATA, LOG, is_store, look, sync
from .lmdb_snapshot import Get, read_state
from .lmdb_view import LmdbView
from .system_errors import attempt

__all__ = ["LmdbBackend"]


class LmdbBackend(Backend):
    """One LMDB environment."""

    scheme = "lmdb"
    slice_s = 0.00005

    def __init__(self, files: Files, path: str, environment: Environment, state: State, *, read_only: bool):
        self._files = files
        self._path = path
        self._environment = environment
        self._identity = state.identity
        self._read_only = read_only
        self._views: weakref.WeakSet[LmdbView] = weakref.WeakSet()
        self._closed = False

    @classmethod
    def log_folder(cls, path: str) -> str:
        """``<path>/wal``, inside the folder."""
        return f"{path}/{LOG}"

    @classmethod
    def exists(cls, files: Files, path: str) -> bool:
        """Whether the folder holds an LMDB environment with a directory of ours, judged without LMDB.

        Raises:
            WrongBackendError: something else is there.
            CorruptionError: LMDB's own structure is damaged.
            ConfigError: the driver is missing; it is said here, before anything is made.
        """
        driver()
        return attempt(f"look at {path}", lambda: is_store(files, path))

    @classmethod
    def open(cls, files: Files, path: str, *, create: bool, read_only: bool = False) -> LmdbBackend:
        """Open the environment, or make one.

        Raises:
            WrongBackendError: something else is there; it is left untouched.
            CorruptionError: the store is damaged.
            UnsupportedFormatError: a later version wrote it.
            BackendError: the operating system or LMDB refused.
        """
        if not cls.exists(files, path):
            if not create:
                raise BackendError(f"the LMDB database {path}/{DATA} is missing")
            attempt(f"create {path}", lambda: lmdb_place.create(files, path))
        elif not read_only:
            attempt(f"sync {path}", lambda: sync(files, path))
        databases = attempt(f"read {path}", lambda: look(files, path)).main_entries
        if not read_only:
            lock = f"{path}/{lmdb_place.LOCK}"
            attempt(f"make {lock}", lambda: lmdb_place.make_lock_file(files, lock))
        environment = Environment.attach(_data_file(files, path), path, databases, read_only)
        try:
            return cls(files, path, environment, _open_directory(environment), read_only=read_only)
        except BaseException:
            environment.release()
            raise

    def identity(self) -> Identity:
        """From the store's state."""
        return self._identity

    def position(self) -> Position:
        """From the store's state, in a new transaction on the file that has the name now."""
        self._must_be_in_place()
        with (
            failing(self._environment.errors, "read the position", self._path),
            self._environment.env.begin() as transaction,
        ):
            return self._stored(transaction.get).position

    def read(self) -> LmdbView:
        """A new read transaction."""
        view = LmdbView(self._environment)
        if not self._environment.protected:
            self._views.add(view)
        return view

    def apply(self, changes: Changes, expected: Position, position: Position, pace: Pace) -> None:
        """One write transaction; LMDB syncs it."""
        if self._read_only:
            raise ReadOnlyError(f"{self._path} was opened read-only; next: open it for writing")
        self._must_be_in_place()
        environment = self._environment
        with environment.writing, failing(environment.errors, "write", self._path):
            # Pages that a killed process was reading would never be used again: the file would grow for ever.
            environment.env.reader_check()
            with environment.env.begin(write=True) as transaction:
                stored = self._stored(transaction.get).position
                if stored not in (expected, position):
                    raise FencedError(
                        f"the LMDB database is at {stored}, not at {expected}: somebody else wrote it ({self._path})"
                    )
                writer = Writer(environment, transaction, pace)
                writer.make(changes)
                state = encode_state(State(self._identity, position))
                transaction.put(STATE_KEY, state, db=environment.handles[DIRECTORY])
            environment.handles.update(writer.opened)

    def check(self) -> list[str]:
        """Walk LMDB's pages, then every record and every index entry."""
        return lmdb_check.check(self._files, self._path, self._environment, self.read)

    @classmethod
    def replacement(
        cls, files: Files, path: str, before: tuple[Identity, Position] | None, *, layout: str | None = None
    ) -> Replacement:
        """Made in a folder inside the folder; its data file takes the place of the other."""
        return lmdb_replacement.begin(files, cls, path, layout)

    @classmethod
    def copy_aside(cls, files: Files, path: str, mark: str) -> tuple[str, str]:
        """A folder beside the folder, with a copy of the data file."""
        return attempt(f"copy {path}", lambda: lmdb_replacement.copy(files, path, mark))

    @classmethod
    def remove_leftovers(cls, files: Files, path: str) -> list[str]:
        """The folder of an unfinished replacement, and that of an unfinished copy."""
        return attempt(f"look at {path}", lambda: lmdb_replacement.remove_leftovers(files, path))

    def size(self) -> int:
        """The data file's size in bytes."""
        info = attempt(f"look at {self._path}", lambda: self._files.stat(f"{self._path}/{DATA}"))
        return 0 if info is None else info.size

    def close(self) -> None:
        """Let go of the environment, which lives on as long as there are views.

        Views of a store that was opened read-only end here: without LMDB's lock file nothing keeps the next writer
        from overwriting what they read, and they would serve wrong values.
        """
        for view in list(self._views):
            view.close()
        self._let_go()

    def __del__(self) -> None:
        self._let_go()

    def _let_go(self) -> None:
        if not self._closed:
            self._closed = True
            self._environment.release()

    def abandon(self) -> None:
        """In a forked child: LMDB is not called again, not even to close."""
        self._closed = True
        self._environment.abandon()

    # ---- inside

    def _must_be_in_place(self) -> None:
        """A file that was moved away still takes every write, and is gone when the process ends."""
        self._environment.must_be_usable()
        if _data_file(self._files, self._path) != self._environment.key:
            raise CorruptionError(
                "another file was put in the place of this store's database", path=f"{self._path}/{DATA}",
                advice="put the file back that was there, then open the store again",
            )  # fmt: skip

    def _stored(self, get: Get) -> State:
        state = read_state(get, self._environment.handles[DIRECTORY], self._path)
        if state.identity != self._identity:
            raise CorruptionError("the database holds another store than it did", path=self._path)
        return state


def _data_file(files: Files, path: str) -> tuple[int, int]:
    """Device and inode of the data file.

    Raises:
        BackendError: it is missing.
    """
    info = attempt(f"look at {path}", lambda: files.stat(f"{path}/{DATA}"))
    if info is None:
        raise BackendError(f"the LMDB database {path}/{DATA} is missing; next: put it back, then open the store again")
    return info.identity


def _open_directory(environment: Environment) -> State:
    """The store's state, once the handles are there.

    Raises:
        CorruptionError: it is damaged.
        UnsupportedFormatError: a later version wrote it.
    """
    with failing(environment.errors, "open the directory", environment.path):
        with environment.writing:
            if DIRECTORY not in environment.handles:
                environment.open_handles([DIRECTORY])
        with environment.env.begin() as transaction:
            state = read_state(transaction.get, environment.handles[DIRECTORY], environment.path)
    if state.identity.format_version != FORMAT_VERSION:
        raise UnsupportedFormatError(
            f"{environment.path} has format {state.identity.format_version}, this version of sessiondb knows "
            f"{FORMAT_VERSION}; it was left untouched; next: upgrade sessiondb"
        )
    return state
