"""Dates of sessions: texts that are compared as the moments they stand for, and are never rewritten. Pure.

A date is written ``2025-06-23``, ``2025-06-23 16:46``, ``2025-06-23T16:46:12Z``, ``2025-06-23T18:46:12.144+02:00``;
without an offset it is in UTC. Of any other text nobody knows when it was.

Texts are not in the order of their moments: ``…12.500Z`` stands before ``…12Z``, ``…T18:00+02:00`` behind ``…T17:00Z``.
But an offset is less than a day, so a text begins with the day before its moment's day in UTC, that day or the next
one. That is what lets an index on the texts find candidates.
"""

from __future__ import annotations

import datetime
import re
from typing import NamedTuple

from ..errors import UsageError

__all__ = ["DAY", "Moment", "day_of", "moment_of", "texts_between", "wanted_moment"]

DAY = 86_400
_LAST_DAY = datetime.date.max.toordinal()
_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?)?"
    r"(?:[Zz]|(?P<sign>[+-])(?P<hours>[0-9]{2}):?(?P<minutes>[0-9]{2}))?)?"
)


class Moment(NamedTuple):
    """A moment, to any number of digits; moments compare as tuples."""

    seconds: int
    """Whole seconds in UTC; day 1 of year 1 begins at `DAY`."""
    fraction: str
    """The digits behind the point, without zeros at the end: compared as texts they are in order."""


def moment_of(value: object) -> Moment | None:
    """The moment that a stored value stands for; ``None`` when it stands for none."""
    match = _DATE.fullmatch(value) if isinstance(value, str) else None
    day = None if match is None else day_of(match["day"])
    if match is None or day is None:
        return None
    hour, minute, second, hours, minutes = (
        int(match[name] or 0) for name in ("hour", "minute", "second", "hours", "minutes")
    )
    if hour > 23 or minute > 59 or second > 60 or hours > 23 or minutes > 59:  # 60: a leap second
        return None
    offset = hours * 3_600 + minutes * 60
    seconds = day * DAY + hour * 3_600 + minute * 60 + second
    return Moment(seconds + (offset if match["sign"] == "-" else -offset), (match["fraction"] or "").rstrip("0"))


def day_of(text: object) -> int | None:
    """The number of the day that a text begins with, in its own time; ``None`` when it begins with none."""
    if not isinstance(text, str) or _DAY.match(text) is None:
        return None
    try:
        return datetime.date.fromisoformat(text[:10]).toordinal()
    except ValueError:  # no such day, as 30 February
        return None


def wanted_moment(name: str, value: object) -> Moment | None:
    """The moment that a caller asks for, ``None`` when any will do.

    Args:
        name: of the argument, for the message.
        value: a date as text, or a `datetime.datetime` with a time zone.

    Raises:
        UsageError: it is no date.
    """
    if value is None:
        return None
    if isinstance(value, datetime.datetime) and value.utcoffset() is not None:
        moment = moment_of(value.isoformat())
    else:
        moment = moment_of(value)
    if moment is None:
        raise UsageError(
            f"{name} is {value!r:.80}; it must be a date as 2025-06-23 or 2025-06-23T16:46:12Z, or a datetime with a "
            "time zone"
        )
    return moment


def texts_between(low: Moment | None, high: Moment | None) -> tuple[str | None, str | None]:
    """Bounds, both included, between which stands every text whose moment is in the range; ``None`` is an open end."""
    first = None if low is None else _text_of(low.seconds // DAY - 1)
    # The next day's texts may be in it; they stand before the text of the day after that.
    last = None if high is None else _text_of(high.seconds // DAY + 2)
    return first, last


def _text_of(day: int) -> str | None:
    return datetime.date.fromordinal(day).isoformat() if 1 <= day <= _LAST_DAY else None
