"""Listing: pages of sessions, whose dates are compared as moments though they are stored as texts.

What the engine decides about texts is right for everything but ranges of dates and orders by a date. There it is asked
for more: a range is widened until every text whose moment is in it lies between its ends, and of an order by a date
come so many rows that no row behind them can belong before them. Then the moments decide. So an index on a date serves
here too, and a page of the newest sessions does not read all of them.

What is stored and no session takes its place in a page as one: a page that held it would not be whole without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec

from ..query import Between, rank
from ..reading import TableReader
from .codec import Listed
from .moments import DAY, Moment, day_of, moment_of, texts_between, wanted_moment
from .record import value_of

__all__ = ["DATES", "Question", "page"]

DATES = frozenset({"created_at", "last_activity_at", "created"})
"""Fields that hold dates."""
SPARE_ROWS = 50
"""So many more rows than are needed are asked for at first; then four times as many, until there are enough."""

ROWS_MAX = 2**53
"""No table has so many."""

Row = tuple[str, Listed]
Accepts = Callable[[str, Listed], bool]


class Question(NamedTuple):
    """What a page is asked for."""

    where: Mapping[str, Any] | None = None
    """As `Table.find` takes it; `between` on a date compares moments."""
    order_by: str | Sequence[str] = ()
    """As `Table.find` takes it; dates are sorted as moments, texts that are none stand with the absent ones."""
    limit: int | None = None
    offset: int = 0
    accepts: Accepts | None = None
    """What only a look at the row can tell."""


def page(reader: TableReader[Listed], question: Question) -> list[Listed]:
    """The page that is asked for, as of one moment.

    Args:
        reader: of the table, with a `LenientCodec`.
        question: what is asked for.

    Raises:
        UsageError: a field that sessions do not have, a value that cannot be compared, a bad limit or offset.
    """
    question = _within_reason(question)
    where, tests = _conditions(question.where)
    # Its first half says what is wrong with any question, also when there is nothing to find.
    found = reader.find(where, order_by=question.order_by, limit=question.limit, offset=question.offset)
    orders = _orders(question.order_by)
    if question.accepts is None and not tests and not any(order.field in DATES for order in orders):
        return [item for _, item in found]
    del found  # it keeps a view

    def passes(row: Row) -> bool:
        key, item = row
        return all(test(item) for test in tests) and (question.accepts is None or question.accepts(key, item))

    return _page(reader, where, orders, passes, question)


def _within_reason(question: Question) -> Question:
    """Backends count in 64 bits; ``sys.maxsize`` for a limit means all."""
    limit, offset = question.limit, question.offset
    if isinstance(limit, int) and limit > ROWS_MAX:
        question = question._replace(limit=None)
    if isinstance(offset, int) and offset > ROWS_MAX:
        question = question._replace(offset=ROWS_MAX)
    return question


def _page(
    reader: TableReader[Listed],
    where: Mapping[str, Any] | None,
    orders: Sequence[_Order],
    passes: Callable[[Row], bool],
    question: Question,
) -> list[Listed]:
    """Ask for more and more rows, until it is clear which ones stand on the page."""
    end = None if question.limit is None else question.offset + question.limit
    by_date = any(order.field in DATES for order in orders)
    date_first = by_date and orders[0].field in DATES
    asked = orders[:1] if date_first else () if by_date else orders
    names = [f"{'-' * order.descending}{order.field}" for order in asked]
    rows_max = None if end is None or (by_date and not date_first) else end + SPARE_ROWS
    while True:
        rows: Iterable[Row] = reader.find(where, order_by=names, limit=rows_max)
        is_all = rows_max is None
        if rows_max is not None:
            rows = list(rows)
            is_all = len(rows) < rows_max
            if not is_all and date_first:
                rows = _settled(rows, orders[0])
        found = [row for row in rows if passes(row)]
        if by_date:
            found = _sorted(found, orders)
        if is_all or end is None or len(found) >= end:
            return [item for _, item in found[question.offset : end]]
        rows_max = (rows_max or 0) * 4


# ---- conditions


def _conditions(where: Mapping[str, Any] | None) -> tuple[Mapping[str, Any] | None, list[Callable[[Listed], bool]]]:
    """What the engine is asked, and what is left to look at."""
    if not isinstance(where, Mapping):
        return where, []
    asked: dict[str, Any] = {}
    tests: list[Callable[[Listed], bool]] = []
    for field, condition in where.items():
        if field in DATES and isinstance(condition, Between):
            low, high = (
                wanted_moment(f"an end of between() for {field}", end) for end in (condition.low, condition.high)
            )
            asked[field] = Between(*_wide(low, high))
            tests.append(_in_range(field, low, high))
        else:
            asked[field] = condition
    return asked, tests


def _wide(low: Moment | None, high: Moment | None) -> tuple[str, str | None]:
    first, last = texts_between(low, high)
    return first or "", last


def _in_range(field: str, low: Moment | None, high: Moment | None) -> Callable[[Listed], bool]:
    def passes(item: Listed) -> bool:
        moment = moment_of(value_of(item, field))
        return moment is not None and (low is None or low <= moment) and (high is None or moment <= high)

    return passes


# ---- orders


class _Order(NamedTuple):
    field: str
    descending: bool


def _orders(order_by: str | Sequence[str]) -> list[_Order]:
    names = [order_by] if isinstance(order_by, str) else order_by
    return [_Order(name.removeprefix("-"), name.startswith("-")) for name in names]


def _settled(rows: list[Row], first: _Order) -> list[Row]:
    """Those of the rows, in the order of the texts of a date, that no row behind them can come before."""
    last = value_of(rows[-1][1], first.field)
    moments = [(moment_of(value_of(item, first.field)), (key, item)) for key, item in rows]
    if last is None or last is msgspec.UNSET:
        return [row for moment, row in moments if moment is not None]  # what follows has no date
    day = day_of(last)
    if day is None:
        return []
    if first.descending:
        return [row for moment, row in moments if moment is not None and moment.seconds >= (day + 2) * DAY]
    return [row for moment, row in moments if moment is not None and moment.seconds < (day - 1) * DAY]


def _sorted(rows: Iterable[Row], orders: Sequence[_Order]) -> list[Row]:
    """As the engine sorts, but dates as moments; absent, null, and texts that are no date last in both directions."""
    found = sorted(rows, key=itemgetter(0))
    for order in reversed(orders):
        ranked = [(_rank(item, order.field), (key, item)) for key, item in found]
        # Sorting is stable, in reverse too.
        present = sorted((pair for pair in ranked if pair[0]), key=itemgetter(0), reverse=order.descending)
        found = [row for _, row in present] + [row for place, row in ranked if not place]
    return found


def _rank(item: Listed, field: str) -> tuple[Any, ...]:
    """Where a value stands; nothing where there is none."""
    value = value_of(item, field)
    if field in DATES:
        return moment_of(value) or ()
    return () if value is None or value is msgspec.UNSET else rank(value)
