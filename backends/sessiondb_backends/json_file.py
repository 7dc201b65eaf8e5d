"""The JSON file backend: the whole state in memory, the whole file replaced at every checkpoint.

The order of a replacement, and what each step is for:

1. write a new file beside the old one (``<name>.tmp``) and fsync it: a rename may reach the disk before the data;
2. rename it over the old one: readers and a crash see the old file or the new one, never a mixture;
3. fsync the folder: until then a power cut can bring the old name back, after the log has been dropped.

A ``.tmp`` file that a crash left is never read; the next checkpoint replaces it.
"""

from __future__ import annotations

import hashlib
import os
import threading
from typing import Literal

from sessiondb.backend import Backend, Changes, Identity, Pace, Position, TableKind
from sessiondb.errors import BackendError, CorruptionError, FencedError, UsageError, WrongBackendError
from sessiondb.files import File, Files
from sessiondb.location import content_kind
from sessiondb.replacement import Replacement

from .json_format import (
    FORMAT_VERSION,
    HEADER_BYTES,
    Header,
    decode_body,
    decode_header,
    encode_body,
    encode_header,
)
from .json_replacing import READ_BYTES, keep_owner, remove, sync_named
from .resident import SLICE_RECORDS, ResidentTable, ResidentView, fold
from .system_errors import attempt

__all__ = ["JsonFileBackend"]

SYNC_BYTES = 1 << 20
"""A new file is synced each time so many bytes were written: the last sync is then short."""


class JsonFileBackend(Backend):
    """One JSON file in the native layout."""

    scheme = "json"
    whole_file = True
    layouts = ("native", "array", "state", "sessions", "backup", "keyed")

    def __init__(self, files: Files, path: str, header: Header, state: dict[str, ResidentTable], size: int):
        self._files = files
        self._path = path
        self._identity = header.identity
        self._view = ResidentView(header.position, state)
        self._size = size
        self._replacing = threading.Lock()
        """Held while the file may be newer than `_view`."""

    @classmethod
    def exists(cls, files: Files, path: str) -> bool:
        """Whether a JSON file in the native layout, or a session file, is at the path."""
        return cls._kind(files, path) != "nothing"

    @staticmethod
    def _kind(files: Files, path: str) -> Literal["nothing", "native", "sessions"]:
        """What is at the path, judged by its first bytes, and of a session file by all of them."""
        kind = attempt(f"read {path}", lambda: content_kind(files, path))
        if kind == "a sessiondb JSON file":
            return "native"
        mark = f"{path}.wal/MARK"
        if kind == "nothing":
            if attempt(f"read {mark}", lambda: files.stat(mark)) is not None:
                raise CorruptionError(
                    "the session file is missing, but its log is here", path=path,
                    advice=f"put it back (the one before its last replacement may be in {path}.prev); to start anew, "
                    f"move {path}.wal away",
                )  # fmt: skip
            return "nothing"
        reason = ""
        if kind in ("a JSON file of another program", "an empty file", "an unknown file"):
            from .json_session import why_no_session_file

            reason = why_no_session_file(files, path)
            if not reason:
                return "sessions"
        raise _wrong(kind, path, reason)

    @classmethod
    def open(
        cls, files: Files, path: str, *, create: bool, read_only: bool = False, layout: str | None = None
    ) -> Backend:
        """Open the file, in whatever layout it is, or make an empty one.

        Raises:
            WrongBackendError: something else is there; it is left untouched.
            CorruptionError: the file is damaged.
            UnsupportedFormatError: a later version wrote it.
            UsageError: it has another layout than the one asked for.
            BackendError: the operating system refused.
        """
        kind = cls._kind(files, path)
        if kind == "nothing" and not create:
            raise BackendError(f"the JSON file {path} is missing")
        if kind == "sessions" or (kind == "nothing" and layout not in (None, "native")):
            from .json_session import SessionFileBackend

            return SessionFileBackend.open(files, path, create=create, read_only=read_only, layout=layout)
        if layout not in (None, "native"):
            raise UsageError(
                f"layout={layout!r} was asked for, but {path} has the native layout, which it keeps; "
                "next: leave layout out"
            )
        if kind == "nothing":
            return attempt(f"create {path}", lambda: cls._create(files, path))
        if not read_only:
            attempt(f"sync {path}", lambda: sync_named(files, path))
        header, body = attempt(f"read {path}", lambda: _read_file(files, path))
        try:
            state = decode_body(body)
        except ValueError as error:
            raise CorruptionError(f"the JSON file does not parse: {error}", path=path) from error
        return cls(files, path, header, state, HEADER_BYTES + len(body))

    @classmethod
    def _create(cls, files: Files, path: str) -> JsonFileBackend:
        header = Header(Identity(os.urandom(16), FORMAT_VERSION), Position(1, 0), "")
        backend = cls(files, path, header, {}, 0)
        backend._write({}, header.position, lambda: None)
        return backend

    @classmethod
    def log_folder(cls, path: str) -> str:
        """``<path>.wal``."""
        return f"{path}.wal"

    # ---- moving a whole store here

    @classmethod
    def must_have_layout(cls, layout: str | None) -> None:
        """Native, or one in which a session file can be made."""
        from .json_replacement import must_be_new_layout

        must_be_new_layout(layout)

    @classmethod
    def misfit(cls, table: str, kind: TableKind, key: str, image: bytes, layout: str | None = None) -> str:
        """A native file takes every record, a session file only sessions."""
        if layout is None:
            return ""
        from .json_replacement import misfit

        return misfit(table, kind, key, image)

    @classmethod
    def replacement(
        cls, files: Files, path: str, before: tuple[Identity, Position] | None, *, layout: str | None = None
    ) -> Replacement:
        """Made beside the file, and renamed."""
        from .json_replacement import begin

        return begin(files, cls, path, layout)

    @classmethod
    def copy_aside(cls, files: Files, path: str, mark: str) -> tuple[str, str]:
        """A file beside the file, byte for byte the same."""
        from .json_replacement import copy

        return attempt(f"copy {path}", lambda: copy(files, path, mark))

    @classmethod
    def remove_leftovers(cls, files: Files, path: str) -> list[str]:
        """The files of an unfinished replacement or copy."""
        from .json_replacement import remove_leftovers

        return attempt(f"look at the folder of {path}", lambda: remove_leftovers(files, path))

    def identity(self) -> Identity:
        """From the file's first line."""
        return self._identity

    def position(self) -> Position:
        """From the file's first line, read now."""
        return attempt(f"read {self._path}", self._stored_header).position

    def _stored_header(self) -> Header:
        file = self._files.open(self._path, read_only=True)
        try:
            header = decode_header(file.pread(HEADER_BYTES, 0))
        finally:
            file.close()
        if header is None or header.identity != self._identity:
            raise CorruptionError("another file was put in the place of this store's JSON file", path=self._path)
        return header

    def read(self) -> ResidentView:
        """The state as this object last read or wrote it; nobody else writes while the store is open."""
        return self._view

    def apply(self, changes: Changes, expected: Position, position: Position, pace: Pace) -> None:
        """Write the whole state with the changes into a new file and put it in the old one's place."""
        stored = self.position()
        if stored not in (expected, position):
            raise FencedError(f"the JSON file is at {stored}, not at {expected}: somebody else wrote it ({self._path})")
        state = fold(self._view.state, changes, pace)
        with self._replacing:
            attempt(f"write {self._path}", lambda: self._write(state, position, pace))
            self._view = ResidentView(position, state)

    def _write(self, state: dict[str, ResidentTable], position: Position, pace: Pace) -> None:
        files, path = self._files, self._path
        temporary = f"{path}.tmp"
        remove(files, temporary)
        file = files.open(temporary, create=True, exclusive=True)
        try:
            keep_owner(files, path, file)
            size = self._write_whole(file, state, position, pace)
            file.fsync()  # a rename may reach the disk before the data it names
        except OSError:
            file.close()
            files.unlink(temporary)
            raise
        file.close()
        files.replace(temporary, path)
        files.sync_folder(os.path.dirname(path))  # until then the old file can come back, and the log may be gone
        self._size = size

    def _write_whole(self, file: File, state: dict[str, ResidentTable], position: Position, pace: Pace) -> int:
        digest = hashlib.sha256()
        offset = synced = HEADER_BYTES
        for piece in encode_body(state, SLICE_RECORDS):
            digest.update(piece)
            file.pwrite(piece, offset)
            offset += len(piece)
            if offset - synced >= SYNC_BYTES:
                # The log's next sync waits behind what the disk is given at once: puts take as long as this one.
                file.fdatasync()
                synced = offset
            pace()
        file.pwrite(encode_header(Header(self._identity, position, digest.hexdigest())), 0)
        return offset

    def check(self) -> list[str]:
        """Read the file again, digest and all, and compare with the state in memory."""
        problems = self._compare()
        if problems:
            with self._replacing:  # a checkpoint may just have replaced the file: look again without one
                problems = self._compare()
        return problems + self._view.index_problems()

    def _compare(self) -> list[str]:
        try:
            header, body = attempt(f"read {self._path}", lambda: _read_file(self._files, self._path))
            state = decode_body(body)
        except (CorruptionError, ValueError) as error:
            return [str(error)]
        problems = []
        if header.position != self._view.position:
            problems.append(f"{self._path} is at {header.position}, this process expects {self._view.position}")
        if _plain(state) != _plain(self._view.state):
            problems.append(f"{self._path} holds other records than this process wrote")
        return problems

    def size(self) -> int:
        """The file's size in bytes."""
        return self._size

    def close(self) -> None:
        """Nothing is held between operations."""


def _wrong(kind: str, path: str, reason: str) -> WrongBackendError:
    step = "choose the right location or backend"
    if kind == "a JSON file of another program":
        step = "import it into a new store with `sessiondb import`, or choose another location"
    elif kind == "an empty file":
        step = "if nothing was in it, remove it and open again; else restore it"
    why = f" ({reason})" if reason else ""
    return WrongBackendError(
        f"expected a sessiondb JSON file, found {kind} at {path}{why}; it is untouched; next: {step}"
    )


def _plain(state: dict[str, ResidentTable]) -> dict[str, object]:
    return {name: (table.kind, table.records, set(table.indexes)) for name, table in state.items()}


def _read_file(files: Files, path: str) -> tuple[Header, bytes]:
    """The header and everything behind it, checked against each other."""
    file = files.open(path, read_only=True)
    try:
        header = decode_header(file.pread(HEADER_BYTES, 0))
        if header is None:
            raise CorruptionError("the JSON file's first line is damaged", path=path, offset=0)
        parts = []
        offset = HEADER_BYTES
        digest = hashlib.sha256()
        while part := file.pread(READ_BYTES, offset):
            digest.update(part)
            parts.append(part)
            offset += len(part)
    finally:
        file.close()
    if digest.hexdigest() != header.digest:
        raise CorruptionError(
            "the JSON file does not match its digest: it was damaged, cut, or edited by hand",
            path=path, offset=HEADER_BYTES, lsn=header.position.lsn,
            advice="restore it from a backup; if you edited it, undo the edit (programs write through sessiondb only)",
        )  # fmt: skip
    return header, b"".join(parts)
