"""Looking at a store without opening it: what the engine's own readers make of its files. Changes nothing.

A writer may be at work meanwhile. Where OPEN can be shared nobody is. Where it cannot, each segment is read in one
go, and damage counts only when two looks in a row find it at the same place: a look may fall into an append or a
checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Literal, NamedTuple

from sessiondb.adoption import refused
from sessiondb.backend import Backend, BackendView, Identity, Position, TableKind
from sessiondb.errors import BackendError, CorruptionError, StoreBusyError, StoreFailedError, WrongBackendError
from sessiondb.files import File, Files
from sessiondb.lock import Holder, StoreLocks, read_holder
from sessiondb.recovery import Survey, check_epoch, survey
from sessiondb.versions import VERSION_FIELD
from sessiondb.wal.format import decode_durable, decode_position
from sessiondb.wal.head import newest_slot, read_head
from sessiondb.wal.verdict import segment_names

from .locations import Place
from .record_check import TableLook, check_changes, check_table
from .standing import Standing, standing_of, unknown_log

__all__ = [
    "Depth",
    "Hints",
    "Look",
    "Part",
    "Problem",
    "QuarantinedFile",
    "Snapshots",
    "inspect",
    "quarantined",
    "read_hints",
    "share_open",
]

Part = Literal["backend", "records", "log"]
Depth = Literal["glance", "verify", "check"]
"""Read the log; read the backend too, as its own check does; read each record too."""

LOOKS_MAX = 50
PAUSE_S = 0.01


class QuarantinedFile(NamedTuple):
    """Bytes that a recovery cut from the log and kept."""

    path: str
    bytes: int


class Problem(NamedTuple):
    """Damage."""

    part: Part
    """What it was found in."""
    text: str
    place: object
    """Equal for the same damage, seen twice."""


class Hints(NamedTuple):
    """What HEAD says; it may be behind the log, or after a power cut ahead of it."""

    uuid: bytes
    epoch: int
    applied_lsn: int
    last_lsn: int
    durable_lsn: int


class Look(NamedTuple):
    """What was found; a part that could not be read is ``None``, and `problems` says why."""

    identity: Identity | None
    position: Position | None
    """What the backend holds."""
    tables: dict[str, TableLook]
    """The tables as the backend has them."""
    backend_bytes: int
    survey: Survey | None
    """The log, judged; ``None`` also when there is no log folder, or none of this store's."""
    hints: Hints | None
    segments: int
    log_bytes: int
    """Size of all segment files."""
    problems: list[Problem]
    settled: bool = True
    """False: the store was being written, and no two looks agreed."""
    standing: Standing | None = None
    """Who owns the store, if it is on a server."""

    @property
    def is_fine(self) -> bool:
        """Whether everything is sound, and nothing was left behind on this host."""
        return not self.problems and (self.standing is None or self.standing.stranded is None)

    @property
    def log_follows(self) -> str:
        """What the log on this host goes on from."""
        lost_after = None if self.standing is None else self.standing.owner.lost_after
        return "the backend" if lost_after is None else f"LSN {lost_after}, where another host took over"


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


def inspect(files: Files, place: Place, *, locked: bool, depth: Depth) -> Look:
    """Look at backend and log.

    Args:
        files: the file system.
        place: the store.
        locked: nobody writes meanwhile; else bad news are looked at again.
        depth: how much to read.

    Raises:
        SessionDBError: it could not look.
        OSError: it could not look.
    """
    if locked:
        return _look(files, place, depth)
    before: list[Problem] | None = None
    for _ in range(LOOKS_MAX):
        try:
            look = _look(Snapshots(), place, depth)
        except (FileNotFoundError, StoreFailedError) as error:
            if not isinstance(error, FileNotFoundError) and not isinstance(error.__cause__, FileNotFoundError):
                raise
            before = None  # a segment went between listing and opening
            continue
        if not look.problems or (before is not None and _places(before) == _places(look.problems)):
            return look
        before = look.problems
        time.sleep(PAUSE_S)
    return _look(Snapshots(), place, depth)._replace(settled=False)


def _places(problems: list[Problem]) -> list[object]:
    return [problem.place for problem in problems]


class Snapshots(Files):
    """Files that are read as a whole when they are opened: what is appended later does not show."""

    def open(
        self, path: str, *, create: bool = False, exclusive: bool = False, read_only: bool = False, mode: int = 0o600
    ) -> File:
        """Open a file and read all of it."""
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


def _look(files: Files, place: Place, depth: Depth) -> Look:
    problems: list[Problem] = []
    opened = _open_backend(files, place, problems)
    if opened is None:
        return Look(None, None, {}, 0, *_look_at_log(files, place, None, None, problems), problems)
    with closing(opened[0]) as backend, closing(opened[1]) as view:
        # The log at once: a process that has the store may drop the segments that this view needs.
        standing = _look_at_owner(files, place, backend, problems) if place.backend.remote else None
        found = _look_at_log(files, place, backend.identity(), view.position, problems, standing)
        edit, last = backend.foreign_edit(), 0 if found.survey is None else found.survey.contents.last_lsn
        if edit is not None and last > edit.logged_lsn:
            text = str(refused(place.folder, view.position, last))
            problems.append(Problem("backend", text, text))
        if depth != "glance":
            with _noting("backend", problems):
                problems += [Problem("backend", text, text) for text in backend.check()]
        tables = _look_at_tables(view, problems, every_record=depth == "check")
        if depth == "check" and found.survey is not None and (standing is None or standing.owner.is_current):
            texts = check_changes(found.survey.memtable, {name: table.kind for name, table in tables.items()})
            problems += [Problem("log", text, text) for text in texts]
        return Look(backend.identity(), view.position, tables, backend.size(), *found, problems, standing=standing)


class _LogLook(NamedTuple):
    survey: Survey | None
    hints: Hints | None
    segments: int
    bytes: int


def _look_at_owner(files: Files, place: Place, backend: Backend, problems: list[Problem]) -> Standing | None:
    standing = None
    with _noting("log", problems):
        standing = standing_of(files, place.folder, backend)
        if standing.is_unknown:
            raise unknown_log(place.folder)
    return standing


def _look_at_log(
    files: Files,
    place: Place,
    identity: Identity | None,
    position: Position | None,
    problems: list[Problem],
    standing: Standing | None = None,
) -> _LogLook:
    found = hints = None
    segments = log_bytes = 0
    if files.stat(place.folder) is not None:
        with _noting("log", problems):
            hints = read_hints(files, place.folder, identity)
            sizes = [files.stat(f"{place.folder}/{name}") for name in segment_names(files, place.folder)]
            segments, log_bytes = len(sizes), sum(info.size for info in sizes if info is not None)
            start = _start_of_log(place, position, standing)
            if identity is not None and start is not None:
                found = survey(files, place.folder, identity.uuid, start)
                _check_epoch(found, place, position)
    return _LogLook(found, hints, segments, log_bytes)


def _start_of_log(place: Place, position: Position | None, standing: Standing | None) -> int | None:
    """The LSN behind which the log on this host goes on; ``None``: it cannot be told, or no log here is the store's.

    When another host took a store over, that is where it did: what comes behind is stranded, not waiting.
    """
    if position is None or not place.backend.remote:
        return None if position is None else position.lsn
    if standing is None:
        return None
    return position.lsn if standing.owner.is_current else standing.owner.lost_after


def _check_epoch(found: Survey, place: Place, position: Position | None) -> None:
    """Refuse a log and a backend of which one was put back to an earlier state, as opening does."""
    assert position is not None
    if not place.backend.remote:
        check_epoch(found.contents, position, place.folder)
    elif found.contents.highest_epoch > position.epoch:
        raise CorruptionError(
            f"the log has epoch {found.contents.highest_epoch}, the server is at {position}: it was put back to an "
            "earlier state", path=place.folder,
            advice=f"find out which one is right; to go on without the log, move {place.folder} away",
        )  # fmt: skip


def _look_at_tables(view: BackendView, problems: list[Problem], *, every_record: bool) -> dict[str, TableLook]:
    tables: dict[str, TableLook] = {}
    kinds: dict[str, TableKind] = {}
    # What stops a reader of a backend that is damaged by its own account has been said, and better.
    known = any(problem.part == "backend" for problem in problems)
    with _noting("records", problems, known=known):
        kinds = view.tables()
    for name, kind in sorted(kinds.items()):
        with _noting("records", problems, known=known):
            tables[name] = TableLook(kind, view.count(name), sorted(view.indexes(name) - {VERSION_FIELD}))
            if every_record:
                checked = check_table(view, name, tables[name])
                tables[name] = tables[name]._replace(read=checked.read)
                problems += [Problem("records", text, text) for text in checked.problems]
                if checked.stopped_by is not None:
                    raise checked.stopped_by
    return tables


@contextmanager
def _noting(part: Part, problems: list[Problem], *, known: bool = False) -> Iterator[None]:
    """Damage ends the look at one part, not at the others; with `known` it is what a problem is about already.

    Raises:
        BackendError: it could not look, and no damage explains it.
    """
    try:
        yield
    except CorruptionError as error:
        if not known:
            problems.append(_problem(part, error))
    except BackendError:
        if not problems:
            raise


def read_hints(files: Files, folder: str, identity: Identity | None = None) -> Hints | None:
    """What HEAD says, of this store or any; ``None``: nothing."""
    head = read_head(files, folder)
    slot = newest_slot(head)
    if slot is None or (identity is not None and slot.uuid != identity.uuid):
        return None
    last = decode_position(head, slot.uuid, slot.epoch)
    durable = decode_durable(head, slot.uuid)
    return Hints(
        slot.uuid,
        slot.epoch,
        slot.applied,
        slot.last_lsn if last is None else last[0],
        max(durable.values(), default=0),
    )


def _problem(part: Part, error: CorruptionError) -> Problem:
    return Problem(part, str(error), (error.path, error.offset, error.lsn, error.problem))


def _open_backend(files: Files, place: Place, problems: list[Problem]) -> tuple[Backend, BackendView] | None:
    """The backend and a view of it; ``None`` when it is damaged, or is not there although the log is."""
    path = place.location.path  # never shown: of a server it may hold a password
    try:
        if place.backend.exists(files, path):
            backend = place.backend.open(files, path, create=False, read_only=True)
            try:
                return backend, backend.read()
            except BaseException:
                backend.close()
                raise
        text = f"the store {place.location} is missing, but its log is there; next: put the store back from a backup"
        problems.append(Problem("backend", text, text))
    except CorruptionError as error:
        problems.append(_problem("backend", error))
    except WrongBackendError as error:
        if files.stat(place.folder) is None or not segment_names(files, place.folder):
            raise
        text = f"{error}; its log is there ({place.folder}), so the store was damaged or replaced"
        problems.append(Problem("backend", text, text))
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
