"""Finding records in LMDB: which index answers, and what is left to look at in the records.

An index is a database of (field's value, record's key) pairs, sorted by value and then by key. A condition on an
indexed field becomes ranges of its index; whatever the ranges do not say exactly is looked up in the record with
`Predicate`, so that all rows that leave this module satisfy all conditions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from sessiondb.backend import Found
from sessiondb.errors import CorruptionError
from sessiondb.query import ABSENT, Absent, Between, Condition, Equal, OneOf, Order, Predicate, Prefix, Test, sort_key

from .lmdb_format import (
    ABSENT_KEY,
    BEHIND_VALUES,
    FIRST_VALUE,
    INDEX_KEY_BYTES_MAX,
    NULL_KEY,
    TEXT,
    index_key,
)

if TYPE_CHECKING:
    import lmdb

    from .lmdb_view import LmdbView

__all__ = ["ALL_ENTRIES", "KeyRange", "count", "find", "forward", "ranges_of"]

SORTED_KEYS_MAX = 100_000
"""So many keys are sorted in memory; when more match, the table is read in its own order instead."""
SLICE_ENTRIES = (16, 64, 256)

Entry = tuple[bytes, bytes]
"""Index key and record key."""


class KeyRange(NamedTuple):
    """Entries of an index with ``low <= index key < high``."""

    low: bytes
    high: bytes
    exact: bool
    """False: some records in the range may not satisfy the condition."""


ALL_VALUES = KeyRange(FIRST_VALUE, BEHIND_VALUES, True)
ALL_ENTRIES = KeyRange(NULL_KEY, BEHIND_VALUES, True)


# ---- conditions as ranges


def ranges_of(test: Test) -> list[KeyRange] | None:
    """The ranges of an index that hold every record that passes the test, in order; ``None`` when it cannot be said."""
    if isinstance(test, Absent):
        return [_one(ABSENT, True)]
    if isinstance(test, Prefix):
        return [_beginning_with(test.text)]
    if isinstance(test, Equal):
        return _equal_to((test.value,))
    if isinstance(test, OneOf):
        return _equal_to(test.values)
    return _between(test)


def _one(value: object, _: bool) -> KeyRange:
    key, exact = index_key(value)
    return KeyRange(key, key + b"\0", exact)


def _equal_to(values: tuple[object, ...]) -> list[KeyRange] | None:
    if not all(value is None or isinstance(value, (bool, int, float, str)) for value in values):
        return None
    return sorted({_one(value, True) for value in values if value == value})


def _beginning_with(text: str) -> KeyRange:
    key, exact = index_key(text)
    if not exact:
        return KeyRange(key, key + b"\0", False)
    return KeyRange(key, _behind(key), True)


def _behind(prefix: bytes) -> bytes:
    """The first key behind all that begin with these bytes, which are no 0xFF."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _between(test: Between) -> list[KeyRange] | None:
    ends = [end for end in (test.low, test.high) if end is not None]
    if not all(isinstance(end, (bool, int, float, str)) for end in ends):
        return None
    if any(end != end for end in ends):
        return []  # not a number: nothing is above or below it
    keys = [index_key(end) for end in ends]
    tag = keys[0].key[:1]
    if keys[-1].key[:1] != tag:
        return None
    low = index_key(test.low) if test.low is not None else None
    high = index_key(test.high) if test.high is not None else None
    first = tag if low is None else low.key
    last = _behind(tag) if high is None else high.key + b"\0"
    return [KeyRange(first, last, all(key.exact for key in keys))]


# ---- the plan


class _Choice(NamedTuple):
    """An index that narrows the search down to some ranges."""

    field: str
    index: lmdb._Database
    ranges: list[KeyRange]
    others: tuple[Condition, ...]
    """What the ranges say nothing of, or nothing exact."""


def _choose(indexes: dict[str, lmdb._Database], where: Sequence[Condition]) -> _Choice | None:
    """The index that promises the fewest records: equality before ranges before absence."""
    best: tuple[int, _Choice] | None = None
    for number, (field, test) in enumerate(where):
        index = indexes.get(field)
        ranges = None if index is None else ranges_of(test)
        if index is None or ranges is None:
            continue
        cost = _cost(test)
        if best is None or cost < best[0]:
            rest = [other for place, other in enumerate(where) if place != number]
            if not all(item.exact for item in ranges):
                rest.append(where[number])
            best = cost, _Choice(field, index, ranges, tuple(rest))
    return None if best is None else best[1]


def _cost(test: Test) -> int:
    if isinstance(test, Equal):
        return 0 if test.value is not None else 4
    if isinstance(test, OneOf):
        return 1 if None not in test.values else 4
    return 3 if isinstance(test, Absent) else 2


def find(
    view: LmdbView,
    table: str,
    indexes: dict[str, lmdb._Database],
    where: Sequence[Condition],
    order: Sequence[Order],
    limit: int | None,
) -> Found:
    """The records that satisfy all conditions, each looked at as far as needed: the answer is always exact."""
    choice = _choose(indexes, where)
    first = order[0].field if order else None
    if choice is None and first in indexes and (len(order) == 1 or limit is not None):
        choice = _Choice(first, indexes[first], [], tuple(where))
        return _limited(_in_order(view, table, choice, order, whole=True), limit)
    if choice is not None and choice.field == first:
        return _limited(_in_order(view, table, choice, order, whole=False), limit)
    if choice is not None:
        rows = _by_key(view, table, choice, where)
    else:
        rows = _passing(view.scan(table), where)
    if order:
        return Found(rows, exact=True, ordered=False)
    return _limited(rows, limit)


def _limited(rows: Iterator[tuple[str, bytes]], limit: int | None) -> Found:
    return Found(rows if limit is None else islice(rows, limit), exact=True, ordered=True)


def count(
    view: LmdbView, table: str, indexes: dict[str, lmdb._Database], where: Sequence[Condition]
) -> int | None:
    """How many records satisfy the conditions, when no record need be read for that."""
    if not where:
        return view.count(table)
    choice = _choose(indexes, where)
    if choice is None or choice.others:
        return None
    return sum(view.count_entries(choice.index, item.low, item.high) for item in choice.ranges)


# ---- rows


def _passing(rows: Iterator[tuple[str, bytes]], where: Sequence[Condition]) -> Iterator[tuple[str, bytes]]:
    if not where:
        return rows
    matches = Predicate(where).matches
    return (row for row in rows if matches(row[1]))


def _by_key(
    view: LmdbView, table: str, choice: _Choice, where: Sequence[Condition]
) -> Iterator[tuple[str, bytes]]:
    """Rows in the order of their keys."""
    if len(choice.ranges) == 1 and choice.ranges[0].high == choice.ranges[0].low + b"\0":
        # All entries have one index key, so they are in this order already.
        keys = (entry[1] for entry in forward(view, choice.index, choice.ranges[0]))
        return _passing(_fetched(view, table, keys), choice.others)
    found = chain.from_iterable(forward(view, choice.index, item) for item in choice.ranges)
    names = [entry[1] for entry in islice(found, SORTED_KEYS_MAX + 1)]
    if len(names) > SORTED_KEYS_MAX:
        return _passing(view.scan(table), where)
    return _passing(_fetched(view, table, iter(sorted(names))), choice.others)


def _fetched(view: LmdbView, table: str, keys: Iterator[bytes]) -> Iterator[tuple[str, bytes]]:
    """The records with these keys, in this order."""
    sizes = iter(SLICE_ENTRIES)
    size = 0
    while True:
        size = next(sizes, size)
        wanted = list(islice(keys, size))
        if not wanted:
            return
        images = view.fetch(table, wanted)
        for key in wanted:
            image = images.get(key)
            if image is None:
                raise CorruptionError(
                    f"table {table!r}: an index names the record {key.decode(errors='replace')!r}, which is not there",
                    path=view.path,
                )
            yield key.decode(), image


def _in_order(
    view: LmdbView, table: str, choice: _Choice, order: Sequence[Order], *, whole: bool
) -> Iterator[tuple[str, bytes]]:
    """Rows in the order asked for, whose first field has the index.

    Records with equal index keys stand in the order of their keys, also when the order is descending; where more is
    asked for (another field, or texts that were cut) they are sorted here.
    """
    descending = order[0].descending
    ranges = [ALL_VALUES] if whole else [item for item in choice.ranges if item.low >= FIRST_VALUE]
    walk = backward if descending else forward
    entries = chain.from_iterable(
        walk(view, choice.index, item) for item in (reversed(ranges) if descending else ranges)
    )
    rows = _ties_sorted(view, table, entries, choice, order)
    # What has no value comes last in both directions, null and absent mixed.
    nothing = [_one(None, True), _one(ABSENT, True)] if whole else [r for r in choice.ranges if r.low < FIRST_VALUE]
    keys = merge(*((entry[1] for entry in forward(view, choice.index, item)) for item in nothing))
    last = ((b"", key) for key in keys)
    return chain(rows, _ties_sorted(view, table, last, choice, order))


def _ties_sorted(
    view: LmdbView, table: str, entries: Iterator[Entry], choice: _Choice, order: Sequence[Order]
) -> Iterator[tuple[str, bytes]]:
    key_of = sort_key(order)

    def fetched(group: Iterator[Entry]) -> Iterator[tuple[str, bytes]]:
        return _passing(_fetched(view, table, (entry[1] for entry in group)), choice.others)

    if len(order) > 1:
        for _, group in groupby(entries, itemgetter(0)):
            yield from sorted(fetched(group), key=key_of)
        return
    # Runs of entries that need no sorting are fetched together.
    for cut, run in groupby(entries, lambda entry: _is_cut(entry[0])):
        if not cut:
            yield from fetched(run)
            continue
        for _, group in groupby(run, itemgetter(0)):
            yield from sorted(fetched(group), key=key_of)


def _is_cut(key: bytes) -> bool:
    """Whether values that differ may have this index key."""
    if key[:1] >= TEXT:
        return len(key) == INDEX_KEY_BYTES_MAX
    return len(key) > 3 and key[-1] not in (0, 255)


# ---- entries of an index


def forward(view: LmdbView, index: lmdb._Database, item: KeyRange) -> Iterator[Entry]:
    """The entries of a range in order."""
    return _in_slices(lambda after, size: view.entries_after(index, item.low, item.high, after, size))


def backward(view: LmdbView, index: lmdb._Database, item: KeyRange) -> Iterator[Entry]:
    """The entries of a range by index key descending; those of one index key by record key ascending."""
    return _in_slices(lambda after, size: view.entries_before(index, item.low, item.high, after, size))


def _in_slices(read: Callable[[Entry | None, int], list[Entry]]) -> Iterator[Entry]:
    after: Entry | None = None
    sizes = iter(SLICE_ENTRIES)
    size = 0
    while True:
        size = next(sizes, size)
        entries = read(after, size)
        yield from entries
        if not entries:
            return
        after = entries[-1]
