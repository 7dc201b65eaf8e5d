"""Plans of queries: what a caller asks, in the names and values of the stored documents.

A plan is made once for each call and checks everything the caller wrote. What a backend can decide goes into
`Plan.pushed`; what only Python can compare (dates with a time, decimals, own types) stays in `Plan.matches`.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from .codec import RecordCodec
from .errors import UsageError
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

__all__ = ["FIELD_BYTES_MAX", "Plan", "Row", "indexable", "make_plan"]

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
