"""Looking at a store without opening it: what the engine's own readers make of its files. Changes nothing.

A writer may be at work meanwhile. Where OPEN can be shared nobody is. Where it cannot, each segment is read in one
go, and damage counts only when two looks in a row find it at the same place: a look may fall into an append or a
checkpoint.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from sessiondb.backend import Backend, Identity, Position
from sessiondb.errors import CorruptionError, StoreBusyError, WrongBackendError
from sessiondb.files import File, Files
from sessiondb.lock import Holder, StoreLocks, read_holder
from sessiondb.recovery import Survey, survey
from sessiondb.wal.format import decode_durable, decode_position
from sessiondb.wal.head import newest_slot, read_head
from sessiondb.wal.verdict import segment_names

from .locations import Place

__all__ = ["Hints", "Look", "Problem", "QuarantinedFile", "inspect", "quarantined", "share_open"]

LOOKS_MAX = 50
PAUSE_S = 0.01


class QuarantinedFile(NamedTuple):
    """Bytes that a recovery cut from the log and kept."""

    path: str
    bytes: int


class Problem(NamedTuple):
    """Damage."""

    text: str
    place: object
    """Equal for the same damage, seen twice."""


class Hints(NamedTuple):
    """What HEAD says; it may be behind the log, or after a power cut ahead of it."""

    epoch: int
    last_lsn: int
    durable_lsn: int


class Look(NamedTuple):
    """What was found; a part that could not be read is ``None``, and `problems` says why."""

    identity: Identity | None
    position: Position | None
    """What the backend holds."""
    records: dict[str, tuple[str, int]]
    """Table name to kind and number of records, as the backend has them."""
    backend_bytes: int
    survey: Survey | None
    """The log, judged; ``None`` also when there is no log folder."""
    hints: Hints | None
    segments: int
    log_bytes: int
    """Size of all segment files."""
    problems: list[Problem]
    settled: bool = True
    """False: the store was being written, and no two looks agreed."""


def share_open(files: Files, place: Place) -> StoreLocks | Holder | None:
    """Keep writers out while looking, if none is there.

    Returns:
        The lock, to be released; who has the store; or ``None`` when there is nothing to lock or nobody signed.
    """
    if files.stat(f"{place.folder}/OPEN") is None:
        return None
    locks = StoreLocks(files, place.folder)
    try:
        locks.acquire(read_only=True, timeout=0)
    except StoreBusyError:
        return read_holder(files, place.folder)
    return locks


def inspect(files: Files, place: Place, *, locked: bool) -> Look:
    """Look at backend and log.

    Args:
        files: the file system.
        place: the store.
        locked: nobody writes meanwhile; else bad news are looked at again.

    Raises:
        SessionDBError: it could not look.
        OSError: it could not look.
    """
    if locked:
        return _look(files, place)
    before: list[Problem] | None = None
    for _ in range(LOOKS_MAX):
        try:
            look = _look(_Snapshots(), place)
        except FileNotFoundError:  # a segment went between listing and opening
            before = None
            continue
        if not look.problems or (before is not None and _places(before) == _places(look.problems)):
            return look
        before = look.problems
        time.sleep(PAUSE_S)
    return _look(_Snapshots(), place)._replace(settled=False)


def _places(problems: list[Problem]) -> list[object]:
    return [problem.place for problem in problems]


class _Snapshots(Files):
    """Files that are read as a whole when they are opened: what is appended later does not show."""

    def open(
        self, path: str, *, create: bool = False, exclusive: bool = False, read_only: bool = False, mode: int = 0o600
    ) -> File:
        assert read_only
        return _Snapshot(super().open(path, read_only=True))


class _Snapshot(File):
    def __init__(self, file: File):
        super().__init__(file.descriptor, file.path)
        self._data = super().pread(super().size(), 0)

    def pread(self, length: int, offset: int) -> bytes:
        return self._data[offset : offset + length]

    def size(self) -> int:
        return len(self._data)


def _look(files: Files, place: Place) -> Look:
    problems: list[Problem] = []
    backend = _open_backend(files, place, problems)
    identity = position = found = hints = None
    records: dict[str, tuple[str, int]] = {}
    segments = log_bytes = backend_bytes = 0
    has_log = files.stat(place.folder) is not None
    try:
        if backend is not None:
            identity, view, backend_bytes = backend.identity(), backend.read(), backend.size()
            position = view.position
            records = {name: (kind, view.count(name)) for name, kind in view.tables().items()}
            problems += [Problem(text, text) for text in backend.check()]
        if has_log:
            hints = _hints(read_head(files, place.folder), identity)
            sizes = [files.stat(f"{place.folder}/{name}") for name in segment_names(files, place.folder)]
            segments, log_bytes = len(sizes), sum(info.size for info in sizes if info is not None)
        if has_log and identity is not None and position is not None:
            found = survey(files, place.folder, identity.uuid, position.lsn)
    except CorruptionError as error:
        problems.append(_problem(error))
    finally:
        if backend is not None:
            backend.close()
    if backend is None:
        text = "the log was not judged: that takes the backend; next: `sessiondb log dump` prints what it has"
        problems.append(Problem(text, text))
    return Look(identity, position, records, backend_bytes, found, hints, segments, log_bytes, problems)


def _hints(head: bytes, identity: Identity | None) -> Hints | None:
    slot = newest_slot(head)
    if slot is None or (identity is not None and slot.uuid != identity.uuid):
        return None
    last = decode_position(head, slot.uuid, slot.epoch)
    durable = decode_durable(head, slot.uuid)
    return Hints(slot.epoch, slot.last_lsn if last is None else last[0], max(durable.values(), default=0))


def _problem(error: CorruptionError) -> Problem:
    return Problem(str(error), (error.path, error.offset, error.lsn))


def _open_backend(files: Files, place: Place, problems: list[Problem]) -> Backend | None:
    """The backend; ``None`` when it is damaged, or is not there although the log is."""
    path = place.location.path
    try:
        if place.backend.exists(files, path):
            return place.backend.open(files, path, create=False)
        text = f"the store's file {path} is missing, but its log is there; next: put the file back from a backup"
        problems.append(Problem(text, text))
    except CorruptionError as error:
        problems.append(_problem(error))
    except WrongBackendError as error:
        if files.stat(place.folder) is None or not segment_names(files, place.folder):
            raise
        text = f"{error}; its log is there ({place.folder}), so the file was damaged or replaced"
        problems.append(Problem(text, text))
    return None


def quarantined(files: Files, place: Place) -> list[QuarantinedFile]:
    """What recoveries put aside; it may be removed by hand once nobody wants to look at it."""
    folder = f"{place.folder}/quarantine"
    info = files.stat(folder)
    if info is None or not info.is_folder:
        return []
    paths = [f"{folder}/{name}" for name in files.names(folder)]
    sizes = [(path, files.stat(path)) for path in paths]
    return [QuarantinedFile(path, info.size) for path, info in sizes if info is not None]
