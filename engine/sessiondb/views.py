"""Views: what a reader reads through, and the one place where the current one is replaced.

A view is an immutable triple (active memtable, frozen memtable or none, backend view) at one LSN. Reading goes
down the triple: the first layer that knows the key answers. The current triple is one attribute, replaced by a
single assignment, so a reader that has taken it never sees half of a checkpoint.

A *point read* takes the current triple without a lock. A reader that looks more than once pins a view: the pin
tells the memtable to keep what the view sees.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar, NamedTuple

from .backend import BackendView, TableKind
from .errors import ClosedError
from .memtable import Entry, Memtable, TableLayer, entry_at

__all__ = ["Layers", "Triple", "View", "Views"]


class Triple(NamedTuple):
    """The layers that a read goes through, top first."""

    active: Memtable
    frozen: Memtable | None
    base: BackendView


class Layers(NamedTuple):
    """Where one table's records are, for a reader at one LSN."""

    tops: list[TableLayer]
    """From the memtables, the top first."""
    base: BackendView | None
    """``None``: a drop hides what the backend has."""
    lsn: int


class Views:
    """The current triple, the LSN up to which it is visible, and the pins."""

    def __init__(self, lsn: int, base: BackendView):
        self.append_lock = threading.Lock()
        """Guards the log's end, the active memtable and `visible_lsn`: the append lock."""
        self.visible_lsn = lsn
        """Everything up to here is in the memtables as a whole; moves last."""
        self.current: Triple | None = Triple(Memtable(lsn), None, base)
        """The current triple; ``None`` when the database is closed."""
        self._closed_reason = ""
        self.pins: dict[int, int] = {}
        """View to the LSN it reads at."""
        self.catch_up: Callable[[], None] = lambda: None
        """Takes in what is in the log but not visible: what a Ctrl-C in a commit left. Under the append lock."""

    @classmethod
    def closed(cls, reason: str) -> Views:
        """Views of a database that is closed: nothing can be read."""
        views = cls.__new__(cls)
        views.append_lock = threading.Lock()
        views.visible_lsn = 0
        views.close(reason)
        return views

    @property
    def triple(self) -> Triple:
        """The current triple.

        Raises:
            ClosedError: the database was closed.
        """
        triple = self.current
        if triple is None:
            raise ClosedError(self._closed_reason)
        return triple

    def install(self, triple: Triple) -> None:
        """Make this the current triple."""
        self.current = triple

    def close(self, reason: str) -> None:
        """No read begins after this."""
        self._closed_reason = reason
        self.current = None

    def newest_reader(self) -> int:
        """The highest LSN that a pinned view reads at; -1 when there is none. Under the append lock."""
        return max(list(self.pins.values()), default=-1)

    def get(self, table: str, key: str) -> bytes | None:
        """The newest visible image of one key."""
        active, frozen, base = self.current or self.triple
        layer = active.tables.get(table)
        if layer is not None:
            entry = layer.entries.get(key)
            if entry is not None:
                if entry.lsn > self.visible_lsn:
                    self.settle()
                    return self.get(table, key)
                return entry.image
            if layer.dropped_lsn:
                if layer.dropped_lsn <= self.visible_lsn:
                    return None
                self.settle()
                return self.get(table, key)
        if frozen is not None:
            layer = frozen.tables.get(table)
            if layer is not None:
                entry = layer.entries.get(key)
                if entry is not None:
                    return entry.image
                if layer.dropped_lsn:
                    return None
        return base.get(table, key)

    def newest_kind(self, table: str) -> TableKind | None:
        """The kind the table has now, ``None`` when it does not exist. Under the append lock."""
        active, frozen, base = self.triple
        for memtable in (active, frozen):
            layer = None if memtable is None else memtable.tables.get(table)
            if layer is not None and layer.kind is not None:
                return layer.kind
            if layer is not None and layer.dropped_lsn:
                return None
        return base.tables().get(table)

    def settle(self) -> None:
        """Wait until a transaction that is being taken in is here as a whole: its other keys may be missing yet."""
        with self.append_lock:
            self.catch_up()

    def pin(self) -> View:
        """A view of everything visible now, kept whole until it is closed."""
        with self.append_lock:
            return self.pin_under_lock()

    def pin_under_lock(self) -> View:
        """The same, for who holds the append lock."""
        triple = self.triple
        self.catch_up()
        view = View(triple, self.visible_lsn, self.pins)
        self.pins[id(view)] = view.lsn
        return view

    def changed_since(self, lsn: int, table: str, keys: Iterable[str]) -> bool:
        """Whether one of the keys may have changed behind this LSN. Under the append lock."""
        active, frozen, base = self.triple
        if base.position.lsn > lsn:
            return True  # what a checkpoint has moved cannot be told apart any more
        for memtable in (active, frozen):
            layer = None if memtable is None else memtable.tables.get(table)
            if layer is None:
                continue
            if layer.dropped_lsn > lsn:
                return True
            for key in keys:
                entry = layer.entries.get(key)
                if entry is not None and entry.lsn > lsn:
                    return True
        return False

    def range_changed_since(self, lsn: int, table: str, start: str, stop: str | None) -> bool:
        """Whether a key in ``start <= key < stop`` may have changed behind this LSN. Under the append lock."""
        active, frozen, base = self.triple
        if base.position.lsn > lsn:
            return True
        for memtable in (active, frozen):
            layer = None if memtable is None else memtable.tables.get(table)
            if layer is None:
                continue
            if layer.dropped_lsn > lsn:
                return True
            if any(entry.lsn > lsn for _, entry in layer.range(start, stop, reverse=False)):
                return True
        return False


class View:
    """All records as they are at one LSN. Close it, or leave its ``with`` block, to let go of what it keeps."""

    _pins: ClassVar[dict[int, int]] = {}  # for the destructor, when a Ctrl-C ended the constructor

    def __init__(self, triple: Triple, lsn: int, pins: dict[int, int]):
        self.lsn = lsn
        self._triple = triple
        self._pins = pins  # type: ignore[misc]

    def close(self) -> None:
        """Unpin; a second call does nothing."""
        # Without a lock, and safe in a destructor: removing a dict item is atomic.
        self._pins.pop(id(self), None)

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _layers(self, table: str) -> tuple[list[TableLayer], bool]:
        """The memtable layers of a table that this view sees, top first; and whether the backend shows below."""
        layers = []
        for memtable in (self._triple.active, self._triple.frozen):
            layer = None if memtable is None else memtable.tables.get(table)
            layer = None if layer is None else layer.at(self.lsn)
            if layer is not None:
                layers.append(layer)
                if layer.dropped_lsn:
                    return layers, False
        return layers, True

    def kind(self, table: str) -> TableKind | None:
        """The table's kind; ``None`` when it does not exist."""
        layers, below = self._layers(table)
        for layer in layers:
            if layer.kind is not None and (
                0 < layer.indexed_lsn <= self.lsn
                or any(entry_at(entry, self.lsn) for entry in list(layer.entries.values()))
            ):
                return layer.kind
        return self._triple.base.tables().get(table) if below else None

    def tables(self) -> dict[str, TableKind]:
        """Every table with its kind, in the order of the names."""
        names = set(self._triple.base.tables())
        for memtable in (self._triple.active, self._triple.frozen):
            if memtable is not None:
                names.update(list(memtable.tables))
        return {name: kind for name in sorted(names) if (kind := self.kind(name)) is not None}

    def get(self, table: str, key: str) -> bytes | None:
        """One key's image, or ``None``."""
        layers, below = self._layers(table)
        for layer in layers:
            entry = entry_at(layer.entries.get(key), self.lsn)
            if entry is not None:
                return entry.image
        return self._triple.base.get(table, key) if below else None

    def get_many(self, table: str, keys: Iterable[str]) -> dict[str, bytes]:
        """The images of those keys that are present, in the order of `keys`."""
        layers, below = self._layers(table)
        found: dict[str, bytes | None] = {}
        missing = []
        wanted = list(dict.fromkeys(keys))
        for key in wanted:
            for layer in layers:
                entry = entry_at(layer.entries.get(key), self.lsn)
                if entry is not None:
                    found[key] = entry.image
                    break
            else:
                missing.append(key)
        if below and missing:
            found.update(self._triple.base.get_many(table, missing))
        return {key: image for key in wanted if (image := found.get(key)) is not None}

    def scan(
        self, table: str, start: str | None = None, stop: str | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[str, bytes]]:
        """Records with ``start <= key < stop`` in key order."""
        layers, below = self._layers(table)
        found: Iterator[tuple[str, bytes | None]] = iter(())
        if below:
            found = iter(self._triple.base.scan(table, start, stop, reverse=reverse))
        for layer in reversed(layers):
            found = _overlay(self._seen(layer.range(start, stop, reverse=reverse)), found, reverse)
        for key, image in found:
            if image is not None:
                yield key, image

    def _seen(self, entries: Iterator[tuple[str, Entry]]) -> Iterator[tuple[str, bytes | None]]:
        for key, newest in entries:
            entry = entry_at(newest, self.lsn)
            if entry is not None:
                yield key, entry.image

    def indexes(self, table: str) -> frozenset[str]:
        """The fields that have an index, by their names in the stored documents."""
        layers, below = self._layers(table)
        fields = set(self._triple.base.indexes(table)) if below else set()
        for layer in reversed(layers):
            for field, made in layer.indexes.items():
                (fields.add if made else fields.discard)(field)
        return frozenset(fields)

    def layers(self, table: str) -> Layers:
        """What a query looks through: see `sessiondb.finding`."""
        layers, below = self._layers(table)
        return Layers(layers, self._triple.base if below else None, self.lsn)

    def count(self, table: str) -> int:
        """The number of records of the table."""
        layers, below = self._layers(table)
        known: dict[str, bool] = {}
        for layer in layers:
            for key in layer.sorted_keys():
                entry = entry_at(layer.entries[key], self.lsn)
                if entry is not None and key not in known:
                    known[key] = entry.image is not None
        alive = sum(known.values())
        if not below:
            return alive
        base = self._triple.base
        return alive + base.count(table) - len(base.get_many(table, known))


def _overlay(
    top: Iterator[tuple[str, bytes | None]], below: Iterator[tuple[str, bytes | None]], reverse: bool
) -> Iterator[tuple[str, bytes | None]]:
    """Two sources in key order as one; where both know a key, the top one's image counts."""
    above = next(top, None)
    for pair in below:
        key = pair[0]
        while above is not None and (above[0] > key if reverse else above[0] < key):
            yield above
            above = next(top, None)
        if above is None or above[0] != key:
            yield pair
        else:
            yield above
            above = next(top, None)
    if above is not None:
        yield above
        yield from top
