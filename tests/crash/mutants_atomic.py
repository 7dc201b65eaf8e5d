"""Protocol bugs around backends that store in one atomic step, to be planted as those of `crash.mutants` are.

Some break the backend's side of the contract (a step that is not durable, a position apart from its data), some the
engine's (what a step has not stored is let go).
"""

from __future__ import annotations

import contextlib
from typing import Any

from sessiondb import checkpoint, opening
from sessiondb.backend import Position
from sessiondb.errors import BackendError
from sessiondb.field_index import FieldIndex
from sessiondb.memtable import Memtable, TableLayer
from sessiondb.query import FieldReader
from sessiondb.views import Triple
from sessiondb_backends.resident_index import ResidentIndex

from .atomic import AtomicBackend
from .disk import SimulatedDisk
from .mutants import Patch, Without, dropped_too_early, mutant

__all__: list[str] = []


@contextlib.contextmanager
def _without_record(disk: SimulatedDisk, kind: str) -> Any:
    """What the disk does here is seen by processes, but nothing says that it is durable."""
    record = disk.record
    disk.record = lambda op: None if op.kind == kind else record(op)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del disk.record  # type: ignore[method-assign]


@mutant("segments are dropped before the step is done", "checkpoint", "checkpoints", target="memory")
def dropped_before_the_step(patch: Patch) -> None:
    dropped_too_early(patch)


@mutant("SQLite's segments are dropped before its transaction is done", "checkpoint", target="sqlite")
def dropped_before_sqlite(patch: Patch) -> None:
    dropped_too_early(patch)


@mutant("LMDB's segments are dropped before its transaction is done", "checkpoint", target="lmdb")
def dropped_before_lmdb(patch: Patch) -> None:
    dropped_too_early(patch)


@mutant("a step returns before it is durable", "checkpoint", "checkpoints", target="memory")
def step_not_durable(patch: Patch) -> None:
    apply = AtomicBackend.apply

    def mutated(self: Any, *arguments: Any) -> None:
        with _without_record(self._disk, "step"):
            apply(self, *arguments)

    patch.setattr(AtomicBackend, "apply", mutated)
    patch.setattr(AtomicBackend, "settle", lambda self: None)


@mutant("a new store is not durable before its log is used", "first_creation", target="memory")
def creation_not_durable(patch: Patch) -> None:
    step = SimulatedDisk.step

    def mutated(self: Any, path: str, make: Any) -> None:
        if path in self.stores:
            step(self, path, make)
            return
        with _without_record(self, "step"):
            step(self, path, make)

    patch.setattr(SimulatedDisk, "step", mutated)


@mutant("the folder of a store that is a folder is not synced into its parent", "first_creation", target="lmdb")
def folder_unsynced(patch: Patch) -> None:
    make_folder = opening._make_folder
    patch.setattr(opening, "_make_folder", lambda files, folder: make_folder(Without(files, "sync_folder"), folder))


@mutant("the position is stored in a step of its own, before the data", "checkpoint", "checkpoints", target="memory")
def position_apart(patch: Patch) -> None:
    apply = AtomicBackend.apply

    def mutated(self: Any, changes: Any, expected: Position, position: Position, pace: Any) -> None:
        apply(self, {}, expected, position, pace)
        apply(self, changes, position, position, pace)

    patch.setattr(AtomicBackend, "apply", mutated)


@mutant("SQLite's position is stored in a transaction of its own", "checkpoint", "checkpoints", target="sqlite")
def position_apart_in_sqlite(patch: Patch) -> None:
    position_apart(patch)


@mutant("the changes are stored table by table, the position with the first", "drop_table", "bytes_table",
        target="memory")  # fmt: skip
def table_by_table(patch: Patch) -> None:
    apply = AtomicBackend.apply

    def mutated(self: Any, changes: Any, expected: Position, position: Position, pace: Any) -> None:
        for name in changes:
            apply(self, {name: changes[name]}, expected, position, pace)
            expected = position
        if not changes:
            apply(self, {}, expected, position, pace)

    patch.setattr(AtomicBackend, "apply", mutated)


@mutant("what a failed step should have stored is forgotten", "failed_checkpoint", target="memory")
def failed_step_forgotten(patch: Patch) -> None:
    move = checkpoint.Checkpointer._move

    def mutated(self: Any, frozen: Any, pace: Any) -> None:
        try:
            move(self, frozen, pace)
        except BackendError:
            active, _, base = self._views.triple
            self._views.install(Triple(active, None, base))
            raise

    patch.setattr(checkpoint.Checkpointer, "_move", mutated)


@mutant("a checkpoint leaves deletions out", "deletions", target="memory")
def deletions_left_out(patch: Patch) -> None:
    changes = Memtable.changes

    def mutated(self: Any, pace: Any) -> Any:
        return {
            name: change._replace(images={key: image for key, image in change.images.items() if image is not None})
            for name, change in changes(self, pace).items()
        }

    patch.setattr(Memtable, "changes", mutated)


@mutant("a checkpoint leaves indexes out", "indexes", target="memory")
def indexes_left_out(patch: Patch) -> None:
    changes = Memtable.changes
    patch.setattr(
        Memtable,
        "changes",
        lambda self, pace: {name: change._replace(indexes={}) for name, change in changes(self, pace).items()},
    )


@mutant("an index is built without the records that were there before", "indexes", target="memory")
def index_without_earlier_records(patch: Patch) -> None:
    def mutated(field: str, records: Any, pace: Any) -> ResidentIndex:
        return ResidentIndex(FieldReader([field]), FieldIndex())

    patch.setattr(ResidentIndex, "build", mutated)


@mutant("an index does not learn of later changes", "indexes", target="memory")
def index_stays(patch: Patch) -> None:
    patch.setattr(ResidentIndex, "after", lambda self, *_: self)


@mutant("a search of the memtable misses what was written since the last one", "indexes", target="memory")
def memtable_index_stays(patch: Patch) -> None:
    candidates = TableLayer.candidates

    def mutated(self: Any, condition: Any) -> Any:
        if self.touched:
            del self.touched[:]
        return candidates(self, condition)

    patch.setattr(TableLayer, "candidates", mutated)


@mutant("an index outlives its table", "indexes", target="memory")
def index_outlives_table(patch: Patch) -> None:
    changes = Memtable.changes

    def mutated(self: Any, pace: Any) -> Any:
        kept = {}
        for name, change in changes(self, pace).items():
            indexes = {"n": True, **change.indexes} if change.dropped and change.kind == "json" else change.indexes
            kept[name] = change._replace(indexes=indexes)
        return kept

    patch.setattr(Memtable, "changes", mutated)
