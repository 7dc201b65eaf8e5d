"""The record cache: encoded records that were read from a backend whose reads are dear.

It holds bytes, never objects: every caller decodes a record of their own. Each entry carries the applied LSN it was
read at. The rule that keeps it right: the cache has one position, that of the newest backend view. Only readers of
that view look into it and add to it; a checkpoint closes the cache, removes what it changed, and opens it at the new
position. So an entry that is there has not changed since it was read, and a reader of an older view, or of one that was
replaced a moment ago, goes to its backend.

A hit takes no lock. It looks at the entry first and at the position afterwards: if that is still the reader's, the
entry was one of it. What is found is only marked; a marked entry gets a second chance when the budget is used up
(the clock algorithm, F. J. Corbato, 1968), which comes close to throwing out the least recently used one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from .backend import Backend, BackendView, Changes, Found, TableKind
from .query import Condition, Order

__all__ = ["BaseReader", "CachedView", "RecordCache"]

SLICE_NAMES = 500
"""Entries removed in one go: readers wait so long."""
ENTRY_BYTES = 200
"""What an entry costs beside key and record: measured, about 190 bytes."""


class _Entry:
    """An encoded record, the applied LSN that it was read at, and whether it was found since it was last passed by."""

    __slots__ = ("found", "image", "lsn")

    def __init__(self, lsn: int, image: bytes):
        self.lsn = lsn
        self.image = image
        self.found = False


class RecordCache:
    """Records that nobody asks for go first when the budget is used up.

    Args:
        bytes_max: the budget; records of more than a sixteenth of it are not kept.
        lsn: the position of the backend's newest view.
    """

    def __init__(self, bytes_max: int, lsn: int):
        self.bytes_max = bytes_max
        self.lsn = lsn
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()

    def get(self, lsn: int, table: str, key: str) -> bytes | None:
        """The record as a view at this LSN sees it; ``None``: ask the backend."""
        entry = self._entries.get((table, key))
        if entry is not None and entry.lsn <= lsn == self.lsn:  # in this order: see above
            entry.found = True
            self.hits += 1
            return entry.image
        self.misses += 1
        return None

    def add(self, lsn: int, table: str, key: str, image: bytes) -> None:
        """Remember what a view at this LSN has read; nothing if a newer view is in use."""
        size = _size(key, image)
        if size > self.bytes_max // 16:
            return
        with self._lock:
            if lsn != self.lsn or (table, key) in self._entries:
                return
            self._entries[(table, key)] = _Entry(lsn, image)
            self.bytes += size
            while self.bytes > self.bytes_max:
                name, entry = self._entries.popitem(last=False)
                if entry.found:
                    entry.found = False
                    self._entries[name] = entry
                else:
                    self.bytes -= _size(name[1], entry.image)

    def advance(self, lsn: int, changes: Changes) -> None:
        """A view at this LSN is about to be used: what these changes touched is forgotten."""
        with self._lock:
            self.lsn = -1  # until it is done nobody finds or adds anything
            dropped = {name for name, change in changes.items() if change.dropped}
            gone = [name for name in self._entries if name[0] in dropped] if dropped else []
        self._forget(gone)
        for table, change in changes.items():
            self._forget((table, key) for key in change.images)
        self.lsn = lsn

    def _forget(self, names: Iterable[tuple[str, str]]) -> None:
        names = iter(names)
        while piece := list(islice(names, SLICE_NAMES)):
            with self._lock:
                for name in piece:
                    entry = self._entries.pop(name, None)
                    if entry is not None:
                        self.bytes -= _size(name[1], entry.image)


def _size(key: str, image: bytes) -> int:
    return len(key) + len(image) + ENTRY_BYTES


class CachedView(BackendView):
    """A backend's view with the cache in front of its point reads."""

    def __init__(self, view: BackendView, cache: RecordCache):
        self.position = view.position
        self._lsn = view.position.lsn
        self._view = view
        self._cache = cache
        self._entry = cache._entries.get

    def tables(self) -> dict[str, TableKind]:
        """As the view."""
        return self._view.tables()

    def get(self, table: str, key: str) -> bytes | None:
        """From the cache, else from the view."""
        cache, entry = self._cache, self._entry((table, key))
        if entry is not None and entry.lsn <= self._lsn == cache.lsn:  # as `RecordCache.get`, without the call
            entry.found = True
            cache.hits += 1
            return entry.image
        cache.misses += 1
        image = self._view.get(table, key)
        if image is not None:
            cache.add(self._lsn, table, key, image)
        return image

    def get_many(self, table: str, keys: Iterable[str]) -> dict[str, bytes]:
        """From the cache; what it does not have from the view, in one go."""
        found: dict[str, bytes] = {}
        missing = []
        for key in keys:
            image = self._cache.get(self._lsn, table, key)
            if image is None:
                missing.append(key)
            else:
                found[key] = image
        if missing:
            read = self._view.get_many(table, missing)
            for key, image in read.items():
                self._cache.add(self._lsn, table, key, image)
            found.update(read)
        return found

    def scan(
        self, table: str, start: str | None = None, stop: str | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[str, bytes]]:
        """As the view: a scan would push everything else out of the cache."""
        return self._view.scan(table, start, stop, reverse=reverse)

    def count(self, table: str) -> int:
        """As the view."""
        return self._view.count(table)

    def find(
        self, table: str, where: Sequence[Condition], order: Sequence[Order] = (), limit: int | None = None
    ) -> Found:
        """As the view."""
        return self._view.find(table, where, order, limit)

    def count_found(self, table: str, where: Sequence[Condition]) -> int | None:
        """As the view."""
        return self._view.count_found(table, where)

    def indexes(self, table: str) -> frozenset[str]:
        """As the view."""
        return self._view.indexes(table)

    def close(self) -> None:
        """Close the view."""
        self._view.close()


class BaseReader:
    """Reads the backend's views for the engine, through the cache where the backend wants one.

    Args:
        backend: what is read.
        cache_bytes: the cache's budget; 0 for none.
    """

    def __init__(self, backend: Backend, cache_bytes: int):
        self._backend = backend
        self.cache = RecordCache(cache_bytes, -1) if backend.cached and cache_bytes else None

    def read(self, changes: Changes | None = None) -> BackendView:
        """A view of the state as stored now.

        Args:
            changes: what has been applied since the last one.
        """
        view = self._backend.read()
        if self.cache is None:
            return view
        self.cache.advance(view.position.lsn, changes or {})
        return CachedView(view, self.cache)
