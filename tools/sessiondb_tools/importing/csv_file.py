"""``--from csv``: comma-separated values with a line of names; each row becomes an object of texts.

Texts stay texts, also ``007``, ``true`` and an empty field: the file does not say more. A row needs as many fields as
there are names. Rows are read one by one.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from sessiondb.codec import RECORD_BYTES_MAX

from ..json_text import BOM
from ..output import shown
from .plain import PART_BYTES
from .source import Choices, Entry, Found, Unreadable, input_error, own_problem
from .text_file import TextFile

__all__ = ["CsvFile", "open_source"]


def open_source(path: str, choices: Choices) -> CsvFile:
    """The file, after a look at its first line."""
    return CsvFile(TextFile(path), choices)


class CsvFile:
    """The rows of a file."""

    in_order = True

    def __init__(self, file: TextFile, choices: Choices):
        self.name = file.name
        self._file = file
        self._choices = choices
        csv.field_size_limit(RECORD_BYTES_MAX)
        try:
            names = next(self._rows(), (0, []))[1]
            self._names = self._checked(names)
        except BaseException:
            self.close()
            raise

    def _checked(self, names: list[str]) -> list[str]:
        if not names:
            raise input_error(self.name, "", "no line of names: it is empty")
        has = shown(", ".join(names[:8])[:200])
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise input_error(self.name, "line 1", f"the name {twice!r} stands twice")
        field = self._choices.id_field
        if field is None:
            raise own_problem(
                self.name, "rows have no keys", f"name the field that holds them with --id (it has {has})"
            )
        if field not in names:
            raise own_problem(self.name, f"it has no field {field!r} (it has {has})", "choose one with --id")
        return names

    def __iter__(self) -> Iterator[Found]:
        rows = self._rows()
        if next(rows, (0, []))[1] != self._names:
            raise input_error(self.name, "line 1", "the names changed while the file was read")
        id_at = self._names.index(self._choices.id_field or "")
        for line, row in rows:
            place = f"row that ends in line {line}"
            if len(row) != len(self._names):
                yield Unreadable(place, row[id_at] if id_at < len(row) else None,
                                 f"it has {len(row)} fields, not {len(self._names)}")  # fmt: skip
                continue
            record = dict(zip(self._names, row, strict=True))
            yield Entry(place, row[id_at], record, sum(map(len, row)) + PART_BYTES * len(row))

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Each row that is not blank, and the line that it ends in."""
        reader = csv.reader(self._decoded_lines(), delimiter=self._choices.delimiter, strict=True)
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise input_error(self.name, f"line {reader.line_num}", f"no CSV: {error}") from None
            if row:
                yield reader.line_num, row

    def _decoded_lines(self) -> Iterator[str]:
        for line in self._file.lines(blank=True):
            try:
                yield (line.data.removeprefix(BOM) if line.number == 1 else line.data).decode()
            except UnicodeDecodeError:
                raise input_error(self.name, f"line {line.number}", "not UTF-8") from None

    def remarks(self) -> list[str]:
        """Nothing is left out."""
        return []

    def close(self) -> None:
        """Close the file."""
        self._file.close()
