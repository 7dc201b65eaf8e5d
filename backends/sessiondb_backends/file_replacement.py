"""A store in files that is made beside its place, under a name that nothing else looks at, and then renamed.

The order of the steps that change the place, and what each is for:

1. the new file is complete, synced, and has been read back;
2. it gets the mode and owner of the old one;
3. what belongs beside the old file, and must not be taken for the new one's, is removed, and the folder synced;
4. the new file is renamed over the old one: there is one of them at every moment, and after every crash;
5. the folder is synced: until then a power cut can bring the old one back.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import count

from sessiondb.backend import Backend, BackendView, Changes, Pace, Position
from sessiondb.errors import BackendError, DurabilityUnknownError, FencedError, SessionDBError
from sessiondb.files import Files
from sessiondb.lazy_logging import LazyLogger
from sessiondb.replacement import Replacement

from .json_replacing import keep_owner, remove
from .system_errors import attempt

__all__ = [
    "BESIDE",
    "COPYING",
    "FileReplacement",
    "copy_beside",
    "copy_file",
    "free_name",
    "remove_files",
]

BESIDE = ".migrating"
"""Behind the name of a file: its replacement, as long as it is made."""
COPYING = ".migrating-copy"
"""Behind the name of a file or folder: its copy, as long as it is made."""
COPY_BYTES = 4 << 20

logger = LazyLogger("sessiondb.migration")


class FileReplacement(Replacement):
    """A replacement that consists of one file.

    Args:
        files: the file system.
        backend: what makes and reads the store.
        store: the path of the store that is replaced.
        path: where the new one is made.
        made: the file that it becomes.
        place: the file that it takes the place of.
        rivals: files that must not be beside it then: they must be empty.
        helpers: files that may go, whatever is in them.
    """

    def __init__(
        self,
        files: Files,
        backend: type[Backend],
        store: str,
        path: str,
        made: str,
        place: str,
        *,
        rivals: Sequence[str] = (),
        helpers: Sequence[str] = (),
    ):
        self._files = files
        self._backend = backend
        self._store = store
        self._path = path
        self._made = made
        self._place = place
        self._rivals = rivals
        self._helpers = helpers
        self._position = Position(1, 0)
        self._is_written = False
        self._is_done = False
        before = attempt(f"look at {place}", lambda: files.stat(place))
        self._before = None if before is None else before.identity
        self._opened: Backend | None = None
        self._remove()
        try:
            self._begin()
        except BaseException:
            self.discard()
            raise

    def _begin(self) -> None:
        self._opened = self._backend.open(self._files, self._path, create=True)

    def add(self, changes: Changes, pace: Pace) -> None:
        """One transaction of the new store."""
        assert not self._is_written
        assert self._opened is not None
        after = Position(self._position.epoch, self._position.lsn + 1)
        self._opened.apply(changes, self._position, after, pace)
        self._opened.settle()
        self._position = after

    def _stored(self) -> Backend:
        """The finished store, opened anew."""
        if not self._is_written:
            self._finish()
            self._opened = self._backend.open(self._files, self._path, create=False, read_only=True)
            self._is_written = True
        assert self._opened is not None
        return self._opened

    def _finish(self) -> None:
        """All was added: what was written is complete and durable."""
        self._close()

    def _close(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def read(self) -> BackendView:
        """A view of the finished store."""
        return self._stored().read()

    def check(self) -> list[str]:
        """The finished store's own check."""
        return self._stored().check()

    def take_place(self) -> None:
        """Rename the file."""
        if not self._is_written:
            self._finish()
            self._is_written = True
        self._close()
        attempt(f"replace {self._place}", self._take_place)
        self._is_done = True
        folder = os.path.dirname(self._place)
        try:
            self._files.sync_folder(folder)
        except OSError as error:
            raise DurabilityUnknownError(
                f"{self._place} was replaced, but {folder} cannot be synced: {error.strerror or error}; whether that "
                "survives a power cut is unknown; next: look at the disk, and run the same again"
            ) from error
        try:
            self._clean_up()
        except SessionDBError as error:
            logger.warning("something is left beside %s that nobody needs: %s", self._place, error)

    def _clean_up(self) -> None:
        """What belonged to the making, or to what was there before."""
        self._remove()

    def _take_place(self) -> None:
        files, place = self._files, self._place
        file = files.open(self._made)
        try:
            keep_owner(files, place, file)
            file.fsync()
        finally:
            file.close()
        folder = os.path.dirname(place)
        self._must_be_alone()
        for path in (*self._rivals, *self._helpers):
            remove(files, path)
        files.sync_folder(folder)
        there = files.stat(place)
        if (None if there is None else there.identity) != self._before:
            raise FencedError(f"another file was put at {place} meanwhile; it is untouched")
        files.replace(self._made, place)

    def _must_be_alone(self) -> None:
        for path in self._rivals:
            info = self._files.stat(path)
            if info is not None and info.size:
                raise BackendError(
                    f"cannot replace {self._place}: another program has it open, and what it wrote is still in {path}; "
                    "what was there is kept; next: end that program and try again"
                )

    def discard(self) -> None:
        """Remove the files that were made."""
        self._close()
        if not self._is_done:
            self._is_done = True
            self._remove()

    def _remove(self) -> None:
        attempt(f"remove {self._path}", lambda: self._backend.remove_leftovers(self._files, self._store))


def copy_beside(files: Files, path: str, mark: str) -> tuple[str, str]:
    """Copy a store that is one file to a name beside it; there is all of it under that name, or nothing."""
    made = f"{path}{COPYING}"
    remove(files, made)
    target = free_name(files, path, mark)
    name = made
    try:
        copy_file(files, path, made)
        files.replace(made, target)
        name = target
        files.sync_folder(os.path.dirname(path))
    except BaseException:
        remove(files, name)
        raise
    return target, target


def remove_files(files: Files, paths: Iterable[str]) -> list[str]:
    """Remove those that are there; says which."""
    found = [path for path in paths if files.stat(path) is not None]
    for path in found:
        files.unlink(path)
    for folder in {os.path.dirname(path) for path in found}:
        files.sync_folder(folder)
    return found


def copy_file(files: Files, source: str, target: str) -> None:
    """Copy a file to a name that is free, with its mode and owner, and make its bytes durable."""
    reading = files.open(source, read_only=True)
    try:
        writing = files.open(target, create=True, exclusive=True)
        try:
            keep_owner(files, source, writing)
            offset = 0
            while part := reading.pread(COPY_BYTES, offset):
                writing.pwrite(part, offset)
                offset += len(part)
            writing.fsync()
        finally:
            writing.close()
    finally:
        reading.close()


def free_name(files: Files, path: str, mark: str) -> str:
    """A path beside this one that is free: ``x.db`` and the mark ``before`` make ``x-before.db``."""
    stem, suffix = os.path.splitext(path)
    for number in count(1):
        name = f"{stem}-{mark}{f'-{number}' if number > 1 else ''}{suffix}"
        if files.stat(name) is None and files.stat(f"{name}.wal") is None:
            return name
    raise AssertionError
