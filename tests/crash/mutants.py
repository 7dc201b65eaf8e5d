"""Protocol bugs to plant in the engine: each is a way in which a write-ahead log has gone wrong somewhere.

They are patched in from here only; the product has no switch for any of them. `MUTANTS` maps a sentence to a function
that patches the engine through a `pytest.MonkeyPatch`, and names workloads in which the bug can show.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

import sessiondb_backends.json_file as json_file
from sessiondb import checkpoint, commit, recovery
from sessiondb.backend import Position
from sessiondb.files import Files
from sessiondb.views import Triple
from sessiondb.wal import format as wal_format
from sessiondb.wal import log as wal_log
from sessiondb_backends.json_file import JsonFileBackend

__all__ = ["MUTANTS", "Mutant", "Patch", "Without", "mutant"]

Patch = pytest.MonkeyPatch


class Mutant(NamedTuple):
    """A planted bug."""

    plant: Callable[[Patch], None]
    workloads: tuple[str, ...]
    """Where to look first."""
    target: str = "json"
    """The backend with which it can show."""


MUTANTS: dict[str, Mutant] = {}


def mutant(
    sentence: str, *workloads: str, target: str = "json"
) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Register a bug."""

    def register(plant: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTANTS[sentence] = Mutant(plant, workloads, target)
        return plant

    return register


class Without(Files):
    """A file system on which some operations do nothing."""

    def __init__(self, files: Any, *names: str):
        self._files = files
        self._names = names

    def __getattribute__(self, name: str) -> Any:
        if name in ("_files", "_names"):
            return object.__getattribute__(self, name)
        if name in self._names:
            return lambda *_, **__: None
        found = getattr(self._files, name)
        if name == "open" and "fsync" in self._names:
            return lambda *arguments, **options: _unsynced(found(*arguments, **options))
        return found


def _unsynced(file: Any) -> Any:
    file.fsync = file.fdatasync = lambda: None
    return file


def _json_writes_through(patch: Patch, *names: str) -> None:
    """JsonFileBackend._write on a file system without these operations."""
    write = JsonFileBackend._write

    def mutated(self: Any, *arguments: Any) -> None:
        files, self._files = self._files, Without(self._files, *names)
        try:
            write(self, *arguments)
        finally:
            self._files = files

    patch.setattr(JsonFileBackend, "_write", mutated)


def _segments_are_made_on(patch: Patch, *names: str) -> None:
    create = wal_log.create_segment

    def mutated(files: Any, folder: str, header: Any) -> Any:
        return create(Without(files, *names), folder, header)

    patch.setattr(wal_log, "create_segment", mutated)
    patch.setattr(recovery, "create_segment", mutated)


# ---- the log's syncs


@mutant("a commit is acknowledged without a sync", "append_always")
def no_sync(patch: Patch) -> None:
    sync = wal_log.AppendLog._sync

    def mutated(self: Any) -> None:
        _with_file(self, lambda: sync(self), fdatasync=lambda: None)

    patch.setattr(wal_log.AppendLog, "_sync", mutated)


def _with_file(log: Any, call: Callable[[], object], **methods: Any) -> None:
    """Call with some methods of the active segment's file replaced."""
    file = log.tail.file
    for name, method in methods.items():
        setattr(file, name, method)
    try:
        call()
    finally:
        for name in methods:
            delattr(file, name)


@mutant("the durable word is written before the sync", "append_always")
def durable_word_first(patch: Patch) -> None:
    sync = wal_log.AppendLog._sync

    def mutated(self: Any) -> None:
        self.head.publish_durable(self.tail.lsn)
        sync(self)

    patch.setattr(wal_log.AppendLog, "_sync", mutated)


@mutant("a failed sync is tried again", "poison")
def sync_again(patch: Patch) -> None:
    sync = wal_log.AppendLog._sync

    def mutated(self: Any) -> None:
        fdatasync = self.tail.file.fdatasync

        def twice() -> None:
            try:
                fdatasync()
            except OSError:
                fdatasync()

        _with_file(self, lambda: sync(self), fdatasync=twice)

    patch.setattr(wal_log.AppendLog, "_sync", mutated)


@mutant("a sync covers what was appended while it ran", "append_during_sync")
def sync_covers_too_much(patch: Patch) -> None:
    sync = wal_log.AppendLog._sync

    def mutated(self: Any) -> None:
        sync(self)
        self.durable_lsn = self.tail.lsn

    patch.setattr(wal_log.AppendLog, "_sync", mutated)


@mutant("the seal is not synced before its successor exists", "checkpoint", "roll")
def seal_unsynced(patch: Patch) -> None:
    def mutated(self: Any) -> None:
        if not self.tail.sealed:
            self._write_frame(wal_format.SEAL, self.tail.lsn + 1, b"")
        self._start_next_segment()

    patch.setattr(wal_log.AppendLog, "roll", mutated)


@mutant("a new segment's file is not synced", "checkpoint", "first_creation")
def segment_unsynced(patch: Patch) -> None:
    _segments_are_made_on(patch, "fsync")


@mutant("the folder is not synced after a segment was created", "append_during_checkpoint", "failed_checkpoint")
def segment_name_unsynced(patch: Patch) -> None:
    _segments_are_made_on(patch, "sync_folder")


@mutant("half a write is not taken back", "failed_write")
def half_write_stays(patch: Patch) -> None:
    def mutated(self: Any) -> None:
        self._pending = 0
        self.tail = self.tail._replace(end=self.tail.end + 8)

    patch.setattr(wal_log.AppendLog, "_zero_pending", mutated)


# ---- the checkpoint


@mutant("segments are dropped before the checkpoint is durable", "checkpoint", "checkpoints")
def dropped_too_early(patch: Patch) -> None:
    move = checkpoint.Checkpointer._move

    def mutated(self: Any, frozen: Any, pace: Any) -> None:
        self._drop_segments(self._log)
        move(self, frozen, pace)

    patch.setattr(checkpoint.Checkpointer, "_move", mutated)


@mutant("the folder is not synced after the rename", "checkpoint", "checkpoints", "first_creation")
def rename_unsynced(patch: Patch) -> None:
    _json_writes_through(patch, "sync_folder")


@mutant("the new file is not synced before the rename", "checkpoint", "checkpoints")
def file_unsynced(patch: Patch) -> None:
    _json_writes_through(patch, "fsync")


@mutant("the JSON file is written in place", "checkpoint", "checkpoints")
def in_place(patch: Patch) -> None:
    def mutated(self: Any, state: Any, position: Any, pace: Any) -> None:
        file = self._files.open(self._path, create=True)
        self._size = self._write_whole(file, state, position, pace)
        file.fsync()
        file.close()
        self._files.sync_folder(self._path.rpartition("/")[0])

    patch.setattr(JsonFileBackend, "_write", mutated)


@mutant("the LSN is kept apart from the data", "checkpoint", "checkpoints")
def lsn_apart(patch: Patch) -> None:
    write, read_file, stored = JsonFileBackend._write, json_file._read_file, JsonFileBackend._stored_header

    def with_position(files: Any, path: str, header: Any) -> Any:
        if files.stat(f"{path}.lsn") is None:
            return header
        epoch, lsn = files.open(f"{path}.lsn", read_only=True).pread(64, 0).split()
        return json_file.Header(header.identity, Position(int(epoch), int(lsn)), header.digest)

    def mutated_write(self: Any, state: Any, position: Any, pace: Any) -> None:
        files, path = self._files, self._path
        file = files.open(f"{path}.lsn.tmp", create=True)
        file.pwrite(b"%10d %10d" % (position.epoch, position.lsn), 0)
        file.fsync()
        file.close()
        files.replace(f"{path}.lsn.tmp", f"{path}.lsn")
        write(self, state, Position(1, 0), pace)  # its folder sync makes both renames durable

    def mutated_read(files: Any, path: str) -> Any:
        header, body = read_file(files, path)
        return with_position(files, path, header), body

    patch.setattr(JsonFileBackend, "_write", mutated_write)
    patch.setattr(json_file, "_read_file", mutated_read)
    patch.setattr(JsonFileBackend, "_stored_header", lambda self: with_position(self._files, self._path, stored(self)))


@mutant("a checkpoint stores a newer LSN than its data has", "append_during_checkpoint")
def lsn_ahead_of_data(patch: Patch) -> None:
    def mutated_write(self: Any, state: Any, position: Any, pace: Any) -> None:
        write(self, state, position, pace)
        ahead = current["lsn"]()
        if ahead > position.lsn:
            write(self, state, Position(position.epoch, ahead), pace)

    def mutated_move(self: Any, frozen: Any, pace: Any) -> None:
        current["lsn"] = lambda: self._log.last_lsn
        move(self, frozen, pace)

    def mutated_position(self: Any) -> Any:
        found = position_of(self)
        return min(found, self._view.position) if self._view.position.lsn else found

    current: dict[str, Callable[[], int]] = {"lsn": lambda: 0}
    write, move, position_of = JsonFileBackend._write, checkpoint.Checkpointer._move, JsonFileBackend.position
    patch.setattr(JsonFileBackend, "_write", mutated_write)
    patch.setattr(JsonFileBackend, "position", mutated_position)
    patch.setattr(checkpoint.Checkpointer, "_move", mutated_move)


@mutant("a memtable layer is dropped before the view is installed", "failed_checkpoint", "roll")
def layer_dropped_too_early(patch: Patch) -> None:
    move = checkpoint.Checkpointer._move

    def mutated(self: Any, frozen: Any, pace: Any) -> None:
        active, _, base = self._views.triple
        self._views.install(Triple(active, None, base))
        move(self, frozen, pace)

    patch.setattr(checkpoint.Checkpointer, "_move", mutated)


# ---- commits


@mutant("a commit is visible before it is in the log", "failed_write")
def visible_before_logged(patch: Patch) -> None:
    original = commit.Committer.commit

    def mutated(self: Any, operations: Any, *arguments: Any, **options: Any) -> Any:
        views = self._views
        views.triple.active.apply(views.visible_lsn, operations, views.newest_reader())
        return original(self, operations, *arguments, **options)

    patch.setattr(commit.Committer, "commit", mutated)


@mutant("a poisoned store takes writes", "poison")
def poison_is_forgotten(patch: Patch) -> None:
    def mutated(self: Any, error: Exception, what: str) -> None:
        self.failure = None

    patch.setattr(wal_log.AppendLog, "poison", mutated)


@mutant("an append that the disk refused is reported as done", "failed_write")
def failed_append_ignored(patch: Patch) -> None:
    write_frame = wal_log.AppendLog._write_frame

    def mutated(self: Any, kind: int, lsn: int, payload: bytes) -> None:
        try:
            write_frame(self, kind, lsn, payload)
        except Exception as error:
            if getattr(error.__cause__, "errno", None) != errno.ENOSPC:
                raise
            self.tail = self.tail._replace(lsn=lsn)

    patch.setattr(wal_log.AppendLog, "_write_frame", mutated)
