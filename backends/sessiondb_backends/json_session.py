"""The JSON backend on a session file: a file of another program, kept in the shape it was found in.

The shapes are in `session_layout_shapes`, how a file is replaced in `json_session_place`. The file holds one table,
`sessions`, and no position: that stands in the log's folder, bound to the file by its digest. A file with a digest
that nobody announced was changed by somebody else: the engine adopts it when nothing is in the log, and refuses it
otherwise.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from sessiondb.backend import Backend, Changes, ForeignEdit, Identity, Pace, Position, TableChanges
from sessiondb.errors import (
    BackendError,
    CorruptionError,
    FencedError,
    UsageError,
    ValidationError,
    WrongBackendError,
)
from sessiondb.files import Files
from sessiondb.stats import LayoutStats

from .json_replacing import read_whole
from .json_session_mark import FORMAT_VERSION, Known, Mark
from .json_session_place import SessionPlace, digest_of, standing
from .resident import ResidentTable, ResidentView, fold
from .session_layout import KEY_FIELD, TABLE, SessionText
from .session_layout_shapes import NEW_LAYOUTS, LayoutError, may_be_sessions, parse_sessions
from .system_errors import attempt

__all__ = ["SessionFileBackend", "why_no_session_file"]

LOOK_BYTES = 1 << 16
ADVICE_MARK = (
    "restore the mark; if `sessiondb log dump` shows nothing that the file lacks, move the folder that it is in away"
)


class _Keyed(msgspec.Struct):
    session: Any = msgspec.UNSET


_decode_key = msgspec.json.Decoder(_Keyed).decode


def why_no_session_file(files: Files, path: str) -> str:
    """Why the file at the path is no session file; empty when it is one, or was when it was last opened.

    Raises:
        BackendError: it cannot be read.
    """
    place = SessionPlace(files, path)
    if attempt(f"read {path}", place.has_mark):
        return ""
    if attempt(f"read {path}", place.has_log):
        return "the log beside it is that of a store in the native layout"
    if not may_be_sessions(attempt(f"read {path}", lambda: _start(files, path))):
        return "it begins with no array and no object"
    try:
        parse_sessions(attempt(f"read {path}", lambda: read_whole(files, path)))
    except LayoutError as error:
        return f"{error.problem}, offset {error.offset}"
    return ""


def _start(files: Files, path: str) -> bytes:
    file = files.open(path, read_only=True)
    try:
        return file.pread(LOOK_BYTES, 0)
    finally:
        file.close()


class SessionFileBackend(Backend):
    """One session file."""

    scheme = "json"
    whole_file = True
    only_table = TABLE

    def __init__(self, place: SessionPlace, text: SessionText, mark: Mark, data: bytes, edit: ForeignEdit | None):
        self._place = place
        self._identity = Identity(bytes.fromhex(mark.uuid), FORMAT_VERSION)
        self._edit = edit
        self._digest = digest_of(data)
        """Of the file as it was read when it was opened."""
        self._unwritten: Mark | None = None
        """Of a file that was opened for the first time, and read-only."""
        self._text = text
        self._size = len(data)
        self._replacing = threading.Lock()
        """Held while file and mark are between two states."""
        table = ResidentTable("json", text.images, indexes=dict.fromkeys(mark.now.indexes))
        self._view = ResidentView(mark.now.position, {TABLE: table})

    # ---- opening

    @classmethod
    def log_folder(cls, path: str) -> str:
        """``<path>.wal``."""
        return f"{path}.wal"

    @classmethod
    def exists(cls, files: Files, path: str) -> bool:
        """Whether a session file is at the path."""
        there = attempt(f"read {path}", lambda: files.stat(path)) is not None
        return there and not why_no_session_file(files, path)

    @classmethod
    def open(
        cls, files: Files, path: str, *, create: bool, read_only: bool = False, layout: str | None = None
    ) -> SessionFileBackend:
        """Open the file; with `create` make one, in the layout that is asked for."""
        place = SessionPlace(files, path)
        if create and attempt(f"read {path}", lambda: files.stat(path)) is None:
            if layout not in NEW_LAYOUTS:
                raise UsageError(
                    f"a new file cannot be made in the layout {layout!r}: it would need something else than sessions; "
                    f"next: choose one of native, {', '.join(NEW_LAYOUTS)}"
                )
            attempt(f"create {path}", lambda: place.create(NEW_LAYOUTS[layout]))
        if not read_only:
            attempt(f"sync {path}", place.sync)
        data, digest = attempt(f"read {path}", place.read)
        mark = attempt(f"read {place.mark_path}", place.read_mark)
        text = _parse(place, data, mark, layout)
        if mark is None:
            return cls._open_first(place, text, data, read_only=read_only)
        if not read_only:
            attempt(f"sync {place.folder}", place.sync_mark)
        known, edit = standing(mark, digest)
        if edit is not None:
            _refuse_emptied(place, text, known)
        elif mark.next is not None and not read_only:
            attempt(f"write {place.mark_path}", lambda: place.settle(mark, known))
        return cls(place, text, msgspec.structs.replace(mark, now=known), data, edit)

    @classmethod
    def _open_first(cls, place: SessionPlace, text: SessionText, data: bytes, *, read_only: bool) -> SessionFileBackend:
        """A file that was never opened here: it gets an identity, and is at 1:0 from now on."""
        if attempt(f"read {place.folder}", place.has_log):
            raise CorruptionError(
                "the log is here, but not the mark that says what of it is in the session file", path=place.mark_path,
                advice=ADVICE_MARK,
            )  # fmt: skip
        known = Known(1, 0, digest_of(data), len(text.images), [])
        mark = Mark(FORMAT_VERSION, os.urandom(16).hex(), text.layout, known, None, False, None)
        opened = cls(place, text, mark, data, None)
        opened.is_new = True
        if read_only:
            opened._unwritten = mark
        else:
            attempt(f"write {place.mark_path}", lambda: place.write_mark(mark))
        return opened

    # ---- what it is

    def identity(self) -> Identity:
        """From the mark."""
        return self._identity

    def layout(self) -> LayoutStats:
        """The shape of the file, and what is special in it."""
        text = self._text
        return LayoutStats(text.layout, text.duplicates, text.base_dir, list(self._place.conflicts))

    def left_behind(self) -> tuple[list[tuple[str, str, str]], list[str]]:
        """Sessions behind another one with the same key, and fields of the file that are about no session."""
        problem = "it stands behind another session with the same key, and is no record"
        records = [(TABLE, key, problem) for key in self._text.repeated]
        base_dir = self._text.base_dir
        values = {"baseDir": f" ({base_dir!r:.200})"}
        fields = [f"the file's own field {name}{values.get(name, '')}" for name in self._text.around]
        return records, fields

    def position(self) -> Position:
        """From the mark, by the file's digest, both read now."""
        with self._replacing:
            return attempt(f"read {self._place.path}", self._look)[1].position

    def _look(self) -> tuple[Mark, Known]:
        """The mark, and what the file is now.

        Raises:
            FencedError: somebody else changed it since it was opened.
        """
        place = self._place
        mark, (_, digest) = place.read_mark() or self._unwritten, place.read()
        if mark is None:
            raise CorruptionError("the mark of an open session file is gone", path=place.mark_path, advice=ADVICE_MARK)
        known, edit = standing(mark, digest)
        if edit is not None and (self._edit is None or digest != self._digest):
            raise FencedError(
                f"another program changed {place.path} while it was open here; it is left as it is, and the log keeps "
                "what was written here; next: close the database and open it again, which says what to do"
            )
        return mark, known

    def read(self) -> ResidentView:
        """The state as this object last read or wrote it."""
        return self._view

    def size(self) -> int:
        """The file's size in bytes."""
        return self._size

    def close(self) -> None:
        """Nothing is held between operations."""

    # ---- what changes it

    def check_record(self, key: str, image: bytes) -> None:
        """A session is an object that holds its key: the file has no other place for it.

        Raises:
            ValidationError: this one is not.
        """
        try:
            named = _decode_key(image).session
        except ValueError as error:
            raise ValidationError("a session is an object in a session file", table=TABLE, key=key) from error
        if named != key:
            what = "is missing" if named is msgspec.UNSET else "is another"
            raise ValidationError(
                f"the field that holds a session's key {what}: a session file has no other place for it",
                table=TABLE, key=key, path=f"$.{KEY_FIELD}",
            )  # fmt: skip

    def apply(self, changes: Changes, expected: Position, position: Position, pace: Pace) -> None:
        """Put a file with the changes in the old one's place; the same file when nothing of it changes."""
        if changes.keys() - {TABLE}:
            raise BackendError(f"a session file holds one table: {self._place.path} cannot take {sorted(changes)}")
        change = changes.get(TABLE, TableChanges(None, False, {}))
        text = self._text.edited(change.images, change.recreated, pace, dropped=change.dropped)
        table = self._table_after(change, text, pace)
        with self._replacing:
            attempt(f"write {self._place.path}", lambda: self._store(text, table, expected, position))

    def _table_after(self, change: TableChanges, text: SessionText, pace: Pace) -> ResidentTable:
        # What the file says from now on: it keeps how fields were written that are equal.
        images = {key: None if image is None else text.images[key] for key, image in change.images.items()}
        folded = fold(self._view.state, {TABLE: change._replace(images=images)}, pace)
        return folded.get(TABLE) or ResidentTable("json", {})

    def _store(self, text: SessionText, table: ResidentTable, expected: Position, position: Position) -> None:
        mark, current = self._look()
        if self._edit is not None or current.position not in (expected, position):
            raise FencedError(
                f"the session file is at {current.position}, not at {expected}: somebody else wrote it "
                f"({self._place.path})"
            )
        data = text.encode()
        after = _known(position, digest_of(data), table)
        mark = msgspec.structs.replace(mark, layout=text.layout)
        self._place.replace(data, mark, current, after)
        self._text, self._size = text, len(data)
        self._view = ResidentView(position, {TABLE: table})

    # ---- when somebody else changes it

    def foreign_edit(self) -> ForeignEdit | None:
        """That the file was changed by somebody else since this store wrote it or looked at it last."""
        return self._edit

    def adopt(self, position: Position, fields: Iterable[str], log: Callable[[], None]) -> None:
        """Take the file as it is for the state at the position."""
        place = self._place
        table = ResidentTable("json", self._text.images, indexes=dict.fromkeys(fields))
        with self._replacing:
            mark, _ = attempt(f"read {place.path}", self._look)
            after = _known(position, self._digest, table)
            mark = msgspec.structs.replace(mark, layout=self._text.layout, next=after, adopting=True)
            attempt(f"write {place.mark_path}", lambda: place.write_mark(mark))
            log()
            attempt(f"write {place.mark_path}", lambda: place.settle(mark, after))
            self._edit = None
            self._view = ResidentView(position, {TABLE: table})

    def check(self) -> list[str]:
        """Read the file again, compare it with its mark and with the state in memory; name what was moved aside."""
        problems = self._compare()
        if problems:
            with self._replacing:  # a checkpoint may just have replaced the file: look again without one
                problems = self._compare()
        for kept in attempt(f"read {self._place.path}", self._place.find_conflicts):
            problems.append(
                f"{kept} is what another program wrote while the session file was being replaced; next: look at it, "
                "take over what is wanted, then remove it"
            )
        return problems + self._view.index_problems()

    def _compare(self) -> list[str]:
        place = self._place
        try:
            known = attempt(f"read {place.path}", self._look)[1]
            text = parse_sessions(
                attempt(f"read {place.path}", lambda: read_whole(place.files, place.path)), known="keyed"
            )
        except (CorruptionError, FencedError, LayoutError) as error:
            return [str(error)]
        problems = []
        if known.position != self._view.position:
            problems.append(f"{place.path} is at {known.position}, this process expects {self._view.position}")
        if text.images != self._view.state[TABLE].records:
            problems.append(f"{place.path} holds other sessions than this process wrote")
        return problems


def _known(position: Position, digest: str, table: ResidentTable) -> Known:
    return Known(position.epoch, position.lsn, digest, len(table.records), sorted(table.indexes))


def _parse(place: SessionPlace, data: bytes, mark: Mark | None, layout: str | None) -> SessionText:
    """The sessions in the file.

    Raises:
        WrongBackendError: there are none, and never were.
        CorruptionError: there were when it was opened last.
        UsageError: they are there in another layout than the one asked for.
    """
    try:
        text = parse_sessions(data, known="" if mark is None else mark.layout)
    except LayoutError as error:
        if mark is None:
            raise WrongBackendError(
                f"expected a session file, found another ({error.problem}, offset {error.offset}) at {place.path}; it "
                "is untouched; next: choose the right location"
            ) from error
        raise CorruptionError(
            f"the session file cannot be read any more: {error.problem}", path=place.path, offset=error.offset,
            advice=f"mend it or put it back (the one before its last replacement is in {place.prev_path}); "
            "it was left as it is",
        ) from error  # fmt: skip
    if layout is not None and layout != text.layout and (layout, text.layout) != ("array", "empty"):
        raise UsageError(
            f"layout={layout!r} was asked for, but {place.path} has the layout {text.layout!r}, which it keeps; next: "
            "leave layout out"
        )
    return text


def _refuse_emptied(place: SessionPlace, text: SessionText, known: Known) -> None:
    """An empty file is how a write in place looks that was cut off: it is no way to delete every session.

    Raises:
        CorruptionError: the file is empty, and was not.
    """
    if text.layout == "empty" and known.records:
        raise CorruptionError(
            f"the session file is empty; it held {known.records} sessions", path=place.path, offset=0,
            advice=f"put it back (the one before its last replacement is in {place.prev_path}); if it is to hold no "
            "session, write [] into it",
        )  # fmt: skip
