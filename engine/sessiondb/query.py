"""Conditions and orders: what `Table.find` asks for, and what it means on every backend.

A condition looks at one top-level field of the stored JSON document. What a field holds is one of these, and values
of two kinds are never equal:

========  ====================================================================================
absent    the document has no such field (or is no JSON object): only `absent` finds it
null      found by ``None``
bool      ``True`` is not ``1``
number    compared by value: ``1`` equals ``1.0``
text      compared by its UTF-8 bytes, which is the order of code points
others    lists and objects: no condition finds them
========  ====================================================================================

Order: bool < number < text < lists and objects (by their JSON text); records whose field is null or absent come
last, in both directions. Ties are broken by the next field, in the end by the key, ascending.

A backend that can filter or sort by itself must come to the same answers; what it cannot do exactly it leaves to
the engine, which uses `Predicate` and `sort_key`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

import msgspec

from .errors import UsageError

__all__ = [
    "ABSENT",
    "Absent",
    "Between",
    "Condition",
    "Equal",
    "FieldReader",
    "OneOf",
    "Order",
    "Predicate",
    "Prefix",
    "Scalar",
    "Test",
    "absent",
    "between",
    "one_of",
    "prefix",
    "sort_key",
]

Scalar = None | bool | int | float | str
"""A JSON value that a condition can name."""

ABSENT: Final = msgspec.UNSET
"""Stands for a field that is not there, where values are read."""


class Equal(msgspec.Struct, frozen=True):
    """The field holds this value."""

    value: Scalar


class OneOf(msgspec.Struct, frozen=True):
    """The field holds one of these values."""

    values: tuple[Scalar, ...]


class Between(msgspec.Struct, frozen=True):
    """The field holds a number, or a text, from `low` to `high`, both included; ``None`` is an open end."""

    low: int | float | str | None
    high: int | float | str | None


class Prefix(msgspec.Struct, frozen=True):
    """The field holds a text that begins with this one."""

    text: str


class Absent(msgspec.Struct, frozen=True):
    """The field is not there."""


Test = Equal | OneOf | Between | Prefix | Absent


class Condition(NamedTuple):
    """One field, by the name it has in the stored document, and what it must hold."""

    field: str
    test: Test


class Order(NamedTuple):
    """One field to sort by."""

    field: str
    descending: bool
    kind: Literal["text", "integer"] | None = None
    """What the field holds wherever it is not null or absent, if that is known: then a backend's own order is right."""


# ---- what callers write


def between(low: Any, high: Any) -> Between:
    """A condition: from `low` to `high`, both included; ``None`` leaves an end open.

    Args:
        low: a number, a text, or a value of the field's type.
        high: of the same kind.

    Raises:
        UsageError: both ends are open.
    """
    if low is None and high is None:
        raise UsageError("between(None, None) is no condition; next: give one end, or leave the condition out")
    return Between(low, high)


def one_of(*values: Any) -> OneOf:
    """A condition: one of the values, which may also be given as one list, tuple or set."""
    if len(values) == 1 and isinstance(values[0], (list, tuple, set, frozenset)):
        values = tuple(values[0])
    return OneOf(values)


def prefix(text: str) -> Prefix:
    """A condition: a text that begins with this one."""
    if not isinstance(text, str):
        raise UsageError(f"prefix({text!r}): a prefix is a str")
    return Prefix(text)


absent: Final = Absent()
"""A condition: the record has no such field. ``None`` asks for a stored null."""


# ---- reading fields


class FieldReader:
    """Reads some top-level fields of a JSON document without decoding the others.

    Args:
        fields: names in the document; repeated ones are read once.
    """

    def __init__(self, fields: Iterable[str]):
        self.fields = tuple(dict.fromkeys(fields))
        self._nothing = (ABSENT,) * len(self.fields)
        if any(_ODD_NAME.search(field) for field in self.fields):
            self.read = self._read_odd  # type: ignore[method-assign]
            return
        names = {f"f{number}": field for number, field in enumerate(self.fields)}
        document = msgspec.defstruct("Fields", [(name, Any, msgspec.UNSET) for name in names], rename=names)
        self._decode = msgspec.json.Decoder(document).decode
        self._names = tuple(names)

    def read(self, image: bytes) -> tuple[Any, ...]:
        """The fields' values, in the order of `fields`; `ABSENT` for those that are not there.

        Raises:
            msgspec.DecodeError: the image is no JSON document that can be read.
        """
        try:
            document = self._decode(image)
        except msgspec.ValidationError as error:
            return self._without_fields(error)
        return tuple([getattr(document, name) for name in self._names])

    def _read_odd(self, image: bytes) -> tuple[Any, ...]:
        """For names that no Struct's field can have."""
        try:
            document = _decode_document(image)
        except msgspec.ValidationError as error:
            return self._without_fields(error)
        return tuple([msgspec.json.decode(document[field]) if field in document else ABSENT for field in self.fields])

    def _without_fields(self, error: msgspec.ValidationError) -> tuple[Any, ...]:
        if str(error).startswith("Expected `object`"):
            return self._nothing
        raise error


_ODD_NAME = re.compile(r'["\\\x00-\x1f]')
_decode_document = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


# ---- deciding


def _kind(value: Any) -> int:
    """Bool 0, number 1, text 2, anything else 3."""
    if isinstance(value, bool):
        return 0
    if isinstance(value, (int, float)):
        return 1
    return 2 if isinstance(value, str) else 3


def _same(value: Any, wanted: Scalar) -> bool:
    if wanted is None or value is None or value is ABSENT:
        return value is wanted
    return value == wanted and _kind(value) == _kind(wanted)


def matcher(test: Test) -> Callable[[Any], bool]:
    """A function that says whether a field's value (or `ABSENT`) passes the test."""
    if isinstance(test, Absent):
        return lambda value: value is ABSENT
    if isinstance(test, Prefix):
        return lambda value: isinstance(value, str) and value.startswith(test.text)
    if isinstance(test, Equal):
        return lambda value: _same(value, test.value)
    if isinstance(test, OneOf):
        return lambda value: any(_same(value, wanted) for wanted in test.values)
    low, high = test.low, test.high
    kind = _kind(high if low is None else low)
    return lambda value: _kind(value) == kind and (low is None or value >= low) and (high is None or value <= high)


class Predicate:
    """Whether a document satisfies all of some conditions."""

    def __init__(self, where: Sequence[Condition]):
        self.where = tuple(where)
        self._reader = FieldReader(condition.field for condition in where)
        place = {field: number for number, field in enumerate(self._reader.fields)}
        self._tests = [(place[condition.field], matcher(condition.test)) for condition in where]

    def matches(self, image: bytes) -> bool:
        """Whether the document satisfies all conditions."""
        if not self._tests:
            return True
        values = self._reader.read(image)
        return all(test(values[number]) for number, test in self._tests)


class _Descending:
    """Turns the order of a value round."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __lt__(self, other: _Descending) -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and bool(self.value == other.value)

    __hash__ = None  # type: ignore[assignment]


_NO_VALUE = (1,)


def rank(value: Any) -> tuple[Any, ...]:
    """Where a field's value stands in an ascending order; `_NO_VALUE` for null and absent."""
    if value is None or value is ABSENT:
        return _NO_VALUE
    kind = _kind(value)
    return (0, kind, value if kind < 3 else msgspec.json.encode(value))


def sort_key(
    order: Sequence[Order], converters: Mapping[str, Callable[[Any], Any]] = MappingProxyType({})
) -> Callable[[tuple[str, bytes]], tuple[Any, ...]]:
    """A sort key for (key, image) pairs.

    Args:
        order: the fields to sort by.
        converters: for fields whose stored values are not in the order of what they stand for: makes what is.
    """
    if not order:
        return itemgetter(0)
    reader = FieldReader(item.field for item in order)
    place = {field: number for number, field in enumerate(reader.fields)}
    plan = [(place[item.field], item.descending, converters.get(item.field)) for item in order]

    def key_of(pair: tuple[str, bytes]) -> tuple[Any, ...]:
        values = reader.read(pair[1])
        parts: list[Any] = []
        for number, descending, convert in plan:
            value = values[number]
            found = rank(value)
            if convert is not None and found is not _NO_VALUE:
                found = (0, 3, convert(value))
            # Last in both directions: only what has a value is turned round.
            parts.append((0, _Descending(found)) if descending and found is not _NO_VALUE else found)
        parts.append(pair[0])
        return tuple(parts)

    return key_of
