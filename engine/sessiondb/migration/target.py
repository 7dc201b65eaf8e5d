"""The place that a migration goes to: what is there, keeping others out of it, and what becomes of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ..backend import Backend, Identity, Position
from ..config import Options
from ..errors import BackendError, CorruptionError, StoreFailedError, UsageError
from ..files import Files
from ..lazy_logging import LazyLogger
from ..location import Location
from ..lock import StoreLocks
from ..opening import close_store, make_folders, open_store
from ..store import Store
from ..wal.verdict import segment_names
from .content import Content, read_content
from .source import must_be_ours

__all__ = ["Before", "Target"]

Report = Callable[[str], Callable[[int, int], None]]
"""What is done now, to a function that is told how far it has come."""

logger = LazyLogger("sessiondb.migration")


class Before(NamedTuple):
    """A store at the target."""

    content: Content
    layout: str | None
    """The name of its layout, if it is not the backend's own."""


class _LentLocks(StoreLocks):
    """The locks of a store, in the hands of somebody who keeps them when the store is closed."""

    def release(self) -> None:
        """They are not the store's to release."""


class Target:
    """The place of one store.

    Args:
        files: the file system.
        location: where it is.
        backend: what it holds its state in.
        lock_timeout: longest wait for another process, in seconds.
        report: told about reading.
    """

    def __init__(self, files: Files, location: Location, backend: type[Backend], lock_timeout: float, report: Report):
        folder = backend.log_folder(location.path)
        if folder is None:
            raise UsageError(f"{location} keeps nothing: it cannot be the target of a migration")
        self.files = files
        self.location = location
        self.backend = backend
        self.folder = folder
        self._options = Options(lock_timeout=lock_timeout, create=False)
        self._report = report

    # ---- looking

    def look(self, source: Store) -> Before | None:
        """What is there, read as a whole; ``None``: nothing.

        Raises:
            UsageError: nothing can be there, or it is the source.
            WrongBackendError: something else is there.
            StoreBusyError: another process or host has it.
            CorruptionError: it is damaged, or its log is there without it.
        """
        if not self._exists():
            return None
        read_only = Options(read_only=True, create=False, lock_timeout=self._options.lock_timeout)
        store = open_store(self.files, self.location, read_only)
        try:
            self._must_be_another(store, source)
            must_be_ours(store, "replaced")
            return self._read(store)
        finally:
            close_store(store)

    def _must_be_another(self, store: Store, source: Store) -> None:
        """A server can be reached by many names, but each store on one has a uuid that no other has."""
        if self.backend.remote and type(source.backend).remote and store.identity.uuid == source.identity.uuid:
            raise UsageError(
                f"source and target are the same store ({self.location}), or one is a copy of the other that was not "
                "made by sessiondb; next: name another target"
            )

    def _read(self, store: Store) -> Before:
        with store.pin() as view:
            content = read_content(view, report=self._report("reading the target"))
        layout = store.backend.layout()
        return Before(content, None if layout is None else layout.name)

    def _exists(self) -> bool:
        files, path = self.files, self.location.path
        if self.backend.exists(files, path):
            return True
        parent = os.path.dirname(path)
        if not self.backend.remote and files.stat(parent) is None:
            raise UsageError(f"the folder {parent} does not exist; next: make it, or choose another target")
        if files.stat(self.folder) is not None and (
            segment_names(files, self.folder) or files.stat(f"{self.folder}/HEAD") is not None
        ):
            raise CorruptionError(
                "there is no store at the target, but the log of one is there", path=str(self.location),
                advice=f"put the store back, or move {self.folder} away",
            )  # fmt: skip
        return False

    # ---- changing

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else opens a store at the place while the block runs.

        Raises:
            StoreBusyError: somebody has it open.
            OSError: the lock files cannot be made.
        """
        make_folders(self.files, self.folder)
        locks = StoreLocks(self.files, self.folder)
        locks.acquire(read_only=False, timeout=self._options.lock_timeout)
        try:
            yield
        finally:
            locks.release()

    def settle(self, expected: Before | None) -> tuple[Identity, Position] | None:
        """Move what is in the log into the store's file, and close it; it is what was looked at.

        Returns:
            What is stored; ``None``: nothing.

        Raises:
            BackendError: it has changed since it was looked at.
            SessionDBError: it cannot be opened, or the log cannot be moved.
        """
        found = None
        stored = None
        if self._exists():
            store = self._open(is_new=False)
            try:
                found = self._read(store).content
                store.checkpoint()
                stored = (store.identity, store.backend.position())
            finally:
                store.close()
        if found != (None if expected is None else expected.content):
            raise self._changed()
        return stored

    def _open(self, *, is_new: bool) -> Store:
        backend = self.backend.open(self.files, self.location.path, create=False)
        store = Store(self.files, self.location, self._options, _LentLocks(self.files, self.folder), backend)
        try:
            store.start(is_new=is_new or backend.is_new)
        except BaseException:
            store.abort()
            backend.close()
            raise
        return store

    def copy_aside(self, content: Content) -> str:
        """Copy the store, and read the copy; says where it is.

        Raises:
            BackendError: there is no copy, or not the same in it.
        """
        mark = time.strftime("before-%Y%m%d-%H%M%S", time.gmtime())
        path, shown = self.backend.copy_aside(self.files, self.location.path, mark)
        copy = self.backend.open(self.files, path, create=False, read_only=True)
        try:
            view = copy.read()
            try:
                found = read_content(view, report=self._report("reading the copy of what was there"))
            finally:
                view.close()
        finally:
            copy.close()
        if found.digest != content.digest:
            raise BackendError(f"the copy {shown} does not hold what {self.location} holds; nothing was replaced")
        return shown

    def remove_log(self) -> None:
        """Remove the log of what is there: all of it is in the backend. From the end: what is left is always whole."""
        names = segment_names(self.files, self.folder)
        paths = [f"{self.folder}/{name}" for name in reversed(names)]
        if self.files.stat(f"{self.folder}/HEAD") is not None:
            paths.append(f"{self.folder}/HEAD")
        for path in paths:
            self.files.unlink(path)
        if paths:
            # Before another store takes the place: a log that comes back would not be that one's.
            self.files.sync_folder(self.folder)

    def begin_log(self, content: Content, *, look: bool = False) -> None:
        """Begin the log of what is there now, and make indexes that the store's own file has no room for.

        The store is whole without a log, so a failure is a warning. Whoever opens a store on a server takes it over,
        and begins a log then.

        Args:
            content: what is there.
            look: read whether it is.

        Raises:
            BackendError: it is not.
        """
        if self.backend.remote:
            return
        digest = content.digest
        try:
            store = self._open(is_new=not segment_names(self.files, self.folder))
            try:
                if look:
                    digest = self._read(store).content.digest
                if digest == content.digest:
                    self._declare(store, content)
            finally:
                store.close()
        except (StoreFailedError, OSError) as error:
            logger.warning("%s: its log is begun when it is opened next: %s", self.location, error)
        if digest != content.digest:
            raise self._changed()

    def _changed(self) -> BackendError:
        return BackendError(
            f"{self.location} has changed since the migration began to look at it; nothing was replaced; "
            "next: run it again"
        )

    def _declare(self, store: Store, content: Content) -> None:
        for name, table in content.tables.items():
            with store.pin() as view:
                missing = [field for field in table.indexes if field not in view.indexes(name)]
            for field in missing:
                store.indexes.create(name, field)

    def remove_leftovers(self) -> list[str]:
        """Remove what an interrupted migration left; says what it was."""
        return self.backend.remove_leftovers(self.files, self.location.path)
