"""What an indexed field may hold: checked before anything is logged, so that no backend refuses it later.

A text with a NUL or an over-long value would make every later checkpoint into an SQL database fail. So the fields
of a declared index hold null, a bool, a number or a text without NUL of at most 1,000 UTF-8 bytes, or are absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .errors import ValidationError
from .query import ABSENT, FieldReader
from .wal.operations import Operation, Put

__all__ = ["INDEXED_BYTES_MAX", "IndexRules"]

INDEXED_BYTES_MAX = 1_000


class IndexRules:
    """The indexed fields of every table of one store."""

    def __init__(self) -> None:
        self.version = 0
        """Grows with every change: who has checked under an earlier one checks again."""
        self.tables: dict[str, FieldReader] = {}

    def add(self, table: str, fields: Iterable[str]) -> None:
        """These fields are indexed too. Under the append lock, or before anybody commits."""
        known = self.tables.get(table)
        merged = tuple(dict.fromkeys([*(() if known is None else known.fields), *fields]))
        if merged:
            self.tables = {**self.tables, table: FieldReader(merged)}
            self.version += 1

    def discard(self, table: str, field: str) -> None:
        """Take a field out of the rules."""
        known = self.tables.get(table)
        if known is not None:
            self.drop(table)
            self.add(table, [name for name in known.fields if name != field])

    def drop(self, table: str) -> None:
        """No field of the table is indexed."""
        self.tables = {name: reader for name, reader in self.tables.items() if name != table}
        self.version += 1

    def check(self, operations: Sequence[Operation]) -> None:
        """Look at every record that is about to be stored.

        Raises:
            ValidationError: an indexed field holds what cannot be indexed.
        """
        tables = self.tables
        for operation in operations:
            if type(operation) is Put:
                reader = tables.get(operation.table)
                if reader is not None:
                    check_image(operation.table, operation.key, reader, operation.image)


def check_image(table: str, key: str, reader: FieldReader, image: bytes) -> None:
    """Look at one document.

    Raises:
        ValidationError: an indexed field holds what cannot be indexed.
    """
    for field, value in zip(reader.fields, reader.read(image), strict=True):
        problem = _problem(value)
        if problem:
            raise ValidationError(f"an indexed field cannot hold {problem}", table=table, key=key, path=f"$.{field}")


def _problem(value: Any) -> str:
    if isinstance(value, str):
        if "\0" in value:
            return "a text with a NUL character"
        if len(value) > INDEXED_BYTES_MAX // 4 and len(value.encode()) > INDEXED_BYTES_MAX:
            return f"a text of more than {INDEXED_BYTES_MAX} UTF-8 bytes"
        return ""
    if value is None or value is ABSENT or isinstance(value, (bool, int, float)):
        return ""
    return "a list or an object"
