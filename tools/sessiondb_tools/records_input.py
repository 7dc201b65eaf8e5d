"""The records of a JSON or JSON Lines file, in the three forms that `import` and `demo` take.

* With an id field: a JSON array of objects, or JSON Lines (an object a line). A whole number as id becomes its
  decimal text.
* Without: one JSON object, whose names are the keys and whose values are the records.

JSON Lines are read line by line, each time they are asked for; the other two are held in memory. A file that cannot
be read twice (a pipe) is copied to a temporary one first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sessiondb.codec import RECORD_BYTES_MAX

from .exit_codes import CommandError
from .importing.checking import judged
from .importing.source import Entry, Found, Unreadable, input_error
from .importing.text_file import KeyProblem, TextFile, field_key
from .json_text import Element, JsonProblem, elements, parse

__all__ = ["RecordsInput", "check_all", "checked"]


class RecordsInput:
    """An input file; iterate it as often as needed, and close it.

    Raises:
        CommandError: while iterating, for what is no JSON, naming the place.
        OSError: the file cannot be read.
    """

    in_order = True

    def __init__(self, path: str, id_field: str | None, *, numbered: bool = False, skipping: bool = False):
        """Open the file.

        Args:
            path: the file, "-" for standard input.
            id_field: the name of the field that holds the key, or ``None`` for one object of records.
            numbered: an array or JSON Lines without `id_field` get running numbers as keys.
            skipping: a line that is no JSON is an unreadable entry, not an error.
        """
        self._file = TextFile(path)
        self.name = self._file.name
        self._id_field = id_field
        self._numbered = numbered
        self._skipping = skipping
        self._loaded: list[Found] | None = None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> RecordsInput:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def first_character(self) -> str:
        """The first one that is no white space, "" if there is none."""
        return self._file.first_character()

    def remarks(self) -> list[str]:
        """Nothing is left out."""
        return []

    def __iter__(self) -> Iterator[Found]:
        if self._loaded is not None:
            return iter(self._loaded)
        first = self.first_character()
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
        lines = self._file.lines(RECORD_BYTES_MAX)
        try:
            first = parse(next(lines).data)
            return isinstance(first, dict) and next(lines, None) is not None
        except (JsonProblem, StopIteration):
            return False

    def _lines(self) -> Iterator[Found]:
        for records, line in enumerate(self._file.lines(RECORD_BYTES_MAX), 1):
            place = f"line {line.number}"
            try:
                record = parse(line.data)
            except JsonProblem as problem:
                if self._skipping:
                    yield Unreadable(place, None, str(problem))
                    continue
                hint = "" if records > 1 else "; if the file is one object of records, leave out --id"
                raise self._problem(place, f"{problem}{hint}") from None
            yield self._entry(place, record, records, len(line.data))

    def _whole(self, first: str) -> Iterator[Found]:
        if first == "[" and self._id_field is None and not self._numbered:
            raise self._problem("", "the records have no keys; next: name the field that holds them with --id FIELD")
        try:
            for number, element in enumerate(elements(self._file.text()), 1):
                yield self._member(first, number, element)
        except JsonProblem as problem:
            hint = "; if the file is JSON Lines, name the field that holds the key with --id FIELD"
            several = first == "{" and "there is more" in str(problem)
            raise self._problem(f"line {problem.line}", f"{problem}{hint if several else ''}") from None

    def _member(self, first: str, number: int, element: Element) -> Found:
        place = f"record {number} (line {element.line})"
        if first == "{":
            return Entry(place, element.name, element.value, element.size)
        return self._entry(place, element.value, number, element.size)

    def _entry(self, place: str, record: Any, number: int, size: int) -> Found:
        if self._id_field is None:
            return Entry(place, f"record-{number}", record, size)
        try:
            return Entry(place, field_key(record, self._id_field), record, size)
        except KeyProblem as problem:
            return Unreadable(place, None, str(problem))

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
    return (found for found in judged(source, table, stop=True) if isinstance(found, Entry))
