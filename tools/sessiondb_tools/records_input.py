"""The records of an input file, in the three forms that `import` and `demo` take.

* With an id field: a JSON array of objects, or JSON Lines (an object a line). A whole number as id becomes its
  decimal text.
* Without: one JSON object, whose names are the keys and whose values are the records.

JSON Lines are read line by line, each time they are asked for; the other two are held in memory. A file that cannot
be read twice (a pipe) is copied to a temporary one first.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from sessiondb.codec import RECORD_BYTES_MAX, RecordCodec, check_key
from sessiondb.errors import TransactionTooLargeError, ValidationError

from .exit_codes import USAGE, CommandError
from .json_text import BOM, Element, JsonProblem, elements, parse, text_of
from .output import shown

__all__ = ["Entry", "RecordsInput", "check_all", "checked"]


class Entry(NamedTuple):
    """One record of the input."""

    place: str
    """For messages: ``line 7``, ``record 7 (line 12)``."""
    key: str
    record: Any
    size: int
    """About how many bytes it takes."""


class RecordsInput:
    """An input file; iterate it as often as needed, and close it.

    Raises:
        CommandError: while iterating, for what is no record, naming the place.
        OSError: the file cannot be read.
    """

    def __init__(self, path: str, id_field: str | None, *, numbered: bool = False):
        """Open the file.

        Args:
            path: the file, "-" for standard input.
            id_field: the name of the field that holds the key, or ``None`` for one object of records.
            numbered: an array or JSON Lines without `id_field` get running numbers as keys.
        """
        self.name = "standard input" if path == "-" else path
        self._id_field = id_field
        self._numbered = numbered
        self._file = _open(path)
        self._loaded: list[Entry] | None = None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> RecordsInput:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Entry]:
        if self._loaded is not None:
            return iter(self._loaded)
        self._file.seek(0)
        first = _first_character(self._file)
        if first == "{" and (self._id_field is not None or self._is_json_lines()):
            return self._lines()
        if first not in ("{", "["):
            found = f"it begins with {first!r}" if first else "it is empty"
            raise self._problem("", f"no records: {found}; expected an array, JSON Lines or an object")
        self._loaded = list(self._whole(first))
        return iter(self._loaded)

    def _is_json_lines(self) -> bool:
        """Whether the first line is a whole object and more follows; only where keys are numbered."""
        if not self._numbered:
            return False
        self._file.seek(0)
        lines = (line for line in self._file if line.strip())
        try:
            first = parse(next(lines))
        except (JsonProblem, StopIteration):
            return False
        return isinstance(first, dict) and next(lines, None) is not None

    # ---- JSON Lines

    def _lines(self) -> Iterator[Entry]:
        self._file.seek(0)
        number = 0
        records = 0
        while line := self._file.readline(RECORD_BYTES_MAX + 1):
            number += 1
            place = f"line {number}"
            if len(line) > RECORD_BYTES_MAX:
                raise self._problem(place, f"the line has more than {RECORD_BYTES_MAX} bytes, the limit of a record")
            if not line.removeprefix(BOM).strip():
                continue
            records += 1
            try:
                record = parse(line)
            except JsonProblem as problem:
                hint = "" if records > 1 else "; if the file is one object of records, leave out --id"
                raise self._problem(place, f"{problem}{hint}") from None
            yield Entry(place, self._key(place, record, records), record, len(line))

    # ---- an array or an object

    def _whole(self, first: str) -> Iterator[Entry]:
        if first == "[" and self._id_field is None and not self._numbered:
            raise self._problem("", "the records have no keys; next: name the field that holds them with --id FIELD")
        self._file.seek(0)
        try:
            for number, element in enumerate(elements(text_of(self._file.read())), 1):
                yield self._entry(first, number, element)
        except JsonProblem as problem:
            hint = "; if the file is JSON Lines, name the field that holds the key with --id FIELD"
            several = first == "{" and "there is more" in str(problem)
            raise self._problem(f"line {problem.line}", f"{problem}{hint if several else ''}") from None

    def _entry(self, first: str, number: int, element: Element) -> Entry:
        place = f"record {number} (line {element.line})"
        key = element.name if first == "{" else self._key(place, element.value, number)
        return Entry(place, key, element.value, element.size)

    # ---- keys

    def _key(self, place: str, record: Any, number: int) -> str:
        field = self._id_field
        if field is None:
            return f"record-{number}"
        if not isinstance(record, dict):
            raise self._problem(place, f"an object is needed, to take its {field!r} as the key; found {_short(record)}")
        if field not in record:
            has = ", ".join(list(record)[:8]) or "nothing"
            raise self._problem(place, f"the record has no field {field!r} (it has {has})")
        key = record[field]
        if isinstance(key, int) and not isinstance(key, bool):
            return str(key)
        if not isinstance(key, str):
            raise self._problem(place, f"the id {field!r} is {_short(key)}; a key is text or a whole number")
        return key

    def _problem(self, place: str, problem: str) -> CommandError:
        return input_error(self.name, place, problem)


def check_all(source: RecordsInput, table: str) -> set[str]:
    """Read the whole input once and return its keys; memory is needed for these only.

    Raises:
        CommandError: a record that cannot be stored, or a key that stands twice.
    """
    return {entry.key for entry in checked(source, table)}


def checked(source: RecordsInput, table: str) -> Iterator[Entry]:
    """The records of the input, each after its check.

    Raises:
        CommandError: while iterating, for a record that cannot be stored, or a key that stands twice.
    """
    codec: RecordCodec[Any] = RecordCodec(table)
    keys: set[str] = set()
    for entry in source:
        place, key = entry.place, entry.key
        try:
            check_key(table, key)
            codec.encode(key, entry.record)
        except (ValidationError, TransactionTooLargeError) as error:
            raise input_error(source.name, place, str(error)) from None
        if key in keys:
            first = next(other.place for other in source if other.key == key)
            raise input_error(source.name, place, f"the key {shown(key)} is there already, in {first}")
        keys.add(key)
        yield entry


def input_error(name: str, place: str, problem: str) -> CommandError:
    """What to say of a bad input."""
    where = f"{name}, {place}" if place else name
    return CommandError(f"{where}: {problem}; nothing was written; next: correct the input", USAGE)


def _open(path: str) -> BinaryIO:
    file = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115 - closed by RecordsInput
    if file.seekable():
        return file
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - so is this one
    with file:
        shutil.copyfileobj(file, copy)
    return copy


def _first_character(file: BinaryIO) -> str:
    while data := file.read(4096):
        text = data.removeprefix(BOM).lstrip(b" \t\r\n")
        if text:
            return chr(text[0])
    return ""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
