"""``--from export``: what `sessiondb export` wrote as JSON Lines or MessagePack (see `sessiondb_tools.exporting`).

One table is read, of JSON or of bytes, into one with its name. Lines of changes (``export --stranded``) are refused:
what they say depends on their order, and on the store that they were made for.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import msgspec

from sessiondb.codec import RECORD_BYTES_MAX

from ..json_text import JsonProblem, parse
from ..msgpack_stream import StreamProblem, objects
from .source import Choices, Entry, Found, Unreadable, input_error, own_problem, size_of
from .text_file import TextFile

__all__ = ["ExportedLines", "is_exported", "open_source"]

FORMS = ({"table", "key", "record"}, {"table", "key", "base64"})
"""The names of a line: of a record, of a record of bytes."""
PACKED_FORMS = ({"table", "key", "record"}, {"table", "key", "bytes"})
PACKED_BEGINNING = b"\x83\xa5table"
"""Of each object, as MessagePack: a map of three whose first name is `table`."""


LINE_BYTES_MAX = 2 * RECORD_BYTES_MAX
"""Base64 takes four bytes for three."""


def is_exported(value: Any, forms: tuple[set[str], ...] = FORMS) -> bool:
    """Whether a value is a line of an export."""
    if not isinstance(value, dict) or set(value) not in forms:
        return False
    return isinstance(value["table"], str) and isinstance(value["key"], str)


def open_source(path: str, choices: Choices) -> ExportedLines:
    """The table that is meant."""
    return ExportedLines(TextFile(path), choices)


class ExportedLines:
    """The records of one table."""

    in_order = True

    def __init__(self, file: TextFile, choices: Choices):
        self.name = file.name
        self._file = file
        self._named = choices.source_table
        try:
            first = next((line for _, line in self._lines() if line["table"] == (self._named or line["table"])), None)
            if first is None and self._named is not None:
                raise own_problem(self.name, f"it has no table {self._named!r}", "choose another with --source-table")
        except BaseException:
            self.close()
            raise
        self.table: str | None = None if first is None else first["table"]
        """The one that is read: the one that was named, or the only one."""
        self.holds_bytes = first is not None and ("base64" in first or "bytes" in first)

    def _lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        packed = self._file.starts_with(PACKED_BEGINNING)
        for place, value in self._packed() if packed else self._parsed():
            if not is_exported(value, PACKED_FORMS if packed else FORMS):
                step = "choose another kind with --from; one JSON document is read by --from json"
                raise own_problem(f"{self.name}, {place}", "no record that `sessiondb export` wrote", step)
            yield place, value

    def _parsed(self) -> Iterator[tuple[str, Any]]:
        for line in self._file.lines(LINE_BYTES_MAX):
            place = f"line {line.number}"
            try:
                yield place, parse(line.data)
            except JsonProblem as problem:
                raise input_error(self.name, place, str(problem)) from None

    def _packed(self) -> Iterator[tuple[str, Any]]:
        decode = msgspec.msgpack.Decoder(strict=True).decode
        number = 0
        try:
            for found in objects(self._file.reader(), LINE_BYTES_MAX):
                number += 1
                place = f"object {number} (offset {found.offset})"
                try:
                    yield place, decode(found.data)
                except (msgspec.DecodeError, RecursionError, ValueError, TypeError) as error:
                    raise input_error(self.name, place, str(error)) from None
        except StreamProblem as problem:
            raise input_error(self.name, f"object {number + 1} (offset {problem.offset})", str(problem)) from None

    def __iter__(self) -> Iterator[Found]:
        for place, line in self._lines():
            if line["table"] == self.table:
                yield _found(place, line)
            elif self._named is None:
                tables = f"{self.table} and {line['table']}"
                step = "choose one with --source-table NAME"
                raise own_problem(f"{self.name}, {place}", f"it has more than one table ({tables})", step)

    def remarks(self) -> list[str]:
        """Nothing is left out."""
        return []

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _found(place: str, line: dict[str, Any]) -> Found:
    key = line["key"]
    if "record" in line:
        return Entry(place, key, line["record"], size_of(line["record"]))
    if "bytes" in line:
        content = line["bytes"]
        return (
            Entry(place, key, content, len(content))
            if isinstance(content, bytes)
            else Unreadable(place, key, "no bytes")
        )
    try:
        content = base64.b64decode(line["base64"], validate=True)
    except (ValueError, TypeError):
        return Unreadable(place, key, "its base64 is none")
    return Entry(place, key, content, len(content))
