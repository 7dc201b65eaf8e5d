"""Finding records in LMDB: which index answers, and what is left to look at in the records.

An index is a database of (field's value, record's key) pairs, sorted by value and then by key. A condition on an
indexed field becomes ranges of its index; whatever the ranges do not say exactly is looked up in the record with
`Predicate`, so that all rows that leave this module satisfy all conditions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import chain, groupby, islice
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from sessiondb.backend import Found
from sessiondb.errors import CorruptionError
from sessiondb.query import ABSENT, Absent, Between, Condition, Equal, OneOf, Order, Predicate, Prefix, Test, sort_key

from .lmdb_format import BEHIND_VALUES, FIRST_VALUE, NULL_KEY, index_key, is_cut

if TYPE_CHECKING:
    import lmdb

    from .lmdb_snapshot import OpenTable
    from .lmdb_view import LmdbView

__all__ = ["ALL_ENTRIES", "KeyRange", "count", "find", "forward", "ranges_of"]

SORTED_KEYS_MAX = 100_000
"""So many keys are sorted in memory; when more match, the table is read in its own order instead."""
SLICE_ENTRIES = (16, 64, 256)
SLICE_BYTES = 1 << 20
SIZED_RANGES_MAX = 16
"""An index with more ranges to look at is not sized up beforehand."""

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
        return [_one(ABSENT)]
    if isinstance(test, Prefix):
        return [_beginning_with(test.text)]
    if isinstance(test, Equal):
        return _equal_to((test.value,))
    if isinstance(test, OneOf):
        return _equal_to(test.values)
    return _between(test)


def _one(value: object) -> KeyRange:
    key = index_key(value)
    return KeyRange(key, key + b"\0", not is_cut(key))


def _equal_to(values: tuple[object, ...]) -> list[KeyRange] | None:
    if not all(value is None or isinstance(value, (bool, int, float, str)) for value in values):
        return None
    return sorted({_one(value) for value in values if value == value})


def _beginning_with(text: str) -> KeyRange:
    key = index_key(text)
    return _one(text) if is_cut(key) else KeyRange(key, _behind(key), True)


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
    tag = keys[0][:1]
    if keys[-1][:1] != tag:
        return None
    first = tag if test.low is None else keys[0]
    last = _behind(tag) if test.high is None else keys[-1] + b"\0"
    return [KeyRange(first, last, not any(map(is_cut, keys)))]


# ---- the plan


class _Choice(NamedTuple):
    """An index, and the ranges of it that hold all records looked for."""

    field: str
    database: lmdb._Database
    ranges: list[KeyRange]
    others: tuple[Condition, ...]
    """What must still be looked up in the records."""


def _choices(indexes: dict[str, lmdb._Database], where: Sequence[Condition]) -> list[_Choice]:
    """Every index that a condition can use: equality first, then ranges, then what most records may satisfy."""
    found = []
    for number, (field, test) in enumerate(where):
        ranges = ranges_of(test) if field in indexes else None
        if ranges is None:
            continue
        exact = all(item.exact for item in ranges)
        others = tuple(other for place, other in enumerate(where) if not exact or place != number)
        found.append((_class(test), number, _Choice(field, indexes[field], ranges, others)))
    return [choice for _, _, choice in sorted(found, key=itemgetter(0, 1))]


def _class(test: Test) -> int:
    if isinstance(test, Absent) or (isinstance(test, Equal) and test.value is None):
        return 2
    return 0 if isinstance(test, (Equal, OneOf)) else 1


def _best(view: LmdbView, choices: list[_Choice]) -> _Choice | None:
    """The first choice, or one that leads to fewer records, where that is cheap to see."""
    if len(choices) < 2:
        return choices[0] if choices else None
    return min(choices, key=lambda choice: _size(view, choice))


def _size(view: LmdbView, choice: _Choice) -> float:
    """How many entries the ranges have, if a few looks tell; else infinite."""
    total = 0
    for item in choice.ranges[:SIZED_RANGES_MAX]:
        entries = view.count_slice(choice.database, item.low, item.high)
        if entries.next is not None:
            return inf
        total += entries.total
    return total if len(choice.ranges) <= SIZED_RANGES_MAX else inf


def find(
    view: LmdbView,
    table: str,
    where: Sequence[Condition],
    order: Sequence[Order],
    limit: int | None,
) -> Found:
    """The records that satisfy all conditions: the answer is always exact."""
    opened = view.open_tables[table]
    choice = _best(view, _choices(opened.indexes, where))
    first = order[0].field if order else None
    if choice is not None and choice.field == first:
        return _limited(_in_order(view, table, choice, order), limit)
    if first in opened.indexes and _order_wins(view, opened, choice, where, order, limit):
        walk = _Choice(first, opened.indexes[first], [ALL_ENTRIES], tuple(where))
        return _limited(_in_order(view, table, walk, order), limit)
    rows = _passing(view.scan(table), where) if choice is None else _by_key(view, table, choice, where)
    return Found(rows, exact=True, ordered=False) if order else _limited(rows, limit)


def _order_wins(
    view: LmdbView,
    opened: OpenTable,
    choice: _Choice | None,
    where: Sequence[Condition],
    order: Sequence[Order],
    limit: int | None,
) -> bool:
    """Whether to walk the whole index of the order until the limit is reached, and look at every record on the way.

    With m of n records found by the other index, evenly spread, the walk passes n / m records for each that counts.
    """
    if choice is None:
        return limit is not None or (len(order) == 1 and not where)
    if limit is None:
        return False
    total = view.entries(opened.records)
    return limit * total < min(_size(view, choice), total) ** 2


def _limited(rows: Iterator[tuple[str, bytes]], limit: int | None) -> Found:
    return Found(rows if limit is None else islice(rows, limit), exact=True, ordered=True)


def count(view: LmdbView, table: str, where: Sequence[Condition]) -> int | None:
    """How many records satisfy the conditions, when no record need be read for that."""
    if not where:
        return view.count(table)
    choices = _choices(view.open_tables[table].indexes, where)
    if not choices or choices[0].others:
        return None
    return sum(_count_entries(view, choices[0].database, item) for item in choices[0].ranges)


def _count_entries(view: LmdbView, index: lmdb._Database, item: KeyRange) -> int:
    total = 0
    at: bytes | None = item.low
    while at is not None:
        counted = view.count_slice(index, at, item.high)
        total += counted.total
        at = counted.next
    return total


# ---- rows


def _passing(rows: Iterator[tuple[str, bytes]], where: Sequence[Condition]) -> Iterator[tuple[str, bytes]]:
    if not where:
        return rows
    matches = Predicate(where).matches
    return (row for row in rows if matches(row[1]))


def _by_key(view: LmdbView, table: str, choice: _Choice, where: Sequence[Condition]) -> Iterator[tuple[str, bytes]]:
    """Rows in the order of their keys."""
    if len(choice.ranges) == 1 and choice.ranges[0].high == choice.ranges[0].low + b"\0":
        # All entries have one index key, so they are in this order already.
        keys = (entry[1] for entry in forward(view, choice.database, choice.ranges[0]))
        return _passing(_fetched(view, table, keys), choice.others)
    found = chain.from_iterable(forward(view, choice.database, item) for item in choice.ranges)
    names = [entry[1] for entry in islice(found, SORTED_KEYS_MAX + 1)]
    if len(names) > SORTED_KEYS_MAX:
        return _passing(view.scan(table), where)
    return _passing(_fetched(view, table, iter(sorted(names))), choice.others)


def _fetched(view: LmdbView, table: str, keys: Iterator[bytes]) -> Iterator[tuple[str, bytes]]:
    """The records with these keys, in this order."""
    sizes = iter(SLICE_ENTRIES)
    size = most = SLICE_ENTRIES[-1]
    while True:
        size = next(sizes, size)
        wanted = list(islice(keys, min(size, most)))
        if not wanted:
            return
        images = view.fetch(table, wanted)
        most = 1 + SLICE_BYTES * len(wanted) // (1 + sum(map(len, images.values())))  # fewer of large records
        for key in wanted:
            image = images.get(key)
            if image is None:
                raise CorruptionError(
                    f"table {table!r}: an index names the record {key.decode(errors='replace')!r}, which is not there",
                    path=view.path,
                )
            yield key.decode(), image


def _in_order(view: LmdbView, table: str, choice: _Choice, order: Sequence[Order]) -> Iterator[tuple[str, bytes]]:
    """Rows in the order asked for, whose first field is the choice's.

    Records with equal index keys stand in the order of their keys, also when the order is descending; where more is
    asked for (another field, or texts that were cut) they are sorted here.
    """
    values = [_within(item, ALL_VALUES) for item in choice.ranges]
    if order[0].descending:
        valued = chain.from_iterable(backward(view, choice.database, item) for item in reversed(values))
    else:
        valued = chain.from_iterable(forward(view, choice.database, item) for item in values)
    # What has no value comes last in both directions, null and absent mixed.
    nothing = [_within(item, only) for item in choice.ranges for only in (_one(None), _one(ABSENT))]
    keys = merge(*((entry[1] for entry in forward(view, choice.database, item)) for item in nothing))
    return chain(
        _ties_sorted(view, table, valued, choice, order),
        _ties_sorted(view, table, ((b"", key) for key in keys), choice, order),
    )


def _within(item: KeyRange, outer: KeyRange) -> KeyRange:
    """The part of a range that lies in another one, which may be empty."""
    return KeyRange(max(item.low, outer.low), min(item.high, outer.high), item.exact)


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
    for cut, run in groupby(entries, lambda entry: is_cut(entry[0])):
        if not cut:
            yield from fetched(run)
            continue
        for _, group in groupby(run, itemgetter(0)):
            yield from sorted(fetched(group), key=key_of)


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
