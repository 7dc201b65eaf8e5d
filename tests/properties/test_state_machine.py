"""A database against a dict: any sequence of calls, checkpoints, closes and kills."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import sessiondb
from properties.quiet_files import QuietFiles
from properties.strategies import blobs, edge_keys, json_objects, json_values, texts
from sessiondb import UNSET, Database, DuplicateKeyError, Table, ValidationError
from sessiondb.checkpoint import Checkpointer

HUGE = 1 << 60
LEVELS = st.sampled_from([None, "always", "interval", "never"])
JSON_TABLES = ["sessions", "tâ ble"]
BYTES_TABLE = "blobs"
TABLES = st.sampled_from(JSON_TABLES)
PREFIXES = st.just("") | edge_keys
BOUNDS = st.none() | edge_keys


def in_order(records: dict[str, Any]) -> list[tuple[str, Any]]:
    """The records as a scan must show them."""
    return sorted(records.items(), key=lambda pair: pair[0].encode())


def same(found: object, expected: object) -> bool:
    """Equal, and of the same types all the way down: 1, 1.0 and True are three values, -0.0 is not 0.0."""
    return repr(found) == repr(expected)


class TableMachine(RuleBasedStateMachine):
    """What every backend does: tables, against dicts. `tables` holds those that exist."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, dict[str, Any]] = {}
        self.lsn = 0
        self.epoch = 1
        self.scans: list[tuple[Iterator[tuple[str, Any]], list[tuple[str, Any]]]] = []
        self.db: Database

    @initialize(background=st.booleans())
    def begin(self, background: bool) -> None:
        self.db = sessiondb.open("memory:", checkpoint_records=3 if background else HUGE)

    def teardown(self) -> None:
        self.scans.clear()
        if hasattr(self, "db"):
            self.db.close()

    # ---- the model

    def table(self, name: str) -> Table[Any]:
        return self.db.table(name, bytes) if name == BYTES_TABLE else self.db.table(name)

    def model(self, name: str) -> dict[str, Any]:
        return self.tables.get(name, {})

    def committed(self, position: sessiondb.Position | None = None, level: str | None = None) -> None:
        """One transaction more, at the position if the call has told it."""
        self.lsn += 1
        if position is not None:
            assert position.lsn == self.lsn
        if level == "always":
            assert self.db.stats().durable_lsn >= self.lsn

    def store(self, name: str, records: dict[str, Any]) -> None:
        self.tables.setdefault(name, {}).update(deepcopy(records))

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        if not hasattr(self, "db"):
            return
        assert self.db.position() == sessiondb.Position(self.epoch, self.lsn)
        kinds = {name: "bytes" if name == BYTES_TABLE else "json" for name in sorted(self.tables)}
        assert self.db.tables() == kinds
        for name in [*JSON_TABLES, BYTES_TABLE]:
            assert same(list(self.table(name).scan()), in_order(self.model(name)))

    # ---- one record

    @rule(name=TABLES, key=edge_keys, record=json_values, level=LEVELS)
    def put(self, name: str, key: str, record: Any, level: Any) -> None:
        self.committed(self.table(name).put(key, record, sync=level), level)
        self.store(name, {key: record})

    @rule(key=edge_keys, blob=blobs)
    def put_bytes(self, key: str, blob: bytes) -> None:
        self.table(BYTES_TABLE)[key] = blob
        self.committed()
        self.store(BYTES_TABLE, {key: blob})

    @rule(name=TABLES, key=edge_keys, record=json_values, level=LEVELS)
    def insert(self, name: str, key: str, record: Any, level: Any) -> None:
        if key in self.model(name):
            with pytest.raises(DuplicateKeyError):
                self.table(name).insert(key, record, sync=level)
        else:
            self.committed(self.table(name).insert(key, record, sync=level), level)
            self.store(name, {key: record})

    @rule(name=TABLES | st.just(BYTES_TABLE), key=edge_keys)
    def delete(self, name: str, key: str) -> None:
        if key in self.model(name):
            del self.table(name)[key]
            self.committed()
            del self.tables[name][key]
        else:
            with pytest.raises(KeyError):
                del self.table(name)[key]

    @rule(
        name=TABLES,
        key=edge_keys,
        changes=st.dictionaries(texts, json_values | st.just(UNSET), max_size=3),
        level=LEVELS,
    )
    def patch(self, name: str, key: str, changes: dict[str, Any], level: Any) -> None:
        table, before = self.table(name), self.model(name).get(key)
        if key not in self.model(name):
            with pytest.raises(KeyError):
                table.patch(key, changes, sync=level)
            return
        if not isinstance(before, dict):
            with pytest.raises(ValidationError):
                table.patch(key, changes, sync=level)
            return
        after = dict(before)
        for field, value in changes.items():
            if value is UNSET:
                after.pop(field, None)
            else:
                after[field] = deepcopy(value)
        assert same(table.patch(key, changes, sync=level), after)
        self.committed(level=level)
        self.store(name, {key: after})

    @rule(name=TABLES, key=edge_keys, default=st.none() | json_objects)
    def modify(self, name: str, key: str, default: Any) -> None:
        def change(record: Any) -> Any:
            return {"was": record} if len(repr(record)) < 200 else {}

        table, present = self.table(name), key in self.model(name)
        if not present and default is None:
            with pytest.raises(KeyError):
                table.modify(key, change)
            return
        after = change(deepcopy(self.model(name)[key] if present else default))
        found = table.modify(key, change) if default is None else table.modify(key, change, default=default)
        assert same(found, after)
        self.committed()
        self.store(name, {key: after})

    @rule(name=TABLES, key=edge_keys, right=st.booleans(), new=json_values)
    def replace(self, name: str, key: str, right: bool, new: Any) -> None:
        before = self.model(name).get(key)
        replaced = self.table(name).replace(key, before if right else ["another"], new)
        assert replaced == (key in self.model(name) and (right or before == ["another"]))
        if replaced:
            self.committed()
            self.store(name, {key: new})

    @rule(name=TABLES, key=edge_keys)
    def pop(self, name: str, key: str) -> None:
        before = self.model(name).pop(key, "nothing")
        assert same(self.table(name).pop(key, "nothing"), before)
        # "nothing" may also be the record: the log tells.
        self.lsn = self.db.position().lsn if before == "nothing" else self.lsn + 1

    @rule(name=TABLES, key=edge_keys, record=json_values)
    def setdefault(self, name: str, key: str, record: Any) -> None:
        if key not in self.model(name):
            self.committed()
            self.store(name, {key: record})
        assert same(self.table(name).setdefault(key, record), self.model(name)[key])

    @rule(
        name=TABLES,
        key=edge_keys,
        record=st.sampled_from([float("nan"), {"a": (1,)}, {1: 2}, {"b": b""}, 2**64, "\ud800"]),
    )
    def put_what_cannot_be_stored(self, name: str, key: str, record: Any) -> None:
        with pytest.raises(ValidationError):
            self.table(name).put(key, record)

    # ---- many records

    @rule(name=TABLES, records=st.dictionaries(edge_keys, json_values, max_size=4), level=LEVELS)
    def put_many(self, name: str, records: dict[str, Any], level: Any) -> None:
        position = self.table(name).put_many(records, sync=level)
        if records:
            self.committed(position, level)
            self.store(name, records)

    @rule(name=TABLES, keys=st.lists(edge_keys, max_size=5), level=LEVELS)
    def delete_many(self, name: str, keys: list[str], level: Any) -> None:
        present = set(keys) & self.model(name).keys()
        assert self.table(name).delete_many(keys, sync=level) == len(present)
        self._gone(name, present)

    @rule(name=TABLES, prefix=PREFIXES)
    def delete_prefix(self, name: str, prefix: str) -> None:
        gone = {key for key in self.model(name) if key.startswith(prefix)}
        assert self.table(name).delete_prefix(prefix) == len(gone)
        self._gone(name, gone)

    def _gone(self, name: str, keys: set[str]) -> None:
        if keys:
            self.committed()
            for key in keys:
                del self.tables[name][key]

    @rule(name=TABLES | st.just(BYTES_TABLE))
    def drop(self, name: str) -> None:
        assert self.db.drop(name) == (name in self.tables)
        if self.tables.pop(name, None) is not None:
            self.committed()

    # ---- reads

    @rule(name=TABLES, keys=st.lists(edge_keys, max_size=5))
    def read(self, name: str, keys: list[str]) -> None:
        table, model = self.table(name), self.model(name)
        wanted = {key: model[key] for key in keys if key in model}
        assert same(table.get_many(keys), wanted)
        for key in keys:
            assert (key in table) == (key in model)
            assert same(table.get(key, UNSET), model.get(key, UNSET))

    @rule(
        name=TABLES,
        prefix=PREFIXES,
        start=BOUNDS,
        stop=BOUNDS,
        reverse=st.booleans(),
        limit=st.none() | st.integers(0, 4),
    )
    def scan(
        self, name: str, prefix: str, start: str | None, stop: str | None, reverse: bool, limit: int | None
    ) -> None:
        found = self.table(name).scan(prefix, start=start, stop=stop, reverse=reverse, limit=limit)
        assert same(list(found), self._expected(name, prefix, start, stop, reverse, limit))

    def _expected(
        self, name: str, prefix: str, start: str | None, stop: str | None, reverse: bool, limit: int | None
    ) -> list[tuple[str, Any]]:
        chosen = [
            (key, record)
            for key, record in in_order(self.model(name))
            if key.startswith(prefix)
            and (start is None or key.encode() >= start.encode())
            and (stop is None or key.encode() < stop.encode())
        ]
        return (chosen[::-1] if reverse else chosen)[:limit]

    @rule(name=TABLES, prefix=PREFIXES)
    def count(self, name: str, prefix: str) -> None:
        table, model = self.table(name), self.model(name)
        assert table.count(prefix) == sum(key.startswith(prefix) for key in model)
        assert len(table) == len(model)
        assert list(reversed(table)) == [key for key, _ in in_order(model)][::-1]

    @rule(name=TABLES, reverse=st.booleans())
    def begin_scan(self, name: str, reverse: bool) -> None:
        """A scan shows the table as it was at the call, whatever happens before it is read to its end."""
        expected = deepcopy(self._expected(name, "", None, None, reverse, None))
        self.scans.append((self.table(name).scan(reverse=reverse), expected))

    @precondition(lambda self: self.scans)
    @rule(pairs=st.integers(1, 5))
    def go_on_with_a_scan(self, pairs: int) -> None:
        found, expected = self.scans[0]
        for _ in range(pairs):
            assert same(next(found, None), expected.pop(0) if expected else None)
        if not expected:
            self.scans.pop(0)

    @precondition(lambda self: self.tables)
    @rule(
        name=TABLES,
        first=st.integers(0, 2),
        records=st.dictionaries(edge_keys, json_values, max_size=3),
        prefix=PREFIXES,
        checkpoint=st.booleans(),
    )
    def change_under_a_scan(
        self, name: str, first: int, records: dict[str, Any], prefix: str, checkpoint: bool
    ) -> None:
        expected = deepcopy(in_order(self.model(name)))
        scan = self.table(name).scan()
        found = [pair for _, pair in zip(range(first), scan, strict=False)]
        self.put_many(name, records, None)
        if checkpoint:
            self.checkpoint()
        self.delete_prefix(name, prefix)
        self.put_many(name, dict.fromkeys(self.model(name), "changed"), None)
        assert same(found + list(scan), expected)

    # ---- the store

    @rule()
    def checkpoint(self) -> None:
        self.db.checkpoint()
        stats = self.db.stats()
        assert stats.applied_lsn == stats.durable_lsn == self.lsn
        assert stats.log_records == 0

    @rule()
    def sync(self) -> None:
        assert self.db.sync().lsn == self.lsn
        assert self.db.stats().durable_lsn == self.lsn

    @rule()
    def wait_for_the_last_position(self) -> None:
        self.db.wait_durable(self.db.position())
        assert self.db.stats().durable_lsn == self.lsn


def _no_background(checkpointer: Checkpointer, due: bool) -> None:
    """Instead of waking the thread that makes checkpoints."""


class JsonMachine(TableMachine):
    """The same with a JSON file, which can be closed, killed and opened again."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="sessiondb-properties-"))
        self.lives = 0
        self.files = QuietFiles()
        self.options: dict[str, Any] = {}

    @initialize(
        background=st.sampled_from([False, False, True]), level=st.sampled_from(["always", "interval", "never"])
    )
    def begin(self, background: bool, level: Any) -> None:
        # An hour: what the syncing thread does must not be counted as an operation of the call that is killed.
        hour_ms = 3_600_000
        self.options = {
            "sync": level,
            "sync_interval_ms": hour_ms,
            "checkpoint_records": 3 if background else HUGE,
        }
        self.folder.mkdir()
        self.open()

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.home)

    @property
    def folder(self) -> Path:
        """Of the present life of the store: every kill begins another one, in a copy."""
        return self.home / str(self.lives)

    @property
    def next_folder(self) -> Path:
        return self.home / str(self.lives + 1)

    @property
    def alone(self) -> bool:
        """No checkpoint runs in the background, so the operations of a call can be counted."""
        return self.options.get("checkpoint_records") == HUGE

    def open(self) -> None:
        location = self.folder / "store.json"
        if not self.alone:
            self.db = sessiondb.open(location, files=self.files, **self.options)
            return
        with mock.patch.object(Checkpointer, "became_dirty", _no_background):
            self.db = sessiondb.open(location, files=self.files, **self.options)
        store = self.db._store
        assert store is not None
        store.checkpointer.became_dirty = partial(_no_background, store.checkpointer)  # type: ignore[method-assign]

    def let_go(self) -> None:
        self.scans.clear()
        self.db.close()

    @rule()
    def close_and_reopen(self) -> None:
        self.let_go()
        self.open()
        assert self.db.recovery_report.transactions == 0, "a clean close leaves nothing in the log"

    @rule(sync=st.sampled_from(["always", "interval", "never"]))
    def reopen_at_another_level(self, sync: str) -> None:
        self.options["sync"] = sync
        self.let_go()
        self.open()

    @rule(name=TABLES, key=edge_keys, record=json_values)
    def put_through_another_handle(self, name: str, key: str, record: Any) -> None:
        with sessiondb.open(self.folder / "store.json", files=self.files, **self.options) as other:
            other.table(name)[key] = record
        self.committed()
        self.store(name, {key: record})

    @rule()
    def kill(self) -> None:
        """SIGKILL between two calls: nothing is lost at any sync level."""
        store = self.db._store
        assert store is not None
        store.checkpointer._running.acquire()  # a checkpoint in the background must not move what is being copied
        try:
            with store.views.append_lock:
                shutil.copytree(self.folder, self.next_folder)
        finally:
            store.checkpointer._running.release()
        self.live_on()
        assert self.db.recovery_report.torn_tail is None
        assert self.db.recovery_report.undurable_lost == 0

    def live_on(self) -> None:
        """End the old life, look at the copy without changing it, then recover it."""
        self.let_go()
        shutil.rmtree(self.folder)
        self.lives += 1
        before = {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        with sessiondb.open(self.folder / "store.json", files=self.files, read_only=True) as reader:
            looked = (
                reader.position().lsn,
                {name: reader.table(name, bytes if name == BYTES_TABLE else Any).scan() for name in reader.tables()},
            )
            seen = {name: dict(records) for name, records in looked[1].items()}
        assert {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()} == before
        self.open()
        assert self.db.position().lsn == looked[0], "a survey and a recovery must see the same log"
        assert same(seen, {name: dict(self.table(name).scan()) for name in self.db.tables()})

    def killed_inside(self, operation: int, eighths: int, call: Callable[[], None]) -> None:
        """SIGKILL in the middle of a call: all of it happened or nothing, whatever it was."""
        before, lsn_before = deepcopy(self.tables), self.lsn
        self.files.snapshot_at(operation, eighths, self.folder, self.next_folder)
        call()
        self.files.snapshot_now()
        self.live_on()
        report = self.db.recovery_report
        assert report.last_lsn in (lsn_before, self.lsn)
        if report.last_lsn == lsn_before:
            self.tables, self.lsn = before, lsn_before
        # What is cut is never used again under the same epoch, and nothing else raises it.
        assert report.torn_tail is None or report.epoch == self.epoch + 1
        assert self.epoch <= report.epoch <= self.epoch + 2
        self.epoch = report.epoch

    @precondition(lambda self: self.alone)
    @rule(
        operation=st.integers(0, 6),
        eighths=st.integers(0, 8),
        name=TABLES,
        records=st.dictionaries(edge_keys, json_values, min_size=1, max_size=3),
        level=LEVELS,
    )
    def kill_inside_a_batch(self, operation: int, eighths: int, name: str, records: dict[str, Any], level: Any) -> None:
        self.killed_inside(operation, eighths, lambda: self.put_many(name, records, level))

    @precondition(lambda self: self.alone)
    @rule(operation=st.integers(0, 6), eighths=st.integers(0, 8), name=TABLES, prefix=PREFIXES, drop=st.booleans())
    def kill_inside_a_removal(self, operation: int, eighths: int, name: str, prefix: str, drop: bool) -> None:
        self.killed_inside(operation, eighths, lambda: self.drop(name) if drop else self.delete_prefix(name, prefix))

    @precondition(lambda self: self.alone)
    @rule(operation=st.integers(0, 30), eighths=st.integers(0, 8), close=st.booleans())
    def kill_inside_a_checkpoint(self, operation: int, eighths: int, close: bool) -> None:
        self.killed_inside(operation, eighths, self.let_go if close else self.db.checkpoint)

    @precondition(lambda self: self.alone)
    @rule(operation=st.integers(0, 20), eighths=st.integers(0, 8))
    def kill_inside_an_opening(self, operation: int, eighths: int) -> None:
        self.let_go()
        self.killed_inside(operation, eighths, self.open)

    @precondition(lambda self: self.alone)
    @rule(operations=st.lists(st.integers(0, 12), min_size=1, max_size=3), eighths=st.integers(0, 7))
    def kill_inside_recovery(self, operations: list[int], eighths: int) -> None:
        """A batch is killed in its write, then the recoveries from that, one after the other."""
        before = deepcopy(self.tables), self.lsn
        self.files.snapshot_at(0, eighths, self.folder, self.next_folder)
        self.put_many(JSON_TABLES[0], {"torn": "x" * 100}, "never")
        self.tables, self.lsn = before
        for operation in operations:
            self.let_go()
            self.lives += 1
            self.files.snapshot_at(operation, eighths, self.folder, self.next_folder)
            self.open()
            self.files.snapshot_now()
        self.live_on()
        report = self.db.recovery_report
        assert report.last_lsn == self.lsn
        assert self.epoch <= report.epoch <= self.epoch + 1 + len(operations)
        self.epoch = report.epoch


def test_a_memory_database_does_what_a_dict_does(effort: settings) -> None:
    run_state_machine_as_test(TableMachine, settings=settings(effort, max_examples=min(effort.max_examples, 500)))


def test_a_json_database_does_what_a_dict_does_through_closes_and_kills(effort: settings) -> None:
    run_state_machine_as_test(JsonMachine, settings=settings(effort, max_examples=min(effort.max_examples, 500)))
