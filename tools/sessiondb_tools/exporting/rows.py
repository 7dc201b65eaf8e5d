"""CSV: one table, a line of names, then a row for each record.

The first column is the key; then comes every field that any record has, in the order in which they are first met. The
key's column is named ``key``, or ``_key`` where a record has a field ``key``. A text stands as
it is; a number, ``true`` and ``false`` as in JSON; an object or an array as JSON text; ``null``, and a field that a
record does not have, as nothing. So CSV says less than the store: it is for spreadsheets, not for backups.

A table of bytes has the columns ``key`` and ``base64``; one whose records are no objects ``key`` and ``record``, which
is then JSON text.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator

import msgspec

from sessiondb.errors import CorruptionError

from ..exit_codes import USAGE, CommandError
from ..output import shown
from .lines import one_line
from .records import Records

__all__ = ["as_rows"]

KEY = "key"
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode


def as_rows(records: Records) -> Iterator[bytes]:
    """The rows.

    Raises:
        CommandError: there is not exactly one table.
    """
    if len(records.tables) != 1:
        has = ", ".join(map(shown, records.tables)) or "none"
        raise CommandError(f"CSV holds one table, there is: {has}; next: choose one with --table", USAGE)
    ((table, kind),) = records.tables.items()
    buffer = io.StringIO(newline="")
    row = csv.writer(buffer, lineterminator="\n").writerow

    def written() -> bytes:
        data = buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
        return data

    if kind == "bytes":
        row([KEY, "base64"])
        for _, _, key, image in records:
            row([key, base64.b64encode(image).decode()])
            yield written()
        yield written()
        return
    columns = _columns(table, records)
    row([_key_column(columns), *columns] if columns is not None else [KEY, "record"])
    for _, _, key, image in records:
        if columns is None:
            row([key, one_line(table, key, image).decode()])
        else:
            fields = _fields(image)
            row([key, *(_cell(table, key, fields.get(name)) for name in columns)])
        yield written()
    yield written()


def _columns(table: str, records: Records) -> list[str] | None:
    """Every field, or ``None`` when a record is no object. It reads the whole table, before anything is written."""
    columns: dict[str, None] = {}
    for key, image in records.of(table):
        if image.lstrip()[:1] != b"{":
            return None
        try:
            columns.update(dict.fromkeys(_fields(image)))
        except msgspec.DecodeError as error:
            raise CorruptionError(f"the record {key!r} is no JSON: {error}", path=f"table {table!r}") from error
    return list(columns)


def _key_column(columns: list[str]) -> str:
    name = KEY
    while name in columns:
        name = f"_{name}"
    return name


def _cell(table: str, key: str, value: msgspec.Raw | None) -> str:
    raw = b"" if value is None else bytes(value)
    if raw in (b"", b"null"):
        return ""
    return _text(raw) if raw[:1] == b'"' else one_line(table, key, raw).decode()
