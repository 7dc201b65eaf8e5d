"""Whether `find` and `count` answer as a look at every record does, on every indexed field."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from sessiondb import Database
from sessiondb.query import ABSENT, Between, Condition, Equal, FieldReader, Order, Predicate, Test, absent, sort_key
from sessiondb.store import Store

__all__ = ["indexed", "wrong_answer"]

Tables = dict[str, dict[str, bytes]]
VALUES_MAX = 4


def indexed(tables: Tables) -> list[tuple[str, str]]:
    """Table and field of every index."""
    return [(table, field) for table, _, field in (name.partition("/") for name in tables.get("", ()))]


def wrong_answer(store: Store, tables: Tables) -> str:
    """The first answer that differs from what the records say; "" when there is none."""
    db = Database(store)
    for table, field in indexed(tables):
        rows = tables[table]
        handle = db.table(table)
        for test in _questions(field, rows):
            where = (Condition(field, test),)
            predicate = Predicate(where)
            wanted = [(key, image) for key, image in rows.items() if predicate.matches(image)]
            wanted.sort(key=sort_key((Order(field, False),)))
            keys = [key for key, _ in wanted]
            found = [key for key, _ in handle.find({field: test}, order_by=field)]
            if found != keys:
                return f"find({field}: {test}) in {table!r} has {found}, the records say {keys}"
            if [key for key, _ in handle.find({field: test}, limit=2)] != sorted(keys)[:2]:
                return f"find({field}: {test}, limit=2) in {table!r} is not the first two of {sorted(keys)}"
            if handle.count(where={field: test}) != len(keys):
                return f"count({field}: {test}) in {table!r} is not {len(keys)}"
    return ""


def _questions(field: str, rows: dict[str, bytes]) -> Iterator[Test]:
    reader = FieldReader([field])
    values: dict[Any, None] = dict.fromkeys(reader.read(image)[0] for image in rows.values())
    values.pop(ABSENT, None)
    yield absent
    for value in islice(values, VALUES_MAX):
        yield Equal(value)
        if isinstance(value, (int, str)) and not isinstance(value, bool):
            yield Between(value, None)
    yield Equal("nobody has this")
