"""What `pickled` makes in place of what a pickle names: for each known name a function that makes plain data.

Nothing here imports or calls what the pickle says. A maker gets the arguments that stand in the pickle, and gives
``None`` for those that nobody writes.
"""

from __future__ import annotations

import datetime
import decimal
import re
from collections.abc import Callable
from typing import Any

__all__ = ["MAKERS", "Members", "Pairs", "UniqueId"]


class Pairs(list[tuple[Any, Any]]):
    """A dict: its items."""

    __slots__ = ()


class Members(list[Any]):
    """A set or frozenset: its members."""

    __slots__ = ()


class UniqueId:
    """A `uuid.UUID`; the pickle makes it first, and gives it its number later."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


def _members(arguments: tuple[Any, ...]) -> Any:
    if arguments == ():
        return Members()
    return Members(arguments[0]) if len(arguments) == 1 and type(arguments[0]) is list else None


def _encoded(arguments: tuple[Any, ...]) -> Any:
    """How pickles of protocol 0 to 2 write bytes."""
    if len(arguments) == 2 and type(arguments[0]) is str and arguments[1] in ("latin1", "latin-1"):
        return arguments[0].encode("latin-1")
    return None


def _bytes(arguments: tuple[Any, ...]) -> Any:
    return b"" if arguments == () else None


def _bytearray(arguments: tuple[Any, ...]) -> Any:
    if arguments == ():
        return bytearray()
    if len(arguments) == 1 and type(arguments[0]) is bytes:
        return bytearray(arguments[0])
    encoded = _encoded(arguments)
    return None if encoded is None else bytearray(encoded)


def _date(arguments: tuple[Any, ...]) -> Any:
    state = _state(arguments, 4)
    return None if state is None else datetime.date(state[0] << 8 | state[1], state[2], state[3])


def _time(arguments: tuple[Any, ...]) -> Any:
    state = _state(arguments, 6)
    if state is None:
        return None
    micros, fold = int.from_bytes(state[3:6], "big"), state[0] >> 7
    return datetime.time(state[0] & 127, state[1], state[2], micros, _zone(arguments), fold=fold)


def _datetime(arguments: tuple[Any, ...]) -> Any:
    state = _state(arguments, 10)
    if state is None:
        return None
    year, month, fold = state[0] << 8 | state[1], state[2] & 127, state[2] >> 7
    micros = int.from_bytes(state[7:10], "big")
    return datetime.datetime(year, month, state[3], state[4], state[5], state[6], micros, _zone(arguments), fold=fold)


def _state(arguments: tuple[Any, ...], size: int) -> bytes | None:
    """The bytes that dates and times are pickled as, if the arguments are such."""
    with_zone = len(arguments) == 2 and type(arguments[1]) is datetime.timezone and size > 4
    fits = len(arguments) == 1 or with_zone
    return arguments[0] if fits and type(arguments[0]) is bytes and len(arguments[0]) == size else None


def _zone(arguments: tuple[Any, ...]) -> datetime.timezone | None:
    return arguments[1] if len(arguments) == 2 else None


def _timedelta(arguments: tuple[Any, ...]) -> Any:
    fits = 1 <= len(arguments) <= 3 and all(type(each) is int for each in arguments)
    return datetime.timedelta(*arguments) if fits else None


def _timezone(arguments: tuple[Any, ...]) -> Any:
    fits = tuple(type(each) for each in arguments) in ((datetime.timedelta,), (datetime.timedelta, str))
    return datetime.timezone(*arguments) if fits else None


_DECIMAL = re.compile(r"-?(\d{1,10000}(\.\d{0,10000})?|\.\d{1,10000})(E[+-]?\d{1,15})?", re.ASCII)


def _decimal(arguments: tuple[Any, ...]) -> Any:
    fits = len(arguments) == 1 and type(arguments[0]) is str and _DECIMAL.fullmatch(arguments[0]) is not None
    return decimal.Decimal(arguments[0]) if fits else None


MAKERS: dict[tuple[str, str], Callable[[tuple[Any, ...]], Any]] = {
    ("datetime", "date"): _date,
    ("datetime", "time"): _time,
    ("datetime", "datetime"): _datetime,
    ("datetime", "timedelta"): _timedelta,
    ("datetime", "timezone"): _timezone,
    ("decimal", "Decimal"): _decimal,
    ("_codecs", "encode"): _encoded,
}
"""The functions of other programs that stand in pickles of plain data, and what is done in their place."""
for _module in ("builtins", "__builtin__"):
    MAKERS[_module, "set"] = MAKERS[_module, "frozenset"] = _members
    MAKERS[_module, "bytes"] = _bytes
    MAKERS[_module, "bytearray"] = _bytearray
