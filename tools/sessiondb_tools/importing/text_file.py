"""A file of text that is read more than once; what cannot be (a pipe) is copied to a temporary file first."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from sessiondb.codec import RECORD_BYTES_MAX

from ..json_text import BOM, JsonProblem, elements, text_of
from .source import input_error

__all__ = ["KeyProblem", "Line", "TextFile", "field_key"]


class Line(NamedTuple):
    """A line, with what ends it."""

    number: int
    data: bytes


class TextFile:
    """An input file, "-" for standard input; close it.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, path: str):
        self.name = "standard input" if path == "-" else path
        file: BinaryIO = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115 - closed by close
        if file.seekable():
            self.file = file
            return
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - so is this one
        with file:
            shutil.copyfileobj(file, self.file)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def first_character(self) -> str:
        """The first one that is no white space, "" if there is none."""
        self.file.seek(0)
        while data := self.file.read(4096):
            text = data.removeprefix(BOM).lstrip(b" \t\r\n")
            if text:
                return chr(text[0])
        return ""

    def starts_with(self, beginning: bytes) -> bool:
        """Whether these are the first bytes."""
        self.file.seek(0)
        return self.file.read(len(beginning)) == beginning

    def reader(self) -> Callable[[int], bytes]:
        """Gives the next bytes, from the first one on."""
        self.file.seek(0)
        return self.file.read

    def text(self) -> str:
        """All of it.

        Raises:
            JsonProblem: it is not UTF-8.
        """
        self.file.seek(0)
        return text_of(self.file.read())

    def members(self) -> dict[str, Any]:
        """The members of the JSON object that the file is.

        Raises:
            CommandError: it is none, or a name stands twice in it.
        """
        found: dict[str, Any] = {}
        try:
            for member in elements(self.text()):
                if member.name in found:
                    problem = f"the name {member.name!r} stands twice in one object"
                    raise input_error(self.name, f"line {member.line}", problem)
                found[member.name] = member.value
        except JsonProblem as problem:
            raise input_error(self.name, f"line {problem.line}", str(problem)) from None
        return found

    def lines(self, line_bytes_max: int = RECORD_BYTES_MAX, *, blank: bool = False) -> Iterator[Line]:
        """The lines, one at a time in memory; with `blank` those without text, too.

        Raises:
            CommandError: a line is longer than a record may be.
        """
        self.file.seek(0)
        number = 0
        while line := self.file.readline(line_bytes_max + 1):
            number += 1
            if len(line) > line_bytes_max:
                problem = f"the line has more than {line_bytes_max} bytes, the limit of a record"
                raise input_error(self.name, f"line {number}", problem)
            if blank or line.removeprefix(BOM).strip():
                yield Line(number, line)


class KeyProblem(Exception):
    """A record does not have the key that was asked for; says why."""


def field_key(record: Any, field: str) -> str:
    """The key that stands in a field; a whole number becomes its decimal text.

    Raises:
        KeyProblem: there is none.
    """
    if not isinstance(record, dict):
        raise KeyProblem(f"an object is needed, to take its {field!r} as the key; found {_short(record)}")
    if field not in record:
        has = ", ".join(list(record)[:8]) or "nothing"
        raise KeyProblem(f"the record has no field {field!r} (it has {has})")
    key = record[field]
    if isinstance(key, int) and not isinstance(key, bool):
        return str(key)
    if not isinstance(key, str):
        raise KeyProblem(f"the id {field!r} is {_short(key)}; a key is text or a whole number")
    return key


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
