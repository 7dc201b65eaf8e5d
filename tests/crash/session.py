"""A program that uses the store, the machine that it runs on, and what can happen to both.

A `Session` drives the public API and announces to the disk what is handed to the engine and what the engine has
acknowledged, so that `crash.oracle` knows what may be found.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

import msgspec

import sessiondb
from sessiondb.errors import DurabilityUnknownError, StoreFailedError
from sessiondb.store import Store
from sessiondb.wal.operations import Delete, Drop, Index, Put, PutBytes, Unindex

from .disk import SimulatedDisk
from .ops import Op
from .oracle import HUGE, History, Tables, forget_everything
from .queries import wrong_answer
from .states import Replay, possible_disks
from .target import JSON, Target

__all__ = ["Killed", "Session", "drop_unsynced"]


class Killed(BaseException):
    """The process is dead; only the test lives on."""


class Session:
    """A program that uses the store, and the machine that it runs on.

    Args:
        seed: of the random numbers.
        disk: what it runs on; a real file system that can `kill`, `record` and `settle` does for most workloads.
        target: the store.
    """

    def __init__(self, seed: int, disk: Any = None, target: Target = JSON):
        self.rng = Random(seed)
        self.disk = disk or SimulatedDisk()
        self.disks: list[SimulatedDisk] = [self.disk]
        """Every disk with a record to check."""
        self.target = target
        self.history = History()
        self.db: sessiondb.Database | None = None

    # ---- announcements

    def _announce(self, kind: str, what: Any) -> None:
        op = Op(kind, "", data=what)
        self.disk.record(op)
        self.history.apply(op)

    @property
    def store(self) -> Store:
        """The engine that is open."""
        assert self.db is not None
        return self.db._open

    @property
    def tables(self) -> Tables:
        """What the store must hold now."""
        return self.history.states[self.store.views.visible_lsn]

    def open(self, **options: Any) -> sessiondb.Database:
        """Open the store; nothing happens in the background."""
        self.db = sessiondb.open(
            self.target.location, files=self.disk, lock_timeout=0.0, checkpoint_bytes=HUGE, checkpoint_records=HUGE,
            checkpoint_age_s=1e9, **options,
        )  # fmt: skip
        self._announce("opened", self.store.views.visible_lsn)
        return self.db

    def settle(self) -> None:
        """A long time passes: all that was written is on disk. What follows is recorded anew."""
        self.disk.settle(self.history.copy())

    # ---- changes

    def change(self, operations: list[Any], call: Callable[[], object], *, durable: bool) -> None:
        """Make a change through `call`, which is one transaction of `operations`."""
        lsn, before = self.store.views.visible_lsn + 1, self.tables  # a failure may poison the store, which shows less
        self._announce("issued", (lsn, _after(before, operations)))
        try:
            call()
        except DurabilityUnknownError:
            raise
        except StoreFailedError:
            # "Nothing was written": from here on no power cut may bring it back.
            self._announce("issued", (lsn - 1, before))
            raise
        assert self.store.views.visible_lsn >= lsn  # more, when somebody else came in between
        self._announce("ack" if durable else "returned", lsn)

    def put(self, table: str, key: str, record: Any, sync: Any = None) -> None:
        """Put one record."""
        assert self.db is not None
        handle = self.db.table(table)
        level = sync or self.store.options.sync
        self.change(
            [Put(table, key, msgspec.json.encode(record))],
            lambda: handle.put(key, record, sync=sync),
            durable=level == "always",
        )

    def put_bytes(self, table: str, key: str, image: bytes, sync: Any = None) -> None:
        """Put one record of raw bytes."""
        assert self.db is not None
        handle = self.db.table(table, bytes)
        level = sync or self.store.options.sync
        operation = PutBytes(table, key, image)
        self.change([operation], lambda: handle.put(key, image, sync=sync), durable=level == "always")

    def put_many(self, table: str, records: Mapping[str, Any], sync: Any = None) -> None:
        """Put several records in one transaction."""
        assert self.db is not None
        handle = self.db.table(table)
        level = sync or self.store.options.sync
        self.change(
            [Put(table, key, msgspec.json.encode(record)) for key, record in records.items()],
            lambda: handle.put_many(records, sync=sync),
            durable=level == "always",
        )

    def delete(self, table: str, key: str) -> None:
        """Delete one record."""
        assert self.db is not None
        handle = self.db.table(table)
        self.change([Delete(table, key)], lambda: handle.pop(key), durable=self.store.options.sync == "always")

    def drop(self, table: str) -> None:
        """Drop a table."""
        db = self.db
        assert db is not None
        if table in self.tables:
            self.change([Drop(table)], lambda: db.drop(table), durable=self.store.options.sync == "always")

    def index(self, table: str, field: str) -> None:
        """Declare an index."""
        assert self.db is not None
        handle = self.db.table(table)
        if f"{table}/{field}" not in self.tables.get("", {}):
            durable = self.store.options.sync == "always"
            self.change([Index(table, field)], lambda: handle.create_index(field), durable=durable)

    def unindex(self, table: str, field: str) -> None:
        """Remove an index; KeyError when there is none."""
        assert self.db is not None
        handle = self.db.table(table)
        _ = self.tables.get("", {})[f"{table}/{field}"]
        durable = self.store.options.sync == "always"
        self.change([Unindex(table, field)], lambda: handle.drop_index(field), durable=durable)

    def ask(self) -> None:
        """Every index answers as the records do."""
        assert not (wrong := wrong_answer(self.store, self.tables)), wrong

    def some_puts(self, count: int, sync: Any = None, size_max: int = 120) -> None:
        """Put records with random keys and sizes."""
        for _ in range(count):
            self.put("t", f"k{self.rng.randrange(5)}", self.record(size_max), sync)

    def record(self, size_max: int = 120) -> dict[str, Any]:
        """A record that is like no other."""
        size = self.rng.randrange(1, size_max)
        return {"n": self.rng.randrange(1 << 30), "text": self.rng.choice("abcdefgh") * size}

    def sync(self) -> None:
        """Make everything durable."""
        assert self.db is not None
        self._announce("ack", self.db.sync().lsn)

    def checkpoint(self) -> None:
        """Move everything into the backend; that makes it durable."""
        assert self.db is not None
        lsn = self.store.views.visible_lsn
        self.db.checkpoint()
        self._announce("ack", lsn)

    # ---- ends

    def close(self) -> None:
        """Close cleanly; that makes everything durable."""
        assert self.db is not None
        lsn = self.store.views.visible_lsn
        self.db.close()
        self.db = None
        self._announce("ack", lsn)

    def kill(self) -> None:
        """The process dies; the machine runs on."""
        self._stop_threads()
        self.disk.kill()
        forget_everything()
        self.db = None

    def power_cut(self) -> None:
        """The power goes now, and the machine comes up with one of the possible disks."""
        assert self.disk.log is not None
        replay = Replay.before(self.disk)
        for op in self.disk.log:
            replay.apply(op)
        states = list(possible_disks(replay, self.rng, 20))
        self.kill()
        self.disk = self.rng.choice(states).disk()
        self.disks.append(self.disk)
        self.settle()

    def _stop_threads(self) -> None:
        if self.db is not None and self.db._store is not None:
            if self.store._syncer is not None:
                self.store._syncer.stop()
            self.store.checkpointer.stop()

    # ---- faults

    @contextlib.contextmanager
    def killed_after(self, operations: int, kinds: tuple[str, ...] = ()) -> Iterator[None]:
        """The process dies before so many operations (of these kinds) are done, or at the end of the block."""
        disk, left, life = self.disk, operations, self.disk.life

        def hook(kind: str, path: str) -> object:
            nonlocal left
            left -= not kinds or kind in kinds
            if left < 0:
                disk.life += 1  # no clean-up of the dead process touches the disk any more
                raise Killed
            return None

        disk.hook = hook
        try:
            yield
        except (Killed, Exception) as error:
            if disk.life == life:
                raise error from None
        finally:
            self.kill()

    @property
    def storing(self) -> str:
        """The operation by which a checkpoint reaches the store."""
        return "replace" if self.target.name == "json" else "step"

    def fail_once(self, kind: str, code: int, wish: str = "") -> None:
        """The next operation of this kind fails."""
        disk = self.disk

        def hook(found: str, path: str) -> object:
            if found != kind:
                return None
            disk.hook = None
            if kind in ("fdatasync", "fsync"):
                drop_unsynced(disk, path)
            if wish:
                return wish
            raise OSError(code, os.strerror(code), path)

        disk.hook = hook


def drop_unsynced(disk: SimulatedDisk, path: str) -> None:
    """A sync of the file fails: what it should have written will never be written, and the cache hides that."""
    assert disk.log is not None
    replay = Replay.before(disk)
    for op in disk.log:
        replay.apply(op)
    disk.fail_sync(path, replay.durable_bytes(disk.entries[path]))


def _after(tables: Tables, operations: list[Any]) -> Tables:
    after = {name: dict(rows) for name, rows in tables.items()}
    indexes = after.pop("", {})
    for operation in operations:
        table = operation.table
        if isinstance(operation, Delete):
            after[table].pop(operation.key, None)
        elif isinstance(operation, Drop):
            del after[table]
            indexes = {name: b"" for name in indexes if not name.startswith(f"{table}/")}
        elif isinstance(operation, Index):
            after.setdefault(table, {})
            indexes[f"{table}/{operation.field}"] = b""
        elif isinstance(operation, Unindex):
            indexes.pop(f"{table}/{operation.field}", None)
        else:
            after.setdefault(table, {})[operation.key] = operation.image
    return {**after, "": indexes} if indexes else after
