"""An index in memory: from a field's value to the keys of the records that hold it.

The memtable has one that grows while readers use it; the resident backends have some that never change once they
are part of a view. It answers the conditions of `sessiondb.query` and follows their rules: ``True`` is not ``1``,
``1`` is ``1.0``, lists and objects are in no index, because no condition finds them.

It is exact for what it was told: `FieldIndex.candidates` gives the keys whose value passes the test, all of them, no
other, each once. Who does not `discard` the value that a record no longer holds (the memtable, for the readers of
older states) gets more keys than there are such records, and has to look at the records.

One thread at a time may change an index; any may read it meanwhile, without a lock, and sees at least what was added
before its call. Two things make that so: what may change is copied in a single call, during which the interpreter
lets no other thread in; and a value stays known when its last key goes, so new values are always the last of their
dict.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

from .query import ABSENT, Absent, Between, Equal, OneOf, Prefix, Test, matcher

__all__ = ["FieldIndex", "sorted_in_pieces"]

SORT_AT_ONCE: Final = 4_000
"""Values sorted in one call, which stops every other thread: about a millisecond."""
PIECE: Final = 500
"""Values per piece of a longer sort: about 100 us."""

_Keys = str | set[str]
"""One key as it is, for most values have no other; several as a set."""


def _no_pause() -> None:
    """Go on at once."""


class _Values:
    """All values of kinds that have one order, each with its keys."""

    __slots__ = ("_sorted", "keys")

    def __init__(self) -> None:
        self.keys: dict[Any, _Keys] = {}
        self._sorted: list[Any] = []

    def add(self, value: Any, key: str) -> None:
        keys = self.keys.get(value)
        if keys is None:
            self.keys[value] = key
        elif isinstance(keys, set):
            keys.add(key)
        elif keys != key:
            self.keys[value] = {keys, key}

    def discard(self, value: Any, key: str) -> None:
        keys = self.keys.get(value)
        if isinstance(keys, set):
            keys.discard(key)
        elif keys == key:
            self.keys[value] = set()

    def in_order(self, pace: Callable[[], None] = _no_pause) -> list[Any]:
        """All values, sorted; never mutated."""
        known = self._sorted
        if len(known) != len(self.keys):
            fresh = list(self.keys)[len(known) :]
            self._sorted = known = sorted(known + fresh) if known else sorted_in_pieces(fresh, pace)
        return known

    def is_in_order(self) -> bool:
        return bool(self._sorted)


class FieldIndex:
    """The keys of records by the value of one field."""

    __slots__ = ("_numbers", "_others", "_texts", "partial")

    def __init__(self) -> None:
        self.partial = False
        """Whether there was a value that is not kept: a list or an object."""
        self._numbers = _Values()
        self._texts = _Values()
        self._others = _Values()
        """Absent, null, false and true; never sorted."""

    def add(self, value: Any, key: str) -> None:
        """A record holds this value, or `ABSENT`; what no condition finds is not kept."""
        values = self._values_of(value)
        if values is None:
            self.partial = True
        else:
            values.add(value, key)

    def discard(self, value: Any, key: str) -> None:
        """A record no longer holds this value; harmless where it never did."""
        values = self._values_of(value)
        if values is not None:
            values.discard(value, key)

    def sort(self, like: FieldIndex, pace: Callable[[], None]) -> None:
        """Put in order now, with pauses, what was needed in order in another index, instead of at its first use."""
        for mine, other in ((self._numbers, like._numbers), (self._texts, like._texts)):
            if other.is_in_order():
                mine.in_order(pace)

    def _values_of(self, value: Any) -> _Values | None:
        if isinstance(value, str):
            return self._texts
        if value is None or value is ABSENT or isinstance(value, bool):
            return self._others
        return self._numbers if isinstance(value, (int, float)) else None

    # ---- reading

    def values(self) -> Iterator[Any]:
        """Every value that was ever added, once, in no order."""
        return chain(*(list(values.keys) for values in (self._others, self._numbers, self._texts)))

    def candidates(self, test: Test) -> Collection[str] | None:
        """The keys of all records whose value passes the test, each once, in no order: a copy for the caller.

        Returns:
            ``None`` when the index cannot tell: anything may pass.
        """
        found = self._keys_found(test)
        if found is None:
            return None
        if len(found) == 1:
            return [found[0]] if isinstance(found[0], str) else list(found[0])
        keys: set[str] = set()
        for some in found:
            if isinstance(some, str):
                keys.add(some)
            else:
                keys.update(some)
        return keys

    def estimate(self, test: Test) -> int | None:
        """About how many `candidates` there are, known without gathering them; ``None`` as there."""
        if not isinstance(test, (Between, Prefix)):
            return sum(map(_count, self._keys_found(test) or ()))
        values = self._range(test)
        if values is None:
            return None
        some = values[:: max(len(values) // 16, 1)]
        return len(values) * sum(map(_count, self._keys_of(some))) // max(len(some), 1)

    def in_order(self) -> tuple[list[Any], list[Any], list[Any]]:
        """The values that have an order, ascending: bools, numbers, texts; some may have no key any more."""
        return [False, True], self._numbers.in_order(), self._texts.in_order()

    def _keys_found(self, test: Test) -> list[_Keys] | None:
        if isinstance(test, Equal):
            return self._keys_of([test.value])
        if isinstance(test, Absent):
            return self._keys_of([ABSENT])
        if isinstance(test, OneOf):
            return self._keys_of(test.values)
        values = self._range(test)
        return None if values is None else self._keys_of(values)

    def _keys_of(self, values: Iterable[Any]) -> list[_Keys]:
        found = []
        for value in values:
            held = self._values_of(value)
            keys = None if held is None else held.keys.get(value)
            if keys:
                found.append(keys)
        return found

    def _range(self, test: Between | Prefix) -> Sequence[Any] | None:
        """The known values that pass."""
        if isinstance(test, Prefix):
            text = test.text
            texts = self._texts.in_order()
            low = bisect_left(texts, text)
            # Cut to one length, texts keep their order.
            return texts[low : bisect_right(texts, text, low, key=lambda value: value[: len(text)])]
        ends = [end for end in (test.low, test.high) if end is not None]
        held = self._values_of(ends[0])
        if held is None or held is not self._values_of(ends[-1]):
            return None  # two kinds, or none that has an order
        if held is self._others:
            return list(filter(matcher(test), (False, True)))
        values = held.in_order()
        low = 0 if test.low is None else bisect_left(values, test.low)
        return values[low : len(values) if test.high is None else bisect_right(values, test.high)]


def _count(keys: _Keys) -> int:
    return 1 if isinstance(keys, str) else len(keys)


def sorted_in_pieces(values: list[Any], pace: Callable[[], None] = _no_pause) -> list[Any]:
    """The values sorted, without one long call: a million of them would stop every thread for half a second.

    They are dealt out into pieces between values of a sample, and the pieces are sorted.
    """
    if len(values) <= SORT_AT_ONCE:
        return sorted(values)
    wanted = len(values) // PIECE
    bounds = sorted(values[:: max(len(values) // (8 * wanted), 1)])[8::8]
    pieces: list[list[Any]] = [[] for _ in range(len(bounds) + 1)]
    for start in range(0, len(values), PIECE):
        for value in values[start : start + PIECE]:
            pieces[bisect_right(bounds, value)].append(value)
        pace()
    ordered: list[Any] = []
    for piece in pieces:
        piece.sort()
        ordered += piece
        pace()
    return ordered
