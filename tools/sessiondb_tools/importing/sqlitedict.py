"""``--from sqlitedict``: a table of a file that the package sqlitedict wrote.

A file has one or more tables with a column ``key`` and a column ``value``. What the values are encoded with does not
stand in the file. Bytes are pickles, which is sqlitedict's default, and text is JSON, which its documentation proposes
as another; anything else the user says with ``--values``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from .source import Choices, Found, own_problem
from .sqlite_source import Columns, SqliteFile, cell, quoted
from .values import decode, made

__all__ = ["KeyValueTable", "chosen_table", "is_sqlitedict", "open_source"]

COLUMNS = ["key", "value"]


def open_source(path: str, choices: Choices) -> KeyValueTable:
    """The table of the file that is meant."""
    file = SqliteFile(path)
    try:
        tables = [name for name, columns in file.tables.items() if is_sqlitedict(columns)]
        if not tables:
            has = ", ".join(file.tables) or "no table"
            raise own_problem(
                path, f"no table of sqlitedict in this database (it has {has})", "choose another kind with --from"
            )
        return KeyValueTable(file, chosen_table(path, tables, choices.source_table), choices)
    except BaseException:
        file.close()
        raise


def is_sqlitedict(columns: Columns) -> bool:
    """Whether sqlitedict makes tables with these columns."""
    return columns == Columns(COLUMNS, COLUMNS[:1])


def chosen_table(path: str, tables: list[str], chosen: str | None) -> str:
    """The table that is meant: the one that was named, or the only one.

    Raises:
        CommandError: it is not there, or there is more than one.
    """
    has = ", ".join(tables)
    if chosen is None and len(tables) > 1:
        raise own_problem(path, f"it has {len(tables)} tables ({has})", "choose one with --source-table NAME")
    if chosen is not None and chosen not in tables:
        raise own_problem(path, f"it has no table {chosen!r} (it has {has})", "choose one with --source-table NAME")
    return tables[0] if chosen is None else chosen


class KeyValueTable:
    """The rows of a table of keys and values."""

    in_order = False

    def __init__(self, file: SqliteFile, table: str, choices: Choices):
        self.name = file.path
        self._file = file
        self._table = table
        self._choices = choices

    def __iter__(self) -> Iterator[Found]:
        key, value = (self._file.content(column) for column in COLUMNS)
        for number, row in enumerate(self._file.rows(f"SELECT {key}, {value} FROM {quoted(self._table)}"), 1):
            yield made(self._choices, f"row {number}", partial(cell, *row[:3]), partial(self._value, *row[3:]))

    def _value(self, kind: bytes, size: int, stored: Any) -> Any:
        found = cell(kind, size, stored)
        if not isinstance(found, (str, bytes)):
            return found
        encoding = self._choices.values or ("json" if isinstance(found, str) else "pickle")
        return decode(found.encode() if isinstance(found, str) else found, encoding)

    def remarks(self) -> list[str]:
        """Nothing is left out."""
        return []

    def close(self) -> None:
        """Close the database."""
        self._file.close()
