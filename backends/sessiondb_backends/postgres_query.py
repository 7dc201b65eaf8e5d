"""Conditions and orders as SQL: what PostgreSQL decides as `sessiondb.query` defines it, and where it may err. Pure.

Each condition becomes an SQL term that no match fails, and says which of the rows that pass it are in doubt: these are
looked at again, in Python. In doubt are:

* numbers that are written with an exponent, or as a fraction of more than 15 characters: a float is not exactly what
  is written, PostgreSQL compares what is written. Whole numbers, and short fractions, are exact in both;
* documents that are stored as bytes (`TableRow.odd`).

Texts are compared through `tag_sql`, which an index holds: cut off, so a long one is then compared as a whole, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sessiondb.query import Absent, Between, Condition, Equal, OneOf, Order, Prefix, Scalar

from .postgres_schema import TAG_CHARACTERS, TableRow, is_nameable, kind_sql, number_sql, tag_sql, value_sql

__all__ = ["ALWAYS", "Filter", "Sorting", "filter_of", "sorting_of"]

ALWAYS = "true"
"""Every row is in doubt."""
RANGES_MAX = 16
"""Numbers of a `one_of` that are looked for one by one."""
NUMBER_MAX = 10**400


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


NOTHING = _Term("false")


def _escaped(text: str) -> str:
    """As a part of a statement with parameters."""
    return text.replace("%", "%%")


class _Field:
    """A field's values as SQL."""

    def __init__(self, name: str):
        self.value = f'({_escaped(value_sql(name))} COLLATE "C")'
        self.kind = _escaped(kind_sql(name))
        self.number = _escaped(number_sql(name))
        self.tag = _escaped(tag_sql(name))

    @property
    def unsure(self) -> str:
        """Whether the number that the field holds is in doubt."""
        return f"({self.value} ~ '[.eE]' AND (length({self.value}) > 15 OR {self.value} ~ '[eE]'))"


def filter_of(row: TableRow, where: Sequence[Condition]) -> Filter:
    """All conditions as one."""
    terms = [_term(condition) for condition in where]
    known = [term for term in terms if term is not None]
    doubts = list(dict.fromkeys(term.doubt for term in known if term.doubt))
    sql = " AND ".join(f"({term.sql})" for term in known)
    if len(known) < len(terms):
        doubts = [ALWAYS]
    elif row.odd and sql:
        doubts.append("record IS NULL")
    if row.odd and sql:
        sql = f"({sql} OR record IS NULL)"
    return Filter(sql, tuple(parameter for term in known for parameter in term.parameters), " OR ".join(doubts) or None)


def _term(condition: Condition) -> _Term | None:
    """``None`` when SQL cannot tell."""
    if not is_nameable(condition.field):
        return None
    field = _Field(condition.field)
    test = condition.test
    if isinstance(test, Absent):
        return _Term(f"record IS NOT NULL AND {field.kind} IS NULL")
    if isinstance(test, Equal):
        return _one_of(field, (test.value,))
    if isinstance(test, OneOf):
        return _one_of(field, test.values)
    if isinstance(test, Prefix):
        return _prefix(field, test.text)
    return _between(field, test)


# ---- equality


def _one_of(field: _Field, wanted: Iterable[Scalar]) -> _Term | None:
    tags: list[str] = []
    long: list[str] = []
    numbers: list[int | float] = []
    for one in wanted:
        if one is None:
            tags.append("n")
        elif isinstance(one, bool):
            tags.append("btrue" if one else "bfalse")
        elif not isinstance(one, str):
            numbers.append(one)
        elif _may_be_stored(one):
            tags.append(_tag(one))
            if len(one) >= TAG_CHARACTERS:
                long.append(one)
    if any(not _is_usable(number) for number in numbers):
        return None
    terms = [_tagged(field, tags, long)] if tags else []
    if len(numbers) > RANGES_MAX:
        exact = [_decimal(number) for number in numbers]
        ends = _wide(min(exact), -1), _wide(max(exact), 1)
        sql = f"{field.number} = ANY(%s::numeric[]) OR ({field.number} BETWEEN %s AND %s AND {field.unsure})"
        terms.append(_Term(sql, (exact, *ends), field.unsure))
    else:
        terms += [_range(field, number, number) for number in numbers]
    return _either(terms)


def _either(terms: Sequence[_Term]) -> _Term:
    if not terms:
        return NOTHING
    if len(terms) == 1:
        return terms[0]
    return _Term(
        " OR ".join(f"({term.sql})" for term in terms),
        tuple(parameter for term in terms for parameter in term.parameters),
        " OR ".join(dict.fromkeys(term.doubt for term in terms if term.doubt)) or None,
    )


def _tagged(field: _Field, tags: list[str], long: list[str]) -> _Term:
    if len(tags) == 1 and not long:
        return _Term(f"{field.tag} = %s", (tags[0],))
    if not long:
        return _Term(f"{field.tag} = ANY(%s::text[])", (tags,))
    whole = {_tag(text) for text in long}
    short = [tag for tag in tags if tag not in whole]
    return _Term(
        f"{field.tag} = ANY(%s::text[]) AND ({field.tag} = ANY(%s::text[]) OR {field.value} = ANY(%s::text[]))",
        (tags, short, long),
    )


def _tag(text: str) -> str:
    return "s" + text[:TAG_CHARACTERS]


def _may_be_stored(text: str) -> bool:
    """False for what no document holds that is stored as JSON: a text with NUL, or one that is not UTF-8."""
    return is_nameable(text)


# ---- texts


def _prefix(field: _Field, text: str) -> _Term:
    if not _may_be_stored(text):
        return NOTHING
    tag = _tag(text)
    if len(text) >= TAG_CHARACTERS:
        return _Term(f"{field.tag} = %s AND left({field.value}, {len(text)}) = %s", (tag, text))
    return _Term(f"{field.tag} >= %s AND {field.tag} < %s", (tag, after_prefix(tag)))


def after_prefix(text: str) -> str:
    """The first text, in the order of code points, that is behind all that begin with this one."""
    for end in range(len(text), 0, -1):
        code = ord(text[end - 1])
        if code < 0x10FFFF:
            following = 0xE000 if code == 0xD7FF else code + 1
            return text[: end - 1] + chr(following)
    raise AssertionError("a tag begins with a letter")


def _between(field: _Field, test: Between) -> _Term | None:
    low, high = test.low, test.high
    if isinstance(low, str) or isinstance(high, str):
        return _between_texts(field, low, high)
    if not all(bound is None or _is_usable(bound) for bound in (low, high)):
        return None
    return _range(field, low, high)


def _between_texts(field: _Field, low: Any, high: Any) -> _Term | None:
    if not all(bound is None or (isinstance(bound, str) and _is_utf8(bound)) for bound in (low, high)):
        return None
    terms: list[tuple[str, str]] = []
    # No text that is compared here has a NUL: "a", NUL and anything after it lies between "a" and what follows "a".
    if low is None:
        terms.append((f"{field.tag} >= %s", "s"))
    elif "\0" in low:
        low = low[: low.index("\0")]
        terms.append((f"{field.tag} >= %s", _tag(low)))
        terms.append((f"{field.value} > %s", low))
    else:
        terms.append((f"{field.tag} >= %s", _tag(low)))
        if len(low) >= TAG_CHARACTERS:
            terms.append((f"{field.value} >= %s", low))
    if high is None:
        terms.append((f"{field.tag} < %s", "t"))
    else:
        high = high.partition("\0")[0]
        terms.append((f"{field.tag} <= %s", _tag(high)))
        if len(high) >= TAG_CHARACTERS:
            terms.append((f"{field.value} <= %s", high))
    return _Term(" AND ".join(sql for sql, _ in terms), tuple(parameter for _, parameter in terms))


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


# ---- numbers


def _is_usable(number: object) -> bool:
    """Whether it is a number that PostgreSQL can be asked for."""
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return False
    return math.isfinite(number) if isinstance(number, float) else abs(number) < NUMBER_MAX


def _decimal(number: int | float) -> Decimal:
    """The number as it is compared with whole numbers and with short fractions."""
    if isinstance(number, float) and not number.is_integer():
        return Decimal(repr(number))
    return Decimal(int(number))


def _range(field: _Field, low: Any, high: Any) -> _Term:
    """From `low` to `high`, both included: a little wide first, which an index can find, then exactly."""
    wide: list[tuple[str, Decimal]] = []
    exact: list[tuple[str, Decimal]] = []
    for comparison, bound, direction in ((">=", low, -1), ("<=", high, 1)):
        if bound is not None:
            number = _decimal(bound)
            wide.append((f"{field.number} {comparison} %s", _wide(number, direction)))
            exact.append((f"{field.number} {comparison} %s", number))
    sql = f"{' AND '.join(term for term, _ in wide)} AND ({' AND '.join(term for term, _ in exact)} OR {field.unsure})"
    return _Term(sql, tuple(number for _, number in [*wide, *exact]), field.unsure)


def _wide(number: Decimal, direction: int) -> Decimal:
    """A little below (-1) or above (1): further than a float can be from what is written of it."""
    return number + direction * (abs(number) * Decimal("1e-15") + Decimal("1e-322"))


# ---- order


class Sorting(NamedTuple):
    """An order as SQL, in two parts: the records whose first field has a value, then the others."""

    has_value: str
    """A condition; the records that do not satisfy it come last."""
    with_value: str
    """What follows ORDER BY for the first part."""
    without_value: str
    """The same for the second."""


def sorting_of(row: TableRow, order: Sequence[Order]) -> Sorting | None:
    """``None`` when PostgreSQL's order may be another one.

    The first field is sorted by what an index holds; the planner then needs no sort, or one of few records.
    """
    if row.odd or not order or any(item.kind is None or not is_nameable(item.field) for item in order):
        return None
    first, *rest = order
    field = _Field(first.field)
    way = "DESC" if first.descending else "ASC"
    last = ", ".join([*(_order_term(item) for item in rest), "key"])
    if first.kind == "text":
        has_value = f"({field.tag} >= 's' AND {field.tag} < 't')"
        return Sorting(has_value, f"{field.tag} {way}, {field.value} {way}, {last}", last)
    return Sorting(f"({field.number} IS NOT NULL)", f"{field.number} {way}, {last}", last)


def _order_term(item: Order) -> str:
    field = _Field(item.field)
    way = "DESC" if item.descending else "ASC"
    value = field.number if item.kind == "integer" else f"(CASE {field.kind} WHEN 'string' THEN {field.value} END)"
    return f"{value} {way} NULLS LAST"
