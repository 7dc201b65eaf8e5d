"""Find: the records of the memtable and the backend that a plan asks for, merged.

The memtable hides what the backend has under the same key, so the backend is asked for more than the limit by as many
keys as the memtable knows, and offsets are counted after the merge.

In a table with record versions a document of an earlier version may hold other fields. So the backend is asked twice:
for documents of the current version that satisfy the conditions, and for all others, which are upgraded and looked at
here. The index on the version's field, which every such table has, makes the second question cheap.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from .errors import UsageError
from .memtable import TableLayer, entry_at
from .planning import Plan, Row
from .query import Between, Condition, Equal, FieldReader, OneOf, absent, matcher
from .versions import VERSION_FIELD
from .views import Layers

__all__ = ["count", "find"]

ROWS_MAX = 2**53
"""More than any store has. What is larger, backends cannot count to."""


def find(layers: Layers, plan: Plan, indexed: frozenset[str], limit: int | None, offset: int) -> Iterator[Row]:
    """The rows asked for, in order, each as a document of the current version.

    Args:
        layers: the table as a pinned view sees it.
        plan: what is asked for.
        indexed: the fields with an index: these are looked up in the memtable too.
        limit: at most so many rows.
        offset: after leaving out so many.
    """
    offset = min(offset, ROWS_MAX)
    if limit is not None and limit > ROWS_MAX:
        limit = None
    rows = _merged(layers, plan, indexed, None if limit is None else offset + limit)
    return islice(rows if plan.order_complete else _comparable(rows, plan), offset, None)


def _comparable(rows: Iterator[Row], plan: Plan) -> Iterator[Row]:
    """Sorting decoded values may find two that have no order."""
    try:
        yield from rows
    except TypeError as error:
        fields = ", ".join(item.field for item in plan.order)
        raise UsageError(f"table {plan.table!r} cannot be sorted by {fields}: {error}") from error


def _merged(layers: Layers, plan: Plan, indexed: frozenset[str], end: int | None) -> Iterator[Row]:
    hidden = sum(len(layer.entries) for layer in layers.tops)
    rows, ordered = _from_base(layers, plan, None if end is None else end + hidden)
    top = _from_memtable(layers, plan, indexed)
    if ordered:
        merged: Iterable[Row] = heapq.merge(sorted(top, key=plan.key), rows, key=plan.key) if top else rows
    elif end is None:
        merged = sorted(chain(top, rows), key=plan.key)
    else:
        merged = heapq.nsmallest(end, chain(top, rows), key=plan.key)
    yield from islice(merged, end)


def count(layers: Layers, plan: Plan, indexed: frozenset[str]) -> int:
    """How many rows `find` would return."""
    top = len(_from_memtable(layers, plan, indexed))
    if layers.base is None:
        return top
    if plan.complete and plan.version == 1 and not any(layer.entries for layer in layers.tops):
        found = layers.base.count_found(plan.table, plan.pushed)
        if found is not None:
            return top + found
    rows, _ = _from_base(layers, plan._replace(order=()), None)
    return top + sum(1 for _ in rows)


def _from_memtable(layers: Layers, plan: Plan, indexed: frozenset[str]) -> list[Row]:
    rows: list[Row] = []
    seen: set[str] = set()
    for layer in layers.tops:
        for key in _candidates(layer, plan, indexed):
            if key in seen:
                continue
            image = _newest(layers, key)
            if image is None:
                continue
            seen.add(key)
            image = plan.upgraded(key, image)
            if plan.matches(image):
                rows.append((key, image))
    return rows


def _candidates(layer: TableLayer, plan: Plan, indexed: frozenset[str]) -> Iterable[str]:
    best: Iterable[str] | None = None
    for condition in sorted(plan.pushed, key=lambda condition: not isinstance(condition.test, (Equal, OneOf))):
        if condition.field in indexed:
            best = layer.candidates(condition)
            if best is not None:
                break
    if best is None:
        return layer.sorted_keys()
    others = [layer.candidates(condition) or () for condition in _other_versions(plan.version)]
    return chain(best, *others)


def _newest(layers: Layers, key: str) -> bytes | None:
    for layer in layers.tops:
        entry = entry_at(layer.entries.get(key), layers.lsn)
        if entry is not None:
            return entry.image
    return None


def _is_hidden(layers: Layers, key: str) -> bool:
    return any(entry_at(layer.entries.get(key), layers.lsn) is not None for layer in layers.tops)


def _from_base(layers: Layers, plan: Plan, limit: int | None) -> tuple[Iterator[Row], bool]:
    """What the backend has and the memtable does not hide; and whether it comes in the order asked for."""
    base = layers.base
    if base is None:
        return iter(()), True
    where, order = plan.pushed, plan.order if plan.order_complete else ()
    if plan.version > 1:
        where = (*where, Condition(VERSION_FIELD, Equal(plan.version)))
    found = base.find(plan.table, where, order, limit if plan.complete and plan.order_complete else None)
    exact = found.exact and plan.complete
    ordered = found.ordered and (plan.order_complete or not plan.order)
    rows: Iterator[Row] = (
        row
        for row in found.rows
        if not (layers.tops and _is_hidden(layers, row[0])) and (exact or _is_current_match(plan, row[1]))
    )
    if plan.version == 1:
        return rows, ordered
    others = _of_other_versions(layers, plan)
    first = next(others, None)
    if first is None:
        return rows, ordered
    return chain(rows, [first], others), False


def _is_current_match(plan: Plan, image: bytes) -> bool:
    return plan.matches(image) and (plan.version == 1 or _version_of(image) == plan.version)


_version_reader = FieldReader([VERSION_FIELD])


def _version_of(image: bytes) -> Any:
    return _version_reader.read(image)[0]


def _other_versions(version: int) -> list[Condition]:
    if version == 1:
        return []
    return [
        Condition(VERSION_FIELD, absent),
        Condition(VERSION_FIELD, Between(None, version - 1)),
        Condition(VERSION_FIELD, Between(version + 1, None)),
        # What is no version at all is an error too, and not a record that does not match.
        Condition(VERSION_FIELD, OneOf((None, True, False))),
        Condition(VERSION_FIELD, Between("", None)),
    ]


def _of_other_versions(layers: Layers, plan: Plan) -> Iterator[Row]:
    """Documents of other versions, upgraded; a newer one is an error, as wherever it is read."""
    base = layers.base
    assert base is not None
    for condition in _other_versions(plan.version):
        found = base.find(plan.table, (condition,))
        accepts = matcher(condition.test)
        for key, image in found.rows:
            if _is_hidden(layers, key) or not (found.exact or accepts(_version_of(image))):
                continue
            upgraded = plan.upgraded(key, image)
            if plan.matches(upgraded):
                yield key, upgraded
