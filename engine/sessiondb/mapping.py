"""The views that `Table.items` and `Table.values` return: they read a table as it is at one moment."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, ValuesView
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from .reading import TableReader

__all__ = ["TableItems", "TableValues"]

T = TypeVar("T")


class TableItems(ItemsView[str, T]):
    """(key, record) pairs in key order; each iteration sees the table as it is when it begins."""

    def __init__(self, table: TableReader[T]):
        super().__init__(table)
        self._table = table

    def __iter__(self) -> Iterator[tuple[str, T]]:
        return self._table.scan()


class TableValues(ValuesView[T]):
    """Records in key order; each iteration sees the table as it is when it begins."""

    def __init__(self, table: TableReader[T]):
        super().__init__(table)
        self._table = table

    def __iter__(self) -> Iterator[T]:
        return (record for _, record in self._table.scan())

    def __contains__(self, value: object) -> bool:
        return any(record is value or record == value for record in self)
