"""Opening: from a location to a running store, one for each location in a process."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from importlib import import_module

import msgspec

from .backend import Backend
from .config import Options
from .errors import CorruptionError, StoreFailedError, UsageError
from .files import Files
from .location import Location
from .lock import StoreLocks
from .store import Store, abandon_all
from .wal.verdict import segment_names

__all__ = ["backend_class", "close_store", "make_folders", "open_store"]

BUILT_IN = {
    "json": "sessiondb_backends.json_file:JsonFileBackend",
    "lmdb": "sessiondb_backends.lmdb:LmdbBackend",
    "memory": "sessiondb_backends.memory:MemoryBackend",
    "postgresql": "sessiondb_backends.postgres:PostgresBackend",
    "sqlite": "sessiondb_backends.sqlite:SqliteBackend",
}
"""Scheme to dotted name; nothing is imported until it is used."""

_lock = threading.Lock()
_server_locks: dict[str, threading.Lock] = {}
"""By log folder: a server that does not answer must not keep other stores from being opened and closed."""
_stores: dict[tuple[int, tuple[int, int]], Store] = {}
_users: dict[int, int] = {}


def backend_class(scheme: str) -> type[Backend]:
    """The backend for a URL scheme: a built-in one, else what an entry point in ``sessiondb.backends`` names.

    Raises:
        UsageError: nobody provides it.
    """
    target = BUILT_IN.get(scheme)
    if target is not None:
        module, name = target.split(":")
        found: type[Backend] = getattr(import_module(module), name)
        return found
    from importlib.metadata import entry_points  # a fifth of the start of a command that reads

    for entry in entry_points(group="sessiondb.backends", name=scheme):
        loaded: type[Backend] = entry.load()
        return loaded
    raise UsageError(f"no backend for {scheme!r} is installed (built in: {', '.join(sorted(BUILT_IN))})")


def open_store(files: Files, location: Location, options: Options) -> Store:
    """Open a location, or share the store that this process has open there.

    Raises:
        UsageError: nothing is there and it may not be made, or it is open here with other options.
        WrongBackendError: something else is there.
        StoreBusyError: another process has it.
        CorruptionError: acknowledged data is damaged or missing.
        UnsupportedFormatError: a newer version wrote it.
        StoreFailedError: the operating system refused.
    """
    if sys.platform == "win32":
        raise UsageError("sessiondb is not tested on Windows, where its promises may not hold; it refuses to run there")
    backend = backend_class(location.scheme)
    with _lock_of(backend, location):
        try:
            return _open(files, location, options, backend)
        except OSError as error:
            raise StoreFailedError(
                f"cannot open {location}: {error.strerror or error} ({error.filename or location}); "
                "what was there is kept; next: mend the cause and open again"
            ) from error


def _lock_of(backend: type[Backend], location: Location) -> threading.Lock:
    """Who holds it opens or closes. Local stores have one for all: different paths may lead to the same store."""
    folder = backend.log_folder(location.path) if backend.remote else None
    return _lock if folder is None else _server_locks.setdefault(folder, threading.Lock())


def _open(files: Files, location: Location, options: Options, backend: type[Backend]) -> Store:
    folder = backend.log_folder(location.path)
    if options.layout is not None and options.layout not in backend.layouts:
        known = f"it must be one of {', '.join(backend.layouts)}" if backend.layouts else "only JSON files have layouts"
        raise UsageError(f"layout is {options.layout!r}; {known}")
    if folder is None:
        if options.read_only:
            raise UsageError(f"{location} keeps nothing: there is nothing to open read-only")
        opened = backend.open(files, location.path, create=True)
        store = Store(files, location, options, StoreLocks(files, ""), opened)
        store.start(is_new=True)
        return store
    exists = _check_location(files, location, options, backend, folder)
    shared = _shared(files, location, options, folder)
    if shared is not None:
        return shared
    if not options.read_only:
        if backend.remote:
            make_folders(files, os.path.dirname(folder))
        elif os.path.dirname(folder) == location.path:
            _make_folder(files, location.path)  # a backend that is a folder holds its log itself
        _make_folder(files, folder)
    locks = StoreLocks(files, folder)
    try:
        if files.stat(f"{folder}/OPEN") is not None or not options.read_only:
            locks.acquire(read_only=options.read_only, timeout=options.lock_timeout)
        if not (exists and backend.remote):  # a server is asked once: it is far away, and `open` looks itself
            # Another process may have made it or removed it while this one waited for the lock.
            exists = _check_location(files, location, options, backend, folder)
        layout = {} if options.layout is None else {"layout": options.layout}  # only some backends know the argument
        opened = backend.open(files, location.path, create=not exists, read_only=options.read_only, **layout)
        store = Store(files, location, options, locks, opened)
        return _start(files, folder, store, is_new=opened.is_new or not exists)
    except BaseException:
        locks.release()
        raise


def _start(files: Files, folder: str, store: Store, *, is_new: bool) -> Store:
    """Start the store and remember it; after an exception, a Ctrl-C too, nothing of it goes on."""
    key = _key(files, folder)
    try:
        store.start(is_new=is_new)
        _users[id(store)] = 1
        if key is not None:
            _stores[key] = store
        return store
    except BaseException:
        if key is not None:
            _stores.pop(key, None)
        _users.pop(id(store), None)
        store.abort()
        store.backend.close()
        raise


def _check_location(files: Files, location: Location, options: Options, backend: type[Backend], folder: str) -> bool:
    """Whether the store is there; an error when it is not and must be."""
    if backend.exists(files, location.path):
        return True
    if options.read_only or not options.create:
        raise UsageError(f"there is no database at {location}; next: check the path")
    parent = os.path.dirname(location.path)
    if not backend.remote and files.stat(parent) is None:
        raise UsageError(f"the folder {parent} does not exist; next: make it, or choose another location")
    if files.stat(folder) is not None and (segment_names(files, folder) or files.stat(f"{folder}/HEAD") is not None):
        raise CorruptionError(
            "the store is missing, but its log is here", path=str(location),
            advice=f"put the store back; to start empty, move {folder} away",
        )  # fmt: skip
    return False


def make_folders(files: Files, folder: str) -> None:
    """Make the folder and those above it, durably: a store in a folder that a power cut takes away is gone too.

    Raises:
        StoreFailedError: the operating system refused.
    """
    try:
        _make_folders(files, folder)
    except OSError as error:
        raise StoreFailedError(
            f"cannot make the folder {folder}: {error.strerror or error} ({error.filename or folder}); "
            "next: make it, or choose another location"
        ) from error


def _make_folders(files: Files, folder: str) -> None:
    parent = os.path.dirname(folder)
    was_there = files.stat(folder) is not None
    if not was_there:
        _make_folders(files, parent)
        with suppress(FileExistsError):  # another opener was first
            files.mkdir(folder)
    # Also when it was there: who made it may have been killed before it synced. Then nothing is below it.
    try:
        files.sync_folder(parent)
    except PermissionError:  # somebody else's folder, as /home may be
        if not was_there:
            raise


def _make_folder(files: Files, folder: str) -> None:
    if files.stat(folder) is None:
        with suppress(FileExistsError):  # another opener was first
            files.mkdir(folder)
    # Also when it was there: who made it may have been killed before it synced.
    files.sync_folder(os.path.dirname(folder))


def _key(files: Files, folder: str) -> tuple[int, tuple[int, int]] | None:
    """OPEN is never replaced, so its inode names the store whatever path leads to it."""
    info = files.stat(f"{folder}/OPEN")
    return None if info is None else (id(files), info.identity)


def _shared(files: Files, location: Location, options: Options, folder: str) -> Store | None:
    key = _key(files, folder)
    store = None if key is None else _stores.get(key)
    if store is None:
        return None
    wanted = msgspec.structs.replace(
        options, create=store.options.create, lock_timeout=store.options.lock_timeout, layout=store.options.layout
    )
    shape = store.backend.layout()
    if options.layout is not None and options.layout != ("native" if shape is None else shape.name):
        raise UsageError(
            f"{location} is open in this process, and does not have the layout {options.layout!r}; "
            "next: leave layout out"
        )
    if store.options != wanted:  # what only matters while opening may differ
        raise UsageError(
            f"{location} is open in this process with other options ({store.options}); "
            "next: use the same options, or close it first"
        )
    _users[id(store)] += 1
    return store


def close_store(store: Store) -> None:
    """One user less; the last one closes the store.

    Raises:
        StoreFailedError: see `Store.close`.
    """
    with _lock_of(type(store.backend), store.location):
        left = _users.get(id(store), 1) - 1
        if left > 0:
            _users[id(store)] = left
            return
        _users.pop(id(store), None)
        for key in [key for key, known in list(_stores.items()) if known is store]:
            del _stores[key]
        store.close()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    _server_locks.clear()
    _stores.clear()
    _users.clear()
    abandon_all()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
