"""Find: from what a caller asks to records of the memtable and the backend, merged.

A *plan* is made once for each call: conditions and orders in the names and values of the stored documents. What the
backend can decide goes down to it; what only Python can compare (dates with a time, decimals, own types) stays here.
The memtable hides what the backend has under the same key, so the backend is asked for more than the limit by as many
keys as the memtable knows, and offsets are counted after the merge.

In a table with record versions a document of an earlier version may hold other fields. So the backend is asked twice:
for documents of the current version that satisfy the conditions, and for all others, which are upgraded and looked at
here. The index on the version's field, which every such table has, makes the second question cheap.
"""

from __future__ import annotations

import datetime
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple

from .codec import RecordCodec
from .errors import UsageError
from .memtable import TableLayer, entry_at
from .query import (
    ABSENT,
    Absent,
    Between,
    Condition,
    Equal,
    FieldReader,
    OneOf,
    Order,
    Prefix,
    Test,
    absent,
    matcher,
    sort_key,
)
from .versions import VERSION_FIELD
from .views import Layers

__all__ = ["FIELD_BYTES_MAX", "Plan", "count", "find", "indexable", "make_plan"]

Row = tuple[str, bytes]
FIELD_BYTES_MAX = 200
DAY = datetime.timedelta(days=1, seconds=1)


class Plan(NamedTuple):
    """What a call asks for, in terms of the stored documents."""

    table: str
    pushed: tuple[Condition, ...]
    """What the backend may decide: it holds for every record that matches."""
    complete: bool
    """True: `pushed` is all there is."""
    matches: Callable[[bytes], bool]
    """Whether a document of the current version satisfies everything."""
    order: tuple[Order, ...]
    order_complete: bool
    """True: stored values sort as the records do, so a backend may sort."""
    key: Callable[[Row], Any]
    """Sorts rows as asked for."""
    version: int
    upgraded: Callable[[str, bytes], bytes]


def make_plan(codec: RecordCodec[Any], where: Mapping[str, Any] | None, order_by: str | Sequence[str] | None) -> Plan:
    """Check what the caller wrote and translate it.

    Raises:
        UsageError: an unknown field, a value that cannot be compared, or a table that has no fields.
    """
    if codec.kind == "bytes" and (where or order_by):
        raise UsageError(f"table {codec.table!r} holds bytes: there are no fields to look at")
    pushed: list[Condition] = []
    tests: list[tuple[str, Callable[[Any], bool]]] = []
    complete = True
    for name, wanted in _items(where):
        field = _encoded(codec, name)
        test = _as_test(name, wanted)
        if codec.field_kinds.get(name) == "value" and not _is_about_presence(test):
            test = _value_test(codec, name, test)
            tests.append((field, _value_matcher(codec, name, test)))
            wide = _widened(test)
            complete = False
            pushed += [Condition(field, wide)] if wide else []
        else:
            test = _scalar_test(codec, name, test)
            tests.append((field, matcher(test)))
            pushed.append(Condition(field, test))
    order, converters = _orders(codec, order_by)
    return Plan(
        codec.table,
        tuple(pushed),
        complete,
        _all_of(tests),
        order,
        not converters,
        sort_key(order, converters),
        codec.version,
        codec.upgraded,
    )


def _items(where: object) -> Iterable[tuple[str, Any]]:
    if where is None:
        return ()
    if not isinstance(where, Mapping):
        raise UsageError(f"where is {where!r}; it must be a dict from field to value or condition")
    return where.items()


def _encoded(codec: RecordCodec[Any], name: object) -> str:
    if not isinstance(name, str):
        raise UsageError(f"table {codec.table!r}: a field's name is a str, not {name!r}")
    if codec.fields is None:
        return name
    if name not in codec.fields:
        raise UsageError(f"table {codec.table!r} has no field {name!r} (it has {', '.join(codec.fields)})")
    return codec.fields[name]


def _as_test(name: str, wanted: Any) -> Test:
    if wanted is ABSENT:
        return absent
    if isinstance(wanted, (Equal, OneOf, Between, Prefix, Absent)):
        return wanted
    if isinstance(wanted, (list, tuple, set, frozenset, dict)):
        raise UsageError(
            f"{name!r}: a condition is one value, or between(), one_of(), prefix(), absent, not {wanted!r}"
        )
    return Equal(wanted)


def _is_about_presence(test: Test) -> bool:
    return isinstance(test, (Absent, Prefix)) or test == Equal(None)


def _scalar_test(codec: RecordCodec[Any], name: str, test: Test) -> Test:
    """The same with the values as they are stored."""
    if isinstance(test, Equal):
        return Equal(codec.encode_scalar(name, test.value))
    if isinstance(test, OneOf):
        return OneOf(tuple(codec.encode_scalar(name, value) for value in test.values))
    if isinstance(test, Between):
        low, high = (None if end is None else codec.encode_scalar(name, end) for end in (test.low, test.high))
        for end in (low, high):
            if isinstance(end, bool):
                raise UsageError(f"{name!r}: between() compares numbers or texts, not {end!r}")
        if low is not None and high is not None and isinstance(low, str) != isinstance(high, str):
            raise UsageError(f"{name!r}: between({low!r}, {high!r}) mixes a text with a number")
        return Between(low, high)
    return test


def _value_test(codec: RecordCodec[Any], name: str, test: Test) -> Test:
    """The same with values of the field's type, also where they were given as they are stored."""

    def value(given: Any) -> Any:
        return None if given is None else codec.decode_scalar(name, codec.encode_scalar(name, given))

    if isinstance(test, Equal):
        return Equal(value(test.value))
    if isinstance(test, OneOf):
        return OneOf(tuple(value(given) for given in test.values))
    if isinstance(test, Between):
        return Between(value(test.low), value(test.high))
    return test


def _value_matcher(codec: RecordCodec[Any], name: str, test: Test) -> Callable[[Any], bool]:
    """For fields whose stored text is not in the order of their values: compares the values."""
    accepts = matcher(test)

    def passes(stored: Any) -> bool:
        if stored is None or stored is ABSENT:
            return not isinstance(test, Between) and accepts(stored)
        try:
            return accepts(codec.decode_scalar(name, stored))
        except TypeError as error:
            raise UsageError(f"{name!r}: a stored value cannot be compared with {test}: {error}") from error

    return passes


def _widened(test: Test) -> Between | None:
    """For instants: a range of texts in which every match lies, whatever its offset from UTC and its fraction."""
    if isinstance(test, Equal):
        low: Any = test.value
        high: Any = test.value
    elif isinstance(test, Between):
        low, high = test.low, test.high
    else:
        return None
    ends = [_text_end(low, -DAY), _text_end(high, DAY)]
    return Between(*ends) if any(ends) else None


def _text_end(value: Any, margin: datetime.timedelta) -> str | None:
    if not isinstance(value, datetime.datetime):
        return None
    if value.tzinfo is not None:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    try:
        return str((value + margin).isoformat(timespec="seconds"))
    except OverflowError:
        return None


def _all_of(tests: list[tuple[str, Callable[[Any], bool]]]) -> Callable[[bytes], bool]:
    if not tests:
        return lambda image: True
    reader = FieldReader(field for field, _ in tests)
    place = {field: number for number, field in enumerate(reader.fields)}
    plan = [(place[field], test) for field, test in tests]

    def matches(image: bytes) -> bool:
        values = reader.read(image)
        return all(test(values[number]) for number, test in plan)

    return matches


def _orders(
    codec: RecordCodec[Any], order_by: str | Sequence[str] | None
) -> tuple[tuple[Order, ...], dict[str, Callable[[Any], Any]]]:
    if not isinstance(order_by, (str, Sequence)) and order_by is not None:
        raise UsageError(f"order_by is {order_by!r}; it must be a field or a list of fields")
    names = [order_by] if isinstance(order_by, str) else list(order_by or ())
    order: list[Order] = []
    converters: dict[str, Callable[[Any], Any]] = {}
    for name in names:
        if not isinstance(name, str) or name in ("", "-"):
            raise UsageError(f"order_by holds {name!r}; it must be a field, or '-' and a field for descending")
        descending = name.startswith("-")
        plain = name[1:] if descending else name
        field = _encoded(codec, plain)
        kind = codec.field_kinds.get(plain)
        order.append(Order(field, descending, kind if kind in ("text", "integer") else None))
        if kind == "value":
            converters[field] = partial(codec.decode_scalar, plain)
    return tuple(order), converters


def indexable(codec: RecordCodec[Any], name: str) -> str:
    """The stored name of a field that may have an index.

    Raises:
        UsageError: the type does not have it, or what it holds cannot be looked up by its stored value.
    """
    if codec.kind == "bytes":
        raise UsageError(f"table {codec.table!r} holds bytes: there are no fields to index")
    field = _encoded(codec, name)
    if not field.isprintable() or not field or len(field.encode()) > FIELD_BYTES_MAX:
        raise UsageError(f"{name!r} cannot have an index: its name is empty, long or not printable")
    kind = codec.field_kinds.get(name)
    if kind == "composite" or (kind == "value" and not codec.is_instant(name)):
        raise UsageError(
            f"table {codec.table!r}: {name!r} cannot have an index: its stored values are not in the order of the "
            "field's; next: store a number or a text that is"
        )
    return field


# ---- doing it


def find(layers: Layers, plan: Plan, indexed: frozenset[str], limit: int | None, offset: int) -> Iterator[Row]:
    """The rows asked for, in order, each as a document of the current version.

    Args:
        layers: the table as a pinned view sees it.
        plan: what is asked for.
        indexed: the fields with an index: these are looked up in the memtable too.
        limit: at most so many rows.
        offset: after leaving out so many.
    """
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
