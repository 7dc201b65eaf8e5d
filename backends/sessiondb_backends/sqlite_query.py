"""Conditions and orders as SQL: what SQLite decides as `sessiondb.query` defines it, and where it may err. Pure.

``json_extract`` shows less than the document holds: ``true`` is 1, lists are text, integers beyond 64 bits and most
numbers with a fraction are near what was written. So each condition becomes an SQL term that no match fails, and says
which of the rows that pass it are in doubt: these are looked at again, in Python. A text with NUL, and names that
SQLite reads otherwise, are known from the catalog (`TableRow.unusual`): conditions on such fields are not put into SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from sessiondb.query import Absent, Between, Condition, Equal, OneOf, Order, Prefix, Scalar

from .sqlite_schema import TableRow, index_name, path_of, value_sql

__all__ = ["ALWAYS", "Filter", "filter_of", "order_hint", "order_sql", "whole_numbers"]

INT_MIN, INT_MAX = -(2**63), 2**63 - 1

ALWAYS = "1"
"""Every row is in doubt."""


class Filter(NamedTuple):
    """A condition of an SQL statement."""

    sql: str
    """Every match passes it; empty when all rows do."""
    parameters: tuple[Any, ...]
    doubt: str | None
    """An SQL condition for the rows that may be no match; ``None`` when there are none."""


class _Term(NamedTuple):
    """One condition as SQL."""

    sql: str
    parameters: tuple[Any, ...] = ()
    doubt: str | None = None


def is_plain(row: TableRow, field: str) -> bool:
    """Whether SQL sees the field as it is."""
    return path_of(field) is not None and field not in row.unusual and "*" not in row.unusual


def filter_of(row: TableRow, where: Sequence[Condition]) -> Filter:
    """All conditions as one."""
    terms = [_term(row, condition) for condition in where]
    known = [term for term in terms if term is not None]
    doubts = list(dict.fromkeys(term.doubt for term in known if term.doubt))
    if len(known) < len(terms):
        doubts = [ALWAYS]
    return Filter(
        " AND ".join(f"({term.sql})" for term in known),
        tuple(parameter for term in known for parameter in term.parameters),
        " OR ".join(doubts) or None,
    )


def _term(row: TableRow, condition: Condition) -> _Term | None:
    """``None`` when SQL cannot tell."""
    path = path_of(condition.field)
    if path is None or not is_plain(row, condition.field):
        return None
    value = value_sql(path)
    kind = f"json_type(record, {path})"
    test = condition.test
    if isinstance(test, Absent):
        return _Term(f"{value} IS NULL AND {kind} IS NULL")
    if isinstance(test, Equal):
        return _one_of(value, kind, (test.value,))
    if isinstance(test, OneOf):
        return _one_of(value, kind, test.values)
    if isinstance(test, Prefix):
        if not _may_be_stored(test.text):
            return _Term("0")
        # The byte FF is in no UTF-8 text. The operator || matters: beside a bare CAST no index is used.
        end = f"{value} < ? || CAST(X'FF' AS TEXT)"
        return _Term(f"{value} >= ? AND {end} AND {kind} = 'text'", (test.text, test.text))
    return _between(value, kind, test)


# ---- equality


def _one_of(value: str, kind: str, wanted: Iterable[Scalar]) -> _Term | None:
    terms = []
    texts: list[str] = []
    numbers: list[int] = []
    for one in wanted:
        if one is None:
            terms.append(_Term(f"{value} IS NULL AND {kind} = 'null'"))
        elif isinstance(one, bool):
            terms.append(_Term(f"{value} = {int(one)} AND {kind} = '{'true' if one else 'false'}'"))
        elif isinstance(one, str):
            texts.append(one)
        else:
            number = _whole(one)
            if number is None:
                terms.append(_near(value, one))
            else:
                numbers.append(number)
    texts = [text for text in texts if _may_be_stored(text)]
    if texts:
        terms.append(_member(value, f"{kind} = 'text'", texts, None))
    if numbers:
        # A number with a fraction may come out of json_extract as a whole one, but never the other way round.
        terms.append(_member(value, f"{kind} IN ('integer', 'real')", numbers, f"typeof({value}) = 'real'"))
    if not terms:
        return _Term("0")
    doubts = list(dict.fromkeys(term.doubt for term in terms if term.doubt))
    return _Term(
        " OR ".join(f"({term.sql})" for term in terms) if len(terms) > 1 else terms[0].sql,
        tuple(parameter for term in terms for parameter in term.parameters),
        " OR ".join(doubts) or None,
    )


def _member(value: str, kind: str, wanted: Sequence[str | int], doubt: str | None) -> _Term:
    if len(wanted) == 1:
        return _Term(f"{value} = ? AND {kind}", (wanted[0],), doubt)
    # One parameter for all of them: SQLite limits the number of parameters, and prepares one statement for all.
    listed = msgspec.json.encode(wanted).decode()
    return _Term(f"{value} IN (SELECT value FROM json_each(?)) AND {kind}", (listed,), doubt)


def _may_be_stored(text: str) -> bool:
    """False for what no plain field holds: a text with NUL, or one that is not UTF-8."""
    return "\0" not in text and _is_utf8(text)


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _whole(number: int | float) -> int | None:
    """The number as SQLite's integer, if it is one: 1.0 is 1."""
    if isinstance(number, float):
        if not number.is_integer():
            return None
        number = int(number)
    return number if INT_MIN <= number <= INT_MAX else None


def _near(value: str, number: int | float) -> _Term:
    """Equal to a number that SQLite may know only approximately."""
    if abs(number) > 1e308:
        return _Term(f"typeof({value}) = 'real'", (), ALWAYS)
    low, high = _wide(number, -1), _wide(number, 1)
    return _Term(f"{value} BETWEEN ? AND ? AND typeof({value}) = 'real'", (low, high), ALWAYS)


# ---- ranges


def _between(value: str, kind: str, test: Between) -> _Term | None:
    low, high = test.low, test.high
    if isinstance(low, str) or isinstance(high, str):
        return _between_texts(value, kind, low, high)
    if not (low is None or _is_number(low)) or not (high is None or _is_number(high)):
        return None
    terms = [_bound(value, ">=", low, -1), _bound(value, "<=", high, 1)]
    return _Term(
        " AND ".join([*(term.sql for term in terms), f"{kind} IN ('integer', 'real')"]),
        tuple(parameter for term in terms for parameter in term.parameters),
        f"typeof({value}) = 'real'",
    )


def _between_texts(value: str, kind: str, low: Any, high: Any) -> _Term | None:
    # Where an end is open the range ends with the texts: numbers come before them, blobs behind.
    bounds = ["" if low is None else low, *([] if high is None else [high])]
    if not all(isinstance(bound, str) and _is_utf8(bound) for bound in bounds):
        return None
    end = f"{value} < X''" if high is None else f"{value} <= ?"
    return _Term(f"{value} >= ? AND {end} AND {kind} = 'text'", tuple(bounds))


def _is_number(bound: object) -> bool:
    """Whether it is a number that SQLite can be asked for."""
    if isinstance(bound, bool) or not isinstance(bound, (int, float)):
        return False
    return abs(bound) <= 1e300 and (isinstance(bound, float) or bound >= INT_MIN)


def _bound(value: str, comparison: str, bound: Any, direction: int) -> _Term:
    """One end of a range: exact for SQLite's integers, a little wide for the rest."""
    if bound is None:
        return _Term(f"{value} {comparison} ?", (float("inf") * direction,))  # numbers only
    exact = bound if isinstance(bound, float) or bound <= INT_MAX else float(bound)
    return _Term(
        f"{value} {comparison} ? AND (typeof({value}) = 'real' OR {value} {comparison} ?)",
        (_wide(bound, direction), exact),
    )


def _wide(number: int | float, direction: int) -> float:
    """A little below (-1) or above (1): further than SQLite's reading of a number is from what was written."""
    relative = 1e-14 if isinstance(number, int) else 1e-12
    return float(number) + direction * (abs(float(number)) * relative + 1e-300)


# ---- order


def order_sql(row: TableRow, order: Sequence[Order]) -> str | None:
    """What follows ORDER BY, ending in the key; ``None`` when SQLite's order may be another one."""
    parts = []
    for item in order:
        path = path_of(item.field)
        if path is None or item.kind is None or not is_plain(row, item.field):
            return None
        parts.append(f"{value_sql(path)} {'DESC' if item.descending else 'ASC NULLS LAST'}")
    return ", ".join([*parts, "key"])


def order_hint(row: TableRow, where: Sequence[Condition], order: Sequence[Order]) -> str:
    """Names the index that has the first few rows of an order at hand, unless another one finds the matches."""
    number = row.indexes.get(order[0].field, 0) if order else 0
    if not number or any(row.indexes.get(condition.field) for condition in where):
        return ""
    return f" INDEXED BY {index_name(row, number)}"


def whole_numbers(order: Sequence[Order]) -> list[str]:
    """The values that are sorted as integers; the order holds if SQLite has none of them as a floating one."""
    paths = [path_of(item.field) for item in order if item.kind == "integer"]
    return [value_sql(path) for path in paths if path is not None]
