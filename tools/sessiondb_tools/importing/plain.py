"""From values of Python to values that a record can hold: what is lossless, what is a choice, what is refused.

JSON has null, booleans, 64-bit integers, finite floats, text, arrays, and objects with text names. A value of these
kinds is taken as it is. Another one would look like one of them in JSON, so that the record could not say what it was;
it is refused unless the user names its kind (`CONVERSIONS`). Then it takes the form that msgspec gives it: a table
whose type says `datetime` or `bytes` in that place reads it back.

A value may share a part of itself many times over, or hold itself; so parts and characters are counted as they would
stand in the record, and the walk ends where no record could go on.
"""

from __future__ import annotations

import datetime
import decimal
import json
import math
import uuid
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from sessiondb.codec import DEPTH_MAX, RECORD_BYTES_MAX

from .pickle_objects import Members, Pairs, UniqueId
from .pickled import INSTRUCTIONS_MAX

__all__ = ["CONVERSIONS", "NotPlain", "PlainValue", "Plainer"]

CONVERSIONS = {
    "tuples": "tuples become arrays",
    "sets": "sets become sorted arrays",
    "bytes": "bytes become base64 text",
    "times": "datetimes, dates, times and timedeltas become ISO 8601 text",
    "decimals": "Decimals, and integers of more than 64 bits, become text",
    "uuids": "UUIDs become text",
    "nan": "NaN and infinity become null",
    "keys": "keys that are numbers, booleans, null or UTF-8 bytes become text",
}
"""What ``--convert`` takes, and what it does."""

PARTS_MAX = INSTRUCTIONS_MAX
PART_BYTES = 16
"""What a part adds to a value's size, beside its text: for the size of batches."""

_UNKNOWN = object()


class NotPlain(Exception):
    """No record can hold the value; `str()` says why, and where in it."""

    def __init__(self, problem: str, conversion: str = ""):
        super().__init__(problem)
        self.problem = problem
        self.conversion = conversion
        self.path: list[str] = []
        """From the inside out."""

    def __str__(self) -> str:
        hint = f" (--convert {self.conversion} would)" if self.conversion else ""
        path = "".join(reversed(self.path))
        place = f" (at ${path if len(path) <= 200 else path[:200] + '...'})" if path else ""
        return f"{self.problem}{place}{hint}"


class PlainValue(NamedTuple):
    """A value that consists of what JSON has."""

    value: Any
    size: int
    """About how many bytes it takes."""


class Plainer:
    """Makes values plain.

    Args:
        convert: the names of the conversions to do, of `CONVERSIONS`.
    """

    def __init__(self, convert: Iterable[str] = ()):
        self._convert = frozenset(convert)
        self._parts = self._characters = 0

    def plain(self, value: Any) -> PlainValue:
        """The value as a record holds it.

        Raises:
            NotPlain: no record can hold it, or only after a conversion that was not asked for.
        """
        self._parts = self._characters = 0
        made = self._plain(value, 0)
        return PlainValue(made, self._characters + PART_BYTES * self._parts)

    def key(self, key: Any) -> str:
        """A record's key as text; a whole number becomes its decimal text.

        Raises:
            NotPlain: it cannot be a key, or only after a conversion that was not asked for.
        """
        if type(key) is str:
            return key
        if type(key) is int:
            return _digits(key)
        return self._key_text(key, "the key")

    def _plain(self, value: Any, depth: int) -> Any:
        self._count(value)
        kind = type(value)
        if kind in _AS_THEY_ARE:
            return value
        if kind is int:
            return value if _INTEGER_MIN <= value <= _INTEGER_MAX else self._big(value)
        if kind is float:
            return value if math.isfinite(value) else self._not_finite(value)
        if depth >= DEPTH_MAX:
            raise NotPlain(f"it is nested more than {DEPTH_MAX} levels deep, or holds itself")
        make = _CONTAINERS.get(kind)
        return self._scalar(value) if make is None else make(self, value, depth + 1)

    def _count(self, value: Any) -> None:
        self._parts += 1
        if type(value) in (str, bytes, bytearray):
            self._characters += len(value)
        if self._parts > PARTS_MAX or self._characters > RECORD_BYTES_MAX:
            raise NotPlain("it is larger than a record can be (parts that are named several times count each time)")

    # ---- containers

    def _list(self, values: Iterable[Any], depth: int) -> list[Any]:
        made = []
        for number, value in enumerate(values):
            try:
                made.append(self._plain(value, depth))
            except NotPlain as problem:
                problem.path.append(f"[{number}]")
                raise
        return made

    def _tuple(self, values: tuple[Any, ...], depth: int) -> list[Any]:
        self._must_convert("tuples", "a tuple")
        return self._list(values, depth)

    def _set(self, values: Iterable[Any], depth: int) -> list[Any]:
        self._must_convert("sets", "a set")
        return sorted(self._list(values, depth), key=json.dumps)

    def _items(self, items: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in items:
            self._count(key)
            name = key if type(key) is str else self._key_text(key, "a dict's key")
            if name in made:
                raise NotPlain(f"two keys of a dict would both be {name[:100]!r}")
            try:
                made[name] = self._plain(value, depth)
            except NotPlain as problem:
                problem.path.append(f".{name[:100]}")
                raise
        return made

    def _dict(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        return self._items(value.items(), depth)

    def _key_text(self, key: Any, what: str) -> str:
        kind = type(key)
        if kind not in (int, float, bool, type(None), bytes):
            raise NotPlain(f"{what} is {_article(key)}, which is no text")
        self._must_convert("keys", f"{what} is {_article(key)}, which", subject=True)
        if kind is int:
            return _digits(key)
        if kind is not bytes:
            return json.dumps(key)
        try:
            return str(key, "utf-8")
        except UnicodeDecodeError:
            raise NotPlain(f"{what} is bytes that are no UTF-8 text") from None

    # ---- single values

    def _not_finite(self, value: float) -> None:
        self._must_convert("nan", f"the float {value}")

    def _big(self, value: int) -> str:
        self._must_convert("decimals", "an integer of more than 64 bits")
        return _digits(value)

    def _scalar(self, value: Any) -> Any:
        conversion = _SCALARS.get(type(value))
        if conversion is None:
            raise NotPlain(f"JSON cannot hold {_article(value)}")
        self._must_convert(conversion, _article(value))
        if type(value) is UniqueId:
            return str(uuid.UUID(int=value.number))
        made = msgspec.to_builtins(value)
        self._count(made)
        if type(value) in _TIMES and not _comes_back(value, made):
            raise NotPlain(f"the {type(value).__name__} {value} would not come back equal from its text")
        return made

    def _must_convert(self, conversion: str, what: str, *, subject: bool = False) -> None:
        if conversion not in self._convert:
            raise NotPlain(f"{what} is no text" if subject else f"JSON cannot hold {what}", conversion)


def _comes_back(value: Any, text: str) -> bool:
    try:
        again = msgspec.convert(text, type(value))
    except msgspec.ValidationError:
        return False
    with_zone = isinstance(value, (datetime.datetime, datetime.time))
    return bool(again == value) and (
        not with_zone or (again.utcoffset() == value.utcoffset() and again.fold == value.fold)
    )


def _digits(number: int) -> str:
    try:
        return str(number)
    except ValueError:  # more than 4,300 digits
        raise NotPlain("an integer with too many digits") from None


def _article(value: Any) -> str:
    name = _NAMES.get(type(value)) or type(value).__name__
    return f"an {name}" if name[0] in "aeiouAEIO" else f"a {name}"


_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**64 - 1
_AS_THEY_ARE = (str, bool, type(None))
_NAMES: dict[type, str] = {Pairs: "dict", Members: "set", UniqueId: "UUID", bytes: "bytes object"}
_TIMES = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta)
_SCALARS: dict[type, str] = {
    bytes: "bytes",
    bytearray: "bytes",
    **dict.fromkeys(_TIMES, "times"),
    decimal.Decimal: "decimals",
    UniqueId: "uuids",
}
"""The conversion that each kind of single value needs."""
_CONTAINERS: dict[type, Callable[[Plainer, Any, int], Any]] = {
    list: Plainer._list,
    tuple: Plainer._tuple,
    Members: Plainer._set,
    Pairs: Plainer._items,
    dict: Plainer._dict,
}
